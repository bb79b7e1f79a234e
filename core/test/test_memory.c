#include "support.h"

TEST(blocks_are_counted) {
  counter blocks = {0};
  neap__memory memory;
  neap__memory_init(&memory, count_allocate, &blocks);
  char *block = neap__memory_new(&memory, 10);
  for (int i = 0; i < 10; i++) CHECK(block[i] == 0);
  block = neap__memory_resize(&memory, block, 100);
  char *copy = neap__memory_copy(&memory, "neap");
  CHECK(strcmp(copy, "neap") == 0);
  CHECK(memory.live == 2 && atomic_load(&blocks.live) == 2);
  neap__memory_free(&memory, block);
  neap__memory_free(&memory, copy);
  neap__memory_free(&memory, NULL);
  CHECK(memory.live == 0 && atomic_load(&blocks.live) == 0);
}

TEST(one_allocation_fails_or_all_from_there_on) {
  neap__memory memory;
  neap__memory_init(&memory, NULL, NULL);
  memory.fail_at = 2;
  CHECK(!neap__memory_must_fail(&memory));
  CHECK(neap__memory_must_fail(&memory));
  CHECK(!neap__memory_must_fail(&memory));
  memory.fail_at = 1;
  memory.persist = true;
  CHECK(neap__memory_must_fail(&memory) && neap__memory_must_fail(&memory));
  CHECK(memory.fired);
}

TEST(a_block_that_cannot_grow_stays_as_it_was) {
  neap__memory memory;
  neap__memory_init(&memory, NULL, NULL);
  char *block = neap__memory_copy(&memory, "neap");
  memory.fail_at = 1;
  CHECK(neap__memory_resize(&memory, block, 1000) == NULL);
  CHECK(strcmp(block, "neap") == 0 && memory.live == 1);
  neap__memory_free(&memory, block);
  CHECK(memory.live == 0);
}

/* ---- A scenario in which each allocation fails ------------------------------------------- */

/* A body that opens a scope with a time limit, and in it starts a sleeper, a read and an all. */
typedef struct scenario {
  neap_scope *scope;
  neap_task *parts[3], *all;
  int place;
} scenario;

static void start_parts(neap_loop *loop, scenario *self) {
  self->parts[0] = start_waiter(loop, (waiter){.seconds = 1, .cleanup = 1});
  if (neap_fs_read_file(loop, "/etc/passwd", &self->parts[1])) self->parts[1] = NULL;
  if (neap_sleep(loop, 2, &self->parts[2])) self->parts[2] = NULL;
  if (self->parts[0] && self->parts[1] && self->parts[2])
    if (neap_all(loop, self->parts, 3, &self->all)) self->all = NULL;
}

static neap_step_result step_scenario(neap_task *task, void *frame) {
  scenario *self = frame;
  if (self->place++ == 0) {
    if (neap_scope_enter(task, 1.5, false, &self->scope)) return NEAP_STEP_END;
    start_parts(task->loop, self);
    if (self->all && neap_task_await(task, self->all)) return NEAP_STEP_WAIT;
  }
  return neap_scope_exit(task, self->scope) ? NEAP_STEP_WAIT : NEAP_STEP_END;
}

static void release_scenario(void *frame) {
  scenario *self = frame;
  for (int i = 0; i < 3; i++)
    if (self->parts[i]) neap_task_unref(self->parts[i]);
  if (self->all) neap_task_unref(self->all);
}

static const neap_body scenario_body = {"scenario", sizeof(scenario), step_scenario,
                                        release_scenario, NULL};

/* Runs it with the n-th allocation failing; false when there were fewer. */
static bool run_scenario(unsigned long n, bool persist, bool closes_early) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task = NULL;
  neap_loop_fail_allocation(loop, n, persist);
  if (neap_task_start(loop, &scenario_body, NULL, &task) == 0 && !closes_early)
    CHECK(neap_loop_run(loop, task) == 0);
  bool fired = neap_loop_fail_allocation(loop, 0, false);
  if (task) neap_task_unref(task);
  while (!closes_early && neap_loop_stats(loop).operations > 0) neap_loop_step(loop);
  if (closes_early)
    bench_close(&b);
  else
    bench_close_idle(&b);
  return fired;
}

static void fail_each(bool persist, bool closes_early) {
  unsigned long n = 1;
  while (n < 100 && run_scenario(n, persist, closes_early)) n++;
  CHECK(n > 5 && n < 100);
}

TEST(each_allocation_fails_once) {
  fail_each(false, false);
}

TEST(each_allocation_and_all_after_it_fail) {
  fail_each(true, false);
}

TEST(each_allocation_fails_and_the_loop_closes_early) {
  fail_each(false, true);
  fail_each(true, true);
}

TEST(a_loop_that_has_run_holds_no_more_than_its_heap_of_timers) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  CHECK(neap_task_start(loop, &scenario_body, NULL, &task) == 0);
  CHECK(neap_loop_run(loop, task) == 0);
  neap_task_unref(task);
  CHECK(neap_loop_stats(loop).blocks == 2);
  bench_close_idle(&b);
}
