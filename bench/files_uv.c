/* The same as bench/files.lua with libuv: a request for each step. files_uv WORK FOLDER BYTES */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

enum { FILES = 10000, SIZE = 4096, AT_ONCE = 64, CHUNK = 64 * 1024, PATH = 4096 };

typedef struct job {
  uv_fs_t request;
  uv_file fd;
  uv_buf_t buffer;
  char path[PATH];
} job;

static const char *folder;
static bool writes;
static int next_file;
static long long total;

static void start_next(job *self);

/* The result of the request, which is over. */
static ssize_t take_result(uv_fs_t *request) {
  ssize_t result = request->result;
  if (result < 0) {
    fprintf(stderr, "%s\n", uv_strerror((int)result));
    exit(1);
  }
  uv_fs_req_cleanup(request);
  return result;
}

static void on_closed(uv_fs_t *request) {
  job *self = (job *)request;
  take_result(request);
  free(self->buffer.base);
  start_next(self);
}

static void on_moved(uv_fs_t *request) {
  total += take_result(request);
  uv_fs_close(request->loop, request, ((job *)request)->fd, on_closed);
}

static void allocate(job *self, size_t size) {
  self->buffer = uv_buf_init(malloc(size), (unsigned)size);
  if (!self->buffer.base) exit(1);
}

static void on_status(uv_fs_t *request) {
  job *self = (job *)request;
  size_t size = (size_t)request->statbuf.st_size;
  take_result(request);
  allocate(self, size);
  uv_fs_read(request->loop, request, self->fd, &self->buffer, 1, -1, on_moved);
}

static void on_opened(uv_fs_t *request) {
  job *self = (job *)request;
  self->fd = (uv_file)take_result(request);
  if (!writes) {
    uv_fs_fstat(request->loop, request, self->fd, on_status);
    return;
  }
  allocate(self, SIZE);
  memset(self->buffer.base, 'x', SIZE);
  uv_fs_write(request->loop, request, self->fd, &self->buffer, 1, -1, on_moved);
}

static void start_next(job *self) {
  int flags = writes ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY;
  if (next_file == FILES) {
    free(self);
    return;
  }
  snprintf(self->path, sizeof self->path, "%s/%05d", folder, next_file++);
  uv_fs_open(uv_default_loop(), &self->request, self->path, flags, 0666, on_opened);
}

static void on_chunk(uv_fs_t *request) {
  job *self = (job *)request;
  ssize_t n = take_result(request);
  total += n;
  if (n > 0) uv_fs_read(request->loop, request, self->fd, &self->buffer, 1, -1, on_chunk);
}

static void on_big_opened(uv_fs_t *request) {
  job *self = (job *)request;
  self->fd = (uv_file)take_result(request);
  allocate(self, CHUNK);
  uv_fs_read(request->loop, request, self->fd, &self->buffer, 1, -1, on_chunk);
}

static void start(const char *work) {
  bool sequential = strcmp(work, "sequential") == 0;
  writes = strcmp(work, "write") == 0;
  for (int i = 0; i < (sequential ? 1 : AT_ONCE); i++) {
    job *self = calloc(1, sizeof *self);
    if (!self) exit(1);
    if (!sequential) {
      start_next(self);
      continue;
    }
    snprintf(self->path, sizeof self->path, "%s/big", folder);
    uv_fs_open(uv_default_loop(), &self->request, self->path, O_RDONLY, 0, on_big_opened);
  }
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  folder = argv[2];
  double begin = (double)uv_hrtime();
  start(argv[1]);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  double seconds = ((double)uv_hrtime() - begin) / 1e9;
  if (total != atoll(argv[3])) return fprintf(stderr, "%lld bytes\n", total);
  printf("file_us %.3f\n", seconds / FILES * 1e6);
  printf("megabytes %.3f\n", (double)total / seconds / 1e6);
  return 0;
}
