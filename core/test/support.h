/* What C tests share: a loop whose memory is counted, with a virtual clock that jumps, and a task
 * body for the common cases. */
#ifndef NEAP_TEST_SUPPORT_H
#define NEAP_TEST_SUPPORT_H

#include "test.h"

#include "cancel.h"
#include "loop.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Counts live blocks. Atomic: the pool's threads and those that post allocate, too. */
typedef struct counter {
  atomic_long live;
} counter;

static inline void *count_allocate(void *data, void *block, size_t size) {
  counter *self = data;
  if (size == 0) {
    if (block) atomic_fetch_sub(&self->live, 1);
    free(block);
    return NULL;
  }
  void *result = realloc(block, size);
  if (result && !block) atomic_fetch_add(&self->live, 1);
  return result;
}

/* A loop under test. Invariant between tests: no live block. */
typedef struct bench {
  neap_loop *loop;
  neap_virtual_clock clock;
  counter memory;
} bench;

/* The bench is the caller's; `uv` NULL: the loop has its own. */
static inline neap_loop *bench_open_on(bench *self, uv_loop_t *uv, bool is_virtual) {
  atomic_init(&self->memory.live, 0);
  neap_virtual_clock_init(&self->clock, 0);
  neap_loop_options options = {.uv = uv,
                               .allocator = count_allocate,
                               .allocator_data = &self->memory,
                               .clock = is_virtual ? &self->clock.clock : NULL};
  self->loop = NULL;
  CHECK(neap_loop_new(&options, &self->loop) == 0);
  return self->loop;
}

static inline neap_loop *bench_open(bench *self) {
  return bench_open_on(self, NULL, true);
}

/* Everything has ended: nothing may be alive before the loop closes either. */
static inline void bench_close_idle(bench *self) {
  neap_stats stats = neap_loop_stats(self->loop);
  CHECK(stats.tasks == 0);
  CHECK(stats.operations == 0);
  CHECK(stats.timers == 0);
  CHECK(stats.scopes == 0);
  CHECK(neap__node_is_valid(&self->loop->root.node));
  CHECK(!self->loop->root.node.last_child);
  neap_loop_close(self->loop);
  CHECK(atomic_load(&self->memory.live) == 0);
}

/* Closes with whatever is pending. */
static inline void bench_close(bench *self) {
  CHECK(neap__node_is_valid(&self->loop->root.node));
  neap_loop_close(self->loop);
  CHECK(atomic_load(&self->memory.live) == 0);
}

/* The names of what happened, in order. */
typedef struct journal {
  char text[256];
} journal;

static inline void note(journal *self, const char *word) {
  size_t length = strlen(self->text);
  snprintf(self->text + length, sizeof self->text - length, "%s%s", length ? " " : "", word);
}

static inline bool journal_is(const journal *self, const char *text) {
  if (strcmp(self->text, text) == 0) return true;
  fprintf(stderr, "# journal: %s\n", self->text);
  return false;
}

/* A body that awaits one task, or a sleep of its own, then ends with the task's outcome. */
typedef struct waiter {
  neap_task *target; /* borrowed until it ends; NULL: a sleep */
  double seconds;
  double cleanup;   /* seconds of a shielded sleep after it was cancelled; 0: none */
  journal *journal; /* gets the name when it ends, may be NULL */
  const char *name;
  int *released;  /* counts the releases of the frame, may be NULL */
  neap_task *own; /* the sleep */
  neap_scope *shield;
  int place;
} waiter;

static inline void release_waiter(void *frame) {
  waiter *self = frame;
  if (self->own) neap_task_unref(self->own);
  if (self->released) ++*self->released;
}

static inline neap_step_result end_waiter(waiter *self) {
  if (self->journal) note(self->journal, self->name);
  return NEAP_STEP_END;
}

/* Sleeps behind a shield; true while it does. */
static inline bool waiter_cleans_up(neap_task *task, waiter *self) {
  if (self->cleanup <= 0) return false;
  if (!self->shield) {
    if (self->own) neap_task_unref(self->own);
    self->own = NULL;
    CHECK(neap_scope_enter(task, HUGE_VAL, true, &self->shield) == 0);
    CHECK(neap_sleep(task->loop, self->cleanup, &self->own) == 0);
  }
  if (neap_task_await(task, self->own)) return true;
  CHECK(!neap_scope_exit(task, self->shield));
  self->cleanup = 0;
  return false;
}

static inline neap_step_result step_waiter(neap_task *task, void *frame) {
  waiter *self = frame;
  if (self->shield || (self->place > 0 && neap_task_is_cancelling(task)))
    return waiter_cleans_up(task, self) ? NEAP_STEP_WAIT : end_waiter(self);
  if (self->place++ > 0) return end_waiter(self); /* the target may be gone */
  if (!self->target) {
    if (neap_sleep(task->loop, self->seconds, &self->own)) return end_waiter(self);
    self->target = self->own;
  }
  return neap_task_await(task, self->target) ? NEAP_STEP_WAIT : end_waiter(self);
}

static const neap_body waiter_body = {
    .name = "waiter", .frame_size = sizeof(waiter), .step = step_waiter, .release = release_waiter};

/* Starts a waiter; NULL when it cannot. */
static inline neap_task *start_waiter(neap_loop *loop, waiter init) {
  neap_task *task = NULL;
  neap_task_start(loop, &waiter_body, &init, &task);
  return task;
}

static inline neap_task *sleep_for(neap_loop *loop, double seconds) {
  neap_task *task = NULL;
  CHECK(neap_sleep(loop, seconds, &task) == 0);
  return task;
}

static inline neap_status end_status(neap_task *task) {
  neap_status status = neap_task_status(task);
  neap_task_unref(task);
  return status;
}

#endif
