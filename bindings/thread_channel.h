/* neap.worker.channel: items from loop to loop, each in a Lua state and on a thread of its own. */
#ifndef NEAPLUA_THREAD_CHANNEL_H
#define NEAPLUA_THREAD_CHANNEL_H

#include "state.h"

void neapL__open_thread_channels(lua_State *L, neapL__state *state);

/* thread_channel */
extern const luaL_Reg neapL__thread_channel_functions[];

#endif
