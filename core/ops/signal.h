/* Signals of the process. */
#ifndef NEAP_OPS_SIGNAL_H
#define NEAP_OPS_SIGNAL_H

#include "../loop.h"
#include "../op.h"

/* "SIGTERM" -> SIGTERM; 0 for a name that is none. */
int neap__signal_number(const char *name);
/* SIGTERM -> "SIGTERM"; NULL for a number without a name. Static. */
const char *neap__signal_name(int number);

/* Why the signal cannot be waited for; NULL if it can. Static. */
const char *neap__signal_obstacle(int number);

typedef struct neap__signals neap__signals;

/* One of the signals that somebody listens to. */
typedef struct neap__signal {
  uv_signal_t handle;
  neap__list link; /* in owner->arrived: each signal is there once, as the kernel keeps them */
  neap__signals *owner;
  int number;
  bool was_ignored; /* by the process, before */
} neap__signal;

/* Listens from its making until it is closed. References: the holder's, one while libuv has handles, one
 * for each operation. It keeps the loop alive only while somebody waits. */
struct neap__signals {
  neap__resource resource;
  neap_loop *loop;
  uint32_t refs;
  neap__op *waiter;   /* the pending next, or NULL */
  neap__list arrived; /* signals that nobody has taken, in the order of their arrival */
  neap__list closers; /* those who wait for the end */
  bool is_closing, is_dropped;
  size_t open; /* handles that libuv has; the first ones */
  size_t count;
  neap__signal signals[];
};

/* `numbers`: each once. A negative code. */
int neap__signals_new(neap_loop *loop, const int *numbers, size_t count, neap__signals **result);

/* Stops to listen; a pending next is done without a signal. Idempotent. */
void neap__signals_close(neap__signals *self);
void neap__signals_unref(neap__signals *self);
/* Its holder has gone: it closes when nobody waits any more. Takes the holder's reference. */
void neap__signals_drop(neap__signals *self);

typedef struct neap__signals_op {
  neap__op op;
  neap__signals *signals; /* referenced */
  neap__op_link link;     /* in signals->closers */
  int number;             /* next: what has arrived; 0: it was closed */
} neap__signals_op;

extern const neap__op_kind neap__signals_next_kind;  /* signals -> number */
extern const neap__op_kind neap__signals_close_kind; /* signals, which are closing already */

#endif
