/* What C hosts with a Lua state share: an allocator that fails on demand, and neap. */
#ifndef NEAP_TEST_LUA_H
#define NEAP_TEST_LUA_H

#include "test.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdlib.h>

int luaopen_neap_core(lua_State *L);

/* A Lua allocator that counts bytes and fails on demand. */
typedef struct heap {
  size_t bytes;
  unsigned long fail_at; /* the n-th allocation from now; 0: none */
  bool persist, fired;
} heap;

static bool must_fail(heap *self) {
  if (self->fail_at == 0) return false;
  if (self->fail_at > 1) return self->fail_at--, false;
  if (!self->persist) self->fail_at = 0;
  return self->fired = true;
}

static void *allocate(void *data, void *block, size_t old, size_t size) {
  heap *self = data;
  if (!block) old = 0;
  if (size == 0) {
    self->bytes -= old;
    free(block);
    return NULL;
  }
  if (size > old && must_fail(self)) return NULL;
  void *result = realloc(block, size);
  if (result) self->bytes += size - old;
  return result;
}

/* Opens the libraries and neap; protected, for all of it may run out of memory. */
static inline int open_neap(lua_State *L) {
  luaL_openlibs(L);
  luaL_requiref(L, "neap.core", luaopen_neap_core, 0);
  lua_getglobal(L, "package");
  lua_pushliteral(L, NEAP_LUA_DIR "/?.lua;" NEAP_LUA_DIR "/?/init.lua");
  lua_setfield(L, -2, "path");
  return 0;
}

#endif
