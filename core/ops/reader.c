#include "reader.h"

#include <assert.h>
#include <string.h>

enum {
  SMALL =
      4096 /* what is copied, so that its block serves the next read: 64 KiB cost 3 us to copy */
};

static neap__read *of_op(neap__op *op) {
  return (neap__read *)op;
}

void neap__reader_init(neap__reader *reader, neap_loop *loop, const neap__source *source) {
  reader->loop = loop;
  reader->source = source;
}

/* ---- Memory -------------------------------------------------------------------------------- */

char *neap__block_take(neap_loop *loop) {
  char *block = loop->read_buffer;
  loop->read_buffer = NULL;
  return block ? block : neap__memory_resize(&loop->memory, NULL, NEAP__BLOCK_SIZE);
}

void neap__block_give(neap_loop *loop, char *block, size_t capacity) {
  if (capacity == NEAP__BLOCK_SIZE && !loop->read_buffer && !loop->is_closing)
    loop->read_buffer = block;
  else
    neap__memory_free(&loop->memory, block);
}

void neap__reader_clear(neap__reader *reader) {
  neap__block_give(reader->loop, reader->buffer, reader->capacity);
  reader->buffer = NULL;
  reader->start = reader->end = reader->capacity = 0;
}

/* What was read moves out of the way when that is the greater part. */
static void compact(neap__reader *reader) {
  size_t size = neap__reader_buffered(reader);
  if (!reader->buffer || reader->start < size) return;
  memmove(reader->buffer, reader->buffer + reader->start, size);
  reader->start = 0;
  reader->end = size;
}

/* Room for `size` bytes behind the buffer; it doubles, so that copying stays linear. */
static bool reserve(neap__reader *reader, size_t size) {
  if (reader->capacity - reader->end >= size) return true;
  compact(reader);
  if (reader->capacity - reader->end >= size) return true;
  size_t capacity = reader->capacity ? reader->capacity * 2 : SMALL;
  while (capacity - reader->end < size) capacity *= 2;
  char *buffer = neap__memory_resize(&reader->loop->memory, reader->buffer, capacity);
  if (!buffer) return false;
  reader->buffer = buffer;
  reader->capacity = capacity;
  return true;
}

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

/* How much the read that waits still wants at a time. */
static size_t wanted(const neap__reader *reader) {
  const neap__read *self = reader->waiting;
  if (self && self->mode == NEAP__READ_SOME) return self->size;
  if (self && self->mode == NEAP__READ_EXACTLY) return self->size - neap__reader_buffered(reader);
  return NEAP__BLOCK_SIZE;
}

static bool has_target(const neap__read *self) {
  return self && self->target.data;
}

bool neap__reader_needs_block(const neap__reader *reader) {
  return !reader->buffer && !has_target(reader->waiting);
}

char *neap__reader_space(neap__reader *reader, char *block, size_t *size) {
  if (!reader->buffer && has_target(reader->waiting)) {
    *size = reader->waiting->size;
    return reader->waiting->target.data;
  }
  if (!reader->buffer) {
    *size = smaller(wanted(reader), NEAP__BLOCK_SIZE);
    return block;
  }
  *size = smaller(reader->end - reader->start < SMALL ? SMALL : reader->end, NEAP__BLOCK_SIZE);
  if (!reserve(reader, *size)) return NULL;
  *size = smaller(reader->capacity - reader->end, NEAP__BLOCK_SIZE);
  return reader->buffer + reader->end;
}

static bool is_in_buffer(const neap__reader *reader, const char *bytes) {
  return reader->buffer && bytes == reader->buffer + reader->end;
}

/* A copy where that is cheap and there is memory for it, else NULL. */
static char *copy_small(neap_loop *loop, const char *bytes, size_t n) {
  if (n > SMALL) return NULL;
  char *copy = neap__memory_resize(&loop->memory, NULL, n);
  if (copy) memcpy(copy, bytes, n);
  return copy;
}

/* ---- Ends of a read ------------------------------------------------------------------------- */

static void end_read(neap__read *self, int code) {
  if (self->reader->waiting == self) self->reader->waiting = NULL;
  neap__target_release(&self->target);
  neap__op_settle(&self->op, code);
  if (self->op.is_native) neap__op_release_native(&self->op);
}

static void fail_read(neap__read *self, int code) {
  const neap__reader *reader = self->reader;
  self->op.error.syscall = reader->syscall ? reader->syscall : "read";
  if (reader->source->explain) reader->source->explain(reader, &self->op.error);
  end_read(self, code);
}

static void take_copy(neap__read *self, char *copy, size_t n) {
  neap__reader *reader = self->reader;
  memcpy(copy, reader->buffer + reader->start, n);
  reader->start += n;
  if (reader->start == reader->end) neap__reader_clear(reader);
}

/* The first n bytes of the buffer become the result: the buffer itself where it is used up. */
static bool take(neap__read *self, size_t n) {
  neap__reader *reader = self->reader;
  size_t size = neap__reader_buffered(reader);
  self->length = n;
  if (n == 0) return true;
  if (self->target.data) {
    take_copy(self, self->target.data, n);
    return true;
  }
  if (n == size && n > SMALL) {
    self->data = reader->buffer;
    self->start = reader->start;
    self->capacity = reader->capacity;
    reader->buffer = NULL;
    reader->start = reader->end = reader->capacity = 0;
    return true;
  }
  self->data = neap__memory_resize(&reader->loop->memory, NULL, n);
  if (!self->data) return false;
  self->capacity = n;
  take_copy(self, self->data, n);
  return true;
}

/* Ends it with the first n bytes, and drops `dropped` bytes behind them. */
static void give(neap__read *self, size_t n, size_t dropped, int code) {
  neap__reader *reader = self->reader;
  if (!take(self, n)) {
    end_read(self, UV_ENOMEM);
    return;
  }
  if (dropped) reader->start += dropped;
  if (reader->buffer && reader->start == reader->end) neap__reader_clear(reader);
  if (code)
    fail_read(self, code);
  else
    end_read(self, 0);
}

/* ---- What each mode makes of the buffer ----------------------------------------------------- */

/* Where the delimiter begins; false: it has not come yet. */
static bool find_delimiter(neap__read *self, size_t *place) {
  const neap__reader *reader = self->reader;
  size_t size = neap__reader_buffered(reader);
  if (size - self->scanned < self->delimiter_size) return false;
  const char *from = reader->buffer + reader->start + self->scanned;
  const char *found =
      self->delimiter_size == 1
          ? memchr(from, *self->delimiter, size - self->scanned)
          : memmem(from, size - self->scanned, self->delimiter, self->delimiter_size);
  if (!found) {
    self->scanned = size - self->delimiter_size + 1;
    return false;
  }
  *place = (size_t)(found - reader->buffer) - reader->start;
  return true;
}

static void give_delimited(neap__read *self, size_t n) {
  const neap__reader *reader = self->reader;
  bool has_return =
      self->mode == NEAP__READ_LINE && n > 0 && reader->buffer[reader->start + n - 1] == '\r';
  if (has_return)
    give(self, n - 1, self->delimiter_size + 1, 0);
  else
    give(self, n, self->delimiter_size, 0);
}

/* Whether the end of a line of the wanted size may begin before its delimiter, at `place`. */
static bool is_return_before(const neap__read *self, size_t place) {
  const neap__reader *reader = self->reader;
  return self->mode == NEAP__READ_LINE && place == self->size + 1 &&
         reader->buffer[reader->start + self->size] == '\r';
}

/* Whether what lies before `place` is more than the read may give. How the bytes were cut into pieces
 * does not matter: a delimiter that has come in part may still be in time. */
static bool is_too_far(const neap__read *self, size_t place) {
  return place > self->size && !is_return_before(self, place);
}

static bool try_delimited(neap__read *self) {
  size_t place = 0, size = neap__reader_buffered(self->reader);
  bool is_found = size > 0 && find_delimiter(self, &place);
  if (is_too_far(self, is_found ? place : self->scanned))
    end_read(self, NEAP_ETOOLARGE);
  else if (is_found)
    give_delimited(self, place);
  else
    return false;
  return true;
}

/* Ends the read if the buffer has what it wants; `self` may be gone then. */
static bool try_buffer(neap__read *self) {
  size_t size = neap__reader_buffered(self->reader);
  switch (self->mode) {
  case NEAP__READ_SOME:
    if (size == 0 && self->size > 0) return false;
    give(self, smaller(size, self->size), 0, 0);
    return true;
  case NEAP__READ_EXACTLY:
    if (size < self->size) return false;
    give(self, self->size, 0, 0);
    return true;
  case NEAP__READ_ALL:
    if (size <= self->size) return false;
    end_read(self, NEAP_ETOOLARGE);
    return true;
  default: return try_delimited(self);
  }
}

static bool is_delimited(const neap__read *self) {
  return self->mode == NEAP__READ_UNTIL || self->mode == NEAP__READ_LINE;
}

/* Ends the read: nothing more comes. */
static void end_at_end(neap__read *self) {
  const neap__reader *reader = self->reader;
  size_t size = neap__reader_buffered(reader);
  bool is_partial =
      self->mode == NEAP__READ_EXACTLY || (self->mode == NEAP__READ_UNTIL && size > 0);
  if (reader->code != UV_EOF)
    fail_read(self, reader->code);
  else if (is_delimited(self) && size > self->size)
    end_read(self, NEAP_ETOOLARGE);
  else if (is_partial)
    give(self, size, 0, UV_EOF);
  else {
    self->is_end = size == 0;
    give(self, size, 0, 0);
  }
}

static void try_read(neap__read *self) {
  if (!try_buffer(self) && self->reader->code) end_at_end(self);
}

/* ---- What arrives --------------------------------------------------------------------------- */

/* It is where it belongs, unless a job of the pool has read it. */
static void give_to_target(neap__read *self, const char *block, size_t n) {
  if (block != self->target.data) memcpy(self->target.data, block, n);
  self->length = n;
  end_read(self, 0);
}

/* The common case: the whole of it is what the read that waits wants. True if the block is kept. */
static bool give_directly(neap__read *self, char *block, size_t n, size_t capacity) {
  if (self->target.data) {
    give_to_target(self, block, n);
    return false;
  }
  char *copy = copy_small(self->reader->loop, block, n);
  self->data = copy ? copy : block;
  self->length = n;
  self->capacity = copy ? n : capacity;
  end_read(self, 0);
  return !copy;
}

bool neap__reader_reserve(neap__reader *reader, size_t n) {
  return !reader->buffer || reserve(reader, n);
}

/* Puts it behind the buffer; true if the block is the buffer now. There is always memory for it: the
 * block itself, or the room that was reserved. */
static bool keep(neap__reader *reader, char *block, size_t n, size_t capacity) {
  if (is_in_buffer(reader, block)) {
    reader->end += n;
    return false;
  }
  if (reader->buffer) {
    assert(reader->capacity - reader->end >= n);
    memcpy(reader->buffer + reader->end, block, n);
    reader->end += n;
    return false;
  }
  char *copy = copy_small(reader->loop, block, n);
  reader->buffer = copy ? copy : block;
  reader->start = 0;
  reader->end = n;
  reader->capacity = copy ? n : capacity;
  return !copy;
}

/* ---- Protocols ------------------------------------------------------------------------------- */

/* Once there is nothing left before it. */
static void tell_end(neap__reader *reader) {
  const neap__sink *sink = reader->sink;
  if (!sink || !reader->code || neap__reader_buffered(reader) > 0) return;
  reader->sink = NULL;
  sink->ended(reader, reader->code);
}

void neap__reader_offer(neap__reader *reader) {
  if (reader->sink && neap__reader_buffered(reader) > 0) {
    reader->start +=
        reader->sink->take(reader, reader->buffer + reader->start, neap__reader_buffered(reader));
    if (reader->buffer && reader->start == reader->end) neap__reader_clear(reader);
  }
  tell_end(reader);
}

/* Straight from the block where nothing is buffered; true if the block is the buffer now. */
static bool offer_block(neap__reader *reader, char *block, size_t n, size_t capacity) {
  if (reader->buffer) {
    keep(reader, block, n, capacity);
    neap__reader_offer(reader);
    return false;
  }
  size_t used = reader->sink->take(reader, block, n);
  if (used == n) return false;
  bool is_kept = keep(reader, block, n, capacity);
  reader->start += used;
  return is_kept;
}

int neap__reader_attach(neap__reader *reader, const neap__sink *sink, void *data) {
  if (reader->is_closed) return NEAP_ECLOSED;
  if (reader->waiting || reader->sink) return NEAP_EMISUSE;
  reader->sink = sink;
  reader->sink_data = data;
  reader->rests = false;
  return 0;
}

void neap__reader_detach(neap__reader *reader) {
  reader->sink = NULL;
}

int neap__reader_flow(neap__reader *reader) {
  const char *syscall;
  int code = 1;
  reader->rests = false;
  while (code > 0 && !reader->rests && !reader->code && !reader->is_closed)
    code = reader->source->pull(reader, NEAP__BLOCK_SIZE, &syscall);
  return code < 0 ? code : 0;
}

void neap__reader_rest(neap__reader *reader) {
  reader->rests = true;
  if (reader->source->rest) reader->source->rest(reader);
}

/* ---- Arriving -------------------------------------------------------------------------------- */

bool neap__reader_feed(neap__reader *reader, const char *bytes, size_t n) {
  if (!reserve(reader, n)) return false;
  memcpy(reader->buffer + reader->end, bytes, n);
  reader->end += n;
  if (reader->waiting) try_read(reader->waiting);
  return true;
}

bool neap__reader_arrived(neap__reader *reader, char *block, size_t n, size_t capacity) {
  neap__read *self = reader->waiting;
  if (reader->sink) return offer_block(reader, block, n, capacity);
  if (self && self->mode == NEAP__READ_SOME && !reader->buffer && n <= self->size)
    return give_directly(self, block, n, capacity);
  bool is_kept = keep(reader, block, n, capacity);
  if (!self && reader->source->rest) reader->source->rest(reader);
  if (self) try_read(self);
  return is_kept;
}

void neap__reader_ended(neap__reader *reader, const char *syscall, int code) {
  reader->code = code;
  reader->syscall = syscall;
  if (reader->waiting) try_read(reader->waiting);
  tell_end(reader);
}

void neap__reader_failed(neap__reader *reader, const char *syscall, int code) {
  if (reader->sink) neap__reader_ended(reader, syscall, code);
  if (!reader->waiting) return;
  reader->waiting->op.error.syscall = syscall;
  end_read(reader->waiting, code);
}

/* ---- Life of a read -------------------------------------------------------------------------- */

static int pull(neap__reader *reader, const char **syscall) {
  int code = 1;
  while (code > 0 && reader->waiting) code = reader->source->pull(reader, wanted(reader), syscall);
  return code < 0 ? code : 0;
}

void neap__reader_rewind(neap__reader *reader) {
  if (reader->buffer) neap__reader_clear(reader);
  if (reader->waiting) reader->waiting->scanned = 0;
}

void neap__reader_go_on(neap__reader *reader) {
  const char *syscall = "read";
  int code = pull(reader, &syscall);
  if (code) neap__reader_failed(reader, syscall, code);
}

static int begin_read(neap__op *op) {
  neap__read *self = of_op(op);
  neap__reader *reader = self->reader;
  if (reader->is_closed) return NEAP_ECLOSED;
  if (reader->waiting || reader->sink) return NEAP_EMISUSE;
  try_read(self);
  if (neap__op_is_orphan(op)) return 0;
  reader->waiting = self;
  reader->reads++;
  neap__target_pin(&self->target);
  int code = pull(reader, &op->error.syscall);
  if (code) reader->waiting = NULL;
  if (!code && !neap__op_is_orphan(op)) neap__op_acquire_native(op, false);
  return code;
}

static int start_read(neap__op *op) {
  int code = begin_read(op);
  if (code) neap__target_release(&of_op(op)->target);
  return code;
}

/* Nothing is lost: what arrives from now on is kept for the next read. */
static void abort_read(neap__op *op) {
  of_op(op)->reader->waiting = NULL;
  neap__target_release(&of_op(op)->target);
  neap__op_release_native(op);
}

void neap__reader_close(neap__reader *reader) {
  reader->is_closed = true;
  if (reader->waiting) end_read(reader->waiting, NEAP_ECLOSED);
  const neap__sink *sink = reader->sink;
  reader->sink = NULL;
  if (sink) sink->ended(reader, NEAP_ECLOSED);
}

static void release(neap__op *op) {
  neap__read *self = of_op(op);
  neap_loop *loop = op->task.loop;
  neap__target_release(&self->target);
  if (self->data) neap__block_give(loop, self->data, self->capacity);
  neap__memory_free(&loop->memory, self->delimiter);
  if (self->reader) self->reader->source->unref(self->reader);
}

#define READ_KIND(task_name)                                                                       \
  {                                                                                                \
    .task = NEAP__OP_TASK(task_name), .size = sizeof(neap__read), .start = start_read,             \
    .abort = abort_read, .release = release                                                        \
  }

const neap__op_kind neap__read_kind = READ_KIND("read");
const neap__op_kind neap__read_exactly_kind = READ_KIND("read_exactly");
const neap__op_kind neap__read_until_kind = READ_KIND("read_until");
const neap__op_kind neap__read_line_kind = READ_KIND("read_line");
const neap__op_kind neap__read_all_kind = READ_KIND("read_all");
const neap__op_kind neap__read_into_kind = READ_KIND("read_into");
