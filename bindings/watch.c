#include "watch.h"

#include "error.h"
#include "report.h"

#include <stdlib.h>

/* A watch is a userdata with a finalizer; user values: the Task, the position of its creation. The
 * weak table from the Task to its watch lets both be collected together. */
enum { WATCH_TASK = 1, WATCH_PLACE };

bool neapL__debug_default(void) {
  const char *value = getenv("NEAP_DEBUG");
  return value && *value && *value != '0';
}

void neapL__watch(lua_State *L, neapL__state *state) {
  if (!state->is_debugging) return;
  luaL_checkstack(L, 8, "watching a task");
  neapL__push_ref(L, state->watches_ref);
  lua_pushvalue(L, -2);
  lua_newuserdatauv(L, 0, 2);
  lua_pushvalue(L, -2);
  lua_setiuservalue(L, -2, WATCH_TASK);
  neapL__push_position(L, 1);
  lua_setiuservalue(L, -2, WATCH_PLACE);
  neapL__set_meta(L, -1, &state->watch_meta);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

/* Pushes the Task of the watch at `index` if nobody has ever looked at it. */
static bool push_unwatched(lua_State *L, int index) {
  lua_getiuservalue(L, index, WATCH_TASK);
  const neapL__handle *handle = lua_touserdata(L, -1);
  if (handle && handle->task && !(handle->task->flags & NEAPL__IS_TOUCHED)) return true;
  lua_pop(L, 1);
  return false;
}

static void warn(lua_State *L, neapL__state *state, int index) {
  if (!push_unwatched(L, index)) return;
  int task = lua_gettop(L);
  ((neapL__handle *)lua_touserdata(L, task))->task->flags |= NEAPL__IS_TOUCHED;
  lua_getiuservalue(L, index, WATCH_PLACE);
  lua_pushfstring(L,
                  "a task created at %s, never awaited: await it, or start it with neap.background",
                  lua_tostring(L, -1));
  lua_pushvalue(L, task);
  neapL__warn(L, state);
  lua_settop(L, task - 1);
}

static int watch_gc(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  if (!state->is_closing) warn(L, state, 1);
  return 0;
}

/* In the order of creation: by the ids of the tasks. */
void neapL__watch_report(lua_State *L, neapL__state *state) {
  int top = lua_gettop(L);
  if (!state->is_debugging) return;
  neapL__push_ref(L, state->watches_ref);
  for (;;) {
    uint64_t least = UINT64_MAX;
    lua_settop(L, top + 1);
    lua_pushnil(L); /* the watch of the oldest */
    for (lua_pushnil(L); lua_next(L, top + 1); lua_pop(L, 1)) {
      const neapL__handle *handle = lua_touserdata(L, -2);
      if (!handle->task) continue; /* collected: weak keys outlive their finalizer for a cycle */
      if ((handle->task->flags & NEAPL__IS_TOUCHED) || handle->task->id >= least) continue;
      least = handle->task->id;
      lua_pushvalue(L, -1);
      lua_replace(L, top + 2);
    }
    if (lua_isnil(L, top + 2)) break;
    warn(L, state, top + 2);
  }
  lua_settop(L, top);
}

static const luaL_Reg watch_metamethods[] = {{"__gc", watch_gc}, {NULL, NULL}};

void neapL__open_watches(lua_State *L, neapL__state *state) {
  neapL__class(L, &state->watch_meta, "neap.Watch", watch_metamethods, NULL);
  lua_pop(L, 1);
  state->is_debugging = neapL__debug_default();
}
