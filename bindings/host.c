#include "neaplua.h"

#include "builtin.h"
#include "coroutine.h"
#include "error.h"
#include "failure.h"
#include "luv.h"
#include "module.h"
#include "report.h"
#include "run.h"

#include <math.h>

/* ---- Opening and closing -------------------------------------------------------------------- */

/* (err, task): upvalues options */
static int call_on_error(lua_State *L) {
  const neapL_options *options = lua_touserdata(L, lua_upvalueindex(1));
  neap_error error;
  neapL__describe_error(L, 1, 2, &error);
  options->on_error(options->data, L, &error);
  return 0;
}

/* (message, task): upvalue options */
static int call_on_warning(lua_State *L) {
  const neapL_options *options = lua_touserdata(L, lua_upvalueindex(1));
  options->on_warning(options->data, L, luaL_tolstring(L, 1, NULL));
  return 0;
}

/* The handlers keep a copy of the options. */
static void set_handlers(lua_State *L, neapL__state *state, const neapL_options *options) {
  neapL_options *copy = lua_newuserdatauv(L, sizeof *copy, 0);
  *copy = *options;
  if (options->on_error) {
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, call_on_error, 1);
    state->on_unobserved_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  if (options->on_warning) {
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, call_on_warning, 1);
    state->on_warning_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  lua_pop(L, 1);
}

/* (options) -> the module */
static int open_protected(lua_State *L) {
  const neapL_options *options = lua_touserdata(L, 1);
  neap_loop_options loop_options = {.uv = options->uv,
                                    .allocator = options->allocator,
                                    .allocator_data = options->allocator_data,
                                    .clock = options->clock,
                                    .threads = options->threads};
  neapL__state *state = neapL__state_open(L, &loop_options);
  set_handlers(L, state, options);
  neapL__preload(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "neap");
  lua_call(L, 1, 1);
  return 1;
}

int neapL_open(lua_State *L, const neapL_options *options) {
  static const neapL_options defaults = {0};
  if (!lua_checkstack(L, LUA_MINSTACK)) return UV_ENOMEM;
  if (neapL__state_get(L)) {
    lua_pushliteral(L, "neap is open in this Lua state");
    return NEAP_EMISUSE;
  }
  lua_pushcfunction(L, open_protected);
  lua_pushlightuserdata(L, (void *)(uintptr_t)(options ? options : &defaults));
  int status = lua_pcall(L, 1, 1, 0);
  if (status == LUA_OK) return 0;
  return status == LUA_ERRMEM ? UV_ENOMEM : NEAP_ESCRIPT;
}

static int close_protected(lua_State *L) {
  neapL__state_close(L, lua_touserdata(L, 1));
  return 0;
}

void neapL_close(lua_State *L) {
  neapL__state *state = neapL__state_get(L);
  if (!state || !lua_checkstack(L, LUA_MINSTACK)) return;
  lua_pushcfunction(L, close_protected);
  lua_pushlightuserdata(L, state);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
}

neap_loop *neapL_loop(lua_State *L) {
  const neapL__state *state = neapL__state_get(L);
  return state && !state->is_closed ? state->loop : NULL;
}

void neapL_preload(lua_State *L, const char *name, lua_CFunction open) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  if (lua_getfield(L, -1, name) == LUA_TNIL) {
    lua_pushcfunction(L, open);
    lua_setfield(L, -3, name);
  }
  lua_pop(L, 2);
}

/* ---- Running -------------------------------------------------------------------------------- */

/* The state, if its loop can be run here: nothing runs it. */
static neapL__state *idle_state(lua_State *L) {
  neapL__state *state = neapL__state_get(L);
  if (!state || state->is_closing || state->is_running || state->is_loopless) return NULL;
  if (neap__loop_is_running(state->loop)) return NULL;
  if (!lua_checkstack(L, LUA_MINSTACK) || neapL__luv_runs(L, state)) return NULL;
  return state;
}

typedef struct poll_call {
  neapL__state *state;
  double seconds;
  neap_progress progress;
} poll_call;

static int poll_protected(lua_State *L) {
  poll_call *call = lua_touserdata(L, 1);
  call->progress = neap_loop_poll(call->state->loop, call->seconds);
  return 0;
}

neap_progress neapL_poll(lua_State *L, double seconds) {
  neapL__state *state = idle_state(L);
  if (!state) return NEAP_IDLE;
  poll_call call = {state, seconds, NEAP_PROGRESS};
  state->runner = L;
  lua_pushcfunction(L, poll_protected);
  lua_pushlightuserdata(L, &call);
  int status = lua_pcall(L, 1, 0, 0);
  state->runner = state->aux;
  if (status != LUA_OK) neapL__recover(L, state);
  return call.progress;
}

double neapL_due(lua_State *L) {
  neap_loop *loop = neapL_loop(L);
  return loop ? neap_loop_due(loop) : HUGE_VAL;
}

int neapL_fd(lua_State *L) {
  const neap_loop *loop = neapL_loop(L);
  return loop ? neap_loop_fd(loop) : -1;
}

int neapL_wait(lua_State *L, neap_task *task, double seconds) {
  neapL__state *state = idle_state(L);
  if (!state || (neap_task_status(task) == NEAP_PENDING && task->loop != state->loop))
    return neap_task_status(task) == NEAP_PENDING ? NEAP_EMISUSE : 0;
  return neapL__wait_for(L, state, task, seconds);
}
