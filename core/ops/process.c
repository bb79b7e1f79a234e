#include "process.h"

#include "process_group.h"

#include <math.h>
#include <signal.h>
#include <unistd.h>

static neap__process *ref(neap__process *self) {
  self->refs++;
  return self;
}

void neap__process_unref(neap__process *self) {
  if (--self->refs > 0) return;
  neap_loop *loop = self->loop;
  neap__memory_free(&loop->memory, self->command);
  neap__memory_free(&loop->memory, self);
  neap__loop_unanchor(loop);
}

/* While it runs, or ends, something is going to happen by itself: a virtual clock has patience. */
static void count(neap__process *self) {
  bool is_counted = self->is_ending || (!self->has_ended && !self->is_detached);
  if (is_counted && !self->is_counted) self->loop->jobs++;
  if (!is_counted && self->is_counted) self->loop->jobs--;
  self->is_counted = is_counted;
}

/* ---- Pipes ---------------------------------------------------------------------------------- */

/* Our end of a pipe. */
typedef struct pipe_end {
  neap__stream stream;
  neap__process *process; /* referenced */
  int place;
} pipe_end;

static void leave(neap__process *self) {
  if (--self->holders == 0 && !self->has_ended) neap__process_end(self);
}

static void on_pipe_closing(neap__stream *stream) {
  pipe_end *self = (pipe_end *)stream;
  neap__process *process = self->process;
  process->pipes[self->place] = NULL;
  leave(process);
  neap__process_unref(process);
}

int neap__process_open_pipe(neap__process *self, int place, int fd, neap__stream **result) {
  neap__stream *stream;
  int code = neap__stream_new(self->loop, UV_NAMED_PIPE, -1, sizeof(pipe_end), &stream);
  if (code) return code;
  code = uv_pipe_open(&stream->uv.pipe, fd);
  if (code) {
    neap__stream_close(stream);
    neap__stream_unref(stream);
    return code;
  }
  ((pipe_end *)stream)->process = ref(self);
  ((pipe_end *)stream)->place = place;
  stream->closing = on_pipe_closing;
  self->pipes[place] = stream;
  self->holders++;
  *result = stream;
  return 0;
}

static void close_pipes(neap__process *self) {
  for (int i = 0; i < NEAP__STANDARD_STREAMS; i++)
    if (self->pipes[i]) neap__stream_close(self->pipes[i]);
}

/* ---- Signals -------------------------------------------------------------------------------- */

int neap__process_kill(neap__process *self, int signal) {
  if (self->has_ended) return UV_ESRCH;
  return kill(self->leads_group ? -self->pid : self->pid, signal) ? uv_translate_sys_error(errno)
                                                                  : 0;
}

static bool has_rest(const neap__process *self) {
  return self->leads_group && neap__group_lives(self->pid);
}

/* To what there is of it: its leader may have ended before the rest of the group. */
static void send_signal(neap__process *self, int signal) {
  if (!self->has_ended)
    neap__process_kill(self, signal);
  else if (has_rest(self))
    kill(-self->pid, signal);
}

static void kill_now(neap__process *self) {
  self->is_killed = true;
  send_signal(self, SIGKILL);
}

/* ---- Ending --------------------------------------------------------------------------------- */

/* It keeps the loop alive, and counts as an operation, so that a run gives it the time that it needs. */
static void begin_ending(neap__process *self) {
  ref(self);
  self->is_ending = true;
  self->left = self->grace;
  self->delay = 0.001;
  if (self->has_ended) neap__list_append(&self->loop->resources, &self->resource.link);
  self->loop->operations++;
  neap_loop_hold(self->loop);
  count(self);
}

static void finish(neap__process *self) {
  bool was_ending = self->is_ending;
  ref(self);
  self->is_ending = false;
  self->is_over = true;
  if (self->has_ended) neap__list_unlink(&self->resource.link);
  neap__timer_disarm(&self->loop->timers, &self->timer);
  close_pipes(self);
  neap__op_end_all(&self->closers, 0);
  if (was_ending) {
    self->loop->operations--;
    neap_loop_release(self->loop);
    count(self);
    neap__process_unref(self);
  }
  neap__process_unref(self);
}

/* Arms the timer; false where there is no memory for it: nobody would come back. */
static bool wake_after(neap__process *self, double seconds) {
  if (seconds == HUGE_VAL) return true;
  double deadline = neap__loop_now(self->loop) + seconds;
  return neap__loop_arm(self->loop, &self->timer, deadline) == 0;
}

/* Its leader has ended. Nobody tells of the others, so they are looked for, less and less often. */
static void look_for_rest(neap__process *self) {
  const double longest = 0.25;
  if (!has_rest(self)) {
    finish(self);
    return;
  }
  double pause = self->delay;
  if (!self->is_killed && self->left < pause) pause = self->left;
  self->left -= pause;
  self->delay = self->delay < longest / 2 ? 2 * self->delay : longest;
  if (wake_after(self, pause)) return;
  kill_now(self);
  finish(self);
}

static void on_timer(neap__timer *timer) {
  neap__process *self = NEAP__CONTAINER(timer, neap__process, timer);
  bool is_late = !self->has_ended || self->left <= 0;
  if (is_late && !self->is_killed) kill_now(self);
  if (self->has_ended) look_for_rest(self);
}

/* How much of the grace its leader has left to the others. */
static void end_rest(neap__process *self) {
  bool has_limit = neap__timer_is_armed(&self->timer);
  if (has_limit) self->left = self->timer.deadline - neap__loop_now(self->loop);
  neap__timer_disarm(&self->loop->timers, &self->timer);
  look_for_rest(self);
}

static bool must_be_ended(const neap__process *self) {
  return !self->is_detached && (!self->has_ended || has_rest(self));
}

void neap__process_end(neap__process *self) {
  if (self->is_ending || self->is_over) return;
  if (self->loop->is_closing) {
    if (must_be_ended(self)) kill_now(self);
    finish(self);
    return;
  }
  if (!must_be_ended(self)) {
    finish(self);
    return;
  }
  begin_ending(self);
  send_signal(self, SIGTERM);
  if (self->has_ended)
    look_for_rest(self);
  else if (!wake_after(self, self->grace))
    kill_now(self);
}

void neap__process_drop(neap__process *self) {
  leave(self);
  neap__process_unref(self);
}

/* ---- Its life in libuv ---------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle) {
  neap__process_unref(handle->data);
}

static void close_handle(neap__process *self) {
  uv_close((uv_handle_t *)&self->handle, on_closed);
}

static void end_loans(neap__process *self) {
  for (int i = 0; i < NEAP__STANDARD_STREAMS; i++) neap__loan_end(&self->loans[i]);
}

void neap__process_on_exit(uv_process_t *handle, int64_t status, int signal) {
  neap__process *self = ref(handle->data);
  self->has_ended = true;
  self->signal = signal;
  self->code = signal ? 128 + signal : (int)status;
  close_handle(self);
  if (!self->is_ending) neap__list_unlink(&self->resource.link);
  count(self);
  end_loans(self);
  neap__op_end_all(&self->waiters, 0);
  if (self->is_ending) end_rest(self);
  neap__process_unref(self);
}

/* The loop ends. What was killed is reaped before the loop is gone; a detached child is nobody's. */
static void close_resource(neap__resource *resource) {
  neap__process *self = ref(NEAP__CONTAINER(resource, neap__process, resource));
  neap__list_unlink(&resource->link);
  if (!self->is_detached) kill_now(self);
  finish(self);
  if (!self->has_ended && self->is_detached)
    close_handle(self);
  else if (!self->has_ended)
    uv_ref((uv_handle_t *)&self->handle);
  neap__process_unref(self);
}

neap__process *neap__process_new(neap_loop *loop, const char *command) {
  neap__process *self = neap__memory_new(&loop->memory, sizeof *self);
  if (!self) return NULL;
  self->command = neap__memory_copy(&loop->memory, command);
  if (!self->command) {
    neap__memory_free(&loop->memory, self);
    return NULL;
  }
  neap__loop_anchor(loop);
  self->loop = loop;
  self->refs = self->holders = 1;
  self->has_ended = true; /* until it has begun */
  self->timer.fire = on_timer;
  self->resource.close = close_resource;
  neap__list_init(&self->resource.link);
  neap__list_init(&self->waiters);
  neap__list_init(&self->closers);
  return self;
}

/* The handle of a spawn that has failed must be closed as well. */
void neap__process_started(neap__process *self, int code) {
  ref(self);
  self->handle.data = self;
  if (code) {
    close_handle(self);
    return;
  }
  self->has_ended = false;
  self->pid = uv_process_get_pid(&self->handle);
  neap__list_append(&self->loop->resources, &self->resource.link);
  uv_unref((uv_handle_t *)&self->handle);
  count(self);
}

/* ---- Waiting -------------------------------------------------------------------------------- */

static neap__process_wait *of_op(neap__op *op) {
  return (neap__process_wait *)op;
}

static int start_wait(neap__op *op) {
  neap__process *process = of_op(op)->process;
  if (process->has_ended) {
    neap__op_settle(op, 0);
    return 0;
  }
  neap__op_enter(op, &of_op(op)->link, &process->waiters);
  process->holders++;
  uv_ref((uv_handle_t *)&process->handle);
  return 0;
}

static void abort_wait(neap__op *op) {
  neap__process *process = of_op(op)->process;
  neap__list_unlink(&of_op(op)->link.list);
  if (neap__list_is_empty(&process->waiters)) uv_unref((uv_handle_t *)&process->handle);
  leave(process);
  neap__op_release_native(op);
}

static int start_close(neap__op *op) {
  neap__process *process = of_op(op)->process;
  if (process->is_over)
    neap__op_settle(op, 0);
  else
    neap__op_enter(op, &of_op(op)->link, &process->closers);
  return 0;
}

static void abort_close(neap__op *op) {
  neap__op_leave(&of_op(op)->link);
}

static void release(neap__op *op) {
  if (of_op(op)->process) neap__process_unref(of_op(op)->process);
}

#define WAIT_KIND(task_name, which)                                                                \
  {                                                                                                \
    .task = NEAP__OP_TASK(task_name), .size = sizeof(neap__process_wait), .start = start_##which,  \
    .abort = abort_##which, .release = release                                                     \
  }

const neap__op_kind neap__process_wait_kind = WAIT_KIND("process:wait", wait);
const neap__op_kind neap__process_close_kind = WAIT_KIND("process:close", close);
