#include "pause.h"

#include "../loop.h"

void neap__pause_run(neap__runnable *runnable) {
  neap__pause *self = NEAP__CONTAINER(runnable, neap__pause, runnable);
  neap__op_settle(&self->op, 0);
  neap__op_release_native(&self->op);
}

static int start(neap__op *op) {
  neap__pause *self = (neap__pause *)op;
  self->runnable.run = neap__pause_run;
  neap__op_acquire_native(op, false);
  neap__loop_ready(op->task.loop, &self->runnable);
  return 0;
}

/* When it is cancelled it stays in the queue, and frees itself there. */
const neap__op_kind neap__pause_kind = {
    .task = NEAP__OP_TASK("yield"),
    .size = sizeof(neap__pause),
    .is_local = true,
    .start = start,
};
