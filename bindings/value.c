#include "value.h"

#include "buffer.h"
#include "driver.h"

#include <limits.h>

/* ---- From Lua ------------------------------------------------------------------------------- */

/* How many items it has if its keys are 1 to n and no other, as those of an empty one are; -1 if not. Its
 * length would not tell: with holes that may be any border. */
static lua_Integer array_size(lua_State *L, int index) {
  lua_Integer count = 0, last = 0;
  for (lua_pushnil(L); lua_next(L, index); count++) {
    lua_pop(L, 1);
    lua_Integer key = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
    if (key > last) last = key;
    if (key >= 1) continue;
    lua_pop(L, 1);
    return -1;
  }
  return count == last ? count : -1;
}

static void add_array(lua_State *L, int index, lua_Integer n, neap_values *values) {
  neap_values_open_array(values);
  for (lua_Integer i = 1; i <= n && !values->error; i++) {
    lua_rawgeti(L, index, i);
    neapL_to_values(L, -1, values);
    lua_pop(L, 1);
  }
  neap_values_close(values);
}

static void add_map(lua_State *L, int index, neap_values *values) {
  neap_values_open_map(values);
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    neapL_to_values(L, -2, values);
    neapL_to_values(L, -1, values);
    if (!values->error) continue;
    lua_pop(L, 2);
    break;
  }
  neap_values_close(values);
}

static void add_table(lua_State *L, int index, neap_values *values) {
  luaL_checkstack(L, 8, "a nested table");
  lua_Integer n = array_size(L, index);
  if (n >= 0)
    add_array(L, index, n, values);
  else
    add_map(L, index, values);
}

/* The Buffer at `index` if it has bytes: neither closed nor gone to another thread. */
static const neapL__buffer *open_buffer(lua_State *L, int index) {
  const neapL__state *state = neapL__state_get(L);
  if (!state || !neapL__has_meta(L, index, &state->buffer_meta)) return NULL;
  const neapL__buffer *buffer = lua_touserdata(L, index);
  return buffer->hold && buffer->hold->bytes ? buffer : NULL;
}

/* Immutable bytes are shared where all of their block is meant. */
static void add_buffer(const neapL__buffer *buffer, neap_values *values) {
  neap_bytes *bytes = buffer->hold->bytes;
  bool is_all = buffer->data == neap_bytes_data(bytes) && buffer->size == neap_bytes_size(bytes);
  if (is_all && !buffer->hold->is_writable)
    neap_values_add_buffer(values, bytes);
  else
    neap_values_add_bytes(values, buffer->data, buffer->size);
}

static void add_userdata(lua_State *L, int index, neap_values *values) {
  neapL__need(L);
  const neapL__native_object *object = neapL__to_native_object(L, index);
  const neapL__buffer *buffer = object ? NULL : open_buffer(L, index);
  if (object && object->box)
    neap__values_add_box(values, neap__box_ref(object->box));
  else if (buffer)
    add_buffer(buffer, values);
  else
    neap__values_fail(values, NEAP_ETYPE);
}

static void add_function(lua_State *L, int index, neap_values *values) {
  const neapL__state *state = neapL__state_get(L);
  if (!state || state->is_closed) {
    neap__values_fail(values, NEAP_ECLOSED);
    return;
  }
  neap_callback *callback = neapL__new_callback(L, index);
  if (callback)
    neap_values_add_callback(values, callback);
  else
    neap__values_fail(values, UV_ENOMEM);
  neap_callback_unref(callback);
}

static void add_number(lua_State *L, int index, neap_values *values) {
  if (lua_isinteger(L, index))
    neap_values_add_integer(values, lua_tointeger(L, index));
  else
    neap_values_add_number(values, lua_tonumber(L, index));
}

static void add_string(lua_State *L, int index, neap_values *values) {
  size_t size;
  const char *data = lua_tolstring(L, index, &size);
  neap_values_add_bytes(values, data, size);
}

/* After an error nothing is read: a table with a cycle would be without end. */
int neapL_to_values(lua_State *L, int index, neap_values *values) {
  if (!values || values->error) return values ? values->error : 0;
  switch (lua_type(L, index)) {
  case LUA_TNONE:
  case LUA_TNIL: neap_values_add_nil(values); break;
  case LUA_TBOOLEAN: neap_values_add_boolean(values, lua_toboolean(L, index)); break;
  case LUA_TNUMBER: add_number(L, index, values); break;
  case LUA_TSTRING: add_string(L, index, values); break;
  case LUA_TLIGHTUSERDATA: neap_values_add_pointer(values, lua_touserdata(L, index)); break;
  case LUA_TFUNCTION: add_function(L, lua_absindex(L, index), values); break;
  case LUA_TTABLE: add_table(L, lua_absindex(L, index), values); break;
  case LUA_TUSERDATA: add_userdata(L, lua_absindex(L, index), values); break;
  default: neap__values_fail(values, NEAP_ETYPE); break;
  }
  return values->error;
}

/* ---- To Lua --------------------------------------------------------------------------------- */

static void push_array(lua_State *L, const neap_value *value) {
  size_t n = neap_value_count(value);
  lua_createtable(L, n < INT_MAX ? (int)n : 0, 0);
  const neap_value *item = value + 1;
  for (size_t i = 0; i < n; i++, item = neap_value_next(item)) {
    neapL_push_value(L, item);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

/* A key that Lua cannot have is left out. */
static bool is_key(lua_State *L, int index) {
  if (lua_isnil(L, index)) return false;
  return lua_type(L, index) != LUA_TNUMBER || lua_tonumber(L, index) == lua_tonumber(L, index);
}

static void push_map(lua_State *L, const neap_value *value) {
  size_t n = neap_value_count(value);
  lua_createtable(L, 0, n < INT_MAX ? (int)n : 0);
  const neap_value *key = value + 1;
  for (size_t i = 0; i < n; i++) {
    const neap_value *item = neap_value_next(key);
    neapL_push_value(L, key);
    neapL_push_value(L, item);
    if (is_key(L, -2))
      lua_rawset(L, -3);
    else
      lua_pop(L, 2);
    key = neap_value_next(item);
  }
}

static void push_buffer(lua_State *L, const neap_value *value) {
  neapL__state *state = neapL__need(L);
  neapL__check_alive(L, state);
  neapL__buffer *buffer = neapL__new_buffer(L, state);
  neapL__fill_buffer(L, state, buffer, neap_bytes_ref(value->as.buffer), false);
}

/* What needs more than one place on the stack. */
static void push_object(lua_State *L, const neap_value *value) {
  luaL_checkstack(L, 8, "a nested value");
  switch (neap_value_kind_of(value)) {
  case NEAP_VALUE_BUFFER: push_buffer(L, value); break;
  case NEAP_VALUE_OBJECT: neapL__push_native_object(L, value->as.box); break;
  case NEAP_VALUE_CALLBACK: neapL__push_callback(L, value->as.callback); break;
  case NEAP_VALUE_ARRAY: push_array(L, value); break;
  default: push_map(L, value); break;
  }
}

void neapL_push_value(lua_State *L, const neap_value *value) {
  switch (neap_value_kind_of(value)) {
  case NEAP_VALUE_NIL: lua_pushnil(L); break;
  case NEAP_VALUE_BOOLEAN: lua_pushboolean(L, value->as.boolean); break;
  case NEAP_VALUE_INTEGER: lua_pushinteger(L, value->as.integer); break;
  case NEAP_VALUE_NUMBER: lua_pushnumber(L, value->as.number); break;
  case NEAP_VALUE_BYTES: lua_pushlstring(L, value->as.bytes, value->size); break;
  case NEAP_VALUE_POINTER: lua_pushlightuserdata(L, value->as.pointer); break;
  default: push_object(L, value); break;
  }
}

int neapL_push_values(lua_State *L, const neap_values *values) {
  size_t n = neap_values_count(values);
  luaL_checkstack(L, n < INT_MAX - 8 ? (int)n + 8 : INT_MAX, "too many values");
  const neap_value *value = n > 0 ? neap_values_at(values, 0) : NULL;
  for (size_t i = 0; i < n; i++, value = neap_value_next(value)) neapL_push_value(L, value);
  return (int)n;
}
