/* What the tests of closing share: a script in a Lua state that is closed behind it. */
#ifndef NEAP_TEST_CLOSE_H
#define NEAP_TEST_CLOSE_H

#include "host.h"

/* What a script tells its host with `note`; it outlives the state. */
static char noted[512];

static int note(lua_State *L) {
  size_t length = strlen(noted);
  snprintf(noted + length, sizeof noted - length, "%s%s", length ? " " : "",
           luaL_tolstring(L, 1, NULL));
  return 0;
}

static int open_with_note(lua_State *L) {
  open_neap(L);
  lua_register(L, "note", note);
  return 0;
}

static int run_script(lua_State *L) {
  const char *script = lua_touserdata(L, 1);
  if (luaL_loadstring(L, script) != LUA_OK) return lua_error(L);
  lua_call(L, 0, 0);
  return 0;
}

static bool call(lua_State *L, lua_CFunction fn, const char *argument) {
  lua_pushcfunction(L, fn);
  lua_pushlightuserdata(L, (void *)(uintptr_t)argument);
  return lua_pcall(L, 1, 0, 0) == LUA_OK;
}

/* `run` starts tasks, runs them for some turns and comes back with what they wait for still pending; `closing` gives a
 * value whose end is noted; reports are noted by their kind, so that none goes to stderr. */
#define PRELUDE                                                                                    \
  "local neap = require 'neap'\n"                                                                  \
  "local await, start, sleep = neap.await, neap.start, neap.sleep\n"                               \
  "neap.on_unobserved(function() note 'unobserved' end)\n"                                         \
  "neap.on_warning(function() note 'warning' end)\n"                                               \
  "local function run(fn, turns)\n"                                                                \
  "  local task = start(function() fn() for _ = 1, turns or 5 do await(neap.yield()) end end)\n"   \
  "  task:wait()\n"                                                                                \
  "end\n"                                                                                          \
  "local function closing(name, fn)\n"                                                             \
  "  return setmetatable({}, {__close = function() note(name) if fn then fn() end end})\n"         \
  "end\n"                                                                                          \
  "local background = neap.background\n"                                                           \
  "local function pairs_of(yield) for i = 1, math.huge do yield(i) end end\n"

/* Runs a script in a state of its own, closes that, and compares what was noted. */
static void check_close(const char *script, const char *expected) {
  heap memory = {0};
  noted[0] = '\0';
  lua_State *L = lua_newstate(allocate, &memory);
  CHECK(call(L, open_with_note, NULL));
  if (!CHECK(call(L, run_script, script))) fprintf(stderr, "# %s\n", lua_tostring(L, -1));
  lua_close(L);
  CHECK(memory.bytes == 0);
  if (!CHECK(strcmp(noted, expected) == 0)) fprintf(stderr, "# noted: %s\n", noted);
}

#endif
