#include "endpoint.h"

#include "../loop.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static char *word_address(const neap__endpoint *self, neap__memory *memory) {
  size_t size = strlen(self->host) + 16;
  char *label = neap__memory_resize(memory, NULL, size);
  bool is_v6 = strchr(self->host, ':') != NULL;
  if (label) snprintf(label, size, is_v6 ? "[%s]:%d" : "%s:%d", self->host, self->port);
  return label;
}

int neap__endpoint_label(neap__endpoint *self, neap__op *op) {
  neap__memory *memory = &op->task.loop->memory;
  self->label = self->path ? neap__memory_copy(memory, self->path) : word_address(self, memory);
  op->error.address = self->label;
  return self->label ? 0 : UV_ENOMEM;
}

bool neap__endpoint_parse(const neap__endpoint *self, struct sockaddr_storage *name) {
  memset(name, 0, sizeof *name);
  bool may_be_v4 = self->family != AF_INET6, may_be_v6 = self->family != AF_INET;
  if (may_be_v4 && !uv_ip4_addr(self->host, self->port, (struct sockaddr_in *)name)) return true;
  return may_be_v6 && !uv_ip6_addr(self->host, self->port, (struct sockaddr_in6 *)name);
}

int neap__endpoint_path(const neap__endpoint *self, struct sockaddr_un *name, socklen_t *length) {
  size_t size = strlen(self->path);
  bool is_abstract = self->path[0] == '@';
  memset(name, 0, sizeof *name);
  name->sun_family = AF_UNIX;
  if (size == 0) return UV_EINVAL; /* as the name of nothing it would be an abstract one */
#ifndef __linux__
  if (is_abstract) return UV_ENOTSUP;
#endif
  if (size + !is_abstract > sizeof name->sun_path) return UV_ENAMETOOLONG;
  memcpy(name->sun_path, self->path, size);
  if (is_abstract) name->sun_path[0] = '\0';
  *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + !is_abstract);
  return 0;
}

int neap__endpoint_resolve(const neap__endpoint *self, neap_loop *loop, uv_getaddrinfo_t *request,
                           uv_getaddrinfo_cb on_resolved) {
  char service[16];
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = self->family};
  snprintf(service, sizeof service, "%d", self->port);
  return uv_getaddrinfo(loop->uv, request, on_resolved, self->host, service, &hints);
}

void neap__endpoint_deinit(neap__endpoint *self, neap_loop *loop) {
  neap__memory_free(&loop->memory, self->host);
  neap__memory_free(&loop->memory, self->path);
  neap__memory_free(&loop->memory, self->label);
}
