/* Running the loop from Lua: run, wait, shutdown, deadlock. */
#ifndef NEAPLUA_RUN_H
#define NEAPLUA_RUN_H

#include "task.h"

/* task:wait(seconds?) */
int neapL__task_wait(lua_State *L);

/* A hook of the core: turns while somebody else runs libuv's loop, luv or a host. `data`: the state. */
void neapL__run_turns(void *data);

/* An error that is none of a task's (no memory) has left a turn, and is on top: ends what runs, for nobody is
 * there to raise it to, and reports it. [-1, +0, -] */
void neapL__recover(lua_State *L, neapL__state *state);

/* Runs the loop until a task has ended; a code as in neapL_wait. [-0, +0, -] */
int neapL__wait_for(lua_State *L, neapL__state *state, neap_task *task, double seconds);

/* Adds run and its helpers to the table on top. [-0, +0, m] */
void neapL__register_run(lua_State *L);

#endif
