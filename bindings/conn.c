#include "conn.h"

#include "buffer.h"
#include "error.h"
#include "filter.h"
#include "reading.h"

#include <string.h>

static const char class_name[] = "neap.Conn";

neap__stream *neapL__check_conn(lua_State *L) {
  const neapL__state *state = neapL__state_here(L);
  bool is_tty = lua_isuserdata(L, 1) && neapL__has_meta(L, 1, &state->tty_meta);
  return neapL__check_core(L, 1, is_tty ? &state->tty_meta : &state->conn_meta, class_name);
}

/* ---- Writing ------------------------------------------------------------------------------- */

static neap__write *use_stream(lua_State *L, neap__op *op) {
  neap__write *self = (neap__write *)op;
  self->stream = neapL__check_conn(L);
  self->stream->refs++;
  return self;
}

/* conn:write(...) -> Task<bytes>: all of it, strings, numbers and Buffers in order. The bytes stay where they
 * are as long as they are arguments and Lua does not run, which is as long as the operation needs them. */
static void read_write(lua_State *L, neap__op *op) {
  int last = neapL__state_here(L)->arguments;
  size_t size;
  for (int i = 2; i <= last; i++) neapL__check_bytes(L, i, &size);
  neap__write *self = use_stream(L, op);
  if (!neap__write_reserve(self, last < 2 ? 1 : (unsigned)last - 1)) neapL__raise_memory(L);
  for (int i = 2; i <= last; i++) {
    uv_buf_t *buffer = &self->buffers[self->count];
    buffer->base = (char *)(uintptr_t)neapL__check_bytes(L, i, &buffer->len);
    self->size += buffer->len;
    if (buffer->len > 0) self->count++;
  }
}

static int push_size(lua_State *L, neapL__state *state, int index) {
  (void)state;
  lua_pushinteger(L, (lua_Integer)((neap__write *)neapL__op_at(L, index))->size);
  return 1;
}

/* err.written: how much has left before it was cancelled or failed. */
static bool add_written(lua_State *L, neap__op *op) {
  const neap__write *self = (const neap__write *)op;
  if (self->sent == 0) return false;
  lua_pushinteger(L, (lua_Integer)self->sent);
  lua_setfield(L, -2, "written");
  return true;
}

/* conn:shutdown() -> Task */
static void read_shutdown(lua_State *L, neap__op *op) {
  use_stream(L, op);
}

/* conn:handshake() -> Task: done when reads and writes are protected */
static void read_handshake(lua_State *L, neap__op *op) {
  neap__stream *stream = neapL__check_conn(L);
  if (!stream->filter && !stream->is_closing)
    neapL__misuse(L, "handshake of a connection without TLS: start_tls begins one");
  stream->refs++;
  ((neap__handshake *)op)->stream = stream;
}

static const neapL__row rows[] = {
    {"handshake", &neap__handshake_kind, read_handshake, NULL, NULL},
    {"write", &neap__write_kind, read_write, push_size, add_written},
    {"shutdown", &neap__shutdown_kind, read_shutdown, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- Closing ------------------------------------------------------------------------------- */

static void read_closing(lua_State *L, neap__op *op) {
  neap__stream *stream = ((neapL__object *)lua_touserdata(L, 1))->core;
  stream->refs++;
  ((neap__closing *)op)->stream = stream;
}

static const neapL__row closing_row = {"close", &neap__closing_kind, read_closing, NULL, NULL};

int neapL__close_stream(lua_State *L, neap__stream *stream) {
  neap__stream_close(stream);
  lua_settop(L, 1);
  neapL__start_operation(L, neapL__state_here(L), &closing_row);
  return 1;
}

int neapL__collect_stream(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap__stream *stream = self->core;
  self->core = NULL;
  if (stream) neap__stream_drop(stream);
  return 0;
}

static int close_conn(lua_State *L) {
  return neapL__close_stream(L, neapL__check_conn(L));
}

static int close_and_wait(lua_State *L) {
  return neapL__close_and_wait(L, close_conn);
}

static int raise_code(lua_State *L, int code, const char *syscall) {
  neap_error error = {.code = code, .syscall = syscall};
  neapL__push_core_error(L, neapL__state_here(L), &error);
  return lua_error(L);
}

/* conn:reset() -> Task: the peer gets a reset */
static int reset(lua_State *L) {
  neap__stream *stream = neapL__check_conn(L);
  int code = neap__stream_reset(stream);
  if (code && code != NEAP_ECLOSED) return raise_code(L, code, "reset");
  return neapL__close_stream(L, stream);
}

/* ---- Addresses and options -------------------------------------------------------------------- */

int neapL__push_address(lua_State *L, const neap__stream *stream, bool peer) {
  neap__address address;
  int code = neap__stream_address(stream, peer, &address);
  if (code) return raise_code(L, code, peer ? "getpeername" : "getsockname");
  lua_pushstring(L, address.host);
  if (address.port < 0) return 1;
  lua_pushinteger(L, address.port);
  return 2;
}

int neapL__push_stream_name(lua_State *L, const neap__stream *stream, bool peer, const char *name) {
  neap__address address;
  if (stream->is_closing)
    lua_pushfstring(L, "%s: closed", name);
  else if (neap__stream_address(stream, peer, &address))
    lua_pushfstring(L, "%s (%p)", name, (const void *)stream);
  else if (address.port < 0)
    lua_pushfstring(L, "%s %s", name, address.host[0] ? address.host : "(no name)");
  else
    lua_pushfstring(L, strchr(address.host, ':') ? "%s [%s]:%d" : "%s %s:%d", name, address.host,
                    address.port);
  return 1;
}

/* conn:address() -> host, port of this end; path */
static int get_address(lua_State *L) {
  return neapL__push_address(L, neapL__check_conn(L), false);
}

/* conn:peer() -> host, port of the other end; path */
static int get_peer(lua_State *L) {
  return neapL__push_address(L, neapL__check_conn(L), true);
}

static neap__stream *check_tcp(lua_State *L, const char *syscall) {
  neap__stream *stream = neapL__check_conn(L);
  if (stream->is_closing) raise_code(L, NEAP_ECLOSED, syscall);
  if (stream->uv.handle.type != UV_TCP) raise_code(L, UV_ENOTSUP, syscall);
  return stream;
}

/* conn:set_nodelay(on) */
static int set_nodelay(lua_State *L) {
  neap__stream *stream = check_tcp(L, "setsockopt");
  luaL_checktype(L, 2, LUA_TBOOLEAN);
  int code = uv_tcp_nodelay(&stream->uv.tcp, lua_toboolean(L, 2));
  return code ? raise_code(L, code, "setsockopt") : 0;
}

enum { DEFAULT_KEEPALIVE = 60, MAX_KEEPALIVE = 32767 };

/* conn:set_keepalive(on, seconds?): of silence before the first probe */
static int set_keepalive(lua_State *L) {
  neap__stream *stream = check_tcp(L, "setsockopt");
  luaL_checktype(L, 2, LUA_TBOOLEAN);
  lua_Number seconds = luaL_optnumber(L, 3, DEFAULT_KEEPALIVE);
  luaL_argcheck(L, seconds >= 1 && seconds <= MAX_KEEPALIVE, 3, "1 to 32767 seconds expected");
  int code = uv_tcp_keepalive(&stream->uv.tcp, lua_toboolean(L, 2), (unsigned)seconds);
  return code ? raise_code(L, code, "setsockopt") : 0;
}

/* conn:fd() -> the descriptor, still the connection's */
static int get_fd(lua_State *L) {
  const neap__stream *stream = neapL__check_conn(L);
  uv_os_fd_t fd;
  int code = stream->is_closing ? NEAP_ECLOSED : uv_fileno(&stream->uv.handle, &fd);
  if (code) return raise_code(L, code, "fileno");
  lua_pushinteger(L, fd);
  return 1;
}

/* conn:is_tls() */
static int is_tls(lua_State *L) {
  lua_pushboolean(L, neapL__check_conn(L)->filter != NULL);
  return 1;
}

static int to_string(lua_State *L) {
  const neap__stream *stream = neapL__check_conn(L);
  luaL_getmetafield(L, 1, "__name");
  return neapL__push_stream_name(L, stream, true, lua_tostring(L, -1));
}

/* ---- The class ------------------------------------------------------------------------------ */

static const luaL_Reg metamethods[] = {{"__gc", neapL__collect_stream},
                                       {"__close", close_and_wait},
                                       {"__tostring", to_string},
                                       {NULL, NULL}};
static const luaL_Reg conn_methods[] = {{"close", close_conn},
                                        {"reset", reset},
                                        {"address", get_address},
                                        {"peer", get_peer},
                                        {"set_nodelay", set_nodelay},
                                        {"set_keepalive", set_keepalive},
                                        {"fd", get_fd},
                                        {"is_tls", is_tls},
                                        {NULL, NULL}};

void neapL__conn_class(lua_State *L, neapL__meta *meta, const char *name, const luaL_Reg *methods) {
  neapL__reading_class(L, meta, name, metamethods, conn_methods, rows);
  if (!methods) return;
  neapL__push_ref(L, meta->ref);
  lua_getfield(L, -1, "__index");
  neapL__register(L, methods);
  lua_pop(L, 2);
}

void neapL__open_conns(lua_State *L, neapL__state *state) {
  neapL__conn_class(L, &state->conn_meta, class_name, NULL);
}

/* Copies the fields of the table at 1 into the methods of a class. */
static void add_methods(lua_State *L, const neapL__meta *meta) {
  neapL__push_ref(L, meta->ref);
  lua_getfield(L, -1, "__index");
  for (lua_pushnil(L); lua_next(L, 1);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
  lua_pop(L, 2);
}

int neapL__add_conn_methods(lua_State *L) {
  const neapL__state *state = neapL__state_here(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  add_methods(L, &state->conn_meta);
  add_methods(L, &state->tty_meta);
  return 0;
}
