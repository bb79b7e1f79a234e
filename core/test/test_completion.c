// tsan: completed by threads, while the loop cancels and closes
#include "support.h"

#include "completion.h"

enum { THREADS = 8 };

static atomic_int releases;
static atomic_int cancels;

static void release_frame(void *frame) {
  (void)frame;
  atomic_fetch_add(&releases, 1);
}

static void note_cancel(neap_completion *completion, void *frame) {
  CHECK(frame == neap_completion_frame(completion));
  CHECK(neap_completion_is_cancelled(completion));
  atomic_fetch_add(&cancels, 1);
}

static const neap_completion_kind plain = {
    .name = "test.plain", .frame_size = 16, .cancel = note_cancel, .release = release_frame};
static const neap_completion_kind joined = {.name = "test.joined",
                                            .frame_size = 16,
                                            .cancel = note_cancel,
                                            .release = release_frame,
                                            .is_joined = true};

static neap_completion *make(neap_loop *loop, const neap_completion_kind *kind, neap_task **task) {
  neap_completion *completion = NULL;
  CHECK(neap_completion_new(loop, kind, &completion, task) == 0);
  return completion;
}

static void reset(void) {
  atomic_store(&releases, 0);
  atomic_store(&cancels, 0);
}

/* ---- On the loop's thread --------------------------------------------------------------------- */

TEST(it_is_done_with_its_values) {
  bench b;
  reset();
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  neap_completion *completion = make(loop, &plain, &task);
  CHECK(neap_completion_loop(completion) == loop);
  CHECK(((char *)neap_completion_frame(completion))[15] == 0);
  CHECK(neap_task_status(task) == NEAP_PENDING && neap_task_values(task) == NULL);
  neap_values_add_integer(neap_completion_values(completion), 5);
  CHECK(neap_completion_end(completion, NULL) == 0);
  CHECK(neap_task_status(task) == NEAP_DONE);
  CHECK(neap_value_integer(neap_values_at(neap_task_values(task), 0)) == 5);
  neap_completion_unref(completion);
  CHECK(atomic_load(&releases) == 0);
  neap_task_unref(task);
  CHECK(atomic_load(&releases) == 1);
  bench_close_idle(&b);
}

TEST(completing_twice_is_refused) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  neap_completion *completion = make(loop, &plain, &task);
  CHECK(neap_completion_end(completion, NULL) == 0);
  CHECK(neap_completion_end(completion, NULL) == NEAP_EMISUSE);
  CHECK(neap_completion_post(completion, &(neap_error){.code = UV_EIO}) == NEAP_EMISUSE);
  CHECK(neap_completion_values(completion) == NULL);
  CHECK(neap_task_status(task) == NEAP_DONE);
  neap_completion_unref(completion);
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(an_error_is_copied) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  neap_completion *completion = make(loop, &plain, &task);
  char message[] = "it broke", path[] = "/tmp/x";
  CHECK(neap_completion_end(
            completion,
            &(neap_error){.code = -9999, .name = "EBROKEN", .message = message, .path = path}) ==
        0);
  message[0] = path[0] = '?';
  neap_completion_unref(completion);
  const neap_error *error = neap_task_error(task);
  CHECK(error->code == -9999 && strcmp(error->name, "EBROKEN") == 0);
  CHECK(strcmp(error->message, "it broke") == 0 && strcmp(error->path, "/tmp/x") == 0);
  CHECK(error->syscall == NULL);
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(an_error_of_its_values_fails_it) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  neap_completion *completion = make(loop, &plain, &task);
  neap_values_open_array(neap_completion_values(completion));
  CHECK(neap_completion_end(completion, NULL) == 0);
  CHECK(neap_task_status(task) == NEAP_FAILED && neap_task_error(task)->code == NEAP_EMISUSE);
  neap_completion_unref(completion);
  neap_task_unref(task);
  bench_close_idle(&b);
}

TEST(the_last_holder_to_let_go_fails_it) {
  bench b;
  reset();
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  neap_completion *completion = make(loop, &plain, &task);
  neap_completion_unref(neap_completion_ref(completion));
  CHECK(neap_loop_step(loop) == NEAP_PROGRESS && neap_task_status(task) == NEAP_PENDING);
  neap_completion_unref(completion);
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_FAILED && neap_task_error(task)->code == NEAP_EMISUSE);
  CHECK(atomic_load(&cancels) == 0);
  neap_task_unref(task);
  CHECK(atomic_load(&releases) == 1);
  bench_close_idle(&b);
}

/* It cannot be told from one that a thread is about to complete. */
TEST(a_pending_one_holds_the_loop) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  neap_completion *completion = make(loop, &plain, &task);
  CHECK(loop->holds == 1);
  CHECK(neap_completion_end(completion, NULL) == 0);
  CHECK(loop->holds == 0);
  neap_completion_unref(completion);
  neap_task_unref(task);
  bench_close_idle(&b);
}

/* ---- Cancelled --------------------------------------------------------------------------------- */

TEST(a_cancelled_one_ends_at_once_and_refuses_its_end) {
  bench b;
  reset();
  neap_loop *loop = bench_open(&b);
  neap_task *task;
  neap_completion *completion = make(loop, &plain, &task);
  CHECK(neap_task_cancel(task) && !neap_task_cancel(task));
  CHECK(neap_task_status(task) == NEAP_CANCELLED);
  CHECK(atomic_load(&cancels) == 1 && loop->holds == 0);
  CHECK(neap_completion_values(completion) == NULL);
  neap_values_add_integer(neap_completion_values(completion), 1);
  CHECK(neap_completion_end(completion, NULL) == UV_ECANCELED);
  CHECK(neap_completion_post(completion, NULL) == UV_ECANCELED);
  neap_task_unref(task);
  CHECK(atomic_load(&releases) == 0);
  neap_completion_unref(completion);
  CHECK(atomic_load(&releases) == 1);
  bench_close_idle(&b);
}

TEST(a_joined_one_ends_when_it_is_completed) {
  bench b;
  reset();
  neap_loop *loop = bench_open(&b);
  for (int how = 0; how < 3; how++) {
    const neap_error errors[] = {{.code = 0}, {.code = UV_ECANCELED}, {.code = UV_EIO}};
    const neap_status statuses[] = {NEAP_DONE, NEAP_CANCELLED, NEAP_FAILED};
    neap_task *task;
    neap_completion *completion = make(loop, &joined, &task);
    CHECK(neap_task_cancel(task));
    CHECK(neap_task_status(task) == NEAP_PENDING && atomic_load(&cancels) == how + 1);
    CHECK(neap_completion_end(completion, how ? &errors[how] : NULL) == 0);
    CHECK(neap_task_status(task) == statuses[how]);
    neap_completion_unref(completion);
    neap_task_unref(task);
  }
  CHECK(loop->holds == 0 && atomic_load(&releases) == 3);
  bench_close_idle(&b);
}

TEST(in_a_cancelled_scope_it_is_cancelled) {
  bench b;
  reset();
  neap_loop *loop = bench_open(&b);
  CHECK(neap_scope_cancel(&loop->root));
  neap_task *task;
  neap_completion *completion = make(loop, &plain, &task);
  CHECK(neap_task_status(task) == NEAP_CANCELLED && loop->holds == 0);
  CHECK(neap_completion_is_cancelled(completion) && atomic_load(&cancels) == 0);
  CHECK(neap_completion_end(completion, NULL) == UV_ECANCELED);
  neap_completion_unref(completion);
  neap_task_unref(task);
  CHECK(atomic_load(&releases) == 1);
  bench_close(&b);
}

TEST(the_loop_closes_with_pending_ones) {
  bench b;
  reset();
  neap_loop *loop = bench_open(&b);
  neap_task *first, *second;
  neap_completion *one = make(loop, &plain, &first);
  neap_completion *two = make(loop, &joined, &second);
  neap_task_unref(first);
  neap_loop_close(loop);
  CHECK(atomic_load(&cancels) == 2);
  CHECK(neap_task_status(second) == NEAP_CANCELLED);
  CHECK(neap_completion_post(one, NULL) == UV_ECANCELED);
  CHECK(neap_completion_post(two, NULL) == UV_ECANCELED);
  neap_completion_unref(one);
  neap_completion_unref(two);
  neap_task_unref(second);
  CHECK(atomic_load(&releases) == 2);
  CHECK(atomic_load(&b.memory.live) == 0);
}

/* ---- Callbacks of a cancellation that do more ------------------------------------------------------ */

enum { MANY = 5 };

typedef struct busy {
  neap_loop *loop;
  neap_completion *completions[MANY];
  bool runs_loop;
  int steps;
} busy;

static busy *busy_now;

/* Ends the others, begins one more, and runs the loop. */
static void cancel_busily(neap_completion *completion, void *frame) {
  busy *self = busy_now;
  neap_completion *more;
  neap_task *task;
  (void)frame;
  atomic_fetch_add(&cancels, 1);
  for (int i = 1; i < MANY; i++) neap_completion_end(self->completions[i], NULL);
  if (neap_completion_new(self->loop, &plain, &more, &task) == 0) {
    neap_task_unref(task);
    neap_completion_unref(more);
  }
  CHECK(neap_completion_end(completion, NULL) == UV_ECANCELED);
  if (self->runs_loop) neap_loop_step(self->loop);
}

static const neap_completion_kind busy_kind = {
    .name = "test.busy", .cancel = cancel_busily, .release = release_frame};

static neap_step_result step_waiting(neap_task *self, void *frame) {
  neap_task *task;
  if (neap_task_place(self) > 0) return NEAP_STEP_END;
  (*(busy **)frame)->steps++;
  return neap_await(self, neap_sleep(neap_task_loop(self), 9, &task), &task, 1);
}

static const neap_body waiting_body = {
    .name = "waiting", .frame_size = sizeof(busy *), .step = step_waiting};

/* Among them are tasks with a body, which end and are freed meanwhile. */
TEST(a_callback_of_a_cancellation_may_end_others) {
  for (int how = 0; how < 3; how++) {
    bench b;
    reset();
    neap_loop *loop = bench_open(&b);
    busy self = {.loop = loop, .runs_loop = how == 2}, *pointer = &self;
    busy_now = &self;
    for (int i = 0; i < MANY; i++) {
      neap_task *task;
      self.completions[i] = make(loop, i == 0 ? &busy_kind : &plain, &task);
      neap_task_unref(task);
      CHECK(neap_task_start(loop, &waiting_body, &pointer, &task) == 0);
      neap_task_unref(task);
    }
    if (how > 0) CHECK(neap_scope_cancel(&loop->root));
    if (how == 0) bench_close(&b);
    CHECK(atomic_load(&cancels) == 1 && self.steps == MANY);
    for (int i = 0; i < MANY; i++) neap_completion_unref(self.completions[i]);
    if (how > 0) bench_close(&b);
    CHECK(atomic_load(&releases) == MANY + (how == 0 ? 0 : 1));
  }
}

TEST(a_closed_loop_makes_none) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_loop_fail_allocation(loop, 1, true);
  neap_completion *completion;
  neap_task *task;
  CHECK(neap_completion_new(loop, &plain, &completion, &task) == UV_ENOMEM);
  neap_loop_fail_allocation(loop, 2, true);
  CHECK(neap_completion_new(loop, &plain, &completion, &task) == UV_ENOMEM);
  CHECK(neap_loop_fail_allocation(loop, 0, false));
  bench_close_idle(&b);
}

/* ---- Threads ----------------------------------------------------------------------------------- */

typedef struct completer {
  uv_thread_t thread;
  neap_completion *completion;
  atomic_int *go; /* NULL: at once */
  int code;       /* what completing has given */
} completer;

static void complete(void *data) {
  completer *self = data;
  if (self->go) {
    while (!atomic_load(self->go)) continue;
  }
  self->code = neap_completion_post(self->completion, NULL);
  neap_completion_unref(self->completion);
}

static void start_completer(completer *self, neap_completion *completion, atomic_int *go) {
  *self = (completer){.completion = neap_completion_ref(completion), .go = go};
  CHECK(uv_thread_create(&self->thread, complete, self) == 0);
}

#ifdef __SANITIZE_THREAD__
enum { ROUNDS = 50 };
#else
enum { ROUNDS = 300 };
#endif

TEST(of_eight_threads_one_completes_it) {
  bench b;
  reset();
  neap_loop *loop = bench_open_on(&b, NULL, false);
  for (int round = 0; round < ROUNDS; round++) {
    completer threads[THREADS];
    atomic_int go = 0;
    neap_task *task;
    int winners = 0;
    neap_completion *completion = make(loop, &plain, &task);
    for (int i = 0; i < THREADS; i++) start_completer(&threads[i], completion, &go);
    neap_completion_unref(completion);
    atomic_store(&go, 1);
    CHECK(neap_loop_run(loop, task) == 0);
    CHECK(neap_task_status(task) == NEAP_DONE);
    for (int i = 0; i < THREADS; i++) {
      uv_thread_join(&threads[i].thread);
      winners += threads[i].code == 0;
      CHECK(threads[i].code == 0 || threads[i].code == NEAP_EMISUSE);
    }
    CHECK(winners == 1);
    neap_task_unref(task);
  }
  CHECK(atomic_load(&releases) == ROUNDS);
  bench_close_idle(&b);
}

/* One of the two happens, and both sides know which. */
static void race_with_cancellation(const neap_completion_kind *kind) {
  bench b;
  reset();
  neap_loop *loop = bench_open_on(&b, NULL, false);
  for (int round = 0; round < ROUNDS; round++) {
    completer thread;
    atomic_int go = 0;
    neap_task *task;
    neap_completion *completion = make(loop, kind, &task);
    start_completer(&thread, completion, &go);
    neap_completion_unref(completion);
    atomic_store(&go, 1);
    for (int i = 0; i < round * 7; i++) atomic_load(&go);
    neap_task_cancel(task);
    CHECK(neap_loop_run(loop, task) == 0);
    uv_thread_join(&thread.thread);
    CHECK(neap_task_status(task) == (thread.code == 0 ? NEAP_DONE : NEAP_CANCELLED));
    CHECK(thread.code == 0 || thread.code == UV_ECANCELED);
    neap_task_unref(task);
    neap_loop_step(loop); /* the post of a task that was done by the cancellation */
  }
  neap_loop_close(loop);
  CHECK(atomic_load(&releases) == ROUNDS);
  CHECK(atomic_load(&b.memory.live) == 0);
}

TEST(an_end_races_a_cancellation) {
  race_with_cancellation(&plain);
}

TEST(an_end_races_a_cancellation_that_waits_for_it) {
  race_with_cancellation(&joined);
}

TEST(an_end_races_the_closing_of_its_loop) {
  reset();
  for (int round = 0; round < ROUNDS; round++) {
    bench b;
    completer threads[2];
    atomic_int go = 0;
    neap_task *first, *second;
    neap_loop *loop = bench_open_on(&b, NULL, false);
    neap_completion *one = make(loop, &plain, &first), *two = make(loop, &joined, &second);
    start_completer(&threads[0], one, &go);
    start_completer(&threads[1], two, &go);
    neap_completion_unref(one);
    neap_completion_unref(two);
    atomic_store(&go, 1);
    for (int i = 0; i < round * 7; i++) atomic_load(&go);
    neap_loop_close(loop);
    uv_thread_join(&threads[0].thread);
    uv_thread_join(&threads[1].thread);
    CHECK(neap_task_status(first) != NEAP_PENDING && neap_task_status(second) != NEAP_PENDING);
    neap_task_unref(first);
    neap_task_unref(second);
    CHECK(atomic_load(&b.memory.live) == 0);
  }
  CHECK(atomic_load(&releases) == 2 * ROUNDS);
}

/* What a thread is about to say when the cancellation comes is what its task ends with. */
static void fail_at_once(void *data) {
  completer *self = data;
  char message[] = "it has failed on its thread";
  while (!atomic_load(self->go)) continue;
  self->code =
      neap_completion_post(self->completion, &(neap_error){.code = UV_EIO, .message = message});
  neap_completion_unref(self->completion);
}

TEST(an_error_races_a_cancellation) {
  bench b;
  reset();
  neap_loop *loop = bench_open_on(&b, NULL, false);
  for (int round = 0; round < ROUNDS * 5; round++) {
    completer thread;
    atomic_int go = 0;
    neap_task *task;
    thread = (completer){.completion = make(loop, &plain, &task), .go = &go};
    CHECK(uv_thread_create(&thread.thread, fail_at_once, &thread) == 0);
    atomic_store(&go, 1);
    for (int i = 0; i < round % 100; i++) atomic_load(&go);
    neap_task_cancel(task);
    CHECK(neap_loop_run(loop, task) == 0);
    uv_thread_join(&thread.thread);
    CHECK(neap_task_status(task) == (thread.code == 0 ? NEAP_FAILED : NEAP_CANCELLED));
    if (thread.code == 0) CHECK(neap_task_error(task)->message != NULL);
    neap_task_unref(task);
    neap_loop_step(loop);
  }
  bench_close_idle(&b);
}

/* Refused, it has not happened: its task is cancelled. */
TEST(what_is_refused_by_a_closing_loop_does_not_count) {
  reset();
  for (int round = 0; round < ROUNDS; round++) {
    bench b;
    completer thread;
    atomic_int go = 0;
    neap_task *task;
    neap_loop *loop = bench_open_on(&b, NULL, false);
    thread = (completer){.completion = make(loop, &plain, &task), .go = &go};
    CHECK(uv_thread_create(&thread.thread, fail_at_once, &thread) == 0);
    atomic_store(&go, 1);
    for (int i = 0; i < round * 3; i++) atomic_load(&go);
    neap_loop_close(loop);
    uv_thread_join(&thread.thread);
    CHECK(neap_task_status(task) == (thread.code == 0 ? NEAP_FAILED : NEAP_CANCELLED));
    neap_task_unref(task);
    CHECK(atomic_load(&b.memory.live) == 0);
  }
  CHECK(atomic_load(&releases) == ROUNDS);
}

/* ---- Posts from many threads --------------------------------------------------------------------- */

#ifdef __SANITIZE_THREAD__
enum { POSTS = 10000 };
#else
enum { POSTS = 125000 };
#endif

typedef struct poster {
  uv_thread_t thread;
  neap_inbox *inbox;
  int *received; /* on the loop's thread: how many of this one's have come */
  int refused;
} poster;

static void count_post(void *data) {
  ++*(int *)data;
}

static void post_all(void *data) {
  poster *self = data;
  for (int i = 0; i < POSTS; i++)
    if (neap_inbox_post(self->inbox, count_post, self->received)) self->refused++;
  neap_inbox_unref(self->inbox);
}

/* With 8 threads, 1 000 000 posts. */
TEST(none_of_a_million_posts_is_lost) {
  bench b;
  poster threads[THREADS];
  int received[THREADS] = {0}, sum = 0;
  neap_loop *loop = bench_open_on(&b, NULL, false);
  neap_loop_hold(loop);
  for (int i = 0; i < THREADS; i++) {
    threads[i] = (poster){.inbox = neap_inbox_ref(neap_loop_inbox(loop)), .received = &received[i]};
    CHECK(uv_thread_create(&threads[i].thread, post_all, &threads[i]) == 0);
  }
  while (sum < THREADS * POSTS) {
    neap_loop_step(loop);
    sum = 0;
    for (int i = 0; i < THREADS; i++) sum += received[i];
  }
  for (int i = 0; i < THREADS; i++) {
    uv_thread_join(&threads[i].thread);
    CHECK(threads[i].refused == 0 && received[i] == POSTS);
  }
  neap_loop_release(loop);
  bench_close_idle(&b);
}

/* Accepted or refused, and each is counted once; the inbox outlives the loop. */
TEST(posts_race_the_closing_of_their_loop) {
  bench b;
  poster threads[THREADS];
  int received[THREADS] = {0};
  neap_loop *loop = bench_open_on(&b, NULL, false);
  for (int i = 0; i < THREADS; i++) {
    threads[i] = (poster){.inbox = neap_inbox_ref(neap_loop_inbox(loop)), .received = &received[i]};
    CHECK(uv_thread_create(&threads[i].thread, post_all, &threads[i]) == 0);
  }
  for (int i = 0; i < 20; i++) neap_loop_poll(loop, 0.0001);
  neap_loop_close(loop);
  for (int i = 0; i < THREADS; i++) {
    uv_thread_join(&threads[i].thread);
    CHECK(threads[i].refused + received[i] == POSTS);
  }
  CHECK(atomic_load(&b.memory.live) == 0);
}
