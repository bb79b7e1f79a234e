/* Filters: what may stand between the socket of a stream and its reader and writers, such as TLS.
 *
 * What arrives goes through the filter before it reaches the reader, what is written goes through it before
 * it reaches the socket, and it may send on its own. All else of a stream stays what it is: the same reads,
 * writes and ends, with the same back-pressure. A write is done when the socket has taken all that was
 * made of it; a write that is cancelled has sent what was made of it by then.
 *
 * Until the filter is ready writes wait. What it has sent by itself is bounded: while too much of that waits
 * for the socket nothing more is read. */
#ifndef NEAP_OPS_FILTER_H
#define NEAP_OPS_FILTER_H

#include "stream.h"

#include <sys/types.h>

typedef struct neap__filter_kind {
  /* Makes plain bytes, `size` at most, at `place`, of the bytes at self->input, which it takes with
   * neap__filter_get. 0: there are none until more arrives, and the input is used up. UV_EOF: the peer has
   * said that no more comes. Other negative codes: it has failed for good, self->error says why. The first
   * call comes before anything has arrived: the filter may begin to speak. */
  ssize_t (*read)(neap__filter *self, char *place, size_t size);
  /* The socket has ended and the peer has not said so: UV_EOF; or an error, with self->cut of reads alone, or
   * with self->error as above. */
  int (*cut)(neap__filter *self);
  /* Makes of all `n` plain bytes, NEAP__FILTER_CHUNK at most, what is sent (neap__filter_put). 0, or an error
   * as above. Only called when it is ready. */
  int (*write)(neap__filter *self, const char *bytes, size_t n);
  /* Nothing will be written any more: puts what tells the peer. Called once, when it is ready. */
  void (*end)(neap__filter *self);
  /* Frees it. */
  void (*release)(neap__filter *self);
} neap__filter_kind;

enum {
  NEAP__FILTER_CHUNK = 48 * 1024, /* what cannot be taken back when a write is cancelled */
  NEAP__FILTER_LIMIT = 64 * 1024  /* of output that waits: more, and nothing is read */
};

/* Bytes on their way: [start, end) of a block. */
typedef struct neap__portion {
  char *block; /* own, or NULL */
  size_t start, end, capacity;
} neap__portion;

/* Begins the struct of a kind. The stream owns it. */
struct neap__filter {
  const neap__filter_kind *kind;
  neap__stream *stream;
  neap_error error;   /* why it has failed; code 0: it has not. What it points to is the filter's */
  neap_error cut;     /* why its input has ended without the peer saying so; writes may go on */
  bool is_ready;      /* set by the kind: writes may go on */
  neap__list waiting; /* operations that wait until it is ready, or has failed */
  neap__portion input;  /* has arrived; nothing, unless it is worked on or memory was short */
  neap__portion output; /* is to be sent */
  neap__portion flight; /* is with libuv */
  uv_write_t request;
  int write_code;    /* of the socket: no more can be sent */
  bool has_ended;    /* kind->end was called */
  bool is_choked;    /* nothing is read until the output has gone */
  bool is_lingering; /* the stream closes when the output has gone, or `patience` is over */
  neap__timer patience;
  bool is_private; /* nobody has the stream before it is ready: it closes when that fails */
};

/* Puts a filter, whose kind is set and which is zeroed else, on a stream. What has arrived and is not read
 * goes through it already. NEAP_ECLOSED; NEAP_EMISUSE if there is one already, or a read or a write is
 * pending. Owner: the stream, if the result is 0. */
int neap__filter_attach(neap__filter *self, neap__stream *stream);

/* Why it has failed, or its input has ended without the peer saying so; else `error` stays as it is. */
void neap__filter_explain(const neap__filter *self, neap_error *error);

/* Makes the filters of a server, or of a connection that is to be made. Counted by whoever implements it;
 * loop thread. */
typedef struct neap__filter_maker neap__filter_maker;
struct neap__filter_maker {
  /* Makes a filter and attaches it. */
  int (*attach)(neap__filter_maker *self, neap__stream *stream);
  void (*ref)(neap__filter_maker *self);
  void (*unref)(neap__filter_maker *self);
};

/* Done when the filter of the stream is ready; failed with its error. Arguments: stream (referenced). */
typedef struct neap__handshake {
  neap__op op;
  neap__op_link link; /* in filter->waiting */
  neap__stream *stream;
} neap__handshake;

extern const neap__op_kind neap__handshake_kind;

/* The same for an operation of another kind, which is native already: 0 if it is ready, 1 if the operation
 * is in the list now, which ends it; or the error, told to the operation. */
int neap__filter_wait(neap__filter *self, neap__op *op, neap__op_link *link);

/* ---- For the kinds --------------------------------------------------------------------------- */

/* Takes n bytes of the input at most; how many. */
size_t neap__filter_get(neap__filter *self, char *place, size_t n);

/* Adds to the output; false: no memory. */
bool neap__filter_put(neap__filter *self, const char *bytes, size_t n);

/* ---- For the stream -------------------------------------------------------------------------- */

/* A read wants more; as the source of a reader has it. */
int neap__filter_pull(neap__filter *self, const char **syscall);

/* Sends what can be sent of a write now. 0: no error; all has gone when sent == size and chunk == 0. */
int neap__filter_send(neap__write *self);

/* The end of the writes. True: it is on its way, and the output has gone; false: later, or *code. */
bool neap__filter_shut(neap__filter *self, int *code);

/* The stream begins to close: tells the peer if `is_orderly`, and nothing stands in the way. True: the socket
 * has no room for that now, and neap__stream_finish is called when it has gone, or after some seconds. */
bool neap__filter_close(neap__filter *self, bool is_orderly);
/* It need not wait any more. */
void neap__filter_hurry(neap__filter *self);

/* The memory of the stream goes. */
void neap__filter_free(neap__filter *self);

#endif
