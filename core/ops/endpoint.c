#include "endpoint.h"

#include "../loop.h"

#include <stddef.h>
#include <string.h>

int neap__endpoint_label(neap__endpoint *self, neap__op *op) {
  neap__memory *memory = &op->task.loop->memory;
  self->label = self->path ? neap__memory_copy(memory, self->path)
                           : neap__sockaddr_label(memory, self->host, self->port);
  op->error.address = self->label;
  return self->label ? 0 : UV_ENOMEM;
}

bool neap__endpoint_parse(const neap__endpoint *self, neap__sockaddr *address) {
  if (!neap__sockaddr_parse(self->host, self->port, address)) return false;
  return self->family == AF_UNSPEC || self->family == address->any.sa_family;
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

int neap__endpoint_lookup(const neap__endpoint *self, neap__op *op, uv_getaddrinfo_t *request,
                          uv_getaddrinfo_cb on_found) {
  return neap__lookup(op, request, self->host, self->port, self->family, on_found);
}

void neap__endpoint_deinit(neap__endpoint *self, neap_loop *loop) {
  neap__memory_free(&loop->memory, self->host);
  neap__memory_free(&loop->memory, self->path);
  neap__memory_free(&loop->memory, self->label);
}
