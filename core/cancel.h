/* Requests of cancellation, and their delivery. */
#ifndef NEAP_CANCEL_H
#define NEAP_CANCEL_H

#include "scope.h"

/* Cancels a scope or the root scope of a task; true the first time. Takes `cause` over (it may be
 * NULL) if it returns true. Linear in what is below it; runs no code of a task, allocates nothing,
 * does not recurse. */
bool neap__node_cancel(neap__node *node, neap__cause *cause);

/* Delivers after `node` has changed its shield. */
void neap__node_changed(neap__node *node);

/* One more holder of a cause, and one less; it may be NULL. */
static inline neap__cause *neap__cause_ref(neap__cause *cause) {
  if (cause) cause->refs++;
  return cause;
}
void neap__cause_forget(neap__cause *cause, neap_loop *loop);

/* Sorts tasks that are linked by deliver_next, the oldest first; returns the first. Allocates nothing. */
neap_task *neap__sort_by_creation(neap_task *list);

/* Drops the node's reference to its cause. */
void neap__node_forget_cause(neap__node *node, neap_loop *loop);

/* Whether a pending task was cancelled and needs time to end: who waits for it and was reached by the
 * same cancellation goes on waiting (SPEC C11). */
bool neap__is_cleaning_up(const neap_task *task);

/* Seeks a cycle of waits that cancellation has kept and that nobody can wake; withdraws the wait of
 * its youngest task. False when there is none. Linear in the number of tasks. */
bool neap__break_kept_cycle(neap_loop *loop);

#endif
