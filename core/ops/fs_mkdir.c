#include "fs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { PARENT_MODE = 0777 };

/* The end of the parent of the path that ends at `end`: "a//b/" -> "a". */
static size_t parent_end(const char *path, size_t end) {
  while (end > 0 && path[end - 1] == '/') end--;
  while (end > 0 && path[end - 1] != '/') end--;
  while (end > 1 && path[end - 1] == '/') end--;
  return end;
}

/* As mkdir, for the path up to `end`. */
static int make(neap__fs *fs, char *path, size_t end, mode_t mode) {
  char cut = path[end];
  path[end] = '\0';
  int code = mkdir(path, mode) ? neap__fs_fail(fs, "mkdir") : 0;
  path[end] = cut;
  return code;
}

/* The end of what the path `end` begins with and its next name. */
static size_t next_end(const char *path, size_t end) {
  while (path[end] == '/') end++;
  while (path[end] && path[end] != '/') end++;
  return end;
}

/* Up to the first parent that is there or can be made, and down again. */
static int make_parents(neap__fs *fs, char *path) {
  size_t last = parent_end(path, strlen(path)), end = last;
  int code = UV_ENOENT;
  while (end > 0 && (code = make(fs, path, end, PARENT_MODE)) == UV_ENOENT)
    end = parent_end(path, end);
  while (end < last && (!code || code == UV_EEXIST)) {
    end = next_end(path, end);
    code = make(fs, path, end, PARENT_MODE);
  }
  return code == UV_EEXIST ? 0 : code;
}

static int accept_existing(neap__fs *fs, int code) {
  struct stat info;
  return stat(fs->path, &info) == 0 && S_ISDIR(info.st_mode) ? 0 : code;
}

static int run_mkdir(neap__fs *fs) {
  size_t end = strlen(fs->path);
  int code = make(fs, fs->path, end, (mode_t)fs->mode);
  if (!(fs->flags & NEAP__FS_PARENTS)) return code;
  if (code == UV_ENOENT && end > 0) {
    code = make_parents(fs, fs->path);
    if (!code) code = make(fs, fs->path, end, (mode_t)fs->mode);
  }
  return code == UV_EEXIST ? accept_existing(fs, code) : code;
}

const neap__fs_kind neap__fs_mkdir = {.op = NEAP__FS_OP("fs.mkdir", neap__fs), .run = run_mkdir};
