#include "fs.h"

#include "syscall.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uv_dirent_type_t type_of_mode(mode_t mode) {
  if (S_ISREG(mode)) return UV_DIRENT_FILE;
  if (S_ISDIR(mode)) return UV_DIRENT_DIR;
  if (S_ISLNK(mode)) return UV_DIRENT_LINK;
  if (S_ISFIFO(mode)) return UV_DIRENT_FIFO;
  if (S_ISSOCK(mode)) return UV_DIRENT_SOCKET;
  if (S_ISCHR(mode)) return UV_DIRENT_CHAR;
  return S_ISBLK(mode) ? UV_DIRENT_BLOCK : UV_DIRENT_UNKNOWN;
}

static uv_dirent_type_t entry_type(int dir, const struct dirent *entry) {
  struct stat info;
  if (entry->d_type != DT_UNKNOWN) return type_of_mode(DTTOIF(entry->d_type));
  /* Some file systems do not tell. */
  if (fstatat(dir, entry->d_name, &info, AT_SYMLINK_NOFOLLOW)) return UV_DIRENT_UNKNOWN;
  return type_of_mode(info.st_mode);
}

/* What is read so far; the names lie one behind the other. */
typedef struct listing {
  neap__fs *fs;
  size_t capacity;              /* of entries */
  size_t length, name_capacity; /* of names */
} listing;

static int reserve_entry(listing *self) {
  neap__fs *fs = self->fs;
  if (fs->size < self->capacity) return 0;
  size_t capacity = self->capacity ? self->capacity * 2 : 32;
  neap__fs_entry *entries = neap__job_resize(&fs->job, fs->entries, capacity * sizeof *entries);
  if (!entries) return UV_ENOMEM;
  fs->entries = entries;
  self->capacity = capacity;
  return 0;
}

static int reserve_name(listing *self, size_t length) {
  if (self->length + length <= self->name_capacity) return 0;
  size_t capacity = self->name_capacity * 2 + length + 512;
  char *names = neap__job_resize(&self->fs->job, self->fs->result, capacity);
  if (!names) return UV_ENOMEM;
  self->fs->result = names;
  self->name_capacity = capacity;
  return 0;
}

static int add_entry(listing *self, int dir, const struct dirent *entry) {
  neap__fs *fs = self->fs;
  size_t length = strlen(entry->d_name) + 1;
  int code = reserve_entry(self);
  if (!code) code = reserve_name(self, length);
  if (code) return code;
  memcpy(fs->result + self->length, entry->d_name, length);
  fs->entries[fs->size++] =
      (neap__fs_entry){.offset = self->length, .type = entry_type(dir, entry)};
  self->length += length;
  return 0;
}

static bool is_dot(const char *name) {
  return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int compare_entries(const void *a, const void *b) {
  return strcmp(((const neap__fs_entry *)a)->name, ((const neap__fs_entry *)b)->name);
}

static void sort(neap__fs *fs) {
  for (size_t i = 0; i < fs->size; i++)
    fs->entries[i].name = fs->result + fs->entries[i].offset; /* it moves no more */
  if (fs->size > 0) qsort(fs->entries, fs->size, sizeof *fs->entries, compare_entries);
}

static int read_entries(neap__fs *fs, DIR *dir) {
  listing self = {.fs = fs};
  for (;;) {
    int code = neap__fs_check(fs);
    if (code) return code;
    errno = 0;
    const struct dirent *entry = readdir(dir);
    if (!entry && errno) return neap__fs_fail(fs, "readdir");
    if (!entry) return 0;
    if (!is_dot(entry->d_name)) code = add_entry(&self, dirfd(dir), entry);
    if (code) return code;
  }
}

static int run_list(neap__fs *fs) {
  int nofollow = fs->flags & NEAP__FS_NOFOLLOW ? O_NOFOLLOW : 0;
  int fd = neap__open(fs->path, O_RDONLY | O_DIRECTORY | nofollow, 0);
  if (fd < 0) return neap__fs_fail(fs, "open");
  DIR *dir = fdopendir(fd);
  if (!dir) {
    int code = neap__fs_fail(fs, "fdopendir");
    close(fd);
    return code;
  }
  int code = read_entries(fs, dir);
  closedir(dir);
  if (!code) sort(fs);
  return code;
}

const neap__fs_kind neap__fs_list = {.op = NEAP__FS_OP("fs.list", neap__fs), .run = run_list};
