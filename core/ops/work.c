#include "work.h"

#include "../cancel.h"
#include "../error.h"
#include "../loop.h"

#include <stdlib.h>

static neap__work *of_op(const neap__op *op) {
  return (neap__work *)(void *)(uintptr_t)op;
}

static neap_work *of_item(neap__pool_item *item) {
  return NEAP__CONTAINER(item, neap_work, item);
}

/* Thread: any. */
static void free_shared(neap_work *work) {
  if (work->kind->release) work->kind->release(work->data);
  neap_pool_unref(work->pool);
  neap_pool_unref(work->next);
  free(work->texts);
  free(work);
}

/* ---- On the pool's thread ------------------------------------------------------------------- */

static void run(neap__pool_item *item, neap__pool_thread *thread) {
  neap_work *work = of_item(item);
  (void)thread;
  int code = work->kind->run(work, work->data);
  if (code != work->error.code) work->error = (neap_error){.code = code};
}

/* A loop that closes waits for its work, so its inbox is open. */
static void end(neap__pool_item *item, bool is_abandoned) {
  neap_work *work = of_item(item);
  if (work->kind->finish && !work->next) work->kind->finish(work->data);
  if (is_abandoned)
    free_shared(work);
  else
    neap__inbox_send(work->loop->inbox, &work->post);
}

bool neap_work_is_cancelled(const neap_work *work) {
  return atomic_load(&work->is_cancelled);
}

void neap__work_move(neap_work *work, neap_pool *pool) {
  work->next = neap_pool_ref(pool);
}

void neap_work_fail(neap_work *work, const neap_error *error) {
  free(work->texts);
  neap__error_copy(&work->error, error, &work->texts);
}

/* ---- On the loop's thread ------------------------------------------------------------------- */

static void leave(neap__work *self) {
  neap_loop *loop = self->op.task.loop;
  neap__list_unlink(&self->link);
  neap__op_release_native(&self->op);
  neap_loop_release(loop);
}

/* It has ended: the pool is for others. */
static void finish(neap__work *self) {
  neap_work *work = self->shared;
  neap_pool *pool = work ? work->pool : NULL;
  if (work) work->pool = NULL;
  leave(self);
  neap_pool_unref(pool);
}

static void start_again(neap__work *self, neap_work *work) {
  neap_pool *former = work->pool;
  work->pool = work->next;
  work->next = NULL;
  neap_task_ref(&self->op.task);
  leave(self);
  int code = neap__op_kind_of(&self->op)->start(&self->op);
  if (code) neap__op_settle(&self->op, code);
  neap_task_unref(&self->op.task);
  neap_pool_unref(former);
}

static void on_ended(neap__post *post) {
  neap_work *work = NEAP__CONTAINER(post, neap_work, post);
  neap__work *self = work->op;
  int code = work->error.code;
  if (work->next && !neap_work_is_cancelled(work)) {
    start_again(self, work);
    return;
  }
  if (work->next) code = UV_ECANCELED;
  self->op.error = work->error;
  if (code == UV_ECANCELED && neap_work_is_cancelled(work)) {
    neap__op_cancel(&self->op.task);
    return;
  }
  neap__op_settle(&self->op, code);
  finish(self);
}

static void poke(neap__pool_item *item) {
  neap_work *work = of_item(item);
  if (work->kind->interrupt) work->kind->interrupt(work, work->data);
}

static void ask_to_stop(neap_work *work) {
  atomic_store(&work->is_cancelled, true);
  neap__pool_poke(work->pool, &work->item, poke);
}

/* Once it is abandoned, its thread may free it. */
static bool abandon(neap__work *self) {
  neap_work *work = self->shared;
  if (!work->kind->is_abandonable) return false;
  ask_to_stop(work);
  if (!neap__pool_abandon(work->pool, &work->item)) return false;
  self->shared = NULL;
  return true;
}

/* What becomes of it, once it is cancelled: true if it is to be waited for. */
static bool goes_on(neap__work *self) {
  if (self->is_gone) return false;
  self->is_gone = neap__pool_take_off(self->shared->pool, &self->shared->item) || abandon(self);
  return !self->is_gone;
}

/* Asked before the cancellation reaches it; by then it must not have begun to run. */
static bool keeps_waiters(const neap_task *task) {
  return task->status == NEAP_PENDING && goes_on((neap__work *)(uintptr_t)task);
}

static void reach(neap_task *task) {
  neap__work *self = (neap__work *)task;
  if (goes_on(self))
    ask_to_stop(self->shared);
  else
    neap__op_cancel(task);
}

static void abort_work(neap__op *op) {
  finish(of_op(op));
}

static int start(neap__op *op) {
  neap__work *self = of_op(op);
  neap_loop *loop = op->task.loop;
  int code = neap__pool_push(self->shared->pool, &self->shared->item);
  if (code) return neap__op_fail(op, "pthread_create", code);
  neap__list_append(&loop->works, &self->link);
  neap__op_acquire_native(op, true);
  neap_loop_hold(loop);
  return 0;
}

static void release(neap__op *op) {
  neap__work *self = of_op(op);
  if (self->shared) free_shared(self->shared);
}

static void *value(const neap_task *task) {
  return ((const neap__work *)task)->shared->data;
}

const neap__op_kind neap__work_kind = {
    .task = {.name = "work",
             .has_below = true,
             .cancel = reach,
             .reach = reach,
             .keeps_waiters = keeps_waiters,
             .error = neap__op_error,
             .value = value,
             .destroy = neap__op_destroy},
    .size = sizeof(neap__work),
    .start = start,
    .abort = abort_work,
    .release = release,
};

/* ---- Making and ending ---------------------------------------------------------------------- */

int neap__loop_pool(neap_loop *loop, neap_pool **pool) {
  int code = loop->pool ? 0 : neap_pool_new(loop->threads, &loop->pool);
  *pool = loop->pool;
  return code;
}

int neap__work_prepare(neap__work *self, neap_pool *pool, const neap_work_kind *kind, void *data) {
  neap_loop *loop = self->op.task.loop;
  int code = pool ? 0 : neap__loop_pool(loop, &pool);
  if (code) return code;
  /* What outlives the loop is not counted; let tests fail it here. */
  neap_work *work = neap__memory_must_fail(&loop->memory) ? NULL : calloc(1, sizeof *work);
  if (!work) return UV_ENOMEM;
  work->item.run = run;
  work->item.end = end;
  work->post.fn = on_ended;
  work->pool = neap_pool_ref(pool);
  work->loop = loop;
  work->op = self;
  work->kind = kind;
  work->data = data;
  atomic_init(&work->is_cancelled, false);
  neap__list_init(&self->link);
  self->shared = work;
  return 0;
}

int neap_work_start(neap_loop *loop, neap_pool *pool, const neap_work_kind *kind, void *data,
                    neap_task **task) {
  neap__op *op = neap__op_new(loop, &neap__work_kind);
  if (!op) return UV_ENOMEM;
  int code = neap__work_prepare(of_op(op), pool, kind, data);
  if (code) {
    neap_task_unref(&op->task);
    return code;
  }
  neap__op_start(op);
  *task = &op->task;
  return 0;
}

/* The last that has not been asked to stop: what is queued is taken off before what runs makes room. */
static neap_task *last_unasked(const neap_loop *loop) {
  for (const neap__list *link = loop->works.prev; link != &loop->works; link = link->prev) {
    neap__work *self = NEAP__CONTAINER(link, neap__work, link);
    if (!neap_work_is_cancelled(self->shared)) return &self->op.task;
  }
  return NULL;
}

void neap__work_end_all(neap_loop *loop) {
  for (neap_task *task; (task = last_unasked(loop));) {
    neap_task_ref(task);
    reach(task);
    neap_task_unref(task);
  }
  while (!neap__list_is_empty(&loop->works)) {
    neap__inbox_wait(loop->inbox);
    neap__inbox_drain(loop->inbox);
  }
}
