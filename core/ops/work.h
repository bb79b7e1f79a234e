/* Work: functions of the host that run on the threads of a pool, each as one operation. */
#ifndef NEAP_OPS_WORK_H
#define NEAP_OPS_WORK_H

#include "../op.h"
#include "../pool.h"

#include "../inbox.h"

#include <stdatomic.h>

/* What the thread sees. Shared: the loop's thread lets go of it when it was abandoned, else the pool's does
 * when it has posted. */
struct neap_work {
  neap__pool_item item;
  neap__post post;
  neap_pool *pool; /* referenced */
  neap_loop *loop; /* not to be touched by the thread, but for its inbox, once it was abandoned */
  struct neap__work *op;
  const neap_work_kind *kind;
  void *data;
  neap_error error; /* code: what `run` has returned */
  char *texts;      /* of the error */
  neap_pool *next;  /* referenced: where it runs once more; NULL: it has ended */
  atomic_bool is_cancelled;
};

typedef struct neap__work {
  neap__op op;
  neap__list link;   /* in loop->works, while it is native */
  neap_work *shared; /* NULL: not prepared, or abandoned */
  bool is_gone;      /* it was cancelled, and nothing of it is waited for */
} neap__work;

extern const neap__op_kind neap__work_kind;

/* Before neap__op_start: what is to run. UV_ENOMEM: `data` is still the caller's. */
int neap__work_prepare(neap__work *self, neap_pool *pool, const neap_work_kind *kind, void *data);

/* From `run`, which returns next: it runs once more, in another pool, unless it was cancelled meanwhile. The
 * operation is started anew, by its own kind. */
void neap__work_move(neap_work *work, neap_pool *pool);

/* What the thread that runs it keeps. Thread: that one. */
static inline neap__pool_thread *neap__work_thread(const neap_work *work) {
  return work->item.thread;
}

/* Pushes no more work and waits for what runs: the loop closes. */
void neap__work_end_all(neap_loop *loop);

/* The pool for work that names none; made when it is first needed. */
int neap__loop_pool(neap_loop *loop, neap_pool **pool);

#endif
