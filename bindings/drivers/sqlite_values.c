#include "sqlite_values.h"

#include <math.h>

const char neapL__sqlite_blob_name[] = "neap.sqlite.Blob";

/* ---- Parameters -------------------------------------------------------------------------------- */

/* Where values come from: for messages. */
typedef struct source {
  const neapL__meta *blob;
  neap__sqlite_buffer *params;
  int argument;
  lua_Integer set; /* 0: there is one */
} source;

NEAPL__NORETURN static void refuse(lua_State *L, const source *from, const char *what) {
  if (from->set) what = lua_pushfstring(L, "set %I: %s", (LUAI_UACINT)from->set, what);
  luaL_argerror(L, from->argument, what);
  NEAPL__UNREACHABLE;
}

static void put(lua_State *L, const source *from, const neap__sqlite_value *value) {
  if (!neap__sqlite_put(from->params, value)) neapL__raise_memory(L);
}

static void put_place(lua_State *L, const source *from, lua_Integer place) {
  put(L, from, &(neap__sqlite_value){.type = NEAP__SQLITE_PLACE, .integer = place});
}

static void read_number(lua_State *L, const source *from, int index, neap__sqlite_value *value) {
  if (lua_isinteger(L, index)) {
    value->type = NEAP__SQLITE_INTEGER;
    value->integer = lua_tointeger(L, index);
    return;
  }
  value->type = NEAP__SQLITE_FLOAT;
  value->number = lua_tonumber(L, index);
  if (isnan(value->number)) refuse(L, from, "NaN is no value in SQLite, which would store NULL");
}

/* Its string is kept by its user value. */
static bool read_blob(lua_State *L, const source *from, int index, neap__sqlite_value *value) {
  if (!neapL__has_meta(L, index, from->blob)) return false;
  value->type = NEAP__SQLITE_BLOB;
  lua_getiuservalue(L, index, 1);
  value->data = lua_tolstring(L, -1, &value->size);
  lua_pop(L, 1);
  return true;
}

static bool read_value(lua_State *L, const source *from, int index, neap__sqlite_value *value) {
  value->type = NEAP__SQLITE_NULL;
  switch (lua_type(L, index)) {
  case LUA_TNIL: return true;
  case LUA_TLIGHTUSERDATA: return lua_touserdata(L, index) == NULL;
  case LUA_TBOOLEAN:
    value->type = NEAP__SQLITE_INTEGER;
    value->integer = lua_toboolean(L, index);
    return true;
  case LUA_TNUMBER: read_number(L, from, index, value); return true;
  case LUA_TSTRING:
    value->type = NEAP__SQLITE_TEXT;
    value->data = lua_tolstring(L, index, &value->size);
    return true;
  case LUA_TUSERDATA: return read_blob(L, from, index, value);
  default: return false;
  }
}

static void put_value(lua_State *L, const source *from, int index) {
  neap__sqlite_value value = {0};
  if (read_value(L, from, index, &value)) {
    put(L, from, &value);
    return;
  }
  const char *type = luaL_typename(L, index);
  refuse(L, from,
         lua_pushfstring(L,
                         "a value for SQLite expected (nil, boolean, number, string, "
                         "neap.sqlite.blob, neap.sqlite.null), got %s",
                         type));
}

/* ":name", "@name" and "$name" are the same name. */
static void put_name(lua_State *L, const source *from, int index) {
  size_t size;
  const char *name = lua_tolstring(L, index, &size);
  bool is_marked = size > 0 && (*name == ':' || *name == '@' || *name == '$');
  if (!neap__sqlite_put_bytes(from->params, NEAP__SQLITE_NAME, name + is_marked, size - is_marked))
    neapL__raise_memory(L);
}

static void put_key(lua_State *L, const source *from, int index) {
  if (lua_type(L, index) == LUA_TSTRING)
    put_name(L, from, index);
  else if (lua_isinteger(L, index) && lua_tointeger(L, index) >= 1)
    put_place(L, from, lua_tointeger(L, index));
  else
    refuse(L, from, "a key is the name of a parameter, or its number from 1 on");
}

static void read_table(lua_State *L, const source *from, int index) {
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    put_key(L, from, lua_gettop(L) - 1);
    put_value(L, from, lua_gettop(L));
  }
}

void neapL__sqlite_read_params(lua_State *L, const neapL__meta *blob, neap__sqlite_buffer *params,
                               int first, int last) {
  source from = {blob, params, first, 0};
  if (first == last && lua_istable(L, first)) {
    read_table(L, &from, first);
    return;
  }
  for (int i = first; i <= last; i++) {
    from.argument = i;
    put_place(L, &from, i - first + 1);
    put_value(L, &from, i);
  }
}

void neapL__sqlite_read_sets(lua_State *L, const neapL__meta *blob, neap__sqlite_buffer *params,
                             int index) {
  source from = {blob, params, index, 0};
  luaL_checktype(L, index, LUA_TTABLE);
  lua_Integer count = (lua_Integer)lua_rawlen(L, index);
  for (from.set = 1; from.set <= count; from.set++) {
    put_place(L, &from, 0);
    if (lua_rawgeti(L, index, from.set) == LUA_TTABLE) {
      read_table(L, &from, lua_gettop(L));
    } else {
      put_place(L, &from, 1);
      put_value(L, &from, lua_gettop(L));
    }
    lua_pop(L, 1);
  }
}

/* ---- Rows -------------------------------------------------------------------------------------- */

static void push(lua_State *L, const neap__sqlite_value *value) {
  switch (value->type) {
  case NEAP__SQLITE_INTEGER: lua_pushinteger(L, value->integer); break;
  case NEAP__SQLITE_FLOAT: lua_pushnumber(L, value->number); break;
  case NEAP__SQLITE_TEXT:
  case NEAP__SQLITE_BLOB: lua_pushlstring(L, value->data, value->size); break;
  default: lua_pushnil(L); break;
  }
}

void neapL__sqlite_push_value(lua_State *L, const char **at) {
  neap__sqlite_value value;
  *at = neap__sqlite_get(*at, &value);
  push(L, &value);
}

void neapL__sqlite_push_names(lua_State *L, const char **at, int count) {
  luaL_checkstack(L, count + LUA_MINSTACK, "too many columns");
  for (int i = 0; i < count; i++) neapL__sqlite_push_value(L, at);
}

static void push_array(lua_State *L, const char **at, int count) {
  lua_createtable(L, count, 1);
  for (int i = 1; i <= count; i++) {
    neapL__sqlite_push_value(L, at);
    lua_rawseti(L, -2, i);
  }
  lua_pushinteger(L, count);
  lua_setfield(L, -2, "n");
}

void neapL__sqlite_push_row(lua_State *L, const char **at, int names, int count, bool is_array) {
  if (is_array) {
    push_array(L, at, count);
    return;
  }
  lua_createtable(L, 0, count);
  for (int i = 0; i < count; i++) {
    neap__sqlite_value value;
    *at = neap__sqlite_get(*at, &value);
    lua_pushvalue(L, names + i);
    push(L, &value);
    lua_rawset(L, -3);
  }
}
