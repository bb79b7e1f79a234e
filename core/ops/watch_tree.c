#include "watch_tree.h"

#include "syscall.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_PROBES = 1024 }; /* more of them: the whole tree is looked at instead */

/* A directory (or the one file) that is watched. References: one while it is in the tree, one while
 * libuv has its handle, one for each look at it. */
typedef struct neap__watch_dir watch_dir;
struct neap__watch_dir {
  neap__watcher *watcher;
  watch_dir *parent;   /* NULL: the root, or taken out of the tree */
  neap__list link;     /* in parent->children */
  neap__list children; /* those that are watched */
  uv_fs_event_t handle;
  uint32_t refs;
  ino_t inode; /* what was scanned; 0: nothing yet */
  dev_t device;
  bool is_root;
  bool has_namesake; /* there is something of the directory's own name in it */
  char path[];
};

/* Three things that the pool finds out about a directory. */
typedef enum look_kind {
  LOOK_ROOT,  /* what the watched path is */
  LOOK_PROBE, /* what has become of something in it */
  LOOK_SCAN   /* what is in it */
} look_kind;

/* Made and used on the loop's thread; `run` works on it in the pool. */
typedef struct look {
  neap__list link; /* in watcher->looks */
  uv_work_t work;
  watch_dir *dir; /* referenced; the pool reads its path only */
  look_kind kind;
  bool is_change, is_ambiguous; /* probe: the event */
  bool is_quiet;                /* scan: what is found was there before */
  bool is_deep;                 /* scan: go on into directories that are watched already */
  int code;
  bool has_directory, has_child, is_child_directory;
  ino_t inode; /* scan: of the directory; probe: of the child */
  dev_t device;
  char *names; /* scan: 'd' or '-', then the name with its NUL, for each entry */
  size_t size, capacity;
  const char *name; /* probe: the last part of path */
  char path[];
} look;

static neap__memory *memory_of(const watch_dir *dir) {
  return &dir->watcher->loop->memory;
}

/* ---- In the pool --------------------------------------------------------------------------- */

static bool is_directory_at(int fd, const char *name) {
  struct stat info;
  return fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode);
}

static void note_child(look *self) {
  struct stat info;
  self->has_child = lstat(self->path, &info) == 0;
  self->is_child_directory = self->has_child && S_ISDIR(info.st_mode);
  self->inode = self->has_child ? info.st_ino : 0;
  self->device = self->has_child ? info.st_dev : 0;
}

static void look_at_root(look *self) {
  struct stat info;
  note_child(self);
  if (stat(self->dir->path, &info))
    self->code = -errno;
  else
    self->has_directory = S_ISDIR(info.st_mode);
}

static void look_at_child(look *self) {
  struct stat info;
  self->has_directory = stat(self->dir->path, &info) == 0;
  note_child(self);
}

/* What the pool allocates is not counted, as in ops/job.c. */
static bool grow(look *self, size_t size) {
  if (size <= self->capacity) return true;
  const neap__memory *memory = memory_of(self->dir);
  size_t capacity = 2 * size + 1024;
  char *names = memory->allocate(memory->data, self->names, capacity);
  if (!names) return false;
  self->names = names;
  self->capacity = capacity;
  return true;
}

static bool add_name(look *self, const char *name, bool is_directory) {
  size_t length = strlen(name) + 1;
  if (!grow(self, self->size + 1 + length)) return false;
  self->names[self->size] = is_directory ? 'd' : '-';
  memcpy(self->names + self->size + 1, name, length);
  self->size += 1 + length;
  return true;
}

static bool is_dots(const char *name) {
  return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static void note_inode(look *self, int fd) {
  struct stat info;
  if (fstat(fd, &info)) return;
  self->inode = info.st_ino;
  self->device = info.st_dev;
}

static int read_names(look *self, DIR *directory) {
  note_inode(self, dirfd(directory));
  for (;;) {
    errno = 0;
    const struct dirent *entry = readdir(directory); // NOLINT(concurrency-mt-unsafe): own stream
    if (!entry) return -errno;
    if (is_dots(entry->d_name)) continue;
    bool is_directory = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN)
      is_directory = is_directory_at(dirfd(directory), entry->d_name);
    if (!add_name(self, entry->d_name, is_directory)) return UV_ENOMEM;
  }
}

/* Below the root no link is followed. */
static void look_into(look *self) {
  int flags = O_RDONLY | O_DIRECTORY | (self->dir->is_root ? 0 : O_NOFOLLOW);
  int fd = neap__open(self->dir->path, flags, 0);
  DIR *directory = fd < 0 ? NULL : fdopendir(fd);
  self->code = directory ? read_names(self, directory) : -errno;
  if (directory)
    closedir(directory);
  else if (fd >= 0)
    close(fd);
}

static void on_work(uv_work_t *work) {
  look *self = NEAP__CONTAINER(work, look, work);
  switch (self->kind) {
  case LOOK_ROOT: look_at_root(self); break;
  case LOOK_PROBE: look_at_child(self); break;
  case LOOK_SCAN: look_into(self); break;
  }
}

/* ---- Directories --------------------------------------------------------------------------- */

static void unref_dir(watch_dir *dir) {
  if (--dir->refs == 0) neap__memory_free(memory_of(dir), dir);
}

/* The path of something in a directory, behind `size` bytes of a new block. */
static void *new_with_path(const watch_dir *dir, size_t size, const char *name) {
  size_t length = strlen(dir->path);
  size_t slash = length > 0 && dir->path[length - 1] == '/' ? 0 : 1;
  char *block = neap__memory_new(memory_of(dir), size + length + slash + strlen(name) + 1);
  if (!block) return NULL;
  memcpy(block + size, dir->path, length);
  if (slash) block[size + length] = '/';
  strcpy(block + size + length + slash, name); // NOLINT(clang-analyzer-security*): measured above
  return block;
}

static void init_dir(watch_dir *dir, neap__watcher *watcher) {
  dir->watcher = watcher;
  dir->refs = 1;
  neap__list_init(&dir->link);
  neap__list_init(&dir->children);
}

static watch_dir *new_child(watch_dir *parent, const char *name) {
  watch_dir *dir = new_with_path(parent, offsetof(watch_dir, path), name);
  if (!dir) return NULL;
  init_dir(dir, parent->watcher);
  dir->parent = parent;
  neap__list_append(&parent->children, &dir->link);
  return dir;
}

static const char *last_part(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static watch_dir *child_of(const watch_dir *parent, const char *name) {
  for (neap__list *link = parent->children.next; link != &parent->children; link = link->next) {
    watch_dir *dir = NEAP__CONTAINER(link, watch_dir, link);
    if (strcmp(last_part(dir->path), name) == 0) return dir;
  }
  return NULL;
}

static void on_dir_closed(uv_handle_t *handle) {
  watch_dir *dir = NEAP__CONTAINER(handle, watch_dir, handle);
  neap__watcher *watcher = dir->watcher;
  unref_dir(dir);
  neap__watcher_release(watcher);
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status);

static int listen_to(watch_dir *dir) {
  neap__watcher *watcher = dir->watcher;
  if (neap__memory_must_fail(memory_of(dir))) return UV_ENOMEM;
  int code = uv_fs_event_init(watcher->loop->uv, &dir->handle);
  if (code) return code;
  dir->refs++;
  neap__watcher_acquire(watcher);
  code = uv_fs_event_start(&dir->handle, on_event, dir->path, 0);
  uv_unref((uv_handle_t *)&dir->handle);
  return code;
}

/* Out of the tree, with all that is below it. */
static void close_dirs(watch_dir *top) {
  watch_dir *dir = top, *next;
  for (bool is_over = false; !is_over; dir = next) {
    while (!neap__list_is_empty(&dir->children))
      dir = NEAP__CONTAINER(dir->children.next, watch_dir, link);
    next = dir->parent;
    is_over = dir == top;
    neap__list_unlink(&dir->link);
    dir->parent = NULL;
    if (dir->handle.type == UV_FS_EVENT) uv_close((uv_handle_t *)&dir->handle, on_dir_closed);
    unref_dir(dir);
  }
}

/* Whether it is still watched: a look at it may be late. */
static bool is_in_tree(const watch_dir *dir) {
  return dir->is_root ? !dir->watcher->is_closing : dir->parent != NULL;
}

/* ---- Looks --------------------------------------------------------------------------------- */

static void start_look(neap__watcher *watcher);

static look *new_look(watch_dir *dir, look_kind kind, const char *name) {
  look *self = new_with_path(dir, offsetof(look, path), name);
  if (!self) return NULL;
  neap__list_init(&self->link);
  self->dir = dir;
  self->kind = kind;
  self->name = self->path + strlen(self->path) - strlen(name);
  dir->refs++;
  return self;
}

static void free_look(look *self) {
  const neap__memory *memory = memory_of(self->dir);
  if (self->kind == LOOK_PROBE) self->dir->watcher->probes--;
  if (self->names) memory->allocate(memory->data, self->names, 0);
  watch_dir *dir = self->dir;
  neap__memory_free(memory_of(dir), self);
  unref_dir(dir);
}

static look *first_look(const neap__watcher *watcher) {
  return neap__list_is_empty(&watcher->looks) ? NULL
                                              : NEAP__CONTAINER(watcher->looks.next, look, link);
}

static void add_look(look *self) {
  neap__watcher *watcher = self->dir->watcher;
  bool is_first = neap__list_is_empty(&watcher->looks);
  neap__list_append(&watcher->looks, &self->link);
  if (self->kind == LOOK_PROBE) watcher->probes++;
  if (is_first) start_look(watcher);
}

/* Something could not be watched or looked at. */
static void fail(neap__watcher *watcher, int code, const char *syscall) {
  bool is_gone = code == UV_ENOENT || code == UV_ENOTDIR || code == UV_EACCES || code == UV_ELOOP;
  if (is_gone) return; /* gone already, or not ours to see */
  if (watcher->opener)
    neap__watcher_opened(watcher, code, syscall);
  else
    neap__watcher_lose(watcher);
}

static void scan(watch_dir *dir, bool is_quiet, bool is_deep) {
  look *self = new_look(dir, LOOK_SCAN, "");
  if (!self) {
    fail(dir->watcher, UV_ENOMEM, NULL);
    return;
  }
  self->is_quiet = is_quiet;
  self->is_deep = is_deep;
  add_look(self);
}

static bool is_pending_probe(const neap__watcher *watcher, const watch_dir *dir, const char *name,
                             bool is_change) {
  const look *last = NEAP__CONTAINER(watcher->looks.prev, look, link);
  if (neap__list_is_empty(&watcher->looks) || last == first_look(watcher)) return false;
  return last->kind == LOOK_PROBE && last->dir == dir && last->is_change == is_change &&
         strcmp(last->name, name) == 0;
}

static void probe(watch_dir *dir, const char *name, bool is_change, bool is_ambiguous) {
  neap__watcher *watcher = dir->watcher;
  if (is_pending_probe(watcher, dir, name, is_change)) return;
  look *self = watcher->probes < MAX_PROBES ? new_look(dir, LOOK_PROBE, name) : NULL;
  if (!self) {
    watcher->is_stale = watcher->is_recursive;
    neap__watcher_lose(watcher);
    return;
  }
  self->is_change = is_change;
  self->is_ambiguous = is_ambiguous;
  add_look(self);
}

/* ---- Events -------------------------------------------------------------------------------- */

/* The path of a directory relative to the root, with a slash at its end; empty for the root. */
static void tell(watch_dir *dir, const char *name, bool is_change) {
  neap__watcher *watcher = dir->watcher;
  if (dir->is_root) {
    neap__watcher_add(watcher, "", name, is_change, false);
    return;
  }
  size_t length = strlen(watcher->path);
  const char *directory = dir->path + length + (watcher->path[length - 1] != '/');
  char *prefix = neap__memory_new(memory_of(dir), strlen(directory) + 2);
  if (!prefix) {
    neap__watcher_lose(watcher);
    return;
  }
  strcpy(prefix, directory); // NOLINT(clang-analyzer-security*): measured above
  strcat(prefix, "/");       // NOLINT(clang-analyzer-security*)
  neap__watcher_add(watcher, prefix, name, is_change, false);
  neap__memory_free(memory_of(dir), prefix);
}

/* An event of the watched thing itself; those of other directories are told by what they are in. */
static void tell_self(watch_dir *dir, bool is_change) {
  neap__watcher *watcher = dir->watcher;
  const char *name = watcher->is_directory ? "." : last_part(watcher->path);
  if (dir->is_root) neap__watcher_add(watcher, "", name, is_change, true);
}

/* An event of the directory itself has the directory's own name, as one of something in it may have.
 * And where the attributes of a directory change libuv says rename. */
static void on_event(uv_fs_event_t *handle, const char *name, int events, int status) {
  watch_dir *dir = NEAP__CONTAINER(handle, watch_dir, handle);
  neap__watcher *watcher = dir->watcher;
  bool is_change = !(events & UV_RENAME);
  if (status < 0) {
    neap__watcher_lose(watcher);
    return;
  }
  if (!watcher->is_directory || !name || !*name || is_dots(name)) {
    tell_self(dir, is_change);
  } else if (strcmp(name, last_part(dir->path)) == 0) {
    probe(dir, name, is_change, true);
  } else {
    tell(dir, name, is_change);
    if (watcher->is_recursive && !is_change && is_in_tree(dir)) probe(dir, name, false, false);
  }
}

/* ---- What was found ------------------------------------------------------------------------- */

/* Watches a directory in `parent` and what is below it. */
static void enter(watch_dir *parent, const char *name, bool is_quiet, bool is_deep) {
  neap__watcher *watcher = parent->watcher;
  watch_dir *dir = new_child(parent, name);
  int code = dir ? listen_to(dir) : UV_ENOMEM;
  if (!code) {
    scan(dir, is_quiet, is_deep);
    return;
  }
  if (dir) close_dirs(dir);
  fail(watcher, code, "inotify_add_watch");
}

static bool is_same(const watch_dir *dir, const look *self) {
  return dir->inode && dir->inode == self->inode && dir->device == self->device;
}

/* What was watched under the name may not be what is there now. */
static void replace_child(look *self) {
  watch_dir *old = child_of(self->dir, self->name);
  if (old && is_same(old, self)) return; /* only its attributes have changed */
  if (old) close_dirs(old);
  if (self->is_child_directory) enter(self->dir, self->name, false, false);
}

/* Whether an event that has the name of the directory is one of the directory. */
static bool is_own_event(look *self) {
  watch_dir *dir = self->dir;
  bool had_child = dir->has_namesake;
  if (!self->is_ambiguous) return false;
  if (!self->has_directory) return true;
  dir->has_namesake = self->has_child;
  return !had_child && !self->has_child;
}

static void use_probe(look *self) {
  const neap__watcher *watcher = self->dir->watcher;
  if (is_own_event(self)) {
    tell_self(self->dir, self->is_change);
    return;
  }
  if (self->is_ambiguous) tell(self->dir, self->name, self->is_change);
  if (watcher->is_recursive && !self->is_change && is_in_tree(self->dir)) replace_child(self);
}

static void use_name(look *self, const char *name, bool is_directory) {
  if (strcmp(name, last_part(self->dir->path)) == 0) self->dir->has_namesake = true;
  watch_dir *known = is_directory ? child_of(self->dir, name) : NULL;
  if (known && self->is_deep) scan(known, true, true);
  if (is_directory && !known && is_in_tree(self->dir))
    enter(self->dir, name, self->is_quiet, self->is_deep);
  if (!self->is_quiet) tell(self->dir, name, false);
}

static void use_scan(look *self) {
  const neap__watcher *watcher = self->dir->watcher;
  if (self->code) fail(self->dir->watcher, self->code, "readdir");
  self->dir->inode = self->inode;
  self->dir->device = self->device;
  for (size_t at = 0; at < self->size && !watcher->is_closing;) {
    const char *entry = self->names + at;
    at += 1 + strlen(entry + 1) + 1;
    use_name(self, entry + 1, entry[0] == 'd');
  }
}

static void use_root(look *self) {
  neap__watcher *watcher = self->dir->watcher;
  const char *syscall = "stat";
  watcher->is_directory = self->has_directory;
  self->dir->has_namesake = self->has_child;
  if (!self->code) {
    syscall = "inotify_add_watch";
    self->code = listen_to(self->dir);
  }
  if (self->code)
    neap__watcher_opened(watcher, self->code, syscall);
  else if (watcher->is_directory && watcher->is_recursive)
    scan(self->dir, true, false);
}

static void use_look(look *self) {
  switch (self->kind) {
  case LOOK_ROOT: use_root(self); break;
  case LOOK_PROBE: use_probe(self); break;
  case LOOK_SCAN: use_scan(self); break;
  }
}

/* ---- One look after the other --------------------------------------------------------------- */

static void end_look(look *self) {
  neap__watcher *watcher = self->dir->watcher;
  neap__list_unlink(&self->link);
  free_look(self);
  if (watcher->is_closing) return;
  if (neap__list_is_empty(&watcher->looks) && watcher->is_stale) {
    watcher->is_stale = false;
    scan(watcher->root, true, true);
  } else {
    start_look(watcher);
  }
  if (neap__list_is_empty(&watcher->looks) && watcher->opener)
    neap__watcher_opened(watcher, 0, NULL);
}

static void on_looked(uv_work_t *work, int status) {
  look *self = NEAP__CONTAINER(work, look, work);
  neap__watcher *watcher = self->dir->watcher;
  watcher->loop->jobs--;
  if (status == 0 && !watcher->is_closing) use_look(self);
  end_look(self);
  neap__watcher_release(watcher);
}

/* Hands the first one to the pool. */
static void start_look(neap__watcher *watcher) {
  for (look *self; (self = first_look(watcher));) {
    int code = neap__memory_must_fail(&watcher->loop->memory)
                   ? UV_ENOMEM
                   : uv_queue_work(watcher->loop->uv, &self->work, on_work, on_looked);
    if (!code) {
      watcher->loop->jobs++;
      neap__watcher_acquire(watcher);
      return;
    }
    neap__list_unlink(&self->link);
    free_look(self);
    fail(watcher, code, NULL);
  }
}

/* ---- The whole ----------------------------------------------------------------------------- */

int neap__watch_tree_begin(neap__watcher *watcher) {
  neap__memory *memory = &watcher->loop->memory;
  size_t size = strlen(watcher->path) + 1;
  watch_dir *root = neap__memory_new(memory, offsetof(watch_dir, path) + size);
  if (!root) return UV_ENOMEM;
  init_dir(root, watcher);
  root->is_root = true;
  memcpy(root->path, watcher->path, size);
  watcher->root = root;
  look *self = new_look(root, LOOK_ROOT, last_part(root->path));
  if (!self) return UV_ENOMEM;
  add_look(self);
  return neap__list_is_empty(&watcher->looks) ? UV_ENOMEM : 0;
}

/* The first look is with the pool and ends by itself. */
void neap__watch_tree_end(neap__watcher *watcher) {
  look *busy = first_look(watcher);
  while (busy && watcher->looks.prev != &busy->link) {
    look *last = NEAP__CONTAINER(watcher->looks.prev, look, link);
    neap__list_unlink(&last->link);
    free_look(last);
  }
  if (busy) uv_cancel((uv_req_t *)&busy->work);
  watch_dir *root = watcher->root;
  watcher->root = NULL;
  if (root) close_dirs(root);
}

void neap__watch_tree_keep_alive(neap__watcher *watcher, bool is_kept) {
  uv_handle_t *handle = (uv_handle_t *)&watcher->root->handle;
  if (is_kept)
    uv_ref(handle);
  else
    uv_unref(handle);
}
