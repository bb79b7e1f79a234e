/* Byte streams of libuv: TCP and Unix sockets, pipes, terminals. How they come about is told in
 * connect.h, listen.h, process.h and standard.h; reading in reader.h; here is the rest. */
#ifndef NEAP_OPS_STREAM_H
#define NEAP_OPS_STREAM_H

#include "reader.h"

/* A stream. References: the holder's, libuv's until it has closed the handle, and one for each
 * operation. Pending operations on it are in the lists; when it closes they fail with ECLOSED. */
typedef struct neap__stream neap__stream;
typedef struct neap__filter neap__filter;
struct neap__stream {
  neap__resource resource;
  neap_loop *loop;
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
    uv_tty_t tty;
    uv_poll_t poll; /* of a server: a socket that is only accepted from */
  } uv;
  uint32_t refs;
  neap__reader reader;
  neap__filter *filter; /* between the socket and the rest (filter.h); NULL: none */
  neap__list writers;   /* pending writes and shutdowns, in order; the first is with libuv */
  neap__list closers;   /* those who wait for the end */
  /* What a kind of stream does when it begins to close, and when its memory goes. May be NULL. */
  void (*closing)(neap__stream *stream);
  void (*release)(neap__stream *stream);
  bool is_reading; /* libuv reads */
  bool was_served; /* the last read got its data, and no other has come yet */
  bool skips;      /* what libuv could read now is left in the socket */
  bool is_shut;    /* this direction has ended */
  bool is_dropped; /* nobody holds it but operations */
  bool is_closing, is_closed;
};

/* Makes a stream for a libuv handle of `type`: UV_TCP, UV_NAMED_PIPE, or UV_TTY or UV_POLL on `fd`. `size`: of the
 * struct that begins with it. The caller owns a reference. */
int neap__stream_new(neap_loop *loop, uv_handle_type type, int fd, size_t size,
                     neap__stream **result);

/* The same in zeroed memory that is there already, and is the stream's then. */
int neap__stream_init(neap__stream *stream, neap_loop *loop, uv_handle_type type, int fd);

void neap__stream_unref(neap__stream *stream);

/* Gives up the holder's reference to a stream that may be open: it closes when no operation needs it any
 * more. */
void neap__stream_drop(neap__stream *stream);

/* Starts to close; pending operations fail with ECLOSED. Idempotent. */
void neap__stream_close(neap__stream *stream);

/* The same, and a TCP peer gets a reset instead of an orderly end. */
int neap__stream_reset(neap__stream *stream);

/* One end of a socket. `port` is -1 for a Unix socket, whose path is `host`, "@name" if it is an
 * abstract one, "" if it has none. */
typedef struct neap__address {
  char host[128];
  int port;
} neap__address;

int neap__stream_address(const neap__stream *stream, bool peer, neap__address *address);
int neap__address_read(const struct sockaddr *name, size_t length, neap__address *address);

/* ---- Writing -------------------------------------------------------------------------------- */

enum { NEAP__FEW_BUFFERS = 4 };

/* A write, or a shutdown. Arguments: stream (referenced), buffers, whose bytes are the caller's until
 * neap__op_start has returned. Result: size, all of it. */
typedef struct neap__write {
  neap__op op;
  neap__op_link link; /* in stream->writers */
  neap__stream *stream;
  uv_buf_t few[NEAP__FEW_BUFFERS], *buffers; /* what is not sent; more than a few are own memory */
  unsigned count;
  size_t size;
  size_t sent;  /* has been written, or is with libuv */
  size_t chunk; /* of `sent`: with libuv, or in the output of the filter */
  char *kept;   /* own copy of the end of it: of what was not sent on the spot */
  size_t kept_size;
  bool is_shutting; /* libuv has the request of the shutdown */
  union {
    uv_write_t write;
    uv_shutdown_t shutdown;
  } request;
} neap__write;

extern const neap__op_kind neap__write_kind, neap__shutdown_kind;

/* Sends what the system takes at once, while nobody else waits to write; how many bytes those are, or a
 * negative code. UV_EAGAIN: none. */
int neap__stream_try_write(neap__stream *stream, const uv_buf_t *buffers, unsigned count);

/* Room for `count` buffers; false when out of memory. */
bool neap__write_reserve(neap__write *self, unsigned count);

/* ---- For the filter ------------------------------------------------------------------------- */

/* Lets libuv read, with callbacks of the filter's; harmless when it does. */
int neap__stream_listen(neap__stream *stream, uv_alloc_cb on_allocate, uv_read_cb on_read);
/* It reads no more. */
void neap__stream_rest(neap__stream *stream);
/* Whether what libuv could read now is left in the socket, until the task that was served has run. */
bool neap__stream_skips(neap__stream *stream);
/* It closes now: the filter has said its last word. */
void neap__stream_finish(neap__stream *stream);
/* Works off the writes until one has to wait. */
void neap__stream_pump(neap__stream *stream);
/* `n` bytes of it have been taken. */
void neap__write_took(neap__write *self, size_t n);

/* ---- The end -------------------------------------------------------------------------------- */

/* Done when the stream is closed. Arguments: stream (referenced), which is closing already. */
typedef struct neap__closing {
  neap__op op;
  neap__op_link link; /* in stream->closers */
  neap__stream *stream;
} neap__closing;

extern const neap__op_kind neap__closing_kind;

#endif
