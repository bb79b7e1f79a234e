// tsan: a message goes from one thread to another
#include "host.h"

#include "transfer.h"

#include <stdatomic.h>
#include <uv.h>

/* A Lua state with neap, whose memory is counted. */
typedef struct side {
  heap memory;
  lua_State *L;
  neapL__state *state;
} side;

static bool side_open(side *self) {
  *self = (side){0};
  self->L = lua_newstate(allocate, &self->memory);
  lua_pushcfunction(self->L, open_neap);
  if (!CHECK(lua_pcall(self->L, 0, 0, 0) == LUA_OK)) return false;
  self->state = neapL__state_get(self->L);
  return true;
}

static void side_close(side *self) {
  if (self->L) lua_close(self->L);
  CHECK(self->memory.bytes == 0);
}

/* Runs a script, whose results are left on the stack. */
static bool evaluate(side *self, const char *script) {
  lua_State *L = self->L;
  if (luaL_loadstring(L, script) == LUA_OK && lua_pcall(L, 0, LUA_MULTRET, 0) == LUA_OK)
    return true;
  fprintf(stderr, "# %s\n", lua_tostring(L, -1));
  return CHECK(false);
}

/* Writes all of the stack, which is empty then. */
static bool write_all(side *self, neapL__message *message) {
  bool is_done =
      neapL__message_write(self->L, self->state, message, 1, lua_gettop(self->L), "result", 1);
  if (is_done) lua_settop(self->L, 0);
  return is_done;
}

static bool send_results(side *self, neapL__message *message, const char *script) {
  *message = (neapL__message){0};
  return evaluate(self, script) && CHECK(write_all(self, message));
}

/* Reads a message, gives its values to a function, whose source is `check`, and compares what that returns
 * with `true`. */
static void check_values(side *self, neapL__message *message, const char *check) {
  lua_State *L = self->L;
  if (!evaluate(self, check)) return;
  int count = neapL__message_read(L, self->state, message, 0);
  CHECK(!message->data && !message->shared && message->objects == 0);
  if (!CHECK(lua_pcall(L, count, 1, 0) == LUA_OK)) fprintf(stderr, "# %s\n", lua_tostring(L, -1));
  CHECK(lua_isboolean(L, -1) && lua_toboolean(L, -1));
  lua_settop(L, 0);
}

/* One message from a state to another. */
static void check_crossing(const char *script, const char *check) {
  side from = {0}, to = {0};
  neapL__message message = {0};
  if (side_open(&from) && side_open(&to) && send_results(&from, &message, script))
    check_values(&to, &message, check);
  side_close(&from);
  side_close(&to);
}

/* The same when the state that has sent is gone. */
static void check_legacy(const char *script, const char *check) {
  side from = {0}, to = {0};
  neapL__message message = {0};
  if (!side_open(&from) || !send_results(&from, &message, script)) return;
  side_close(&from);
  if (side_open(&to)) check_values(&to, &message, check);
  side_close(&to);
}

/* ---- Values ---------------------------------------------------------------------------------- */

#define PLAIN_VALUES                                                                               \
  "local t = {1, 2, x = {1.5, 'text'}}; t.self = t\n"                                              \
  "return 1, nil, t, ('x'):rep(100000), t"
#define PLAIN_CHECK                                                                                \
  "return function(one, none, t, text, again)\n"                                                   \
  "  return one == 1 and none == nil and t == again and t.self == t and t.x[2] == 'text'\n"        \
  "    and text == ('x'):rep(100000)\n"                                                            \
  "end"

TEST(values_cross) {
  check_crossing(PLAIN_VALUES, PLAIN_CHECK);
}

TEST(values_outlive_their_state) {
  check_legacy(PLAIN_VALUES, PLAIN_CHECK);
}

#define FUNCTIONS                                                                                  \
  "local n, list = 0, {}\n"                                                                        \
  "local function add(x) n = n + 1 list[n] = x return n end\n"                                     \
  "return add, function() return n, list, _ENV end"
#define FUNCTIONS_CHECK                                                                            \
  "return function(add, get)\n"                                                                    \
  "  add(5); add('x')\n"                                                                           \
  "  local n, list, env = get()\n"                                                                 \
  "  return n == 2 and list[1] == 5 and list[2] == 'x' and env == _G\n"                            \
  "end"

TEST(functions_cross) {
  check_crossing(FUNCTIONS, FUNCTIONS_CHECK);
}

TEST(functions_outlive_their_state) {
  check_legacy(FUNCTIONS, FUNCTIONS_CHECK);
}

TEST(errors_cross) {
  check_crossing("return require('neap').error('ENOENT', 'no such file', {path = '/x'})",
                 "local meta = getmetatable(require('neap.core').error('E', 'm'))\n"
                 "return function(e)\n"
                 "  return getmetatable(e) == meta and e.path == '/x' and e.code == 'ENOENT'\n"
                 "end");
}

/* Its module is required when it arrives. */
TEST(local_variables_cross) {
  check_crossing("local v = require('neap').localvar('default'); v:set({7}); return {v}",
                 "assert(not package.loaded['neap.localvar'])\n"
                 "return function(list) return list[1]:get()[1] == 7 end");
}

static int read_raises(lua_State *L) {
  neapL__message *message = lua_touserdata(L, 1);
  neapL__message_read(L, neapL__state_get(L), message, 0);
  return 0;
}

/* Reads it protected; true: the error contains `text`. */
static bool fails_to_read(side *self, neapL__message *message, const char *text) {
  lua_pushcfunction(self->L, read_raises);
  lua_pushlightuserdata(self->L, message);
  bool is_error = lua_pcall(self->L, 1, 0, 0) != LUA_OK && strstr(lua_tostring(self->L, -1), text);
  lua_settop(self->L, 0);
  return is_error;
}

TEST(a_class_whose_module_is_not_found_is_an_error) {
  side from = {0}, to = {0};
  neapL__message message = {0};
  if (side_open(&from) && side_open(&to) &&
      send_results(
          &from, &message,
          "local meta = {}\n"
          "require('neap.core').crossing_class('no.module', meta, function(x) return x end)\n"
          "return {1}, setmetatable({}, meta), function() end"))
    CHECK(fails_to_read(&to, &message, "module 'no.module' not found"));
  neapL__message_deinit(&message);
  neapL__message_deinit(&message);
  side_close(&from);
  side_close(&to);
}

TEST(a_message_that_nobody_reads_is_dropped) {
  side from = {0};
  neapL__message plain = {0}, functions = {0};
  if (side_open(&from) && send_results(&from, &plain, PLAIN_VALUES))
    send_results(&from, &functions, FUNCTIONS);
  side_close(&from);
  neapL__message_deinit(&plain);
  neapL__message_deinit(&functions);
}

/* ---- Functions that are lent ----------------------------------------------------------------- */

/* Reads a job and its arguments, calls it and gives it back; the result is left on the stack. */
static const void *run_job(side *self, neapL__message *message, int environment) {
  lua_State *L = self->L;
  int base = lua_gettop(L);
  int count = neapL__message_read(L, self->state, message, environment);
  const void *identity = lua_topointer(L, base + 1);
  lua_pushvalue(L, base + 1);
  for (int i = 2; i <= count; i++) lua_pushvalue(L, base + i);
  CHECK(lua_pcall(L, count - 1, 1, 0) == LUA_OK);
  neapL__function_return(L, self->state, base + 1);
  lua_insert(L, base + 1);
  lua_settop(L, base + 1);
  return identity;
}

#define JOB                                                                                        \
  "local n = ...; return function(x) keep = keep or function() return n end; return n + x end"

static bool send_job(side *self, neapL__message *message, int n) {
  *message = (neapL__message){0};
  luaL_loadstring(self->L, JOB);
  lua_pushinteger(self->L, n);
  lua_call(self->L, 1, 1);
  lua_pushinteger(self->L, 1);
  return CHECK(write_all(self, message)) && CHECK(message->lends);
}

TEST(a_function_that_was_given_back_serves_the_next_job) {
  side from = {0}, to = {0};
  neapL__message message = {0};
  if (!side_open(&from) || !side_open(&to)) return;
  send_job(&from, &message, 10);
  const void *first = run_job(&to, &message, 0);
  CHECK(lua_tointeger(to.L, -1) == 11);
  send_job(&from, &message, 20);
  CHECK(run_job(&to, &message, 0) == first);
  CHECK(lua_tointeger(to.L, -1) == 21);
  /* What the first job has kept has kept its upvalue. */
  lua_getglobal(to.L, "keep");
  lua_call(to.L, 0, 1);
  CHECK(lua_tointeger(to.L, -1) == 10);
  side_close(&from);
  side_close(&to);
}

/* Two at once: each has its own. */
TEST(a_function_is_lent_to_one_job_at_a_time) {
  side from = {0}, to = {0};
  neapL__message one = {0}, two = {0};
  if (!side_open(&from) || !side_open(&to)) return;
  send_job(&from, &one, 10);
  run_job(&to, &one, 0);
  send_job(&from, &one, 20);
  send_job(&from, &two, 30);
  lua_settop(to.L, 0);
  neapL__message_read(to.L, to.state, &one, 0);
  neapL__message_read(to.L, to.state, &two, 0);
  CHECK(!lua_rawequal(to.L, 1, 3));
  lua_call(to.L, 1, 1);
  CHECK(lua_tointeger(to.L, 3) == 31);
  lua_settop(to.L, 2);
  lua_call(to.L, 1, 1);
  CHECK(lua_tointeger(to.L, 1) == 21);
  side_close(&from);
  side_close(&to);
}

TEST(a_function_that_is_elsewhere_in_the_message_is_not_lent) {
  side from = {0};
  neapL__message message = {0};
  if (!side_open(&from)) return;
  send_results(&from, &message, "local function f() return f end; return f");
  CHECK(!message.lends);
  neapL__message_deinit(&message);
  send_results(&from, &message, "local function f() end; return f, {f}");
  CHECK(!message.lends);
  neapL__message_deinit(&message);
  send_results(&from, &message, "return 1, function() end");
  CHECK(!message.lends);
  neapL__message_deinit(&message);
  side_close(&from);
}

TEST(a_job_has_the_environment_that_the_reader_gives) {
  side from = {0}, to = {0};
  neapL__message message = {0};
  if (!side_open(&from) || !side_open(&to)) return;
  const void *first = NULL;
  for (int i = 1; i <= 2; i++) {
    send_results(&from, &message, "return function() found = x; return found end");
    lua_newtable(to.L);
    lua_pushinteger(to.L, i);
    lua_setfield(to.L, -2, "x");
    const void *job = run_job(&to, &message, -1);
    CHECK(i == 1 || job == first);
    first = job;
    CHECK(lua_tointeger(to.L, -1) == i);
    CHECK(lua_getfield(to.L, -2, "found") == LUA_TNUMBER && lua_tointeger(to.L, -1) == i);
    CHECK(lua_getglobal(to.L, "found") == LUA_TNIL);
    lua_settop(to.L, 0);
  }
  side_close(&from);
  side_close(&to);
}

TEST(a_function_that_was_given_back_keeps_nothing_alive) {
  side from = {0}, to = {0};
  neapL__message message = {0};
  if (!side_open(&from) || !side_open(&to)) return;
  send_results(&from, &message,
               "local big = ('x'):rep(1 << 20); return function() return #big end");
  run_job(&to, &message, 0);
  CHECK(lua_tointeger(to.L, -1) == 1 << 20);
  lua_settop(to.L, 0);
  lua_gc(to.L, LUA_GCCOLLECT);
  CHECK(to.memory.bytes < 1 << 20);
  side_close(&from);
  side_close(&to);
}

static void run_numbered_job(side *from, side *to, int n) {
  neapL__message message = {0};
  char script[64];
  snprintf(script, sizeof script, "return function() return %d end", n);
  send_results(from, &message, script);
  run_job(to, &message, 0);
  CHECK(lua_tointeger(to->L, -1) == n);
  lua_settop(to->L, 0);
}

static size_t bytes_after_jobs(side *from, side *to, int first, int last) {
  for (int n = first; n <= last; n++) run_numbered_job(from, to, n);
  lua_gc(to->L, LUA_GCCOLLECT);
  lua_gc(to->L, LUA_GCCOLLECT);
  return to->memory.bytes;
}

TEST(a_bounded_number_of_functions_is_kept) {
  side from = {0}, to = {0};
  if (!side_open(&from) || !side_open(&to)) return;
  size_t before = bytes_after_jobs(&from, &to, 1, 1000);
  CHECK(bytes_after_jobs(&from, &to, 1001, 4000) < before + 65536);
  run_numbered_job(&from, &to, 1);
  side_close(&from);
  side_close(&to);
}

TEST(what_was_not_lent_is_not_taken_back) {
  side own = {0};
  if (!side_open(&own)) return;
  evaluate(&own, "local n = 5; return function() return n end, print");
  neapL__message message = {0};
  CHECK(neapL__message_write(own.L, own.state, &message, 1, 1, "result", 1));
  neapL__message_deinit(&message);
  neapL__function_return(own.L, own.state, 1);
  neapL__function_return(own.L, own.state, -1);
  CHECK(lua_gettop(own.L) == 2);
  lua_pushvalue(own.L, 1);
  lua_call(own.L, 0, 1);
  CHECK(lua_tointeger(own.L, -1) == 5);
  side_close(&own);
}

/* ---- Userdata -------------------------------------------------------------------------------- */

/* What is behind the objects of a class for tests: a block with a count. */
typedef struct thing {
  atomic_int references;
  int value;
} thing;

static int things_left; /* how often `leave` was called */

static void thing_release(void *shared) {
  thing *self = shared;
  if (atomic_fetch_sub(&self->references, 1) == 1) free(self);
}

static void *thing_take(lua_State *L, int index) {
  thing **box = lua_touserdata(L, index);
  if (!*box) {
    lua_pushliteral(L, "the thing has left");
    return NULL;
  }
  atomic_fetch_add(&(*box)->references, 1);
  return *box;
}

static void thing_leave(lua_State *L, int index) {
  thing **box = lua_touserdata(L, index);
  thing_release(*box);
  *box = NULL;
  things_left++;
}

static thing **push_box(lua_State *L) {
  thing **box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = NULL;
  luaL_setmetatable(L, "test.Thing");
  return box;
}

static void thing_arrive(lua_State *L, neapL__state *state, void *shared) {
  (void)state;
  *push_box(L) = shared;
}

static const neapL__crossing crossing = {"test.Thing", thing_take, thing_leave, thing_arrive,
                                         thing_release};

static int thing_gc(lua_State *L) {
  thing **box = lua_touserdata(L, 1);
  if (*box) thing_release(*box);
  return 0;
}

/* thing(value) */
static int new_thing(lua_State *L) {
  thing **box = push_box(L);
  *box = malloc(sizeof **box);
  atomic_init(&(*box)->references, 1);
  (*box)->value = (int)luaL_checkinteger(L, 1);
  return 1;
}

/* value_of(thing) -> value, nil once it has left */
static int value_of(lua_State *L) {
  thing **box = lua_touserdata(L, 1);
  if (!*box) return 0;
  lua_pushinteger(L, (*box)->value);
  return 1;
}

static void open_things(side *self) {
  lua_State *L = self->L;
  luaL_newmetatable(L, "test.Thing");
  lua_pushcfunction(L, thing_gc);
  lua_setfield(L, -2, "__gc");
  neapL__set_crossing(L, &crossing);
  lua_settop(L, 0);
  lua_register(L, "thing", new_thing);
  lua_register(L, "value_of", value_of);
}

static void check_things(const char *script, const char *left, const char *check) {
  side from = {0}, to = {0};
  neapL__message message = {0};
  if (!side_open(&from) || !side_open(&to)) return;
  open_things(&from);
  open_things(&to);
  things_left = 0;
  send_results(&from, &message, script);
  if (evaluate(&from, left)) CHECK(lua_toboolean(from.L, -1));
  check_values(&to, &message, check);
  side_close(&from);
  side_close(&to);
}

TEST(a_thing_given_twice_leaves_once_and_arrives_as_one) {
  check_things("a = thing(7); return {a, a}, a", "return value_of(a) == nil",
               "return function(list, a)\n"
               "  return list[1] == a and list[2] == a and value_of(a) == 7\n"
               "end");
  CHECK(things_left == 1);
}

TEST(things_in_upvalues_cross) {
  check_things("a, b = thing(1), thing(2)\n"
               "local a, b = a, b\n"
               "return function() return value_of(a) + value_of(b) end",
               "return value_of(a) == nil and value_of(b) == nil",
               "return function(f) return f() == 3 end");
  CHECK(things_left == 2);
}

/* The reason is the one that the class gives. */
TEST(nothing_leaves_when_a_value_is_refused) {
  side from = {0};
  neapL__message message = {0};
  if (!side_open(&from)) return;
  open_things(&from);
  things_left = 0;
  evaluate(&from, "a = thing(7); return a, {a, coroutine.create(print)}");
  CHECK(!write_all(&from, &message));
  CHECK(strcmp(lua_tostring(from.L, -1),
               "result 2[2]: a coroutine cannot cross to another thread") == 0);
  neapL__message_deinit(&message);
  lua_settop(from.L, 0);
  CHECK(things_left == 0);
  send_results(&from, &message, "assert(value_of(a) == 7); return a");
  neapL__message_deinit(&message); /* it has left, and nobody has read it */
  CHECK(things_left == 1);
  evaluate(&from, "return {x = a}");
  CHECK(!write_all(&from, &message));
  CHECK(strcmp(lua_tostring(from.L, -1), "result 1.x: the thing has left") == 0);
  neapL__message_deinit(&message);
  side_close(&from);
}

/* ---- Out of memory --------------------------------------------------------------------------- */

#define EVERYTHING                                                                                 \
  "local n, list = 1, {}\n"                                                                        \
  "for i = 1, 40 do list[i] = {i, thing(i)} end\n"                                                 \
  "return function() return n, list end, list,\n"                                                  \
  "  require('neap').error('E', 'm'), require('neap').localvar(3), ('x'):rep(1000)"

static int protected_write(lua_State *L) {
  side *self = lua_touserdata(L, 1);
  neapL__message *message = lua_touserdata(L, 2);
  lua_getglobal(L, "everything");
  int count = (int)luaL_len(L, -1), first = lua_gettop(L) + 1;
  luaL_checkstack(L, count, NULL);
  for (int i = 1; i <= count; i++) lua_rawgeti(L, first - 1, i);
  CHECK(neapL__message_write(L, self->state, message, first, first + count - 1, "result", 1));
  return 0;
}

static bool writes(side *self, neapL__message *message) {
  lua_pushcfunction(self->L, protected_write);
  lua_pushlightuserdata(self->L, self);
  lua_pushlightuserdata(self->L, message);
  bool is_done = lua_pcall(self->L, 2, 0, 0) == LUA_OK;
  lua_settop(self->L, 0);
  return is_done;
}

static bool make_everything(side *self) {
  if (!side_open(self)) return false;
  open_things(self);
  if (!evaluate(self, "everything = table.pack((function() " EVERYTHING " end)())")) return false;
  lua_settop(self->L, 0);
  lua_gc(self->L, LUA_GCSTOP);
  return true;
}

/* Allocation n of Lua fails in `write`, and then of the message. */
TEST(writing_without_memory_moves_nothing) {
  side from = {0};
  neapL__message message = {0};
  if (!make_everything(&from)) return;
  things_left = 0;
  for (unsigned long n = 1;; n++) {
    from.memory.fail_at = n;
    bool is_done = writes(&from, &message);
    bool has_fired = from.memory.fail_at == 0;
    from.memory.fail_at = 0;
    neapL__message_deinit(&message);
    if (!CHECK(is_done || things_left == 0) || !has_fired) break;
    if (is_done) break; /* the things are gone */
  }
  side_close(&from);
  if (!make_everything(&from)) return;
  things_left = 0;
  for (unsigned long n = 1;; n++) {
    neap_loop_fail_allocation(from.state->loop, n, false);
    bool is_done = writes(&from, &message);
    neap_loop_fail_allocation(from.state->loop, 0, false);
    neapL__message_deinit(&message);
    CHECK(is_done == (things_left == 40));
    if (is_done) break;
  }
  side_close(&from);
}

/* What had arrived is the reader's, the rest is freed with the message. */
TEST(reading_without_memory_loses_nothing) {
  bool is_done = false;
  for (unsigned long n = 1; !is_done; n++) {
    side from = {0}, to = {0};
    neapL__message message = {0};
    if (!make_everything(&from) || !side_open(&to)) return;
    open_things(&to);
    evaluate(&to, "require('neap')");
    if (!CHECK(writes(&from, &message))) return;
    to.memory.fail_at = n;
    lua_pushcfunction(to.L, read_raises);
    lua_pushlightuserdata(to.L, &message);
    is_done = lua_pcall(to.L, 1, 0, 0) == LUA_OK;
    to.memory.fail_at = 0;
    neapL__message_deinit(&message);
    side_close(&from);
    side_close(&to);
  }
}

/* ---- Threads --------------------------------------------------------------------------------- */

enum { ROUNDS = 200 };

/* A thread with a state of its own, which answers each message with what it got. */
typedef struct echo {
  uv_sem_t asked, answered;
  neapL__message message;
} echo;

static void run_echo(void *data) {
  echo *self = data;
  side own = {0};
  if (!side_open(&own)) return;
  for (int i = 0; i < ROUNDS; i++) {
    uv_sem_wait(&self->asked);
    int count = neapL__message_read(own.L, own.state, &self->message, 0);
    CHECK(neapL__message_write(own.L, own.state, &self->message, 1, count, "result", 1));
    if (i % 2) neapL__function_return(own.L, own.state, 1);
    lua_settop(own.L, 0);
    uv_sem_post(&self->answered);
  }
  side_close(&own);
}

static void echo_round(echo *self, side *own, int i) {
  lua_State *L = own->L;
  lua_getglobal(L, "make");
  lua_pushinteger(L, i);
  lua_call(L, 1, 2);
  CHECK(write_all(own, &self->message));
  uv_sem_post(&self->asked);
  lua_getglobal(L, "make"); /* both use the code at the same time */
  lua_pushinteger(L, i + 1);
  lua_call(L, 1, 2);
  neapL__message other = {0};
  CHECK(write_all(own, &other));
  neapL__message_deinit(&other);
  uv_sem_wait(&self->answered);
  CHECK(neapL__message_read(L, own->state, &self->message, 0) == 2);
  lua_pushvalue(L, 1);
  lua_call(L, 0, 1);
  CHECK(lua_tointeger(L, -1) == i);
  lua_settop(L, 0);
}

TEST(messages_go_between_threads) {
  static echo other;
  side own = {0};
  uv_thread_t thread;
  other.message = (neapL__message){0};
  uv_sem_init(&other.asked, 0);
  uv_sem_init(&other.answered, 0);
  if (!side_open(&own) || !CHECK(uv_thread_create(&thread, run_echo, &other) == 0)) return;
  evaluate(&own, "function make(i) return function() return i end, {i, {text = ('x'):rep(i)}} end");
  for (int i = 0; i < ROUNDS; i++) echo_round(&other, &own, i);
  side_close(&own);
  uv_thread_join(&thread);
  uv_sem_destroy(&other.asked);
  uv_sem_destroy(&other.answered);
}
