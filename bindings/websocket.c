#include "websocket.h"

#include "../core/cancel.h"
#include "../core/ops/websocket.h"
#include "buffer.h"
#include "conn.h"
#include "error.h"
#include "object.h"
#include "options.h"

#include <math.h>

static const char class_name[] = "neap.WebSocket";

enum { PROTOCOL = 1 }; /* the user value of a WebSocket */

enum { DEFAULT_MAX = 16 * 1024 * 1024, DEFAULT_CLOSE_TIMEOUT = 5 };

static neap__websocket *check_websocket(lua_State *L) {
  return neapL__check_core(L, 1, &neapL__state_here(L)->websocket_meta, class_name);
}

static neap__ws_op *op_at(lua_State *L, int index) {
  return (neap__ws_op *)neapL__op_at(L, index);
}

static bool is_utf8(const char *text, size_t n) {
  neap__utf8 utf8 = {0};
  return neap__utf8_feed(&utf8, text, n) && neap__utf8_is_complete(&utf8);
}

/* ---- Sending ---------------------------------------------------------------------------------- */

/* The bytes stay where they are as long as they are an argument and Lua does not run: they are looked up
 * last. */
static void read_send(lua_State *L, neap__op *op, neap__ws_opcode opcode) {
  neap__ws_send *self = (neap__ws_send *)(void *)op;
  neap__websocket *ws = check_websocket(L);
  self->opcode = opcode;
  self->data = neapL__check_bytes(L, 2, &self->size);
  self->ws = ws;
  ws->refs++;
}

/* ws:send(text) -> Task */
static void read_send_text(lua_State *L, neap__op *op) {
  const neap__ws_send *self = (const neap__ws_send *)(const void *)op;
  read_send(L, op, NEAP__WS_TEXT);
  luaL_argcheck(L, is_utf8(self->data, self->size), 2,
                "text in UTF-8 expected; send_binary takes any bytes");
}

/* ws:send_binary(bytes) -> Task */
static void read_send_binary(lua_State *L, neap__op *op) {
  read_send(L, op, NEAP__WS_BINARY);
}

/* ---- Receiving -------------------------------------------------------------------------------- */

static neap__websocket *use_websocket(lua_State *L, neap__op *op) {
  neap__websocket *ws = check_websocket(L);
  ((neap__ws_op *)op)->ws = ws;
  ws->refs++;
  return ws;
}

/* ws:recv() -> Task<message, kind> or nil, code, reason */
static void read_receive(lua_State *L, neap__op *op) {
  neapL__check_turn(L, check_websocket(L)->receiver, "recv");
  use_websocket(L, op);
}

static int push_end(lua_State *L, const neap__websocket *ws) {
  lua_pushnil(L);
  lua_pushinteger(L, neap__websocket_code(ws));
  lua_pushlstring(L, ws->reason, ws->reason_size);
  return 3;
}

static int push_message(lua_State *L, neapL__state *state, int index) {
  const neap__ws_op *self = op_at(L, index);
  (void)state;
  if (!self->message) return push_end(L, self->ws);
  lua_pushlstring(L, self->message->data, self->message->size);
  lua_pushstring(L, self->message->is_text ? "text" : "binary");
  return 2;
}

/* err.close_code: what the peer was told, or that it was told nothing. */
static bool add_close_code(lua_State *L, neap__op *op) {
  const neap__websocket *ws = ((const neap__ws_op *)op)->ws;
  if (!ws || !ws->error.code) return false;
  lua_pushinteger(L, ws->error_code ? ws->error_code : NEAP__WS_LOST);
  lua_setfield(L, -2, "close_code");
  return true;
}

/* ---- Pings ------------------------------------------------------------------------------------ */

/* ws:ping() -> Task<seconds>: until the peer has answered */
static void read_ping(lua_State *L, neap__op *op) {
  use_websocket(L, op);
}

static int push_seconds(lua_State *L, neapL__state *state, int index) {
  (void)state;
  lua_pushnumber(L, op_at(L, index)->since);
  return 1;
}

static const neapL__row rows[] = {
    {"websocket:send", &neap__ws_send_kind, read_send_text, NULL, NULL},
    {"websocket:send_binary", &neap__ws_send_kind, read_send_binary, NULL, NULL},
    {"websocket:recv", &neap__ws_receive_kind, read_receive, push_message, add_close_code},
    {"websocket:ping", &neap__ws_ping_kind, read_ping, push_seconds, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* for message, kind in ws do */
static int ws_call(lua_State *L) {
  lua_settop(L, 1); /* without the control values of the loop */
  return neapL__call_and_await(L, neapL__state_here(L), &rows[2]);
}

/* ---- Closing ---------------------------------------------------------------------------------- */

static void read_close(lua_State *L, neap__op *op) {
  use_websocket(L, op);
}

static int push_close(lua_State *L, neapL__state *state, int index) {
  const neap__websocket *ws = op_at(L, index)->ws;
  (void)state;
  lua_pushinteger(L, neap__websocket_code(ws));
  lua_pushlstring(L, ws->reason, ws->reason_size);
  return 2;
}

static const neapL__row close_row = {"websocket:close", &neap__ws_close_kind, read_close,
                                     push_close, NULL};

/* Where nobody can wait for the peer it is not waited for. */
static void begin_close(lua_State *L, neap__websocket *ws, int code, const char *reason, size_t n) {
  const neap_loop *loop = neapL__state_here(L)->loop;
  bool is_hasty = neap__node_is_cancelled(neap__current_node(loop));
  neap__websocket_close(ws, code, reason, n, is_hasty);
}

/* ws:close(code?, reason?) -> Task<code, reason> of the peer */
static int ws_close(lua_State *L) {
  size_t n;
  neap__websocket *ws = check_websocket(L);
  lua_Integer code = luaL_optinteger(L, 2, NEAP__WS_NORMAL);
  const char *reason = luaL_optlstring(L, 3, "", &n);
  luaL_argcheck(L, code >= 0 && code <= 4999 && neap__ws_is_code((int)code), 2,
                "a code that may be sent expected: 1000, 1001, ..., or 3000 to 4999");
  luaL_argcheck(L, n <= NEAP__WS_REASON && is_utf8(reason, n), 3,
                "a reason in UTF-8, of 123 bytes at most, expected");
  neapL__check_open(L, neapL__state_here(L));
  begin_close(L, ws, (int)code, reason, n);
  lua_settop(L, 1);
  neapL__start_operation(L, neapL__state_here(L), &close_row);
  return 1;
}

/* The block was left by an error, or is cancelled. */
static int leave(lua_State *L) {
  lua_settop(L, 1);
  lua_pushinteger(L, NEAP__WS_GOING_AWAY);
  return ws_close(L);
}

static int ws_close_and_wait(lua_State *L) {
  return neapL__close_and_wait(L, lua_isnoneornil(L, 2) ? ws_close : leave);
}

static int ws_gc(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap__websocket *ws = self->core;
  self->core = NULL;
  if (ws) neap__websocket_drop(ws);
  return 0;
}

/* ---- What does not wait ------------------------------------------------------------------------ */

/* ws:protocol() -> the subprotocol that was agreed upon | nil */
static int get_protocol(lua_State *L) {
  check_websocket(L);
  lua_getiuservalue(L, 1, PROTOCOL);
  return 1;
}

/* ws:peer() -> host, port of the other end; path */
static int get_peer(lua_State *L) {
  return neapL__push_address(L, check_websocket(L)->stream, true);
}

/* ws:is_closed(): nothing can be sent any more */
static int is_closed(lua_State *L) {
  lua_pushboolean(L, neap__websocket_is_closing(check_websocket(L)));
  return 1;
}

static int to_string(lua_State *L) {
  const neap__websocket *ws = check_websocket(L);
  return neapL__push_stream_name(L, ws->stream, true, class_name);
}

/* ---- Making them ------------------------------------------------------------------------------- */

/* Absent or math.huge: none. */
static uint64_t option_size(lua_State *L, const char *name, lua_Integer otherwise) {
  lua_getfield(L, 2, name);
  bool is_endless = lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) == HUGE_VAL;
  lua_pop(L, 1);
  if (is_endless) return LUA_MAXINTEGER / 4; /* sums of it do not overflow */
  return (uint64_t)neapL__option_integer(L, 2, name, 0, LUA_MAXINTEGER / 4, otherwise);
}

static neap__ws_options read_options(lua_State *L) {
  neap__ws_options options = {
      .is_server = neapL__option_boolean(L, 2, "server", false),
      .max_message = option_size(L, "max_message", DEFAULT_MAX),
      .ping = neapL__option_seconds(L, 2, "ping", HUGE_VAL),
      .close_timeout = neapL__option_seconds(L, 2, "close_timeout", DEFAULT_CLOSE_TIMEOUT),
  };
  options.ping_timeout = neapL__option_seconds(L, 2, "ping_timeout", options.ping);
  return options;
}

static int raise_code(lua_State *L, int code) {
  if (code == NEAP_EMISUSE) return neapL__misuse(L, "somebody reads from the connection");
  neap_error error = {.code = code};
  neapL__push_core_error(L, neapL__state_here(L), &error);
  return lua_error(L);
}

/* websocket(conn, options, protocol?) -> WebSocket, which takes the connection over */
static int new_websocket(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap__stream *stream = neapL__check_conn(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 3);
  neapL__check_open(L, state);
  neap__ws_options options = read_options(L);
  neapL__object *self = lua_newuserdatauv(L, sizeof *self, PROTOCOL);
  neap__websocket *ws;
  self->core = NULL;
  neapL__set_meta(L, -1, &state->websocket_meta);
  int code = neap__websocket_new(stream, &options, &ws);
  if (code) return raise_code(L, code);
  self->core = ws;
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, -2, PROTOCOL);
  return 1;
}

/* check_options(options): raises what `websocket` would raise; the table is at 1 for the message */
static int check_options(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  read_options(L);
  return 0;
}

/* ---- The handshake ------------------------------------------------------------------------------ */

/* websocket_key() -> what a client sends */
static int new_key(lua_State *L) {
  uint8_t random[16];
  char key[NEAP__WS_KEY_SIZE];
  int code = uv_random(NULL, NULL, random, sizeof random, 0, NULL);
  if (code) return raise_code(L, code);
  neap__ws_key(random, key);
  lua_pushstring(L, key);
  return 1;
}

/* websocket_accept(key) -> what a server answers; nil: it is no key */
static int accept_key(lua_State *L) {
  size_t n;
  char accept[NEAP__WS_ACCEPT_SIZE];
  const char *key = luaL_checklstring(L, 1, &n);
  if (!neap__ws_is_key(key, n)) return 0;
  neap__ws_accept(key, n, accept);
  lua_pushstring(L, accept);
  return 1;
}

/* ---- The class ------------------------------------------------------------------------------- */

static const luaL_Reg metamethods[] = {{"__gc", ws_gc},
                                       {"__call", ws_call},
                                       {"__close", ws_close_and_wait},
                                       {"__tostring", to_string},
                                       {NULL, NULL}};
static const luaL_Reg methods[] = {{"close", ws_close},
                                   {"protocol", get_protocol},
                                   {"peer", get_peer},
                                   {"is_closed", is_closed},
                                   {NULL, NULL}};

void neapL__open_websockets(lua_State *L, neapL__state *state) {
  neapL__object_class(L, &state->websocket_meta, class_name, metamethods, methods, rows);
}

const luaL_Reg neapL__websocket_functions[] = {{"websocket", new_websocket},
                                               {"websocket_options", check_options},
                                               {"websocket_key", new_key},
                                               {"websocket_accept", accept_key},
                                               {NULL, NULL}};
