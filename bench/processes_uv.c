/* The limit of bench/processes.lua: uv_spawn, with both outputs read to their end. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <uv.h>

enum { PROCESSES = 200, AT_ONCE = 16, WARM_UP = 20 };

typedef struct child {
  uv_process_t process;
  uv_pipe_t outputs[2];
  int open; /* handles that are not closed yet */
} child;

static int left; /* children to start */

static void start_next(void);

static void on_closed(uv_handle_t *handle) {
  child *self = handle->data;
  if (--self->open > 0) return;
  free(self);
  start_next();
}

static void on_ended(uv_process_t *process, int64_t status, int signal) {
  if (status || signal) exit(1);
  uv_close((uv_handle_t *)process, on_closed);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  static char data[64 * 1024];
  (void)handle;
  (void)suggested;
  *buffer = uv_buf_init(data, sizeof data);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer) {
  (void)buffer;
  if (n == UV_EOF) uv_close((uv_handle_t *)stream, on_closed);
}

static void open_outputs(child *self, uv_stdio_container_t *stdio) {
  stdio[0].flags = UV_IGNORE;
  for (int i = 0; i < 2; i++) {
    uv_pipe_init(uv_default_loop(), &self->outputs[i], 0);
    self->outputs[i].data = self;
    stdio[i + 1].flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
    stdio[i + 1].data.stream = (uv_stream_t *)&self->outputs[i];
  }
}

static void start_next(void) {
  static char path[] = "/bin/true";
  char *args[] = {path, NULL};
  uv_stdio_container_t stdio[3];
  if (left == 0) return;
  left--;
  child *self = calloc(1, sizeof *self);
  if (!self) exit(1);
  open_outputs(self, stdio);
  self->process.data = self;
  self->open = 3;
  uv_process_options_t options = {
      .exit_cb = on_ended, .file = path, .args = args, .stdio_count = 3, .stdio = stdio};
  if (uv_spawn(uv_default_loop(), &self->process, &options)) exit(1);
  for (int i = 0; i < 2; i++) uv_read_start((uv_stream_t *)&self->outputs[i], on_allocate, on_read);
}

/* Microseconds for each. */
static double run(int count, int at_once) {
  double start = (double)uv_hrtime();
  left = count;
  for (int i = 0; i < at_once; i++) start_next();
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  return ((double)uv_hrtime() - start) / count / 1e3;
}

int main(void) {
  run(WARM_UP, 1);
  printf("one_by_one %.3f\n", run(PROCESSES, 1));
  printf("together %.3f\n", run(PROCESSES, AT_ONCE));
  return 0;
}
