#include "support.h"

enum { CHAIN = 100000 };

static int releases;

static void count_release(void *value) {
  (void)value;
  releases++;
}

static int some_value;

/* A body that ends in the way it is told to, after a pause if asked for. */
typedef struct ender {
  enum { FINISH, FAIL, FINISH_NULL, NEITHER, BOTH } how;
  int pauses;
  int *frames_released;
} ender;

static void use_outcome(neap_task *task, const ender *self) {
  const neap_error error = {.code = UV_EIO, .message = "broken", .syscall = "write", .path = "/x"};
  if (self->how == FINISH || self->how == BOTH) neap_task_finish(task, &some_value, count_release);
  if (self->how == FINISH_NULL) neap_task_finish(task, NULL, count_release);
  if (self->how == FAIL || self->how == BOTH) neap_task_fail(task, &error);
}

static neap_step_result step_ender(neap_task *task, void *frame) {
  ender *self = frame;
  if (self->pauses-- > 0) {
    neap_task_pause(task);
    return NEAP_STEP_WAIT;
  }
  use_outcome(task, self);
  return NEAP_STEP_END;
}

static void release_ender(void *frame) {
  ender *self = frame;
  if (self->frames_released) ++*self->frames_released;
}

static const neap_body ender_body = {"ender", sizeof(ender), step_ender, release_ender, NULL};

static neap_task *start_ender(neap_loop *loop, ender init) {
  neap_task *task = NULL;
  releases = 0;
  CHECK(neap_task_start(loop, &ender_body, &init, &task) == 0);
  return task;
}

TEST(a_body_runs_at_once_to_its_first_wait) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *done = start_ender(loop, (ender){.how = NEITHER});
  neap_task *pending = start_ender(loop, (ender){.how = NEITHER, .pauses = 1});
  CHECK(neap_task_status(done) == NEAP_DONE);
  CHECK(neap_task_status(pending) == NEAP_PENDING);
  CHECK(neap_loop_stats(loop).tasks == 1);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(end_status(done) == NEAP_DONE);
  CHECK(end_status(pending) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(tasks_are_numbered_in_the_order_of_creation) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *first = start_ender(loop, (ender){.how = NEITHER});
  neap_task *second = sleep_for(loop, 0);
  CHECK(neap_task_id(first) == 1 && neap_task_id(second) == 2);
  neap_task_unref(first);
  neap_task_unref(second);
  bench_close(&b);
}

static neap_step_result step_zeroes(neap_task *task, void *frame) {
  const char *bytes = frame;
  for (int i = 0; i < 1000; i++) CHECK(bytes[i] == 0);
  (void)task;
  return NEAP_STEP_END;
}

static const neap_body zero_body = {"zeroes", 1000, step_zeroes, NULL, NULL};

TEST(a_frame_without_init_is_zeroed) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  CHECK(neap_task_start(loop, &zero_body, NULL, &task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_value_is_released_once_at_the_last_reference) {
  bench b;
  neap_loop *loop = bench_open(&b);
  int frames = 0;
  neap_task *task = start_ender(loop, (ender){.how = FINISH, .frames_released = &frames});
  CHECK(frames == 1);
  CHECK(neap_task_value(task) == &some_value);
  neap_task_unref(neap_task_ref(task));
  CHECK(releases == 0);
  neap_task_unref(task);
  CHECK(releases == 1);
  bench_close_idle(&b);
}

TEST(a_null_value_is_not_released) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = start_ender(loop, (ender){.how = FINISH_NULL});
  CHECK(neap_task_value(task) == NULL);
  CHECK(end_status(task) == NEAP_DONE);
  CHECK(releases == 0);
  bench_close_idle(&b);
}

TEST(a_failure_keeps_its_fields) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = start_ender(loop, (ender){.how = FAIL, .pauses = 2});
  CHECK(neap_task_error(task) == NULL); /* not yet */
  CHECK(neap_loop_run(loop, task) == 0);
  const neap_error *error = neap_task_error(task);
  if (CHECK(error != NULL)) {
    CHECK(error->code == UV_EIO);
    CHECK(strcmp(error->message, "broken") == 0 && strcmp(error->syscall, "write") == 0);
    CHECK(error->path && strcmp(error->path, "/x") == 0);
  }
  CHECK(neap_task_value(task) == NULL);
  CHECK(end_status(task) == NEAP_FAILED);
  bench_close_idle(&b);
}

TEST(failing_after_finishing_fails_and_releases_the_value) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = start_ender(loop, (ender){.how = BOTH});
  CHECK(neap_task_value(task) == NULL);
  CHECK(end_status(task) == NEAP_FAILED);
  CHECK(releases == 1);
  bench_close_idle(&b);
}

TEST(a_value_of_a_task_that_nobody_holds_is_released) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task_unref(start_ender(loop, (ender){.how = FINISH, .pauses = 1}));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(releases == 1);
  bench_close_idle(&b);
}

TEST(without_memory_no_task_starts) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = NULL;
  int frames = 0;
  ender init = {.how = FINISH, .frames_released = &frames};
  neap_loop_fail_allocation(loop, 1, false);
  CHECK(neap_task_start(loop, &ender_body, &init, &task) == UV_ENOMEM);
  CHECK(task == NULL && frames == 0);
  bench_close_idle(&b);
}

/* ---- Awaiting ------------------------------------------------------------------------------- */

TEST(awaiting_an_ended_task_does_not_wait) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *done = start_ender(loop, (ender){.how = FINISH});
  neap_task *task = start_waiter(loop, (waiter){.target = done});
  CHECK(end_status(task) == NEAP_DONE);
  neap_task_unref(done);
  bench_close_idle(&b);
}

TEST(waiters_are_woken_in_the_order_in_which_they_came) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  const char *names[] = {"a", "b", "c"};
  neap_task *sleep = sleep_for(loop, 1), *tasks[3];
  for (int i = 0; i < 3; i++)
    tasks[i] = start_waiter(loop, (waiter){.target = sleep, .journal = &log, .name = names[i]});
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "a b c"));
  for (int i = 0; i < 3; i++) neap_task_unref(tasks[i]);
  neap_task_unref(sleep);
  bench_close_idle(&b);
}

TEST(a_waiter_keeps_what_it_awaits) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *inner = start_waiter(loop, (waiter){.seconds = 1});
  neap_task *outer = start_waiter(loop, (waiter){.target = inner});
  neap_task_unref(inner);
  CHECK(neap_loop_run(loop, outer) == 0);
  CHECK(end_status(outer) == NEAP_DONE);
  bench_close_idle(&b);
}

static neap_task *start_chain(neap_loop *loop, int length) {
  neap_task *last = sleep_for(loop, 1);
  for (int i = 0; i < length; i++) {
    neap_task *next = start_waiter(loop, (waiter){.target = last});
    neap_task_unref(last);
    last = next;
  }
  return last;
}

TEST(a_chain_of_a_hundred_thousand_awaits_ends) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *last = start_chain(loop, CHAIN);
  CHECK(neap_loop_stats(loop).tasks == CHAIN);
  CHECK(neap_loop_run(loop, last) == 0);
  CHECK(end_status(last) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_chain_of_a_hundred_thousand_awaits_is_dropped_with_the_loop) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task_unref(start_chain(loop, CHAIN));
  bench_close(&b);
}

TEST(a_hundred_thousand_waiters_of_one_task_wake) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 1);
  for (int i = 0; i < CHAIN; i++) neap_task_unref(start_waiter(loop, (waiter){.target = sleep}));
  neap_task_unref(sleep);
  CHECK(neap_loop_run(loop, NULL) == 0);
  bench_close_idle(&b);
}

/* Counts its turns, and compares them with those of the other one. */
static int turns[2];

static neap_step_result step_turns(neap_task *task, void *frame) {
  int me = *(int *)frame;
  turns[me]++;
  CHECK(turns[me] - turns[1 - me] == (me == 0 ? 1 : 0));
  if (turns[me] > 1000) return NEAP_STEP_END;
  neap_task_pause(task);
  return NEAP_STEP_WAIT;
}

static const neap_body turns_body = {"turns", sizeof(int), step_turns, NULL, NULL};

TEST(two_tasks_that_pause_alternate) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[2];
  turns[0] = turns[1] = 0;
  for (int i = 0; i < 2; i++) CHECK(neap_task_start(loop, &turns_body, &i, &tasks[i]) == 0);
  CHECK(neap_loop_run(loop, NULL) == 0);
  for (int i = 0; i < 2; i++) CHECK(end_status(tasks[i]) == NEAP_DONE);
  bench_close_idle(&b);
}

/* ---- Cancelling ----------------------------------------------------------------------------- */

TEST(a_task_is_cancelled_while_it_waits) {
  bench b;
  neap_loop *loop = bench_open(&b);
  int frames = 0;
  neap_task *task = start_waiter(loop, (waiter){.seconds = 9, .released = &frames});
  CHECK(neap_task_cancel(task));
  CHECK(!neap_task_cancel(task));
  CHECK(neap_task_cancel_requested(task));
  CHECK(neap_task_status(task) == NEAP_PENDING); /* no code of it runs yet */
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(neap_loop_now(loop) == 0);
  CHECK(frames == 1);
  CHECK(end_status(task) == NEAP_CANCELLED);
  bench_close_idle(&b);
}

TEST(a_task_is_cancelled_after_it_has_ended) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = start_ender(loop, (ender){.how = FINISH});
  CHECK(!neap_task_cancel(task));
  CHECK(!neap_task_cancel_requested(task));
  CHECK(neap_task_value(task) == &some_value);
  CHECK(end_status(task) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_task_that_finishes_in_spite_of_cancellation_is_done) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = start_ender(loop, (ender){.how = FINISH, .pauses = 3});
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(neap_task_cancel_requested(task));
  CHECK(end_status(task) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_task_that_fails_in_spite_of_cancellation_has_failed) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = start_ender(loop, (ender){.how = FAIL, .pauses = 3});
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(end_status(task) == NEAP_FAILED);
  bench_close_idle(&b);
}

TEST(cancelling_a_waiter_does_not_touch_what_it_awaits) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 5);
  neap_task *task = start_waiter(loop, (waiter){.target = sleep});
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(end_status(task) == NEAP_CANCELLED);
  CHECK(neap_task_status(sleep) == NEAP_PENDING);
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(end_status(sleep) == NEAP_DONE);
  bench_close_idle(&b);
}

/* What it waited for has ended before the cancellation comes: it is resumed for that, once. */
TEST(a_task_that_is_queued_already_is_cancelled) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 5);
  neap_task *task = start_waiter(loop, (waiter){.target = sleep});
  CHECK(neap_task_cancel(sleep));
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, NULL) == 0);
  neap_task_unref(sleep);
  CHECK(end_status(task) == NEAP_CANCELLED);
  bench_close_idle(&b);
}

/* A body that cancels itself, then tries to wait. */
static neap_step_result step_suicide(neap_task *task, void *frame) {
  int *place = frame;
  if ((*place)++ > 0) {
    CHECK(neap_task_is_cancelling(task));
    return NEAP_STEP_END;
  }
  CHECK(!neap_task_is_cancelling(task));
  CHECK(neap_task_cancel(task));
  neap_task *sleep = sleep_for(task->loop, 1);
  CHECK(end_status(sleep) == NEAP_CANCELLED); /* without any effect */
  neap_task_pause(task);
  return NEAP_STEP_WAIT;
}

static const neap_body suicide_body = {"suicide", sizeof(int), step_suicide, NULL, NULL};

TEST(work_started_in_a_cancelled_task_is_cancelled_on_return) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  CHECK(neap_task_start(loop, &suicide_body, NULL, &task) == 0);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(end_status(task) == NEAP_CANCELLED);
  bench_close_idle(&b);
}

/* Awaits what nothing can end, in a task that is cancelled already. */
static neap_step_result step_stubborn(neap_task *task, void *frame) {
  struct stubborn {
    neap_task *target;
    int place;
  } *self = frame;
  if (self->place == 0) CHECK(neap_task_cancel(task));
  if (self->place++ < 5) {
    CHECK(neap_task_await(task, self->target));
    return NEAP_STEP_WAIT;
  }
  return NEAP_STEP_END;
}

TEST(every_await_in_a_cancelled_task_comes_back_in_the_next_turn) {
  bench b;
  neap_loop *loop = bench_open(&b);
  struct {
    neap_task *target;
    int place;
  } init = {sleep_for(loop, HUGE_VAL), 0};
  const neap_body body = {"stubborn", sizeof init, step_stubborn, NULL, NULL};
  neap_task *task;
  CHECK(neap_task_start(loop, &body, &init, &task) == 0);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(end_status(task) == NEAP_CANCELLED);
  neap_task_cancel(init.target);
  neap_task_unref(init.target);
  bench_close_idle(&b);
}

/* ---- Dropped references ---------------------------------------------------------------------- */

TEST(a_task_dropped_before_it_is_cancelled_ends) {
  bench b;
  neap_loop *loop = bench_open(&b);
  int frames = 0;
  neap_task *task = start_waiter(loop, (waiter){.seconds = 9, .released = &frames});
  CHECK(neap_task_cancel(task));
  neap_task_unref(task);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(frames == 1);
  bench_close_idle(&b);
}

TEST(a_dropped_task_goes_on) {
  bench b;
  neap_loop *loop = bench_open(&b);
  int frames = 0;
  neap_task_unref(start_waiter(loop, (waiter){.seconds = 9, .released = &frames}));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(frames == 1 && neap_loop_now(loop) == 9);
  bench_close_idle(&b);
}

TEST(closing_the_loop_cancels_tasks_without_running_them) {
  bench b;
  neap_loop *loop = bench_open(&b);
  int frames = 0;
  journal log = {""};
  waiter init = {.seconds = 9, .released = &frames, .journal = &log, .name = "ran"};
  neap_task *held = start_waiter(loop, init);
  neap_task_unref(start_waiter(loop, init));
  neap_loop_close(loop);
  CHECK(frames == 2);
  CHECK(journal_is(&log, ""));
  CHECK(neap_task_error(held) == NULL && neap_task_value(held) == NULL);
  CHECK(end_status(held) == NEAP_CANCELLED);
  CHECK(atomic_load(&b.memory.live) == 0);
}

TEST(a_value_stays_readable_after_the_loop_has_closed) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = start_ender(loop, (ender){.how = FINISH});
  neap_loop_close(loop);
  CHECK(neap_task_value(task) == &some_value);
  CHECK(end_status(task) == NEAP_DONE);
  CHECK(releases == 1);
  CHECK(atomic_load(&b.memory.live) == 0);
}

/* Starts a task while the loop closes. */
static neap_loop *closing_loop;

static void start_late(void *frame) {
  neap_task *task = NULL;
  (void)frame;
  CHECK(neap_task_start(closing_loop, &ender_body, &(ender){.how = FINISH}, &task) == NEAP_ECLOSED);
}

static neap_step_result step_forever(neap_task *task, void *frame) {
  (void)frame;
  neap_task_pause(task);
  return NEAP_STEP_WAIT;
}

TEST(no_task_starts_while_the_loop_closes) {
  bench b;
  const neap_body body = {"late", 0, step_forever, start_late, NULL};
  neap_task *task;
  closing_loop = bench_open(&b);
  CHECK(neap_task_start(closing_loop, &body, NULL, &task) == 0);
  neap_task_unref(task);
  bench_close(&b);
}
