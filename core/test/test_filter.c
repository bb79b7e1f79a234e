#include "wire.h"

#include "ops/filter.h"

#include <sys/socket.h>

/* A filter for tests. Both ends greet with one byte and are ready when they have got that of the other.
 * Then come frames: a length of two bytes, and that many bytes with all bits turned. A frame of no bytes is
 * the end; one of ASKS bytes has no bytes either and asks for an answer of ANSWER bytes of noise (frames of
 * NOISE and one byte). */
enum { GREETING = '!', ASKS = 0xffff, NOISE = 0xfefe, ANSWER = 600 };

typedef struct turner {
  neap__filter filter;
  unsigned char head[2];
  size_t head_size;
  size_t rest; /* of the frame */
  bool has_greeted, is_refusing;
} turner;

static turner *of_filter(neap__filter *filter) {
  return (turner *)filter;
}

static ssize_t fail_turner(neap__filter *filter, const char *message) {
  filter->error = (neap_error){.code = NEAP_ETLS, .syscall = "turn", .message = message};
  return NEAP_ETLS;
}

static void turn(char *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) bytes[i] = (char)~bytes[i];
}

static bool put_head(neap__filter *filter, size_t n) {
  char head[2] = {(char)(n >> 8), (char)n};
  return neap__filter_put(filter, head, 2);
}

/* One frame of noise for each byte. */
static bool answer(neap__filter *filter) {
  for (int i = 0; i < ANSWER; i++)
    if (!put_head(filter, NOISE)) return false;
  return true;
}

/* 1: go on, 0: more has to come. */
static ssize_t read_greeting(neap__filter *filter) {
  turner *self = of_filter(filter);
  char byte = GREETING;
  if (!self->has_greeted && !neap__filter_put(filter, &byte, 1)) return UV_ENOMEM;
  self->has_greeted = true;
  if (neap__filter_get(filter, &byte, 1) == 0) return 0;
  if (byte != GREETING || self->is_refusing) return fail_turner(filter, "no greeting");
  filter->is_ready = true;
  return 1;
}

static ssize_t read_head(neap__filter *filter) {
  turner *self = of_filter(filter);
  self->head_size +=
      neap__filter_get(filter, (char *)self->head + self->head_size, 2 - self->head_size);
  if (self->head_size < 2) return 0;
  self->head_size = 0;
  size_t n = (size_t)self->head[0] << 8 | self->head[1];
  if (n == 0) return UV_EOF;
  if (n == ASKS && !answer(filter)) return fail_turner(filter, "no memory");
  if (n < NOISE) self->rest = n; /* of noise there is nothing more */
  return 1;
}

static ssize_t read_turned(neap__filter *filter, char *place, size_t size) {
  turner *self = of_filter(filter);
  while (filter->is_ready == false || self->rest == 0) {
    ssize_t n = filter->is_ready ? read_head(filter) : read_greeting(filter);
    if (n <= 0) return n;
  }
  size_t n = neap__filter_get(filter, place, size < self->rest ? size : self->rest);
  turn(place, n);
  self->rest -= n;
  return (ssize_t)n;
}

static int cut_turner(neap__filter *filter) {
  fail_turner(filter, "truncated");
  if (!filter->is_ready) return NEAP_ETLS;
  filter->cut = filter->error;
  filter->error.code = 0;
  return NEAP_ETLS;
}

static int write_turned(neap__filter *filter, const char *bytes, size_t n) {
  for (size_t place = 0; place < n;) {
    char piece[1000];
    size_t size = n - place < sizeof piece ? n - place : sizeof piece;
    memcpy(piece, bytes + place, size);
    turn(piece, size);
    if (!put_head(filter, size) || !neap__filter_put(filter, piece, size)) return UV_ENOMEM;
    place += size;
  }
  return 0;
}

static void end_turner(neap__filter *filter) {
  put_head(filter, 0);
}

static void release_turner(neap__filter *filter) {
  neap__memory_free(&filter->stream->loop->memory, filter);
}

static const neap__filter_kind kind = {read_turned, cut_turner, write_turned, end_turner,
                                       release_turner};

static turner *attach(neap__stream *stream) {
  turner *self = neap__memory_new(&stream->loop->memory, sizeof *self);
  if (!self) return NULL;
  self->filter.kind = &kind;
  if (CHECK(neap__filter_attach(&self->filter, stream) == 0)) return self;
  neap__memory_free(&stream->loop->memory, self);
  return NULL;
}

static neap_task *start_handshake(neap__stream *stream) {
  neap__handshake *self = (neap__handshake *)neap__op_new(stream->loop, &neap__handshake_kind);
  self->stream = stream;
  stream->refs++;
  return start(&self->op);
}

/* Both ends have the filter and are ready. */
static void open_turned(wire *w) {
  open_wire(w);
  attach(w->client);
  attach(w->peer);
  CHECK(finish(start_handshake(w->client)) == NEAP_DONE);
  CHECK(finish(start_handshake(w->peer)) == NEAP_DONE);
}

static bool reads(neap__stream *stream, const char *text) {
  neap__read *read = start_read(stream, 1000);
  neap_loop_run(stream->loop, &read->op.task);
  bool is_it = read->length == strlen(text) && neap_task_status(&read->op.task) == NEAP_DONE &&
               (read->length == 0 || memcmp(read->data + read->start, text, read->length) == 0);
  neap_task_unref(&read->op.task);
  return is_it;
}

static bool read_fails(neap__stream *stream, const char *message) {
  neap__read *read = start_read(stream, 10);
  neap_loop_run(stream->loop, &read->op.task);
  const neap_error *error = neap_task_error(&read->op.task);
  bool is_it = neap_task_status(&read->op.task) == NEAP_FAILED && error->message &&
               error->code == NEAP_ETLS && strcmp(error->message, message) == 0;
  neap_task_unref(&read->op.task);
  return is_it;
}

static neap_task *start_text(neap__stream *stream, const char *text) {
  return &start_write_of(stream, text, strlen(text))->op.task;
}

static void poll_uv(const wire *w) {
  for (int i = 0; i < 5; i++) uv_run(neap_loop_uv(w->loop), UV_RUN_NOWAIT);
}

TEST(what_goes_through_a_filter_arrives) {
  wire w;
  open_turned(&w);
  CHECK(finish(start_text(w.client, "hello")) == NEAP_DONE);
  CHECK(reads(w.peer, "hello"));
  CHECK(finish(start_text(w.peer, "and back")) == NEAP_DONE);
  CHECK(reads(w.client, "and back"));
  close_wire(&w);
}

TEST(writes_wait_until_the_filter_is_ready) {
  wire w;
  open_wire(&w);
  attach(w.client);
  neap_task *write = start_text(w.client, "early");
  poll_uv(&w);
  CHECK(neap_task_status(write) == NEAP_PENDING);
  attach(w.peer);
  CHECK(finish(write) == NEAP_DONE);
  CHECK(reads(w.peer, "early"));
  close_wire(&w);
}

TEST(what_was_buffered_goes_through_the_filter) {
  wire w;
  open_wire(&w);
  CHECK(finish(start_text(w.client, "start\n!")) == NEAP_DONE);
  neap__read *read = (neap__read *)neap__op_new(w.loop, &neap__read_line_kind);
  read->mode = NEAP__READ_LINE;
  read->size = 100;
  read->delimiter = neap__memory_copy(&w.loop->memory, "\n");
  read->delimiter_size = 1;
  read->reader = &w.peer->reader;
  w.peer->refs++;
  finish_well(start(&read->op));
  CHECK(read->length == 5);
  neap_task_unref(&read->op.task);
  CHECK(attach(w.peer)->filter.is_ready);
  close_wire(&w);
}

TEST(an_end_before_the_filter_is_its_end_too) {
  wire w;
  open_wire(&w);
  CHECK(finish(start_shutdown(w.client)) == NEAP_DONE);
  CHECK(reads(w.peer, ""));
  attach(w.peer);
  CHECK(read_fails(w.peer, "truncated"));
  CHECK(finish(start_handshake(w.peer)) == NEAP_FAILED);
  close_wire(&w);
}

TEST(a_frame_split_at_every_byte_is_the_same) {
  static const char encoded[] = {'!', 0, 3, ~'a', ~'b', ~'c', 0, 1, ~'d', 0, 0};
  wire w;
  open_wire(&w);
  attach(w.peer);
  neap__read *read = (neap__read *)neap__op_new(w.loop, &neap__read_all_kind);
  read->mode = NEAP__READ_ALL;
  read->reader = &w.peer->reader;
  read->size = 100;
  w.peer->refs++;
  start(&read->op);
  for (size_t i = 0; i < sizeof encoded; i++) {
    CHECK(finish(&start_write_of(w.client, encoded + i, 1)->op.task) == NEAP_DONE);
    poll_uv(&w);
  }
  finish_well(&read->op.task);
  CHECK(read->length == 4 && memcmp(read->data + read->start, "abcd", 4) == 0);
  neap_task_unref(&read->op.task);
  close_wire(&w);
}

TEST(many_frames_in_one_packet_arrive) {
  wire w;
  open_wire(&w);
  attach(w.peer);
  char packet[1 + 3 * 1000];
  packet[0] = GREETING;
  for (int i = 0; i < 1000; i++) memcpy(packet + 1 + 3 * i, (char[]){0, 1, ~'z'}, 3);
  CHECK(finish(&start_write_of(w.client, packet, sizeof packet)->op.task) == NEAP_DONE);
  neap__read *read = (neap__read *)neap__op_new(w.loop, &neap__read_exactly_kind);
  read->mode = NEAP__READ_EXACTLY;
  read->reader = &w.peer->reader;
  read->size = 1000;
  w.peer->refs++;
  start(&read->op);
  finish_well(&read->op.task);
  CHECK(read->length == 1000 && read->data[read->start + 999] == 'z');
  neap_task_unref(&read->op.task);
  close_wire(&w);
}

TEST(shutdown_tells_the_peer_and_leaves_the_other_direction) {
  wire w;
  open_turned(&w);
  CHECK(finish(start_shutdown(w.client)) == NEAP_DONE);
  CHECK(reads(w.peer, ""));
  CHECK(finish(start_text(w.peer, "still")) == NEAP_DONE);
  CHECK(reads(w.client, "still"));
  CHECK(finish(start_text(w.client, "no")) == NEAP_FAILED);
  CHECK(finish(start_shutdown(w.client)) == NEAP_DONE);
  close_wire(&w);
}

TEST(shutdown_waits_until_the_filter_is_ready) {
  wire w;
  open_wire(&w);
  attach(w.client);
  neap_task *shutdown = start_shutdown(w.client);
  poll_uv(&w);
  CHECK(neap_task_status(shutdown) == NEAP_PENDING);
  attach(w.peer);
  CHECK(finish(shutdown) == NEAP_DONE);
  CHECK(reads(w.peer, ""));
  close_wire(&w);
}

TEST(a_cancelled_shutdown_leaves_the_direction_open) {
  wire w;
  open_wire(&w);
  attach(w.client);
  neap_task *shutdown = start_shutdown(w.client);
  CHECK(neap_task_cancel(shutdown));
  neap_task_unref(shutdown);
  attach(w.peer);
  CHECK(finish(start_text(w.client, "open")) == NEAP_DONE);
  CHECK(reads(w.peer, "open"));
  close_wire(&w);
}

TEST(close_tells_the_peer) {
  wire w;
  open_turned(&w);
  neap__stream_close(w.client);
  CHECK(finish(start_closing(w.client)) == NEAP_DONE);
  CHECK(reads(w.peer, ""));
  close_wire(&w);
}

TEST(a_reset_tells_nothing) {
  wire w;
  open_turned(&w);
  CHECK(neap__stream_reset(w.client) == 0);
  neap__read *read = start_read(w.peer, 10);
  CHECK(finish(&read->op.task) == NEAP_FAILED);
  close_wire(&w);
}

TEST(an_end_that_was_not_told_is_what_the_filter_says) {
  wire w;
  open_wire(&w);
  attach(w.peer);
  CHECK(finish(start_text(w.client, "!")) == NEAP_DONE);
  CHECK(finish(start_shutdown(w.client)) == NEAP_DONE);
  CHECK(read_fails(w.peer, "truncated"));
  CHECK(read_fails(w.peer, "truncated"));
  CHECK(finish(start_text(w.peer, "the other direction")) == NEAP_DONE);
  close_wire(&w);
}

TEST(a_filter_that_fails_ends_what_waits) {
  wire w;
  open_wire(&w);
  attach(w.peer);
  neap_task *handshake = start_handshake(w.peer);
  neap_task *write = start_text(w.peer, "never");
  neap_task *shutdown = start_shutdown(w.peer);
  CHECK(finish(start_text(w.client, "?")) == NEAP_DONE);
  CHECK(read_fails(w.peer, "no greeting"));
  CHECK(neap_task_status(handshake) == NEAP_FAILED);
  CHECK(strcmp(neap_task_error(handshake)->message, "no greeting") == 0);
  CHECK(neap_task_status(write) == NEAP_FAILED);
  CHECK(neap_task_error(write)->code == NEAP_ETLS);
  CHECK(finish(shutdown) == NEAP_DONE);
  CHECK(finish(start_handshake(w.peer)) == NEAP_FAILED);
  neap_task_unref(handshake);
  neap_task_unref(write);
  close_wire(&w);
}

TEST(a_handshake_can_be_cancelled_and_awaited_again) {
  wire w;
  open_wire(&w);
  attach(w.peer);
  neap_task *handshake = start_handshake(w.peer);
  CHECK(neap_task_cancel(handshake));
  CHECK(!neap_task_cancel(handshake));
  CHECK(end_status(handshake) == NEAP_CANCELLED);
  handshake = start_handshake(w.peer);
  attach(w.client);
  CHECK(finish(handshake) == NEAP_DONE);
  CHECK(finish(start_handshake(w.peer)) == NEAP_DONE);
  close_wire(&w);
}

TEST(a_handshake_ends_when_the_stream_closes) {
  wire w;
  open_wire(&w);
  attach(w.peer);
  neap_task *handshake = start_handshake(w.peer);
  neap__stream_close(w.peer);
  CHECK(neap_task_error(handshake)->code == NEAP_ECLOSED);
  CHECK(end_status(handshake) == NEAP_FAILED);
  CHECK(finish(start_handshake(w.peer)) == NEAP_FAILED);
  close_wire(&w);
}

TEST(the_loop_closes_in_the_middle_of_a_handshake) {
  wire w;
  open_wire(&w);
  attach(w.peer);
  neap_task *handshake = start_handshake(w.peer);
  neap_task *write = start_text(w.peer, "never");
  neap_task_unref(handshake);
  neap_task_unref(write);
  close_wire(&w);
}

TEST(a_stream_that_is_used_or_closed_takes_no_filter) {
  wire w;
  open_turned(&w);
  turner other = {.filter = {.kind = &kind}};
  CHECK(neap__filter_attach(&other.filter, w.client) == NEAP_EMISUSE);
  neap__stream_close(w.client);
  CHECK(neap__filter_attach(&other.filter, w.client) == NEAP_ECLOSED);
  close_wire(&w);
  open_wire(&w);
  neap__read *read = start_read(w.client, 10);
  CHECK(neap__filter_attach(&other.filter, w.client) == NEAP_EMISUSE);
  neap_task_unref(&read->op.task);
  close_wire(&w);
}

TEST(a_cancelled_read_of_a_filter_loses_nothing) {
  wire w;
  open_turned(&w);
  neap__read *read = start_read(w.peer, 10);
  CHECK(neap_task_cancel(&read->op.task));
  neap_task_unref(&read->op.task);
  CHECK(finish(start_text(w.client, "kept")) == NEAP_DONE);
  poll_uv(&w);
  CHECK(reads(w.peer, "kept"));
  close_wire(&w);
}

/* More than the socket takes while nobody reads. */
enum { MUCH = 16 << 20 };

TEST(a_slow_reader_gets_all_in_bounded_memory) {
  wire w;
  open_turned(&w);
  neap__write *write = start_write(w.client, MUCH);
  size_t total = 0;
  while (total < MUCH) {
    neap__read *read = start_read(w.peer, 100000);
    if (!CHECK(neap_loop_run(w.loop, &read->op.task) == 0)) break;
    if (!CHECK(read->length > 0 && read->data[read->start] == 0)) break;
    total += read->length;
    neap_task_unref(&read->op.task);
    CHECK(w.peer->reader.capacity <= 256 * 1024);
    CHECK(w.client->filter->flight.capacity <= 128 * 1024);
    CHECK(w.client->filter->output.capacity <= 128 * 1024);
  }
  CHECK(total == MUCH);
  CHECK(finish(&write->op.task) == NEAP_DONE);
  close_wire(&w);
}

TEST(a_cancelled_write_has_sent_what_was_made_of_it) {
  wire w;
  open_turned(&w);
  neap__write *write = start_write(w.client, MUCH);
  poll_uv(&w);
  CHECK(neap_task_cancel(&write->op.task));
  size_t sent = write->sent, total = 0;
  CHECK(sent > 0 && sent < MUCH);
  neap_task_unref(&write->op.task);
  neap_task *shutdown = start_shutdown(w.client);
  for (size_t n = 1; n > 0;) {
    neap__read *read = start_read(w.peer, 100000);
    CHECK(neap_loop_run(w.loop, &read->op.task) == 0);
    n = read->length;
    total += n;
    CHECK(end_status(&read->op.task) == NEAP_DONE);
  }
  CHECK(total == sent);
  CHECK(finish(shutdown) == NEAP_DONE);
  close_wire(&w);
}

TEST(a_write_behind_another_is_cancelled_unsent) {
  wire w;
  open_turned(&w);
  neap__write *first = start_write(w.client, MUCH), *second = start_write(w.client, 10);
  CHECK(neap_task_cancel(&second->op.task));
  CHECK(second->sent == 0);
  neap_task_unref(&second->op.task);
  neap__stream_close(w.client);
  CHECK(neap_task_error(&first->op.task)->code == NEAP_ECLOSED);
  neap_task_unref(&first->op.task);
  close_wire(&w);
}

TEST(a_closed_write_says_how_much_has_left) {
  wire w;
  open_turned(&w);
  neap__write *write = start_write(w.client, MUCH);
  poll_uv(&w);
  size_t sent = write->sent, chunk = write->chunk;
  CHECK(chunk > 0);
  neap__stream_close(w.client);
  CHECK(write->sent == sent - chunk);
  neap_task_unref(&write->op.task);
  close_wire(&w);
}

TEST(a_write_after_the_peer_has_gone_fails) {
  wire w;
  open_turned(&w);
  CHECK(neap__stream_reset(w.peer) == 0);
  poll_uv(&w);
  CHECK(finish(&start_write(w.client, MUCH)->op.task) == NEAP_FAILED);
  CHECK(finish(&start_write(w.client, 1)->op.task) == NEAP_FAILED);
  close_wire(&w);
}

TEST(what_the_filter_sends_by_itself_is_bounded) {
  wire w;
  open_wire(&w);
  turner *self = attach(w.peer);
  enum { ASKED = 40000 };
  char *packet = malloc(1 + 2 * ASKED);
  memset(packet, 0xff, 1 + 2 * ASKED);
  packet[0] = GREETING;
  neap__write *write = start_write_of(w.client, packet, 1 + 2 * ASKED);
  free(packet);
  for (int i = 0; i < 200; i++) uv_run(neap_loop_uv(w.loop), UV_RUN_NOWAIT);
  CHECK(self->filter.is_choked);
  CHECK(!w.peer->is_reading);
  size_t got = 0;
  while (self->filter.is_choked || got < 1000000) { /* the client reads: it goes on */
    neap__read *read = start_read(w.client, 1 << 20);
    if (!CHECK(neap_loop_run(w.loop, &read->op.task) == 0)) break;
    got += read->length;
    neap_task_unref(&read->op.task);
    CHECK(!w.peer->is_reading || !self->filter.is_choked);
    if (got > 60000000) break;
  }
  CHECK(got < 60000000);
  neap_task_unref(&write->op.task);
  close_wire(&w);
}

TEST(a_peer_that_goes_ends_what_was_held_up) {
  wire w;
  open_wire(&w);
  turner *self = attach(w.peer);
  enum { ASKED = 40000 };
  char *packet = malloc(1 + 2 * ASKED);
  memset(packet, 0xff, 1 + 2 * ASKED);
  packet[0] = GREETING;
  neap__write *write = start_write_of(w.client, packet, 1 + 2 * ASKED);
  free(packet);
  for (int i = 0; i < 200; i++) uv_run(neap_loop_uv(w.loop), UV_RUN_NOWAIT);
  CHECK(self->filter.is_choked);
  CHECK(neap__stream_reset(w.client) == 0);
  CHECK(finish(&start_read(w.peer, 10)->op.task) == NEAP_FAILED);
  CHECK(!self->filter.is_choked);
  neap_task_unref(&write->op.task);
  close_wire(&w);
}

TEST(pieces_of_a_write_are_put_together) {
  wire w;
  open_wire(&w);
  attach(w.peer);
  CHECK(finish(start_text(w.client, "!")) == NEAP_DONE);
  CHECK(finish(start_handshake(w.peer)) == NEAP_DONE);
  neap__write *write = (neap__write *)neap__op_new(w.loop, &neap__write_kind);
  CHECK(neap__write_reserve(write, 6));
  for (int i = 0; i < 6; i++) write->buffers[write->count++] = (uv_buf_t){"ab", 2};
  write->stream = w.peer;
  write->size = 12;
  w.peer->refs++;
  CHECK(finish(start(&write->op)) == NEAP_DONE);
  neap__read *read = (neap__read *)neap__op_new(w.loop, &neap__read_exactly_kind);
  read->mode = NEAP__READ_EXACTLY;
  read->reader = &w.client->reader;
  read->size = 15;
  w.client->refs++;
  start(&read->op);
  finish_well(&read->op.task);
  CHECK(memcmp(read->data + read->start, "!\0\x0c", 3) == 0);
  neap_task_unref(&read->op.task);
  close_wire(&w);
}

/* Fills the client's socket with noise. */
static void fill_socket(const wire *w) {
  uv_os_fd_t fd;
  int least = 1;
  CHECK(uv_fileno(&w->client->uv.handle, &fd) == 0);
  CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least) == 0);
  while (send(fd, "\xfe\xfe", 2, MSG_DONTWAIT | MSG_NOSIGNAL) == 2)
    ;
}

TEST(a_close_has_patience_while_its_last_word_has_no_room) {
  wire w;
  open_turned(&w);
  fill_socket(&w);
  neap__stream_close(w.client);
  CHECK(w.client->filter->is_lingering);
  CHECK(finish(&start_write(w.client, 1)->op.task) == NEAP_FAILED);
  neap_task *closing = start_closing(w.client);
  CHECK(neap_task_status(closing) == NEAP_PENDING);
  CHECK(reads(w.peer, ""));
  CHECK(finish(closing) == NEAP_DONE);
  CHECK(neap_loop_stats(w.loop).timers == 0);
  close_wire(&w);
}

TEST(the_patience_of_a_close_ends) {
  wire w;
  open_turned(&w);
  fill_socket(&w);
  w.bench.clock.time = 100;
  neap_loop_set_clock(w.loop, &w.bench.clock.clock);
  neap__stream_rest(w.peer); /* it does not read */
  neap__stream_close(w.client);
  CHECK(finish(start_closing(w.client)) == NEAP_DONE);
  CHECK(neap_loop_now(w.loop) == 105);
  close_wire(&w);
}

TEST(a_close_that_has_patience_ends_with_the_loop) {
  wire w;
  open_turned(&w);
  fill_socket(&w);
  neap__stream_close(w.client);
  CHECK(w.client->filter->is_lingering);
  close_wire(&w);
}

TEST(a_dropped_stream_closes_and_tells_the_peer) {
  wire w;
  open_turned(&w);
  neap__stream_drop(w.client);
  CHECK(reads(w.peer, ""));
  neap__stream_unref(w.peer);
  neap__stream_unref(&w.server->stream);
  bench_close(&w.bench);
}

TEST(an_idle_filter_does_not_keep_the_loop_alive) {
  wire w;
  open_turned(&w);
  poll_uv(&w);
  CHECK(w.client->is_reading && w.peer->is_reading);
  CHECK(!uv_loop_alive(neap_loop_uv(w.loop)));
  close_wire(&w);
}

/* A protocol that takes `most` bytes in all and rests then, without the last ones. */
typedef struct taker {
  size_t most, taken;
  int code;
} taker;

static size_t take(neap__reader *reader, const char *bytes, size_t n) {
  taker *self = reader->sink_data;
  size_t rest = self->most - self->taken, used = n < rest ? n : rest;
  (void)bytes;
  self->taken += used;
  if (used < n) neap__reader_rest(reader);
  return used;
}

static void note_end(neap__reader *reader, int code) {
  ((taker *)reader->sink_data)->code = code;
}

static const neap__sink taking = {take, note_end};

TEST(a_protocol_behind_a_filter_says_when_it_is_read) {
  wire w;
  taker t = {.most = 3};
  open_turned(&w);
  CHECK(neap__reader_attach(&w.peer->reader, &taking, &t) == 0);
  CHECK(neap__reader_flow(&w.peer->reader) == 0);
  CHECK(finish(start_text(w.client, "ab")) == NEAP_DONE);
  poll_uv(&w);
  CHECK(t.taken == 2 && w.peer->is_reading);
  CHECK(finish(start_text(w.client, "cd")) == NEAP_DONE);
  poll_uv(&w);
  CHECK(t.taken == 3 && !w.peer->is_reading);
  CHECK(neap__reader_flow(&w.peer->reader) == 0);
  CHECK(w.peer->is_reading); /* with a byte buffered: the end is to be noticed */
  t.most = 4;
  neap__reader_offer(&w.peer->reader);
  CHECK(finish(start_shutdown(w.client)) == NEAP_DONE);
  poll_uv(&w);
  CHECK(t.taken == 4 && t.code == UV_EOF);
  close_wire(&w);
}

TEST(a_protocol_behind_a_filter_keeps_the_loop_alive) {
  wire w;
  taker t = {.most = 3};
  open_turned(&w);
  CHECK(neap__reader_attach(&w.peer->reader, &taking, &t) == 0);
  CHECK(neap__reader_flow(&w.peer->reader) == 0);
  CHECK(uv_loop_alive(neap_loop_uv(w.loop)));
  close_wire(&w);
  CHECK(t.code == NEAP_ECLOSED);
}

/* What was kept for want of memory comes on the spot, and then the rest of it. */
TEST(a_protocol_gets_what_a_filter_has_kept) {
  bool has_fired = true;
  for (unsigned long n = 1; has_fired && n < 100; n++) {
    wire w;
    taker t = {.most = 100};
    open_turned(&w);
    CHECK(finish(start_text(w.client, "payload")) == NEAP_DONE);
    neap_loop_fail_allocation(w.loop, n, false);
    poll_uv(&w);
    has_fired = neap_loop_fail_allocation(w.loop, 0, false);
    CHECK(neap__reader_attach(&w.peer->reader, &taking, &t) == 0);
    neap__reader_offer(&w.peer->reader);
    CHECK(neap__reader_flow(&w.peer->reader) == 0);
    poll_uv(&w);
    CHECK(t.taken == 7 && t.code == 0);
    CHECK(w.peer->is_reading);
    close_wire(&w);
  }
  CHECK(!has_fired);
}

/* Each allocation fails once: nothing is lost, or the operation tells. */
static void run_failing(unsigned long n, bool *has_fired) {
  wire w;
  open_turned(&w);
  neap_loop_fail_allocation(w.loop, n, false);
  neap__write *write = (neap__write *)neap__op_new(w.loop, &neap__write_kind);
  if (write) {
    CHECK(neap__write_reserve(write, 1));
    write->buffers[write->count++] = (uv_buf_t){"payload", 7};
    write->size = 7;
    write->stream = w.client;
    w.client->refs++;
    start(&write->op);
    poll_uv(&w);
    bool is_sent = neap_task_status(&write->op.task) == NEAP_DONE;
    CHECK(is_sent || neap_task_error(&write->op.task)->code == UV_ENOMEM);
    if (!is_sent) finish(start_text(w.client, "payload"));
    neap_task_unref(&write->op.task);
  }
  *has_fired = neap_loop_fail_allocation(w.loop, 0, false);
  if (write) CHECK(reads(w.peer, "payload"));
  close_wire(&w);
}

TEST(memory_that_is_short_loses_nothing) {
  bool has_fired = true;
  for (unsigned long n = 1; has_fired && n < 100; n++) run_failing(n, &has_fired);
  CHECK(!has_fired);
}

TEST(a_read_for_which_memory_is_short_is_repeated) {
  bool has_fired = true;
  for (unsigned long n = 1; has_fired && n < 100; n++) {
    wire w;
    open_turned(&w);
    neap__read *read = start_read(w.peer, 10);
    CHECK(finish(start_text(w.client, "payload")) == NEAP_DONE);
    neap_loop_fail_allocation(w.loop, n, false);
    poll_uv(&w);
    has_fired = neap_loop_fail_allocation(w.loop, 0, false);
    bool is_read = neap_task_status(&read->op.task) == NEAP_DONE;
    CHECK(is_read || neap_task_error(&read->op.task)->code == UV_ENOMEM);
    if (!is_read) CHECK(reads(w.peer, "payload"));
    neap_task_unref(&read->op.task);
    close_wire(&w);
  }
  CHECK(!has_fired);
}
