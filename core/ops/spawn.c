#include "spawn.h"

#include "inheritance.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static neap__spawn *of_op(neap__op *op) {
  return (neap__spawn *)op;
}

/* ---- Standard streams of the child ------------------------------------------------------------ */

/* Pipes rather than libuv's pairs of sockets: a child may open /dev/stdout, and tell what it has. Both
 * ends are closed by exec; the child's is given to it by number. */
static int make_pipe(neap__spawn *self, int place) {
  uv_file fds[2];
  int code = uv_pipe(fds, 0, 0);
  if (code) return neap__op_fail(&self->op, "pipe", code);
  bool child_reads = place == 0;
  self->channels[place].child_fd = child_reads ? fds[0] : fds[1];
  self->channels[place].is_own = true;
  int fd = child_reads ? fds[1] : fds[0];
  code = neap__process_open_pipe(self->process, place, fd, &self->pipes[place]);
  if (code) close(fd);
  return code;
}

static int make_channel(neap__spawn *self, int place) {
  neap__channel *channel = &self->channels[place];
  switch (channel->kind) {
  case NEAP__CHANNEL_PIPE: return make_pipe(self, place);
  case NEAP__CHANNEL_INHERIT: channel->child_fd = place; return 0;
  case NEAP__CHANNEL_STDOUT: channel->child_fd = self->channels[1].child_fd; return 0;
  case NEAP__CHANNEL_LOAN:
    return neap__loan_begin(&channel->loan, &channel->child_fd, &self->op.error.message);
  default: return 0;
  }
}

static int make_channels(neap__spawn *self) {
  int code = 0;
  for (int i = 0; i < NEAP__STANDARD_STREAMS; i++) self->channels[i].child_fd = -1;
  for (int i = 0; i < NEAP__STANDARD_STREAMS && !code; i++) code = make_channel(self, i);
  return code;
}

static void close_child_ends(neap__spawn *self) {
  for (int i = 0; i < NEAP__STANDARD_STREAMS; i++)
    if (self->channels[i].is_own) close(self->channels[i].child_fd);
}

/* ---- Starting ------------------------------------------------------------------------------- */

static uv_stdio_container_t describe_channel(const neap__channel *channel) {
  uv_stdio_container_t container = {.flags = UV_IGNORE};
  if (channel->child_fd < 0) return container;
  container.flags = UV_INHERIT_FD;
  container.data.fd = channel->child_fd;
  return container;
}

/* A new group is a new session: libuv knows nothing between the two. */
static unsigned describe_flags(const neap__spawn *self) {
  unsigned flags = self->leads_group ? UV_PROCESS_DETACHED : 0;
  if (self->uid >= 0) flags |= UV_PROCESS_SETUID;
  if (self->gid >= 0) flags |= UV_PROCESS_SETGID;
  return flags;
}

static int spawn(neap__spawn *self) {
  neap__memory *memory = &self->op.task.loop->memory;
  neap__inheritance inheritance;
  uv_stdio_container_t stdio[NEAP__STANDARD_STREAMS];
  uv_process_options_t options = {.exit_cb = neap__process_on_exit,
                                  .file = self->args[0],
                                  .args = self->args,
                                  .env = self->env,
                                  .cwd = self->cwd,
                                  .flags = describe_flags(self),
                                  .stdio_count = NEAP__STANDARD_STREAMS,
                                  .stdio = stdio,
                                  .uid = (uv_uid_t)self->uid,
                                  .gid = (uv_gid_t)self->gid};
  for (int i = 0; i < NEAP__STANDARD_STREAMS; i++) stdio[i] = describe_channel(&self->channels[i]);
  int code = neap__inheritance_stop(&inheritance, memory);
  if (code) return code;
  code = uv_spawn(self->op.task.loop->uv, &self->process->handle, &options);
  neap__process_started(self->process, code);
  neap__inheritance_restore(&inheritance, memory);
  return code;
}

/* What the child could not do was either of two things. */
static int fail_spawn(neap__spawn *self, int code) {
  struct stat info;
  bool has_cwd = !self->cwd || (stat(self->cwd, &info) == 0 && S_ISDIR(info.st_mode) &&
                                access(self->cwd, X_OK) == 0);
  if (!has_cwd) self->op.error.message = "the working directory cannot be entered";
  return neap__op_fail(&self->op, "spawn", code);
}

static int run_child(neap__spawn *self) {
  int code = make_channels(self);
  if (!code) {
    code = spawn(self);
    if (code && code != UV_ENOMEM) code = fail_spawn(self, code);
  }
  close_child_ends(self);
  return code;
}

/* What was lent stays so until the child ends. */
static void hand_over(neap__spawn *self) {
  for (int i = 0; i < NEAP__STANDARD_STREAMS; i++) {
    self->process->loans[i] = self->channels[i].loan;
    self->channels[i].loan = (neap__loan){NULL, NULL};
  }
}

neap__process *neap__spawn_take(neap__spawn *self, neap__stream *pipes[NEAP__STANDARD_STREAMS]) {
  neap__process *process = self->process;
  memcpy(pipes, self->pipes, sizeof self->pipes);
  memset(self->pipes, 0, sizeof self->pipes);
  self->process = NULL;
  return process;
}

static void discard(neap__spawn *self) {
  neap__stream *pipes[NEAP__STANDARD_STREAMS];
  neap__process *process = neap__spawn_take(self, pipes);
  for (int i = 0; i < NEAP__STANDARD_STREAMS; i++) {
    if (!pipes[i]) continue;
    neap__stream_close(pipes[i]);
    neap__stream_unref(pipes[i]);
  }
  if (process) neap__process_drop(process);
}

static int start(neap__op *op) {
  neap__spawn *self = of_op(op);
  op->error.path = self->args[0];
  self->process = neap__process_new(op->task.loop, self->args[0]);
  if (!self->process) return UV_ENOMEM;
  self->process->leads_group = self->leads_group;
  self->process->is_detached = self->is_detached;
  self->process->grace = self->grace;
  int code = run_child(self);
  if (code)
    discard(self);
  else
    hand_over(self);
  neap__op_settle(op, code);
  return 0;
}

static void release(neap__op *op) {
  neap__spawn *self = of_op(op);
  neap__memory *memory = &op->task.loop->memory;
  discard(self);
  for (int i = 0; i < NEAP__STANDARD_STREAMS; i++) neap__loan_end(&self->channels[i].loan);
  neap__memory_free(memory, self->args);
  neap__memory_free(memory, self->env);
  neap__memory_free(memory, self->cwd);
}

const neap__op_kind neap__spawn_kind = {.task = NEAP__OP_TASK("process.spawn"),
                                        .size = sizeof(neap__spawn),
                                        .start = start,
                                        .release = release};
