/* Task-local values: a table for each task, never changed once it is set, so that a child shares its
 * starter's. A task without locals has none, and costs nothing. */
#ifndef NEAPLUA_LOCALS_H
#define NEAPLUA_LOCALS_H

#include "task.h"

/* Pushes the table of what runs now, nil if it has none. [-0, +1, -] */
void neapL__push_locals(lua_State *L, neapL__state *state);

/* Pops a table or nil: the locals of `task`. Raises nothing where `neapL__reserve_locals` was called,
 * or where it has some already. [-1, +0, m] */
void neapL__set_locals(lua_State *L, neapL__state *state, neapL__task *task);

/* Makes room for the locals of one more task. [-0, +0, m] */
void neapL__reserve_locals(lua_State *L, neapL__state *state);

/* The task has ended. */
void neapL__forget_locals(neapL__state *state, neapL__task *task);

/* Pops a table or nil: what runs outside of tasks sees it, until `neapL__leave_locals` with what this
 * returns. [-1, +0, m] */
uint32_t neapL__enter_locals(lua_State *L, neapL__state *state);
void neapL__leave_locals(neapL__state *state, uint32_t former);

extern const luaL_Reg neapL__locals_functions[];

#endif
