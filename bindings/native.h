/* Native functions (neaplua.h): what the state knows of them. */
#ifndef NEAPLUA_NATIVE_H
#define NEAPLUA_NATIVE_H

#include "state.h"

/* Frees what calls work with: the Lua state ends, and no finalizer will make another call. */
void neapL__close_native_calls(neapL__state *state);

#endif
