#include "http_server.h"

#include <math.h>
#include <string.h>

enum {
  MAX_AHEAD = 16 * 1024,    /* bytes that may wait behind a request before reading rests */
  MAX_OUT = 64 * 1024,      /* of responses that are gathered before they are sent */
  MAX_KEPT = 4096,          /* of memory for them that an idle connection keeps */
  MAX_DISCARD = 256 * 1024, /* of a body that nobody reads, before closing is cheaper */
  LINGER_SECONDS = 2
};

static neap__http_conn *of_op(neap__op *op) {
  return (neap__http_conn *)op;
}

static neap_loop *loop_of(const neap__http_conn *self) {
  return self->op.task.loop;
}

/* ---- What connections share ------------------------------------------------------------------- */

neap__http_server *neap__http_server_new(neap_loop *loop, neap__http_hooks hooks, void *data) {
  neap__http_server *self = neap__memory_new(&loop->memory, sizeof *self);
  if (!self) return NULL;
  self->loop = loop;
  self->hooks = hooks;
  self->data = data;
  self->refs = 1;
  self->max_head = self->max_body = SIZE_MAX;
  self->head_timeout = self->idle_timeout = HUGE_VAL;
  neap__list_init(&self->conns);
  neap__http_init_settings(&self->settings);
  neap__loop_anchor(loop);
  return self;
}

static void free_spares(neap__http_server *self) {
  neap__memory *memory = &self->loop->memory;
  for (neap__http_exchange *spare; (spare = self->spares);) {
    self->spares = spare->next;
    neap__bytes_free(&spare->head, memory);
    neap__bytes_free(&spare->lines, memory);
    neap__memory_free(memory, spare->fields);
    neap__memory_free(memory, spare);
  }
}

void neap__http_server_unref(neap__http_server *self) {
  neap_loop *loop = self->loop;
  if (--self->refs > 0) return;
  free_spares(self);
  if (self->hooks.release) self->hooks.release(self->data);
  neap__memory_free(&loop->memory, self);
  neap__loop_unanchor(loop);
}

static bool is_idle(const neap__http_conn *self) {
  return !self->exchange && self->phase == NEAP__HTTP_IDLE;
}

void neap__http_server_stop(neap__http_server *self) {
  self->is_stopping = true;
  for (neap__list *link = self->conns.next; link != &self->conns; link = link->next) {
    neap__http_conn *conn = NEAP__CONTAINER(link, neap__http_conn, link);
    if (!is_idle(conn)) continue;
    conn->closes = true;
    neap__http_queue(conn);
  }
}

/* ---- Time ------------------------------------------------------------------------------------ */

static void arm(neap__http_conn *self) {
  if (neap__loop_arm(loop_of(self), &self->timer, self->deadline)) neap__http_hang_up(self);
}

/* The timer may be armed for an earlier time: it is moved when it fires, so that a request costs no more
 * than a look at the clock. */
static void set_timeout(neap__http_conn *self, double seconds) {
  if (self->phase == NEAP__HTTP_OVER) return;
  self->deadline = seconds < HUGE_VAL ? neap__loop_now(loop_of(self)) + seconds : HUGE_VAL;
  if (self->deadline == HUGE_VAL) return;
  bool is_armed = neap__timer_is_armed(&self->timer);
  if (is_armed && self->timer.deadline <= self->deadline) return;
  if (is_armed) neap__timer_disarm(&loop_of(self)->timers, &self->timer);
  arm(self);
}

static neap__write *writer_of(const neap__http_conn *self) {
  if (self->flushing) return self->flushing;
  const neap__http_exchange *exchange = self->exchange;
  bool is_writing = exchange && exchange->is_writing &&
                    exchange->written_wait.target->kind == &neap__write_kind.task;
  return is_writing ? (neap__write *)exchange->written_wait.target : NULL;
}

/* What the client has not taken within the time is lost. */
static bool has_moved(neap__http_conn *self) {
  const neap__write *writer = writer_of(self);
  if (!writer || writer->sent == self->flushed_before) return false;
  self->flushed_before = writer->sent;
  set_timeout(self, self->server->idle_timeout);
  return true;
}

static bool awaits_body(const neap__http_conn *self) {
  return self->phase == NEAP__HTTP_BODY && self->exchange && self->exchange->body.waiting;
}

static void on_timeout(neap__timer *timer) {
  neap__http_conn *self = NEAP__CONTAINER(timer, neap__http_conn, timer);
  if (self->deadline == HUGE_VAL) return;
  if (self->deadline > neap__loop_now(loop_of(self)))
    arm(self);
  else if (writer_of(self)) {
    if (!has_moved(self)) neap__http_hang_up(self);
  } else if (self->phase == NEAP__HTTP_HEAD || awaits_body(self))
    neap__http_refuse(self, 408);
  else if (self->exchange)
    self->deadline = HUGE_VAL; /* its handler is at work */
  else
    neap__http_hang_up(self);
}

void neap__http_watch(neap__http_conn *self) {
  set_timeout(self, self->server->idle_timeout);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void forget_flush(neap__http_conn *self) {
  neap__write *write = self->flushing;
  if (!write) return;
  self->flushing = NULL;
  neap__wait_withdraw(&self->flushed);
  neap_task_unref(&write->op.task);
}

static void on_flushed(neap__wait *wait) {
  neap__http_conn *self = NEAP__CONTAINER(wait, neap__http_conn, flushed);
  bool is_done = neap_task_status(wait->target) == NEAP_DONE;
  forget_flush(self);
  set_timeout(self, self->exchange ? HUGE_VAL : self->server->idle_timeout);
  if (is_done)
    neap__http_queue(self);
  else
    neap__http_hang_up(self);
}

/* Not below the task that runs now, with which it would be cancelled. */
static void start_apart(neap__op *op) {
  neap_loop *loop = op->task.loop;
  neap__routine *current = loop->current;
  loop->current = NULL;
  neap__op_start(op);
  loop->current = current;
}

static neap__write *new_write(neap__http_conn *self, uv_buf_t *buffers, unsigned count) {
  neap__write *write = (neap__write *)neap__op_new(loop_of(self), &neap__write_kind);
  if (!write) return NULL;
  write->stream = self->stream;
  self->stream->refs++;
  neap__write_reserve(write, count); /* a few need no memory */
  for (unsigned i = 0; i < count; i++) {
    write->size += buffers[i].len;
    if (buffers[i].len > 0) write->buffers[write->count++] = buffers[i];
  }
  return write;
}

/* What the socket does not take at once. */
static void send_later(neap__http_conn *self, uv_buf_t *buffers, unsigned count) {
  neap__write *write = new_write(self, buffers, count);
  if (write) start_apart(&write->op);
  self->out.length = 0;
  self->flushing = write;
  self->flushed_before = 0;
  bool is_pending = write && neap_task_status(&write->op.task) == NEAP_PENDING;
  if (is_pending) {
    neap__wait_start(&self->flushed, &write->op.task, on_flushed);
    set_timeout(self, self->server->idle_timeout);
    return;
  }
  bool is_done = write && neap_task_status(&write->op.task) == NEAP_DONE;
  forget_flush(self);
  if (!is_done) neap__http_hang_up(self);
}

static void skip(uv_buf_t *buffers, size_t n) {
  for (; n > 0; buffers++) {
    size_t part = n < buffers->len ? n : buffers->len;
    buffers->base += part;
    buffers->len -= part;
    n -= part;
  }
}

static void trim(neap__http_conn *self) {
  if (self->out.capacity > MAX_KEPT) neap__bytes_free(&self->out, &loop_of(self)->memory);
}

void neap__http_send(neap__http_conn *self, const char *bytes, size_t n) {
  if (self->phase == NEAP__HTTP_OVER) return;
  if (self->flushing) {
    bool is_kept = neap__bytes_add(&self->out, &loop_of(self)->memory, bytes, n);
    if (!is_kept) neap__http_hang_up(self);
    return;
  }
  uv_buf_t buffers[] = {uv_buf_init(self->out.data, (unsigned)self->out.length),
                        uv_buf_init((char *)(uintptr_t)bytes, (unsigned)n)};
  bool has_out = self->out.length > 0;
  uv_buf_t *first = has_out ? buffers : buffers + 1;
  unsigned count = has_out && n > 0 ? 2 : 1;
  int sent = neap__stream_try_write(self->stream, first, count);
  if (sent < 0 && sent != UV_EAGAIN) {
    neap__http_hang_up(self);
    return;
  }
  if (sent < 0) sent = 0;
  if ((size_t)sent < self->out.length + n) {
    skip(first, (size_t)sent);
    send_later(self, first, count);
  }
  self->out.length = 0;
  trim(self);
}

static void flush(neap__http_conn *self) {
  if (self->out.length > 0 && !self->flushing) neap__http_send(self, NULL, 0);
}

/* ---- The end --------------------------------------------------------------------------------- */

static void drop_exchange(neap__http_conn *self) {
  neap__http_exchange *exchange = self->exchange;
  self->exchange = NULL;
  if (!exchange) return;
  neap__reader_close(&exchange->body);
  neap__http_exchange_unref(exchange);
}

/* Everything has ended; may free it. */
static void leave(neap__http_conn *self) {
  if (!self->op.is_native) return;
  neap__list_unlink(&self->link);
  neap__list_unlink(&self->resource.link);
  neap__op_settle(&self->op, 0);
  neap__op_release_native(&self->op);
}

/* A handler for whom nobody waits any more. One that has answered does what is left to do. */
static void cancel_handler(neap__http_exchange *exchange) {
  bool is_running = exchange->is_started && !exchange->is_ended && exchange->task;
  if (is_running && exchange->answer != NEAP__HTTP_DONE) neap_task_cancel(exchange->task);
}

void neap__http_hang_up(neap__http_conn *self) {
  if (self->phase == NEAP__HTTP_OVER) return;
  self->phase = NEAP__HTTP_OVER;
  if (!self->is_upgraded) neap__reader_detach(&self->stream->reader);
  neap__timer_disarm(&loop_of(self)->timers, &self->timer);
  forget_flush(self);
  neap__bytes_free(&self->out, &loop_of(self)->memory);
  neap__stream_close(self->stream);
  if (self->exchange) {
    neap__http_fail_body(self, UV_ECONNRESET);
    cancel_handler(self->exchange);
  }
  neap__http_queue(self);
}

void neap__http_hand_over(neap__http_conn *self) {
  self->is_upgraded = true;
  self->deadline = HUGE_VAL;
  self->phase = NEAP__HTTP_WAIT;
  neap__reader_detach(&self->stream->reader);
}

/* The loop closes, and what was queued is not run any more. */
static void close_resource(neap__resource *resource) {
  neap__http_conn *self = NEAP__CONTAINER(resource, neap__http_conn, resource);
  neap_task_ref(&self->op.task);
  neap__list_unlink(&resource->link);
  neap__http_hang_up(self);
  drop_exchange(self);
  leave(self);
  neap_task_unref(&self->op.task);
}

/* The other direction is left open for a while: closing with bytes unread would reset the connection, and
 * the client might never see the response. */
static void linger(neap__http_conn *self) {
  self->phase = NEAP__HTTP_LINGER;
  self->closes = false;
  neap__write *end = (neap__write *)neap__op_new(loop_of(self), &neap__shutdown_kind);
  if (!end) {
    neap__http_hang_up(self);
    return;
  }
  end->stream = self->stream;
  self->stream->refs++;
  start_apart(&end->op);
  neap_task_unref(&end->op.task);
  set_timeout(self, LINGER_SECONDS);
  neap__reader_offer(&self->stream->reader);
}

static void end_connection(neap__http_conn *self) {
  bool is_clean = self->phase == NEAP__HTTP_IDLE && !neap__reader_buffered(&self->stream->reader);
  if (self->has_ended || is_clean)
    neap__http_hang_up(self);
  else
    linger(self);
}

/* ---- Serving --------------------------------------------------------------------------------- */

static bool is_long(const neap__http_conn *self) {
  bool is_told = self->parser.flags & F_CONTENT_LENGTH;
  return is_told && self->parser.content_length > MAX_DISCARD;
}

/* The handler has left a part of the body: a short one is read to its end. */
static void leave_body(neap__http_conn *self, const neap__http_exchange *exchange) {
  self->discards = true;
  self->discarded = 0;
  if (exchange->wants_continue || is_long(self)) self->closes = true;
  if (self->closes)
    self->phase = NEAP__HTTP_LINGER;
  else
    set_timeout(self, self->server->idle_timeout);
}

static void end_exchange(neap__http_conn *self) {
  neap__http_exchange *exchange = self->exchange;
  if (exchange->closes || exchange->is_broken || self->server->is_stopping) self->closes = true;
  if (exchange->is_broken || self->is_upgraded) neap__http_hang_up(self);
  if (self->phase == NEAP__HTTP_BODY) leave_body(self, exchange);
  if (self->phase == NEAP__HTTP_WAIT) {
    self->phase = NEAP__HTTP_IDLE;
    if (!self->closes) set_timeout(self, self->server->idle_timeout);
  }
  drop_exchange(self);
}

static void start_exchange(neap__http_conn *self, neap__http_exchange *exchange) {
  exchange->is_started = true;
  self->deadline = HUGE_VAL;
  self->server->hooks.start(self->server->data, exchange);
}

/* One more step with the exchange at hand; false: there is none, or it has to wait. */
static bool serve_exchange(neap__http_conn *self) {
  neap__http_exchange *exchange = self->exchange;
  if (!exchange) return false;
  if (exchange->is_ready && !exchange->is_started && self->phase != NEAP__HTTP_OVER)
    start_exchange(self, exchange);
  bool is_over = exchange->is_ended || !exchange->is_started;
  if (self->phase == NEAP__HTTP_OVER ? !is_over : !exchange->is_ended || exchange->is_writing)
    return false;
  if (exchange->task) self->server->hooks.ended(self->server->data, exchange);
  end_exchange(self);
  return true;
}

static bool may_parse(const neap__http_conn *self) {
  bool is_waiting = self->flushing || self->closes || self->out.length > MAX_OUT;
  return !is_waiting && self->phase != NEAP__HTTP_OVER;
}

static bool serve_one(neap__http_conn *self) {
  if (self->exchange && (self->exchange->is_ready || self->phase == NEAP__HTTP_OVER))
    return serve_exchange(self);
  if (!may_parse(self)) return false;
  neap__reader_offer(&self->stream->reader);
  return self->exchange && self->exchange->is_ready;
}

/* The client has ended its direction, and its handler is at work: one that answers on the spot may do so,
 * wherever the end of the client was seen. */
static bool is_deserted(const neap__http_conn *self) {
  const neap__http_exchange *exchange = self->exchange;
  bool is_deaf = self->has_ended && self->phase == NEAP__HTTP_WAIT && !self->server->ignores_hangup;
  return is_deaf && exchange && exchange->is_started;
}

static void leave_deserted(neap__http_conn *self) {
  if (is_deserted(self) && !self->exchange->is_ended) neap__http_hang_up(self);
}

/* Answers what has come, and sends the answers together. */
static void serve(neap__http_conn *self) {
  do {
    while (serve_one(self))
      ;
    flush(self);
    leave_deserted(self);
  } while (!self->exchange && may_parse(self) && self->phase == NEAP__HTTP_IDLE &&
           neap__reader_buffered(&self->stream->reader) > 0 && !self->flushing);
  if (self->exchange) return;
  if (self->phase == NEAP__HTTP_OVER)
    leave(self);
  else if (self->closes && !self->flushing)
    end_connection(self);
}

static bool wants_input(const neap__http_conn *self) {
  return self->phase != NEAP__HTTP_OVER && self->phase != NEAP__HTTP_BODY;
}

/* It was ended after it had been looked at. */
static bool is_left_over(const neap__http_conn *self) {
  const neap__http_exchange *exchange = self->exchange;
  bool is_over = !exchange || exchange->is_ended || !exchange->is_started;
  return self->op.is_native && self->phase == NEAP__HTTP_OVER && is_over;
}

static void run(neap__runnable *runnable) {
  neap__http_conn *self = NEAP__CONTAINER(runnable, neap__http_conn, runnable);
  self->is_queued = false;
  self->is_running = true;
  neap_task_ref(&self->op.task);
  serve(self);
  if (self->op.is_native && wants_input(self) && neap__reader_flow(&self->stream->reader))
    neap__http_hang_up(self);
  self->is_running = false;
  if (is_left_over(self)) neap__http_queue(self);
  neap_task_unref(&self->op.task);
}

void neap__http_queue(neap__http_conn *self) {
  if (self->is_queued || self->is_running || loop_of(self)->is_closing) return;
  self->is_queued = true;
  neap__loop_ready(loop_of(self), &self->runnable);
}

void neap__http_end(neap__http_exchange *self) {
  self->is_ended = true;
  neap__http_queue(self->conn);
}

/* ---- What arrives ------------------------------------------------------------------------------ */

static bool takes_body(const neap__http_conn *self) {
  if (!self->exchange) return self->discards;
  const neap__reader *body = &self->exchange->body;
  return body->waiting || neap__reader_buffered(body) < NEAP__BLOCK_SIZE;
}

static bool takes_more(const neap__http_conn *self) {
  switch (self->phase) {
  case NEAP__HTTP_IDLE: return !self->exchange && !self->flushing && !self->closes;
  case NEAP__HTTP_HEAD: return true;
  case NEAP__HTTP_BODY: return takes_body(self);
  default: return false;
  }
}

static size_t take(neap__reader *reader, const char *bytes, size_t n) {
  neap__http_conn *self = reader->sink_data;
  size_t used = 0;
  while (used < n && takes_more(self)) used += neap__http_parse(self, bytes + used, n - used);
  if (self->phase == NEAP__HTTP_LINGER || self->phase == NEAP__HTTP_OVER) return n;
  if (n - used > MAX_AHEAD) neap__reader_rest(reader);
  if (self->phase == NEAP__HTTP_HEAD && self->deadline == HUGE_VAL)
    set_timeout(self, self->server->head_timeout);
  if (self->phase == NEAP__HTTP_BODY && self->deadline < HUGE_VAL)
    set_timeout(self, self->server->idle_timeout);
  if (self->discards && self->discarded > MAX_DISCARD) {
    self->closes = true;
    self->phase = NEAP__HTTP_LINGER;
    neap__http_queue(self);
  }
  return used;
}

int neap__http_want(neap__http_conn *self) {
  neap__http_exchange *exchange = self->exchange;
  size_t before = neap__reader_buffered(&exchange->body);
  if (self->phase != NEAP__HTTP_BODY) return 0;
  if (exchange->wants_continue) {
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    exchange->wants_continue = false;
    if (exchange->answer == NEAP__HTTP_OPEN) neap__http_send(self, line, sizeof line - 1);
  }
  set_timeout(self, self->server->idle_timeout);
  neap__reader_offer(&self->stream->reader);
  if (!exchange->body.waiting || neap__reader_buffered(&exchange->body) > before) return 1;
  return self->phase == NEAP__HTTP_BODY ? neap__reader_flow(&self->stream->reader) : 0;
}

/* The client sends no more. */
static void ended(neap__reader *reader, int code) {
  neap__http_conn *self = reader->sink_data;
  self->has_ended = true;
  switch (self->phase) {
  case NEAP__HTTP_HEAD:
    if (code == UV_EOF)
      neap__http_refuse(self, 400);
    else
      neap__http_hang_up(self);
    break;
  case NEAP__HTTP_IDLE:
    self->closes = true;
    if (code != UV_EOF || !(self->flushing || self->out.length > 0)) neap__http_hang_up(self);
    break;
  case NEAP__HTTP_WAIT:
    self->closes = true;
    if (code != UV_EOF || is_deserted(self)) neap__http_hang_up(self);
    break;
  default: neap__http_hang_up(self);
  }
}

static const neap__sink sink = {take, ended};

/* ---- Life of a connection ----------------------------------------------------------------------- */

static void prepare(neap__http_conn *self) {
  neap_loop *loop = loop_of(self);
  self->routine = loop->current;
  self->runnable.run = run;
  self->timer.fire = on_timeout;
  self->deadline = HUGE_VAL;
  self->resource.close = close_resource;
  self->resource.is_standing = true;
  neap__list_init(&self->resource.link);
  neap__list_append(&loop->resources, &self->resource.link);
  neap__list_init(&self->flushed.link);
  neap__list_init(&self->link);
  neap__list_append(&self->server->conns, &self->link);
  llhttp_init(&self->parser, HTTP_REQUEST, &self->server->settings);
  self->parser.data = self;
}

static int start(neap__op *op) {
  neap__http_conn *self = of_op(op);
  int code = neap__reader_attach(&self->stream->reader, &sink, self);
  if (code) return code;
  prepare(self);
  neap__op_acquire_native(op, false);
  if (self->server->is_stopping) self->closes = true;
  set_timeout(self, self->server->head_timeout);
  neap__http_queue(self); /* asks for input; what is there is offered */
  return 0;
}

static void abort_conn(neap__op *op) {
  neap__http_hang_up(of_op(op));
}

static void release(neap__op *op) {
  neap__http_conn *self = of_op(op);
  neap__bytes_free(&self->out, &op->task.loop->memory);
  if (self->stream) neap__stream_unref(self->stream);
  if (self->server) neap__http_server_unref(self->server);
}

const neap__op_kind neap__http_conn_kind = {.task = NEAP__OP_TASK("http.serve"),
                                            .size = sizeof(neap__http_conn),
                                            .start = start,
                                            .abort = abort_conn,
                                            .release = release};
