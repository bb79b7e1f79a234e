#include "support.h"

enum { DEPTH = 100000, LESS_DEEP = 20000 };

/* A body that starts `tasks` waiters in itself, then awaits the first of them, or a long sleep. */
typedef struct parent {
  waiter children[3];
  int count;
  bool awaits_child;
  neap_task *started[3];
  neap_task *sleep;
  journal *journal;
  int place;
} parent;

static neap_step_result step_parent(neap_task *task, void *frame) {
  parent *self = frame;
  if (self->place++ == 0) {
    for (int i = 0; i < self->count; i++)
      self->started[i] = start_waiter(task->loop, self->children[i]);
    if (!self->awaits_child) self->sleep = sleep_for(task->loop, 100);
    CHECK(neap_task_await(task, self->awaits_child ? self->started[0] : self->sleep));
    return NEAP_STEP_WAIT;
  }
  if (self->journal) note(self->journal, "parent");
  return NEAP_STEP_END;
}

static void release_parent(void *frame) {
  parent *self = frame;
  for (int i = 0; i < self->count; i++)
    if (self->started[i]) neap_task_unref(self->started[i]);
  if (self->sleep) neap_task_unref(self->sleep);
}

static const neap_body parent_body = {"parent", sizeof(parent), step_parent, release_parent, NULL};

static neap_task *start_parent(neap_loop *loop, parent init) {
  neap_task *task = NULL;
  CHECK(neap_task_start(loop, &parent_body, &init, &task) == 0);
  return task;
}

TEST(cancellation_is_delivered_in_the_order_of_creation) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  parent init = {.count = 3, .journal = &log};
  const char *names[] = {"a", "b", "c"};
  for (int i = 0; i < 3; i++)
    init.children[i] = (waiter){.seconds = 9 - i, .journal = &log, .name = names[i]};
  neap_task *task = start_parent(loop, init);
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "parent a b c"));
  CHECK(end_status(task) == NEAP_CANCELLED);
  bench_close_idle(&b);
}

TEST(cancelling_from_the_root_reaches_everybody_in_order) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  const char *names[] = {"a", "b", "c"};
  for (int i = 0; i < 3; i++)
    neap_task_unref(start_waiter(loop, (waiter){.seconds = 1, .journal = &log, .name = names[i]}));
  CHECK(neap__node_cancel(&loop->root.node, NULL));
  CHECK(!neap__node_cancel(&loop->root.node, NULL));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "a b c"));
  CHECK(neap_loop_now(loop) == 0);
  bench_close_idle(&b);
}

TEST(only_what_is_below_is_cancelled) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *one = start_waiter(loop, (waiter){.seconds = 1});
  neap_task *other = start_waiter(loop, (waiter){.seconds = 1});
  CHECK(neap_task_cancel(one));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(end_status(one) == NEAP_CANCELLED);
  CHECK(end_status(other) == NEAP_DONE);
  bench_close_idle(&b);
}

/* ---- Kept waits (C11, C12) ------------------------------------------------------------------- */

TEST(a_waiter_waits_for_the_cleanup_of_a_task_that_is_cancelled_with_it) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  waiter child = {.seconds = 9, .cleanup = 2, .journal = &log, .name = "child"};
  neap_task *task =
      start_parent(loop, (parent){{child}, .count = 1, .awaits_child = true, .journal = &log});
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "child parent"));
  CHECK(neap_loop_now(loop) == 2);
  CHECK(end_status(task) == NEAP_CANCELLED);
  bench_close_idle(&b);
}

TEST(a_wait_for_a_task_outside_is_withdrawn_at_once) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task *outside =
      start_waiter(loop, (waiter){.seconds = 9, .journal = &log, .name = "outside"});
  neap_task *task =
      start_waiter(loop, (waiter){.target = outside, .journal = &log, .name = "waiter"});
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "waiter outside"));
  CHECK(neap_task_status(outside) == NEAP_DONE);
  neap_task_unref(outside);
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(a_waiter_of_all_waits_for_the_cleanup_of_its_elements) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  neap_task *elements[2], *all;
  for (int i = 0; i < 2; i++)
    elements[i] = start_waiter(
        loop, (waiter){.seconds = 9, .cleanup = 1 + i, .journal = &log, .name = i ? "b" : "a"});
  CHECK(neap_all(loop, elements, 2, &all) == 0);
  neap_task *task = start_waiter(loop, (waiter){.target = all, .journal = &log, .name = "waiter"});
  CHECK(neap__node_cancel(&loop->root.node, NULL));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "a b waiter"));
  CHECK(neap_loop_now(loop) == 2);
  CHECK(end_status(all) == NEAP_CANCELLED);
  CHECK(end_status(task) == NEAP_CANCELLED);
  for (int i = 0; i < 2; i++) neap_task_unref(elements[i]);
  bench_close_idle(&b);
}

/* Two waiters whose targets are set later, so that they await each other. */
typedef struct pair {
  neap_task *tasks[2];
} pair;

typedef struct lover {
  pair *pair;
  int index, place;
  journal *journal;
} lover;

static neap_step_result step_lover(neap_task *task, void *frame) {
  lover *self = frame;
  if (self->place++ == 0) {
    neap_task_pause(task);
    return NEAP_STEP_WAIT;
  }
  if (self->place == 2) {
    CHECK(neap_task_await(task, self->pair->tasks[1 - self->index]));
    return NEAP_STEP_WAIT;
  }
  note(self->journal, self->index ? "young" : "old");
  return NEAP_STEP_END;
}

static const neap_body lover_body = {"lover", sizeof(lover), step_lover, NULL, NULL};

static void start_pair(neap_loop *loop, pair *both, journal *log) {
  for (int i = 0; i < 2; i++) {
    lover init = {.pair = both, .index = i, .journal = log};
    CHECK(neap_task_start(loop, &lover_body, &init, &both->tasks[i]) == 0);
  }
}

static void drop_pair(pair *both) {
  for (int i = 0; i < 2; i++) neap_task_unref(both->tasks[i]);
}

TEST(two_tasks_that_await_each_other_are_a_deadlock) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  pair both;
  start_pair(loop, &both, &log);
  CHECK(neap_loop_run(loop, NULL) == NEAP_EDEADLOCK);
  drop_pair(&both);
  bench_close(&b);
}

TEST(a_cycle_of_kept_waits_is_broken_at_its_youngest_task) {
  bench b;
  neap_loop *loop = bench_open(&b);
  journal log = {""};
  pair both;
  start_pair(loop, &both, &log);
  CHECK(neap_loop_run(loop, NULL) == NEAP_EDEADLOCK);
  CHECK(neap__node_cancel(&loop->root.node, NULL));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "young old"));
  for (int i = 0; i < 2; i++) CHECK(neap_task_status(both.tasks[i]) == NEAP_CANCELLED);
  drop_pair(&both);
  bench_close_idle(&b);
}

TEST(nothing_is_withdrawn_where_there_is_no_cycle) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = start_waiter(loop, (waiter){.seconds = HUGE_VAL});
  CHECK(!neap__break_kept_cycle(loop));
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, NULL) == 0);
  neap_task_unref(task);
  bench_close_idle(&b);
}

/* ---- Depth ----------------------------------------------------------------------------------- */

/* Each link starts the next one, a turn after its own start: the tree is a chain. */
typedef struct chain {
  int links, ended;
  neap_task *sleep; /* what all but the last await, when they do not await the next */
} chain;

typedef struct joint {
  chain *chain;
  neap_task *next;
  int place;
} joint;

static const neap_body joint_body;

static neap_step_result start_next(neap_task *task, joint *self) {
  joint next = {.chain = self->chain};
  if (self->chain->links-- > 0) {
    CHECK(neap_task_start(task->loop, &joint_body, &next, &self->next) == 0);
    neap_task *target = self->chain->sleep ? self->chain->sleep : self->next;
    CHECK(neap_task_await(task, target));
  } else {
    self->next = sleep_for(task->loop, 5);
    CHECK(neap_task_await(task, self->next));
  }
  return NEAP_STEP_WAIT;
}

static neap_step_result step_joint(neap_task *task, void *frame) {
  joint *self = frame;
  switch (self->place++) {
  case 0: neap_task_pause(task); return NEAP_STEP_WAIT;
  case 1: return start_next(task, self);
  default: self->chain->ended++; return NEAP_STEP_END;
  }
}

static void release_joint(void *frame) {
  joint *self = frame;
  if (self->next) neap_task_unref(self->next);
}

static const neap_body joint_body = {"joint", sizeof(joint), step_joint, release_joint, NULL};

/* Runs turns until the chain is complete. */
static neap_task *start_joints(neap_loop *loop, chain *links) {
  neap_task *top;
  joint init = {.chain = links};
  CHECK(neap_task_start(loop, &joint_body, &init, &top) == 0);
  while (loop->ready.head) neap__loop_turns(loop);
  return top;
}

TEST(a_deep_chain_is_cancelled_without_recursion) {
  bench b;
  neap_loop *loop = bench_open(&b);
  chain links = {.links = DEPTH};
  neap_task *top = start_joints(loop, &links);
  CHECK(neap_loop_stats(loop).tasks == DEPTH + 1);
  CHECK(neap_task_cancel(top));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(links.ended == DEPTH + 1);
  CHECK(neap_loop_now(loop) == 0);
  CHECK(end_status(top) == NEAP_CANCELLED);
  bench_close_idle(&b);
}

TEST(a_deep_chain_ends_by_itself) {
  bench b;
  neap_loop *loop = bench_open(&b);
  chain links = {.links = DEPTH};
  neap_task *top = start_joints(loop, &links);
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(end_status(top) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_deep_chain_is_dropped_with_the_loop) {
  bench b;
  neap_loop *loop = bench_open(&b);
  chain links = {.links = LESS_DEEP};
  neap_task_unref(start_joints(loop, &links));
  bench_close(&b);
}

/* Parents end before their children, so each ending hands over a cancelled subtree. */
TEST(a_deep_chain_that_ends_from_the_top_is_not_quadratic) {
  bench b;
  neap_loop *loop = bench_open(&b);
  chain links = {.links = LESS_DEEP};
  links.sleep = sleep_for(loop, 5);
  neap_task *top = start_joints(loop, &links);
  CHECK(neap_task_cancel(top));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(links.ended == LESS_DEEP + 1);
  neap_task_cancel(links.sleep);
  neap_task_unref(links.sleep);
  neap_task_unref(top);
  bench_close_idle(&b);
}
