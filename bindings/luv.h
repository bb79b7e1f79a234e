/* luv, the bindings of libuv for Lua, on neap's loop. */
#ifndef NEAPLUA_LUV_H
#define NEAPLUA_LUV_H

#include "state.h"

/* Whether luv runs the loop that it shares with neap, so that nobody else may. [-0, +0, m] */
bool neapL__luv_runs(lua_State *L, const neapL__state *state);

/* Before the loop closes: luv's handles close with it. */
void neapL__close_luv(lua_State *L, neapL__state *state);
/* After that: luv has no loop any more. */
void neapL__leave_luv(neapL__state *state);

extern const luaL_Reg neapL__luv_functions[];

#endif
