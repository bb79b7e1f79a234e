#include "http_client.h"

#include "../options.h"

#include <math.h>

static const char class_name[] = "neap.http.Settings";

enum { MAX_REDIRECTS = 1000 };

static const char *const version_names[] = {"1.0", "1.1", "2", "2-prior-knowledge", NULL};
static const long versions[] = {CURL_HTTP_VERSION_1_0, CURL_HTTP_VERSION_1_1,
                                CURL_HTTP_VERSION_2TLS, CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE};

void neapL__http_read_list(lua_State *L, int index, struct curl_slist **list) {
  neap_loop *loop = neapL__state_here(L)->loop;
  lua_Integer n = lua_isnoneornil(L, index) ? 0 : luaL_len(L, index);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_geti(L, index, i);
    if (!neap__http_append(loop, list, luaL_checkstring(L, -1))) neapL__raise_memory(L);
    lua_pop(L, 1);
  }
}

static void read_list_option(lua_State *L, const char *name, struct curl_slist **list) {
  lua_getfield(L, 1, name);
  neapL__http_read_list(L, lua_gettop(L), list);
  lua_pop(L, 1);
}

/* The fields that are strings; "" is a value like others. */
static void read_strings(lua_State *L, neap__http_settings *self) {
  const struct {
    const char *name;
    char **place;
  } fields[] = {{"proxy", &self->proxy},
                {"no_proxy", &self->no_proxy},
                {"ca_file", &self->ca_file},
                {"ca_path", &self->ca_path},
                {"cert", &self->certificate},
                {"key", &self->key},
                {"key_password", &self->key_password},
                {"user", &self->user},
                {"password", &self->password},

                {"unix_socket", &self->unix_socket}};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    *fields[i].place = neapL__option_copy(L, self->loop, 1, fields[i].name);
}

static void read_options(lua_State *L, neap__http_settings *self) {
  int version = neapL__option_choice(L, 1, "http", version_names, 2);
  self->version = versions[version];
  self->max_redirects =
      (long)neapL__option_integer(L, 1, "max_redirects", 0, MAX_REDIRECTS, self->max_redirects);
  self->verifies = neapL__option_boolean(L, 1, "verify", self->verifies);
  self->compresses = neapL__option_boolean(L, 1, "compression", self->compresses);
  self->connect_limit = neapL__option_seconds(L, 1, "connect_timeout", self->connect_limit);
  self->idle_limit = neapL__option_seconds(L, 1, "idle_timeout", self->idle_limit);
  read_strings(L, self);
  read_list_option(L, "headers", &self->headers);
  read_list_option(L, "resolve", &self->resolve);
}

int neapL__http_new_settings(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  neapL__object *object = neapL__push_object(L, &neapL__http_get(L)->settings_meta);
  neap__http_settings *self = neap__http_settings_new(neapL__state_here(L)->loop);
  if (!self) return neapL__raise_memory(L);
  object->core = self;
  read_options(L, self);
  return 1;
}

neap__http_settings *neapL__http_check_settings(lua_State *L, int index) {
  return neapL__check_core(L, index, &neapL__http_get(L)->settings_meta, class_name);
}

static int collect(lua_State *L) {
  neapL__object *object = lua_touserdata(L, 1);
  neap__http_settings *self = object->core;
  object->core = NULL;
  if (self) neap__http_settings_unref(self);
  return 0;
}

static const luaL_Reg metamethods[] = {{"__gc", collect}, {NULL, NULL}};

void neapL__http_open_settings(lua_State *L, neapL__http *http) {
  neapL__class(L, &http->settings_meta, class_name, metamethods, NULL);
  lua_pop(L, 1);
}
