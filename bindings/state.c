#include "state.h"

#include "buffer.h"
#include "call.h"
#include "channel.h"
#include "conn.h"
#include "coroutine.h"
#include "counters.h"
#include "each.h"
#include "error.h"
#include "faults.h"
#include "file.h"
#include "luv.h"
#include "native.h"
#include "net.h"
#include "operations.h"
#include "process.h"
#include "report.h"
#include "run.h"
#include "scope.h"
#include "signals.h"
#include "standard.h"
#include "stream.h"
#include "task.h"
#include "thread_channel.h"
#include "token.h"
#include "transfer.h"
#include "udp.h"
#include "waiter.h"
#include "watch.h"
#include "watcher.h"
#include "websocket.h"
#include "worker.h"

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

void neapL__slot_reserve(lua_State *L, neapL__slots *slots) {
  if (slots->free) return;
  uint32_t slot = slots->size + 1;
  neapL__push_ref(L, slots->ref);
  lua_pushinteger(L, 0);
  lua_rawseti(L, -2, slot); /* may raise; nothing has changed then */
  lua_pop(L, 1);
  slots->size = slots->free = slot;
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

void neapL__class(lua_State *L, neapL__meta *meta, const char *name, const luaL_Reg *metamethods,
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
  meta->id = lua_topointer(L, -1);
  lua_pushvalue(L, -1);
  meta->ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

void neapL__class_with_fields(lua_State *L, neapL__meta *meta, const char *name,
                              const luaL_Reg *metamethods, const luaL_Reg *methods,
                              lua_CFunction index) {
  neapL__class(L, meta, name, metamethods, NULL);
  lua_pushlightuserdata(L, neapL__state_get(L));
  lua_newtable(L);
  neapL__register(L, methods);
  lua_pushcclosure(L, index, 2);
  lua_setfield(L, -2, "__index");
}

void *neapL__check_object(lua_State *L, int index, const neapL__meta *meta, const char *name) {
  bool is_it = lua_type(L, index) == LUA_TUSERDATA && neapL__has_meta(L, index, meta);
  if (!is_it) luaL_typeerror(L, index, name);
  return lua_touserdata(L, index);
}

/* ---- Opening and closing -------------------------------------------------------------------- */

static void on_settled(void *data, neap_task *task) {
  neapL__state *state = data;
  lua_State *L = state->aux;
  if (task->flags & NEAPL__CARRIES) {
    neapL__slot_push(L, &state->pins, task->host);
    lua_pushnil(L);
    lua_setiuservalue(L, -2, NEAPL__CARRIED);
    lua_pop(L, 1);
  }
  neapL__slot_free(L, &state->pins, task->host);
  task->host = 0;
}

static void on_released(void *data, uint32_t host) {
  neapL__state *state = data;
  neapL__slot_free(state->aux, &state->pins, host);
}

static int close_bodies(lua_State *L) {
  neapL__close_all(L, lua_touserdata(L, 1));
  return 0;
}

static int report_rest(lua_State *L) {
  neapL__report_all(L, lua_touserdata(L, 1));
  return 0;
}

/* Without memory it raises: then as much is done as could be, and the loop is closed all the same. */
static void attempt(lua_State *L, neapL__state *state, lua_CFunction fn) {
  lua_pushcfunction(L, fn);
  lua_pushlightuserdata(L, state);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
}

/* The Lua state closes: bodies end first, the youngest first, then the core. */
void neapL__state_close(lua_State *L, neapL__state *state) {
  if (state->is_closing || !state->loop) return;
  state->is_closing = true;
  neapL__end_faults(L); /* or the allocator would be gone before the last block */
  attempt(L, state, close_bodies);
  attempt(L, state, report_rest);
  neapL__forget_reports(state);
  neapL__close_transfer(state);
  neapL__close_luv(L, state);
  neapL__close_calls(state);
  neap_loop_close(state->loop);
  neapL__leave_luv(state);
  neapL__close_native_calls(state);
  neapL__close_workers(state);
  state->is_closed = true;
}

static int close_state(lua_State *L) {
  neapL__state_close(L, lua_touserdata(L, 1));
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
  slots_init(L, &state->locals);
  new_table(L, &state->cancelled_ref);
  new_table(L, &state->captures_ref);
  new_table(L, &state->rows_ref);
  weak_table(L, &state->failures_ref, "v");
  weak_table(L, &state->registrations_ref, "v");
  weak_table(L, &state->names_ref, "k");
  weak_table(L, &state->watches_ref, "k");
  weak_table(L, &state->pushed_ref, "v");
  weak_table(L, &state->functions_ref, "k");
  new_table(L, &state->classes_ref);
  state->aux = state->runner = lua_newthread(L);
  luaL_ref(L, LUA_REGISTRYINDEX);
  state->on_unobserved_ref = state->on_warning_ref = LUA_NOREF;
  lua_createtable(L, NEAPL__SPARES, 0);
  state->spares_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

typedef struct opening {
  neapL__state *state;
  const neap_loop_options *options;
} opening;

/* (opening) */
static int open_protected(lua_State *L) {
  const opening *self = lua_touserdata(L, 1);
  neapL__state *state = self->state;
  open_tables(L, state);
  neapL__open_errors(L, state);
  neapL__open_tasks(L, state);
  neapL__open_scopes(L, state);
  neapL__open_reports(state);
  neapL__open_watches(L, state);
  neapL__open_queues(L, state);
  neapL__open_channels(L, state);
  neapL__open_thread_channels(L, state);
  neapL__open_tokens(L, state);
  neapL__open_each(L, state);
  neapL__open_streams(L, state);
  neapL__open_files(L, state);
  neapL__open_conns(L, state);
  neapL__open_servers(L, state);
  neapL__open_udp(L, state);
  neapL__open_websockets(L, state);
  neapL__open_signals(L, state);
  neapL__open_watchers(L, state);
  neapL__open_processes(L, state);
  neapL__open_terminals(L, state);
  neapL__open_buffers(L, state);
  neapL__open_transfer(L, state);
  neapL__open_workers(L, state);
  neapL__open_counters(L, state);
  int code = neap_loop_new(self->options, &state->loop);
  if (code) luaL_error(L, "neap: cannot make a loop: %s", neap_error_message(code));
  state->clock = self->options ? self->options->clock : NULL;
  state->loop->hooks = (neap__hooks){
      .data = state, .settled = on_settled, .release = on_released, .turns = neapL__run_turns};
  neapL__open_done(L, state);
  return 0;
}

static neapL__state *new_state(lua_State *L) {
  neapL__state *state = lua_newuserdatauv(L, sizeof *state, 0);
  *state = (neapL__state){0};
  neap__list_init(&state->lost);
  neap__list_init(&state->reports);
  neap__list_init(&state->bodies);
  neap__list_init(&state->parked);
  neap__list_init(&state->calls);
  neap__list_init(&state->native_calls);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, close_state);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &registry_key);
  return state;
}

/* One that could not be opened to its end is as if it were not there. */
static int forget_state(lua_State *L) {
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &registry_key);
  return lua_error(L);
}

neapL__state *neapL__state_open(lua_State *L, const neap_loop_options *options) {
  neapL__state *state = neapL__state_get(L);
  if (state) return state;
  state = new_state(L);
  opening self = {state, options};
  lua_pushcfunction(L, open_protected);
  lua_pushlightuserdata(L, &self);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) forget_state(L);
  return state;
}
