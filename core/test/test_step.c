/* Steps with places: straight-line code in C, as neap.h describes it. */
#include "support.h"

/* ---- A body that awaits one thing after the other ----------------------------------------------- */

typedef struct walk {
  neap_task *target; /* awaited second; taken over */
  journal *journal;
  double timeout; /* of a scope around it; 0: none */
  bool settles;   /* whatever it ends with */
  bool fails_to_start;
  int *released;
} walk;

static neap_step_result step_walk(neap_task *self, void *frame) {
  walk *me = frame;
  neap_loop *loop = neap_task_loop(self);
  neap_scope *scope;
  neap_task *task;
  switch (neap_task_place(self)) {
  case 0:
    note(me->journal, "begin");
    if (me->timeout > 0) CHECK(neap_scope_enter(self, me->timeout, false, &scope) == 0);
    return neap_await(self, neap_sleep(loop, 1, &task), &task, 1);
  case 1:
    note(me->journal, "slept");
    if (me->fails_to_start) return neap_await(self, neap_sleep(loop, -1, &task), &task, 2);
    if (me->settles) return neap_settle(self, 0, &me->target, 2);
    return neap_await(self, 0, &me->target, 2);
  default:
    note(me->journal, "end");
    CHECK(me->target == NULL); /* taken over */
    neap_values_add_integer(neap_task_results(self), 7);
    return NEAP_STEP_END;
  }
}

static neap_step_result clean_up(neap_task *self, void *frame) {
  walk *me = frame;
  neap_task *task;
  if (neap_task_place(self) > 0) {
    note(me->journal, "cleaned");
    return NEAP_STEP_END;
  }
  note(me->journal, "cleanup");
  CHECK(!neap_task_is_cancelling(self)); /* behind a shield */
  return neap_await(self, neap_sleep(neap_task_loop(self), 1, &task), &task, 1);
}

static void release_walk(void *frame) {
  walk *me = frame;
  if (me->target) neap_task_unref(me->target);
  if (me->released) ++*me->released;
}

static const neap_body walk_body = {
    .name = "walk", .frame_size = sizeof(walk), .step = step_walk, .release = release_walk};
static const neap_body clean_body = {.name = "clean walk",
                                     .frame_size = sizeof(walk),
                                     .step = step_walk,
                                     .release = release_walk,
                                     .cleanup = clean_up};

static neap_task *start(neap_loop *loop, const neap_body *body, walk init) {
  neap_task *task = NULL;
  CHECK(neap_task_start(loop, body, &init, &task) == 0);
  return task;
}

static neap_task *fail_to_read(neap_loop *loop) {
  neap_task *task = NULL;
  CHECK(neap_fs_read_file(loop, "/no/such/file", &task) == 0);
  return task;
}

TEST(a_body_goes_from_place_to_place) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  int released = 0;
  neap_task *task =
      start(loop, &walk_body,
            (walk){.target = sleep_for(loop, 3), .journal = &log, .released = &released});
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_DONE && neap_loop_now(loop) == 3);
  CHECK(journal_is(&log, "begin slept end") && released == 1);
  CHECK(neap_value_integer(neap_values_at(neap_task_values(task), 0)) == 7);
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(what_has_ended_is_not_waited_for) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task *task =
      start(loop, &walk_body, (walk){.target = sleep_for(loop, 0.5), .journal = &log});
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_DONE && neap_loop_now(loop) == 1);
  neap_task_unref(task);
  bench_close_idle(&b);
}

/* ---- Errors -------------------------------------------------------------------------------------- */

TEST(an_error_ends_the_body_with_all_its_fields) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task *task = start(loop, &clean_body, (walk){.target = fail_to_read(loop), .journal = &log});
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_FAILED && neap_task_values(task) == NULL);
  const neap_error *error = neap_task_error(task);
  CHECK(error->code == UV_ENOENT && strcmp(error->path, "/no/such/file") == 0);
  CHECK(journal_is(&log, "begin slept cleanup cleaned"));
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(what_cannot_start_ends_the_body) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task *task =
      start(loop, &clean_body,
            (walk){.target = sleep_for(loop, 0), .journal = &log, .fails_to_start = true});
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_FAILED && neap_task_error(task)->code == UV_EINVAL);
  CHECK(journal_is(&log, "begin slept cleanup cleaned"));
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(settling_goes_on_after_an_error) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task *task = start(loop, &clean_body,
                          (walk){.target = fail_to_read(loop), .journal = &log, .settles = true});
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_DONE);
  CHECK(journal_is(&log, "begin slept end cleanup cleaned"));
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(what_others_have_cancelled_is_an_error) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task *target = sleep_for(loop, 9);
  neap_task *task =
      start(loop, &clean_body, (walk){.target = neap_task_ref(target), .journal = &log});
  neap_task_cancel(target);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_FAILED && neap_task_error(task)->code == NEAP_ECANCELLED);
  neap_task_unref(target);
  neap_task_unref(task);
  bench_close_idle(&b);
}

/* ---- Cancellation -------------------------------------------------------------------------------- */

TEST(a_cancelled_body_cleans_up_and_is_cancelled) {
  bench b;
  neap_loop *loop = bench_open(&b);
  for (int i = 0; i < 2; i++) { /* in the first await, and in the second */
    double after = i == 0 ? 0.5 : 2.5;
    journal log = {""};
    double begin = neap_loop_now(loop);
    neap_task *task =
        start(loop, &clean_body, (walk){.target = sleep_for(loop, 5), .journal = &log});
    neap_task *alarm = sleep_for(loop, after);
    CHECK(neap_loop_run(loop, alarm) == 0);
    CHECK(neap_task_cancel(task));
    CHECK(neap_loop_run(loop, task) == 0);
    CHECK(neap_task_status(task) == NEAP_CANCELLED);
    CHECK(neap_loop_now(loop) == begin + after + 1);
    CHECK(journal_is(&log, after < 1 ? "begin cleanup cleaned" : "begin slept cleanup cleaned"));
    neap_task_unref(alarm);
    neap_task_unref(task);
  }
  bench_close(&b);
}

TEST(a_cleanup_that_is_cancelled_goes_on) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task *task = start(loop, &clean_body, (walk){.target = sleep_for(loop, 0), .journal = &log});
  neap_task *alarm = sleep_for(loop, 1.5);
  CHECK(neap_loop_run(loop, alarm) == 0);
  CHECK(journal_is(&log, "begin slept end cleanup"));
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(journal_is(&log, "begin slept end cleanup cleaned") && neap_loop_now(loop) == 2);
  neap_task_unref(alarm);
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(its_own_time_limit_fails_it) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task *task =
      start(loop, &clean_body, (walk){.target = sleep_for(loop, 9), .journal = &log, .timeout = 2});
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_FAILED && neap_task_error(task)->code == UV_ETIMEDOUT);
  CHECK(neap_loop_now(loop) == 3 && journal_is(&log, "begin slept cleanup cleaned"));
  neap_task_unref(task);
  bench_close(&b);
}

TEST(a_cancellation_from_outside_wins_over_the_time_limit) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task *task =
      start(loop, &clean_body, (walk){.target = sleep_for(loop, 9), .journal = &log, .timeout = 2});
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_CANCELLED);
  neap_task_unref(task);
  bench_close(&b);
}

TEST(a_scope_that_is_left_open_is_left) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task *task =
      start(loop, &walk_body, (walk){.target = sleep_for(loop, 0), .journal = &log, .timeout = 9});
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_DONE && neap_loop_stats(loop).scopes == 0);
  neap_task_unref(task);
  bench_close_idle(&b);
}

/* A scope with a task in it: an error cancels that, and the end of the body waits for it. */
typedef struct parent {
  journal *journal;
  bool fails;
} parent;

static neap_step_result step_parent(neap_task *self, void *frame) {
  parent *me = frame;
  neap_loop *loop = neap_task_loop(self);
  neap_scope *scope;
  neap_task *child;
  walk init = {.target = sleep_for(loop, 3), .journal = me->journal};
  CHECK(neap_scope_enter(self, HUGE_VAL, false, &scope) == 0);
  CHECK(neap_task_start(loop, &clean_body, &init, &child) == 0);
  neap_task_unref(child);
  if (me->fails) neap_task_fail(self, &(neap_error){.code = UV_EIO});
  return NEAP_STEP_END;
}

static const neap_body parent_body = {
    .name = "parent", .frame_size = sizeof(parent), .step = step_parent};

TEST(the_tasks_in_a_scope_are_joined_at_the_end) {
  bench b;
  neap_loop *loop = bench_open(&b);
  for (int fails = 0; fails < 2; fails++) {
    journal log = {""};
    parent init = {&log, fails};
    neap_task *task;
    CHECK(neap_task_start(loop, &parent_body, &init, &task) == 0);
    CHECK(neap_loop_run(loop, task) == 0);
    CHECK(neap_task_status(task) == (fails ? NEAP_FAILED : NEAP_DONE));
    CHECK(journal_is(&log, fails ? "begin cleanup cleaned" : "begin slept end cleanup cleaned"));
    neap_task_unref(task);
  }
  bench_close(&b);
}

TEST(a_dropped_body_is_released_without_cleanup) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  int released = 0;
  neap_task *task = start(
      loop, &clean_body,
      (walk){.target = sleep_for(loop, 9), .journal = &log, .timeout = 5, .released = &released});
  neap_task *cleaning =
      start(loop, &clean_body, (walk){.target = fail_to_read(loop), .journal = &log});
  neap_task *alarm = sleep_for(loop, 1.5);
  CHECK(neap_loop_run(loop, alarm) == 0);
  neap_task_unref(alarm);
  neap_task_unref(cleaning);
  neap_task_unref(task);
  bench_close(&b);
  CHECK(released == 1 && journal_is(&log, "begin begin slept slept cleanup"));
}

/* ---- Results ------------------------------------------------------------------------------------- */

static neap_step_result step_half(neap_task *self, void *frame) {
  (void)frame;
  neap_values_add_integer(neap_task_results(self), 1);
  neap_values_open_map(neap_task_results(self));
  return NEAP_STEP_END;
}

TEST(an_error_of_its_results_fails_it) {
  static const neap_body half = {.name = "half", .step = step_half};
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  CHECK(neap_task_start(loop, &half, NULL, &task) == 0);
  CHECK(neap_task_status(task) == NEAP_FAILED && neap_task_values(task) == NULL);
  CHECK(neap_task_error(task)->code == NEAP_EMISUSE);
  neap_task_unref(task);
  bench_close_idle(&b);
}

/* ---- The scopes of a cleanup --------------------------------------------------------------------- */

/* Its target is slept for in a scope that the cleanup leaves open; with a timeout, that one passes. */
static neap_step_result clean_in_scope(neap_task *self, void *frame) {
  walk *me = frame;
  neap_scope *scope;
  neap_task *task;
  switch (neap_task_place(self)) {
  case 0:
    CHECK(neap_scope_enter(self, me->timeout, false, &scope) == 0);
    walk child = {.target = sleep_for(neap_task_loop(self), 0.5), .journal = me->journal};
    CHECK(neap_task_start(neap_task_loop(self), &walk_body, &child, &task) == 0);
    neap_task_unref(task);
    return neap_await(self, neap_sleep(neap_task_loop(self), me->timeout < 9 ? 9 : 0.1, &task),
                      &task, 1);
  default: return NEAP_STEP_END;
  }
}

static neap_step_result step_sleep(neap_task *self, void *frame) {
  neap_task *task;
  (void)frame;
  if (neap_task_place(self) > 0) return NEAP_STEP_END;
  return neap_await(self, neap_sleep(neap_task_loop(self), 9, &task), &task, 1);
}

/* The body was cancelled, its cleanup was not: what that has left open ends by itself. */
TEST(a_scope_that_a_cleanup_leaves_open_is_left) {
  static const neap_body body = {
      .name = "sleeper", .frame_size = sizeof(walk), .step = step_sleep, .cleanup = clean_in_scope};
  for (int is_timed = 0; is_timed < 2; is_timed++) {
    bench b;
    journal log = {""};
    neap_loop *loop = bench_open(&b);
    neap_task *task = start(loop, &body, (walk){.journal = &log, .timeout = is_timed ? 0.1 : 99});
    CHECK(neap_task_cancel(task));
    CHECK(neap_loop_run(loop, task) == 0);
    CHECK(neap_task_status(task) == NEAP_CANCELLED);
    CHECK(journal_is(&log, is_timed ? "begin" : "begin slept end"));
    neap_task_unref(task);
    bench_close(&b);
  }
}

/* ---- Loops --------------------------------------------------------------------------------------- */

static neap_step_result step_loop(neap_task *self, void *frame) {
  int *count = frame;
  neap_task *task;
  switch (neap_task_place(self)) {
  case 0:
    if (*count == 10) return neap_go(self, 2);
    return neap_await(self, neap_sleep(neap_task_loop(self), 1, &task), &task, 1);
  case 1: ++*count; return neap_go(self, 0);
  default: neap_values_add_integer(neap_task_results(self), *count); return NEAP_STEP_END;
  }
}

static const neap_body loop_body = {.name = "loop", .frame_size = sizeof(int), .step = step_loop};

TEST(a_body_may_loop) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  CHECK(neap_task_start(loop, &loop_body, NULL, &task) == 0);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_loop_now(loop) == 10);
  CHECK(neap_value_integer(neap_values_at(neap_task_values(task), 0)) == 10);
  neap_task_unref(task);
  bench_close_idle(&b);
}

/* ---- Callbacks of the end -------------------------------------------------------------------------- */

typedef struct ending {
  int calls;
  neap_status status;
} ending;

static void on_end(void *data, neap_task *task) {
  ending *self = data;
  self->calls++;
  self->status = neap_task_status(task);
}

TEST(a_callback_of_the_end_comes_in_a_later_turn) {
  bench b;
  neap_loop *loop = bench_open(&b);
  ending before = {0}, after = {0};
  neap_task *task = sleep_for(loop, 1);
  CHECK(neap_task_on_end(task, on_end, &before) == 0);
  CHECK(neap_task_cancel(task));
  CHECK(before.calls == 0);
  CHECK(neap_task_on_end(task, on_end, &after) == 0);
  CHECK(after.calls == 0);
  neap_task_unref(task);
  neap_loop_step(loop);
  CHECK(before.calls == 1 && before.status == NEAP_CANCELLED);
  CHECK(after.calls == 1 && after.status == NEAP_CANCELLED);
  bench_close_idle(&b);
}

TEST(a_closing_loop_calls_it_too) {
  bench b;
  neap_loop *loop = bench_open(&b);
  ending pending = {0}, queued = {0};
  neap_task *task = sleep_for(loop, 1), *ended = sleep_for(loop, 1);
  CHECK(neap_task_on_end(task, on_end, &pending) == 0);
  CHECK(neap_task_cancel(ended));
  CHECK(neap_task_on_end(ended, on_end, &queued) == 0);
  neap_task_unref(task);
  neap_task_unref(ended);
  bench_close(&b);
  CHECK(pending.calls == 1 && pending.status == NEAP_CANCELLED && queued.calls == 1);
}

static void end_again(void *data, neap_task *task) {
  ending *self = data;
  self->calls++;
  CHECK(neap_task_on_end(task, end_again, self) == NEAP_ECLOSED);
}

TEST(nothing_is_called_once_the_loop_is_closing) {
  bench b;
  neap_loop *loop = bench_open(&b);
  ending again = {0};
  neap_task *task = sleep_for(loop, 1);
  CHECK(neap_task_on_end(task, end_again, &again) == 0);
  neap_loop_close(loop);
  CHECK(again.calls == 1);
  CHECK(neap_task_on_end(task, end_again, &again) == NEAP_ECLOSED);
  neap_task_unref(task);
  CHECK(atomic_load(&b.memory.live) == 0);
}

TEST(a_callback_without_memory_is_refused) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = sleep_for(loop, 0);
  neap_loop_fail_allocation(loop, 1, false);
  CHECK(neap_task_on_end(task, on_end, NULL) == UV_ENOMEM);
  CHECK(neap_loop_run(loop, task) == 0);
  neap_task_unref(task);
  bench_close_idle(&b);
}
