#include "wire.h"

#include <stdlib.h>

TEST(what_is_written_is_read) {
  wire w;
  open_wire(&w);
  CHECK(finish(&start_write(w.client, 5)->op.task) == NEAP_DONE);
  neap__read *read = start_read(w.peer, 100);
  CHECK(neap_loop_run(w.loop, &read->op.task) == 0);
  CHECK(read->length == 5);
  neap_task_unref(&read->op.task);
  close_wire(&w);
}

TEST(a_short_read_leaves_the_rest) {
  wire w;
  open_wire(&w);
  CHECK(finish(&start_write(w.client, 5)->op.task) == NEAP_DONE);
  for (int i = 0; i < 2; i++) {
    neap__read *read = start_read(w.peer, 3);
    CHECK(neap_loop_run(w.loop, &read->op.task) == 0);
    CHECK(read->length == (i ? 2 : 3));
    neap_task_unref(&read->op.task);
  }
  close_wire(&w);
}

TEST(the_end_is_read_as_nothing_again_and_again) {
  wire w;
  open_wire(&w);
  CHECK(finish(start_shutdown(w.client)) == NEAP_DONE);
  for (int i = 0; i < 2; i++) {
    neap__read *read = start_read(w.peer, 3);
    CHECK(neap_loop_run(w.loop, &read->op.task) == 0);
    CHECK(neap_task_status(&read->op.task) == NEAP_DONE && read->length == 0);
    neap_task_unref(&read->op.task);
  }
  close_wire(&w);
}

TEST(a_cancelled_read_loses_nothing) {
  wire w;
  open_wire(&w);
  neap__read *read = start_read(w.peer, 10);
  CHECK(neap_task_cancel(&read->op.task));
  neap_task_unref(&read->op.task);
  CHECK(finish(&start_write(w.client, 4)->op.task) == NEAP_DONE);
  for (int i = 0; i < 3; i++) uv_run(neap_loop_uv(w.loop), UV_RUN_NOWAIT);
  read = start_read(w.peer, 10);
  CHECK(neap_loop_run(w.loop, &read->op.task) == 0);
  CHECK(read->length == 4);
  neap_task_unref(&read->op.task);
  close_wire(&w);
}

TEST(two_reads_at_a_time_are_misuse) {
  wire w;
  open_wire(&w);
  neap__read *one = start_read(w.peer, 10), *other = start_read(w.peer, 10);
  CHECK(neap_task_error(&other->op.task)->code == NEAP_EMISUSE);
  neap_task_unref(&one->op.task);
  neap_task_unref(&other->op.task);
  close_wire(&w);
}

static size_t read_all(wire *w, size_t size) {
  size_t sum = 0;
  while (sum < size) {
    neap__read *read = start_read(w->peer, 65536);
    CHECK(neap_loop_run(w->loop, &read->op.task) == 0);
    size_t n = read->length;
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
  neap__write *write = start_write(w.client, LARGE);
  CHECK(neap_task_status(&write->op.task) == NEAP_PENDING);
  CHECK(read_all(&w, LARGE) == LARGE);
  CHECK(finish(&write->op.task) == NEAP_DONE);
  close_wire(&w);
}

TEST(a_cancelled_write_tells_how_much_was_sent) {
  wire w;
  open_wire(&w);
  neap__write *write = start_write(w.client, LARGE), *next = start_write(w.client, 7);
  CHECK(neap_task_cancel(&write->op.task));
  size_t sent = write->sent;
  CHECK(sent > 0 && sent < LARGE);
  neap_task_unref(&write->op.task);
  CHECK(read_all(&w, sent + 7) == sent + 7);
  CHECK(finish(&next->op.task) == NEAP_DONE);
  close_wire(&w);
}

TEST(a_hundred_thousand_queued_writes_end_without_recursion) {
  wire w;
  open_wire(&w);
  neap_task_unref(&start_write(w.client, LARGE)->op.task);
  for (int i = 1; i < MANY; i++) neap_task_unref(&start_write(w.client, 1)->op.task);
  neap__write *last = start_write(w.client, 1);
  CHECK(read_all(&w, LARGE + MANY) == LARGE + MANY);
  CHECK(finish(&last->op.task) == NEAP_DONE);
  close_wire(&w);
}

TEST(nobody_listens_is_an_error_with_the_address) {
  wire w;
  open_wire(&w);
  int port = port_of(w.server);
  char address[32];
  snprintf(address, sizeof address, "127.0.0.1:%d", port);
  neap__stream_close(&w.server->stream);
  neap_task *connecting = start_connect(w.loop, port);
  CHECK(neap_loop_run(w.loop, connecting) == 0);
  const neap_error *error = neap_task_error(connecting);
  if (CHECK(error != NULL)) {
    CHECK(error->code == UV_ECONNREFUSED);
    CHECK(strcmp(error->address, address) == 0 && strcmp(error->syscall, "connect") == 0);
  }
  neap_task_unref(connecting);
  close_wire(&w);
}

TEST(a_port_in_use_is_an_error) {
  wire w;
  open_wire(&w);
  neap_task *task = start_listen(w.loop, port_of(w.server));
  CHECK(neap_task_error(task) && neap_task_error(task)->code == UV_EADDRINUSE);
  neap_task_unref(task);
  close_wire(&w);
}

static int code_of(neap_task *task) {
  const neap_error *error = neap_task_error(task);
  int code = error ? error->code : 0;
  neap_task_unref(task);
  return code;
}

TEST(closing_a_stream_fails_what_is_pending_on_it) {
  wire w;
  open_wire(&w);
  neap_task *read = &start_read(w.client, 1)->op.task;
  neap_task *write = &start_write(w.client, LARGE)->op.task;
  neap_task *queued = &start_write(w.client, 1)->op.task;
  neap_task *accepting = start_accept(w.server);
  neap__stream_close(w.client);
  neap__stream_close(w.client);
  neap__stream_close(&w.server->stream);
  CHECK(code_of(read) == NEAP_ECLOSED && code_of(write) == NEAP_ECLOSED);
  CHECK(code_of(queued) == NEAP_ECLOSED && code_of(accepting) == NEAP_ECLOSED);
  CHECK(code_of(&start_read(w.client, 1)->op.task) == NEAP_ECLOSED);
  CHECK(code_of(&start_write(w.client, 1)->op.task) == NEAP_ECLOSED);
  CHECK(finish(start_closing(w.client)) == NEAP_DONE);
  CHECK(finish(start_closing(w.client)) == NEAP_DONE);
  close_wire(&w);
}

TEST(the_loop_closes_with_all_pending) {
  wire w;
  open_wire(&w);
  neap_task *tasks[] = {
      &start_read(w.client, 1)->op.task,
      &start_write(w.client, LARGE)->op.task,
      &start_write(w.client, 1)->op.task,
      start_shutdown(w.client),
      start_accept(w.server),
      start_connect(w.loop, port_of(w.server)),
  };
  enum { COUNT = sizeof tasks / sizeof *tasks };
  neap_loop_close(w.loop);
  for (int i = 0; i < COUNT; i++) CHECK(end_status(tasks[i]) == NEAP_CANCELLED);
  unref_wire(&w); /* streams may outlive their loop */
  CHECK(atomic_load(&w.bench.memory.live) == 0);
}

TEST(a_cancelled_connect_closes_its_socket) {
  wire w;
  open_wire(&w);
  neap_task *task = start_connect(w.loop, port_of(w.server));
  CHECK(neap_task_cancel(task));
  CHECK(end_status(task) == NEAP_CANCELLED);
  close_wire(&w);
}

/* ---- Writes that follow each other ------------------------------------------------------------- */

typedef struct follower {
  neap__wait wait;
  neap__stream *stream;
  neap__write *next;
} follower;

static void start_next(neap__wait *wait) {
  follower *self = NEAP__CONTAINER(wait, follower, wait);
  self->next = start_write(self->stream, 8000000);
}

TEST(a_write_may_start_when_the_one_before_it_ends) {
  wire w;
  open_wire(&w);
  follower f = {.stream = w.client};
  neap__write *first = start_write(w.client, 8000000);
  neap__wait_start(&f.wait, &first->op.task, start_next);
  for (size_t count = 0; count < 16000000;) {
    neap__read *read = start_read(w.peer, 65536);
    finish_well(&read->op.task);
    count += read->length;
    if (!CHECK(read->length > 0)) break;
    neap_task_unref(&read->op.task);
  }
  finish_well(&f.next->op.task);
  CHECK(f.next->sent == 8000000);
  neap_task_unref(&first->op.task);
  neap_task_unref(&f.next->op.task);
  close_wire(&w);
}
