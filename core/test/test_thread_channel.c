// tsan: channels between loops on threads of their own
#include "support.h"

#include "thread_channel.h"

/* What goes through: a number that counts what happens to it. */
typedef struct number {
  int value;
  atomic_int received, released;
} number;

static void release_number(void *item) {
  atomic_fetch_add(&((number *)item)->released, 1);
}

static number *make_numbers(int count) {
  number *numbers = calloc((size_t)count, sizeof *numbers);
  for (int i = 0; i < count; i++) numbers[i].value = i;
  return numbers;
}

static neap_channel *new_channel(size_t capacity) {
  neap_channel_options options = {.capacity = capacity, .release = release_number};
  neap_channel *channel = NULL;
  CHECK(neap_channel_new(&options, &channel) == 0);
  return channel;
}

/* A loop with a port of a channel, both to itself. */
typedef struct end {
  bench b;
  neap_loop *loop;
  neap_channel *channel;
  neap_port *port;
} end;

static void open_port(end *self, neap_channel *channel, bool is_virtual) {
  self->loop = bench_open_on(&self->b, NULL, is_virtual);
  self->channel = channel;
  CHECK(neap_port_open(self->loop, channel, &self->port) == 0);
}

/* The port has the only reference. */
static void open_alone(end *self, size_t capacity) {
  open_port(self, new_channel(capacity), true);
  neap_channel_unref(self->channel);
}

static void close_end(end *self) {
  neap_port_unref(self->port);
  bench_close_idle(&self->b);
}

static neap_task *send_to(end *self, number *item) {
  neap_task *task = NULL;
  CHECK(neap_port_send(self->port, item, &task) == 0);
  return task;
}

static neap_task *receive_from(end *self) {
  neap_task *task = NULL;
  CHECK(neap_port_recv(self->port, &task) == 0);
  return task;
}

/* Ends the task of a receive; the value of what it has got, -1 for nothing. */
static int end_receive(neap_task *task, neap_status status) {
  CHECK(neap_task_status(task) == status);
  number *item = neap_port_take(task);
  CHECK(!neap_port_take(task));
  neap_task_unref(task);
  if (!item) return -1;
  atomic_fetch_add(&item->received, 1);
  return item->value;
}

static int try_receive(neap_channel *channel) {
  void *item;
  if (neap_channel_try_recv(channel, &item)) return -1;
  atomic_fetch_add(&((number *)item)->received, 1);
  return ((number *)item)->value;
}

/* Lets the posts arrive. */
static void settle(end *self) {
  neap_task *blocked;
  CHECK(neap_loop_all_blocked(self->loop, &blocked) == 0);
  CHECK(neap_loop_run(self->loop, blocked) == 0);
  neap_task_unref(blocked);
}

/* ---- One loop --------------------------------------------------------------------------------- */

TEST(items_and_waits_are_first_in_first_out) {
  end e;
  number n[5] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
  open_alone(&e, 2);
  neap_task *sends[5], *receives[5];
  for (int i = 0; i < 5; i++) sends[i] = send_to(&e, &n[i]);
  CHECK(neap_channel_count(e.channel) == 2);
  for (int i = 0; i < 5; i++)
    CHECK(neap_task_status(sends[i]) == (i < 2 ? NEAP_DONE : NEAP_PENDING));
  CHECK(end_receive(receive_from(&e), NEAP_DONE) == 0);
  settle(&e);
  CHECK(neap_task_status(sends[2]) == NEAP_DONE && neap_task_status(sends[3]) == NEAP_PENDING);
  for (int i = 1; i < 5; i++) CHECK(end_receive(receive_from(&e), NEAP_DONE) == i);
  settle(&e);
  for (int i = 0; i < 5; i++) CHECK(end_status(sends[i]) == NEAP_DONE);
  for (int i = 0; i < 5; i++) receives[i] = receive_from(&e);
  for (int i = 0; i < 5; i++) CHECK(end_status(send_to(&e, &n[i])) == NEAP_DONE);
  CHECK(neap_task_status(receives[0]) == NEAP_PENDING); /* the post is under way */
  settle(&e);
  for (int i = 0; i < 5; i++) CHECK(end_receive(receives[i], NEAP_DONE) == i);
  close_end(&e);
}

TEST(capacity_0_hands_over) {
  end e;
  number n[2] = {{.value = 0}, {.value = 1}};
  open_alone(&e, 0);
  neap_task *send = send_to(&e, &n[0]);
  CHECK(neap_task_status(send) == NEAP_PENDING && neap_channel_count(e.channel) == 0);
  CHECK(end_receive(receive_from(&e), NEAP_DONE) == 0);
  settle(&e);
  CHECK(end_status(send) == NEAP_DONE);
  neap_task *receive = receive_from(&e);
  CHECK(end_status(send_to(&e, &n[1])) == NEAP_DONE);
  settle(&e);
  CHECK(end_receive(receive, NEAP_DONE) == 1);
  close_end(&e);
}

TEST(unbounded_takes_whatever_comes) {
  enum { COUNT = 1000 };
  end e;
  number *n = make_numbers(COUNT);
  open_alone(&e, SIZE_MAX);
  for (int i = 0; i < COUNT; i++) CHECK(end_status(send_to(&e, &n[i])) == NEAP_DONE);
  CHECK(neap_channel_count(e.channel) == COUNT);
  for (int i = 0; i < COUNT; i++) CHECK(try_receive(e.channel) == i);
  close_end(&e);
  free(n);
}

TEST(try_forms_do_not_wait) {
  end e;
  number n[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
  void *item;
  open_alone(&e, 1);
  CHECK(neap_channel_try_recv(e.channel, &item) == UV_EAGAIN);
  CHECK(neap_channel_try_send(e.channel, &n[0]) == 0);
  CHECK(neap_channel_try_send(e.channel, &n[1]) == UV_EAGAIN);
  neap_task *send = send_to(&e, &n[2]);
  CHECK(try_receive(e.channel) == 0); /* what waits has moved up: nobody overtakes it */
  CHECK(neap_channel_try_send(e.channel, &n[1]) == UV_EAGAIN);
  CHECK(try_receive(e.channel) == 2);
  settle(&e);
  CHECK(end_status(send) == NEAP_DONE);
  CHECK(neap_channel_close(e.channel, NULL));
  CHECK(neap_channel_try_recv(e.channel, &item) == NEAP_ECLOSED);
  CHECK(neap_channel_try_send(e.channel, &n[1]) == NEAP_ECLOSED);
  CHECK(n[1].released == 0);
  close_end(&e);
}

TEST(a_closed_channel_is_drained_first) {
  end e;
  number n[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
  open_alone(&e, 1);
  CHECK(end_status(send_to(&e, &n[0])) == NEAP_DONE);
  neap_task *waiting = send_to(&e, &n[1]);
  CHECK(!neap_channel_is_closed(e.channel));
  CHECK(neap_channel_close(e.channel, NULL) && !neap_channel_close(e.channel, NULL));
  CHECK(neap_channel_is_closed(e.channel) && !neap_channel_reason(e.channel));
  settle(&e);
  CHECK(neap_task_error(waiting)->code == NEAP_ECLOSED && n[1].released == 1);
  CHECK(end_status(waiting) == NEAP_FAILED);
  neap_task *late = send_to(&e, &n[2]);
  CHECK(neap_task_error(late)->code == NEAP_ECLOSED && end_status(late) == NEAP_FAILED);
  CHECK(n[2].released == 1);
  CHECK(end_receive(receive_from(&e), NEAP_DONE) == 0);
  CHECK(end_receive(receive_from(&e), NEAP_DONE) == -1);
  close_end(&e);
}

TEST(closing_with_a_reason_fails_receivers_at_the_end) {
  end e;
  number n[2] = {{.value = 0}, {.value = 1}}, why[2] = {{.value = 8}, {.value = 9}};
  open_alone(&e, 1);
  neap_task *waiting = receive_from(&e);
  CHECK(neap_channel_close(e.channel, &why[0]));
  CHECK(!neap_channel_close(e.channel, &why[1]) && why[1].released == 0);
  CHECK(neap_channel_reason(e.channel) == &why[0]);
  settle(&e);
  CHECK(neap_task_error(waiting)->code == NEAP_ECLOSED);
  CHECK(end_receive(waiting, NEAP_FAILED) == -1);
  CHECK(end_receive(receive_from(&e), NEAP_FAILED) == -1);
  close_end(&e);
  CHECK(why[0].released == 1 && n[0].released == 0);
}

TEST(what_is_left_in_a_channel_is_freed_with_it) {
  end e;
  number n[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
  open_alone(&e, 2);
  for (int i = 0; i < 2; i++) neap_task_unref(send_to(&e, &n[i]));
  neap_task *waiting = send_to(&e, &n[2]);
  CHECK(neap_task_cancel(waiting) && n[2].released == 1);
  CHECK(end_status(waiting) == NEAP_CANCELLED);
  close_end(&e);
  for (int i = 0; i < 3; i++) CHECK(n[i].released == 1);
}

TEST(the_ports_of_a_loop_are_one) {
  end e;
  neap_port *again;
  open_alone(&e, 0);
  CHECK(neap_port_open(e.loop, e.channel, &again) == 0 && again == e.port);
  CHECK(neap_port_channel(again) == e.channel);
  neap_port_unref(again);
  close_end(&e);
}

/* ---- Cancelling ------------------------------------------------------------------------------- */

TEST(a_cancelled_wait_takes_nothing_and_the_others_keep_their_order) {
  end e;
  number n[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
  open_alone(&e, 0);
  neap_task *receives[3];
  for (int i = 0; i < 3; i++) receives[i] = receive_from(&e);
  CHECK(neap_task_cancel(receives[1]) && !neap_task_cancel(receives[1]));
  for (int i = 0; i < 2; i++) CHECK(neap_channel_try_send(e.channel, &n[i]) == 0);
  CHECK(neap_channel_try_send(e.channel, &n[2]) == UV_EAGAIN);
  settle(&e);
  CHECK(end_receive(receives[0], NEAP_DONE) == 0);
  CHECK(end_receive(receives[1], NEAP_CANCELLED) == -1);
  CHECK(end_receive(receives[2], NEAP_DONE) == 1);
  close_end(&e);
}

TEST(one_that_is_completed_is_done_however_it_is_cancelled) {
  end e;
  number n[2] = {{.value = 0}, {.value = 1}};
  open_alone(&e, 0);
  neap_task *receive = receive_from(&e);
  CHECK(neap_channel_try_send(e.channel, &n[0]) == 0);
  CHECK(neap_task_status(receive) == NEAP_PENDING);
  neap_task_cancel(receive);
  CHECK(end_receive(receive, NEAP_DONE) == 0);
  neap_task *send = send_to(&e, &n[1]);
  CHECK(try_receive(e.channel) == 1);
  neap_task_cancel(send);
  CHECK(end_status(send) == NEAP_DONE);
  settle(&e);
  close_end(&e);
}

/* A body that receives until the end, or is cancelled. */
typedef struct consumer {
  neap_port *port;
  neap_task *receive;
  int *count; /* of what it has got */
  int last;
} consumer;

static neap_step_result step_consumer(neap_task *task, void *frame) {
  consumer *self = frame;
  for (;;) {
    if (self->receive) {
      bool has_ended = neap_task_status(self->receive) != NEAP_PENDING;
      number *item = has_ended ? neap_port_take(self->receive) : NULL;
      neap_task_unref(self->receive);
      self->receive = NULL;
      if (!item) return NEAP_STEP_END;
      atomic_fetch_add(&item->received, 1);
      self->last = item->value;
      ++*self->count;
    }
    if (neap_port_recv(self->port, &self->receive)) return NEAP_STEP_END;
    if (neap_task_await(task, self->receive)) return NEAP_STEP_WAIT;
  }
}

static void release_consumer(void *frame) {
  consumer *self = frame;
  if (self->receive) neap_task_unref(self->receive);
}

static const neap_body consumer_body = {.name = "consumer",
                                        .frame_size = sizeof(consumer),
                                        .step = step_consumer,
                                        .release = release_consumer};

static neap_task *start_consumer(end *self, int *count) {
  neap_task *task = NULL;
  consumer init = {.port = self->port, .count = count};
  CHECK(neap_task_start(self->loop, &consumer_body, &init, &task) == 0);
  return task;
}

/* [S72] The item is in the inbox when the body is cancelled: the body gets it, and then the request. */
TEST(a_body_that_is_cancelled_gets_the_item_that_is_under_way) {
  end e;
  number n = {0};
  int count = 0;
  open_alone(&e, 0);
  neap_task *body = start_consumer(&e, &count);
  CHECK(neap_channel_try_send(e.channel, &n) == 0);
  CHECK(neap_task_cancel(body));
  CHECK(neap_loop_run(e.loop, body) == 0);
  CHECK(count == 1 && n.received == 1 && n.released == 0);
  CHECK(end_status(body) == NEAP_CANCELLED);
  settle(&e);
  close_end(&e);
}

TEST(a_body_that_is_cancelled_while_it_waits_takes_nothing) {
  end e;
  number n = {0};
  int count = 0;
  open_alone(&e, 0);
  neap_task *body = start_consumer(&e, &count);
  CHECK(neap_task_cancel(body));
  CHECK(neap_channel_try_send(e.channel, &n) == UV_EAGAIN);
  CHECK(neap_loop_run(e.loop, body) == 0);
  CHECK(count == 0 && end_status(body) == NEAP_CANCELLED);
  close_end(&e);
}

/* A body that is cancelled before it starts anything. */
typedef struct late {
  end *end;
  number *item;
} late;

static neap_step_result step_late(neap_task *task, void *frame) {
  const late *self = frame;
  if (!neap_task_is_cancelling(task)) {
    neap_task_cancel(task);
    neap_task_pause(task);
    return NEAP_STEP_WAIT;
  }
  CHECK(end_receive(receive_from(self->end), NEAP_CANCELLED) == -1);
  CHECK(end_status(send_to(self->end, self->item)) == NEAP_CANCELLED);
  return NEAP_STEP_END;
}

/* [S71] */
TEST(in_a_cancelled_scope_nothing_happens) {
  end e;
  number n[2] = {{.value = 0}, {.value = 1}};
  const neap_body body = {.name = "late", .frame_size = sizeof(late), .step = step_late};
  neap_task *task;
  late init = {&e, &n[1]};
  open_alone(&e, 2);
  CHECK(neap_channel_try_send(e.channel, &n[0]) == 0);
  CHECK(neap_task_start(e.loop, &body, &init, &task) == 0);
  CHECK(neap_loop_run(e.loop, task) == 0);
  neap_task_unref(task);
  CHECK(neap_channel_count(e.channel) == 1 && n[1].released == 1);
  close_end(&e);
}

TEST(a_receive_that_nobody_holds_takes_its_item) {
  end e;
  number n = {0};
  open_alone(&e, 0);
  neap_task_unref(receive_from(&e));
  CHECK(neap_channel_try_send(e.channel, &n) == 0);
  settle(&e);
  CHECK(n.released == 1);
  close_end(&e);
}

/* ---- Who can wake it --------------------------------------------------------------------------- */

TEST(waiting_on_a_channel_that_nobody_else_has_is_a_deadlock) {
  end e;
  open_alone(&e, 0);
  neap_task *receive = receive_from(&e);
  CHECK(neap_loop_run(e.loop, receive) == NEAP_EDEADLOCK);
  neap_task_cancel(receive);
  neap_task_unref(receive);
  close_end(&e);
}

static void let_go_of_channel(void *data) {
  neap_channel_unref(data);
}

static void send_and_let_go(void *data) {
  static number sent;
  uv_sleep(5);
  CHECK(neap_channel_try_send(data, &sent) == 0);
  neap_channel_unref(data);
}

TEST(a_loop_waits_as_long_as_another_thread_has_the_channel) {
  for (int is_virtual = 0; is_virtual < 2; is_virtual++) {
    end e;
    uv_thread_t thread;
    open_port(&e, new_channel(0), is_virtual);
    neap_task *receive = receive_from(&e);
    CHECK(e.loop->holds == 1);
    CHECK(uv_thread_create(&thread, send_and_let_go, e.channel) == 0);
    CHECK(neap_loop_run(e.loop, receive) == 0);
    CHECK(end_receive(receive, NEAP_DONE) == 0);
    uv_thread_join(&thread);
    settle(&e);
    CHECK(e.loop->holds == 0);
    close_end(&e);
  }
}

TEST(the_last_other_thread_that_lets_go_leaves_a_deadlock) {
  end e;
  uv_thread_t thread;
  open_port(&e, new_channel(0), false);
  neap_task *receive = receive_from(&e);
  CHECK(uv_thread_create(&thread, let_go_of_channel, e.channel) == 0);
  CHECK(neap_loop_run(e.loop, receive) == NEAP_EDEADLOCK);
  uv_thread_join(&thread);
  neap_task_cancel(receive);
  neap_task_unref(receive);
  close_end(&e);
}

TEST(a_reference_that_is_made_while_it_waits_holds_the_loop) {
  end e;
  open_alone(&e, 0);
  neap_task *receive = receive_from(&e);
  CHECK(e.loop->holds == 0);
  neap_channel *channel = neap_channel_ref(e.channel);
  settle(&e);
  CHECK(e.loop->holds == 1);
  neap_task_cancel(receive);
  CHECK(e.loop->holds == 0);
  neap_task_unref(receive);
  neap_channel_unref(channel);
  close_end(&e);
}

/* The port is gone before the post that says that it is the only one has arrived. */
TEST(a_port_may_go_before_it_is_told) {
  end e;
  open_port(&e, new_channel(0), true);
  neap_task *receive = receive_from(&e);
  neap_channel_unref(e.channel);
  neap_task_cancel(receive);
  neap_task_unref(receive);
  neap_port_unref(e.port);
  settle(&e);
  bench_close_idle(&e.b);
}

static void send_later(void *data) {
  static number sent;
  uv_sleep(10);
  CHECK(neap_channel_try_send(data, &sent) == 0);
}

TEST(a_virtual_clock_does_not_jump_while_another_thread_is_at_work) {
  end e;
  uv_thread_t thread;
  open_port(&e, new_channel(0), true);
  e.b.clock.horizon = HUGE_VAL;
  neap_task *sleep = sleep_for(e.loop, 1000), *receive = receive_from(&e);
  CHECK(uv_thread_create(&thread, send_later, e.channel) == 0);
  CHECK(neap_loop_run(e.loop, receive) == 0);
  CHECK(e.b.clock.time == 0 && neap_task_status(sleep) == NEAP_PENDING);
  CHECK(end_receive(receive, NEAP_DONE) == 0);
  uv_thread_join(&thread);
  CHECK(neap_loop_run(e.loop, sleep) == 0 && e.b.clock.time == 1000);
  neap_task_unref(sleep);
  neap_channel_unref(e.channel);
  close_end(&e);
}

/* It may be this loop, after the sleep, that gives the other thread its work. */
TEST(a_virtual_clock_jumps_in_the_end) {
  end e;
  open_port(&e, new_channel(0), true);
  e.b.clock.horizon = HUGE_VAL;
  neap_task *sleep = sleep_for(e.loop, 1000), *receive = receive_from(&e);
  CHECK(neap_loop_run(e.loop, sleep) == 0 && e.b.clock.time == 1000);
  neap_task_unref(sleep);
  neap_task_cancel(receive);
  neap_task_unref(receive);
  neap_channel_unref(e.channel);
  close_end(&e);
}

/* ---- A loop that closes ------------------------------------------------------------------------ */

TEST(a_loop_that_closes_leaves_the_item_to_the_next) {
  end a, b;
  number n = {0};
  open_port(&a, new_channel(0), true);
  open_port(&b, a.channel, true);
  neap_channel_unref(a.channel);
  neap_task *lost = receive_from(&a), *next = receive_from(&b);
  a.loop->is_closing = true; /* as neap_loop_close begins */
  neap__inbox_close(a.loop->inbox);
  CHECK(neap_channel_try_send(b.channel, &n) == 0);
  neap_port_unref(a.port);
  neap_loop_close(a.loop);
  CHECK(end_receive(lost, NEAP_CANCELLED) == -1);
  CHECK(atomic_load(&a.b.memory.live) == 0);
  CHECK(neap_loop_run(b.loop, next) == 0);
  CHECK(end_receive(next, NEAP_DONE) == 0);
  close_end(&b);
}

TEST(a_sender_whose_loop_closes_has_not_sent) {
  end a, b;
  number n[2] = {{.value = 0}, {.value = 1}};
  open_port(&a, new_channel(0), true);
  open_port(&b, a.channel, true);
  neap_channel_unref(a.channel);
  neap_task *lost = send_to(&a, &n[0]), *next = send_to(&b, &n[1]);
  a.loop->is_closing = true;
  neap__inbox_close(a.loop->inbox);
  CHECK(try_receive(b.channel) == 1);
  neap_port_unref(a.port);
  neap_loop_close(a.loop);
  CHECK(end_status(lost) == NEAP_CANCELLED && n[0].released == 1 && n[0].received == 0);
  CHECK(neap_loop_run(b.loop, next) == 0);
  CHECK(end_status(next) == NEAP_DONE);
  close_end(&b);
}

TEST(closing_a_channel_passes_by_a_loop_that_closes) {
  end a, b;
  number n[2] = {{.value = 0}, {.value = 1}};
  open_port(&a, new_channel(0), true);
  open_port(&b, a.channel, true);
  neap_channel_unref(a.channel);
  neap_task *lost = send_to(&a, &n[0]), *next = send_to(&b, &n[1]);
  a.loop->is_closing = true;
  neap__inbox_close(a.loop->inbox);
  CHECK(neap_channel_close(b.channel, NULL));
  neap_port_unref(a.port);
  neap_loop_close(a.loop);
  CHECK(end_status(lost) == NEAP_CANCELLED && n[0].released == 1);
  CHECK(neap_loop_run(b.loop, next) == 0);
  CHECK(end_status(next) == NEAP_FAILED && n[1].released == 1);
  close_end(&b);
}

TEST(what_was_completed_when_its_loop_closes_is_done) {
  end e;
  number n = {0};
  open_port(&e, new_channel(0), true);
  neap_task *receive = receive_from(&e);
  CHECK(neap_channel_try_send(e.channel, &n) == 0);
  neap_port_unref(e.port);
  neap_loop_close(e.loop);
  CHECK(end_receive(receive, NEAP_DONE) == 0);
  neap_channel_unref(e.channel);
  CHECK(atomic_load(&e.b.memory.live) == 0);
}

TEST(a_loop_closes_with_waits_that_nobody_holds) {
  end e;
  number n = {0};
  open_port(&e, new_channel(0), true);
  neap_task_unref(send_to(&e, &n));
  neap_port_unref(e.port);
  bench_close(&e.b);
  CHECK(n.released == 1);
  neap_channel_unref(e.channel);
}

/* ---- Without memory ----------------------------------------------------------------------------- */

static bool is_failing;

static void *fail_to_allocate(void *data, void *block, size_t size) {
  (void)data;
  if (size > 0) return is_failing ? NULL : realloc(block, size);
  free(block);
  return NULL;
}

TEST(a_channel_without_memory_says_so) {
  neap_channel_options options = {
      .capacity = SIZE_MAX, .release = release_number, .allocator = fail_to_allocate};
  neap_channel *channel;
  end e;
  number n[2] = {{.value = 0}, {.value = 1}};
  is_failing = true;
  CHECK(neap_channel_new(&options, &channel) == UV_ENOMEM);
  is_failing = false;
  CHECK(neap_channel_new(&options, &channel) == 0);
  open_port(&e, channel, true);
  is_failing = true;
  CHECK(neap_channel_try_send(channel, &n[0]) == UV_ENOMEM && n[0].released == 0);
  neap_task *send = send_to(&e, &n[0]);
  CHECK(neap_task_error(send)->code == UV_ENOMEM && end_status(send) == NEAP_FAILED);
  CHECK(n[0].released == 1);
  is_failing = false;
  CHECK(neap_channel_try_send(channel, &n[1]) == 0);
  CHECK(try_receive(channel) == 1);
  neap_channel_unref(channel);
  close_end(&e);
}

TEST(a_loop_without_memory_says_so) {
  end e;
  number n = {0};
  neap_port *port;
  neap_task *task;
  open_alone(&e, 1);
  neap_loop_fail_allocation(e.loop, 1, true);
  CHECK(neap_port_send(e.port, &n, &task) == UV_ENOMEM && n.released == 0);
  CHECK(neap_port_recv(e.port, &task) == UV_ENOMEM);
  neap_channel *other = new_channel(0);
  CHECK(neap_port_open(e.loop, other, &port) == UV_ENOMEM);
  CHECK(neap_loop_fail_allocation(e.loop, 0, false));
  neap_channel_unref(other);
  close_end(&e);
}

/* ---- Threads ------------------------------------------------------------------------------------ */

enum { SENDERS = 2, RECEIVERS = 2, PER_SENDER = 50000, TOTAL = SENDERS * PER_SENDER };

typedef struct producer {
  neap_port *port;
  number *items;
  int count, next;
  neap_task *send;
  int *failed; /* how many sends have not succeeded; after the first one it stops */
} producer;

static neap_step_result step_producer(neap_task *task, void *frame) {
  producer *self = frame;
  for (;;) {
    if (self->send) {
      bool is_done = neap_task_status(self->send) == NEAP_DONE;
      neap_task_unref(self->send);
      self->send = NULL;
      if (!is_done) ++*self->failed;
      if (!is_done) return NEAP_STEP_END;
    }
    if (self->next == self->count) return NEAP_STEP_END;
    CHECK(neap_port_send(self->port, &self->items[self->next++], &self->send) == 0);
    if (neap_task_await(task, self->send)) return NEAP_STEP_WAIT;
  }
}

static const neap_body producer_body = {
    .name = "producer", .frame_size = sizeof(producer), .step = step_producer};

static neap_task *start_producer(end *self, number *items, int count, int *failed) {
  neap_task *task = NULL;
  producer init = {.port = self->port, .items = items, .count = count, .failed = failed};
  CHECK(neap_task_start(self->loop, &producer_body, &init, &task) == 0);
  return task;
}

typedef struct worker {
  uv_thread_t thread;
  neap_channel *channel; /* a reference, given to the thread */
  number *items;         /* NULL: it receives */
  int count, failed;
} worker;

/* The channel of the thread; its reference is the port's from now on. */
static void open_worker(worker *self, end *e) {
  open_port(e, self->channel, false);
  neap_channel_unref(self->channel);
}

static void run_worker(void *data) {
  worker *self = data;
  end e;
  open_worker(self, &e);
  neap_task *task = self->items ? start_producer(&e, self->items, self->count, &self->failed)
                                : start_consumer(&e, &self->count);
  CHECK(neap_loop_run(e.loop, task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  close_end(&e);
}

static void start_worker(worker *self, neap_channel *channel, number *items, int count,
                         void (*run)(void *data)) {
  *self = (worker){.channel = neap_channel_ref(channel), .items = items, .count = count};
  CHECK(uv_thread_create(&self->thread, run, self) == 0);
}

static void check_each_once(const number *numbers, int count, const char *what) {
  int bad = 0;
  for (int i = 0; i < count; i++) bad += numbers[i].received + numbers[i].released != 1;
  if (!CHECK(bad == 0)) fprintf(stderr, "# %s: %d items not exactly once\n", what, bad);
}

static void exchange(size_t capacity) {
  neap_channel *channel = new_channel(capacity);
  number *numbers = make_numbers(TOTAL);
  worker senders[SENDERS], receivers[RECEIVERS];
  for (int i = 0; i < SENDERS; i++)
    start_worker(&senders[i], channel, numbers + i * PER_SENDER, PER_SENDER, run_worker);
  for (int i = 0; i < RECEIVERS; i++) start_worker(&receivers[i], channel, NULL, 0, run_worker);
  int received = 0;
  for (int i = 0; i < SENDERS; i++) uv_thread_join(&senders[i].thread);
  CHECK(neap_channel_close(channel, NULL));
  for (int i = 0; i < RECEIVERS; i++) {
    uv_thread_join(&receivers[i].thread);
    received += receivers[i].count;
  }
  CHECK(received == TOTAL);
  for (int i = 0; i < TOTAL; i++) CHECK(numbers[i].received == 1 && numbers[i].released == 0);
  neap_channel_unref(channel);
  free(numbers);
}

TEST(each_item_arrives_once_from_two_threads_at_two) {
  exchange(100);
}

TEST(each_item_is_handed_over_once_from_two_threads_to_two) {
  exchange(0);
}

TEST(each_item_arrives_once_through_one_place_and_through_any) {
  exchange(1);
  exchange(SIZE_MAX);
}

/* ---- Races --------------------------------------------------------------------------------------- */

/* Receives, lets the loop look a varying number of times, and cancels, until the channel ends. */
static void receive_and_cancel(void *data) {
  worker *self = data;
  end e;
  open_worker(self, &e);
  for (unsigned round = 0;; round++) {
    neap_task *receive = receive_from(&e);
    for (unsigned i = 0; i < round % 4; i++) uv_run(neap_loop_uv(e.loop), UV_RUN_NOWAIT);
    neap_task_cancel(receive);
    neap_status status = neap_task_status(receive);
    int value = end_receive(receive, status);
    self->count += value >= 0;
    CHECK(status == NEAP_CANCELLED ? value < 0 : status == NEAP_DONE);
    if (status == NEAP_DONE && value < 0) break;
  }
  settle(&e);
  close_end(&e);
}

static void exchange_with(size_t capacity, int count, void (*send)(void *data),
                          void (*receive)(void *data)) {
  neap_channel *channel = new_channel(capacity);
  number *numbers = make_numbers(count);
  worker sender, receivers[2];
  start_worker(&sender, channel, numbers, count, send);
  for (int i = 0; i < 2; i++) start_worker(&receivers[i], channel, NULL, 0, receive);
  uv_thread_join(&sender.thread);
  neap_channel_close(channel, NULL);
  for (int i = 0; i < 2; i++) uv_thread_join(&receivers[i].thread);
  neap_channel_unref(channel);
  check_each_once(numbers, count, "race");
  int released = 0;
  for (int i = 0; i < count; i++) released += numbers[i].released;
  CHECK(released + receivers[0].count + receivers[1].count == count);
  free(numbers);
}

TEST(a_cancellation_that_races_a_delivery_loses_nothing) {
  exchange_with(0, 2000, run_worker, receive_and_cancel);
  exchange_with(3, 2000, run_worker, receive_and_cancel);
}

/* Bodies this time: what cancels them asks whether the receive keeps them. */
static void cancel_bodies(void *data) {
  worker *self = data;
  end e;
  open_worker(self, &e);
  while (!neap_channel_is_closed(e.channel)) {
    neap_task *body = start_consumer(&e, &self->count);
    for (int i = 0; i < 3; i++) {
      neap__loop_turns(e.loop);
      uv_run(neap_loop_uv(e.loop), UV_RUN_NOWAIT);
    }
    neap_task_cancel(body);
    CHECK(neap_loop_run(e.loop, body) == 0);
    neap_task_unref(body);
  }
  neap_task *rest = start_consumer(&e, &self->count);
  CHECK(neap_loop_run(e.loop, rest) == 0);
  neap_task_unref(rest);
  settle(&e);
  close_end(&e);
}

TEST(a_cancelled_body_loses_nothing_either) {
  exchange_with(0, 2000, run_worker, cancel_bodies);
  exchange_with(3, 2000, run_worker, cancel_bodies);
}

/* Sends and cancels; what was not sent was freed. */
static void send_and_cancel(void *data) {
  worker *self = data;
  end e;
  open_worker(self, &e);
  for (int i = 0; i < self->count; i++) {
    neap_task *send = send_to(&e, &self->items[i]);
    for (int j = 0; j < i % 4; j++) uv_run(neap_loop_uv(e.loop), UV_RUN_NOWAIT);
    neap_task_cancel(send);
    CHECK(end_status(send) != NEAP_CANCELLED || self->items[i].released == 1);
  }
  settle(&e);
  close_end(&e);
}

TEST(a_send_that_is_cancelled_has_sent_or_has_not) {
  exchange_with(0, 2000, send_and_cancel, run_worker);
}

/* A loop after the other, each with some receives, is closed at some moment. */
static void receive_and_close(void *data) {
  enum { BATCH = 4 };
  worker *self = data;
  bool is_over = false;
  for (unsigned round = 0; !is_over; round++) {
    end e;
    neap_task *receives[BATCH];
    open_port(&e, self->channel, false);
    for (int i = 0; i < BATCH; i++) receives[i] = receive_from(&e);
    for (unsigned i = 0; i < round % 5; i++) uv_run(neap_loop_uv(e.loop), UV_RUN_NOWAIT);
    neap_port_unref(e.port);
    neap_loop_close(e.loop);
    for (int i = 0; i < BATCH; i++) {
      neap_status status = neap_task_status(receives[i]);
      int value = end_receive(receives[i], status);
      self->count += value >= 0;
      is_over |= status == NEAP_DONE && value < 0;
    }
    CHECK(atomic_load(&e.b.memory.live) == 0);
  }
  neap_channel_unref(self->channel);
}

TEST(a_loop_whose_end_races_a_delivery_loses_nothing) {
  exchange_with(0, 1000, run_worker, receive_and_close);
  exchange_with(5, 1000, run_worker, receive_and_close);
}

static void send_and_close(void *data) {
  enum { BATCH = 4 };
  worker *self = data;
  for (int i = 0; i < self->count;) {
    end e;
    open_port(&e, self->channel, false);
    for (int j = 0; j < BATCH && i < self->count; j++)
      neap_task_unref(send_to(&e, &self->items[i++]));
    for (int j = 0; j < i / BATCH % 5; j++) uv_run(neap_loop_uv(e.loop), UV_RUN_NOWAIT);
    neap_port_unref(e.port);
    bench_close(&e.b);
  }
  neap_channel_unref(self->channel);
}

TEST(a_loop_whose_end_races_a_receive_sends_once_or_not) {
  exchange_with(0, 1000, send_and_close, run_worker);
  exchange_with(5, 1000, send_and_close, run_worker);
}

/* Closed by one of those who receive, while others send. */
TEST(closing_that_races_sends_ends_all_of_them) {
  for (int round = 0; round < 50; round++) {
    enum { COUNT = 1000 };
    neap_channel *channel = new_channel(round % 5);
    number *numbers = make_numbers(2 * COUNT);
    worker senders[2], receiver;
    for (int i = 0; i < 2; i++)
      start_worker(&senders[i], channel, numbers + i * COUNT, COUNT, run_worker);
    start_worker(&receiver, channel, NULL, 0, run_worker);
    for (int i = 0; i < round * 20; i++) (void)try_receive(channel);
    CHECK(neap_channel_close(channel, NULL));
    for (int i = 0; i < 2; i++) uv_thread_join(&senders[i].thread);
    uv_thread_join(&receiver.thread);
    CHECK(neap_channel_count(channel) == 0);
    neap_channel_unref(channel);
    int again = 0;
    for (int i = 0; i < 2 * COUNT; i++) again += numbers[i].received + numbers[i].released > 1;
    CHECK(again == 0);
    for (int i = 0; i < 2; i++) {
      int met = 0;
      for (int j = 0; j < COUNT; j++)
        met += numbers[i * COUNT + j].received + numbers[i * COUNT + j].released;
      CHECK(senders[i].failed ? met >= 1 : met == COUNT);
    }
    free(numbers);
  }
}

/* All let go at once, with items and waits in the channel. */
static void wait_and_let_go(void *data) {
  worker *self = data;
  end e;
  open_worker(self, &e);
  neap_task_unref(send_to(&e, &self->items[0]));
  neap_task *receive = receive_from(&e);
  uv_run(neap_loop_uv(e.loop), UV_RUN_NOWAIT);
  neap_task_cancel(receive);
  end_receive(receive, neap_task_status(receive));
  neap_port_unref(e.port);
  bench_close(&e.b);
}

TEST(the_last_thread_frees_the_channel) {
  enum { THREADS = 4 };
  for (int round = 0; round < 100; round++) {
    number *numbers = make_numbers(THREADS);
    neap_channel *channel = new_channel(round % 3);
    worker workers[THREADS];
    for (int i = 0; i < THREADS; i++)
      start_worker(&workers[i], channel, &numbers[i], 1, wait_and_let_go);
    neap_channel_unref(channel);
    for (int i = 0; i < THREADS; i++) uv_thread_join(&workers[i].thread);
    check_each_once(numbers, THREADS, "last thread");
    free(numbers);
  }
}
