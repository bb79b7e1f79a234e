/* What tests of the embedding API share: a Lua state with neap, opened as a host opens it. */
#ifndef NEAP_TEST_EMBED_H
#define NEAP_TEST_EMBED_H

#include "../neaplua.h"
#include "host.h"

#include <math.h>
#include <string.h>

/* Invariant: what was allocated for Lua and for the core is free when it is closed. */
typedef struct embedding {
  lua_State *L;
  heap lua;
  long core; /* live blocks */
  int errors, warnings;
  char last_error[256];
} embedding;

static void *allocate_core(void *data, void *block, size_t size) {
  embedding *self = data;
  if (size == 0) {
    if (block) self->core--;
    free(block);
    return NULL;
  }
  void *result = realloc(block, size);
  if (result && !block) self->core++;
  return result;
}

static void on_error(void *data, lua_State *L, const neap_error *error) {
  embedding *self = data;
  (void)L;
  self->errors++;
  snprintf(self->last_error, sizeof self->last_error, "%s|%s|%s", error->name, error->message,
           error->traceback ? "traceback" : "none");
}

static void on_warning(void *data, lua_State *L, const char *message) {
  embedding *self = data;
  (void)L, (void)message;
  self->warnings++;
}

static inline bool embed_on(embedding *self, uv_loop_t *uv) {
  *self = (embedding){0};
  self->L = lua_newstate(allocate, &self->lua);
  neapL_options options = {.uv = uv,
                           .allocator = allocate_core,
                           .allocator_data = self,
                           .threads = 2,
                           .on_error = on_error,
                           .on_warning = on_warning,
                           .data = self};
  luaL_openlibs(self->L);
  bool is_open = CHECK(neapL_open(self->L, &options) == 0);
  if (!is_open) fprintf(stderr, "# %s\n", lua_tostring(self->L, -1));
  lua_pop(self->L, 1);
  return is_open;
}

static inline bool embed(embedding *self) {
  return embed_on(self, NULL);
}

static inline void embed_close(embedding *self) {
  lua_close(self->L);
  CHECK(self->lua.bytes == 0);
  CHECK(self->core == 0);
}

/* Runs a chunk; what it raises is shown. */
static inline bool embed_run(embedding *self, const char *script) {
  lua_State *L = self->L;
  bool is_ok = luaL_loadbuffer(L, script, strlen(script), "=script") == LUA_OK &&
               lua_pcall(L, 0, 0, 0) == LUA_OK;
  if (is_ok) return true;
  fprintf(stderr, "# %s\n", luaL_tolstring(L, -1, NULL));
  lua_pop(L, 2);
  return false;
}

#define PRELUDE                                                                                    \
  "local neap = require 'neap'\n"                                                                  \
  "local await, async = neap.await, neap.async\n"

#endif
