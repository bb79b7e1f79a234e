/* neap.stream: async iterators.
 *
 * A stream is a task, the producer, that runs only while somebody pulls: between pulls it is parked,
 * off the tree of cancellation and in nobody's hands. A pull is a task in the scope of who pulls, the
 * producer hangs below it; so for cancellation a pull is a function call (SPEC C19). */
#ifndef NEAPLUA_STREAM_H
#define NEAPLUA_STREAM_H

#include "task.h"

void neapL__open_streams(lua_State *L, neapL__state *state);

/* A producer, whose Task is at `index`, has ended: so has its pull. [-0, +0, -] */
void neapL__producer_ended(lua_State *L, int index, neapL__state *state, neapL__task *task);

/* Whether the value at `index` is what ends a producer whose stream is closed. */
static inline bool neapL__is_close_signal(lua_State *L, const neapL__state *state, int index) {
  if (lua_type(L, index) != LUA_TTABLE) return false;
  index = lua_absindex(L, index);
  neapL__push_ref(L, state->close_signal_ref);
  bool is_it = lua_rawequal(L, -1, index);
  lua_pop(L, 1);
  return is_it;
}

extern const luaL_Reg neapL__stream_functions[];

#endif
