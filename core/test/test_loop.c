#include "support.h"

#include "ops/pause.h"

TEST(a_fresh_loop_is_empty) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_stats stats = neap_loop_stats(loop);
  CHECK(stats.blocks == 1); /* the loop itself */
  CHECK(neap_loop_uv(loop) != NULL);
  CHECK(neap_loop_step(loop) == NEAP_IDLE);
  CHECK(neap_loop_run(loop, NULL) == 0);
  bench_close_idle(&b);
}

TEST(a_loop_without_options_works) {
  neap_loop *loop = NULL;
  CHECK(neap_loop_new(NULL, &loop) == 0);
  neap_task *sleep = sleep_for(loop, 0.001);
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(end_status(sleep) == NEAP_DONE);
  neap_loop_close(loop);
}

static void *no_memory(void *data, void *block, size_t size) {
  (void)data, (void)block, (void)size;
  return NULL;
}

TEST(without_memory_there_is_no_loop) {
  neap_loop *loop = NULL;
  CHECK(neap_loop_new(&(neap_loop_options){.allocator = no_memory}, &loop) == UV_ENOMEM);
  CHECK(loop == NULL);
}

TEST(two_loops_never_meet) {
  bench one, other;
  neap_loop *a = bench_open(&one), *c = bench_open(&other);
  neap_task *in_a = sleep_for(a, 1), *in_c = sleep_for(c, 2);
  CHECK(neap_loop_run(a, in_a) == 0);
  CHECK(neap_loop_now(a) == 1 && neap_loop_now(c) == 0);
  CHECK(neap_task_id(in_a) == 1 && neap_task_id(in_c) == 1);
  CHECK(end_status(in_a) == NEAP_DONE);
  bench_close_idle(&one);
  CHECK(neap_loop_run(c, in_c) == 0);
  CHECK(end_status(in_c) == NEAP_DONE);
  bench_close_idle(&other);
}

/* ---- Clocks ---------------------------------------------------------------------------------- */

TEST(a_virtual_clock_stops_at_its_horizon) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, 5);
  b.clock.horizon = 3;
  CHECK(neap_loop_run(loop, sleep) == NEAP_EDEADLOCK);
  CHECK(neap_loop_now(loop) == 0);
  b.clock.time = 5;
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(end_status(sleep) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_deadline_keeps_what_is_left_of_it_when_the_clock_is_replaced) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_virtual_clock other;
  neap_virtual_clock_init(&other, 100);
  other.horizon = HUGE_VAL;
  neap_task *sleep = sleep_for(loop, 5);
  neap_loop_set_clock(loop, &other.clock);
  CHECK(neap_loop_now(loop) == 100);
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(end_status(sleep) == NEAP_DONE);
  CHECK(neap_loop_now(loop) == 105);
  neap_loop_set_clock(loop, NULL);
  CHECK(neap_loop_now(loop) != 105);
  bench_close_idle(&b);
}

/* ---- Turns ----------------------------------------------------------------------------------- */

typedef struct looper {
  int *turns;
  bool *stop;
} looper;

static neap_step_result step_looper(neap_task *task, void *frame) {
  const looper *self = frame;
  ++*self->turns;
  if (*self->stop) return NEAP_STEP_END;
  neap_task_pause(task);
  return NEAP_STEP_WAIT;
}

static const neap_body looper_body = {"looper", sizeof(looper), step_looper, NULL, NULL};

static neap_task *start_looper(neap_loop *loop, int *turns, bool *stop) {
  neap_task *task = NULL;
  CHECK(neap_task_start(loop, &looper_body, &(looper){turns, stop}, &task) == 0);
  return task;
}

TEST(a_task_that_always_pauses_delays_a_due_timer_by_one_turn) {
  bench b;
  neap_loop *loop = bench_open(&b);
  int turns = 0;
  bool stop = false;
  neap_task *looping = start_looper(loop, &turns, &stop);
  neap_task *sleep = sleep_for(loop, 0);
  neap_loop_step(loop);
  CHECK(neap_task_status(sleep) == NEAP_DONE);
  CHECK(turns > 1 && turns <= NEAP__TURNS_PER_POLL + 1);
  stop = true;
  CHECK(neap_loop_run(loop, looping) == 0);
  neap_task_unref(looping);
  neap_task_unref(sleep);
  bench_close_idle(&b);
}

TEST(a_yield_is_done_in_the_next_turn) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__op *op = neap__op_new(loop, &neap__pause_kind);
  neap__op_start(op);
  CHECK(neap_task_status(&op->task) == NEAP_PENDING);
  neap_loop_step(loop);
  CHECK(end_status(&op->task) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_cancelled_yield_frees_itself_in_its_turn) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__op *op = neap__op_new(loop, &neap__pause_kind);
  neap__op_start(op);
  CHECK(neap_task_cancel(&op->task));
  neap_task_unref(&op->task);
  neap_loop_step(loop);
  bench_close_idle(&b);
}

TEST(closing_frees_a_pending_yield) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__op *op = neap__op_new(loop, &neap__pause_kind);
  neap__op_start(op);
  neap_task_unref(&op->task);
  bench_close(&b);
}

TEST(closing_frees_a_cancelled_yield) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__op *op = neap__op_new(loop, &neap__pause_kind);
  neap__op_start(op);
  CHECK(neap_task_cancel(&op->task));
  neap_task_unref(&op->task);
  bench_close(&b);
}

static void count_call(void *data) {
  ++*(int *)data;
}

/* No handle keeps libuv's loop alive here: the inbox must be seen all the same. */
TEST(posts_are_called_while_tasks_are_always_ready) {
  bench b;
  neap_loop *loop = bench_open(&b);
  int turns = 0, calls = 0;
  bool stop = false;
  neap_task *looping = start_looper(loop, &turns, &stop);
  CHECK(neap_loop_post(loop, count_call, &calls) == 0);
  for (int i = 0; i < 100; i++) neap_loop_step(loop);
  CHECK(calls == 1);
  stop = true;
  CHECK(neap_loop_run(loop, looping) == 0);
  neap_task_unref(looping);
  bench_close_idle(&b);
}

/* ---- Deadlock, holding ----------------------------------------------------------------------- */

TEST(running_a_task_that_nothing_can_wake_is_a_deadlock) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *never = sleep_for(loop, HUGE_VAL);
  neap_task *task = start_waiter(loop, (waiter){.target = never});
  CHECK(neap_loop_run(loop, task) == NEAP_EDEADLOCK);
  CHECK(neap_loop_run(loop, NULL) == NEAP_EDEADLOCK);
  neap_task_cancel(never);
  CHECK(neap_loop_run(loop, NULL) == 0);
  neap_task_unref(never);
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(a_held_loop_does_not_speak_of_a_deadlock) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_loop_hold(loop);
  neap_loop_hold(loop);
  CHECK(neap_loop_step(loop) == NEAP_PROGRESS);
  neap_loop_release(loop);
  CHECK(neap_loop_step(loop) == NEAP_PROGRESS);
  neap_loop_release(loop);
  CHECK(neap_loop_step(loop) == NEAP_IDLE);
  bench_close_idle(&b);
}

TEST(a_failing_allocation_is_reported_once) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = NULL;
  CHECK(!neap_loop_fail_allocation(loop, 1, true));
  CHECK(neap_sleep(loop, 1, &task) == UV_ENOMEM);
  CHECK(neap_sleep(loop, 1, &task) == UV_ENOMEM);
  CHECK(neap_loop_fail_allocation(loop, 0, false));
  CHECK(!neap_loop_fail_allocation(loop, 0, false));
  bench_close_idle(&b);
}

/* ---- Closing --------------------------------------------------------------------------------- */

TEST(closing_with_everything_pending_leaves_nothing) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[3], *read, *all;
  loop->reads_in_pool = true; /* it is pending */
  for (int i = 0; i < 3; i++) tasks[i] = start_waiter(loop, (waiter){.seconds = i + 1});
  CHECK(neap_fs_read_file(loop, "/etc/passwd", &read) == 0);
  CHECK(neap_all(loop, tasks, 3, &all) == 0);
  neap_task *late = start_waiter(loop, (waiter){.target = all});
  neap_loop_close(loop);
  for (int i = 0; i < 3; i++) CHECK(end_status(tasks[i]) == NEAP_CANCELLED);
  CHECK(end_status(read) == NEAP_CANCELLED);
  CHECK(end_status(all) == NEAP_CANCELLED);
  CHECK(end_status(late) == NEAP_CANCELLED);
  CHECK(atomic_load(&b.memory.live) == 0);
}

TEST(closing_a_held_loop_is_allowed) {
  bench b;
  neap_loop_hold(bench_open(&b));
  bench_close(&b);
}

/* ---- A host's loop --------------------------------------------------------------------------- */

/* Ends neap's loop, then the host's. */
static void close_both(bench *b, uv_loop_t *uv) {
  neap_loop_close(b->loop);
  uv_run(uv, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(uv) == 0);
  CHECK(atomic_load(&b->memory.live) == 0);
}

TEST(an_unused_loop_keeps_no_host_alive) {
  bench b;
  uv_loop_t uv;
  CHECK(uv_loop_init(&uv) == 0);
  neap_loop *loop = bench_open_on(&b, &uv, false);
  CHECK(neap_loop_uv(loop) == &uv);
  CHECK(uv_loop_alive(&uv) == 0);
  CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
  close_both(&b, &uv);
}

TEST(the_host_runs_a_sleep_on_its_loop) {
  bench b;
  uv_loop_t uv;
  CHECK(uv_loop_init(&uv) == 0);
  neap_loop *loop = bench_open_on(&b, &uv, false);
  neap_task *sleep = sleep_for(loop, 0.005);
  CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
  CHECK(end_status(sleep) == NEAP_DONE);
  close_both(&b, &uv);
}

TEST(the_host_runs_tasks_that_are_ready) {
  bench b;
  uv_loop_t uv;
  int turns = 0;
  bool stop = true;
  CHECK(uv_loop_init(&uv) == 0);
  neap_loop *loop = bench_open_on(&b, &uv, false);
  neap_task *sleep = sleep_for(loop, 10);
  neap_task *task = start_waiter(loop, (waiter){.target = sleep});
  neap_task_cancel(sleep);
  neap_task_unref(sleep);
  neap_task_unref(start_looper(loop, &turns, &stop));
  CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  close_both(&b, &uv);
}

static void on_host_timer(uv_timer_t *timer) {
  neap_task **task = timer->data;
  CHECK(neap_sleep((*task)->loop, 0.002, task) == 0);
  uv_close((uv_handle_t *)timer, NULL);
}

TEST(what_a_host_callback_starts_is_run) {
  bench b;
  uv_loop_t uv;
  uv_timer_t timer;
  CHECK(uv_loop_init(&uv) == 0);
  neap_loop *loop = bench_open_on(&b, &uv, false);
  neap_task *first = sleep_for(loop, 10), *task = first;
  neap_task_cancel(first);
  uv_timer_init(&uv, &timer);
  timer.data = &task;
  uv_timer_start(&timer, on_host_timer, 1, 0);
  CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
  CHECK(task != first && end_status(task) == NEAP_DONE);
  neap_task_unref(first);
  close_both(&b, &uv);
}

TEST(two_loops_share_a_host) {
  bench one, other;
  uv_loop_t uv;
  CHECK(uv_loop_init(&uv) == 0);
  neap_task *a = sleep_for(bench_open_on(&one, &uv, false), 0.002);
  neap_task *c = sleep_for(bench_open_on(&other, &uv, false), 0.004);
  CHECK(neap_loop_run(one.loop, a) == 0);
  CHECK(neap_loop_run(other.loop, c) == 0);
  CHECK(end_status(a) == NEAP_DONE && end_status(c) == NEAP_DONE);
  neap_loop_close(one.loop);
  close_both(&other, &uv);
  CHECK(atomic_load(&one.memory.live) == 0);
}

TEST(closing_on_a_host_with_everything_pending_frees_when_the_host_runs) {
  bench b;
  uv_loop_t uv;
  CHECK(uv_loop_init(&uv) == 0);
  neap_loop *loop = bench_open_on(&b, &uv, false);
  neap_task *read, *held = start_waiter(loop, (waiter){.seconds = 9});
  CHECK(neap_fs_read_file(loop, "/etc/passwd", &read) == 0);
  neap_task_unref(read);
  uv_run(&uv, UV_RUN_NOWAIT);
  neap_loop_close(loop);
  CHECK(neap_task_status(held) == NEAP_CANCELLED);
  uv_run(&uv, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&uv) == 0);
  neap_task_unref(held);
  CHECK(atomic_load(&b.memory.live) == 0);
}

/* ---- A loop that others use, too ------------------------------------------------------------- */

static void on_wake_timer(uv_timer_t *timer) {
  neap_task_cancel(timer->data);
  uv_close((uv_handle_t *)timer, NULL);
}

/* The timer is due before libuv polls, which would then wait for the other one. */
TEST(what_a_foreign_callback_wakes_runs_at_once) {
  bench b;
  uv_timer_t wake, late;
  neap_loop *loop = bench_open_on(&b, NULL, false);
  neap__loop_share(loop);
  neap__loop_share(loop);
  neap_task *sleep = sleep_for(loop, 100);
  neap_task *task = start_waiter(loop, (waiter){.target = sleep});
  uv_timer_init(neap_loop_uv(loop), &wake);
  uv_timer_init(neap_loop_uv(loop), &late);
  wake.data = sleep;
  uv_timer_start(&wake, on_wake_timer, 0, 0);
  uv_timer_start(&late, on_wake_timer, 100000, 0);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(uv_is_active((uv_handle_t *)&late));
  uv_close((uv_handle_t *)&late, NULL);
  neap_task_unref(sleep);
  CHECK(end_status(task) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(who_runs_a_shared_loop_runs_its_tasks) {
  bench b;
  neap_loop *loop = bench_open_on(&b, NULL, false);
  neap_task *sleep = sleep_for(loop, 0.002);
  CHECK(!uv_loop_alive(neap_loop_uv(loop)));
  neap__loop_share(loop);
  CHECK(uv_loop_alive(neap_loop_uv(loop)));
  CHECK(uv_run(neap_loop_uv(loop), UV_RUN_DEFAULT) == 0);
  CHECK(end_status(sleep) == NEAP_DONE);
  bench_close_idle(&b);
}

typedef struct turner {
  neap_loop *loop;
  int calls;
} turner;

static void turn_and_count(void *data) {
  turner *self = data;
  self->calls++;
  neap__loop_turns(self->loop);
}

TEST(turns_in_a_foreign_run_go_through_the_hook) {
  bench b;
  neap_loop *loop = bench_open_on(&b, NULL, false);
  turner turns = {loop, 0};
  loop->hooks = (neap__hooks){.data = &turns, .turns = turn_and_count};
  neap__loop_share(loop);
  neap_task *sleep = sleep_for(loop, 0.001);
  CHECK(uv_run(neap_loop_uv(loop), UV_RUN_DEFAULT) == 0);
  CHECK(turns.calls > 0);
  CHECK(end_status(sleep) == NEAP_DONE);
  bench_close_idle(&b);
}

/* In its second turn. */
static neap_step_result run_libuv(neap_task *self, void *frame) {
  bool *has_paused = frame;
  if (*has_paused) {
    uv_run(neap_loop_uv(self->loop), UV_RUN_NOWAIT);
    return NEAP_STEP_END;
  }
  *has_paused = true;
  neap_task_pause(self);
  return NEAP_STEP_WAIT;
}

TEST(a_task_that_runs_libuv_itself_starts_no_turns) {
  bench b;
  neap_loop *loop = bench_open_on(&b, NULL, false);
  neap__loop_share(loop);
  static const neap_body body = {
      .name = "runs libuv", .frame_size = sizeof(bool), .step = run_libuv};
  bool has_paused = false;
  neap_task *task;
  CHECK(neap_task_start(loop, &body, &has_paused, &task) == 0);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_loop_that_somebody_stopped_closes) {
  bench b;
  neap_loop *loop = bench_open_on(&b, NULL, false);
  uv_stop(neap_loop_uv(loop));
  bench_close_idle(&b);
}

static void count_post(void *data) {
  ++*(int *)data;
}

TEST(a_loop_moves_with_all_that_waits) {
  bench b;
  uv_loop_t uv;
  int posts = 0;
  CHECK(uv_loop_init(&uv) == 0);
  neap_loop *loop = bench_open_on(&b, NULL, false);
  neap_task *sleep = sleep_for(loop, 0.002);
  neap_loop_hold(loop);
  CHECK(neap_loop_post(loop, count_post, &posts) == 0);
  CHECK(neap__loop_move(loop, &uv, true) == 0);
  CHECK(neap_loop_uv(loop) == &uv && posts == 0);
  CHECK(uv_loop_alive(&uv));
  CHECK(uv_run(&uv, UV_RUN_ONCE) != 0 && posts == 1);
  neap_loop_release(loop);
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(end_status(sleep) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_loop_with_handles_or_requests_does_not_move) {
  bench b;
  uv_loop_t uv;
  uv_timer_t timer;
  neap_task *read;
  CHECK(uv_loop_init(&uv) == 0);
  neap_loop *loop = bench_open_on(&b, NULL, false);
  uv_timer_init(neap_loop_uv(loop), &timer);
  CHECK(neap__loop_move(loop, &uv, true) == UV_EBUSY);
  uv_close((uv_handle_t *)&timer, NULL);
  CHECK(uv_run(neap_loop_uv(loop), UV_RUN_DEFAULT) == 0);
  loop->reads_in_pool = true;
  CHECK(neap_fs_read_file(loop, "/etc/passwd", &read) == 0);
  CHECK(neap__loop_move(loop, &uv, true) == UV_EBUSY);
  CHECK(neap_loop_run(loop, read) == 0);
  CHECK(end_status(read) == NEAP_DONE);
  CHECK(neap__loop_move(loop, &uv, true) == 0);
  bench_close_idle(&b);
}

TEST(a_loop_that_moves_to_a_host_leaves_it_open) {
  bench b;
  uv_loop_t uv, other;
  CHECK(uv_loop_init(&uv) == 0 && uv_loop_init(&other) == 0);
  neap_loop *loop = bench_open_on(&b, NULL, false);
  CHECK(neap__loop_move(loop, &uv, false) == 0);
  CHECK(neap__loop_move(loop, &other, true) == UV_EBUSY);
  neap_task *sleep = sleep_for(loop, 0.001);
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(end_status(sleep) == NEAP_DONE);
  close_both(&b, &uv);
  CHECK(uv_loop_close(&other) == 0);
}
