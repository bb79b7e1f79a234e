/* neap.channel: items from tasks to tasks. */
#ifndef NEAPLUA_CHANNEL_H
#define NEAPLUA_CHANNEL_H

#include "state.h"

/* The capacity of a channel: SIZE_MAX for nil and math.huge. Raises an argument error. */
size_t neapL__check_capacity(lua_State *L, int index);

void neapL__open_channels(lua_State *L, neapL__state *state);

extern const luaL_Reg neapL__channel_functions[];

#endif
