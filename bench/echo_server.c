/* The limit of bench/echo.lua: libuv with callbacks. Prints its port. Argument `try`: uv_try_write
 * first, else uv_write alone. */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

enum { SIZE = 64 * 1024, BACKLOG = 1024 };

typedef struct block block;
struct block {
  uv_write_t request;
  block *next;
  char data[SIZE];
};

static block *free_blocks;
static bool tries;

static block *take_block(void) {
  block *self = free_blocks;
  if (self)
    free_blocks = self->next;
  else
    self = malloc(sizeof *self);
  if (!self) exit(1);
  return self;
}

static void give_block(block *self) {
  self->next = free_blocks;
  free_blocks = self;
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)handle;
  (void)suggested;
  *buffer = uv_buf_init(take_block()->data, SIZE);
}

static void on_closed(uv_handle_t *handle) {
  free(handle);
}

static void on_written(uv_write_t *request, int status) {
  (void)status;
  give_block((block *)request);
}

static void echo(uv_stream_t *stream, block *self, size_t size) {
  uv_buf_t buffer = uv_buf_init(self->data, (unsigned)size);
  if (tries) {
    int n = uv_try_write(stream, &buffer, 1);
    if (n == (int)size) {
      give_block(self);
      return;
    }
    if (n > 0) buffer = uv_buf_init(self->data + n, (unsigned)(size - (size_t)n));
  }
  uv_write(&self->request, stream, &buffer, 1, on_written);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer) {
  block *self = buffer->base ? (block *)(void *)(buffer->base - offsetof(block, data)) : NULL;
  if (n > 0) {
    echo(stream, self, (size_t)n);
    return;
  }
  if (self) give_block(self);
  if (n < 0) uv_close((uv_handle_t *)stream, on_closed);
}

static void on_connection(uv_stream_t *server, int status) {
  uv_tcp_t *conn = malloc(sizeof *conn);
  if (status < 0 || !conn) exit(1);
  uv_tcp_init(server->loop, conn);
  uv_accept(server, (uv_stream_t *)conn);
  uv_tcp_nodelay(conn, 1);
  uv_read_start((uv_stream_t *)conn, on_allocate, on_read);
}

int main(int argc, char **argv) {
  uv_tcp_t server;
  struct sockaddr_in name;
  int length = sizeof name;
  signal(SIGPIPE, SIG_IGN);
  tries = argc > 1 && strcmp(argv[1], "try") == 0;
  uv_tcp_init(uv_default_loop(), &server);
  uv_ip4_addr("127.0.0.1", 0, &name);
  uv_tcp_bind(&server, (const struct sockaddr *)&name, 0);
  if (uv_listen((uv_stream_t *)&server, BACKLOG, on_connection)) return 1;
  uv_tcp_getsockname(&server, (struct sockaddr *)&name, &length);
  printf("port %d\n", ntohs(name.sin_port));
  fflush(stdout);
  return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
