/* What C tests of streams share: operations on them, and a connection with both of its ends. */
#ifndef NEAP_TEST_WIRE_H
#define NEAP_TEST_WIRE_H

#include "support.h"

#include "ops/connect.h"
#include "ops/listen.h"
#include "ops/stream.h"

static inline neap_task *start(neap__op *op) {
  neap__op_start(op);
  return &op->task;
}

static inline neap_task *start_listen(neap_loop *loop, int port) {
  neap__listen *self = (neap__listen *)neap__op_new(loop, &neap__listen_kind);
  self->endpoint.host = neap__memory_copy(&loop->memory, "127.0.0.1");
  self->endpoint.port = port;
  self->backlog = 16;
  return start(&self->op);
}

static inline neap_task *start_connect(neap_loop *loop, int port) {
  neap__connect *self = (neap__connect *)neap__op_new(loop, &neap__connect_kind);
  self->endpoint.host = neap__memory_copy(&loop->memory, "127.0.0.1");
  self->endpoint.port = port;
  return start(&self->op);
}

static inline neap_task *start_accept(neap__server *server) {
  neap__accept *self = (neap__accept *)neap__op_new(server->stream.loop, &neap__accept_kind);
  self->server = server;
  server->stream.refs++;
  return start(&self->op);
}

static inline neap__read *start_read(neap__stream *stream, size_t size) {
  neap__read *self = (neap__read *)neap__op_new(stream->loop, &neap__read_kind);
  self->reader = &stream->reader;
  self->size = size;
  stream->refs++;
  start(&self->op);
  return self;
}

static inline neap__write *start_write_of(neap__stream *stream, const char *data, size_t size) {
  neap__write *self = (neap__write *)neap__op_new(stream->loop, &neap__write_kind);
  CHECK(neap__write_reserve(self, 1));
  self->stream = stream;
  self->buffers[self->count++] = (uv_buf_t){(char *)(uintptr_t)data, size};
  self->size = size;
  stream->refs++;
  start(&self->op);
  return self;
}

/* The bytes are its own as soon as it has started. */
static inline neap__write *start_write(neap__stream *stream, size_t size) {
  char *data = calloc(1, size);
  neap__write *self = start_write_of(stream, data, size);
  memset(data, 'x', size);
  free(data);
  return self;
}

static inline neap_task *start_shutdown(neap__stream *stream) {
  neap__write *self = (neap__write *)neap__op_new(stream->loop, &neap__shutdown_kind);
  self->stream = stream;
  stream->refs++;
  return start(&self->op);
}

static inline neap_task *start_closing(neap__stream *stream) {
  neap__closing *self = (neap__closing *)neap__op_new(stream->loop, &neap__closing_kind);
  self->stream = stream;
  stream->refs++;
  return start(&self->op);
}

static inline neap_status finish(neap_task *task) {
  CHECK(neap_loop_run(task->loop, task) == 0);
  return end_status(task);
}

static inline void finish_well(neap_task *task) {
  CHECK(neap_loop_run(task->loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_DONE);
}

/* A loop with a server and one connection, both ends of it. */
typedef struct wire {
  bench bench;
  neap_loop *loop;
  neap__server *server;
  neap__stream *client, *peer;
} wire;

static inline int port_of(const neap__server *server) {
  neap__address address;
  CHECK(neap__stream_address(&server->stream, false, &address) == 0);
  CHECK(strcmp(address.host, "127.0.0.1") == 0);
  return address.port;
}

static inline void open_wire(wire *self) {
  self->loop = bench_open_on(&self->bench, NULL, false);
  neap_task *listening = start_listen(self->loop, 0);
  finish_well(listening);
  self->server = neap__listen_take((neap__listen *)listening);
  neap_task *accepting = start_accept(self->server);
  neap_task *connecting = start_connect(self->loop, port_of(self->server));
  finish_well(connecting);
  finish_well(accepting);
  self->client = neap__connect_take((neap__connect *)connecting);
  self->peer = neap__accept_take((neap__accept *)accepting);
  neap_task_unref(listening);
  neap_task_unref(connecting);
  neap_task_unref(accepting);
}

static inline void unref_wire(wire *self) {
  neap__stream_unref(self->client);
  neap__stream_unref(self->peer);
  neap__stream_unref(&self->server->stream);
}

/* With streams open: the loop closes them. */
static inline void close_wire(wire *self) {
  unref_wire(self);
  bench_close(&self->bench);
}

#endif
