#include "http_server.h"

#include "../conn.h"
#include "../error.h"
#include "../reading.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char class_name[] = "neap.http.ServerRequest";

void neapL__http_push_request(lua_State *L, const neapL__http_driver *driver,
                              neap__http_exchange *exchange) {
  neap__http_exchange **self = lua_newuserdatauv(L, sizeof *self, NEAPL__HTTP_QUERY);
  *self = exchange;
  neapL__set_meta(L, -1, &driver->request_meta);
  exchange->request = (void **)self;
}

neap__http_exchange *neapL__http_check_request(lua_State *L, int index) {
  const neapL__meta *meta = &neapL__http_driver_get(L)->request_meta;
  neap__http_exchange **self = neapL__check_object(L, index, meta, class_name);
  if (!*self)
    neapL__misuse(
        L, "the request is over: its handler has ended; take what is needed out of it before");
  return *self;
}

static neap__reader *use_body(lua_State *L, int index) {
  neap__http_exchange *self = neapL__http_check_request(L, index);
  self->refs++;
  return &self->body;
}

static const neapL__readable readable = {use_body};

/* ---- The target ------------------------------------------------------------------------------- */

/* A part of the target: [from, to). */
typedef struct part {
  const char *from, *to;
} part;

static part target_of(const neap__http_exchange *self) {
  return (part){self->head.data, self->head.data + self->target};
}

static const char *find_any(const char *from, const char *to, const char *set) {
  while (from < to && !strchr(set, *from)) from++;
  return from;
}

/* Behind the scheme and the host of an absolute target. */
static part local_part(const neap__http_exchange *self) {
  part all = target_of(self);
  if (*all.from == '/' || *all.from == '*') return all;
  const char *host = all.from + (strncasecmp(all.from, "https://", 8) == 0 ? 8 : 7);
  all.from = find_any(host, all.to, "/?#");
  return all;
}

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 32;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Pushes it with %XX as the byte; what is no such thing stays as it is. */
static void push_decoded(lua_State *L, part text, bool is_form) {
  luaL_Buffer buffer;
  size_t length = (size_t)(text.to - text.from);
  if (!memchr(text.from, '%', length) && !(is_form && memchr(text.from, '+', length))) {
    lua_pushlstring(L, text.from, length);
    return;
  }
  luaL_buffinit(L, &buffer);
  for (const char *at = text.from; at < text.to; at++) {
    bool is_code = *at == '%' && text.to - at > 2 && hex(at[1]) >= 0 && hex(at[2]) >= 0;
    char c = is_form && *at == '+' ? ' ' : *at;
    luaL_addchar(&buffer, is_code ? (char)(hex(at[1]) * 16 + hex(at[2])) : c);
    if (is_code) at += 2;
  }
  luaL_pushresult(&buffer);
}

static void push_path(lua_State *L, const neap__http_exchange *self) {
  part path = local_part(self);
  path.to = find_any(path.from, path.to, "?#");
  if (path.from == path.to)
    lua_pushliteral(L, "/"); /* http://host */
  else
    push_decoded(L, path, false);
}

static part query_of(const neap__http_exchange *self) {
  part query = local_part(self);
  query.to = find_any(query.from, query.to, "#");
  query.from = find_any(query.from, query.to, "?");
  if (query.from < query.to) query.from++;
  return query;
}

/* Takes the next name=value off the query, and pushes both, decoded; false: there is none. */
static bool push_pair(lua_State *L, part *query) {
  while (query->from < query->to && *query->from == '&') query->from++;
  if (query->from == query->to) return false;
  const char *end = find_any(query->from, query->to, "&");
  const char *equals = find_any(query->from, end, "=");
  push_decoded(L, (part){query->from, equals}, true);
  push_decoded(L, (part){equals < end ? equals + 1 : end, end}, true);
  query->from = end;
  return true;
}

/* Name -> the first value. */
static void push_query(lua_State *L, const neap__http_exchange *self) {
  part query = query_of(self);
  lua_newtable(L);
  while (push_pair(L, &query)) {
    lua_pushvalue(L, -2);
    bool is_new = lua_rawget(L, -4) == LUA_TNIL;
    lua_pop(L, 1);
    if (is_new)
      lua_rawset(L, -3);
    else
      lua_pop(L, 2);
  }
}

/* req:query_values(name) -> a list of all values of that name */
static int query_values(lua_State *L) {
  part query = query_of(neapL__http_check_request(L, 1));
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  lua_newtable(L);
  for (lua_Integer n = 1; push_pair(L, &query); lua_pop(L, 1)) {
    if (lua_rawequal(L, 2, -2)) {
      lua_rawseti(L, 3, n++);
    } else {
      lua_pop(L, 1);
    }
  }
  return 1;
}

/* ---- Headers ---------------------------------------------------------------------------------- */

static const char *separator_of(const char *name) {
  return strcmp(name, "cookie") == 0 ? "; " : ", ";
}

static void push_value(lua_State *L, const neap__http_exchange *self,
                       const neap__http_field *field) {
  lua_pushlstring(L, neap__http_text(self, field->value), field->value_length);
}

static void push_lower(lua_State *L, const char *text, size_t length) {
  luaL_Buffer buffer;
  char *lower = luaL_buffinitsize(L, &buffer, length);
  for (size_t i = 0; i < length; i++) lower[i] = (char)tolower((unsigned char)text[i]);
  luaL_pushresultsize(&buffer, length);
}

/* Pushes a table: name in lower case -> value; values of the same name are joined, as they may be. */
static void push_headers(lua_State *L, const neap__http_exchange *self) {
  lua_createtable(L, 0, (int)self->count);
  for (size_t i = 0; i < self->count; i++) {
    const neap__http_field *field = &self->fields[i];
    push_lower(L, neap__http_text(self, field->name), field->name_length);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TNIL) {
      lua_pop(L, 1);
      push_value(L, self, field);
    } else {
      lua_pushstring(L, separator_of(lua_tostring(L, -2)));
      push_value(L, self, field);
      lua_concat(L, 3);
    }
    lua_rawset(L, -3);
  }
  neapL__push_ref(L, neapL__http_driver_get(L)->request_meta.ref);
  lua_getfield(L, -1, "__headers");
  lua_setmetatable(L, -3);
  lua_pop(L, 1);
}

/* __index of that table: the name in lower case */
static int find_header(lua_State *L) {
  if (lua_type(L, 2) != LUA_TSTRING) return 0;
  size_t length;
  const char *name = lua_tolstring(L, 2, &length);
  push_lower(L, name, length);
  lua_rawget(L, 1);
  return 1;
}

/* req:header(name) -> value | nil: without making the table */
static int get_header(lua_State *L) {
  size_t length;
  const neap__http_exchange *self = neapL__http_check_request(L, 1);
  const char *name = luaL_checklstring(L, 2, &length);
  const neap__http_field *field = neap__http_find(self, name, length, 0);
  lua_settop(L, 2);
  lua_pushnil(L);
  if (!field) return 1;
  push_value(L, self, field);
  bool is_cookie = neap__http_is_name(name, length, "cookie");
  for (size_t n = 1; (field = neap__http_find(self, name, length, n)); n++) {
    lua_pushstring(L, is_cookie ? "; " : ", ");
    push_value(L, self, field);
    lua_concat(L, 3);
  }
  return 1;
}

/* req:header_values(name) -> a list of all values of that name */
static int header_values(lua_State *L) {
  size_t length;
  const neap__http_exchange *self = neapL__http_check_request(L, 1);
  const char *name = luaL_checklstring(L, 2, &length);
  const neap__http_field *field;
  lua_newtable(L);
  for (size_t n = 0; (field = neap__http_find(self, name, length, n)); n++) {
    push_value(L, self, field);
    lua_rawseti(L, -2, (lua_Integer)n + 1);
  }
  return 1;
}

/* ---- Fields ----------------------------------------------------------------------------------- */

/* A table that is made once; the Request is at 1. */
static int push_made(lua_State *L, const neap__http_exchange *self, int place,
                     void (*make)(lua_State *L, const neap__http_exchange *self)) {
  if (lua_getiuservalue(L, 1, place) != LUA_TNIL) return 1;
  make(L, self);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 1, place);
  return 1;
}

static int push_length(lua_State *L, const neap__http_exchange *self) {
  const neap__http_field *field = neap__http_find(self, "content-length", 14, 0);
  if (!field) return 0;
  push_value(L, self, field);
  if (!lua_stringtonumber(L, lua_tostring(L, -1))) lua_pushnil(L); /* a float where it is huge */
  return 1;
}

static int push_field(lua_State *L, const neap__http_exchange *self, const char *name) {
  if (strcmp(name, "method") == 0)
    lua_pushstring(L, llhttp_method_name((llhttp_method_t)self->method));
  else if (strcmp(name, "path") == 0)
    push_path(L, self);
  else if (strcmp(name, "target") == 0)
    lua_pushlstring(L, self->head.data, self->target);
  else if (strcmp(name, "query") == 0)
    return push_made(L, self, NEAPL__HTTP_QUERY, push_query);
  else if (strcmp(name, "headers") == 0)
    return push_made(L, self, NEAPL__HTTP_HEADERS, push_headers);
  else if (strcmp(name, "version") == 0)
    lua_pushstring(L, self->minor ? "1.1" : "1.0");
  else if (strcmp(name, "length") == 0)
    return push_length(L, self);
  else
    return 0;
  return 1;
}

/* Upvalues: the state, the methods. */
static int index_request(lua_State *L) {
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) return 1;
  lua_settop(L, 2);
  if (lua_type(L, 2) != LUA_TSTRING) return 0;
  return push_field(L, neapL__http_check_request(L, 1), lua_tostring(L, 2));
}

/* req:peer() -> host, port of the client; path */
static int get_peer(lua_State *L) {
  return neapL__push_address(L, neapL__http_check_request(L, 1)->conn->stream, true);
}

/* key(request | conn) -> what the requests of a connection have in common with it */
static int get_key(lua_State *L) {
  const neapL__meta *meta = &neapL__http_driver_get(L)->request_meta;
  bool is_request = lua_isuserdata(L, 1) && neapL__has_meta(L, 1, meta);
  void *key = is_request ? neapL__http_check_request(L, 1)->conn->stream : neapL__check_conn(L);
  lua_pushlightuserdata(L, key);
  return 1;
}

/* ---- Other protocols --------------------------------------------------------------------------- */

/* The client has gone. */
static int raise_gone(lua_State *L) {
  neap_error error = {.code = UV_ECONNRESET};
  neapL__push_core_error(L, neapL__http_driver_get(L)->state, &error);
  return lua_error(L);
}

/* refuse_upgrade(req, status, fields, body): answers, with lines of the head that a handler cannot set; false
 * if that is not possible any more */
static int refuse_upgrade(lua_State *L) {
  size_t size, length;
  neap__http_exchange *self = neapL__http_check_request(L, 1);
  int status = neapL__http_check_status(L, 2);
  const char *fields = luaL_checklstring(L, 3, &size);
  const char *body = luaL_checklstring(L, 4, &length);
  bool is_open = self->answer == NEAP__HTTP_OPEN && !neap__http_is_gone(self);
  lua_pushboolean(L, is_open);
  if (!is_open) return 1;
  bool is_kept = neap__bytes_add(&self->lines, &self->conn->server->loop->memory, fields, size);
  if (!is_kept || neap__http_respond(self, status, body, length)) neapL__raise_memory(L);
  return 1;
}

/* upgrade(req, head) -> Conn: sends the head of the response, and the connection speaks another protocol from now
 * on, with what has arrived behind the request. It closes when the handler ends. */
static int upgrade(lua_State *L) {
  size_t size;
  neap__http_exchange *self = neapL__http_check_request(L, 1);
  const char *head = luaL_checklstring(L, 2, &size);
  if (self->answer != NEAP__HTTP_OPEN)
    neapL__misuse(L, "the request has been answered: its connection cannot be taken over");
  if (neap__http_is_gone(self)) return raise_gone(L);
  if (self->conn->phase != NEAP__HTTP_WAIT)
    neapL__misuse(L, "the request has a body: read it before its connection is taken over");
  neap__stream *stream = self->conn->stream;
  neapL__object *conn = neapL__push_object(L, &neapL__http_driver_get(L)->state->conn_meta);
  int code = neap__http_upgrade(self, head, size);
  if (code == UV_ENOMEM) neapL__raise_memory(L);
  if (code) return raise_gone(L);
  conn->core = stream;
  stream->refs++;
  return 1;
}

static int to_string(lua_State *L) {
  neap__http_exchange *const *self = lua_touserdata(L, 1);
  if (!*self) {
    lua_pushfstring(L, "%s: over", class_name);
    return 1;
  }
  lua_pushlstring(L, (*self)->head.data, (*self)->target);
  lua_pushfstring(L, "%s: %s %s", class_name, llhttp_method_name((llhttp_method_t)(*self)->method),
                  lua_tostring(L, -1));
  return 1;
}

/* ---- The class ------------------------------------------------------------------------------- */

static const luaL_Reg metamethods[] = {{"__tostring", to_string}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"header", get_header},
                                   {"header_values", header_values},
                                   {"query_values", query_values},
                                   {"peer", get_peer},
                                   {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"key", get_key}, {"refuse_upgrade", refuse_upgrade}, {"upgrade", upgrade}, {NULL, NULL}};
static const luaL_Reg header_metamethods[] = {{"__index", find_header}, {NULL, NULL}};

/* The table of methods stands behind the fields. [class] */
static void set_index(lua_State *L, neapL__state *state) {
  lua_pushlightuserdata(L, state);
  lua_getfield(L, -2, "__index");
  lua_pushcclosure(L, index_request, 2);
  lua_setfield(L, -2, "__index");
}

void neapL__http_open_requests(lua_State *L, neapL__http_driver *driver) {
  static const neapL__row no_rows[] = {{NULL, NULL, NULL, NULL, NULL}};
  neapL__reading_class(L, &driver->request_meta, class_name, metamethods, methods, no_rows);
  neapL__push_ref(L, driver->request_meta.ref);
  lua_getfield(L, -1, "__index");
  lua_setfield(L, -3, "request_methods");
  set_index(L, driver->state);
  lua_pushlightuserdata(L, (void *)(uintptr_t)&readable);
  lua_rawsetp(L, -2, &neapL__readable_key);
  lua_createtable(L, 0, 1);
  neapL__register(L, header_metamethods);
  lua_setfield(L, -2, "__headers");
  lua_pop(L, 1);
  neapL__register(L, functions);
}
