/* TCP: listening, connecting, reading and writing. */
#ifndef NEAP_OPS_STREAM_H
#define NEAP_OPS_STREAM_H

#include "../loop.h"
#include "../op.h"

/* A socket. References: the holder's, libuv's until it has closed the handle, and one for each
 * operation. Pending operations on it are in the lists; when it closes they fail with ECLOSED. */
typedef struct neap__stream {
  neap__resource resource;
  neap_loop *loop;
  uv_tcp_t tcp;
  uint32_t refs;
  neap__op *reader;     /* the pending read, or NULL */
  neap__list acceptors; /* pending accepts, first come first served */
  neap__list writers;   /* pending writes and shutdowns, in order; the first is with libuv */
  neap__list closers;   /* those who wait for the end */
  char *buffer;         /* what arrived when nobody read: [start, end) */
  size_t start, end;
  int read_code;        /* UV_EOF or an error to report once the buffer is empty; 0 */
  int accept_code;      /* an error of listening to report to the next accept; 0 */
  uint32_t connections; /* of a listener: announced by libuv, not accepted */
  bool is_reading;      /* libuv reads */
  bool is_closing, is_closed;
} neap__stream;

void neap__stream_unref(neap__stream *stream);

/* Starts to close; pending operations fail with ECLOSED. Idempotent. */
void neap__stream_close(neap__stream *stream);

/* "host:port" of one end, into `text`; `host` alone and the port if asked for. Negative code. */
enum { NEAP__ADDRESS_SIZE = INET6_ADDRSTRLEN + 16 };
int neap__stream_address(const neap__stream *stream, bool peer, char *host, size_t size, int *port);

/* Arguments in, results out; the data of a write and of a read are the operation's own memory. */
typedef struct neap__stream_op {
  neap__op op;
  neap__list link;      /* in one of the lists */
  neap__stream *stream; /* referenced; listen, connect, accept: the new one, see _take */
  neap__stream *server; /* accept: the listener, referenced */
  char *host;           /* own copy */
  int port;
  int backlog;
  char *address; /* "host:port", for errors */
  char *data;    /* own */
  size_t size;   /* read: at most, then what there is (0: the end); write: all of it */
  size_t sent;   /* write: how much of it has been written or is with libuv */
  bool is_shutdown;
  union {
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
    uv_getaddrinfo_t resolve;
  } request;
  struct addrinfo *addresses, *next_address;
} neap__stream_op;

extern const neap__op_kind neap__listen_kind;   /* host, port, backlog -> _take */
extern const neap__op_kind neap__connect_kind;  /* host, port -> _take */
extern const neap__op_kind neap__accept_kind;   /* server -> _take */
extern const neap__op_kind neap__read_kind;     /* stream, size -> data, size */
extern const neap__op_kind neap__write_kind;    /* stream, data, size */
extern const neap__op_kind neap__shutdown_kind; /* stream */
extern const neap__op_kind neap__close_kind;    /* stream, which is closing already */

/* The stream that the operation has made; the caller owns a reference. Once. */
neap__stream *neap__stream_op_take(neap__stream_op *self);

#endif
