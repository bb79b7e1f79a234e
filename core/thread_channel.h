/* Channels between threads: the parts of neap.h's neap_channel and neap_port that the bindings need.
 *
 * All that threads share is touched with the channel's mutex held. A wait is an operation of its own
 * loop, in a list of the channel. Whoever has something for it takes it off the list, gives it what it
 * waits for, and posts to its loop, where it settles. From the moment it leaves the list it is
 * completed: a cancellation that comes before the post finds it done. A loop that closes refuses the
 * post: the wait is skipped, and nothing was given. */
#ifndef NEAP_THREAD_CHANNEL_H
#define NEAP_THREAD_CHANNEL_H

#include "op.h"

#include "inbox.h"

typedef enum neap__transit_state {
  NEAP__TRANSIT_NEW,
  NEAP__TRANSIT_WAITING,   /* in a list of the channel */
  NEAP__TRANSIT_COMPLETED, /* off the list; the post is under way */
  NEAP__TRANSIT_WITHDRAWN  /* off the list, cancelled or about to be */
} neap__transit_state;

/* A send or a receive. Invariant: what stands after `op` and `port` is touched with the mutex held while
 * it is WAITING, and by its own loop's thread otherwise. */
typedef struct neap__transit {
  neap__op op;
  neap_port *port; /* a reference; NULL until it is started */
  neap__list link; /* among the senders or the receivers */
  neap__post post;
  void *item; /* to send, and owned until it is taken; or what was received */
  int code;   /* of its outcome, when it is COMPLETED */
  uint8_t state;
} neap__transit;

extern const neap__op_kind neap__send_kind, neap__recv_kind;

static inline neap__transit *neap__transit_of(neap__op *op) {
  return NEAP__CONTAINER(op, neap__transit, op);
}

#endif
