// tsan: pools of threads, and work on them
#include "support.h"

#include "ops/work.h"

#include <sched.h>

/* A loop by the real clock: what threads do takes real time. */
static neap_loop *open_real(bench *self) {
  return bench_open_on(self, NULL, false);
}

/* ---- Work for tests ------------------------------------------------------------------------- */

typedef struct labour {
  uv_sem_t begun, go_on; /* with `waits`: says that it runs, then waits until it may go on */
  uv_thread_t ran_on, released_on;
  atomic_int runs, pokes, releases;
  int code;
  neap_error error; /* code not 0: what it fails with */
  int *order;       /* where it notes its number */
  atomic_int *place, *at_once, *most;
  int number;
  bool waits;
} labour;

static void note_most(labour *self) {
  int now = atomic_fetch_add(self->at_once, 1) + 1;
  int most = atomic_load(self->most);
  while (now > most && !atomic_compare_exchange_weak(self->most, &most, now)) {
  }
}

static int run_labour(neap_work *work, void *data) {
  labour *self = data;
  atomic_fetch_add(&self->runs, 1);
  self->ran_on = uv_thread_self();
  if (self->at_once) note_most(self);
  if (self->order) self->order[atomic_fetch_add(self->place, 1)] = self->number;
  if (self->waits) {
    uv_sem_post(&self->begun);
    uv_sem_wait(&self->go_on);
  }
  if (self->at_once) atomic_fetch_sub(self->at_once, 1);
  if (self->error.code) {
    neap_work_fail(work, &self->error);
    return self->error.code;
  }
  if (self->code == UV_ECANCELED && !neap_work_is_cancelled(work)) return UV_EIO;
  return self->code;
}

static void poke_labour(neap_work *work, void *data) {
  labour *self = data;
  (void)work;
  atomic_fetch_add(&self->pokes, 1);
  uv_sem_post(&self->go_on);
}

static void release_labour(void *data) {
  labour *self = data;
  self->released_on = uv_thread_self();
  atomic_fetch_add(&self->releases, 1);
}

static const neap_work_kind plain_kind = {
    .name = "labour", .run = run_labour, .release = release_labour};
static const neap_work_kind poked_kind = {
    .name = "labour", .run = run_labour, .interrupt = poke_labour, .release = release_labour};
static const neap_work_kind abandoned_kind = {
    .name = "labour", .run = run_labour, .release = release_labour, .is_abandonable = true};

static void labour_init(labour *self, bool waits) {
  *self = (labour){.waits = waits};
  uv_sem_init(&self->begun, 0);
  uv_sem_init(&self->go_on, 0);
}

static void labour_deinit(labour *self) {
  uv_sem_destroy(&self->begun);
  uv_sem_destroy(&self->go_on);
}

static neap_task *start(neap_loop *loop, neap_pool *pool, const neap_work_kind *kind,
                        labour *data) {
  neap_task *task = NULL;
  CHECK(neap_work_start(loop, pool, kind, data, &task) == 0);
  return task;
}

static neap_pool *new_pool(size_t threads) {
  neap_pool *pool = NULL;
  CHECK(neap_pool_new(threads, &pool) == 0);
  return pool;
}

static bool is_here(uv_thread_t thread) {
  uv_thread_t self = uv_thread_self();
  return uv_thread_equal(&thread, &self);
}

/* ---- Running -------------------------------------------------------------------------------- */

TEST(work_runs_on_another_thread_and_its_data_is_its_value) {
  bench b;
  labour data;
  neap_loop *loop = open_real(&b);
  labour_init(&data, false);
  neap_task *task = start(loop, NULL, &plain_kind, &data);
  CHECK(neap_task_value(task) == NULL);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_DONE && neap_task_value(task) == &data);
  CHECK(atomic_load(&data.runs) == 1 && !is_here(data.ran_on));
  CHECK(atomic_load(&data.releases) == 0);
  neap_task_unref(task);
  CHECK(atomic_load(&data.releases) == 1 && is_here(data.released_on));
  labour_deinit(&data);
  bench_close_idle(&b);
}

TEST(a_negative_code_fails_the_task) {
  bench b;
  labour data;
  neap_loop *loop = open_real(&b);
  labour_init(&data, false);
  data.code = UV_EIO;
  neap_task *task = start(loop, NULL, &plain_kind, &data);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_FAILED && neap_task_error(task)->code == UV_EIO);
  neap_task_unref(task);
  labour_deinit(&data);
  bench_close_idle(&b);
}

TEST(an_error_keeps_its_fields) {
  bench b;
  labour data;
  neap_loop *loop = open_real(&b);
  labour_init(&data, false);
  data.error = (neap_error){.code = UV_ENOENT, .syscall = "open", .path = "there"};
  neap_task *task = start(loop, NULL, &plain_kind, &data);
  CHECK(neap_loop_run(loop, task) == 0);
  const neap_error *error = neap_task_error(task);
  CHECK(error && strcmp(error->syscall, "open") == 0 && strcmp(error->path, "there") == 0);
  neap_task_unref(task);
  labour_deinit(&data);
  bench_close_idle(&b);
}

enum { MANY = 40 };

TEST(a_pool_runs_no_more_at_once_than_it_has_threads) {
  bench b;
  labour data[MANY];
  neap_task *tasks[MANY];
  atomic_int at_once = 0, most = 0;
  neap_pool *pool = new_pool(2);
  neap_loop *loop = open_real(&b);
  for (int i = 0; i < MANY; i++) {
    labour_init(&data[i], false);
    data[i].at_once = &at_once, data[i].most = &most;
    tasks[i] = start(loop, pool, &plain_kind, &data[i]);
  }
  for (int i = 0; i < MANY; i++) CHECK(neap_loop_run(loop, tasks[i]) == 0);
  CHECK(atomic_load(&most) >= 1 && atomic_load(&most) <= 2);
  for (int i = 0; i < MANY; i++) neap_task_unref(tasks[i]), labour_deinit(&data[i]);
  neap_pool_unref(pool);
  bench_close_idle(&b);
}

TEST(what_waits_starts_first_come_first_served) {
  bench b;
  labour data[MANY];
  neap_task *tasks[MANY];
  int order[MANY] = {0};
  atomic_int place = 0;
  neap_pool *pool = new_pool(1);
  neap_loop *loop = open_real(&b);
  for (int i = 0; i < MANY; i++) {
    labour_init(&data[i], i == 0);
    data[i].order = order, data[i].place = &place, data[i].number = i;
    tasks[i] = start(loop, pool, &plain_kind, &data[i]);
  }
  uv_sem_post(&data[0].go_on);
  for (int i = 0; i < MANY; i++) {
    CHECK(neap_loop_run(loop, tasks[i]) == 0);
    CHECK(order[i] == i);
    neap_task_unref(tasks[i]), labour_deinit(&data[i]);
  }
  neap_pool_unref(pool);
  bench_close_idle(&b);
}

TEST(a_hundred_thousand_pieces_leave_nothing) {
  enum { EACH = 100 };
  static labour data[EACH];
  bench b;
  neap_task *tasks[EACH];
  neap_loop *loop = open_real(&b);
  for (int i = 0; i < EACH; i++) labour_init(&data[i], false);
  for (int round = 0; round < 1000; round++) {
    for (int i = 0; i < EACH; i++) tasks[i] = start(loop, NULL, &plain_kind, &data[i]);
    for (int i = 0; i < EACH; i++) {
      CHECK(neap_loop_run(loop, tasks[i]) == 0);
      neap_task_unref(tasks[i]);
    }
  }
  for (int i = 0; i < EACH; i++) {
    CHECK(atomic_load(&data[i].runs) == 1000 && atomic_load(&data[i].releases) == 1000);
    labour_deinit(&data[i]);
  }
  bench_close_idle(&b);
}

/* ---- Cancelling ----------------------------------------------------------------------------- */

TEST(what_is_cancelled_before_it_starts_never_runs) {
  bench b;
  labour first, second;
  neap_pool *pool = new_pool(1);
  neap_loop *loop = open_real(&b);
  labour_init(&first, true), labour_init(&second, false);
  neap_task *one = start(loop, pool, &plain_kind, &first);
  neap_task *two = start(loop, pool, &plain_kind, &second);
  uv_sem_wait(&first.begun);
  CHECK(neap_task_cancel(two) && neap_task_status(two) == NEAP_CANCELLED);
  CHECK(!neap_task_cancel(two));
  uv_sem_post(&first.go_on);
  CHECK(neap_loop_run(loop, one) == 0);
  neap_task_unref(one), neap_task_unref(two);
  CHECK(atomic_load(&second.runs) == 0 && atomic_load(&second.releases) == 1);
  labour_deinit(&first), labour_deinit(&second);
  neap_pool_unref(pool);
  bench_close_idle(&b);
}

TEST(what_runs_is_interrupted_and_waited_for) {
  bench b;
  labour data;
  neap_loop *loop = open_real(&b);
  labour_init(&data, true);
  data.code = UV_ECANCELED;
  neap_task *task = start(loop, NULL, &poked_kind, &data);
  uv_sem_wait(&data.begun);
  CHECK(neap_task_cancel(task) && neap_task_status(task) == NEAP_PENDING);
  CHECK(atomic_load(&data.pokes) == 1);
  CHECK(!neap_task_cancel(task));
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(end_status(task) == NEAP_CANCELLED);
  labour_deinit(&data);
  bench_close_idle(&b);
}

TEST(work_that_ends_well_in_spite_of_a_cancellation_is_done) {
  bench b;
  labour data;
  neap_loop *loop = open_real(&b);
  labour_init(&data, true);
  neap_task *task = start(loop, NULL, &plain_kind, &data);
  uv_sem_wait(&data.begun);
  CHECK(neap_task_cancel(task));
  uv_sem_post(&data.go_on);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  labour_deinit(&data);
  bench_close_idle(&b);
}

TEST(the_code_of_a_cancellation_that_nobody_asked_for_is_an_error) {
  bench b;
  labour data;
  neap_loop *loop = open_real(&b);
  labour_init(&data, false);
  data.code = UV_ECANCELED;
  neap_task *task = start(loop, NULL, &plain_kind, &data);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(end_status(task) == NEAP_FAILED);
  labour_deinit(&data);
  bench_close_idle(&b);
}

TEST(who_awaits_it_wakes_when_it_has_stopped) {
  bench b;
  labour data;
  journal log = {""};
  neap_loop *loop = open_real(&b);
  labour_init(&data, true);
  neap_task *work = start(loop, NULL, &plain_kind, &data);
  neap_task *waiter_task =
      start_waiter(loop, (waiter){.target = work, .journal = &log, .name = "w"});
  uv_sem_wait(&data.begun);
  CHECK(neap__node_cancel(&loop->root.node, NULL));
  neap__loop_turns(loop);
  CHECK(journal_is(&log, ""));
  uv_sem_post(&data.go_on);
  CHECK(neap_loop_run(loop, waiter_task) == 0);
  CHECK(journal_is(&log, "w"));
  CHECK(end_status(work) == NEAP_DONE);
  neap_task_unref(waiter_task);
  loop->root.node.is_requested = false;
  neap__node_changed(&loop->root.node);
  labour_deinit(&data);
  bench_close_idle(&b);
}

TEST(who_awaits_what_has_not_begun_wakes_at_once) {
  bench b;
  labour first, second;
  journal log = {""};
  neap_pool *pool = new_pool(1);
  neap_loop *loop = open_real(&b);
  labour_init(&first, true), labour_init(&second, false);
  neap_task *one = start(loop, pool, &plain_kind, &first);
  uv_sem_wait(&first.begun);
  neap_task *two = start(loop, pool, &plain_kind, &second);
  neap_task *waiter_task =
      start_waiter(loop, (waiter){.target = two, .journal = &log, .name = "w"});
  CHECK(neap__node_cancel(&loop->root.node, NULL));
  neap__loop_turns(loop);
  CHECK(journal_is(&log, "w"));
  uv_sem_post(&first.go_on);
  CHECK(neap_loop_run(loop, one) == 0);
  neap_task_unref(one), neap_task_unref(two), neap_task_unref(waiter_task);
  CHECK(atomic_load(&second.runs) == 0);
  loop->root.node.is_requested = false;
  neap__node_changed(&loop->root.node);
  labour_deinit(&first), labour_deinit(&second);
  neap_pool_unref(pool);
  bench_close_idle(&b);
}

TEST(in_a_cancelled_scope_nothing_is_queued) {
  bench b;
  labour data;
  neap_loop *loop = open_real(&b);
  labour_init(&data, false);
  neap__node_cancel(&loop->root.node, NULL);
  neap_task *task = start(loop, NULL, &plain_kind, &data);
  CHECK(end_status(task) == NEAP_CANCELLED);
  CHECK(atomic_load(&data.runs) == 0 && atomic_load(&data.releases) == 1);
  labour_deinit(&data);
  bench_close(&b);
}

/* A body that starts work in a scope and leaves the scope. */
typedef struct leaver {
  labour *data;
  neap_task *work;
} leaver;

static neap_step_result step_leaver(neap_task *task, void *frame) {
  leaver *self = frame;
  neap_scope *scope;
  CHECK(neap_scope_enter(task, HUGE_VAL, false, &scope) == 0);
  self->work = start(task->loop, NULL, &poked_kind, self->data);
  uv_sem_wait(&self->data->begun);
  CHECK(!neap_scope_exit(task, scope));
  CHECK(neap_task_status(self->work) == NEAP_PENDING);
  neap_task_unref(self->work);
  return NEAP_STEP_END;
}

TEST(a_scope_that_is_left_interrupts_its_work_and_does_not_wait) {
  static const neap_body body = {"leaver", sizeof(leaver), step_leaver, NULL, NULL};
  bench b;
  labour data;
  leaver init = {.data = &data};
  neap_task *task = NULL;
  neap_loop *loop = open_real(&b);
  labour_init(&data, true);
  data.code = UV_ECANCELED;
  CHECK(neap_task_start(loop, &body, &init, &task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  while (neap_loop_stats(loop).operations > 0) neap_loop_step(loop);
  CHECK(atomic_load(&data.pokes) == 1 && atomic_load(&data.releases) == 1);
  labour_deinit(&data);
  bench_close_idle(&b);
}

/* Moves on to another pool when it has run once. */
typedef struct mover {
  neap_pool *next;
  uv_thread_t ran_on[2];
  int runs;
  uv_sem_t begun, go_on;
  bool waits;
} mover;

static int run_mover(neap_work *work, void *data) {
  mover *self = data;
  if (self->waits) uv_sem_post(&self->begun), uv_sem_wait(&self->go_on);
  self->ran_on[self->runs++] = uv_thread_self();
  if (self->runs == 1) neap__work_move(work, self->next);
  return 0;
}

static const neap_work_kind mover_kind = {.name = "mover", .run = run_mover};

TEST(work_that_moves_runs_once_more_in_the_other_pool) {
  bench b;
  neap_pool *first = new_pool(1), *second = new_pool(1);
  mover data = {.next = second};
  neap_task *task = NULL;
  neap_loop *loop = open_real(&b);
  CHECK(neap_work_start(loop, first, &mover_kind, &data, &task) == 0);
  neap_pool_unref(first); /* it holds its own */
  CHECK(neap_loop_run(loop, task) == 0);
  neap_pool_unref(second);
  CHECK(end_status(task) == NEAP_DONE && data.runs == 2);
  CHECK(!uv_thread_equal(&data.ran_on[0], &data.ran_on[1]));
  bench_close_idle(&b);
}

TEST(work_that_was_cancelled_does_not_move) {
  bench b;
  neap_pool *second = new_pool(1);
  mover data = {.next = second, .waits = true};
  neap_task *task = NULL;
  neap_loop *loop = open_real(&b);
  uv_sem_init(&data.begun, 0), uv_sem_init(&data.go_on, 0);
  CHECK(neap_work_start(loop, NULL, &mover_kind, &data, &task) == 0);
  uv_sem_wait(&data.begun);
  CHECK(neap_task_cancel(task));
  uv_sem_post(&data.go_on);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(end_status(task) == NEAP_CANCELLED && data.runs == 1);
  uv_sem_destroy(&data.begun), uv_sem_destroy(&data.go_on);
  neap_pool_unref(second);
  bench_close_idle(&b);
}

/* ---- Abandoning ----------------------------------------------------------------------------- */

static void wait_until_released(labour *data) {
  while (atomic_load(&data->releases) == 0) sched_yield();
}

TEST(abandoned_work_ends_at_once_and_is_released_by_its_thread) {
  bench b;
  labour data;
  neap_loop *loop = open_real(&b);
  labour_init(&data, true);
  neap_task *task = start(loop, NULL, &abandoned_kind, &data);
  uv_sem_wait(&data.begun);
  CHECK(neap_task_cancel(task));
  CHECK(end_status(task) == NEAP_CANCELLED);
  CHECK(atomic_load(&data.releases) == 0);
  bench_close_idle(&b); /* does not wait for it */
  uv_sem_post(&data.go_on);
  wait_until_released(&data);
  CHECK(!is_here(data.released_on));
  labour_deinit(&data);
}

TEST(another_thread_takes_the_place_of_an_abandoned_one) {
  bench b;
  labour stuck, next;
  neap_pool *pool = new_pool(1);
  neap_loop *loop = open_real(&b);
  labour_init(&stuck, true), labour_init(&next, false);
  neap_task *one = start(loop, pool, &abandoned_kind, &stuck);
  uv_sem_wait(&stuck.begun);
  neap_task *two = start(loop, pool, &plain_kind, &next);
  CHECK(neap_task_cancel(one));
  CHECK(neap_loop_run(loop, two) == 0);
  CHECK(end_status(two) == NEAP_DONE && end_status(one) == NEAP_CANCELLED);
  neap_pool_unref(pool);
  uv_sem_post(&stuck.go_on);
  wait_until_released(&stuck);
  labour_deinit(&stuck), labour_deinit(&next);
  bench_close_idle(&b);
}

/* Its last user drops the pool while the lost thread is about to leave it. */
TEST(a_pool_ends_while_a_lost_thread_leaves_it) {
  enum { TIMES = 2000 };
  bench b;
  labour data;
  neap_loop *loop = open_real(&b);
  for (int i = 0; i < TIMES; i++) {
    labour_init(&data, true);
    neap_pool *pool = new_pool(1);
    neap_task *task = start(loop, pool, &abandoned_kind, &data);
    uv_sem_wait(&data.begun);
    CHECK(neap_task_cancel(task));
    neap_task_unref(task);
    uv_sem_post(&data.go_on);
    wait_until_released(&data);
    for (int k = 0; k < i % 50; k++) sched_yield();
    neap_pool_unref(pool);
    labour_deinit(&data);
  }
  bench_close_idle(&b);
}

TEST(abandonable_work_that_has_ended_keeps_its_result) {
  bench b;
  labour data;
  neap_loop *loop = open_real(&b);
  labour_init(&data, false);
  neap_task *task = start(loop, NULL, &abandoned_kind, &data);
  neap__inbox_wait(loop->inbox);
  CHECK(neap_task_cancel(task));
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  labour_deinit(&data);
  bench_close_idle(&b);
}

/* ---- Closing -------------------------------------------------------------------------------- */

TEST(a_loop_that_closes_interrupts_and_waits) {
  bench b;
  labour running, queued;
  neap_pool *pool = new_pool(1);
  neap_loop *loop = open_real(&b);
  labour_init(&running, true), labour_init(&queued, false);
  neap_task *one = start(loop, pool, &poked_kind, &running);
  neap_task *two = start(loop, pool, &plain_kind, &queued);
  uv_sem_wait(&running.begun);
  neap_task_unref(one), neap_task_unref(two);
  bench_close(&b);
  CHECK(atomic_load(&running.releases) == 1 && atomic_load(&running.pokes) >= 1);
  CHECK(atomic_load(&queued.runs) == 0 && atomic_load(&queued.releases) == 1);
  labour_deinit(&running), labour_deinit(&queued);
  neap_pool_unref(pool);
}

TEST(a_task_outlives_its_loop) {
  bench b;
  labour data;
  neap_loop *loop = open_real(&b);
  labour_init(&data, false);
  neap_task *task = start(loop, NULL, &plain_kind, &data);
  neap_loop_close(loop);
  CHECK(neap_task_status(task) != NEAP_PENDING);
  neap_task_unref(task);
  CHECK(atomic_load(&data.releases) == 1 && atomic_load(&b.memory.live) == 0);
  labour_deinit(&data);
}

TEST(a_pool_without_work_ends_without_a_thread) {
  neap_pool_unref(new_pool(3));
  neap_pool_unref(NULL);
  neap_pool *pool = new_pool(0);
  CHECK(neap_pool_size(pool) >= 1);
  CHECK(neap_pool_ref(pool) == pool);
  neap_pool_unref(pool);
  neap_pool_unref(pool);
}

TEST(a_waiting_loop_is_no_deadlock) {
  bench b;
  labour data;
  neap_loop *loop = bench_open(&b); /* virtual time: nothing else could wake it */
  labour_init(&data, true);
  neap_task *task = start(loop, NULL, &plain_kind, &data);
  uv_sem_wait(&data.begun);
  CHECK(neap_loop_step(loop) == NEAP_PROGRESS);
  uv_sem_post(&data.go_on);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  labour_deinit(&data);
  bench_close_idle(&b);
}

/* ---- Failures ------------------------------------------------------------------------------- */

TEST(without_memory_the_data_stays_the_callers) {
  bench b;
  labour data;
  neap_task *task = NULL;
  neap_loop *loop = open_real(&b);
  labour_init(&data, false);
  int failures = 0;
  for (unsigned long n = 1;; n++) {
    neap_loop_fail_allocation(loop, n, false);
    int code = neap_work_start(loop, NULL, &plain_kind, &data, &task);
    if (!neap_loop_fail_allocation(loop, 0, false)) break;
    CHECK(code == UV_ENOMEM && atomic_load(&data.releases) == 0);
    failures++;
  }
  CHECK(failures >= 2);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(end_status(task) == NEAP_DONE);
  labour_deinit(&data);
  bench_close_idle(&b);
}

/* ---- Several loops on one pool -------------------------------------------------------------- */

enum { LOOPS = 4, ROUNDS = 2000 };

static void use_pool(void *data) {
  neap_pool *pool = data;
  bench b;
  labour work;
  neap_loop *loop = open_real(&b);
  labour_init(&work, false);
  for (int i = 0; i < ROUNDS; i++) {
    neap_task *task = start(loop, pool, &plain_kind, &work);
    if (i % 3 == 0) neap_task_cancel(task);
    CHECK(neap_loop_run(loop, task) == 0);
    neap_task_unref(task);
  }
  CHECK(atomic_load(&work.releases) == ROUNDS);
  labour_deinit(&work);
  bench_close_idle(&b);
  neap_pool_unref(pool);
}

TEST(loops_on_several_threads_share_a_pool) {
  uv_thread_t threads[LOOPS];
  neap_pool *pool = new_pool(2);
  for (int i = 0; i < LOOPS; i++) uv_thread_create(&threads[i], use_pool, neap_pool_ref(pool));
  neap_pool_unref(pool);
  for (int i = 0; i < LOOPS; i++) uv_thread_join(&threads[i]);
}
