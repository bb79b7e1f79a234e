/* Fields of a table of options, which may be absent: nil then. All raise argument errors that name the
 * field: "bad argument #3 to 'listen' (option 'backlog': an integer from 1 to 65535 expected)". */
#ifndef NEAPLUA_OPTIONS_H
#define NEAPLUA_OPTIONS_H

#include "operations.h"

/* Whether there are options: nil is allowed, anything but a table is an error. */
bool neapL__has_options(lua_State *L, int index);

/* What stands for a field that is absent is `otherwise`. `index` may be nil: no field is there. */
bool neapL__option_boolean(lua_State *L, int index, const char *name, bool otherwise);
lua_Integer neapL__option_integer(lua_State *L, int index, const char *name, lua_Integer least,
                                  lua_Integer most, lua_Integer otherwise);
double neapL__option_seconds(lua_State *L, int index, const char *name, double otherwise);
/* One of a NULL-terminated list of strings, as its place in it. */
int neapL__option_choice(lua_State *L, int index, const char *name, const char *const *choices,
                         int otherwise);
/* A string without NUL bytes, copied for an operation (neap__memory_free); NULL if it is absent. */
char *neapL__option_copy(lua_State *L, neap_loop *loop, int index, const char *name);

/* The permission bits of a file: an integer, "644", or "rw-r--r--". `index` is of the value; raises
 * for anything else. */
int neapL__check_file_mode(lua_State *L, int index);
/* The same as a field. */
int neapL__option_file_mode(lua_State *L, int index, const char *name, int otherwise);

#endif
