/* Responses: heads and chunks, as text. */
#include "http_server.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
  MAX_COPIED =
      16 *
      1024, /* of a body that is put behind its head; longer ones are sent from where they are */
  MAX_LINE = 160 /* of what the server adds to a head */
};

static neap__memory *memory_of(const neap__http_exchange *self) {
  return &self->conn->op.task.loop->memory;
}

/* ---- Statuses --------------------------------------------------------------------------------- */

/* clang-format off */
#define REASONS(X)                                                                                 \
  X(100, "Continue") X(101, "Switching Protocols") X(102, "Processing") X(103, "Early Hints")      \
  X(200, "OK") X(201, "Created") X(202, "Accepted") X(203, "Non-Authoritative Information")        \
  X(204, "No Content") X(205, "Reset Content") X(206, "Partial Content") X(207, "Multi-Status")    \
  X(208, "Already Reported") X(226, "IM Used")                                                     \
  X(300, "Multiple Choices") X(301, "Moved Permanently") X(302, "Found") X(303, "See Other")       \
  X(304, "Not Modified") X(305, "Use Proxy") X(307, "Temporary Redirect")                          \
  X(308, "Permanent Redirect")                                                                     \
  X(400, "Bad Request") X(401, "Unauthorized") X(402, "Payment Required") X(403, "Forbidden")      \
  X(404, "Not Found") X(405, "Method Not Allowed") X(406, "Not Acceptable")                        \
  X(407, "Proxy Authentication Required") X(408, "Request Timeout") X(409, "Conflict")             \
  X(410, "Gone") X(411, "Length Required") X(412, "Precondition Failed")                           \
  X(413, "Content Too Large") X(414, "URI Too Long") X(415, "Unsupported Media Type")              \
  X(416, "Range Not Satisfiable") X(417, "Expectation Failed") X(418, "I'm a teapot")              \
  X(421, "Misdirected Request") X(422, "Unprocessable Content") X(423, "Locked")                   \
  X(424, "Failed Dependency") X(425, "Too Early") X(426, "Upgrade Required")                       \
  X(428, "Precondition Required") X(429, "Too Many Requests")                                      \
  X(431, "Request Header Fields Too Large") X(451, "Unavailable For Legal Reasons")                \
  X(500, "Internal Server Error") X(501, "Not Implemented") X(502, "Bad Gateway")                  \
  X(503, "Service Unavailable") X(504, "Gateway Timeout") X(505, "HTTP Version Not Supported")     \
  X(506, "Variant Also Negotiates") X(507, "Insufficient Storage") X(508, "Loop Detected")         \
  X(510, "Not Extended") X(511, "Network Authentication Required")
/* clang-format on */

const char *neap__http_reason(int status) {
  switch (status) {
#define CASE(number, text)                                                                         \
  case number: return text;
    REASONS(CASE)
#undef CASE
  default: return "";
  }
}

bool neap__http_has_content(const neap__http_exchange *self, int status) {
  return self->method != HTTP_HEAD && status >= 200 && status != 204 && status != 304;
}

/* ---- Fields that the handler sets --------------------------------------------------------------- */

static bool is_token(const char *text, size_t n) {
  static const char others[] = "!#$%&'*+-.^_`|~";
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)text[i];
    bool is_letter = (c | 32) >= 'a' && (c | 32) <= 'z', is_digit = c >= '0' && c <= '9';
    if (!is_letter && !is_digit && (c == 0 || !strchr(others, c))) return false;
  }
  return n > 0;
}

static bool is_value(const char *text, size_t n) {
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)text[i];
    if ((c < 32 && c != '\t') || c == 127) return false;
  }
  return true;
}

/* The line of that name at or behind `place` in `lines`; its end is in *end. */
static bool find_line(const neap__bytes *lines, const char *name, size_t length, size_t *place,
                      size_t *end) {
  while (*place < lines->length) {
    const char *line = lines->data + *place;
    const char *stop = memchr(line, '\n', lines->length - *place);
    *end = (size_t)(stop - lines->data) + 1;
    if (line[length] == ':' && strncasecmp(line, name, length) == 0) return true;
    *place = *end;
  }
  return false;
}

void neap__http_drop_field(neap__http_exchange *self, const char *name, size_t length) {
  neap__bytes *lines = &self->lines;
  size_t place = 0, end;
  if (length >= lines->length) return;
  while (find_line(lines, name, length, &place, &end)) {
    memmove(lines->data + place, lines->data + end, lines->length - end);
    lines->length -= end - place;
  }
  if (neap__http_is_name(name, length, "content-type")) self->has_type = false;
  if (neap__http_is_name(name, length, "date")) self->has_date = false;
  if (neap__http_is_name(name, length, "content-length")) self->length = -1;
}

const char *neap__http_get_field(const neap__http_exchange *self, const char *name, size_t length,
                                 size_t *size) {
  size_t place = 0, end;
  if (length >= self->lines.length || !find_line(&self->lines, name, length, &place, &end))
    return NULL;
  *size = end - place - length - 4; /* ": " and the end of the line */
  return self->lines.data + place + length + 2;
}

/* Not more than 18 digits; false if it is anything else. */
static bool read_length(const char *text, size_t n, int64_t *length) {
  *length = 0;
  if (n == 0 || n > 18) return false;
  for (size_t i = 0; i < n; i++) {
    if (text[i] < '0' || text[i] > '9') return false;
    *length = *length * 10 + (text[i] - '0');
  }
  return true;
}

static int set_connection(neap__http_exchange *self, const char *value, size_t length) {
  if (!neap__http_is_name(value, length, "close")) return NEAP_EMISUSE;
  self->closes = true;
  return 0;
}

/* Fields that say how the message is cut: 1 is one that is kept like the others. */
static int set_framing(neap__http_exchange *self, const char *name, size_t n, const char *value,
                       size_t length) {
  if (neap__http_is_name(name, n, "content-length"))
    return read_length(value, length, &self->length) ? 0 : UV_EINVAL;
  if (neap__http_is_name(name, n, "connection")) return set_connection(self, value, length);
  bool is_ours = neap__http_is_name(name, n, "transfer-encoding") ||
                 neap__http_is_name(name, n, "keep-alive") ||
                 neap__http_is_name(name, n, "trailer");
  return is_ours ? NEAP_EMISUSE : 1;
}

int neap__http_set_field(neap__http_exchange *self, const char *name, size_t name_length,
                         const char *value, size_t value_length, bool replaces) {
  if (!is_token(name, name_length) || !is_value(value, value_length)) return UV_EINVAL;
  int code = set_framing(self, name, name_length, value, value_length);
  if (code <= 0) return code;
  if (!neap__bytes_reserve(&self->lines, memory_of(self), name_length + value_length + 4))
    return UV_ENOMEM;
  if (replaces) neap__http_drop_field(self, name, name_length);
  neap__bytes_put(&self->lines, name, name_length);
  neap__bytes_put(&self->lines, ": ", 2);
  neap__bytes_put(&self->lines, value, value_length);
  neap__bytes_put(&self->lines, "\r\n", 2);
  if (neap__http_is_name(name, name_length, "content-type")) self->has_type = true;
  if (neap__http_is_name(name, name_length, "date")) self->has_date = true;
  return 0;
}

/* ---- Heads ------------------------------------------------------------------------------------ */

#define PUT(bytes, text) neap__bytes_put((bytes), (text), sizeof(text) - 1)

static void put_number(neap__bytes *out, uint64_t number) {
  char digits[20];
  size_t n = sizeof digits;
  do {
    digits[--n] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  neap__bytes_put(out, digits + n, sizeof digits - n);
}

static void put_status(neap__bytes *out, int status) {
  if (status == 200) {
    PUT(out, "HTTP/1.1 200 OK\r\n");
    return;
  }
  const char *reason = neap__http_reason(status);
  PUT(out, "HTTP/1.1 ");
  put_number(out, (uint64_t)status);
  PUT(out, " ");
  neap__bytes_put(out, reason, strlen(reason));
  PUT(out, "\r\n");
}

static void put_date(neap__bytes *out, neap__http_server *server) {
  time_t now = time(NULL);
  if (now != server->dated || !server->date[0]) {
    neap__http_format_date(now, server->date);
    server->dated = now;
  }
  PUT(out, "Date: ");
  neap__bytes_put(out, server->date, 29);
  PUT(out, "\r\n");
}

/* An HTTP/1.0 client that asked for it has to be told. */
static void put_connection(neap__bytes *out, neap__http_exchange *self) {
  const neap__http_conn *conn = self->conn;
  if (conn->closes || conn->server->is_stopping || conn->has_ended) self->closes = true;
  if (self->closes)
    PUT(out, "Connection: close\r\n");
  else if (self->minor == 0)
    PUT(out, "Connection: keep-alive\r\n");
}

static void put_framing(neap__bytes *out, neap__http_exchange *self, int64_t length) {
  if (self->status < 200 || self->status == 204) return;
  if (self->is_chunked)
    PUT(out, "Transfer-Encoding: chunked\r\n");
  else if (length >= 0 && (length > 0 || self->status != 304)) {
    PUT(out, "Content-Length: ");
    put_number(out, (uint64_t)length);
    PUT(out, "\r\n");
  }
}

/* `n`: of bytes that come behind it and need room too. */
static int put_head(neap__http_exchange *self, int64_t length, size_t n) {
  neap__bytes *out = &self->conn->out;
  if (!neap__bytes_reserve(out, memory_of(self), self->lines.length + MAX_LINE * 2 + n))
    return UV_ENOMEM;
  put_status(out, self->status);
  if (!self->has_date) put_date(out, self->conn->server);
  if (!self->has_type && length > 0) PUT(out, "Content-Type: text/plain; charset=utf-8\r\n");
  put_connection(out, self);
  put_framing(out, self, length);
  neap__bytes_put(out, self->lines.data, self->lines.length);
  PUT(out, "\r\n");
  return 0;
}

int neap__http_respond(neap__http_exchange *self, int status, const char *body, size_t n) {
  bool has_content = neap__http_has_content(self, status);
  size_t copied = has_content && n <= MAX_COPIED ? n : 0;
  self->status = status;
  int64_t length = n == 0 && self->length >= 0 && !has_content ? self->length : (int64_t)n;
  int code = put_head(self, length, copied);
  if (code) return code;
  neap__bytes_put(&self->conn->out, body, copied);
  self->answer = NEAP__HTTP_DONE;
  if (has_content && copied < n) neap__http_send(self->conn, body, n);
  neap__http_queue(self->conn);
  return 0;
}

/* ---- A body piece by piece ---------------------------------------------------------------------- */

int neap__http_begin(neap__http_exchange *self) {
  if (self->status == 0) self->status = 200;
  bool has_content = neap__http_has_content(self, self->status);
  self->is_chunked = has_content && self->length < 0 && self->minor > 0;
  if (has_content && self->length < 0 && self->minor == 0) self->closes = true; /* that ends it */
  int code = put_head(self, self->length, 0);
  if (!code) self->answer = NEAP__HTTP_STREAMING;
  return code;
}

const char *neap__http_chunk(neap__http_exchange *self, size_t n) {
  char size[24];
  if (!self->is_chunked) return "";
  int length = snprintf(size, sizeof size, "%zx\r\n", n);
  bool is_put = neap__bytes_add(&self->conn->out, memory_of(self), size, (size_t)length);
  return is_put ? "\r\n" : NULL;
}

int neap__http_finish(neap__http_exchange *self) {
  bool has_content = neap__http_has_content(self, self->status);
  if (has_content && self->length >= 0 && self->written != self->length) {
    self->is_broken = true;
    return UV_EINVAL;
  }
  static const char end[] = "0\r\n\r\n";
  if (self->is_chunked &&
      !neap__bytes_add(&self->conn->out, memory_of(self), end, sizeof end - 1)) {
    self->is_broken = true;
    return UV_ENOMEM;
  }
  self->answer = NEAP__HTTP_DONE;
  neap__http_queue(self->conn);
  return 0;
}

/* The kernel cannot do it with this file or socket, and has done nothing. */
static bool is_unable(const neap__http_sendfile *file) {
  int code = file->job.op.error.code;
  return file->sent == 0 && (code == UV_EINVAL || code == UV_ENOSYS || code == UV_ENOTSUP);
}

/* What was not sent whole breaks the response; where the system says so the client is to blame. */
static void look_at_write(neap__http_exchange *self, const neap_task *task) {
  bool is_file = task->kind == &neap__http_sendfile_kind.task;
  const neap__http_sendfile *file =
      is_file ? (const neap__http_sendfile *)(const void *)task : NULL;
  if (file) self->written += file->sent;
  if (neap_task_status(task) == NEAP_DONE) return;
  if (file && neap_task_status(task) == NEAP_FAILED && is_unable(file)) return;
  self->is_broken = true;
  int code = ((const neap__op *)(const void *)task)->error.code;
  self->has_lost = code == UV_EPIPE || code == UV_ECONNRESET || code == NEAP_ECLOSED;
}

static void on_written(neap__wait *wait) {
  neap__http_exchange *self = NEAP__CONTAINER(wait, neap__http_exchange, written_wait);
  neap__http_conn *conn = self->conn;
  self->is_writing = false;
  look_at_write(self, wait->target);
  if (conn->exchange == self && conn->phase == NEAP__HTTP_WAIT) conn->deadline = HUGE_VAL;
  neap__http_queue(conn);
}

void neap__http_follow_write(neap__http_exchange *self, neap__op *op) {
  self->is_writing = true;
  self->conn->flushed_before = 0;
  neap__wait_start(&self->written_wait, &op->task, on_written);
  neap__http_watch(self->conn);
}

int neap__http_upgrade(neap__http_exchange *self, const char *head, size_t length) {
  neap__http_conn *conn = self->conn;
  if (!neap__bytes_add(&conn->out, memory_of(self), head, length)) return UV_ENOMEM;
  self->answer = NEAP__HTTP_DONE;
  neap__http_send(conn, NULL, 0);
  if (conn->phase == NEAP__HTTP_OVER) return NEAP_ECLOSED;
  neap__http_hand_over(conn);
  return 0;
}
