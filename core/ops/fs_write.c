#include "fs_write.h"

#include "syscall.h"

enum { WRITE_CHUNK = 1024 * 1024 }; /* until it looks whether it was cancelled */

int neap__fs_write_data(neap__fs *fs, int fd) {
  size_t done = 0, written;
  int code = neap__fs_check(fs);
  while (!code && done < fs->size) {
    size_t size = fs->size - done < WRITE_CHUNK ? fs->size - done : WRITE_CHUNK;
    if (neap__write_fully(fd, fs->data + done, size, -1, &written))
      return neap__fs_fail(fs, "write");
    done += written;
    code = neap__fs_check(fs);
  }
  return code;
}

int neap__fs_close_written(neap__fs *fs, int fd, int code) {
  if (close(fd) && !code && errno != EINTR) return neap__fs_fail(fs, "close");
  return code;
}

static int write_in_place(neap__fs *fs) {
  int how = fs->flags & NEAP__FS_APPEND ? O_APPEND : O_TRUNC;
  int fd = neap__open(fs->path, O_WRONLY | O_CREAT | how, (mode_t)fs->mode);
  if (fd < 0) return neap__fs_fail(fs, "open");
  int code = neap__fs_write_data(fs, fd);
  if (!code && fs->flags & NEAP__FS_SYNC && neap__fsync(fd)) code = neap__fs_fail(fs, "fsync");
  return neap__fs_close_written(fs, fd, code);
}

static int run_write_file(neap__fs *fs) {
  return fs->flags & NEAP__FS_ATOMIC ? neap__fs_write_atomically(fs) : write_in_place(fs);
}

const neap__fs_kind neap__fs_write_file = {
    .op = NEAP__FS_OP("fs.write_file", neap__fs),
    .run = run_write_file,
};
