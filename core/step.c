#include "step.h"

#include "cancel.h"
#include "loop.h"

#include <assert.h>

/* A task whose body is a C step function. */
typedef struct step_task {
  neap__routine routine;
  const neap_body *body;
  neap_task *awaited; /* referenced while it waits */
  neap_error error;
  void *value;
  void (*release_value)(void *value);
  bool has_failed, has_finished;
  _Alignas(max_align_t) char frame[];
} step_task;

static step_task *of_task(const neap_task *task) {
  return (step_task *)(void *)(uintptr_t)task;
}

static neap_status final_status(const step_task *self) {
  if (self->has_failed) return NEAP_FAILED;
  if (!self->has_finished && neap__routine_is_cancelled(&self->routine)) return NEAP_CANCELLED;
  return NEAP_DONE;
}

static void drop_scope(neap__routine *routine) {
  neap_scope *scope = neap__routine_scope(routine);
  neap__scope_close(scope);
  neap__memory_free(&routine->task.loop->memory, scope);
}

static void forget_awaited(step_task *self) {
  neap_task *awaited = self->awaited;
  self->awaited = NULL;
  if (awaited) neap_task_unref(awaited);
}

static void end(step_task *self, neap_status status) {
  forget_awaited(self);
  if (self->body->release) self->body->release(self->frame);
  neap__routine_end(&self->routine, status);
  neap_task_unref(&self->routine.task);
}

static void resume(neap__routine *routine) {
  step_task *self = of_task(&routine->task);
  neap_loop *loop = routine->task.loop;
  neap__routine *outer = loop->current;
  loop->current = routine;
  routine->state = NEAP__RUNNING;
  forget_awaited(self);
  neap_step_result result = self->body->step(&routine->task, self->frame);
  loop->current = outer;
  if (result == NEAP_STEP_WAIT) return;
  assert(!neap__routine_scope(routine)); /* a scope was not left */
  end(self, final_status(self));
}

static void drop(neap__routine *routine) {
  step_task *self = of_task(&routine->task);
  neap__wait_withdraw(&routine->wait);
  end(self, NEAP_CANCELLED);
}

static const neap_error *step_error(const neap_task *task) {
  return &of_task(task)->error;
}

static void *step_value(const neap_task *task) {
  return of_task(task)->value;
}

static void destroy(neap_task *task) {
  step_task *self = of_task(task);
  neap_loop *loop = task->loop;
  if (self->release_value && self->value) self->release_value(self->value);
  neap__loop_anchor(loop);
  neap__task_deinit(task);
  neap__memory_free(&loop->memory, self);
  neap__loop_unanchor(loop);
}

static const neap__task_kind step_kind = {
    .name = "step",
    .has_body = true,
    .resume = resume,
    .drop = drop,
    .drop_scope = drop_scope,
    .error = step_error,
    .value = step_value,
    .destroy = destroy,
};

int neap_task_start(neap_loop *loop, const neap_body *body, const void *init, neap_task **task) {
  if (loop->is_closing) return NEAP_ECLOSED;
  step_task *self = neap__memory_new(&loop->memory, sizeof *self + body->frame_size);
  if (!self) return UV_ENOMEM;
  neap__routine_init(&self->routine, loop, &step_kind, neap__current_node(loop),
                     neap__current_owner(loop));
  self->body = body;
  if (init) {
    const char *from = init;
    for (size_t i = 0; i < body->frame_size; i++) self->frame[i] = from[i];
  }
  neap_task_ref(&self->routine.task); /* until it ends */
  *task = &self->routine.task;
  resume(&self->routine);
  return 0;
}

bool neap_task_await(neap_task *self, neap_task *other) {
  step_task *step = of_task(self);
  assert(self->kind == &step_kind && self->loop->current == &step->routine && self != other);
  if (other->status != NEAP_PENDING) return false;
  if (neap__routine_is_cancelled(&step->routine)) {
    neap__routine_wake(&step->routine, NEAP__WAKE_CANCEL); /* a wait would not come back */
    return true;
  }
  step->awaited = neap_task_ref(other);
  neap__routine_await(&step->routine, other);
  return true;
}

void neap_task_pause(neap_task *self) {
  neap__routine_wake(neap__task_routine(self), NEAP__WAKE_TURN);
}

bool neap_task_is_cancelling(const neap_task *self) {
  return neap__routine_is_cancelled((const neap__routine *)self);
}

void neap_task_finish(neap_task *self, void *value, void (*release)(void *value)) {
  step_task *step = of_task(self);
  if (step->release_value && step->value) step->release_value(step->value); /* said twice */
  step->has_finished = true;
  step->value = value;
  step->release_value = release;
}

void neap_task_fail(neap_task *self, const neap_error *error) {
  step_task *step = of_task(self);
  step->has_failed = true;
  step->error =
      (neap_error){.code = error->code, .message = error->message, .syscall = error->syscall};
}

int neap_scope_enter(neap_task *self, double timeout, bool shield, neap_scope **result) {
  neap_loop *loop = self->loop;
  if (!(timeout >= 0)) return UV_EINVAL;
  neap_scope *scope = neap__memory_new(&loop->memory, sizeof *scope);
  if (!scope) return UV_ENOMEM;
  neap__scope_open(scope, loop, neap__task_routine(self), shield);
  int code = neap__scope_set_timeout(scope, timeout);
  if (code) {
    neap__scope_close(scope);
    neap__memory_free(&loop->memory, scope);
    return code;
  }
  *result = scope;
  return 0;
}

bool neap_scope_exit(neap_task *self, neap_scope *scope) {
  if (neap__scope_join(scope)) return true;
  neap__scope_close(scope);
  neap__memory_free(&self->loop->memory, scope);
  return false;
}

bool neap_scope_cancel(neap_scope *scope) {
  return neap__node_cancel(&scope->node, NULL);
}

bool neap_scope_cancel_requested(const neap_scope *scope) {
  return scope->node.is_requested;
}

bool neap_scope_timed_out(const neap_scope *scope) {
  return scope->timed_out;
}
