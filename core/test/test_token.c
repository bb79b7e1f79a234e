#include "support.h"

#include "token.h"

enum { CROWD = 100000 };

static neap_token *new_token(neap_loop *loop) {
  neap_token *token = NULL;
  CHECK(neap_token_new(loop, &token) == 0);
  return token;
}

/* A registration that notes its name, then does what it is told to. */
typedef struct hook hook;
struct hook {
  neap_registration registration;
  journal *journal;
  const char *name;
  void (*then)(hook *self);
  neap_token *token;
  hook *other;
  bool result;
};

static void call_hook(neap_registration *registration) {
  hook *self = registration->data;
  note(self->journal, self->name);
  if (self->then) self->then(self);
}

static hook make_hook(journal *log, const char *name) {
  return (hook){.journal = log, .name = name};
}

static void add(neap_token *token, hook *self) {
  self->registration.call = call_hook;
  self->registration.data = self;
  neap_token_register(token, &self->registration);
}

static bool take_back(hook *self) {
  return neap_token_unregister(&self->registration);
}

static void run_until_idle(neap_loop *loop) {
  while (neap_loop_step(loop) == NEAP_PROGRESS) continue;
}

/* ---- Cancelling and calling ------------------------------------------------------------------- */

TEST(a_fresh_token_is_not_cancelled) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  CHECK(!neap_token_is_cancelled(token) && !neap_token_timed_out(token));
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(the_youngest_is_called_first_before_cancel_returns) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  journal log = {""};
  hook hooks[] = {make_hook(&log, "a"), make_hook(&log, "b"), make_hook(&log, "c")};
  for (int i = 0; i < 3; i++) add(token, &hooks[i]);
  CHECK(neap_token_cancel(token));
  CHECK(journal_is(&log, "c b a"));
  CHECK(neap_token_is_cancelled(token) && !neap_token_timed_out(token));
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(only_the_first_cancel_counts_and_calls_once) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  journal log = {""};
  hook a = make_hook(&log, "a");
  add(token, &a);
  CHECK(neap_token_cancel(token));
  CHECK(!neap_token_cancel(token));
  CHECK(journal_is(&log, "a"));
  CHECK(!take_back(&a));
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(registering_with_a_cancelled_token_calls_at_once) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  journal log = {""};
  hook a = make_hook(&log, "a");
  neap_token_cancel(token);
  add(token, &a);
  CHECK(journal_is(&log, "a"));
  CHECK(!take_back(&a));
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(what_is_taken_back_is_not_called) {
  for (int gone = 0; gone < 3; gone++) {
    bench b;
    neap_token *token = new_token(bench_open(&b));
    journal log = {""};
    const char *left[] = {"c b", "c a", "b a"};
    hook hooks[] = {make_hook(&log, "a"), make_hook(&log, "b"), make_hook(&log, "c")};
    for (int i = 0; i < 3; i++) add(token, &hooks[i]);
    CHECK(take_back(&hooks[gone]));
    CHECK(!take_back(&hooks[gone]));
    neap_token_cancel(token);
    CHECK(journal_is(&log, left[gone]));
    neap_token_unref(token);
    bench_close_idle(&b);
  }
}

TEST(what_was_taken_back_or_called_may_be_registered_again) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *one = new_token(loop), *other = new_token(loop);
  journal log = {""};
  hook a = make_hook(&log, "a"), c = make_hook(&log, "c");
  add(one, &a);
  add(one, &c);
  CHECK(take_back(&a));
  add(one, &a); /* the youngest now */
  neap_token_cancel(one);
  CHECK(journal_is(&log, "a c"));
  add(other, &a);
  neap_token_cancel(other);
  CHECK(journal_is(&log, "a c a"));
  neap_token_unref(one);
  neap_token_unref(other);
  bench_close_idle(&b);
}

/* ---- What a call may do ------------------------------------------------------------------------ */

static void unregister_other(hook *self) {
  self->result = take_back(self->other);
}

TEST(a_call_may_take_back_one_that_is_still_to_come) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  journal log = {""};
  hook hooks[] = {make_hook(&log, "a"), make_hook(&log, "b"), make_hook(&log, "c")};
  for (int i = 0; i < 3; i++) add(token, &hooks[i]);
  hooks[2].then = unregister_other;
  hooks[2].other = &hooks[0];
  neap_token_cancel(token);
  CHECK(journal_is(&log, "c b") && hooks[2].result);
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(a_call_takes_back_neither_itself_nor_what_was_called_before) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  journal log = {""};
  hook hooks[] = {make_hook(&log, "a"), make_hook(&log, "b"), make_hook(&log, "c")};
  for (int i = 0; i < 3; i++) {
    add(token, &hooks[i]);
    hooks[i].then = unregister_other;
    hooks[i].other = &hooks[2];
    hooks[i].result = true;
  }
  neap_token_cancel(token);
  CHECK(journal_is(&log, "c b a"));
  for (int i = 0; i < 3; i++) CHECK(!hooks[i].result);
  neap_token_unref(token);
  bench_close_idle(&b);
}

static void register_other(hook *self) {
  add(self->token, self->other);
}

TEST(what_a_call_registers_is_called_by_that) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  journal log = {""};
  hook a = make_hook(&log, "a"), c = make_hook(&log, "c"), late = make_hook(&log, "late");
  add(token, &a);
  add(token, &c);
  c.then = register_other;
  c.token = token;
  c.other = &late;
  neap_token_cancel(token);
  CHECK(journal_is(&log, "c late a"));
  neap_token_unref(token);
  bench_close_idle(&b);
}

static void cancel_token(hook *self) {
  self->result = neap_token_cancel(self->token);
}

TEST(a_call_that_cancels_its_own_token_changes_nothing) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  journal log = {""};
  hook a = make_hook(&log, "a"), c = make_hook(&log, "c");
  add(token, &a);
  add(token, &c);
  c.then = cancel_token;
  c.token = token;
  CHECK(neap_token_cancel(token));
  CHECK(journal_is(&log, "c a") && !c.result);
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(a_call_may_cancel_another_token_whose_calls_come_in_between) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *one = new_token(loop), *other = new_token(loop);
  journal log = {""};
  hook a = make_hook(&log, "a"), c = make_hook(&log, "c"), x = make_hook(&log, "x");
  add(one, &a);
  add(one, &c);
  add(other, &x);
  c.then = x.then = cancel_token;
  c.token = other;
  x.token = one; /* in a circle */
  neap_token_cancel(one);
  CHECK(journal_is(&log, "c x a") && c.result && !x.result);
  neap_token_unref(one);
  neap_token_unref(other);
  bench_close_idle(&b);
}

static void unref_token(hook *self) {
  neap_token_unref(self->token);
}

TEST(a_call_may_drop_the_last_reference_and_the_others_are_called) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  journal log = {""};
  hook a = make_hook(&log, "a"), c = make_hook(&log, "c");
  add(token, &a);
  add(token, &c);
  c.then = unref_token;
  c.token = token;
  CHECK(neap_token_cancel(token));
  CHECK(journal_is(&log, "c a"));
  bench_close_idle(&b);
}

static void ref_token(hook *self) {
  neap_token_ref(self->token);
}

TEST(a_call_may_take_a_reference_that_stays) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  journal log = {""};
  hook a = make_hook(&log, "a");
  add(token, &a);
  a.then = ref_token;
  a.token = token;
  neap_token_cancel(token);
  neap_token_unref(token);
  CHECK(neap_token_is_cancelled(token));
  neap_token_unref(token);
  bench_close_idle(&b);
}

static void free_other(hook *self) {
  take_back(self->other);
  free(self->other);
}

TEST(a_call_may_free_what_it_has_taken_back) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  journal log = {""};
  hook *first = malloc(sizeof *first), last = make_hook(&log, "last");
  if (!first) return;
  *first = make_hook(&log, "first");
  add(token, first);
  add(token, &last);
  last.then = free_other;
  last.other = first;
  neap_token_cancel(token);
  CHECK(journal_is(&log, "last"));
  neap_token_unref(token);
  bench_close_idle(&b);
}

/* ---- References -------------------------------------------------------------------------------- */

TEST(what_is_registered_is_forgotten_with_the_last_reference) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  journal log = {""};
  hook a = make_hook(&log, "a"), c = make_hook(&log, "c");
  add(token, &a);
  add(token, &c);
  CHECK(neap_token_ref(token) == token);
  neap_token_unref(token);
  CHECK(a.registration.token == token);
  neap_token_unref(token);
  CHECK(!take_back(&a) && !take_back(&c));
  CHECK(journal_is(&log, ""));
  bench_close_idle(&b);
}

TEST(a_token_outlives_its_loop_and_calls_all_the_same) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = new_token(loop), *silent = new_token(loop);
  journal log = {""};
  hook a = make_hook(&log, "a");
  add(token, &a);
  CHECK(neap_token_cancel_after(token, 1) == 0);
  neap_loop_close(loop);
  CHECK(!neap_token_is_cancelled(token) && journal_is(&log, ""));
  CHECK(neap_token_cancel_after(token, 2) == 0); /* time has ended */
  CHECK(neap_token_cancel(token));
  CHECK(journal_is(&log, "a"));
  neap_token_unref(token);
  neap_token_unref(silent);
  CHECK(atomic_load(&b.memory.live) == 0);
}

/* ---- Time limits ------------------------------------------------------------------------------- */

TEST(a_time_limit_cancels_and_says_so) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = new_token(loop);
  journal log = {""};
  hook a = make_hook(&log, "a");
  add(token, &a);
  CHECK(neap_token_cancel_after(token, 2) == 0);
  CHECK(neap_loop_stats(loop).timers == 1);
  run_until_idle(loop);
  CHECK(neap_loop_now(loop) == 2);
  CHECK(journal_is(&log, "a"));
  CHECK(neap_token_is_cancelled(token) && neap_token_timed_out(token));
  CHECK(!neap_token_cancel(token));
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(a_time_limit_of_nothing_waits_for_its_turn) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = new_token(loop);
  CHECK(neap_token_cancel_after(token, 0) == 0);
  CHECK(!neap_token_is_cancelled(token));
  neap_loop_step(loop);
  CHECK(neap_token_timed_out(token));
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(the_last_time_limit_counts) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *sooner = new_token(loop), *later = new_token(loop);
  CHECK(neap_token_cancel_after(sooner, 5) == 0 && neap_token_cancel_after(sooner, 2) == 0);
  CHECK(neap_token_cancel_after(later, 1) == 0 && neap_token_cancel_after(later, 4) == 0);
  neap_task *sleep = sleep_for(loop, 3);
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(neap_token_timed_out(sooner) && !neap_token_is_cancelled(later));
  CHECK(neap_token_cancel_after(later, 4) == 0); /* counted from now */
  run_until_idle(loop);
  CHECK(neap_loop_now(loop) == 7 && neap_token_timed_out(later));
  neap_task_unref(sleep);
  neap_token_unref(sooner);
  neap_token_unref(later);
  bench_close_idle(&b);
}

TEST(a_time_limit_is_taken_back) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = new_token(loop);
  CHECK(neap_token_cancel_after(token, HUGE_VAL) == 0); /* there was none */
  CHECK(neap_token_cancel_after(token, 2) == 0);
  CHECK(neap_token_cancel_after(token, HUGE_VAL) == 0);
  CHECK(neap_loop_stats(loop).timers == 0);
  run_until_idle(loop);
  CHECK(!neap_token_is_cancelled(token));
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(a_time_limit_that_is_none_is_refused_and_the_former_one_stays) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = new_token(loop);
  CHECK(neap_token_cancel_after(token, 2) == 0);
  CHECK(neap_token_cancel_after(token, -1) == UV_EINVAL);
  CHECK(neap_token_cancel_after(token, (double)NAN) == UV_EINVAL);
  CHECK(neap_token_cancel_after(token, -HUGE_VAL) == UV_EINVAL);
  run_until_idle(loop);
  CHECK(neap_loop_now(loop) == 2 && neap_token_timed_out(token));
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(a_cancelled_token_has_no_time_limit_any_more) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = new_token(loop);
  CHECK(neap_token_cancel_after(token, 2) == 0);
  CHECK(neap_token_cancel(token));
  CHECK(neap_loop_stats(loop).timers == 0);
  CHECK(neap_token_cancel_after(token, 3) == 0);
  CHECK(neap_loop_stats(loop).timers == 0);
  run_until_idle(loop);
  CHECK(!neap_token_timed_out(token));
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(a_token_without_references_is_not_cancelled) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = new_token(loop);
  journal log = {""};
  hook a = make_hook(&log, "a");
  add(token, &a);
  CHECK(neap_token_cancel_after(token, 2) == 0);
  neap_token_unref(token);
  CHECK(neap_loop_stats(loop).timers == 0);
  run_until_idle(loop);
  CHECK(journal_is(&log, ""));
  bench_close_idle(&b);
}

TEST(the_last_reference_may_be_dropped_while_its_time_limit_calls) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = new_token(loop);
  journal log = {""};
  hook a = make_hook(&log, "a"), c = make_hook(&log, "c");
  add(token, &a);
  add(token, &c);
  c.then = unref_token;
  c.token = token;
  CHECK(neap_token_cancel_after(token, 2) == 0);
  run_until_idle(loop);
  CHECK(journal_is(&log, "c a"));
  bench_close_idle(&b);
}

static void arm_again(hook *self) {
  CHECK(neap_token_cancel_after(self->token, 1) == 0);
}

TEST(a_call_that_sets_a_time_limit_sets_none) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = new_token(loop);
  journal log = {""};
  hook a = make_hook(&log, "a");
  add(token, &a);
  a.then = arm_again;
  a.token = token;
  CHECK(neap_token_cancel_after(token, 2) == 0);
  run_until_idle(loop);
  CHECK(journal_is(&log, "a") && neap_loop_now(loop) == 2);
  neap_token_unref(token);
  bench_close_idle(&b);
}

/* ---- The token of a scope ------------------------------------------------------------------------ */

/* A body with a scope in a scope: sleeps in the inner one, whose token and scope it gives away, and
 * goes on with the shielded rest of its work, if it has any. */
typedef struct keeper {
  double outer_timeout, timeout; /* 0: none */
  bool shield;
  double seconds;
  neap_token **token; /* may be NULL */
  neap_scope **inner; /* may be NULL */
  neap_scope *scopes[2];
  neap_task *sleep;
  int place;
} keeper;

static double or_never(double timeout) {
  return timeout > 0 ? timeout : HUGE_VAL;
}

static neap_step_result step_keeper(neap_task *task, void *frame) {
  keeper *self = frame;
  if (self->place++ == 0) {
    CHECK(neap_scope_enter(task, or_never(self->outer_timeout), false, &self->scopes[0]) == 0);
    CHECK(neap_scope_enter(task, or_never(self->timeout), self->shield, &self->scopes[1]) == 0);
    if (self->token) CHECK(neap_scope_token(self->scopes[1], self->token) == 0);
    if (self->inner) *self->inner = self->scopes[1];
    self->sleep = sleep_for(task->loop, self->seconds);
    if (neap_task_await(task, self->sleep)) return NEAP_STEP_WAIT;
  }
  for (int i = 1; i >= 0; i--) CHECK(!neap_scope_exit(task, self->scopes[i]));
  return NEAP_STEP_END;
}

static void release_keeper(void *frame) {
  neap_task *sleep = ((keeper *)frame)->sleep;
  if (sleep) neap_task_unref(sleep);
}

static neap_scope *scope; /* the inner one of the running test */

static const neap_body keeper_body = {"keeper", sizeof(keeper), step_keeper, release_keeper, NULL};

static neap_task *start_keeper(neap_loop *loop, keeper init) {
  neap_task *task = NULL;
  CHECK(neap_task_start(loop, &keeper_body, &init, &task) == 0);
  return task;
}

TEST(the_token_of_a_scope_is_cancelled_with_it_and_calls_in_the_next_turn) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  journal log = {""};
  hook hooks[] = {make_hook(&log, "a"), make_hook(&log, "b")};
  neap_task *task = start_keeper(loop, (keeper){.seconds = 9, .token = &token, .inner = &scope});
  for (int i = 0; i < 2; i++) add(token, &hooks[i]);
  CHECK(neap_scope_cancel(scope));
  CHECK(neap_token_is_cancelled(token) && !neap_token_timed_out(token));
  CHECK(journal_is(&log, ""));
  CHECK(!neap_token_cancel(token));
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(journal_is(&log, "b a"));
  CHECK(neap_loop_now(loop) == 0);
  neap_token_unref(token);
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(the_token_of_a_scope_is_cancelled_with_an_outer_scope_or_its_task) {
  for (int by_task = 0; by_task < 2; by_task++) {
    bench b;
    neap_loop *loop = bench_open(&b);
    neap_token *token = NULL;
    journal log = {""};
    hook a = make_hook(&log, "a");
    neap_task *task = start_keeper(
        loop, (keeper){.outer_timeout = by_task ? 0 : 2, .seconds = 9, .token = &token});
    add(token, &a);
    if (by_task) CHECK(neap_task_cancel(task));
    CHECK(neap_loop_run(loop, task) == 0);
    run_until_idle(loop);
    CHECK(neap_loop_now(loop) == (by_task ? 0 : 2));
    CHECK(journal_is(&log, "a"));
    neap_token_unref(token);
    neap_task_unref(task);
    bench_close_idle(&b);
  }
}

TEST(the_token_of_a_scope_knows_that_it_timed_out) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  neap_task *task = start_keeper(loop, (keeper){.timeout = 2, .seconds = 9, .token = &token});
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_token_is_cancelled(token) && neap_token_timed_out(token));
  neap_token_unref(token);
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(a_shield_keeps_the_cancellation_from_the_token) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  neap_task *task = start_keeper(
      loop, (keeper){.outer_timeout = 1, .shield = true, .seconds = 3, .token = &token});
  neap_task *sleep = sleep_for(loop, 2);
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(!neap_token_is_cancelled(token));
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_loop_now(loop) == 3 && !neap_token_is_cancelled(token));
  neap_task_unref(sleep);
  neap_task_unref(task);
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(the_normal_end_of_a_scope_cancels_no_token) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  journal log = {""};
  hook a = make_hook(&log, "a");
  neap_task *task = start_keeper(loop, (keeper){.seconds = 1, .token = &token});
  add(token, &a);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(!neap_token_is_cancelled(token) && journal_is(&log, ""));
  CHECK(end_status(task) == NEAP_DONE);
  CHECK(neap_token_cancel(token)); /* it is like any other now */
  CHECK(journal_is(&log, "a"));
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(a_token_that_nobody_else_refers_to_ends_with_its_scope) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  neap_task *task = start_keeper(loop, (keeper){.seconds = 1, .token = &token});
  neap_token_unref(token);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(cancelling_the_token_of_a_scope_leaves_the_scope_alone) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  neap_task *task = start_keeper(loop, (keeper){.seconds = 1, .token = &token, .inner = &scope});
  CHECK(neap_token_cancel(token));
  CHECK(!neap_scope_cancel_requested(scope));
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_loop_now(loop) == 1);
  CHECK(end_status(task) == NEAP_DONE);
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(the_token_of_a_scope_may_have_a_time_limit_of_its_own) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  neap_task *task = start_keeper(loop, (keeper){.seconds = 3, .token = &token});
  CHECK(neap_token_cancel_after(token, 2) == 0);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_token_timed_out(token));
  CHECK(end_status(task) == NEAP_DONE);
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(a_scope_cancelled_before_the_time_limit_of_its_token_disarms_it) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  neap_task *task = start_keeper(loop, (keeper){.seconds = 9, .token = &token, .inner = &scope});
  CHECK(neap_token_cancel_after(token, 2) == 0);
  CHECK(neap_scope_cancel(scope));
  CHECK(neap_loop_run(loop, task) == 0);
  run_until_idle(loop);
  CHECK(neap_loop_now(loop) == 0 && !neap_token_timed_out(token));
  neap_task_unref(task);
  neap_token_unref(token);
  bench_close_idle(&b);
}

/* An open scope refers to its token, too. */
TEST(the_token_of_an_open_scope_lives_without_other_references) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  journal log = {""};
  hook a = make_hook(&log, "a");
  neap_task *task = start_keeper(loop, (keeper){.seconds = 9, .token = &token, .inner = &scope});
  add(token, &a);
  neap_token_unref(token);
  CHECK(neap_scope_cancel(scope));
  CHECK(neap_loop_run(loop, task) == 0);
  run_until_idle(loop);
  CHECK(journal_is(&log, "a"));
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(the_last_reference_may_be_dropped_while_the_calls_are_queued) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  journal log = {""};
  hook a = make_hook(&log, "a");
  neap_task *task = start_keeper(loop, (keeper){.seconds = 9, .token = &token, .inner = &scope});
  add(token, &a);
  CHECK(neap_scope_cancel(scope));
  neap_token_unref(token);
  CHECK(neap_loop_run(loop, task) == 0);
  run_until_idle(loop);
  CHECK(journal_is(&log, "a"));
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(between_the_cancellation_and_the_calls_registrations_may_change) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  journal log = {""};
  hook a = make_hook(&log, "a"), c = make_hook(&log, "c"), late = make_hook(&log, "late");
  neap_task *task = start_keeper(loop, (keeper){.seconds = 9, .token = &token, .inner = &scope});
  add(token, &a);
  add(token, &c);
  CHECK(neap_scope_cancel(scope));
  CHECK(take_back(&c));
  add(token, &late); /* it is cancelled: at once */
  CHECK(journal_is(&log, "late"));
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(journal_is(&log, "late a"));
  neap_task_unref(task);
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(a_scope_has_as_many_tokens_as_are_asked_for) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *tokens[3] = {NULL};
  journal log = {""};
  hook hooks[] = {make_hook(&log, "a"), make_hook(&log, "b"), make_hook(&log, "c")};
  neap_task *task = start_keeper(loop, (keeper){.seconds = 9, .inner = &scope});
  for (int i = 0; i < 3; i++) {
    CHECK(neap_scope_token(scope, &tokens[i]) == 0);
    add(tokens[i], &hooks[i]);
  }
  neap_token_cancel(tokens[1]);
  CHECK(journal_is(&log, "b"));
  CHECK(neap_scope_cancel(scope));
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(journal_is(&log, "b a c"));
  for (int i = 0; i < 3; i++) neap_token_unref(tokens[i]);
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(the_token_of_a_cancelled_scope_is_cancelled_from_the_start) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  neap_task *task = start_keeper(loop, (keeper){.seconds = 9, .inner = &scope});
  CHECK(neap_scope_cancel(scope));
  CHECK(neap_scope_token(scope, &token) == 0);
  CHECK(neap_token_is_cancelled(token) && !neap_token_timed_out(token));
  neap_token_unref(token);
  CHECK(neap_loop_run(loop, task) == 0);
  neap_task_unref(task);
  bench_close_idle(&b);
}

/* A body that asks for the token of its scope after that has timed out. */
static neap_step_result step_late(neap_task *task, void *frame) {
  keeper *self = frame;
  neap_token *token = NULL;
  if (self->place++ == 0) {
    CHECK(neap_scope_enter(task, 1, false, &self->scopes[0]) == 0);
    self->sleep = sleep_for(task->loop, 9);
    if (neap_task_await(task, self->sleep)) return NEAP_STEP_WAIT;
  }
  CHECK(neap_scope_timed_out(self->scopes[0]));
  CHECK(neap_scope_token(self->scopes[0], &token) == 0);
  CHECK(neap_token_is_cancelled(token));
  CHECK(neap_token_timed_out(token));
  neap_token_unref(token);
  CHECK(!neap_scope_exit(task, self->scopes[0]));
  return NEAP_STEP_END;
}

TEST(the_token_of_a_scope_that_has_timed_out_says_so) {
  bench b;
  neap_loop *loop = bench_open(&b);
  const neap_body body = {"late", sizeof(keeper), step_late, release_keeper, NULL};
  neap_task *task;
  CHECK(neap_task_start(loop, &body, NULL, &task) == 0);
  CHECK(neap_loop_run(loop, task) == 0);
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(a_loop_that_closes_calls_nothing) {
  for (int is_cancelled = 0; is_cancelled < 2; is_cancelled++) {
    for (int is_held = 0; is_held < 2; is_held++) {
      bench b;
      neap_loop *loop = bench_open(&b);
      neap_token *token = NULL;
      journal log = {""};
      hook a = make_hook(&log, "a");
      neap_task_unref(start_keeper(loop, (keeper){.seconds = 9, .token = &token, .inner = &scope}));
      add(token, &a);
      if (is_cancelled) CHECK(neap_scope_cancel(scope));
      if (!is_held) neap_token_unref(token);
      neap_loop_close(loop);
      CHECK(journal_is(&log, ""));
      if (is_held) {
        CHECK(neap_token_is_cancelled(token) == (bool)is_cancelled);
        CHECK(take_back(&a));
        neap_token_unref(token);
      }
      CHECK(atomic_load(&b.memory.live) == 0);
    }
  }
}

TEST(calls_that_are_queued_run_in_a_drawn_order_too) {
  for (uint64_t seed = 1; seed < 20; seed++) {
    bench b;
    neap_loop *loop = bench_open(&b);
    neap_token *tokens[4] = {NULL};
    journal log = {""};
    hook a = make_hook(&log, "a");
    neap_loop_set_schedule(loop, seed);
    for (int i = 0; i < 4; i++) {
      neap_task_unref(
          start_keeper(loop, (keeper){.timeout = 1, .seconds = 9, .token = &tokens[i]}));
      if (i == 0) add(tokens[i], &a);
    }
    run_until_idle(loop);
    CHECK(journal_is(&log, "a"));
    for (int i = 0; i < 4; i++) neap_token_unref(tokens[i]);
    bench_close_idle(&b);
  }
}

/* ---- A token that cancels a scope ------------------------------------------------------------------ */

/* Sleeps in a scope that the token cancels. */
typedef struct linked {
  neap_token *token;
  journal *journal;
  bool cancels; /* the token, itself, before it awaits */
  neap_registration registration;
  neap_scope *scope;
  neap_task *sleep;
  int place;
} linked;

static neap_step_result step_linked(neap_task *task, void *frame) {
  linked *self = frame;
  if (self->place++ == 0) {
    CHECK(neap_scope_enter(task, HUGE_VAL, false, &self->scope) == 0);
    neap_token_cancel_scope(self->token, self->scope, &self->registration);
    if (self->cancels) CHECK(neap_token_cancel(self->token));
    self->sleep = sleep_for(task->loop, 5);
    if (neap_task_await(task, self->sleep)) return NEAP_STEP_WAIT;
  }
  bool is_left = neap_token_unregister(&self->registration);
  bool is_cancelled = neap_task_is_cancelling(task);
  CHECK(is_left != is_cancelled && is_cancelled == neap_scope_cancel_requested(self->scope));
  CHECK(!neap_scope_exit(task, self->scope));
  CHECK(!neap_task_is_cancelling(task));
  note(self->journal, is_cancelled ? "cancelled" : "done");
  return NEAP_STEP_END;
}

static void release_linked(void *frame) {
  linked *self = frame;
  neap_token_unregister(&self->registration); /* the loop closes */
  if (self->sleep) neap_task_unref(self->sleep);
}

static const neap_body linked_body = {"linked", sizeof(linked), step_linked, release_linked, NULL};

static neap_task *start_linked(neap_loop *loop, neap_token *token, journal *log, bool cancels) {
  neap_task *task = NULL;
  linked init = {.token = token, .journal = log, .cancels = cancels};
  CHECK(neap_task_start(loop, &linked_body, &init, &task) == 0);
  return task;
}

TEST(a_token_cancels_the_scopes_of_several_tasks) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = new_token(loop);
  journal log = {""};
  for (int i = 0; i < 3; i++) neap_task_unref(start_linked(loop, token, &log, false));
  CHECK(neap_token_cancel_after(token, 2) == 0);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(neap_loop_now(loop) == 2);
  CHECK(journal_is(&log, "cancelled cancelled cancelled"));
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(a_scope_that_is_left_before_is_not_cancelled) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = new_token(loop);
  journal log = {""};
  neap_task *task = start_linked(loop, token, &log, false);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_token_cancel(token));
  CHECK(journal_is(&log, "done") && neap_loop_now(loop) == 5);
  neap_task_unref(task);
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(a_token_that_is_cancelled_already_cancels_the_scope_at_once) {
  for (int cancels = 0; cancels < 2; cancels++) {
    bench b;
    neap_loop *loop = bench_open(&b);
    neap_token *token = new_token(loop);
    journal log = {""};
    if (!cancels) neap_token_cancel(token);
    neap_task *task = start_linked(loop, token, &log, cancels);
    CHECK(neap_loop_run(loop, task) == 0);
    CHECK(journal_is(&log, "cancelled") && neap_loop_now(loop) == 0);
    CHECK(end_status(task) == NEAP_DONE);
    neap_token_unref(token);
    bench_close_idle(&b);
  }
}

TEST(a_loop_closes_with_scopes_that_a_token_could_cancel) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = new_token(loop);
  journal log = {""};
  for (int i = 0; i < 3; i++) neap_task_unref(start_linked(loop, token, &log, false));
  neap_loop_close(loop);
  CHECK(neap_token_cancel(token)); /* nothing is registered any more */
  neap_token_unref(token);
  CHECK(journal_is(&log, "") && atomic_load(&b.memory.live) == 0);
}

/* The token of a scope that cancels another scope: as a task that is not below it. */
TEST(the_token_of_one_scope_cancels_another) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  journal log = {""};
  neap_task *task = start_keeper(loop, (keeper){.timeout = 2, .seconds = 9, .token = &token});
  neap_task_unref(start_linked(loop, token, &log, false));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "cancelled") && neap_loop_now(loop) == 2);
  neap_task_unref(task);
  neap_token_unref(token);
  bench_close_idle(&b);
}

/* ---- Crowds -------------------------------------------------------------------------------------- */

static neap_registration crowd[CROWD];
static int order[CROWD];
static int called, out_of_order, last_called;

static void count_call(neap_registration *registration) {
  int index = (int)(registration - crowd);
  called++;
  if (index > last_called) out_of_order++;
  last_called = index;
}

static void register_crowd(neap_token *token) {
  called = out_of_order = 0;
  last_called = CROWD;
  for (int i = 0; i < CROWD; i++) {
    crowd[i] = (neap_registration){.call = count_call};
    neap_token_register(token, &crowd[i]);
    order[i] = i;
  }
  uint32_t seed = 7;
  for (uint32_t i = CROWD - 1; i > 0; i--) {
    seed = seed * 1664525 + 1013904223;
    uint32_t k = (seed >> 8) % (i + 1);
    int index = order[i];
    order[i] = order[k];
    order[k] = index;
  }
}

TEST(a_crowd_is_called_the_youngest_first) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  register_crowd(token);
  CHECK(neap_token_cancel(token));
  CHECK(called == CROWD && out_of_order == 0);
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(a_crowd_is_taken_back_in_any_order) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  register_crowd(token);
  for (int i = 0; i < CROWD; i += 2) CHECK(neap_token_unregister(&crowd[order[i]]));
  CHECK(neap_token_cancel(token));
  CHECK(called == CROWD / 2 && out_of_order == 0);
  for (int i = 0; i < CROWD; i++) CHECK(!neap_token_unregister(&crowd[i]));
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(a_crowd_is_forgotten_with_its_token) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  register_crowd(token);
  neap_token_unref(token);
  CHECK(called == 0);
  for (int i = 0; i < CROWD; i++) CHECK(crowd[i].token == NULL);
  bench_close_idle(&b);
}

/* ---- Without memory -------------------------------------------------------------------------------- */

TEST(without_memory_there_is_no_token_and_no_time_limit) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  neap_loop_fail_allocation(loop, 1, false);
  CHECK(neap_token_new(loop, &token) == UV_ENOMEM);
  CHECK(token == NULL);
  token = new_token(loop);
  neap_loop_fail_allocation(loop, 1, false);
  CHECK(neap_token_cancel_after(token, 1) == UV_ENOMEM);
  CHECK(neap_loop_stats(loop).timers == 0);
  CHECK(neap_token_cancel_after(token, 1) == 0);
  run_until_idle(loop);
  CHECK(neap_token_timed_out(token));
  neap_token_unref(token);
  bench_close_idle(&b);
}

TEST(without_memory_a_scope_has_no_token) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *token = NULL;
  neap_task *task = start_keeper(loop, (keeper){.seconds = 1, .inner = &scope});
  neap_loop_fail_allocation(loop, 1, false);
  CHECK(neap_scope_token(scope, &token) == UV_ENOMEM);
  CHECK(token == NULL);
  CHECK(neap_loop_run(loop, task) == 0);
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(registering_cancelling_and_calling_need_no_memory) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_token *plain = new_token(loop), *token = NULL;
  journal log = {""};
  hook a = make_hook(&log, "a"), c = make_hook(&log, "c");
  neap_task *task = start_keeper(loop, (keeper){.seconds = 9, .token = &token, .inner = &scope});
  neap_loop_fail_allocation(loop, 1, true);
  add(token, &a);
  add(plain, &c);
  CHECK(neap_token_cancel(plain));
  CHECK(neap_scope_cancel(scope));
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(!neap_loop_fail_allocation(loop, 0, false));
  CHECK(journal_is(&log, "c a"));
  neap_task_unref(task);
  neap_token_unref(token);
  neap_token_unref(plain);
  bench_close_idle(&b);
}

/* ---- Registered while it is registered --------------------------------------------------------------- */

/* neap.h does not forbid it. Without care the list goes in circles, and cancelling never ends: so the
 * list is looked at, and repaired, before. */
TEST(what_is_registered_twice_is_called_once) {
  bench b;
  neap_token *token = new_token(bench_open(&b));
  journal log = {""};
  hook a = make_hook(&log, "a"), c = make_hook(&log, "c");
  add(token, &a);
  add(token, &c);
  add(token, &a);
  int steps = 0;
  for (neap__list *at = token->registrations.next; at != &token->registrations && steps < 9;
       at = at->next)
    steps++;
  if (CHECK(steps == 2))
    neap_token_cancel(token);
  else
    neap__list_init(&token->registrations);
  CHECK(journal_is(&log, "a c"));
  neap_token_unref(token);
  bench_close_idle(&b);
}
