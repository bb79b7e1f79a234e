/* require "neap.tls_driver": contexts, makers and what is known of TLS connections. The friendly side is
 * lua/neap/tls.lua. */
#include "../../core/drivers/tls.h"

#include "../conn.h"
#include "../driver.h"
#include "../error.h"
#include "../filter.h"
#include "../options.h"

#include <string.h>

NEAP_API int luaopen_neap_tls_driver(lua_State *L);

/* ---- Classes ----------------------------------------------------------------------------------- */

static const char context_name[] = "neap.tls.Context", maker_name[] = "neap.tls.Maker";

/* Of one Lua state, in its registry. */
typedef struct classes {
  neapL__meta context, maker;
} classes;

static const char classes_key = 0;

static classes *get_classes(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &classes_key);
  classes *self = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return self;
}

static neap__tls_context *check_context(lua_State *L, int index) {
  return neapL__check_core(L, index, &get_classes(L)->context, context_name);
}

static int collect_context(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  if (self->core) neap__tls_context_unref(self->core);
  self->core = NULL;
  return 0;
}

static int collect_maker(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap__filter_maker *maker = self->core;
  self->core = NULL;
  if (maker) maker->unref(maker);
  return 0;
}

/* ---- Options of a context ---------------------------------------------------------------------- */

NEAPL__NORETURN static void refuse(lua_State *L, const char *name, const char *expected) {
  luaL_argerror(L, 1, lua_pushfstring(L, "option 'tls.%s': %s expected", name, expected));
  NEAPL__UNREACHABLE;
}

/* A string, which stays on the stack; NULL (nil there) if it is absent. */
static const char *push_text(lua_State *L, int index, const char *name) {
  if (lua_getfield(L, index, name) == LUA_TNIL) return NULL;
  size_t size;
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &size) : NULL;
  if (!text || strlen(text) != size) refuse(L, name, "a string without NUL bytes");
  return text;
}

static bool get_boolean(lua_State *L, int index, const char *name, bool otherwise) {
  int type = lua_getfield(L, index, name);
  if (type != LUA_TNIL && type != LUA_TBOOLEAN) refuse(L, name, "a boolean");
  bool value = type == LUA_TNIL ? otherwise : lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

/* Raises the error of a call on a context; `source` may be the path of the file. */
static void check_code(lua_State *L, const neap__tls_context *context, int code,
                       const char *source) {
  bool is_path = source && !strstr(source, "-----BEGIN");
  neap_error error = {.code = code,
                      .syscall = is_path && code != NEAP_ETLS ? "open" : NULL,
                      .path = is_path ? source : NULL,
                      .message = code == NEAP_ETLS ? context->problem : NULL};
  if (!code) return;
  neapL__push_core_error(L, neapL__state_get(L), &error);
  lua_error(L);
}

static const char *const versions[] = {"1.2", "1.3", NULL};
static const int version_numbers[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static int get_version(lua_State *L, int index, const char *name, int otherwise) {
  const char *text = push_text(L, index, name);
  for (int i = 0; text && versions[i]; i++)
    if (strcmp(versions[i], text) == 0) return version_numbers[i];
  if (text) refuse(L, name, "\"1.2\" or \"1.3\"");
  return otherwise;
}

static void set_versions(lua_State *L, neap__tls_context *context, int index) {
  int least = get_version(L, index, "min_version", TLS1_2_VERSION);
  int most = get_version(L, index, "max_version", TLS1_3_VERSION);
  if (least > most) refuse(L, "max_version", "no less than 'min_version'");
  check_code(L, context, neap__tls_set_versions(context, least, most), NULL);
}

static void set_certificate(lua_State *L, neap__tls_context *context, int index) {
  const char *password = push_text(L, index, "password");
  const char *certificate = push_text(L, index, "cert"), *key = push_text(L, index, "key");
  if (key && !certificate) refuse(L, "cert", "the certificate of the key");
  if (!certificate) return;
  if (password) context->password = neapL__copy(L, context->loop, password, strlen(password));
  int code = neap__tls_use_certificate(context, certificate, key);
  check_code(L, context, code, context->is_key_at_fault && key ? key : certificate);
}

static void set_trust(lua_State *L, neap__tls_context *context, int index) {
  const char *roots = push_text(L, index, "ca"), *directory = push_text(L, index, "ca_path");
  context->verifies = get_boolean(L, index, "verify", true);
  bool needs_roots = context->verifies || context->auth != NEAP__TLS_NOBODY;
  if (!needs_roots && !roots && !directory) return;
  check_code(L, context, neap__tls_trust(context, roots, directory), roots ? roots : directory);
}

static void set_auth(lua_State *L, neap__tls_context *context, int index) {
  int type = lua_getfield(L, index, "client_auth");
  bool is_optional = type == LUA_TSTRING && strcmp(lua_tostring(L, -1), "optional") == 0;
  if (type != LUA_TNIL && type != LUA_TBOOLEAN && !is_optional)
    refuse(L, "client_auth", "a boolean or \"optional\"");
  if (is_optional)
    context->auth = NEAP__TLS_OPTIONAL;
  else if (lua_toboolean(L, -1))
    context->auth = NEAP__TLS_REQUIRED;
  if (context->auth == NEAP__TLS_NOBODY) return;
  bool has_roots = push_text(L, index, "ca") || push_text(L, index, "ca_path");
  if (!has_roots) refuse(L, "ca", "whom 'client_auth' trusts");
}

static void add_protocol(lua_State *L, neap__tls_context *context) {
  size_t size = 0;
  const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &size) : NULL;
  if (!name || size < 1 || size > 255) refuse(L, "alpn", "a list of strings of 1 to 255 bytes");
  if (neap__tls_add_protocol(context, name, size)) neapL__raise_memory(L);
}

static void set_protocols(lua_State *L, neap__tls_context *context, int index) {
  int type = lua_getfield(L, index, "alpn");
  if (type == LUA_TNIL) return;
  if (type != LUA_TTABLE) refuse(L, "alpn", "a list of strings");
  int list = lua_gettop(L);
  for (lua_Integer i = 1; lua_geti(L, list, i) != LUA_TNIL; i++) {
    add_protocol(L, context);
    lua_settop(L, list);
  }
}

/* core's context(opts) -> Context */
static int new_context(lua_State *L) {
  neapL__state *state = neapL__state_get(L);
  neapL__check_open(L, state);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  luaL_checkstack(L, 40, "the options of TLS");
  neapL__object *self = neapL__push_object(L, &get_classes(L)->context);
  neap__tls_context *context;
  if (neap__tls_context_new(state->loop, &context)) return neapL__raise_memory(L);
  self->core = context;
  context->takes_truncated = get_boolean(L, 1, "allow_truncated", false);
  set_versions(L, context, 1);
  set_auth(L, context, 1);
  set_trust(L, context, 1);
  set_certificate(L, context, 1);
  set_protocols(L, context, 1);
  lua_settop(L, 2);
  return 1;
}

/* add_name(context, name, other) */
static int add_name(lua_State *L) {
  neap__tls_context *context = check_context(L, 1);
  const char *name = luaL_checkstring(L, 2);
  if (neap__tls_add_name(context, name, check_context(L, 3))) return neapL__raise_memory(L);
  return 0;
}

/* has_certificate(context) */
static int has_certificate(lua_State *L) {
  lua_pushboolean(L, check_context(L, 1)->has_certificate);
  return 1;
}

/* verifies(context) */
static int verifies(lua_State *L) {
  lua_pushboolean(L, check_context(L, 1)->verifies);
  return 1;
}

/* is_context(value) */
static int is_context(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, lua_isuserdata(L, 1) && neapL__has_meta(L, 1, &get_classes(L)->context));
  return 1;
}

/* ---- Makers ------------------------------------------------------------------------------------ */

/* client(context, name?, place?, session?) -> Maker */
static int new_client(lua_State *L) {
  neap__tls_context *context = check_context(L, 1);
  const char *name = luaL_optstring(L, 2, NULL), *place = luaL_optstring(L, 3, NULL);
  size_t size;
  const char *session = luaL_optlstring(L, 4, NULL, &size);
  neapL__object *self = neapL__push_object(L, &get_classes(L)->maker);
  neap__tls_maker *maker;
  if (neap__tls_client_new(context, name, place, &maker)) return neapL__raise_memory(L);
  self->core = &maker->maker;
  if (session && !neap__tls_set_session(maker, session, size))
    refuse(L, "session", "what conn:tls_session() has given");
  return 1;
}

/* server(context) -> Maker */
static int new_server(lua_State *L) {
  neap__tls_context *context = check_context(L, 1);
  neapL__object *self = neapL__push_object(L, &get_classes(L)->maker);
  neap__tls_maker *maker;
  if (neap__tls_server_new(context, &maker)) return neapL__raise_memory(L);
  self->core = &maker->maker;
  return 1;
}

/* ---- Connections ------------------------------------------------------------------------------- */

static void check_idle(lua_State *L, const neap__stream *stream) {
  if (stream->filter) neapL__misuse(L, "start_tls of a connection that has TLS already");
  if (stream->reader.waiting || !neap__list_is_empty(&stream->writers))
    neapL__misuse(L, "start_tls while a read or a write is pending: await it first");
  if (stream->is_shut) neapL__misuse(L, "start_tls after shutdown");
}

/* start(conn, maker) */
static int start(lua_State *L) {
  neap__stream *stream = neapL__check_conn(L);
  neap__filter_maker *maker = neapL__check_core(L, 2, &get_classes(L)->maker, maker_name);
  if (!stream->is_closing) check_idle(L, stream);
  int code = maker->attach(maker, stream);
  if (!code) return 0;
  neap_error error = {.code = code, .syscall = "start_tls"};
  neapL__push_core_error(L, neapL__state_here(L), &error);
  return lua_error(L);
}

/* The TLS of a connection whose handshake is done, or NULL. */
static const neap__tls *ready_tls(lua_State *L) {
  const neap__tls *tls = neap__tls_of(neapL__check_conn(L));
  return tls && tls->filter.is_ready ? tls : NULL;
}

static void set_text(lua_State *L, const char *name, const char *text) {
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

static void push_names(lua_State *L, const X509 *certificate) {
  char name[1024];
  lua_newtable(L);
  for (int i = 0; neap__tls_certificate_name(certificate, i, name, sizeof name); i++) {
    lua_pushstring(L, name);
    lua_rawseti(L, -2, i + 1);
  }
}

static void push_certificate(lua_State *L, const neap__tls *tls) {
  neap__tls_certificate certificate;
  neap__tls_certificate_of(tls, &certificate);
  lua_newtable(L);
  set_text(L, "subject", certificate.subject);
  set_text(L, "issuer", certificate.issuer);
  set_text(L, "serial", certificate.serial);
  set_text(L, "fingerprint", certificate.fingerprint);
  lua_pushinteger(L, certificate.not_before);
  lua_setfield(L, -2, "not_before");
  lua_pushinteger(L, certificate.not_after);
  lua_setfield(L, -2, "not_after");
  push_names(L, neap__tls_peer(tls));
  lua_setfield(L, -2, "names");
}

/* info(conn) -> table; nil before the handshake is done */
static int get_info(lua_State *L) {
  const neap__tls *tls = ready_tls(L);
  neap__tls_info info;
  if (!tls) return 0;
  neap__tls_inspect(tls, &info);
  lua_newtable(L);
  set_text(L, "version", info.version);
  set_text(L, "cipher", info.cipher);
  set_text(L, "server_name", info.server_name);
  lua_pushlstring(L, info.protocol ? info.protocol : "", info.protocol_size);
  if (info.protocol)
    lua_setfield(L, -2, "alpn");
  else
    lua_pop(L, 1);
  lua_pushboolean(L, info.is_resumed);
  lua_setfield(L, -2, "session_reused");
  if (!info.has_certificate) return 1;
  push_certificate(L, tls);
  lua_setfield(L, -2, "peer");
  return 1;
}

/* session(conn) -> string; nil: the server has given none yet */
static int get_session(lua_State *L) {
  const neap__tls *tls = ready_tls(L);
  size_t size = tls ? neap__tls_session_data(tls, NULL) : 0;
  luaL_Buffer buffer;
  if (size == 0) return 0;
  char *place = luaL_buffinitsize(L, &buffer, size);
  neap__tls_session_data(tls, (unsigned char *)place);
  luaL_pushresultsize(&buffer, size);
  return 1;
}

/* ---- The module -------------------------------------------------------------------------------- */

static const luaL_Reg context_metamethods[] = {{"__gc", collect_context}, {NULL, NULL}};
static const luaL_Reg maker_metamethods[] = {{"__gc", collect_maker}, {NULL, NULL}};
static const luaL_Reg no_methods[] = {{NULL, NULL}};
static const luaL_Reg functions[] = {{"context", new_context},
                                     {"add_name", add_name},
                                     {"has_certificate", has_certificate},
                                     {"verifies", verifies},
                                     {"is_context", is_context},
                                     {"client", new_client},
                                     {"server", new_server},
                                     {"start", start},
                                     {"info", get_info},
                                     {"session", get_session},
                                     {NULL, NULL}};

static void open_classes(lua_State *L) {
  classes *self = lua_newuserdatauv(L, sizeof *self, 0);
  memset(self, 0, sizeof *self);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &classes_key);
  neapL__class(L, &self->context, context_name, context_metamethods, no_methods);
  neapL__class(L, &self->maker, maker_name, maker_metamethods, no_methods);
  neapL__set_filter_maker(L);
  lua_pop(L, 2);
}

int luaopen_neap_tls_driver(lua_State *L) {
  neapL__check_driver(L, "tls");
  open_classes(L);
  lua_newtable(L);
  neapL__register(L, functions);
  return 1;
}
