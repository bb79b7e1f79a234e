#include "embed.h"

static const char script[] =
    PRELUDE "game = {}\n"
            "function game.add(a, b) return a + b end\n"
            "game.slow_add = async(function(a, b) await(neap.sleep(0.001)) return a + b end)\n"
            "function many(t) return 1, nil, t.name, {t.list[2]}, function() end end\n"
            "function fail() await(neap.yield()) error('a plain error') end\n"
            "function fail_with_code() error(neap.error('ENOENT', 'no file', {path = '/x'})) end\n"
            "function never() local c <close> = setmetatable({}, {__close = function()\n"
            "  await_cleanup() closed = (closed or 0) + 1 end})\n"
            "  await(neap.completion().task) end\n"
            "function await_cleanup()\n"
            "  neap.shield(function() await(neap.sleep(0.001)) end) end\n"
            "function get_closed() return closed end\n";

static neap_task *call_name(embedding *e, const char *name, const neap_values *arguments) {
  neap_task *task = NULL;
  CHECK(neapL_call(e->L, name, arguments, &task) == 0);
  return task;
}

static neap_values *two_integers(int64_t a, int64_t b) {
  neap_values *values;
  CHECK(neap_values_new(&values) == 0);
  neap_values_add_integer(values, a);
  neap_values_add_integer(values, b);
  return values;
}

static int64_t integer_result(embedding *e, neap_task *task) {
  neap_values *results;
  CHECK(neap_values_new(&results) == 0);
  CHECK(neapL_results(e->L, task, results) == 0);
  CHECK(neap_values_count(results) == 1);
  int64_t result = neap_value_integer(neap_values_at(results, 0));
  neap_values_free(results);
  return result;
}

/* ---- Results -------------------------------------------------------------------------------- */

static void check_add(embedding *e, const char *name) {
  neap_values *arguments = two_integers(2, 3);
  neap_task *task = call_name(e, name, arguments);
  neap_values_free(arguments);
  CHECK(neapL_wait(e->L, task, HUGE_VAL) == 0);
  CHECK(neap_task_status(task) == NEAP_DONE);
  CHECK(integer_result(e, task) == 5);
  CHECK(neapL_push_results(e->L, task) == 1);
  CHECK(lua_tointeger(e->L, -1) == 5);
  lua_pop(e->L, 1);
  neap_task_unref(task);
}

TEST(functions_and_async_functions_are_called_by_name) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, script))) return;
  check_add(&e, "game.add");
  check_add(&e, "game.slow_add");
  CHECK(lua_gettop(e.L) == 0);
  embed_close(&e);
}

TEST(a_function_of_a_module_is_required) {
  embedding e;
  if (!embed(&e)) return;
  CHECK(embed_run(&e, "package.preload['app.users'] = function()\n"
                      "  return {find = function(id) return id + 1 end} end"));
  neap_values *arguments = two_integers(6, 0);
  neap_task *task = call_name(&e, "app.users.find", arguments);
  neap_values_free(arguments);
  CHECK(neapL_wait(e.L, task, HUGE_VAL) == 0);
  CHECK(integer_result(&e, task) == 7);
  neap_task_unref(task);
  embed_close(&e);
}

TEST(results_of_any_kind_come_back) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, script))) return;
  neap_values *arguments = NULL, *results = NULL;
  CHECK(neap_values_new(&arguments) == 0 && neap_values_new(&results) == 0);
  neap_values_open_map(arguments);
  neap_values_add_string(arguments, "name");
  neap_values_add_string(arguments, "neap");
  neap_values_add_string(arguments, "list");
  neap_values_open_array(arguments);
  neap_values_add_number(arguments, 0.5);
  neap_values_add_number(arguments, 1.5);
  neap_values_close(arguments);
  neap_values_close(arguments);
  neap_task *task = call_name(&e, "many", arguments);
  CHECK(neapL_wait(e.L, task, HUGE_VAL) == 0);
  CHECK(neapL_results(e.L, task, results) == 0);
  CHECK(neap_values_count(results) == 5);
  CHECK(neap_value_integer(neap_values_at(results, 0)) == 1);
  CHECK(neap_value_kind_of(neap_values_at(results, 1)) == NEAP_VALUE_NIL);
  CHECK(strcmp(neap_value_bytes(neap_values_at(results, 2), NULL), "neap") == 0);
  CHECK(neap_value_number(neap_value_item(neap_values_at(results, 3), 0)) == 1.5);
  CHECK(neap_value_callback(neap_values_at(results, 4)) != NULL);
  neap_values_free(arguments);
  neap_values_free(results);
  neap_task_unref(task);
  embed_close(&e);
}

/* The function on the stack, with the Lua API. */
TEST(a_function_on_the_stack_is_started) {
  embedding e;
  if (!embed(&e)) return;
  neap_task *task;
  CHECK(luaL_loadstring(e.L, "local a, b = ... return b, a, coroutine.create(print)") == LUA_OK);
  lua_pushinteger(e.L, 1);
  lua_pushinteger(e.L, 2);
  CHECK(neapL_start(e.L, 2, &task) == 0);
  CHECK(lua_gettop(e.L) == 0);
  CHECK(neapL_wait(e.L, task, 1) == 0);
  CHECK(neapL_push_results(e.L, task) == 3);
  CHECK(lua_tointeger(e.L, 1) == 2 && lua_tointeger(e.L, 2) == 1 && lua_isthread(e.L, 3));
  neap_values *results;
  CHECK(neap_values_new(&results) == 0);
  CHECK(neapL_results(e.L, task, results) == NEAP_ETYPE);
  neap_values_free(results);
  neap_task_unref(task);
  embed_close(&e);
}

/* ---- Errors --------------------------------------------------------------------------------- */

static void check_failure(embedding *e, const char *name, int code, const char *code_name,
                          const char *message) {
  neap_task *task = call_name(e, name, NULL);
  CHECK(neapL_wait(e->L, task, HUGE_VAL) == 0);
  const neap_error *error = neap_task_error(task);
  if (CHECK(error != NULL) && CHECK(error->name && error->message)) {
    CHECK(error->code == code);
    CHECK(strcmp(error->name, code_name) == 0);
    CHECK(strstr(error->message, message) != NULL);
    CHECK(error->traceback && strstr(error->traceback, "stack traceback"));
  }
  CHECK(neapL_push_results(e->L, task) == -1);
  neap_task_unref(task);
}

TEST(errors_come_with_code_message_and_traceback) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, script))) return;
  check_failure(&e, "fail", NEAP_ESCRIPT, "ESCRIPT", "a plain error");
  check_failure(&e, "fail_with_code", UV_ENOENT, "ENOENT", "no file");
  check_failure(&e, "nowhere", NEAP_ESCRIPT, "ESCRIPT", "no global function 'nowhere'");
  check_failure(&e, "nowhere.at.all", NEAP_ESCRIPT, "ESCRIPT", "module 'nowhere.at' not found");
  CHECK(e.errors == 0);
  embed_close(&e);
}

TEST(an_error_that_the_host_let_go_of_is_unobserved) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, script))) return;
  neap_task_unref(call_name(&e, "fail", NULL));
  for (int i = 0; i < 5; i++) neapL_poll(e.L, 0);
  CHECK(e.errors == 1);
  CHECK(strstr(e.last_error, "a plain error") && strstr(e.last_error, "traceback"));
  embed_close(&e);
  CHECK(e.errors == 1);
}

TEST(waiting_tells_of_deadlock_and_time) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, script))) return;
  neap_task *task = call_name(&e, "never", NULL);
  CHECK(neapL_wait(e.L, task, HUGE_VAL) == NEAP_EDEADLOCK);
  CHECK(neapL_wait(e.L, task, 0.001) == UV_ETIMEDOUT);
  CHECK(neap_task_status(task) == NEAP_PENDING);
  neap_task_unref(task);
  embed_close(&e);
}

TEST(neap_run_is_refused_in_a_call) {
  embedding e;
  if (!embed(&e)) return;
  CHECK(embed_run(&e, "function main() require('neap').run(function() end) end"));
  neap_task *task = call_name(&e, "main", NULL);
  CHECK(neapL_wait(e.L, task, 5) == 0);
  CHECK(neap_task_status(task) == NEAP_FAILED);
  if (neap_task_error(task)) CHECK(neap_task_error(task)->code == NEAP_EMISUSE);
  neap_task_unref(task);
  embed_close(&e);
}

/* ---- Cancellation --------------------------------------------------------------------------- */

TEST(a_cancelled_call_ends_when_the_function_has_cleaned_up) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, script))) return;
  neap_task *task = call_name(&e, "never", NULL);
  CHECK(neap_task_cancel(task));
  CHECK(!neap_task_cancel(task));
  CHECK(neap_task_status(task) == NEAP_PENDING);
  CHECK(neapL_wait(e.L, task, 5) == 0);
  CHECK(neap_task_status(task) == NEAP_CANCELLED);
  neap_task_unref(task);
  task = call_name(&e, "get_closed", NULL);
  CHECK(neapL_wait(e.L, task, 5) == 0);
  CHECK(integer_result(&e, task) == 1);
  neap_task_unref(task);
  embed_close(&e);
}

/* ---- From a step ---------------------------------------------------------------------------- */

typedef struct stepping {
  embedding *e;
  const char *name;
  int64_t result;
  int cleanups;
  bool is_in_scope;
} stepping;

static neap_step_result step_call(neap_task *self, void *frame) {
  stepping *me = *(stepping **)frame;
  neap_scope *scope;
  neap_task *task = NULL;
  switch (neap_task_place(self)) {
  case 0:
    if (me->is_in_scope) CHECK(neap_scope_enter(self, 0.001, false, &scope) == 0);
    return neap_await(self, neapL_call(me->e->L, me->name, NULL, &task), &task, 1);
  default:
    me->result = neapL_push_results(me->e->L, neap_awaited(self));
    if (me->result >= 0) lua_pop(me->e->L, (int)me->result);
    return NEAP_STEP_END;
  }
}

static neap_step_result clean_up(neap_task *self, void *frame) {
  stepping *me = *(stepping **)frame;
  neap_task *task = NULL;
  if (neap_task_place(self) > 0) return NEAP_STEP_END;
  me->cleanups++;
  return neap_await(self, neap_sleep(neap_task_loop(self), 0.001, &task), &task, 1);
}

static const neap_body call_body = {
    .name = "call", .frame_size = sizeof(stepping *), .step = step_call, .cleanup = clean_up};

static neap_task *start_step(stepping *me) {
  neap_task *task = NULL;
  CHECK(neap_task_start(neapL_loop(me->e->L), &call_body, &me, &task) == 0);
  return task;
}

TEST(a_step_awaits_a_lua_function) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, "function f() return 1, 2, 3 end"))) return;
  stepping me = {.e = &e, .name = "f"};
  neap_task *task = start_step(&me);
  CHECK(neapL_wait(e.L, task, 5) == 0);
  CHECK(neap_task_status(task) == NEAP_DONE);
  CHECK(me.result == 3 && me.cleanups == 1);
  neap_task_unref(task);
  embed_close(&e);
}

TEST(an_error_of_lua_passes_through_a_step) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, script))) return;
  stepping me = {.e = &e, .name = "fail"};
  neap_task *task = start_step(&me);
  CHECK(neapL_wait(e.L, task, 5) == 0);
  const neap_error *error = neap_task_error(task);
  if (CHECK(error != NULL)) {
    CHECK(error->code == NEAP_ESCRIPT && error->traceback != NULL);
    CHECK(strstr(error->message, "a plain error") != NULL);
  }
  CHECK(me.cleanups == 1);
  neap_task_unref(task);
  embed_close(&e);
}

TEST(the_cancellation_of_a_step_reaches_the_lua_function) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, script))) return;
  stepping me = {.e = &e, .name = "never"};
  neap_task *task = start_step(&me);
  CHECK(neap_task_cancel(task));
  CHECK(neapL_wait(e.L, task, 5) == 0);
  CHECK(neap_task_status(task) == NEAP_CANCELLED);
  CHECK(me.cleanups == 1);
  CHECK(embed_run(&e, "assert(closed == 1)"));
  neap_task_unref(task);
  embed_close(&e);
}

TEST(the_time_limit_of_a_step_reaches_the_lua_function) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, script))) return;
  stepping me = {.e = &e, .name = "never", .is_in_scope = true};
  neap_task *task = start_step(&me);
  CHECK(neapL_wait(e.L, task, 5) == 0);
  CHECK(neap_task_status(task) == NEAP_FAILED);
  CHECK(neap_task_error(task)->code == UV_ETIMEDOUT);
  CHECK(embed_run(&e, "assert(closed == 1)"));
  CHECK(e.errors == 0);
  neap_task_unref(task);
  embed_close(&e);
}

/* A Lua task below a step that fails: nobody has it any more. */
TEST(a_failure_below_a_step_is_reported) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, "function f() require('neap').start(error, 'lost') end")))
    return;
  stepping me = {.e = &e, .name = "f", .is_in_scope = true};
  neap_task *task = start_step(&me);
  CHECK(neapL_wait(e.L, task, 5) == 0);
  neap_task_unref(task);
  embed_close(&e);
  CHECK(e.errors == 1);
}

/* ---- A step awaits a Task of Lua --------------------------------------------------------------- */

typedef struct awaiting {
  neap_task *task; /* of Lua; a reference */
} awaiting;

static neap_step_result step_await(neap_task *self, void *frame) {
  awaiting *me = frame;
  if (neap_task_place(self) > 0) return NEAP_STEP_END;
  return neap_await(self, 0, &me->task, 1);
}

static const neap_body await_body = {
    .name = "await", .frame_size = sizeof(awaiting), .step = step_await};

/* The Task is collected when the step has ended with its error. */
static void check_awaited(const char *chunk) {
  embedding e;
  if (!embed(&e)) return;
  CHECK(embed_run(&e, chunk));
  lua_getglobal(e.L, "task");
  neap_task *lua_task = neapL_to_task(e.L, -1), *task = NULL;
  if (!CHECK(lua_task != NULL)) return;
  awaiting init = {neap_task_ref(lua_task)};
  CHECK(neap_task_start(neapL_loop(e.L), &await_body, &init, &task) == 0);
  CHECK(neapL_wait(e.L, task, 5) == 0);
  CHECK(neap_task_status(task) == NEAP_FAILED);
  lua_pop(e.L, 1);
  CHECK(embed_run(&e, "pcall(require('neap').await, task) task:error() task = nil\n"
                      "collectgarbage() collectgarbage()"));
  const neap_error *error = neap_task_error(task);
  CHECK(error && error->code == NEAP_ESCRIPT);
  neap_task_unref(task);
  embed_close(&e);
}

TEST(a_step_fails_with_a_task_of_lua) {
  check_awaited(PRELUDE "task = neap.start(function() await(neap.yield()) error('x') end)");
  check_awaited(PRELUDE "task = neap.failed('x')");
  check_awaited(PRELUDE "local t = neap.start(function() await(neap.yield()) error('x') end)\n"
                        "task = neap.all{neap.sleep(0), t}");
}

/* ---- In a callback -------------------------------------------------------------------------- */

static void on_end(void *data, neap_task *task) {
  stepping *me = data;
  me->result = (int64_t)neap_task_status(task);
  me->cleanups++;
}

TEST(a_callback_is_told_of_the_end) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, script))) return;
  stepping me = {.e = &e};
  neap_task *task = call_name(&e, "fail", NULL);
  CHECK(neap_task_on_end(task, on_end, &me) == 0);
  neap_task_unref(task);
  for (int i = 0; i < 5; i++) neapL_poll(e.L, 0);
  CHECK(me.cleanups == 1 && me.result == NEAP_FAILED);
  task = call_name(&e, "never", NULL);
  CHECK(neap_task_on_end(task, on_end, &me) == 0);
  neap_task_unref(task);
  embed_close(&e);
  CHECK(me.cleanups == 2 && me.result == NEAP_CANCELLED);
}

/* ---- The end -------------------------------------------------------------------------------- */

TEST(calls_outlive_their_lua_state) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, script))) return;
  neap_task *failed = call_name(&e, "fail", NULL);
  CHECK(neapL_wait(e.L, failed, 5) == 0);
  neap_task *done = call_name(&e, "get_closed", NULL);
  CHECK(neapL_wait(e.L, done, 5) == 0);
  neap_task *pending = call_name(&e, "never", NULL);
  lua_close(e.L);
  CHECK(neap_task_status(failed) == NEAP_FAILED && neap_task_error(failed)->traceback);
  CHECK(neap_task_status(done) == NEAP_DONE);
  CHECK(neap_task_status(pending) == NEAP_CANCELLED);
  neap_task_unref(failed);
  neap_task_unref(done);
  neap_task_unref(pending);
  CHECK(e.lua.bytes == 0 && e.core == 0);
}

TEST(nothing_is_called_without_neap) {
  embedding e;
  if (!embed(&e)) return;
  neap_task *task;
  neapL_close(e.L);
  neapL_close(e.L);
  CHECK(neapL_call(e.L, "print", NULL, &task) == NEAP_EMISUSE);
  CHECK(neapL_loop(e.L) == NULL && neapL_fd(e.L) == -1 && neapL_due(e.L) == HUGE_VAL);
  CHECK(neapL_poll(e.L, 0) == NEAP_IDLE);
  CHECK(embed_run(&e, "local ok, err = pcall(require('neap').run, function() end)\n"
                      "assert(not ok and err.code == 'EMISUSE')"));
  embed_close(&e);
}

/* ---- Failing allocations --------------------------------------------------------------------- */

/* The n-th allocation of Lua, or of the core, fails while a function is called and waited for. */
static bool call_with_failure(unsigned long n, bool is_core, bool persist) {
  embedding e;
  if (!embed(&e) || !CHECK(embed_run(&e, script))) return false;
  neap_values *arguments = two_integers(2, 3), *results = NULL;
  CHECK(neap_values_new(&results) == 0);
  neap_task *task = NULL;
  if (is_core)
    neap_loop_fail_allocation(neapL_loop(e.L), n, persist);
  else
    e.lua.fail_at = n;
  e.lua.persist = persist;
  if (!neapL_call(e.L, "game.slow_add", arguments, &task)) {
    neapL_wait(e.L, task, HUGE_VAL);
    if (neap_task_status(task) == NEAP_DONE) neapL_results(e.L, task, results);
    neap_task_unref(task);
  }
  bool has_fired = is_core ? neap_loop_fail_allocation(neapL_loop(e.L), 0, false) : e.lua.fired;
  e.lua.fail_at = 0;
  neap_values_free(arguments);
  neap_values_free(results);
  embed_close(&e);
  return has_fired;
}

TEST(each_allocation_of_a_call_fails) {
  for (int how = 0; how < 4; how++) {
    unsigned long n = 1;
    while (n < 2000 && call_with_failure(n, how & 1, how & 2)) n++;
    CHECK(n > (how & 1 ? 1 : 5) && n < 2000);
  }
}

/* ---- Callbacks with results -------------------------------------------------------------------- */

static neap_callback *kept;

/* keep(fn) */
static int keep(lua_State *L) {
  neap_values *values;
  CHECK(neap_values_new(&values) == 0);
  CHECK(neapL_to_values(L, 1, values) == 0);
  kept = neap_callback_ref(neap_value_callback(neap_values_at(values, 0)));
  neap_values_free(values);
  return 0;
}

TEST(c_awaits_the_results_of_a_callback) {
  embedding e, other;
  if (!embed(&e) || !embed(&other)) return;
  lua_register(e.L, "keep", keep);
  CHECK(embed_run(&e,
                  PRELUDE "keep(async(function(a, b) await(neap.sleep(0.001)) return a * b end))"));
  neap_values *arguments = two_integers(6, 7);
  neap_task *task;
  CHECK(neapL_call_back(other.L, kept, arguments, &task) == NEAP_EMISUSE);
  CHECK(neapL_call_back(e.L, kept, arguments, &task) == 0);
  neap_values_free(arguments);
  CHECK(neapL_wait(e.L, task, 5) == 0);
  CHECK(integer_result(&e, task) == 42);
  neap_task_unref(task);
  neap_callback_unref(kept);
  embed_close(&e);
  embed_close(&other);
}
