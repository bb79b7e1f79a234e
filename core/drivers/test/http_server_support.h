/* A server on one end of a pair of sockets, for tests and fuzzers: its handlers answer on the spot, or
 * when they are told to. */
#ifndef NEAP_TEST_HTTP_SERVER_SUPPORT_H
#define NEAP_TEST_HTTP_SERVER_SUPPORT_H

#include "../http_server.h"

#include "loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct wire {
  neap_loop *loop;
  neap__http_server *server;
  neap__stream *stream;
  neap__http_conn *conn;
  neap__http_exchange *waiting; /* its handler is told to end by answer_waiting */
  int peer;
  bool waits; /* handlers do not answer on the spot */
  int requests;
} wire;

/* The target of the request is what is answered. */
static inline void answer(neap__http_exchange *exchange) {
  neap__http_respond(exchange, 200, exchange->head.data, exchange->target);
  neap__http_end(exchange);
}

static inline void start_handler(void *data, neap__http_exchange *exchange) {
  wire *self = data;
  self->requests++;
  self->waiting = exchange;
  if (self->waits) return;
  self->waiting = NULL;
  answer(exchange);
}

static inline void answer_waiting(wire *self) {
  neap__http_exchange *exchange = self->waiting;
  self->waiting = NULL;
  if (exchange) answer(exchange);
}

static const neap__http_hooks wire_hooks = {start_handler, NULL, NULL};

/* False when there was no memory: what there is of it is to be closed. */
static inline bool wire_open(wire *self, neap_loop *loop) {
  int fds[2];
  *self = (wire){.loop = loop, .peer = -1};
  self->server = neap__http_server_new(loop, wire_hooks, self);
  if (!self->server || socketpair(AF_UNIX, SOCK_STREAM, 0, fds)) return false;
  self->peer = fds[1];
  fcntl(fds[0], F_SETFL, O_NONBLOCK);
  fcntl(fds[1], F_SETFL, O_NONBLOCK);
  if (neap__stream_new(loop, UV_NAMED_PIPE, -1, sizeof(neap__stream), &self->stream) ||
      uv_pipe_open(&self->stream->uv.pipe, fds[0])) {
    close(fds[0]);
    return false;
  }
  self->conn = (neap__http_conn *)neap__op_new(loop, &neap__http_conn_kind);
  if (!self->conn) return false;
  self->conn->server = self->server;
  self->conn->stream = self->stream;
  self->server->refs++;
  self->stream->refs++;
  return true;
}

static inline void wire_start(wire *self) {
  neap__op_start(&self->conn->op);
}

/* The host's references; the loop closes what is open. */
static inline void wire_close(wire *self) {
  if (self->conn) neap_task_unref(&self->conn->op.task);
  if (self->stream) neap__stream_drop(self->stream);
  if (self->server) neap__http_server_unref(self->server);
  if (self->peer >= 0) close(self->peer);
}

/* A few steps: what was sent is served. A virtual clock stands still. */
static inline void wire_step(wire *self, int steps) {
  while (steps-- > 0) {
    neap__loop_turns(self->loop);
    uv_run(self->loop->uv, UV_RUN_NOWAIT);
  }
  neap__loop_turns(self->loop);
}

static inline void wire_send(wire *self, const char *bytes, size_t n) {
  while (n > 0) {
    ssize_t sent = send(self->peer, bytes, n, MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes += sent;
    n -= (size_t)sent;
  }
}

/* What has come back, as a string. */
static inline size_t wire_receive(wire *self, char *text, size_t size) {
  size_t n = 0;
  for (ssize_t got; n + 1 < size && (got = read(self->peer, text + n, size - 1 - n)) > 0;)
    n += (size_t)got;
  text[n] = '\0';
  return n;
}

#endif
