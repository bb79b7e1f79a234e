/* Child processes: what becomes of them. How they come about is told in spawn.h.
 *
 * A child that nobody can tell any more how it ends is ended itself: when its holder, those who wait for
 * it and its pipes have gone, and at the latest when the loop closes. */
#ifndef NEAP_OPS_PROCESS_H
#define NEAP_OPS_PROCESS_H

#include "loan.h"
#include "stream.h"

enum { NEAP__STANDARD_STREAMS = 3 };

typedef struct neap__process neap__process;

/* References: the holder's, libuv's until the handle is closed, one for each operation and open pipe,
 * and one while it is being ended. */
struct neap__process {
  neap__resource resource; /* until it has ended, and all that was to be ended with it */
  neap_loop *loop;
  uv_process_t handle;
  uint32_t refs;
  uint32_t holders; /* the holder, pending waits and open pipes: without them it is ended */
  char *command;    /* own, for messages */
  int pid;          /* of its group, too, if it leads one */
  int code, signal; /* once it has ended: 128 + signal, as shells say, where a signal did it */
  bool leads_group; /* signals go to all of the group */
  bool is_detached; /* it is left alone */
  bool has_ended;   /* and was reaped: its number may be somebody else's */
  bool is_counted;  /* among the loop's jobs */
  bool is_ending;   /* it was asked to end; the timer goes on with it */
  bool is_killed;   /* by SIGKILL, since it did not end in time */
  bool is_over;     /* nothing more is done about it */
  neap__timer timer;
  double grace;                                /* from SIGTERM to SIGKILL */
  double left;                                 /* of the grace, for what is left of the group */
  double delay;                                /* to the next look at that */
  neap__stream *pipes[NEAP__STANDARD_STREAMS]; /* our ends, while they are open */
  neap__loan loans[NEAP__STANDARD_STREAMS];
  neap__list waiters; /* pending waits */
  neap__list closers; /* those who wait until it is over */
};

/* Sends a signal to it, or to its group. UV_ESRCH once it has ended. */
int neap__process_kill(neap__process *self, int signal);

/* Begins to end it: SIGTERM, after the grace SIGKILL, until nothing of it or its group runs; then its
 * pipes are closed. A detached one only loses its pipes. Idempotent. */
void neap__process_end(neap__process *self);

/* The holder has gone; takes its reference. */
void neap__process_drop(neap__process *self);
void neap__process_unref(neap__process *self);

/* A wait for its end, or for the end of its ending. Arguments: process (referenced). */
typedef struct neap__process_wait {
  neap__op op;
  neap__op_link link; /* in its waiters or closers */
  neap__process *process;
} neap__process_wait;

extern const neap__op_kind neap__process_wait_kind;
extern const neap__op_kind neap__process_close_kind; /* neap__process_end was called */

/* ---- For spawn.c ---------------------------------------------------------------------------- */

/* A process that does not run yet, with one reference; NULL when out of memory. */
neap__process *neap__process_new(neap_loop *loop, const char *command);

/* Makes our end of a pipe to it, place 0 to 2, of the descriptor `fd`, which it takes over if it
 * returns 0. The caller owns a reference to the stream. */
int neap__process_open_pipe(neap__process *self, int place, int fd, neap__stream **result);

/* The handle was given to uv_spawn, which has said `code`. */
void neap__process_started(neap__process *self, int code);

/* What uv_spawn is to call. */
void neap__process_on_exit(uv_process_t *handle, int64_t status, int signal);

#endif
