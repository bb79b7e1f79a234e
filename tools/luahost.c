/*
** Runs a Lua script as the standalone interpreter does: luahost FILE [ARGS], or luahost -e CODE.
** It exists for the sanitizers, which want to be linked into the executable. C modules stay mapped
** after lua_close, so that leak reports can name the functions in them.
*/
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Found by liblua before the one of libc. */
__attribute__((visibility("default"))) int dlclose(void *handle);
int dlclose(void *handle) {
  (void)handle;
  return 0;
}

static int add_traceback(lua_State *L) {
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

/* arg[0] is the script, arg[1] ... its arguments, arg[-1] ... what came before. [-0, +0] */
static void set_arg(lua_State *L, int argc, char **argv, int script) {
  lua_createtable(L, argc, 0);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
}

/* Protected, for all of it may run out of memory. [-2, +0] */
static int run(lua_State *L) {
  int argc = (int)lua_tointeger(L, 1);
  char **argv = (char **)lua_touserdata(L, 2);
  bool is_code = argc == 3 && strcmp(argv[1], "-e") == 0;
  luaL_openlibs(L);
  set_arg(L, argc, argv, is_code ? 0 : 1);
  lua_settop(L, 0);
  lua_pushcfunction(L, add_traceback);
  if ((is_code ? luaL_loadstring(L, argv[2]) : luaL_loadfile(L, argv[1])) != LUA_OK)
    return lua_error(L);
  for (int i = 2; i < argc && !is_code; i++) {
    luaL_checkstack(L, 1, "too many arguments");
    lua_pushstring(L, argv[i]);
  }
  if (lua_pcall(L, lua_gettop(L) - 2, 0, 1) != LUA_OK) return lua_error(L);
  return 0;
}

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  int status;
  if (L == NULL || argc < 2) return fprintf(stderr, "usage: luahost FILE [ARGS]\n"), 2;
  lua_pushcfunction(L, run);
  lua_pushinteger(L, argc);
  lua_pushlightuserdata(L, argv);
  status = lua_pcall(L, 2, 0, 0);
  if (status != LUA_OK) fprintf(stderr, "luahost: %s\n", lua_tostring(L, -1));
  lua_close(L);
  return status == LUA_OK ? 0 : 1;
}
