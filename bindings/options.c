#include "options.h"

#include <string.h>

bool neapL__has_options(lua_State *L, int index) {
  if (lua_isnoneornil(L, index)) return false;
  luaL_checktype(L, index, LUA_TTABLE);
  return true;
}

NEAPL__NORETURN static void refuse(lua_State *L, int index, const char *name,
                                   const char *expected) {
  luaL_argerror(L, index, lua_pushfstring(L, "option '%s': %s expected", name, expected));
  NEAPL__UNREACHABLE;
}

/* Pushes the field; false if it is absent, nothing pushed. */
static bool push_field(lua_State *L, int index, const char *name) {
  if (!lua_istable(L, index)) return false;
  if (lua_getfield(L, index, name) != LUA_TNIL) return true;
  lua_pop(L, 1);
  return false;
}

bool neapL__option_boolean(lua_State *L, int index, const char *name, bool otherwise) {
  if (!push_field(L, index, name)) return otherwise;
  if (!lua_isboolean(L, -1)) refuse(L, index, name, "a boolean");
  bool value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

lua_Integer neapL__option_integer(lua_State *L, int index, const char *name, lua_Integer least,
                                  lua_Integer most, lua_Integer otherwise) {
  int is_integer;
  if (!push_field(L, index, name)) return otherwise;
  lua_Integer value = lua_tointegerx(L, -1, &is_integer);
  if (!is_integer || value < least || value > most) {
    const char *range =
        lua_pushfstring(L, "an integer from %I to %I", (LUAI_UACINT)least, (LUAI_UACINT)most);
    refuse(L, index, name, range);
  }
  lua_pop(L, 1);
  return value;
}

double neapL__option_seconds(lua_State *L, int index, const char *name, double otherwise) {
  if (!push_field(L, index, name)) return otherwise;
  if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) >= 0))
    refuse(L, index, name, "a duration in seconds, 0 or more,");
  double value = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return value;
}

int neapL__option_choice(lua_State *L, int index, const char *name, const char *const *choices,
                         int otherwise) {
  if (!push_field(L, index, name)) return otherwise;
  const char *value = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  int choice = 0;
  while (choices[choice] && strcmp(choices[choice], value) != 0) choice++;
  lua_pop(L, 1); /* the table keeps it */
  if (choices[choice]) return choice;
  lua_pushstring(L, "one of");
  for (int i = 0; choices[i]; i++) lua_pushfstring(L, "%s '%s'", lua_tostring(L, -1), choices[i]);
  refuse(L, index, name, lua_tostring(L, -1));
}

char *neapL__option_copy(lua_State *L, neap_loop *loop, int index, const char *name) {
  size_t size;
  if (!push_field(L, index, name)) return NULL;
  const char *value = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &size) : NULL;
  if (!value) refuse(L, index, name, "a string");
  if (strlen(value) != size) refuse(L, index, name, "a string without NUL bytes");
  char *copy = neapL__copy(L, loop, value, size);
  lua_pop(L, 1);
  return copy;
}

/* ---- Permissions --------------------------------------------------------------------------- */

enum { ALL_PERMISSIONS = 07777 };

static int parse_octal(const char *text) {
  int mode = 0;
  for (; *text; text++) {
    if (*text < '0' || *text > '7' || mode > ALL_PERMISSIONS) return -1;
    mode = mode * 8 + (*text - '0');
  }
  return mode <= ALL_PERMISSIONS ? mode : -1;
}

static int parse_letters(const char *text) {
  static const char letters[] = "rwxrwxrwx";
  int mode = 0;
  for (int i = 0; i < 9; i++) {
    if (text[i] != letters[i] && text[i] != '-') return -1;
    mode = mode << 1 | (text[i] != '-');
  }
  return mode;
}

/* -1 if it is none. */
static int to_file_mode(lua_State *L, int index) {
  size_t size;
  if (lua_isinteger(L, index)) {
    lua_Integer mode = lua_tointeger(L, index);
    return mode >= 0 && mode <= ALL_PERMISSIONS ? (int)mode : -1;
  }
  if (lua_type(L, index) != LUA_TSTRING) return -1;
  const char *text = lua_tolstring(L, index, &size);
  if (size == 9) return parse_letters(text);
  return size > 0 && strlen(text) == size ? parse_octal(text) : -1;
}

static const char mode_form[] = "a file mode (an integer, \"644\" or \"rw-r--r--\")";

int neapL__check_file_mode(lua_State *L, int index) {
  int mode = to_file_mode(L, index);
  if (mode < 0) luaL_argerror(L, index, lua_pushfstring(L, "%s expected", mode_form));
  return mode;
}

int neapL__option_file_mode(lua_State *L, int index, const char *name, int otherwise) {
  if (!push_field(L, index, name)) return otherwise;
  int mode = to_file_mode(L, -1);
  if (mode < 0) refuse(L, index, name, mode_form);
  lua_pop(L, 1);
  return mode;
}
