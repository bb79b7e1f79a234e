/* Servers: what is accepted from a listening socket. */
#include "listen.h"
#include "syscall.h"

static neap__accept *of_op(neap__op *op) {
  return (neap__accept *)op;
}

static neap__server *of_stream(neap__stream *stream) {
  return NEAP__CONTAINER(stream, neap__server, stream);
}

static neap__accept *first_acceptor(const neap__server *server) {
  return (neap__accept *)neap__op_first(&server->acceptors);
}

/* ---- One accept ----------------------------------------------------------------------------- */

neap__stream *neap__accept_take(neap__accept *self) {
  neap__stream *stream = self->stream;
  self->stream = NULL;
  return stream;
}

static void discard_stream(neap__accept *self) {
  neap__stream *stream = neap__accept_take(self);
  if (!stream) return;
  neap__stream_close(stream);
  neap__stream_unref(stream);
}

static void end_accept(neap__accept *self, int code) {
  if (code) discard_stream(self);
  if (code == NEAP_ECLOSED && self->ends) code = 0;
  if (self->op.is_native)
    neap__op_end(&self->link, code);
  else
    neap__op_settle(&self->op, code);
}

/* A connection that has gone before it was accepted is none. */
static int take_connection(int fd) {
  int connection;
  do connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  while (connection < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EPROTO));
  return connection >= 0 ? connection : uv_translate_sys_error(errno);
}

/* The memory becomes a stream. */
static int open_stream(neap__accept *self, int fd) {
  neap__stream *stream = self->memory;
  int code = neap__stream_init(stream, self->op.task.loop, self->server->type, -1);
  if (code) return code;
  self->memory = NULL;
  self->stream = stream;
  if (self->server->type == UV_NAMED_PIPE) return uv_pipe_open(&self->stream->uv.pipe, fd);
  code = uv_tcp_open(&self->stream->uv.tcp, fd);
  if (!code) uv_tcp_nodelay(&self->stream->uv.tcp, 1); /* as at the end that connects */
  return code;
}

static int begin_filter(const neap__accept *self) {
  neap__filter_maker *maker = self->server->maker;
  return maker ? maker->attach(maker, self->stream) : 0;
}

/* False: there is no connection now. */
static bool try_accept(neap__accept *self) {
  int fd = take_connection(self->server->fd);
  if (fd == UV_EAGAIN) return false;
  int code = fd < 0 ? fd : open_stream(self, fd);
  if (code && fd >= 0) close(fd);
  if (!code) code = begin_filter(self);
  if (code) neap__op_fail(&self->op, "accept", code);
  end_accept(self, code);
  return true;
}

/* ---- The server ----------------------------------------------------------------------------- */

static void stop_polling(neap__server *server) {
  if (server->is_polling) uv_poll_stop(&server->stream.uv.poll);
  server->is_polling = false;
}

/* An error is that of one accept only: if it lasts, each one gets it in its turn. */
static void on_poll(uv_poll_t *handle, int status, int events) {
  neap__server *server = of_stream(handle->data);
  neap__accept *self;
  (void)status, (void)events; /* accept tells more */
  server->stream.refs++;
  while (!server->stream.is_closing && (self = first_acceptor(server)) && try_accept(self))
    ;
  if (neap__list_is_empty(&server->acceptors) && !server->stream.is_closing) stop_polling(server);
  neap__stream_unref(&server->stream);
}

static int start_polling(neap__server *server) {
  if (server->is_polling) return 0;
  int code = uv_poll_start(&server->stream.uv.poll, UV_READABLE, on_poll);
  server->is_polling = code == 0;
  return code;
}

static void on_closing(neap__stream *stream) {
  neap__server *server = of_stream(stream);
  for (neap__accept *self; (self = first_acceptor(server));) end_accept(self, NEAP_ECLOSED);
  stop_polling(server);
  if (server->path) unlink(server->path);
  close(server->fd);
}

static void release_server(neap__stream *stream) {
  neap__server *server = of_stream(stream);
  neap__memory_free(&stream->loop->memory, server->path);
  if (server->maker) server->maker->unref(server->maker);
}

int neap__server_new(neap_loop *loop, int fd, uv_handle_type type, neap__server **result) {
  neap__stream *stream;
  int code = neap__stream_new(loop, UV_POLL, fd, sizeof(neap__server), &stream);
  if (code) return code;
  neap__server *server = of_stream(stream);
  neap__list_init(&server->acceptors);
  stream->closing = on_closing;
  stream->release = release_server;
  server->type = type;
  server->fd = fd;
  *result = server;
  return 0;
}

/* ---- Life of an accept ------------------------------------------------------------------------ */

static int wait_for_connection(neap__accept *self) {
  int code = start_polling(self->server);
  if (code) return code;
  neap__op_enter(&self->op, &self->link, &self->server->acceptors);
  return 0;
}

static int start_accept(neap__op *op) {
  neap__accept *self = of_op(op);
  neap__server *server = self->server;
  if (server->stream.is_closing) {
    end_accept(self, NEAP_ECLOSED);
    return 0;
  }
  self->memory = neap__memory_new(&op->task.loop->memory, sizeof(neap__stream));
  if (!self->memory) return UV_ENOMEM;
  bool is_first = neap__list_is_empty(&server->acceptors);
  return is_first && try_accept(self) ? 0 : wait_for_connection(self);
}

static void abort_accept(neap__op *op) {
  neap__op_leave(&of_op(op)->link);
}

static void release_accept(neap__op *op) {
  neap__accept *self = of_op(op);
  discard_stream(self);
  neap__memory_free(&op->task.loop->memory, self->memory);
  if (self->server) neap__stream_unref(&self->server->stream);
}

const neap__op_kind neap__accept_kind = {.task = NEAP__OP_TASK("accept"),
                                         .size = sizeof(neap__accept),
                                         .start = start_accept,
                                         .abort = abort_accept,
                                         .release = release_accept};
