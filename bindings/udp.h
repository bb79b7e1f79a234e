/* neap.net.udp: sockets for datagrams. */
#ifndef NEAPLUA_UDP_H
#define NEAPLUA_UDP_H

#include "state.h"

/* Makes the class. [-0, +0, m] */
void neapL__open_udp(lua_State *L, neapL__state *state);

/* Adds the function `udp` to the table on top. [-0, +0, m] */
void neapL__register_udp(lua_State *L);

#endif
