#include "dns.h"

#include "../loop.h"

#include <stdio.h>

/* ---- Looking up ---------------------------------------------------------------------------- */

int neap__lookup_code(neap__op *op, int status) {
  if (status) op->error.syscall = "getaddrinfo";
  return status;
}

int neap__lookup(neap__op *op, uv_getaddrinfo_t *request, const char *host, int port, int family,
                 uv_getaddrinfo_cb on_found) {
  neap_loop *loop = op->task.loop;
  char service[sizeof "65535"];
  struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
  /* What libuv allocates is not counted; let tests fail it here. */
  if (neap__memory_must_fail(&loop->memory)) return UV_ENOMEM;
  snprintf(service, sizeof service, "%u", (unsigned)port & 0xffff);
  int code = uv_getaddrinfo(loop->uv, request, on_found, host, service, &hints);
  if (code == UV_EINVAL) code = UV_EAI_NONAME; /* what cannot be a name is no name */
  if (code) return neap__lookup_code(op, code);
  neap__op_acquire_native(op, true);
  return 0;
}

/* ---- Names to addresses --------------------------------------------------------------------- */

static neap__resolve *resolve_of(neap__op *op) {
  return (neap__resolve *)op;
}

static void add_found(neap__resolve *self, const struct sockaddr *from) {
  neap__sockaddr *next = &self->found[self->count];
  if (!neap__sockaddr_copy(from, next)) return;
  for (size_t i = 0; i < self->count; i++)
    if (neap__sockaddr_equal(&self->found[i], next)) return;
  self->count++;
}

static int keep_found(neap__resolve *self, const struct addrinfo *list) {
  size_t n = 0;
  for (const struct addrinfo *item = list; item; item = item->ai_next) n++;
  self->found = neap__memory_new(&self->op.task.loop->memory, n * sizeof *self->found);
  if (!self->found) return UV_ENOMEM;
  for (const struct addrinfo *item = list; item; item = item->ai_next)
    add_found(self, item->ai_addr);
  return self->count ? 0 : neap__lookup_code(&self->op, UV_EAI_NODATA);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list) {
  neap__resolve *self = NEAP__CONTAINER(request, neap__resolve, request);
  neap__op *op = &self->op;
  int code = neap__lookup_code(op, status);
  if (!code && !neap__op_is_orphan(op)) code = keep_found(self, list);
  if (list) uv_freeaddrinfo(list);
  neap__op_settle(op, code);
  neap__op_release_native(op);
}

/* A literal is an address already; false when the host is a name. */
static bool resolve_literal(neap__resolve *self, int *code) {
  neap__sockaddr literal;
  if (!neap__sockaddr_parse(self->host, self->port, &literal)) return false;
  if (self->family && literal.any.sa_family != self->family) {
    *code = neap__lookup_code(&self->op, UV_EAI_ADDRFAMILY);
    return true;
  }
  self->found = neap__memory_new(&self->op.task.loop->memory, sizeof literal);
  *code = self->found ? 0 : UV_ENOMEM;
  if (*code) return true;
  self->found[0] = literal;
  self->count = 1;
  neap__op_settle(&self->op, 0);
  return true;
}

static int start_resolve(neap__op *op) {
  neap__resolve *self = resolve_of(op);
  int code;
  op->error.address = self->host;
  if (resolve_literal(self, &code)) return code;
  return neap__lookup(op, &self->request, self->host, self->port, self->family, on_resolved);
}

/* Fails once it runs; then it runs out, and nobody takes its result. */
static void abort_resolve(neap__op *op) {
  uv_cancel((uv_req_t *)&resolve_of(op)->request);
}

static void release_resolve(neap__op *op) {
  neap__memory *memory = &op->task.loop->memory;
  neap__memory_free(memory, resolve_of(op)->host);
  neap__memory_free(memory, resolve_of(op)->found);
}

const neap__op_kind neap__resolve_kind = {
    .task = NEAP__OP_TASK("dns.resolve"),
    .size = sizeof(neap__resolve),
    .start = start_resolve,
    .abort = abort_resolve,
    .release = release_resolve,
};

/* ---- Addresses to names --------------------------------------------------------------------- */

static neap__reverse *reverse_of(neap__op *op) {
  return (neap__reverse *)op;
}

static int fail_reverse(neap__op *op, int code) {
  if (code) op->error.syscall = "getnameinfo";
  return code;
}

static void on_named(uv_getnameinfo_t *request, int status, const char *host, const char *service) {
  neap__op *op = &NEAP__CONTAINER(request, neap__reverse, request)->op;
  (void)host;
  (void)service;
  neap__op_settle(op, fail_reverse(op, status));
  neap__op_release_native(op);
}

static int start_reverse(neap__op *op) {
  neap__reverse *self = reverse_of(op);
  neap_loop *loop = op->task.loop;
  op->error.address = self->host;
  if (neap__memory_must_fail(&loop->memory)) return UV_ENOMEM;
  int code = uv_getnameinfo(loop->uv, &self->request, on_named, &self->address.any, NI_NAMEREQD);
  if (code) return fail_reverse(op, code);
  neap__op_acquire_native(op, true);
  return 0;
}

static void abort_reverse(neap__op *op) {
  uv_cancel((uv_req_t *)&reverse_of(op)->request);
}

static void release_reverse(neap__op *op) {
  neap__memory_free(&op->task.loop->memory, reverse_of(op)->host);
}

const neap__op_kind neap__reverse_kind = {
    .task = NEAP__OP_TASK("dns.reverse"),
    .size = sizeof(neap__reverse),
    .start = start_reverse,
    .abort = abort_reverse,
    .release = release_reverse,
};
