/* What neap.each stands on: tasks in the order in which they end. */
#ifndef NEAPLUA_EACH_H
#define NEAPLUA_EACH_H

#include "state.h"

void neapL__open_each(lua_State *L, neapL__state *state);

extern const luaL_Reg neapL__each_functions[];

#endif
