#include "signal.h"

#include <assert.h>
#include <signal.h>
#include <string.h>

/* ---- Names --------------------------------------------------------------------------------- */

#define NAMED(name)                                                                                \
  { "SIG" #name, SIG##name }

static const struct {
  const char *name;
  int number;
} names[] = {
    NAMED(HUP),    NAMED(INT),  NAMED(QUIT),  NAMED(ILL),  NAMED(TRAP), NAMED(ABRT),
    NAMED(BUS),    NAMED(FPE),  NAMED(KILL),  NAMED(USR1), NAMED(SEGV), NAMED(USR2),
    NAMED(PIPE),   NAMED(ALRM), NAMED(TERM),  NAMED(CHLD), NAMED(CONT), NAMED(STOP),
    NAMED(TSTP),   NAMED(TTIN), NAMED(TTOU),  NAMED(URG),  NAMED(XCPU), NAMED(XFSZ),
    NAMED(VTALRM), NAMED(PROF), NAMED(WINCH), NAMED(IO),   NAMED(SYS),
#ifdef __linux__
    NAMED(STKFLT), NAMED(PWR),
#endif
};

enum { NAMES = sizeof names / sizeof *names };

int neap__signal_number(const char *name) {
  for (int i = 0; i < NAMES; i++)
    if (strcmp(names[i].name, name) == 0) return names[i].number;
  return 0;
}

const char *neap__signal_name(int number) {
  for (int i = 0; i < NAMES; i++)
    if (names[i].number == number) return names[i].name;
  return NULL;
}

/* What a fault raises is raised again when its handler returns: the program would hang in it. */
const char *neap__signal_obstacle(int number) {
  switch (number) {
  case SIGKILL:
  case SIGSTOP: return "the system lets no program catch it";
  case SIGSEGV:
  case SIGBUS:
  case SIGFPE:
  case SIGILL: return "it tells of a fault of the program, which cannot go on";
  default: return NULL;
  }
}

/* ---- Actions ------------------------------------------------------------------------------- */

static bool has_action(int number, void (*handler)(int)) {
  struct sigaction action;
  return sigaction(number, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) &&
         action.sa_handler == handler;
}

/* libuv leaves the default behind. What was ignored before is ignored again, and SIGPIPE always is:
 * see ops/stream.c. */
static void restore_action(const neap__signal *self) {
  if (!self->was_ignored && self->number != SIGPIPE) return;
  if (!has_action(self->number, SIG_DFL)) return; /* others still listen */
  struct sigaction action = {.sa_handler = SIG_IGN};
  sigaction(self->number, &action, NULL);
}

/* ---- Listening ----------------------------------------------------------------------------- */

static neap__signals_op *of_op(neap__op *op) {
  return (neap__signals_op *)op;
}

void neap__signals_unref(neap__signals *self) {
  if (--self->refs > 0) return;
  neap_loop *loop = self->loop;
  neap__memory_free(&loop->memory, self);
  neap__loop_unanchor(loop);
}

/* The operation still refers to `self`. */
static void end_wait(neap__signals *self) {
  self->waiter = NULL;
  uv_unref((uv_handle_t *)&self->signals[0].handle);
  if (self->is_dropped) neap__signals_close(self);
}

static void give(neap__signals *self, int number) {
  neap__op *op = self->waiter;
  end_wait(self);
  of_op(op)->number = number;
  neap__op_settle(op, 0);
  neap__op_release_native(op);
}

static void on_signal(uv_signal_t *handle, int number) {
  neap__signal *signal = NEAP__CONTAINER(handle, neap__signal, handle);
  neap__signals *self = signal->owner;
  if (self->is_closing) return;
  if (self->waiter)
    give(self, number);
  else if (neap__list_is_empty(&signal->link))
    neap__list_append(&self->arrived, &signal->link);
}

static int listen_to(neap__signals *self, int number) {
  neap__signal *signal = &self->signals[self->open];
  int code = uv_signal_init(self->loop->uv, &signal->handle);
  if (code) return code;
  if (self->open++ == 0) self->refs++;
  uv_unref((uv_handle_t *)&signal->handle);
  neap__list_init(&signal->link);
  signal->owner = self;
  signal->number = number;
  signal->was_ignored = has_action(number, SIG_IGN);
  return uv_signal_start(&signal->handle, on_signal, number);
}

static void close_resource(neap__resource *resource) {
  neap__signals_close(NEAP__CONTAINER(resource, neap__signals, resource));
}

static neap__signals *make(neap_loop *loop, size_t count) {
  neap__signals *self =
      neap__memory_new(&loop->memory, sizeof *self + count * sizeof *self->signals);
  if (!self) return NULL;
  self->loop = loop;
  self->refs = 1;
  self->count = count;
  self->resource.close = close_resource;
  neap__list_init(&self->resource.link);
  neap__list_append(&loop->resources, &self->resource.link);
  neap__list_init(&self->arrived);
  neap__list_init(&self->closers);
  neap__loop_anchor(loop);
  return self;
}

int neap__signals_new(neap_loop *loop, const int *numbers, size_t count, neap__signals **result) {
  int code = 0;
  neap__signals *self = make(loop, count);
  if (!self) return UV_ENOMEM;
  for (size_t i = 0; i < count && !code; i++) code = listen_to(self, numbers[i]);
  if (code) {
    neap__signals_close(self);
    neap__signals_unref(self);
    return code;
  }
  *result = self;
  return 0;
}

/* ---- Closing ------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle) {
  neap__signals *self = ((neap__signal *)(void *)handle)->owner;
  if (--self->open > 0) return;
  neap__op_end_all(&self->closers, 0);
  neap__signals_unref(self);
}

static void close_signal(neap__signal *signal) {
  uv_signal_stop(&signal->handle);
  restore_action(signal);
  uv_close((uv_handle_t *)&signal->handle, on_closed);
}

void neap__signals_close(neap__signals *self) {
  if (self->is_closing) return;
  self->is_closing = true;
  neap__list_unlink(&self->resource.link);
  if (self->waiter) give(self, 0);
  for (size_t i = 0; i < self->open; i++) close_signal(&self->signals[i]);
}

void neap__signals_drop(neap__signals *self) {
  self->is_dropped = true;
  if (!self->waiter) neap__signals_close(self);
  neap__signals_unref(self);
}

/* ---- Operations ---------------------------------------------------------------------------- */

static int start_next(neap__op *op) {
  neap__signals *self = of_op(op)->signals;
  if (self->waiter) return NEAP_EMISUSE;
  if (self->is_closing) {
    neap__op_settle(op, 0);
  } else if (!neap__list_is_empty(&self->arrived)) {
    neap__signal *signal = NEAP__CONTAINER(self->arrived.next, neap__signal, link);
    neap__list_unlink(&signal->link);
    of_op(op)->number = signal->number;
    neap__op_settle(op, 0);
  } else {
    self->waiter = op;
    neap__op_acquire_native(op, false);
    uv_ref((uv_handle_t *)&self->signals[0].handle);
  }
  return 0;
}

/* What arrives from now on is kept for the next one. */
static void abort_next(neap__op *op) {
  neap__signals *self = of_op(op)->signals;
  end_wait(self);
  neap__op_release_native(op);
}

static int start_close(neap__op *op) {
  neap__signals *self = of_op(op)->signals;
  assert(self->is_closing);
  if (self->open == 0) {
    neap__op_settle(op, 0);
    return 0;
  }
  neap__op_enter(op, &of_op(op)->link, &self->closers);
  return 0;
}

static void abort_close(neap__op *op) {
  neap__op_leave(&of_op(op)->link);
}

static void release(neap__op *op) {
  if (of_op(op)->signals) neap__signals_unref(of_op(op)->signals);
}

const neap__op_kind neap__signals_next_kind = {
    .task = NEAP__OP_TASK("signals:next"),
    .size = sizeof(neap__signals_op),
    .start = start_next,
    .abort = abort_next,
    .release = release,
};

const neap__op_kind neap__signals_close_kind = {
    .task = NEAP__OP_TASK("signals:close"),
    .size = sizeof(neap__signals_op),
    .start = start_close,
    .abort = abort_close,
    .release = release,
};
