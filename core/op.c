#include "op.h"

#include "loop.h"

#include <assert.h>
#include <string.h>

neap__op *neap__op_new(neap_loop *loop, const neap__op_kind *kind) {
  neap__op *op = neap__memory_new(&loop->memory, kind->size);
  if (!op) return NULL;
  neap__task_init(&op->task, loop, &kind->task);
  return op;
}

void neap__op_init(neap__op *op, neap_loop *loop, const neap__op_kind *kind) {
  assert(kind->is_local && !kind->release);
  memset(op, 0, kind->size);
  neap__task_init(&op->task, loop, &kind->task);
  op->is_embedded = true;
}

void neap__op_start(neap__op *op) {
  neap_loop *loop = op->task.loop;
  neap__node *parent = neap__current_node(loop);
  if (loop->is_closing || neap__node_is_cancelled(parent)) {
    op->task.was_reached = true;
    neap__task_settle(&op->task, NEAP_CANCELLED);
    return;
  }
  neap__node_attach(&op->task.node, parent);
  loop->operations++;
  int code = neap__op_kind_of(op)->start(op);
  if (code < 0) neap__op_settle(op, code);
}

/* It counts as alive while it is pending or native. */
static void settle(neap__op *op, neap_status status) {
  if (!op->is_native && op->task.node.parent) op->task.loop->operations--;
  neap__task_settle(&op->task, status);
}

void neap__op_settle(neap__op *op, int code) {
  if (neap__op_is_orphan(op)) return;
  op->error.code = code < 0 ? code : 0;
  settle(op, code < 0 ? NEAP_FAILED : NEAP_DONE);
}

void neap__op_cancel(neap_task *task) {
  neap__op *op = (neap__op *)task;
  neap_task_ref(task);
  settle(op, NEAP_CANCELLED);
  if (op->is_native && neap__op_kind_of(op)->abort) neap__op_kind_of(op)->abort(op);
  neap_task_unref(task);
}

void neap__op_acquire_native(neap__op *op, bool is_job) {
  assert(!op->is_native);
  op->is_native = true;
  op->is_job = is_job;
  if (is_job) op->task.loop->jobs++;
  neap_task_ref(&op->task);
}

void neap__op_release_native(neap__op *op) {
  assert(op->is_native);
  op->is_native = false;
  if (op->is_job) op->task.loop->jobs--;
  neap_loop *loop = op->task.loop;
  if (neap__op_is_orphan(op)) loop->operations--;
  if (op->pin && loop->hooks.release) loop->hooks.release(loop->hooks.data, op->pin);
  op->pin = 0;
  neap_task_unref(&op->task);
}

void neap__op_enter(neap__op *op, neap__op_link *link, neap__list *list) {
  link->op = op;
  neap__list_append(list, &link->list);
  neap__op_acquire_native(op, false);
}

void neap__op_leave(neap__op_link *link) {
  neap__list_unlink(&link->list);
  neap__op_release_native(link->op);
}

void neap__op_end(neap__op_link *link, int code) {
  neap__list_unlink(&link->list);
  neap__op_settle(link->op, code);
  neap__op_release_native(link->op);
}

void neap__op_end_all(neap__list *list, int code) {
  while (!neap__list_is_empty(list))
    neap__op_end(NEAP__CONTAINER(list->next, neap__op_link, list), code);
}

const neap_error *neap__op_error(const neap_task *task) {
  return &((const neap__op *)task)->error;
}

void neap__op_destroy(neap_task *task) {
  neap__op *op = (neap__op *)task;
  neap_loop *loop = task->loop;
  assert(!op->is_native && !op->is_embedded);
  if (task->status == NEAP_PENDING) neap__task_settle(task, NEAP_CANCELLED); /* never started */
  if (neap__op_kind_of(op)->release) neap__op_kind_of(op)->release(op);
  neap__loop_anchor(loop);
  neap__task_deinit(task);
  neap__memory_free(&loop->memory, op);
  neap__loop_unanchor(loop);
}
