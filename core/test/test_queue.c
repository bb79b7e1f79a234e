#include "support.h"

#include "queue.h"

enum { CROWD = 100000 };

static neap_queue *new_queue(neap_loop *loop) {
  neap_queue *queue = NULL;
  CHECK(neap_queue_new(loop, &queue) == 0);
  return queue;
}

static neap_task *wait_in(neap_queue *queue) {
  neap_task *task = NULL;
  CHECK(neap_queue_wait(queue, &task) == 0);
  return task;
}

/* A small generator, the same on every machine. */
static uint32_t draw(uint32_t *seed) {
  *seed = *seed * 1664525 + 1013904223;
  return *seed >> 8;
}

/* Ends with "NAME=VALUE" in the journal if its wait was done, with "NAME" if not; the wait is below a
 * scope that times out, if asked for. */
typedef struct taker {
  neap_queue *queue;
  journal *journal;
  const char *name;
  double timeout; /* 0: none */
  neap_scope *scope;
  neap_task *wait;
  int place;
} taker;

static bool begin_to_take(neap_task *task, taker *self) {
  if (self->timeout > 0) CHECK(neap_scope_enter(task, self->timeout, false, &self->scope) == 0);
  CHECK(neap_queue_wait(self->queue, &self->wait) == 0);
  return neap_task_await(task, self->wait);
}

static neap_step_result step_taker(neap_task *task, void *frame) {
  taker *self = frame;
  char word[64];
  if (self->place++ == 0 && begin_to_take(task, self)) return NEAP_STEP_WAIT;
  const char *value = neap_task_value(self->wait);
  snprintf(word, sizeof word, value ? "%s=%s" : "%s", self->name, value);
  note(self->journal, word);
  if (self->scope) CHECK(!neap_scope_exit(task, self->scope));
  return NEAP_STEP_END;
}

static void release_taker(void *frame) {
  neap_task *wait = ((taker *)frame)->wait;
  if (wait) neap_task_unref(wait);
}

static const neap_body taker_body = {"taker", sizeof(taker), step_taker, release_taker, NULL};

static neap_task *start_taker(neap_queue *queue, journal *log, const char *name, double timeout) {
  neap_task *task = NULL;
  taker init = {.queue = queue, .journal = log, .name = name, .timeout = timeout};
  CHECK(neap_task_start(queue->loop, &taker_body, &init, &task) == 0);
  return task;
}

/* ---- Waking -------------------------------------------------------------------------------- */

TEST(a_fresh_queue_is_empty) {
  bench b;
  neap_queue *queue = new_queue(bench_open(&b));
  CHECK(neap_queue_count(queue) == 0);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(waking_where_nobody_waits_hands_nothing_over) {
  bench b;
  neap_queue *queue = new_queue(bench_open(&b));
  CHECK(!neap_queue_wake(queue, "lost"));
  neap_task *wait = wait_in(queue);
  CHECK(neap_task_status(wait) == NEAP_PENDING);
  CHECK(neap_queue_wake(queue, "found"));
  CHECK(!neap_queue_wake(queue, "lost"));
  CHECK(strcmp(neap_task_value(wait), "found") == 0);
  neap_task_unref(wait);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(waits_end_in_the_order_in_which_they_began) {
  bench b;
  neap_queue *queue = new_queue(bench_open(&b));
  neap_task *waits[3];
  for (int i = 0; i < 3; i++) waits[i] = wait_in(queue);
  for (int i = 0; i < 3; i++) {
    CHECK(neap_queue_count(queue) == (size_t)(3 - i));
    CHECK(neap_queue_wake(queue, NULL));
    for (int k = 0; k < 3; k++)
      CHECK(neap_task_status(waits[k]) == (k <= i ? NEAP_DONE : NEAP_PENDING));
  }
  for (int i = 0; i < 3; i++) CHECK(end_status(waits[i]) == NEAP_DONE);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(each_gets_the_value_that_it_was_woken_with) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  journal log = {""};
  const char *names[] = {"a", "b", "c"};
  for (int i = 0; i < 3; i++) neap_task_unref(start_taker(queue, &log, names[i], 0));
  CHECK(neap_queue_wake(queue, "1") && neap_queue_wake(queue, NULL) && neap_queue_wake(queue, "3"));
  CHECK(journal_is(&log, "")); /* waking runs no task */
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "a=1 b c=3"));
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(a_pending_or_cancelled_wait_has_no_value) {
  bench b;
  neap_queue *queue = new_queue(bench_open(&b));
  neap_task *wait = wait_in(queue);
  CHECK(neap_task_value(wait) == NULL && neap_task_error(wait) == NULL);
  CHECK(neap_task_cancel(wait));
  CHECK(!neap_task_cancel(wait));
  CHECK(neap_task_value(wait) == NULL && neap_task_error(wait) == NULL);
  neap_task_unref(wait);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(two_queues_never_meet) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *one = new_queue(loop), *other = new_queue(loop);
  neap_task *wait = wait_in(one);
  CHECK(!neap_queue_wake(other, NULL));
  neap_queue_free(other);
  CHECK(neap_queue_wake(one, NULL));
  CHECK(end_status(wait) == NEAP_DONE);
  neap_queue_free(one);
  bench_close_idle(&b);
}

TEST(many_tasks_may_await_one_wait) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  journal log = {""};
  neap_task *wait = wait_in(queue);
  const char *names[] = {"a", "b", "c"};
  for (int i = 0; i < 3; i++)
    neap_task_unref(
        start_waiter(loop, (waiter){.target = wait, .journal = &log, .name = names[i]}));
  neap_task_unref(wait); /* those who await it keep it */
  CHECK(neap_queue_count(queue) == 1);
  CHECK(neap_queue_wake(queue, NULL));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "a b c"));
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(a_wait_is_an_operation_that_is_alive) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  neap_task *wait = wait_in(queue);
  CHECK(neap_loop_stats(loop).operations == 1);
  neap_queue_wake(queue, NULL);
  CHECK(neap_loop_stats(loop).operations == 0);
  neap_task_unref(wait);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(nobody_who_could_wake_it_is_a_deadlock) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  journal log = {""};
  neap_task *task = start_taker(queue, &log, "a", 0);
  CHECK(neap_loop_run(loop, task) == NEAP_EDEADLOCK);
  CHECK(neap_queue_wake(queue, "late"));
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(journal_is(&log, "a=late"));
  neap_task_unref(task);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

/* ---- Giving up ------------------------------------------------------------------------------ */

TEST(a_cancelled_wait_gives_up_its_place_wherever_it_is) {
  for (int gone = 0; gone < 3; gone++) {
    bench b;
    neap_queue *queue = new_queue(bench_open(&b));
    neap_task *waits[3];
    for (int i = 0; i < 3; i++) waits[i] = wait_in(queue);
    CHECK(neap_task_cancel(waits[gone]));
    CHECK(neap_queue_count(queue) == 2);
    for (int i = 0; i < 3; i++) {
      if (i == gone) continue;
      CHECK(neap_queue_wake(queue, NULL));
      CHECK(neap_task_status(waits[i]) == NEAP_DONE);
    }
    CHECK(!neap_queue_wake(queue, NULL));
    for (int i = 0; i < 3; i++)
      CHECK(end_status(waits[i]) == (i == gone ? NEAP_CANCELLED : NEAP_DONE));
    neap_queue_free(queue);
    bench_close_idle(&b);
  }
}

TEST(a_pending_wait_that_is_dropped_gives_up_its_place) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  neap_task *waits[3];
  for (int i = 0; i < 3; i++) waits[i] = wait_in(queue);
  neap_task_unref(waits[1]);
  CHECK(neap_queue_count(queue) == 2);
  neap_task_unref(waits[0]);
  CHECK(neap_queue_wake(queue, NULL));
  CHECK(end_status(waits[2]) == NEAP_DONE);
  CHECK(neap_loop_stats(loop).operations == 0);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(a_time_limit_around_it_gives_up_its_place) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  journal log = {""};
  neap_task_unref(start_taker(queue, &log, "late", 2));
  neap_task_unref(start_taker(queue, &log, "next", 0));
  neap_task *sleep = sleep_for(loop, 3);
  CHECK(neap_loop_run(loop, sleep) == 0);
  CHECK(neap_queue_count(queue) == 1);
  CHECK(neap_queue_wake(queue, "x"));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "late next=x"));
  neap_task_unref(sleep);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(what_was_handed_over_belongs_to_a_task_that_is_cancelled_in_the_same_turn) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  journal log = {""};
  neap_task *first = start_taker(queue, &log, "a", 0), *second = start_taker(queue, &log, "b", 0);
  CHECK(neap_queue_wake(queue, "1"));
  CHECK(neap_task_cancel(first));
  CHECK(neap_task_cancel(second)); /* before anything was handed to it */
  CHECK(!neap_queue_wake(queue, "2"));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "a=1 b"));
  neap_task_unref(first);
  neap_task_unref(second);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(a_hand_over_after_the_cancellation_goes_to_the_next) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  journal log = {""};
  neap_task *first = start_taker(queue, &log, "a", 0), *second = start_taker(queue, &log, "b", 0);
  CHECK(neap_task_cancel(first));
  CHECK(neap_queue_wake(queue, "1"));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(journal_is(&log, "a b=1"));
  neap_task_unref(first);
  neap_task_unref(second);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

static neap_step_result step_in_cancelled_scope(neap_task *task, void *frame) {
  neap_queue *queue = *(neap_queue **)frame;
  neap_scope *scope = NULL;
  CHECK(neap_scope_enter(task, HUGE_VAL, false, &scope) == 0);
  CHECK(neap_scope_cancel(scope));
  neap_task *wait = wait_in(queue);
  CHECK(neap_queue_count(queue) == 0);
  CHECK(!neap_task_await(task, wait));
  CHECK(end_status(wait) == NEAP_CANCELLED);
  CHECK(!neap_scope_exit(task, scope));
  return NEAP_STEP_END;
}

TEST(a_wait_in_a_cancelled_scope_takes_no_place) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  const neap_body body = {"cancelled", sizeof queue, step_in_cancelled_scope, NULL, NULL};
  neap_task *task;
  CHECK(neap_task_start(loop, &body, &queue, &task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

static neap_step_result step_leaving(neap_task *task, void *frame) {
  neap_queue *queue = *(neap_queue **)frame;
  neap_scope *scope = NULL;
  CHECK(neap_scope_enter(task, HUGE_VAL, false, &scope) == 0);
  neap_task *wait = wait_in(queue);
  CHECK(!neap_scope_exit(task, scope)); /* operations are not waited for */
  CHECK(end_status(wait) == NEAP_CANCELLED);
  CHECK(neap_queue_count(queue) == 0);
  return NEAP_STEP_END;
}

TEST(a_scope_that_is_left_gives_up_the_waits_in_it) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  const neap_body body = {"leaving", sizeof queue, step_leaving, NULL, NULL};
  neap_task *task;
  CHECK(neap_task_start(loop, &body, &queue, &task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(the_one_of_several_that_loses_keeps_its_place_until_it_is_cancelled) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  neap_task *tasks[] = {wait_in(queue), sleep_for(loop, 1)}, *any;
  CHECK(neap_any(loop, tasks, 2, &any) == 0);
  CHECK(neap_loop_run(loop, any) == 0);
  CHECK(neap_any_index(any) == 1);
  CHECK(neap_queue_count(queue) == 1);
  neap_task_unref(any);
  neap_task_unref(tasks[1]);
  neap_task_unref(tasks[0]);
  CHECK(neap_queue_count(queue) == 0);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

/* ---- The end of a queue --------------------------------------------------------------------- */

TEST(what_waits_in_a_queue_that_is_freed_is_cancelled) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  journal log = {""};
  neap_task *wait = wait_in(queue), *task = start_taker(queue, &log, "a", 0);
  neap_queue_free(queue);
  CHECK(end_status(wait) == NEAP_CANCELLED);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(journal_is(&log, "a"));
  CHECK(end_status(task) == NEAP_DONE); /* the task itself was not cancelled */
  bench_close_idle(&b);
}

TEST(a_wait_that_has_ended_outlives_its_queue) {
  bench b;
  neap_queue *queue = new_queue(bench_open(&b));
  neap_task *wait = wait_in(queue);
  CHECK(neap_queue_wake(queue, "kept"));
  neap_queue_free(queue);
  CHECK(strcmp(neap_task_value(wait), "kept") == 0);
  CHECK(end_status(wait) == NEAP_DONE);
  bench_close_idle(&b);
}

TEST(a_queue_may_be_freed_after_its_loop_has_closed) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  journal log = {""};
  neap_task *held = wait_in(queue), *woken = wait_in(queue);
  neap_task_unref(start_taker(queue, &log, "a", 3));
  neap_task_cancel(held);
  neap_task_unref(held);
  held = wait_in(queue);
  CHECK(neap_queue_wake(queue, "1"));
  neap_loop_close(loop);
  CHECK(neap_queue_count(queue) == 0);
  CHECK(!neap_queue_wake(queue, NULL));
  CHECK(end_status(wait_in(queue)) == NEAP_CANCELLED); /* the loop is closed */
  neap_queue_free(queue);
  CHECK(end_status(held) == NEAP_CANCELLED);
  CHECK(strcmp(neap_task_value(woken), "1") == 0);
  neap_task_unref(woken);
  CHECK(journal_is(&log, ""));
  CHECK(atomic_load(&b.memory.live) == 0);
}

TEST(a_loop_closes_after_its_queues_were_freed_with_waiters) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  journal log = {""};
  for (int i = 0; i < 3; i++) neap_task_unref(start_taker(queue, &log, "a", i));
  neap_queue_free(queue);
  bench_close(&b);
  CHECK(journal_is(&log, ""));
}

/* A body that owns the queue that others wait in. */
static void release_owner(void *frame) {
  neap_queue_free(*(neap_queue **)frame);
}

static neap_step_result step_owner(neap_task *task, void *frame) {
  (void)frame;
  neap_task_pause(task);
  return NEAP_STEP_WAIT;
}

TEST(a_body_that_is_dropped_with_the_loop_may_free_its_queue) {
  for (int is_first = 0; is_first < 2; is_first++) {
    bench b;
    neap_loop *loop = bench_open(&b);
    neap_queue *queue = new_queue(loop);
    const neap_body body = {"owner", sizeof queue, step_owner, release_owner, NULL};
    journal log = {""};
    neap_task *owner;
    if (!is_first) neap_task_unref(start_taker(queue, &log, "a", 1));
    CHECK(neap_task_start(loop, &body, &queue, &owner) == 0);
    neap_task_unref(owner);
    for (int i = 0; i < 3; i++) neap_task_unref(start_taker(queue, &log, "b", i));
    bench_close(&b);
    CHECK(journal_is(&log, ""));
  }
}

/* ---- Crowds -------------------------------------------------------------------------------- */

static neap_task *crowd[CROWD];

static void gather(neap_queue *queue) {
  for (int i = 0; i < CROWD; i++) crowd[i] = wait_in(queue);
  CHECK(neap_queue_count(queue) == CROWD);
}

static void shuffle_crowd(void) {
  uint32_t seed = 7;
  for (uint32_t i = CROWD - 1; i > 0; i--) {
    uint32_t k = draw(&seed) % (i + 1);
    neap_task *task = crowd[i];
    crowd[i] = crowd[k];
    crowd[k] = task;
  }
}

TEST(a_crowd_is_woken_one_by_one) {
  bench b;
  neap_queue *queue = new_queue(bench_open(&b));
  gather(queue);
  for (int i = 0; i < CROWD; i++) CHECK(neap_queue_wake(queue, &crowd[i]));
  for (int i = 0; i < CROWD; i++) {
    CHECK(neap_task_value(crowd[i]) == &crowd[i]);
    neap_task_unref(crowd[i]);
  }
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(a_crowd_gives_up_in_any_order) {
  bench b;
  neap_queue *queue = new_queue(bench_open(&b));
  gather(queue);
  shuffle_crowd();
  for (int i = 0; i < CROWD; i++) {
    if (i % 2) neap_task_cancel(crowd[i]);
    neap_task_unref(crowd[i]);
  }
  CHECK(neap_queue_count(queue) == 0);
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(a_crowd_is_cancelled_with_its_scope_freed_with_its_queue_and_dropped_with_its_loop) {
  for (int how = 0; how < 3; how++) {
    bench b;
    neap_loop *loop = bench_open(&b);
    neap_queue *queue = new_queue(loop);
    gather(queue);
    if (how == 0) CHECK(neap__node_cancel(&loop->root.node, NULL));
    if (how == 2) neap_loop_close(loop);
    neap_queue_free(queue);
    for (int i = 0; i < CROWD; i++) CHECK(end_status(crowd[i]) == NEAP_CANCELLED);
    if (how != 2) neap_loop_close(loop);
    CHECK(atomic_load(&b.memory.live) == 0);
  }
}

/* ---- A semaphore, as a user writes it --------------------------------------------------------- */

typedef struct semaphore {
  neap_queue *queue;
  int permits, running, most, served;
} semaphore;

/* A permit at once, or a wait for one; UV_ENOMEM. */
static int semaphore_acquire(semaphore *self, neap_task **wait) {
  *wait = NULL;
  if (self->permits == 0) return neap_queue_wait(self->queue, wait);
  self->permits--;
  return 0;
}

static void semaphore_release(semaphore *self) {
  if (!neap_queue_wake(self->queue, NULL)) self->permits++;
}

/* Holds a permit for some seconds. */
typedef struct worker {
  semaphore *semaphore;
  double seconds;
  neap_task *wait, *work;
  int place;
} worker;

static bool worker_works(neap_task *task, worker *self) {
  semaphore *shared = self->semaphore;
  if (neap_sleep(task->loop, self->seconds, &self->work)) return false;
  if (++shared->running > shared->most) shared->most = shared->running;
  if (neap_task_await(task, self->work)) return true;
  shared->running--;
  return false;
}

static neap_step_result step_worker(neap_task *task, void *frame) {
  worker *self = frame;
  if (self->place == 0) {
    self->place = 1;
    if (semaphore_acquire(self->semaphore, &self->wait)) return NEAP_STEP_END;
    if (self->wait && neap_task_await(task, self->wait)) return NEAP_STEP_WAIT;
  }
  if (self->place == 1) {
    self->place = 2;
    if (self->wait && neap_task_status(self->wait) != NEAP_DONE) return NEAP_STEP_END;
    if (worker_works(task, self)) return NEAP_STEP_WAIT;
  } else {
    self->semaphore->running--;
  }
  self->semaphore->served++;
  semaphore_release(self->semaphore);
  return NEAP_STEP_END;
}

static void release_worker(void *frame) {
  worker *self = frame;
  if (self->wait) neap_task_unref(self->wait);
  if (self->work) neap_task_unref(self->work);
}

static const neap_body worker_body = {"worker", sizeof(worker), step_worker, release_worker, NULL};

static neap_task *start_worker(neap_loop *loop, semaphore *shared, double seconds) {
  neap_task *task = NULL;
  worker init = {.semaphore = shared, .seconds = seconds};
  neap_task_start(loop, &worker_body, &init, &task);
  return task;
}

TEST(a_semaphore_lets_so_many_in) {
  bench b;
  neap_loop *loop = bench_open(&b);
  semaphore shared = {.queue = new_queue(loop), .permits = 2};
  for (int i = 0; i < 5; i++) neap_task_unref(start_worker(loop, &shared, 1));
  CHECK(neap_loop_run(loop, NULL) == 0);
  CHECK(neap_loop_now(loop) == 3);
  CHECK(shared.most == 2 && shared.served == 5 && shared.permits == 2);
  neap_queue_free(shared.queue);
  bench_close_idle(&b);
}

enum { WORKERS = 12, SEEDS = 200 };

/* Cancels some of them, each after a step of the loop. */
static void disturb(neap_loop *loop, neap_task **tasks, int count, uint32_t *seed) {
  for (int i = 0; i < 2 * count; i++) {
    neap_loop_step(loop);
    if (draw(seed) % 2) neap_task_cancel(tasks[draw(seed) % (uint32_t)count]);
  }
}

TEST(no_permit_is_lost_whoever_is_cancelled_and_in_whatever_order_they_run) {
  for (uint32_t round = 0; round < SEEDS; round++) {
    bench b;
    neap_loop *loop = bench_open(&b);
    uint32_t seed = round;
    semaphore shared = {.queue = new_queue(loop), .permits = 2};
    neap_task *tasks[WORKERS];
    neap_loop_set_schedule(loop, round);
    for (int i = 0; i < WORKERS; i++) tasks[i] = start_worker(loop, &shared, draw(&seed) % 3);
    disturb(loop, tasks, WORKERS, &seed);
    CHECK(neap_loop_run(loop, NULL) == 0);
    CHECK(shared.permits == 2 && shared.running == 0 && shared.most <= 2);
    for (int i = 0; i < WORKERS; i++) neap_task_unref(tasks[i]);
    neap_queue_free(shared.queue);
    bench_close_idle(&b);
  }
}

/* ---- A rendezvous, as a user writes it --------------------------------------------------------- */

/* Receivers wait with nothing in hand; a sender that finds none waits to be called by one. */
typedef struct rendezvous {
  neap_queue *senders, *receivers;
  int sent[WORKERS], received[WORKERS];
} rendezvous;

typedef struct party {
  rendezvous *place;
  int item;
  bool is_begun;
  neap_task *wait;
} party;

static void forget_wait(party *self) {
  if (self->wait) neap_task_unref(self->wait);
  self->wait = NULL;
}

static void release_party(void *frame) {
  forget_wait(frame);
}

static neap_step_result step_sender(neap_task *task, void *frame) {
  party *self = frame;
  rendezvous *place = self->place;
  for (;;) {
    bool is_called = self->wait && neap_task_status(self->wait) == NEAP_DONE;
    bool is_over = self->is_begun && neap_task_is_cancelling(task);
    self->is_begun = true;
    forget_wait(self);
    if (is_over) { /* who called it waits for another one */
      if (is_called && neap_queue_count(place->receivers) > 0)
        neap_queue_wake(place->senders, NULL);
      return NEAP_STEP_END;
    }
    if (neap_queue_wake(place->receivers, &place->received[self->item])) {
      place->sent[self->item]++;
      return NEAP_STEP_END;
    }
    if (neap_queue_wait(place->senders, &self->wait)) return NEAP_STEP_END;
    if (neap_task_await(task, self->wait)) return NEAP_STEP_WAIT;
  }
}

static neap_step_result step_receiver(neap_task *task, void *frame) {
  party *self = frame;
  if (!self->is_begun) {
    self->is_begun = true;
    if (neap_queue_wait(self->place->receivers, &self->wait)) return NEAP_STEP_END;
    neap_queue_wake(self->place->senders, NULL);
    if (neap_task_await(task, self->wait)) return NEAP_STEP_WAIT;
  }
  int *item = neap_task_value(self->wait);
  if (item) ++*item;
  return NEAP_STEP_END;
}

static const neap_body sender_body = {"sender", sizeof(party), step_sender, release_party, NULL};
static const neap_body receiver_body = {"receiver", sizeof(party), step_receiver, release_party,
                                        NULL};

static neap_task *start_party(neap_loop *loop, rendezvous *place, int item, bool sends) {
  neap_task *task = NULL;
  party init = {.place = place, .item = item};
  neap_task_start(loop, sends ? &sender_body : &receiver_body, &init, &task);
  return task;
}

static void check_items(const rendezvous *place, int least) {
  int count = 0;
  for (int i = 0; i < WORKERS; i++) {
    CHECK(place->sent[i] == place->received[i] && place->sent[i] <= 1);
    count += place->sent[i];
  }
  CHECK(count >= least);
}

static void free_rendezvous(rendezvous *place) {
  neap_queue_free(place->senders);
  neap_queue_free(place->receivers);
}

TEST(senders_and_receivers_meet_whoever_comes_first) {
  for (int sends = 0; sends < 2; sends++) {
    bench b;
    neap_loop *loop = bench_open(&b);
    rendezvous place = {.senders = new_queue(loop), .receivers = new_queue(loop)};
    for (int i = 0; i < WORKERS; i++) neap_task_unref(start_party(loop, &place, i, sends));
    for (int i = 0; i < WORKERS; i++) neap_task_unref(start_party(loop, &place, i, !sends));
    CHECK(neap_loop_run(loop, NULL) == 0);
    check_items(&place, WORKERS);
    free_rendezvous(&place);
    bench_close_idle(&b);
  }
}

TEST(what_was_sent_was_received_whoever_is_cancelled) {
  for (uint32_t round = 0; round < SEEDS; round++) {
    bench b;
    neap_loop *loop = bench_open(&b);
    uint32_t seed = round;
    rendezvous place = {.senders = new_queue(loop), .receivers = new_queue(loop)};
    neap_task *tasks[2 * WORKERS];
    neap_loop_set_schedule(loop, round);
    int counts[2] = {0, 0};
    for (int i = 0; i < 2 * WORKERS; i++) {
      bool sends = counts[1] < WORKERS && (counts[0] == WORKERS || draw(&seed) % 2);
      tasks[i] = start_party(loop, &place, counts[sends]++, sends);
      if (draw(&seed) % 3 == 0) neap_task_cancel(tasks[draw(&seed) % (uint32_t)(i + 1)]);
      if (draw(&seed) % 4 == 0) neap_loop_step(loop);
    }
    neap_loop_run(loop, NULL); /* who finds nobody waits */
    CHECK(neap_queue_count(place.senders) == 0 || neap_queue_count(place.receivers) == 0);
    for (int i = 0; i < 2 * WORKERS; i++) neap_task_cancel(tasks[i]);
    CHECK(neap_loop_run(loop, NULL) == 0);
    check_items(&place, 0);
    for (int i = 0; i < 2 * WORKERS; i++) neap_task_unref(tasks[i]);
    free_rendezvous(&place);
    bench_close_idle(&b);
  }
}

/* ---- Without memory --------------------------------------------------------------------------- */

TEST(without_memory_there_is_no_queue_and_no_wait) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = NULL;
  neap_task *wait = NULL;
  neap_loop_fail_allocation(loop, 1, false);
  CHECK(neap_queue_new(loop, &queue) == UV_ENOMEM);
  CHECK(queue == NULL);
  queue = new_queue(loop);
  neap_loop_fail_allocation(loop, 1, false);
  CHECK(neap_queue_wait(queue, &wait) == UV_ENOMEM);
  CHECK(wait == NULL && neap_queue_count(queue) == 0);
  CHECK(neap_loop_fail_allocation(loop, 0, false));
  neap_queue_free(queue);
  bench_close_idle(&b);
}

TEST(waking_and_giving_up_need_no_memory) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_queue *queue = new_queue(loop);
  neap_task *woken = wait_in(queue), *cancelled = wait_in(queue), *freed = wait_in(queue);
  neap_task *dropped = wait_in(queue);
  neap_loop_fail_allocation(loop, 1, true);
  CHECK(neap_queue_wake(queue, NULL));
  CHECK(neap_task_cancel(cancelled));
  neap_task_unref(dropped);
  neap_queue_free(queue);
  CHECK(!neap_loop_fail_allocation(loop, 0, false));
  CHECK(end_status(woken) == NEAP_DONE);
  CHECK(end_status(cancelled) == NEAP_CANCELLED);
  CHECK(end_status(freed) == NEAP_CANCELLED);
  bench_close_idle(&b);
}

/* Both of the above with the n-th allocation failing; false when there were fewer. */
static bool run_faulty(unsigned long n, bool persist) {
  bench b;
  neap_loop *loop = bench_open(&b);
  semaphore shared = {.queue = new_queue(loop), .permits = 1};
  rendezvous place = {.senders = new_queue(loop), .receivers = new_queue(loop)};
  neap_task *tasks[9];
  neap_loop_fail_allocation(loop, n, persist);
  for (int i = 0; i < 3; i++) {
    tasks[3 * i] = start_worker(loop, &shared, 1);
    tasks[3 * i + 1] = start_party(loop, &place, i, true);
    tasks[3 * i + 2] = start_party(loop, &place, i, false);
  }
  neap_loop_run(loop, NULL);
  for (int i = 0; i < 9; i++)
    if (tasks[i]) neap_task_cancel(tasks[i]);
  CHECK(neap_loop_run(loop, NULL) == 0);
  bool fired = neap_loop_fail_allocation(loop, 0, false);
  CHECK(shared.permits == 1);
  check_items(&place, fired ? 0 : 3);
  for (int i = 0; i < 9; i++)
    if (tasks[i]) neap_task_unref(tasks[i]);
  neap_queue_free(shared.queue);
  free_rendezvous(&place);
  bench_close_idle(&b);
  return fired;
}

TEST(nothing_is_lost_when_an_allocation_fails) {
  for (int persist = 0; persist < 2; persist++) {
    unsigned long n = 1;
    while (n < 100 && run_faulty(n, persist)) n++;
    CHECK(n > 9 && n < 100);
  }
}
