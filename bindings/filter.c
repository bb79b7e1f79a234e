#include "filter.h"

#include "conn.h"

static const char maker_key = 0, reader_key = 0;

void neapL__set_filter_maker(lua_State *L) {
  lua_pushboolean(L, true);
  lua_rawsetp(L, -2, &maker_key);
}

/* The maker behind the value on top, or NULL. */
static neap__filter_maker *to_maker(lua_State *L) {
  if (!lua_isuserdata(L, -1) || !lua_getmetatable(L, -1)) return NULL;
  bool is_maker = lua_rawgetp(L, -1, &maker_key) == LUA_TBOOLEAN;
  lua_pop(L, 2);
  return is_maker ? ((neapL__object *)lua_touserdata(L, -1))->core : NULL;
}

/* The option is on top, of the options at `index`. */
static neap__filter_maker *read_tls(lua_State *L, int index, const char *role, const char *host,
                                    int port) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &reader_key);
  lua_insert(L, -2);
  lua_pushstring(L, role);
  lua_pushstring(L, host);
  lua_pushinteger(L, port);
  lua_pushinteger(L, index);
  lua_call(L, 5, 1);
  neap__filter_maker *maker = to_maker(L);
  if (maker) maker->ref(maker);
  return maker;
}

neap__filter_maker *neapL__option_tls(lua_State *L, int index, const char *role, const char *host,
                                      int port) {
  if (!lua_istable(L, index)) return NULL;
  lua_getfield(L, index, "tls");
  neap__filter_maker *maker = lua_toboolean(L, -1) ? read_tls(L, index, role, host, port) : NULL;
  lua_pop(L, 1);
  return maker;
}

static int on_tls(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &reader_key);
  return 0;
}

const luaL_Reg neapL__filter_functions[] = {
    {"on_tls", on_tls}, {"add_conn_methods", neapL__add_conn_methods}, {NULL, NULL}};
