#include "report.h"

#include <stdio.h>

/* The default handlers speak to stderr, as C#'s runtime does (SPEC 163). */
static void print_two(const char *line, const char *rest) {
  lua_writestringerror("%s", line);   /* allowed: the default of on_unobserved and on_warning */
  lua_writestringerror("%s\n", rest); /* allowed: the same */
}

static void print_line(const char *line) {
  print_two(line, "");
}

void neapL__push_description(lua_State *L, int index) {
  index = lua_absindex(L, index);
  lua_getiuservalue(L, index, NEAPL__FAILURE_ERROR);
  luaL_tolstring(L, -1, NULL);
  lua_remove(L, -2);
  lua_getiuservalue(L, index, NEAPL__FAILURE_TRACEBACK);
  if (lua_isstring(L, -1)) {
    lua_pushliteral(L, "\n");
    lua_insert(L, -2);
    lua_concat(L, 3);
  } else {
    lua_pop(L, 1);
  }
}

/* (failure) */
static int print_failure(lua_State *L) {
  neapL__push_description(L, 1);
  lua_pushfstring(L, "neap: an error that nobody observed: %s", lua_tostring(L, -1));
  print_line(lua_tostring(L, -1));
  return 0;
}

/* Calls the function and its n arguments on top; an error in it is printed, and that is all. */
static void call_handler(lua_State *L, neapL__state *state, int n) {
  neap__routine *current = state->loop->current;
  state->loop->current = NULL;
  int status = lua_pcall(L, n, 0, 0);
  state->loop->current = current;
  if (status == LUA_OK) return;
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "(no message)";
  print_two("neap: a handler failed: ", text); /* raises nothing, also without memory */
  lua_pop(L, 1);
}

/* The run raises the first error that was lost at its root. */
static void keep_first_lost(lua_State *L, neapL__state *state, int failure) {
  const neapL__failure *self = lua_touserdata(L, failure);
  if (!self->is_root || state->first_lost_pin || !state->is_running) return;
  lua_getiuservalue(L, failure, NEAPL__FAILURE_ERROR);
  if (lua_isnil(L, -1)) { /* a slot cannot keep nil */
    lua_pop(L, 1);
    lua_pushliteral(L, "nil");
  }
  state->first_lost_pin = neapL__pin(L, state);
}

/* The failure is on top; pops it. */
static void report(lua_State *L, neapL__state *state) {
  int failure = lua_gettop(L);
  keep_first_lost(L, state, failure);
  luaL_checkstack(L, 6, "reporting an error");
  if (state->on_unobserved_ref == LUA_NOREF) {
    state->has_printed = true;
    lua_pushcfunction(L, print_failure);
    lua_pushvalue(L, failure);
    call_handler(L, state, 1);
  } else {
    neapL__push_ref(L, state->on_unobserved_ref);
    lua_getiuservalue(L, failure, NEAPL__FAILURE_ERROR);
    lua_getiuservalue(L, failure, NEAPL__FAILURE_TASK);
    call_handler(L, state, 2);
  }
  lua_settop(L, failure - 1);
}

static void report_list(lua_State *L, neapL__state *state, neap__list *list) {
  while (!neap__list_is_empty(list)) {
    neapL__failure *failure = NEAP__CONTAINER(list->next, neapL__failure, link);
    bool is_there = neapL__push_failure(L, state, failure);
    neapL__failure_observed(failure);
    if (is_there) report(L, state);
  }
}

static void run_reports(neap__runnable *runnable) {
  neapL__state *state = NEAP__CONTAINER(runnable, neapL__state, reporter);
  state->is_reporting = false;
  report_list(state->runner, state, &state->reports);
}

void neapL__open_reports(neapL__state *state) {
  state->reporter.run = run_reports;
}

void neapL__report_later(lua_State *L, neapL__state *state, neapL__failure *failure) {
  if (!failure->pin) {
    lua_pushvalue(L, -1);
    failure->pin = neapL__pin(L, state);
  }
  neap__list_unlink(&failure->link);
  neap__list_append(&state->reports, &failure->link);
  if (state->is_reporting || state->is_closing) return;
  state->is_reporting = true;
  neap__loop_ready(state->loop, &state->reporter);
}

void neapL__report_all(lua_State *L, neapL__state *state) {
  report_list(L, state, &state->reports);
  report_list(L, state, &state->loop->root.failures);
  report_list(L, state, &state->lost);
}

static void empty(neap__list *list) {
  while (!neap__list_is_empty(list)) neap__list_unlink(list->next);
}

void neapL__forget_reports(neapL__state *state) {
  empty(&state->reports);
  empty(&state->loop->root.failures);
  empty(&state->lost);
}

/* (err, task) */
static int print_error(lua_State *L) {
  const char *text = luaL_tolstring(L, 1, NULL);
  print_line(lua_pushfstring(L, "neap: an error that nobody observed: %s", text));
  return 0;
}

/* The error and its Task, or nil, are on top. [-2] */
static void report_with_task(lua_State *L, neapL__state *state) {
  if (state->on_unobserved_ref == LUA_NOREF) {
    state->has_printed = true;
    lua_pushcfunction(L, print_error);
  } else {
    neapL__push_ref(L, state->on_unobserved_ref);
  }
  lua_insert(L, -3);
  call_handler(L, state, 2);
}

void neapL__report_error(lua_State *L, neapL__state *state) {
  lua_pushnil(L);
  report_with_task(L, state);
}

void neapL__call_back(lua_State *L, neapL__state *state, int n) {
  neap__routine *current = state->loop->current;
  state->loop->current = NULL;
  int status = lua_pcall(L, n, 0, 0);
  state->loop->current = current;
  if (status != LUA_OK) neapL__report_error(L, state);
}

void neapL__warn(lua_State *L, neapL__state *state) {
  if (state->on_warning_ref == LUA_NOREF) {
    lua_pop(L, 1);
    print_line(lua_pushfstring(L, "neap: warning: %s", lua_tostring(L, -1)));
    lua_pop(L, 2);
    return;
  }
  neapL__push_ref(L, state->on_warning_ref);
  lua_insert(L, -3);
  call_handler(L, state, 2);
}

/* Sets the handler in *ref from argument 1, returns the one before. */
static int set_handler(lua_State *L, int *ref) {
  if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  if (*ref == LUA_NOREF)
    lua_pushnil(L);
  else
    neapL__push_ref(L, *ref);
  luaL_unref(L, LUA_REGISTRYINDEX, *ref);
  *ref = LUA_NOREF;
  if (lua_isnil(L, 1)) return 1;
  lua_pushvalue(L, 1);
  *ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 1;
}

/* neap.on_unobserved(fn | nil) -> the handler before */
static int on_unobserved(lua_State *L) {
  return set_handler(L, &neapL__state_here(L)->on_unobserved_ref);
}

/* neap.on_warning(fn | nil) -> the handler before */
static int on_warning(lua_State *L) {
  return set_handler(L, &neapL__state_here(L)->on_warning_ref);
}

/* core.warn(message): for the parts of neap that are written in Lua. */
static int warn(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  luaL_checkstring(L, 1);
  lua_settop(L, 1);
  neapL__task *task = neapL__current(state);
  if (task && task->co.thread)
    neapL__push_body_task(L, task);
  else
    lua_pushnil(L);
  neapL__warn(L, state);
  return 0;
}

/* core.report(err, task?): to on_unobserved */
static int report_lost(lua_State *L) {
  lua_settop(L, 2);
  report_with_task(L, neapL__state_here(L));
  return 0;
}

/* core.has_printed() -> whether the default handler of lost errors was called; forgets it. */
static int has_printed(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  lua_pushboolean(L, state->has_printed);
  state->has_printed = false;
  return 1;
}

const luaL_Reg neapL__report_functions[] = {
    {"on_unobserved", on_unobserved}, {"on_warning", on_warning},   {"warn", warn},
    {"report", report_lost},          {"has_printed", has_printed}, {NULL, NULL}};
