#include "scope.h"

#include "cancel.h"
#include "loop.h"

#include <assert.h>
#include <math.h>

static void on_deadline(neap__timer *timer) {
  neap_scope *scope = NEAP__CONTAINER(timer, neap_scope, deadline);
  if (scope->node.is_requested) return;
  scope->timed_out = true;
  neap__node_cancel(&scope->node, NULL);
}

void neap__scope_open(neap_scope *scope, neap_loop *loop, neap__routine *routine, bool shield) {
  *scope = (neap_scope){.loop = loop, .task = routine, .is_open = true};
  neap__node_init(&scope->node, NEAP__NODE_SCOPE);
  scope->node.is_shield = shield;
  scope->deadline.fire = on_deadline;
  neap__list_init(&scope->failures);
  if (!routine) return;
  neap__node_attach(&scope->node, routine->current);
  routine->current = &scope->node;
  loop->scopes++;
}

int neap__scope_set_timeout(neap_scope *scope, double seconds) {
  neap__timers *timers = &scope->loop->timers;
  neap__timer_disarm(timers, &scope->deadline);
  if (seconds == HUGE_VAL) return 0;
  return neap__loop_arm(scope->loop, &scope->deadline, neap__loop_now(scope->loop) + seconds);
}

void neap__scope_set_shield(neap_scope *scope, bool shield) {
  scope->node.is_shield = shield;
  neap__node_changed(&scope->node);
}

bool neap__scope_join(neap_scope *scope) {
  if (scope->live == 0) return false;
  scope->is_joining = true;
  scope->task->state = NEAP__BLOCKED;
  scope->task->wait.target = NULL;
  return true;
}

/* What goes on until it has stopped on its thread hangs below the parent meanwhile. The rest has left the
 * scope, and may have been freed, as a token is whose last reference was the scope's. */
static void drop_operation(neap_scope *scope, neap_task *task) {
  task->kind->cancel(task);
  if (neap__node_first_child(&scope->node) != &task->node) return;
  neap__node_detach(&task->node);
  neap__node_attach(&task->node, scope->node.parent);
}

/* What is left below a scope without live tasks is operations, and background-free bodies have
 * ended: each child is an operation. */
static void drop_operations(neap_scope *scope) {
  neap__node *child;
  while ((child = neap__node_first_child(&scope->node))) {
    neap_task *task = neap__node_task(child);
    assert(child->kind == NEAP__NODE_TASK && !task->kind->has_body);
    drop_operation(scope, task);
  }
}

static void leave_task(neap_scope *scope) {
  neap__routine *routine = scope->task;
  assert(scope->is_open && routine->current == &scope->node);
  neap__timer_disarm(&scope->loop->timers, &scope->deadline);
  routine->current = scope->node.parent;
  neap__node_detach(&scope->node);
  neap__node_forget_cause(&scope->node, scope->loop);
  scope->is_open = false;
  scope->loop->scopes--;
}

void neap__scope_close(neap_scope *scope) {
  assert(scope->live == 0);
  drop_operations(scope);
  leave_task(scope);
}

static neap_scope *outer_owner(const neap_scope *scope) {
  neap__node *outer = scope->node.parent;
  return outer->kind == NEAP__NODE_SCOPE ? neap__node_scope(outer) : scope->task->owner;
}

void neap__scope_abandon(neap_scope *scope) {
  if (scope->node.is_shield) neap__scope_set_shield(scope, false);
  neap_scope *outer = outer_owner(scope);
  neap__node *top = &scope->node;
  for (neap__node *node = top; scope->live > 0 && node; node = neap__node_next(node, top)) {
    if (node->kind != NEAP__NODE_TASK || !neap__node_task(node)->kind->has_body) continue;
    neap__routine *routine = neap__task_routine(neap__node_task(node));
    if (routine->owner != scope) continue;
    routine->owner = outer;
    scope->live--;
    if (outer) outer->live++;
  }
  neap__node_hand_over(&scope->node);
  leave_task(scope);
}

double neap__effective_deadline(const neap__node *node) {
  double earliest = HUGE_VAL;
  for (; node; node = node->parent) {
    if (node->kind == NEAP__NODE_SCOPE) {
      const neap_scope *scope = neap__node_scope(node);
      if (neap__timer_is_armed(&scope->deadline) && scope->deadline.deadline < earliest)
        earliest = scope->deadline.deadline;
    }
    if (node->is_shield) break;
  }
  return earliest;
}
