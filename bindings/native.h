/* Native functions (neaplua.h): what the state knows of them. */
#ifndef NEAPLUA_NATIVE_H
#define NEAPLUA_NATIVE_H

#include "../core/value.h"
#include "neaplua.h"
#include "state.h"

/* Frees what calls work with: the Lua state ends, and no finalizer will make another call. */
void neapL__close_native_calls(neapL__state *state);

/* What a row of a task with values pushes: those. */
int neapL__push_task_values(lua_State *L, neapL__state *state, int index);

/* Adds the n arguments of a call, checked by the letters of neapL_function.arguments (NULL: none), which are
 * followed as far as they go. Raises argument errors. [-0, +0, v] */
void neapL__add_arguments(lua_State *L, int n, const char *wanted, neap_values *values);

#endif
