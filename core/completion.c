#include "completion.h"

#include "cancel.h"
#include "error.h"
#include "loop.h"

#include <stdlib.h>
#include <string.h>

/* ---- What is shared. Thread: any ------------------------------------------------------------- */

static void free_contents(neap_completion *self) {
  if (self->kind->release) self->kind->release(self->frame);
  neap__values_clear(&self->values);
  free(self->texts);
}

static void drop(neap_completion *self) {
  if (atomic_fetch_sub(&self->refs, 1) > 1) return;
  free_contents(self);
  neap_inbox_unref(self->inbox);
  free(self);
}

/* The post takes a reference over, which it drops. */
static bool send_post(neap_completion *self) {
  if (neap__inbox_send(self->inbox, &self->post)) return true;
  drop(self);
  return false;
}

static bool take_end(neap_completion *self) {
  int pending = NEAP__COMPLETION_PENDING;
  return atomic_compare_exchange_strong(&self->state, &pending, NEAP__COMPLETION_ENDED);
}

neap_completion *neap_completion_ref(neap_completion *self) {
  atomic_fetch_add_explicit(&self->holders, 1, memory_order_relaxed);
  return self;
}

/* Nobody is left who could complete it. */
void neap_completion_unref(neap_completion *self) {
  if (!self || atomic_fetch_sub(&self->holders, 1) > 1) return;
  if (!take_end(self)) {
    drop(self);
    return;
  }
  self->error = (neap_error){.code = NEAP_EMISUSE,
                             .message = "its completion was let go of before it was completed",
                             .syscall = self->kind->name};
  send_post(self);
}

void *neap_completion_frame(neap_completion *self) {
  return self->frame;
}

neap_loop *neap_completion_loop(const neap_completion *self) {
  return self->loop;
}

neap_values *neap_completion_values(neap_completion *self) {
  return atomic_load(&self->state) == NEAP__COMPLETION_PENDING ? &self->values : NULL;
}

bool neap_completion_is_cancelled(const neap_completion *self) {
  return atomic_load(&self->is_cancelled);
}

static int refusal(const neap_completion *self) {
  bool is_cancelled = atomic_load(&self->state) == NEAP__COMPLETION_CANCELLED;
  return is_cancelled ? UV_ECANCELED : NEAP_EMISUSE;
}

/* What it ends with; the state is ENDED, so nobody else touches it. */
static void set_outcome(neap_completion *self, const neap_error *error) {
  int code = neap_values_error(&self->values);
  if (error)
    neap__error_copy(&self->error, error, &self->texts);
  else
    self->error = (neap_error){.code = code, .syscall = code ? self->kind->name : NULL};
}

/* ---- The operation. Thread: the loop's ------------------------------------------------------- */

static neap__completing *of_task(const neap_task *task) {
  return (neap__completing *)(uintptr_t)task;
}

/* The task has ended, or is about to: the loop waits for nobody any more. */
static void leave(neap__completing *op) {
  neap_loop *loop = op->op.task.loop;
  op->shared->op = NULL;
  neap_loop_release(loop);
  neap__op_release_native(&op->op);
}

static bool was_cancelled(const neap_completion *self) {
  return self->error.code == UV_ECANCELED && neap_completion_is_cancelled(self);
}

static void settle(neap__completing *op) {
  neap_task *task = neap_task_ref(&op->op.task);
  op->op.error = op->shared->error;
  if (was_cancelled(op->shared))
    neap__op_cancel(task); /* aborts: leaves */
  else {
    neap__op_settle(&op->op, op->shared->error.code);
    leave(op);
  }
  neap_task_unref(task);
}

static void on_ended(neap__post *post) {
  neap_completion *self = NEAP__CONTAINER(post, neap_completion, post);
  if (self->op)
    settle(self->op);
  else
    self->ended_early = true; /* or it has no task any more */
  drop(self);
}

int neap_completion_end(neap_completion *self, const neap_error *error) {
  if (!take_end(self)) return refusal(self);
  set_outcome(self, error);
  if (self->op)
    settle(self->op);
  else
    self->ended_early = true;
  return 0;
}

int neap_completion_post(neap_completion *self, const neap_error *error) {
  if (!take_end(self)) return refusal(self);
  set_outcome(self, error);
  atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
  return send_post(self) ? 0 : NEAP_ECLOSED;
}

static void ask_to_end(neap_completion *self) {
  if (atomic_exchange(&self->is_cancelled, true)) return;
  if (self->kind->cancel) self->kind->cancel(self, self->frame);
}

/* Whether the cancellation comes before its end; said once, it stays so. */
static bool take_cancelled(neap_completion *self) {
  int state = NEAP__COMPLETION_PENDING;
  return atomic_compare_exchange_strong(&self->state, &state, NEAP__COMPLETION_CANCELLED) ||
         state == NEAP__COMPLETION_CANCELLED;
}

/* Where another thread is completing it, its post will settle it: before that the outcome is not to be read.
 * A loop that closes has refused the post, so it has not happened. */
static void reach(neap_task *task) {
  neap_completion *self = of_task(task)->shared;
  bool is_closing = task->loop->is_closing;
  neap_task_ref(task);
  atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
  if (self->kind->is_joined && !is_closing) {
    ask_to_end(self);
  } else if (take_cancelled(self)) {
    ask_to_end(self);
    if (task->status == NEAP_PENDING) neap__op_cancel(task);
  } else if (is_closing && task->status == NEAP_PENDING) {
    neap__op_cancel(task);
  }
  drop(self);
  neap_task_unref(task);
}

/* Asked before the cancellation reaches it: what was completed by now will be done. */
static bool keeps_waiters(const neap_task *task) {
  neap_completion *self = of_task(task)->shared;
  if (task->status != NEAP_PENDING) return false;
  if (self->kind->is_joined) return true;
  return !take_cancelled(self);
}

static void abort_completing(neap__op *op) {
  leave(of_task(&op->task));
}

static void release(neap__op *op) {
  neap_completion *self = of_task(&op->task)->shared;
  if (!self) return;
  if (self->op == of_task(&op->task)) self->op = NULL;
  drop(self);
}

static int start(neap__op *op) {
  neap__completing *self = of_task(&op->task);
  neap__op_acquire_native(op, true);
  neap_loop_hold(op->task.loop);
  self->shared->op = self;
  return 0;
}

static void *value(const neap_task *task) {
  return of_task(task)->shared->frame;
}

static const neap_values *values(const neap_task *task) {
  return &of_task(task)->shared->values;
}

static const neap__op_kind completing_kind = {
    .task = {.name = "completion",
             .has_below = true,
             .cancel = reach,
             .reach = reach,
             .keeps_waiters = keeps_waiters,
             .error = neap__op_error,
             .value = value,
             .values = values,
             .destroy = neap__op_destroy},
    .size = sizeof(neap__completing),
    .start = start,
    .abort = abort_completing,
    .release = release,
};

/* ---- Making --------------------------------------------------------------------------------- */

neap_completion *neap__completion_make(neap_loop *loop, const neap_completion_kind *kind,
                                       size_t room) {
  bool must_fail = neap__memory_must_fail(&loop->memory);
  neap_completion *self = must_fail ? NULL : malloc(sizeof *self + room);
  if (!self) return NULL;
  self->loop = loop;
  self->inbox = neap_inbox_ref(loop->inbox);
  self->post.fn = on_ended;
  neap__values_init(&self->values);
  self->texts = NULL;
  neap__completion_reset(self, kind);
  return self;
}

void neap__completion_reset(neap_completion *self, const neap_completion_kind *kind) {
  atomic_init(&self->refs, 1);
  atomic_init(&self->holders, 1);
  atomic_init(&self->state, NEAP__COMPLETION_PENDING);
  atomic_init(&self->is_cancelled, false);
  self->kind = kind;
  self->op = NULL;
  self->ended_early = false;
  self->error = (neap_error){0};
  memset(self->frame, 0, kind->frame_size);
}

static const neap_completion_kind empty_kind = {.name = "empty"};

void neap__completion_empty(neap_completion *self) {
  free_contents(self);
  self->texts = NULL;
  self->kind = &empty_kind;
}

bool neap__completion_is_spent(const neap_completion *self) {
  return atomic_load_explicit(&self->holders, memory_order_acquire) == 1 &&
         atomic_load_explicit(&self->refs, memory_order_acquire) == 1 &&
         atomic_load_explicit(&self->state, memory_order_acquire) == NEAP__COMPLETION_ENDED;
}

int neap__completion_attach(neap_completion *self, neap_task **task) {
  neap__op *op = neap__op_new(self->loop, &completing_kind);
  if (!op) return UV_ENOMEM;
  neap__completing *completing = of_task(&op->task);
  atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
  completing->shared = self;
  neap__op_start(op);
  if (op->task.status == NEAP_CANCELLED) take_cancelled(self);
  if (self->ended_early && self->op) settle(completing);
  *task = &op->task;
  return 0;
}

void neap__completion_abandon(neap_completion *self) {
  if (take_cancelled(self)) ask_to_end(self);
}

int neap_completion_new(neap_loop *loop, const neap_completion_kind *kind,
                        neap_completion **completion, neap_task **task) {
  if (loop->is_closing) return NEAP_ECLOSED;
  neap_completion *self = neap__completion_make(loop, kind, kind->frame_size);
  if (!self) return UV_ENOMEM;
  int code = neap__completion_attach(self, task);
  if (code) {
    neap_completion_unref(self);
    return code;
  }
  bool is_cancelled = (*task)->status == NEAP_CANCELLED; /* before any work has begun */
  if (is_cancelled) atomic_store(&self->is_cancelled, true);
  *completion = self;
  return 0;
}
