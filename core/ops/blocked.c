#include "blocked.h"

#include "../loop.h"

static int start(neap__op *op) {
  neap__op_enter(op, &((neap__blocked *)op)->link, &op->task.loop->watchers);
  return 0;
}

static void abort_watch(neap__op *op) {
  neap__op_leave(&((neap__blocked *)op)->link);
}

bool neap__blocked_notify(neap_loop *loop) {
  if (neap__list_is_empty(&loop->watchers)) return false;
  neap__op_end_all(&loop->watchers, 0);
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
