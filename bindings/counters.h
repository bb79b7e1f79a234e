/* Integers that several threads share: neap.worker.counters. */
#ifndef NEAPLUA_COUNTERS_H
#define NEAPLUA_COUNTERS_H

#include "state.h"

void neapL__open_counters(lua_State *L, neapL__state *state);

extern const luaL_Reg neapL__counters_functions[];

#endif
