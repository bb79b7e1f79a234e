#include "call.h"

#include "../core/callback.h"
#include "../core/cancel.h"
#include "../core/error.h"
#include "await.h"
#include "coroutine.h"
#include "failure.h"
#include "neaplua.h"
#include "operations.h"
#include "report.h"
#include "value.h"

#include <stdlib.h>
#include <string.h>

/* A task of C for one with a Lua body, which hangs below it: an operation that ends, in a turn of its own, when
 * that has ended. It may outlive the Lua state. */
typedef struct lua_call {
  neap__op op;
  neap__wait wait; /* in the body's task */
  neap__runnable runnable;
  neap__list link;     /* in state->calls */
  neapL__state *state; /* NULL: it is closed */
  uint32_t pin;        /* of the Task; 0: none */
  bool has_body;       /* the body was started */
  char *texts;         /* of its error */
} lua_call;

static lua_call *of_task(const neap_task *task) {
  return (lua_call *)(void *)(uintptr_t)task;
}

/* ---- Ending --------------------------------------------------------------------------------- */

/* (call): its error is that of the failed body; it is observed by that. */
static int take_error(lua_State *L) {
  lua_call *self = lua_touserdata(L, 1);
  neap_error error;
  neapL__slot_push(L, &self->state->pins, self->pin);
  neapL__push_error(L, self->state, 2);
  neapL__describe_error(L, 3, 2, &error);
  neap__error_copy(&self->op.error, &error, &self->texts);
  return 0;
}

/* (call): nobody asks any more, so it is reported. */
static int report_error(lua_State *L) {
  lua_call *self = lua_touserdata(L, 1);
  neapL__slot_push(L, &self->state->pins, self->pin);
  neapL__failure *failure = neapL__failure_at(L, 2);
  if (failure && !failure->is_observed && neapL__push_failure(L, self->state, failure))
    neapL__report_later(L, self->state, failure);
  return 0;
}

static bool call_with(lua_call *self, lua_CFunction fn) {
  lua_State *L = self->state->runner;
  if (!lua_checkstack(L, LUA_MINSTACK)) return false;
  lua_pushcfunction(L, fn);
  lua_pushlightuserdata(L, self);
  bool is_ok = lua_pcall(L, 1, 0, 0) == LUA_OK;
  if (!is_ok) lua_pop(L, 1);
  return is_ok;
}

/* Its other reference is its own. */
static bool is_wanted(const lua_call *self) {
  return self->op.task.refs > 1;
}

/* The code with which it fails. */
static int make_error(lua_call *self) {
  call_with(self, is_wanted(self) ? take_error : report_error);
  return self->op.error.code ? self->op.error.code : NEAP_ESCRIPT;
}

static void settle(lua_call *self, const neap_task *body) {
  switch (body->status) {
  case NEAP_DONE: neap__op_settle(&self->op, 0); break;
  case NEAP_FAILED: neap__op_settle(&self->op, make_error(self)); break;
  default: neap__op_cancel(&self->op.task); return;
  }
  neap__op_release_native(&self->op);
}

static void run(neap__runnable *runnable) {
  lua_call *self = NEAP__CONTAINER(runnable, lua_call, runnable);
  if (!neap__op_is_orphan(&self->op)) settle(self, self->wait.target);
}

static void on_body_ended(neap__wait *wait) {
  lua_call *self = NEAP__CONTAINER(wait, lua_call, wait);
  neap__loop_ready(self->op.task.loop, &self->runnable);
}

/* The body hangs below it, so the request has reached that. */
static void reach(neap_task *task) {
  const lua_call *self = of_task(task);
  if (task->loop->is_closing || !self->has_body) neap__op_cancel(task);
}

static bool keeps_waiters(const neap_task *task) {
  return task->status == NEAP_PENDING;
}

static int start(neap__op *op) {
  neap__op_acquire_native(op, false);
  return 0;
}

static void abort_call(neap__op *op) {
  lua_call *self = of_task(&op->task);
  neap__wait_withdraw(&self->wait);
  neap__op_release_native(op);
}

static void release(neap__op *op) {
  lua_call *self = of_task(&op->task);
  if (self->state && self->pin) neapL__slot_free(self->state->aux, &self->state->pins, self->pin);
  neap__list_unlink(&self->link);
  free(self->texts);
}

static const neap__op_kind call_kind = {
    .task = {.name = "call of a Lua function",
             .has_below = true,
             .cancel = reach,
             .reach = reach,
             .keeps_waiters = keeps_waiters,
             .error = neap__op_error,
             .destroy = neap__op_destroy},
    .size = sizeof(lua_call),
    .start = start,
    .abort = abort_call,
    .release = release,
};

void neapL__close_calls(neapL__state *state) {
  while (!neap__list_is_empty(&state->calls)) {
    lua_call *self = NEAP__CONTAINER(state->calls.next, lua_call, link);
    neap__list_unlink(&self->link);
    self->state = NULL;
  }
}

/* ---- Starting ------------------------------------------------------------------------------- */

static int flat_result(lua_State *L, int status, lua_KContext context) {
  neapL__state *state = neapL__state_here(L);
  (void)status;
  (void)context;
  if (lua_gettop(L) == 1 && neapL__to_handle(L, state, 1)) return neapL__await(L, state, 1);
  return lua_gettop(L);
}

/* (fn, ...): calls it, and awaits the Task that an async function returns. */
static int call_flat(lua_State *L) {
  lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, flat_result);
  return flat_result(L, LUA_OK, 0);
}

typedef struct starting {
  neapL__state *state;
  lua_call *call;
} starting;

/* (starting, fn, ...): what it makes is in the call at once, so that it can be undone. */
static int start_protected(lua_State *L) {
  starting *self = lua_touserdata(L, 1);
  neapL__state *state = self->state;
  lua_call *call = self->call;
  neapL__slot_reserve(L, &state->pins);
  lua_pushlightuserdata(L, state);
  lua_pushcclosure(L, call_flat, 1);
  lua_replace(L, 1);
  neapL__start where = {&call->op.task.node, neap__current_owner(state->loop), false, false, false};
  call->has_body = true;
  neapL__start_task(L, state, 1, 2, where);
  neapL__handle *handle = lua_touserdata(L, -1);
  handle->task->flags |= NEAPL__IS_TOUCHED;
  lua_pushvalue(L, -1);
  call->pin = neapL__pin(L, state);
  call->wait.target = handle->task;
  if (handle->task->status == NEAP_PENDING)
    neap__wait_start(&call->wait, handle->task, on_body_ended);
  else
    on_body_ended(&call->wait);
  return 0;
}

static lua_call *new_call(neapL__state *state) {
  lua_call *call = (lua_call *)(void *)neap__op_new(state->loop, &call_kind);
  if (!call) return NULL;
  call->runnable.run = run;
  call->state = state;
  neap__list_init(&call->wait.link);
  neap__list_append(&state->calls, (neap__list_init(&call->link), &call->link));
  neap__op_start(&call->op);
  return call;
}

/* Out of memory before the body began. */
static void undo(lua_State *L, lua_call *call) {
  lua_pop(L, 1);
  call->has_body = false;
  if (call->op.task.status == NEAP_PENDING) {
    neap__op_settle(&call->op, UV_ENOMEM);
    neap__op_release_native(&call->op);
  }
  neap_task_unref(&call->op.task);
}

static neapL__state *open_state(lua_State *L) {
  neapL__state *state = neapL__state_get(L);
  return state && !state->is_closing && !state->is_loopless ? state : NULL;
}

int neapL_start(lua_State *L, int n, neap_task **task) {
  int first = lua_gettop(L) - n;
  neapL__state *state = open_state(L);
  lua_call *call = state && lua_checkstack(L, LUA_MINSTACK) ? new_call(state) : NULL;
  if (!call) {
    lua_settop(L, first - 1);
    return state ? UV_ENOMEM : NEAP_EMISUSE;
  }
  int status = LUA_OK;
  if (call->op.task.status == NEAP_PENDING) { /* not in a cancelled scope */
    starting self = {state, call};
    lua_pushcfunction(L, start_protected);
    lua_pushlightuserdata(L, &self);
    lua_rotate(L, first, 2);
    status = lua_pcall(L, n + 2, 0, 0);
  } else {
    lua_settop(L, first - 1);
  }
  if (status != LUA_OK) {
    undo(L, call);
    return UV_ENOMEM;
  }
  *task = &call->op.task;
  return 0;
}

/* ---- By name -------------------------------------------------------------------------------- */

/* Pushes the field of tables from the globals on that a dotted name says; nil if there is none. */
static void push_global(lua_State *L, const char *name) {
  lua_pushglobaltable(L);
  for (;;) {
    const char *dot = strchr(name, '.');
    if (!lua_istable(L, -1)) {
      lua_pop(L, 1);
      lua_pushnil(L);
      return;
    }
    lua_pushlstring(L, name, dot ? (size_t)(dot - name) : strlen(name));
    lua_gettable(L, -2);
    lua_remove(L, -2);
    if (!dot) return;
    name = dot + 1;
  }
}

/* Pushes the function of a module, which is required. */
static void push_of_module(lua_State *L, const char *name) {
  const char *dot = strrchr(name, '.');
  if (!dot) {
    luaL_error(L, "there is no global function '%s'", name);
    return;
  }
  lua_getglobal(L, "require");
  lua_pushlstring(L, name, (size_t)(dot - name));
  lua_call(L, 1, 1);
  if (lua_istable(L, -1))
    lua_getfield(L, -1, dot + 1);
  else
    lua_pushnil(L);
  lua_remove(L, -2);
  if (lua_isnil(L, -1)) luaL_error(L, "there is no function '%s' in its module", name);
}

static int named_result(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  return lua_gettop(L);
}

/* (name, ...): the body of a call by name, so what goes wrong with the name is an error of the task. */
static int call_named(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  push_global(L, name);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    push_of_module(L, name);
  }
  lua_replace(L, 1);
  lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, named_result);
  return named_result(L, LUA_OK, 0);
}

typedef struct calling {
  const char *name; /* or */
  neap_callback *callback;
  const neap_values *arguments;
} calling;

/* (calling) -> a function, its arguments */
static int push_call(lua_State *L) {
  const calling *self = lua_touserdata(L, 1);
  if (self->callback) {
    neapL__push_callback(L, self->callback);
    return 1 + neapL_push_values(L, self->arguments);
  }
  lua_pushcfunction(L, call_named);
  lua_pushstring(L, self->name);
  return 2 + neapL_push_values(L, self->arguments);
}

static int call_with_values(lua_State *L, calling self, neap_task **task) {
  int code = !open_state(L) ? NEAP_EMISUSE : self.arguments ? neap_values_error(self.arguments) : 0;
  if (code) return code;
  if (!lua_checkstack(L, LUA_MINSTACK)) return UV_ENOMEM;
  int top = lua_gettop(L);
  lua_pushcfunction(L, push_call);
  lua_pushlightuserdata(L, &self);
  int status = lua_pcall(L, 1, LUA_MULTRET, 0);
  if (status == LUA_OK) return neapL_start(L, lua_gettop(L) - top - 1, task);
  lua_settop(L, top);
  return status == LUA_ERRMEM ? UV_ENOMEM : NEAP_ETYPE; /* a callback of another Lua state */
}

int neapL_call(lua_State *L, const char *name, const neap_values *arguments, neap_task **task) {
  return call_with_values(L, (calling){.name = name, .arguments = arguments}, task);
}

int neapL_call_back(lua_State *L, neap_callback *callback, const neap_values *arguments,
                    neap_task **task) {
  const neapL__state *state = open_state(L);
  if (!state || callback->data != state) return NEAP_EMISUSE;
  return call_with_values(L, (calling){.callback = callback, .arguments = arguments}, task);
}

/* ---- Results -------------------------------------------------------------------------------- */

/* The call, if it is done and its Lua state open. */
static lua_call *done_call(neap_task *task) {
  lua_call *self = task->kind == &call_kind.task ? of_task(task) : NULL;
  return self && task->status == NEAP_DONE && self->state && self->pin ? self : NULL;
}

int neapL_push_results(lua_State *L, neap_task *task) {
  const lua_call *self = done_call(task);
  if (!self) return -1;
  luaL_checkstack(L, LUA_MINSTACK, "results");
  int index = lua_gettop(L) + 1;
  neapL__slot_push(L, &self->state->pins, self->pin);
  int n = neapL__push_results(L, self->state, index);
  lua_remove(L, index);
  return n;
}

typedef struct results_call {
  neap_task *task;
  neap_values *results;
} results_call;

static int read_results(lua_State *L) {
  const results_call *self = lua_touserdata(L, 1);
  int n = neapL_push_results(L, self->task);
  for (int i = 0; i < n; i++) neapL_to_values(L, 2 + i, self->results);
  return 0;
}

int neapL_results(lua_State *L, neap_task *task, neap_values *results) {
  if (!done_call(task)) return NEAP_EMISUSE;
  if (!lua_checkstack(L, LUA_MINSTACK)) return UV_ENOMEM;
  results_call self = {task, results};
  lua_pushcfunction(L, read_results);
  lua_pushlightuserdata(L, &self);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return neap_values_error(results);
  lua_pop(L, 1);
  neap__values_fail(results, UV_ENOMEM);
  return UV_ENOMEM;
}
