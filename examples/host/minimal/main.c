/* The smallest host: a Lua state with neap, and an async function of the host's own.
 *   minimal SCRIPT */
#include <neap/neaplua.h>

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>

/* host.add_slowly(a, b): a call that blocks, so it runs on a thread of neap's; scripts await its result. */
static int add_slowly(neap_work *work, void *frame, const neap_values *arguments,
                      neap_values *results) {
  (void)work, (void)frame;
  uv_sleep(10); /* stands for something that takes long */
  neap_values_add_integer(results, neap_value_integer(neap_values_at(arguments, 0)) +
                                       neap_value_integer(neap_values_at(arguments, 1)));
  return 0;
}

static const neapL_function functions[] = {
    {.kind = {.name = "host.add_slowly"}, .arguments = "ii", .run = add_slowly},
    {.kind = {.name = NULL}},
};

/* What the script gets from require "host". */
static int open_host(lua_State *L) {
  lua_newtable(L);
  neapL_register(L, functions);
  return 1;
}

/* Protected: what raises in here is the result of lua_pcall, not a panic. */
static int run(lua_State *L) {
  const char *script = (const char *)lua_touserdata(L, 1);
  luaL_openlibs(L);
  if (neapL_open(L, NULL)) return lua_error(L); /* the message is on the stack */
  neapL_preload(L, "host", open_host);
  if (luaL_loadfile(L, script) != LUA_OK) return lua_error(L);
  lua_call(L, 0, 0); /* the script calls neap.run, which returns when its tasks have ended */
  return 0;
}

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  if (!L || argc < 2) return 1;
  lua_pushcfunction(L, run);
  lua_pushlightuserdata(L, argv[1]);
  int status = lua_pcall(L, 1, 0, 0);
  if (status != LUA_OK) fprintf(stderr, "minimal: %s\n", luaL_tolstring(L, -1, NULL));
  lua_close(L); /* ends neap, too, whatever is under way */
  return status == LUA_OK ? 0 : 1;
}
