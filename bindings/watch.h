/* NEAP_DEBUG: warnings about Tasks that nobody ever awaited. */
#ifndef NEAPLUA_WATCH_H
#define NEAPLUA_WATCH_H

#include "task.h"

/* Whether the environment asks for it. */
bool neapL__debug_default(void);

/* Watches the new Task on top. [-0, +0, m] */
void neapL__watch(lua_State *L, neapL__state *state);

/* Warns of what is left at the end of a run. [-0, +0, m] */
void neapL__watch_report(lua_State *L, neapL__state *state);

void neapL__open_watches(lua_State *L, neapL__state *state);

#endif
