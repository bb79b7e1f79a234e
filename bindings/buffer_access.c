#include "buffer.h"

#include <stdio.h>
#include <string.h>

/* ---- Places -------------------------------------------------------------------------------- */

/* As in the string library: a place counted from the end becomes one from the beginning, and what lies
 * before that begins there. */
static size_t begin_of(lua_Integer i, size_t size) {
  if (i > 0) return (size_t)i;
  if (i == 0 || i < -(lua_Integer)size) return 1;
  return size + (size_t)i + 1;
}

static size_t end_of(lua_Integer j, size_t size) {
  if (j > (lua_Integer)size) return size;
  if (j >= 0) return (size_t)j;
  return j < -(lua_Integer)size ? 0 : size + (size_t)j + 1;
}

static neapL__range range_of(lua_Integer i, lua_Integer j, size_t size) {
  size_t begin = begin_of(i, size), end = end_of(j, size);
  if (begin > end) return (neapL__range){0, 0};
  return (neapL__range){begin - 1, end - begin + 1};
}

neapL__range neapL__check_range(lua_State *L, int index, size_t size) {
  lua_Integer i = luaL_optinteger(L, index, 1);
  return range_of(i, luaL_optinteger(L, index + 1, -1), size);
}

size_t neapL__check_place(lua_State *L, int index, size_t size) {
  lua_Integer length = (lua_Integer)size;
  lua_Integer place = luaL_optinteger(L, index, 1);
  if (place < 0 && place >= -length) place += length + 1;
  luaL_argcheck(L, place >= 1 && place <= length + 1, index, "it is outside of the buffer");
  return (size_t)place - 1;
}

/* ---- Reading ------------------------------------------------------------------------------- */

static int get_length(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)neapL__check_buffer(L, 1)->size);
  return 1;
}

static int push_range(lua_State *L, const neapL__buffer *self, neapL__range range) {
  lua_pushlstring(L, self->data + range.start, range.size);
  return 1;
}

/* buf:sub(i?, j?) -> string */
static int sub(lua_State *L) {
  const neapL__buffer *self = neapL__check_buffer(L, 1);
  return push_range(L, self, neapL__check_range(L, 2, self->size));
}

/* buf:string() -> all of it */
static int string(lua_State *L) {
  const neapL__buffer *self = neapL__check_buffer(L, 1);
  return push_range(L, self, (neapL__range){0, self->size});
}

/* buf:byte(i?, j?) -> integers, as string.byte */
static int byte(lua_State *L) {
  size_t size = neapL__check_buffer(L, 1)->size;
  lua_Integer i = luaL_optinteger(L, 2, 1);
  lua_Integer j = luaL_optinteger(L, 3, i);
  neapL__range range = range_of(i, j, size);
  if (range.size >= INT32_MAX) return luaL_error(L, "too many bytes for results");
  luaL_checkstack(L, (int)range.size, "too many bytes for results");
  const neapL__buffer *self = neapL__check_buffer(L, 1); /* a larger stack may run finalizers */
  for (size_t k = 0; k < range.size; k++)
    lua_pushinteger(L, (unsigned char)self->data[range.start + k]);
  return (int)range.size;
}

/* buf:find(bytes, init?) -> where they begin and end; nil */
static int find(lua_State *L) {
  size_t size;
  const char *wanted = neapL__check_bytes(L, 2, &size);
  const neapL__buffer *self = neapL__check_buffer(L, 1);
  size_t start = begin_of(luaL_optinteger(L, 3, 1), self->size) - 1;
  const char *found = NULL;
  if (start <= self->size) {
    const char *from = self->data + start;
    found = size == 0 ? from : memmem(from, self->size - start, wanted, size);
  }
  if (!found) {
    luaL_pushfail(L);
    return 1;
  }
  lua_Integer place = found - self->data;
  lua_pushinteger(L, place + 1);
  lua_pushinteger(L, place + (lua_Integer)size);
  return 2;
}

/* What is closed or has moved is equal to itself only. */
static int equals(lua_State *L) {
  const neapL__buffer *a = neapL__to_buffer(L, 1), *b = neapL__to_buffer(L, 2);
  bool has_both = a && b && a->hold && b->hold && a->hold->bytes && b->hold->bytes;
  lua_pushboolean(L, has_both && a->size == b->size && memcmp(a->data, b->data, a->size) == 0);
  return 1;
}

/* ---- Writing ------------------------------------------------------------------------------- */

/* Puts the bytes at `place`; pushes where they end. They may be from the same block. */
static int put(lua_State *L, const neapL__buffer *self, size_t place, const char *data, size_t size,
               int index) {
  luaL_argcheck(L, size <= self->size - place, index,
                "more bytes than the buffer has from there on");
  memmove(self->data + place, data, size);
  lua_pushinteger(L, (lua_Integer)(place + size) + 1);
  return 1;
}

/* buf:set(pos, bytes) -> the place behind them */
static int set(lua_State *L) {
  size_t size;
  luaL_checkinteger(L, 2);
  const char *data = neapL__check_bytes(L, 3, &size);
  const neapL__buffer *self = neapL__check_writable(L, 1);
  return put(L, self, neapL__check_place(L, 2, self->size), data, size, 3);
}

/* buf:fill(byte, i?, j?) -> itself */
static int fill(lua_State *L) {
  const neapL__buffer *self = neapL__check_writable(L, 1);
  lua_Integer value = luaL_checkinteger(L, 2);
  luaL_argcheck(L, value >= 0 && value <= UINT8_MAX, 2, "a byte from 0 to 255 expected");
  neapL__range range = neapL__check_range(L, 3, self->size);
  memset(self->data + range.start, (int)value, range.size);
  lua_settop(L, 1);
  return 1;
}

/* ---- Packing: with the string library's own functions ------------------------------------------ */

enum {
  ALIGNMENT = 16,   /* the most that a format can ask for: what is cut here keeps all of it */
  FIRST_GUESS = 64, /* bytes of a value; what is longer is tried again with GROWTH times as much */
  GROWTH = 16
};

/* Raises the error on top as one of our own function: its argument n is our n + `shift`, or `argument` if
 * it names none. */
static int raise_own(lua_State *L, int shift, int argument) {
  const char *message = lua_tostring(L, -1);
  int n = 0, at = 0;
  if (sscanf(message, "bad argument #%d to '%*[^']' %n(", &n, &at) < 1 || message[at] != '(')
    return luaL_argerror(L, argument, message);
  lua_pushlstring(L, message + at + 1, strlen(message) - (size_t)at - 2);
  return luaL_argerror(L, shift ? n + shift : argument, lua_tostring(L, -1));
}

/* Calls string.unpack with `n` bytes from `start` on; leaves its results or its error behind the three
 * arguments. */
static int try_unpack(lua_State *L, const neapL__buffer *self, size_t start, size_t n,
                      size_t place) {
  lua_settop(L, 3);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushvalue(L, 2);
  lua_pushlstring(L, self->data + start, n);
  lua_pushinteger(L, (lua_Integer)(place - start) + 1);
  return lua_pcall(L, 3, LUA_MULTRET, 0);
}

/* The last result, where to go on, as a place in the buffer. */
static int finish_unpack(lua_State *L, size_t start) {
  lua_Integer next = lua_tointeger(L, -1);
  lua_pop(L, 1);
  lua_pushinteger(L, next + (lua_Integer)start);
  return lua_gettop(L) - 3;
}

/* buf:unpack(fmt, pos?) -> values, the place behind them. How much a format wants is known only when it
 * was read: it is tried with the bytes that most values fit into, then with more. */
static int unpack(lua_State *L) {
  luaL_checkstring(L, 2);
  for (size_t guess = FIRST_GUESS;; guess *= GROWTH) {
    const neapL__buffer *self = neapL__check_buffer(L, 1); /* again: finalizers may have run */
    size_t place = neapL__check_place(L, 3, self->size);
    size_t start = place - place % ALIGNMENT, rest = self->size - start;
    bool is_all = guess >= rest;
    int status = try_unpack(L, self, start, is_all ? rest : guess, place);
    if (status == LUA_OK) return finish_unpack(L, start);
    if (status != LUA_ERRRUN) return lua_error(L);
    if (is_all) return raise_own(L, 0, 2);
  }
}

/* Pushes string.pack(fmt, ...) of the arguments from 3 on, aligned as behind `skipped` bytes, which it
 * begins with. */
static void push_packed(lua_State *L, size_t skipped) {
  int top = lua_gettop(L);
  luaL_checkstack(L, top + 4, "too many values");
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushlstring(L, "xxxxxxxxxxxxxxx", skipped);
  lua_pushvalue(L, 3);
  lua_concat(L, 2);
  for (int i = 4; i <= top; i++) lua_pushvalue(L, i);
  int status = lua_pcall(L, top - 2, 1, 0);
  if (status == LUA_ERRRUN) raise_own(L, 2, 3);
  if (status != LUA_OK) lua_error(L);
}

/* buf:pack(pos, fmt, ...) -> the place behind them */
static int pack(lua_State *L) {
  size_t size;
  luaL_checkinteger(L, 2);
  luaL_checkstring(L, 3);
  size_t skipped = neapL__check_place(L, 2, neapL__check_writable(L, 1)->size) % ALIGNMENT;
  push_packed(L, skipped);
  const char *data = lua_tolstring(L, -1, &size);
  const neapL__buffer *self = neapL__check_writable(L, 1);
  size_t place = neapL__check_place(L, 2, self->size);
  return put(L, self, place, data + skipped, size - skipped, 3);
}

/* A host that leaves out the string library has Buffers without these two. */
static void register_packer(lua_State *L, neapL__state *state, const char *name,
                            lua_CFunction function) {
  lua_pushlightuserdata(L, state);
  bool is_there = lua_getfield(L, -2, name) == LUA_TFUNCTION;
  lua_pushcclosure(L, function, 2);
  if (is_there)
    lua_setfield(L, -3, name);
  else
    lua_pop(L, 1);
}

void neapL__register_packing(lua_State *L, neapL__state *state) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  luaL_getsubtable(L, -1, LUA_STRLIBNAME);
  lua_remove(L, -2);
  register_packer(L, state, "unpack", unpack);
  register_packer(L, state, "pack", pack);
  lua_pop(L, 1);
}

/* ---- The methods ---------------------------------------------------------------------------- */

const luaL_Reg neapL__buffer_operators[] = {{"__len", get_length}, {"__eq", equals}, {NULL, NULL}};
const luaL_Reg neapL__buffer_access[] = {{"sub", sub},   {"string", string}, {"byte", byte},
                                         {"find", find}, {"set", set},       {"fill", fill},
                                         {NULL, NULL}};
