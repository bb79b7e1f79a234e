#include "fs.h"
#include "syscall.h"

#include <sys/stat.h>

#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#endif

enum {
  COPY_CHUNK = 4 * 1024 * 1024, /* until it looks whether it was cancelled */
  BUFFER = 128 * 1024,
  KEPT_MODE = 0777 /* a copy is not set-user-ID */
};

typedef struct copy {
  int from, to;
  struct stat source;
  bool is_new; /* the destination was made by us */
} copy;

/* ---- Ways to copy: 1 done, 0 not possible here (nothing was copied), negative an error ---------- */

#ifdef __linux__

static bool is_unsupported(int error) {
  return error == EXDEV || error == EINVAL || error == ENOSYS || error == EOPNOTSUPP ||
         error == EPERM || error == EBADF;
}

/* The two share their blocks until one is changed. */
static int share_blocks(neap__fs *fs, const copy *c) {
  (void)fs;
  return ioctl(c->to, FICLONE, c->from) == 0;
}

static ssize_t copy_range(const copy *c) {
  return copy_file_range(c->from, NULL, c->to, NULL, COPY_CHUNK, 0);
}

static ssize_t send_range(const copy *c) {
  return sendfile(c->to, c->from, NULL, COPY_CHUNK);
}

static int move_ranges(neap__fs *fs, const copy *c, ssize_t (*move)(const copy *),
                       const char *syscall) {
  for (bool has_begun = false;;) {
    int code = neap__fs_check(fs);
    if (code) return code;
    ssize_t n = move(c);
    if (n == 0) return has_begun; /* some say so of files that are not empty */
    if (n < 0 && !has_begun && is_unsupported(errno)) return 0;
    if (n < 0 && errno != EINTR) return neap__fs_fail(fs, syscall);
    if (n > 0) has_begun = true;
  }
}

/* Files that the kernel makes while they are read look empty to these. */
static int copy_in_kernel(neap__fs *fs, const copy *c) {
  if (c->source.st_size == 0) return 0;
  int code = share_blocks(fs, c);
  if (!code) code = move_ranges(fs, c, copy_range, "copy_file_range");
  return code ? code : move_ranges(fs, c, send_range, "sendfile");
}

#else

static int copy_in_kernel(neap__fs *fs, const copy *c) {
  (void)fs, (void)c;
  return 0;
}

#endif

static int copy_with_buffer(neap__fs *fs, const copy *c, char *buffer) {
  for (;;) {
    size_t written;
    int code = neap__fs_check(fs);
    if (code) return code;
    ssize_t n = neap__fd_read(c->from, buffer, BUFFER);
    if (n < 0) return neap__fs_fail(fs, "read");
    if (n == 0) return 1;
    if (neap__write_fully(c->to, buffer, (size_t)n, -1, &written))
      return neap__fs_fail(fs, "write");
  }
}

static int copy_by_hand(neap__fs *fs, const copy *c) {
  char *buffer = neap__job_resize(&fs->job, NULL, BUFFER);
  if (!buffer) return UV_ENOMEM;
  int code = copy_with_buffer(fs, c, buffer);
  neap__job_free(&fs->job, buffer);
  return code;
}

static int copy_content(neap__fs *fs, const copy *c) {
  int code = copy_in_kernel(fs, c);
  if (!code) code = copy_by_hand(fs, c);
  return code < 0 ? code : 0;
}

/* ---- Both ends ----------------------------------------------------------------------------- */

static int require_file(neap__fs *fs, const struct stat *info) {
  if (S_ISDIR(info->st_mode)) return neap__fs_refuse(fs, UV_EISDIR, "open");
  return S_ISREG(info->st_mode) ? 0 : neap__fs_refuse(fs, UV_EINVAL, "open");
}

/* Named pipes do not block the open. */
static int open_source(neap__fs *fs, copy *c) {
  c->from = neap__open(fs->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
  if (c->from < 0) return neap__fs_fail(fs, "open");
  if (fstat(c->from, &c->source)) return neap__fs_fail(fs, "fstat");
  return require_file(fs, &c->source);
}

/* Nothing is truncated before it is clear that it is another file. */
static int empty_old(neap__fs *fs, const copy *c) {
  struct stat info;
  if (fstat(c->to, &info)) return neap__fs_fail(fs, "fstat");
  int code = require_file(fs, &info);
  if (code) return code;
  if (info.st_dev == c->source.st_dev && info.st_ino == c->source.st_ino)
    return neap__fs_refuse(fs, UV_EINVAL, "open");
  return ftruncate(c->to, 0) ? neap__fs_fail(fs, "ftruncate") : 0;
}

static int open_destination(neap__fs *fs, copy *c) {
  int flags = O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY;
  mode_t mode = c->source.st_mode & KEPT_MODE;
  c->to = neap__open(fs->dest, flags | O_EXCL, mode);
  c->is_new = c->to >= 0;
  if (c->is_new) return 0;
  if (errno == EEXIST && fs->flags & NEAP__FS_OVERWRITE) c->to = neap__open(fs->dest, flags, mode);
  return c->to < 0 ? neap__fs_fail(fs, "open") : empty_old(fs, c);
}

/* What the umask took away, and what an old file had. */
static int copy_mode(neap__fs *fs, const copy *c) {
  return fchmod(c->to, c->source.st_mode & KEPT_MODE) ? neap__fs_fail(fs, "fchmod") : 0;
}

static int close_both(neap__fs *fs, const copy *c, int code) {
  if (c->from >= 0) close(c->from);
  if (c->to >= 0 && close(c->to) && !code && errno != EINTR) code = neap__fs_fail(fs, "close");
  if (code && c->is_new) unlink(fs->dest);
  return code;
}

static int run_copy_file(neap__fs *fs) {
  copy c = {.from = -1, .to = -1};
  int code = open_source(fs, &c);
  if (!code) code = open_destination(fs, &c);
  if (!code) code = copy_content(fs, &c);
  if (!code) code = copy_mode(fs, &c);
  return close_both(fs, &c, code);
}

const neap__fs_kind neap__fs_copy_file = {
    .op = NEAP__FS_OP("fs.copy_file", neap__fs),
    .run = run_copy_file,
};
