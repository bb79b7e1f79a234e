// tsan: two states on two threads
#include "host.h"

#include <uv.h>

static int run_script(lua_State *L) {
  const char *script = lua_touserdata(L, 1);
  if (luaL_loadstring(L, script) != LUA_OK) return lua_error(L);
  lua_call(L, 0, 1);
  return 1;
}

static bool call(lua_State *L, lua_CFunction fn, const char *argument) {
  lua_pushcfunction(L, fn);
  lua_pushlightuserdata(L, (void *)(uintptr_t)argument);
  return lua_pcall(L, 1, fn == run_script ? 1 : 0, 0) == LUA_OK;
}

/* Runs a script in a state of its own, and closes it. */
static void check_script(const char *script) {
  heap memory = {0};
  lua_State *L = lua_newstate(allocate, &memory);
  CHECK(call(L, open_neap, NULL));
  if (!CHECK(call(L, run_script, script))) fprintf(stderr, "# %s\n", lua_tostring(L, -1));
  lua_close(L);
  CHECK(memory.bytes == 0);
}

#define PRELUDE                                                                                    \
  "local neap = require 'neap'\n"                                                                  \
  "local await, async = neap.await, neap.async\n"

TEST(a_state_that_never_used_neap_closes) {
  check_script("return 1");
}

TEST(a_script_runs_to_its_end) {
  check_script(PRELUDE "assert(neap.run(function()\n"
                       "  await(neap.sleep(0.001))\n"
                       "  return await(neap.start(function() return 7 end))\n"
                       "end) == 7)");
}

TEST(a_state_closes_with_tasks_that_were_never_run) {
  check_script(PRELUDE
               "closed = 0\n"
               "for i = 1, 10 do\n"
               "  neap.start(function()\n"
               "    local c <close> = setmetatable({}, {__close = function() closed = 1 end})\n"
               "    await(neap.sleep(i))\n"
               "  end)\n"
               "end");
}

TEST(a_state_closes_with_a_pending_yield) {
  check_script(PRELUDE "neap.start(function() await(neap.yield()) end)");
}

TEST(a_state_closes_with_combined_tasks_pending) {
  check_script(PRELUDE "local a, b = neap.sleep(1), neap.completion()\n"
                       "all = neap.all{a, b.task}; any = neap.any{a, b.task}\n"
                       "neap.start(function() await(all) end)\n"
                       "neap.start(function() await(neap.settle(any)) end)");
}

TEST(a_state_closes_with_open_scopes) {
  check_script(PRELUDE
               "neap.start(function()\n"
               "  neap.timeout(5, function()\n"
               "    neap.shield(function() neap.start(neap.sleep, 3) await(neap.sleep(9)) end)\n"
               "  end)\n"
               "end)");
}

TEST(a_state_closes_with_tasks_that_were_cancelled) {
  check_script(PRELUDE "local t = neap.start(function() await(neap.sleep(9)) end)\n"
                       "t:cancel('why')");
}

TEST(a_state_closes_with_files_and_sockets_in_flight) {
  check_script(PRELUDE "reads = {}\n"
                       "for i = 1, 20 do reads[i] = neap.fs.read_file('/etc/passwd') end\n"
                       "neap.start(function()\n"
                       "  local server = await(neap.net.listen('127.0.0.1', 0))\n"
                       "  await(server:accept())\n"
                       "end)");
}

TEST(a_state_closes_with_a_failure_that_nobody_has_seen) {
  check_script(PRELUDE "neap.on_unobserved(function() end)\n"
                       "neap.start(function() error('lost') end)");
}

TEST(a_run_ends_with_an_error_and_the_state_is_usable) {
  check_script(PRELUDE "local ok, err = pcall(neap.run, function() error({}) end)\n"
                       "assert(not ok and type(err) == 'table')\n"
                       "assert(neap.run(function() await(neap.sleep(0)) return 1 end) == 1)");
}

/* ---- Threads --------------------------------------------------------------------------------- */

static const char busy_script[] =
    PRELUDE "assert(neap.run(function()\n"
            "  local sum = 0\n"
            "  for i = 1, 200 do\n"
            "    sum = sum + await(neap.start(function() await(neap.yield()) return 1 end))\n"
            "  end\n"
            "  assert(#await(neap.fs.read_file('/etc/passwd')) > 0)\n"
            "  return sum\n"
            "end) == 200)";

typedef struct worker {
  uv_thread_t thread;
  bool holds;
  size_t bytes;
} worker;

static void work(void *data) {
  worker *self = data;
  heap memory = {0};
  lua_State *L = lua_newstate(allocate, &memory);
  self->holds = call(L, open_neap, NULL) && call(L, run_script, busy_script);
  lua_close(L);
  self->bytes = memory.bytes;
}

TEST(two_states_on_two_threads_never_meet) {
  worker workers[2] = {0};
  for (int i = 0; i < 2; i++) CHECK(uv_thread_create(&workers[i].thread, work, &workers[i]) == 0);
  for (int i = 0; i < 2; i++) uv_thread_join(&workers[i].thread);
  for (int i = 0; i < 2; i++) CHECK(workers[i].holds && workers[i].bytes == 0);
}

/* ---- Failing allocations --------------------------------------------------------------------- */

static const char faulty_script[] = PRELUDE
    "neap.on_unobserved(function() end)\n"
    "neap.on_warning(function() end)\n"
    "return neap.run(function()\n"
    "  local tasks = {}\n"
    "  for i = 1, 3 do tasks[i] = neap.start(function() await(neap.sleep(0)) return i end) end\n"
    "  pcall(neap.timeout, 0, function() await(neap.sleep(5)) end)\n"
    "  neap.group(function(g) g:spawn(function() await(neap.yield()) end) end)\n"
    "  await(neap.all(tasks))\n"
    "  return #await(neap.fs.read_file('/etc/passwd'))\n"
    "end)";

/* Runs it with the n-th allocation of Lua failing, of opening or of the script; false when there
 * were fewer. */
static bool run_faulty(unsigned long n, bool persist, bool while_opening) {
  heap memory = {0};
  lua_State *L = lua_newstate(allocate, &memory);
  if (!while_opening) CHECK(call(L, open_neap, NULL));
  memory.fail_at = n;
  memory.persist = persist;
  if (!while_opening || call(L, open_neap, NULL)) call(L, run_script, faulty_script);
  memory.fail_at = 0;
  lua_settop(L, 0);
  lua_close(L);
  CHECK(memory.bytes == 0);
  return memory.fired;
}

/* A state costs TSan a quarter of a second, and these tests have no threads. */
#ifdef __SANITIZE_THREAD__
enum { MOST = 20000, STRIDE = 101 };
#else
enum { MOST = 20000, STRIDE = 1 };
#endif

static unsigned long fail_each(bool persist, bool while_opening, unsigned long step) {
  unsigned long n = 1;
  while (n < MOST && run_faulty(n, persist, while_opening)) n += step * STRIDE;
  CHECK(n > 50 && n < MOST);
  return n;
}

TEST(each_allocation_of_a_script_fails_once) {
  fail_each(false, false, 1);
}

TEST(each_allocation_of_a_script_and_all_after_it_fail) {
  fail_each(true, false, 1);
}

TEST(each_allocation_of_opening_fails) {
  fail_each(false, true, 3);
  fail_each(true, true, 3);
}

/* What failed to open is opened again, and either works or raises. */
TEST(opening_again_after_a_failure_works) {
  for (unsigned long n = 1; n < 2000; n += STRIDE) {
    heap memory = {0};
    lua_State *L = lua_newstate(allocate, &memory);
    memory.fail_at = n;
    call(L, open_neap, NULL);
    memory.fail_at = 0;
    if (!CHECK(call(L, open_neap, NULL) && call(L, run_script, busy_script))) n = 2000;
    bool fired = memory.fired;
    lua_close(L);
    CHECK(memory.bytes == 0);
    if (!fired) break;
  }
}
