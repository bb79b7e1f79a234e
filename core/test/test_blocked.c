#include "support.h"

#include "ops/blocked.h"

static neap_task *all_blocked(neap_loop *loop) {
  neap_task *task = NULL;
  CHECK(neap_loop_all_blocked(loop, &task) == 0);
  return task;
}

static neap_task *start_blocked_waiter(neap_loop *loop, journal *log, const char *name) {
  neap_task *blocked = all_blocked(loop);
  neap_task *task = start_waiter(loop, (waiter){.target = blocked, .journal = log, .name = name});
  neap_task_unref(blocked); /* its waiter keeps it */
  return task;
}

/* Notes its name after so many pauses. */
typedef struct pauser {
  int pauses;
  journal *journal;
} pauser;

static neap_step_result step_pauser(neap_task *task, void *frame) {
  pauser *self = frame;
  if (self->pauses-- > 0) {
    neap_task_pause(task);
    return NEAP_STEP_WAIT;
  }
  note(self->journal, "pauser");
  return NEAP_STEP_END;
}

static const neap_body pauser_body = {"pauser", sizeof(pauser), step_pauser, NULL, NULL};

static void start_pauser(neap_loop *loop, journal *log, int pauses) {
  neap_task *task;
  pauser init = {.pauses = pauses, .journal = log};
  CHECK(neap_task_start(loop, &pauser_body, &init, &task) == 0);
  neap_task_unref(task);
}

/* ---- All blocked ------------------------------------------------------------------------------ */

TEST(it_is_done_when_nothing_is_ready) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = all_blocked(loop);
  CHECK(neap_task_status(task) == NEAP_PENDING);
  CHECK(neap_loop_stats(loop).operations == 1);
  CHECK(neap_loop_step(loop) == NEAP_PROGRESS);
  CHECK(end_status(task) == NEAP_DONE);
  CHECK(neap_loop_step(loop) == NEAP_IDLE);
  bench_close_idle(&b);
}

TEST(it_waits_for_tasks_that_go_on_and_on) {
  const int pauses[] = {0, 1, NEAP__TURNS_PER_POLL, 5 * NEAP__TURNS_PER_POLL};
  for (int i = 0; i < 4; i++) {
    for (uint64_t seed = 0; seed < 3; seed++) {
      bench b;
      neap_loop *loop = bench_open(&b);
      journal log = {""};
      neap_loop_set_schedule(loop, seed);
      neap_task_unref(start_blocked_waiter(loop, &log, "blocked"));
      start_pauser(loop, &log, pauses[i]);
      CHECK(neap_loop_run(loop, NULL) == 0);
      CHECK(journal_is(&log, "pauser blocked"));
      bench_close_idle(&b);
    }
  }
}

TEST(it_is_done_before_virtual_time_moves) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task_unref(start_waiter(loop, (waiter){.seconds = 1, .journal = &log, .name = "sleeper"}));
  neap_task *task = start_blocked_waiter(loop, &log, "blocked");
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_loop_now(loop) == 0 && journal_is(&log, "blocked"));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(neap_loop_now(loop) == 1 && journal_is(&log, "blocked sleeper"));
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(a_deadline_that_is_due_comes_before_it) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task_unref(start_blocked_waiter(loop, &log, "blocked"));
  neap_task_unref(start_waiter(loop, (waiter){.seconds = 0, .journal = &log, .name = "sleeper"}));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "sleeper blocked"));
  bench_close_idle(&b);
}

static void post_note(void *data) {
  note(data, "post");
}

TEST(what_was_posted_comes_before_it) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task_unref(start_blocked_waiter(loop, &log, "blocked"));
  CHECK(neap_loop_post(loop, post_note, &log) == 0);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "post blocked"));
  bench_close_idle(&b);
}

TEST(it_does_not_wait_for_what_comes_from_outside) {
  for (int is_virtual = 0; is_virtual < 2; is_virtual++) {
    bench b;
    neap_loop *loop = bench_open_on(&b, NULL, is_virtual);
    neap_task *task = all_blocked(loop), *sleep = sleep_for(loop, 1000);
    neap_loop_hold(loop); /* another thread will post, but never does */
    CHECK(neap_loop_run(loop, task) == 0);
    CHECK(neap_task_status(sleep) == NEAP_PENDING);
    neap_loop_release(loop);
    neap_task_cancel(sleep);
    neap_task_unref(sleep);
    CHECK(end_status(task) == NEAP_DONE);
    bench_close_idle(&b);
  }
}

TEST(several_are_done_at_once_in_their_order) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task *tasks[] = {all_blocked(loop), all_blocked(loop), all_blocked(loop)};
  const char *names[] = {"c", "a", "b"};
  for (int i = 0; i < 3; i++)
    neap_task_unref(start_waiter(
        loop, (waiter){.target = tasks[(i + 2) % 3], .journal = &log, .name = names[i]}));
  neap_loop_step(loop);
  for (int i = 0; i < 3; i++) CHECK(end_status(tasks[i]) == NEAP_DONE);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "a b c"));
  bench_close_idle(&b);
}

/* A body that waits for it again and again. */
typedef struct observer {
  int rounds;
  journal *journal;
  neap_task *blocked;
} observer;

static neap_step_result step_observer(neap_task *task, void *frame) {
  observer *self = frame;
  if (self->blocked) {
    CHECK(neap_task_status(self->blocked) == NEAP_DONE);
    neap_task_unref(self->blocked);
    note(self->journal, "blocked");
  }
  self->blocked = NULL;
  if (self->rounds-- == 0) return NEAP_STEP_END;
  self->blocked = all_blocked(task->loop);
  return neap_task_await(task, self->blocked) ? NEAP_STEP_WAIT : NEAP_STEP_END;
}

static const neap_body observer_body = {"observer", sizeof(observer), step_observer, NULL, NULL};

TEST(it_may_be_waited_for_again) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  observer init = {.rounds = 3, .journal = &log};
  neap_task *task;
  CHECK(neap_task_start(loop, &observer_body, &init, &task) == 0);
  neap_task_unref(start_waiter(loop, (waiter){.seconds = 1, .journal = &log, .name = "sleeper"}));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "blocked blocked blocked sleeper"));
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(it_is_cancelled_like_any_operation) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {all_blocked(loop), all_blocked(loop), all_blocked(loop)};
  CHECK(neap_task_cancel(tasks[1]));
  CHECK(!neap_task_cancel(tasks[1]));
  CHECK(neap_loop_stats(loop).operations == 2);
  CHECK(neap_loop_run(loop, tasks[2]) == 0);
  CHECK(end_status(tasks[0]) == NEAP_DONE);
  CHECK(end_status(tasks[1]) == NEAP_CANCELLED);
  CHECK(end_status(tasks[2]) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(it_is_cancelled_with_its_scope_and_not_begun_in_a_cancelled_one) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *before = all_blocked(loop);
  CHECK(neap__node_cancel(&loop->root.node, NULL));
  CHECK(end_status(before) == NEAP_CANCELLED);
  CHECK(end_status(all_blocked(loop)) == NEAP_CANCELLED);
  CHECK(neap_loop_stats(loop).operations == 0);
  bench_close_idle(&b);
}

TEST(it_goes_on_without_its_holder) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task_unref(all_blocked(loop));
  CHECK(neap_loop_stats(loop).operations == 1);
  neap_loop_step(loop);
  CHECK(neap_loop_stats(loop).operations == 0);
  bench_close_idle(&b);
}

TEST(a_loop_closes_while_it_is_waited_for) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task *held = all_blocked(loop);
  neap_task_unref(all_blocked(loop));
  neap_task_unref(start_blocked_waiter(loop, &log, "blocked"));
  neap_loop_close(loop);
  CHECK(end_status(held) == NEAP_CANCELLED);
  CHECK(journal_is(&log, "") && atomic_load(&b.memory.live) == 0);
}

TEST(after_it_a_deadlock_is_a_deadlock_again) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue;
  neap_task *wait;
  journal log = {""};
  CHECK(neap_queue_new(loop, &queue) == 0);
  CHECK(neap_queue_wait(queue, &wait) == 0);
  neap_task_unref(start_blocked_waiter(loop, &log, "blocked"));
  CHECK(neap_loop_run(loop, wait) == NEAP_EDEADLOCK);
  CHECK(journal_is(&log, "blocked"));
  neap_task_unref(wait);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(without_memory_it_is_refused) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = NULL;
  neap_loop_fail_allocation(loop, 1, false);
  CHECK(neap_loop_all_blocked(loop, &task) == UV_ENOMEM);
  CHECK(task == NULL && neap_loop_fail_allocation(loop, 0, false));
  bench_close_idle(&b);
}

TEST(it_is_done_on_a_loop_that_the_host_runs_too) {
  bench b;
  uv_loop_t uv;
  CHECK(uv_loop_init(&uv) == 0);
  neap_loop *loop = bench_open_on(&b, &uv, false);
  neap_task *task = all_blocked(loop), *sleep = sleep_for(loop, 0.01);
  uv_run(&uv, UV_RUN_DEFAULT);
  CHECK(end_status(sleep) == NEAP_DONE);
  CHECK(end_status(task) == NEAP_DONE);
  neap_loop_close(loop);
  uv_run(&uv, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&uv) == 0);
  CHECK(atomic_load(&b.memory.live) == 0);
}

/* ---- Another clock --------------------------------------------------------------------------------- */

static void start_sleepers(neap_loop *loop, journal *log) {
  const double seconds[] = {3, 1, 2};
  const char *names[] = {"c", "a", "b"};
  for (int i = 0; i < 3; i++)
    neap_task_unref(
        start_waiter(loop, (waiter){.seconds = seconds[i], .journal = log, .name = names[i]}));
}

TEST(deadlines_keep_their_order_and_what_is_left_to_them) {
  const double times[] = {1000, 0, -1000, 0.25};
  for (int i = 0; i < 4; i++) {
    bench b;
    neap_loop *loop = bench_open(&b);
    neap_virtual_clock other;
    journal log = {""};
    neap_virtual_clock_init(&other, times[i]);
    start_sleepers(loop, &log);
    neap_task *half = sleep_for(loop, 0.5);
    CHECK(neap_loop_run(loop, half) == 0);
    neap_task_unref(half);
    neap_loop_set_clock(loop, &other.clock);
    CHECK(neap_loop_now(loop) == times[i] && journal_is(&log, ""));
    CHECK(neap_loop_run(loop, NULL) == 0);
    CHECK(journal_is(&log, "a b c"));
    CHECK(neap_loop_now(loop) == times[i] + 2.5);
    CHECK(b.clock.time == 0.5); /* the former one stands still */
    bench_close_idle(&b);
  }
}

TEST(nothing_is_due_because_the_clock_was_replaced) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 5);
  neap_virtual_clock other;
  neap_virtual_clock_init(&other, 1e6);
  other.horizon = 0; /* it does not move by itself */
  neap_loop_set_clock(loop, &other.clock);
  neap_loop_step(loop);
  CHECK(neap_task_status(sleep) == NEAP_PENDING);
  other.time += 4;
  neap_loop_step(loop);
  CHECK(neap_task_status(sleep) == NEAP_PENDING);
  other.time += 1;
  neap_loop_step(loop);
  CHECK(end_status(sleep) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(all_kinds_of_deadlines_move_with_the_clock) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  neap_virtual_clock other;
  CHECK(neap_token_new(loop, &token) == 0);
  CHECK(neap_token_cancel_after(token, 2) == 0);
  neap_task *never = sleep_for(loop, HUGE_VAL), *sleep = sleep_for(loop, 3);
  neap_virtual_clock_init(&other, 50);
  neap_loop_set_clock(loop, &other.clock);
  neap_loop_step(loop); /* moves the time */
  neap__loop_turns(loop);
  CHECK(neap_loop_now(loop) == 52 && neap_token_timed_out(token));
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(neap_loop_now(loop) == 53);
  CHECK(neap_task_status(never) == NEAP_PENDING);
  neap_task_cancel(never);
  neap_task_unref(never);
  neap_task_unref(sleep);
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(the_clock_of_the_machine_comes_back) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 0.02), *longer = sleep_for(loop, 1000);
  neap_loop_set_clock(loop, NULL);
  double before = neap_loop_now(loop);
  CHECK(neap_loop_run(loop, sleep) == 0);
  double passed = neap_loop_now(loop) - before;
  CHECK(passed > 0.01 && passed < 10);
  neap_loop_set_clock(loop, &b.clock.clock);
  CHECK(neap_loop_run(loop, longer) == 0);
  CHECK(fabs(neap_loop_now(loop) - 1000) < 10);
  neap_task_unref(sleep);
  neap_task_unref(longer);
  bench_close_idle(&b);
}

enum { CROWD = 1000 };

static neap_task *sleeps[CROWD];

/* Where the new time is so large that deadlines fall together, they end in the order of their start. */
TEST(a_crowd_of_deadlines_is_a_heap_after_each_change) {
  const double times[] = {0.1, 1e6, 1e15, 1e17, -1e17, 3, 1e300, 0};
  bench b;
  neap_loop *loop = bench_open(&b);
  uint32_t seed = 7;
  for (int i = 0; i < CROWD; i++) {
    seed = seed * 1664525 + 1013904223;
    sleeps[i] = sleep_for(loop, (seed >> 8) / 1e5);
  }
  neap_virtual_clock clocks[8];
  for (int i = 0; i < 8; i++) {
    neap_virtual_clock_init(&clocks[i], times[i]);
    neap_loop_set_clock(loop, &clocks[i].clock);
    CHECK(neap__timers_is_valid(&loop->timers));
  }
  for (int i = 0; i < CROWD; i++) {
    CHECK(neap_loop_run(loop, sleeps[i]) == 0);
    neap_task_unref(sleeps[i]);
  }
  bench_close_idle(&b);
}

TEST(the_first_deadline_of_many_is_right_after_a_change) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_virtual_clock other;
  neap_virtual_clock_init(&other, 5000);
  for (int i = 0; i < CROWD; i++) sleeps[i] = sleep_for(loop, 1 + (i * 7919) % CROWD);
  neap_loop_set_clock(loop, &other.clock);
  double last = 0;
  for (int turn = 0; turn < CROWD; turn++) {
    double next = neap__timers_next(&loop->timers);
    CHECK(next > last && next == 5001 + turn);
    last = next;
    neap_loop_step(loop); /* moves the time */
    neap__loop_turns(loop);
  }
  for (int i = 0; i < CROWD; i++) CHECK(end_status(sleeps[i]) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_loop_of_the_host_wakes_for_deadlines_of_another_clock) {
  bench b;
  uv_loop_t uv;
  CHECK(uv_loop_init(&uv) == 0);
  neap_loop *loop = bench_open_on(&b, &uv, true);
  neap_task *sleep = sleep_for(loop, 0.01);
  neap_loop_set_clock(loop, NULL);
  uv_run(&uv, UV_RUN_DEFAULT);
  CHECK(end_status(sleep) == NEAP_DONE);
  neap_loop_close(loop);
  uv_run(&uv, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&uv) == 0);
  CHECK(atomic_load(&b.memory.live) == 0);
}
