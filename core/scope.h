/* Explicit scopes: they own tasks, wait for them, and may have a deadline. */
#ifndef NEAP_SCOPE_H
#define NEAP_SCOPE_H

#include "task.h"
#include "timer.h"

/* Invariant: live is the number of routines whose owner it is and that have not ended. */
struct neap_scope {
  neap__node node;
  neap_loop *loop;
  neap__routine *task; /* the task that opened it; NULL for the loop's root */
  neap__timer deadline;
  neap__list failures; /* for the bindings: failed tasks of this owner that nobody has observed */
  size_t live;
  uint32_t host; /* for the bindings */
  bool is_joining;
  bool is_open;
  bool timed_out;
};

static inline neap_scope *neap__node_scope(const neap__node *node) {
  return NEAP__CONTAINER(node, neap_scope, node);
}

/* The innermost explicit scope of a routine, or NULL. */
static inline neap_scope *neap__routine_scope(const neap__routine *routine) {
  return routine->current->kind == NEAP__NODE_SCOPE ? neap__node_scope(routine->current) : NULL;
}

/* Opens `scope` (memory of the caller, stable until it is closed) as the innermost scope of
 * `routine`. With `routine` NULL it is a loop's root. */
void neap__scope_open(neap_scope *scope, neap_loop *loop, neap__routine *routine, bool shield);

/* Sets or moves the deadline to `now + seconds`; HUGE_VAL: none. UV_ENOMEM. */
int neap__scope_set_timeout(neap_scope *scope, double seconds);

/* Changes what reaches it from outside; a wait in progress is withdrawn if need be. */
void neap__scope_set_shield(neap_scope *scope, bool shield);

/* True if tasks in it are still running: the routine blocks until they have ended. */
bool neap__scope_join(neap_scope *scope);

/* Drops the operations that are left in it and takes it off its task, whose innermost scope it must
 * be, with no task alive in it. */
void neap__scope_close(neap_scope *scope);

/* Takes it off its task although tasks in it still run: they go to the scope around it. */
void neap__scope_abandon(neap_scope *scope);

/* The earliest deadline among the scopes visible from `node`; HUGE_VAL: none. */
double neap__effective_deadline(const neap__node *node);

#endif
