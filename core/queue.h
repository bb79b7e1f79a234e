/* Wait queues: first come, first served. Channels, semaphores and all that is like them stand on
 * this one.
 *
 * A wait is a task that hangs in the tree of cancellation and in the list of its queue. Whoever has
 * something to hand over wakes the first one, which is settled on the spot: from then on the thing
 * belongs to it, whatever happens before its waiter runs. A cancelled wait leaves the list at once,
 * so a hand-over never meets one. */
#ifndef NEAP_QUEUE_H
#define NEAP_QUEUE_H

#include "task.h"

/* Invariant: count is the length of waiters. */
struct neap_queue {
  neap_loop *loop;
  neap__list waiters; /* of neap__waiter */
  size_t count;
};

typedef struct neap__waiter neap__waiter;
struct neap__waiter {
  neap_task task;
  neap__list link; /* in its queue, while it is pending */
  neap_queue *queue;
  void *value; /* what it was woken with */
  /* The task that is cleaning up after the same cancellation and will wake it then: as long as there
   * is one, the wait goes on (SPEC C11). NULL: there is none, ever. */
  neap_task *(*awaited)(const neap__waiter *waiter);
};

void neap__queue_init(neap_queue *queue, neap_loop *loop);

/* The first wait, NULL when there is none. */
static inline neap__waiter *neap__queue_first(const neap_queue *queue) {
  if (neap__list_is_empty(&queue->waiters)) return NULL;
  return NEAP__CONTAINER(queue->waiters.next, neap__waiter, link);
}

/* Makes a wait in memory of the caller, which must stay until it has settled; it is not begun. */
void neap__waiter_init(neap__waiter *waiter, neap_queue *queue);

/* Begins it below the current scope, at the end of its queue; in a cancelled scope it is cancelled
 * instead. */
void neap__waiter_start(neap__waiter *waiter);

/* Ends a pending wait, as done or as failed; it leaves its queue before anybody is woken. */
void neap__waiter_settle(neap__waiter *waiter, neap_status status);

#endif
