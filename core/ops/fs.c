#include "fs.h"

#include "syscall.h"

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
    ssize_t n = neap__fd_read(fd, fs->data + fs->size, capacity - fs->size);
    if (n < 0) return neap__job_fail(&fs->job, "read");
    if (n == 0) return 0;
    fs->size += (size_t)n;
  }
}

static int run_read_file(neap__job *job) {
  neap__fs *fs = of_job(job);
  struct stat info;
  int fd = neap__open(fs->path, O_RDONLY, FILE_MODE);
  if (fd < 0) return neap__job_fail(&fs->job, "open");
  int code = fstat(fd, &info) ? neap__job_fail(&fs->job, "fstat") : 0;
  size_t expected = info.st_size > 0 ? (size_t)info.st_size : READ_CHUNK - 1;
  if (!code) code = read_to_end(fs, fd, expected);
  close(fd);
  return code;
}

static int write_all(neap__fs *fs, int fd) {
  size_t written = 0;
  int code = neap__write_fully(fd, fs->data, fs->size, -1, &written);
  fs->size = written;
  return code ? neap__job_fail(&fs->job, "write") : 0;
}

static int run_write_file(neap__job *job) {
  neap__fs *fs = of_job(job);
  int fd = neap__open(fs->path, fs->flags, FILE_MODE);
  if (fd < 0) return neap__job_fail(&fs->job, "open");
  int code = write_all(fs, fd);
  if (close(fd) && !code && errno != EINTR) code = neap__job_fail(&fs->job, "close");
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
  if (!dir) return neap__job_fail(&fs->job, "opendir");
  size_t capacity = 0;
  int code = 0;
  while (!code) {
    errno = 0;
    const struct dirent *entry = readdir(dir);
    if (!entry && errno) code = neap__job_fail(&fs->job, "readdir");
    if (!entry) break;
    if (!is_dot(entry->d_name)) code = add_entry(fs, &capacity, dirfd(dir), entry);
  }
  closedir(dir);
  if (!code && fs->size > 0) qsort(fs->entries, fs->size, sizeof *fs->entries, compare_entries);
  return code;
}

/* ---- Life of an operation ------------------------------------------------------------------- */

static int start_job(neap__op *op, int (*run)(neap__job *)) {
  neap__fs *fs = (neap__fs *)op;
  op->error.path = fs->path;
  fs->job.run = run;
  return neap__job_start(op);
}

static int start_read_file(neap__op *op) {
  return start_job(op, run_read_file);
}

static int start_write_file(neap__op *op) {
  return start_job(op, run_write_file);
}

static int start_list(neap__op *op) {
  return start_job(op, run_list);
}

static void release(neap__op *op) {
  neap__fs *fs = (neap__fs *)op;
  neap__job *job = &fs->job;
  const neap__op_kind *kind = neap__op_kind_of(op);
  if (kind == &neap__fs_list_kind)
    for (size_t i = 0; i < fs->size; i++) neap__job_free(job, fs->entries[i].name);
  neap__job_free(job, fs->entries);
  neap__job_free(job, fs->data);
  neap__memory_free(&op->task.loop->memory, fs->path);
}

#define FS_KIND(task_name, start_function)                                                         \
  {                                                                                                \
    .task = NEAP__OP_TASK(task_name), .size = sizeof(neap__fs), .start = (start_function),         \
    .abort = neap__job_abort, .release = release                                                   \
  }

const neap__op_kind neap__fs_read_file_kind = FS_KIND("fs.read_file", start_read_file);
const neap__op_kind neap__fs_write_file_kind = FS_KIND("fs.write_file", start_write_file);
const neap__op_kind neap__fs_list_kind = FS_KIND("fs.list", start_list);

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
