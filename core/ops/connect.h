/* Connecting over TCP or to a Unix socket. */
#ifndef NEAP_OPS_CONNECT_H
#define NEAP_OPS_CONNECT_H

#include "endpoint.h"
#include "filter.h"

typedef struct neap__attempt neap__attempt;

/* Arguments: endpoint and the options; result: stream, see _take. A host with several addresses is
 * tried as RFC 8305 (Happy Eyeballs) says: the families take turns, the next address gets its chance when
 * the last one has failed or has been silent for a quarter of a second, and the first to answer wins. */
typedef struct neap__connect {
  neap__op op;
  neap__endpoint endpoint;
  neap__sockaddr local;      /* to bind to; of no family: no address, local_port at most */
  int local_port;            /* 0: any */
  unsigned keepalive;        /* seconds of silence before the first probe; 0: none */
  bool has_nagle;            /* Nagle's algorithm stays on */
  neap__filter_maker *maker; /* referenced, or NULL: done when the filter that it makes is ready */
  bool is_resolving;
  uv_getaddrinfo_t resolve;
  neap__sockaddr *queue; /* the addresses in the order in which they are tried; own */
  size_t queued, next;
  neap__attempt *attempts; /* that are under way */
  neap__timer timer;       /* until the next attempt */
  neap__stream *stream;    /* the winner's */
  neap__op_link link;      /* while it waits for the filter */
  int code;                /* of the last attempt that failed */
} neap__connect;

extern const neap__op_kind neap__connect_kind;

/* The stream that it has made; the caller owns a reference. Once. */
neap__stream *neap__connect_take(neap__connect *self);

#endif
