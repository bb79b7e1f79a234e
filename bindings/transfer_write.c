#include "writer.h"

#include <string.h>

typedef neapL__writer writer;

/* ---- Bytes ----------------------------------------------------------------------------------- */

enum { SMALLEST_DATA = 256, WIDEST = 24 /* bytes of all but strings */ };

static void grow(writer *self, size_t more) {
  neapL__message *message = self->message;
  size_t capacity = message->capacity * 2;
  if (capacity < SMALLEST_DATA) capacity = SMALLEST_DATA;
  if (capacity - message->size < more) capacity = message->size + more;
  char *data = neapL__resize_block(self->state, message->data, capacity);
  if (!data) neapL__raise_memory(self->L);
  message->data = data;
  message->capacity = capacity;
}

/* Room for so many bytes more; `put_to` takes what was written there. */
static inline char *reserve(writer *self, size_t more) {
  if (self->message->capacity - self->message->size < more) grow(self, more);
  return self->message->data + self->message->size;
}

static inline void put_to(writer *self, const char *end) {
  self->message->size = (size_t)(end - self->message->data);
}

static inline char *put(char *at, uint8_t byte) {
  *at = (char)byte;
  return at + 1;
}

static inline char *put_bytes(char *at, const void *bytes, size_t size) {
  if (size > 0) memcpy(at, bytes, size);
  return at + size;
}

static inline char *put_varint(char *at, uint64_t value) {
  for (; value > 127; value >>= 7) at = put(at, (uint8_t)(value | 128));
  return put(at, (uint8_t)value);
}

static void write_tag(writer *self, uint8_t tag) {
  put_to(self, put(reserve(self, 1), tag));
}

static void write_number_of(writer *self, uint8_t tag, uint64_t number) {
  put_to(self, put_varint(put(reserve(self, WIDEST), tag), number));
}

static char *put_integer(char *at, lua_Integer value) {
  if (value >= NEAPL__SHORTEST && value < NEAPL__SHORTEST + 128)
    return put(at, (uint8_t)(NEAPL__TAG_SMALL + value - NEAPL__SHORTEST));
  if (value >= INT16_MIN && value <= INT16_MAX) {
    int16_t word = (int16_t)value;
    return put_bytes(put(at, NEAPL__TAG_INT16), &word, sizeof word);
  }
  if (value >= INT32_MIN && value <= INT32_MAX) {
    int32_t word = (int32_t)value;
    return put_bytes(put(at, NEAPL__TAG_INT32), &word, sizeof word);
  }
  return put_bytes(put(at, NEAPL__TAG_INT64), &value, sizeof value);
}

static void write_integer(writer *self, int index) {
  put_to(self, put_integer(reserve(self, WIDEST), lua_tointeger(self->L, index)));
}

static bool write_number(writer *self, int index) {
  if (lua_isinteger(self->L, index)) {
    write_integer(self, index);
  } else {
    lua_Number number = lua_tonumber(self->L, index);
    put_to(self, put_bytes(put(reserve(self, WIDEST), NEAPL__TAG_FLOAT), &number, sizeof number));
  }
  return true;
}

static void put_string(writer *self, const char *string, size_t length) {
  char *at = reserve(self, WIDEST + length);
  if (length < NEAPL__TAG_SMALL - NEAPL__TAG_SHORT)
    at = put(at, (uint8_t)(NEAPL__TAG_SHORT + length));
  else
    at = put_varint(put(at, NEAPL__TAG_STRING), length);
  put_to(self, put_bytes(at, string, length));
}

static bool write_string(writer *self, int index) {
  size_t length;
  const char *string = lua_tolstring(self->L, index, &length);
  put_string(self, string, length);
  return true;
}

/* ---- Objects --------------------------------------------------------------------------------- */

static bool write_value(writer *self, int index);

/* Refers to an object that has a number; false: it has none yet, and gets the next one. */
static bool write_again(writer *self, int index) {
  uint64_t number;
  const void *pointer = lua_topointer(self->L, index);
  if (!self->scratch) neapL__scratch_take(self);
  if (!neapL__mark_seen(self, pointer, self->message->objects + 1, &number)) return false;
  if (number == 1) self->is_first_again = true;
  write_number_of(self, NEAPL__TAG_AGAIN, number);
  return true;
}

static void grow_origins(writer *self) {
  neapL__scratch *scratch = self->scratch;
  size_t capacity = scratch->origin_capacity ? scratch->origin_capacity * 2 : 16;
  neapL__origin *origins =
      neapL__resize_block(self->state, scratch->origins, capacity * sizeof *origins);
  if (!origins) neapL__raise_memory(self->L);
  scratch->origins = origins;
  scratch->origin_capacity = capacity;
}

/* Pops the object. */
static void add_to_list(const writer *self, uint32_t number) {
  lua_State *L = self->L;
  if (number == NEAPL__FEW + 1) {
    lua_newtable(L);
    lua_replace(L, self->list);
  }
  lua_rawseti(L, self->list, number - NEAPL__FEW);
}

void neapL__push_numbered(const writer *self, uint32_t number) {
  if (number <= NEAPL__FEW)
    lua_pushvalue(self->L, self->few + (int)number);
  else
    lua_rawgeti(self->L, self->list, number - NEAPL__FEW);
}

static neapL__origin *add_object(writer *self, int index) {
  uint32_t number = self->message->objects + 1;
  if (number > self->scratch->origin_capacity) grow_origins(self);
  lua_pushvalue(self->L, index);
  if (number <= NEAPL__FEW)
    lua_replace(self->L, self->few + (int)number);
  else
    add_to_list(self, number);
  neapL__origin *origin = &self->scratch->origins[self->message->objects++];
  *origin = (neapL__origin){.parent = self->owner};
  return origin;
}

static void grow_shared(writer *self) {
  neapL__message *message = self->message;
  uint32_t capacity = message->shared_capacity ? message->shared_capacity * 2 : 4;
  struct neapL__shared *shared =
      neapL__resize_block(self->state, message->shared, capacity * sizeof *shared);
  if (!shared) neapL__raise_memory(self->L);
  message->shared = shared;
  message->shared_capacity = capacity;
}

static struct neapL__shared *reserve_shared(writer *self) {
  if (self->message->shared_count == self->message->shared_capacity) grow_shared(self);
  return &self->message->shared[self->message->shared_count];
}

/* What was reserved is in use, by the object that was added last. */
static void add_shared(writer *self, uint8_t tag, const neapL__crossing *crossing,
                       void *reference) {
  neapL__message *message = self->message;
  message->shared[message->shared_count] =
      (struct neapL__shared){crossing, reference, message->objects};
  write_number_of(self, tag, message->shared_count++);
}

/* ---- Functions ------------------------------------------------------------------------------- */

static bool refuse(writer *self, const char *kind) {
  lua_pushfstring(self->L, "%s cannot cross to another thread", kind);
  return false;
}

static bool refuse_c_function(writer *self) {
  refuse(self, "a C function");
  lua_pushstring(self->L, neapL__is_below_function(self)
                              ? "; require the module inside the function"
                              : "; pass a Lua function that calls it");
  lua_concat(self->L, 2);
  return false;
}

static bool write_function(writer *self, int index) {
  if (lua_iscfunction(self->L, index)) return refuse_c_function(self);
  if (write_again(self, index)) return true;
  add_object(self, index);
  reserve_shared(self);
  reserve(self, WIDEST);
  add_shared(self, NEAPL__TAG_FUNCTION, NULL, neapL__code_take(self->L, self->state, index));
  return true;
}

static bool is_environment(lua_State *L, const char *name) {
  if (strcmp(name, "_ENV") == 0) return true;
  lua_pushglobaltable(L);
  bool is_globals = lua_rawequal(L, -1, -2);
  lua_pop(L, 1);
  return is_globals;
}

enum { UPVALUE_BITS = 8 };

/* The value is on top. */
static bool write_upvalue(writer *self, int function, int upvalue) {
  const void *id = lua_upvalueid(self->L, function, upvalue);
  uint64_t own = (uint64_t)self->owner << UPVALUE_BITS | (unsigned)upvalue, known;
  if (!neapL__mark_seen(self, id, own, &known)) return write_value(self, lua_gettop(self->L));
  write_number_of(self, NEAPL__TAG_BOX, known >> UPVALUE_BITS);
  put_to(self, put_varint(reserve(self, WIDEST), known & ((1u << UPVALUE_BITS) - 1)));
  return true;
}

static bool write_upvalues(writer *self) {
  lua_State *L = self->L;
  int function = lua_gettop(L);
  const char *name;
  for (int i = 1; (name = lua_getupvalue(L, function, i)); i++) {
    if (is_environment(L, name))
      write_tag(self, NEAPL__TAG_ENVIRONMENT);
    else if (!write_upvalue(self, function, i))
      return neapL__refuse_upvalue(self, i);
    lua_settop(L, function);
  }
  write_tag(self, NEAPL__TAG_END);
  return true;
}

/* ---- Userdata -------------------------------------------------------------------------------- */

static const neapL__crossing *crossing_of(lua_State *L, int index) {
  if (!lua_getmetatable(L, index)) return NULL;
  lua_rawgetp(L, -1, &neapL__crossing_key);
  const neapL__crossing *crossing = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return crossing;
}

static bool refuse_userdata(writer *self, int index) {
  lua_State *L = self->L;
  bool has_name = luaL_getmetafield(L, index, "__name") == LUA_TSTRING;
  lua_pushfstring(L, "a userdata (%s)", has_name ? lua_tostring(L, -1) : "without a name");
  return refuse(self, lua_tostring(L, -1));
}

static bool write_userdata(writer *self, int index) {
  const neapL__crossing *crossing = crossing_of(self->L, index);
  if (!crossing || self->message->is_repeated) return refuse_userdata(self, index);
  if (write_again(self, index)) return true;
  add_object(self, index);
  reserve_shared(self);
  reserve(self, WIDEST);
  void *reference = crossing->take(self->L, index);
  if (!reference) return false;
  add_shared(self, NEAPL__TAG_OBJECT, crossing, reference);
  return true;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

/* Pushes {module, before} of the class of the table with the metatable on top. */
static bool push_class_entry(const writer *self) {
  lua_State *L = self->L;
  neapL__push_ref(L, self->state->classes_ref);
  lua_pushvalue(L, -2);
  bool is_class = lua_rawget(L, -2) == LUA_TTABLE;
  lua_remove(L, -2);
  return is_class;
}

static neapL__table_kind kind_of(const writer *self, int index) {
  lua_State *L = self->L;
  int top = lua_gettop(L);
  if (!lua_getmetatable(L, index)) return NEAPL__PLAIN;
  const void *meta = lua_topointer(L, -1);
  neapL__table_kind kind = NEAPL__PLAIN;
  if (meta == self->state->error_meta.id)
    kind = NEAPL__ERROR;
  else if (meta == self->state->cancelled_meta.id)
    kind = NEAPL__CANCELLED;
  else if (push_class_entry(self))
    kind = NEAPL__CLASS;
  lua_settop(L, top);
  return kind;
}

/* Writes the name of its module. */
static void write_class(writer *self, int index) {
  lua_State *L = self->L;
  lua_getmetatable(L, index);
  push_class_entry(self);
  lua_rawgeti(L, -1, 1);
  write_string(self, lua_gettop(L));
  lua_pop(L, 3);
}

static bool write_table(writer *self, int index) {
  static const uint8_t tags[] = {NEAPL__TAG_TABLE, NEAPL__TAG_ERROR, NEAPL__TAG_TABLE,
                                 NEAPL__TAG_CLASS};
  if (write_again(self, index)) return true;
  neapL__table_kind kind = kind_of(self, index);
  neapL__origin *origin = add_object(self, index);
  char *at = put(reserve(self, WIDEST), tags[kind]);
  origin->kind = (uint8_t)kind;
  origin->sizes = (size_t)(at - self->message->data);
  put_to(self, at + NEAPL__SIZES);
  if (kind == NEAPL__CLASS) write_class(self, index);
  return true;
}

void neapL__push_body(writer *self, uint32_t number) {
  lua_State *L = self->L;
  neapL__push_numbered(self, number);
  if (self->scratch->origins[number - 1].kind != NEAPL__CLASS || !lua_getmetatable(L, -1)) return;
  if (!push_class_entry(self)) {
    lua_pop(L, 2);
    return;
  }
  lua_rawgeti(L, -1, 2);
  lua_pushvalue(L, -4);
  lua_call(L, 1, 1);
  if (!lua_istable(L, -1))
    luaL_error(L, "a class that crosses has made a %s", luaL_typename(L, -1));
  lua_replace(L, -4);
  lua_pop(L, 2);
}

/* Looks at the value itself, not at what is in it. */
static bool may_cross(const writer *self, int index) {
  lua_State *L = self->L;
  switch (lua_type(L, index)) {
  case LUA_TFUNCTION: return !lua_iscfunction(L, index);
  case LUA_TUSERDATA: return !self->message->is_repeated && crossing_of(L, index);
  case LUA_TLIGHTUSERDATA:
  case LUA_TTHREAD: return false;
  default: return true;
  }
}

static bool is_left_out(const writer *self, neapL__table_kind kind, int key) {
  lua_State *L = self->L;
  if (kind != NEAPL__ERROR && kind != NEAPL__CANCELLED) return false;
  if (!may_cross(self, key) || !may_cross(self, key + 1)) return true;
  return kind == NEAPL__CANCELLED && lua_type(L, key) == LUA_TSTRING &&
         strcmp(lua_tostring(L, key), "scope") == 0;
}

/* Writes the keys 1, 2, ... as long as `next` gives them in that order, the fields of a list that lies
 * elsewhere are written as such; returns whether it is done. The first key that is none of the list is left
 * on the stack with its value, where there is one. */
static bool write_list(writer *self, int table, uint32_t *count) {
  lua_State *L = self->L;
  int key = table + 1;
  uint32_t n = 0;
  for (lua_pushnil(L); lua_next(L, table); lua_settop(L, key)) {
    if (!lua_isinteger(L, key) || lua_tointeger(L, key) != (lua_Integer)n + 1) break;
    n++;
    if (lua_isinteger(L, key + 1))
      write_integer(self, key + 1);
    else if (!write_value(self, key + 1))
      return neapL__refuse_field(self, key, false);
  }
  *count = n;
  write_tag(self, NEAPL__TAG_END);
  return true;
}

/* From the key and value on the stack on, if they are there. */
static bool write_rest(writer *self, neapL__table_kind kind, int table, uint32_t *count) {
  lua_State *L = self->L;
  int key = table + 1;
  uint32_t n = 0;
  for (bool is_there = lua_gettop(L) > table; is_there; is_there = lua_next(L, table)) {
    if (!is_left_out(self, kind, key)) {
      n++;
      if (!write_value(self, key)) return neapL__refuse_field(self, key, true);
      if (!write_value(self, key + 1)) return neapL__refuse_field(self, key, false);
    }
    lua_settop(L, key);
  }
  *count = n;
  write_tag(self, NEAPL__TAG_END);
  return true;
}

/* An error is written without a list: some of its fields may be left out. */
static bool start_error(writer *self, int table, uint32_t *count) {
  *count = 0;
  write_tag(self, NEAPL__TAG_END);
  lua_pushnil(self->L);
  lua_next(self->L, table);
  return true;
}

static bool write_fields(writer *self, neapL__table_kind kind) {
  int table = lua_gettop(self->L);
  uint32_t sizes[2];
  bool is_error = kind == NEAPL__ERROR || kind == NEAPL__CANCELLED;
  if (!(is_error ? start_error : write_list)(self, table, &sizes[0])) return false;
  if (!write_rest(self, kind, table, &sizes[1])) return false;
  memcpy(self->message->data + self->scratch->origins[self->owner - 1].sizes, sizes, sizeof sizes);
  return true;
}

/* ---- Messages -------------------------------------------------------------------------------- */

/* On failure a reason is pushed. */
static bool write_value(writer *self, int index) {
  lua_State *L = self->L;
  switch (lua_type(L, index)) {
  case LUA_TNIL: write_tag(self, NEAPL__TAG_NIL); return true;
  case LUA_TBOOLEAN:
    write_tag(self, lua_toboolean(L, index) ? NEAPL__TAG_TRUE : NEAPL__TAG_FALSE);
    return true;
  case LUA_TNUMBER: return write_number(self, index);
  case LUA_TSTRING: return write_string(self, index);
  case LUA_TTABLE: return write_table(self, index);
  case LUA_TFUNCTION: return write_function(self, index);
  case LUA_TUSERDATA: return write_userdata(self, index);
  case LUA_TTHREAD: return refuse(self, "a coroutine");
  default: return refuse(self, "a light userdata");
  }
}

static bool write_body(writer *self, uint32_t number) {
  lua_State *L = self->L;
  int top = lua_gettop(L);
  self->owner = number;
  neapL__push_body(self, number);
  bool is_done = true;
  if (lua_istable(L, -1))
    is_done = write_fields(self, (neapL__table_kind)self->scratch->origins[number - 1].kind);
  else if (lua_isfunction(L, -1))
    is_done = write_upvalues(self);
  if (is_done) lua_settop(L, top);
  return is_done;
}

static bool write_all(writer *self) {
  for (int index = self->first; index <= self->last; index++)
    if (!write_value(self, index)) return neapL__refuse_value(self, index);
  if (!self->scratch) return true; /* no objects */
  for (uint32_t number = 1; number <= self->message->objects; number++)
    if (!write_body(self, number)) return false;
  return true;
}

/* Nothing fails any more. */
static void leave_all(writer *self) {
  const neapL__message *message = self->message;
  for (uint32_t i = 0; i < message->shared_count; i++) {
    const struct neapL__shared *shared = &message->shared[i];
    if (!shared->crossing || !shared->crossing->leave) continue;
    neapL__push_numbered(self, shared->object);
    shared->crossing->leave(self->L, lua_gettop(self->L));
    lua_pop(self->L, 1);
  }
}

bool neapL__message_write(lua_State *L, neapL__state *state, neapL__message *message, int first,
                          int last, const char *what, int number) {
  luaL_checkstack(L, NEAPL__FEW + 32, "too many values");
  int top = lua_gettop(L);
  writer self = {.L = L, .state = state, .message = message, .what = what, .number = number};
  self.first = lua_absindex(L, first);
  self.last = last < first ? self.first - 1 : lua_absindex(L, last);
  self.few = top;
  self.list = top + NEAPL__FEW + 1;
  message->count = self.last - self.first + 1;
  lua_settop(L, self.list);
  bool is_done = write_all(&self);
  if (is_done) {
    message->lends = message->count > 0 && lua_isfunction(L, self.first) && !self.is_first_again;
    leave_all(&self);
  } else {
    lua_replace(L, top + 1);
  }
  neapL__scratch_give(&self);
  lua_settop(L, is_done ? top : top + 1);
  return is_done;
}
