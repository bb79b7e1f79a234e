/* Where to connect to or to listen: a host and a port, or the path of a Unix socket. */
#ifndef NEAP_OPS_ENDPOINT_H
#define NEAP_OPS_ENDPOINT_H

#include "dns.h"

#include <sys/un.h>

typedef struct neap__endpoint {
  char *host; /* own copy: an address or a name */
  char *path; /* own copy: of a Unix socket, "@name" for an abstract one; NULL: host and port */
  int port;
  int family;  /* AF_INET, AF_INET6; AF_UNSPEC: both */
  char *label; /* as errors name it: "host:port" or the path */
} neap__endpoint;

/* Words the label, as the address in the operation's errors. UV_ENOMEM. */
int neap__endpoint_label(neap__endpoint *self, neap__op *op);

/* The address where the host is one of the wanted family already; else false: it has to be looked up, which
 * refuses an address of the other family. */
bool neap__endpoint_parse(const neap__endpoint *self, neap__sockaddr *address);

/* The address of the Unix socket; UV_ENAMETOOLONG, UV_EINVAL, or UV_ENOTSUP where there are no abstract ones. */
int neap__endpoint_path(const neap__endpoint *self, struct sockaddr_un *name, socklen_t *length);

/* Looks the host up, as neap__lookup does. */
int neap__endpoint_lookup(const neap__endpoint *self, neap__op *op, uv_getaddrinfo_t *request,
                          uv_getaddrinfo_cb on_found);

void neap__endpoint_deinit(neap__endpoint *self, neap_loop *loop);

#endif
