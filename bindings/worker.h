/* Jobs for other threads, for lua/neap/worker.lua: made from a call, started as an operation. */
#ifndef NEAPLUA_WORKER_H
#define NEAPLUA_WORKER_H

#include "state.h"

/* Adds what workers need to the table on top. [-0, +0, m] */
void neapL__register_worker(lua_State *L);

void neapL__open_workers(lua_State *L, neapL__state *state);

/* The Lua state closes. */
void neapL__close_workers(neapL__state *state);

#endif
