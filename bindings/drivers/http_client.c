#include "http_client.h"

#include "../driver.h"
#include "../error.h"
#include "../options.h"

#include <math.h>
#include <string.h>

NEAP_API int luaopen_neap_http_client_driver(lua_State *L);

static const char class_name[] = "neap.http.Pool";
static const char registry_key = 'h';

enum { MAX_CONNECTIONS = 100000, DEFAULT_CONNECTIONS = 256, DEFAULT_HOST_CONNECTIONS = 64 };

neapL__http *neapL__http_get(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &registry_key);
  neapL__http *http = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return http;
}

/* ---- Pools --------------------------------------------------------------------------------- */

static neap__http_client *check_pool(lua_State *L, int index) {
  return neapL__check_core(L, index, &neapL__http_get(L)->client_meta, class_name);
}

static int raise_code(lua_State *L, int code) {
  neap_error error = {.code = code};
  neapL__push_core_error(L, neapL__state_here(L), &error);
  return lua_error(L);
}

/* native.pool(settings, options) -> Pool; `standing`: it stays as long as the Lua state */
static int new_pool(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap__http_settings *settings = neapL__http_check_settings(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  neapL__check_open(L, state);
  neap__http_limits limits = {
      .connections = (long)neapL__option_integer(L, 2, "max_connections", 1, MAX_CONNECTIONS,
                                                 DEFAULT_CONNECTIONS),
      .host_connections = (long)neapL__option_integer(L, 2, "max_host_connections", 1,
                                                      MAX_CONNECTIONS, DEFAULT_HOST_CONNECTIONS),
      .has_cookies = neapL__option_boolean(L, 2, "cookies", false)};
  bool is_standing = neapL__option_boolean(L, 2, "standing", false);
  neapL__object *object = neapL__push_object(L, &neapL__http_get(L)->client_meta);
  neap__http_client *client = NULL;
  int code = neap__http_client_new(state->loop, settings, &limits, &client);
  if (code == UV_ENOMEM) return neapL__raise_memory(L);
  if (code) return raise_code(L, code);
  object->core = client;
  client->resource.is_standing = is_standing;
  return 1;
}

static int close_pool(lua_State *L) {
  neap__http_client_close(check_pool(L, 1));
  return 0;
}

static int is_closed(lua_State *L) {
  lua_pushboolean(L, check_pool(L, 1)->is_closed);
  return 1;
}

/* What is under way goes on. */
static int collect_pool(lua_State *L) {
  neapL__object *object = lua_touserdata(L, 1);
  neap__http_client *client = object->core;
  object->core = NULL;
  if (client) neap__http_client_unref(client);
  return 0;
}

/* pool:cookies() -> list of lines */
static int cookies(lua_State *L) {
  const neapL__http *http = neapL__http_get(L);
  neap__http_client *client = check_pool(L, 1);
  lua_newtable(L);
  /* In the hands of settings, so that an error frees it. */
  neapL__object *owner = neapL__push_object(L, &http->settings_meta);
  neap__http_settings *holder = neap__http_settings_new(client->loop);
  if (!holder) return neapL__raise_memory(L);
  owner->core = holder;
  holder->headers = neap__http_client_cookies(client);
  lua_Integer n = 0;
  for (const struct curl_slist *item = holder->headers; item; item = item->next) {
    lua_pushstring(L, item->data);
    lua_rawseti(L, -3, ++n);
  }
  lua_pop(L, 1);
  return 1;
}

/* pool:set_cookie(line) */
static int set_cookie(lua_State *L) {
  int code = neap__http_client_set_cookie(check_pool(L, 1), luaL_checkstring(L, 2));
  if (code == UV_ENOMEM) return neapL__raise_memory(L);
  return code ? raise_code(L, code) : 0;
}

static const luaL_Reg pool_metamethods[] = {{"__gc", collect_pool}, {NULL, NULL}};
static const luaL_Reg pool_methods[] = {{"close", close_pool},
                                        {"is_closed", is_closed},
                                        {"cookies", cookies},
                                        {"set_cookie", set_cookie},
                                        {NULL, NULL}};

/* ---- Requests ------------------------------------------------------------------------------ */

enum { POOL = 1, METHOD, URL, HEADERS, BODY, SETTINGS, STREAMS, MAX_BODY, LENGTH };

static void read_body(lua_State *L, neap__http_transfer *self) {
  size_t size;
  self->sends = lua_type(L, BODY) == LUA_TBOOLEAN && lua_toboolean(L, BODY);
  if (lua_type(L, BODY) != LUA_TSTRING) return;
  const char *body = lua_tolstring(L, BODY, &size);
  self->body = neapL__copy(L, self->loop, body, size);
  self->body_size = size;
  self->has_body = true;
}

static void use_settings(neap__http_transfer *self, neap__http_settings *settings) {
  neap__http_settings_unref(self->settings);
  self->settings = neap__http_settings_ref(settings);
}

/* request(pool, method, url, headers, body, settings, streams, max_body, length) -> Task<Response>; all was
 * looked at in Lua. `headers`: a list of lines; `body`: a string, or true for one that comes by `send`. */
static void read_request(lua_State *L, neap__op *op) {
  neap__http_client *client = check_pool(L, POOL);
  neap__http_transfer *self =
      neap__http_transfer_new(client, luaL_checkstring(L, METHOD), luaL_checkstring(L, URL));
  if (!self) {
    neapL__raise_memory(L);
    return;
  }
  ((neap__http_request *)op)->transfer = self;
  if (neapL__state_here(L)->arguments <= URL) return; /* the rest is no argument */
  neapL__http_read_list(L, HEADERS, &self->headers);
  read_body(L, self);
  if (!lua_isnil(L, SETTINGS)) use_settings(self, neapL__http_check_settings(L, SETTINGS));
  self->streams = lua_toboolean(L, STREAMS);
  if (self->streams) self->max_body = SIZE_MAX;
  if (!lua_isnil(L, MAX_BODY)) self->max_body = (size_t)luaL_checkinteger(L, MAX_BODY);
  if (!lua_isnil(L, LENGTH)) self->send_size = luaL_checkinteger(L, LENGTH);
}

static void set_string(lua_State *L, const char *field, const char *value, size_t size) {
  lua_pushlstring(L, value, size);
  lua_setfield(L, -2, field);
}

/* All of it is Lua's now, before the collector finds the Task. */
static void end_request(neap__http_request *request) {
  neap__http_transfer *self = request->transfer;
  request->transfer = NULL;
  neap__http_transfer_unref(self);
}

/* The table that is a Response: its methods, and what is made of `head` when it is asked for, are in
 * lua/neap/http_client.lua. */
static int push_response(lua_State *L, neapL__state *state, int index) {
  neap__http_request *request = (neap__http_request *)neapL__op_at(L, index);
  neap__http_transfer *self = request->transfer;
  const char *url = self->final_url ? self->final_url : self->url;
  (void)state;
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, self->status);
  lua_setfield(L, -2, "status");
  set_string(L, "url", url, strlen(url));
  set_string(L, "head", self->head ? self->head : "", self->head_size);
  if (self->streams)
    neapL__http_push_body(L, request);
  else
    lua_pushlstring(L, self->data ? self->data : "", self->data_size);
  lua_setfield(L, -2, "body");
  neapL__push_ref(L, neapL__http_get(L)->response_ref);
  lua_setmetatable(L, -2);
  if (!self->streams) end_request(request);
  return 1;
}

/* send(task, bytes?) -> Task: the next part of the request's body, nil: its end */
static void read_send(lua_State *L, neap__op *op);

static const neapL__row rows[] = {
    {"http.request", &neap__http_request_kind, read_request, push_response, NULL},
    {"http.send", &neap__http_send_kind, read_send, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static void read_send(lua_State *L, neap__op *op) {
  const neapL__handle *handle = neapL__check_handle(L, 1);
  neap__http_send *self = (neap__http_send *)op;
  size_t size;
  if (handle->row != &rows[0]) return; /* the request has ended on the spot */
  const char *bytes = lua_isnil(L, 2) ? NULL : luaL_checklstring(L, 2, &size);
  if (bytes) {
    self->bytes = neapL__copy(L, op->task.loop, bytes, size);
    self->size = size;
  }
  self->transfer = ((neap__http_request *)handle->task)->transfer;
  if (self->transfer) self->transfer->refs++;
}

/* ---- The module ---------------------------------------------------------------------------- */

/* native.set_response(metatable) */
static int set_response(lua_State *L) {
  neapL__http *http = neapL__http_get(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_rawseti(L, LUA_REGISTRYINDEX, http->response_ref);
  return 0;
}

/* native.date(text) -> seconds since 1970, nil if it is no date */
static int parse_date(lua_State *L) {
  time_t seconds = curl_getdate(luaL_checkstring(L, 1), NULL);
  if (seconds < 0) return 0;
  lua_pushinteger(L, (lua_Integer)seconds);
  return 1;
}

/* Adds a word to the list on top. */
static void add_word(lua_State *L, bool is_there, const char *word) {
  if (!is_there) return;
  if (lua_rawlen(L, -1) > 0) lua_pushliteral(L, ", ");
  bool has_comma = lua_gettop(L) > 2;
  lua_pushstring(L, word);
  lua_concat(L, has_comma ? 3 : 2);
}

static void push_encodings(lua_State *L, int features) {
  lua_pushliteral(L, "");
  add_word(L, features & CURL_VERSION_LIBZ, "gzip");
  add_word(L, features & CURL_VERSION_BROTLI, "br");
#ifdef CURL_VERSION_ZSTD
  add_word(L, features & CURL_VERSION_ZSTD, "zstd");
#endif
}

/* native.features() -> { encodings =, http2 =, version = }: of libcurl */
static int features(lua_State *L) {
  const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
  lua_settop(L, 0);
  lua_newtable(L);
  push_encodings(L, (int)info->features);
  lua_setfield(L, -2, "encodings");
  lua_pushboolean(L, info->features & CURL_VERSION_HTTP2);
  lua_setfield(L, -2, "http2");
  lua_pushstring(L, info->version);
  lua_setfield(L, -2, "version");
  return 1;
}

static const luaL_Reg functions[] = {{"pool", new_pool},
                                     {"settings", neapL__http_new_settings},
                                     {"text", neapL__http_new_text},
                                     {"set_response", set_response},
                                     {"date", parse_date},
                                     {"features", features},
                                     {NULL, NULL}};

static void open_driver(lua_State *L) {
  neapL__http *http = lua_newuserdatauv(L, sizeof *http, 0);
  *http = (neapL__http){0};
  lua_rawsetp(L, LUA_REGISTRYINDEX, &registry_key);
  lua_newtable(L);
  http->response_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  neapL__http_open_settings(L, http);
  neapL__http_open_bodies(L, http);
  neapL__object_class(L, &http->client_meta, class_name, pool_metamethods, pool_methods,
                      rows + sizeof rows / sizeof *rows - 1);
}

int luaopen_neap_http_client_driver(lua_State *L) {
  neapL__check_driver(L, "http_client");
  if (!neapL__http_get(L)) open_driver(L);
  lua_newtable(L);
  neapL__register(L, functions);
  neapL__register_rows(L, rows);
  return 1;
}
