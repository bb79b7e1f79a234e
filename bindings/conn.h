/* Conn: a byte stream in both directions, or in one: sockets, pipes, terminals. */
#ifndef NEAPLUA_CONN_H
#define NEAPLUA_CONN_H

#include "../core/ops/stream.h"
#include "object.h"

/* Makes the class. [-0, +0, m] */
void neapL__open_conns(lua_State *L, neapL__state *state);

/* The stream behind argument 1, a Conn or what derives from it (a terminal); raises. */
neap__stream *neapL__check_conn(lua_State *L);

/* Makes a class that has all of Conn's methods and `methods` besides. [-0, +0, m] */
void neapL__conn_class(lua_State *L, neapL__meta *meta, const char *name, const luaL_Reg *methods);

/* core.add_conn_methods(methods): what Conn and what derives from it have besides, written in Lua */
int neapL__add_conn_methods(lua_State *L);

/* What Conn and Server share: :close() and its ends, for a stream that is the object's core. */
int neapL__close_stream(lua_State *L, neap__stream *stream);
int neapL__collect_stream(lua_State *L);

/* Pushes host and port, or the path of a Unix socket, of one end; returns how many. Raises. */
int neapL__push_address(lua_State *L, const neap__stream *stream, bool peer);
/* Pushes `name` and one end, or ": closed". */
int neapL__push_stream_name(lua_State *L, const neap__stream *stream, bool peer, const char *name);

#endif
