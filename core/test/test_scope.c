#include "support.h"

/* A body that opens one scope, starts a waiter in it, and leaves the scope. */
typedef struct opener {
  double timeout, seconds; /* of the scope; of the waiter's sleep */
  bool shield;
  bool cancels;        /* cancels its scope once the waiter has started */
  bool awaits;         /* awaits the waiter, else it joins at once */
  bool leaves_orphans; /* starts a waiter that starts the long one, and ends first */
  double cleanup;      /* of the waiter */
  neap_scope *scope;
  neap_task *child;
  int place;
  bool was_timed_out, was_requested, *out_timed_out, *out_requested;
  double *left_at;
} opener;

static neap_step_result step_opener(neap_task *task, void *frame) {
  opener *self = frame;
  neap_loop *loop = task->loop;
  switch (self->place) {
  case 0:
    self->place = 1;
    if (neap_scope_enter(task, self->timeout, self->shield, &self->scope)) return NEAP_STEP_END;
    self->child = start_waiter(loop, (waiter){.seconds = self->seconds, .cleanup = self->cleanup});
    if (self->cancels) CHECK(neap_scope_cancel(self->scope));
    if (self->awaits && self->child && neap_task_await(task, self->child)) return NEAP_STEP_WAIT;
    /* fall through */
  case 1: self->place = 2; /* fall through */
  default:
    if (self->out_timed_out) *self->out_timed_out = neap_scope_timed_out(self->scope);
    if (self->out_requested) *self->out_requested = neap_scope_cancel_requested(self->scope);
    if (neap_scope_exit(task, self->scope)) return NEAP_STEP_WAIT;
    if (self->left_at) *self->left_at = neap_loop_now(loop);
    return NEAP_STEP_END;
  }
}

static void release_opener(void *frame) {
  opener *self = frame;
  if (self->child) neap_task_unref(self->child);
}

static const neap_body opener_body = {"opener", sizeof(opener), step_opener, release_opener, NULL};

static neap_task *start_opener(neap_loop *loop, opener init) {
  neap_task *task = NULL;
  CHECK(neap_task_start(loop, &opener_body, &init, &task) == 0);
  return task;
}

/* Runs one opener to its end; gives its status and when it left its scope. */
static neap_status run_opener(opener init, double *left_at, bool *timed_out, bool *requested) {
  bench b;
  neap_loop *loop = bench_open(&b);
  init.left_at = left_at;
  init.out_timed_out = timed_out;
  init.out_requested = requested;
  neap_task *task = start_opener(loop, init);
  CHECK(neap_loop_run(loop, NULL) == 0);
  neap_status status = end_status(task);
  bench_close_idle(&b);
  return status;
}

TEST(leaving_a_scope_waits_for_the_tasks_in_it) {
  double left_at = -1;
  CHECK(run_opener((opener){.timeout = HUGE_VAL, .seconds = 3}, &left_at, NULL, NULL) == NEAP_DONE);
  CHECK(left_at == 3);
}

TEST(a_scope_without_tasks_is_left_at_once) {
  double left_at = -1;
  opener init = {.timeout = HUGE_VAL, .seconds = 0, .awaits = true};
  CHECK(run_opener(init, &left_at, NULL, NULL) == NEAP_DONE);
  CHECK(left_at == 0);
}

TEST(a_time_limit_cancels_what_runs_in_the_scope) {
  double left_at = -1;
  bool timed_out = false, requested = false;
  opener init = {.timeout = 1, .seconds = 10, .awaits = true};
  CHECK(run_opener(init, &left_at, &timed_out, &requested) == NEAP_DONE);
  CHECK(left_at == 1);
  CHECK(timed_out && requested);
}

TEST(a_time_limit_passes_while_the_scope_is_joined) {
  double left_at = -1;
  bool timed_out = false;
  CHECK(run_opener((opener){.timeout = 1, .seconds = 10}, &left_at, &timed_out, NULL) == NEAP_DONE);
  CHECK(left_at == 1);
  CHECK(timed_out);
}

TEST(leaving_waits_for_cleanup_after_the_time_limit) {
  double left_at = -1;
  opener init = {.timeout = 1, .seconds = 10, .cleanup = 3, .awaits = true};
  CHECK(run_opener(init, &left_at, NULL, NULL) == NEAP_DONE);
  CHECK(left_at == 4);
}

TEST(a_time_limit_that_does_not_pass_leaves_no_timer) {
  double left_at = -1;
  bool timed_out = true;
  opener init = {.timeout = 50, .seconds = 2, .awaits = true};
  CHECK(run_opener(init, &left_at, &timed_out, NULL) == NEAP_DONE);
  CHECK(left_at == 2);
  CHECK(!timed_out);
}

TEST(a_scope_is_cancelled_once) {
  double left_at = -1;
  bool timed_out = true, requested = false;
  opener init = {.timeout = 5, .seconds = 10, .cancels = true, .awaits = true};
  CHECK(run_opener(init, &left_at, &timed_out, &requested) == NEAP_DONE);
  CHECK(left_at == 0);
  CHECK(requested && !timed_out);
}

TEST(cancellation_from_outside_reaches_into_a_scope) {
  bench b;
  neap_loop *loop = bench_open(&b);
  double left_at = -1;
  neap_task *task = start_opener(
      loop, (opener){.timeout = HUGE_VAL, .seconds = 9, .awaits = true, .left_at = &left_at});
  CHECK(neap_loop_stats(loop).scopes == 1);
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(left_at == 0);
  CHECK(end_status(task) == NEAP_CANCELLED);
  bench_close_idle(&b);
}

TEST(a_shield_keeps_cancellation_out_until_it_is_left) {
  bench b;
  neap_loop *loop = bench_open(&b);
  double left_at = -1;
  opener init = {
      .timeout = HUGE_VAL, .seconds = 9, .shield = true, .awaits = true, .left_at = &left_at};
  neap_task *task = start_opener(loop, init);
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(left_at == 9);
  CHECK(end_status(task) == NEAP_CANCELLED); /* it is, as soon as the shield has gone */
  bench_close_idle(&b);
}

TEST(a_shield_does_not_keep_its_own_time_limit_out) {
  double left_at = -1;
  opener init = {.timeout = 2, .seconds = 9, .shield = true, .awaits = true};
  CHECK(run_opener(init, &left_at, NULL, NULL) == NEAP_DONE);
  CHECK(left_at == 2);
}

TEST(cancelling_during_the_join_reaches_the_tasks_and_the_join_goes_on) {
  bench b;
  neap_loop *loop = bench_open(&b);
  double left_at = -1;
  opener init = {.timeout = HUGE_VAL, .seconds = 9, .cleanup = 2, .left_at = &left_at};
  neap_task *task = start_opener(loop, init);
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(left_at == 2);
  CHECK(end_status(task) == NEAP_CANCELLED);
  bench_close_idle(&b);
}

TEST(a_scope_that_cannot_arm_its_limit_is_not_open) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_loop_fail_allocation(loop, 3, false); /* the task, the scope, the heap of timers */
  neap_task *task = start_opener(loop, (opener){.timeout = 1, .seconds = 1});
  CHECK(neap_loop_fail_allocation(loop, 0, false));
  CHECK(neap_loop_stats(loop).scopes == 0);
  CHECK(end_status(task) == NEAP_DONE);
  bench_close_idle(&b);
}

/* ---- Nested scopes, and tasks that change hands ---------------------------------------------- */

enum { DEPTH = 200 };

/* Opens DEPTH scopes with ever longer limits, sleeps in the innermost, and leaves them all. */
typedef struct nester {
  neap_scope *scopes[DEPTH];
  neap_task *sleep;
  int open, place;
  bool *only_the_outermost_timed_out;
} nester;

static bool leave_all(neap_task *task, nester *self) {
  for (int i = DEPTH - 1; i >= 0; i--) {
    if (neap_scope_timed_out(self->scopes[i]) != (i == 0))
      *self->only_the_outermost_timed_out = false;
    if (!CHECK(!neap_scope_exit(task, self->scopes[i]))) return false;
  }
  return true;
}

static neap_step_result step_nester(neap_task *task, void *frame) {
  nester *self = frame;
  if (self->place++ > 0) {
    leave_all(task, self);
    return NEAP_STEP_END;
  }
  for (int i = 0; i < DEPTH; i++)
    CHECK(neap_scope_enter(task, i + 1, false, &self->scopes[i]) == 0);
  self->sleep = sleep_for(task->loop, 1000);
  CHECK(neap__effective_deadline(neap__current_node(task->loop)) == 1);
  CHECK(neap_task_await(task, self->sleep));
  return NEAP_STEP_WAIT;
}

static void release_nester(void *frame) {
  neap_task_unref(((nester *)frame)->sleep);
}

static const neap_body nester_body = {"nester", sizeof(nester), step_nester, release_nester, NULL};

TEST(nested_scopes_each_attribute_to_themselves) {
  bench b;
  neap_loop *loop = bench_open(&b);
  bool only_the_outermost = true;
  nester init = {.only_the_outermost_timed_out = &only_the_outermost};
  neap_task *task;
  CHECK(neap_task_start(loop, &nester_body, &init, &task) == 0);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(neap_loop_now(loop) == 1);
  CHECK(only_the_outermost);
  CHECK(end_status(task) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(nested_scopes_are_dropped_when_the_loop_closes) {
  bench b;
  neap_loop *loop = bench_open(&b);
  bool unused = true;
  nester init = {.only_the_outermost_timed_out = &unused};
  neap_task *task;
  CHECK(neap_task_start(loop, &nester_body, &init, &task) == 0);
  neap_task_unref(task);
  CHECK(neap_loop_stats(loop).scopes == DEPTH);
  bench_close(&b);
}

/* A task that starts a long sleeper and ends at once: the sleeper changes hands. */
static neap_step_result step_parent(neap_task *task, void *frame) {
  (void)frame;
  neap_task *child = start_waiter(task->loop, (waiter){.seconds = 10});
  neap_task_unref(child);
  return NEAP_STEP_END;
}

/* The same, but ends one turn later. */
static neap_step_result step_late_parent(neap_task *task, void *frame) {
  if ((*(int *)frame)++ > 0) return NEAP_STEP_END;
  neap_task *child = start_waiter(task->loop, (waiter){.seconds = 10});
  neap_task_unref(child);
  neap_task_pause(task);
  return NEAP_STEP_WAIT;
}

static const neap_body parent_body = {"parent", 0, step_parent, NULL, NULL};
static const neap_body late_parent_body = {"late parent", sizeof(int), step_late_parent, NULL,
                                           NULL};

typedef struct guardian {
  neap_scope *outer, *inner;
  neap_task *sleep;
  double *left_at;
  int place;
} guardian;

static neap_step_result step_guardian(neap_task *task, void *frame) {
  guardian *self = frame;
  neap_task *parent;
  if (self->place++ == 0) {
    CHECK(neap_scope_enter(task, HUGE_VAL, false, &self->outer) == 0);
    CHECK(neap_task_start(task->loop, &late_parent_body, NULL, &parent) == 0);
    neap_task_unref(parent);
    CHECK(neap_scope_enter(task, HUGE_VAL, false, &self->inner) == 0);
    self->sleep = sleep_for(task->loop, 5);
    CHECK(neap_task_await(task, self->sleep));
    return NEAP_STEP_WAIT;
  }
  if (self->inner) CHECK(!neap_scope_exit(task, self->inner));
  self->inner = NULL;
  if (neap_scope_exit(task, self->outer)) return NEAP_STEP_WAIT;
  *self->left_at = neap_loop_now(task->loop);
  return NEAP_STEP_END;
}

static void release_guardian(void *frame) {
  neap_task_unref(((guardian *)frame)->sleep);
}

static const neap_body guardian_body = {"guardian", sizeof(guardian), step_guardian,
                                        release_guardian, NULL};

TEST(a_scope_waits_for_tasks_whose_parent_has_ended) {
  bench b;
  neap_loop *loop = bench_open(&b);
  double left_at = -1;
  neap_task *task;
  CHECK(neap_task_start(loop, &guardian_body, &(guardian){.left_at = &left_at}, &task) == 0);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(left_at == 10);
  neap_task_unref(task);
  bench_close_idle(&b);
}

/* The handed over task hangs behind the inner scope. */
TEST(closing_the_loop_drops_a_task_that_hangs_behind_an_inner_scope) {
  bench b;
  neap_loop *loop = bench_open(&b);
  double left_at = -1;
  neap_task *task;
  CHECK(neap_task_start(loop, &guardian_body, &(guardian){.left_at = &left_at}, &task) == 0);
  neap_task_unref(task);
  neap_loop_step(loop); /* the parent ends */
  bench_close(&b);
}

TEST(outside_all_scopes_a_task_goes_on_when_its_parent_has_ended) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  CHECK(neap_task_start(loop, &parent_body, NULL, &task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  CHECK(neap_loop_stats(loop).tasks == 1);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(neap_loop_now(loop) == 10);
  bench_close_idle(&b);
}

/* ---- What only the bindings use -------------------------------------------------------------- */

/* Opens a scope around a sleeper, abandons it, and ends when the sleeper has not. */
typedef struct quitter {
  neap_scope scope;
  bool shield;
} quitter;

static neap_step_result step_quitter(neap_task *task, void *frame) {
  quitter *self = frame;
  neap__scope_open(&self->scope, task->loop, neap__task_routine(task), self->shield);
  neap_task_unref(start_waiter(task->loop, (waiter){.seconds = 10}));
  neap__scope_abandon(&self->scope);
  return NEAP_STEP_END;
}

static const neap_body quitter_body = {"quitter", sizeof(quitter), step_quitter, NULL, NULL};

TEST(an_abandoned_scope_gives_its_tasks_to_the_one_around_it) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  CHECK(neap_task_start(loop, &quitter_body, &(quitter){.shield = false}, &task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  CHECK(loop->root.live == 1);
  CHECK(neap_loop_run(loop, NULL) == 0);
  bench_close_idle(&b);
}

TEST(the_task_of_an_abandoned_shield_sees_the_cancellation_around_it) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  CHECK(neap__node_cancel(&loop->root.node, NULL));
  CHECK(neap_task_start(loop, &quitter_body, &(quitter){.shield = true}, &task) == 0);
  neap_task_unref(task);
  CHECK(neap__node_is_valid(&loop->root.node));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(neap_loop_now(loop) == 0);
  bench_close_idle(&b);
}
