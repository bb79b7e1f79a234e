#include "locals.h"

/* Where the slot of the current context is kept. */
static uint32_t *slot_of(neapL__state *state, neapL__task *task) {
  return task ? &task->locals : &state->root_locals;
}

void neapL__push_locals(lua_State *L, neapL__state *state) {
  uint32_t slot = *slot_of(state, neapL__current(state));
  if (slot)
    neapL__slot_push(L, &state->locals, slot);
  else
    lua_pushnil(L);
}

static void replace(lua_State *L, neapL__state *state, uint32_t *slot) {
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    if (*slot) neapL__slot_free(L, &state->locals, *slot);
    *slot = 0;
  } else if (*slot) {
    neapL__push_ref(L, state->locals.ref);
    lua_insert(L, -2);
    lua_rawseti(L, -2, *slot);
    lua_pop(L, 1);
  } else {
    *slot = neapL__slot_give(L, &state->locals);
  }
}

void neapL__set_locals(lua_State *L, neapL__state *state, neapL__task *task) {
  replace(L, state, slot_of(state, task));
}

bool neapL__reserve_locals(lua_State *L, neapL__state *state) {
  if (!*slot_of(state, neapL__current(state))) return false;
  neapL__slot_reserve(L, &state->locals);
  return true;
}

void neapL__inherit_locals(lua_State *L, neapL__state *state, neapL__task *task) {
  neapL__push_locals(L, state);
  neapL__set_locals(L, state, task);
}

void neapL__forget_locals(neapL__state *state, neapL__task *task) {
  if (task->locals) neapL__slot_free(state->aux, &state->locals, task->locals);
  task->locals = 0;
}

uint32_t neapL__enter_locals(lua_State *L, neapL__state *state) {
  uint32_t slot = 0, former = state->root_locals;
  replace(L, state, &slot);
  state->root_locals = slot;
  return former;
}

void neapL__leave_locals(neapL__state *state, uint32_t former) {
  if (state->root_locals) neapL__slot_free(state->aux, &state->locals, state->root_locals);
  state->root_locals = former;
}

/* core.locals() -> table | nil; not to be changed */
static int locals(lua_State *L) {
  neapL__push_locals(L, neapL__state_here(L));
  return 1;
}

/* core.set_locals(table) */
static int set_locals(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  lua_settop(L, 1);
  neapL__set_locals(L, state, neapL__current(state));
  return 0;
}

const luaL_Reg neapL__locals_functions[] = {
    {"locals", locals}, {"set_locals", set_locals}, {NULL, NULL}};
