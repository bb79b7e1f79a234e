#include "loader.h"

#include <string.h>

/* Upvalues of all: Lua's own, the environment. */

/* Calls Lua's own with the environment as argument number `place`, unless there is one. */
static int load_for(lua_State *L, int place) {
  if (lua_gettop(L) < place) {
    lua_settop(L, place - 1);
    lua_pushvalue(L, lua_upvalueindex(2));
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

static int load_text(lua_State *L) {
  return load_for(L, 4);
}

static int load_file(lua_State *L) {
  return load_for(L, 3);
}

static int done(lua_State *L, int status, lua_KContext context) {
  (void)status, (void)context;
  return lua_gettop(L) - 1;
}

static int do_file(lua_State *L) {
  const char *name = luaL_optstring(L, 1, NULL);
  lua_settop(L, 1);
  if (luaL_loadfile(L, name) != LUA_OK) return lua_error(L);
  lua_pushvalue(L, lua_upvalueindex(2));
  if (!lua_setupvalue(L, -2, 1)) lua_pop(L, 1);
  lua_callk(L, 0, LUA_MULTRET, 0, done);
  return done(L, 0, 0);
}

static const luaL_Reg loaders[] = {
    {"load", load_text}, {"loadfile", load_file}, {"dofile", do_file}, {NULL, NULL}};

void neapL__bind_loader(lua_State *L, int environment, int name) {
  const char *wanted = lua_type(L, name) == LUA_TSTRING ? lua_tostring(L, name) : "";
  for (const luaL_Reg *loader = loaders; loader->name; loader++) {
    if (strcmp(wanted, loader->name) != 0) continue;
    lua_pushvalue(L, environment);
    lua_pushcclosure(L, loader->func, 2);
    return;
  }
}
