#include "listen.h"

#include "syscall.h"

#include <string.h>

static neap__listen *of_op(neap__op *op) {
  return (neap__listen *)op;
}

neap__server *neap__listen_take(neap__listen *self) {
  neap__server *server = self->server;
  self->server = NULL;
  return server;
}

static void discard_server(neap__listen *self) {
  neap__server *server = neap__listen_take(self);
  if (!server) return;
  neap__stream_close(&server->stream);
  neap__stream_unref(&server->stream);
}

/* The last system call has failed. */
static int fail(neap__listen *self, const char *syscall) {
  return neap__op_fail(&self->op, syscall, uv_translate_sys_error(errno));
}

static int open_socket(int family) {
  return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Takes over the socket, also when it fails. */
static int begin(neap__listen *self, int fd, uv_handle_type type) {
  int code = listen(fd, self->backlog) ? fail(self, "listen") : 0;
  if (!code) code = neap__server_new(self->op.task.loop, fd, type, &self->server);
  if (code) close(fd);
  if (code || !self->maker) return code;
  self->server->maker = self->maker; /* with its reference */
  self->maker = NULL;
  return 0;
}

/* ---- Over TCP ------------------------------------------------------------------------------- */

static bool set_flag(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

static bool set_options(const neap__listen *self, int fd, int family) {
  bool is_set = set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (is_set && self->reuses_port) is_set = set_flag(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (is_set && family == AF_INET6)
    is_set = set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, self->is_ipv6_only);
  return is_set;
}

static int listen_at(neap__listen *self, const struct sockaddr *name) {
  int fd = open_socket(name->sa_family);
  if (fd < 0) return fail(self, "socket");
  int code = 0;
  if (!set_options(self, fd, name->sa_family))
    code = fail(self, "setsockopt");
  else if (bind(fd, name, neap__sockaddr_length(name)))
    code = fail(self, "bind");
  if (!code) return begin(self, fd, UV_TCP);
  close(fd);
  return code;
}

static bool is_any_host(const neap__listen *self) {
  return strcmp(self->endpoint.host, "*") == 0;
}

/* Both families on one socket; IPv4 alone where the system has no IPv6. */
static int listen_everywhere(neap__listen *self) {
  neap__sockaddr name;
  neap__sockaddr_parse("::", self->endpoint.port, &name);
  int code = listen_at(self, &name.any);
  if (code != UV_EAFNOSUPPORT && code != UV_EADDRNOTAVAIL) return code;
  neap__sockaddr_parse("0.0.0.0", self->endpoint.port, &name);
  return listen_at(self, &name.any);
}

/* ---- At a path ------------------------------------------------------------------------------ */

/* Whether the file is a socket to which nobody answers any more. */
static bool is_stale(const struct sockaddr_un *name, socklen_t length) {
  struct stat info;
  if (lstat(name->sun_path, &info) || !S_ISSOCK(info.st_mode)) return false;
  int fd = open_socket(AF_UNIX);
  if (fd < 0) return false;
  int code = connect(fd, (const struct sockaddr *)name, length) ? errno : 0;
  close(fd);
  return code == ECONNREFUSED;
}

static int bind_path(neap__listen *self, int fd, const struct sockaddr_un *name, socklen_t length) {
  const struct sockaddr *address = (const struct sockaddr *)name;
  int error = bind(fd, address, length) ? errno : 0;
  if (error == EADDRINUSE && self->replaces && name->sun_path[0] && is_stale(name, length)) {
    unlink(name->sun_path);
    error = bind(fd, address, length) ? errno : 0;
  }
  return error ? neap__op_fail(&self->op, "bind", uv_translate_sys_error(error)) : 0;
}

static int set_mode(neap__listen *self, const char *path) {
  return self->mode >= 0 && chmod(path, (mode_t)self->mode) ? fail(self, "chmod") : 0;
}

/* The socket is bound to a file, which goes with the server. */
static int begin_at_file(neap__listen *self, int fd, const char *path) {
  neap__memory *memory = &self->op.task.loop->memory;
  char *copy = neap__memory_copy(memory, path);
  int code = copy ? set_mode(self, path) : UV_ENOMEM;
  if (code)
    close(fd);
  else
    code = begin(self, fd, UV_NAMED_PIPE);
  if (!code) {
    self->server->path = copy;
    return 0;
  }
  unlink(path);
  neap__memory_free(memory, copy);
  return code;
}

static int listen_at_path(neap__listen *self) {
  struct sockaddr_un name;
  socklen_t length;
  int code = neap__endpoint_path(&self->endpoint, &name, &length);
  if (code) return neap__op_fail(&self->op, "bind", code);
  int fd = open_socket(AF_UNIX);
  if (fd < 0) return fail(self, "socket");
  code = bind_path(self, fd, &name, length);
  if (!code)
    return name.sun_path[0] ? begin_at_file(self, fd, name.sun_path)
                            : begin(self, fd, UV_NAMED_PIPE);
  close(fd);
  return code;
}

/* ---- Life of a listen ------------------------------------------------------------------------ */

static int settle_listen(neap__listen *self, int code) {
  neap__op_settle(&self->op, code);
  return 0;
}

static void on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
  neap__listen *self = NEAP__CONTAINER(request, neap__listen, resolve);
  if (status)
    neap__op_settle(&self->op, neap__lookup_code(&self->op, status));
  else if (!neap__op_is_orphan(&self->op))
    settle_listen(self, listen_at(self, found->ai_addr));
  if (found) uv_freeaddrinfo(found);
  neap__op_release_native(&self->op);
}

static int start_listen(neap__op *op) {
  neap__listen *self = of_op(op);
  neap__sockaddr literal;
  int code = neap__endpoint_label(&self->endpoint, op);
  if (code) return code;
  if (self->endpoint.path) return settle_listen(self, listen_at_path(self));
  if (is_any_host(self)) return settle_listen(self, listen_everywhere(self));
  if (neap__endpoint_parse(&self->endpoint, &literal))
    return settle_listen(self, listen_at(self, &literal.any));
  return neap__endpoint_lookup(&self->endpoint, op, &self->resolve, on_found);
}

static void abort_listen(neap__op *op) {
  uv_cancel((uv_req_t *)&of_op(op)->resolve);
}

static void release_listen(neap__op *op) {
  neap__listen *self = of_op(op);
  discard_server(self);
  if (self->maker) self->maker->unref(self->maker);
  neap__endpoint_deinit(&self->endpoint, op->task.loop);
}

const neap__op_kind neap__listen_kind = {.task = NEAP__OP_TASK("net.listen"),
                                         .size = sizeof(neap__listen),
                                         .start = start_listen,
                                         .abort = abort_listen,
                                         .release = release_listen};
