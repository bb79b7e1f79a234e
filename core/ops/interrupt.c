#include "interrupt.h"

#include "../loop.h"

#include <signal.h>

static void on_closed(uv_handle_t *handle) {
  neap__op_release_native(&NEAP__CONTAINER(handle, neap__interrupt, signal)->op);
}

static void close_signal(neap__interrupt *self) {
  if (!uv_is_closing((uv_handle_t *)&self->signal))
    uv_close((uv_handle_t *)&self->signal, on_closed);
}

static void on_signal(uv_signal_t *signal, int number) {
  neap__interrupt *self = NEAP__CONTAINER(signal, neap__interrupt, signal);
  (void)number;
  neap__op_settle(&self->op, 0);
  close_signal(self);
}

/* One shot: the system's own action is back as soon as the first signal has arrived, so that a second
 * one ends even a program that does not come back to its loop. It keeps no loop alive. */
static int start(neap__op *op) {
  neap__interrupt *self = (neap__interrupt *)op;
  int code = uv_signal_init(op->task.loop->uv, &self->signal);
  if (code) return code;
  neap__op_acquire_native(op, false);
  uv_unref((uv_handle_t *)&self->signal);
  code = uv_signal_start_oneshot(&self->signal, on_signal, SIGINT);
  if (!code) return 0;
  neap__op_settle(op, code);
  close_signal(self);
  return 0;
}

static void abort_interrupt(neap__op *op) {
  close_signal((neap__interrupt *)op);
}

const neap__op_kind neap__interrupt_kind = {
    .task = NEAP__OP_TASK("interrupt"),
    .size = sizeof(neap__interrupt),
    .start = start,
    .abort = abort_interrupt,
};
