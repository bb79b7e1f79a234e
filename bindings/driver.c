#include "driver.h"

#include "state.h"

#include <string.h>

static bool has_core(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  bool has_it = lua_getfield(L, -1, "neap.core") != LUA_TNIL;
  lua_pop(L, 2);
  return has_it;
}

void neapL__check_copy(lua_State *L, const char *driver, const char *version) {
  luaL_checkversion(L);
  if (strcmp(version, NEAP_VERSION) != 0)
    luaL_error(L, "neap.%s_driver is of neap %s, but this is neap %s", driver, version,
               NEAP_VERSION);
  if (neapL__state_get(L)) return;
  if (!has_core(L)) luaL_error(L, "require \"neap\" before \"neap.%s_driver\"", driver);
  luaL_error(L,
             "neap.%s_driver is linked to another copy of neap than this Lua state uses: a host "
             "with the static libneaplua links libneaplua_%s.a as well, and puts "
             "luaopen_neap_%s_driver into package.preload; or it links the shared libneaplua",
             driver, driver, driver);
}

neapL__state *neapL__need(lua_State *L) {
  neapL__state *state = neapL__state_get(L);
  if (state) return state;
  luaL_checkstack(L, 4, "neap");
  lua_getglobal(L, "require");
  lua_pushliteral(L, "neap.core");
  lua_call(L, 1, 0);
  state = neapL__state_get(L);
  if (!state)
    luaL_error(
        L, "a native module is linked to another copy of neap than this Lua state uses: it should "
           "link the shared libneaplua");
  return state;
}
