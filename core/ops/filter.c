#include "filter.h"

#include <assert.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum {
  SMALL_PIECE = 16 * 1024 /* pieces of a write are put together up to this size */
};

static const double patience =
    5; /* seconds, of a close whose last word has no room in the socket */

static neap__filter *of_handle(const uv_handle_t *handle) {
  return ((neap__stream *)handle->data)->filter;
}

static neap__stream *ref(neap__stream *stream) {
  stream->refs++;
  return stream;
}

/* ---- Portions -------------------------------------------------------------------------------- */

static size_t left(const neap__portion *portion) {
  return portion->end - portion->start;
}

static void clear(neap__filter *self, neap__portion *portion) {
  if (portion->block) neap__block_give(self->stream->loop, portion->block, portion->capacity);
  *portion = (neap__portion){0};
}

/* Room for n bytes more. */
static bool reserve(neap__filter *self, neap__portion *portion, size_t n) {
  neap_loop *loop = self->stream->loop;
  if (portion->capacity - portion->end >= n) return true;
  if (!portion->block && n <= NEAP__BLOCK_SIZE) {
    portion->block = neap__block_take(loop);
    portion->capacity = portion->block ? NEAP__BLOCK_SIZE : 0;
    return portion->block != NULL;
  }
  size_t capacity = portion->capacity ? portion->capacity : NEAP__BLOCK_SIZE;
  while (capacity - portion->end < n) capacity *= 2;
  char *block = neap__memory_resize(&loop->memory, portion->block, capacity);
  if (!block) return false;
  portion->block = block;
  portion->capacity = capacity;
  return true;
}

size_t neap__filter_get(neap__filter *self, char *place, size_t n) {
  neap__portion *input = &self->input;
  if (n > left(input)) n = left(input);
  if (n) memcpy(place, input->block + input->start, n);
  input->start += n;
  return n;
}

bool neap__filter_put(neap__filter *self, const char *bytes, size_t n) {
  neap__portion *output = &self->output;
  if (self->write_code) return true; /* nobody gets it */
  if (!reserve(self, output, n)) return false;
  memcpy(output->block + output->end, bytes, n);
  output->end += n;
  return true;
}

/* ---- Output ----------------------------------------------------------------------------------- */

static void end_lingering(neap__filter *self);
static void pump(neap__filter *self);
static void resume_reading(neap__filter *self);

/* The socket takes no more. */
static void refuse_output(neap__filter *self, int code) {
  self->write_code = code;
  clear(self, &self->output);
}

static void on_flushed(uv_write_t *request, int status) {
  neap__filter *self = NEAP__CONTAINER(request, neap__filter, request);
  neap__stream *stream = self->stream;
  clear(self, &self->flight);
  if (self->is_lingering) end_lingering(self);
  if (stream->is_closing) return;
  if (status) refuse_output(self, status);
  ref(stream);
  pump(self);
  if (!stream->is_closing) resume_reading(self);
  neap__stream_unref(stream);
}

/* libuv sends the rest; meanwhile there may be more output. */
static int launch(neap__filter *self) {
  neap__portion *flight = &self->flight;
  *flight = self->output;
  self->output = (neap__portion){0};
  uv_buf_t buffer = uv_buf_init(flight->block + flight->start, (unsigned)left(flight));
  int code = uv_write(&self->request, &self->stream->uv.stream, &buffer, 1, on_flushed);
  if (code) clear(self, flight);
  return code;
}

static int send_output(neap__filter *self) {
  neap__portion *output = &self->output;
  while (left(output)) {
    uv_buf_t buffer = uv_buf_init(output->block + output->start, (unsigned)left(output));
    int n = uv_try_write(&self->stream->uv.stream, &buffer, 1);
    if (n < 0) return n;
    output->start += (size_t)n;
  }
  clear(self, output);
  return 0;
}

/* Sends the output; true when all of it has gone. */
static bool flush(neap__filter *self) {
  if (self->write_code || self->flight.block) return false;
  int code = send_output(self);
  if (code == UV_EAGAIN) code = launch(self);
  if (code) refuse_output(self, code);
  return !code && !self->flight.block;
}

/* Its own output first, then what is written. */
static void pump(neap__filter *self) {
  flush(self);
  neap__stream_pump(self->stream);
}

/* ---- Input ------------------------------------------------------------------------------------ */

/* As much as there is: what comes at a time is small, and a read wants much. */
static size_t fill(neap__filter *self, char *place, size_t size, ssize_t *last) {
  size_t n = 0;
  do {
    *last = self->kind->read(self, place + n, size - n);
    if (*last > 0) n += (size_t)*last;
  } while (*last > 0 && n < size);
  return n;
}

/* Fills the space that the reader gives. Positive: there may be more. */
static ssize_t read_once(neap__filter *self) {
  neap__reader *reader = &self->stream->reader;
  neap_loop *loop = self->stream->loop;
  bool needs_block = neap__reader_needs_block(reader);
  char *block = needs_block ? neap__block_take(loop) : NULL;
  size_t size = 0;
  char *place = block || !needs_block ? neap__reader_space(reader, block, &size) : NULL;
  if (!place) return UV_ENOMEM;
  ssize_t last;
  size_t n = fill(self, place, size, &last);
  bool is_kept = n > 0 && neap__reader_arrived(reader, place, n, NEAP__BLOCK_SIZE);
  if (block && !is_kept) neap__block_give(loop, block, NEAP__BLOCK_SIZE);
  return last;
}

void neap__filter_explain(const neap__filter *self, neap_error *error) {
  if (self->error.code)
    *error = self->error;
  else if (self->cut.code)
    *error = self->cut;
}

/* Nothing more comes to the reader. */
static void end_input(neap__filter *self, int code) {
  neap__stream *stream = self->stream;
  neap__stream_rest(stream);
  clear(self, &self->input);
  neap__reader_ended(&stream->reader, "read", code);
}

static void fail(neap__filter *self, const char *syscall, int code) {
  if (self->error.code) return;
  self->error = (neap_error){.code = code, .syscall = syscall};
}

/* Memory was short: what has arrived is kept for the next read, but a handshake has nobody who would try
 * again. */
static void run_short(neap__filter *self) {
  if (self->is_ready) {
    neap__reader_failed(&self->stream->reader, "read", UV_ENOMEM);
    return;
  }
  fail(self, "handshake", UV_ENOMEM);
  end_input(self, UV_ENOMEM);
}

/* What has arrived goes to the reader. */
static void drain(neap__filter *self) {
  neap__stream *stream = self->stream;
  ssize_t code = 1;
  while (code > 0 && !stream->is_closing && !stream->reader.code) code = read_once(self);
  if (stream->is_closing) return;
  if (code == UV_ENOMEM && !self->error.code)
    run_short(self);
  else if (code < 0)
    end_input(self, (int)code);
  if (!left(&self->input)) clear(self, &self->input);
}

static int explain(const neap__filter *self, neap__op *op) {
  const char *address = op->error.address;
  op->error = self->error;
  if (address) op->error.address = address;
  return self->error.code;
}

static void tell_waiting(neap__filter *self) {
  if (!self->is_ready && !self->error.code) return;
  for (neap__op *op; (op = neap__op_first(&self->waiting));) {
    if (self->error.code) explain(self, op);
    neap__op_end(NEAP__CONTAINER(self->waiting.next, neap__op_link, list), self->error.code);
  }
}

/* What follows from more input, or from the beginning. */
static void advance(neap__filter *self) {
  neap__stream *stream = ref(self->stream);
  drain(self);
  if (!stream->is_closing) tell_waiting(self);
  if (!stream->is_closing) pump(self);
  bool is_useless = self->is_private && !self->is_ready && self->error.code;
  if (is_useless) neap__stream_close(stream);
  if (!stream->is_closing) resume_reading(self);
  neap__stream_unref(stream);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  neap__stream *stream = handle->data;
  (void)suggested;
  *buffer = uv_buf_init(NULL, 0);
  if (neap__stream_skips(stream)) return;
  char *block = neap__block_take(stream->loop);
  if (block) *buffer = uv_buf_init(block, NEAP__BLOCK_SIZE);
}

/* The socket has ended, or fails. */
static void end_socket(neap__filter *self, int code) {
  if (code == UV_EOF)
    code = self->kind->cut(self);
  else if (!self->is_ready)
    fail(self, "handshake", code);
  end_input(self, code);
  advance(self);
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buffer) {
  neap__filter *self = of_handle((uv_handle_t *)handle);
  neap__stream *stream = self->stream;
  if (n == UV_ENOBUFS && stream->skips) return;
  neap__portion arrived = {buffer->base, 0, n > 0 ? (size_t)n : 0, NEAP__BLOCK_SIZE};
  if (n > 0) {
    stream->loop->arrivals++;
    stream->was_served = stream->reader.waiting != NULL;
    self->input = arrived;
    advance(self);
    return;
  }
  clear(self, &arrived);
  if (n == UV_ENOBUFS) {
    neap__stream_rest(stream);
    run_short(self);
    advance(self);
  } else if (n < 0)
    end_socket(self, (int)n);
}

/* ---- When it reads ----------------------------------------------------------------------------- */

/* Nobody has to wait for what is there: a read is pending, or the peer has not said anything to read. So
 * what a filter has to know is known soon, also where only one side writes. A protocol says it itself. */
static bool wants_input(const neap__filter *self) {
  const neap__reader *reader = &self->stream->reader;
  if (reader->code || left(&self->input) || self->is_choked) return false;
  if (reader->sink) return !reader->rests;
  return reader->waiting || neap__reader_buffered(reader) == 0;
}

/* What nobody waits for does not keep the loop alive. */
static void set_weight(const neap__filter *self) {
  uv_handle_t *handle = &self->stream->uv.handle;
  const neap__reader *reader = &self->stream->reader;
  if (self->is_ready && !reader->waiting && !reader->sink)
    uv_unref(handle);
  else
    uv_ref(handle);
}

static int go_on_reading(neap__filter *self) {
  self->is_choked = left(&self->output) + left(&self->flight) > NEAP__FILTER_LIMIT;
  set_weight(self);
  if (wants_input(self)) return neap__stream_listen(self->stream, on_allocate, on_read);
  neap__stream_rest(self->stream);
  return 0;
}

static void resume_reading(neap__filter *self) {
  int code = go_on_reading(self);
  if (code) end_input(self, code);
}

int neap__filter_pull(neap__filter *self, const char **syscall) {
  neap__stream *stream = self->stream;
  *syscall = "read";
  if (!left(&self->input)) return go_on_reading(self);
  const neap__read *waiting = stream->reader.waiting;
  ref(stream);
  drain(self);
  if (!stream->is_closing) flush(self);
  bool is_served = stream->reader.waiting != waiting || !left(&self->input);
  neap__stream_unref(stream);
  return is_served ? 1 : 0;
}

/* ---- Writes ------------------------------------------------------------------------------------ */

/* Puts small pieces together, so that each does not become one of its own on the wire. */
static size_t gather(const neap__write *self, char *place) {
  size_t n = 0;
  for (unsigned i = 0; i < self->count && n < SMALL_PIECE; i++) {
    size_t rest = SMALL_PIECE - n, size = self->buffers[i].len;
    if (size > rest) size = rest;
    memcpy(place + n, self->buffers[i].base, size);
    n += size;
  }
  return n;
}

/* Makes output of the next bytes; how many they were, or an error. */
static ssize_t convert(neap__filter *filter, neap__write *self) {
  char place[SMALL_PIECE];
  const uv_buf_t *first = self->buffers;
  const char *bytes = first->base;
  size_t n = first->len < NEAP__FILTER_CHUNK ? first->len : NEAP__FILTER_CHUNK;
  if (n < SMALL_PIECE && self->count > 1) {
    n = gather(self, place);
    bytes = place;
  }
  if (!reserve(filter, &filter->output, n + n / 8 + 1024)) return UV_ENOMEM;
  int code = filter->kind->write(filter, bytes, n);
  return code ? code : (ssize_t)n;
}

/* A chunk of output. */
static int convert_chunk(neap__filter *filter, neap__write *self) {
  if (filter->has_ended) return neap__op_fail(&self->op, "write", UV_EPIPE);
  while (self->sent < self->size && self->chunk < NEAP__FILTER_CHUNK) {
    ssize_t n = convert(filter, self);
    if (n < 0) return filter->error.code ? explain(filter, &self->op) : (int)n;
    neap__write_took(self, (size_t)n);
    self->chunk += (size_t)n;
  }
  return 0;
}

/* Some of what was made of it has not gone, and never will. */
static int fail_write(neap__write *self, int code) {
  self->sent -= self->chunk;
  self->chunk = 0;
  return neap__op_fail(&self->op, "write", code);
}

int neap__filter_send(neap__write *self) {
  neap__filter *filter = self->stream->filter;
  int code = 0;
  while (!code && flush(filter)) {
    self->chunk = 0;
    if (self->sent == self->size) return 0;
    if (filter->error.code) return explain(filter, &self->op);
    if (!filter->is_ready) return 0;
    code = convert_chunk(filter, self);
  }
  if (code) flush(filter); /* what was made of it before that */
  return filter->write_code ? fail_write(self, filter->write_code) : code;
}

bool neap__filter_shut(neap__filter *self, int *code) {
  *code = 0;
  if (!self->error.code && !self->is_ready) return false;
  if (!self->error.code && !self->has_ended) {
    self->has_ended = true;
    self->kind->end(self);
  }
  bool is_flushed = flush(self);
  *code = self->write_code;
  return is_flushed;
}

/* ---- Its beginning and its end ----------------------------------------------------------------- */

static void take_over_buffer(neap__filter *self, neap__reader *reader) {
  self->input = (neap__portion){reader->buffer, reader->start, reader->end, reader->capacity};
  reader->buffer = NULL;
  reader->start = reader->end = reader->capacity = 0;
}

int neap__filter_attach(neap__filter *self, neap__stream *stream) {
  neap__reader *reader = &stream->reader;
  if (stream->is_closing) return NEAP_ECLOSED;
  bool is_busy = reader->waiting || !neap__list_is_empty(&stream->writers);
  if (stream->filter || is_busy || stream->is_shut) return NEAP_EMISUSE;
  neap__stream_rest(stream);
  stream->was_served = false;
  self->stream = stream;
  stream->filter = self;
  neap__list_init(&self->waiting);
  take_over_buffer(self, reader);
  if (reader->code)
    end_socket(self, reader->code);
  else
    advance(self);
  return 0;
}

static void on_patience_over(neap__timer *timer);

/* With a write under way it is no orderly end, and what is with libuv would be cut. */
static bool can_tell(const neap__filter *self) {
  bool is_idle = neap__list_is_empty(&self->stream->writers) && !left(&self->output) &&
                 !self->flight.block && !self->write_code;
  return is_idle && self->is_ready && !self->has_ended && !self->error.code;
}

/* The last write has filled the socket: without some patience the end would look like a cut. */
static bool linger(neap__filter *self) {
  neap_loop *loop = self->stream->loop;
  if (loop->is_closing || launch(self)) return false;
  self->patience.fire = on_patience_over;
  self->is_lingering = !neap__loop_arm(loop, &self->patience, neap__loop_now(loop) + patience);
  return self->is_lingering;
}

static void end_lingering(neap__filter *self) {
  self->is_lingering = false;
  neap__timer_disarm(&self->stream->loop->timers, &self->patience);
  neap__stream_finish(self->stream);
}

static void on_patience_over(neap__timer *timer) {
  end_lingering(NEAP__CONTAINER(timer, neap__filter, patience));
}

void neap__filter_hurry(neap__filter *self) {
  if (self->is_lingering) end_lingering(self);
}

static bool has_unread(int fd) {
  int n = 0;
  return ioctl(fd, FIONREAD, &n) == 0 && n > 0;
}

/* A socket that closes with something unread resets the connection, and what was written is lost. What a
 * peer has sent for the filter alone, such as tickets of TLS, nobody knows to read. */
static void discard_arrived(const neap__filter *self) {
  enum { MOST_READS = 64 };
  neap_loop *loop = self->stream->loop;
  uv_os_fd_t fd;
  char *block = neap__block_take(loop);
  if (!block) return;
  if (uv_fileno(&self->stream->uv.handle, &fd) == 0)
    for (int i = 0; i < MOST_READS && has_unread(fd); i++)
      (void)recv(fd, block, NEAP__BLOCK_SIZE, MSG_DONTWAIT);
  neap__block_give(loop, block, NEAP__BLOCK_SIZE);
}

bool neap__filter_close(neap__filter *self, bool is_orderly) {
  bool is_waiting = false;
  if (is_orderly && can_tell(self)) {
    discard_arrived(self);
    self->has_ended = true;
    self->kind->end(self);
    is_waiting = send_output(self) == UV_EAGAIN && linger(self);
  }
  neap__op_end_all(&self->waiting, NEAP_ECLOSED);
  return is_waiting;
}

void neap__filter_free(neap__filter *self) {
  clear(self, &self->input);
  clear(self, &self->output);
  clear(self, &self->flight);
  self->kind->release(self);
}

/* ---- Waiting until it is ready ----------------------------------------------------------------- */

int neap__filter_wait(neap__filter *self, neap__op *op, neap__op_link *link) {
  if (self->error.code) return explain(self, op);
  if (self->is_ready) return 0;
  link->op = op;
  neap__list_append(&self->waiting, &link->list);
  return 1;
}

static neap__handshake *of_op(neap__op *op) {
  return (neap__handshake *)op;
}

static int start_handshake(neap__op *op) {
  neap__handshake *self = of_op(op);
  if (self->stream->is_closing) return NEAP_ECLOSED;
  if (!self->stream->filter) return NEAP_EMISUSE;
  int code = neap__filter_wait(self->stream->filter, op, &self->link);
  if (code == 0) neap__op_settle(op, 0);
  if (code > 0) neap__op_acquire_native(op, false);
  return code < 0 ? code : 0;
}

static void abort_handshake(neap__op *op) {
  neap__op_leave(&of_op(op)->link);
}

static void release_handshake(neap__op *op) {
  if (of_op(op)->stream) neap__stream_unref(of_op(op)->stream);
}

const neap__op_kind neap__handshake_kind = {.task = NEAP__OP_TASK("handshake"),
                                            .size = sizeof(neap__handshake),
                                            .start = start_handshake,
                                            .abort = abort_handshake,
                                            .release = release_handshake};
