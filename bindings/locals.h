/* Task-local values: a table for each task, never changed once it is set, so that a child shares its
 * starter's. A task without locals has none, and costs nothing. */
#ifndef NEAPLUA_LOCALS_H
#define NEAPLUA_LOCALS_H

#include "task.h"

/* Pushes the table of what runs now, nil if it has none. [-0, +1, -] */
void neapL__push_locals(lua_State *L, neapL__state *state);

/* Pops a table or nil: the locals of `task`. Raises nothing where it has some already. [-1, +0, m] */
void neapL__set_locals(lua_State *L, neapL__state *state, neapL__task *task);

/* Whether what runs now has locals; then there is room for those of one more task. [-0, +0, m] */
bool neapL__reserve_locals(lua_State *L, neapL__state *state);

/* A new task starts with the locals of what runs now, for which there is room. [-0, +0, -] */
void neapL__inherit_locals(lua_State *L, neapL__state *state, neapL__task *task);

/* The task has ended. */
void neapL__forget_locals(neapL__state *state, neapL__task *task);

/* Pops a table or nil: what runs outside of tasks sees it, until `neapL__leave_locals` with what this
 * returns. [-1, +0, m] */
uint32_t neapL__enter_locals(lua_State *L, neapL__state *state);
void neapL__leave_locals(neapL__state *state, uint32_t former);

extern const luaL_Reg neapL__locals_functions[];

#endif
