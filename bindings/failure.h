/* Errors of Lua as errors of C. */
#ifndef NEAPLUA_FAILURE_H
#define NEAPLUA_FAILURE_H

#include "state.h"

/* Makes an error of C of the Lua error at `index`; `task` is the index of the Task that has failed with it, or 0.
 * Its strings are on the stack, behind what was there. May call __tostring. [-0, +n, v] */
void neapL__describe_error(lua_State *L, int index, int task, neap_error *error);

#endif
