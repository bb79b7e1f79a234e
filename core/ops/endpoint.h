/* Where to connect to or to listen: a host and a port, or the path of a Unix socket. */
#ifndef NEAP_OPS_ENDPOINT_H
#define NEAP_OPS_ENDPOINT_H

#include "../op.h"

#include <sys/un.h>

typedef struct neap__endpoint {
  char *host; /* own copy: an address or a name */
  char *
      path; /* own copy: of a Unix socket, "@name" for an abstract one (Linux); NULL: host and port */
  int port;
  int family;  /* AF_INET, AF_INET6; AF_UNSPEC: both */
  char *label; /* as errors name it: "host:port" or the path */
} neap__endpoint;

/* Words the label, as the address in the operation's errors. UV_ENOMEM. */
int neap__endpoint_label(neap__endpoint *self, neap__op *op);

/* The address where the host is one of the wanted family already; else false: it has to be looked up, which
 * refuses an address of the other family. */
bool neap__endpoint_parse(const neap__endpoint *self, struct sockaddr_storage *name);

/* The address of the Unix socket; UV_ENAMETOOLONG, UV_EINVAL, or UV_ENOTSUP where there are no abstract ones. */
int neap__endpoint_path(const neap__endpoint *self, struct sockaddr_un *name, socklen_t *length);

/* Begins to look the host up; its callback gets all addresses for streams of the wanted family. */
int neap__endpoint_resolve(const neap__endpoint *self, neap_loop *loop, uv_getaddrinfo_t *request,
                           uv_getaddrinfo_cb on_resolved);

void neap__endpoint_deinit(neap__endpoint *self, neap_loop *loop);

/* The length of an address of that family. */
static inline socklen_t neap__address_length(const struct sockaddr *name) {
  return name->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

#endif
