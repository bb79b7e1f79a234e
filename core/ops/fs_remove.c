#include "fs.h"

#include "syscall.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Directories of one path that are open at a time. Those above are closed, and found again through "..". */
enum { OPEN_LEVELS = 16 };

/* A directory that is being emptied. */
typedef struct level {
  char *name; /* in the one above; NULL for the first, whose name is the path */
  DIR *dir;   /* NULL: closed meanwhile */
  dev_t dev;
  ino_t ino;
  bool has_progressed; /* something was removed since it was read from its beginning */
} level;

/* A walk without recursion, whose depth is bounded by memory only. No link is ever followed: every name
 * is looked up in an open directory, and what is opened must be a directory itself. */
typedef struct removal {
  neap__fs *fs;
  level *levels;
  size_t depth, capacity;
} removal;

static level *top_of(const removal *self) {
  return &self->levels[self->depth - 1];
}

static bool is_dot(const char *name) {
  return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* ---- Errors -------------------------------------------------------------------------------- */

/* Appends to the text of `length`, if there is room to write it at all. */
static size_t append(char *text, size_t length, const char *part) {
  size_t size = strlen(part);
  if (text) memcpy(text + length, part, size + 1);
  return length + size;
}

/* The path of `name` in the directory at the top; only its length if `text` is NULL. */
static size_t write_path(const removal *self, const char *name, char *text) {
  size_t length = append(text, 0, self->fs->path);
  for (size_t i = 1; i < self->depth; i++) {
    length = append(text, length, "/");
    length = append(text, length, self->levels[i].name);
  }
  if (!name) return length;
  length = append(text, length, "/");
  return append(text, length, name);
}

/* The system call failed for `name` in the directory at the top, NULL for that itself. Without memory
 * the error tells the path of the whole. */
static int fail(removal *self, const char *name, const char *syscall) {
  neap__fs *fs = self->fs;
  int code = neap__fs_fail(fs, syscall);
  char *path = neap__job_resize(&fs->job, NULL, write_path(self, name, NULL) + 1);
  if (!path) return code;
  write_path(self, name, path);
  neap__job_free(&fs->job, fs->result);
  fs->result = path;
  fs->job.op.error.path = path;
  return code;
}

/* ---- Levels -------------------------------------------------------------------------------- */

static DIR *open_directory(int parent, const char *name) {
  int fd = neap__open_at(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
  if (fd < 0) return NULL;
  DIR *dir = fdopendir(fd);
  if (dir) return dir;
  int error = errno;
  close(fd);
  errno = error;
  return NULL;
}

static void close_directory(level *at) {
  if (at->dir) closedir(at->dir);
  at->dir = NULL;
}

static void drop(removal *self) {
  level *at = top_of(self);
  close_directory(at);
  neap__job_free(&self->fs->job, at->name);
  self->depth--;
}

static int reserve_level(removal *self) {
  if (self->depth < self->capacity) return 0;
  size_t capacity = self->capacity ? self->capacity * 2 : 16;
  level *levels = neap__job_resize(&self->fs->job, self->levels, capacity * sizeof *levels);
  if (!levels) return UV_ENOMEM;
  self->levels = levels;
  self->capacity = capacity;
  return 0;
}

/* Takes over the directory, which is open, and makes a copy of its name. */
static int push(removal *self, DIR *dir, const char *name) {
  neap__job *job = &self->fs->job;
  struct stat info;
  char *copy = name ? neap__job_resize(job, NULL, strlen(name) + 1) : NULL;
  int code = name && !copy ? UV_ENOMEM : reserve_level(self);
  if (!code && fstat(dirfd(dir), &info)) code = fail(self, name, "fstat");
  if (code) {
    neap__job_free(job, copy);
    closedir(dir);
    return code;
  }
  if (name) strcpy(copy, name);
  self->levels[self->depth++] =
      (level){.name = copy, .dir = dir, .dev = info.st_dev, .ino = info.st_ino};
  if (self->depth > OPEN_LEVELS) close_directory(top_of(self) - OPEN_LEVELS);
  return 0;
}

static bool is_same(const level *at, int dir) {
  struct stat info;
  return fstat(dir, &info) == 0 && info.st_dev == at->dev && info.st_ino == at->ino;
}

/* The directory above the top, open again. If somebody has moved or removed the one at the top meanwhile,
 * what is above it now is left alone. */
static int reopen_parent(removal *self) {
  level *at = top_of(self), *parent = at - 1;
  if (parent->dir) return 0;
  DIR *dir = open_directory(dirfd(at->dir), "..");
  if (!dir && errno != ENOENT) return fail(self, NULL, "open");
  if (dir && is_same(parent, dirfd(dir))) {
    parent->dir = dir;
    return 0;
  }
  if (dir) closedir(dir);
  errno = EBUSY;
  return fail(self, NULL, "open");
}

/* ---- Entries ------------------------------------------------------------------------------- */

static int remove_file(removal *self, int dir, const char *name) {
  if (!unlinkat(dir, name, 0) || errno == ENOENT) return 0;
  return fail(self, name, "unlink");
}

/* Goes down into it; if it is none any more, it is removed as what it is. */
static int enter(removal *self, const char *name) {
  int parent = dirfd(top_of(self)->dir);
  DIR *dir = open_directory(parent, name);
  if (dir) return push(self, dir, name);
  int code = fail(self, name, "open");
  if (code == UV_ENOENT) return 0;
  if (code == UV_ENOTDIR || code == UV_ELOOP) return remove_file(self, parent, name);
  /* What may not be read may be empty. */
  return code == UV_EACCES && !unlinkat(parent, name, AT_REMOVEDIR) ? 0 : code;
}

/* Systems other than Linux say EPERM where it is a directory. */
static int remove_entry(removal *self, const struct dirent *entry) {
  level *at = top_of(self);
  at->has_progressed = true;
  if (entry->d_type == DT_DIR) return enter(self, entry->d_name);
  if (!unlinkat(dirfd(at->dir), entry->d_name, 0) || errno == ENOENT) return 0;
  if (errno == EISDIR || errno == EPERM) return enter(self, entry->d_name);
  return fail(self, entry->d_name, "unlink");
}

/* Nothing is left in the directory at the top, as far as one pass can tell: some file systems skip
 * entries when others are removed, and somebody may have added some. */
static int leave(removal *self) {
  level *at = top_of(self);
  bool is_first = self->depth == 1;
  int code = is_first ? 0 : reopen_parent(self);
  if (code) return code;
  int parent = is_first ? AT_FDCWD : dirfd(at[-1].dir);
  bool is_gone = !unlinkat(parent, is_first ? self->fs->path : at->name, AT_REMOVEDIR);
  if (is_gone || errno == ENOENT) {
    drop(self);
    return 0;
  }
  if ((errno != ENOTEMPTY && errno != EEXIST) || !at->has_progressed)
    return fail(self, NULL, "rmdir");
  rewinddir(at->dir);
  at->has_progressed = false;
  return 0;
}

static int step(removal *self) {
  int code = neap__fs_check(self->fs);
  if (code) return code;
  errno = 0;
  const struct dirent *entry = readdir(top_of(self)->dir);
  if (!entry) return errno ? fail(self, NULL, "readdir") : leave(self);
  return is_dot(entry->d_name) ? 0 : remove_entry(self, entry);
}

static int remove_tree(neap__fs *fs) {
  removal self = {.fs = fs};
  DIR *dir = open_directory(AT_FDCWD, fs->path);
  int code = dir ? push(&self, dir, NULL) : neap__fs_fail(fs, "open");
  while (!code && self.depth > 0) code = step(&self);
  while (self.depth > 0) drop(&self);
  neap__job_free(&fs->job, self.levels);
  return code;
}

/* ---- The operation -------------------------------------------------------------------------- */

/* Without slashes at its end, behind which a link would be followed. */
static void strip_slashes(char *path) {
  size_t length = strlen(path);
  while (length > 1 && path[length - 1] == '/') path[--length] = '\0';
}

/* rmdir(".") is refused by the system; so is "..", but only because it is not empty. */
static bool is_own_directory(const char *path) {
  const char *slash = strrchr(path, '/');
  return is_dot(slash ? slash + 1 : path);
}

static int remove_directory(neap__fs *fs) {
  strip_slashes(fs->path);
  if (is_own_directory(fs->path)) return neap__fs_refuse(fs, UV_EINVAL, "rmdir");
  if (!rmdir(fs->path)) return 0;
  bool is_full = errno == ENOTEMPTY || errno == EEXIST;
  if (!is_full || !(fs->flags & NEAP__FS_RECURSIVE)) return neap__fs_fail(fs, "rmdir");
  return remove_tree(fs);
}

static int run_remove(neap__fs *fs) {
  if (!unlink(fs->path)) return 0;
  int code = neap__fs_fail(fs, "unlink");
  if (code == UV_EISDIR || code == UV_EPERM) {
    int second = remove_directory(fs);
    code = second == UV_ENOTDIR ? neap__fs_refuse(fs, code, "unlink") : second;
  }
  return code == UV_ENOENT && fs->flags & NEAP__FS_MISSING_OK ? 0 : code;
}

const neap__fs_kind neap__fs_remove = {.op = NEAP__FS_OP("fs.remove", neap__fs), .run = run_remove};
