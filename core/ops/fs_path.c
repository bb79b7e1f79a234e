/* Operations that are one call of the system. */
#include "fs.h"
#include "syscall.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Names --------------------------------------------------------------------------------- */

static int run_rename(neap__fs *fs) {
  return rename(fs->path, fs->dest) ? neap__fs_fail(fs, "rename") : 0;
}

static int run_link(neap__fs *fs) {
  return link(fs->path, fs->dest) ? neap__fs_fail(fs, "link") : 0;
}

static int run_symlink(neap__fs *fs) {
  return symlink(fs->path, fs->dest) ? neap__fs_fail(fs, "symlink") : 0;
}

static int run_readlink(neap__fs *fs) {
  for (size_t size = 256;; size *= 2) {
    char *target = neap__job_resize(&fs->job, fs->result, size);
    if (!target) return UV_ENOMEM;
    fs->result = target;
    ssize_t n = readlink(fs->path, target, size);
    if (n < 0) return neap__fs_fail(fs, "readlink");
    fs->size = (size_t)n;
    if (fs->size < size) return 0; /* else there may be more */
  }
}

static int run_realpath(neap__fs *fs) {
  char *path = realpath(fs->path, NULL);
  if (!path) return neap__fs_fail(fs, "realpath");
  int code = neap__fs_set_result(fs, path, strlen(path));
  free(path);
  return code;
}

static int run_mkdtemp(neap__fs *fs) {
  int code = neap__fs_set_result(fs, fs->path, strlen(fs->path));
  if (code) return code;
  return mkdtemp(fs->result) ? 0 : neap__fs_fail(fs, "mkdtemp");
}

/* Nobody will learn its name. */
static void finish_mkdtemp(neap__fs *fs) {
  if (fs->job.code == 0 && neap__op_is_orphan(&fs->job.op)) rmdir(fs->result);
}

/* ---- What is known of a file: through libuv, which knows the systems' ways to the time of birth -- */

static neap__fs_info *info_of(neap__fs *fs) {
  return (neap__fs_info *)fs;
}

static int end_request(neap__fs *fs, uv_fs_t *request, int code, const char *syscall) {
  if (code < 0)
    neap__fs_refuse(fs, code, syscall);
  else if (request->fs_type == UV_FS_STATFS)
    info_of(fs)->is.statfs = *(const uv_statfs_t *)request->ptr;
  else
    info_of(fs)->is.stat = request->statbuf;
  uv_fs_req_cleanup(request);
  return code;
}

static int run_stat(neap__fs *fs) {
  uv_fs_t request;
  return end_request(fs, &request, uv_fs_stat(NULL, &request, fs->path, NULL), "stat");
}

static int run_lstat(neap__fs *fs) {
  uv_fs_t request;
  return end_request(fs, &request, uv_fs_lstat(NULL, &request, fs->path, NULL), "lstat");
}

static int run_statfs(neap__fs *fs) {
  uv_fs_t request;
  return end_request(fs, &request, uv_fs_statfs(NULL, &request, fs->path, NULL), "statfs");
}

/* "No" is an answer; not to know is an error. */
static int run_access(neap__fs *fs) {
  fs->is_true = access(fs->path, fs->mode) == 0;
  if (fs->is_true) return 0;
  switch (errno) {
  case EACCES:
  case EPERM:
  case ENOENT:
  case ENOTDIR:
  case EROFS:
  case ETXTBSY:
  case ELOOP: return 0;
  default: return neap__fs_fail(fs, "access");
  }
}

/* ---- What a file has ------------------------------------------------------------------------- */

static int run_chmod(neap__fs *fs) {
  return chmod(fs->path, (mode_t)fs->mode) ? neap__fs_fail(fs, "chmod") : 0;
}

static int at_flags(const neap__fs *fs) {
  return fs->flags & NEAP__FS_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0;
}

static int run_chown(neap__fs *fs) {
  uid_t uid = (uid_t)fs->to.owner.uid;
  gid_t gid = (gid_t)fs->to.owner.gid;
  return fchownat(AT_FDCWD, fs->path, uid, gid, at_flags(fs)) ? neap__fs_fail(fs, "fchownat") : 0;
}

static int run_utime(neap__fs *fs) {
  struct timespec times[2] = {neap__timespec(fs->to.times[0]), neap__timespec(fs->to.times[1])};
  return utimensat(AT_FDCWD, fs->path, times, at_flags(fs)) ? neap__fs_fail(fs, "utimensat") : 0;
}

static int run_truncate(neap__fs *fs) {
  int code;
  do code = truncate(fs->path, (off_t)fs->to.length);
  while (code && errno == EINTR);
  return code ? neap__fs_fail(fs, "truncate") : 0;
}

/* ---- Kinds --------------------------------------------------------------------------------- */

#define FS_KIND(name)                                                                              \
  const neap__fs_kind neap__fs_##name = {.op = NEAP__FS_OP("fs." #name, neap__fs),                 \
                                         .run = run_##name}
#define FS_INFO_KIND(name)                                                                         \
  const neap__fs_kind neap__fs_##name = {.op = NEAP__FS_OP("fs." #name, neap__fs_info),            \
                                         .run = run_##name}

FS_KIND(rename);
FS_KIND(link);
FS_KIND(symlink);
FS_KIND(readlink);
FS_KIND(realpath);
FS_KIND(access);
FS_KIND(chmod);
FS_KIND(chown);
FS_KIND(utime);
FS_KIND(truncate);
FS_INFO_KIND(stat);
FS_INFO_KIND(lstat);
FS_INFO_KIND(statfs);

const neap__fs_kind neap__fs_mkdtemp = {
    .op = NEAP__FS_OP("fs.mkdtemp", neap__fs),
    .run = run_mkdtemp,
    .finish = finish_mkdtemp,
};
