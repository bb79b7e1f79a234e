#include "transfer.h"

#include "error.h"
#include "message.h"

#include <stdlib.h>
#include <string.h>

/* ---- Memory of messages ---------------------------------------------------------------------- */

void *neapL__resize_block(neapL__state *state, void *block, size_t size) {
  return neap__memory_must_fail(&state->loop->memory) ? NULL : realloc(block, size);
}

static void release_shared(const struct neapL__shared *shared) {
  if (!shared->reference) return;
  if (shared->crossing)
    shared->crossing->release(shared->reference);
  else
    neapL__code_release(shared->reference);
}

void neapL__message_deinit(neapL__message *message) {
  for (uint32_t i = 0; i < message->shared_count; i++) release_shared(&message->shared[i]);
  neapL__scratch_free(message->scratch);
  free(message->shared);
  free(message->data);
  *message = (neapL__message){0};
}

static bool copy_shared(neapL__state *state, const neapL__message *message, neapL__message *copy) {
  if (message->shared_count == 0) return true;
  copy->shared = neapL__resize_block(state, NULL, message->shared_count * sizeof *copy->shared);
  if (!copy->shared) return false;
  copy->shared_capacity = message->shared_count;
  for (uint32_t i = 0; i < message->shared_count; i++) {
    copy->shared[i] = message->shared[i];
    neapL__code_ref(copy->shared[i].reference);
    copy->shared_count++;
  }
  return true;
}

bool neapL__message_copy(neapL__state *state, const neapL__message *message, neapL__message *copy) {
  *copy = *message;
  copy->capacity = copy->size;
  copy->shared = NULL;
  copy->shared_count = copy->shared_capacity = 0;
  copy->data = neapL__resize_block(state, NULL, copy->size);
  if (copy->data && copy_shared(state, message, copy)) {
    memcpy(copy->data, message->data, copy->size);
    return true;
  }
  neapL__message_deinit(copy);
  return false;
}

/* ---- Userdata that cross --------------------------------------------------------------------- */

const char neapL__crossing_key = 'x';

void neapL__set_crossing(lua_State *L, const neapL__crossing *crossing) {
  lua_pushlightuserdata(L, (void *)(uintptr_t)crossing);
  lua_rawsetp(L, -2, &neapL__crossing_key);
}

/* ---- Classes of tables that cross ------------------------------------------------------------ */

/* core.crossing_class(module, metatable, before) */
static int crossing_class(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  neapL__push_ref(L, state->classes_ref);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_rawset(L, -3);
  lua_pushvalue(L, 2);
  lua_createtable(L, 2, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 1);
  lua_pushvalue(L, 3);
  lua_rawseti(L, -2, 2);
  lua_rawset(L, -3);
  return 0;
}

static bool push_known_class(lua_State *L, const neapL__state *state, const char *module) {
  neapL__push_ref(L, state->classes_ref);
  bool is_known = lua_getfield(L, -1, module) == LUA_TTABLE;
  lua_remove(L, -2);
  if (!is_known) lua_pop(L, 1);
  return is_known;
}

void neapL__push_class(lua_State *L, neapL__state *state, const char *module) {
  if (push_known_class(L, state, module)) return;
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  lua_call(L, 1, 0);
  if (!push_known_class(L, state, module))
    luaL_error(L, "the module '%s' has no class that crosses", module);
}

/* ---- core.transfer --------------------------------------------------------------------------- */

static int message_gc(lua_State *L) {
  neapL__message_deinit(lua_touserdata(L, 1));
  return 0;
}

/* core.transfer(...) -> copies */
static int transfer(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__check_alive(L, state);
  int last = lua_gettop(L);
  neapL__message *message = lua_newuserdatauv(L, sizeof *message, 0);
  *message = (neapL__message){0};
  neapL__set_meta(L, -1, &state->message_meta);
  if (neapL__message_write(L, state, message, 1, last, "argument", 1)) {
    message->lends = false;
    return neapL__message_read(L, state, message, 0);
  }
  neapL__message_deinit(message);
  luaL_where(L, 1);
  lua_insert(L, -2);
  lua_concat(L, 2);
  return lua_error(L);
}

const luaL_Reg neapL__transfer_functions[] = {
    {"transfer", transfer}, {"crossing_class", crossing_class}, {NULL, NULL}};

/* ---- Opening and closing --------------------------------------------------------------------- */

static const luaL_Reg message_metamethods[] = {{"__gc", message_gc}, {NULL, NULL}};

void neapL__open_transfer(lua_State *L, neapL__state *state) {
  neapL__class(L, &state->message_meta, "neap.Message", message_metamethods, NULL);
  lua_pop(L, 1);
  neapL__open_code(L, state);
}

void neapL__close_transfer(neapL__state *state) {
  neapL__close_code(state);
  neapL__scratch_free(state->scratch);
  state->scratch = NULL;
}
