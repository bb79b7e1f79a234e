/* all, any, settle, wait_for, flatten. */
#ifndef NEAPLUA_COMBINE_H
#define NEAPLUA_COMBINE_H

#include "state.h"

/* Pushes a copy of the list at 1, whose elements are Tasks; raises an argument error otherwise.
 * [-0, +1, m] */
void neapL__copy_tasks(lua_State *L);

extern const luaL_Reg neapL__combine_functions[];

#endif
