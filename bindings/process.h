/* neap.process: child processes. What they are told is checked in lua/neap/process.lua. */
#ifndef NEAPLUA_PROCESS_H
#define NEAPLUA_PROCESS_H

#include "state.h"

/* Makes the class. [-0, +0, m] */
void neapL__open_processes(lua_State *L, neapL__state *state);

/* Adds the table `process` to the table on top. [-0, +0, m] */
void neapL__register_process(lua_State *L);

#endif
