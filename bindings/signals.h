/* neap.signal: signals as an iterator. */
#ifndef NEAPLUA_SIGNALS_H
#define NEAPLUA_SIGNALS_H

#include "state.h"

/* Makes the class. [-0, +0, m] */
void neapL__open_signals(lua_State *L, neapL__state *state);

/* Adds the table `signal` to the table on top. [-0, +0, m] */
void neapL__register_signal(lua_State *L);

#endif
