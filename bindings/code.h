/* The code of Lua functions, as memory that belongs to no state and is shared by all.
 *
 * The state that sends dumps a function once, and finds the code of another closure of the same prototype by
 * its bytes. A state that receives keeps functions that were lent to a job and have come back. Both remember
 * a bounded number. */
#ifndef NEAPLUA_CODE_H
#define NEAPLUA_CODE_H

#include "state.h"

typedef struct neapL__code neapL__code;

/* A new reference to the code of the Lua function at `index`. Raises when out of memory. [-0, +0, m] */
neapL__code *neapL__code_take(lua_State *L, neapL__state *state, int index);

/* One more reference. Thread: any. */
neapL__code *neapL__code_ref(neapL__code *code);

/* Drops a reference. Thread: any. */
void neapL__code_release(neapL__code *code);

/* Pushes a new function with that code; its upvalues are its own, and to be set. [-0, +1, m] */
void neapL__code_load(lua_State *L, const neapL__code *code);

/* The same for a function that may come back (neapL__function_return), or has. [-0, +1, m] */
void neapL__code_lend(lua_State *L, neapL__state *state, neapL__code *code);

void neapL__open_code(lua_State *L, neapL__state *state);
void neapL__close_code(neapL__state *state);

#endif
