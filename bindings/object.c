#include "object.h"

#include "await.h"
#include "error.h"

neapL__object *neapL__push_object(lua_State *L, const neapL__meta *meta) {
  neapL__object *self = lua_newuserdatauv(L, sizeof *self, 0);
  self->core = NULL;
  neapL__set_meta(L, -1, meta);
  return self;
}

void *neapL__check_core(lua_State *L, int index, const neapL__meta *meta, const char *name) {
  const neapL__object *self = neapL__check_object(L, index, meta, name);
  if (!self->core) neapL__misuse(L, "the %s was finalized", name);
  return self->core;
}

void neapL__object_class(lua_State *L, neapL__meta *meta, const char *name,
                         const luaL_Reg *metamethods, const luaL_Reg *methods,
                         const neapL__row *rows) {
  neapL__class(L, meta, name, metamethods, methods);
  lua_getfield(L, -1, "__index");
  neapL__register_rows(L, rows);
  lua_pop(L, 2);
}

void neapL__check_turn(lua_State *L, const neap__op *turn, const char *what) {
  if (turn && !neap__op_is_orphan(turn))
    neapL__misuse(L, "two %ss at once on one object: await the first one before the next", what);
}

int neapL__call_and_await(lua_State *L, neapL__state *state, const neapL__row *row) {
  neapL__check_awaiting(L, state); /* or it would be started for nobody */
  state->arguments = lua_gettop(L);
  neapL__start_operation(L, state, row);
  lua_replace(L, 1);
  lua_settop(L, 1);
  return neapL__await_own(L, state, 1);
}

int neapL__close_and_wait(lua_State *L, lua_CFunction close) {
  neapL__state *state = neapL__state_here(L);
  lua_settop(L, 1);
  if (state->is_closing) return 0; /* the loop closes what is open */
  close(L);
  if (!neapL__current(state) || !lua_isyieldable(L)) return 0;
  lua_replace(L, 1);
  lua_settop(L, 1);
  return neapL__await(L, state, 1);
}
