#include "support.h"

#include "ops/reader.h"

#include <stdlib.h>

/* ---- A source that gives what a test wants ------------------------------------------------------ */

typedef struct script {
  bench bench;
  neap_loop *loop;
  neap__reader reader;
  const char *pending; /* what `pull` gives on the spot, piece by piece; NULL: it comes later */
  size_t piece;
  size_t wanted; /* of the last pull */
  int pulls, rests, refs;
} script;

static script *of(neap__reader *reader) {
  return NEAP__CONTAINER(reader, script, reader);
}

/* Arrives in a block of the loop's or in the space of the reader, as with a socket. */
static void arrive(script *self, const char *data, size_t size) {
  while (size > 0) {
    char *block = self->reader.buffer ? NULL : neap__block_take(self->loop);
    size_t room = 0;
    char *space = neap__reader_space(&self->reader, block, &room);
    if (!CHECK(space != NULL && room > 0)) return;
    size_t n = size < room ? size : room;
    memcpy(space, data, n);
    data += n;
    size -= n;
    bool is_kept = neap__reader_arrived(&self->reader, space, n, NEAP__BLOCK_SIZE);
    if (block && !is_kept) neap__block_give(self->loop, block, NEAP__BLOCK_SIZE);
  }
}

static void arrive_text(script *self, const char *text) {
  arrive(self, text, strlen(text));
}

static int pull(neap__reader *reader, size_t wanted, const char **syscall) {
  script *self = of(reader);
  self->pulls++;
  self->wanted = wanted;
  *syscall = "pull";
  if (!self->pending) return 0;
  if (!*self->pending) {
    neap__reader_ended(reader, "pull", UV_EOF);
    return 1;
  }
  size_t left = strlen(self->pending), n = self->piece && self->piece < left ? self->piece : left;
  const char *from = self->pending;
  self->pending += n;
  arrive(self, from, n);
  return 1;
}

static void rest(neap__reader *reader) {
  of(reader)->rests++;
}

static void unref(neap__reader *reader) {
  of(reader)->refs--;
}

static const neap__source source = {pull, rest, unref, NULL};

static void open_script(script *self) {
  memset(self, 0, sizeof *self);
  self->loop = bench_open(&self->bench);
  neap__reader_init(&self->reader, self->loop, &source);
}

static void close_script(script *self) {
  CHECK(self->refs == 0);
  CHECK(!self->reader.waiting);
  if (self->reader.buffer) neap__reader_clear(&self->reader);
  bench_close_idle(&self->bench);
}

static neap__read *start(script *self, const neap__op_kind *kind, neap__read_mode mode, size_t size,
                         const char *delimiter) {
  neap__read *read = (neap__read *)neap__op_new(self->loop, kind);
  read->reader = &self->reader;
  self->refs++;
  read->mode = mode;
  read->size = size;
  if (delimiter) {
    read->delimiter = neap__memory_copy(&self->loop->memory, delimiter);
    read->delimiter_size = strlen(delimiter);
  }
  neap__op_start(&read->op);
  return read;
}

static neap__read *some(script *self, size_t size) {
  return start(self, &neap__read_kind, NEAP__READ_SOME, size, NULL);
}

static neap__read *exactly(script *self, size_t size) {
  return start(self, &neap__read_exactly_kind, NEAP__READ_EXACTLY, size, NULL);
}

static neap__read *line(script *self, size_t max) {
  return start(self, &neap__read_line_kind, NEAP__READ_LINE, max, "\n");
}

/* Its bytes are these, and it is done. */
static void check_data(neap__read *read, const char *expected) {
  CHECK(neap_task_status(&read->op.task) == NEAP_DONE);
  CHECK(read->length == strlen(expected));
  if (read->length && read->data)
    CHECK(memcmp(read->data + read->start, expected, read->length) == 0);
  neap_task_unref(&read->op.task);
}

static void check_code(neap__read *read, int code) {
  const neap_error *error = neap_task_error(&read->op.task);
  CHECK(error && error->code == code);
  neap_task_unref(&read->op.task);
}

/* ---- What arrives ------------------------------------------------------------------------------- */

TEST(what_arrives_goes_to_the_read_that_waits) {
  script s;
  open_script(&s);
  neap__read *read = some(&s, 10);
  CHECK(s.pulls == 1 && s.wanted == 10);
  arrive_text(&s, "abc");
  check_data(read, "abc");
  CHECK(!s.reader.buffer && s.rests == 0);
  close_script(&s);
}

TEST(what_nobody_waits_for_is_kept_and_the_source_may_rest) {
  script s;
  open_script(&s);
  arrive_text(&s, "abc");
  arrive_text(&s, "def");
  CHECK(s.rests == 2 && neap__reader_buffered(&s.reader) == 6);
  check_data(some(&s, 2), "ab");
  check_data(exactly(&s, 4), "cdef");
  CHECK(s.pulls == 0 && !s.reader.buffer);
  close_script(&s);
}

TEST(a_source_that_gives_on_the_spot_is_pulled_until_it_is_enough) {
  script s;
  open_script(&s);
  s.pending = "one\r\ntwo\nthree";
  s.piece = 2;
  check_data(line(&s, 100), "one");
  check_data(line(&s, 100), "two");
  check_data(exactly(&s, 2), "th");
  check_data(line(&s, 100), "ree");
  neap__read *end = line(&s, 100);
  CHECK(end->is_end);
  check_data(end, "");
  close_script(&s);
}

TEST(no_more_is_wanted_than_is_missing) {
  script s;
  open_script(&s);
  neap__read *read = exactly(&s, 1 << 20);
  CHECK(s.wanted == 1 << 20);
  arrive_text(&s, "0123456789");
  neap__reader_go_on(&s.reader);
  CHECK(s.wanted == (1 << 20) - 10);
  neap_task_cancel(&read->op.task);
  neap_task_unref(&read->op.task);
  close_script(&s);
}

TEST(a_cancelled_read_leaves_all_to_the_next) {
  script s;
  open_script(&s);
  neap__read *read = line(&s, 100);
  arrive_text(&s, "on");
  CHECK(neap_task_cancel(&read->op.task));
  neap_task_unref(&read->op.task);
  CHECK(!s.reader.waiting);
  arrive_text(&s, "e\nrest");
  check_data(line(&s, 100), "one");
  check_data(some(&s, 100), "rest");
  close_script(&s);
}

/* ---- Ends --------------------------------------------------------------------------------------- */

TEST(an_error_follows_what_is_buffered) {
  script s;
  open_script(&s);
  arrive_text(&s, "one\ntw");
  neap__reader_ended(&s.reader, "recv", UV_ECONNRESET);
  check_data(line(&s, 100), "one");
  neap__read *read = line(&s, 100);
  CHECK(strcmp(neap_task_error(&read->op.task)->syscall, "recv") == 0);
  check_code(read, UV_ECONNRESET);
  check_data(some(&s, 100), "tw");
  check_code(some(&s, 100), UV_ECONNRESET);
  CHECK(s.pulls == 0);
  close_script(&s);
}

TEST(a_failure_is_of_one_read) {
  script s;
  open_script(&s);
  neap__read *read = some(&s, 10);
  neap__reader_failed(&s.reader, "recv", UV_ENOMEM);
  check_code(read, UV_ENOMEM);
  neap__reader_failed(&s.reader, "recv", UV_ENOMEM);
  read = some(&s, 10);
  arrive_text(&s, "abc");
  check_data(read, "abc");
  close_script(&s);
}

TEST(the_end_gives_what_came_before_it) {
  script s;
  open_script(&s);
  neap__read *read = exactly(&s, 5);
  arrive_text(&s, "abc");
  neap__reader_ended(&s.reader, "recv", UV_EOF);
  CHECK(read->length == 3 && memcmp(read->data + read->start, "abc", 3) == 0);
  check_code(read, UV_EOF);
  close_script(&s);
}

TEST(a_close_ends_the_read_and_all_later_ones) {
  script s;
  open_script(&s);
  neap__read *read = exactly(&s, 5);
  arrive_text(&s, "abc");
  neap__reader_close(&s.reader);
  check_code(read, NEAP_ECLOSED);
  check_code(some(&s, 1), NEAP_ECLOSED);
  close_script(&s);
}

/* ---- Sizes -------------------------------------------------------------------------------------- */

/* Data that shows where each byte was. */
static char *make_data(size_t size) {
  char *data = malloc(size);
  for (size_t i = 0; i < size; i++) data[i] = (char)(i * 7 + i / 251);
  return data;
}

static void check_bytes(neap__read *read, const char *expected, size_t size) {
  CHECK(neap_task_status(&read->op.task) == NEAP_DONE && read->length == size);
  if (size) CHECK(memcmp(read->data + read->start, expected, size) == 0);
  neap_task_unref(&read->op.task);
}

/* Copied, handed over as a block, or as the whole buffer: all sizes around the borders. */
TEST(blocks_of_all_sizes_come_through) {
  static const size_t sizes[] = {1, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 131072, 300000};
  enum { COUNT = sizeof sizes / sizeof *sizes };
  char *data = make_data(300000);
  for (int i = 0; i < COUNT; i++)
    for (int j = 0; j < COUNT; j++) {
      script s;
      open_script(&s);
      arrive(&s, data, sizes[i]);
      size_t n = sizes[j] < sizes[i] ? sizes[j] : sizes[i];
      check_bytes(exactly(&s, n), data, n);
      if (n < sizes[i]) check_bytes(some(&s, sizes[i]), data + n, sizes[i] - n);
      CHECK(!s.reader.buffer);
      neap__read *read = exactly(&s, sizes[j]);
      arrive(&s, data, sizes[j]);
      check_bytes(read, data, sizes[j]);
      close_script(&s);
    }
  free(data);
}

/* The buffer grows no larger than what is in it deserves. */
TEST(reading_and_arriving_in_turns_keeps_the_buffer_small) {
  script s;
  char *data = make_data(10000);
  open_script(&s);
  arrive(&s, data, 10000);
  for (int i = 0; i < 1000; i++) {
    arrive(&s, data, 10000);
    check_bytes(exactly(&s, 10000), data, 10000);
    CHECK(s.reader.capacity <= 4 * NEAP__BLOCK_SIZE);
  }
  check_bytes(exactly(&s, 10000), data, 10000);
  close_script(&s);
  free(data);
}

TEST(a_read_without_memory_for_its_result_takes_nothing) {
  script s;
  open_script(&s);
  arrive_text(&s, "one\ntwo\n");
  neap__read *read = (neap__read *)neap__op_new(s.loop, &neap__read_kind);
  read->reader = &s.reader;
  s.refs++;
  read->size = 5;
  neap_loop_fail_allocation(s.loop, 1, false);
  neap__op_start(&read->op);
  check_code(read, UV_ENOMEM);
  check_data(line(&s, 3), "one");
  check_data(line(&s, 3), "two");
  close_script(&s);
}

TEST(a_rewound_reader_begins_to_seek_again) {
  script s;
  open_script(&s);
  neap__read *read = line(&s, 100);
  arrive_text(&s, "a long beginning");
  neap__reader_rewind(&s.reader);
  arrive_text(&s, "b\nc");
  check_data(read, "b");
  neap__reader_rewind(&s.reader);
  CHECK(!s.reader.buffer);
  close_script(&s);
}

/* ---- Sinks ----------------------------------------------------------------------------------- */

/* Takes a number of bytes at a time, and notes them. */
typedef struct drain {
  script script;
  char text[64];
  size_t length, most;
  int code;
} drain;

static size_t take(neap__reader *reader, const char *bytes, size_t n) {
  drain *self = reader->sink_data;
  size_t used = n < self->most ? n : self->most;
  memcpy(self->text + self->length, bytes, used);
  self->length += used;
  return used;
}

static void ended(neap__reader *reader, int code) {
  drain *self = reader->sink_data;
  self->code = code;
}

static const neap__sink sink = {take, ended};

static void open_drain(drain *self, size_t most) {
  memset(self, 0, sizeof *self);
  open_script(&self->script);
  self->most = most;
  CHECK(neap__reader_attach(&self->script.reader, &sink, self) == 0);
}

TEST(a_sink_gets_what_arrives) {
  drain d;
  open_drain(&d, SIZE_MAX);
  arrive_text(&d.script, "abc");
  arrive_text(&d.script, "def");
  CHECK(strcmp(d.text, "abcdef") == 0);
  CHECK(!d.script.reader.buffer);
  neap__reader_ended(&d.script.reader, "read", UV_EOF);
  CHECK(d.code == UV_EOF);
  close_script(&d.script);
}

TEST(what_a_sink_leaves_is_offered_again_and_the_end_comes_behind_it) {
  drain d;
  open_drain(&d, 2);
  arrive_text(&d.script, "abcde");
  CHECK(strcmp(d.text, "ab") == 0);
  arrive_text(&d.script, "f");
  CHECK(strcmp(d.text, "abcd") == 0);
  neap__reader_ended(&d.script.reader, "read", UV_EOF);
  CHECK(d.code == 0);
  neap__reader_offer(&d.script.reader);
  CHECK(strcmp(d.text, "abcdef") == 0);
  CHECK(d.code == UV_EOF);
  close_script(&d.script);
}

TEST(a_sink_is_told_of_errors_and_of_the_close_once) {
  drain d;
  open_drain(&d, SIZE_MAX);
  neap__reader_failed(&d.script.reader, "read", UV_ENOMEM);
  CHECK(d.code == UV_ENOMEM);
  neap__reader_close(&d.script.reader);
  CHECK(d.code == UV_ENOMEM);
  CHECK(neap__reader_attach(&d.script.reader, &sink, &d) == NEAP_ECLOSED);
  close_script(&d.script);
}

TEST(a_reader_has_a_sink_or_reads) {
  drain d;
  open_drain(&d, 1);
  neap__read *refused = some(&d.script, 10);
  CHECK(neap_task_error(&refused->op.task)->code == NEAP_EMISUSE);
  neap_task_unref(&refused->op.task);
  arrive_text(&d.script, "abc");
  neap__reader_detach(&d.script.reader);
  neap__read *read = some(&d.script, 10);
  CHECK(neap_task_status(&read->op.task) == NEAP_DONE);
  CHECK(neap__reader_attach(&d.script.reader, &sink, &d) == 0);
  neap_task_unref(&read->op.task);
  close_script(&d.script);
}

TEST(bytes_of_others_are_copied) {
  script s;
  open_script(&s);
  CHECK(neap__reader_feed(&s.reader, "abc", 3));
  neap__read *read = exactly(&s, 5);
  CHECK(neap_task_status(&read->op.task) == NEAP_PENDING);
  CHECK(neap__reader_feed(&s.reader, "def", 3));
  CHECK(neap_task_status(&read->op.task) == NEAP_DONE);
  CHECK(read->length == 5 && memcmp(read->data + read->start, "abcde", 5) == 0);
  neap_task_unref(&read->op.task);
  neap_loop_fail_allocation(s.loop, 1, true);
  char many[100000] = {0};
  CHECK(!neap__reader_feed(&s.reader, many, sizeof many));
  neap_loop_fail_allocation(s.loop, 0, false);
  CHECK(neap__reader_buffered(&s.reader) == 1);
  close_script(&s);
}
