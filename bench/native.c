/* A C host with an operation of its own, which ends on the spot; `native FILE` runs a script. */
#include <stdio.h>

#include <lauxlib.h>
#include <lualib.h>

#include "operations.h"

int luaopen_neap_core(lua_State *L);

static int start_call(neap__op *op) {
  neap__op_settle(op, 0);
  return 0;
}

static const neap__op_kind call_kind = {
    .task = NEAP__OP_TASK("native.call"), .size = sizeof(neap__op), .start = start_call};

static int push_one(lua_State *L, neapL__state *state, int index) {
  (void)state;
  (void)index;
  lua_pushinteger(L, 1);
  return 1;
}

static const neapL__row rows[] = {{"native.call", &call_kind, NULL, push_one, NULL},
                                  {NULL, NULL, NULL, NULL, NULL}};

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  if (argc != 2 || !L) return 2;
  luaL_openlibs(L);
  luaL_requiref(L, "neap.core", luaopen_neap_core, 0);
  lua_newtable(L);
  neapL__register_rows(L, rows);
  lua_setglobal(L, "native");
  bool is_ok = luaL_dofile(L, argv[1]) == LUA_OK;
  if (!is_ok) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
  return is_ok ? 0 : 1;
}
