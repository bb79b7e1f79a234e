/* For tests: what is alive, and allocations that fail on demand. */
#ifndef NEAPLUA_FAULTS_H
#define NEAPLUA_FAULTS_H

#include "state.h"

/* Allocations fail no more. [-0, +0, -] */
void neapL__end_faults(lua_State *L);

extern const luaL_Reg neapL__fault_functions[];

#endif
