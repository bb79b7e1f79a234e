/* neap.net: servers, and how connections come about. */
#ifndef NEAPLUA_NET_H
#define NEAPLUA_NET_H

#include "state.h"

/* Makes the class of servers. [-0, +0, m] */
void neapL__open_servers(lua_State *L, neapL__state *state);

/* Adds the table `net` to the table on top. [-0, +0, m] */
void neapL__register_net(lua_State *L);

#endif
