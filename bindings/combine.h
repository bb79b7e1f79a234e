/* all, any, settle, wait_for, flatten. */
#ifndef NEAPLUA_COMBINE_H
#define NEAPLUA_COMBINE_H

#include "state.h"

extern const luaL_Reg neapL__combine_functions[];

#endif
