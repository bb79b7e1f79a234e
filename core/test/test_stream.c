#include "support.h"

#include "ops/stream.h"

static neap__stream_op *new_op(neap_loop *loop, const neap__op_kind *kind, neap__stream *stream) {
  neap__stream_op *self = (neap__stream_op *)neap__op_new(loop, kind);
  if (kind == &neap__accept_kind)
    self->server = stream;
  else
    self->stream = stream;
  if (stream) stream->refs++;
  return self;
}

static neap__stream_op *start(neap__stream_op *self) {
  neap__op_start(&self->op);
  return self;
}

static neap__stream_op *start_at(neap_loop *loop, const neap__op_kind *kind, int port) {
  neap__stream_op *self = new_op(loop, kind, NULL);
  self->host = neap__memory_copy(&loop->memory, "127.0.0.1");
  self->port = port;
  self->backlog = 16;
  return start(self);
}

static neap__stream_op *start_read(neap__stream *stream, size_t size) {
  neap__stream_op *self = new_op(stream->loop, &neap__read_kind, stream);
  self->size = size;
  return start(self);
}

static neap__stream_op *start_write(neap__stream *stream, size_t size) {
  neap__stream_op *self = new_op(stream->loop, &neap__write_kind, stream);
  self->data = neap__memory_new(&stream->loop->memory, size);
  self->size = size;
  return start(self);
}

static neap_status finish(neap__stream_op *self) {
  CHECK(neap_loop_run(self->op.task.loop, &self->op.task) == 0);
  return end_status(&self->op.task);
}

static neap__stream *finish_taking(neap__stream_op *self) {
  CHECK(neap_loop_run(self->op.task.loop, &self->op.task) == 0);
  CHECK(neap_task_status(&self->op.task) == NEAP_DONE);
  neap__stream *stream = neap__stream_op_take(self);
  neap_task_unref(&self->op.task);
  return stream;
}

/* A loop with a server and one connection, both ends of it. */
typedef struct wire {
  bench bench;
  neap_loop *loop;
  neap__stream *server, *client, *peer;
} wire;

static int port_of(const neap__stream *stream) {
  char host[NEAP__ADDRESS_SIZE];
  int port = 0;
  CHECK(neap__stream_address(stream, false, host, sizeof host, &port) == 0);
  CHECK(strcmp(host, "127.0.0.1") == 0);
  return port;
}

static void open_wire(wire *self) {
  self->loop = bench_open_on(&self->bench, NULL, false);
  self->server = finish_taking(start_at(self->loop, &neap__listen_kind, 0));
  neap__stream_op *accepting = start(new_op(self->loop, &neap__accept_kind, self->server));
  self->client = finish_taking(start_at(self->loop, &neap__connect_kind, port_of(self->server)));
  self->peer = finish_taking(accepting);
}

static void unref_wire(wire *self) {
  neap__stream_unref(self->client);
  neap__stream_unref(self->peer);
  neap__stream_unref(self->server);
}

/* With streams open: the loop closes them. */
static void close_wire(wire *self) {
  unref_wire(self);
  bench_close(&self->bench);
}

TEST(what_is_written_is_read) {
  wire w;
  open_wire(&w);
  CHECK(finish(start_write(w.client, 5)) == NEAP_DONE);
  neap__stream_op *read = start_read(w.peer, 100);
  CHECK(neap_loop_run(w.loop, &read->op.task) == 0);
  CHECK(read->size == 5);
  neap_task_unref(&read->op.task);
  close_wire(&w);
}

TEST(a_short_read_leaves_the_rest) {
  wire w;
  open_wire(&w);
  CHECK(finish(start_write(w.client, 5)) == NEAP_DONE);
  for (int i = 0; i < 2; i++) {
    neap__stream_op *read = start_read(w.peer, 3);
    CHECK(neap_loop_run(w.loop, &read->op.task) == 0);
    CHECK(read->size == (i ? 2 : 3));
    neap_task_unref(&read->op.task);
  }
  close_wire(&w);
}

TEST(the_end_is_read_as_nothing_again_and_again) {
  wire w;
  open_wire(&w);
  CHECK(finish(start(new_op(w.loop, &neap__shutdown_kind, w.client))) == NEAP_DONE);
  for (int i = 0; i < 2; i++) {
    neap__stream_op *read = start_read(w.peer, 3);
    CHECK(neap_loop_run(w.loop, &read->op.task) == 0);
    CHECK(neap_task_status(&read->op.task) == NEAP_DONE && read->size == 0);
    neap_task_unref(&read->op.task);
  }
  close_wire(&w);
}

TEST(a_cancelled_read_loses_nothing) {
  wire w;
  open_wire(&w);
  neap__stream_op *read = start_read(w.peer, 10);
  CHECK(neap_task_cancel(&read->op.task));
  neap_task_unref(&read->op.task);
  CHECK(finish(start_write(w.client, 4)) == NEAP_DONE);
  for (int i = 0; i < 3; i++) uv_run(neap_loop_uv(w.loop), UV_RUN_NOWAIT);
  read = start_read(w.peer, 10);
  CHECK(neap_loop_run(w.loop, &read->op.task) == 0);
  CHECK(read->size == 4);
  neap_task_unref(&read->op.task);
  close_wire(&w);
}

TEST(two_reads_at_a_time_are_misuse) {
  wire w;
  open_wire(&w);
  neap__stream_op *one = start_read(w.peer, 10), *other = start_read(w.peer, 10);
  CHECK(neap_task_error(&other->op.task)->code == NEAP_EMISUSE);
  neap_task_unref(&one->op.task);
  neap_task_unref(&other->op.task);
  close_wire(&w);
}

static size_t read_all(wire *w, size_t size) {
  size_t sum = 0;
  while (sum < size) {
    neap__stream_op *read = start_read(w->peer, 65536);
    CHECK(neap_loop_run(w->loop, &read->op.task) == 0);
    size_t n = read->size;
    neap_task_unref(&read->op.task);
    if (!CHECK(n > 0)) break;
    sum += n;
  }
  return sum;
}

enum { LARGE = 8 << 20, MANY = 100000 };

TEST(a_large_write_arrives_whole) {
  wire w;
  open_wire(&w);
  neap__stream_op *write = start_write(w.client, LARGE);
  CHECK(neap_task_status(&write->op.task) == NEAP_PENDING);
  CHECK(read_all(&w, LARGE) == LARGE);
  CHECK(finish(write) == NEAP_DONE);
  close_wire(&w);
}

TEST(a_cancelled_write_tells_how_much_was_sent) {
  wire w;
  open_wire(&w);
  neap__stream_op *write = start_write(w.client, LARGE), *next = start_write(w.client, 7);
  CHECK(neap_task_cancel(&write->op.task));
  size_t sent = write->sent;
  CHECK(sent > 0 && sent < LARGE);
  neap_task_unref(&write->op.task);
  CHECK(read_all(&w, sent + 7) == sent + 7);
  CHECK(finish(next) == NEAP_DONE);
  close_wire(&w);
}

TEST(a_hundred_thousand_queued_writes_end_without_recursion) {
  wire w;
  open_wire(&w);
  neap_task_unref(&start_write(w.client, LARGE)->op.task);
  for (int i = 1; i < MANY; i++) neap_task_unref(&start_write(w.client, 1)->op.task);
  neap__stream_op *last = start_write(w.client, 1);
  CHECK(read_all(&w, LARGE + MANY) == LARGE + MANY);
  CHECK(finish(last) == NEAP_DONE);
  close_wire(&w);
}

TEST(nobody_listens_is_an_error_with_the_address) {
  wire w;
  open_wire(&w);
  int port = port_of(w.server);
  char address[32];
  snprintf(address, sizeof address, "127.0.0.1:%d", port);
  neap__stream_close(w.server);
  neap__stream_op *connecting = start_at(w.loop, &neap__connect_kind, port);
  CHECK(neap_loop_run(w.loop, &connecting->op.task) == 0);
  const neap_error *error = neap_task_error(&connecting->op.task);
  if (CHECK(error != NULL)) {
    CHECK(error->code == UV_ECONNREFUSED);
    CHECK(strcmp(error->address, address) == 0 && strcmp(error->syscall, "connect") == 0);
  }
  neap_task_unref(&connecting->op.task);
  close_wire(&w);
}

TEST(a_port_in_use_is_an_error) {
  wire w;
  open_wire(&w);
  neap__stream_op *op = start_at(w.loop, &neap__listen_kind, port_of(w.server));
  CHECK(neap_task_error(&op->op.task) && neap_task_error(&op->op.task)->code == UV_EADDRINUSE);
  neap_task_unref(&op->op.task);
  close_wire(&w);
}

static int code_of(neap__stream_op *self) {
  const neap_error *error = neap_task_error(&self->op.task);
  int code = error ? error->code : 0;
  neap_task_unref(&self->op.task);
  return code;
}

TEST(closing_a_stream_fails_what_is_pending_on_it) {
  wire w;
  open_wire(&w);
  neap__stream_op *read = start_read(w.client, 1), *write = start_write(w.client, LARGE);
  neap__stream_op *queued = start_write(w.client, 1);
  neap__stream_op *accepting = start(new_op(w.loop, &neap__accept_kind, w.server));
  neap__stream_close(w.client);
  neap__stream_close(w.client);
  neap__stream_close(w.server);
  CHECK(code_of(read) == NEAP_ECLOSED && code_of(write) == NEAP_ECLOSED);
  CHECK(code_of(queued) == NEAP_ECLOSED && code_of(accepting) == NEAP_ECLOSED);
  CHECK(code_of(start_read(w.client, 1)) == NEAP_ECLOSED);
  CHECK(code_of(start_write(w.client, 1)) == NEAP_ECLOSED);
  CHECK(finish(start(new_op(w.loop, &neap__close_kind, w.client))) == NEAP_DONE);
  CHECK(finish(start(new_op(w.loop, &neap__close_kind, w.client))) == NEAP_DONE);
  close_wire(&w);
}

TEST(the_loop_closes_with_all_pending) {
  wire w;
  open_wire(&w);
  neap__stream_op *ops[] = {
      start_read(w.client, 1),
      start_write(w.client, LARGE),
      start_write(w.client, 1),
      start(new_op(w.loop, &neap__shutdown_kind, w.client)),
      start(new_op(w.loop, &neap__accept_kind, w.server)),
      start_at(w.loop, &neap__connect_kind, port_of(w.server)),
  };
  enum { COUNT = sizeof ops / sizeof *ops };
  neap_loop_close(w.loop);
  for (int i = 0; i < COUNT; i++) CHECK(end_status(&ops[i]->op.task) == NEAP_CANCELLED);
  unref_wire(&w); /* streams may outlive their loop */
  CHECK(atomic_load(&w.bench.memory.live) == 0);
}

TEST(a_cancelled_connect_closes_its_socket) {
  wire w;
  open_wire(&w);
  neap__stream_op *op = start_at(w.loop, &neap__connect_kind, port_of(w.server));
  CHECK(neap_task_cancel(&op->op.task));
  CHECK(end_status(&op->op.task) == NEAP_CANCELLED);
  close_wire(&w);
}
