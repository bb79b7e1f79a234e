#include "inheritance.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>

static DIR *open_list(void) {
  DIR *list = opendir("/proc/self/fd");
  return list ? list : opendir("/dev/fd");
}

static bool is_inherited(int fd) {
  int flags = fcntl(fd, F_GETFD);
  return flags >= 0 && !(flags & FD_CLOEXEC);
}

static bool note(neap__inheritance *self, neap__memory *memory, int fd) {
  if (self->count == self->capacity) {
    size_t capacity = self->capacity ? 2 * self->capacity : 16;
    int *fds = neap__memory_resize(memory, self->fds, capacity * sizeof *fds);
    if (!fds) return false;
    self->fds = fds;
    self->capacity = capacity;
  }
  self->fds[self->count++] = fd;
  return true;
}

int neap__inheritance_stop(neap__inheritance *self, neap__memory *memory) {
  bool is_noted = true;
  *self = (neap__inheritance){NULL, 0, 0};
  DIR *list = open_list();
  if (!list) return 0; /* what neap opened is not inherited anyway */
  for (const struct dirent *entry; is_noted && (entry = readdir(list));) {
    int fd = atoi(entry->d_name); /* "." and "..": 0 */
    if (fd > 2 && is_inherited(fd)) is_noted = note(self, memory, fd);
  }
  closedir(list);
  for (size_t i = 0; is_noted && i < self->count; i++) fcntl(self->fds[i], F_SETFD, FD_CLOEXEC);
  if (is_noted) return 0;
  self->count = 0;
  neap__inheritance_restore(self, memory);
  return UV_ENOMEM;
}

void neap__inheritance_restore(neap__inheritance *self, neap__memory *memory) {
  for (size_t i = 0; i < self->count; i++) fcntl(self->fds[i], F_SETFD, 0);
  neap__memory_free(memory, self->fds);
}
