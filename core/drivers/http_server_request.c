/* Requests: what llhttp finds, kept for the handler; and what is refused. */
#include "http_server.h"

#include <math.h>
#include <string.h>
#include <strings.h>

enum {
  MAX_SPARES = 512,        /* exchanges whose memory is kept */
  MAX_SPARE_HEAD = 8192,   /* ... and the most bytes of a head among them */
  MAX_FRAMING = 16 * 1024, /* bytes of a chunked body that are not content: extensions, trailers */
  CHUNK_FRAMING = 64       /* ... and for each chunk */
};

static neap__http_conn *of_parser(llhttp_t *parser) {
  return parser->data;
}

static neap__memory *memory_of(const neap__http_conn *self) {
  return &self->op.task.loop->memory;
}

/* ---- Exchanges ------------------------------------------------------------------------------- */

static neap__http_exchange *of_reader(neap__reader *reader) {
  return NEAP__CONTAINER(reader, neap__http_exchange, body);
}

static int pull(neap__reader *reader, size_t wanted, const char **syscall) {
  neap__http_exchange *self = of_reader(reader);
  (void)wanted;
  *syscall = "read";
  return self->conn ? neap__http_want(self->conn) : 0;
}

static void unref_body(neap__reader *reader) {
  neap__http_exchange_unref(of_reader(reader));
}

static const neap__source source = {.pull = pull, .unref = unref_body};

static neap__http_exchange *take_spare(neap__http_server *server) {
  neap__http_exchange *self = server->spares;
  if (!self) return neap__memory_new(&server->loop->memory, sizeof *self);
  neap__bytes head = self->head, lines = self->lines;
  neap__http_field *fields = self->fields;
  size_t capacity = self->capacity;
  server->spares = self->next;
  server->spare_count--;
  memset(self, 0, sizeof *self);
  self->head = head;
  self->lines = lines;
  self->fields = fields;
  self->capacity = capacity;
  self->head.length = self->lines.length = 0;
  return self;
}

neap__http_exchange *neap__http_exchange_take(neap__http_conn *conn) {
  neap__http_exchange *self = take_spare(conn->server);
  if (!self) return NULL;
  self->conn = conn;
  self->refs = 1;
  self->length = -1;
  neap__reader_init(&self->body, conn->op.task.loop, &source);
  neap_task_ref(&conn->op.task);
  return self;
}

static bool is_worth_keeping(const neap__http_server *server, const neap__http_exchange *self) {
  return server->spare_count < MAX_SPARES && self->head.capacity <= MAX_SPARE_HEAD &&
         self->lines.capacity <= MAX_SPARE_HEAD && !server->loop->is_closing;
}

void neap__http_exchange_unref(neap__http_exchange *self) {
  neap__http_conn *conn = self->conn;
  neap__http_server *server = conn->server;
  neap__memory *memory = memory_of(conn);
  if (--self->refs > 0) return;
  if (self->is_writing) neap__wait_withdraw(&self->written_wait);
  if (self->body.buffer) neap__reader_clear(&self->body);
  if (is_worth_keeping(server, self)) {
    self->next = server->spares;
    server->spares = self;
    server->spare_count++;
  } else {
    neap__bytes_free(&self->head, memory);
    neap__bytes_free(&self->lines, memory);
    neap__memory_free(memory, self->fields);
    neap__memory_free(memory, self);
  }
  neap_task_unref(&conn->op.task);
}

/* ---- Its fields ------------------------------------------------------------------------------ */

bool neap__http_is_name(const char *a, size_t length, const char *b) {
  return strncasecmp(a, b, length) == 0 && b[length] == '\0';
}

const neap__http_field *neap__http_find(const neap__http_exchange *self, const char *name,
                                        size_t length, size_t n) {
  for (size_t i = 0; i < self->count; i++) {
    const neap__http_field *field = &self->fields[i];
    if (field->name_length != length) continue;
    if (strncasecmp(neap__http_text(self, field->name), name, length) == 0 && n-- == 0)
      return field;
  }
  return NULL;
}

static const neap__http_field *find(const neap__http_exchange *self, const char *name, size_t n) {
  return neap__http_find(self, name, strlen(name), n);
}

static bool is_value(const neap__http_exchange *self, const neap__http_field *field,
                     const char *value) {
  return neap__http_is_name(neap__http_text(self, field->value), field->value_length, value);
}

/* ---- What the parser tells --------------------------------------------------------------------- */

enum { STOP = -1 };

static int refuse_later(neap__http_conn *self, int status) {
  self->refusal = status;
  return STOP;
}

static int keep(llhttp_t *parser, const char *at, size_t n) {
  neap__http_conn *self = of_parser(parser);
  bool is_kept = neap__bytes_add(&self->exchange->head, memory_of(self), at, n);
  return is_kept ? 0 : refuse_later(self, 503);
}

static int on_url(llhttp_t *parser, const char *at, size_t n) {
  return keep(parser, at, n);
}

static int on_url_complete(llhttp_t *parser) {
  neap__http_exchange *exchange = of_parser(parser)->exchange;
  exchange->target = exchange->head.length;
  return 0;
}

static bool has_room(neap__http_conn *self, neap__http_exchange *exchange) {
  if (exchange->count < exchange->capacity) return true;
  size_t capacity = exchange->capacity ? exchange->capacity * 2 : 16;
  neap__http_field *fields =
      neap__memory_resize(memory_of(self), exchange->fields, capacity * sizeof *exchange->fields);
  if (!fields) return false;
  exchange->fields = fields;
  exchange->capacity = capacity;
  fields[exchange->count].name_length = 0;
  return true;
}

/* The fields behind a chunked body are nobody's. */
static bool is_trailer(const neap__http_conn *self) {
  return self->phase != NEAP__HTTP_HEAD;
}

static int on_field(llhttp_t *parser, const char *at, size_t n) {
  neap__http_conn *self = of_parser(parser);
  if (is_trailer(self)) return 0;
  neap__http_exchange *exchange = self->exchange;
  if (!has_room(self, exchange)) return refuse_later(self, 503);
  neap__http_field *field = &exchange->fields[exchange->count];
  if (field->name_length == 0) field->name = (uint32_t)exchange->head.length;
  field->name_length += (uint32_t)n;
  return keep(parser, at, n);
}

static int on_field_complete(llhttp_t *parser) {
  neap__http_conn *self = of_parser(parser);
  if (is_trailer(self)) return 0;
  neap__http_field *field = &self->exchange->fields[self->exchange->count];
  field->value = (uint32_t)self->exchange->head.length;
  field->value_length = 0;
  return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t n) {
  return is_trailer(of_parser(parser)) ? 0 : keep(parser, at, n);
}

static int on_value_complete(llhttp_t *parser) {
  neap__http_conn *self = of_parser(parser);
  if (is_trailer(self)) return 0;
  neap__http_exchange *exchange = self->exchange;
  neap__http_field *field = &exchange->fields[exchange->count++];
  if (field->name_length == 0) return refuse_later(self, 400);
  const char *text = neap__http_text(exchange, field->value);
  size_t length = exchange->head.length - field->value;
  while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t')) length--;
  field->value_length = (uint32_t)length;
  if (!has_room(self, exchange)) return refuse_later(self, 503);
  exchange->fields[exchange->count].name_length = 0;
  return 0;
}

/* With a body the parser is stopped, so that the place where the head ends is known. */
static int on_headers_complete(llhttp_t *parser) {
  neap__http_conn *self = of_parser(parser);
  neap__http_exchange *exchange = self->exchange;
  exchange->method = parser->method;
  exchange->minor = parser->http_minor;
  exchange->keeps_alive = llhttp_should_keep_alive(parser);
  exchange->closes = !exchange->keeps_alive;
  exchange->has_body = (parser->flags & F_CHUNKED) || parser->content_length > 0;
  parser->upgrade = 0; /* it is HTTP that goes on, until a handler wants something else */
  self->was_paused = exchange->has_body;
  return exchange->has_body ? HPE_PAUSED : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t n) {
  neap__http_conn *self = of_parser(parser);
  self->body_bytes += n;
  if (!self->exchange) {
    self->discarded += n;
    return 0;
  }
  if (self->body_bytes > self->server->max_body) return refuse_later(self, 413);
  return neap__reader_feed(&self->exchange->body, at, n) ? 0 : refuse_later(self, 503);
}

static int on_chunk_header(llhttp_t *parser) {
  of_parser(parser)->max_framing += CHUNK_FRAMING;
  return 0;
}

static int on_message_complete(llhttp_t *parser) {
  of_parser(parser)->was_paused = true;
  return HPE_PAUSED;
}

void neap__http_init_settings(llhttp_settings_t *settings) {
  llhttp_settings_init(settings);
  settings->on_url = on_url;
  settings->on_url_complete = on_url_complete;
  settings->on_header_field = on_field;
  settings->on_header_field_complete = on_field_complete;
  settings->on_header_value = on_value;
  settings->on_header_value_complete = on_value_complete;
  settings->on_headers_complete = on_headers_complete;
  settings->on_body = on_body;
  settings->on_chunk_header = on_chunk_header;
  settings->on_message_complete = on_message_complete;
}

/* ---- What is refused --------------------------------------------------------------------------- */

/* Whether lines end with CR LF, and only there, and no line goes on in the next one: what others may read
 * in another way. */
static bool has_clear_lines(neap__http_conn *self, const char *bytes, size_t n) {
  const char *end = bytes + n;
  char last = self->last;
  if (n == 0) return true;
  self->last = end[-1];
  for (const char *at = bytes;; at++) {
    bool is_fold = last == '\n' && (*at == ' ' || *at == '\t');
    if ((last == '\r') != (*at == '\n') || is_fold) return false;
    const char *line = memchr(at, '\n', (size_t)(end - at));
    const char *stop = line ? line : end;
    const char *cr = memchr(at, '\r', (size_t)(stop - at));
    if (cr ? cr + 1 != stop : line && line > at) return false;
    if (!line || line + 1 == end) return true;
    last = '\n';
    at = line;
  }
}

static int status_of_encoding(const neap__http_exchange *exchange) {
  const neap__http_field *field = find(exchange, "transfer-encoding", 0);
  if (!field) return 0;
  if (exchange->minor == 0) return 400;
  return is_value(exchange, field, "chunked") ? 0 : 501;
}

static int status_of_host(const neap__http_exchange *exchange) {
  if (exchange->minor == 0) return 0;
  return find(exchange, "host", 0) && !find(exchange, "host", 1) ? 0 : 400;
}

static int status_of_expectation(neap__http_exchange *exchange) {
  const neap__http_field *field = find(exchange, "expect", 0);
  if (!field || exchange->minor == 0) return 0;
  exchange->wants_continue = exchange->has_body && is_value(exchange, field, "100-continue");
  return is_value(exchange, field, "100-continue") ? 0 : 417;
}

static int status_of_target(const neap__http_exchange *exchange) {
  const char *target = exchange->head.data;
  if (exchange->target == 0) return 400;
  if (*target == '/') return 0;
  if (exchange->target == 1 && *target == '*') return exchange->method == HTTP_OPTIONS ? 0 : 400;
  bool is_absolute = exchange->target > 7 && (strncasecmp(target, "http://", 7) == 0 ||
                                              strncasecmp(target, "https://", 8) == 0);
  return is_absolute ? 0 : 400;
}

/* 0: it is a request to be answered. */
static int status_of_head(neap__http_conn *self, neap__http_exchange *exchange) {
  const llhttp_t *parser = &self->parser;
  if (parser->http_major != 1) return 505;
  if (exchange->method == HTTP_CONNECT) return 501;
  int status = status_of_target(exchange);
  if (!status) status = status_of_host(exchange);
  if (!status) status = status_of_encoding(exchange);
  if (!status && (parser->flags & F_CONTENT_LENGTH) &&
      parser->content_length > self->server->max_body)
    status = 413;
  return status ? status : status_of_expectation(exchange);
}

/* A word that could be a method of somebody's. */
static bool is_foreign_method(const char *bytes, size_t n) {
  size_t length = 0;
  while (length < n && ((bytes[length] >= 'A' && bytes[length] <= 'Z') || bytes[length] == '-'))
    length++;
  return length > 0 && length < n && bytes[length] == ' ';
}

static int status_of_error(const neap__http_conn *self, int error, const char *bytes, size_t n) {
  switch (error) {
  case HPE_INVALID_VERSION:
  case HPE_PAUSED_H2_UPGRADE: return 505;
  case HPE_INVALID_METHOD: return self->head_bytes == 0 && is_foreign_method(bytes, n) ? 501 : 400;
  case HPE_INVALID_TRANSFER_ENCODING: return 400;
  default: return self->refusal ? self->refusal : 400;
  }
}

/* Where a head is longer than allowed: it does not end, or did so too late. */
static int status_of_length(const neap__http_conn *self) {
  if (self->head_bytes <= self->server->max_head) return 0;
  return self->exchange->target == 0 || self->exchange->target > self->server->max_head ? 414 : 431;
}

static int error_of_status(int status) {
  switch (status) {
  case 408: return UV_ETIMEDOUT;
  case 413: return NEAP_ETOOLARGE;
  case 503: return UV_ENOMEM;
  default: return UV_EPROTO;
  }
}

void neap__http_fail_body(neap__http_conn *self, int code) {
  neap__http_exchange *exchange = self->exchange;
  if (!exchange->body.code) neap__reader_ended(&exchange->body, "read", code);
}

/* A handler that is there hears of it when it reads. */
void neap__http_refuse(neap__http_conn *self, int status) {
  neap__http_exchange *exchange = self->exchange;
  self->closes = true;
  self->refusal = status;
  self->phase = NEAP__HTTP_LINGER;
  if (!exchange) {
    neap__http_queue(self);
    return;
  }
  exchange->closes = true;
  if (exchange->is_started) {
    neap__http_fail_body(self, error_of_status(status));
    return;
  }
  const char *reason = neap__http_reason(status);
  exchange->is_ready = exchange->is_started = exchange->is_ended = true;
  if (neap__http_respond(exchange, status, reason, strlen(reason)))
    neap__http_hang_up(self);
  else
    neap__http_queue(self);
}

/* ---- The flow of a request ---------------------------------------------------------------------- */

static void accept_head(neap__http_conn *self) {
  neap__http_exchange *exchange = self->exchange;
  int status = status_of_head(self, exchange);
  if (status) {
    neap__http_refuse(self, status);
    return;
  }
  self->phase = NEAP__HTTP_BODY;
  self->discards = false;
  self->framing = self->body_bytes = 0;
  self->max_framing = MAX_FRAMING;
  exchange->is_ready = true;
  neap__http_queue(self);
}

static void end_request(neap__http_conn *self) {
  if (self->exchange) {
    self->phase = NEAP__HTTP_WAIT;
    self->exchange->wants_continue = false;
    if (!self->exchange->body.code) neap__reader_ended(&self->exchange->body, "read", UV_EOF);
    return;
  }
  self->phase = NEAP__HTTP_IDLE;
  self->discards = false;
}

static bool begin_request(neap__http_conn *self) {
  self->exchange = neap__http_exchange_take(self);
  if (!self->exchange) {
    neap__http_hang_up(self);
    return false;
  }
  if (self->exchange->fields) self->exchange->fields->name_length = 0;
  self->phase = NEAP__HTTP_HEAD;
  self->head_bytes = 0;
  self->refusal = 0;
  self->last = '\n';
  self->deadline = HUGE_VAL;
  return true;
}

/* The head has been parsed up to `n`, and may have ended there. */
static void look_at_head(neap__http_conn *self, const char *bytes, size_t n) {
  self->head_bytes += n;
  int status = has_clear_lines(self, bytes, n) ? status_of_length(self) : 400;
  if (status)
    neap__http_refuse(self, status);
  else if (self->was_paused)
    accept_head(self);
}

static void look_at_body(neap__http_conn *self, size_t n, uint64_t before) {
  self->framing += n - (size_t)(self->body_bytes - before);
  if (self->framing > self->max_framing) neap__http_refuse(self, 400);
}

static void look(neap__http_conn *self, const char *bytes, size_t n, uint64_t before) {
  if (self->phase == NEAP__HTTP_HEAD) {
    look_at_head(self, bytes, n);
    bool has_body = self->exchange && self->exchange->has_body;
    if (self->phase == NEAP__HTTP_BODY && !has_body) end_request(self);
  } else {
    look_at_body(self, n, before);
    if (self->was_paused && self->phase == NEAP__HTTP_BODY) end_request(self);
  }
}

size_t neap__http_parse(neap__http_conn *self, const char *bytes, size_t n) {
  if (self->phase == NEAP__HTTP_IDLE && !begin_request(self)) return n;
  uint64_t before = self->body_bytes;
  self->was_paused = false;
  int error = llhttp_execute(&self->parser, bytes, n);
  if (error == HPE_PAUSED && self->was_paused) {
    n = (size_t)(llhttp_get_error_pos(&self->parser) - bytes);
    llhttp_resume(&self->parser);
    error = HPE_OK;
  }
  if (self->phase == NEAP__HTTP_OVER) return n;
  if (error)
    neap__http_refuse(self, status_of_error(self, error, bytes, n));
  else
    look(self, bytes, n, before);
  return n;
}
