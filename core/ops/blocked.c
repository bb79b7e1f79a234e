#include "blocked.h"

#include "../loop.h"

static void leave(neap__blocked *self) {
  neap__list_unlink(&self->link);
  neap__op_release_native(&self->op);
}

static int start(neap__op *op) {
  neap__blocked *self = (neap__blocked *)op;
  neap__list_init(&self->link);
  neap__list_append(&op->task.loop->watchers, &self->link);
  neap__op_acquire_native(op, false);
  return 0;
}

static void abort_watch(neap__op *op) {
  leave((neap__blocked *)op);
}

bool neap__blocked_notify(neap_loop *loop) {
  if (neap__list_is_empty(&loop->watchers)) return false;
  while (!neap__list_is_empty(&loop->watchers)) {
    neap__blocked *self = NEAP__CONTAINER(loop->watchers.next, neap__blocked, link);
    neap__op_settle(&self->op, 0);
    leave(self);
  }
  return true;
}

const neap__op_kind neap__blocked_kind = {
    .task = NEAP__OP_TASK("wait_all_blocked"),
    .size = sizeof(neap__blocked),
    .start = start,
    .abort = abort_watch,
};

int neap_loop_all_blocked(neap_loop *loop, neap_task **task) {
  neap__op *op = neap__op_new(loop, &neap__blocked_kind);
  if (!op) return UV_ENOMEM;
  neap__op_start(op);
  *task = &op->task;
  return 0;
}
