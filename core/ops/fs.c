#include "fs.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_CHUNK = 64 * 1024, FILE_MODE = 0666 };

static neap__fs *of_job(neap__job *job) {
  return (neap__fs *)job;
}

/* ---- In the pool --------------------------------------------------------------------------- */

static int fail_job(neap__fs *fs, const char *syscall) {
  fs->job.op.error.syscall = syscall;
  return -errno;
}

static int open_retrying(const char *path, int flags) {
  int fd;
  do fd = open(path, flags | O_CLOEXEC, FILE_MODE);
  while (fd < 0 && errno == EINTR);
  return fd;
}

static ssize_t read_retrying(int fd, char *data, size_t size) {
  ssize_t n;
  do n = read(fd, data, size);
  while (n < 0 && errno == EINTR);
  return n;
}

/* Reads to the end. One byte more than the size is asked for at first, so that the end of a file
 * that does not grow is seen without another allocation. */
static int read_to_end(neap__fs *fs, int fd, size_t expected) {
  size_t capacity = 0;
  for (;;) {
    if (fs->size == capacity) {
      capacity = capacity ? capacity * 2 : expected + 1;
      char *data = neap__job_resize(&fs->job, fs->data, capacity);
      if (!data) return UV_ENOMEM;
      fs->data = data;
    }
    ssize_t n = read_retrying(fd, fs->data + fs->size, capacity - fs->size);
    if (n < 0) return fail_job(fs, "read");
    if (n == 0) return 0;
    fs->size += (size_t)n;
  }
}

static int run_read_file(neap__job *job) {
  neap__fs *fs = of_job(job);
  struct stat info;
  int fd = open_retrying(fs->path, O_RDONLY);
  if (fd < 0) return fail_job(fs, "open");
  int code = fstat(fd, &info) ? fail_job(fs, "fstat") : 0;
  size_t expected = info.st_size > 0 ? (size_t)info.st_size : READ_CHUNK - 1;
  if (!code) code = read_to_end(fs, fd, expected);
  close(fd);
  return code;
}

static int write_all(neap__fs *fs, int fd, int64_t position) {
  size_t written = 0;
  int code = 0;
  while (written < fs->size && !code) {
    const char *data = fs->data + written;
    size_t rest = fs->size - written;
    ssize_t n = position < 0 ? write(fd, data, rest)
                             : pwrite(fd, data, rest, (off_t)(position + (int64_t)written));
    if (n < 0 && errno == ESPIPE && position >= 0)
      position = -1;
    else if (n < 0 && errno != EINTR)
      code = fail_job(fs, "write");
    else if (n > 0)
      written += (size_t)n;
  }
  fs->size = written;
  return code;
}

static int run_write_file(neap__job *job) {
  neap__fs *fs = of_job(job);
  int fd = open_retrying(fs->path, fs->flags);
  if (fd < 0) return fail_job(fs, "open");
  int code = write_all(fs, fd, -1);
  if (close(fd) && !code && errno != EINTR) code = fail_job(fs, "close");
  return code;
}

static uv_dirent_type_t entry_type(int dir, const struct dirent *entry) {
  struct stat info;
  switch (entry->d_type) {
  case DT_REG: return UV_DIRENT_FILE;
  case DT_DIR: return UV_DIRENT_DIR;
  case DT_LNK: return UV_DIRENT_LINK;
  case DT_FIFO: return UV_DIRENT_FIFO;
  case DT_SOCK: return UV_DIRENT_SOCKET;
  case DT_CHR: return UV_DIRENT_CHAR;
  case DT_BLK: return UV_DIRENT_BLOCK;
  default: break;
  }
  /* Some file systems do not tell. */
  if (fstatat(dir, entry->d_name, &info, AT_SYMLINK_NOFOLLOW)) return UV_DIRENT_UNKNOWN;
  if (S_ISREG(info.st_mode)) return UV_DIRENT_FILE;
  if (S_ISDIR(info.st_mode)) return UV_DIRENT_DIR;
  return S_ISLNK(info.st_mode) ? UV_DIRENT_LINK : UV_DIRENT_UNKNOWN;
}

static int add_entry(neap__fs *fs, size_t *capacity, int dir, const struct dirent *entry) {
  if (fs->size == *capacity) {
    size_t more = *capacity ? *capacity * 2 : 32;
    neap__fs_entry *entries = neap__job_resize(&fs->job, fs->entries, more * sizeof *entries);
    if (!entries) return UV_ENOMEM;
    fs->entries = entries;
    *capacity = more;
  }
  size_t length = strlen(entry->d_name) + 1;
  char *name = neap__job_resize(&fs->job, NULL, length);
  if (!name) return UV_ENOMEM;
  fs->entries[fs->size++] =
      (neap__fs_entry){memcpy(name, entry->d_name, length), entry_type(dir, entry)};
  return 0;
}

static bool is_dot(const char *name) {
  return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int compare_entries(const void *a, const void *b) {
  return strcmp(((const neap__fs_entry *)a)->name, ((const neap__fs_entry *)b)->name);
}

static int run_list(neap__job *job) {
  neap__fs *fs = of_job(job);
  DIR *dir = opendir(fs->path);
  if (!dir) return fail_job(fs, "opendir");
  size_t capacity = 0;
  int code = 0;
  while (!code) {
    errno = 0;
    const struct dirent *entry = readdir(dir);
    if (!entry && errno) code = fail_job(fs, "readdir");
    if (!entry) break;
    if (!is_dot(entry->d_name)) code = add_entry(fs, &capacity, dirfd(dir), entry);
  }
  closedir(dir);
  if (!code && fs->size > 0) qsort(fs->entries, fs->size, sizeof *fs->entries, compare_entries);
  return code;
}

static int run_open(neap__job *job) {
  neap__fs *fs = of_job(job);
  fs->fd = open_retrying(fs->path, fs->flags);
  return fs->fd < 0 ? fail_job(fs, "open") : 0;
}

static int run_read(neap__job *job) {
  neap__fs *fs = of_job(job);
  fs->data = neap__job_resize(job, NULL, fs->size ? fs->size : 1);
  if (!fs->data) return UV_ENOMEM;
  ssize_t n;
  do n = pread(fs->fd, fs->data, fs->size, (off_t)fs->position);
  while (n < 0 && errno == EINTR);
  /* A pipe has no position; there a cancelled read may lose what it had read. */
  if (n < 0 && errno == ESPIPE) n = read_retrying(fs->fd, fs->data, fs->size);
  fs->size = n < 0 ? 0 : (size_t)n;
  return n < 0 ? fail_job(fs, "read") : 0;
}

static int run_write(neap__job *job) {
  neap__fs *fs = of_job(job);
  return write_all(fs, fs->fd, fs->file->appends ? -1 : fs->position);
}

static int run_close(neap__job *job) {
  neap__fs *fs = of_job(job);
  return close(fs->fd) && errno != EINTR ? fail_job(fs, "close") : 0;
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

static bool make_file(neap__fs *fs) {
  neap_loop *loop = fs->job.op.task.loop;
  neap__file *file = neap__memory_new(&loop->memory, sizeof *file);
  if (!file) return false;
  neap__list_init(&file->resource.link);
  neap__list_append(&loop->resources, &file->resource.link);
  file->resource.close = close_resource;
  file->loop = loop;
  file->path = fs->path;
  file->fd = fs->fd;
  file->appends = (fs->flags & O_APPEND) != 0;
  file->refs = 1;
  fs->path = NULL;
  fs->fd = -1;
  fs->file = file;
  neap__loop_anchor(loop);
  return true;
}

neap__file *neap__fs_take_file(neap__fs *fs) {
  if (!fs->file && !make_file(fs)) return NULL;
  neap__file *file = fs->file;
  fs->file = NULL;
  return file;
}

/* ---- Life of an operation ------------------------------------------------------------------- */

static int start_job(neap__op *op, int (*run)(neap__job *), void (*finish)(neap__job *)) {
  neap__fs *fs = (neap__fs *)op;
  op->error.path = fs->file ? fs->file->path : fs->path;
  fs->job.run = run;
  fs->job.finish = finish;
  return neap__job_start(op);
}

static int start_read_file(neap__op *op) {
  return start_job(op, run_read_file, NULL);
}

static int start_write_file(neap__op *op) {
  return start_job(op, run_write_file, NULL);
}

static int start_list(neap__op *op) {
  return start_job(op, run_list, NULL);
}

/* A descriptor that arrives after a cancellation is released at once. */
static void finish_open(neap__job *job) {
  neap__fs *fs = of_job(job);
  if (!neap__op_is_orphan(&job->op) || fs->fd < 0) return;
  close(fs->fd);
  fs->fd = -1;
}

static int start_open(neap__op *op) {
  ((neap__fs *)op)->fd = -1;
  return start_job(op, run_open, finish_open);
}

/* Jobs on an open file: the descriptor stays open until the last has ended. */
static void leave_file(neap__fs *fs) {
  neap__file *file = fs->file;
  fs->fd = -1;
  if (--file->busy == 0 && file->is_closing) close_now(file);
}

static int enter_file(neap__fs *fs) {
  neap__file *file = fs->file;
  fs->job.op.error.path = file->path;
  if (file->is_closing || file->fd < 0) return NEAP_ECLOSED;
  fs->fd = file->fd;
  fs->position = file->position;
  file->busy++;
  return 0;
}

static int start_on_file(neap__op *op, int (*run)(neap__job *), void (*finish)(neap__job *)) {
  neap__fs *fs = (neap__fs *)op;
  int code = enter_file(fs);
  if (code) return code;
  code = start_job(op, run, finish);
  if (code) leave_file(fs);
  return code;
}

/* What was cancelled does not move the position: it has not happened. */
static void finish_transfer(neap__job *job) {
  neap__fs *fs = of_job(job);
  neap__file *file = fs->file;
  if (!neap__op_is_orphan(&job->op)) file->position = fs->position + (int64_t)fs->size;
  if (file->reader == &job->op) file->reader = NULL;
  if (file->writer == &job->op) file->writer = NULL;
  leave_file(fs);
}

/* One at a time in each direction; one that was cancelled does not count. */
static int start_transfer(neap__op *op, neap__op **turn, int (*run)(neap__job *)) {
  if (*turn && !neap__op_is_orphan(*turn)) return NEAP_EMISUSE;
  int code = start_on_file(op, run, finish_transfer);
  if (!code) *turn = op;
  return code;
}

static int start_read(neap__op *op) {
  return start_transfer(op, &((neap__fs *)op)->file->reader, run_read);
}

static int start_write(neap__op *op) {
  return start_transfer(op, &((neap__fs *)op)->file->writer, run_write);
}

/* A close that was taken off the pool's queue before it ran must still close. */
static void finish_close(neap__job *job) {
  if (job->code == UV_ECANCELED) close(of_job(job)->fd);
  of_job(job)->fd = -1;
}

/* With other jobs on it the last of them closes the descriptor. */
static int start_close(neap__op *op) {
  neap__fs *fs = (neap__fs *)op;
  neap__file *file = fs->file;
  bool is_mine = !file->is_closing && file->busy == 0 && file->fd >= 0;
  file->is_closing = true;
  neap__list_unlink(&file->resource.link);
  if (!is_mine) {
    neap__op_settle(op, 0);
    return 0;
  }
  fs->fd = file->fd;
  int code = start_job(op, run_close, finish_close);
  if (code)
    close_now(file); /* no thread to be had: the descriptor matters more than the wait */
  else
    file->fd = -1;
  return 0;
}

static void release(neap__op *op) {
  neap__fs *fs = (neap__fs *)op;
  neap__job *job = &fs->job;
  const neap__op_kind *kind = neap__op_kind_of(op);
  if (kind == &neap__fs_open_kind && job->run && fs->fd >= 0) close(fs->fd); /* nobody took it */
  if (kind == &neap__fs_list_kind)
    for (size_t i = 0; i < fs->size; i++) neap__job_free(job, fs->entries[i].name);
  neap__job_free(job, fs->entries);
  neap__job_free(job, fs->data);
  neap__memory_free(&op->task.loop->memory, fs->path);
  if (fs->file) neap__file_unref(fs->file);
}

#define FS_KIND(task_name, start_function)                                                         \
  {                                                                                                \
    .task = NEAP__OP_TASK(task_name), .size = sizeof(neap__fs), .start = (start_function),         \
    .abort = neap__job_abort, .release = release                                                   \
  }

const neap__op_kind neap__fs_read_file_kind = FS_KIND("fs.read_file", start_read_file);
const neap__op_kind neap__fs_write_file_kind = FS_KIND("fs.write_file", start_write_file);
const neap__op_kind neap__fs_list_kind = FS_KIND("fs.list", start_list);
const neap__op_kind neap__fs_open_kind = FS_KIND("fs.open", start_open);
const neap__op_kind neap__fs_read_kind = FS_KIND("file:read", start_read);
const neap__op_kind neap__fs_write_kind = FS_KIND("file:write", start_write);
const neap__op_kind neap__fs_close_kind = FS_KIND("file:close", start_close);

/* ---- Public -------------------------------------------------------------------------------- */

int neap_fs_read_file(neap_loop *loop, const char *path, neap_task **task) {
  neap__op *op = neap__op_new(loop, &neap__fs_read_file_kind);
  if (!op) return UV_ENOMEM;
  ((neap__fs *)op)->path = neap__memory_copy(&loop->memory, path);
  if (!((neap__fs *)op)->path) {
    neap_task_unref(&op->task);
    return UV_ENOMEM;
  }
  neap__op_start(op);
  *task = &op->task;
  return 0;
}

const char *neap_fs_data(const neap_task *task, size_t *size) {
  if (task->kind != &neap__fs_read_file_kind.task || task->status != NEAP_DONE) return NULL;
  const neap__fs *fs = (const neap__fs *)task;
  *size = fs->size;
  return fs->data;
}
