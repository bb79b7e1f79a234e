#include "net.h"

#include "../core/ops/connect.h"
#include "../core/ops/listen.h"
#include "conn.h"
#include "filter.h"
#include "options.h"

#include <string.h>

enum { DEFAULT_BACKLOG = 511, MAX_PORT = 65535, MAX_KEEPALIVE = 32767 };

static const char class_name[] = "neap.Server";

/* ---- Where to ------------------------------------------------------------------------------- */

static const char *const families[] = {"ipv4", "ipv6", NULL};
static const int family_numbers[] = {AF_INET, AF_INET6};

/* All in one table: {path =} or {host =, port =}, with the options. */
static void read_table(lua_State *L, neap_loop *loop, neap__endpoint *endpoint) {
  endpoint->path = neapL__option_copy(L, loop, 1, "path");
  if (endpoint->path) return;
  endpoint->host = neapL__option_copy(L, loop, 1, "host");
  luaL_argcheck(L, endpoint->host, 1, "option 'host' or 'path' expected");
  endpoint->port = (int)neapL__option_integer(L, 1, "port", 0, MAX_PORT, -1);
  luaL_argcheck(L, endpoint->port >= 0, 1, "option 'port' expected");
}

/* host, port, opts?, or one table; returns the index of the options. */
static int read_endpoint(lua_State *L, neap_loop *loop, neap__endpoint *endpoint) {
  int options = lua_istable(L, 1) ? 1 : 3;
  if (options == 1)
    read_table(L, loop, endpoint);
  else {
    endpoint->host = neapL__copy_path(L, loop, 1);
    lua_Integer port = luaL_checkinteger(L, 2);
    luaL_argcheck(L, port >= 0 && port <= MAX_PORT, 2, "a port from 0 to 65535 expected");
    endpoint->port = (int)port;
    neapL__has_options(L, 3);
  }
  int family = neapL__option_choice(L, options, "family", families, -1);
  endpoint->family = family < 0 ? AF_UNSPEC : family_numbers[family];
  return options;
}

/* The address to bind to before connecting. */
static void read_local(lua_State *L, neap__connect *self, int options) {
  neap_loop *loop = self->op.task.loop;
  int port = (int)neapL__option_integer(L, options, "local_port", 0, MAX_PORT, 0);
  neap__endpoint local = {.host = neapL__option_copy(L, loop, options, "local_host"), .port = port};
  bool is_address = !local.host; /* its copy is nobody's: nothing may raise until it is freed */
  if (local.host) is_address = neap__endpoint_parse(&local, &self->local);
  neap__memory_free(&loop->memory, local.host);
  luaL_argcheck(L, is_address, options, "option 'local_host': an IP address expected");
  self->local_port = port;
  if (self->endpoint.family == AF_UNSPEC) self->endpoint.family = self->local.any.sa_family;
}

/* neap.net.connect(host, port, opts?) -> Task<Conn> */
static void read_connect(lua_State *L, neap__op *op) {
  neap__connect *self = (neap__connect *)op;
  int options = read_endpoint(L, op->task.loop, &self->endpoint);
  read_local(L, self, options);
  self->has_nagle = !neapL__option_boolean(L, options, "nodelay", true);
  self->keepalive = (unsigned)neapL__option_integer(L, options, "keepalive", 0, MAX_KEEPALIVE, 0);
  self->maker = neapL__option_tls(L, options, "connect", self->endpoint.host, self->endpoint.port);
}

static int push_connected(lua_State *L, neapL__state *state, int index) {
  neapL__object *self = neapL__push_object(L, &state->conn_meta);
  self->core = neap__connect_take((neap__connect *)neapL__op_at(L, index));
  return 1;
}

/* neap.net.listen(host, port, opts?) -> Task<Server> */
static void read_listen(lua_State *L, neap__op *op) {
  neap__listen *self = (neap__listen *)op;
  int options = read_endpoint(L, op->task.loop, &self->endpoint);
  self->backlog = (int)neapL__option_integer(L, options, "backlog", 1, 65535, DEFAULT_BACKLOG);
  self->mode = neapL__option_file_mode(L, options, "mode", -1);
  self->reuses_port = neapL__option_boolean(L, options, "reuse_port", false);
  self->is_ipv6_only = neapL__option_boolean(L, options, "ipv6_only", false);
  self->replaces = neapL__option_boolean(L, options, "unlink", false);
  self->maker = neapL__option_tls(L, options, "listen", self->endpoint.host, self->endpoint.port);
}

static int push_server(lua_State *L, neapL__state *state, int index) {
  neapL__object *self = neapL__push_object(L, &state->server_meta);
  self->core = neap__listen_take((neap__listen *)neapL__op_at(L, index));
  return 1;
}

static const neapL__row net_rows[] = {
    {"net.connect", &neap__connect_kind, read_connect, push_connected, NULL},
    {"net.listen", &neap__listen_kind, read_listen, push_server, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- Server -------------------------------------------------------------------------------- */

static neap__server *check_server(lua_State *L) {
  return neapL__check_core(L, 1, &neapL__state_here(L)->server_meta, class_name);
}

/* server:accept() -> Task<Conn> */
static void read_accept(lua_State *L, neap__op *op) {
  neap__server *server = check_server(L);
  server->stream.refs++;
  ((neap__accept *)op)->server = server;
}

/* for conn in server do: nil once it is closed */
static void read_next(lua_State *L, neap__op *op) {
  read_accept(L, op);
  ((neap__accept *)op)->ends = true;
}

static int push_accepted(lua_State *L, neapL__state *state, int index) {
  neapL__object *self = neapL__push_object(L, &state->conn_meta);
  self->core = neap__accept_take((neap__accept *)neapL__op_at(L, index));
  if (!self->core) lua_pushnil(L);
  return 1;
}

static const neapL__row server_rows[] = {
    {"accept", &neap__accept_kind, read_accept, push_accepted, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static const neapL__row next_row = {"accept", &neap__accept_kind, read_next, push_accepted, NULL};

static int next_conn(lua_State *L) {
  lua_settop(L, 1);
  return neapL__call_and_await(L, neapL__state_here(L), &next_row);
}

static int close_server(lua_State *L) {
  return neapL__close_stream(L, &check_server(L)->stream);
}

static int close_and_wait(lua_State *L) {
  return neapL__close_and_wait(L, close_server);
}

/* server:address() -> host, port; path */
static int get_address(lua_State *L) {
  return neapL__push_address(L, &check_server(L)->stream, false);
}

/* server:is_closed() */
static int is_closed(lua_State *L) {
  lua_pushboolean(L, check_server(L)->stream.is_closing);
  return 1;
}

static int to_string(lua_State *L) {
  return neapL__push_stream_name(L, &check_server(L)->stream, false, class_name);
}

static const luaL_Reg metamethods[] = {{"__gc", neapL__collect_stream},
                                       {"__close", close_and_wait},
                                       {"__call", next_conn},
                                       {"__tostring", to_string},
                                       {NULL, NULL}};
static const luaL_Reg methods[] = {
    {"close", close_server}, {"address", get_address}, {"is_closed", is_closed}, {NULL, NULL}};

void neapL__open_servers(lua_State *L, neapL__state *state) {
  neapL__object_class(L, &state->server_meta, class_name, metamethods, methods, server_rows);
}

void neapL__register_net(lua_State *L) {
  lua_newtable(L);
  neapL__register_rows(L, net_rows);
  lua_setfield(L, -2, "net");
}
