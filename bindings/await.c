#include "await.h"

#include "../core/cancel.h"
#include "../core/ops/pause.h"
#include "coroutine.h"
#include "error.h"
#include "operations.h"
#include "report.h"
#include "stream.h"

#include <string.h>

enum {
  /* A loop that awaits only what is complete gives way after this many (SPEC 153). */
  MAX_STREAK = 128,
  MAX_SWALLOWED = 1000
};

/* ---- Misuse, by name ----------------------------------------------------------------------- */

/* Pushes "table.sort" or the like for the function on top, which it pops; false if it is unknown. */
static bool push_global_name(lua_State *L) {
  int function = lua_gettop(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  for (lua_pushnil(L); lua_next(L, function + 1); lua_pop(L, 1)) {
    if (!lua_istable(L, -1) || lua_type(L, -2) != LUA_TSTRING) continue;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
      if (lua_type(L, -2) != LUA_TSTRING || !lua_rawequal(L, -1, function)) continue;
      bool is_global = strcmp(lua_tostring(L, -4), LUA_GNAME) == 0;
      if (is_global)
        lua_pushvalue(L, -2);
      else
        lua_pushfstring(L, "%s.%s", lua_tostring(L, -4), lua_tostring(L, -2));
      lua_replace(L, function);
      lua_settop(L, function);
      return true;
    }
  }
  lua_settop(L, function - 1);
  return false;
}

/* Functions that Lua can suspend, ours among them: the boundary is further up. */
static bool is_known_yielder(const char *name) {
  static const char *const names[] = {"pcall", "xpcall", "dofile", "error"};
  if (strncmp(name, "neap.", 5) == 0) return true;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(name, names[i]) == 0) return true;
  return false;
}

/* Pushes the name of the C function that cannot be waited in. */
static void push_boundary(lua_State *L) {
  lua_Debug ar;
  for (int level = 1; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sf", &ar);
    if (strcmp(ar.what, "C") != 0) {
      lua_pop(L, 1);
    } else if (push_global_name(L)) {
      if (!is_known_yielder(lua_tostring(L, -1))) return;
      lua_pop(L, 1);
    }
  }
  lua_pushliteral(L, "a C function");
}

static int misuse_boundary(lua_State *L) {
  push_boundary(L);
  return neapL__misuse(L,
                       "cannot await inside %s: Lua cannot suspend it; await before or after it, "
                       "or start a task there",
                       lua_tostring(L, -1));
}

neapL__task *neapL__check_awaiting(lua_State *L, neapL__state *state) {
  neapL__task *task = neapL__current(state);
  neapL__check_open(L, state);
  neapL__check_loop(L, state, "await");
  if (!task)
    neapL__misuse(L,
                  "await with no current task: call it in an async function, or in neap.run(fn); "
                  "outside a loop use task:wait()");
  if (task->co.thread != L)
    neapL__misuse(L, "await in a coroutine that is not a task: it would yield to whoever resumes "
                     "this coroutine; make its function an async one");
  if (!lua_isyieldable(L)) misuse_boundary(L);
  return task;
}

void neapL__check_loop(lua_State *L, const neapL__state *state, const char *what) {
  if (state->is_loopless)
    neapL__misuse(L, "%s in a job without a loop: start it with neap.worker.with{ loop = true }",
                  what);
}

static int misuse_value(lua_State *L) {
  if (lua_isfunction(L, 1))
    return neapL__misuse(L, "await on a function: did you forget to call it?");
  return neapL__misuse(L,
                       "await on a %s: only a Task, or a value whose metatable has __await, can "
                       "be awaited",
                       luaL_typename(L, 1));
}

/* ---- Cancelled ----------------------------------------------------------------------------- */

static void warn_swallowing(lua_State *L, neapL__state *state) {
  luaL_checkstack(L, 8, "warning");
  neapL__push_position(L, 1);
  neapL__push_body_task(L, neapL__current(state));
  neapL__push_name(L, state, -1);
  const char *name = lua_tostring(L, -1);
  lua_pushfstring(L,
                  "task %I%s%s has swallowed its cancellation %d times at %s: leave the loop when "
                  "neap.is_cancelling(), or use neap.pcall",
                  (LUAI_UACINT)neapL__current(state)->routine.task.id, name ? " " : "",
                  name ? name : "", MAX_SWALLOWED, lua_tostring(L, -3));
  lua_insert(L, -3);
  lua_pop(L, 1);
  neapL__warn(L, state);
  lua_pop(L, 1);
}

static void count_swallowed(lua_State *L, neapL__state *state, neapL__task *task,
                            neap__node *node) {
  if (task->swallowed_by != node) task->swallowed = 0;
  task->swallowed_by = node;
  if (++task->swallowed == MAX_SWALLOWED) warn_swallowing(L, state);
}

static int throw_cancelled(lua_State *L, neapL__state *state) {
  neapL__task *task = neapL__current(state);
  neap__node *node = task->routine.current->cancelled_by;
  if (!node) { /* a shield was raised while it was queued */
    neapL__push_new_error(L, state, "ECANCELLED", neap_error_message(NEAP_ECANCELLED));
    return lua_error(L);
  }
  task->routine.was_cancelled = true;
  count_swallowed(L, state, task, node);
  neapL__push_cancelled(L, state, node);
  return lua_error(L);
}

static int requeued(lua_State *L, int status, lua_KContext context) {
  (void)status;
  return throw_cancelled(L, (neapL__state *)context);
}

int neapL__raise_cancelled(lua_State *L, neapL__state *state) {
  neapL__task *task = neapL__current(state);
  if (!task->routine.was_cancelled || !lua_isyieldable(L)) return throw_cancelled(L, state);
  neap__routine_wake(&task->routine, NEAP__WAKE_TURN);
  return lua_yieldk(L, 0, (lua_KContext)state, requeued);
}

/* Pushes a Cancelled object of its own for an operation that was cut off and tells how far it got; false:
 * it does not. */
static bool push_cut_off(lua_State *L, neapL__state *state, const neapL__handle *handle) {
  const neapL__task *task = neapL__current(state);
  if (!handle->row || !handle->row->detail) return false;
  neapL__push_cancelled(L, state, task->routine.current->cancelled_by);
  lua_createtable(L, 0, 3);
  if (!handle->row->detail(L, (neap__op *)handle->task)) return false;
  lua_getfield(L, -2, "scope");
  lua_setfield(L, -2, "scope");
  lua_getfield(L, -2, "reason");
  lua_setfield(L, -2, "reason");
  neapL__set_meta(L, -1, &state->cancelled_meta);
  return true;
}

static int throw_cut_off(lua_State *L, neapL__state *state) {
  neapL__current(state)->routine.was_cancelled = true;
  return lua_error(L);
}

/* ---- Outcomes ------------------------------------------------------------------------------ */

static int throw_failure(lua_State *L, neapL__state *state, int index) {
  neapL__task *task = neapL__current(state);
  neapL__push_error(L, state, index);
  if (task) task->rethrown = neapL__failure_at(L, index);
  return lua_error(L);
}

/* Its own cancellation, or that of somebody else's doing. */
static int throw_for_cancelled(lua_State *L, neapL__state *state, int index) {
  const neapL__handle *handle = lua_touserdata(L, index);
  neapL__task *task = neapL__current(state);
  if (task && handle->task->was_reached && neap__routine_is_cancelled(&task->routine)) {
    bool is_cut_off = push_cut_off(L, state, handle);
    return is_cut_off ? throw_cut_off(L, state) : neapL__raise_cancelled(L, state);
  }
  neapL__push_cancelled_error(L, state, index);
  return lua_error(L);
}

static int deliver(lua_State *L, neapL__state *state, int index) {
  state->result_depth = 0;
  const neapL__handle *handle = lua_touserdata(L, index);
  switch (handle->task->status) {
  case NEAP_DONE: return neapL__push_results(L, state, index);
  case NEAP_FAILED: return throw_failure(L, state, index);
  default: return throw_for_cancelled(L, state, index);
  }
}

/* ---- Waiting ------------------------------------------------------------------------------- */

/* The context of a wait: the index of the Task in the frame. */
static int resumed(lua_State *L, int status, lua_KContext context) {
  neapL__state *state = neapL__state_here(L); /* every function that waits has it as upvalue */
  neapL__task *task = neapL__current(state);
  int index = (int)context;
  (void)status;
  if (task->routine.reason != NEAP__WAKE_CANCEL) return deliver(L, state, index);
  bool is_cut_off = push_cut_off(L, state, lua_touserdata(L, index));
  return is_cut_off ? throw_cut_off(L, state) : throw_cancelled(L, state);
}

static int give_way(lua_State *L, neapL__state *state, neapL__task *task, int index) {
  state->streak = 0;
  neap__routine_wake(&task->routine, NEAP__WAKE_TURN);
  return lua_yieldk(L, 0, index, resumed);
}

/* The results are pushed and not kept. */
static int resumed_own(lua_State *L, int status, lua_KContext context) {
  neapL__state *state = neapL__state_here(L);
  int index = (int)context;
  const neapL__handle *handle = lua_touserdata(L, index);
  if (neapL__current(state)->routine.reason == NEAP__WAKE_CANCEL ||
      handle->task->status != NEAP_DONE)
    return resumed(L, status, context);
  int n = handle->row->push ? handle->row->push(L, state, index) : 0;
  neapL__put_back(L, state, index);
  return n;
}

static int wait_for(lua_State *L, neapL__state *state, neapL__task *task, int index,
                    lua_KFunction next) {
  const neapL__handle *handle = lua_touserdata(L, index);
  if (handle->task == &task->routine.task)
    return neapL__misuse(L, "a task cannot await itself: it would never go on");
  neapL__check_loop(L, state, "await");
  if (handle->task->loop != state->loop)
    return neapL__misuse(L, "the task belongs to another loop, await it there");
  if (neap__routine_is_cancelled(&task->routine)) return neapL__raise_cancelled(L, state);
  state->streak = 0;
  if (handle->task->kind == &neap__pause_kind.task) {
    neap__op_settle((neap__op *)handle->task, 0); /* awaited here and now: this is its turn */
    return give_way(L, state, task, index);
  }
  neap__routine_await(&task->routine, handle->task);
  return lua_yieldk(L, 0, index, next);
}

bool neapL__may_go_on(neapL__state *state, const neapL__task *task) {
  if (state->streak_of != task) {
    state->streak_of = task;
    state->streak = 0;
  }
  return ++state->streak < MAX_STREAK;
}

/* Awaiting without waiting: one load for each thing that could be in the way. */
static int await_complete(lua_State *L, neapL__state *state, neapL__task *task,
                          const neapL__handle *handle, int index) {
  if (!neapL__may_go_on(state, task)) return give_way(L, state, task, index);
  bool is_plain = (handle->task->flags & (NEAPL__HAS_ONE | NEAPL__IS_ITEM)) == NEAPL__HAS_ONE;
  if (handle->task->status != NEAP_DONE || !is_plain) return deliver(L, state, index);
  lua_getiuservalue(L, index, 1); /* one result: 10 ns less than by way of deliver */
  return 1;
}

static int await_handle(lua_State *L, neapL__state *state, neapL__handle *handle, int index,
                        lua_KFunction next) {
  neapL__task *task = neapL__current(state);
  if (!task || task->co.thread != L || state->is_closing || !lua_isyieldable(L))
    task = neapL__check_awaiting(L, state); /* raises */
  handle->task->flags |= NEAPL__IS_TOUCHED;
  if (handle->task->status == NEAP_PENDING) return wait_for(L, state, task, index, next);
  return await_complete(L, state, task, handle, index);
}

int neapL__await(lua_State *L, neapL__state *state, int index) {
  return await_handle(L, state, lua_touserdata(L, index), index, resumed);
}

int neapL__await_own(lua_State *L, neapL__state *state, int index) {
  return await_handle(L, state, lua_touserdata(L, index), index, resumed_own);
}

static int custom_done(lua_State *L, int status, lua_KContext context) {
  (void)status;
  return lua_gettop(L) - (int)context;
}

/* A value whose metatable has __await: the function runs here, on the awaiting task. */
static int await_custom(lua_State *L, neapL__state *state) {
  lua_settop(L, 1);
  if (luaL_getmetafield(L, 1, "__await") == LUA_TNIL) return misuse_value(L);
  neapL__check_awaiting(L, state);
  lua_insert(L, 1);
  lua_callk(L, 1, LUA_MULTRET, 0, custom_done);
  return custom_done(L, LUA_OK, 0);
}

/* neap.await(x) -> ... */
static int await(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__handle *handle = neapL__to_handle(L, state, 1);
  if (handle && !handle->task) neapL__misuse_finalized(L);
  if (handle) return await_handle(L, state, handle, 1, resumed);
  return await_custom(L, state);
}

/* ---- Looking at one's own cancellation ------------------------------------------------------- */

/* neap.checkpoint(): raises if cancelled */
static int checkpoint(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__task *task = neapL__current(state);
  if (!task)
    return neapL__misuse(L, "checkpoint with no current task: call it in an async function");
  if (task->co.thread != L || !neap__routine_is_cancelled(&task->routine)) return 0;
  return neapL__raise_cancelled(L, state);
}

/* neap.is_cancelling() -> boolean */
static int is_cancelling(lua_State *L) {
  const neapL__task *task = neapL__current(neapL__state_here(L));
  lua_pushboolean(L, task && neap__routine_is_cancelled(&task->routine));
  return 1;
}

/* ---- pcall that lets the own Cancelled pass -------------------------------------------------- */

static bool must_pass(lua_State *L, neapL__state *state) {
  const neapL__task *task = neapL__current(state);
  if (neapL__is_close_signal(L, state, -1)) return true;
  return task && neap__routine_is_cancelled(&task->routine) &&
         neapL__is_cancelled_object(L, state, -1);
}

/* Frame: [1] the handler or a placeholder, then results or the error. */
static int protected_done(lua_State *L, int status, lua_KContext context) {
  neapL__state *state = (neapL__state *)context;
  bool is_ok = status == LUA_OK || status == LUA_YIELD;
  if (!is_ok && must_pass(L, state)) return lua_error(L);
  lua_pushboolean(L, is_ok);
  lua_replace(L, 1);
  return lua_gettop(L);
}

/* neap.pcall(fn, ...) */
static int protected_call(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  luaL_checkany(L, 1);
  lua_pushnil(L);
  lua_insert(L, 1);
  int status =
      lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, (lua_KContext)state, protected_done);
  return protected_done(L, status, (lua_KContext)state);
}

/* The message handler of xpcall: upvalues state, the user's handler. */
static int handle_unless_cancelled(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  lua_settop(L, 1);
  if (must_pass(L, state)) return 1;
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

/* neap.xpcall(fn, handler, ...) */
static int protected_call_handled(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  luaL_checkany(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushlightuserdata(L, state);
  lua_pushvalue(L, 2);
  lua_pushcclosure(L, handle_unless_cancelled, 2);
  lua_replace(L, 2);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_replace(L, 1);
  lua_replace(L, 2);
  int status =
      lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, (lua_KContext)state, protected_done);
  return protected_done(L, status, (lua_KContext)state);
}

const luaL_Reg neapL__await_functions[] = {
    {"await", await},          {"checkpoint", checkpoint},         {"is_cancelling", is_cancelling},
    {"pcall", protected_call}, {"xpcall", protected_call_handled}, {NULL, NULL}};
