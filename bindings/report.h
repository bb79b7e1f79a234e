/* Reports to the program: errors that nobody has observed, warnings. */
#ifndef NEAPLUA_REPORT_H
#define NEAPLUA_REPORT_H

#include "error.h"

void neapL__open_reports(neapL__state *state);

/* Puts a failure on the list of those that are reported in the next turn. May be called from __gc;
 * the userdata of the failure is on top. [-0, +0, m] */
void neapL__report_later(lua_State *L, neapL__state *state, neapL__failure *failure);

/* Pushes "message\nstack traceback: ..." for the failure at `index`. [-0, +1, m] */
void neapL__push_description(lua_State *L, int index);

/* Calls the function and its n arguments on top, apart from the current task. What it raises is
 * reported. [-(n+1), +0, -] */
void neapL__call_back(lua_State *L, neapL__state *state, int n);

/* Reports everything that is lost. [-0, +0, m] */
void neapL__report_all(lua_State *L, neapL__state *state);
/* Forgets what could not be reported: the lists go. */
void neapL__forget_reports(neapL__state *state);

/* Reports the error on top, which belongs to no task. [-1, +0, -] */
void neapL__report_error(lua_State *L, neapL__state *state);

/* Calls on_warning(message, task): both on top. [-2, +0, m] */
void neapL__warn(lua_State *L, neapL__state *state);

extern const luaL_Reg neapL__report_functions[];

#endif
