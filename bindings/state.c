#include "state.h"

#include "coroutine.h"
#include "error.h"
#include "operations.h"
#include "report.h"
#include "scope.h"
#include "task.h"
#include "watch.h"

static const char registry_key = 'k';

neapL__state *neapL__state_get(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &registry_key);
  neapL__state *state = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return state;
}

int neapL__raise_memory(lua_State *L) {
  return luaL_error(L, "not enough memory");
}

static const char closed_message[] =
    "the loop is closed: its Lua state is ending, nothing can be started or awaited";

void neapL__check_open(lua_State *L, neapL__state *state) {
  if (state->is_closing) neapL__misuse(L, closed_message);
}

void neapL__check_alive(lua_State *L, neapL__state *state) {
  if (state->is_closed) neapL__misuse(L, closed_message);
}

/* ---- Slots --------------------------------------------------------------------------------- */

static void slots_init(lua_State *L, neapL__slots *slots) {
  lua_newtable(L);
  slots->ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static uint32_t take_free(lua_State *L, neapL__slots *slots) {
  uint32_t slot = slots->free;
  lua_rawgeti(L, -1, slot);
  slots->free = (uint32_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return slot;
}

uint32_t neapL__slot_give(lua_State *L, neapL__slots *slots) {
  neapL__push_ref(L, slots->ref);
  uint32_t slot = slots->free;
  if (slot) {
    take_free(L, slots);
  } else {
    slot = slots->size + 1;
    lua_pushboolean(L, 0);
    lua_rawseti(L, -2, slot); /* may raise; nothing has changed then */
    slots->size = slot;
  }
  slots->used++;
  lua_insert(L, -2);
  lua_rawseti(L, -2, slot);
  lua_pop(L, 1);
  return slot;
}

void neapL__slot_push(lua_State *L, const neapL__slots *slots, uint32_t slot) {
  neapL__push_ref(L, slots->ref);
  lua_rawgeti(L, -1, slot);
  lua_remove(L, -2);
}

void neapL__slot_free(lua_State *L, neapL__slots *slots, uint32_t slot) {
  neapL__push_ref(L, slots->ref);
  lua_pushinteger(L, slots->free);
  lua_rawseti(L, -2, slot);
  lua_pop(L, 1);
  slots->free = slot;
  slots->used--;
}

/* ---- Registering --------------------------------------------------------------------------- */

void neapL__register(lua_State *L, const luaL_Reg *functions) {
  neapL__state *state = neapL__state_get(L);
  for (; functions->name; functions++) {
    lua_pushlightuserdata(L, state);
    lua_pushcclosure(L, functions->func, 1);
    lua_setfield(L, -2, functions->name);
  }
}

int neapL__class(lua_State *L, const char *name, const luaL_Reg *metamethods,
                 const luaL_Reg *methods) {
  lua_newtable(L);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  if (methods) {
    lua_newtable(L);
    neapL__register(L, methods);
    lua_setfield(L, -2, "__index");
  }
  if (metamethods) neapL__register(L, metamethods);
  lua_pushvalue(L, -1);
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* ---- Opening and closing -------------------------------------------------------------------- */

static void on_settled(void *data, neap_task *task) {
  neapL__state *state = data;
  neapL__slot_free(state->aux, &state->pins, task->host);
  task->host = 0;
}

static void on_cause_released(void *data, uint32_t host) {
  neapL__state *state = data;
  neapL__slot_free(state->aux, &state->pins, host);
}

/* The Lua state closes: bodies end first, the youngest first, then the core. */
static int close_state(lua_State *L) {
  neapL__state *state = lua_touserdata(L, 1);
  if (state->is_closing || !state->loop) return 0;
  state->is_closing = true;
  neapL__close_bodies(L, state);
  neapL__report_all(L, state);
  neap_loop_close(state->loop);
  state->is_closed = true;
  return 0;
}

static void weak_table(lua_State *L, int *ref, const char *mode) {
  lua_newtable(L);
  lua_newtable(L);
  lua_pushstring(L, mode);
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  *ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void new_table(lua_State *L, int *ref) {
  lua_newtable(L);
  *ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void open_tables(lua_State *L, neapL__state *state) {
  slots_init(L, &state->pins);
  slots_init(L, &state->coroutines);
  new_table(L, &state->cancelled_ref);
  new_table(L, &state->captures_ref);
  weak_table(L, &state->failures_ref, "v");
  weak_table(L, &state->names_ref, "k");
  weak_table(L, &state->watches_ref, "k");
  state->aux = state->runner = lua_newthread(L);
  luaL_ref(L, LUA_REGISTRYINDEX);
  state->on_unobserved_ref = state->on_warning_ref = LUA_NOREF;
}

neapL__state *neapL__state_open(lua_State *L) {
  neapL__state *state = neapL__state_get(L);
  if (state) return state;
  state = lua_newuserdatauv(L, sizeof *state, 0);
  *state = (neapL__state){0};
  neap__list_init(&state->lost);
  neap__list_init(&state->reports);
  neap__list_init(&state->bodies);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, close_state);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &registry_key);
  open_tables(L, state);
  neapL__open_errors(L, state);
  neapL__open_tasks(L, state);
  neapL__open_scopes(L, state);
  neapL__open_reports(state);
  neapL__open_watches(L, state);
  int code = neap_loop_new(NULL, &state->loop);
  if (code) luaL_error(L, "neap: cannot make a loop: %s", neap_error_message(code));
  state->loop->hooks = (neap__hooks){state, on_settled, on_cause_released};
  return state;
}
