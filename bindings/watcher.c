#include "watcher.h"

#include "../core/ops/watch.h"
#include "object.h"
#include "options.h"

#include <string.h>

static const char class_name[] = "neap.Watcher";

static neap__watcher *check_watcher(lua_State *L) {
  return neapL__check_core(L, 1, &neapL__state_here(L)->watcher_meta, class_name);
}

/* ---- fs.watch ------------------------------------------------------------------------------ */

/* neap.fs.watch(path, {recursive =}?) -> Task<Watcher> */
static void read_watch(lua_State *L, neap__op *op) {
  neap__watch_op *self = (neap__watch_op *)op;
  neapL__has_options(L, 2);
  self->is_recursive = neapL__option_boolean(L, 2, "recursive", false);
  self->path = neapL__copy_path(L, op->task.loop, 1);
}

static int push_watcher(lua_State *L, neapL__state *state, int index) {
  neapL__object *self = neapL__push_object(L, &state->watcher_meta);
  self->core = neap__watch_take((neap__watch_op *)neapL__op_at(L, index));
  return 1;
}

static const neapL__row watch_rows[] = {
    {"fs.watch", &neap__watch_open_kind, read_watch, push_watcher, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- Watcher ------------------------------------------------------------------------------- */

static void use_watcher(lua_State *L, neap__op *op) {
  neap__watcher *watcher = check_watcher(L);
  watcher->refs++;
  ((neap__watch_op *)op)->watcher = watcher;
}

/* watcher:next() -> Task<event | nil>: nil once it is closed */
static void read_next(lua_State *L, neap__op *op) {
  neapL__check_turn(L, check_watcher(L)->waiter, "next");
  use_watcher(L, op);
}

static void push_path(lua_State *L, const char *path, const neap__watch_event *event) {
  size_t length = strlen(path);
  bool has_slash = path[length - 1] == '/';
  if (event->is_self)
    lua_pushstring(L, path);
  else
    lua_pushfstring(L, has_slash ? "%s%s" : "%s/%s", path, event->name);
}

static int push_event(lua_State *L, neapL__state *state, int index) {
  const neap__watch_op *self = (const neap__watch_op *)neapL__op_at(L, index);
  (void)state;
  if (self->is_lost) {
    lua_createtable(L, 0, 1);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "overflow");
  } else if (self->event) {
    lua_createtable(L, 0, 3);
    lua_pushstring(L, self->event->name);
    lua_setfield(L, -2, "name");
    push_path(L, self->watcher->path, self->event);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, self->event->is_change ? "change" : "rename");
    lua_setfield(L, -2, "type");
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static const neapL__row rows[] = {
    {"watcher:next", &neap__watch_next_kind, read_next, push_event, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static const neapL__row close_row = {"watcher:close", &neap__watch_close_kind, use_watcher, NULL,
                                     NULL};

static int watcher_call(lua_State *L) {
  lua_settop(L, 1);
  return neapL__call_and_await(L, neapL__state_here(L), &rows[0]);
}

static int watcher_close(lua_State *L) {
  neap__watcher_close(check_watcher(L));
  lua_settop(L, 4);
  neapL__start_operation(L, neapL__state_here(L), &close_row);
  return 1;
}

static int watcher_close_and_wait(lua_State *L) {
  return neapL__close_and_wait(L, watcher_close);
}

static int watcher_gc(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap__watcher *watcher = self->core;
  self->core = NULL;
  if (watcher) neap__watcher_drop(watcher);
  return 0;
}

static int watcher_tostring(lua_State *L) {
  const neap__watcher *watcher = check_watcher(L);
  const char *closed = watcher->is_closing ? ": closed" : "";
  lua_pushfstring(L, "%s '%s'%s", class_name, watcher->path, closed);
  return 1;
}

static const luaL_Reg metamethods[] = {{"__gc", watcher_gc},
                                       {"__call", watcher_call},
                                       {"__close", watcher_close_and_wait},
                                       {"__tostring", watcher_tostring},
                                       {NULL, NULL}};
static const luaL_Reg methods[] = {{"close", watcher_close}, {NULL, NULL}};

void neapL__open_watchers(lua_State *L, neapL__state *state) {
  neapL__object_class(L, &state->watcher_meta, class_name, metamethods, methods, rows);
}

void neapL__register_watch(lua_State *L) {
  neapL__register_rows(L, watch_rows);
}
