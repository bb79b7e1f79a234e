#include "net.h"

#include "../core/ops/stream.h"
#include "error.h"
#include "object.h"
#include "options.h"

#include <string.h>

static const char server_class[] = "neap.Server";
static const char conn_class[] = "neap.Conn";

enum { DEFAULT_READ = 64 * 1024, DEFAULT_BACKLOG = 511, MAX_READ = 1 << 30 };

static neap__stream_op *stream_op_at(lua_State *L, int index) {
  return (neap__stream_op *)neapL__op_at(L, index);
}

static void read_address(lua_State *L, neap__op *op) {
  neap__stream_op *self = (neap__stream_op *)op;
  self->host = neapL__copy_path(L, op->task.loop, 1);
  lua_Integer port = luaL_checkinteger(L, 2);
  luaL_argcheck(L, port >= 0 && port <= 65535, 2, "a port from 0 to 65535 expected");
  self->port = (int)port;
}

static int push_stream(lua_State *L, int index, const neapL__meta *meta) {
  neapL__object *self = neapL__push_object(L, meta);
  self->core = neap__stream_op_take(stream_op_at(L, index));
  return 1;
}

static int push_conn(lua_State *L, neapL__state *state, int index) {
  return push_stream(L, index, &state->conn_meta);
}

static int push_server(lua_State *L, neapL__state *state, int index) {
  return push_stream(L, index, &state->server_meta);
}

/* neap.net.connect(host, port) -> Task<Conn> */
/* neap.net.listen(host, port, {backlog =}?) -> Task<Server> */
static void read_listen(lua_State *L, neap__op *op) {
  neap__stream_op *self = (neap__stream_op *)op;
  read_address(L, op);
  neapL__has_options(L, 3);
  self->backlog = (int)neapL__option_integer(L, 3, "backlog", 1, 65535, DEFAULT_BACKLOG);
}

static const neapL__row net_rows[] = {
    {"net.connect", &neap__connect_kind, read_address, push_conn, NULL},
    {"net.listen", &neap__listen_kind, read_listen, push_server, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- Server and Conn ------------------------------------------------------------------------ */

static neap__stream *check_stream(lua_State *L) {
  const neapL__state *state = neapL__state_here(L);
  if (neapL__has_meta(L, 1, &state->server_meta))
    return neapL__check_core(L, 1, &state->server_meta, server_class);
  return neapL__check_core(L, 1, &state->conn_meta, conn_class);
}

static void use_stream(lua_State *L, neap__op *op) {
  neap__stream *stream = check_stream(L);
  stream->refs++;
  ((neap__stream_op *)op)->stream = stream;
}

/* server:accept() -> Task<Conn> */
static void read_accept(lua_State *L, neap__op *op) {
  neap__stream *server = neapL__check_core(L, 1, &neapL__state_here(L)->server_meta, server_class);
  server->refs++;
  ((neap__stream_op *)op)->server = server;
}

static const neapL__row server_rows[] = {
    {"server:accept", &neap__accept_kind, read_accept, push_conn, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* conn:read(n?) -> Task<string | nil>: what there is, n bytes at most; nil at the end */
static void read_conn_read(lua_State *L, neap__op *op) {
  neap__stream *stream = neapL__check_core(L, 1, &neapL__state_here(L)->conn_meta, conn_class);
  lua_Integer size = luaL_optinteger(L, 2, DEFAULT_READ);
  luaL_argcheck(L, size > 0 && size <= MAX_READ, 2, "a number of bytes expected, 1 or more");
  ((neap__stream_op *)op)->size = (size_t)size;
  neapL__check_turn(L, stream->reader, "read");
  use_stream(L, op);
}

static int push_conn_data(lua_State *L, neapL__state *state, int index) {
  neap__stream_op *self = stream_op_at(L, index);
  (void)state;
  if (self->size == 0) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushlstring(L, self->data, self->size);
  neap__memory_free(&self->op.task.loop->memory, self->data);
  self->data = NULL;
  return 1;
}

/* conn:write(...) -> Task<bytes>: all of it */
static void read_conn_write(lua_State *L, neap__op *op) {
  neap__stream_op *self = (neap__stream_op *)op;
  neapL__check_core(L, 1, &neapL__state_here(L)->conn_meta, conn_class);
  self->data =
      neapL__copy_strings(L, op->task.loop, 2, neapL__state_here(L)->arguments, &self->size);
  use_stream(L, op);
}

static int push_written(lua_State *L, neapL__state *state, int index) {
  (void)state;
  lua_pushinteger(L, (lua_Integer)stream_op_at(L, index)->size);
  return 1;
}

static size_t written(const neap__op *op) {
  return ((const neap__stream_op *)op)->sent;
}

static const neapL__row conn_rows[] = {
    {"conn:read", &neap__read_kind, read_conn_read, push_conn_data, NULL},
    {"conn:write", &neap__write_kind, read_conn_write, push_written, written},
    {"conn:shutdown", &neap__shutdown_kind, use_stream, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static const neapL__row stream_close_row = {"close", &neap__close_kind, use_stream, NULL, NULL};

static int stream_close(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap__stream_close(check_stream(L));
  lua_settop(L, 4);
  neapL__start_operation(L, state, &stream_close_row);
  return 1;
}

static int push_address(lua_State *L, bool peer) {
  char host[NEAP__ADDRESS_SIZE];
  int port = 0;
  int code = neap__stream_address(check_stream(L), peer, host, sizeof host, &port);
  if (code) {
    neap_error error = {.code = code, .syscall = peer ? "getpeername" : "getsockname"};
    neapL__push_core_error(L, neapL__state_here(L), &error);
    return lua_error(L);
  }
  lua_pushstring(L, host);
  lua_pushinteger(L, port);
  return 2;
}

/* :address() -> host, port of this end */
static int stream_address(lua_State *L) {
  return push_address(L, false);
}

/* conn:peer() -> host, port of the other end */
static int stream_peer(lua_State *L) {
  return push_address(L, true);
}

/* ---- Ends ---------------------------------------------------------------------------------- */

static int stream_gc(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap__stream *stream = self->core;
  self->core = NULL;
  if (!stream) return 0;
  neap__stream_close(stream);
  neap__stream_unref(stream);
  return 0;
}

static int stream_close_and_wait(lua_State *L) {
  return neapL__close_and_wait(L, stream_close);
}

static int stream_tostring(lua_State *L) {
  const neap__stream *stream = check_stream(L);
  bool is_server = neapL__has_meta(L, 1, &neapL__state_here(L)->server_meta);
  const char *name = is_server ? server_class : conn_class;
  char host[NEAP__ADDRESS_SIZE];
  int port = 0;
  if (neap__stream_address(stream, name == conn_class, host, sizeof host, &port))
    lua_pushfstring(L, "%s: closed", name);
  else
    lua_pushfstring(L, "%s %s:%d", name, host, port);
  return 1;
}

static const luaL_Reg stream_metamethods[] = {{"__gc", stream_gc},
                                              {"__close", stream_close_and_wait},
                                              {"__tostring", stream_tostring},
                                              {NULL, NULL}};
static const luaL_Reg server_methods[] = {
    {"close", stream_close}, {"address", stream_address}, {NULL, NULL}};
static const luaL_Reg conn_methods[] = {
    {"close", stream_close}, {"address", stream_address}, {"peer", stream_peer}, {NULL, NULL}};

void neapL__open_sockets(lua_State *L, neapL__state *state) {
  neapL__object_class(L, &state->server_meta, server_class, stream_metamethods, server_methods,
                      server_rows);
  neapL__object_class(L, &state->conn_meta, conn_class, stream_metamethods, conn_methods,
                      conn_rows);
}

void neapL__register_net(lua_State *L) {
  lua_newtable(L);
  neapL__register_rows(L, net_rows);
  lua_setfield(L, -2, "net");
}
