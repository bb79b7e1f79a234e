#include "task.h"

#include "../core/cancel.h"
#include "../core/combine.h"
#include "await.h"
#include "coroutine.h"
#include "error.h"
#include "locals.h"
#include "operations.h"
#include "report.h"
#include "run.h"

#include <string.h>

enum { MAX_RESULT_DEPTH = 1000 };

/* ---- Conversions --------------------------------------------------------------------------- */

neapL__handle *neapL__to_handle(lua_State *L, neapL__state *state, int index) {
  void *handle = lua_touserdata(L, index);
  if (!handle || !lua_getmetatable(L, index)) return NULL;
  const void *meta = lua_topointer(L, -1);
  lua_pop(L, 1);
  return meta == state->task_meta.id || meta == state->handle_meta.id ? handle : NULL;
}

void neapL__misuse_finalized(lua_State *L) {
  neapL__misuse(L, "the task was finalized: it was let go of before the one who uses it");
}

neapL__handle *neapL__check_handle(lua_State *L, int index) {
  neapL__handle *handle = neapL__to_handle(L, neapL__state_here(L), index);
  if (!handle) luaL_typeerror(L, index, "neap.Task");
  if (!handle->task) neapL__misuse_finalized(L);
  return handle;
}

neapL__handle *neapL__push_handle(lua_State *L, neapL__state *state, const neapL__row *row,
                                  int user_values) {
  neapL__handle *handle = lua_newuserdatauv(L, sizeof *handle, user_values);
  *handle = (neapL__handle){NULL, row};
  neapL__set_meta(L, -1, &state->handle_meta);
  return handle;
}

void *neapL__new_embedded(lua_State *L, neapL__state *state, size_t size, int user_values) {
  void *memory = lua_newuserdatauv(L, size, user_values);
  neapL__set_meta(L, -1, &state->task_meta);
  return memory;
}

static int handle_gc(lua_State *L) {
  neapL__handle *handle = lua_touserdata(L, 1);
  neap_task *task = handle->task;
  handle->task = NULL;
  if (task) neap_task_unref(task);
  return 0;
}

/* ---- Outcomes ------------------------------------------------------------------------------ */

void neapL__set_results(lua_State *L, int index, neap_task *task, int n) {
  if (n == 0) return;
  index = lua_absindex(L, index);
  if (n > 1) neapL__pack(L, n);
  task->flags |= n > 1 ? NEAPL__HAS_PACKED : NEAPL__HAS_ONE;
  lua_setiuservalue(L, index, 1);
}

void neapL__pack(lua_State *L, int n) {
  int first = lua_gettop(L) - n + 1;
  lua_createtable(L, n, 1);
  lua_insert(L, first);
  for (int i = n; i > 0; i--) lua_rawseti(L, first, i);
  lua_pushinteger(L, n);
  lua_setfield(L, first, "n");
}

int neapL__unpack(lua_State *L) {
  int table = lua_gettop(L);
  lua_getfield(L, table, "n");
  int n = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  luaL_checkstack(L, n, "too many values");
  for (int i = 1; i <= n; i++) lua_rawgeti(L, table, i);
  lua_remove(L, table);
  return n;
}

/* Results of combined tasks are made of those of their elements: on the C stack, so not too deep. */
static void check_result_depth(lua_State *L, neapL__state *state) {
  if (state->result_depth < MAX_RESULT_DEPTH) return;
  state->result_depth = 0;
  neapL__push_new_error(L, state, "EDEPTH", "the results of combined tasks are nested too deeply");
  lua_error(L);
}

/* An operation hands its result over once; from then on the handle keeps it. */
static int push_operation_results(lua_State *L, neapL__state *state, int index) {
  const neapL__handle *handle = lua_touserdata(L, index);
  index = lua_absindex(L, index);
  if (!handle->row || !handle->row->push) return 0;
  int base = lua_gettop(L);
  check_result_depth(L, state);
  luaL_checkstack(L, LUA_MINSTACK, "combined tasks");
  state->result_depth++;
  int n = handle->row->push(L, state, index);
  state->result_depth--;
  while (lua_gettop(L) > base + n) lua_remove(L, base + 1); /* what it worked with */
  luaL_checkstack(L, n + LUA_MINSTACK, "too many values");
  for (int i = 0; i < n; i++) lua_pushvalue(L, -n);
  neapL__set_results(L, index, handle->task, n);
  return n;
}

int neapL__push_results(lua_State *L, neapL__state *state, int index) {
  const neapL__handle *handle = lua_touserdata(L, index);
  int flags = handle->task->flags;
  int n = flags & NEAPL__IS_ITEM ? 1 : 0;
  if (n) lua_pushboolean(L, 1);
  if (flags & NEAPL__HAS_ONE) {
    lua_getiuservalue(L, index, 1);
    return n + 1;
  }
  if (flags & NEAPL__HAS_PACKED) {
    lua_getiuservalue(L, index, 1);
    return n + neapL__unpack(L);
  }
  return n + push_operation_results(L, state, index);
}

/* Replaces the combined Task on top by the element that decided; false if it is none, or has decided
 * by itself. So chains of any length are followed without recursion. */
static bool descend(lua_State *L) {
  const neapL__handle *handle = lua_touserdata(L, -1);
  const neap_task *task = handle->task;
  const neap__combine *combine = neap__task_combine(task);
  bool has_own_outcome = task->was_reached || task->node.is_requested;
  if (!combine || combine->has_timed_out || has_own_outcome) return false;
  if (task->status == NEAP_DONE || task->flags & (NEAPL__HAS_ONE | NEAPL__HAS_ERROR)) return false;
  neapL__push_element(L, -1, combine->decisive);
  lua_remove(L, -2);
  return true;
}

static void push_origin(lua_State *L, int index) {
  lua_pushvalue(L, index);
  while (descend(L)) {
  }
}

void neapL__push_reason(lua_State *L, int index) {
  push_origin(L, index);
  const neapL__handle *handle = lua_touserdata(L, -1);
  const neap__cause *cause = handle->task->node.cause; /* of operations and tasks of C */
  if (handle->task->flags & NEAPL__HAS_ONE)
    lua_getiuservalue(L, -1, 1);
  else if (cause && cause->host)
    neapL__slot_push(L, &neapL__state_get(L)->pins, cause->host);
  else
    lua_pushnil(L);
  lua_remove(L, -2);
}

neapL__failure *neapL__failure_at(lua_State *L, int index) {
  neapL__failure *failure = NULL;
  luaL_checkstack(L, 4, "combined tasks");
  push_origin(L, index);
  const neapL__handle *handle = lua_touserdata(L, -1);
  if (handle->task->flags & NEAPL__HAS_FAILURE) {
    lua_getiuservalue(L, -1, 1);
    failure = lua_touserdata(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return failure;
}

void neapL__observe(lua_State *L, int index) {
  neapL__handle *handle = lua_touserdata(L, index);
  neapL__failure *failure = neapL__failure_at(L, index);
  handle->task->flags |= NEAPL__IS_OBSERVED | NEAPL__IS_TOUCHED;
  if (failure && !failure->is_observed) neapL__failure_observed(failure);
}

/* The error of a failed operation is made when it is asked for, and then kept. */
static void push_operation_error(lua_State *L, neapL__state *state, int index) {
  neapL__handle *handle = lua_touserdata(L, index);
  neapL__push_operation_error(L, state, handle);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, index, 1);
  handle->task->flags |= NEAPL__HAS_ERROR;
}

void neapL__push_error(lua_State *L, neapL__state *state, int index) {
  neapL__observe(L, index);
  push_origin(L, index);
  int origin = lua_gettop(L);
  const neapL__handle *handle = lua_touserdata(L, origin);
  if (handle->task->flags & NEAPL__HAS_FAILURE) {
    lua_getiuservalue(L, origin, 1);
    lua_getiuservalue(L, -1, 1);
    lua_remove(L, -2);
  } else if (handle->task->flags & NEAPL__HAS_ERROR) {
    lua_getiuservalue(L, origin, 1);
  } else {
    push_operation_error(L, state, origin);
  }
  lua_remove(L, origin);
}

/* ---- Methods: looking ---------------------------------------------------------------------- */

static const char *const status_names[] = {"pending", "done", "failed", "cancelled"};

static int task_status(lua_State *L) {
  lua_pushstring(L, status_names[neap_task_status(neapL__check_handle(L, 1)->task)]);
  return 1;
}

static int task_is_done(lua_State *L) {
  lua_pushboolean(L, neap_task_status(neapL__check_handle(L, 1)->task) != NEAP_PENDING);
  return 1;
}

static int task_id(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)neap_task_id(neapL__check_handle(L, 1)->task));
  return 1;
}

static int task_cancel_requested(lua_State *L) {
  lua_pushboolean(L, neap_task_cancel_requested(neapL__check_handle(L, 1)->task));
  return 1;
}

/* t:result() -> ...: its results, or raises its error. Never waits. */
static int task_result(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__handle *handle = neapL__check_handle(L, 1);
  handle->task->flags |= NEAPL__IS_TOUCHED;
  state->result_depth = 0;
  switch (neap_task_status(handle->task)) {
  case NEAP_DONE: return neapL__push_results(L, state, 1);
  case NEAP_FAILED: neapL__push_error(L, state, 1); break;
  case NEAP_CANCELLED: neapL__push_cancelled_error(L, state, 1); break;
  default: return neapL__misuse(L, "the task has not ended; await it, or ask is_done() first");
  }
  return lua_error(L);
}

/* t:error() -> its error, or nil if it has not failed */
static int task_error(lua_State *L) {
  neapL__handle *handle = neapL__check_handle(L, 1);
  handle->task->flags |= NEAPL__IS_TOUCHED;
  if (neap_task_status(handle->task) == NEAP_FAILED)
    neapL__push_error(L, neapL__state_here(L), 1);
  else
    lua_pushnil(L);
  return 1;
}

/* t:errors() -> list: of a combined task those of all elements, in their order */
static int task_errors(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__handle *handle = neapL__check_handle(L, 1);
  neap__combine *combine = neap__task_combine(handle->task);
  lua_Integer n = 0;
  handle->task->flags |= NEAPL__IS_TOUCHED;
  lua_newtable(L);
  if (neap_task_status(handle->task) != NEAP_FAILED) return 1;
  if (!combine || combine->has_timed_out) {
    neapL__push_error(L, state, 1);
    lua_rawseti(L, -2, 1);
    return 1;
  }
  for (size_t i = 0; i < combine->count; i++) {
    neapL__push_element(L, 1, i);
    const neapL__handle *element = lua_touserdata(L, -1);
    if (neap_task_status(element->task) == NEAP_FAILED) {
      neapL__push_error(L, state, -1);
      lua_rawseti(L, -3, ++n);
    }
    lua_pop(L, 1);
  }
  return 1;
}

/* t:traceback() -> the message, the stack where it was raised, a line for each await it passed;
 * nil if it has not failed */
static int task_traceback(lua_State *L) {
  neapL__check_handle(L, 1);
  const neapL__failure *failure = neapL__failure_at(L, 1);
  if (!failure || !neapL__push_failure(L, neapL__state_here(L), failure)) {
    lua_pushnil(L);
    return 1;
  }
  neapL__push_description(L, -1);
  return 1;
}

/* t:name() -> string | nil; t:name(s) sets it and returns the task */
static int task_name(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__check_handle(L, 1);
  if (lua_isnone(L, 2)) {
    neapL__push_name(L, state, 1);
    return 1;
  }
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  neapL__push_ref(L, state->names_ref);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_rawset(L, -3);
  lua_settop(L, 1);
  return 1;
}

void neapL__push_name(lua_State *L, neapL__state *state, int index) {
  index = lua_absindex(L, index);
  neapL__push_ref(L, state->names_ref);
  lua_pushvalue(L, index);
  lua_rawget(L, -2);
  lua_remove(L, -2);
}

static int task_tostring(lua_State *L) {
  const neapL__handle *handle = neapL__to_handle(L, neapL__state_here(L), 1);
  if (!handle || !handle->task) {
    lua_pushliteral(L, "neap.Task (finalized)");
    return 1;
  }
  neapL__push_name(L, neapL__state_here(L), 1);
  const char *name = lua_tostring(L, -1);
  lua_pushfstring(L, "neap.Task %I%s%s: %s", (LUAI_UACINT)neap_task_id(handle->task),
                  name ? " " : "", name ? name : "", status_names[neap_task_status(handle->task)]);
  return 1;
}

/* ---- Methods: cancelling ------------------------------------------------------------------- */

/* A cause that carries the value at `index`; NULL for nil. */
neap__cause *neapL__new_cause(lua_State *L, neapL__state *state, int index) {
  if (lua_isnoneornil(L, index)) return NULL;
  lua_pushvalue(L, index);
  uint32_t pin = neapL__pin(L, state);
  neap__cause *cause = neap__memory_new(&state->loop->memory, sizeof *cause);
  if (!cause) {
    neapL__slot_free(L, &state->pins, pin);
    neapL__raise_memory(L);
    return NULL;
  }
  *cause = (neap__cause){.refs = 1, .host = pin};
  return cause;
}

static bool cancel_body(lua_State *L, neapL__state *state, neap_task *task) {
  if (task->node.is_requested) return false;
  return neap__node_cancel(&task->node, neapL__new_cause(L, state, 2));
}

static void keep_reason(lua_State *L, neap_task *task) {
  if (task->status != NEAP_CANCELLED || lua_isnoneornil(L, 2)) return;
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 1, 1);
  task->flags |= NEAPL__HAS_ONE;
}

/* What on_cancel raises is raised to the canceller, after the task was cancelled. */
static bool cancel_completion(lua_State *L, neap_task *task) {
  int status = LUA_OK;
  if (task->node.is_requested) return false;
  task->node.is_requested = true;
  lua_getiuservalue(L, 1, 1);
  if (!lua_isnil(L, -1)) {
    lua_pushvalue(L, 2);
    status = lua_pcall(L, 1, 0, 0);
  }
  if (task->status == NEAP_PENDING) {
    task->status = NEAP_CANCELLED;
    keep_reason(L, task);
    task->status = NEAP_PENDING;
    neap__task_settle(task, NEAP_CANCELLED);
  }
  if (status != LUA_OK) lua_error(L);
  return true;
}

/* t:cancel(reason?) -> whether this call has requested it */
static int task_cancel(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap_task *task = neapL__check_handle(L, 1)->task;
  bool is_first = false;
  lua_settop(L, 2);
  task->flags |= NEAPL__IS_TOUCHED;
  if (task->status == NEAP_PENDING && !state->is_closed) {
    if (task->kind->has_body || task->kind->has_below) {
      is_first = cancel_body(L, state, task);
    } else if (task->flags & NEAPL__IS_COMPLETION) {
      is_first = cancel_completion(L, task);
    } else {
      task->node.is_requested = true;
      is_first = neap_task_cancel(task);
      keep_reason(L, task);
    }
  }
  lua_pushboolean(L, is_first);
  return 1;
}

/* ---- Methods: callbacks --------------------------------------------------------------------- */

/* Waits for a task on behalf of a Lua function. Pinned until it has run. User values: fn, Task,
 * locals. */
typedef struct callback {
  neap__wait wait;
  neap__runnable runnable;
  neapL__state *state;
  uint32_t pin;
} callback;

/* (fn, Task, locals): the function runs as a task in the background, so it may await. */
static int start_callback(lua_State *L) {
  neapL__start_background(L, neapL__state_get(L), 1);
  return 0;
}

static void run_callback(neap__runnable *runnable) {
  callback *self = NEAP__CONTAINER(runnable, callback, runnable);
  neapL__state *state = self->state;
  lua_State *L = state->runner;
  lua_pushcfunction(L, start_callback);
  neapL__slot_push(L, &state->pins, self->pin);
  lua_getiuservalue(L, -1, 1);
  lua_getiuservalue(L, -2, 2);
  lua_getiuservalue(L, -3, 3);
  lua_remove(L, -4);
  neapL__slot_free(L, &state->pins, self->pin);
  neapL__call_starter(L, state, 3);
}

static void on_settled(neap__wait *wait) {
  callback *self = NEAP__CONTAINER(wait, callback, wait);
  neap__loop_ready(self->state->loop, &self->runnable);
}

/* t:on_done(fn): fn(t) runs as a background task, in a turn after the one in which t ends */
static int task_on_done(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap_task *task = neapL__check_handle(L, 1)->task;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  neapL__check_open(L, state);
  lua_settop(L, 2);
  callback *self = lua_newuserdatauv(L, sizeof *self, 3);
  *self = (callback){.runnable = {NULL, run_callback}, .state = state};
  neap__list_init(&self->wait.link);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 3, 1);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 3, 2);
  neapL__push_locals(L, state);
  lua_setiuservalue(L, 3, 3);
  self->pin = neapL__pin(L, state);
  neapL__observe(L, 1);
  if (task->status == NEAP_PENDING)
    neap__wait_start(&self->wait, task, on_settled);
  else
    on_settled(&self->wait);
  lua_settop(L, 1);
  return 1;
}

/* ---- Completed tasks and completions -------------------------------------------------------- */

static void cancel_from_core(neap_task *task) {
  neap__task_settle(task, NEAP_CANCELLED);
}

static const neap__task_kind completion_kind = {.name = "completion", .cancel = cancel_from_core};

typedef struct completion_task {
  neapL__handle handle;
  neap_task task;
} completion_task;

static neap_task *push_completion_task(lua_State *L, neapL__state *state) {
  completion_task *self = neapL__new_embedded(L, state, sizeof *self, 1);
  self->handle = (neapL__handle){&self->task, NULL};
  neap__task_init(&self->task, state->loop, &completion_kind);
  neap__loop_unanchor(state->loop);
  self->task.flags = NEAPL__IS_COMPLETION;
  return &self->task;
}

/* The outcome setters: the Task is at `index`, the values are on top. */

static void resolve(lua_State *L, int index, neap_task *task, int n) {
  if (n == 0) {
    lua_pushnil(L); /* forget on_cancel */
    lua_setiuservalue(L, index, 1);
  }
  neapL__set_results(L, index, task, n);
  neap__task_settle(task, NEAP_DONE);
}

/* The error is on top. [-1] */
static void give_failure(lua_State *L, neapL__state *state, int index, neap_task *task) {
  neapL__failure *failure = neapL__make_failure(L, state, neapL__current(state));
  lua_pushvalue(L, index);
  lua_setiuservalue(L, -2, NEAPL__FAILURE_TASK);
  lua_setiuservalue(L, index, 1);
  neap__list_unlink(&failure->link);
  if (!(task->flags & NEAPL__IS_OBSERVED)) neap__list_append(&state->lost, &failure->link);
  task->flags |= NEAPL__HAS_FAILURE;
}

static void reject(lua_State *L, int index, neap_task *task) {
  give_failure(L, neapL__state_here(L), index, task);
  neap__task_settle(task, NEAP_FAILED);
}

/* (Task, core task, error) */
static int protected_failure(lua_State *L) {
  give_failure(L, neapL__state_get(L), 1, lua_touserdata(L, 2));
  return 0;
}

void neapL__set_failure(lua_State *L, neapL__state *state, int index, neap_task *task) {
  (void)state;
  index = lua_absindex(L, index);
  lua_pushcfunction(L, protected_failure);
  lua_pushvalue(L, index);
  lua_pushlightuserdata(L, task);
  lua_pushvalue(L, -4);
  if (lua_pcall(L, 3, 0, 0) == LUA_OK) {
    lua_pop(L, 1);
    return;
  }
  lua_pop(L, 1);
  task->flags |= NEAPL__HAS_ERROR;
  lua_setiuservalue(L, index, 1);
}

static void cancel_with_reason(lua_State *L, int index, neap_task *task) {
  if (!lua_isnil(L, -1)) task->flags |= NEAPL__HAS_ONE;
  lua_setiuservalue(L, index, 1);
  task->node.is_requested = true;
  neap__task_settle(task, NEAP_CANCELLED);
}

neap_task *neapL__push_completed(lua_State *L, neapL__state *state, int n) {
  neap_task *task = push_completion_task(L, state);
  if (n > 0) {
    lua_insert(L, -(n + 1));
    neapL__set_results(L, -(n + 1), task, n);
  }
  neap__task_settle(task, NEAP_DONE);
  return task;
}

void neapL__push_failed(lua_State *L, neapL__state *state) {
  neap_task *task = push_completion_task(L, state);
  lua_insert(L, -2);
  give_failure(L, state, lua_gettop(L) - 1, task);
  neap__task_settle(task, NEAP_FAILED);
}

void neapL__push_failed_operation(lua_State *L, neapL__state *state) {
  neap_task *task = push_completion_task(L, state);
  lua_insert(L, -2);
  task->flags |= NEAPL__HAS_ERROR;
  lua_setiuservalue(L, -2, 1);
  neap__task_settle(task, NEAP_FAILED);
}

static neap_task *push_new_completed(lua_State *L, int *n) {
  neapL__state *state = neapL__state_here(L);
  *n = lua_gettop(L);
  neapL__check_alive(L, state);
  neap_task *task = push_completion_task(L, state);
  lua_insert(L, 1);
  return task;
}

/* neap.completed(...) -> Task that is done */
static int completed(lua_State *L) {
  int n;
  neap_task *task = push_new_completed(L, &n);
  resolve(L, 1, task, n);
  lua_settop(L, 1);
  return 1;
}

/* neap.failed(err) -> Task that has failed */
static int failed(lua_State *L) {
  int n;
  lua_settop(L, 1);
  neap_task *task = push_new_completed(L, &n);
  reject(L, 1, task);
  return 1;
}

/* neap.cancelled(reason) -> Task that was cancelled */
static int cancelled(lua_State *L) {
  int n;
  lua_settop(L, 1);
  neap_task *task = push_new_completed(L, &n);
  cancel_with_reason(L, 1, task);
  return 1;
}

void neapL__push_cancelled_here(lua_State *L, neapL__state *state) {
  neap_task *task = push_completion_task(L, state);
  task->was_reached = true;
  neap__task_settle(task, NEAP_CANCELLED);
}

/* core.cancelled_here() -> Task */
static int cancelled_here(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__check_alive(L, state);
  neapL__push_cancelled_here(L, state);
  return 1;
}

/* neap.completion(on_cancel?) -> c */
static int completion(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__check_alive(L, state);
  if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_newuserdatauv(L, 0, 1);
  push_completion_task(L, state);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  lua_setiuservalue(L, 2, 1);
  neapL__set_meta(L, 2, &state->completion_meta);
  return 1;
}

/* Puts the Task of the completion at 1 in its place; NULL if it has ended already. */
static neap_task *check_completion(lua_State *L, bool tries) {
  neapL__state *state = neapL__state_here(L);
  neapL__check_alive(L, state);
  neapL__check_object(L, 1, &state->completion_meta, "neap.Completion");
  lua_getiuservalue(L, 1, 1);
  lua_replace(L, 1);
  neap_task *task = ((neapL__handle *)lua_touserdata(L, 1))->task;
  if (task->status == NEAP_PENDING) return task;
  if (!tries)
    neapL__misuse(L, "the completion is %s already; use the try_ form where that may happen",
                  status_names[task->status]);
  return NULL;
}

static int complete_done(lua_State *L, bool tries) {
  neap_task *task = check_completion(L, tries);
  if (task) resolve(L, 1, task, lua_gettop(L) - 1);
  lua_pushboolean(L, task != NULL);
  return 1;
}

static int complete_failed(lua_State *L, bool tries) {
  neap_task *task = check_completion(L, tries);
  lua_settop(L, 2);
  if (task) reject(L, 1, task);
  lua_pushboolean(L, task != NULL);
  return 1;
}

static int complete_cancelled(lua_State *L, bool tries) {
  neap_task *task = check_completion(L, tries);
  lua_settop(L, 2);
  if (task) cancel_with_reason(L, 1, task);
  lua_pushboolean(L, task != NULL);
  return 1;
}

static int completion_resolve(lua_State *L) {
  return complete_done(L, false);
}
static int completion_try_resolve(lua_State *L) {
  return complete_done(L, true);
}
static int completion_reject(lua_State *L) {
  return complete_failed(L, false);
}
static int completion_try_reject(lua_State *L) {
  return complete_failed(L, true);
}
static int completion_cancel(lua_State *L) {
  return complete_cancelled(L, false);
}
static int completion_try_cancel(lua_State *L) {
  return complete_cancelled(L, true);
}

/* c.task, or a method (upvalue 2) */
static int completion_index(lua_State *L) {
  const char *key = lua_tostring(L, 2);
  if (key && strcmp(key, "task") == 0)
    lua_getiuservalue(L, 1, 1);
  else
    lua_rawget(L, lua_upvalueindex(2));
  return 1;
}

/* ---- Opening ------------------------------------------------------------------------------- */

static const luaL_Reg task_methods[] = {{"status", task_status},
                                        {"is_done", task_is_done},
                                        {"result", task_result},
                                        {"error", task_error},
                                        {"errors", task_errors},
                                        {"traceback", task_traceback},
                                        {"id", task_id},
                                        {"name", task_name},
                                        {"cancel", task_cancel},
                                        {"cancel_requested", task_cancel_requested},
                                        {"on_done", task_on_done},
                                        {"wait", neapL__task_wait},
                                        {NULL, NULL}};

static const luaL_Reg task_metamethods[] = {{"__tostring", task_tostring}, {NULL, NULL}};

static const luaL_Reg handle_metamethods[] = {
    {"__tostring", task_tostring}, {"__gc", handle_gc}, {NULL, NULL}};

static const luaL_Reg completion_methods[] = {{"resolve", completion_resolve},
                                              {"try_resolve", completion_try_resolve},
                                              {"reject", completion_reject},
                                              {"try_reject", completion_try_reject},
                                              {"cancel", completion_cancel},
                                              {"try_cancel", completion_try_cancel},
                                              {NULL, NULL}};

void neapL__open_tasks(lua_State *L, neapL__state *state) {
  neapL__class(L, &state->task_meta, "neap.Task", task_metamethods, task_methods);
  neapL__class(L, &state->handle_meta, "neap.Task", handle_metamethods, task_methods);
  neapL__class_with_fields(L, &state->completion_meta, "neap.Completion", NULL, completion_methods,
                           completion_index);
  lua_pop(L, 3);
}

void neapL__open_done(lua_State *L, neapL__state *state) {
  neapL__push_completed(L, state, 0)->flags |= NEAPL__IS_TOUCHED; /* nobody has to await it */
  state->done_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

const luaL_Reg neapL__task_functions[] = {
    {"completed", completed},           {"failed", failed},         {"cancelled", cancelled},
    {"cancelled_here", cancelled_here}, {"completion", completion}, {NULL, NULL}};
