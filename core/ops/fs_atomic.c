#include "fs_write.h"

#include "syscall.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_LINKS = 40, NAME_SIZE = 32 };

/* Where the new file goes. */
typedef struct target {
  char *path; /* the links at its end resolved; in memory of the job */
  const char *name;
  int directory;
  struct stat old;
  bool is_there; /* there is an old file */
  char temporary[NAME_SIZE];
} target;

/* Puts what the link says in the place of its path. */
static int follow_link(neap__fs *fs, target *to, const char *link, size_t length) {
  const char *slash = to->path ? strrchr(to->path, '/') : NULL;
  size_t keep = slash && link[0] != '/' ? (size_t)(slash - to->path) + 1 : 0;
  char *path = neap__job_resize(&fs->job, NULL, keep + length + 1);
  if (!path) return UV_ENOMEM;
  if (keep) memcpy(path, to->path, keep);
  memcpy(path + keep, link, length);
  path[keep + length] = '\0';
  neap__job_free(&fs->job, to->path);
  to->path = path;
  return 0;
}

/* Only the end of the path: a link there stays, and what it points to is replaced. */
static int resolve(neap__fs *fs, target *to) {
  char link[4096];
  int code = follow_link(fs, to, fs->path, strlen(fs->path));
  for (int i = 0; !code; i++) {
    ssize_t n = readlink(to->path, link, sizeof link);
    if (n < 0 && (errno == EINVAL || errno == ENOENT || errno == ENOTDIR))
      return 0; /* no link, or nothing: what it is, the rest will tell */
    if (n < 0) return neap__fs_fail(fs, "readlink");
    if (n == sizeof link) return neap__fs_refuse(fs, UV_ENAMETOOLONG, "readlink");
    if (i == MAX_LINKS) return neap__fs_refuse(fs, UV_ELOOP, "readlink");
    code = follow_link(fs, to, link, (size_t)n);
  }
  return code;
}

static int inspect(neap__fs *fs, target *to) {
  to->is_there = fstatat(to->directory, to->name, &to->old, AT_SYMLINK_NOFOLLOW) == 0;
  if (!to->is_there) return errno == ENOENT ? 0 : neap__fs_fail(fs, "stat");
  if (S_ISDIR(to->old.st_mode)) return neap__fs_refuse(fs, UV_EISDIR, "open");
  if (!S_ISREG(to->old.st_mode)) return neap__fs_refuse(fs, UV_EINVAL, "rename");
  return 0;
}

/* A directory that may be changed and not read: enough for its names. */
static int open_for_names(const char *path) {
  int fd = neap__open(path, O_RDONLY | O_DIRECTORY, 0);
#ifdef O_PATH
  if (fd < 0 && errno == EACCES) fd = neap__open(path, O_PATH | O_DIRECTORY, 0);
#endif
  return fd;
}

/* Opens the directory, so that nobody can put another one in its place meanwhile. */
static int open_directory(neap__fs *fs, target *to) {
  char *slash = strrchr(to->path, '/');
  to->name = slash ? slash + 1 : to->path;
  if (!*to->name) return neap__fs_refuse(fs, *to->path ? UV_EISDIR : UV_ENOENT, "open");
  if (slash) *slash = '\0';
  const char *directory = !slash ? "." : slash == to->path ? "/" : to->path;
  to->directory = open_for_names(directory);
  if (slash) *slash = '/';
  return to->directory < 0 ? neap__fs_fail(fs, "open") : inspect(fs, to);
}

/* The owner where that is allowed; then the permissions, which a change of owner may have cut. */
static int keep_mode(neap__fs *fs, const target *to, int fd) {
  struct stat info;
  if (!to->is_there) return 0;
  if (fstat(fd, &info)) return neap__fs_fail(fs, "fstat");
  bool is_mine = info.st_uid == to->old.st_uid && info.st_gid == to->old.st_gid;
  if (!is_mine && fchown(fd, to->old.st_uid, to->old.st_gid) && errno != EPERM)
    return neap__fs_fail(fs, "fchown");
  return fchmod(fd, to->old.st_mode & 07777) ? neap__fs_fail(fs, "fchmod") : 0;
}

/* A new file with a name that nobody guesses: 64 random bits. */
static int open_temporary(target *to, mode_t mode) {
  uint64_t random;
  int code = uv_random(NULL, NULL, &random, sizeof random, 0, NULL);
  if (code) {
    errno = -code;
    return -1;
  }
  snprintf(to->temporary, sizeof to->temporary, ".neap-%016" PRIx64, random);
  return neap__open_at(to->directory, to->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
                       mode);
}

static int fill_temporary(neap__fs *fs, target *to) {
  int fd = open_temporary(to, to->is_there ? 0600 : (mode_t)fs->mode);
  if (fd < 0) return neap__fs_fail(fs, "open");
  int code = neap__fs_write_data(fs, fd);
  if (!code) code = keep_mode(fs, to, fd);
  if (!code && neap__fsync(fd)) code = neap__fs_fail(fs, "fsync");
  code = neap__fs_close_written(fs, fd, code);
  if (!code) code = neap__fs_check(fs);
  if (!code && renameat(to->directory, to->temporary, to->directory, to->name))
    code = neap__fs_fail(fs, "rename");
  if (code) unlinkat(to->directory, to->temporary, 0);
  return code;
}

/* The new name has to reach the disk, too; a directory that may not be read cannot be told to. */
static int sync_directory(neap__fs *fs, int directory) {
  if (!neap__fsync(directory) || errno == EBADF || errno == EINVAL) return 0;
  return neap__fs_fail(fs, "fsync");
}

int neap__fs_write_atomically(neap__fs *fs) {
  target to = {.directory = -1};
  int code = resolve(fs, &to);
  if (!code) code = open_directory(fs, &to);
  if (!code) code = fill_temporary(fs, &to);
  if (!code) code = sync_directory(fs, to.directory);
  if (to.directory >= 0) close(to.directory);
  neap__job_free(&fs->job, to.path);
  return code;
}
