/* Words for tasks: what they are and what they wait for. */
#ifndef NEAPLUA_DESCRIBE_H
#define NEAPLUA_DESCRIBE_H

#include "task.h"

/* "task 3 'name'". [-0, +1, m] */
void neapL__push_label(lua_State *L, neapL__state *state, neapL__task *task);

/* One line: "task 3 'name' at file:line: pending, awaits sleep". [-0, +1, m] */
void neapL__push_line(lua_State *L, neapL__state *state, neapL__task *task);

/* A line for each task that has not ended and, with `owned_only`, is not in the background; the
 * number of them. [-0, +1, m] */
size_t neapL__push_lines(lua_State *L, neapL__state *state, bool owned_only);

extern const luaL_Reg neapL__describe_functions[];

#endif
