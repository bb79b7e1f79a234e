#include "signals.h"

#include "../core/ops/signal.h"
#include "error.h"
#include "object.h"

#include <string.h>

static const char class_name[] = "neap.Signals";

enum { MAX_SIGNALS = 64 }; /* more than there are names */

static neap__signals *check_signals(lua_State *L) {
  return neapL__check_core(L, 1, &neapL__state_here(L)->signal_meta, class_name);
}

/* ---- signal.on ----------------------------------------------------------------------------- */

static int check_number(lua_State *L, int index) {
  size_t size;
  luaL_checktype(L, index, LUA_TSTRING);
  const char *name = lua_tolstring(L, index, &size);
  int number = strlen(name) == size ? neap__signal_number(name) : 0;
  if (!number) luaL_argerror(L, index, lua_pushfstring(L, "unknown signal '%s'", name));
  const char *obstacle = neap__signal_obstacle(number);
  if (obstacle)
    luaL_argerror(L, index, lua_pushfstring(L, "'%s' cannot be waited for: %s", name, obstacle));
  return number;
}

/* Each once; returns how many. */
static size_t read_numbers(lua_State *L, int *numbers) {
  size_t count = 0;
  int last = lua_gettop(L);
  luaL_checktype(L, 1, LUA_TSTRING);
  for (int i = 1; i <= last; i++) {
    int number = check_number(L, i);
    size_t place = 0;
    while (place < count && numbers[place] != number) place++;
    numbers[place] = number;
    if (place == count) count++;
  }
  return count;
}

/* neap.signal.on(name, ...) -> signals, nil, nil, signals: what a generic for takes and closes */
static int signal_on(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  int numbers[MAX_SIGNALS];
  neap__signals *signals;
  size_t count = read_numbers(L, numbers);
  neapL__check_open(L, state);
  neapL__object *self = neapL__push_object(L, &state->signal_meta);
  int code = neap__signals_new(state->loop, numbers, count, &signals);
  if (code) {
    neapL__push_core_error(L, state, &(neap_error){.code = code, .syscall = "sigaction"});
    return lua_error(L);
  }
  self->core = signals;
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, -3);
  return 4;
}

/* ---- Signals ------------------------------------------------------------------------------- */

static void use_signals(lua_State *L, neap__op *op) {
  neap__signals *signals = check_signals(L);
  signals->refs++;
  ((neap__signals_op *)op)->signals = signals;
}

/* signals:next() -> Task<name | nil>: nil once it is closed */
static void read_next(lua_State *L, neap__op *op) {
  neapL__check_turn(L, check_signals(L)->waiter, "next");
  use_signals(L, op);
}

static int push_name(lua_State *L, neapL__state *state, int index) {
  (void)state;
  lua_pushstring(L, neap__signal_name(((neap__signals_op *)neapL__op_at(L, index))->number));
  return 1;
}

static const neapL__row rows[] = {
    {"signals:next", &neap__signals_next_kind, read_next, push_name, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static const neapL__row close_row = {"signals:close", &neap__signals_close_kind, use_signals, NULL,
                                     NULL};

static int signals_call(lua_State *L) {
  lua_settop(L, 1);
  return neapL__call_and_await(L, neapL__state_here(L), &rows[0]);
}

static int signals_close(lua_State *L) {
  neap__signals_close(check_signals(L));
  lua_settop(L, 4);
  neapL__start_operation(L, neapL__state_here(L), &close_row);
  return 1;
}

static int signals_close_and_wait(lua_State *L) {
  return neapL__close_and_wait(L, signals_close);
}

static int signals_gc(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap__signals *signals = self->core;
  self->core = NULL;
  if (signals) neap__signals_drop(signals);
  return 0;
}

static int signals_tostring(lua_State *L) {
  const neap__signals *signals = check_signals(L);
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  luaL_addstring(&buffer, class_name);
  for (size_t i = 0; i < signals->count; i++) {
    luaL_addstring(&buffer, i ? ", " : " ");
    luaL_addstring(&buffer, neap__signal_name(signals->signals[i].number));
  }
  luaL_addstring(&buffer, signals->is_closing ? ": closed" : "");
  luaL_pushresult(&buffer);
  return 1;
}

static const luaL_Reg metamethods[] = {{"__gc", signals_gc},
                                       {"__call", signals_call},
                                       {"__close", signals_close_and_wait},
                                       {"__tostring", signals_tostring},
                                       {NULL, NULL}};
static const luaL_Reg methods[] = {{"close", signals_close}, {NULL, NULL}};

void neapL__open_signals(lua_State *L, neapL__state *state) {
  neapL__object_class(L, &state->signal_meta, class_name, metamethods, methods, rows);
}

static const luaL_Reg functions[] = {{"on", signal_on}, {NULL, NULL}};

void neapL__register_signal(lua_State *L) {
  lua_newtable(L);
  neapL__register(L, functions);
  lua_setfield(L, -2, "signal");
}
