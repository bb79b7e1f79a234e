// tsan: threads with a Lua state each, and threads that wake a loop
#include "embed.h"

#include <poll.h>
#include <stdatomic.h>

/* ---- Opening -------------------------------------------------------------------------------- */

TEST(it_opens_once) {
  embedding e;
  if (!embed(&e)) return;
  CHECK(neapL_open(e.L, NULL) == NEAP_EMISUSE);
  CHECK(lua_isstring(e.L, -1));
  lua_pop(e.L, 1);
  CHECK(neapL_loop(e.L) != NULL);
  CHECK(
      embed_run(&e, PRELUDE "assert(neap.run(function() await(neap.sleep(0)) return 7 end) == 7)"));
  embed_close(&e);
}

TEST(its_pool_has_as_many_threads_as_it_was_told) {
  embedding e;
  if (!embed(&e)) return;
  CHECK(embed_run(&e, PRELUDE "assert(neap.worker.size() == 2)"));
  embed_close(&e);
}

TEST(it_opens_without_options) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  CHECK(neapL_open(L, NULL) == 0);
  CHECK(lua_istable(L, -1));
  lua_close(L);
}

TEST(without_the_package_library_it_says_so) {
  lua_State *L = luaL_newstate();
  CHECK(neapL_open(L, NULL) == NEAP_ESCRIPT);
  CHECK(lua_isstring(L, -1));
  lua_close(L);
}

/* Lua collects and tries again where one fails: all that follow fail, too. */
static bool open_with_failure(unsigned long n) {
  heap memory = {.persist = true};
  lua_State *L = lua_newstate(allocate, &memory);
  luaL_openlibs(L);
  memory.fail_at = n;
  int code = neapL_open(L, NULL);
  bool has_fired = memory.fired;
  memory.fail_at = 0;
  CHECK(code == 0 || has_fired);
  /* Half of it is as if it were not there. */
  if (code && !neapL_loop(L)) {
    neap_task *task;
    CHECK(neapL_poll(L, 0) == NEAP_IDLE && neapL_fd(L) == -1);
    CHECK(neapL_call(L, "print", NULL, &task) == NEAP_EMISUSE);
    CHECK(neapL_open(L, NULL) == 0);
    CHECK(neapL_loop(L) != NULL);
  }
  lua_close(L);
  CHECK(memory.bytes == 0);
  return has_fired;
}

#ifdef __SANITIZE_THREAD__
enum { STRIDE = 101 };
#else
enum { STRIDE = 7 };
#endif

TEST(each_allocation_of_opening_fails) {
  unsigned long n = 1;
  while (n < 100000 && open_with_failure(n)) n += STRIDE;
  CHECK(n > 100 && n < 100000);
}

TEST(errors_and_warnings_go_to_the_host) {
  embedding e;
  if (!embed(&e)) return;
  CHECK(embed_run(&e, PRELUDE
                  "pcall(neap.run, function()\n"
                  "  neap.background(error, neap.error('ENOENT', 'lost')) end)\n"
                  "neap.run(function() neap.from_callback(function(cb) cb() cb() end) end)"));
  CHECK(e.errors == 1 && e.warnings == 1);
  CHECK(strcmp(e.last_error, "ENOENT|lost|traceback") == 0);
  embed_close(&e);
}

/* ---- A main loop of the host's --------------------------------------------------------------- */

typedef struct frame_clock {
  neap_clock clock;
  double time;
} frame_clock;

static double frame_time(neap_clock *clock) {
  return ((frame_clock *)clock)->time;
}

TEST(scripts_run_in_the_frames_of_a_game) {
  frame_clock clock = {{frame_time, NULL}, 10};
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  neapL_options options = {.clock = &clock.clock};
  CHECK(neapL_open(L, &options) == 0);
  CHECK(luaL_dostring(L, PRELUDE "log = ''\n"
                                 "neap.start(function()\n"
                                 "  for i = 1, 3 do await(neap.sleep(1)) log = log .. i end\n"
                                 "end)") == LUA_OK);
  CHECK(neapL_due(L) == 1);
  for (int frame = 1; frame <= 14; frame++) {
    clock.time += 0.25;
    CHECK(neapL_poll(L, 0) == (frame < 12 ? NEAP_PROGRESS : NEAP_IDLE));
  }
  CHECK(neapL_due(L) == HUGE_VAL);
  CHECK(luaL_dostring(L, "assert(log == '123', log)") == LUA_OK);
  lua_close(L);
}

TEST(a_task_that_is_ready_is_due_now) {
  embedding e;
  if (!embed(&e)) return;
  CHECK(embed_run(&e, PRELUDE "neap.start(function() await(neap.yield()) done = true end)"));
  CHECK(neapL_due(e.L) == 0);
  neapL_poll(e.L, 0);
  CHECK(embed_run(&e, "assert(done)"));
  CHECK(neapL_due(e.L) == HUGE_VAL);
  embed_close(&e);
}

static atomic_int wakes;

static void on_wake(void *data) {
  atomic_fetch_add((atomic_int *)data, 1);
}

static void on_post(void *data) {
  ++*(int *)data;
}

typedef struct poster {
  neap_inbox *inbox;
  int *count;
} poster;

static void post_once(void *data) {
  poster *self = data;
  neap_inbox_post(self->inbox, on_post, self->count);
}

/* The descriptor is all that it waits on. */
TEST(a_post_wakes_the_host_by_descriptor_and_callback) {
  embedding e;
  if (!embed(&e)) return;
  int count = 0;
  uv_thread_t thread;
  atomic_store(&wakes, 0);
  neap_loop *loop = neapL_loop(e.L);
  neap_loop_set_wake(loop, on_wake, &wakes);
  neapL_poll(e.L, 0);
  poster self = {neap_loop_inbox(loop), &count};
  CHECK(uv_thread_create(&thread, post_once, &self) == 0);
  struct pollfd descriptor = {.fd = neapL_fd(e.L), .events = POLLIN};
  CHECK(poll(&descriptor, 1, 10000) == 1);
  uv_thread_join(&thread);
  CHECK(count == 0 && atomic_load(&wakes) == 1);
  neapL_poll(e.L, 0);
  CHECK(count == 1);
  neap_loop_set_wake(loop, NULL, NULL);
  embed_close(&e);
}

/* Before the loop has ever been run. */
TEST(a_post_wakes_a_host_that_has_not_polled_yet) {
  embedding e;
  if (!embed(&e)) return;
  int count = 0;
  CHECK(neapL_due(e.L) == HUGE_VAL);
  CHECK(neap_loop_post(neapL_loop(e.L), on_post, &count) == 0);
  struct pollfd descriptor = {.fd = neapL_fd(e.L), .events = POLLIN};
  CHECK(poll(&descriptor, 1, 1000) == 1);
  neapL_poll(e.L, 0);
  CHECK(count == 1);
  embed_close(&e);
}

static void post_late(void *data) {
  uv_sleep(20);
  post_once(data);
}

/* What a poll has set an alarm for is over with it. */
TEST(nothing_is_due_after_a_poll_that_ended_early) {
  embedding e;
  if (!embed(&e)) return;
  int count = 0;
  uv_thread_t thread;
  poster self = {neap_loop_inbox(neapL_loop(e.L)), &count};
  neapL_poll(e.L, 0);
  CHECK(uv_thread_create(&thread, post_late, &self) == 0);
  while (count == 0) neapL_poll(e.L, 10);
  uv_thread_join(&thread);
  CHECK(neapL_due(e.L) == HUGE_VAL);
  CHECK(neapL_poll(e.L, 0) == NEAP_IDLE);
  embed_close(&e);
}

typedef struct nested {
  lua_State *L;
  neap_task *task;
  neap_progress progress;
  int code;
} nested;

static void poll_in_post(void *data) {
  nested *self = data;
  self->progress = neapL_poll(self->L, 0);
  self->code = neapL_wait(self->L, self->task, 1);
}

/* Neither by its libuv loop nor by itself: that is running. */
TEST(the_loop_is_not_run_from_a_post) {
  embedding e;
  if (!embed(&e)) return;
  nested self = {e.L, NULL, NEAP_PROGRESS, 0};
  CHECK(neap_sleep(neapL_loop(e.L), 1000, &self.task) == 0);
  for (int i = 0; i < 2; i++) {
    self.progress = NEAP_PROGRESS;
    self.code = 0;
    CHECK(neap_loop_post(neapL_loop(e.L), poll_in_post, &self) == 0);
    if (i == 0)
      neapL_poll(e.L, 0);
    else
      neap_loop_step(neapL_loop(e.L));
    CHECK(self.progress == NEAP_IDLE && self.code == NEAP_EMISUSE);
  }
  neap_task_unref(self.task);
  embed_close(&e);
}

/* Nothing is pending, and it waits all the same. */
TEST(a_poll_waits_for_a_post) {
  embedding e;
  if (!embed(&e)) return;
  int count = 0;
  uv_thread_t thread;
  poster self = {neap_loop_inbox(neapL_loop(e.L)), &count};
  CHECK(uv_thread_create(&thread, post_once, &self) == 0);
  neapL_poll(e.L, 10);
  uv_thread_join(&thread);
  CHECK(count == 1);
  embed_close(&e);
}

static int probe(lua_State *L) {
  neap_task *task = NULL;
  CHECK(neapL_poll(L, 1) == NEAP_IDLE);
  CHECK(neap_sleep(neapL_loop(L), 1, &task) == 0);
  CHECK(neapL_wait(L, task, 1) == NEAP_EMISUSE);
  neap_task_unref(task);
  lua_pushboolean(L, 1);
  lua_setglobal(L, "probed");
  return 0;
}

TEST(the_loop_is_not_run_from_within) {
  embedding e;
  if (!embed(&e)) return;
  lua_register(e.L, "probe", probe);
  CHECK(embed_run(&e, PRELUDE "neap.start(function() await(neap.yield()) probe() end)"));
  neapL_poll(e.L, 0);
  CHECK(embed_run(&e, "assert(probed) probed = nil require('neap').run(probe) assert(probed)"));
  CHECK(embed_run(&e, PRELUDE "local ok, err\n"
                              "neap.start(function() await(neap.yield())\n"
                              "  ok, err = pcall(neap.run, function() end) end)\n"
                              "function result() assert(not ok and err.code == 'EMISUSE') end"));
  neapL_poll(e.L, 0);
  CHECK(embed_run(&e, "result()"));
  embed_close(&e);
}

/* ---- The host's libuv loop ------------------------------------------------------------------- */

static const char sleeper[] = PRELUDE "neap.start(function()\n"
                                      "  for i = 1, 3 do await(neap.sleep(0.001)) end\n"
                                      "  local text = await(neap.fs.read_file('/etc/passwd'))\n"
                                      "  done = #text > 0\n"
                                      "end)";

TEST(tasks_run_while_the_host_runs_its_loop) {
  uv_loop_t uv;
  embedding e;
  CHECK(uv_loop_init(&uv) == 0);
  if (!embed_on(&e, &uv)) return;
  CHECK(embed_run(&e, sleeper));
  CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
  CHECK(embed_run(&e, "assert(done)"));
  lua_close(e.L);
  CHECK(e.core > 0); /* until libuv has closed its handles */
  CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
  CHECK(uv_loop_close(&uv) == 0);
  CHECK(e.lua.bytes == 0 && e.core == 0);
}

TEST(two_states_share_a_loop) {
  uv_loop_t uv;
  embedding a, b;
  CHECK(uv_loop_init(&uv) == 0);
  if (!embed_on(&a, &uv) || !embed_on(&b, &uv)) return;
  CHECK(embed_run(&a, sleeper) && embed_run(&b, sleeper));
  CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
  CHECK(embed_run(&a, "assert(done)") && embed_run(&b, "assert(done)"));
  CHECK(embed_run(&b, sleeper));
  lua_close(a.L);
  CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
  CHECK(embed_run(&b, "assert(done)"));
  lua_close(b.L);
  CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
  CHECK(uv_loop_close(&uv) == 0);
  CHECK(a.lua.bytes == 0 && a.core == 0 && b.lua.bytes == 0 && b.core == 0);
}

TEST(a_script_may_run_the_loop_of_the_host) {
  uv_loop_t uv;
  embedding e;
  CHECK(uv_loop_init(&uv) == 0);
  if (!embed_on(&e, &uv)) return;
  CHECK(embed_run(&e, PRELUDE
                  "assert(neap.run(function() await(neap.sleep(0.001)) return 3 end) == 3)"));
  lua_close(e.L);
  CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
  CHECK(uv_loop_close(&uv) == 0);
}

typedef struct closing {
  embedding *e;
  int closed_before; /* posts that came behind, and before it was closed */
  bool is_closed;
} closing;

static void close_in_post(void *data) {
  closing *self = data;
  lua_close(self->e->L);
  self->is_closed = true;
}

static void count_before(void *data) {
  closing *self = data;
  if (!self->is_closed) self->closed_before++;
}

/* A host that ends when it is told to, by a post. */
TEST(a_post_may_close_it) {
  uv_loop_t uv;
  embedding e;
  CHECK(uv_loop_init(&uv) == 0);
  if (!embed_on(&e, &uv)) return;
  closing self = {&e, 0, false};
  neap_values *values;
  CHECK(neap_values_new(&values) == 0);
  CHECK(luaL_loadstring(e.L, "called = true") == LUA_OK);
  CHECK(neapL_to_values(e.L, -1, values) == 0);
  neap_callback *callback = neap_value_callback(neap_values_at(values, 0));
  neap_loop *loop = neapL_loop(e.L);
  neap_loop_hold(loop);
  CHECK(neap_loop_post(loop, close_in_post, &self) == 0);
  CHECK(neap_callback_call(callback, NULL) == 0);
  CHECK(neap_loop_post(loop, count_before, &self) == 0);
  neap_values_free(values);
  CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
  CHECK(uv_loop_close(&uv) == 0);
  CHECK(self.is_closed && self.closed_before == 1);
  CHECK(e.lua.bytes == 0 && e.core == 0);
}

static const char busy[] = PRELUDE
    "neap.start(function()\n"
    "  local list = {}\n"
    "  for i = 1, 5 do list[i] = neap.start(function() await(neap.sleep(0)) return i, {} end) end\n"
    "  await(neap.all(list))\n"
    "  error('the end')\n"
    "end)";

static int close_other(lua_State *L) {
  embedding *other = lua_touserdata(L, lua_upvalueindex(1));
  if (other->L) lua_close(other->L);
  other->L = NULL;
  return 0;
}

/* With both in the middle of their work. */
TEST(a_state_closes_another_one_on_the_same_loop) {
  for (int i = 0; i < 4; i++) {
    uv_loop_t uv;
    embedding a, b;
    CHECK(uv_loop_init(&uv) == 0);
    if (!embed_on(&a, &uv) || !embed_on(&b, &uv)) return;
    embedding *closer = i % 2 ? &a : &b, *other = i % 2 ? &b : &a;
    lua_pushlightuserdata(closer->L, other);
    lua_pushcclosure(closer->L, close_other, 1);
    lua_setglobal(closer->L, "close_other");
    CHECK(embed_run(other, sleeper) && embed_run(other, busy));
    CHECK(embed_run(closer, sleeper));
    CHECK(embed_run(closer,
                    i / 2 ? PRELUDE "neap.start(function() await(neap.yield()) close_other() end)"
                          : PRELUDE
                        "neap.start(function() await(neap.sleep(0.002)) close_other() end)"));
    CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
    CHECK(other->L == NULL);
    CHECK(embed_run(closer, "assert(done)"));
    lua_close(closer->L);
    CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
    CHECK(uv_loop_close(&uv) == 0);
    CHECK(a.lua.bytes == 0 && a.core == 0 && b.lua.bytes == 0 && b.core == 0);
  }
}

/* The loop is closed first: neap has to be before that. */
TEST(neap_closes_before_the_loop_and_lua_after_it) {
  uv_loop_t uv;
  embedding e;
  CHECK(uv_loop_init(&uv) == 0);
  if (!embed_on(&e, &uv)) return;
  CHECK(embed_run(&e, sleeper));
  CHECK(uv_loop_close(&uv) == UV_EBUSY);
  neapL_close(e.L);
  CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
  CHECK(uv_loop_close(&uv) == 0);
  CHECK(embed_run(&e, "assert(not done)"));
  embed_close(&e);
}

TEST(a_loop_that_is_never_run_closes) {
  uv_loop_t uv;
  embedding e;
  CHECK(uv_loop_init(&uv) == 0);
  if (!embed_on(&e, &uv)) return;
  CHECK(embed_run(&e, sleeper));
  embedding own;
  if (!embed(&own)) return;
  CHECK(embed_run(&own, sleeper));
  embed_close(&own);
  lua_close(e.L);
  CHECK(uv_run(&uv, UV_RUN_DEFAULT) == 0);
  CHECK(uv_loop_close(&uv) == 0);
  CHECK(e.lua.bytes == 0 && e.core == 0);
}

/* ---- Memory fails in a turn ------------------------------------------------------------------- */

static bool turn_with_failure(unsigned long n, bool is_own, bool persist) {
  uv_loop_t uv;
  embedding e;
  CHECK(uv_loop_init(&uv) == 0);
  if (!embed_on(&e, is_own ? NULL : &uv) || !CHECK(embed_run(&e, busy))) return false;
  e.lua.fail_at = n;
  e.lua.persist = persist;
  for (int i = 0; i < 20; i++) {
    if (is_own)
      neapL_poll(e.L, 0.001);
    else
      uv_run(&uv, UV_RUN_NOWAIT);
  }
  bool has_fired = e.lua.fired;
  e.lua.fail_at = 0;
  lua_close(e.L);
  uv_run(&uv, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&uv) == 0);
  CHECK(e.lua.bytes == 0 && e.core == 0);
  return has_fired;
}

TEST(each_allocation_of_a_turn_fails) {
  for (int how = 0; how < 4; how++) {
    unsigned long n = 1;
    while (n < 2000 && turn_with_failure(n, how & 1, how & 2)) n++;
    CHECK(n > 10 && n < 2000);
  }
}

/* The n-th allocation of Lua and all that follow fail while it is closed, with work pending. */
static bool close_with_failure(unsigned long n) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, busy))) return false;
  CHECK(embed_run(&e, PRELUDE "local function wait()\n"
                              "  local c <close> = setmetatable({}, {__close = function(o)\n"
                              "    o.x = {} error({'closing'}) end})\n"
                              "  neap.scope(function() await(neap.completion().task) end)\n"
                              "end\n"
                              "for i = 1, 3 do neap.start(wait) end\n"
                              "lost = neap.failed({'lost'})"));
  neap_task *task = NULL;
  CHECK(embed_run(&e,
                  "function never() require('neap').await(require('neap').completion().task) end"));
  CHECK(neapL_call(e.L, "never", NULL, &task) == 0);
  e.lua.fail_at = n;
  e.lua.persist = true;
  neapL_close(e.L);
  CHECK(neapL_loop(e.L) == NULL);
  bool has_fired = e.lua.fired;
  e.lua.fail_at = 0;
  CHECK(neap_task_status(task) == NEAP_CANCELLED);
  neap_task_unref(task);
  embed_close(&e);
  return has_fired;
}

TEST(each_allocation_of_closing_fails) {
  unsigned long n = 1;
  while (n < 2000 && close_with_failure(n)) n++;
  CHECK(n > 1 && n < 2000);
}

/* ---- Threads ---------------------------------------------------------------------------------- */

typedef struct host_thread {
  uv_thread_t thread;
  bool holds;
} host_thread;

static void run_host(void *data) {
  host_thread *self = data;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  self->holds = neapL_open(L, NULL) == 0 && luaL_dostring(L, sleeper) == LUA_OK;
  while (neapL_poll(L, 0.1) == NEAP_PROGRESS) continue;
  self->holds = self->holds && luaL_dostring(L, "assert(done)") == LUA_OK;
  lua_close(L);
}

TEST(states_on_threads_never_meet) {
  host_thread threads[4] = {0};
  for (int i = 0; i < 4; i++)
    CHECK(uv_thread_create(&threads[i].thread, run_host, &threads[i]) == 0);
  for (int i = 0; i < 4; i++) uv_thread_join(&threads[i].thread);
  for (int i = 0; i < 4; i++) CHECK(threads[i].holds);
}

/* ---- Tasks of C in Lua ------------------------------------------------------------------------ */

/* sleep(seconds) -> Task, of the core's */
static int native_sleep(lua_State *L) {
  neap_task *task;
  if (neap_sleep(neapL_loop(L), luaL_checknumber(L, 1), &task)) return luaL_error(L, "no memory");
  neapL_push_task(L, task);
  return 1;
}

static int push_pair(lua_State *L, neap_task *task) {
  lua_pushinteger(L, (lua_Integer)neap_task_status(task));
  lua_newtable(L);
  return 2;
}

/* sleep_with() -> Task of a status and a table */
static int native_sleep_with(lua_State *L) {
  neap_task *task;
  if (neap_sleep(neapL_loop(L), 0, &task)) return luaL_error(L, "no memory");
  neapL_push_task_with(L, task, push_pair);
  return 1;
}

static neap_step_result step_fail(neap_task *self, void *frame) {
  neap_task *task;
  (void)frame;
  if (neap_task_place(self) == 0)
    return neap_await(self, neap_sleep(neap_task_loop(self), 0.001, &task), &task, 1);
  neap_values_add_integer(neap_task_results(self), 5);
  neap_task_fail(self, &(neap_error){.code = UV_EIO, .path = "/somewhere"});
  return NEAP_STEP_END;
}

static const neap_body fail_body = {.name = "fail", .step = step_fail};

static int native_step(lua_State *L) {
  neap_task *task;
  if (neap_task_start(neapL_loop(L), &fail_body, NULL, &task)) return luaL_error(L, "no memory");
  neapL_push_task(L, task);
  return 1;
}

static int is_task(lua_State *L) {
  lua_pushboolean(L, neapL_to_task(L, 1) != NULL);
  return 1;
}

static neap_step_result step_give(neap_task *self, void *frame) {
  neap_task *task;
  if (neap_task_place(self) == 0)
    return neap_await(self, neap_sleep(neap_task_loop(self), 0.001, &task), &task, 1);
  if (*(int *)frame) return neap_task_fail(self, &(neap_error){.code = UV_EIO}), NEAP_STEP_END;
  neap_values_add_integer(neap_task_results(self), 5);
  return NEAP_STEP_END;
}

static const neap_body give_body = {.name = "give", .frame_size = sizeof(int), .step = step_give};

static neap_task *shared;

/* get() -> the Task of what C has one of */
static int get_shared(lua_State *L) {
  neapL_push_task(L, neap_task_ref(shared));
  return 1;
}

/* What C loads once and gives to all who ask for it. */
TEST(a_task_of_c_is_pushed_more_than_once) {
  for (int fails = 0; fails < 2; fails++) {
    embedding e;
    if (!embed(&e)) return;
    lua_register(e.L, "get", get_shared);
    CHECK(neap_task_start(neapL_loop(e.L), &give_body, &fails, &shared) == 0);
    lua_pushboolean(e.L, fails);
    lua_setglobal(e.L, "fails");
    CHECK(embed_run(&e, PRELUDE "local function check()\n"
                                "  local ok, x = pcall(await, get())\n"
                                "  if fails then assert(not ok and x.code == 'EIO', tostring(x))\n"
                                "  else assert(ok and x == 5, tostring(x)) end\n"
                                "end\n"
                                "neap.run(function()\n"
                                "  local a, b = get(), get()\n"
                                "  assert(a == b)\n"
                                "  check() check()\n"
                                "  a, b = nil, nil\n"
                                "  collectgarbage() collectgarbage()\n"
                                "  check() check()\n"
                                "  for i = 1, 100 do neap.start(check) collectgarbage('step') end\n"
                                "end)"));
    neap_task_unref(shared);
    embed_close(&e);
  }
}

TEST(the_reason_of_a_cancellation_comes_with_it) {
  embedding e;
  if (!embed(&e)) return;
  lua_register(e.L, "step", native_step);
  CHECK(embed_run(&e, PRELUDE
                  "neap.run(function()\n"
                  "  local s = step()\n"
                  "  assert(s:cancel('enough'))\n"
                  "  local _, err = pcall(await, s)\n"
                  "  assert(err.code == 'ECANCELLED' and err.reason == 'enough', tostring(err))\n"
                  "end)"));
  embed_close(&e);
}

/* It has the reason, which is Lua's. */
TEST(a_cancelled_task_of_c_outlives_its_lua_state) {
  embedding e;
  if (!embed(&e)) return;
  lua_register(e.L, "get", get_shared);
  neap_task *task;
  CHECK(neap_task_start(neapL_loop(e.L), &fail_body, NULL, &shared) == 0);
  task = shared;
  CHECK(embed_run(&e, "assert(get():cancel({}))"));
  lua_close(e.L);
  CHECK(neap_task_status(task) == NEAP_CANCELLED);
  neap_task_unref(task);
  CHECK(e.lua.bytes == 0 && e.core == 0);
}

static neap_step_result step_long(neap_task *self, void *frame) {
  neap_task *task;
  (void)frame;
  if (neap_task_place(self) > 0) return NEAP_STEP_END;
  return neap_await(self, neap_sleep(neap_task_loop(self), 50, &task), &task, 1);
}

static const neap_body long_body = {.name = "long", .step = step_long};

static int native_long(lua_State *L) {
  neap_task *task;
  if (neap_task_start(neapL_loop(L), &long_body, NULL, &task)) return luaL_error(L, "no memory");
  neapL_push_task(L, task);
  return 1;
}

/* A task of C that nobody joins ends with the run, as one of Lua does. */
TEST(a_background_task_of_c_is_cancelled_with_the_run) {
  embedding e;
  if (!embed(&e)) return;
  lua_register(e.L, "long", native_long);
  uint64_t begin = uv_hrtime();
  CHECK(embed_run(&e, PRELUDE "neap.run({grace = 60}, function()\n"
                              "  neap.background(function() task = long() end)\n"
                              "end)\n"
                              "assert(task:status() == 'cancelled', task:status())"));
  CHECK(uv_hrtime() - begin < 20 * (uint64_t)1000000000);
  embed_close(&e);
}

TEST(scripts_await_tasks_of_c) {
  embedding e;
  if (!embed(&e)) return;
  lua_register(e.L, "sleep", native_sleep);
  lua_register(e.L, "sleep_with", native_sleep_with);
  lua_register(e.L, "step", native_step);
  lua_register(e.L, "is_task", is_task);
  CHECK(embed_run(&e, PRELUDE
                  "neap.run(function()\n"
                  "  assert(select('#', await(sleep(0.001))) == 0)\n"
                  "  local status, t = await(sleep_with())\n"
                  "  assert(status == 1 and type(t) == 'table')\n"
                  "  local task = step()\n"
                  "  local ok, err = pcall(await, task)\n"
                  "  assert(not ok and err.code == 'EIO' and err.path == '/somewhere')\n"
                  "  assert(is_task(task) and not is_task({}) and is_task(neap.start(print)))\n"
                  "  local ok, why = neap.try_for(0.001, function() await(sleep(1)) end)\n"
                  "  assert(not ok and why == 'timeout')\n"
                  "  local s = step() s:cancel()\n"
                  "  assert(select(2, pcall(await, s)).code == 'ECANCELLED')\n"
                  "end)"));
  CHECK(embed_run(&e, "kept = sleep(10) step()"));
  embed_close(&e);
}

/* ---- The loop runs within itself ------------------------------------------------------------------ */

typedef struct inner_run {
  embedding *e;
  neap_task *sleep;
  int waits;
  neap_progress progress;
} inner_run;

static void run_inner_run(void *data) {
  inner_run *self = data;
  self->waits = neapL_wait(self->e->L, self->sleep, 0.01);
  self->progress = neapL_poll(self->e->L, 0);
}

static void post_inner_run(void *data) {
  inner_run *self = data;
  neap_loop_post(neapL_loop(self->e->L), run_inner_run, self);
}

/* In uv_run, which cannot be entered twice. */
TEST(the_loop_is_not_run_from_a_post_of_a_thread) {
  embedding e;
  uv_thread_t thread;
  if (!embed(&e)) return;
  inner_run self = {.e = &e, .waits = 1};
  CHECK(neap_sleep(neapL_loop(e.L), 5, &self.sleep) == 0);
  CHECK(uv_thread_create(&thread, post_inner_run, &self) == 0);
  for (int i = 0; i < 100 && self.waits == 1; i++) neapL_poll(e.L, 0.1);
  uv_thread_join(&thread);
  CHECK(self.waits == NEAP_EMISUSE);
  CHECK(self.progress == NEAP_IDLE);
  neap_task_unref(self.sleep);
  embed_close(&e);
}

static void on_uv_timer(uv_timer_t *timer) {
  run_inner_run(timer->data);
  uv_close((uv_handle_t *)timer, NULL);
}

TEST(the_loop_is_not_run_from_a_callback_of_libuv) {
  embedding e;
  uv_timer_t timer;
  if (!embed(&e)) return;
  inner_run self = {.e = &e, .waits = 1};
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

TEST(a_callback_for_a_task_whose_loop_is_closed) {
  embedding e;
  int ends = 0;
  if (!embed(&e)) return;
  neap_task *task;
  CHECK(neap_sleep(neapL_loop(e.L), 5, &task) == 0);
  lua_close(e.L);
  CHECK(neap_task_status(task) == NEAP_CANCELLED);
  CHECK(neap_task_on_end(task, count_end, &ends) == NEAP_ECLOSED && ends == 0);
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

#ifdef __SANITIZE_THREAD__
enum { RACES = 200 };
#else
enum { RACES = 2000 };
#endif

/* Its outcome is not read before it is written. */
TEST(what_is_posted_while_it_is_cancelled_is_whole) {
  embedding e;
  if (!embed(&e)) return;
  int wrong = 0;
  for (int i = 0; i < RACES; i++) {
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
