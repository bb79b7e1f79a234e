#include "queue.h"

#include "cancel.h"
#include "loop.h"

#include <assert.h>

void neap__queue_init(neap_queue *queue, neap_loop *loop) {
  *queue = (neap_queue){.loop = loop};
  neap__list_init(&queue->waiters);
}

static neap__waiter *of_task(const neap_task *task) {
  return NEAP__CONTAINER(task, neap__waiter, task);
}

/* ---- Waits --------------------------------------------------------------------------------- */

static void cancel(neap_task *task) {
  neap__waiter_settle(of_task(task), NEAP_CANCELLED);
}

static neap_task *awaited(const neap_task *task) {
  const neap__waiter *waiter = of_task(task);
  return waiter->awaited ? waiter->awaited(waiter) : NULL;
}

static bool keeps_waiters(const neap_task *task) {
  return awaited(task) != NULL;
}

static void reach(neap_task *task) {
  if (!keeps_waiters(task)) cancel(task);
}

static void *value(const neap_task *task) {
  return of_task(task)->value;
}

/* Nobody waits any more: it gives up its place. */
static void destroy(neap_task *task) {
  neap_loop *loop = task->loop;
  neap__loop_anchor(loop);
  if (task->status == NEAP_PENDING) cancel(task);
  neap__task_deinit(task);
  neap__memory_free(&loop->memory, of_task(task));
  neap__loop_unanchor(loop);
}

/* In memory of the caller. */
static const neap__task_kind embedded_kind = {.name = "wait",
                                              .cancel = cancel,
                                              .reach = reach,
                                              .keeps_waiters = keeps_waiters,
                                              .awaited = awaited,
                                              .value = value};
/* In memory of the loop. */
static const neap__task_kind counted_kind = {
    .name = "wait", .cancel = cancel, .value = value, .destroy = destroy};

static void init(neap__waiter *waiter, neap_queue *queue, const neap__task_kind *kind) {
  neap__task_init(&waiter->task, queue->loop, kind);
  neap__list_init(&waiter->link);
  waiter->queue = queue;
  waiter->value = NULL;
  waiter->awaited = NULL;
}

void neap__waiter_init(neap__waiter *waiter, neap_queue *queue) {
  init(waiter, queue, &embedded_kind);
}

void neap__waiter_start(neap__waiter *waiter) {
  neap_queue *queue = waiter->queue;
  neap_loop *loop = queue->loop;
  neap__node *parent = neap__current_node(loop);
  bool is_cancelled = neap__node_is_cancelled(parent) && !keeps_waiters(&waiter->task);
  if (loop->is_closing || is_cancelled) {
    waiter->task.was_reached = true;
    neap__task_settle(&waiter->task, NEAP_CANCELLED);
    return;
  }
  neap__node_attach(&waiter->task.node, parent);
  neap__list_append(&queue->waiters, &waiter->link);
  queue->count++;
  loop->operations++;
}

void neap__waiter_settle(neap__waiter *waiter, neap_status status) {
  assert(!neap__list_is_empty(&waiter->link));
  neap__list_unlink(&waiter->link);
  waiter->queue->count--;
  waiter->task.loop->operations--;
  neap__node_forget_cause(&waiter->task.node, waiter->task.loop);
  neap__task_settle(&waiter->task, status);
}

/* ---- Public -------------------------------------------------------------------------------- */

int neap_queue_new(neap_loop *loop, neap_queue **queue) {
  neap_queue *self = neap__memory_new(&loop->memory, sizeof *self);
  if (!self) return UV_ENOMEM;
  neap__queue_init(self, loop);
  neap__loop_anchor(loop);
  *queue = self;
  return 0;
}

void neap_queue_free(neap_queue *queue) {
  neap_loop *loop = queue->loop;
  for (neap__waiter *waiter; (waiter = neap__queue_first(queue));)
    neap__waiter_settle(waiter, NEAP_CANCELLED);
  neap__memory_free(&loop->memory, queue);
  neap__loop_unanchor(loop);
}

size_t neap_queue_count(const neap_queue *queue) {
  return queue->count;
}

int neap_queue_wait(neap_queue *queue, neap_task **task) {
  neap_loop *loop = queue->loop;
  neap__waiter *waiter = neap__memory_new(&loop->memory, sizeof *waiter);
  if (!waiter) return UV_ENOMEM;
  init(waiter, queue, &counted_kind);
  neap__waiter_start(waiter);
  *task = &waiter->task;
  return 0;
}

bool neap_queue_wake(neap_queue *queue, void *handed) {
  neap__waiter *waiter = neap__queue_first(queue);
  if (!waiter) return false;
  waiter->value = handed;
  neap__waiter_settle(waiter, NEAP_DONE);
  return true;
}
