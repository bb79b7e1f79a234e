#include "stream.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
  READ_SIZE = 64 * 1024,  /* what libuv may read at once */
  WRITE_CHUNK = 64 * 1024 /* what cannot be taken back when a write is cancelled */
};

static neap__stream_op *of_op(neap__op *op) {
  return (neap__stream_op *)op;
}

static uv_stream_t *uv_of(neap__stream *stream) {
  return (uv_stream_t *)&stream->tcp;
}

/* ---- The stream itself ---------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle);

static void close_resource(neap__resource *resource) {
  neap__stream_close(NEAP__CONTAINER(resource, neap__stream, resource));
}

/* Writing to a socket whose peer has gone would kill the process. The error of the write says it all,
 * so the signal is ignored, unless the program has its own handler for it. libuv asks its users to do
 * this; it does not do it itself. */
static void ignore_broken_pipes(void) {
  struct sigaction action;
  if (sigaction(SIGPIPE, NULL, &action) || action.sa_handler != SIG_DFL) return;
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, NULL);
}

static int new_stream(neap_loop *loop, neap__stream **result) {
  ignore_broken_pipes();
  neap__stream *stream = neap__memory_new(&loop->memory, sizeof *stream);
  if (!stream) return UV_ENOMEM;
  int code = uv_tcp_init(loop->uv, &stream->tcp);
  if (code) {
    neap__memory_free(&loop->memory, stream);
    return code;
  }
  stream->loop = loop;
  stream->refs = 2;
  stream->resource.close = close_resource;
  neap__list_init(&stream->resource.link);
  neap__list_append(&loop->resources, &stream->resource.link);
  neap__list_init(&stream->acceptors);
  neap__list_init(&stream->writers);
  neap__list_init(&stream->closers);
  neap__loop_anchor(loop);
  *result = stream;
  return 0;
}

static neap__stream *ref(neap__stream *stream) {
  stream->refs++;
  return stream;
}

void neap__stream_unref(neap__stream *stream) {
  if (--stream->refs > 0) return;
  neap_loop *loop = stream->loop;
  neap__memory_free(&loop->memory, stream->buffer);
  neap__memory_free(&loop->memory, stream);
  neap__loop_unanchor(loop);
}

/* Takes the operation out of its list; what is linked is native. */
static void leave_list(neap__stream_op *self) {
  neap__list_unlink(&self->link);
  neap__op_release_native(&self->op);
}

static void enter_list(neap__stream_op *self, neap__list *list) {
  neap__list_append(list, &self->link);
  neap__op_acquire_native(&self->op, false);
}

static neap__stream_op *first_in(neap__list *list) {
  return neap__list_is_empty(list) ? NULL : NEAP__CONTAINER(list->next, neap__stream_op, link);
}

static void settle_list(neap__list *list, int code) {
  for (neap__stream_op *self; (self = first_in(list));) {
    neap__list_unlink(&self->link);
    neap__op_settle(&self->op, code);
    neap__op_release_native(&self->op);
  }
}

static void settle_reader(neap__stream *stream, int code) {
  neap__op *op = stream->reader;
  stream->reader = NULL;
  neap__op_settle(op, code);
  neap__op_release_native(op);
}

static void on_closed(uv_handle_t *handle) {
  neap__stream *stream = NEAP__CONTAINER(handle, neap__stream, tcp);
  stream->is_closed = true;
  settle_list(&stream->closers, 0);
  neap__stream_unref(stream);
}

/* The writer whose request libuv holds gets its callback (ECANCELED) before on_closed. */
static void fail_writers(neap__stream *stream) {
  neap__list all;
  neap__list_init(&all);
  while (!neap__list_is_empty(&stream->writers)) {
    neap__list *link = stream->writers.next;
    neap__list_unlink(link);
    neap__list_append(&all, link);
  }
  settle_list(&all, NEAP_ECLOSED);
}

void neap__stream_close(neap__stream *stream) {
  if (stream->is_closing) return;
  stream->is_closing = true;
  neap__list_unlink(&stream->resource.link);
  ref(stream);
  if (stream->reader) settle_reader(stream, NEAP_ECLOSED);
  settle_list(&stream->acceptors, NEAP_ECLOSED);
  fail_writers(stream);
  uv_close((uv_handle_t *)&stream->tcp, on_closed);
  neap__stream_unref(stream);
}

static int describe(const struct sockaddr *name, char *host, size_t size, int *port) {
  if (name->sa_family == AF_INET) {
    const struct sockaddr_in *v4 = (const void *)name;
    *port = ntohs(v4->sin_port);
    return uv_ip4_name(v4, host, size);
  }
  const struct sockaddr_in6 *v6 = (const void *)name;
  *port = ntohs(v6->sin6_port);
  return uv_ip6_name(v6, host, size);
}

int neap__stream_address(const neap__stream *stream, bool peer, char *host, size_t size,
                         int *port) {
  struct sockaddr_storage name;
  int length = sizeof name;
  if (stream->is_closing) return NEAP_ECLOSED;
  int code = peer ? uv_tcp_getpeername(&stream->tcp, (struct sockaddr *)&name, &length)
                  : uv_tcp_getsockname(&stream->tcp, (struct sockaddr *)&name, &length);
  return code ? code : describe((struct sockaddr *)&name, host, size, port);
}

/* ---- Operations: what they share ------------------------------------------------------------ */

neap__stream *neap__stream_op_take(neap__stream_op *self) {
  neap__stream *stream = self->stream;
  self->stream = NULL;
  return stream;
}

static bool makes_stream(const neap__op *op) {
  const neap__op_kind *kind = neap__op_kind_of(op);
  return kind == &neap__listen_kind || kind == &neap__connect_kind || kind == &neap__accept_kind;
}

static void discard_stream(neap__stream_op *self) {
  neap__stream *stream = neap__stream_op_take(self);
  if (!stream) return;
  if (makes_stream(&self->op)) neap__stream_close(stream);
  neap__stream_unref(stream);
}

static void release(neap__op *op) {
  neap__stream_op *self = of_op(op);
  neap__memory *memory = &op->task.loop->memory;
  discard_stream(self);
  if (self->server) neap__stream_unref(self->server);
  if (self->addresses) uv_freeaddrinfo(self->addresses);
  neap__memory_free(memory, self->host);
  neap__memory_free(memory, self->address);
  neap__memory_free(memory, self->data);
}

static int fail(neap__op *op, const char *syscall, int code) {
  op->error.syscall = syscall;
  return code;
}

/* Words the address for errors. */
static int note_address(neap__stream_op *self) {
  size_t size = strlen(self->host) + 16;
  self->address = neap__memory_new(&self->op.task.loop->memory, size);
  if (!self->address) return UV_ENOMEM;
  bool is_v6 = strchr(self->host, ':') != NULL;
  snprintf(self->address, size, is_v6 ? "[%s]:%d" : "%s:%d", self->host, self->port);
  self->op.error.address = self->address;
  return 0;
}

/* A literal IP address; false when it is a name. */
static bool parse_address(const char *host, int port, struct sockaddr_storage *name) {
  return uv_ip4_addr(host, port, (struct sockaddr_in *)name) == 0 ||
         uv_ip6_addr(host, port, (struct sockaddr_in6 *)name) == 0;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses);

static int resolve(neap__stream_op *self) {
  char service[16];
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  snprintf(service, sizeof service, "%d", self->port);
  int code = uv_getaddrinfo(self->op.task.loop->uv, &self->request.resolve, on_resolved, self->host,
                            service, &hints);
  if (code) return fail(&self->op, "getaddrinfo", code);
  neap__op_acquire_native(&self->op, true);
  return 0;
}

/* ---- Listening ----------------------------------------------------------------------------- */

static void serve_acceptors(neap__stream *server);

static void on_connection(uv_stream_t *handle, int status) {
  neap__stream *server = NEAP__CONTAINER(handle, neap__stream, tcp);
  if (status < 0)
    server->accept_code = status;
  else
    server->connections++;
  serve_acceptors(server);
}

static int bind_and_listen(neap__stream_op *self, const struct sockaddr *name) {
  neap__op *op = &self->op;
  int code = new_stream(op->task.loop, &self->stream);
  if (code) return code;
  code = uv_tcp_bind(&self->stream->tcp, name, 0);
  if (code) return fail(op, "bind", code);
  code = uv_listen(uv_of(self->stream), self->backlog, on_connection);
  return code ? fail(op, "listen", code) : 0;
}

static int start_listen(neap__op *op) {
  neap__stream_op *self = of_op(op);
  struct sockaddr_storage name;
  int code = note_address(self);
  if (code) return code;
  if (!parse_address(self->host, self->port, &name)) return resolve(self);
  code = bind_and_listen(self, (struct sockaddr *)&name);
  if (code) discard_stream(self);
  neap__op_settle(op, code);
  return 0;
}

/* ---- Accepting ----------------------------------------------------------------------------- */

static int accept_one(neap__stream_op *self) {
  int code = new_stream(self->op.task.loop, &self->stream);
  if (code) return code;
  code = uv_accept(uv_of(self->server), uv_of(self->stream));
  if (code) discard_stream(self);
  return code ? fail(&self->op, "accept", code) : 0;
}

static int take_accept_code(neap__stream *server) {
  int code = server->accept_code;
  server->accept_code = 0;
  return code;
}

static void serve_acceptors(neap__stream *server) {
  neap__stream_op *self;
  while ((server->connections > 0 || server->accept_code) &&
         (self = first_in(&server->acceptors))) {
    int code = take_accept_code(server);
    if (code)
      fail(&self->op, "accept", code);
    else if (!(code = accept_one(self)) || code != UV_ENOMEM)
      server->connections--;
    neap__list_unlink(&self->link);
    neap__op_settle(&self->op, code);
    neap__op_release_native(&self->op);
  }
}

static int start_accept(neap__op *op) {
  neap__stream_op *self = of_op(op);
  if (self->server->is_closing) return NEAP_ECLOSED;
  enter_list(self, &self->server->acceptors);
  serve_acceptors(self->server);
  return 0;
}

static void abort_in_list(neap__op *op) {
  leave_list(of_op(op));
}

/* ---- Connecting ---------------------------------------------------------------------------- */

static int connect_to(neap__stream_op *self, const struct sockaddr *name);

static int connect_next(neap__stream_op *self) {
  int code = UV_EAI_NODATA;
  while (self->next_address) {
    struct addrinfo *address = self->next_address;
    self->next_address = address->ai_next;
    code = connect_to(self, address->ai_addr);
    if (!code) break;
  }
  return code;
}

static void on_connected(uv_connect_t *request, int status) {
  neap__stream_op *self = NEAP__CONTAINER(request, neap__stream_op, request.connect);
  neap__op *op = &self->op;
  neap_task_ref(&op->task);
  neap__op_release_native(op);
  bool is_retried = false;
  if (status || neap__op_is_orphan(op)) discard_stream(self);
  if (status) {
    fail(op, "connect", status);
    if (!neap__op_is_orphan(op) && self->next_address) {
      status = connect_next(self);
      is_retried = status == 0;
    }
  }
  if (!is_retried) neap__op_settle(op, status);
  neap_task_unref(&op->task);
}

static int connect_to(neap__stream_op *self, const struct sockaddr *name) {
  neap__op *op = &self->op;
  int code = new_stream(op->task.loop, &self->stream);
  if (code) return code;
  uv_tcp_nodelay(&self->stream->tcp, 1);
  code = uv_tcp_connect(&self->request.connect, &self->stream->tcp, name, on_connected);
  if (code) {
    discard_stream(self);
    return fail(op, "connect", code);
  }
  neap__op_acquire_native(op, false);
  return 0;
}

static int start_connect(neap__op *op) {
  neap__stream_op *self = of_op(op);
  struct sockaddr_storage name;
  int code = note_address(self);
  if (code) return code;
  if (!parse_address(self->host, self->port, &name)) return resolve(self);
  return connect_to(self, (struct sockaddr *)&name);
}

/* Closing the socket ends the attempt: its callback comes with ECANCELED. */
static void abort_connect(neap__op *op) {
  neap__stream_op *self = of_op(op);
  if (self->stream)
    neap__stream_close(self->stream);
  else
    uv_cancel((uv_req_t *)&self->request.resolve);
}

static int use_addresses(neap__stream_op *self) {
  if (neap__op_kind_of(&self->op) == &neap__connect_kind) return connect_next(self);
  int code = bind_and_listen(self, self->addresses->ai_addr);
  if (code) discard_stream(self);
  neap__op_settle(&self->op, code);
  return 0;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses) {
  neap__stream_op *self = NEAP__CONTAINER(request, neap__stream_op, request.resolve);
  neap__op *op = &self->op;
  self->addresses = self->next_address = addresses;
  neap_task_ref(&op->task);
  neap__op_release_native(op);
  if (status)
    neap__op_settle(op, fail(op, "getaddrinfo", status));
  else if (!neap__op_is_orphan(op)) {
    int code = use_addresses(self);
    if (code) neap__op_settle(op, code);
  }
  neap_task_unref(&op->task);
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* What arrives goes to the operation that waits for it; without one it is buffered, and libuv stops
 * reading until somebody asks: that is the back-pressure. */

/* libuv fills the buffer and hands it to on_read before anything else happens, so one for each loop
 * serves all its streams. */
static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)suggested;
  neap__stream *stream = NEAP__CONTAINER(handle, neap__stream, tcp);
  neap_loop *loop = stream->loop;
  size_t size = READ_SIZE;
  if (stream->reader && of_op(stream->reader)->size < size) size = of_op(stream->reader)->size;
  if (!loop->read_buffer) loop->read_buffer = neap__memory_resize(&loop->memory, NULL, READ_SIZE);
  *buffer = uv_buf_init(loop->read_buffer, loop->read_buffer ? (unsigned)size : 0);
}

static void stop_reading(neap__stream *stream) {
  if (!stream->is_reading) return;
  uv_read_stop(uv_of(stream));
  stream->is_reading = false;
}

static void give_to_reader(neap__stream *stream, char *data, size_t size) {
  neap__stream_op *self = of_op(stream->reader);
  self->data = data;
  self->size = size;
  settle_reader(stream, 0);
}

static void keep_for_later(neap__stream *stream, char *data, size_t size) {
  assert(!stream->buffer);
  stream->buffer = data;
  stream->start = 0;
  stream->end = size;
  stop_reading(stream);
}

/* The bytes are out of the socket: what cannot be kept is lost, and the stream is broken. */
static void arrived(neap__stream *stream, const char *bytes, size_t size) {
  char *data = neap__memory_resize(&stream->loop->memory, NULL, size);
  if (!data) {
    stop_reading(stream);
    stream->read_code = UV_ENOMEM;
    if (stream->reader) settle_reader(stream, fail(stream->reader, "read", UV_ENOMEM));
    return;
  }
  memcpy(data, bytes, size);
  if (stream->reader)
    give_to_reader(stream, data, size);
  else
    keep_for_later(stream, data, size);
}

static void end_of_reading(neap__stream *stream, int code) {
  stop_reading(stream);
  if (code == UV_ENOBUFS) code = UV_ENOMEM; /* on_allocate had none; the next read tries again */
  if (code != UV_ENOMEM || !stream->reader) stream->read_code = code == UV_ENOMEM ? 0 : code;
  if (!stream->reader) return;
  of_op(stream->reader)->size = 0;
  settle_reader(stream, code == UV_EOF ? 0 : fail(stream->reader, "read", code));
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buffer) {
  neap__stream *stream = NEAP__CONTAINER(handle, neap__stream, tcp);
  if (n > 0) arrived(stream, buffer->base, (size_t)n);
  if (n < 0) end_of_reading(stream, (int)n);
}

static int read_from_buffer(neap__stream_op *self) {
  neap__stream *stream = self->stream;
  neap__memory *memory = &stream->loop->memory;
  size_t size = stream->end - stream->start;
  if (size > self->size) size = self->size;
  self->data = neap__memory_resize(memory, NULL, size);
  if (!self->data) return UV_ENOMEM;
  memcpy(self->data, stream->buffer + stream->start, size);
  self->size = size;
  stream->start += size;
  if (stream->start == stream->end) {
    neap__memory_free(memory, stream->buffer);
    stream->buffer = NULL;
  }
  neap__op_settle(&self->op, 0);
  return 0;
}

static int report_end(neap__stream_op *self) {
  int code = self->stream->read_code;
  self->size = 0;
  if (code != UV_EOF) return fail(&self->op, "read", code);
  neap__op_settle(&self->op, 0);
  return 0;
}

static int start_read(neap__op *op) {
  neap__stream_op *self = of_op(op);
  neap__stream *stream = self->stream;
  if (stream->is_closing) return NEAP_ECLOSED;
  if (stream->reader) return NEAP_EMISUSE;
  if (stream->buffer) return read_from_buffer(self);
  if (stream->read_code) return report_end(self);
  if (!stream->is_reading) {
    int code = uv_read_start(uv_of(stream), on_allocate, on_read);
    if (code) return fail(op, "read", code);
    stream->is_reading = true;
  }
  stream->reader = op;
  neap__op_acquire_native(op, false);
  return 0;
}

/* Nothing is lost: what arrives from now on is kept for the next read. */
static void abort_read(neap__op *op) {
  of_op(op)->stream->reader = NULL;
  neap__op_release_native(op);
}

/* ---- Writing ------------------------------------------------------------------------------- */

/* The socket is tried first; what it does not take goes to libuv chunk by chunk, so that a cancelled
 * write can tell how much was written and leave the rest unsent. */

static void pump_writers(neap__stream *stream);

static void end_writer(neap__stream_op *self, int code) {
  neap__list_unlink(&self->link);
  neap__op_settle(&self->op, code);
  neap__op_release_native(&self->op);
}

static void on_written(uv_write_t *request, int status) {
  neap__stream_op *self = NEAP__CONTAINER(request, neap__stream_op, request.write);
  neap__stream *stream = self->stream;
  if (stream->is_closing) {
    /* Settled when the stream was closed; libuv's own reference ends here. */
    neap_task_unref(&self->op.task);
    return;
  }
  bool is_over = status || self->sent == self->size || neap__op_is_orphan(&self->op);
  ref(stream);
  neap_task_unref(&self->op.task);
  if (is_over) end_writer(self, status ? fail(&self->op, "write", status) : 0);
  pump_writers(stream);
  neap__stream_unref(stream);
}

static int send_chunk(neap__stream_op *self) {
  size_t rest = self->size - self->sent;
  size_t size = rest < WRITE_CHUNK ? rest : WRITE_CHUNK;
  uv_buf_t buffer = uv_buf_init(self->data + self->sent, (unsigned)size);
  int code = uv_write(&self->request.write, uv_of(self->stream), &buffer, 1, on_written);
  if (code) return fail(&self->op, "write", code);
  self->sent += size;
  neap_task_ref(&self->op.task); /* libuv's, besides the one of the list */
  return 0;
}

static int try_to_send(neap__stream_op *self) {
  while (self->sent < self->size) {
    size_t rest = self->size - self->sent;
    uv_buf_t buffer =
        uv_buf_init(self->data + self->sent, rest < 1u << 30 ? (unsigned)rest : 1u << 30);
    int n = uv_try_write(uv_of(self->stream), &buffer, 1);
    if (n == UV_EAGAIN) return 0;
    if (n < 0) return fail(&self->op, "write", n);
    self->sent += (size_t)n;
    if ((size_t)n < buffer.len) return 0;
  }
  return 0;
}

static void on_shut_down(uv_shutdown_t *request, int status) {
  neap__stream_op *self = NEAP__CONTAINER(request, neap__stream_op, request.shutdown);
  neap__stream *stream = ref(self->stream);
  neap_task_unref(&self->op.task);
  if (!stream->is_closing) {
    end_writer(self, status ? fail(&self->op, "shutdown", status) : 0);
    pump_writers(stream);
  }
  neap__stream_unref(stream);
}

static int send_shutdown(neap__stream_op *self) {
  int code = uv_shutdown(&self->request.shutdown, uv_of(self->stream), on_shut_down);
  if (code) return fail(&self->op, "shutdown", code);
  neap_task_ref(&self->op.task);
  return 0;
}

/* Starts the first in the list; true if it now waits for libuv. */
static bool start_writer(neap__stream_op *self, int *code) {
  *code = self->is_shutdown ? send_shutdown(self) : try_to_send(self);
  if (!*code && !self->is_shutdown && self->sent < self->size) *code = send_chunk(self);
  return !*code && (self->is_shutdown || self->sent < self->size ||
                    uv_stream_get_write_queue_size(uv_of(self->stream)) > 0);
}

/* Works off the list until somebody in it waits for libuv. */
static void pump_writers(neap__stream *stream) {
  neap__stream_op *self;
  int code;
  ref(stream);
  while (!stream->is_closing && (self = first_in(&stream->writers)) && !start_writer(self, &code))
    end_writer(self, code);
  neap__stream_unref(stream);
}

static int start_write(neap__op *op) {
  neap__stream_op *self = of_op(op);
  neap__stream *stream = self->stream;
  if (stream->is_closing) return NEAP_ECLOSED;
  if (!neap__list_is_empty(&stream->writers)) {
    enter_list(self, &stream->writers);
    return 0;
  }
  int code = self->is_shutdown ? 0 : try_to_send(self);
  if (code) return code;
  if (!self->is_shutdown && self->sent == self->size) {
    neap__op_settle(op, 0);
    return 0;
  }
  code = self->is_shutdown ? send_shutdown(self) : send_chunk(self);
  if (code) return code;
  enter_list(self, &stream->writers);
  return 0;
}

static int start_shutdown(neap__op *op) {
  of_op(op)->is_shutdown = true;
  return start_write(op);
}

/* The first in the list is with libuv and stays until its chunk has gone. */
static void abort_write(neap__op *op) {
  neap__stream_op *self = of_op(op);
  if (first_in(&self->stream->writers) != self) leave_list(self);
}

/* ---- Closing ------------------------------------------------------------------------------- */

static int start_close(neap__op *op) {
  neap__stream_op *self = of_op(op);
  assert(self->stream->is_closing);
  if (self->stream->is_closed)
    neap__op_settle(op, 0);
  else
    enter_list(self, &self->stream->closers);
  return 0;
}

#define STREAM_KIND(task_name, start_function, abort_function)                                     \
  {                                                                                                \
    .task = NEAP__OP_TASK(task_name), .size = sizeof(neap__stream_op), .start = (start_function),  \
    .abort = (abort_function), .release = release                                                  \
  }

const neap__op_kind neap__listen_kind = STREAM_KIND("net.listen", start_listen, abort_connect);
const neap__op_kind neap__connect_kind = STREAM_KIND("net.connect", start_connect, abort_connect);
const neap__op_kind neap__accept_kind = STREAM_KIND("server:accept", start_accept, abort_in_list);
const neap__op_kind neap__read_kind = STREAM_KIND("conn:read", start_read, abort_read);
const neap__op_kind neap__write_kind = STREAM_KIND("conn:write", start_write, abort_write);
const neap__op_kind neap__shutdown_kind = STREAM_KIND("conn:shutdown", start_shutdown, abort_write);
const neap__op_kind neap__close_kind = STREAM_KIND("close", start_close, abort_in_list);
