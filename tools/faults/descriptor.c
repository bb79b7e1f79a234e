#include "descriptor.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { MOST_PIPES = 256 };

/* Their inodes: a number of a descriptor is soon another's. One loop has one such pipe. */
static _Atomic uint64_t pipes[MOST_PIPES];
static atomic_uint pipe_count;

void faults_note_pipe(int fd, const void *caller) {
  Dl_info object;
  struct stat info;
  if (!dladdr(caller, &object) || !strstr(object.dli_fname, "libuv.so") || fstat(fd, &info)) return;
  pipes[atomic_fetch_add(&pipe_count, 1) % MOST_PIPES] = info.st_ino;
}

static bool is_noted(uint64_t inode) {
  for (int i = 0; i < MOST_PIPES; i++)
    if (pipes[i] == inode) return true;
  return false;
}

static enum faults_kind kind_of_socket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size)) return PRIVATE;
  return type == SOCK_STREAM ? A_STREAM : PACKETS;
}

enum faults_kind faults_kind_of(int fd) {
  struct stat info;
  if (fstat(fd, &info)) return PRIVATE;
  if (S_ISSOCK(info.st_mode)) return kind_of_socket(fd);
  if (S_ISFIFO(info.st_mode)) return is_noted(info.st_ino) ? PRIVATE : A_PIPE;
  if (S_ISCHR(info.st_mode)) return A_PIPE;
  return S_ISREG(info.st_mode) || S_ISDIR(info.st_mode) ? A_FILE : PRIVATE;
}

bool faults_is_nonblocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && flags & O_NONBLOCK;
}

bool faults_has_hung_up(int fd) {
  struct pollfd entry = {.fd = fd};
  return poll(&entry, 1, 0) == 1 && entry.revents & POLLHUP;
}
