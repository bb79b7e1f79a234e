#include "../driver.h"
#include "host.h"

#include <string.h>

/* (version) */
static int check_copy(lua_State *L) {
  neapL__check_copy(L, "sqlite", lua_touserdata(L, 1));
  return 0;
}

/* Its message must have `part` in it; NULL: it must not raise. */
static void check_message(lua_State *L, const char *version, const char *part) {
  lua_pushcfunction(L, check_copy);
  lua_pushlightuserdata(L, (void *)(uintptr_t)version);
  int status = lua_pcall(L, 1, 0, 0);
  CHECK((status == LUA_OK) == !part);
  if (part && !CHECK(strstr(lua_tostring(L, -1), part)))
    fprintf(stderr, "# %s\n", lua_tostring(L, -1));
  lua_settop(L, 0);
}

static void check_driver(lua_CFunction prepare, const char *version, const char *part) {
  heap memory = {0};
  lua_State *L = lua_newstate(allocate, &memory);
  lua_pushcfunction(L, prepare);
  CHECK(lua_pcall(L, 0, 0, 0) == LUA_OK);
  check_message(L, version, part);
  lua_close(L);
  CHECK(memory.bytes == 0);
}

static int prepare_nothing(lua_State *L) {
  luaL_openlibs(L);
  return 0;
}

static int prepare_other_copy(lua_State *L) {
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_newtable(L);
  lua_setfield(L, -2, "neap.core");
  return 0;
}

TEST(a_driver_of_the_neap_that_is_loaded_opens) {
  check_driver(open_neap, NEAP_VERSION, NULL);
}

TEST(a_driver_wants_neap_first) {
  check_driver(prepare_nothing, NEAP_VERSION, "require \"neap\" before \"neap.sqlite_driver\"");
}

TEST(a_driver_of_another_copy_says_what_to_link) {
  check_driver(prepare_other_copy, NEAP_VERSION, "links libneaplua_sqlite.a");
}

TEST(a_driver_of_another_version_is_refused) {
  check_driver(open_neap, "0.0.1", "neap.sqlite_driver is of neap 0.0.1, but this is neap ");
}
