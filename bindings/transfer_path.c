#include "writer.h"

#include <ctype.h>
#include <string.h>

/* Where a value was found, for the message of a refusal: "argument 1 upvalue 'config'.items[3]". The way
 * is found only then, by looking for each object in the one that it was found in. */

typedef neapL__writer writer;

enum { MOST_STEPS = 16, LONGEST_KEY = 40 };

/* Appends the string on top to the path below it. */
static void append(lua_State *L) {
  lua_concat(L, 2);
}

static bool is_name(const char *string, size_t length) {
  if (length == 0 || length > LONGEST_KEY || isdigit((unsigned char)string[0])) return false;
  for (size_t i = 0; i < length; i++)
    if (!isalnum((unsigned char)string[i]) && string[i] != '_') return false;
  return true;
}

/* ["odd key"], in one line and not too long. */
static void append_quoted(lua_State *L, const char *string, size_t length) {
  char text[LONGEST_KEY + 1];
  size_t n = length < LONGEST_KEY ? length : LONGEST_KEY;
  for (size_t i = 0; i < n; i++)
    text[i] = (char)(iscntrl((unsigned char)string[i]) ? '?' : string[i]);
  text[n] = '\0';
  lua_pushfstring(L, "[\"%s%s\"]", text, n < length ? "..." : "");
  append(L);
}

static void append_string(lua_State *L, int key) {
  size_t length;
  const char *string = lua_tolstring(L, key, &length);
  if (!is_name(string, length)) {
    append_quoted(L, string, length);
    return;
  }
  lua_pushfstring(L, ".%s", string);
  append(L);
}

/* Appends the key at the absolute index `key` to the path on top. */
static void append_key(lua_State *L, int key) {
  switch (lua_type(L, key)) {
  case LUA_TSTRING: append_string(L, key); return;
  case LUA_TNUMBER:
    if (lua_isinteger(L, key))
      lua_pushfstring(L, "[%I]", (LUAI_UACINT)lua_tointeger(L, key));
    else
      lua_pushfstring(L, "[%f]", (LUAI_UACNUMBER)lua_tonumber(L, key));
    break;
  case LUA_TBOOLEAN: lua_pushstring(L, lua_toboolean(L, key) ? "[true]" : "[false]"); break;
  default: lua_pushfstring(L, "[a %s]", luaL_typename(L, key)); break;
  }
  append(L);
}

/* The path on top leads to a table: it is to lead to a key of that. */
static void append_being_key(lua_State *L) {
  lua_pushfstring(L, "(a key of %s)", lua_tostring(L, -1));
  lua_remove(L, -2);
}

static void append_upvalue(lua_State *L, int function, int upvalue) {
  const char *name = lua_getupvalue(L, function, upvalue);
  lua_pop(L, 1);
  lua_pushfstring(L, " upvalue '%s'", name);
  append(L);
}

/* ---- Ways ------------------------------------------------------------------------------------ */

/* Appends the step from the table at `table` to the object at `child`, if it is there. */
static bool append_field_of(lua_State *L, int table, int child) {
  int path = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, table); lua_settop(L, path + 1)) {
    bool is_value = lua_rawequal(L, -1, child);
    if (!is_value && !lua_rawequal(L, -2, child)) continue;
    lua_pushvalue(L, path);
    if (is_value)
      append_key(L, path + 1);
    else
      append_being_key(L);
    lua_replace(L, path);
    lua_settop(L, path);
    return true;
  }
  return false;
}

static bool append_upvalue_of(lua_State *L, int function, int child) {
  for (int i = 1; lua_getupvalue(L, function, i); i++) {
    bool is_it = lua_rawequal(L, -1, child);
    lua_pop(L, 1);
    if (!is_it) continue;
    append_upvalue(L, function, i);
    return true;
  }
  return false;
}

/* Appends the step to an object from its parent. */
static void append_step(writer *self, uint32_t object) {
  lua_State *L = self->L;
  int path = lua_gettop(L);
  neapL__push_body(self, self->scratch->origins[object - 1].parent);
  neapL__push_numbered(self, object);
  lua_pushvalue(L, path);
  bool is_found = lua_istable(L, path + 1) ? append_field_of(L, path + 1, path + 2)
                                           : append_upvalue_of(L, path + 1, path + 2);
  if (!is_found) {
    lua_pushliteral(L, "[?]");
    append(L);
  }
  lua_replace(L, path);
  lua_settop(L, path);
}

static uint32_t parent_of(const writer *self, uint32_t object) {
  return self->scratch->origins[object - 1].parent;
}

static uint32_t ancestor(const writer *self, uint32_t object, size_t steps) {
  while (steps-- > 0) object = parent_of(self, object);
  return object;
}

static size_t depth_of(const writer *self, uint32_t object) {
  size_t depth = 0;
  while ((object = parent_of(self, object)) > 0) depth++;
  return depth;
}

static void push_value_name(writer *self, int index) {
  lua_pushfstring(self->L, "%s %d", self->what, index - self->first + self->number);
}

static void push_root(writer *self, uint32_t object) {
  int index = self->first;
  neapL__push_numbered(self, object);
  while (index < self->last && !lua_rawequal(self->L, -1, index)) index++;
  lua_pop(self->L, 1);
  push_value_name(self, index);
}

/* Pushes the path to an object; the middle of a long one is left out. */
static void push_path(writer *self, uint32_t object) {
  size_t depth = depth_of(self, object);
  push_root(self, ancestor(self, object, depth));
  for (size_t steps = depth; steps-- > 0;) {
    if (depth - steps <= MOST_STEPS || steps < MOST_STEPS) {
      append_step(self, ancestor(self, object, steps));
    } else {
      lua_pushliteral(self->L, "...");
      append(self->L);
      steps = MOST_STEPS;
    }
  }
}

bool neapL__is_below_function(const writer *self) {
  lua_State *L = self->L;
  for (uint32_t object = self->owner; object > 0; object = parent_of(self, object)) {
    neapL__push_numbered(self, object);
    bool is_function = lua_isfunction(L, -1);
    lua_pop(L, 1);
    if (is_function) return true;
  }
  return false;
}

/* ---- Refusals -------------------------------------------------------------------------------- */

/* The reason and above it the path. */
static bool finish(lua_State *L) {
  lua_pushliteral(L, ": ");
  lua_rotate(L, -3, -1);
  lua_concat(L, 3);
  return false;
}

bool neapL__refuse_value(writer *self, int index) {
  push_value_name(self, index);
  return finish(self->L);
}

bool neapL__refuse_field(writer *self, int key, bool is_key) {
  push_path(self, self->owner);
  if (is_key)
    append_being_key(self->L);
  else
    append_key(self->L, key);
  return finish(self->L);
}

bool neapL__refuse_upvalue(writer *self, int upvalue) {
  neapL__push_numbered(self, self->owner);
  push_path(self, self->owner);
  append_upvalue(self->L, lua_gettop(self->L) - 1, upvalue);
  lua_remove(self->L, -2);
  return finish(self->L);
}
