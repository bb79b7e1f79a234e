/* neap.fs.watch: changes of files as an iterator. */
#ifndef NEAPLUA_WATCHER_H
#define NEAPLUA_WATCHER_H

#include "state.h"

/* Makes the class. [-0, +0, m] */
void neapL__open_watchers(lua_State *L, neapL__state *state);

/* Adds the function `watch` to the table on top. [-0, +0, m] */
void neapL__register_watch(lua_State *L);

#endif
