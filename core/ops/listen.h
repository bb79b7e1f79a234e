/* Listening for connections over TCP or a Unix socket, and accepting them. */
#ifndef NEAP_OPS_LISTEN_H
#define NEAP_OPS_LISTEN_H

#include "endpoint.h"
#include "filter.h"

/* A listening socket. It is polled and accepted from by hand: libuv's own way cannot say that descriptors
 * or memory are short without losing the connection, or looping for ever. So one that cannot be accepted
 * now waits in the backlog. */
typedef struct neap__server {
  neap__stream stream;  /* of the type UV_POLL */
  neap__list acceptors; /* pending accepts, first come first served */
  uv_handle_type type;  /* of what is accepted: UV_TCP or UV_NAMED_PIPE */
  int fd;
  char *path;                /* of its Unix socket in the file system, removed at close; NULL */
  neap__filter_maker *maker; /* for what is accepted; referenced, or NULL: none */
  bool is_polling;           /* somebody waits */
} neap__server;

/* Arguments: endpoint, backlog, and the options; result: server, see _take. Host "*" is every address of
 * both families. */
typedef struct neap__listen {
  neap__op op;
  neap__endpoint endpoint;
  int backlog;
  int mode; /* permissions of a Unix socket; -1: those that the umask leaves */
  bool reuses_port, is_ipv6_only;
  bool replaces;             /* a Unix socket that nobody listens to any more */
  neap__filter_maker *maker; /* for what the server accepts; referenced, or NULL: none */
  neap__server *server;
  uv_getaddrinfo_t resolve;
} neap__listen;

extern const neap__op_kind neap__listen_kind;

/* Arguments: server (referenced); result: stream, see _take. Its filter has begun and may not be ready: the
 * peer could let everybody wait for that. With `ends`, a server that is closed gives
 * none, instead of an error. */
typedef struct neap__accept {
  neap__op op;
  neap__op_link link; /* in server->acceptors */
  neap__server *server;
  bool ends;
  neap__stream *stream;
  void *memory; /* for the stream: once there is a connection it cannot fail for want of it */
} neap__accept;

extern const neap__op_kind neap__accept_kind;

/* A server for a socket that listens, which is its own now; the caller owns a reference. */
int neap__server_new(neap_loop *loop, int fd, uv_handle_type type, neap__server **result);

/* What the operation has made; the caller owns a reference. Once. */
neap__server *neap__listen_take(neap__listen *self);
neap__stream *neap__accept_take(neap__accept *self);

#endif
