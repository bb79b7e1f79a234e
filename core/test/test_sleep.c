#include "support.h"

#include "ops/sleep.h"

TEST(a_sleep_ends_when_its_time_has_come) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 2.5);
  CHECK(neap_task_status(sleep) == NEAP_PENDING);
  CHECK(neap_loop_stats(loop).timers == 1);
  CHECK(neap_loop_stats(loop).operations == 1);
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(neap_loop_now(loop) == 2.5);
  CHECK(neap_task_value(sleep) == NULL && neap_task_error(sleep) == NULL);
  CHECK(end_status(sleep) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(sleeping_for_no_time_ends_in_the_next_turn) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 0);
  CHECK(neap_task_status(sleep) == NEAP_PENDING);
  neap_loop_step(loop);
  CHECK(end_status(sleep) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(equal_sleeps_end_in_the_order_of_their_start) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  const char *names[] = {"a", "b", "c"};
  neap_task *tasks[3];
  for (int i = 0; i < 3; i++)
    tasks[i] = start_waiter(loop, (waiter){.seconds = 1, .journal = &log, .name = names[i]});
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "a b c"));
  for (int i = 0; i < 3; i++) CHECK(end_status(tasks[i]) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_cancelled_sleep_disarms_its_timer_at_once) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 10);
  CHECK(neap_task_cancel(sleep));
  CHECK(!neap_task_cancel(sleep));
  CHECK(neap_loop_stats(loop).timers == 0);
  CHECK(neap_loop_stats(loop).operations == 0);
  CHECK(neap_task_error(sleep) == NULL);
  CHECK(end_status(sleep) == NEAP_CANCELLED);
  bench_close_idle(&b);
}

TEST(cancelling_a_sleep_that_has_ended_does_nothing) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 1);
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(!neap_task_cancel(sleep));
  CHECK(end_status(sleep) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_dropped_sleep_goes_on_and_frees_itself) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task_unref(sleep_for(loop, 1));
  CHECK(neap_loop_stats(loop).operations == 1);
  neap_task *longer = sleep_for(loop, 2);
  CHECK(neap_loop_run(loop, longer) == 0);
  CHECK(neap_loop_stats(loop).operations == 0);
  neap_task_unref(longer);
  bench_close_idle(&b);
}

TEST(a_sleep_ended_early_is_done) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 10);
  neap__sleep_end((neap__sleep *)sleep);
  neap__sleep_end((neap__sleep *)sleep);
  CHECK(neap_loop_stats(loop).timers == 0);
  CHECK(end_status(sleep) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_sleep_without_an_end_is_a_deadlock) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, HUGE_VAL);
  CHECK(neap_loop_run(loop, sleep) == NEAP_EDEADLOCK);
  CHECK(neap_task_cancel(sleep));
  neap_task_unref(sleep);
  bench_close_idle(&b);
}

TEST(closing_the_loop_cancels_sleeps) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *held = sleep_for(loop, 1);
  neap_task_unref(sleep_for(loop, 2));
  neap_loop_close(loop);
  CHECK(neap_task_status(held) == NEAP_CANCELLED);
  neap_task_unref(held);
  CHECK(atomic_load(&b.memory.live) == 0);
}

TEST(without_memory_there_is_no_sleep) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = NULL;
  neap_loop_fail_allocation(loop, 1, false);
  CHECK(neap_sleep(loop, 1, &sleep) == UV_ENOMEM);
  CHECK(sleep == NULL);
  neap_loop_fail_allocation(loop, 2, false); /* the heap of timers */
  CHECK(neap_sleep(loop, 1, &sleep) == 0);
  CHECK(neap_task_error(sleep) && neap_task_error(sleep)->code == UV_ENOMEM);
  CHECK(end_status(sleep) == NEAP_FAILED);
  bench_close_idle(&b);
}

TEST(a_real_clock_wakes_in_time) {
  bench b;
  neap_loop *loop = bench_open_on(&b, NULL, false);
  double start = neap_loop_now(loop);
  neap_task *sleep = sleep_for(loop, 0.02);
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(neap_loop_now(loop) - start >= 0.02);
  CHECK(end_status(sleep) == NEAP_DONE);
  bench_close_idle(&b);
}

/* Each look takes a second: a deadline that is not due when a turn looks is due when it is waited for. */
static double tick(neap_clock *clock) {
  static double time;
  (void)clock;
  return time += 1;
}

TEST(a_deadline_that_comes_between_the_turn_and_the_wait_is_not_missed) {
  neap_clock clock = {tick, NULL};
  neap_loop *loop;
  CHECK(neap_loop_new(&(neap_loop_options){.clock = &clock}, &loop) == 0);
  neap_loop_hold(loop); /* as open sockets do: libuv has something to wait for */
  neap_task *sleep = sleep_for(loop, 1.5);
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(end_status(sleep) == NEAP_DONE);
  neap_loop_release(loop);
  neap_loop_close(loop);
}

TEST(ten_thousand_sleeps_end) {
  bench b;
  neap_loop *loop = bench_open(&b);
  srand(3);
  for (int i = 0; i < 10000; i++) neap_task_unref(sleep_for(loop, rand() % 100));
  neap_task *last = sleep_for(loop, 100);
  CHECK(neap_loop_run(loop, last) == 0);
  neap_task_unref(last);
  bench_close_idle(&b);
}

TEST(a_duration_that_is_none_is_refused) {
  neap_loop *loop;
  neap_task *task;
  CHECK(neap_loop_new(NULL, &loop) == 0);
  CHECK(neap_sleep(loop, -1, &task) == UV_EINVAL);
  CHECK(neap_sleep(loop, NAN, &task) == UV_EINVAL);
  neap_loop_close(loop);
}
