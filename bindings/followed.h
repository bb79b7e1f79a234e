/* Lua's coroutine.resume, wrap and close for a worker: the same to whoever calls them, and an interruption
 * knows which coroutine runs. */
#ifndef NEAPLUA_FOLLOWED_H
#define NEAPLUA_FOLLOWED_H

#include "state.h"

/* Replaces them in the global table `coroutine`. [-0, +0, m] */
void neapL__open_followed_coroutines(lua_State *L, neapL__state *state);

#endif
