#include "cancel.h"

#include "loop.h"

#include <assert.h>

/* ---- Who is concerned ---------------------------------------------------------------------- */

typedef struct batch {
  neap_task *first; /* linked by deliver_next */
  neap_task **last;
} batch;

static void batch_add(batch *list, neap_task *task) {
  task->deliver_next = NULL;
  *list->last = task;
  list->last = &task->deliver_next;
}

/* The routine whose innermost scope is `node`, if there is one. */
static neap__routine *located_at(neap__node *node) {
  neap__routine *routine;
  if (node->kind == NEAP__NODE_SCOPE)
    routine = neap__node_scope(node)->task;
  else if (neap__node_task(node)->kind->has_body)
    routine = neap__task_routine(neap__node_task(node));
  else
    return NULL;
  return routine && routine->current == node ? routine : NULL;
}

static void collect_node(batch *list, neap__node *node) {
  if (node->kind == NEAP__NODE_TASK && !neap__node_task(node)->kind->has_body) {
    /* An operation may be dropped by the delivery to one before it. */
    batch_add(list, neap_task_ref(neap__node_task(node)));
    return;
  }
  neap__routine *routine = located_at(node);
  if (routine && routine->state == NEAP__BLOCKED && routine->wait.target)
    batch_add(list, &routine->task);
}

/* Pushes the change at `top` down, and collects whom it has newly cancelled. Subtrees that do not
 * change are not entered. */
static void push_down(neap__node *top, batch *list) {
  for (neap__node *node = top; node;) {
    bool was_cancelled = neap__node_is_cancelled(node);
    bool is_changed = neap__node_refresh(node);
    if (is_changed && !was_cancelled) collect_node(list, node);
    node = is_changed ? neap__node_next(node, top) : neap__node_skip(node, top);
  }
}

/* ---- Order of creation ---------------------------------------------------------------------- */

static neap_task *merge(neap_task *a, neap_task *b) {
  neap_task *head = NULL, **tail = &head;
  while (a && b) {
    neap_task **least = a->id < b->id ? &a : &b;
    *tail = *least;
    tail = &(*least)->deliver_next;
    *least = *tail;
  }
  *tail = a ? a : b;
  return head;
}

static bool is_sorted(const neap_task *list) {
  for (; list && list->deliver_next; list = list->deliver_next)
    if (list->deliver_next->id < list->id) return false;
  return true;
}

/* Merge sort from the bottom up, run i of `runs` holds 2^i tasks: no memory, no recursion. */
neap_task *neap__sort_by_creation(neap_task *list) {
  if (is_sorted(list)) return list;
  neap_task *runs[64] = {NULL};
  while (list) {
    neap_task *run = list;
    list = list->deliver_next;
    run->deliver_next = NULL;
    size_t i = 0;
    for (; runs[i]; i++) {
      run = merge(runs[i], run);
      runs[i] = NULL;
    }
    runs[i] = run;
  }
  neap_task *sorted = NULL;
  for (size_t i = 0; i < 64; i++) sorted = merge(runs[i], sorted);
  return sorted;
}

/* ---- Delivery ------------------------------------------------------------------------------ */

bool neap__is_cleaning_up(const neap_task *task) {
  if (!neap__node_is_cancelled(&task->node)) return false;
  if (task->kind->has_body) return true;
  return task->kind->keeps_waiters && task->kind->keeps_waiters(task);
}

static void withdraw(neap__routine *routine) {
  neap__wait_withdraw(&routine->wait);
  neap__routine_wake(routine, NEAP__WAKE_CANCEL);
}

static void deliver_to_routine(neap__routine *routine) {
  if (routine->state == NEAP__BLOCKED && !neap__is_cleaning_up(routine->wait.target))
    withdraw(routine);
}

static void deliver_to_operation(neap_task *task) {
  if (task->status == NEAP_PENDING)
    (task->kind->reach ? task->kind->reach : task->kind->cancel)(task);
}

/* Takes the bodies off the list. */
static void deliver_to_bodies(neap_task **list) {
  while (*list) {
    neap_task *task = *list;
    if (task->kind->has_body) {
      *list = task->deliver_next;
      deliver_to_routine(neap__task_routine(task));
    } else {
      list = &task->deliver_next;
    }
  }
}

/* First the bodies, so that they are queued in the order of their own creation whatever they wait for; then
 * the operations, some of which tell somebody: bodies may end meanwhile. */
static void deliver(neap_task *list) {
  deliver_to_bodies(&list);
  while (list) {
    neap_task *task = list;
    list = task->deliver_next;
    deliver_to_operation(task);
    neap_task_unref(task);
  }
}

void neap__node_changed(neap__node *node) {
  batch list = {NULL, NULL};
  list.last = &list.first;
  push_down(node, &list);
  deliver(neap__sort_by_creation(list.first));
}

bool neap__node_cancel(neap__node *node, neap__cause *cause) {
  if (node->is_requested) return false;
  node->is_requested = true;
  if (cause) {
    assert(!node->cause);
    node->cause = cause;
  }
  neap__node_changed(node);
  return true;
}

void neap__cause_forget(neap__cause *cause, neap_loop *loop) {
  if (!cause || --cause->refs > 0) return;
  if (cause->host && loop->hooks.release) loop->hooks.release(loop->hooks.data, cause->host);
  neap__memory_free(&loop->memory, cause);
}

void neap__node_forget_cause(neap__node *node, neap_loop *loop) {
  neap__cause *cause = node->cause;
  node->cause = NULL;
  neap__cause_forget(cause, loop);
}

/* ---- Cycles of kept waits -------------------------------------------------------------------- */

/* A routine that is cancelled and waits all the same. */
static bool is_keeping(const neap__routine *routine) {
  return routine->state == NEAP__BLOCKED && routine->wait.target &&
         neap__routine_is_cancelled(routine);
}

static neap__routine *node_routine(neap__node *node) {
  if (node->kind != NEAP__NODE_TASK || !neap__node_task(node)->kind->has_body) return NULL;
  return neap__task_routine(neap__node_task(node));
}

static bool is_joining(const neap__routine *routine) {
  return routine->state == NEAP__BLOCKED && !routine->wait.target;
}

/* A routine that joins a scope waits for all tasks in it; of those that are stuck, the youngest. */
static neap__routine *youngest_keeping_below(neap__node *top) {
  neap__routine *youngest = NULL;
  for (neap__node *node = top; node; node = neap__node_next(node, top)) {
    neap__routine *routine = node_routine(node);
    if (!routine || !is_keeping(routine)) continue;
    if (!youngest || routine->task.id > youngest->task.id) youngest = routine;
  }
  return youngest;
}

static neap__routine *next_in_chain(const neap__routine *routine) {
  if (is_joining(routine)) return youngest_keeping_below(routine->current);
  const neap_task *target = routine->wait.target;
  while (target && !target->kind->has_body)
    target = target->kind->awaited ? target->kind->awaited(target) : NULL;
  neap__routine *next = target ? (neap__routine *)(void *)(uintptr_t)target : NULL;
  return next && (is_keeping(next) || is_joining(next)) ? next : NULL;
}

/* Of those whose wait can be withdrawn; there is one, since `start` is not the only joiner. */
static neap__routine *youngest_in_cycle(neap__routine *start) {
  neap__routine *youngest = NULL;
  neap__routine *routine = start;
  do {
    if (is_keeping(routine) && (!youngest || routine->task.id > youngest->task.id))
      youngest = routine;
    routine = next_in_chain(routine);
  } while (routine != start);
  return youngest;
}

/* Follows the chain from `start`; each walk leaves its own mark, so that every task is entered once. */
static neap__routine *find_cycle(neap__routine *start, uint32_t mark) {
  neap__routine *routine = start;
  while (routine && routine->mark == 0) {
    routine->mark = mark;
    routine = next_in_chain(routine);
  }
  return routine && routine->mark == mark ? routine : NULL;
}

bool neap__break_kept_cycle(neap_loop *loop) {
  neap__node *top = &loop->root.node;
  for (neap__node *node = top; node; node = neap__node_next(node, top))
    if (node_routine(node)) node_routine(node)->mark = 0;
  uint32_t mark = 0;
  for (neap__node *node = top; node; node = neap__node_next(node, top)) {
    neap__routine *routine = node_routine(node);
    if (!routine || !is_keeping(routine)) continue;
    neap__routine *found = find_cycle(routine, ++mark);
    if (!found) continue;
    withdraw(youngest_in_cycle(found));
    return true;
  }
  return false;
}
