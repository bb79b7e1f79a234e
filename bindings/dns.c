#include "dns.h"

#include "../core/ops/dns.h"
#include "options.h"

static const char *const families[] = {"ipv4", "ipv6", NULL};
static const int family_numbers[] = {AF_INET, AF_INET6};

/* neap.dns.resolve(host, {family =, port =, all =}?) -> Task<{ {address =, family =}, ... }> */
static void read_resolve(lua_State *L, neap__op *op) {
  neap__resolve *self = (neap__resolve *)op;
  luaL_checktype(L, 1, LUA_TSTRING);
  neapL__has_options(L, 2);
  int family = neapL__option_choice(L, 2, "family", families, -1);
  self->family = family < 0 ? 0 : family_numbers[family];
  self->port = (int)neapL__option_integer(L, 2, "port", 0, 65535, -1);
  self->has_port = self->port >= 0;
  if (!self->has_port) self->port = 0;
  self->is_first_only = !neapL__option_boolean(L, 2, "all", true);
  self->host = neapL__copy_path(L, op->task.loop, 1);
}

static void push_address(lua_State *L, const neap__resolve *self, const neap__sockaddr *address) {
  char host[NEAP__HOST_SIZE];
  neap__sockaddr_host(address, host);
  lua_createtable(L, 0, self->has_port ? 3 : 2);
  lua_pushstring(L, host);
  lua_setfield(L, -2, "address");
  lua_pushstring(L, families[address->any.sa_family == AF_INET6]);
  lua_setfield(L, -2, "family");
  if (!self->has_port) return;
  lua_pushinteger(L, self->port);
  lua_setfield(L, -2, "port");
}

static int push_found(lua_State *L, neapL__state *state, int index) {
  const neap__resolve *self = (const neap__resolve *)neapL__op_at(L, index);
  size_t count = self->is_first_only ? 1 : self->count;
  (void)state;
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    push_address(L, self, &self->found[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

/* neap.dns.reverse(address) -> Task<name> */
static void read_reverse(lua_State *L, neap__op *op) {
  neap__reverse *self = (neap__reverse *)op;
  luaL_checktype(L, 1, LUA_TSTRING);
  self->host = neapL__copy_path(L, op->task.loop, 1);
  luaL_argcheck(L, neap__sockaddr_parse(self->host, 0, &self->address), 1,
                "an IPv4 or IPv6 address expected");
}

static int push_name(lua_State *L, neapL__state *state, int index) {
  (void)state;
  lua_pushstring(L, ((const neap__reverse *)neapL__op_at(L, index))->request.host);
  return 1;
}

static const neapL__row dns_rows[] = {
    {"dns.resolve", &neap__resolve_kind, read_resolve, push_found, NULL},
    {"dns.reverse", &neap__reverse_kind, read_reverse, push_name, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

void neapL__register_dns(lua_State *L) {
  lua_newtable(L);
  neapL__register_rows(L, dns_rows);
  lua_setfield(L, -2, "dns");
}
