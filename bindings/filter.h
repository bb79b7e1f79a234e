/* Filters of connections, for the drivers that make them (TLS). */
#ifndef NEAPLUA_FILTER_H
#define NEAPLUA_FILTER_H

#include "../core/ops/filter.h"
#include "object.h"

/* Marks the metatable on top: the objects of the class have a neap__filter_maker as their core.
 * [-0, +0, m] */
void neapL__set_filter_maker(lua_State *L);

/* The option 'tls' of a connection to be made, or of a server: a reference to its maker, NULL without it.
 * What reads it is written in Lua, see core.on_tls; raises what that raises. `role` is the name of the
 * function; `host` NULL: a Unix socket. */
neap__filter_maker *neapL__option_tls(lua_State *L, int index, const char *role, const char *host,
                                      int port);

/* core.on_tls(fn), fn(tls, role, host, port, index of the options) -> an object of a marked class */
extern const luaL_Reg neapL__filter_functions[];

#endif
