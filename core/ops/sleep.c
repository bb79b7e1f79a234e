#include "sleep.h"

#include "../loop.h"

static void on_deadline(neap__timer *timer) {
  neap__sleep *self = NEAP__CONTAINER(timer, neap__sleep, timer);
  neap__op_settle(&self->op, 0);
  neap__op_release_native(&self->op);
}

static int start(neap__op *op) {
  neap__sleep *self = (neap__sleep *)op;
  self->timer.fire = on_deadline;
  int code = neap__loop_arm(op->task.loop, &self->timer, self->deadline);
  if (!code) neap__op_acquire_native(op, false);
  return code;
}

static void abort_sleep(neap__op *op) {
  neap__timer_disarm(&op->task.loop->timers, &((neap__sleep *)op)->timer);
  neap__op_release_native(op);
}

void neap__sleep_end(neap__sleep *self) {
  if (neap__op_is_orphan(&self->op)) return;
  self->is_ended = true;
  neap_task_ref(&self->op.task);
  neap__op_settle(&self->op, 0);
  abort_sleep(&self->op);
  neap_task_unref(&self->op.task);
}

const neap__op_kind neap__sleep_kind = {
    .task = NEAP__OP_TASK("sleep"),
    .size = sizeof(neap__sleep),
    .is_local = true,
    .start = start,
    .abort = abort_sleep,
};

int neap_sleep(neap_loop *loop, double seconds, neap_task **task) {
  if (!(seconds >= 0)) return UV_EINVAL; /* NaN, too, which would spoil the order of the heap */
  neap__op *op = neap__op_new(loop, &neap__sleep_kind);
  if (!op) return UV_ENOMEM;
  ((neap__sleep *)op)->deadline = neap__loop_now(loop) + seconds;
  neap__op_start(op);
  *task = &op->task;
  return 0;
}
