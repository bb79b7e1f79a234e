#include "websocket.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
  MAX_AHEAD = 64 * 1024, /* bytes that may have arrived and are not received */
  MAX_AHEAD_COUNT = 256, /* ... and messages */
  FIRST_SIZE = 64 * 1024 /* of memory for a message whose end is not there */
};

static neap__memory *memory_of(const neap__websocket *self) {
  return &self->loop->memory;
}

static neap__websocket *ref(neap__websocket *self) {
  self->refs++;
  return self;
}

static neap__ws_op *of_op(neap__op *op) {
  return (neap__ws_op *)op;
}

/* ---- The end ---------------------------------------------------------------------------------- */

static void forget(neap__ws_last *last) {
  neap_task *task = last->task;
  if (!task) return;
  last->task = NULL;
  neap__wait_withdraw(&last->wait);
  neap_task_unref(task);
}

/* Not below the task that runs now, with which it would be cancelled. */
static void start_apart(neap__op *op) {
  neap_loop *loop = op->task.loop;
  neap__routine *current = loop->current;
  loop->current = NULL;
  neap__op_start(op);
  loop->current = current;
}

/* Calls `wake` when the operation, whose reference it takes, has ended: at once if it has. */
static void follow(neap__ws_last *last, neap__op *op, void (*wake)(neap__wait *wait)) {
  last->task = &op->task;
  if (neap_task_status(&op->task) == NEAP_PENDING) {
    neap__wait_start(&last->wait, &op->task, wake);
    return;
  }
  last->wait.target = &op->task;
  wake(&last->wait);
}

static void on_stream_ended(neap__wait *wait) {
  neap__websocket *self = NEAP__CONTAINER(wait, neap__websocket, ended.wait);
  forget(&self->ended);
  neap__op_end_all(&self->closers, 0);
  neap__websocket_unref(self);
}

/* Those who close wait until the stream has closed. */
static void await_stream(neap__websocket *self) {
  neap__closing *op = (neap__closing *)neap__op_new(self->loop, &neap__closing_kind);
  if (!op) {
    neap__op_end_all(&self->closers, 0);
    return;
  }
  op->stream = self->stream;
  self->stream->refs++;
  ref(self);
  start_apart(&op->op);
  follow(&self->ended, &op->op, on_stream_ended);
}

static void end_receiver(neap__websocket *self) {
  neap__op *op = self->receiver;
  if (!op) return;
  self->receiver = NULL;
  op->error = self->error;
  neap__op_settle(op, self->error.code);
  neap__op_release_native(op);
}

/* What has ended it, if nothing has so far. */
static void set_error(neap__websocket *self, int code, const char *message) {
  if (self->error.code || self->close_code || self->has_said_close || code == 0) return;
  self->error.code = code;
  self->error.message = message;
}

/* It ends now. */
static void end(neap__websocket *self, int code, const char *message) {
  if (self->is_over) return;
  set_error(self, code, message);
  self->is_over = true;
  neap__timer_disarm(&self->loop->timers, &self->timer);
  forget(&self->pong);
  forget(&self->close);
  neap__memory_free(memory_of(self), self->growing);
  self->growing = NULL;
  neap__reader_detach(&self->stream->reader);
  neap__stream_close(self->stream);
  end_receiver(self);
  neap__op_end_all(&self->pings, NEAP_ECLOSED);
  await_stream(self);
  neap__websocket_unref(self); /* that of being open */
}

/* Nobody can use it any more. */
static bool is_abandoned(const neap__websocket *self) {
  return self->is_dropped && self->refs == 1 && !neap__websocket_is_closing(self);
}

static void free_messages(neap__websocket *self) {
  while (!neap__list_is_empty(&self->arrived)) {
    neap__list *link = self->arrived.next;
    neap__list_unlink(link);
    neap__memory_free(memory_of(self), NEAP__CONTAINER(link, neap__ws_message, link));
  }
}

void neap__websocket_unref(neap__websocket *self) {
  self->refs--;
  if (is_abandoned(self)) {
    end(self, NEAP_ECLOSED, NULL);
    return;
  }
  if (self->refs > 0) return;
  neap_loop *loop = self->loop;
  free_messages(self);
  neap__stream_unref(self->stream);
  neap__memory_free(&loop->memory, self);
  neap__loop_unanchor(loop);
}

void neap__websocket_drop(neap__websocket *self) {
  self->is_dropped = true;
  neap__websocket_unref(self);
}

/* ---- Control frames ---------------------------------------------------------------------------- */

/* Masks are to be what nobody can foresee (section 5.3), so they come from the system. */
static int new_mask(neap__websocket *self, uint8_t mask[4]) {
  if (self->random_left < 4) {
    int code = uv_random(NULL, NULL, self->random, sizeof self->random, 0, NULL);
    if (code) return code;
    self->random_left = sizeof self->random;
  }
  self->random_left -= 4;
  memcpy(mask, self->random + self->random_left, 4);
  return 0;
}

/* Puts the head in front of n bytes at frame + NEAP__WS_HEAD, and masks them; gives where the frame begins. */
static char *complete_frame(char *frame, neap__ws_opcode opcode, size_t n, const uint8_t *mask,
                            size_t *size) {
  char head[NEAP__WS_HEAD];
  char *payload = frame + NEAP__WS_HEAD;
  size_t length = neap__ws_head(head, opcode, n, mask);
  if (mask) neap__ws_mask(payload, payload, n, mask, 0);
  memcpy(payload - length, head, length);
  *size = length + n;
  return payload - length;
}

static neap__write *new_write(neap__websocket *self) {
  neap__write *write = (neap__write *)neap__op_new(self->loop, &neap__write_kind);
  if (!write) return NULL;
  write->stream = self->stream;
  self->stream->refs++;
  neap__write_reserve(write, 1); /* one needs no memory */
  return write;
}

/* A control frame behind what is being sent; NULL when out of memory. The caller owns a reference. */
static neap__op *send_control(neap__websocket *self, neap__ws_opcode opcode, const char *text,
                              size_t n) {
  char frame[NEAP__WS_HEAD + NEAP__WS_CONTROL];
  uint8_t mask[4];
  bool is_masked = !self->options.is_server;
  if (is_masked && new_mask(self, mask)) return NULL;
  neap__write *write = new_write(self);
  if (!write) return NULL;
  if (n > 0) memcpy(frame + NEAP__WS_HEAD, text, n);
  char *begin = complete_frame(frame, opcode, n, is_masked ? mask : NULL, &write->size);
  write->buffers[write->count++] = uv_buf_init(begin, (unsigned)write->size);
  start_apart(&write->op);
  return &write->op;
}

static bool is_lost(const neap__wait *wait) {
  return neap_task_status(wait->target) != NEAP_DONE;
}

static int error_of(const neap__wait *wait) {
  const neap_error *error = neap_task_error(wait->target);
  return error && error->code ? error->code : NEAP_ECLOSED;
}

static void send_pong(neap__websocket *self);

static void on_pong_sent(neap__wait *wait) {
  neap__websocket *self = NEAP__CONTAINER(wait, neap__websocket, pong.wait);
  int code = is_lost(wait) ? error_of(wait) : 0;
  forget(&self->pong);
  if (code)
    end(self, code, NULL);
  else
    send_pong(self);
}

/* One at a time: a peer that sends pings and does not read gets an answer to the last one only (section 5.5.3),
 * and costs no memory. */
static void send_pong(neap__websocket *self) {
  if (!self->owes_pong || self->pong.task || neap__websocket_is_closing(self)) return;
  self->owes_pong = false;
  neap__op *op = send_control(self, NEAP__WS_PONG, self->pong_text, self->pong_size);
  if (op)
    follow(&self->pong, op, on_pong_sent);
  else
    end(self, UV_ENOMEM, NULL);
}

static void take_ping(neap__websocket *self) {
  self->pong_size = (uint8_t)self->parser.length;
  memcpy(self->pong_text, self->parser.control, self->pong_size);
  self->owes_pong = true;
  send_pong(self);
}

/* The number of a ping is its text. */
static void take_pong(neap__websocket *self) {
  uint64_t id;
  if (self->parser.length != sizeof id) return; /* nobody has asked for it */
  memcpy(&id, self->parser.control, sizeof id);
  for (neap__op *op; (op = neap__op_first(&self->pings)) && of_op(op)->id <= id;) {
    of_op(op)->since = neap__loop_now(self->loop) - of_op(op)->since;
    neap__op_end(&of_op(op)->link, 0);
  }
}

static neap__op *send_ping(neap__websocket *self, uint64_t id) {
  return send_control(self, NEAP__WS_PING, (const char *)&id, sizeof id);
}

/* ---- The closing handshake ---------------------------------------------------------------------- */

static void arm(neap__websocket *self, double deadline) {
  neap__timer_disarm(&self->loop->timers, &self->timer);
  if (deadline < HUGE_VAL && neap__loop_arm(self->loop, &self->timer, deadline))
    end(self, UV_ENOMEM, NULL);
}

static void shut_down(neap__websocket *self) {
  neap__write *write = (neap__write *)neap__op_new(self->loop, &neap__shutdown_kind);
  if (!write) {
    end(self, UV_ENOMEM, NULL);
    return;
  }
  write->stream = self->stream;
  self->stream->refs++;
  start_apart(&write->op);
  neap_task_unref(&write->op.task);
}

/* Both have said it, or need not. The server closes first (section 7.1.1); so the client, which waits for that, is
 * the one whose port rests in TIME_WAIT if the peer is in no hurry. */
static void go_on_closing(neap__websocket *self) {
  if (self->is_over || !self->close_is_out) return;
  if (self->is_hasty || (self->close_code && self->options.is_server))
    end(self, 0, NULL);
  else if (self->error_code)
    shut_down(self);
}

static void on_close_sent(neap__wait *wait) {
  neap__websocket *self = NEAP__CONTAINER(wait, neap__websocket, close.wait);
  bool has_failed = is_lost(wait);
  forget(&self->close);
  self->close_is_out = true;
  if (has_failed)
    end(self, 0, NULL);
  else
    go_on_closing(self);
}

static void resume(neap__websocket *self);

/* Says it; the rest has its time from now on. */
static void say_close(neap__websocket *self, int code, const char *reason, size_t n) {
  char text[NEAP__WS_CONTROL] = {(char)(uint8_t)(code >> 8), (char)(uint8_t)code};
  size_t size = code == NEAP__WS_NO_CODE ? 0 : 2 + n;
  self->has_said_close = true;
  if (size > 2) memcpy(text + 2, reason, n);
  neap__op *op = send_control(self, NEAP__WS_CLOSE, text, size);
  if (!op) {
    end(self, 0, NULL);
    return;
  }
  arm(self, neap__loop_now(self->loop) + self->options.close_timeout);
  if (self->is_over)
    neap_task_unref(&op->task);
  else
    follow(&self->close, op, on_close_sent);
}

void neap__websocket_close(neap__websocket *self, int code, const char *reason, size_t n,
                           bool is_hasty) {
  if (self->is_over) return;
  ref(self);
  self->is_hasty |= is_hasty;
  if (self->has_said_close)
    go_on_closing(self);
  else
    say_close(self, code, reason, n);
  resume(self); /* the peer's may be behind messages that nobody receives */
  neap__websocket_unref(self);
}

static void take_close(neap__websocket *self) {
  const neap__ws_parser *parser = &self->parser;
  self->close_code = parser->close_code;
  self->reason_size = (uint8_t)(parser->length > 2 ? parser->length - 2 : 0);
  memcpy(self->reason, parser->control + 2, self->reason_size);
  end_receiver(self);
  if (self->has_said_close)
    go_on_closing(self);
  else
    say_close(self, self->close_code, NULL, 0);
}

/* The peer has made a mistake, or we cannot go on: it is told why, and what it sends is not looked at. */
static void fail(neap__websocket *self, int close_code, int code, const char *message) {
  set_error(self, code, message);
  self->error_code = (uint16_t)close_code;
  end_receiver(self);
  if (self->has_said_close)
    go_on_closing(self);
  else
    say_close(self, close_code, message, message ? strlen(message) : 0);
}

/* ---- Messages that arrive ----------------------------------------------------------------------- */

/* What the parser knows of the message is no more than what the peer says: memory for it comes with it. */
static size_t capacity_for(const neap__websocket *self, size_t need) {
  const neap__ws_parser *parser = &self->parser;
  size_t known = (size_t)parser->size;
  size_t capacity = self->growing ? 2 * self->growing->capacity : FIRST_SIZE;
  if (capacity > known && (parser->is_final || capacity == FIRST_SIZE)) capacity = known;
  return capacity < need ? need : capacity;
}

static bool reserve(neap__websocket *self, size_t n) {
  neap__ws_message *message = self->growing;
  size_t size = message ? message->size : 0;
  if (message && message->capacity - size >= n) return true;
  size_t capacity = capacity_for(self, size + n);
  message = neap__memory_resize(memory_of(self), message, sizeof *message + capacity);
  if (!message) return false;
  message->size = size;
  message->capacity = capacity;
  self->growing = message;
  return true;
}

static int error_of_failure(int failure) {
  return failure == NEAP__WS_TOO_LARGE ? NEAP_ETOOLARGE : UV_EPROTO;
}

static void fail_as_parsed(neap__websocket *self) {
  fail(self, self->parser.failure, error_of_failure(self->parser.failure), self->parser.why);
}

static void take_part(neap__websocket *self) {
  size_t n = self->parser.part_size;
  if (self->has_said_close)
    neap__ws_take(&self->parser, NULL);
  else if (!reserve(self, n))
    fail(self, NEAP__WS_INTERNAL, UV_ENOMEM, NULL);
  else if (neap__ws_take(&self->parser, self->growing->data + self->growing->size))
    self->growing->size += n;
  else
    fail_as_parsed(self);
}

static void drop_growing(neap__websocket *self) {
  neap__memory_free(memory_of(self), self->growing);
  self->growing = NULL;
}

static void take_message(neap__websocket *self) {
  neap__op *op = self->receiver;
  if (self->has_said_close) {
    drop_growing(self);
    return;
  }
  if (!self->growing && !reserve(self, 0)) {
    fail(self, NEAP__WS_INTERNAL, UV_ENOMEM, NULL);
    return;
  }
  neap__ws_message *message = self->growing;
  self->growing = NULL;
  message->is_text = self->parser.kind == NEAP__WS_TEXT;
  if (op) {
    self->receiver = NULL;
    of_op(op)->message = message;
    neap__op_settle(op, 0);
    neap__op_release_native(op);
    return;
  }
  neap__list_append(&self->arrived, &message->link);
  self->arrived_count++;
  self->arrived_size += message->size;
}

static neap__ws_message *next_message(neap__websocket *self) {
  if (neap__list_is_empty(&self->arrived)) return NULL;
  neap__ws_message *message = NEAP__CONTAINER(self->arrived.next, neap__ws_message, link);
  neap__list_unlink(&message->link);
  self->arrived_count--;
  self->arrived_size -= message->size;
  return message;
}

/* ---- What arrives ------------------------------------------------------------------------------ */

static bool is_full(const neap__websocket *self) {
  bool has_much = self->arrived_size >= MAX_AHEAD || self->arrived_count >= MAX_AHEAD_COUNT;
  return has_much && !self->has_said_close;
}

static void see(neap__websocket *self, neap__ws_event event) {
  switch (event) {
  case NEAP__WS_PART: take_part(self); break;
  case NEAP__WS_MESSAGE: take_message(self); break;
  case NEAP__WS_GOT_PING: take_ping(self); break;
  case NEAP__WS_GOT_PONG: take_pong(self); break;
  case NEAP__WS_GOT_CLOSE: take_close(self); break;
  case NEAP__WS_FAILED: fail_as_parsed(self); break;
  default: break;
  }
}

/* Nothing that comes is of interest. */
static bool is_deaf(const neap__websocket *self) {
  return self->is_over || self->error_code || self->close_code;
}

static size_t parse(neap__websocket *self, const char *bytes, size_t n) {
  size_t at = 0, used;
  while (!is_deaf(self) && !is_full(self)) {
    neap__ws_event event = neap__ws_parse(&self->parser, bytes + at, n - at, &used);
    at += used;
    if (event == NEAP__WS_MORE) break;
    see(self, event);
  }
  return is_deaf(self) ? n : at;
}

static size_t take(neap__reader *reader, const char *bytes, size_t n) {
  neap__websocket *self = ref(reader->sink_data);
  self->heard = neap__loop_now(self->loop);
  self->is_probing = false;
  size_t used = parse(self, bytes, n);
  if (is_full(self) && !self->is_over) neap__reader_rest(reader);
  neap__websocket_unref(self);
  return used;
}

static void ended(neap__reader *reader, int code) {
  neap_error error = {.code = code};
  if (reader->source->explain) reader->source->explain(reader, &error);
  if (error.code == UV_EOF)
    end(reader->sink_data, UV_ECONNRESET, "the connection has ended without a closing handshake");
  else
    end(reader->sink_data, error.code, error.message);
}

static const neap__sink sink = {take, ended};

/* Takes what was left, and asks for more where there is room for it. */
static void resume(neap__websocket *self) {
  int code = 0;
  ref(self);
  do {
    if (!self->is_over && !is_full(self)) neap__reader_offer(&self->stream->reader);
    if (self->is_over || is_full(self)) break;
    code = neap__reader_flow(&self->stream->reader);
  } while (code > 0);
  if (code < 0) end(self, code, NULL);
  neap__websocket_unref(self);
}

/* ---- Time ------------------------------------------------------------------------------------- */

static void probe(neap__websocket *self, double now) {
  neap__op *op = send_ping(self, ++self->last_ping);
  if (!op) {
    end(self, UV_ENOMEM, NULL);
    return;
  }
  neap_task_unref(&op->task);
  self->is_probing = true;
  arm(self, now + self->options.ping_timeout);
}

/* All that comes is a sign of life, not just the answer. A peer that waits for us is not asked. */
static void keep_alive(neap__websocket *self) {
  double now = neap__loop_now(self->loop);
  if (is_full(self)) self->heard = now;
  bool is_quiet = now - self->heard >= self->options.ping;
  if (self->is_probing && !is_full(self))
    end(self, UV_ETIMEDOUT, "the peer has not answered a ping in time");
  else if (is_quiet)
    probe(self, now);
  else
    arm(self, self->heard + self->options.ping);
}

static void on_timeout(neap__timer *timer) {
  neap__websocket *self = NEAP__CONTAINER(timer, neap__websocket, timer);
  if (self->has_said_close)
    end(self, 0, NULL);
  else
    keep_alive(self);
}

/* ---- Life ------------------------------------------------------------------------------------- */

static void init(neap__websocket *self, neap__stream *stream, const neap__ws_options *options) {
  self->loop = stream->loop;
  self->stream = stream;
  stream->refs++;
  self->refs = 2;
  self->options = *options;
  self->parser.is_server = options->is_server;
  self->parser.max_message = options->max_message;
  self->timer.fire = on_timeout;
  self->heard = neap__loop_now(self->loop);
  neap__list_init(&self->arrived);
  neap__list_init(&self->pings);
  neap__list_init(&self->closers);
  neap__list_init(&self->pong.wait.link);
  neap__list_init(&self->close.wait.link);
  neap__list_init(&self->ended.wait.link);
  neap__loop_anchor(self->loop);
}

int neap__websocket_new(neap__stream *stream, const neap__ws_options *options,
                        neap__websocket **result) {
  neap_loop *loop = stream->loop;
  neap__websocket *self = neap__memory_new(&loop->memory, sizeof *self);
  *result = self;
  if (!self) return UV_ENOMEM;
  int code = neap__reader_attach(&stream->reader, &sink, self);
  if (code) {
    neap__memory_free(&loop->memory, self);
    *result = NULL;
    return code;
  }
  init(self, stream, options);
  if (options->ping < HUGE_VAL) arm(self, self->heard + options->ping);
  resume(self);
  return 0;
}

/* ---- Operations: receive, ping, close ------------------------------------------------------------ */

static bool has_ended(const neap__websocket *self) {
  return self->is_over || self->close_code || self->error_code;
}

static int start_receive(neap__op *op) {
  neap__websocket *ws = of_op(op)->ws;
  assert(!ws->receiver);
  neap__ws_message *message = next_message(ws);
  if (!message && !has_ended(ws)) {
    ws->receiver = op;
    neap__op_acquire_native(op, false);
    return 0;
  }
  of_op(op)->message = message;
  if (!message) op->error = ws->error;
  neap__op_settle(op, message ? 0 : ws->error.code);
  if (message) resume(ws);
  return 0;
}

static void abort_receive(neap__op *op) {
  of_op(op)->ws->receiver = NULL;
  neap__op_release_native(op);
}

static int start_ping(neap__op *op) {
  neap__ws_op *self = of_op(op);
  neap__websocket *ws = self->ws;
  if (neap__websocket_is_closing(ws)) return NEAP_ECLOSED;
  self->id = ++ws->last_ping;
  self->since = neap__loop_now(ws->loop);
  neap__op *write = send_ping(ws, self->id);
  if (!write) return UV_ENOMEM;
  neap_task_unref(&write->task);
  neap__op_enter(op, &self->link, &ws->pings);
  return 0;
}

static int start_close(neap__op *op) {
  neap__ws_op *self = of_op(op);
  const neap__websocket *ws = self->ws;
  assert(neap__websocket_is_closing(ws));
  if (ws->is_over && !ws->ended.task)
    neap__op_settle(op, 0);
  else
    neap__op_enter(op, &self->link, &self->ws->closers);
  return 0;
}

static void abort_ping(neap__op *op) {
  neap__op_leave(&of_op(op)->link);
}

static void abort_close(neap__op *op) {
  neap__websocket *ws = ref(of_op(op)->ws);
  neap__op_leave(&of_op(op)->link);
  end(ws, 0, NULL);
  neap__websocket_unref(ws);
}

static void release(neap__op *op) {
  neap__ws_op *self = of_op(op);
  neap__memory_free(&op->task.loop->memory, self->message);
  if (self->ws) neap__websocket_unref(self->ws);
}

#define WS_KIND(task_name, start_function, abort_function)                                         \
  {                                                                                                \
    .task = NEAP__OP_TASK(task_name), .size = sizeof(neap__ws_op), .start = (start_function),      \
    .abort = (abort_function), .release = release                                                  \
  }

const neap__op_kind neap__ws_receive_kind = WS_KIND("websocket:recv", start_receive, abort_receive);
const neap__op_kind neap__ws_ping_kind = WS_KIND("websocket:ping", start_ping, abort_ping);
const neap__op_kind neap__ws_close_kind = WS_KIND("websocket:close", start_close, abort_close);

/* ---- Operations: send --------------------------------------------------------------------------- */

static neap__ws_send *of_send(neap__op *op) {
  return (neap__ws_send *)(void *)op;
}

/* A part of the message has left, and the rest will not follow. */
static bool is_cut(const neap__ws_send *self) {
  return self->write.sent > 0 && self->write.sent < self->write.size;
}

static void put(neap__write *self, char *bytes, size_t n) {
  if (n == 0) return;
  uv_buf_t *buffer = &self->buffers[self->count++];
  buffer->base = bytes;
  buffer->len = n;
  self->size += n;
}

static int start_write(neap__ws_send *self) {
  neap__websocket *ws = self->ws;
  neap__write *write = &self->write;
  write->stream = ws->stream;
  write->stream->refs++;
  int code = neap__write_kind.start(&write->op);
  if (code && is_cut(self)) end(ws, code, NULL);
  return code;
}

/* A server sends the bytes as they are. */
static int send_plain(neap__ws_send *self) {
  char head[NEAP__WS_HEAD];
  neap__write *write = &self->write;
  write->buffers = write->few;
  put(write, head, neap__ws_head(head, self->opcode, self->size, NULL));
  put(write, (char *)(uintptr_t)self->data, self->size);
  return start_write(self);
}

/* A client needs a copy for its mask; what the socket does not take is copied from that. */
static int send_masked(neap__ws_send *self) {
  neap__memory *memory = memory_of(self->ws);
  neap__write *write = &self->write;
  uint8_t mask[4];
  size_t size;
  int code = new_mask(self->ws, mask);
  if (code) return neap__op_fail(&write->op, "getrandom", code);
  char *frame = neap__memory_resize(memory, NULL, NEAP__WS_HEAD + self->size);
  if (!frame) return UV_ENOMEM;
  if (self->size > 0) memcpy(frame + NEAP__WS_HEAD, self->data, self->size);
  char *begin = complete_frame(frame, self->opcode, self->size, mask, &size);
  write->buffers = write->few;
  put(write, begin, size);
  code = start_write(self);
  neap__memory_free(memory, frame);
  return code;
}

static int start_send(neap__op *op) {
  neap__ws_send *self = of_send(op);
  if (neap__websocket_is_closing(self->ws)) return NEAP_ECLOSED;
  return self->ws->options.is_server ? send_plain(self) : send_masked(self);
}

static void abort_send(neap__op *op) {
  neap__websocket *ws = ref(of_send(op)->ws);
  bool was_cut = is_cut(of_send(op));
  neap__write_kind.abort(op);
  if (was_cut) end(ws, NEAP_ECLOSED, "a message was cancelled while it was sent");
  neap__websocket_unref(ws);
}

static void release_send(neap__op *op) {
  neap__websocket *ws = of_send(op)->ws;
  neap__write_kind.release(op);
  if (ws) neap__websocket_unref(ws);
}

const neap__op_kind neap__ws_send_kind = {.task = NEAP__OP_TASK("websocket:send"),
                                          .size = sizeof(neap__ws_send),
                                          .start = start_send,
                                          .abort = abort_send,
                                          .release = release_send};
