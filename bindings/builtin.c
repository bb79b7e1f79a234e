#include "builtin.h"

#include "module.h"
#include "state.h"

#include <stdlib.h>
#include <string.h>

static const neapL__builtin *find_builtin(const char *name) {
  const neapL__builtin *module = neapL__builtins;
  while (module->name && strcmp(module->name, name) != 0) module++;
  return module->name ? module : NULL;
}

/* (name, where) -> what the module returns. It finds the module by its name, for as a function without
 * upvalues it can be preloaded in every Lua state. */
static int load_builtin(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const neapL__builtin *module = find_builtin(name);
  if (!module) return luaL_error(L, "'%s' is no module of neap", name);
  const char *text = (const char *)module->text;
  if (luaL_loadbufferx(L, text, module->size, module->chunk, "t") != LUA_OK) return lua_error(L);
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}

/* package.preload is on top. Raw: what a host has made of it is not called. */
static void add_preload(lua_State *L, const char *name, lua_CFunction function) {
  lua_pushstring(L, name);
  if (lua_rawget(L, -2) == LUA_TNIL) {
    lua_pushstring(L, name);
    lua_pushcfunction(L, function);
    lua_rawset(L, -4);
  }
  lua_pop(L, 1);
}

void neapL__preload(lua_State *L) {
  neapL__state *state = neapL__state_get(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  add_preload(L, "neap.core", luaopen_neap_core);
  for (const neapL__builtin *module = neapL__builtins; module->name; module++)
    add_preload(L, module->name, load_builtin);
  lua_pop(L, 1);
  if (state) state->path = NULL; /* workers get them with the next job */
}

/* ---- For workers ------------------------------------------------------------------------------- */

struct neapL__preloads {
  size_t count;
  struct {
    const char *name; /* behind the last element */
    lua_CFunction function;
  } at[];
};

/* The key and the value are on top. */
static bool can_cross(lua_State *L) {
  if (lua_type(L, -2) != LUA_TSTRING || !lua_iscfunction(L, -1)) return false;
  if (!lua_getupvalue(L, -1, 1)) return true;
  lua_pop(L, 1);
  return false;
}

/* package.preload is on top. Sets *count; returns the size of their names. */
static size_t measure(lua_State *L, size_t *count) {
  size_t size = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (!can_cross(L)) continue;
    size += lua_rawlen(L, -2) + 1;
    ++*count;
  }
  return size;
}

static void fill(lua_State *L, neapL__preloads *self, char *names) {
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (!can_cross(L)) continue;
    self->at[self->count].name = strcpy(names, lua_tostring(L, -2));
    self->at[self->count++].function = lua_tocfunction(L, -1);
    names += lua_rawlen(L, -2) + 1;
  }
}

neapL__preloads *neapL__preloads_copy(lua_State *L) {
  neapL__preloads *self;
  size_t count = 0;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  size_t names = measure(L, &count), head = sizeof *self + count * sizeof self->at[0];
  self = malloc(head + names);
  if (self) {
    self->count = 0;
    fill(L, self, (char *)self + head);
  }
  lua_pop(L, 1);
  return self;
}

void neapL__preloads_apply(lua_State *L, const neapL__preloads *preloads) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  for (size_t i = 0; i < preloads->count; i++)
    add_preload(L, preloads->at[i].name, preloads->at[i].function);
  lua_pop(L, 1);
}
