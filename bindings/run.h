/* Running the loop from Lua: run, wait, shutdown, deadlock. */
#ifndef NEAPLUA_RUN_H
#define NEAPLUA_RUN_H

#include "task.h"

/* task:wait(seconds?) */
int neapL__task_wait(lua_State *L);

/* A hook of the core: turns while somebody else runs libuv's loop, luv or a host. `data`: the state. */
void neapL__run_turns(void *data);

/* Adds run and its helpers to the table on top. [-0, +0, m] */
void neapL__register_run(lua_State *L);

#endif
