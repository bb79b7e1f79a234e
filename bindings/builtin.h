/* The Lua half of neap, as it is built into the libraries, and what else a Lua state may have in
 * package.preload, which the states of its workers get too. */
#ifndef NEAPLUA_BUILTIN_H
#define NEAPLUA_BUILTIN_H

#include "compat.h"

#include <stddef.h>

/* Lets L `require` all of neap without a path: puts "neap", "neap.core" and every "neap.NAME" into
 * package.preload, where nothing is there. [-0, +0, m] */
void neapL__preload(lua_State *L);

/* A module that is written in Lua. */
typedef struct neapL__builtin {
  const char *name;  /* "neap.scope" */
  const char *chunk; /* "@neap/scope.lua" */
  const unsigned char *text;
  size_t size;
} neapL__builtin;

/* Ends with a NULL name. Made by tools/package/builtin.cmake. */
extern const neapL__builtin neapL__builtins[];

/* The C functions without upvalues that package.preload has, under names of strings: those can be had by
 * any Lua state. One block of malloc. Thread: any; constant. */
typedef struct neapL__preloads neapL__preloads;

/* NULL: out of memory. Freed by free(). [-0, +0, m] */
neapL__preloads *neapL__preloads_copy(lua_State *L);
/* Puts them into package.preload, where nothing is there. [-0, +0, m] */
void neapL__preloads_apply(lua_State *L, const neapL__preloads *preloads);

#endif
