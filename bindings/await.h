/* The one await: the only code that parks a coroutine. */
#ifndef NEAPLUA_AWAIT_H
#define NEAPLUA_AWAIT_H

#include "task.h"

/* Awaits the Task at `index` of a C function's frame and ends that function with its results:
 * `return neapL__await(L, state, 1)`. [raises] */
int neapL__await(lua_State *L, neapL__state *state, int index);

/* The same for an operation whose Task nobody else knows: its handle serves the next one then, which saves
 * its finalizer. */
int neapL__await_own(lua_State *L, neapL__state *state, int index);

/* Raises the current task's own Cancelled, after letting the others run if it has had one before. */
int neapL__raise_cancelled(lua_State *L, neapL__state *state);

/* The current task if L is its coroutine and may wait; else raises what is wrong, by name. */
neapL__task *neapL__check_awaiting(lua_State *L, neapL__state *state);

/* Raises EMISUSE in a job without a loop, where nothing can wait. */
void neapL__check_loop(lua_State *L, const neapL__state *state, const char *what);

/* Before going on without a wait: false if the task has done so too often in a row, and should give
 * way to the others (SPEC 153), as neapL__await does. */
bool neapL__may_go_on(neapL__state *state, const neapL__task *task);

extern const luaL_Reg neapL__await_functions[];

#endif
