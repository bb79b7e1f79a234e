/* System calls that go on where a signal has interrupted them, and what else those share who call the
 * system directly. Thread: any. */
#ifndef NEAP_OPS_SYSCALL_H
#define NEAP_OPS_SYSCALL_H

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/magic.h>
#include <sys/vfs.h>
#endif

/* Never inherited by a child. -1 and errno. */
static inline int neap__open(const char *path, int flags, mode_t mode) {
  int fd;
  do fd = open(path, flags | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  return fd;
}

/* The same below an open directory. */
static inline int neap__open_at(int directory, const char *name, int flags, mode_t mode) {
  int fd;
  do fd = openat(directory, name, flags | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  return fd;
}

static inline int neap__fsync(int fd) {
  int code;
  do code = fsync(fd);
  while (code && errno == EINTR);
  return code;
}

static inline ssize_t neap__fd_read(int fd, char *data, size_t size) {
  ssize_t n;
  do n = read(fd, data, size);
  while (n < 0 && errno == EINTR);
  return n;
}

/* At `position`; at the descriptor's own where it is negative or where there are none (a pipe). */
static inline ssize_t neap__fd_read_at(int fd, char *data, size_t size, int64_t position) {
  ssize_t n = -1;
  if (position < 0) return neap__fd_read(fd, data, size);
  do n = pread(fd, data, size, (off_t)position);
  while (n < 0 && errno == EINTR);
  return n < 0 && errno == ESPIPE ? neap__fd_read(fd, data, size) : n;
}

/* All of it; `position` as above. -1 and errno: `written` tells how far it got. */
static inline int neap__write_fully(int fd, const char *data, size_t size, int64_t position,
                                    size_t *written) {
  *written = 0;
  while (*written < size) {
    const char *from = data + *written;
    size_t rest = size - *written;
    ssize_t n = position < 0 ? write(fd, from, rest)
                             : pwrite(fd, from, rest, (off_t)(position + (int64_t)*written));
    if (n >= 0)
      *written += (size_t)n;
    else if (errno == ESPIPE && position >= 0)
      position = -1;
    else if (errno != EINTR)
      return -1;
  }
  return 0;
}

/* Files that are memory: a file system that does not know RWF_NOWAIT and needs none, since it waits for
 * nothing but swapped pages, as all memory does. */
static inline bool neap__is_in_memory(int fd) {
#ifdef __linux__
  struct stat status;
  struct statfs info;
  if (fstat(fd, &status) || !S_ISREG(status.st_mode))
    return false; /* a device may lie there, too */
  if (fstatfs(fd, &info)) return false;
  return info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC;
#else
  (void)fd;
  return false;
#endif
}

/* For utimensat and futimens; NaN is now. */
static inline struct timespec neap__timespec(double seconds) {
  if (isnan(seconds)) return (struct timespec){.tv_nsec = UTIME_NOW};
  double whole = floor(seconds);
  long rest = (long)((seconds - whole) * 1e9); /* of -1e-17 it is a whole second */
  return (struct timespec){.tv_sec = (time_t)whole, .tv_nsec = rest > 999999999 ? 999999999 : rest};
}

#endif
