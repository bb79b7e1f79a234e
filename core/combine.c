#include "combine.h"

#include "cancel.h"
#include "loop.h"

#include <assert.h>
#include <math.h>

static const neap__task_kind combine_kind;

neap__combine *neap__task_combine(const neap_task *task) {
  return task->kind == &combine_kind ? (neap__combine *)(void *)(uintptr_t)task : NULL;
}

static neap_task *element_task(const neap__combine *self, size_t index) {
  return self->elements[index].wait.target;
}

static bool is_waiting(const neap__element *element) {
  return !neap__list_is_empty(&element->wait.link);
}

static void let_go(neap__combine *self, neap__element *element) {
  if (!is_waiting(element)) return;
  neap__wait_withdraw(&element->wait);
  self->remaining--;
}

static void let_all_go(neap__combine *self) {
  for (size_t i = 0; i < self->count; i++) let_go(self, &self->elements[i]);
  neap__timer_disarm(&self->task.loop->timers, &self->timer);
}

/* ---- Ending -------------------------------------------------------------------------------- */

static neap_status status_of_all(neap__combine *self) {
  neap_status status = NEAP_DONE;
  for (size_t i = 0; i < self->count; i++) {
    neap_status one = neap_task_status(element_task(self, i));
    if (one == NEAP_DONE || status == one) continue;
    if (one == NEAP_FAILED || status == NEAP_DONE) {
      status = one;
      self->decisive = i;
    }
    if (status == NEAP_FAILED) break;
  }
  return status;
}

static neap_status outcome(neap__combine *self) {
  if (neap__node_is_cancelled(&self->task.node) && self->is_reached) return NEAP_CANCELLED;
  if (self->has_timed_out) return NEAP_FAILED;
  switch (self->mode) {
  case NEAP__ALL: return status_of_all(self);
  case NEAP__ANY:
  case NEAP__SETTLE: return NEAP_DONE;
  default: return neap_task_status(element_task(self, self->decisive));
  }
}

static void end(neap__combine *self) {
  if (neap__list_is_empty(&self->ended_link))
    neap__list_append(&self->task.loop->ended, &self->ended_link);
}

static void settle(neap__combine *self, neap_status status) {
  neap_loop *loop = self->task.loop;
  let_all_go(self);
  loop->operations--;
  neap__task_settle(&self->task, status);
  neap_task_unref(&self->task);
}

void neap__combine_flush(neap_loop *loop) {
  if (loop->is_settling) return;
  loop->is_settling = true;
  while (!neap__list_is_empty(&loop->ended)) {
    neap__combine *self = NEAP__CONTAINER(loop->ended.next, neap__combine, ended_link);
    neap__list_unlink(&self->ended_link);
    settle(self, outcome(self));
  }
  loop->is_settling = false;
}

/* ---- Events -------------------------------------------------------------------------------- */

static void on_element(neap__wait *wait);

static bool follow_inner(neap__combine *self, neap__element *element) {
  if (self->mode != NEAP__FLATTEN || neap_task_status(element->wait.target) != NEAP_DONE)
    return false;
  neap_task *inner = self->follow(self, element->wait.target);
  if (!inner) return false;
  neap_task_unref(element->wait.target);
  element->wait.target = neap_task_ref(inner);
  self->follow = NULL;
  self->mode = NEAP__WAIT_FOR; /* from here on it is the outcome of one task */
  if (neap_task_status(inner) != NEAP_PENDING) return false;
  neap__wait_start(&element->wait, inner, on_element);
  self->remaining++;
  return true;
}

static void on_element(neap__wait *wait) {
  neap__element *element = NEAP__CONTAINER(wait, neap__element, wait);
  neap__combine *self = element->combine;
  self->remaining--;
  if (neap__node_is_cancelled(&self->task.node)) {
    /* Before the delivery reaches it, the delivery decides. */
    if (self->is_reached && self->remaining == 0) end(self);
    return;
  }
  if (follow_inner(self, element)) return;
  if (self->mode == NEAP__ANY && neap__list_is_empty(&self->ended_link))
    self->decisive = (size_t)(element - self->elements);
  if (self->mode == NEAP__ANY || self->remaining == 0) end(self);
}

static void on_timeout(neap__timer *timer) {
  neap__combine *self = NEAP__CONTAINER(timer, neap__combine, timer);
  self->has_timed_out = true;
  end(self);
  neap__combine_flush(self->task.loop);
}

static void cancel(neap_task *task) {
  neap__combine *self = (neap__combine *)task;
  neap__list_unlink(&self->ended_link);
  settle(self, NEAP_CANCELLED);
}

/* Elements that the same cancellation reaches are waited for, the others are let go (SPEC C11). */
static void reach(neap_task *task) {
  neap__combine *self = (neap__combine *)task;
  self->is_reached = true;
  for (size_t i = 0; i < self->count; i++)
    if (!neap__is_cleaning_up(element_task(self, i))) let_go(self, &self->elements[i]);
  neap__timer_disarm(&task->loop->timers, &self->timer);
  if (self->remaining > 0) return;
  end(self);
  neap__combine_flush(task->loop);
}

static bool keeps_waiters(const neap_task *task) {
  neap__combine *self = neap__task_combine(task);
  for (size_t i = 0; i < self->count; i++)
    if (is_waiting(&self->elements[i]) && neap__is_cleaning_up(element_task(self, i))) return true;
  return false;
}

/* The first element that it waits for. */
static neap_task *awaited(const neap_task *task) {
  neap__combine *self = neap__task_combine(task);
  for (size_t i = 0; i < self->count; i++)
    if (is_waiting(&self->elements[i])) return element_task(self, i);
  return NULL;
}

static const neap_error *combine_error(const neap_task *task) {
  static const neap_error timed_out = {.code = UV_ETIMEDOUT,
                                       .message = "the time limit has passed"};
  const neap__combine *self = neap__task_combine(task);
  while (self && !self->has_timed_out) {
    task = element_task(self, self->decisive);
    self = neap__task_combine(task);
  }
  return self ? &timed_out : neap_task_error(task);
}

static void release(neap__combine *self) {
  for (size_t i = 0; i < self->count; i++) neap_task_unref(element_task(self, i));
  neap__task_deinit(&self->task);
}

/* The last reference to an element may be ours, and the element a combined task again. */
static void destroy(neap_task *task) {
  neap_loop *loop = task->loop;
  neap__list_append(&loop->dead, &((neap__combine *)task)->ended_link);
  if (loop->is_freeing) return;
  loop->is_freeing = true;
  neap__loop_anchor(loop);
  while (!neap__list_is_empty(&loop->dead)) {
    neap__combine *self = NEAP__CONTAINER(loop->dead.next, neap__combine, ended_link);
    neap__list_unlink(&self->ended_link);
    release(self);
    neap__memory_free(&loop->memory, self);
  }
  loop->is_freeing = false;
  neap__loop_unanchor(loop);
}

static const neap__task_kind combine_kind = {
    .name = "combined",
    .cancel = cancel,
    .reach = reach,
    .keeps_waiters = keeps_waiters,
    .awaited = awaited,
    .error = combine_error,
    .destroy = destroy,
};

/* ---- Making -------------------------------------------------------------------------------- */

static void listen_to_elements(neap__combine *self) {
  for (size_t i = 0; i < self->count; i++) {
    neap__element *element = &self->elements[i];
    if (neap_task_status(element->wait.target) != NEAP_PENDING) continue;
    neap__wait_start(&element->wait, element->wait.target, on_element);
    self->remaining++;
  }
}

/* Whether the elements decide it already; then no cancellation can take the result away. */
static bool is_decided(neap__combine *self) {
  if (self->mode == NEAP__FLATTEN && self->remaining == 0)
    return !follow_inner(self, &self->elements[0]);
  if (self->mode != NEAP__ANY) return self->remaining == 0;
  for (size_t i = 0; i < self->count; i++) {
    if (is_waiting(&self->elements[i])) continue;
    self->decisive = i;
    return true;
  }
  return false;
}

static void start(neap__combine *self) {
  listen_to_elements(self);
  if (is_decided(self))
    settle(self, outcome(self));
  else if (neap__node_is_cancelled(neap__current_node(self->task.loop))) {
    self->task.was_reached = true;
    settle(self, NEAP_CANCELLED);
  } else
    neap__node_attach(&self->task.node, neap__current_node(self->task.loop));
}

int neap__combine_new(neap_loop *loop, neap__combine_mode mode, neap_task *const *tasks,
                      size_t count, double seconds,
                      neap_task *(*follow)(neap__combine *, neap_task *), neap__combine **combine) {
  neap__combine *self =
      neap__memory_new(&loop->memory, sizeof *self + count * sizeof(neap__element));
  if (!self) return UV_ENOMEM;
  self->mode = mode;
  self->count = count;
  self->follow = follow;
  self->timer.fire = on_timeout;
  if (mode == NEAP__WAIT_FOR && seconds < HUGE_VAL &&
      neap__loop_arm(loop, &self->timer, neap__loop_now(loop) + seconds)) {
    neap__memory_free(&loop->memory, self);
    return UV_ENOMEM;
  }
  neap__list_init(&self->ended_link);
  for (size_t i = 0; i < count; i++) {
    self->elements[i].combine = self;
    self->elements[i].wait.target = neap_task_ref(tasks[i]);
    neap__list_init(&self->elements[i].wait.link);
  }
  neap__task_init(&self->task, loop, &combine_kind);
  neap_task_ref(&self->task); /* until it settles */
  loop->operations++;
  *combine = self;
  start(self);
  return 0;
}

int neap_all(neap_loop *loop, neap_task *const *tasks, size_t count, neap_task **task) {
  neap__combine *self;
  int code = neap__combine_new(loop, NEAP__ALL, tasks, count, HUGE_VAL, NULL, &self);
  if (!code) *task = &self->task;
  return code;
}

int neap_any(neap_loop *loop, neap_task *const *tasks, size_t count, neap_task **task) {
  neap__combine *self;
  if (count == 0) return UV_EINVAL;
  int code = neap__combine_new(loop, NEAP__ANY, tasks, count, HUGE_VAL, NULL, &self);
  if (!code) *task = &self->task;
  return code;
}

size_t neap_any_index(const neap_task *task) {
  neap__combine *self = neap__task_combine(task);
  return self ? self->decisive : 0;
}
