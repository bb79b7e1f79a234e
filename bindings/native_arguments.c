#include "native.h"

#include "buffer.h"
#include "value.h"

#include <string.h>

/* What a letter of neapL_function.arguments stands for. */
typedef struct letter {
  char letter;
  const char *expected;
} letter;

static const letter letters[] = {{'b', "boolean"},
                                 {'i', "integer"},
                                 {'n', "number"},
                                 {'s', "string or Buffer"},
                                 {'z', "string without NUL bytes"},
                                 {'p', "light userdata"},
                                 {'o', "native object"},
                                 {'f', "function"},
                                 {'a', "array"},
                                 {'m', "table with keys"},
                                 {'t', "table"}};

static const char *expected_of(char wanted) {
  for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
    if (letters[i].letter == wanted) return letters[i].expected;
  return "other value";
}

static bool is_whole(const neap_value *value) {
  return value->kind == NEAP_VALUE_NUMBER &&
         (neap_value_integer(value) != 0 || neap_value_number(value) == 0);
}

static bool is_empty_table(const neap_value *value) {
  return value->kind == NEAP_VALUE_ARRAY && value->size == 0;
}

static bool fits(const neap_value *value, char wanted) {
  neap_value_kind kind = neap_value_kind_of(value);
  switch (wanted) {
  case 'b': return kind == NEAP_VALUE_BOOLEAN;
  case 'i': return kind == NEAP_VALUE_INTEGER || is_whole(value);
  case 'n': return kind == NEAP_VALUE_INTEGER || kind == NEAP_VALUE_NUMBER;
  case 's': return kind == NEAP_VALUE_BYTES || kind == NEAP_VALUE_BUFFER;
  case 'z': return kind == NEAP_VALUE_BYTES && strlen(value->as.bytes) == value->size;
  case 'p': return kind == NEAP_VALUE_POINTER;
  case 'o': return kind == NEAP_VALUE_OBJECT;
  case 'f': return kind == NEAP_VALUE_CALLBACK;
  case 'a': return kind == NEAP_VALUE_ARRAY;
  case 'm': return kind == NEAP_VALUE_MAP || is_empty_table(value);
  case 't': return kind == NEAP_VALUE_ARRAY || kind == NEAP_VALUE_MAP;
  default: return wanted == '.';
  }
}

/* One that is missing has the call in its place. */
static void bad_argument(lua_State *L, int index, char wanted, bool is_there) {
  const char *expected = expected_of(wanted);
  if (is_there)
    luaL_typeerror(L, index, expected);
  else
    luaL_argerror(L, index, lua_pushfstring(L, "%s expected, got no value", expected));
}

static void add_argument(lua_State *L, int index, neap_values *values) {
  int code = neapL_to_values(L, index, values);
  if (!code) return;
  if (code == UV_ENOMEM) neapL__raise_memory(L);
  if (code == NEAP_EDEPTH) luaL_argerror(L, index, "it is nested too deeply, or has a cycle");
  if (neapL__to_native_object(L, index)) luaL_argerror(L, index, "the object is closed");
  if (neapL__to_buffer(L, index)) neapL__check_buffer(L, index); /* raises why it is none */
  luaL_argerror(L, index, "a value of this type, or one in it, cannot be passed to C");
}

/* Adds argument `i` of n, which `want` stands for. */
static void add_wanted(lua_State *L, int i, int n, char want, bool is_optional,
                       neap_values *values) {
  bool is_absent = i > n || (is_optional && lua_isnil(L, i));
  if (is_absent && (is_optional || want == '.')) {
    neap_values_add_nil(values);
    return;
  }
  if (is_absent) bad_argument(L, i, want, false);
  add_argument(L, i, values);
  if (!fits(neap_values_at(values, (size_t)i - 1), want)) bad_argument(L, i, want, true);
}

void neapL__add_arguments(lua_State *L, int n, const char *wanted, neap_values *values) {
  if (!wanted) wanted = "";
  for (int i = 1; i <= n || *wanted; i++) {
    char want = *wanted ? *wanted++ : '.';
    bool is_optional = *wanted == '?';
    if (is_optional) wanted++;
    add_wanted(L, i, n, want, is_optional, values);
  }
}
