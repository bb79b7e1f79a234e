/* neap.stdio: the process's own standard streams, and terminals. */
#ifndef NEAPLUA_STANDARD_H
#define NEAPLUA_STANDARD_H

#include "state.h"

/* Makes the class of terminals. [-0, +0, m] */
void neapL__open_terminals(lua_State *L, neapL__state *state);

/* Adds the table `stdio` to the table on top. [-0, +0, m] */
void neapL__register_stdio(lua_State *L);

#endif
