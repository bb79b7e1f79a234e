/* WebSockets; their handshakes are in lua/neap/websocket.lua. */
#ifndef NEAPLUA_WEBSOCKET_H
#define NEAPLUA_WEBSOCKET_H

#include "state.h"

void neapL__open_websockets(lua_State *L, neapL__state *state);

/* websocket websocket_options websocket_key websocket_accept */
extern const luaL_Reg neapL__websocket_functions[];

#endif
