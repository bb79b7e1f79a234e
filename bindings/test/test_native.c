// tsan: native functions that are completed by threads, and run on them
#include "embed.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- Functions under test -------------------------------------------------------------------- */

/* add(a, b) -> a + b, on the spot */
static int start_add(neap_completion *call, void *frame, const neap_values *arguments) {
  (void)frame;
  int64_t sum = neap_value_integer(neap_values_at(arguments, 0)) +
                neap_value_integer(neap_values_at(arguments, 1));
  neap_values_add_integer(neap_completion_values(call), sum);
  return neap_completion_end(call, NULL);
}

static void copy_value(neap_values *to, const neap_value *value);

static void copy_items(neap_values *to, const neap_value *value, bool is_map) {
  for (size_t i = 0; i < neap_value_count(value); i++) {
    if (is_map) copy_value(to, neap_value_key(value, i));
    copy_value(to, neap_value_item(value, i));
  }
  neap_values_close(to);
}

static void copy_value(neap_values *to, const neap_value *value) {
  size_t size;
  const char *bytes;
  switch (neap_value_kind_of(value)) {
  case NEAP_VALUE_BOOLEAN: neap_values_add_boolean(to, neap_value_boolean(value)); break;
  case NEAP_VALUE_INTEGER: neap_values_add_integer(to, neap_value_integer(value)); break;
  case NEAP_VALUE_NUMBER: neap_values_add_number(to, neap_value_number(value)); break;
  case NEAP_VALUE_BYTES:
    bytes = neap_value_bytes(value, &size);
    neap_values_add_bytes(to, bytes, size);
    break;
  case NEAP_VALUE_BUFFER: neap_values_add_buffer(to, neap_value_buffer(value)); break;
  case NEAP_VALUE_POINTER: neap_values_add_pointer(to, neap_value_pointer(value)); break;
  case NEAP_VALUE_CALLBACK: neap_values_add_callback(to, neap_value_callback(value)); break;
  case NEAP_VALUE_ARRAY:
    neap_values_open_array(to);
    copy_items(to, value, false);
    break;
  case NEAP_VALUE_MAP:
    neap_values_open_map(to);
    copy_items(to, value, true);
    break;
  default: neap_values_add_nil(to); break;
  }
}

/* echo(...) -> ... */
static int start_echo(neap_completion *call, void *frame, const neap_values *arguments) {
  (void)frame;
  for (size_t i = 0; i < neap_values_count(arguments); i++)
    copy_value(neap_completion_values(call), neap_values_at(arguments, i));
  return neap_completion_end(call, NULL);
}

/* fail(how) */
static int start_fail(neap_completion *call, void *frame, const neap_values *arguments) {
  (void)frame;
  switch (neap_value_integer(neap_values_at(arguments, 0))) {
  case 1: return UV_ENOENT;
  case 2:
    return neap_completion_end(
        call, &(neap_error){.code = -9000, .name = "EMYLIB", .message = "it is broken"});
  case 3: return 0; /* neither kept nor completed */
  default:
    neap_completion_end(call, NULL);
    return neap_completion_end(call, NULL); /* twice: refused */
  }
}

/* ---- Completed by a thread -------------------------------------------------------------------- */

typedef struct slow {
  neap_completion *call;
  uv_thread_t thread;
  int *released;
} slow;

static atomic_int releases;

static void complete_slowly(void *data) {
  neap_completion *call = data;
  neap_values_add_string(neap_completion_values(call), "from a thread");
  neap_completion_post(call, NULL);
  neap_completion_unref(call);
}

/* later() -> "from a thread" */
static int start_later(neap_completion *call, void *frame, const neap_values *arguments) {
  slow *self = frame;
  (void)arguments;
  return uv_thread_create(&self->thread, complete_slowly, neap_completion_ref(call));
}

/* The thread itself may be the last one to let go. */
static void release_later(void *frame) {
  slow *self = frame;
  uv_thread_t current = uv_thread_self();
  atomic_fetch_add(&releases, 1);
  if (uv_thread_equal(&current, &self->thread))
    pthread_detach(current);
  else
    uv_thread_join(&self->thread);
}

/* ---- Never, until it is cancelled -------------------------------------------------------------- */

static int cancels;

static int start_never(neap_completion *call, void *frame, const neap_values *arguments) {
  (void)arguments;
  *(neap_completion **)frame = neap_completion_ref(call);
  return 0;
}

static void cancel_never(neap_completion *call, void *frame) {
  (void)call;
  cancels++;
  neap_completion *kept = *(neap_completion **)frame;
  *(neap_completion **)frame = NULL;
  CHECK(neap_completion_is_cancelled(kept));
  CHECK(neap_completion_values(kept) == NULL);
  CHECK(neap_completion_end(kept, NULL) == UV_ECANCELED);
  neap_completion_unref(kept);
}

static void release_never(void *frame) {
  (void)frame;
  atomic_fetch_add(&releases, 1);
}

/* ---- What runs scripts before it returns --------------------------------------------------------- */

static neap_completion *kept;

/* meanwhile(f, ends) -> "on the spot": calls f, and keeps a reference */
static int start_meanwhile(neap_completion *call, void *frame, const neap_values *arguments) {
  neap_callback *callback = neap_value_callback(neap_values_at(arguments, 0));
  neap_task *task = NULL;
  lua_State *L = *(lua_State **)neap_value_pointer(neap_values_at(arguments, 2));
  neap_values *values;
  (void)frame;
  CHECK(neap_values_new(&values) == 0);
  neap_values_add_callback(values, callback);
  CHECK(neapL_call(L, "call", values, &task) == 0);
  neap_values_free(values);
  neap_task_unref(task);
  kept = neap_completion_ref(call);
  if (!neap_value_boolean(neap_values_at(arguments, 1))) return 0;
  neap_values_add_string(neap_completion_values(call), "on the spot");
  return neap_completion_end(call, NULL);
}

static void cancel_meanwhile(neap_completion *call, void *frame) {
  (void)call, (void)frame;
  cancels++;
}

/* ---- On a thread of the pool -------------------------------------------------------------------- */

static int run_sum(neap_work *work, void *frame, const neap_values *arguments,
                   neap_values *results) {
  const neap_value *list = neap_values_at(arguments, 0);
  int64_t sum = 0;
  (void)frame;
  for (size_t i = 0; i < neap_value_count(list); i++)
    sum += neap_value_integer(neap_value_item(list, i));
  if (sum < 0) {
    neap_work_fail(work, &(neap_error){.code = UV_EINVAL, .message = "a negative sum"});
    return UV_EINVAL;
  }
  neap_values_add_integer(results, sum);
  return 0;
}

/* progress(n, report) -> n: calls report(i, n) on its thread */
static int run_progress(neap_work *work, void *frame, const neap_values *arguments,
                        neap_values *results) {
  int64_t n = neap_value_integer(neap_values_at(arguments, 0));
  neap_callback *report = neap_value_callback(neap_values_at(arguments, 1));
  (void)work, (void)frame;
  for (int64_t i = 1; i <= n; i++) {
    neap_values *values;
    if (neap_values_new(&values)) return UV_ENOMEM;
    neap_values_add_integer(values, i);
    neap_values_add_integer(values, n);
    int code = neap_callback_call(report, values);
    if (code) return code;
  }
  neap_values_add_integer(results, n);
  return 0;
}

/* busy(report) -> nil: goes on after its end, for nobody */
static int run_busy(neap_work *work, void *frame, const neap_values *arguments,
                    neap_values *results) {
  neap_callback *report = neap_callback_ref(neap_value_callback(neap_values_at(arguments, 0)));
  (void)work, (void)frame, (void)results;
  for (int i = 0; i < 20; i++) {
    neap_values *values = NULL;
    if (neap_values_new(&values)) break;
    neap_values_add_callback(values, report);
    neap_values_add_string(values, "still there");
    neap_callback_call(report, values);
    uv_sleep(1);
  }
  neap_callback_unref(report);
  return 0;
}

/* ---- Objects ------------------------------------------------------------------------------------ */

static atomic_int counters_released;

static void release_counter(void *object) {
  atomic_fetch_add(&counters_released, 1);
  free(object);
}

static const neap_class counter_class = {"test.Counter", release_counter};

static int start_new_counter(neap_completion *call, void *frame, const neap_values *arguments) {
  int64_t *counter = malloc(sizeof *counter);
  (void)frame;
  *counter = neap_value_integer(neap_values_at(arguments, 0));
  neap_values_add_object(neap_completion_values(call), &counter_class, counter);
  return neap_completion_end(call, NULL);
}

static int run_add_to(neap_work *work, void *frame, const neap_values *arguments,
                      neap_values *results) {
  int64_t *counter = neap_value_object(neap_values_at(arguments, 0), &counter_class);
  (void)work, (void)frame;
  if (!counter) return UV_EINVAL;
  *counter += neap_value_integer(neap_values_at(arguments, 1));
  neap_values_add_integer(results, *counter);
  return 0;
}

static const neapL_function methods[] = {
    {.kind = {.name = "test.Counter:add"}, .arguments = "oi", .run = run_add_to},
    {.kind = {.name = NULL}},
};

/* use(counter) -> 1 */
static int run_use(neap_work *work, void *frame, const neap_values *arguments,
                   neap_values *results) {
  (void)work, (void)frame, (void)arguments;
  neap_values_add_integer(results, 1);
  return 0;
}

static int counters_released_now(lua_State *L) {
  lua_pushinteger(L, atomic_load(&counters_released));
  return 1;
}

/* peek(counter) -> its count, by the Lua API */
static int peek(lua_State *L) {
  lua_pushinteger(L, *(int64_t *)neapL_check_object(L, 1, &counter_class));
  return 1;
}

/* make(n) -> counter, at once */
static int make_counter(lua_State *L) {
  int64_t *counter = malloc(sizeof *counter);
  *counter = luaL_checkinteger(L, 1);
  neapL_push_object(L, &counter_class, counter);
  return 1;
}

static const neap_class other_class = {"test.Other", NULL};

static int make_other(lua_State *L) {
  neapL_push_object(L, &other_class, NULL);
  return 1;
}

static int start_open(neap_completion *call, void *frame, const neap_values *arguments) {
  (void)frame;
  neap_values_add_string(neap_completion_values(call),
                         neap_value_bytes(neap_values_at(arguments, 0), NULL));
  return neap_completion_end(call, NULL);
}

/* own_error() fails with a name, and no number */
static int run_own_error(neap_work *work, void *frame, const neap_values *arguments,
                         neap_values *results) {
  char message[] = "of the frame";
  (void)frame, (void)arguments, (void)results;
  neap_work_fail(work, &(neap_error){.name = "EMYLIB", .message = message});
  message[0] = '?';
  return NEAP_EOTHER;
}

/* ---- Interrupted ---------------------------------------------------------------------------------- */

typedef struct flag {
  atomic_bool is_set;
} flag;

static const neap_class flag_class = {"test.Flag", free};

static int make_flag(lua_State *L) {
  flag *self = calloc(1, sizeof *self);
  neapL_push_object(L, &flag_class, self);
  return 1;
}

static int run_until_set(neap_work *work, void *frame, const neap_values *arguments,
                         neap_values *results) {
  flag *self = neap_value_object(neap_values_at(arguments, 0), &flag_class);
  (void)work, (void)frame, (void)results;
  while (!atomic_load(&self->is_set)) uv_sleep(1);
  return UV_ECANCELED;
}

static void set_flag(void *frame, const neap_values *arguments) {
  flag *self = neap_value_object(neap_values_at(arguments, 0), &flag_class);
  (void)frame;
  atomic_store(&self->is_set, true);
}

static const neapL_function functions[] = {
    {.kind = {.name = "test.use"}, .arguments = "o", .run = run_use},
    {.kind = {.name = "test.open"}, .arguments = "z", .start = start_open},
    {.kind = {.name = "test.own_error"}, .run = run_own_error},
    {.kind = {.name = "test.until_set"},
     .arguments = "o",
     .run = run_until_set,
     .interrupt = set_flag},
    {.kind = {.name = "test.add"}, .arguments = "ii", .start = start_add},
    {.kind = {.name = "test.echo"}, .start = start_echo},
    {.kind = {.name = "test.fail"}, .arguments = "i", .start = start_fail},
    {.kind = {.name = "test.later", .frame_size = sizeof(slow), .release = release_later},
     .start = start_later},
    {.kind = {.name = "test.never",
              .frame_size = sizeof(neap_completion *),
              .cancel = cancel_never,
              .release = release_never},
     .start = start_never},
    {.kind = {.name = "test.meanwhile", .cancel = cancel_meanwhile},
     .arguments = "fbp",
     .start = start_meanwhile},
    {.kind = {.name = "test.busy", .release = release_never},
     .arguments = "f",
     .run = run_busy,
     .is_abandonable = true},
    {.kind = {.name = "test.sum"}, .arguments = "a", .run = run_sum},
    {.kind = {.name = "test.progress"}, .arguments = "if", .run = run_progress},
    {.kind = {.name = "test.counter"}, .arguments = "i?", .start = start_new_counter},
    {.kind = {.name = NULL}},
};

static int luaopen_test(lua_State *L) {
  lua_newtable(L);
  neapL_register(L, functions);
  neapL_register_class(L, &counter_class, methods);
  static const luaL_Reg plain[] = {{"released", counters_released_now},
                                   {"peek", peek},
                                   {"make", make_counter},
                                   {"other", make_other},
                                   {"flag", make_flag},
                                   {NULL, NULL}};
  luaL_setfuncs(L, plain, 0);
  return 1;
}

static void check_native(const char *script) {
  embedding e;
  if (!embed(&e)) return;
  neapL_preload(e.L, "test", luaopen_test);
  CHECK(embed_run(&e, script));
  embed_close(&e);
}

#define NATIVE PRELUDE "local test = require 'test'\n"

/* ---- Values ------------------------------------------------------------------------------------- */

TEST(a_function_that_ends_on_the_spot) {
  check_native(NATIVE "neap.run(function()\n"
                      "  local t = test.add(2, 3)\n"
                      "  assert(t:is_done() and await(t) == 5)\n"
                      "  for i = 1, 100 do assert(await(test.add(i, 1)) == i + 1) end\n"
                      "end)");
}

TEST(each_kind_of_value_crosses_both_ways) {
  check_native(
      NATIVE
      "neap.run(function()\n"
      "  local t = table.pack(await(test.echo(nil, true, false, 1, 1.0, -0.5, 'a\\0b', '', nil)))\n"
      "  assert(t.n == 9 and t[1] == nil and t[2] == true and t[3] == false)\n"
      "  assert(math.type(t[4]) == 'integer' and math.type(t[5]) == 'float' and t[6] == -0.5)\n"
      "  assert(t[7] == 'a\\0b' and t[8] == '' and t[9] == nil)\n"
      "  local x = await(test.echo({1, {2, 'x'}, a = {b = {}}, [5] = 6, [1.5] = 'y'}))\n"
      "  assert(x[1] == 1 and x[2][2] == 'x' and #x[2] == 2 and x[5] == 6 and x[1.5] == 'y')\n"
      "  assert(type(x.a.b) == 'table' and next(x.a.b) == nil)\n"
      "  local f = function() end\n"
      "  assert(await(test.echo(f)) == f)\n"
      "  assert(await(test.echo(math.mininteger)) == math.mininteger)\n"
      "  local b = neap.buffer('bytes')\n"
      "  assert(await(test.echo(b)):string() == 'bytes')\n"
      "end)");
}

TEST(what_does_not_cross_is_an_argument_error) {
  check_native(
      NATIVE
      "local function bad(part, f, ...)\n"
      "  local ok, err = pcall(f, ...)\n"
      "  assert(not ok and tostring(err):find(part, 1, true), tostring(err))\n"
      "end\n"
      "bad(\"bad argument #1 to 'test.add' (integer expected, got string)\", test.add, 'x', 1)\n"
      "bad(\"bad argument #2 to 'test.add' (integer expected, got no value)\", test.add, 1)\n"
      "bad('integer expected', test.add, 1.5, 1)\n"
      "bad('array expected', test.sum, 5)\n"
      "bad('cannot be passed to C', test.echo, coroutine.create(print))\n"
      "bad('bad argument #2', test.echo, 1, {io.stdout})\n"
      "local t = {} t.t = t\n"
      "bad('nested too deeply', test.echo, t)\n"
      "neap.run(function() assert(await(test.add(2.0, 3)) == 5) end)");
}

/* cross(...) -> ..., as a function of C does that neap did not register; or nil and a code */
static int cross(lua_State *L) {
  neap_values *values;
  int n = lua_gettop(L), code = 0;
  if (neap_values_new(&values)) return luaL_error(L, "no memory");
  for (int i = 1; i <= n && !code; i++) code = neapL_to_values(L, i, values);
  if (code) {
    neap_values_free(values);
    lua_pushnil(L);
    lua_pushstring(L, neap_error_name(code));
    return 2;
  }
  n = neapL_push_values(L, values);
  neap_values_free(values);
  return n;
}

static void check_cross(const char *script) {
  embedding e;
  if (!embed(&e)) return;
  lua_register(e.L, "cross", cross);
  CHECK(embed_run(&e, script));
  embed_close(&e);
}

TEST(a_function_of_c_converts_buffers) {
  check_cross(PRELUDE "assert(cross(neap.buffer('bytes')):string() == 'bytes')\n"
                      "local b = neap.buffer(3)\n"
                      "assert(cross(b) == '\\0\\0\\0')\n"
                      "assert(cross(neap.buffer('bytes'):slice(2, 3)) == 'yt')\n"
                      "b:close()\n"
                      "local value, code = cross(b)\n"
                      "assert(value == nil and code == 'ETYPE')\n"
                      "assert(select(2, cross(io.stdout)) == 'ETYPE')");
}

TEST(a_table_with_a_cycle_is_too_deep) {
  check_cross("local t = {} t.t = t\n"
              "assert(select(2, cross(t)) == 'EDEPTH')\n"
              "local a = {} a[1] = a\n"
              "assert(select(2, cross({x = a, y = a})) == 'EDEPTH')\n"
              "local deep = {} for i = 1, 63 do deep = i % 2 == 0 and {deep} or {x = deep} end\n"
              "local back = cross(deep)\n"
              "for i = 63, 1, -1 do back = i % 2 == 0 and back[1] or back.x end\n"
              "assert(next(back) == nil)\n"
              "assert(select(2, cross({deep})) == 'EDEPTH')");
}

/* What Lua says its length is may be any border. */
TEST(a_table_with_holes_keeps_its_keys) {
  check_cross("local t = {1, nil, 3, nil}\n"
              "t[7] = 7\n"
              "local u = cross(t)\n"
              "assert(u[1] == 1 and u[2] == nil and u[3] == 3 and u[7] == 7)\n"
              "for n = 1, 40 do\n"
              "  local t, sum = {}, 0\n"
              "  for i = 1, n do t[i] = i end\n"
              "  for i = 1, n do if (i * 7 + n) % 3 == 0 then t[i] = nil end end\n"
              "  t[2 * n] = n\n"
              "  local u = cross(t)\n"
              "  for k, v in pairs(t) do assert(u[k] == v) end\n"
              "  for k, v in pairs(u) do assert(t[k] == v) end\n"
              "end");
}

TEST(tables_are_read_without_their_metamethods) {
  check_cross(
      "local t = setmetatable({1, x = 2}, setmetatable({}, {__index = error}))\n"
      "getmetatable(t).__index = error\n"
      "getmetatable(t).__len = error\n"
      "getmetatable(t).__pairs = error\n"
      "local u = cross(t)\n"
      "assert(u[1] == 1 and u.x == 2 and getmetatable(u) == nil)\n"
      "local k = cross({['a\\0b'] = 1, [2^53] = 2, [-1] = 3, [0.5] = 4, [true] = 5})\n"
      "assert(k['a\\0b'] == 1 and k[2^53] == 2 and k[-1] == 3 and k[0.5] == 4 and k[true] == 5)");
}

static int push_all(lua_State *L) {
  return neapL_push_values(L, lua_touserdata(L, 1));
}

TEST(nothing_is_converted_for_a_closed_neap) {
  embedding e;
  if (!embed(&e)) return;
  neap_values *values = NULL;
  neap_bytes *bytes = NULL;
  CHECK(neap_values_new(&values) == 0 && neap_bytes_new(1, &bytes) == 0);
  neap_values_add_buffer(values, bytes);
  neap_bytes_unref(bytes);
  neapL_close(e.L);
  lua_register(e.L, "cross", cross);
  CHECK(embed_run(&e, "assert(select(2, cross(print)) == 'ECLOSED') assert(cross(1) == 1)"));
  lua_pushcfunction(e.L, push_all);
  lua_pushlightuserdata(e.L, values);
  CHECK(lua_pcall(e.L, 1, 0, 0) == LUA_ERRRUN);
  embed_close(&e);
  neap_values_free(values);
}

/* Another Lua state may be where that of the callback was. */
TEST(a_callback_is_of_its_own_state_only) {
  for (int i = 0; i < 8; i++) {
    embedding old, e;
    if (!embed(&old)) return;
    neap_values *values;
    CHECK(neap_values_new(&values) == 0);
    CHECK(luaL_loadstring(old.L, "return 1") == LUA_OK);
    CHECK(neapL_to_values(old.L, -1, values) == 0);
    embed_close(&old);
    if (!embed(&e)) return;
    CHECK(embed_run(&e, "function id(x) return x end"));
    neap_task *task = NULL;
    CHECK(neapL_call(e.L, "id", values, &task) != 0);
    CHECK(neap_callback_call(neap_value_callback(neap_values_at(values, 0)), NULL) == NEAP_ECLOSED);
    if (task) neap_task_unref(task);
    embed_close(&e);
    neap_values_free(values);
  }
}

/* ---- Errors ------------------------------------------------------------------------------------- */

TEST(a_code_fails_the_task) {
  check_native(NATIVE "neap.run(function()\n"
                      "  local ok, err = pcall(await, test.fail(1))\n"
                      "  assert(not ok and err.code == 'ENOENT', tostring(err))\n"
                      "  assert(tostring(err):find('test.fail', 1, true))\n"
                      "end)");
}

TEST(an_error_keeps_its_name_and_message) {
  check_native(NATIVE
               "neap.run(function()\n"
               "  local ok, err = pcall(await, test.fail(2))\n"
               "  assert(not ok and err.code == 'EMYLIB' and err.message == 'it is broken')\n"
               "end)");
}

TEST(one_that_is_let_go_of_fails) {
  check_native(NATIVE "neap.run(function()\n"
                      "  local ok, err = pcall(await, test.fail(3))\n"
                      "  assert(not ok and err.code == 'EMISUSE', tostring(err))\n"
                      "end)");
}

TEST(one_that_is_completed_twice_is_refused) {
  check_native(NATIVE "neap.run(function() await(test.fail(4)) end)");
}

/* ---- Threads ------------------------------------------------------------------------------------ */

TEST(a_thread_completes_it) {
  atomic_store(&releases, 0);
  check_native(NATIVE "neap.run(function()\n"
                      "  assert(await(test.later()) == 'from a thread')\n"
                      "  local list = {}\n"
                      "  for i = 1, 20 do list[i] = test.later() end\n"
                      "  local all = await(neap.all(list))\n"
                      "  assert(all.n == 20 and all[20] == 'from a thread')\n"
                      "end)");
  CHECK(atomic_load(&releases) == 21);
}

TEST(a_function_of_the_pool) {
  check_native(NATIVE "neap.run(function()\n"
                      "  assert(await(test.sum({1, 2, 3})) == 6)\n"
                      "  local ok, err = pcall(await, test.sum({-1}))\n"
                      "  assert(err.code == 'EINVAL' and err.message == 'a negative sum')\n"
                      "end)");
}

/* Its callback is let go of by another thread, after the state. */
TEST(a_function_of_the_pool_outlives_the_state) {
  for (int i = 0; i < 3; i++) {
    embedding e;
    if (!embed(&e)) return;
    atomic_store(&releases, 0);
    neapL_preload(e.L, "test", luaopen_test);
    CHECK(embed_run(&e, NATIVE "calls = 0\n"
                               "local function count(f, text) calls = calls + #text end\n"
                               "neap.run(function()\n"
                               "  local t = test.busy(count)\n"
                               "  await(neap.sleep(0.004))\n"
                               "  t:cancel()\n"
                               "  assert(t:status() == 'cancelled')\n"
                               "end)\n"
                               "test.busy(count)"));
    if (i == 1) neapL_close(e.L);
    if (i == 2) neapL_poll(e.L, 0.003);
    embed_close(&e);
    while (atomic_load(&releases) < 2) uv_sleep(1);
    uv_sleep(5); /* what the threads free */
  }
}

TEST(progress_is_reported_in_order) {
  check_native(NATIVE "neap.run(function()\n"
                      "  local seen = {}\n"
                      "  assert(await(test.progress(50, function(i, n)\n"
                      "    seen[#seen + 1] = i\n"
                      "    assert(n == 50)\n"
                      "  end)) == 50)\n"
                      "  await(neap.yield())\n"
                      "  assert(#seen == 50)\n"
                      "  for i = 1, 50 do assert(seen[i] == i) end\n"
                      "end)");
}

/* ---- Cancellation ------------------------------------------------------------------------------- */

TEST(a_cancelled_one_stops_its_work_once) {
  cancels = 0;
  atomic_store(&releases, 0);
  check_native(NATIVE "neap.run(function()\n"
                      "  local ok, why = neap.try_for(0.001, function() await(test.never()) end)\n"
                      "  assert(not ok and why == 'timeout')\n"
                      "  local t = test.never()\n"
                      "  assert(t:cancel('enough') and not t:cancel())\n"
                      "  assert(t:status() == 'cancelled')\n"
                      "  neap.scope(function(s)\n"
                      "    s:cancel()\n"
                      "    assert(test.never():status() == 'cancelled')\n"
                      "    assert(test.add(1, 2):status() == 'cancelled')\n"
                      "  end)\n"
                      "end)");
  CHECK(cancels == 2);
  CHECK(atomic_load(&releases) == 2);
}

TEST(finalizers_call_them_while_the_state_closes) {
  check_native(NATIVE "setmetatable({}, {__gc = function()\n"
                      "  assert(not pcall(test.add, 'x', 2))\n"
                      "  for i = 1, 3 do assert(test.add(i, 2):is_done()) end\n"
                      "end})\n"
                      "test.add(1, 2)");
}

TEST(the_state_closes_with_pending_ones) {
  cancels = 0;
  atomic_store(&releases, 0);
  check_native(NATIVE "t = test.never()\n"
                      "neap.start(function() await(test.never()) end)\n"
                      "u = test.later() test.sum({1})");
  CHECK(cancels == 2);
  /* The thread may still hold its one. */
  for (int i = 0; i < 5000 && atomic_load(&releases) < 3; i++) uv_sleep(1);
  CHECK(atomic_load(&releases) == 3);
}

/* Its work has begun, so it is told; what has ended is not. */
TEST(the_scope_is_cancelled_while_it_starts) {
  for (int ends = 0; ends < 2; ends++) {
    embedding e;
    if (!embed(&e)) return;
    cancels = 0;
    neapL_preload(e.L, "test", luaopen_test);
    lua_pushboolean(e.L, ends);
    lua_setglobal(e.L, "ends");
    lua_pushlightuserdata(e.L, &e.L);
    lua_setglobal(e.L, "state");
    CHECK(embed_run(&e,
                    NATIVE "function call(f) f() end\n"
                           "neap.run(function()\n"
                           "  neap.scope(function(s)\n"
                           "    local t = test.meanwhile(function() s:cancel() end, ends, state)\n"
                           "    assert(t:status() == 'cancelled')\n"
                           "  end)\n"
                           "end)"));
    CHECK(cancels == 1 - ends);
    CHECK(neap_completion_end(kept, NULL) == (ends ? NEAP_EMISUSE : UV_ECANCELED));
    neap_completion_unref(kept);
    embed_close(&e);
  }
}

/* later_polled() -> "from a thread": runs the loop until the thread has posted */
static int start_polled(neap_completion *call, void *frame, const neap_values *arguments) {
  uv_thread_t thread;
  (void)frame;
  lua_State *L = *(lua_State **)neap_value_pointer(neap_values_at(arguments, 0));
  kept = neap_completion_ref(call);
  int code = uv_thread_create(&thread, complete_slowly, neap_completion_ref(call));
  if (code) return code;
  uv_thread_join(&thread);
  neapL_poll(L, 0);
  return 0;
}

TEST(it_is_completed_while_it_starts) {
  embedding e;
  if (!embed(&e)) return;
  static const neapL_function polled[] = {
      {.kind = {.name = "later_polled"}, .arguments = "p", .start = start_polled},
      {.kind = {.name = NULL}}};
  lua_pushglobaltable(e.L);
  neapL_register(e.L, polled);
  lua_pop(e.L, 1);
  lua_pushlightuserdata(e.L, &e.L);
  lua_setglobal(e.L, "state");
  CHECK(embed_run(&e, PRELUDE "local t = later_polled(state)\n"
                              "assert(t:wait(5) == 'from a thread')"));
  neap_completion_unref(kept);
  embed_close(&e);
}

/* ---- Failing allocations ------------------------------------------------------------------------ */

static const char every_way[] =
    NATIVE "neap.run(function()\n"
           "  local x = await(test.echo({1, {a = 'b'}, 'c'}, neap.buffer('bytes'), print))\n"
           "  test.never():cancel('why')\n"
           "  neap.try_for(0, function() await(test.never()) end)\n"
           "  pcall(await, test.fail(2))\n"
           "  await(test.later())\n"
           "  await(test.sum({1, 2, 3}))\n"
           "  await(test.progress(2, function(i, n) return i, n end))\n"
           "  local c <close> = await(test.counter(5))\n"
           "  await(c:add(2))\n"
           "  test.never()\n"
           "end)";

/* The n-th allocation of Lua, or of the core, fails, and with `persist` all after it. */
static bool run_with_failure(unsigned long n, bool is_core, bool persist) {
  embedding e;
  if (!embed(&e)) return false;
  atomic_store(&counters_released, 0);
  neapL_preload(e.L, "test", luaopen_test);
  CHECK(luaL_loadbuffer(e.L, every_way, sizeof every_way - 1, "=script") == LUA_OK);
  if (is_core) {
    neap_loop_fail_allocation(neapL_loop(e.L), n, persist);
  } else {
    e.lua.fail_at = n;
    e.lua.persist = persist;
  }
  if (lua_pcall(e.L, 0, 0, 0) != LUA_OK) lua_pop(e.L, 1);
  bool has_fired = is_core ? neap_loop_fail_allocation(neapL_loop(e.L), 0, false) : e.lua.fired;
  e.lua.fail_at = 0;
  embed_close(&e);
  return has_fired;
}

TEST(each_allocation_of_native_functions_fails) {
  for (int how = 0; how < 4; how++) {
    unsigned long n = 1;
    while (n < 3000 && run_with_failure(n, how & 1, how & 2)) n++;
    CHECK(n > 5 && n < 3000);
  }
}

TEST(a_finalizer_calls_one_while_the_state_closes) {
  check_native(
      NATIVE
      "obj = setmetatable({}, {__gc = function() assert(test.add(1, 2):result() == 3) end})\n"
      "held = test.never()\n"
      "neap.start(function()\n"
      "  local c <close> = setmetatable({}, {__close = function() pcall(test.never) end})\n"
      "  await(test.never())\n"
      "end)");
  check_native(NATIVE "obj = setmetatable({}, {__gc = function() test.add(1, 2) end})");
}

TEST(functions_are_called_from_anywhere) {
  check_native(NATIVE "neap.run(function()\n"
                      "  local list = {3, 1, 2}\n"
                      "  table.sort(list, function(a, b) test.never():cancel() return test.add(a, "
                      "0):result() < b end)\n"
                      "  assert(list[1] == 1 and list[3] == 3)\n"
                      "  local co = coroutine.wrap(function()\n"
                      "    coroutine.yield(test.later())\n"
                      "    return test.add(1, 2)\n"
                      "  end)\n"
                      "  assert(await(co()) == 'from a thread' and await(co()) == 3)\n"
                      "  local function deep(n)\n"
                      "    if n == 0 then return test.add(1, 2) end\n"
                      "    return (string.gsub('a', 'a', function() deep(n - 1) end))\n"
                      "  end\n"
                      "  for i = 1, 190, 9 do pcall(deep, i) end\n"
                      "  local function rec(n) test.add(n, 1) return rec(n + 1) + 1 end\n"
                      "  assert(not pcall(rec, 1))\n"
                      "  local list = {}\n"
                      "  for i = 1, 100000 do list[i] = i end\n"
                      "  assert(select('#', await(test.echo(table.unpack(list)))) == 100000)\n"
                      "end)");
}

TEST(a_worker_calls_them) {
  check_native(NATIVE "neap.run(function()\n"
                      "  assert(await(neap.worker.run(function()\n"
                      "    local test = require 'test'\n"
                      "    test.never() test.later() test.sum({1})\n"
                      "    return test.add(1, 2):result()\n"
                      "  end)) == 3)\n"
                      "  assert(await(neap.worker.with{loop = true}.run(function()\n"
                      "    local neap, test = require 'neap', require 'test'\n"
                      "    local n = 0\n"
                      "    neap.await(test.progress(3, function() n = n + 1 end))\n"
                      "    assert(neap.await(test.later()) == 'from a thread')\n"
                      "    test.never()\n"
                      "    return neap.await(test.sum({4, n}))\n"
                      "  end)) == 7)\n"
                      "end)");
}

/* ---- Objects ------------------------------------------------------------------------------------ */

TEST(objects_have_methods_and_are_released_once) {
  atomic_store(&counters_released, 0);
  check_native(NATIVE "neap.run(function()\n"
                      "  local c = await(test.counter(5))\n"
                      "  assert(tostring(c):find('test.Counter', 1, true))\n"
                      "  assert(await(c:add(2)) == 7 and await(c:add(1)) == 8)\n"
                      "  local pending = c:add(1)\n"
                      "  c:close() c:close()\n"
                      "  assert(await(pending) == 9)\n"
                      "  local ok, err = pcall(c.add, c, 1)\n"
                      "  assert(not ok and err:find('the object is closed', 1, true), err)\n"
                      "  do local d <close> = await(test.counter()) end\n"
                      "  test.counter(1)\n"
                      "end)");
  CHECK(atomic_load(&counters_released) == 3);
}

TEST(arguments_are_let_go_of_when_run_has_returned) {
  atomic_store(&counters_released, 0);
  check_native(NATIVE "neap.run(function()\n"
                      "  local counter = await(test.counter())\n"
                      "  local task = test.use(counter)\n"
                      "  assert(await(task) == 1)\n"
                      "  counter:close()\n"
                      "  assert(test.released() == 1)\n"
                      "  assert(await(task) == 1)\n"
                      "end)");
}

TEST(objects_are_made_and_read_by_the_lua_api) {
  atomic_store(&counters_released, 0);
  check_native(NATIVE "local c = test.make(4)\n"
                      "assert(test.peek(c) == 4)\n"
                      "local function bad(part, f, ...)\n"
                      "  local ok, err = pcall(f, ...)\n"
                      "  assert(not ok and tostring(err):find(part, 1, true), tostring(err))\n"
                      "end\n"
                      "bad('test.Counter expected, got test.Other', test.peek, test.other())\n"
                      "bad('test.Counter expected, got nil', test.peek, nil)\n"
                      "bad('test.Counter expected, got test.Other', c.add, test.other(), 1)\n"
                      "c:close()\n"
                      "bad('the object is closed', test.peek, c)");
  CHECK(atomic_load(&counters_released) == 1);
}

TEST(a_c_string_has_no_nul_and_is_no_buffer) {
  check_native(NATIVE "neap.run(function()\n"
                      "  assert(await(test.open('/x')) == '/x')\n"
                      "  assert(not pcall(test.open, 'a\\0b'))\n"
                      "  assert(not pcall(test.open, neap.buffer('abc')))\n"
                      "end)");
}

TEST(an_error_with_a_name_needs_no_number) {
  check_native(NATIVE
               "neap.run(function()\n"
               "  local ok, err = pcall(await, test.own_error())\n"
               "  assert(not ok and err.code == 'EMYLIB' and err.message == 'of the frame')\n"
               "end)");
}

TEST(what_runs_is_interrupted_with_its_arguments) {
  check_native(NATIVE "neap.run(function()\n"
                      "  local ok, why = neap.try_for(0.001, function()\n"
                      "    await(test.until_set(test.flag()))\n"
                      "  end)\n"
                      "  assert(not ok and why == 'timeout')\n"
                      "end)");
}
