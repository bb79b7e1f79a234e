/* Listening for connections over TCP or a Unix socket, and accepting them. */
#ifndef NEAP_OPS_LISTEN_H
#define NEAP_OPS_LISTEN_H

#include "endpoint.h"
#include "stream.h"

/* A listening socket. */
typedef struct neap__server {
  neap__stream stream;
  neap__list acceptors; /* pending accepts, first come first served */
  int accept_code;      /* an error of listening to report to the next accept; 0 */
  uint32_t connections; /* announced by libuv, not accepted */
  char *path;           /* of its Unix socket in the file system, removed at close; NULL */
} neap__server;

/* Arguments: endpoint, backlog, and the options; result: server, see _take. Host "*" is every address of
 * both families. */
typedef struct neap__listen {
  neap__op op;
  neap__endpoint endpoint;
  int backlog;
  int mode; /* permissions of a Unix socket; -1: those that the umask leaves */
  bool reuses_port, is_ipv6_only;
  bool replaces; /* a Unix socket that nobody listens to any more */
  neap__server *server;
  uv_getaddrinfo_t resolve;
} neap__listen;

extern const neap__op_kind neap__listen_kind;

/* Arguments: server (referenced); result: stream, see _take. With `ends`, a server that is closed gives
 * none, instead of an error. */
typedef struct neap__accept {
  neap__op op;
  neap__list link;
  neap__server *server;
  bool ends;
  neap__stream *stream;
} neap__accept;

extern const neap__op_kind neap__accept_kind;

/* What the operation has made; the caller owns a reference. Once. */
neap__server *neap__listen_take(neap__listen *self);
neap__stream *neap__accept_take(neap__accept *self);

#endif
