#include "buffer.h"

#include "error.h"

#include <limits.h>

static const char class_name[] = "neap.Buffer";

/* A million of them, all that a call can have as arguments, still add up to a size_t. */
static const lua_Integer MAX_SIZE = (lua_Integer)1 << 43;

/* ---- The object ----------------------------------------------------------------------------- */

neapL__buffer *neapL__to_buffer(lua_State *L, int index) {
  const neapL__state *state = neapL__state_here(L);
  bool is_it =
      lua_type(L, index) == LUA_TUSERDATA && neapL__has_meta(L, index, &state->buffer_meta);
  return is_it ? lua_touserdata(L, index) : NULL;
}

/* One that may be closed or have moved. */
static neapL__buffer *check_any(lua_State *L, int index) {
  return neapL__check_object(L, index, &neapL__state_here(L)->buffer_meta, class_name);
}

neapL__buffer *neapL__check_buffer(lua_State *L, int index) {
  neapL__buffer *self = check_any(L, index);
  if (!self->hold) neapL__misuse(L, "the buffer is closed");
  if (!self->hold->bytes) neapL__misuse(L, "the buffer has moved to another thread");
  return self;
}

neapL__buffer *neapL__check_writable(lua_State *L, int index) {
  neapL__buffer *self = neapL__check_buffer(L, index);
  if (!self->hold->is_writable)
    neapL__misuse(L, "the buffer is immutable: it was made of a string, or frozen");
  return self;
}

/* Until the message that it leaves with is complete, functions of Lua may still run (finalizers, say), and
 * use it: all but what could not be undone when it has left. */
neapL__buffer *neapL__check_staying(lua_State *L, int index) {
  neapL__buffer *self = neapL__check_writable(L, index);
  if (self->hold->leaving) neapL__misuse(L, "the buffer is about to move to another thread");
  return self;
}

neapL__buffer *neapL__new_buffer(lua_State *L, const neapL__state *state) {
  neapL__buffer *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (neapL__buffer){0};
  neapL__set_meta(L, -1, &state->buffer_meta);
  return self;
}

static void drop(neapL__buffer *self) {
  neap__hold *hold = self->hold;
  self->hold = NULL;
  if (hold) neap__hold_unref(hold);
}

/* ---- Making -------------------------------------------------------------------------------- */

/* Lua's collector knows nothing of the block: it is told, so that Buffers which nobody has any more go
 * as soon as strings of that size would. */
static void account(lua_State *L, size_t size) {
  size_t kilobytes = size >> 10;
  if (kilobytes == 0 || !lua_gc(L, LUA_GCISRUNNING)) return;
  lua_gc(L, LUA_GCSTEP, kilobytes < INT_MAX ? (int)kilobytes : INT_MAX);
}

void neapL__fill_buffer(lua_State *L, neapL__state *state, neapL__buffer *self, neap_bytes *bytes,
                        bool is_writable) {
  self->hold = neap__hold_new(state->loop, bytes, is_writable);
  if (!self->hold) {
    neap_bytes_unref(bytes);
    neapL__raise_memory(L);
    return;
  }
  self->data = neap_bytes_data(bytes);
  self->size = neap_bytes_size(bytes);
}

void neapL__push_buffer(lua_State *L, neapL__state *state, neap_bytes *bytes, bool is_writable) {
  neapL__buffer *self = neapL__new_buffer(L, state);
  neapL__fill_buffer(L, state, self, bytes, is_writable);
}

/* `data` NULL: writable zeros. */
static int make(lua_State *L, const char *data, size_t size) {
  neapL__state *state = neapL__state_here(L);
  neap_bytes *bytes;
  neapL__check_alive(L, state);
  account(L, size);
  neapL__buffer *self = neapL__new_buffer(L, state);
  bool must_fail = neap__memory_must_fail(&state->loop->memory); /* the block is not the loop's */
  if (must_fail || (data ? neap_bytes_copy(data, size, &bytes) : neap_bytes_new(size, &bytes)))
    return neapL__raise_memory(L);
  neapL__fill_buffer(L, state, self, bytes, !data);
  return 1;
}

/* neap.buffer(string | n) -> Buffer */
static int buffer(lua_State *L) {
  size_t size;
  if (lua_type(L, 1) == LUA_TSTRING) {
    const char *data = lua_tolstring(L, 1, &size);
    return make(L, data, size);
  }
  if (lua_type(L, 1) != LUA_TNUMBER) return luaL_typeerror(L, 1, "string or number of bytes");
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n >= 0 && n <= MAX_SIZE, 1, "a number of bytes from 0 to 2^43 expected");
  return make(L, NULL, (size_t)n);
}

/* buf:slice(i?, j?) -> a Buffer of the same block */
static int slice(lua_State *L) {
  lua_settop(L, 3); /* or what comes next is taken for an argument */
  neapL__buffer *result = neapL__new_buffer(L, neapL__state_here(L));
  const neapL__buffer *self = neapL__check_buffer(L, 1);
  neapL__range range = neapL__check_range(L, 2, self->size);
  result->hold = neap__hold_ref(self->hold);
  result->data = self->data + range.start;
  result->size = range.size;
  return 1;
}

/* ---- Life ---------------------------------------------------------------------------------- */

/* buf:freeze() -> itself; immutable from now on, and so are all slices of the block */
static int freeze(lua_State *L) {
  neap__hold *hold = neapL__check_buffer(L, 1)->hold;
  if (hold->is_writable) neapL__check_staying(L, 1);
  if (hold->pins) neapL__misuse(L, "a read into the buffer is under way: await it before freeze");
  hold->is_writable = false;
  lua_settop(L, 1);
  return 1;
}

static int is_writable(lua_State *L) {
  lua_pushboolean(L, neapL__check_buffer(L, 1)->hold->is_writable);
  return 1;
}

/* buf:close(): gives up its share; the memory goes with the last slice. Idempotent. */
static int close_buffer(lua_State *L) {
  neapL__buffer *self = check_any(L, 1);
  bool is_leaving = self->hold && self->hold->leaving; /* soon it has nothing to close any more */
  if (!is_leaving) drop(self);
  return 0;
}

static int collect(lua_State *L) {
  drop(lua_touserdata(L, 1));
  return 0;
}

static int to_string(lua_State *L) {
  const neapL__buffer *self = check_any(L, 1);
  if (!self->hold)
    lua_pushfstring(L, "%s: closed", class_name);
  else if (!self->hold->bytes)
    lua_pushfstring(L, "%s: moved to another thread", class_name);
  else
    lua_pushfstring(L, "%s: %I bytes%s", class_name, (LUAI_UACINT)self->size,
                    self->hold->is_writable ? ", writable" : "");
  return 1;
}

/* ---- Where bytes are taken or put ------------------------------------------------------------ */

const char *neapL__check_bytes(lua_State *L, int index, size_t *size) {
  int type = lua_type(L, index);
  if (type == LUA_TSTRING || type == LUA_TNUMBER) return lua_tolstring(L, index, size);
  if (!neapL__to_buffer(L, index)) luaL_typeerror(L, index, "string or Buffer");
  const neapL__buffer *self = neapL__check_buffer(L, index);
  *size = self->size;
  return self->data;
}

neap_bytes *neapL__share_bytes(lua_State *L, int first, int last, char **data, size_t *size) {
  if (first != last || !neapL__to_buffer(L, first)) return NULL;
  const neapL__buffer *self = neapL__check_buffer(L, first);
  if (self->hold->is_writable) return NULL;
  *data = self->data;
  *size = self->size;
  return neap_bytes_ref(self->hold->bytes);
}

void neapL__check_target(lua_State *L, int index, neap__target *target, size_t *size) {
  const neapL__buffer *self = neapL__check_staying(L, index);
  size_t place = neapL__check_place(L, index + 1, self->size);
  lua_Integer room = (lua_Integer)(self->size - place);
  lua_Integer n = luaL_optinteger(L, index + 2, room);
  luaL_argcheck(L, n >= 0, index + 2, "a number of bytes expected, 0 or more");
  luaL_argcheck(L, n <= room, index + 2, "more bytes than the buffer has from there on");
  target->hold = neap__hold_ref(self->hold);
  target->data = self->data + place;
  *size = (size_t)n;
}

/* ---- The class ------------------------------------------------------------------------------ */

static const luaL_Reg metamethods[] = {
    {"__gc", collect}, {"__close", close_buffer}, {"__tostring", to_string}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"slice", slice},
                                   {"freeze", freeze},
                                   {"is_writable", is_writable},
                                   {"close", close_buffer},
                                   {NULL, NULL}};

const luaL_Reg neapL__buffer_functions[] = {{"buffer", buffer}, {NULL, NULL}};

void neapL__open_buffers(lua_State *L, neapL__state *state) {
  neapL__class(L, &state->buffer_meta, class_name, metamethods, methods);
  neapL__set_buffer_crossing(L);
  neapL__register(L, neapL__buffer_operators);
  lua_getfield(L, -1, "__index");
  neapL__register(L, neapL__buffer_access);
  neapL__register_packing(L, state);
  lua_pop(L, 2);
}
