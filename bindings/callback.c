#include "../core/callback.h"

#include "coroutine.h"
#include "driver.h"
#include "error.h"
#include "locals.h"
#include "report.h"
#include "value.h"

/* ---- Functions of Lua that C calls ---------------------------------------------------------- */

/* Behind `host` is a table: the function and the task-local values of where it was handed over. */
enum { FUNCTION = 1, LOCALS };

static void release(neap_callback *callback) {
  neapL__state *state = callback->data;
  if (!state->is_closing) neapL__slot_free(state->aux, &state->pins, callback->host);
}

typedef struct invocation {
  neap_callback *callback;
  const neap_values *arguments;
} invocation;

/* (invocation): the function runs as a task in the background, so it may await. */
static int start_function(lua_State *L) {
  const invocation *self = lua_touserdata(L, 1);
  neapL__state *state = self->callback->data;
  neapL__slot_push(L, &state->pins, self->callback->host);
  lua_rawgeti(L, 2, FUNCTION);
  neapL_push_values(L, self->arguments);
  lua_rawgeti(L, 2, LOCALS);
  neapL__start_background(L, state, 3);
  return 0;
}

static void invoke(neap_callback *callback, neap_values *arguments) {
  neapL__state *state = callback->data;
  lua_State *L = state->runner;
  if (state->is_closing || !lua_checkstack(L, LUA_MINSTACK)) return;
  invocation self = {callback, arguments};
  lua_pushcfunction(L, start_function);
  lua_pushlightuserdata(L, &self);
  neapL__call_starter(L, state, 1);
}

neap_callback *neapL__new_callback(lua_State *L, int index) {
  neapL__state *state = neapL__need(L);
  index = lua_absindex(L, index);
  luaL_checkstack(L, 4, "a callback");
  lua_createtable(L, 2, 0);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, FUNCTION);
  neapL__push_locals(L, state);
  lua_rawseti(L, -2, LOCALS);
  uint32_t pin = neapL__pin(L, state);
  neap_callback *callback = neap__callback_new(state->loop);
  if (!callback) {
    neapL__slot_free(L, &state->pins, pin);
    return NULL;
  }
  callback->invoke = invoke;
  callback->release = release;
  callback->data = state;
  callback->host = pin;
  return callback;
}

void neapL__push_callback(lua_State *L, neap_callback *callback) {
  const neapL__state *state = neapL__need(L);
  bool is_ours = state && !state->is_closed && callback->inbox == state->loop->inbox;
  if (!is_ours) luaL_error(L, "a function of another Lua state cannot be used here");
  neapL__slot_push(L, &state->pins, callback->host);
  lua_rawgeti(L, -1, FUNCTION);
  lua_remove(L, -2);
}
