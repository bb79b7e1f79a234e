/* Faults on demand, for specs: which calls are of interest, and which of them have to fail.
 *
 * A call counts if libuv's or neap's code makes it, by its return address: Lua's own io, busted and the
 * sanitizers go through untouched. The state is in shared memory, so that what a forked child does
 * before it executes its program counts too. Thread: any, but for what the module calls. */
#ifndef FAULTS_PLAN_H
#define FAULTS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(name, what it is, whether a signal may interrupt it, its errors); a transfer has the errors of its
 * direction and of the kind of descriptor. */
#define FAULTS_TABLE_FULL EMFILE, ENFILE, ENOMEM
#define FAULTS_ON_DISK    EIO, ENOSPC, EDQUOT, ENOMEM
#define FAULTS_CALLS(X)                                                                            \
  X(read, READS, true, 0)                                                                          \
  X(readv, READS, true, 0)                                                                         \
  X(pread, READS, true, 0)                                                                         \
  X(preadv, READS, true, 0)                                                                        \
  X(preadv2, READS, true, 0)                                                                       \
  X(preadv2_nowait, READS, true, 0)                                                                \
  X(recv, READS, true, 0)                                                                          \
  X(recvfrom, READS, true, 0)                                                                      \
  X(recvmsg, READS, true, 0)                                                                       \
  X(recvmmsg, READS, true, 0)                                                                      \
  X(write, WRITES, true, 0)                                                                        \
  X(writev, WRITES, true, 0)                                                                       \
  X(pwrite, WRITES, true, 0)                                                                       \
  X(pwritev, WRITES, true, 0)                                                                      \
  X(pwritev2, WRITES, true, 0)                                                                     \
  X(send, WRITES, true, 0)                                                                         \
  X(sendto, WRITES, true, 0)                                                                       \
  X(sendmsg, WRITES, true, 0)                                                                      \
  X(sendmmsg, WRITES, true, 0)                                                                     \
  X(copy_file_range, WRITES, true, 0)                                                              \
  X(sendfile, WRITES, true, 0)                                                                     \
  X(ficlone, OTHER, true, EIO, ENOSPC, EOPNOTSUPP, EXDEV)                                          \
  X(open, OTHER, true, FAULTS_TABLE_FULL, EIO, ENOSPC, EACCES)                                     \
  X(opendir, OTHER, false, FAULTS_TABLE_FULL, EIO, EACCES)                                         \
  X(readdir, OTHER, false, EIO, ENOMEM)                                                            \
  X(close, OTHER, false, EIO, ENOSPC, EDQUOT)                                                      \
  X(fsync, OTHER, true, EIO, ENOSPC, EDQUOT)                                                       \
  X(fdatasync, OTHER, true, EIO, ENOSPC, EDQUOT)                                                   \
  X(ftruncate, OTHER, true, EIO)                                                                   \
  X(truncate, OTHER, true, EIO)                                                                    \
  X(fallocate, OTHER, true, EIO, ENOSPC)                                                           \
  X(stat, OTHER, false, EIO, ENOMEM, EACCES)                                                       \
  X(statfs, OTHER, false, EIO, ENOMEM, EACCES)                                                     \
  X(access, OTHER, false, EIO, ENOMEM)                                                             \
  X(rename, OTHER, false, FAULTS_ON_DISK, EACCES)                                                  \
  X(link, OTHER, false, FAULTS_ON_DISK, EACCES)                                                    \
  X(symlink, OTHER, false, FAULTS_ON_DISK, EACCES)                                                 \
  X(unlink, OTHER, false, EIO, ENOMEM, EACCES)                                                     \
  X(rmdir, OTHER, false, EIO, ENOMEM, EACCES)                                                      \
  X(mkdir, OTHER, false, FAULTS_ON_DISK, EACCES)                                                   \
  X(mkdtemp, OTHER, false, FAULTS_ON_DISK, EACCES)                                                 \
  X(mkstemp, OTHER, false, FAULTS_TABLE_FULL, EIO, ENOSPC, EDQUOT, EACCES)                         \
  X(readlink, OTHER, false, EIO, ENOMEM, EACCES)                                                   \
  X(realpath, OTHER, false, EIO, ENOMEM, EACCES)                                                   \
  X(chmod, OTHER, false, EIO, ENOMEM, EPERM)                                                       \
  X(chown, OTHER, false, EIO, ENOMEM, EPERM)                                                       \
  X(utime, OTHER, false, EIO, ENOMEM, EPERM)                                                       \
  X(socket, OTHER, false, FAULTS_TABLE_FULL, ENOBUFS)                                              \
  X(socketpair, OTHER, false, FAULTS_TABLE_FULL, ENOBUFS)                                          \
  X(bind, OTHER, false, EADDRINUSE, EACCES, ENOMEM, ENOBUFS)                                       \
  X(listen, OTHER, false, EADDRINUSE, ENOMEM, ENOBUFS)                                             \
  X(accept, ACCEPTS, true, FAULTS_TABLE_FULL, ENOBUFS, ECONNABORTED)                               \
  X(connect, OTHER, false, ECONNREFUSED, ECONNRESET, ETIMEDOUT, ENOMEM, ENOBUFS)                   \
  X(setsockopt, OTHER, false, ENOMEM, ENOBUFS)                                                     \
  X(shutdown, OTHER, false, ENOTCONN, ENOBUFS)                                                     \
  X(getaddrinfo, OTHER, false, FAULTS_TABLE_FULL, EAGAIN)                                          \
  X(getnameinfo, OTHER, false, FAULTS_TABLE_FULL, EAGAIN)                                          \
  X(pipe, OTHER, false, FAULTS_TABLE_FULL)                                                         \
  X(dup, OTHER, false, EMFILE)                                                                     \
  X(eventfd, OTHER, false, FAULTS_TABLE_FULL)                                                      \
  X(epoll_create, OTHER, false, FAULTS_TABLE_FULL)                                                 \
  X(epoll_wait, WAITS, true, 0)                                                                    \
  X(inotify_init, OTHER, false, FAULTS_TABLE_FULL)                                                 \
  X(inotify_add_watch, OTHER, false, ENOMEM, ENOSPC, EACCES)                                       \
  X(fork, OTHER, false, EAGAIN, ENOMEM)                                                            \
  X(exec, OTHER, false, ENOMEM, EACCES, EIO, EMFILE)

enum faults_call {
#define FAULTS_NAME(name, ...) CALL_##name,
  FAULTS_CALLS(FAULTS_NAME)
#undef FAULTS_NAME
      CALL_COUNT,
  CALL_READS, /* any that reads */
  CALL_WRITES,
  CALL_ANY
};

/* Whether the call has to fail, with errno set. Lowers *size, the number of bytes (or of messages) it
 * asks for, where a short count is due. `fd` -1: none; `size` NULL: it transfers nothing. */
bool faults_fails(enum faults_call call, int fd, size_t *size, const void *caller);

/* ---- For the module ------------------------------------------------------------------------- */

struct faults_rule {
  int call;       /* or CALL_READS ...; CALL_ANY: those that may fail with `error` */
  unsigned nth;   /* the first that fails, counted from 1 since the rule was set */
  unsigned times; /* so many, one after the other */
  int error;      /* 0: a short count */
  size_t longest; /* of a short count */
};

struct faults_noise {
  uint64_t seed;
  double shorter, interrupted, again; /* chances, 0 to 1 */
  size_t least;                       /* up to this many bytes stay together */
};

enum { FAULTS_RULES = 8 };

/* False: libuv and neap are not loaded, or no room for another rule. */
bool faults_add_rule(const struct faults_rule *rule);
bool faults_make_noise(const struct faults_noise *noise);
/* Nothing fails any more; counts begin anew. */
void faults_clear(void);

const char *faults_call_name(int call);
unsigned faults_seen(int call);
unsigned faults_delivered(int call);
int faults_last(void); /* the last call that failed or was shortened; CALL_COUNT: none */

#endif
