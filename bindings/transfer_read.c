#include "message.h"

#include <limits.h>
#include <string.h>

/* The stack of a reader: the values, then the objects by number, or a table of them if they are many. */
typedef struct reader {
  lua_State *L;
  neapL__state *state;
  neapL__message *message;
  const char *at;
  int objects; /* index of the table, or of the place before the first one */
  int environment;
  uint32_t made; /* objects until now */
} reader;

static uint8_t take_byte(reader *self) {
  return (uint8_t)*self->at++;
}

static uint64_t take_varint(reader *self) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    uint8_t byte = take_byte(self);
    value |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return value;
  }
}

static uint32_t take_word(reader *self) {
  uint32_t word;
  memcpy(&word, self->at, sizeof word);
  self->at += sizeof word;
  return word;
}

static void push_int16(reader *self) {
  int16_t value;
  memcpy(&value, self->at, sizeof value);
  self->at += sizeof value;
  lua_pushinteger(self->L, value);
}

static void push_int32(reader *self) {
  int32_t value;
  memcpy(&value, self->at, sizeof value);
  self->at += sizeof value;
  lua_pushinteger(self->L, value);
}

static void push_int64(reader *self) {
  lua_Integer value;
  memcpy(&value, self->at, sizeof value);
  self->at += sizeof value;
  lua_pushinteger(self->L, value);
}

static void push_float(reader *self) {
  lua_Number number;
  memcpy(&number, self->at, sizeof number);
  self->at += sizeof number;
  lua_pushnumber(self->L, number);
}

static void push_string(reader *self, size_t length) {
  lua_pushlstring(self->L, self->at, length);
  self->at += length;
}

/* ---- Objects --------------------------------------------------------------------------------- */

/* The object on top gets its number. */
static void add_object(reader *self) {
  lua_pushvalue(self->L, -1);
  self->made++;
  if (self->message->objects > NEAPL__FEW)
    lua_rawseti(self->L, self->objects, self->made);
  else
    lua_replace(self->L, self->objects + (int)self->made);
}

static void push_again(const reader *self, uint64_t number) {
  if (self->message->objects > NEAPL__FEW)
    lua_rawgeti(self->L, self->objects, (lua_Integer)number);
  else
    lua_pushvalue(self->L, self->objects + (int)number);
}

static int size_of(uint32_t word) {
  return word > INT_MAX ? INT_MAX : (int)word;
}

static void push_table(reader *self, uint8_t tag) {
  lua_State *L = self->L;
  uint32_t list = take_word(self), fields = take_word(self);
  lua_createtable(L, size_of(list), size_of(fields));
  if (tag == NEAPL__TAG_ERROR) neapL__set_meta(L, -1, &self->state->error_meta);
  add_object(self);
}

static void read_value(reader *self, uint8_t tag);

static void push_instance(reader *self) {
  lua_State *L = self->L;
  push_table(self, NEAPL__TAG_TABLE);
  read_value(self, take_byte(self)); /* the name of the module */
  neapL__push_class(L, self->state, lua_tostring(L, -1));
  lua_setmetatable(L, -3);
  lua_pop(L, 1);
}

static void push_function(reader *self) {
  neapL__code *code = self->message->shared[take_varint(self)].reference;
  if (self->made == 0 && self->message->lends)
    neapL__code_lend(self->L, self->state, code);
  else
    neapL__code_load(self->L, code);
  add_object(self);
}

static void push_object(reader *self) {
  struct neapL__shared *shared = &self->message->shared[take_varint(self)];
  shared->crossing->arrive(self->L, self->state, shared->reference);
  shared->reference = NULL;
  add_object(self);
}

static void push_environment(const reader *self) {
  if (self->environment)
    lua_pushvalue(self->L, self->environment);
  else
    lua_pushglobaltable(self->L);
}

/* ---- Values ---------------------------------------------------------------------------------- */

/* Pushes a value. */
static void read_value(reader *self, uint8_t tag) {
  lua_State *L = self->L;
  if (tag >= NEAPL__TAG_SMALL) {
    lua_pushinteger(L, tag - NEAPL__TAG_SMALL + NEAPL__SHORTEST);
    return;
  }
  if (tag >= NEAPL__TAG_SHORT) {
    push_string(self, tag - NEAPL__TAG_SHORT);
    return;
  }
  switch (tag) {
  case NEAPL__TAG_NIL: lua_pushnil(L); break;
  case NEAPL__TAG_FALSE: lua_pushboolean(L, 0); break;
  case NEAPL__TAG_TRUE: lua_pushboolean(L, 1); break;
  case NEAPL__TAG_INT16: push_int16(self); break;
  case NEAPL__TAG_INT32: push_int32(self); break;
  case NEAPL__TAG_INT64: push_int64(self); break;
  case NEAPL__TAG_FLOAT: push_float(self); break;
  case NEAPL__TAG_STRING: push_string(self, take_varint(self)); break;
  case NEAPL__TAG_AGAIN: push_again(self, take_varint(self)); break;
  case NEAPL__TAG_TABLE:
  case NEAPL__TAG_ERROR: push_table(self, tag); break;
  case NEAPL__TAG_CLASS: push_instance(self); break;
  case NEAPL__TAG_FUNCTION: push_function(self); break;
  case NEAPL__TAG_OBJECT: push_object(self); break;
  default: push_environment(self); break;
  }
}

/* ---- Bodies ---------------------------------------------------------------------------------- */

static void read_fields(reader *self) {
  lua_State *L = self->L;
  int table = lua_gettop(L);
  uint8_t tag;
  for (lua_Integer i = 1; (tag = take_byte(self)) != NEAPL__TAG_END; i++) {
    read_value(self, tag);
    lua_rawseti(L, table, i);
  }
  while ((tag = take_byte(self)) != NEAPL__TAG_END) {
    read_value(self, tag);
    read_value(self, take_byte(self));
    lua_rawset(L, table);
  }
}

/* Shared with a function that came before. */
static void join_upvalue(reader *self, int index, int upvalue) {
  push_again(self, take_varint(self));
  lua_upvaluejoin(self->L, index, upvalue, -1, (int)take_varint(self));
  lua_pop(self->L, 1);
}

static void read_upvalues(reader *self) {
  int index = lua_gettop(self->L);
  uint8_t tag;
  for (int i = 1; (tag = take_byte(self)) != NEAPL__TAG_END; i++) {
    if (tag == NEAPL__TAG_BOX) {
      join_upvalue(self, index, i);
    } else {
      read_value(self, tag);
      lua_setupvalue(self->L, index, i);
    }
  }
}

static void read_body(reader *self, uint32_t number) {
  push_again(self, number);
  int type = lua_type(self->L, -1);
  if (type == LUA_TTABLE)
    read_fields(self);
  else if (type == LUA_TFUNCTION)
    read_upvalues(self);
  lua_pop(self->L, 1);
}

/* Makes `count` places, on the stack if they are few; returns their index. */
static int make_places(lua_State *L, uint32_t count) {
  int top = lua_gettop(L);
  if (count <= NEAPL__FEW) {
    lua_settop(L, top + (int)count);
    return top;
  }
  lua_createtable(L, size_of(count), 0);
  return top + 1;
}

int neapL__message_read(lua_State *L, neapL__state *state, neapL__message *message,
                        int environment) {
  int count = message->count, base = lua_gettop(L);
  luaL_checkstack(L, count + NEAPL__FEW + 16, "too many values");
  reader self = {.L = L, .state = state, .message = message, .at = message->data};
  if (environment) self.environment = lua_absindex(L, environment);
  lua_settop(L, base + count);
  self.objects = make_places(L, message->objects);
  for (int i = 1; i <= count; i++) {
    read_value(&self, take_byte(&self));
    lua_replace(L, base + i);
  }
  for (uint32_t number = 1; number <= message->objects; number++) read_body(&self, number);
  neapL__message_deinit(message);
  lua_settop(L, base + count);
  return count;
}
