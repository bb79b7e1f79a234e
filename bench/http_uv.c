/* The limit: a web server in C on libuv and llhttp, with callbacks. Requests that came together are
 * answered together. Prints its port. */
#include <llhttp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

typedef struct connection {
  uv_tcp_t tcp;
  llhttp_t parser;
  char out[8192];
  size_t length;
} connection;

typedef struct pending {
  uv_write_t request;
  char data[];
} pending;

static const char response[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
                               "Content-Length: 13\r\n\r\nHello, World!";
static llhttp_settings_t settings;
static char block[65536];

static void on_written(uv_write_t *request, int status) {
  (void)status;
  free(request);
}

static void send_later(connection *self, size_t sent) {
  size_t rest = self->length - sent;
  pending *later = malloc(sizeof *later + rest);
  if (!later) exit(1);
  memcpy(later->data, self->out + sent, rest);
  uv_buf_t buffer = uv_buf_init(later->data, (unsigned)rest);
  uv_write(&later->request, (uv_stream_t *)&self->tcp, &buffer, 1, on_written);
}

static void flush(connection *self) {
  if (self->length == 0) return;
  uv_buf_t buffer = uv_buf_init(self->out, (unsigned)self->length);
  int sent = uv_try_write((uv_stream_t *)&self->tcp, &buffer, 1);
  if (sent < 0) sent = 0;
  if ((size_t)sent < self->length) send_later(self, (size_t)sent);
  self->length = 0;
}

static int on_message_complete(llhttp_t *parser) {
  connection *self = parser->data;
  if (self->length + sizeof response > sizeof self->out) flush(self);
  memcpy(self->out + self->length, response, sizeof response - 1);
  self->length += sizeof response - 1;
  return 0;
}

static void on_closed(uv_handle_t *handle) {
  free(handle->data);
}

static void on_allocate(uv_handle_t *handle, size_t size, uv_buf_t *buffer) {
  (void)handle, (void)size;
  *buffer = uv_buf_init(block, sizeof block);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer) {
  connection *self = stream->data;
  if (n == 0) return;
  if (n < 0 || llhttp_execute(&self->parser, buffer->base, (size_t)n) != HPE_OK)
    uv_close((uv_handle_t *)stream, on_closed);
  else
    flush(self);
}

static void on_connection(uv_stream_t *server, int status) {
  connection *self = calloc(1, sizeof *self);
  if (status || !self) exit(1);
  uv_tcp_init(server->loop, &self->tcp);
  self->tcp.data = self->parser.data = self;
  uv_accept(server, (uv_stream_t *)&self->tcp);
  uv_tcp_nodelay(&self->tcp, 1);
  llhttp_init(&self->parser, HTTP_REQUEST, &settings);
  self->parser.data = self;
  uv_read_start((uv_stream_t *)&self->tcp, on_allocate, on_read);
}

int main(void) {
  uv_loop_t *loop = uv_default_loop();
  uv_tcp_t server;
  struct sockaddr_in address;
  int length = sizeof address;
  signal(SIGPIPE, SIG_IGN);
  llhttp_settings_init(&settings);
  settings.on_message_complete = on_message_complete;
  uv_ip4_addr("127.0.0.1", 0, &address);
  uv_tcp_init(loop, &server);
  if (uv_tcp_bind(&server, (struct sockaddr *)&address, 0)) return 1;
  if (uv_listen((uv_stream_t *)&server, 1024, on_connection)) return 1;
  uv_tcp_getsockname(&server, (struct sockaddr *)&address, &length);
  printf("port %d\n", ntohs(address.sin_port));
  fflush(stdout);
  return uv_run(loop, UV_RUN_DEFAULT);
}
