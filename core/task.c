#include "task.h"

#include "cancel.h"
#include "combine.h"
#include "loop.h"

#include <assert.h>

void neap__task_init(neap_task *task, neap_loop *loop, const neap__task_kind *kind) {
  neap__node_init(&task->node, NEAP__NODE_TASK);
  task->kind = kind;
  task->loop = loop;
  neap__list_init(&task->waiters);
  task->deliver_next = NULL;
  task->id = ++loop->last_id;
  task->refs = 1;
  task->host = 0;
  task->status = NEAP_PENDING;
  task->flags = 0;
  task->was_reached = false;
  neap__loop_anchor(loop);
}

void neap__task_deinit(neap_task *task) {
  assert(neap__list_is_empty(&task->waiters));
  neap__node_forget_cause(&task->node, task->loop);
  neap__loop_unanchor(task->loop);
}

static void wake_waiters(neap_task *task) {
  while (!neap__list_is_empty(&task->waiters)) {
    neap__wait *wait = NEAP__CONTAINER(task->waiters.next, neap__wait, link);
    neap__list_unlink(&wait->link);
    wait->wake(wait);
  }
}

static void leave_tree(neap_task *task) {
  neap__node *by = task->node.cancelled_by;
  if (!task->node.parent) return;
  bool is_outside = by && (by != &task->node || task->node.is_inherited);
  task->was_reached = is_outside && task->status == NEAP_CANCELLED;
  neap__node_hand_over(&task->node);
  neap__node_detach(&task->node);
}

void neap__task_settle(neap_task *task, neap_status status) {
  neap_loop *loop = task->loop;
  assert(task->status == NEAP_PENDING && status != NEAP_PENDING);
  task->status = (uint8_t)status;
  leave_tree(task);
  wake_waiters(task);
  if (task->host && loop->hooks.settled) loop->hooks.settled(loop->hooks.data, task);
  neap__combine_flush(loop);
}

void neap__wait_start(neap__wait *wait, neap_task *target, void (*wake)(neap__wait *wait)) {
  assert(target->status == NEAP_PENDING);
  wait->target = target;
  wait->wake = wake;
  neap__list_append(&target->waiters, &wait->link);
}

void neap__wait_withdraw(neap__wait *wait) {
  neap__list_unlink(&wait->link);
}

neap__node *neap__current_node(const neap_loop *loop) {
  return loop->current ? loop->current->current : (neap__node *)&loop->root.node;
}

neap_scope *neap__current_owner(const neap_loop *loop) {
  if (!loop->current) return (neap_scope *)&loop->root;
  neap_scope *scope = neap__routine_scope(loop->current);
  return scope ? scope : loop->current->owner;
}

static void run_routine(neap__runnable *runnable) {
  neap__routine *routine = NEAP__CONTAINER(runnable, neap__routine, runnable);
  routine->task.kind->resume(routine);
}

bool neap__is_routine(const neap__runnable *runnable) {
  return runnable->run == run_routine;
}

void neap__routine_init(neap__routine *routine, neap_loop *loop, const neap__task_kind *kind,
                        neap__node *parent, neap_scope *owner) {
  neap__task_init(&routine->task, loop, kind);
  routine->runnable = (neap__runnable){NULL, run_routine};
  routine->owner = owner;
  routine->current = &routine->task.node;
  routine->wait = (neap__wait){.target = NULL};
  neap__list_init(&routine->wait.link);
  routine->mark = 0;
  routine->state = NEAP__NEW;
  routine->reason = NEAP__WAKE_START;
  routine->was_cancelled = false;
  neap__node_attach(&routine->task.node, parent);
  if (owner) owner->live++;
  loop->tasks++;
}

static void leave_owner(neap__routine *routine) {
  neap_scope *owner = routine->owner;
  if (!owner || --owner->live > 0 || !owner->is_joining) return;
  owner->is_joining = false;
  neap__routine_wake(owner->task, NEAP__WAKE_JOINED);
}

void neap__routine_end(neap__routine *routine, neap_status status) {
  assert(routine->current == &routine->task.node);
  routine->state = NEAP__ENDED;
  routine->task.loop->tasks--;
  neap__task_settle(&routine->task, status);
  leave_owner(routine);
}

void neap__routine_park(neap__routine *routine) {
  neap__node *node = &routine->task.node;
  assert(routine->state == NEAP__RUNNING);
  routine->state = NEAP__PARKED;
  routine->task.loop->tasks--;
  neap__node_hand_over_tasks(node);
  neap__node_detach(node);
  neap__node_changed(node);
  leave_owner(routine);
  routine->owner = NULL;
}

void neap__routine_adopt(neap__routine *routine, neap__node *parent, neap_scope *owner) {
  neap__node *node = &routine->task.node;
  assert(routine->state == NEAP__PARKED && !node->parent);
  routine->owner = owner;
  if (owner) owner->live++;
  routine->task.loop->tasks++;
  neap__node_hang(node, parent);
  neap__node_changed(node);
}

void neap__routine_wake(neap__routine *routine, neap__wake_reason reason) {
  assert(routine->state != NEAP__READY && routine->state != NEAP__ENDED);
  routine->state = NEAP__READY;
  routine->reason = (uint8_t)reason;
  neap__loop_ready(routine->task.loop, &routine->runnable);
}

static void wake_waiting_routine(neap__wait *wait) {
  neap__routine_wake(NEAP__CONTAINER(wait, neap__routine, wait), NEAP__WAKE_SETTLED);
}

void neap__routine_await(neap__routine *routine, neap_task *target) {
  routine->state = NEAP__BLOCKED;
  neap__wait_start(&routine->wait, target, wake_waiting_routine);
}

/* ---- Public -------------------------------------------------------------------------------- */

neap_status neap_task_status(const neap_task *task) {
  return (neap_status)task->status;
}

const neap_error *neap_task_error(const neap_task *task) {
  return task->status == NEAP_FAILED && task->kind->error ? task->kind->error(task) : NULL;
}

void *neap_task_value(const neap_task *task) {
  return task->status == NEAP_DONE && task->kind->value ? task->kind->value(task) : NULL;
}

const neap_values *neap_task_values(const neap_task *task) {
  bool is_done = task->status == NEAP_DONE;
  return is_done && task->kind->values ? task->kind->values(task) : NULL;
}

uint64_t neap_task_id(const neap_task *task) {
  return task->id;
}

bool neap_task_cancel_requested(const neap_task *task) {
  return task->node.is_requested;
}

bool neap_task_cancel(neap_task *task) {
  if (task->status != NEAP_PENDING) return false;
  if (task->kind->has_body || task->kind->has_below) return neap__node_cancel(&task->node, NULL);
  task->kind->cancel(task);
  return true;
}

neap_task *neap_task_ref(neap_task *task) {
  task->refs++;
  return task;
}

void neap_task_unref(neap_task *task) {
  assert(task->refs > 0);
  if (--task->refs == 0 && task->kind->destroy) task->kind->destroy(task);
}
