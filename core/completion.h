/* Completions, as the core and the bindings see them.
 *
 * A completion is two things: what its holders share with the loop, in memory from malloc, and the operation
 * of the loop, whose task it is. The first may outlive the second and the loop.
 *
 * Memory is kept by one reference for all holders together, one for the operation and one for each post that
 * is on its way. */
#ifndef NEAP_COMPLETION_H
#define NEAP_COMPLETION_H

#include "inbox.h"
#include "op.h"
#include "value.h"

/* It leaves PENDING once; whoever takes it from there decides. */
typedef enum neap__completion_state {
  NEAP__COMPLETION_PENDING,
  NEAP__COMPLETION_ENDED, /* its holder has, well or not: `values` and `error` stay as they are */
  NEAP__COMPLETION_CANCELLED /* its task was, and ended at once */
} neap__completion_state;

struct neap_completion {
  atomic_size_t refs, holders;
  atomic_int state;
  atomic_bool is_cancelled; /* also where its task waits for its end */
  const neap_completion_kind *kind;
  neap_inbox *inbox;           /* a reference */
  neap_loop *loop;             /* of `op`; NULL: it is gone */
  struct neap__completing *op; /* NULL: not attached, or its task has ended. Thread: the loop's */
  bool ended_early;            /* before it had a task */
  neap__post post;
  neap_values values;
  neap_error error; /* code 0: it is done */
  char *texts;      /* of the error */
  _Alignas(max_align_t) char frame[];
};

/* The operation. */
typedef struct neap__completing {
  neap__op op;
  neap_completion *shared; /* a reference */
} neap__completing;

/* A completion without a task, with one holder, and `room` for its frame; NULL when out of memory. */
neap_completion *neap__completion_make(neap_loop *loop, const neap_completion_kind *kind,
                                       size_t room);

/* Makes its task, pending below the current scope or with the outcome that it has already. It is not called
 * in a cancelled scope. Owner: the caller has one reference to the task. UV_ENOMEM. */
int neap__completion_attach(neap_completion *self, neap_task **task);

/* Nobody will see how it ends: asks its work to end soon, unless it has. */
void neap__completion_abandon(neap_completion *self);

/* Whether it has ended without a task, and nobody but the caller holds it: it can be used again, when it is
 * emptied. */
bool neap__completion_is_spent(const neap_completion *completion);
/* Frees what is in it. */
void neap__completion_empty(neap_completion *self);
/* Makes an empty one as new, for another kind with a frame for which there is room. */
void neap__completion_reset(neap_completion *self, const neap_completion_kind *kind);

#endif
