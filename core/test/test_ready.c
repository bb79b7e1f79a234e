#include "support.h"

#include "ready.h"

enum { CROWD = 200 };

/* ---- The queue itself ------------------------------------------------------------------------ */

typedef struct item {
  neap__runnable runnable;
  int index;
} item;

static item items[CROWD];

static int index_of(neap__runnable *runnable) {
  return NEAP__CONTAINER(runnable, item, runnable)->index;
}

static neap__ready fill(int count, uint64_t seed) {
  neap__ready ready = {.seed = seed};
  for (int i = 0; i < count; i++) {
    items[i] = (item){.index = i};
    neap__ready_push(&ready, &items[i].runnable);
  }
  return ready;
}

/* Takes out all of them; false unless each one came once. */
static bool draw_all(neap__ready *ready, int count, int *drawn) {
  bool seen[CROWD] = {false};
  for (int i = 0; i < count; i++) {
    neap__runnable *runnable = neap__ready_draw(ready);
    if (!runnable || seen[index_of(runnable)]) return false;
    drawn[i] = index_of(runnable);
    seen[drawn[i]] = true;
  }
  return !neap__ready_draw(ready) && !ready->head && !ready->tail;
}

static bool is_in_order(const int *drawn, int count) {
  for (int i = 0; i < count; i++)
    if (drawn[i] != i) return false;
  return true;
}

TEST(what_comes_first_goes_first) {
  neap__ready ready = fill(5, 0);
  for (int i = 0; i < 5; i++) CHECK(index_of(neap__ready_pop(&ready)) == i);
  CHECK(!neap__ready_pop(&ready) && !ready.head && !ready.tail);
}

TEST(an_emptied_queue_takes_more) {
  neap__ready ready = fill(2, 0);
  neap__ready_clear(&ready);
  CHECK(!neap__ready_pop(&ready));
  neap__ready_push(&ready, &items[1].runnable);
  neap__ready_push(&ready, &items[0].runnable);
  CHECK(index_of(neap__ready_pop(&ready)) == 1 && index_of(neap__ready_pop(&ready)) == 0);
}

TEST(what_is_drawn_is_a_permutation_whatever_the_number) {
  const int counts[] = {0, 1, 2, 3, 63, 64, 65, CROWD};
  int drawn[CROWD];
  for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
    for (uint64_t seed = 1; seed < 50; seed++) {
      neap__ready ready = fill(counts[k], seed);
      CHECK(draw_all(&ready, counts[k], drawn));
    }
  }
}

TEST(a_seed_draws_the_same_order_again) {
  int one[CROWD] = {0}, other[CROWD] = {0};
  neap__ready ready = fill(CROWD, 7);
  CHECK(draw_all(&ready, CROWD, one));
  ready = fill(CROWD, 7);
  CHECK(draw_all(&ready, CROWD, other));
  CHECK(memcmp(one, other, sizeof one) == 0);
  ready = fill(CROWD, 8);
  CHECK(draw_all(&ready, CROWD, other));
  CHECK(memcmp(one, other, sizeof one) != 0);
  CHECK(!is_in_order(one, CROWD));
}

/* Each of the six orders of three comes about as often as the others. */
TEST(every_order_is_drawn) {
  int counts[27] = {0}, drawn[3] = {0}, met = 0;
  for (uint64_t seed = 1; seed <= 600; seed++) {
    neap__ready ready = fill(3, seed);
    CHECK(draw_all(&ready, 3, drawn));
    counts[9 * drawn[0] + 3 * drawn[1] + drawn[2]]++;
  }
  for (int i = 0; i < 27; i++) {
    if (counts[i] == 0) continue;
    met++;
    CHECK(counts[i] > 50 && counts[i] < 200);
  }
  CHECK(met == 6);
}

TEST(nothing_is_drawn_from_further_back_than_64) {
  for (uint64_t seed = 1; seed < 300; seed++) {
    neap__ready ready = fill(CROWD, seed);
    CHECK(index_of(neap__ready_draw(&ready)) < 64);
  }
}

TEST(after_the_last_was_drawn_the_queue_takes_more) {
  for (uint64_t seed = 1; seed < 50; seed++) {
    int drawn[3];
    neap__ready ready = fill(3, seed);
    neap__runnable *gone = neap__ready_draw(&ready);
    neap__ready_push(&ready, gone);
    CHECK(ready.tail == gone && !gone->next);
    CHECK(draw_all(&ready, 3, drawn));
  }
}

static bool is_chosen(neap__runnable *runnable, void *data) {
  return ((const bool *)data)[index_of(runnable)];
}

TEST(what_is_removed_is_gone_and_the_others_keep_their_order) {
  for (unsigned chosen = 0; chosen < 16; chosen++) {
    bool is_gone[5];
    for (int i = 0; i < 5; i++) is_gone[i] = i < 4 && (chosen >> i & 1);
    neap__ready ready = fill(4, 42);
    neap__ready_remove(&ready, is_chosen, is_gone);
    CHECK(ready.seed == 42);
    items[4] = (item){.index = 4};
    neap__ready_push(&ready, &items[4].runnable);
    for (int i = 0; i < 5; i++)
      if (!is_gone[i]) CHECK(index_of(neap__ready_pop(&ready)) == i);
    CHECK(!ready.head && !ready.tail);
  }
}

/* ---- The order in which tasks run --------------------------------------------------------------- */

/* Notes its name after so many pauses. */
typedef struct pauser {
  int pauses;
  journal *journal;
  char name[2];
} pauser;

static neap_step_result step_pauser(neap_task *task, void *frame) {
  pauser *self = frame;
  if (self->pauses-- > 0) {
    neap_task_pause(task);
    return NEAP_STEP_WAIT;
  }
  note(self->journal, self->name);
  return NEAP_STEP_END;
}

static const neap_body pauser_body = {"pauser", sizeof(pauser), step_pauser, NULL, NULL};

static void start_pausers(neap_loop *loop, journal *log, int count, int pauses) {
  for (int i = 0; i < count; i++) {
    neap_task *task;
    pauser init = {.pauses = pauses, .journal = log, .name = {(char)('a' + i)}};
    CHECK(neap_task_start(loop, &pauser_body, &init, &task) == 0);
    neap_task_unref(task);
  }
}

static journal run_pausers(uint64_t seed, int count, int pauses) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_loop_set_schedule(loop, seed);
  start_pausers(loop, &log, count, pauses);
  CHECK(neap_loop_run(loop, NULL) == 0);
  bench_close_idle(&b);
  return log;
}

static const char in_order[] = "a b c d e f g h";

/* Whether each letter is in it once. */
static bool has_all(const journal *log) {
  if (strlen(log->text) != strlen(in_order)) return false;
  for (int c = 'a'; c <= 'h'; c++)
    if (!strchr(log->text, c)) return false;
  return true;
}

TEST(tasks_run_in_order_when_no_seed_is_set) {
  journal log = run_pausers(0, 8, 3);
  CHECK(journal_is(&log, in_order));
}

TEST(tasks_run_in_the_order_of_the_seed) {
  int different = 0;
  for (uint64_t seed = 1; seed < 50; seed++) {
    journal one = run_pausers(seed, 8, 1), other = run_pausers(seed, 8, 1);
    CHECK(has_all(&one));
    CHECK(strcmp(one.text, other.text) == 0);
    different += strcmp(one.text, in_order) != 0;
  }
  CHECK(different > 40);
}

TEST(without_the_seed_tasks_run_in_order_again) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_loop_set_schedule(loop, 3);
  start_pausers(loop, &log, 8, 5);
  neap_loop_set_schedule(loop, 0);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, in_order));
  bench_close_idle(&b);
}

/* A task that pauses until the other one has run. */
static neap_step_result step_patient(neap_task *task, void *frame) {
  const journal *log = *(journal **)frame;
  if (log->text[0]) return NEAP_STEP_END;
  neap_task_pause(task);
  return NEAP_STEP_WAIT;
}

TEST(who_pauses_for_ever_does_not_keep_others_from_running) {
  for (uint64_t seed = 0; seed < 50; seed++) {
    bench b;
    neap_loop *loop = bench_open(&b);
    journal log = {""}, *frame = &log;
    const neap_body body = {"patient", sizeof frame, step_patient, NULL, NULL};
    neap_task *task;
    neap_loop_set_schedule(loop, seed);
    for (int i = 0; i < 5; i++) {
      CHECK(neap_task_start(loop, &body, &frame, &task) == 0);
      neap_task_unref(task);
    }
    start_pausers(loop, &log, 1, 20);
    CHECK(neap_loop_run(loop, NULL) == 0);
    CHECK(journal_is(&log, "a"));
    bench_close_idle(&b);
  }
}

TEST(time_passes_in_a_drawn_order_as_in_any) {
  for (uint64_t seed = 0; seed < 20; seed++) {
    bench b;
    neap_loop *loop = bench_open(&b);
    journal log = {""};
    neap_loop_set_schedule(loop, seed);
    const char *names[] = {"c", "a", "b"};
    for (int i = 0; i < 3; i++)
      neap_task_unref(start_waiter(
          loop, (waiter){.seconds = i == 0 ? 3 : i, .journal = &log, .name = names[i]}));
    CHECK(neap_loop_run(loop, NULL) == 0);
    CHECK(journal_is(&log, "a b c") && neap_loop_now(loop) == 3);
    bench_close_idle(&b);
  }
}

TEST(a_loop_closes_in_the_middle_of_a_drawn_order) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_loop_set_schedule(loop, 5);
  start_pausers(loop, &log, 8, 1000);
  neap_loop_step(loop);
  bench_close(&b);
  CHECK(journal_is(&log, ""));
}

/* A seed is also the state of what draws: it must not come to 0, which means in order. */
TEST(no_seed_becomes_the_one_that_means_in_order) {
  const uint64_t step = 0x9e3779b97f4a7c15;
  for (uint64_t before = 1; before < 4; before++) {
    neap__ready ready = {.seed = 0 - before * step};
    for (uint64_t i = 0; i < 5; i++) {
      neap__ready_push(&ready, &items[0].runnable);
      CHECK(neap__ready_draw(&ready) == &items[0].runnable);
      CHECK(ready.seed != 0);
    }
  }
}

/* ---- Parked routines ------------------------------------------------------------------------------- */

/* A routine that does nothing by itself, in memory of the test, which runs it by hand. */
typedef struct producer {
  neap__routine routine;
  int resumed, dropped;
  bool saw_cancelled;
} producer;

static producer *of_routine(neap__routine *routine) {
  return NEAP__CONTAINER(routine, producer, routine);
}

static void end_producer(neap__routine *routine, neap_status status) {
  neap__routine_end(routine, status);
  neap__task_deinit(&routine->task);
}

static void resume_producer(neap__routine *routine) {
  producer *self = of_routine(routine);
  self->resumed++;
  self->saw_cancelled = neap__routine_is_cancelled(routine);
  routine->state = NEAP__RUNNING;
  end_producer(routine, self->saw_cancelled ? NEAP_CANCELLED : NEAP_DONE);
}

static void drop_producer(neap__routine *routine) {
  of_routine(routine)->dropped++;
  end_producer(routine, NEAP_CANCELLED);
}

static const neap__task_kind producer_kind = {
    .name = "producer", .has_body = true, .resume = resume_producer, .drop = drop_producer};

/* Begins it; until it is parked it runs. */
static void enter_producer(producer *self, neap_loop *loop, neap__node *parent, neap_scope *owner) {
  *self = (producer){.resumed = 0};
  neap__routine_init(&self->routine, loop, &producer_kind, parent, owner);
  self->routine.state = NEAP__RUNNING;
  loop->current = &self->routine;
}

static void park_producer(producer *self) {
  self->routine.task.loop->current = NULL;
  neap__routine_park(&self->routine);
}

static void resume_below(producer *self, neap__node *parent, neap_scope *owner) {
  neap__routine_adopt(&self->routine, parent, owner);
  neap__routine_wake(&self->routine, NEAP__WAKE_TURN);
}

TEST(a_parked_routine_is_nobodys_and_comes_back) {
  bench b;
  neap_loop *loop = bench_open(&b);
  producer self;
  enter_producer(&self, loop, &loop->root.node, &loop->root);
  CHECK(neap_loop_stats(loop).tasks == 1 && loop->root.live == 1);
  park_producer(&self);
  CHECK(neap_loop_stats(loop).tasks == 0 && loop->root.live == 0);
  CHECK(!self.routine.task.node.parent && !loop->root.node.last_child);
  CHECK(neap_loop_run(loop, NULL) == 0); /* it waits for nothing */
  resume_below(&self, &loop->root.node, &loop->root);
  CHECK(neap_loop_stats(loop).tasks == 1 && loop->root.live == 1);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(self.resumed == 1 && !self.saw_cancelled && self.routine.task.status == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(what_a_parked_routine_has_started_stays_with_who_pulls) {
  bench b;
  neap_loop *loop = bench_open(&b);
  producer self;
  neap_task *puller = start_waiter(loop, (waiter){.seconds = 5});
  enter_producer(&self, loop, &puller->node, &loop->root);
  neap_task *child = start_waiter(loop, (waiter){.seconds = 9}), *sleep = sleep_for(loop, 9);
  CHECK(child->node.parent == &self.routine.task.node);
  park_producer(&self);
  CHECK(child->node.parent == &puller->node && sleep->node.parent == &puller->node);
  CHECK(neap__node_is_valid(&loop->root.node) && neap__node_is_valid(&self.routine.task.node));
  CHECK(neap_task_cancel(puller));
  resume_below(&self, &loop->root.node, NULL);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(end_status(child) == NEAP_CANCELLED && end_status(sleep) == NEAP_CANCELLED);
  CHECK(end_status(puller) == NEAP_CANCELLED);
  CHECK(!self.saw_cancelled);
  bench_close_idle(&b);
}

TEST(what_is_in_an_explicit_scope_of_a_parked_routine_goes_with_it) {
  bench b;
  neap_loop *loop = bench_open(&b);
  producer self;
  neap_scope scope;
  neap_task *puller = start_waiter(loop, (waiter){.seconds = 1});
  enter_producer(&self, loop, &puller->node, &loop->root);
  neap__scope_open(&scope, loop, &self.routine, false);
  neap_task *sleep = sleep_for(loop, 9);
  park_producer(&self);
  CHECK(sleep->node.parent == &scope.node && scope.node.parent == &self.routine.task.node);
  CHECK(neap_task_cancel(puller));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(neap_task_status(sleep) == NEAP_PENDING); /* nobody reaches it */
  neap__routine_adopt(&self.routine, &loop->root.node, &loop->root);
  CHECK(neap__node_cancel(&loop->root.node, NULL));
  CHECK(end_status(sleep) == NEAP_CANCELLED);
  neap__scope_close(&scope);
  neap__routine_wake(&self.routine, NEAP__WAKE_TURN);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(self.saw_cancelled);
  neap_task_unref(puller);
  bench_close_idle(&b);
}

/* A body that waits for what is in its scope. */
typedef struct joiner {
  neap_scope **shared, *scope;
  int place;
} joiner;

static neap_step_result step_joiner(neap_task *task, void *frame) {
  joiner *self = frame;
  if (self->place++ == 0) {
    CHECK(neap_scope_enter(task, HUGE_VAL, false, &self->scope) == 0);
    *self->shared = self->scope;
    neap_task_pause(task);
    return NEAP_STEP_WAIT;
  }
  return neap_scope_exit(task, self->scope) ? NEAP_STEP_WAIT : NEAP_STEP_END;
}

static const neap_body joiner_body = {"joiner", sizeof(joiner), step_joiner, NULL, NULL};

static neap_task *start_joiner(neap_loop *loop, neap_scope **scope) {
  neap_task *task = NULL;
  joiner init = {.shared = scope};
  CHECK(neap_task_start(loop, &joiner_body, &init, &task) == 0);
  return task;
}

TEST(who_waits_for_a_routine_in_its_scope_is_released_when_it_is_parked) {
  bench b;
  neap_loop *loop = bench_open(&b);
  producer self;
  neap_scope *scope = NULL;
  neap_task *task = start_joiner(loop, &scope);
  enter_producer(&self, loop, &scope->node, scope);
  loop->current = NULL;
  neap_loop_step(loop);
  CHECK(scope->is_joining && neap_task_status(task) == NEAP_PENDING);
  park_producer(&self);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  CHECK(neap_loop_stats(loop).scopes == 0);
  resume_below(&self, &loop->root.node, NULL);
  CHECK(neap_loop_run(loop, NULL) == 0);
  bench_close_idle(&b);
}

TEST(a_scope_waits_for_a_routine_that_it_has_adopted) {
  bench b;
  neap_loop *loop = bench_open(&b);
  producer self;
  neap_scope *scope = NULL;
  enter_producer(&self, loop, &loop->root.node, &loop->root);
  park_producer(&self);
  neap_task *task = start_joiner(loop, &scope);
  neap__routine_adopt(&self.routine, &scope->node, scope);
  neap_loop_step(loop);
  CHECK(scope->is_joining);
  neap__routine_wake(&self.routine, NEAP__WAKE_TURN);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(self.resumed == 1);
  CHECK(end_status(task) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_cancellation_of_a_parked_routine_is_seen_when_it_comes_back) {
  bench b;
  neap_loop *loop = bench_open(&b);
  producer self;
  enter_producer(&self, loop, &loop->root.node, &loop->root);
  park_producer(&self);
  CHECK(neap_task_cancel(&self.routine.task));
  CHECK(!neap_task_cancel(&self.routine.task));
  CHECK(!loop->ready.head); /* it is not woken for it */
  resume_below(&self, &loop->root.node, &loop->root);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(self.saw_cancelled && self.routine.task.status == NEAP_CANCELLED);
  bench_close_idle(&b);
}

TEST(a_cancellation_from_outside_does_not_follow_a_routine_that_is_parked) {
  bench b;
  neap_loop *loop = bench_open(&b);
  producer self;
  neap_task *puller = start_waiter(loop, (waiter){.seconds = 5});
  enter_producer(&self, loop, &puller->node, &loop->root);
  loop->current = NULL;
  CHECK(neap_task_cancel(puller));
  CHECK(neap__routine_is_cancelled(&self.routine));
  park_producer(&self);
  CHECK(!neap__routine_is_cancelled(&self.routine));
  resume_below(&self, &loop->root.node, &loop->root);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(!self.saw_cancelled && self.routine.task.status == NEAP_DONE);
  neap_task_unref(puller);
  bench_close_idle(&b);
}

TEST(a_routine_that_comes_back_below_a_cancelled_task_is_cancelled) {
  bench b;
  neap_loop *loop = bench_open(&b);
  producer self;
  neap_task *puller = start_waiter(loop, (waiter){.seconds = 5});
  enter_producer(&self, loop, &loop->root.node, &loop->root);
  park_producer(&self);
  CHECK(neap_task_cancel(puller));
  resume_below(&self, &puller->node, &loop->root);
  CHECK(neap__routine_is_cancelled(&self.routine));
  CHECK(neap__node_is_valid(&loop->root.node));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(self.saw_cancelled);
  neap_task_unref(puller);
  bench_close_idle(&b);
}

TEST(a_loop_drops_a_routine_that_has_come_back) {
  bench b;
  neap_loop *loop = bench_open(&b);
  producer self;
  enter_producer(&self, loop, &loop->root.node, &loop->root);
  park_producer(&self);
  resume_below(&self, &loop->root.node, &loop->root);
  bench_close(&b);
  CHECK(self.resumed == 0 && self.dropped == 1);
}
