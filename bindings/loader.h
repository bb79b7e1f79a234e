/* load, loadfile and dofile of a job: what they load has the job's globals, where Lua's own give it those of
 * the Lua state. */
#ifndef NEAPLUA_LOADER_H
#define NEAPLUA_LOADER_H

#include "compat.h"

/* Replaces the function on top by one that loads for the environment, if the name at index `name` is that of
 * a function that loads. [-0, +0, m] */
void neapL__bind_loader(lua_State *L, int environment, int name);

#endif
