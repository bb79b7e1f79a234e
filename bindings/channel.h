/* neap.channel: items from tasks to tasks. */
#ifndef NEAPLUA_CHANNEL_H
#define NEAPLUA_CHANNEL_H

#include "state.h"

void neapL__open_channels(lua_State *L, neapL__state *state);

extern const luaL_Reg neapL__channel_functions[];

#endif
