#include "file.h"

#include "syscall.h"

#include <string.h>
#include <sys/uio.h>

enum {
  BURST = 16 /* blocks that one read may take from the page cache before it gives the loop a rest */
};

static neap__file_op *of_job(neap__job *job) {
  return (neap__file_op *)job;
}

/* ---- Closing -------------------------------------------------------------------------------- */

/* Closing in the loop's thread: only where nobody waits for it. */
static void close_now(neap__file *file) {
  if (file->fd >= 0) {
    if (file->unlinks_at_close) unlink(file->path);
    close(file->fd);
  }
  file->fd = -1;
  neap__list_unlink(&file->resource.link);
}

/* The write that waits has ended. */
static void end_next(neap__file *file, int code) {
  neap__op *op = file->next;
  file->next = NULL;
  neap__op_settle(op, code);
  neap__op_release_native(op);
}

/* No more operations: what comes now is the descriptor's end. */
static void begin_close(neap__file *file) {
  file->is_closing = true;
  neap__list_unlink(&file->resource.link);
  neap__reader_close(&file->reader);
  if (file->next) end_next(file, NEAP_ECLOSED);
}

void neap__file_close_soon(neap__file *file) {
  begin_close(file);
  if (file->busy == 0) close_now(file);
}

static void close_resource(neap__resource *resource) {
  neap__file_close_soon(NEAP__CONTAINER(resource, neap__file, resource));
}

void neap__file_unref(neap__file *file) {
  if (--file->refs > 0) return;
  neap_loop *loop = file->loop;
  close_now(file);
  if (file->reader.buffer) neap__reader_clear(&file->reader);
  neap__memory_free(&loop->memory, file->path);
  neap__memory_free(&loop->memory, file);
  neap__loop_unanchor(loop);
}

static void enter(neap__file *file) {
  file->busy++;
  file->refs++;
}

/* Whether its jobs end by themselves: those of a pipe or a device may wait for ever. */
static bool ends_soon(const neap__file *file) {
  struct stat info;
  return file->fd >= 0 && fstat(file->fd, &info) == 0 && S_ISREG(info.st_mode);
}

static void leave(neap__file *file) {
  if (--file->busy == 0 && file->is_closing) {
    close_now(file);
    neap__op_end_all(&file->closers, 0);
  }
  neap__file_unref(file);
}

/* ---- Reading: the source of the reader -------------------------------------------------------- */

static neap__file *of_reader(neap__reader *reader) {
  return NEAP__CONTAINER(reader, neap__file, reader);
}

/* The end of a file may move: the next read looks again. */
static void end_reading(neap__file *file, int code) {
  neap__reader_ended(&file->reader, "read", code);
  file->reader.code = 0;
}

/* Room for `wanted` bytes: a block, or memory of that size where more than a block is wanted at once. */
static char *take_room(neap__file *file, size_t wanted, size_t *capacity) {
  *capacity = NEAP__BLOCK_SIZE;
  if (wanted <= NEAP__BLOCK_SIZE) return neap__block_take(file->loop);
  *capacity = wanted;
  return neap__memory_resize(&file->loop->memory, NULL, wanted);
}

static void on_pull(uv_work_t *work) {
  neap__file_pull *pull = NEAP__CONTAINER(work, neap__file_pull, work);
  const neap__file *file = NEAP__CONTAINER(pull, neap__file, pull);
  ssize_t n = neap__fd_read_at(file->fd, pull->block, pull->size, pull->position);
  pull->result = n < 0 ? -errno : n;
}

/* What a read of another epoch brings is what a pending read asked for, at the time; otherwise it is
 * no longer of use. */
static void bring(neap__file *file) {
  const neap__file_pull *pull = &file->pull;
  neap__reader *reader = &file->reader;
  bool is_current = pull->epoch == file->epoch;
  if (!is_current || !neap__reader_reserve(reader, (size_t)pull->result)) {
    if (is_current) neap__reader_failed(reader, "read", UV_ENOMEM);
    neap__block_give(file->loop, pull->block, pull->capacity);
    return;
  }
  if (file->position >= 0) file->position += pull->result;
  if (!neap__reader_arrived(reader, pull->block, (size_t)pull->result, pull->capacity))
    neap__block_give(file->loop, pull->block, pull->capacity);
}

static void on_pulled(uv_work_t *work, int status) {
  neap__file_pull *pull = NEAP__CONTAINER(work, neap__file_pull, work);
  neap__file *file = NEAP__CONTAINER(pull, neap__file, pull);
  neap_loop *loop = file->loop;
  loop->jobs--;
  loop->operations--;
  pull->is_busy = false;
  if (status == 0 && pull->result > 0)
    bring(file);
  else {
    neap__block_give(loop, pull->block, pull->capacity);
    if (status == 0 && pull->epoch == file->epoch)
      end_reading(file, pull->result ? (int)pull->result : UV_EOF);
  }
  neap__reader_go_on(&file->reader);
  leave(file);
}

static int pull_in_pool(neap__file *file, size_t wanted) {
  neap__file_pull *pull = &file->pull;
  neap_loop *loop = file->loop;
  if (pull->is_busy) return 0;
  pull->block = take_room(file, wanted, &pull->capacity);
  if (!pull->block) return UV_ENOMEM;
  pull->size = wanted < pull->capacity ? wanted : pull->capacity;
  pull->position = file->position;
  pull->epoch = file->epoch;
  int code = uv_queue_work(loop->uv, &pull->work, on_pull, on_pulled);
  if (code) {
    neap__block_give(loop, pull->block, pull->capacity);
    return code;
  }
  pull->is_busy = true;
  loop->jobs++;
  loop->operations++;
  enter(file);
  return 0;
}

#ifdef RWF_NOWAIT

static ssize_t read_nowait(const neap__file *file, char *data, size_t size) {
  struct iovec part = {data, size};
  return preadv2(file->fd, &part, 1, (off_t)file->position, RWF_NOWAIT);
}

/* -1: it would have to wait, or cannot tell. */
static ssize_t read_cached(neap__file *file, char *data, size_t size) {
  ssize_t n = -1;
  if (!file->is_memory) n = read_nowait(file, data, size);
  if (n < 0 && !file->is_memory && errno != EAGAIN && errno != EINTR) {
    file->is_memory = errno == EOPNOTSUPP && neap__is_in_memory(file->fd);
    file->is_uncached = !file->is_memory;
  }
  return file->is_memory ? pread(file->fd, data, size, (off_t)file->position) : n;
}

/* One read may not keep the loop for long. */
static bool may_read_cached(neap__file *file) {
  if (file->position < 0 || file->is_uncached || file->pull.is_busy) return false;
  if (file->burst_of != file->reader.reads) file->burst = 0;
  file->burst_of = file->reader.reads;
  if (file->burst++ < BURST) return true;
  file->burst = 0;
  return false;
}

/* What the page cache holds, on the spot: 5 times faster than a trip to the pool for each 64 KiB. */
static bool pull_cached(neap__file *file, size_t wanted, int *code) {
  neap__reader *reader = &file->reader;
  size_t capacity = 0, size = wanted;
  if (!may_read_cached(file)) return false;
  char *block = neap__reader_needs_block(reader) ? take_room(file, wanted, &capacity) : NULL;
  char *space = block;
  if (!block || wanted <= NEAP__BLOCK_SIZE) space = neap__reader_space(reader, block, &size);
  *code = space ? 0 : UV_ENOMEM;
  ssize_t n = space ? read_cached(file, space, size) : -1;
  bool is_kept = false;
  if (n > 0) {
    file->position += n;
    is_kept = neap__reader_arrived(reader, space, (size_t)n, capacity);
  }
  if (block && !is_kept) neap__block_give(file->loop, block, capacity);
  if (n == 0) end_reading(file, UV_EOF);
  return n >= 0 || *code;
}

#else

static bool pull_cached(neap__file *file, size_t wanted, int *code) {
  (void)file, (void)wanted, (void)code;
  return false;
}

#endif

static int pull(neap__reader *reader, size_t wanted, const char **syscall) {
  neap__file *file = of_reader(reader);
  int code = 0;
  *syscall = "read";
  if (pull_cached(file, wanted, &code)) return code ? code : 1;
  return pull_in_pool(file, wanted);
}

static void unref_reader(neap__reader *reader) {
  neap__file_unref(of_reader(reader));
}

static const neap__source source = {pull, NULL, unref_reader, NULL};

/* ---- The position --------------------------------------------------------------------------- */

int64_t neap__file_position(const neap__file *file) {
  if (file->position < 0) return -1;
  return file->position - (int64_t)neap__reader_buffered(&file->reader);
}

void neap__file_move(neap__file *file, int64_t position) {
  neap__reader_rewind(&file->reader);
  file->position = position;
  file->epoch++;
}

/* ---- Open files ---------------------------------------------------------------------------- */

neap__file *neap__file_adopt(neap_loop *loop, int fd, const char *path, bool has_position) {
  neap__file *file = neap__memory_new(&loop->memory, sizeof *file);
  if (!file) return NULL;
  file->path = neap__memory_copy(&loop->memory, path);
  if (!file->path) {
    neap__memory_free(&loop->memory, file);
    return NULL;
  }
  neap__list_init(&file->resource.link);
  neap__list_append(&loop->resources, &file->resource.link);
  file->resource.close = close_resource;
  neap__reader_init(&file->reader, loop, &source);
  neap__list_init(&file->closers);
  file->loop = loop;
  file->fd = fd;
  file->position = has_position ? 0 : -1;
  file->refs = 1;
  neap__loop_anchor(loop);
  return file;
}

static bool make_file(neap__file_op *self) {
  bool has_position = lseek(self->fd, 0, SEEK_CUR) >= 0;
  neap__file *file = neap__file_adopt(self->job.op.task.loop, self->fd, self->path, has_position);
  if (!file) return false;
  file->appends = (self->flags & O_APPEND) != 0;
  file->unlinks_at_close = self->unlinks_at_close;
  self->fd = -1;
  self->file = file;
  return true;
}

neap__file *neap__file_take(neap__file_op *self) {
  if (!self->file && !make_file(self)) return NULL;
  neap__file *file = self->file;
  self->file = NULL;
  return file;
}

/* ---- In the pool --------------------------------------------------------------------------- */

static int run_open(neap__job *job) {
  neap__file_op *self = of_job(job);
  self->fd = neap__open(self->path, self->flags, (mode_t)self->mode);
  return self->fd < 0 ? neap__job_fail(job, "open") : 0;
}

static int run_write(neap__job *job) {
  neap__file_op *self = of_job(job);
  size_t written;
  int code = neap__write_fully(self->fd, self->data, self->size, self->position, &written);
  int error = errno;
  if (self->position < 0) self->end = (int64_t)lseek(self->fd, 0, SEEK_CUR);
  errno = error;
  self->size = written;
  return code ? neap__job_fail(job, "write") : 0;
}

static int run_read_at(neap__job *job) {
  neap__file_op *self = of_job(job);
  size_t size = self->size;
  self->size = 0;
  while (self->size < size) {
    ssize_t n = pread(self->fd, self->data + self->size, size - self->size,
                      (off_t)(self->position + (int64_t)self->size));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return neap__job_fail(job, "pread");
    if (n == 0) break;
    self->size += (size_t)n;
  }
  return 0;
}

static int run_seek_end(neap__job *job) {
  neap__file_op *self = of_job(job);
  struct stat info;
  if (fstat(self->fd, &info)) return neap__job_fail(job, "fstat");
  errno = EINVAL;
  if (self->position > INT64_MAX - (int64_t)info.st_size) return neap__job_fail(job, "lseek");
  self->position += (int64_t)info.st_size;
  return self->position < 0 ? neap__job_fail(job, "lseek") : 0;
}

static int run_sync(neap__job *job) {
  const neap__file_op *self = of_job(job);
  int code;
  do code = self->is_data_only ? fdatasync(self->fd) : fsync(self->fd);
  while (code && errno == EINTR);
  return code ? neap__job_fail(job, self->is_data_only ? "fdatasync" : "fsync") : 0;
}

static int run_truncate(neap__job *job) {
  const neap__file_op *self = of_job(job);
  int code;
  do code = ftruncate(self->fd, (off_t)self->position);
  while (code && errno == EINTR);
  return code ? neap__job_fail(job, "ftruncate") : 0;
}

static int run_stat(neap__job *job) {
  neap__file_stat *self = (neap__file_stat *)job;
  uv_fs_t request;
  int code = uv_fs_fstat(NULL, &request, self->op.fd, NULL);
  if (code) job->op.error.syscall = "fstat";
  self->stat = request.statbuf;
  uv_fs_req_cleanup(&request);
  return code;
}

static int run_chmod(neap__job *job) {
  const neap__file_op *self = of_job(job);
  return fchmod(self->fd, (mode_t)self->mode) ? neap__job_fail(job, "fchmod") : 0;
}

static int run_utime(neap__job *job) {
  const neap__file_op *self = of_job(job);
  struct timespec times[2] = {neap__timespec(self->times[0]), neap__timespec(self->times[1])};
  return futimens(self->fd, times) ? neap__job_fail(job, "futimens") : 0;
}

static int run_close(neap__job *job) {
  const neap__file_op *self = of_job(job);
  if (self->unlinks_at_close) unlink(self->file->path);
  return close(self->fd) && errno != EINTR ? neap__job_fail(job, "close") : 0;
}

/* ---- Life of an operation ------------------------------------------------------------------- */

static int start_job(neap__op *op, int (*run)(neap__job *), void (*finish)(neap__job *)) {
  neap__file_op *self = (neap__file_op *)op;
  op->error.path = self->file ? self->file->path : self->path;
  self->job.run = run;
  self->job.finish = finish;
  return neap__job_start(op);
}

/* Nobody has taken what was opened. */
static void discard(neap__file_op *self) {
  if (self->fd < 0) return;
  if (self->unlinks_at_close) unlink(self->path);
  close(self->fd);
  self->fd = -1;
}

/* What arrives after a cancellation is released at once. */
static void finish_open(neap__job *job) {
  if (neap__op_is_orphan(&job->op)) discard(of_job(job));
}

static int start_open(neap__op *op) {
  ((neap__file_op *)op)->fd = -1;
  return start_job(op, run_open, finish_open);
}

static void start_next(neap__file *file);

/* Jobs on an open file: the descriptor stays open until the last has ended. */
static void finish_on_file(neap__job *job) {
  neap__file_op *self = of_job(job);
  neap__file *file = self->file;
  self->fd = -1;
  if (file->writer == &job->op) {
    file->writer = NULL;
    if (file->next) start_next(file);
  }
  leave(file);
}

static int start_on_file(neap__op *op, int (*run)(neap__job *), void (*finish)(neap__job *)) {
  neap__file_op *self = (neap__file_op *)op;
  neap__file *file = self->file;
  op->error.path = file->path;
  if (file->is_closing || file->fd < 0) return NEAP_ECLOSED;
  self->fd = file->fd;
  enter(file);
  int code = start_job(op, run, finish);
  if (code) {
    self->fd = -1;
    leave(file);
  }
  return code;
}

static int start_plain(neap__op *op, int (*run)(neap__job *)) {
  return start_on_file(op, run, finish_on_file);
}

/* What uses the position excludes all else that does. */
static bool is_position_taken(const neap__file *file) {
  bool is_written = file->writer && !neap__op_is_orphan(file->writer);
  return is_written || file->next || (file->position >= 0 && file->reader.waiting);
}

/* What was cancelled does not move the position: as far as the task is concerned it has not happened. */
static void finish_write(neap__job *job) {
  const neap__file_op *self = of_job(job);
  neap__file *file = self->file;
  bool is_first = file->writer == &job->op && !neap__op_is_orphan(&job->op);
  int64_t end = self->position < 0 ? self->end : self->position + (int64_t)self->size;
  if (is_first && file->position >= 0) neap__file_move(file, end);
  finish_on_file(job);
}

static int begin_write(neap__op *op) {
  neap__file_op *self = (neap__file_op *)op;
  neap__file *file = self->file;
  self->position = file->appends ? -1 : neap__file_position(file);
  int code = start_on_file(op, run_write, finish_write);
  if (!code) file->writer = op;
  return code;
}

static void start_next(neap__file *file) {
  neap__op *op = file->next;
  file->next = NULL;
  neap_task_ref(&op->task);
  neap__op_release_native(op);
  int code = begin_write(op);
  if (code) neap__op_settle(op, code);
  neap_task_unref(&op->task);
}

/* A write that was cancelled may be on its way to the disk still; the next one must not be overtaken by
 * it. */
static int start_write(neap__op *op) {
  neap__file *file = ((neap__file_op *)op)->file;
  if (is_position_taken(file)) return NEAP_EMISUSE;
  if (!file->writer || file->is_closing) return begin_write(op);
  op->error.path = file->path;
  file->next = op;
  neap__op_acquire_native(op, false);
  return 0;
}

static void abort_write(neap__op *op) {
  neap__file *file = ((neap__file_op *)op)->file;
  if (file->next != op) {
    neap__job_abort(op);
    return;
  }
  file->next = NULL;
  neap__op_release_native(op);
}

/* What was read ahead may be another now. */
static void finish_change(neap__job *job) {
  neap__file *file = of_job(job)->file;
  if (file->position >= 0) neap__file_move(file, neap__file_position(file));
  finish_on_file(job);
}

static int start_write_at(neap__op *op) {
  return start_on_file(op, run_write, finish_change);
}

static int start_read_at(neap__op *op) {
  neap__file_op *self = (neap__file_op *)op;
  self->data = neap__job_resize(&self->job, NULL, self->size ? self->size : 1);
  return self->data ? start_plain(op, run_read_at) : UV_ENOMEM;
}

/* The pool's thread must not touch a block that the loop's thread uses, least of all after a
 * cancellation: so it reads into memory of its own. */
static void finish_read_at_into(neap__job *job) {
  neap__file_op *self = of_job(job);
  bool is_wanted = !job->code && !neap__op_is_orphan(&job->op);
  if (is_wanted && self->size > 0) memcpy(self->target.data, self->data, self->size);
  neap__target_release(&self->target);
  finish_on_file(job);
}

static int start_read_at_into(neap__op *op) {
  neap__file_op *self = (neap__file_op *)op;
  self->data = neap__job_resize(&self->job, NULL, self->size ? self->size : 1);
  int code = self->data ? start_on_file(op, run_read_at, finish_read_at_into) : UV_ENOMEM;
  if (!code)
    neap__target_pin(&self->target);
  else
    neap__target_release(&self->target);
  return code;
}

/* What the job does from now on is nobody's business. */
static void abort_read_at_into(neap__op *op) {
  neap__target_release(&((neap__file_op *)op)->target);
  neap__job_abort(op);
}

static void finish_seek(neap__job *job) {
  const neap__file_op *self = of_job(job);
  if (!job->code && !neap__op_is_orphan(&job->op)) neap__file_move(self->file, self->position);
  finish_on_file(job);
}

static int start_seek_end(neap__op *op) {
  const neap__file *file = ((neap__file_op *)op)->file;
  if (is_position_taken(file)) return NEAP_EMISUSE;
  if (file->position < 0 && !file->is_closing) return neap__op_fail(op, "lseek", UV_ESPIPE);
  return start_on_file(op, run_seek_end, finish_seek);
}

static int start_sync(neap__op *op) {
  return start_plain(op, run_sync);
}

static int start_stat(neap__op *op) {
  return start_plain(op, run_stat);
}

static int start_chmod(neap__op *op) {
  return start_plain(op, run_chmod);
}

static int start_utime(neap__op *op) {
  return start_plain(op, run_utime);
}

static int start_truncate(neap__op *op) {
  neap__file_op *self = (neap__file_op *)op;
  if (self->position < 0) self->position = neap__file_position(self->file);
  if (self->position < 0 && !self->file->is_closing)
    return neap__op_fail(op, "ftruncate", UV_ESPIPE);
  return start_on_file(op, run_truncate, finish_change);
}

/* A close that was taken off the pool's queue before it ran must still close. */
static void finish_close(neap__job *job) {
  neap__file_op *self = of_job(job);
  if (job->code == UV_ECANCELED) run_close(job);
  self->fd = -1;
  self->file->has_close_job = false;
  neap__op_end_all(&self->file->closers, 0);
}

/* With other jobs on it the last of them closes the descriptor. */
static int wait_for_close(neap__op *op) {
  neap__file_op *self = (neap__file_op *)op;
  neap__file *file = self->file;
  if (file->has_close_job || (file->busy > 0 && ends_soon(file)))
    neap__op_enter(op, &self->link, &file->closers);
  else
    neap__op_settle(op, 0);
  return 0;
}

static void abort_close(neap__op *op) {
  if (op->is_job)
    neap__job_abort(op);
  else
    neap__op_leave(&((neap__file_op *)op)->link);
}

static int start_close(neap__op *op) {
  neap__file_op *self = (neap__file_op *)op;
  neap__file *file = self->file;
  bool is_mine = !file->is_closing && file->busy == 0 && file->fd >= 0;
  begin_close(file);
  if (!is_mine) return wait_for_close(op);
  self->fd = file->fd;
  self->unlinks_at_close = file->unlinks_at_close;
  if (start_job(op, run_close, finish_close)) {
    close_now(file); /* no thread to be had: the descriptor matters more than the wait */
    neap__op_settle(op, 0);
    return 0;
  }
  file->has_close_job = true;
  file->fd = -1;
  return 0;
}

static void release(neap__op *op) {
  neap__file_op *self = (neap__file_op *)op;
  neap__job *job = &self->job;
  bool is_open = neap__op_kind_of(op) == &neap__file_open_kind;
  if (is_open && job->run) discard(self);
  neap__target_release(&self->target);
  if (self->bytes)
    neap_bytes_unref(self->bytes);
  else
    neap__job_free(job, self->data);
  neap__memory_free(&op->task.loop->memory, self->path);
  if (self->file) neap__file_unref(self->file);
}

#define FILE_KIND(task_name, type, start_function)                                                 \
  {                                                                                                \
    .task = NEAP__OP_TASK(task_name), .size = sizeof(type), .start = (start_function),             \
    .abort = neap__job_abort, .release = release                                                   \
  }

const neap__op_kind neap__file_open_kind = FILE_KIND("fs.open", neap__file_op, start_open);
const neap__op_kind neap__file_read_at_kind = FILE_KIND("read_at", neap__file_op, start_read_at);
const neap__op_kind neap__file_write_at_kind = FILE_KIND("write_at", neap__file_op, start_write_at);
const neap__op_kind neap__file_seek_end_kind = FILE_KIND("seek", neap__file_op, start_seek_end);
const neap__op_kind neap__file_sync_kind = FILE_KIND("sync", neap__file_op, start_sync);
const neap__op_kind neap__file_truncate_kind = FILE_KIND("truncate", neap__file_op, start_truncate);
const neap__op_kind neap__file_stat_kind = FILE_KIND("stat", neap__file_stat, start_stat);
const neap__op_kind neap__file_chmod_kind = FILE_KIND("chmod", neap__file_op, start_chmod);
const neap__op_kind neap__file_utime_kind = FILE_KIND("utime", neap__file_op, start_utime);

const neap__op_kind neap__file_read_at_into_kind = {.task = NEAP__OP_TASK("read_at_into"),
                                                    .size = sizeof(neap__file_op),
                                                    .start = start_read_at_into,
                                                    .abort = abort_read_at_into,
                                                    .release = release};
const neap__op_kind neap__file_close_kind = {.task = NEAP__OP_TASK("close"),
                                             .size = sizeof(neap__file_op),
                                             .start = start_close,
                                             .abort = abort_close,
                                             .release = release};
const neap__op_kind neap__file_write_kind = {.task = NEAP__OP_TASK("write"),
                                             .size = sizeof(neap__file_op),
                                             .start = start_write,
                                             .abort = abort_write,
                                             .release = release};
