#include "file.h"

#include "syscall.h"

enum { FILE_MODE = 0666 };

static neap__file_op *of_job(neap__job *job) {
  return (neap__file_op *)job;
}

/* ---- In the pool --------------------------------------------------------------------------- */

static int run_open(neap__job *job) {
  neap__file_op *self = of_job(job);
  self->fd = neap__open(self->path, self->flags, FILE_MODE);
  return self->fd < 0 ? neap__job_fail(&self->job, "open") : 0;
}

static int run_read(neap__job *job) {
  neap__file_op *self = of_job(job);
  self->data = neap__job_resize(job, NULL, self->size ? self->size : 1);
  if (!self->data) return UV_ENOMEM;
  ssize_t n = neap__read_at(self->fd, self->data, self->size, self->position);
  self->size = n < 0 ? 0 : (size_t)n;
  return n < 0 ? neap__job_fail(&self->job, "read") : 0;
}

static int run_write(neap__job *job) {
  neap__file_op *self = of_job(job);
  size_t written;
  int64_t position = self->file->appends ? -1 : self->position;
  int code = neap__write_fully(self->fd, self->data, self->size, position, &written);
  self->size = written;
  return code ? neap__job_fail(job, "write") : 0;
}

static int run_close(neap__job *job) {
  neap__file_op *self = of_job(job);
  return close(self->fd) && errno != EINTR ? neap__job_fail(&self->job, "close") : 0;
}

/* ---- Open files ---------------------------------------------------------------------------- */

/* Closing in the loop's thread: only where nobody waits for it. */
static void close_now(neap__file *file) {
  if (file->fd >= 0) close(file->fd);
  file->fd = -1;
  neap__list_unlink(&file->resource.link);
}

void neap__file_close_soon(neap__file *file) {
  file->is_closing = true;
  neap__list_unlink(&file->resource.link);
  if (file->busy == 0) close_now(file);
}

static void close_resource(neap__resource *resource) {
  neap__file_close_soon(NEAP__CONTAINER(resource, neap__file, resource));
}

void neap__file_unref(neap__file *file) {
  if (--file->refs > 0) return;
  neap_loop *loop = file->loop;
  close_now(file);
  neap__memory_free(&loop->memory, file->path);
  neap__memory_free(&loop->memory, file);
  neap__loop_unanchor(loop);
}

static bool make_file(neap__file_op *self) {
  neap_loop *loop = self->job.op.task.loop;
  neap__file *file = neap__memory_new(&loop->memory, sizeof *file);
  if (!file) return false;
  neap__list_init(&file->resource.link);
  neap__list_append(&loop->resources, &file->resource.link);
  file->resource.close = close_resource;
  file->loop = loop;
  file->path = self->path;
  file->fd = self->fd;
  file->appends = (self->flags & O_APPEND) != 0;
  file->refs = 1;
  self->path = NULL;
  self->fd = -1;
  self->file = file;
  neap__loop_anchor(loop);
  return true;
}

neap__file *neap__file_take(neap__file_op *self) {
  if (!self->file && !make_file(self)) return NULL;
  neap__file *file = self->file;
  self->file = NULL;
  return file;
}

/* ---- Life of an operation ------------------------------------------------------------------- */

static int start_job(neap__op *op, int (*run)(neap__job *), void (*finish)(neap__job *)) {
  neap__file_op *self = (neap__file_op *)op;
  op->error.path = self->file ? self->file->path : self->path;
  self->job.run = run;
  self->job.finish = finish;
  return neap__job_start(op);
}

/* A descriptor that arrives after a cancellation is released at once. */
static void finish_open(neap__job *job) {
  neap__file_op *self = of_job(job);
  if (!neap__op_is_orphan(&job->op) || self->fd < 0) return;
  close(self->fd);
  self->fd = -1;
}

static int start_open(neap__op *op) {
  ((neap__file_op *)op)->fd = -1;
  return start_job(op, run_open, finish_open);
}

/* Jobs on an open file: the descriptor stays open until the last has ended. */
static void leave_file(neap__file_op *self) {
  neap__file *file = self->file;
  self->fd = -1;
  if (--file->busy == 0 && file->is_closing) close_now(file);
}

static int enter_file(neap__file_op *self) {
  neap__file *file = self->file;
  self->job.op.error.path = file->path;
  if (file->is_closing || file->fd < 0) return NEAP_ECLOSED;
  self->fd = file->fd;
  self->position = file->position;
  file->busy++;
  return 0;
}

static int start_on_file(neap__op *op, int (*run)(neap__job *), void (*finish)(neap__job *)) {
  neap__file_op *self = (neap__file_op *)op;
  int code = enter_file(self);
  if (code) return code;
  code = start_job(op, run, finish);
  if (code) leave_file(self);
  return code;
}

/* What was cancelled does not move the position: it has not happened. */
static void finish_transfer(neap__job *job) {
  neap__file_op *self = of_job(job);
  neap__file *file = self->file;
  if (!neap__op_is_orphan(&job->op)) file->position = self->position + (int64_t)self->size;
  if (file->reader == &job->op) file->reader = NULL;
  if (file->writer == &job->op) file->writer = NULL;
  leave_file(self);
}

/* One at a time in each direction; one that was cancelled does not count. */
static int start_transfer(neap__op *op, neap__op **turn, int (*run)(neap__job *)) {
  if (*turn && !neap__op_is_orphan(*turn)) return NEAP_EMISUSE;
  int code = start_on_file(op, run, finish_transfer);
  if (!code) *turn = op;
  return code;
}

static int start_read(neap__op *op) {
  return start_transfer(op, &((neap__file_op *)op)->file->reader, run_read);
}

static int start_write(neap__op *op) {
  return start_transfer(op, &((neap__file_op *)op)->file->writer, run_write);
}

/* A close that was taken off the pool's queue before it ran must still close. */
static void finish_close(neap__job *job) {
  if (job->code == UV_ECANCELED) close(of_job(job)->fd);
  of_job(job)->fd = -1;
}

/* With other jobs on it the last of them closes the descriptor. */
static int start_close(neap__op *op) {
  neap__file_op *self = (neap__file_op *)op;
  neap__file *file = self->file;
  bool is_mine = !file->is_closing && file->busy == 0 && file->fd >= 0;
  file->is_closing = true;
  neap__list_unlink(&file->resource.link);
  if (!is_mine) {
    neap__op_settle(op, 0);
    return 0;
  }
  self->fd = file->fd;
  int code = start_job(op, run_close, finish_close);
  if (code)
    close_now(file); /* no thread to be had: the descriptor matters more than the wait */
  else
    file->fd = -1;
  return 0;
}

static void release(neap__op *op) {
  neap__file_op *self = (neap__file_op *)op;
  neap__job *job = &self->job;
  bool is_open = neap__op_kind_of(op) == &neap__file_open_kind;
  if (is_open && job->run && self->fd >= 0) close(self->fd); /* nobody took it */
  neap__job_free(job, self->data);
  neap__memory_free(&op->task.loop->memory, self->path);
  if (self->file) neap__file_unref(self->file);
}

#define FILE_KIND(task_name, start_function)                                                       \
  {                                                                                                \
    .task = NEAP__OP_TASK(task_name), .size = sizeof(neap__file_op), .start = (start_function),    \
    .abort = neap__job_abort, .release = release                                                   \
  }

const neap__op_kind neap__file_open_kind = FILE_KIND("fs.open", start_open);
const neap__op_kind neap__file_read_kind = FILE_KIND("file:read", start_read);
const neap__op_kind neap__file_write_kind = FILE_KIND("file:write", start_write);
const neap__op_kind neap__file_close_kind = FILE_KIND("file:close", start_close);
