#include "udp.h"

#include "../core/ops/udp.h"
#include "buffer.h"
#include "error.h"
#include "object.h"
#include "options.h"

#include <string.h>

static const char class_name[] = "neap.Udp";

enum { MAX_PORT = 65535, MAX_TTL = 255 };

static neap__udp *check_udp(lua_State *L) {
  return neapL__check_core(L, 1, &neapL__state_here(L)->udp_meta, class_name);
}

static neap__udp_op *op_at(lua_State *L, int index) {
  return (neap__udp_op *)neapL__op_at(L, index);
}

/* ---- net.udp ------------------------------------------------------------------------------- */

/* neap.net.udp(opts?) -> Task<Udp> */
static void read_udp(lua_State *L, neap__op *op) {
  neap__udp_op *self = (neap__udp_op *)op;
  neapL__has_options(L, 1);
  self->port = (int)neapL__option_integer(L, 1, "port", 0, MAX_PORT, 0);
  self->reuses_address = neapL__option_boolean(L, 1, "reuse_address", false);
  self->reuses_port = neapL__option_boolean(L, 1, "reuse_port", false);
  self->is_ipv6_only = neapL__option_boolean(L, 1, "ipv6_only", false);
  self->has_broadcast = neapL__option_boolean(L, 1, "broadcast", false);
  self->host = neapL__option_copy(L, op->task.loop, 1, "host");
  if (!self->host || strcmp(self->host, "*") != 0) return;
  neap__memory_free(&op->task.loop->memory, self->host);
  self->host = NULL;
}

static int push_udp(lua_State *L, neapL__state *state, int index) {
  neapL__object *self = neapL__push_object(L, &state->udp_meta);
  self->core = neap__udp_take(op_at(L, index));
  return 1;
}

static const neapL__row udp_rows[] = {
    {"net.udp", &neap__udp_open_kind, read_udp, push_udp, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- Udp: operations ----------------------------------------------------------------------- */

static void use_udp(lua_State *L, neap__op *op) {
  neap__udp *udp = check_udp(L);
  udp->refs++;
  ((neap__udp_op *)op)->udp = udp;
}

static void read_address(lua_State *L, neap__udp_op *self, int index) {
  luaL_checktype(L, index, LUA_TSTRING);
  lua_Integer port = luaL_checkinteger(L, index + 1);
  luaL_argcheck(L, port >= 0 && port <= MAX_PORT, index + 1, "a port from 0 to 65535 expected");
  self->port = (int)port;
  self->host = neapL__copy_path(L, self->op.task.loop, index);
}

/* udp:connect(host, port) -> Task */
static void read_connect(lua_State *L, neap__op *op) {
  check_udp(L);
  read_address(L, (neap__udp_op *)op, 2);
  use_udp(L, op);
}

/* udp:send(data, host?, port?) -> Task<bytes>. The bytes stay where they are as long as they are an argument
 * and Lua does not run: they are looked up last. */
static void read_send(lua_State *L, neap__op *op) {
  neap__udp_op *self = (neap__udp_op *)op;
  check_udp(L);
  neapL__check_bytes(L, 2, &self->size);
  if (!lua_isnil(L, 3) || !lua_isnil(L, 4)) read_address(L, self, 3);
  self->data = neapL__check_bytes(L, 2, &self->size);
  use_udp(L, op);
}

static int push_size(lua_State *L, neapL__state *state, int index) {
  (void)state;
  lua_pushinteger(L, (lua_Integer)op_at(L, index)->size);
  return 1;
}

/* udp:recv(max?) -> Task<data, host, port, is_truncated> */
static void read_receive(lua_State *L, neap__op *op) {
  const neap__udp *udp = check_udp(L);
  lua_Integer max = luaL_optinteger(L, 2, MAX_PORT);
  luaL_argcheck(L, max >= 0, 2, "a number of bytes, 0 or more, expected");
  ((neap__udp_op *)op)->size = (size_t)max;
  neapL__check_turn(L, udp->receiver, "recv");
  use_udp(L, op);
}

static int push_datagram(lua_State *L, neapL__state *state, int index) {
  const neap__udp_op *self = op_at(L, index);
  const neap__datagram *datagram = self->datagram;
  char host[NEAP__HOST_SIZE];
  (void)state;
  if (!datagram) {
    lua_pushnil(L);
    return 1;
  }
  bool is_longer = datagram->size > self->size;
  neap__sockaddr_host(&datagram->from, host);
  lua_pushlstring(L, datagram->data, is_longer ? self->size : datagram->size);
  lua_pushstring(L, host);
  lua_pushinteger(L, neap__sockaddr_port(&datagram->from));
  lua_pushboolean(L, is_longer || datagram->is_partial);
  return 4;
}

/* for data, host, port in udp do: ends when it is closed */
static void read_next(lua_State *L, neap__op *op) {
  read_receive(L, op);
  ((neap__udp_op *)op)->ends = true;
}

static const neapL__row rows[] = {
    {"udp:send", &neap__udp_send_kind, read_send, push_size, NULL},
    {"udp:recv", &neap__udp_receive_kind, read_receive, push_datagram, NULL},
    {"udp:connect", &neap__udp_connect_kind, read_connect, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static const neapL__row next_row = {"udp:recv", &neap__udp_receive_kind, read_next, push_datagram,
                                    NULL};

static int udp_call(lua_State *L) {
  lua_settop(L, 1); /* without the control values of the loop, */
  lua_settop(L, 2); /* and with room for `max` */
  return neapL__call_and_await(L, neapL__state_here(L), &next_row);
}

/* ---- Udp: what does not wait ----------------------------------------------------------------- */

static int finish(lua_State *L, int code, const char *syscall) {
  if (!code) return 0;
  neap_error error = {.code = code, .syscall = syscall};
  neapL__push_core_error(L, neapL__state_here(L), &error);
  return lua_error(L);
}

static int push_address(lua_State *L, bool is_peer) {
  neap__sockaddr address;
  char host[NEAP__HOST_SIZE];
  int code = neap__udp_address(check_udp(L), is_peer, &address);
  if (code) return finish(L, code, is_peer ? "getpeername" : "getsockname");
  neap__sockaddr_host(&address, host);
  lua_pushstring(L, host);
  lua_pushinteger(L, neap__sockaddr_port(&address));
  return 2;
}

static int udp_address(lua_State *L) {
  return push_address(L, false);
}

static int udp_peer(lua_State *L) {
  return push_address(L, true);
}

static int udp_disconnect(lua_State *L) {
  return finish(L, neap__udp_disconnect(check_udp(L)), "connect");
}

/* A literal address; raises an argument error. */
static const char *check_literal(lua_State *L, int index) {
  size_t size;
  neap__sockaddr address;
  luaL_checktype(L, index, LUA_TSTRING);
  const char *text = lua_tolstring(L, index, &size);
  bool is_literal = strlen(text) == size && neap__sockaddr_parse(text, 0, &address);
  luaL_argcheck(L, is_literal, index, "an IPv4 or IPv6 address expected");
  return text;
}

static const char *optional_literal(lua_State *L, int index) {
  return lua_isnoneornil(L, index) ? NULL : check_literal(L, index);
}

static int set_membership(lua_State *L, bool is_member) {
  neap__udp *udp = check_udp(L);
  const char *group = check_literal(L, 2);
  const char *interface = optional_literal(L, 3);
  return finish(L, neap__udp_membership(udp, group, interface, is_member), "setsockopt");
}

static int udp_join(lua_State *L) {
  return set_membership(L, true);
}

static int udp_leave(lua_State *L) {
  return set_membership(L, false);
}

static int udp_set_multicast_interface(lua_State *L) {
  neap__udp *udp = check_udp(L);
  return finish(L, neap__udp_multicast_interface(udp, optional_literal(L, 2)), "setsockopt");
}

static int set_boolean(lua_State *L, neap__udp_option option) {
  neap__udp *udp = check_udp(L);
  luaL_checktype(L, 2, LUA_TBOOLEAN);
  return finish(L, neap__udp_set(udp, option, lua_toboolean(L, 2)), "setsockopt");
}

static int set_hops(lua_State *L, neap__udp_option option) {
  neap__udp *udp = check_udp(L);
  lua_Integer hops = luaL_checkinteger(L, 2);
  luaL_argcheck(L, hops >= 1 && hops <= MAX_TTL, 2, "a number from 1 to 255 expected");
  return finish(L, neap__udp_set(udp, option, (int)hops), "setsockopt");
}

static int udp_set_broadcast(lua_State *L) {
  return set_boolean(L, NEAP__UDP_BROADCAST);
}

static int udp_set_multicast_loop(lua_State *L) {
  return set_boolean(L, NEAP__UDP_MULTICAST_LOOP);
}

static int udp_set_ttl(lua_State *L) {
  return set_hops(L, NEAP__UDP_TTL);
}

static int udp_set_multicast_ttl(lua_State *L) {
  return set_hops(L, NEAP__UDP_MULTICAST_TTL);
}

/* ---- Ends ---------------------------------------------------------------------------------- */

static const neapL__row close_row = {"udp:close", &neap__udp_close_kind, use_udp, NULL, NULL};

static int udp_close(lua_State *L) {
  neap__udp_close(check_udp(L));
  lua_settop(L, 4);
  neapL__start_operation(L, neapL__state_here(L), &close_row);
  return 1;
}

static int udp_close_and_wait(lua_State *L) {
  return neapL__close_and_wait(L, udp_close);
}

static int udp_gc(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap__udp *udp = self->core;
  self->core = NULL;
  if (udp) neap__udp_drop(udp);
  return 0;
}

static int udp_tostring(lua_State *L) {
  neap__sockaddr address;
  char host[NEAP__HOST_SIZE];
  if (neap__udp_address(check_udp(L), false, &address)) {
    lua_pushfstring(L, "%s: closed", class_name);
    return 1;
  }
  neap__sockaddr_host(&address, host);
  const char *format = strchr(host, ':') ? "%s [%s]:%d" : "%s %s:%d";
  lua_pushfstring(L, format, class_name, host, neap__sockaddr_port(&address));
  return 1;
}

static const luaL_Reg metamethods[] = {{"__gc", udp_gc},
                                       {"__call", udp_call},
                                       {"__close", udp_close_and_wait},
                                       {"__tostring", udp_tostring},
                                       {NULL, NULL}};
static const luaL_Reg methods[] = {{"close", udp_close},
                                   {"address", udp_address},
                                   {"peer", udp_peer},
                                   {"disconnect", udp_disconnect},
                                   {"join", udp_join},
                                   {"leave", udp_leave},
                                   {"set_broadcast", udp_set_broadcast},
                                   {"set_ttl", udp_set_ttl},
                                   {"set_multicast_ttl", udp_set_multicast_ttl},
                                   {"set_multicast_loop", udp_set_multicast_loop},
                                   {"set_multicast_interface", udp_set_multicast_interface},
                                   {NULL, NULL}};

void neapL__open_udp(lua_State *L, neapL__state *state) {
  neapL__object_class(L, &state->udp_meta, class_name, metamethods, methods, rows);
}

void neapL__register_udp(lua_State *L) {
  neapL__register_rows(L, udp_rows);
}
