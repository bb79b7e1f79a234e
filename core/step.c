#include "step.h"

#include "cancel.h"
#include "completion.h"
#include "error.h"
#include "loop.h"

#include <assert.h>
#include <stdlib.h>

/* What runs in a task: its body, then its cleanup behind a shield. Between them its scopes are left. */
typedef enum step_phase { IN_BODY, LEAVING_BODY, IN_CLEANUP, LEAVING_CLEANUP } step_phase;

/* A task whose body is a C step function. */
typedef struct step_task {
  neap__routine routine;
  const neap_body *body;
  neap_task *waiting; /* neap_task_await: referenced while it waits */
  neap_task *awaited; /* neap_await: referenced up to the next one */
  neap_error error;
  char *texts; /* its strings */
  void *value;
  void (*release_value)(void *value);
  neap_values results;
  neap_scope shield; /* of the cleanup */
  int place;
  uint8_t phase;
  bool is_awaiting; /* the step returns to find out how neap_await has ended */
  bool is_settling; /* ... whatever it is */
  bool is_interrupted;
  bool has_failed, has_finished;
  _Alignas(max_align_t) char frame[];
} step_task;

static step_task *of_task(const neap_task *task) {
  return (step_task *)(void *)(uintptr_t)task;
}

static void close_scope(step_task *self, neap_scope *scope) {
  neap__scope_close(scope);
  if (scope != &self->shield) neap__memory_free(&self->routine.task.loop->memory, scope);
}

static void drop_scope(neap__routine *routine) {
  close_scope(of_task(&routine->task), neap__routine_scope(routine));
}

static void forget(neap_task **place) {
  neap_task *task = *place;
  *place = NULL;
  if (task) neap_task_unref(task);
}

/* ---- Ending --------------------------------------------------------------------------------- */

static void end(step_task *self, neap_status status) {
  forget(&self->waiting);
  forget(&self->awaited);
  if (self->body->release) self->body->release(self->frame);
  neap__routine_end(&self->routine, status);
  neap_task_unref(&self->routine.task);
}

static void fail(step_task *self, const neap_error *error) {
  if (self->has_failed) return; /* the first counts */
  self->has_failed = true;
  neap__error_copy(&self->error, error, &self->texts);
}

/* What went wrong with its results has failed it. */
static neap_status final_status(step_task *self) {
  bool is_cancelled = self->is_interrupted || neap__routine_is_cancelled(&self->routine);
  if (!self->has_failed && is_cancelled && !self->has_finished) return NEAP_CANCELLED;
  int code = neap_values_error(&self->results);
  if (code) fail(self, &(neap_error){.code = code});
  return self->has_failed ? NEAP_FAILED : NEAP_DONE;
}

/* An await was cut off, and no cancellation from outside did it: this scope has. */
static void explain_interruption(step_task *self, const neap_scope *scope) {
  bool is_from_outside = neap__node_is_cancelled(scope->node.parent);
  if (!self->is_interrupted || is_from_outside || !neap_scope_cancel_requested(scope)) return;
  self->is_interrupted = false;
  fail(self, &(neap_error){.code = scope->timed_out ? UV_ETIMEDOUT : NEAP_ECANCELLED});
}

/* Leaves the scopes that it has left open, as an error of the body that leaves them would; those of the cleanup,
 * which has none, are waited for. False: their tasks still run. */
static bool leave_scopes(step_task *self) {
  for (neap_scope *scope; (scope = neap__routine_scope(&self->routine));) {
    bool is_body = self->phase == LEAVING_BODY;
    if (is_body) explain_interruption(self, scope);
    if (is_body && (self->is_interrupted || self->has_failed)) neap_scope_cancel(scope);
    if (neap__scope_join(scope)) return false;
    close_scope(self, scope);
  }
  return true;
}

static void begin_cleanup(step_task *self) {
  self->phase = IN_CLEANUP;
  self->place = 0;
  self->is_awaiting = false;
  neap__scope_open(&self->shield, self->routine.task.loop, &self->routine, true);
}

/* ---- Running -------------------------------------------------------------------------------- */

/* A copy: a task of Lua is there as long as Lua has it. Its error is with Lua, too. */
static void fail_as(step_task *self, const neap_task *other) {
  const neap_error *error = neap_task_error(other);
  fail(self, error ? error : &(neap_error){.code = NEAP_ESCRIPT});
}

/* How the wait of neap_await has ended: true if the body goes on. In a cleanup it always does. */
static bool has_arrived(step_task *self) {
  const neap_task *awaited = self->awaited;
  self->is_awaiting = false;
  if (self->is_settling || self->phase == IN_CLEANUP || awaited->status == NEAP_DONE) return true;
  if (awaited->status == NEAP_FAILED) {
    fail_as(self, awaited);
  } else if (neap__routine_is_cancelled(&self->routine)) {
    self->is_interrupted = true;
  } else {
    fail(self, &(neap_error){.code = NEAP_ECANCELLED});
  }
  return false;
}

/* NEAP_STEP_WAIT, or NEAP_STEP_END of this phase. */
static neap_step_result run_step(step_task *self, neap_step step) {
  neap_step_result result = NEAP_STEP_NEXT;
  while (result == NEAP_STEP_NEXT) {
    if (self->is_awaiting && !has_arrived(self)) return NEAP_STEP_END;
    result = step(&self->routine.task, self->frame);
  }
  return result;
}

/* One phase after the other; false: it waits. */
static bool run_phases(step_task *self) {
  if (self->phase == IN_BODY) {
    if (run_step(self, self->body->step) == NEAP_STEP_WAIT) return false;
    self->phase = LEAVING_BODY;
  }
  if (self->phase == LEAVING_BODY) {
    if (!leave_scopes(self)) return false;
    if (!self->body->cleanup) return true;
    begin_cleanup(self);
  }
  if (self->phase == IN_CLEANUP) {
    if (run_step(self, self->body->cleanup) == NEAP_STEP_WAIT) return false;
    self->phase = LEAVING_CLEANUP;
  }
  return leave_scopes(self);
}

static void resume(neap__routine *routine) {
  step_task *self = of_task(&routine->task);
  neap_loop *loop = routine->task.loop;
  neap__routine *outer = loop->current;
  loop->current = routine;
  routine->state = NEAP__RUNNING;
  forget(&self->waiting);
  bool has_ended = run_phases(self);
  loop->current = outer;
  assert(!has_ended ||
         routine->state == NEAP__RUNNING); /* it did not return the wait that it began */
  if (has_ended) end(self, final_status(self));
}

static void drop(neap__routine *routine) {
  step_task *self = of_task(&routine->task);
  neap__wait_withdraw(&routine->wait);
  end(self, NEAP_CANCELLED);
}

/* ---- The task ------------------------------------------------------------------------------- */

static const neap_error *step_error(const neap_task *task) {
  return &of_task(task)->error;
}

static void *step_value(const neap_task *task) {
  return of_task(task)->value;
}

static const neap_values *step_values(const neap_task *task) {
  return &of_task(task)->results;
}

static void destroy(neap_task *task) {
  step_task *self = of_task(task);
  neap_loop *loop = task->loop;
  if (self->release_value && self->value) self->release_value(self->value);
  neap__values_clear(&self->results);
  free(self->texts);
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
    .values = step_values,
    .destroy = destroy,
};

int neap_task_start(neap_loop *loop, const neap_body *body, const void *init, neap_task **task) {
  if (loop->is_closing) return NEAP_ECLOSED;
  step_task *self = neap__memory_new(&loop->memory, sizeof *self + body->frame_size);
  if (!self) return UV_ENOMEM;
  neap__routine_init(&self->routine, loop, &step_kind, neap__current_node(loop),
                     neap__current_owner(loop));
  self->body = body;
  neap__values_init(&self->results);
  if (init) {
    const char *from = init;
    for (size_t i = 0; i < body->frame_size; i++) self->frame[i] = from[i];
  }
  neap_task_ref(&self->routine.task); /* until it ends */
  *task = &self->routine.task;
  resume(&self->routine);
  return 0;
}

/* ---- From a step ---------------------------------------------------------------------------- */

/* The running body. */
static step_task *check_running(neap_task *task) {
  assert(task->kind == &step_kind && task->loop->current == &of_task(task)->routine);
  return of_task(task);
}

neap_loop *neap_task_loop(const neap_task *task) {
  return task->loop;
}

bool neap_task_await(neap_task *task, neap_task *other) {
  step_task *self = check_running(task);
  assert(task != other);
  if (other->status != NEAP_PENDING) return false;
  if (neap__routine_is_cancelled(&self->routine)) {
    neap__routine_wake(&self->routine, NEAP__WAKE_CANCEL); /* a wait would not come back */
    return true;
  }
  self->waiting = neap_task_ref(other);
  neap__routine_await(&self->routine, other);
  return true;
}

/* `other` could not be started: as if it had, and had failed with that. */
static neap_step_result could_not_start(step_task *self, int code, bool is_settling) {
  if (is_settling || self->phase == IN_CLEANUP) return NEAP_STEP_NEXT;
  fail(self, &(neap_error){.code = code});
  return NEAP_STEP_END;
}

static neap_step_result await_at(neap_task *task, int code, neap_task **other, int place,
                                 bool is_settling) {
  step_task *self = check_running(task);
  forget(&self->awaited);
  self->place = place;
  if (code) return could_not_start(self, code, is_settling);
  self->awaited = *other;
  *other = NULL;
  self->is_awaiting = true;
  self->is_settling = is_settling;
  return neap_task_await(task, self->awaited) ? NEAP_STEP_WAIT : NEAP_STEP_NEXT;
}

neap_step_result neap_await(neap_task *self, int code, neap_task **other, int place) {
  return await_at(self, code, other, place, false);
}

neap_step_result neap_settle(neap_task *self, int code, neap_task **other, int place) {
  return await_at(self, code, other, place, true);
}

neap_step_result neap_go(neap_task *self, int place) {
  check_running(self)->place = place;
  return NEAP_STEP_NEXT;
}

int neap_task_place(const neap_task *self) {
  return of_task(self)->place;
}

neap_task *neap_awaited(const neap_task *self) {
  return of_task(self)->awaited;
}

void neap_task_pause(neap_task *self) {
  neap__routine_wake(neap__task_routine(self), NEAP__WAKE_TURN);
}

bool neap_task_is_cancelling(const neap_task *self) {
  return neap__routine_is_cancelled((const neap__routine *)self);
}

neap_values *neap_task_results(neap_task *self) {
  return &of_task(self)->results;
}

void neap_task_finish(neap_task *self, void *value, void (*release)(void *value)) {
  step_task *step = of_task(self);
  if (step->release_value && step->value) step->release_value(step->value); /* said twice */
  step->has_finished = true;
  step->value = value;
  step->release_value = release;
}

void neap_task_fail(neap_task *self, const neap_error *error) {
  fail(of_task(self), error);
}

/* ---- Scopes of steps ------------------------------------------------------------------------- */

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
  close_scope(of_task(self), scope);
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
