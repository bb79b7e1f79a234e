#include "support.h"

#include "combine.h"

enum { CHAIN = 400000 }; /* a recursion of this depth does not fit into 8 MB */

static neap_task *all_of(neap_loop *loop, neap_task *const *tasks, size_t count) {
  neap_task *task = NULL;
  CHECK(neap_all(loop, tasks, count, &task) == 0);
  return task;
}

static neap_task *any_of(neap_loop *loop, neap_task *const *tasks, size_t count) {
  neap_task *task = NULL;
  CHECK(neap_any(loop, tasks, count, &task) == 0);
  return task;
}

static void unref_all(neap_task *const *tasks, size_t count) {
  for (size_t i = 0; i < count; i++) neap_task_unref(tasks[i]);
}

/* A task that fails after some seconds. */
typedef struct failer {
  double seconds;
  int code, place;
  neap_task *sleep;
} failer;

static neap_step_result step_failer(neap_task *task, void *frame) {
  failer *self = frame;
  if (self->place++ == 0 && self->seconds > 0) {
    self->sleep = sleep_for(task->loop, self->seconds);
    CHECK(neap_task_await(task, self->sleep));
    return NEAP_STEP_WAIT;
  }
  neap_task_fail(task, &(neap_error){.code = self->code});
  return NEAP_STEP_END;
}

static void release_failer(void *frame) {
  failer *self = frame;
  if (self->sleep) neap_task_unref(self->sleep);
}

static const neap_body failer_body = {"failer", sizeof(failer), step_failer, release_failer, NULL};

static neap_task *fail_after(neap_loop *loop, double seconds, int code) {
  neap_task *task = NULL;
  failer init = {.seconds = seconds, .code = code};
  CHECK(neap_task_start(loop, &failer_body, &init, &task) == 0);
  return task;
}

static int code_of(const neap_task *task) {
  const neap_error *error = neap_task_error(task);
  return error ? error->code : 0;
}

/* ---- all ------------------------------------------------------------------------------------ */

TEST(all_of_nothing_is_done_at_once) {
  bench b;
  neap_loop *loop = bench_open(&b);
  CHECK(end_status(all_of(loop, NULL, 0)) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(all_of_ended_tasks_is_done_on_return) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {sleep_for(loop, 0), sleep_for(loop, 0)};
  neap_loop_step(loop);
  CHECK(end_status(all_of(loop, tasks, 2)) == NEAP_DONE);
  unref_all(tasks, 2);
  bench_close_idle(&b);
}

TEST(all_waits_for_the_last_one) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {sleep_for(loop, 3), sleep_for(loop, 1), sleep_for(loop, 2)};
  neap_task *all = all_of(loop, tasks, 3);
  unref_all(tasks, 3); /* it has references of its own */
  CHECK(neap_loop_run(loop, all) == 0);
  CHECK(neap_loop_now(loop) == 3);
  CHECK(end_status(all) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(all_waits_for_every_task_even_after_a_failure) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {sleep_for(loop, 5), fail_after(loop, 1, UV_EIO)};
  neap_task *all = all_of(loop, tasks, 2);
  CHECK(neap_loop_run(loop, all) == 0);
  CHECK(neap_loop_now(loop) == 5);
  CHECK(code_of(all) == UV_EIO);
  CHECK(end_status(all) == NEAP_FAILED);
  unref_all(tasks, 2);
  bench_close_idle(&b);
}

TEST(the_first_failure_in_the_order_of_the_list_counts) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {fail_after(loop, 2, UV_EIO), fail_after(loop, 1, UV_EPERM)};
  neap_task *all = all_of(loop, tasks, 2);
  CHECK(neap_loop_run(loop, all) == 0);
  CHECK(code_of(all) == UV_EIO);
  neap_task_unref(all);
  unref_all(tasks, 2);
  bench_close_idle(&b);
}

TEST(a_failure_beats_a_cancelled_element_before_it) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {sleep_for(loop, 9), fail_after(loop, 1, UV_EIO)};
  neap_task *all = all_of(loop, tasks, 2);
  neap_task_cancel(tasks[0]);
  CHECK(neap_task_status(all) == NEAP_PENDING);
  CHECK(neap_loop_run(loop, all) == 0);
  CHECK(code_of(all) == UV_EIO);
  CHECK(end_status(all) == NEAP_FAILED);
  unref_all(tasks, 2);
  bench_close_idle(&b);
}

TEST(all_with_a_cancelled_element_is_cancelled) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {sleep_for(loop, 9), sleep_for(loop, 1)};
  neap_task *all = all_of(loop, tasks, 2);
  neap_task_cancel(tasks[0]);
  CHECK(neap_loop_run(loop, all) == 0);
  CHECK(end_status(all) == NEAP_CANCELLED);
  unref_all(tasks, 2);
  bench_close_idle(&b);
}

TEST(a_task_may_be_listed_twice) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 1);
  neap_task *all = all_of(loop, (neap_task *[]){sleep, sleep}, 2);
  neap_task_unref(sleep);
  CHECK(neap_loop_run(loop, all) == 0);
  CHECK(end_status(all) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(cancelling_all_leaves_its_elements_alone) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {sleep_for(loop, 1), sleep_for(loop, 2)};
  neap_task *all = all_of(loop, tasks, 2);
  CHECK(neap_task_cancel(all));
  CHECK(!neap_task_cancel(all));
  CHECK(end_status(all) == NEAP_CANCELLED);
  CHECK(neap_loop_run(loop, tasks[1]) == 0);
  for (int i = 0; i < 2; i++) CHECK(end_status(tasks[i]) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_dropped_all_lets_its_elements_go_when_they_have_ended) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {sleep_for(loop, 1), sleep_for(loop, 2)};
  neap_task_unref(all_of(loop, tasks, 2));
  CHECK(neap_loop_run(loop, tasks[1]) == 0);
  unref_all(tasks, 2);
  bench_close_idle(&b);
}

/* ---- any ------------------------------------------------------------------------------------ */

TEST(any_of_nothing_is_refused) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *any = NULL;
  CHECK(neap_any(loop, NULL, 0, &any) == UV_EINVAL);
  CHECK(any == NULL);
  bench_close_idle(&b);
}

TEST(any_gives_the_first_that_ends_and_leaves_the_others_running) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {sleep_for(loop, 3), sleep_for(loop, 1), sleep_for(loop, 2)};
  neap_task *any = any_of(loop, tasks, 3);
  CHECK(neap_loop_run(loop, any) == 0);
  CHECK(neap_loop_now(loop) == 1);
  CHECK(neap_any_index(any) == 1);
  CHECK(neap_task_status(tasks[0]) == NEAP_PENDING);
  neap_task_unref(any);
  CHECK(neap_loop_run(loop, tasks[0]) == 0);
  unref_all(tasks, 3);
  bench_close_idle(&b);
}

TEST(any_of_several_ended_tasks_gives_the_lowest_index) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {sleep_for(loop, 9), sleep_for(loop, 0), sleep_for(loop, 0)};
  neap_loop_step(loop);
  neap_task *any = any_of(loop, tasks, 3);
  CHECK(neap_any_index(any) == 1);
  CHECK(end_status(any) == NEAP_DONE);
  neap_task_cancel(tasks[0]);
  unref_all(tasks, 3);
  bench_close_idle(&b);
}

TEST(any_is_done_also_when_its_first_has_failed_or_was_cancelled) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {sleep_for(loop, 9), fail_after(loop, 1, UV_EIO)};
  neap_task *any = any_of(loop, tasks, 2);
  CHECK(neap_loop_run(loop, any) == 0);
  CHECK(neap_any_index(any) == 1);
  CHECK(end_status(any) == NEAP_DONE);
  any = any_of(loop, tasks, 1);
  neap_task_cancel(tasks[0]);
  CHECK(end_status(any) == NEAP_DONE);
  unref_all(tasks, 2);
  bench_close_idle(&b);
}

TEST(an_any_that_is_dropped_or_cancelled_leaves_no_waits) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {sleep_for(loop, 1), sleep_for(loop, 2)};
  neap_task_unref(any_of(loop, tasks, 2));
  neap_task *any = any_of(loop, tasks, 2);
  CHECK(neap_task_cancel(any));
  CHECK(end_status(any) == NEAP_CANCELLED);
  CHECK(neap_loop_run(loop, tasks[1]) == 0);
  unref_all(tasks, 2);
  bench_close_idle(&b);
}

/* ---- settle, wait_for ------------------------------------------------------------------------ */

static neap_task *combine_one(neap_loop *loop, neap__combine_mode mode, neap_task *task,
                              double seconds) {
  neap__combine *combine = NULL;
  CHECK(neap__combine_new(loop, mode, &task, 1, seconds, NULL, &combine) == 0);
  return combine ? &combine->task : NULL;
}

TEST(settle_is_done_whatever_the_outcome) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *failed = fail_after(loop, 1, UV_EIO);
  neap_task *settled = combine_one(loop, NEAP__SETTLE, failed, HUGE_VAL);
  CHECK(neap_loop_run(loop, settled) == 0);
  CHECK(end_status(settled) == NEAP_DONE);
  neap_task_unref(failed);
  bench_close_idle(&b);
}

TEST(wait_for_stops_waiting_and_the_task_goes_on) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 5);
  neap_task *waiting = combine_one(loop, NEAP__WAIT_FOR, sleep, 2);
  CHECK(neap_loop_run(loop, waiting) == 0);
  CHECK(neap_loop_now(loop) == 2);
  CHECK(code_of(waiting) == UV_ETIMEDOUT);
  CHECK(end_status(waiting) == NEAP_FAILED);
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(end_status(sleep) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(wait_for_gives_the_outcome_and_leaves_no_timer) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *failed = fail_after(loop, 1, UV_EIO);
  neap_task *waiting = combine_one(loop, NEAP__WAIT_FOR, failed, 2);
  CHECK(neap_loop_run(loop, waiting) == 0);
  CHECK(code_of(waiting) == UV_EIO);
  CHECK(neap_loop_stats(loop).timers == 0);
  neap_task_unref(waiting);
  waiting = combine_one(loop, NEAP__WAIT_FOR, failed, 0); /* ended: no matter how short */
  CHECK(code_of(waiting) == UV_EIO);
  CHECK(neap_loop_stats(loop).timers == 0);
  neap_task_unref(waiting);
  neap_task_unref(failed);
  bench_close_idle(&b);
}

/* ---- Cancelled around it, and closing -------------------------------------------------------- */

TEST(a_cancelled_scope_cancels_all_and_its_operations) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {sleep_for(loop, 1), sleep_for(loop, 2)};
  neap_task *all = all_of(loop, tasks, 2), *any = any_of(loop, tasks, 2);
  CHECK(neap__node_cancel(&loop->root.node, NULL));
  CHECK(end_status(all) == NEAP_CANCELLED);
  CHECK(end_status(any) == NEAP_CANCELLED);
  for (int i = 0; i < 2; i++) CHECK(end_status(tasks[i]) == NEAP_CANCELLED);
  CHECK(end_status(all_of(loop, NULL, 0)) == NEAP_DONE); /* what is decided stays so */
  bench_close_idle(&b);
}

TEST(closing_the_loop_cancels_combined_tasks) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[] = {sleep_for(loop, 1), start_waiter(loop, (waiter){.seconds = 2})};
  neap_task *all = all_of(loop, tasks, 2);
  neap_task_unref(any_of(loop, tasks, 2));
  neap_task_unref(all_of(loop, &all, 1));
  unref_all(tasks, 2);
  neap_loop_close(loop);
  CHECK(end_status(all) == NEAP_CANCELLED);
  CHECK(atomic_load(&b.memory.live) == 0);
}

TEST(without_memory_nothing_is_combined) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 1), *all = NULL;
  neap_loop_fail_allocation(loop, 1, false);
  CHECK(neap_all(loop, &sleep, 1, &all) == UV_ENOMEM);
  CHECK(all == NULL && sleep->refs == 2);
  neap_task_cancel(sleep);
  neap_task_unref(sleep);
  bench_close_idle(&b);
}

/* ---- Depth ----------------------------------------------------------------------------------- */

/* Each one in the next, the innermost around a sleep of a second. */
static void nest(neap_loop *loop, neap_task **nested) {
  nested[0] = sleep_for(loop, 1);
  for (int i = 1; i < CHAIN; i++) nested[i] = all_of(loop, &nested[i - 1], 1);
}

static neap_task *nested[CHAIN];

TEST(many_nested_alls_settle_flat) {
  bench b;
  neap_loop *loop = bench_open(&b);
  nest(loop, nested);
  CHECK(neap_loop_run(loop, nested[CHAIN - 1]) == 0);
  CHECK(neap_task_status(nested[CHAIN - 1]) == NEAP_DONE);
  for (int i = CHAIN - 1; i >= 0; i--) neap_task_unref(nested[i]);
  bench_close_idle(&b);
}

TEST(many_nested_alls_fail_flat) {
  bench b;
  neap_loop *loop = bench_open(&b);
  nested[0] = fail_after(loop, 1, UV_EIO);
  for (int i = 1; i < CHAIN; i++) nested[i] = all_of(loop, &nested[i - 1], 1);
  CHECK(neap_loop_run(loop, nested[CHAIN - 1]) == 0);
  CHECK(neap_task_status(nested[CHAIN - 1]) == NEAP_FAILED);
  for (int i = CHAIN - 1; i >= 0; i--) neap_task_unref(nested[i]);
  bench_close_idle(&b);
}

TEST(many_nested_alls_are_cancelled_flat) {
  bench b;
  neap_loop *loop = bench_open(&b);
  nest(loop, nested);
  CHECK(neap__node_cancel(&loop->root.node, NULL));
  CHECK(neap_task_status(nested[CHAIN - 1]) == NEAP_CANCELLED);
  for (int i = CHAIN - 1; i >= 0; i--) neap_task_unref(nested[i]);
  bench_close_idle(&b);
}

TEST(the_error_of_nested_alls_is_found_without_recursion) {
  bench b;
  neap_loop *loop = bench_open(&b);
  nested[0] = fail_after(loop, 0, UV_EIO);
  for (int i = 1; i < CHAIN; i++) nested[i] = all_of(loop, &nested[i - 1], 1);
  CHECK(code_of(nested[CHAIN - 1]) == UV_EIO);
  for (int i = CHAIN - 1; i >= 0; i--) neap_task_unref(nested[i]);
  bench_close_idle(&b);
}

/* Only the outermost is held: it holds the next one, and so on. */
TEST(many_nested_alls_are_freed_flat) {
  bench b;
  neap_loop *loop = bench_open(&b);
  nest(loop, nested);
  for (int i = 0; i < CHAIN - 1; i++) neap_task_unref(nested[i]);
  CHECK(neap_loop_run(loop, nested[CHAIN - 1]) == 0);
  neap_task_unref(nested[CHAIN - 1]);
  bench_close_idle(&b);
}
