/* The functions of libc that faults.so puts itself in front of: those that libuv (1.44), SQLite and neap go through
 * to the kernel. What cannot be reached: what libc calls inside itself (the descriptors of opendir and
 * getaddrinfo, the directory reads behind readdir; here these functions fail as a whole), and io_uring
 * of libuv 1.45 and later (UV_USE_IO_URING=0). What is left out on purpose, for libuv aborts the process
 * when it fails: epoll_ctl, epoll_wait but for EINTR, threads, locks, sigaction. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "descriptor.h"
#include "plan.h"

#define EXPORT __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

/* The function of that name that comes after this one. `found` caches it; threads find the same. */
static void *find_next(_Atomic(void *) *found, const char *name) {
  void *function = *found;
  if (!function) *found = function = dlsym(RTLD_NEXT, name);
  return function;
}

#define NEXT(name)                                                                                 \
  static _Atomic(void *) found;                                                                    \
  __typeof__(&name) next = __extension__(__typeof__(&name)) find_next(&found, #name)

/* One that transfers nothing: FAILURE or what the next one gives. */
#define INTERPOSE(call, type, name, parameters, fd, arguments)                                     \
  EXPORT type name parameters {                                                                    \
    NEXT(name);                                                                                    \
    if (faults_fails(CALL_##call, fd, NULL, CALLER)) return FAILURE;                               \
    return next arguments;                                                                         \
  }

/* One whose parameter `size` says how much is to be transferred. */
#define TRANSFER(call, type, name, parameters, fd, arguments)                                      \
  EXPORT type name parameters {                                                                    \
    NEXT(name);                                                                                    \
    if (faults_fails(CALL_##call, fd, &size, CALLER)) return -1;                                   \
    return next arguments;                                                                         \
  }

/* ---- Reading and writing -------------------------------------------------------------------- */

TRANSFER(read, ssize_t, read, (int fd, void *data, size_t size), fd, (fd, data, size))
TRANSFER(write, ssize_t, write, (int fd, const void *data, size_t size), fd, (fd, data, size))
TRANSFER(pread, ssize_t, pread, (int fd, void *data, size_t size, off_t at), fd,
         (fd, data, size, at))
TRANSFER(pread, ssize_t, pread64, (int fd, void *data, size_t size, off64_t at), fd,
         (fd, data, size, at))
TRANSFER(pwrite, ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), fd,
         (fd, data, size, at))
TRANSFER(pwrite, ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), fd,
         (fd, data, size, at))
TRANSFER(recv, ssize_t, recv, (int fd, void *data, size_t size, int flags), fd,
         (fd, data, size, flags))
TRANSFER(recvfrom, ssize_t, recvfrom,
         (int fd, void *restrict data, size_t size, int flags, __SOCKADDR_ARG name,
          socklen_t *restrict length),
         fd, (fd, data, size, flags, name, length))
TRANSFER(send, ssize_t, send, (int fd, const void *data, size_t size, int flags), fd,
         (fd, data, size, flags))
TRANSFER(sendto, ssize_t, sendto,
         (int fd, const void *data, size_t size, int flags, __CONST_SOCKADDR_ARG name,
          socklen_t length),
         fd, (fd, data, size, flags, name, length))
TRANSFER(sendfile, ssize_t, sendfile, (int out, int in, off_t *at, size_t size), out,
         (out, in, at, size))
TRANSFER(sendfile, ssize_t, sendfile64, (int out, int in, off64_t *at, size_t size), out,
         (out, in, at, size))
TRANSFER(copy_file_range, ssize_t, copy_file_range,
         (int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags), out,
         (in, from, out, to, size, flags))

static size_t size_of(const struct iovec *parts, size_t count) {
  size_t size = 0;
  for (size_t i = 0; i < count; i++) size += parts[i].iov_len;
  return size;
}

/* A short count is one within the first part that is not empty. */
static struct iovec first_part(const struct iovec *parts, size_t longest) {
  while (parts->iov_len == 0) parts++;
  return (struct iovec){parts->iov_base, parts->iov_len < longest ? parts->iov_len : longest};
}

/* The same where the parts are arguments; `first` outlives the call. */
static bool fails_with_parts(enum faults_call call, int fd, const struct iovec **parts, int *count,
                             struct iovec *first, const void *caller) {
  size_t whole = *count > 0 ? size_of(*parts, (size_t)*count) : 0, size = whole;
  if (faults_fails(call, fd, &size, caller)) return true;
  if (size == whole) return false;
  *first = first_part(*parts, size);
  *parts = first;
  *count = 1;
  return false;
}

#define VECTORED(call, name, parameters, arguments)                                                \
  EXPORT ssize_t name parameters {                                                                 \
    NEXT(name);                                                                                    \
    struct iovec first;                                                                            \
    if (fails_with_parts(CALL_##call, fd, &parts, &count, &first, CALLER)) return -1;              \
    return next arguments;                                                                         \
  }

VECTORED(readv, readv, (int fd, const struct iovec *parts, int count), (fd, parts, count))
VECTORED(writev, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
VECTORED(preadv, preadv, (int fd, const struct iovec *parts, int count, off_t at),
         (fd, parts, count, at))
VECTORED(preadv, preadv64, (int fd, const struct iovec *parts, int count, off64_t at),
         (fd, parts, count, at))
VECTORED(pwritev, pwritev, (int fd, const struct iovec *parts, int count, off_t at),
         (fd, parts, count, at))
VECTORED(pwritev, pwritev64, (int fd, const struct iovec *parts, int count, off64_t at),
         (fd, parts, count, at))
VECTORED(pwritev2, pwritev2, (int fd, const struct iovec *parts, int count, off_t at, int flags),
         (fd, parts, count, at, flags))
VECTORED(pwritev2, pwritev64v2,
         (int fd, const struct iovec *parts, int count, off64_t at, int flags),
         (fd, parts, count, at, flags))

/* With RWF_NOWAIT it is a call of its own: it may give EAGAIN for a file. */
#define PREADV2(name, position)                                                                    \
  EXPORT ssize_t name(int fd, const struct iovec *parts, int count, position at, int flags) {      \
    NEXT(name);                                                                                    \
    struct iovec first;                                                                            \
    enum faults_call call = flags & RWF_NOWAIT ? CALL_preadv2_nowait : CALL_preadv2;               \
    if (fails_with_parts(call, fd, &parts, &count, &first, CALLER)) return -1;                     \
    return next(fd, parts, count, at, flags);                                                      \
  }

PREADV2(preadv2, off_t)
PREADV2(preadv64v2, off64_t)

/* For the length of the call the message has the first part alone. */
static bool fails_with_message(enum faults_call call, int fd, struct msghdr *message,
                               struct iovec *first, const void *caller) {
  size_t whole = size_of(message->msg_iov, message->msg_iovlen), size = whole;
  if (faults_fails(call, fd, &size, caller)) return true;
  if (size == whole) return false;
  *first = first_part(message->msg_iov, size);
  message->msg_iov = first;
  message->msg_iovlen = 1;
  return false;
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  NEXT(sendmsg);
  struct iovec first;
  struct msghdr sent = *message;
  if (fails_with_message(CALL_sendmsg, fd, &sent, &first, CALLER)) return -1;
  return next(fd, &sent, flags);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
  NEXT(recvmsg);
  struct iovec first, *parts = message->msg_iov;
  size_t count = message->msg_iovlen;
  if (fails_with_message(CALL_recvmsg, fd, message, &first, CALLER)) return -1;
  ssize_t n = next(fd, message, flags);
  message->msg_iov = parts;
  message->msg_iovlen = count;
  return n;
}

EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                    struct timespec *timeout) {
  NEXT(recvmmsg);
  size_t size = count;
  if (faults_fails(CALL_recvmmsg, fd, &size, CALLER)) return -1;
  return next(fd, messages, (unsigned)size, flags, timeout);
}

EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
  NEXT(sendmmsg);
  size_t size = count;
  if (faults_fails(CALL_sendmmsg, fd, &size, CALLER)) return -1;
  return next(fd, messages, (unsigned)size, flags);
}

/* ---- Calls of one shape --------------------------------------------------------------------- */

#define FAILURE (-1)

INTERPOSE(fsync, int, fsync, (int fd), fd, (fd))
INTERPOSE(fdatasync, int, fdatasync, (int fd), fd, (fd))
INTERPOSE(ftruncate, int, ftruncate, (int fd, off_t size), fd, (fd, size))
INTERPOSE(ftruncate, int, ftruncate64, (int fd, off64_t size), fd, (fd, size))
INTERPOSE(truncate, int, truncate, (const char *path, off_t size), -1, (path, size))
INTERPOSE(truncate, int, truncate64, (const char *path, off64_t size), -1, (path, size))
INTERPOSE(fallocate, int, fallocate, (int fd, int mode, off_t at, off_t size), fd,
          (fd, mode, at, size))
INTERPOSE(fallocate, int, fallocate64, (int fd, int mode, off64_t at, off64_t size), fd,
          (fd, mode, at, size))

INTERPOSE(stat, int, stat, (const char *path, struct stat *info), -1, (path, info))
INTERPOSE(stat, int, stat64, (const char *path, struct stat64 *info), -1, (path, info))
INTERPOSE(stat, int, lstat, (const char *path, struct stat *info), -1, (path, info))
INTERPOSE(stat, int, lstat64, (const char *path, struct stat64 *info), -1, (path, info))
INTERPOSE(stat, int, fstat, (int fd, struct stat *info), fd, (fd, info))
INTERPOSE(stat, int, fstat64, (int fd, struct stat64 *info), fd, (fd, info))
INTERPOSE(stat, int, fstatat, (int fd, const char *path, struct stat *info, int flags), -1,
          (fd, path, info, flags))
INTERPOSE(stat, int, fstatat64, (int fd, const char *path, struct stat64 *info, int flags), -1,
          (fd, path, info, flags))
INTERPOSE(stat, int, statx,
          (int fd, const char *restrict path, int flags, unsigned mask,
           struct statx *restrict info),
          -1, (fd, path, flags, mask, info))
INTERPOSE(statfs, int, statfs, (const char *path, struct statfs *info), -1, (path, info))
INTERPOSE(statfs, int, statfs64, (const char *path, struct statfs64 *info), -1, (path, info))
INTERPOSE(statfs, int, fstatfs, (int fd, struct statfs *info), fd, (fd, info))
INTERPOSE(statfs, int, fstatfs64, (int fd, struct statfs64 *info), fd, (fd, info))
INTERPOSE(access, int, access, (const char *path, int mode), -1, (path, mode))
INTERPOSE(access, int, faccessat, (int fd, const char *path, int mode, int flags), -1,
          (fd, path, mode, flags))

INTERPOSE(rename, int, rename, (const char *from, const char *to), -1, (from, to))
INTERPOSE(rename, int, renameat, (int fd, const char *from, int other, const char *to), -1,
          (fd, from, other, to))
INTERPOSE(rename, int, renameat2,
          (int fd, const char *from, int other, const char *to, unsigned flags), -1,
          (fd, from, other, to, flags))
INTERPOSE(link, int, link, (const char *from, const char *to), -1, (from, to))
INTERPOSE(link, int, linkat, (int fd, const char *from, int other, const char *to, int flags), -1,
          (fd, from, other, to, flags))
INTERPOSE(symlink, int, symlink, (const char *from, const char *to), -1, (from, to))
INTERPOSE(symlink, int, symlinkat, (const char *from, int fd, const char *to), -1, (from, fd, to))
INTERPOSE(unlink, int, unlink, (const char *path), -1, (path))
INTERPOSE(unlink, int, unlinkat, (int fd, const char *path, int flags), -1, (fd, path, flags))
INTERPOSE(rmdir, int, rmdir, (const char *path), -1, (path))
INTERPOSE(mkdir, int, mkdir, (const char *path, mode_t mode), -1, (path, mode))
INTERPOSE(mkdir, int, mkdirat, (int fd, const char *path, mode_t mode), -1, (fd, path, mode))
INTERPOSE(mkstemp, int, mkstemp, (char *path), -1, (path))
INTERPOSE(mkstemp, int, mkstemp64, (char *path), -1, (path))
INTERPOSE(mkstemp, int, mkostemp, (char *path, int flags), -1, (path, flags))
INTERPOSE(readlink, ssize_t, readlink, (const char *path, char *target, size_t size), -1,
          (path, target, size))
INTERPOSE(readlink, ssize_t, readlinkat, (int fd, const char *path, char *target, size_t size), -1,
          (fd, path, target, size))

INTERPOSE(chmod, int, chmod, (const char *path, mode_t mode), -1, (path, mode))
INTERPOSE(chmod, int, fchmod, (int fd, mode_t mode), fd, (fd, mode))
INTERPOSE(chmod, int, fchmodat, (int fd, const char *path, mode_t mode, int flags), -1,
          (fd, path, mode, flags))
INTERPOSE(chown, int, chown, (const char *path, uid_t user, gid_t group), -1, (path, user, group))
INTERPOSE(chown, int, lchown, (const char *path, uid_t user, gid_t group), -1, (path, user, group))
INTERPOSE(chown, int, fchown, (int fd, uid_t user, gid_t group), fd, (fd, user, group))
INTERPOSE(chown, int, fchownat, (int fd, const char *path, uid_t user, gid_t group, int flags), -1,
          (fd, path, user, group, flags))
INTERPOSE(utime, int, futimens, (int fd, const struct timespec times[2]), fd, (fd, times))
INTERPOSE(utime, int, utimensat,
          (int fd, const char *path, const struct timespec times[2], int flags), -1,
          (fd, path, times, flags))

INTERPOSE(socket, int, socket, (int domain, int type, int protocol), -1, (domain, type, protocol))
INTERPOSE(socketpair, int, socketpair, (int domain, int type, int protocol, int fds[2]), -1,
          (domain, type, protocol, fds))
INTERPOSE(bind, int, bind, (int fd, __CONST_SOCKADDR_ARG name, socklen_t length), fd,
          (fd, name, length))
INTERPOSE(listen, int, listen, (int fd, int backlog), fd, (fd, backlog))
INTERPOSE(accept, int, accept, (int fd, __SOCKADDR_ARG name, socklen_t *restrict length), fd,
          (fd, name, length))
INTERPOSE(accept, int, accept4,
          (int fd, __SOCKADDR_ARG name, socklen_t *restrict length, int flags), fd,
          (fd, name, length, flags))
INTERPOSE(connect, int, connect, (int fd, __CONST_SOCKADDR_ARG name, socklen_t length), fd,
          (fd, name, length))
INTERPOSE(setsockopt, int, setsockopt,
          (int fd, int level, int option, const void *value, socklen_t size), fd,
          (fd, level, option, value, size))
INTERPOSE(shutdown, int, shutdown, (int fd, int how), fd, (fd, how))

INTERPOSE(dup, int, dup, (int fd), -1, (fd))
INTERPOSE(dup, int, dup2, (int fd, int other), -1, (fd, other))
INTERPOSE(dup, int, dup3, (int fd, int other, int flags), -1, (fd, other, flags))
INTERPOSE(eventfd, int, eventfd, (unsigned value, int flags), -1, (value, flags))
INTERPOSE(epoll_create, int, epoll_create1, (int flags), -1, (flags))
INTERPOSE(epoll_wait, int, epoll_wait, (int fd, struct epoll_event *events, int n, int timeout), fd,
          (fd, events, n, timeout))
INTERPOSE(epoll_wait, int, epoll_pwait,
          (int fd, struct epoll_event *events, int n, int timeout, const sigset_t *mask), fd,
          (fd, events, n, timeout, mask))
INTERPOSE(inotify_init, int, inotify_init1, (int flags), -1, (flags))
INTERPOSE(inotify_add_watch, int, inotify_add_watch, (int fd, const char *path, uint32_t mask), -1,
          (fd, path, mask))
INTERPOSE(fork, pid_t, fork, (void), -1, ())
INTERPOSE(exec, int, execvp, (const char *file, char *const arguments[]), -1, (file, arguments))
INTERPOSE(exec, int, execve, (const char *file, char *const arguments[], char *const environment[]),
          -1, (file, arguments, environment))

#undef FAILURE
#define FAILURE NULL

INTERPOSE(opendir, DIR *, opendir, (const char *path), -1, (path))
INTERPOSE(opendir, DIR *, fdopendir, (int fd), -1, (fd))
INTERPOSE(readdir, struct dirent *, readdir, (DIR * directory), -1, (directory))
INTERPOSE(readdir, struct dirent64 *, readdir64, (DIR * directory), -1, (directory))
INTERPOSE(mkdtemp, char *, mkdtemp, (char *path), -1, (path))
INTERPOSE(realpath, char *, realpath, (const char *restrict path, char *restrict result), -1,
          (path, result))

#undef FAILURE
#define FAILURE resolver_error()

/* As glibc tells it: memory has a code of its own, and so has what may work later. */
static int resolver_error(void) {
  if (errno == ENOMEM) return EAI_MEMORY;
  return errno == EAGAIN ? EAI_AGAIN : EAI_SYSTEM;
}

INTERPOSE(getaddrinfo, int, getaddrinfo,
          (const char *restrict name, const char *restrict service,
           const struct addrinfo *restrict hints, struct addrinfo **restrict result),
          -1, (name, service, hints, result))
INTERPOSE(getnameinfo, int, getnameinfo,
          (const struct sockaddr *restrict address, socklen_t length, char *restrict host,
           socklen_t host_size, char *restrict service, socklen_t service_size, int flags),
          -1, (address, length, host, host_size, service, service_size, flags))

/* ---- The others ----------------------------------------------------------------------------- */

/* Fortified callers use this name. */
EXPORT char *__realpath_chk(const char *path, char *result, size_t size);
EXPORT char *__realpath_chk(const char *path, char *result, size_t size) {
  NEXT(__realpath_chk);
  return faults_fails(CALL_realpath, -1, NULL, CALLER) ? NULL : next(path, result, size);
}

/* The last parameter is there or not; where it is not, what is passed on is not looked at. */
#define OPEN(name, parameters, arguments)                                                          \
  EXPORT int name parameters {                                                                     \
    NEXT(name);                                                                                    \
    va_list rest;                                                                                  \
    va_start(rest, flags);                                                                         \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                        \
    va_end(rest);                                                                                  \
    return faults_fails(CALL_open, -1, NULL, CALLER) ? -1 : next arguments;                        \
  }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, (int fd, const char *path, int flags, ...), (fd, path, flags, mode))
OPEN(openat64, (int fd, const char *path, int flags, ...), (fd, path, flags, mode))

EXPORT int __open64_2(const char *path, int flags);
EXPORT int __open64_2(const char *path, int flags) {
  NEXT(__open64_2);
  return faults_fails(CALL_open, -1, NULL, CALLER) ? -1 : next(path, flags);
}

/* As on a network's file system: it is closed, and what had been written is not safe. */
EXPORT int close(int fd) {
  NEXT(close);
  bool fails = faults_fails(CALL_close, fd, NULL, CALLER);
  int error = errno, code = next(fd);
  if (!fails) return code;
  errno = error;
  return -1;
}

EXPORT int pipe2(int fds[2], int flags) {
  NEXT(pipe2);
  if (faults_fails(CALL_pipe, -1, NULL, CALLER)) return -1;
  int code = next(fds, flags);
  if (code == 0) faults_note_pipe(fds[0], CALLER);
  return code;
}

#define CONTROL(name)                                                                              \
  EXPORT int name(int fd, int command, ...) {                                                      \
    NEXT(name);                                                                                    \
    va_list rest;                                                                                  \
    va_start(rest, command);                                                                       \
    void *argument = va_arg(rest, void *);                                                         \
    va_end(rest);                                                                                  \
    bool duplicates = command == F_DUPFD || command == F_DUPFD_CLOEXEC;                            \
    if (duplicates && faults_fails(CALL_dup, -1, NULL, CALLER)) return -1;                         \
    return next(fd, command, argument);                                                            \
  }

CONTROL(fcntl)
CONTROL(fcntl64)

EXPORT int ioctl(int fd, unsigned long request, ...) {
  NEXT(ioctl);
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  if (request == FICLONE && faults_fails(CALL_ficlone, fd, NULL, CALLER)) return -1;
  return next(fd, request, argument);
}

/* ---- What libuv calls by number ------------------------------------------------------------- */

static enum faults_call call_of(long number) {
  switch (number) {
  case SYS_preadv: return CALL_preadv;
  case SYS_pwritev: return CALL_pwritev;
  case SYS_recvmmsg: return CALL_recvmmsg;
  case SYS_sendmmsg: return CALL_sendmmsg;
  case SYS_copy_file_range: return CALL_copy_file_range;
  case SYS_close: return CALL_close;
  case SYS_statx: return CALL_stat;
  case SYS_dup3: return CALL_dup;
  default: return CALL_COUNT;
  }
}

/* Whether it has to fail; a short count is put into its arguments. */
static bool fails_by_number(enum faults_call call, long *a, struct iovec *first,
                            const void *caller) {
  size_t size;
  switch (call) {
  case CALL_preadv:
  case CALL_pwritev: {
    const struct iovec *parts = (const struct iovec *)a[1];
    int count = (int)a[2];
    if (fails_with_parts(call, (int)a[0], &parts, &count, first, caller)) return true;
    a[1] = (long)parts;
    a[2] = count;
    return false;
  }
  case CALL_recvmmsg:
  case CALL_sendmmsg:
    size = (size_t)a[2];
    if (faults_fails(call, (int)a[0], &size, caller)) return true;
    a[2] = (long)size;
    return false;
  case CALL_copy_file_range:
    size = (size_t)a[4];
    if (faults_fails(call, (int)a[2], &size, caller)) return true;
    a[4] = (long)size;
    return false;
  case CALL_close: return faults_fails(call, (int)a[0], NULL, caller);
  case CALL_COUNT: return false;
  default: return faults_fails(call, -1, NULL, caller);
  }
}

/* Reads six arguments, as libc's does, however many there are. */
EXPORT long syscall(long number, ...) {
  NEXT(syscall);
  long a[6];
  va_list rest;
  struct iovec first;
  va_start(rest, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(rest, long);
  va_end(rest);
  enum faults_call call = call_of(number);
  bool fails = fails_by_number(call, a, &first, CALLER);
  if (fails && call != CALL_close) return -1;
  int error = errno;
  long result = next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (!fails) return result;
  errno = error;
  return -1;
}
