/* Tasks of C for functions of Lua; the functions are in neaplua.h. */
#ifndef NEAPLUA_CALL_H
#define NEAPLUA_CALL_H

#include "state.h"

/* The Lua state closes: the host may have references to such tasks for longer. */
void neapL__close_calls(neapL__state *state);

#endif
