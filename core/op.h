/* Operations: native work that settles once.
 *
 * Life: neap__op_new -> the maker fills in the arguments -> neap__op_start -> either the work ends
 * (neap__op_settle), or it is cancelled; what libuv still holds is then an orphan that frees itself
 * in its callback (neap__op_release_native). Two references: the holder's, and the native one while
 * libuv or the timer heap points at it. So an operation may be dropped in every state. */
#ifndef NEAP_OP_H
#define NEAP_OP_H

#include "task.h"

typedef struct neap__op neap__op;

typedef struct neap__op_kind {
  neap__task_kind task; /* filled with NEAP__OP_TASK */
  size_t size;          /* of the struct that begins with neap__op */
  bool is_local; /* nothing but the loop ever points at it: it may live in the host's memory */
  /* Starts the work: calls neap__op_acquire_native where something outside points at it, or settles
   * it on the spot. A negative code fails it. Called once, at most. */
  int (*start)(neap__op *op);
  /* Tries to end the work early; its callback may come before this returns, later or, for work that
   * has left libuv's hands, never. The operation is settled already. NULL: let it run out. */
  void (*abort)(neap__op *op);
  /* Frees the arguments and what of the result nobody has taken. May be NULL. */
  void (*release)(neap__op *op);
} neap__op_kind;

struct neap__op {
  neap_task task;
  neap_error error; /* when it failed; path and address belong to the operation */
  uint32_t pin;     /* for the bindings: what keeps an embedded one while it is native */
  bool is_embedded; /* in memory of the host, not of the core */
  bool is_native;   /* something outside points at it */
  bool is_job;      /* it is in the thread pool: it ends by itself */
};

/* The part of a kind that is the same for all operations. */
#define NEAP__OP_TASK(task_name)                                                                   \
  {                                                                                                \
    .name = (task_name), .cancel = neap__op_cancel, .error = neap__op_error,                       \
    .destroy = neap__op_destroy                                                                    \
  }

static inline const neap__op_kind *neap__op_kind_of(const neap__op *op) {
  return NEAP__CONTAINER(op->task.kind, const neap__op_kind, task);
}

/* Zeroed, one reference for the caller; NULL when out of memory. */
neap__op *neap__op_new(neap_loop *loop, const neap__op_kind *kind);

/* The same in memory of the host, `kind->size` bytes, for a local kind. The host keeps it while it is
 * native; what `pin` stands for is released then. */
void neap__op_init(neap__op *op, neap_loop *loop, const neap__op_kind *kind);

/* Starts it below the current scope; in a cancelled scope it is cancelled instead. Never fails:
 * errors are its outcome. */
void neap__op_start(neap__op *op);

/* The work has ended: `code` 0 or an error, whose other fields are set before. Ignored if it was
 * cancelled meanwhile. */
void neap__op_settle(neap__op *op, int code);

/* Something outside (libuv, the timer heap) points at it from now on; `is_job` for the pool. */
void neap__op_acquire_native(neap__op *op, bool is_job);
/* Nothing outside points at it any more. May free it. */
void neap__op_release_native(neap__op *op);

/* Whether whoever wanted the result has gone. */
static inline bool neap__op_is_orphan(const neap__op *op) {
  return op->task.status != NEAP_PENDING;
}

/* Notes the call that has failed; gives the code again. */
static inline int neap__op_fail(neap__op *op, const char *syscall, int code) {
  op->error.syscall = syscall;
  return code;
}

/* ---- Operations that wait in a list of the object they are on -------------------------------- */

/* A place in such a list. What is in it is native, and no job. */
typedef struct neap__op_link {
  neap__list list;
  neap__op *op;
} neap__op_link;

/* Goes to the end of the list. */
void neap__op_enter(neap__op *op, neap__op_link *link, neap__list *list);
/* Leaves it: the operation was cancelled. May free it. */
void neap__op_leave(neap__op_link *link);
/* Leaves it and settles. May free it. */
void neap__op_end(neap__op_link *link, int code);
/* The same for all in a list, in their order, also for those that enter it meanwhile. */
void neap__op_end_all(neap__list *list, int code);

/* The first in the list; NULL if it is empty. */
static inline neap__op *neap__op_first(const neap__list *list) {
  if (neap__list_is_empty(list)) return NULL;
  return NEAP__CONTAINER(list->next, neap__op_link, list)->op;
}

void neap__op_cancel(neap_task *task);
const neap_error *neap__op_error(const neap_task *task);
void neap__op_destroy(neap_task *task);

#endif
