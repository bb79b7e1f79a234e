/* Userdata around objects of the core that are open until they are closed: files, sockets, ... */
#ifndef NEAPLUA_OBJECT_H
#define NEAPLUA_OBJECT_H

#include "operations.h"

/* `core` is a reference; NULL once the finalizer has run, or before it was acquired. */
typedef struct neapL__object {
  void *core;
} neapL__object;

/* Pushes an object without a core: whoever acquires one puts it there. [-0, +1, m] */
neapL__object *neapL__push_object(lua_State *L, const neapL__meta *meta);

/* The core of the object at `index`; raises an argument error, or EMISUSE when it was finalized. */
void *neapL__check_core(lua_State *L, int index, const neapL__meta *meta, const char *name);

/* Makes the class: methods and rows together behind __index. [-0, +0, m] */
void neapL__object_class(lua_State *L, neapL__meta *meta, const char *name,
                         const luaL_Reg *metamethods, const luaL_Reg *methods,
                         const neapL__row *rows);

/* Raises EMISUSE if `turn`, an operation that an object can have one of, has not ended. */
void neapL__check_turn(lua_State *L, const neap__op *turn, const char *what);

/* Starts the operation of a row with the arguments on the stack, and ends the C function with its results:
 * for what a loop calls. [raises] */
int neapL__call_and_await(lua_State *L, neapL__state *state, const neapL__row *row);

/* A __close: calls `close`, which pushes a Task, and waits for that where it can: not while the Lua
 * state ends. */
int neapL__close_and_wait(lua_State *L, lua_CFunction close);

#endif
