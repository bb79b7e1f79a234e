// tsan: completions that a thread posts while the loop cancels them
/* What the examples and documents have found: these fail as of now. */
#include "embed.h"

#include <stdatomic.h>

/* ---- Arguments of `run` are kept until Lua collects the Task ------------------------------------- */

static atomic_int released;

static void release_thing(void *object) {
  (void)object;
  atomic_fetch_add(&released, 1);
}

static const neap_class thing_class = {"test.Thing", release_thing};

static int start_thing(neap_completion *call, void *frame, const neap_values *arguments) {
  static int thing;
  (void)frame, (void)arguments;
  neap_values_add_object(neap_completion_values(call), &thing_class, &thing);
  return neap_completion_end(call, NULL);
}

static int run_use(neap_work *work, void *frame, const neap_values *arguments,
                   neap_values *results) {
  (void)work, (void)frame, (void)arguments;
  neap_values_add_integer(results, 1);
  return 0;
}

static const neapL_function functions[] = {
    {.kind = {.name = "test.thing"}, .start = start_thing},
    {.kind = {.name = "test.use"}, .arguments = "o", .run = run_use},
    {.kind = {.name = NULL}},
};

static int released_now(lua_State *L) {
  lua_pushinteger(L, atomic_load(&released));
  return 1;
}

static int luaopen_test(lua_State *L) {
  lua_newtable(L);
  neapL_register(L, functions);
  lua_pushcfunction(L, released_now);
  lua_setfield(L, -2, "released");
  return 1;
}

/* The script holds the Task, for its result, and has closed the object. */
TEST(arguments_are_let_go_of_when_run_has_returned) {
  embedding e;
  if (!embed(&e)) return;
  atomic_store(&released, 0);
  neapL_preload(e.L, "test", luaopen_test);
  CHECK(embed_run(&e, PRELUDE "local test = require 'test'\n"
                              "neap.run(function()\n"
                              "  local thing = await(test.thing())\n"
                              "  local task = test.use(thing)\n"
                              "  assert(await(task) == 1)\n"
                              "  thing:close()\n"
                              "  assert(test.released() == 1)\n"
                              "  assert(await(task) == 1)\n"
                              "end)"));
  embed_close(&e);
}

/* ---- The loop runs within itself ------------------------------------------------------------------ */

typedef struct nested {
  embedding *e;
  neap_task *sleep;
  int waits;
  neap_progress progress;
} nested;

static void run_nested(void *data) {
  nested *self = data;
  self->waits = neapL_wait(self->e->L, self->sleep, 0.01);
  self->progress = neapL_poll(self->e->L, 0);
}

static void post_nested(void *data) {
  nested *self = data;
  neap_loop_post(neapL_loop(self->e->L), run_nested, self);
}

/* From this thread: taken from the inbox. From another one: in uv_run, which cannot be entered twice. */
static void check_nested(bool is_from_thread) {
  embedding e;
  uv_thread_t thread;
  if (!embed(&e)) return;
  nested self = {.e = &e, .waits = 1};
  CHECK(neap_sleep(neapL_loop(e.L), 5, &self.sleep) == 0);
  if (is_from_thread)
    CHECK(uv_thread_create(&thread, post_nested, &self) == 0);
  else
    post_nested(&self);
  for (int i = 0; i < 100 && self.waits == 1; i++) neapL_poll(e.L, 0.1);
  if (is_from_thread) uv_thread_join(&thread);
  CHECK(self.waits == NEAP_EMISUSE);
  CHECK(self.progress == NEAP_IDLE);
  neap_task_unref(self.sleep);
  embed_close(&e);
}

TEST(the_loop_is_not_run_from_a_post) {
  check_nested(false);
}

TEST(the_loop_is_not_run_from_a_post_of_a_thread) {
  check_nested(true);
}

static void on_uv_timer(uv_timer_t *timer) {
  run_nested(timer->data);
  uv_close((uv_handle_t *)timer, NULL);
}

TEST(the_loop_is_not_run_from_a_callback_of_libuv) {
  embedding e;
  uv_timer_t timer;
  if (!embed(&e)) return;
  nested self = {.e = &e, .waits = 1};
  CHECK(neap_sleep(neapL_loop(e.L), 5, &self.sleep) == 0);
  uv_timer_init(neap_loop_uv(neapL_loop(e.L)), &timer);
  timer.data = &self;
  uv_timer_start(&timer, on_uv_timer, 1, 0);
  for (int i = 0; i < 100 && self.waits == 1; i++) neapL_poll(e.L, 0.1);
  CHECK(self.waits == NEAP_EMISUSE);
  CHECK(self.progress == NEAP_IDLE);
  neap_task_unref(self.sleep);
  embed_close(&e);
}

/* ---- After the end ---------------------------------------------------------------------------------- */

static void count_end(void *data, neap_task *task) {
  (void)task;
  ++*(int *)data;
}

/* It is called, or refused; and no memory stays. */
TEST(a_callback_for_a_task_whose_loop_is_closed) {
  embedding e;
  int ends = 0;
  if (!embed(&e)) return;
  neap_task *task;
  CHECK(neap_sleep(neapL_loop(e.L), 5, &task) == 0);
  lua_close(e.L);
  CHECK(neap_task_status(task) == NEAP_CANCELLED);
  CHECK(neap_task_on_end(task, count_end, &ends) != 0 || ends == 1);
  neap_task_unref(task);
  CHECK(e.core == 0);
}

/* ---- A post and a cancellation at the same time ------------------------------------------------------- */

static const neap_completion_kind plain_kind = {.name = "test.plain"};

typedef struct race {
  neap_completion *completion;
  uv_barrier_t *barrier;
} race;

static void post_error(void *data) {
  const race *self = data;
  neap_error error = {.code = UV_ENOENT, .message = "the thread has said so"};
  uv_barrier_wait(self->barrier);
  neap_completion_post(self->completion, &error);
}

/* Its outcome is read while it is written: the state says "ended" before the error is there. */
TEST(what_is_posted_while_it_is_cancelled_is_whole) {
  embedding e;
  if (!embed(&e)) return;
  int wrong = 0;
  for (int i = 0; i < 2000; i++) {
    neap_completion *completion;
    neap_task *task;
    uv_thread_t thread;
    uv_barrier_t barrier;
    CHECK(neap_completion_new(neapL_loop(e.L), &plain_kind, &completion, &task) == 0);
    CHECK(uv_barrier_init(&barrier, 2) == 0);
    race self = {completion, &barrier};
    CHECK(uv_thread_create(&thread, post_error, &self) == 0);
    uv_barrier_wait(&barrier);
    neap_task_cancel(task);
    uv_thread_join(&thread);
    while (neap_task_status(task) == NEAP_PENDING) neapL_poll(e.L, 0);
    if (neap_task_status(task) == NEAP_DONE) wrong++; /* nobody has said that */
    uv_barrier_destroy(&barrier);
    neap_completion_unref(completion);
    neap_task_unref(task);
  }
  CHECK(wrong == 0);
  embed_close(&e);
}
