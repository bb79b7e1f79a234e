// tsan: jobs in Lua states that get what the host's has
#include "../builtin.h"
#include "host.h"

#include <string.h>

/* No path leads anywhere. */
static int open_host(lua_State *L) {
  luaL_openlibs(L);
  lua_getglobal(L, "package");
  lua_pushliteral(L, "");
  lua_setfield(L, -2, "path");
  lua_pushliteral(L, "");
  lua_setfield(L, -2, "cpath");
  return 0;
}

static int preload(lua_State *L) {
  neapL__preload(L);
  return 0;
}

static int run_script(lua_State *L) {
  const char *script = lua_touserdata(L, 1);
  if (luaL_loadbuffer(L, script, strlen(script), "@user.lua") != LUA_OK) return lua_error(L);
  lua_call(L, 0, 0);
  return 0;
}

static bool call(lua_State *L, lua_CFunction fn, const char *argument) {
  lua_pushcfunction(L, fn);
  lua_pushlightuserdata(L, (void *)(uintptr_t)argument);
  return lua_pcall(L, 1, 0, 0) == LUA_OK;
}

static void check(lua_State *L, lua_CFunction fn, const char *argument) {
  if (CHECK(call(L, fn, argument))) return;
  fprintf(stderr, "# %s\n", lua_tostring(L, -1));
  lua_pop(L, 1);
}

static void check_script(const char *script) {
  heap memory = {0};
  lua_State *L = lua_newstate(allocate, &memory);
  check(L, open_host, NULL);
  check(L, preload, NULL);
  check(L, run_script, script);
  lua_close(L);
  CHECK(memory.bytes == 0);
}

#define PRELUDE                                                                                    \
  "local neap = require 'neap'\n"                                                                  \
  "local await = neap.await\n"

TEST(a_host_needs_no_path) {
  check_script(PRELUDE "assert(neap.run(function()\n"
                       "  await(neap.sleep(0))\n"
                       "  local guard <close> = await(neap.mutex():lock())\n"
                       "  return 7\n"
                       "end) == 7)");
}

TEST(every_module_is_there) {
  check_script(PRELUDE "local count = 0\n"
                       "for name in pairs(package.preload) do\n"
                       "  local ok, err = pcall(require, name)\n"
                       "  local is_driver = type(err) == 'table' and err.code == 'ENOTSUP' or\n"
                       "    tostring(err):find('_driver', 1, true)\n"
                       "  assert(ok or is_driver, name .. ': ' .. tostring(err))\n"
                       "  count = count + 1\n"
                       "end\n"
                       "assert(count > 40)\n"
                       "assert(package.loaded['neap'] == neap)");
}

TEST(a_chunk_is_named_after_its_file) {
  check_script(PRELUDE "local info = debug.getinfo(neap.semaphore, 'S')\n"
                       "assert(info.source == '@neap/semaphore.lua', info.source)\n"
                       "assert(info.linedefined > 1)");
}

TEST(an_error_names_the_line_of_the_user) {
  check_script(PRELUDE "local function wrong()\n"
                       "  neap.semaphore('no number')\n"
                       "end\n"
                       "local ok, err = pcall(wrong)\n"
                       "assert(not ok and err:find('^user.lua:4: bad argument #1'), err)");
}

TEST(misuse_names_the_line_of_the_user) {
  check_script(PRELUDE "neap.run(function()\n"
                       "  local guard = await(neap.mutex():lock())\n"
                       "  guard:unlock()\n"
                       "  local ok, err = pcall(function()\n"
                       "    guard:unlock()\n"
                       "  end)\n"
                       "  assert(not ok and err.where == 'user.lua:7', tostring(err.where))\n"
                       "end)");
}

TEST(what_is_preloaded_already_stays) {
  heap memory = {0};
  lua_State *L = lua_newstate(allocate, &memory);
  check(L, open_host, NULL);
  check(L, run_script, "package.preload['neap.json'] = function() return 'mine' end");
  check(L, preload, NULL);
  check(L, preload, NULL);
  check(L, run_script, "assert(require 'neap.json' == 'mine')");
  lua_close(L);
  CHECK(memory.bytes == 0);
}

TEST(opening_neap_alone_preloads_nothing) {
  heap memory = {0};
  lua_State *L = lua_newstate(allocate, &memory);
  check(L, open_neap, NULL);
  check(L, run_script, PRELUDE "assert(next(package.preload) == nil)");
  lua_close(L);
  CHECK(memory.bytes == 0);
}

/* ---- Workers --------------------------------------------------------------------------------- */

static int open_host_module(lua_State *L) {
  lua_pushliteral(L, "of the host");
  return 1;
}

static int preload_host_module(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, open_host_module);
  lua_setfield(L, -2, "host.module");
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, open_host_module, 1);
  lua_setfield(L, -2, "host.closure");
  return 0;
}

static const char worker_script[] = PRELUDE
    "neap.run(function()\n"
    "  local results = await(neap.all{\n"
    "    neap.worker.run(function() return require('neap').version end),\n"
    "    neap.worker.run(function() return require 'host.module' end),\n"
    "    neap.worker.run(function() return (pcall(require, 'host.closure')) end),\n"
    "  })\n"
    "  assert(results[1] == neap.version)\n"
    "  assert(results[2] == 'of the host')\n"
    "  assert(results[3] == false)\n"
    "  local sum = await(neap.parallel.reduce({1, 2, 3}, function(a, b) return a + b end, 0))\n"
    "  assert(sum == 6)\n"
    "end)";

TEST(workers_have_what_their_host_has) {
  heap memory = {0};
  lua_State *L = lua_newstate(allocate, &memory);
  check(L, open_host, NULL);
  check(L, preload_host_module, NULL);
  check(L, preload, NULL);
  check(L, run_script, worker_script);
  lua_close(L);
  CHECK(memory.bytes == 0);
}

TEST(preloading_again_is_seen_by_the_next_job) {
  heap memory = {0};
  lua_State *L = lua_newstate(allocate, &memory);
  const char *before =
      PRELUDE "neap.run(function() await(neap.worker.run(function() return 1 end)) end)";
  check(L, open_host, NULL);
  check(L, preload, NULL);
  check(L, run_script, before);
  check(L, preload_host_module, NULL);
  check(L, preload, NULL);
  check(L, run_script, worker_script);
  lua_close(L);
  CHECK(memory.bytes == 0);
}

/* ---- Failing allocations --------------------------------------------------------------------- */

static bool fail_preload(unsigned long n) {
  heap memory = {0};
  lua_State *L = lua_newstate(allocate, &memory);
  check(L, open_host, NULL);
  memory.fail_at = n;
  memory.persist = true; /* one alone is made up for by a collection */
  bool holds = call(L, preload, NULL);
  memory.fail_at = 0;
  CHECK(holds != memory.fired);
  lua_settop(L, 0);
  check(L, preload, NULL);
  check(L, run_script, "require 'neap'");
  lua_close(L);
  CHECK(memory.bytes == 0);
  return memory.fired;
}

TEST(each_allocation_of_preloading_fails) {
  unsigned long n = 1;
  while (n < 1000 && fail_preload(n)) n++;
  CHECK(n > 10 && n < 1000);
}
