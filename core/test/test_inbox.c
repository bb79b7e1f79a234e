// tsan: posts from many threads
#include "support.h"

enum { THREADS = 8, POSTS = 12500 };

typedef struct post {
  struct poster *poster;
  int number;
} post;

typedef struct poster {
  neap_loop *loop;
  uv_thread_t thread;
  post posts[POSTS];
  int sent;     /* by its own thread; accepted */
  int received; /* on the loop's thread */
  int *total;
} poster;

static poster posters[THREADS];

static void on_post(void *data) {
  post *self = data;
  CHECK(self->number == self->poster->received);
  self->poster->received++;
  if (self->poster->total) ++*self->poster->total;
}

static void post_all(void *data) {
  poster *self = data;
  for (int i = 0; i < POSTS; i++) {
    self->posts[i] = (post){self, i};
    if (neap_loop_post(self->loop, on_post, &self->posts[i])) break;
    self->sent++;
  }
}

static void start_posters(neap_loop *loop, int *total) {
  for (int i = 0; i < THREADS; i++) {
    posters[i].loop = loop;
    posters[i].sent = posters[i].received = 0;
    posters[i].total = total;
    CHECK(uv_thread_create(&posters[i].thread, post_all, &posters[i]) == 0);
  }
}

static void join_posters(void) {
  for (int i = 0; i < THREADS; i++) uv_thread_join(&posters[i].thread);
}

static void check_none_lost(void) {
  for (int i = 0; i < THREADS; i++) CHECK(posters[i].received == posters[i].sent);
}

/* [S255] */
TEST(posts_of_eight_threads_arrive_in_the_order_of_each) {
  bench b;
  int total = 0;
  neap_loop *loop = bench_open_on(&b, NULL, false);
  neap_loop_hold(loop);
  start_posters(loop, &total);
  while (total < THREADS * POSTS) neap_loop_step(loop);
  join_posters();
  neap_loop_release(loop);
  check_none_lost();
  for (int i = 0; i < THREADS; i++) CHECK(posters[i].sent == POSTS);
  bench_close_idle(&b);
}

/* All is posted before the loop looks: closing calls what was accepted. */
TEST(closing_calls_what_was_accepted) {
  bench b;
  neap_loop *loop = bench_open(&b);
  start_posters(loop, NULL);
  join_posters();
  bench_close_idle(&b);
  check_none_lost();
}

static atomic_bool is_over;

static void post_until_refused(void *data) {
  poster *self = data;
  for (int i = 0; i < POSTS && !atomic_load(&is_over); i++) {
    self->posts[i] = (post){self, i};
    if (neap_loop_post(self->loop, on_post, &self->posts[i])) break;
    self->sent++;
  }
}

/* The loop's memory must outlive the threads: a task that is held keeps it. */
TEST(posts_are_refused_once_the_loop_has_closed_and_none_is_lost) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *anchor = sleep_for(loop, 1);
  atomic_store(&is_over, false);
  for (int i = 0; i < THREADS; i++) {
    posters[i].loop = loop;
    posters[i].sent = posters[i].received = 0;
    posters[i].total = NULL;
    CHECK(uv_thread_create(&posters[i].thread, post_until_refused, &posters[i]) == 0);
  }
  neap_loop_hold(loop);
  for (int i = 0; i < 10; i++) uv_run(neap_loop_uv(loop), UV_RUN_NOWAIT);
  neap_loop_release(loop);
  neap__inbox_close(loop->inbox);
  join_posters();
  check_none_lost();
  CHECK(neap_loop_post(loop, on_post, NULL) == NEAP_ECLOSED);
  neap_loop_close(loop);
  neap_task_unref(anchor);
  CHECK(atomic_load(&b.memory.live) == 0);
}

/* ---- One thread ------------------------------------------------------------------------------ */

static neap_loop *posting_loop;
static int calls;

static void on_call(void *data) {
  (void)data;
  calls++;
}

static void post_again(void *data) {
  int *rest = data;
  calls++;
  if (--*rest > 0) CHECK(neap_loop_post(posting_loop, post_again, data) == 0);
}

TEST(a_post_may_post) {
  bench b;
  int rest = 1000;
  posting_loop = bench_open(&b);
  calls = 0;
  neap_loop_hold(posting_loop);
  CHECK(neap_loop_post(posting_loop, post_again, &rest) == 0);
  for (int i = 0; i < 2000 && rest > 0; i++) uv_run(neap_loop_uv(posting_loop), UV_RUN_NOWAIT);
  CHECK(calls == 1000);
  neap_loop_release(posting_loop);
  bench_close_idle(&b);
}

static void post_to_closing(void *data) {
  (void)data;
  calls++;
  CHECK(neap_loop_post(posting_loop, on_call, NULL) == NEAP_ECLOSED);
}

TEST(what_is_called_by_closing_cannot_post) {
  bench b;
  posting_loop = bench_open(&b);
  calls = 0;
  CHECK(neap_loop_post(posting_loop, post_to_closing, NULL) == 0);
  bench_close_idle(&b);
  CHECK(calls == 1);
}

static void cancel_task(void *data) {
  neap_task_cancel(data);
}

static void post_a_cancel(void *data) {
  neap_task *task = data;
  uv_sleep(5);
  CHECK(neap_loop_post(posting_loop, cancel_task, task) == 0);
}

TEST(a_post_wakes_a_loop_that_is_held) {
  bench b;
  uv_thread_t thread;
  posting_loop = bench_open_on(&b, NULL, false);
  neap_task *sleep = sleep_for(posting_loop, HUGE_VAL);
  neap_loop_hold(posting_loop);
  CHECK(uv_thread_create(&thread, post_a_cancel, sleep) == 0);
  CHECK(neap_loop_run(posting_loop, sleep) == 0);
  uv_thread_join(&thread);
  neap_loop_release(posting_loop);
  CHECK(end_status(sleep) == NEAP_CANCELLED);
  bench_close_idle(&b);
}

/* Accepted before the loop runs: it is called before the loop speaks of a deadlock. */
TEST(what_was_posted_before_is_no_deadlock) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *sleep = sleep_for(loop, HUGE_VAL);
  CHECK(neap_loop_post(loop, cancel_task, sleep) == 0);
  CHECK(neap_loop_run(loop, sleep) == 0);
  neap_loop_close(loop);
  CHECK(end_status(sleep) == NEAP_CANCELLED);
  CHECK(atomic_load(&b.memory.live) == 0);
}
