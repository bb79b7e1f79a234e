#include "fs.h"
#include "syscall.h"

#include <poll.h>

#ifdef __linux__
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#endif

enum {
  READ_CHUNK = 64 * 1024, /* where the size is not known */
  PIPE_PATIENCE = 50      /* milliseconds until a job looks whether it was cancelled */
};

/* It may have to wait for its turn before it begins. */
typedef struct reading_file {
  neap__fs fs;
  neap__timer turn;
} reading_file;

/* Nothing here waits in open(): it gives a named pipe without a writer, too. */
enum { OPEN_FLAGS = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC };

/* Room for `size` bytes of the result. */
static int reserve(neap__fs *fs, size_t size) {
  char *data = neap__job_resize(&fs->job, fs->result, size);
  if (!data) return UV_ENOMEM;
  fs->result = data;
  return 0;
}

/* ---- In the pool --------------------------------------------------------------------------- */

/* Waits for a writer and for what it writes, as a blocking open and read would; but a cancellation
 * ends it. The end of a pipe that had no writer yet is not reported. */
static int await_writer(neap__fs *fs, int fd) {
  struct pollfd poller = {.fd = fd, .events = POLLIN};
  for (;;) {
    int code = neap__fs_check(fs);
    if (code) return code;
    int n = poll(&poller, 1, PIPE_PATIENCE);
    if (n > 0) return 0;
    if (n < 0 && errno != EINTR) return neap__fs_fail(fs, "poll");
  }
}

/* Reads to the end. One byte more than the size is asked for at first, so that the end of a file
 * that does not grow is seen without another allocation. */
static int read_to_end(neap__fs *fs, int fd, size_t expected, bool is_pipe) {
  size_t capacity = 0;
  for (;;) {
    int code = is_pipe ? await_writer(fs, fd) : neap__fs_check(fs);
    if (!code && fs->size == capacity) {
      capacity = capacity ? capacity * 2 : expected + 1;
      code = reserve(fs, capacity);
    }
    if (code) return code;
    ssize_t n = neap__fd_read(fd, fs->result + fs->size, capacity - fs->size);
    if (n < 0) return neap__fs_fail(fs, "read");
    if (n == 0) return 0;
    fs->size += (size_t)n;
  }
}

static int read_open(neap__fs *fs, int fd) {
  struct stat info;
  if (fstat(fd, &info)) return neap__fs_fail(fs, "fstat");
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK)) return neap__fs_fail(fs, "fcntl");
  size_t expected = info.st_size > 0 ? (size_t)info.st_size : READ_CHUNK - 1;
  return read_to_end(fs, fd, expected, S_ISFIFO(info.st_mode));
}

static int run_read_file(neap__fs *fs) {
  int fd = fs->fd >= 0 ? fs->fd : neap__open(fs->path, OPEN_FLAGS, 0);
  fs->fd = -1;
  if (fd < 0) return neap__fs_fail(fs, "open");
  fs->size = 0;
  int code = read_open(fs, fd);
  close(fd);
  return code;
}

/* Taken off the pool's queue: what was opened before is closed. */
static void finish_read_file(neap__fs *fs) {
  if (fs->fd >= 0) close(fs->fd);
  fs->fd = -1;
}

/* ---- On the spot ---------------------------------------------------------------------------- */

/* A small file that is in the system's cache is read on the loop's thread, without a thread of the pool:
 * 5 us instead of 25, where nothing else is under way. Every call here is one that refuses to wait. */
#if defined(RESOLVE_CACHED) && defined(RWF_NOWAIT) && defined(SYS_openat2)

enum {
  SPOT_SIZE = 64 * 1024, /* largest file */
  SPOT_COST = 4096       /* of a read, in bytes that are read meanwhile */
};

#ifdef __SANITIZE_THREAD__

/* TSan does not see raw system calls: it would take the file for the one that had its number before. */
static int open_cached(neap_loop *loop, const char *path) {
  (void)loop;
  return neap__open(path, OPEN_FLAGS, 0);
}

#else

static int open_cached(neap_loop *loop, const char *path) {
  struct open_how how = {.flags = OPEN_FLAGS, .resolve = RESOLVE_CACHED};
  int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
  if (fd < 0 && (errno == ENOSYS || errno == EINVAL)) loop->reads_in_pool = true;
  return fd;
}

#endif

static ssize_t read_cached(neap_loop *loop, int fd, const struct stat *info, neap__fs *fs) {
  size_t size = (size_t)info->st_size - fs->size;
  struct iovec piece = {fs->result + fs->size, size};
  if (info->st_dev != loop->memory_device) {
    ssize_t n = preadv2(fd, &piece, 1, (off_t)fs->size, RWF_NOWAIT);
    if (n >= 0 || errno != EOPNOTSUPP || !neap__is_in_memory(fd)) return n;
    loop->memory_device = info->st_dev;
  }
  return neap__fd_read_at(fd, piece.iov_base, size, (int64_t)fs->size);
}

/* Whether all of it came. Files without a size (of /proc) may have a content all the same. */
static bool read_regular(neap__fs *fs, int fd) {
  struct stat info;
  if (fstat(fd, &info) || !S_ISREG(info.st_mode)) return false;
  if (info.st_size == 0 || info.st_size > SPOT_SIZE) return false;
  if (reserve(fs, (size_t)info.st_size)) return false;
  while (fs->size < (size_t)info.st_size) {
    ssize_t n = read_cached(fs->job.op.task.loop, fd, &info, fs);
    if (n < 0) return false;
    if (n == 0) break;
    fs->size += (size_t)n;
  }
  return true;
}

/* Whether it has ended. What the walk through the cache says of a missing file is what a full walk
 * says, which begins in the same way. Else the pool goes on with the descriptor. */
static bool read_on_the_spot(neap__fs *fs) {
  neap_loop *loop = fs->job.op.task.loop;
  if (loop->reads_in_pool) return false;
  fs->fd = open_cached(loop, fs->path);
  loop->spot_cost += SPOT_COST;
  if (fs->fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
    neap__op_settle(&fs->job.op, neap__fs_fail(fs, "open"));
    return true;
  }
  if (fs->fd < 0 || !read_regular(fs, fs->fd)) return false;
  loop->spot_cost += fs->size;
  finish_read_file(fs);
  neap__op_settle(&fs->job.op, 0);
  return true;
}

#else

static bool read_on_the_spot(neap__fs *fs) {
  (void)fs;
  return false;
}

#endif

/* ---- Life of the operation ------------------------------------------------------------------ */

static int read_now(neap__op *op) {
  neap__fs *fs = (neap__fs *)op;
  if (read_on_the_spot(fs)) return 0;
  int code = neap__fs_start(op);
  if (code) finish_read_file(fs);
  return code;
}

static void on_turn(neap__timer *timer) {
  neap__op *op = &NEAP__CONTAINER(timer, reading_file, turn)->fs.job.op;
  neap_task_ref(&op->task);
  neap__op_release_native(op);
  int code = read_now(op);
  if (code) neap__op_settle(op, code);
  neap_task_unref(&op->task);
}

/* Enough was read for now: once more when the loop has looked at its I/O. */
static int await_turn(neap__op *op) {
  reading_file *self = (reading_file *)op;
  neap_loop *loop = op->task.loop;
  self->turn.fire = on_turn;
  int code = neap__loop_arm(loop, &self->turn, neap__loop_now(loop));
  if (!code) neap__op_acquire_native(op, false);
  return code;
}

static int start_read_file(neap__op *op) {
  neap__fs *fs = (neap__fs *)op;
  neap_loop *loop = op->task.loop;
  fs->fd = -1;
  op->error.path = fs->path;
  if (neap__memory_must_fail(&loop->memory)) return UV_ENOMEM;
  return loop->spot_cost < NEAP__SPOT_COST_PER_POLL ? read_now(op) : await_turn(op);
}

static void abort_read_file(neap__op *op) {
  if (op->is_job) {
    neap__fs_abort(op);
    return;
  }
  neap__timer_disarm(&op->task.loop->timers, &((reading_file *)op)->turn);
  neap__op_release_native(op);
}

const neap__fs_kind neap__fs_read_file = {
    .op =
        {
            .task = NEAP__OP_TASK("fs.read_file"),
            .size = sizeof(reading_file),
            .start = start_read_file,
            .abort = abort_read_file,
            .release = neap__fs_release,
        },
    .run = run_read_file,
    .finish = finish_read_file,
};
