/* A host without a Lua path, for tools/install/check.sh: host SCRIPT [ARGS] */
#include <neap/neaplua.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

int luaopen_neap_sqlite_driver(lua_State *L);

static void set_path(lua_State *L, const char *field, const char *path) {
  lua_getglobal(L, "package");
  lua_pushstring(L, path);
  lua_setfield(L, -2, field);
  lua_pop(L, 1);
}

static int open_neap(lua_State *L) {
  luaL_openlibs(L);
  set_path(L, "path", "");
#ifdef HAS_DRIVER
  set_path(L, "cpath", "");
  neapL_preload(L, "neap.sqlite_driver", luaopen_neap_sqlite_driver);
#endif
  return neapL_open(L, NULL) ? lua_error(L) : 0;
}

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  lua_pushcfunction(L, open_neap);
  int status = lua_pcall(L, 0, 0, 0);
  if (status == LUA_OK) status = argc > 1 ? luaL_loadfile(L, argv[1]) : LUA_ERRFILE;
  for (int i = 2; i < argc && status == LUA_OK; i++) lua_pushstring(L, argv[i]);
  if (status == LUA_OK) status = lua_pcall(L, argc - 2, 0, 0);
  if (status != LUA_OK) fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
  lua_close(L);
  return status;
}
