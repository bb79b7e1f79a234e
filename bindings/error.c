#include "error.h"

#include "../core/cancel.h"
#include "operations.h"
#include "report.h"
#include "scope.h"

#include <string.h>

/* ---- neap.Error ---------------------------------------------------------------------------- */

void neapL__push_new_error(lua_State *L, neapL__state *state, const char *code,
                           const char *message) {
  lua_createtable(L, 0, 4);
  lua_pushstring(L, code);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, message);
  lua_setfield(L, -2, "message");
  neapL__set_meta(L, -1, &state->error_meta);
}

static void set_string(lua_State *L, const char *field, const char *value) {
  if (!value) return;
  lua_pushstring(L, value);
  lua_setfield(L, -2, field);
}

void neapL__push_core_error(lua_State *L, neapL__state *state, const neap_error *error) {
  const char *message = error->message ? error->message : neap_error_message(error->code);
  const char *name = error->name ? error->name : neap_error_name(error->code);
  neapL__push_new_error(L, state, name, message);
  set_string(L, "syscall", error->syscall);
  set_string(L, "path", error->path);
  set_string(L, "dest", error->dest);
  set_string(L, "address", error->address);
  set_string(L, "url", error->url);
  if (!error->cause) return;
  neapL__push_core_error(L, state, error->cause);
  lua_setfield(L, -2, "cause");
}

/* neap.error(code, message, fields?) */
static int new_error(lua_State *L) {
  const char *code = luaL_checkstring(L, 1);
  const char *message = luaL_checkstring(L, 2);
  if (!lua_isnoneornil(L, 3)) luaL_checktype(L, 3, LUA_TTABLE);
  neapL__push_new_error(L, neapL__state_here(L), code, message);
  if (!lua_istable(L, 3)) return 1;
  for (lua_pushnil(L); lua_next(L, 3);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
  return 1;
}

/* Pushes `before`, the field and `after` if the error has the field; returns how many values. */
static int push_field(lua_State *L, const char *field, const char *before, const char *after) {
  if (lua_getfield(L, 1, field) == LUA_TNIL) {
    lua_pop(L, 1);
    return 0;
  }
  lua_pushstring(L, before);
  luaL_tolstring(L, -2, NULL);
  lua_remove(L, -3);
  lua_pushstring(L, after);
  return 3;
}

/* "CODE: message, syscall 'path'"; a misuse begins with its position. */
static int error_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  luaL_checkstack(L, 32, "the text of an error");
  int n = push_field(L, "where", "", ": ");
  n += push_field(L, "code", "", ": ");
  n += push_field(L, "message", "", "");
  n += push_field(L, "syscall", ", ", "");
  n += push_field(L, "path", " '", "'");
  n += push_field(L, "dest", " -> '", "'");
  n += push_field(L, "address", " ", "");
  n += push_field(L, "url", ", ", "");
  n += push_field(L, "reason", ": ", "");
  lua_concat(L, n);
  return 1;
}

/* ---- Misuse -------------------------------------------------------------------------------- */

static void push_position_of(lua_State *L, lua_State *thread, int level) {
  lua_Debug ar;
  for (; lua_getstack(thread, level, &ar); level++) {
    lua_getinfo(thread, "Sl", &ar);
    if (ar.currentline <= 0) continue;
    lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
    return;
  }
  lua_pushliteral(L, "?");
}

void neapL__push_position(lua_State *L, int level) {
  push_position_of(L, L, level);
}

void neapL__push_thread_position(lua_State *L, lua_State *thread) {
  push_position_of(L, thread, 0);
}

NEAPL__NORETURN int neapL__misuse(lua_State *L, const char *format, ...) {
  neapL__state *state = neapL__state_get(L);
  va_list arguments;
  va_start(arguments, format);
  const char *message = lua_pushvfstring(L, format, arguments);
  va_end(arguments);
  neapL__push_new_error(L, state, "EMISUSE", message);
  neapL__push_position(L, 1);
  lua_setfield(L, -2, "where");
  lua_error(L);
  NEAPL__UNREACHABLE;
}

/* ---- neap.Cancelled ------------------------------------------------------------------------ */

bool neapL__is_cancelled_object(lua_State *L, const neapL__state *state, int index) {
  return lua_type(L, index) == LUA_TTABLE && neapL__has_meta(L, index, &state->cancelled_meta);
}

/* The loop's root is cancelled by a deadlock only; it is no object of Lua's. */
static bool is_root(const neapL__state *state, const neap__node *node) {
  return node == &state->loop->root.node;
}

void neapL__push_node_reason(lua_State *L, neapL__state *state, neap__node *node) {
  if (node->cause && node->cause->host)
    neapL__slot_push(L, &state->pins, node->cause->host);
  else if (is_root(state, node))
    lua_pushliteral(L, "deadlock");
  else if (node->kind == NEAP__NODE_SCOPE && neapL__scope_timed_out(neap__node_scope(node)))
    lua_pushliteral(L, "timeout");
  else
    lua_pushnil(L);
}

/* The pull of a stream is pinned; a task of C has no object here. */
static void push_kept(lua_State *L, neapL__state *state, const neap_task *task) {
  if (task->host)
    neapL__slot_push(L, &state->pins, task->host);
  else
    lua_pushnil(L);
}

static void push_node_owner(lua_State *L, neapL__state *state, neap__node *node) {
  if (is_root(state, node))
    lua_pushnil(L);
  else if (node->kind == NEAP__NODE_SCOPE)
    neapL__slot_push(L, &state->pins, neap__node_scope(node)->host);
  else if (neapL__is_lua(neap__node_task(node)))
    neapL__push_body_task(L, neapL__task_of(neap__task_routine(neap__node_task(node))));
  else
    push_kept(L, state, neap__node_task(node));
}

/* Whether the end of the node comes by here: C's do not. The root's ends with the run, a pull's always
 * forgets. */
static bool is_of_lua(const neapL__state *state, const neap__node *node) {
  if (is_root(state, node)) return true;
  if (node->kind == NEAP__NODE_SCOPE)
    return neapL__is_lua_scope(neap__node_scope((neap__node *)(uintptr_t)node));
  const neap_task *task = neap__node_task((neap__node *)(uintptr_t)node);
  return neapL__is_lua(task) || (!task->kind->has_body && task->host);
}

/* So that it is forgotten when the node ends. */
static void mark_has_cancelled(const neapL__state *state, neap__node *node) {
  if (is_root(state, node)) return;
  if (node->kind == NEAP__NODE_SCOPE)
    ((neapL__scope *)neap__node_scope(node))->has_cancelled = true;
  else if (neapL__is_lua(neap__node_task(node)))
    neapL__task_of(neap__task_routine(neap__node_task(node)))->has_cancelled = true;
}

static void keep_cancelled(lua_State *L, neapL__state *state, neap__node *node) {
  if (!is_of_lua(state, node)) return;
  lua_pushvalue(L, -1);
  lua_rawsetp(L, -3, node);
  mark_has_cancelled(state, node);
}

void neapL__push_cancelled(lua_State *L, neapL__state *state, neap__node *node) {
  neapL__push_ref(L, state->cancelled_ref);
  if (lua_rawgetp(L, -1, node) == LUA_TTABLE) {
    lua_remove(L, -2);
    return;
  }
  lua_pop(L, 1);
  lua_createtable(L, 0, 2);
  push_node_owner(L, state, node);
  lua_setfield(L, -2, "scope");
  neapL__push_node_reason(L, state, node);
  lua_setfield(L, -2, "reason");
  neapL__set_meta(L, -1, &state->cancelled_meta);
  keep_cancelled(L, state, node);
  lua_remove(L, -2);
}

void neapL__forget_cancelled(lua_State *L, neapL__state *state, neap__node *node) {
  neapL__push_ref(L, state->cancelled_ref);
  lua_pushnil(L);
  lua_rawsetp(L, -2, node);
  lua_pop(L, 1);
}

/* "cancelled" or "cancelled: reason" */
static int cancelled_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "reason");
  if (lua_isnil(L, -1)) {
    lua_pushliteral(L, "cancelled");
    return 1;
  }
  const char *reason = luaL_tolstring(L, -1, NULL);
  lua_pushfstring(L, "cancelled: %s", reason);
  return 1;
}

/* neap.is_cancel(err) */
static int is_cancel(lua_State *L) {
  lua_pushboolean(L, neapL__is_cancelled_object(L, neapL__state_here(L), 1));
  return 1;
}

void neapL__push_cancelled_error(lua_State *L, neapL__state *state, int index) {
  index = lua_absindex(L, index);
  neapL__push_new_error(L, state, "ECANCELLED", neap_error_message(NEAP_ECANCELLED));
  lua_pushvalue(L, index);
  lua_setfield(L, -2, "task");
  neapL__push_reason(L, index);
  lua_setfield(L, -2, "reason");
  const neapL__handle *handle = lua_touserdata(L, index);
  if (handle->row && handle->row->detail) handle->row->detail(L, (neap__op *)handle->task);
}

/* ---- Failures ------------------------------------------------------------------------------ */

static neapL__failure *new_failure(lua_State *L, neapL__state *state) {
  neapL__failure *failure = lua_newuserdatauv(L, sizeof *failure, 3);
  *failure = (neapL__failure){.state = state};
  neap__list_init(&failure->link);
  neapL__set_meta(L, -1, &state->failure_meta);
  neapL__push_ref(L, state->failures_ref);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, failure);
  lua_pop(L, 1);
  return failure;
}

bool neapL__push_failure(lua_State *L, neapL__state *state, const neapL__failure *failure) {
  if (failure->pin) {
    neapL__slot_push(L, &state->pins, failure->pin);
    return true;
  }
  neapL__push_ref(L, state->failures_ref);
  lua_rawgetp(L, -1, failure);
  lua_remove(L, -2);
  if (lua_type(L, -1) == LUA_TUSERDATA) return true;
  lua_pop(L, 1);
  return false;
}

void neapL__failure_observed(neapL__failure *failure) {
  failure->is_observed = true;
  neap__list_unlink(&failure->link);
  if (failure->pin) neapL__slot_free(failure->state->aux, &failure->state->pins, failure->pin);
  failure->pin = 0;
}

/* Nobody can observe it any more. With an owner that will raise it, it waits for that. */
static int failure_gc(lua_State *L) {
  neapL__failure *failure = lua_touserdata(L, 1);
  neapL__state *state = failure->state;
  if (failure->is_observed || neap__list_is_empty(&failure->link) || failure->pin) return 0;
  if (state->is_closed) {
    neap__list_unlink(&failure->link);
    return 0;
  }
  if (failure->owner && !failure->is_root) {
    lua_pushvalue(L, 1);
    failure->pin = neapL__pin(L, state);
  } else {
    neapL__report_later(L, state, failure);
  }
  /* It lives on: its finalizer must run again. */
  lua_getmetatable(L, 1);
  lua_setmetatable(L, 1);
  return 0;
}

/* ---- Where errors are raised ----------------------------------------------------------------- */

/* Pushes the list of what is unwinding in the task; false (nothing pushed) when there is none. */
static bool push_captures(lua_State *L, neapL__state *state, neapL__task *task) {
  neapL__push_ref(L, state->captures_ref);
  lua_rawgetp(L, -1, task);
  lua_remove(L, -2);
  if (lua_istable(L, -1)) return true;
  lua_pop(L, 1);
  return false;
}

void neapL__forget_captures(lua_State *L, neapL__state *state, neapL__task *task) {
  neapL__push_ref(L, state->captures_ref);
  lua_pushnil(L);
  lua_rawsetp(L, -2, task);
  lua_pop(L, 1);
}

static bool has_error(lua_State *L, int failure, int error) {
  lua_getiuservalue(L, failure, NEAPL__FAILURE_ERROR);
  bool is_equal = lua_rawequal(L, -1, error);
  lua_pop(L, 1);
  return is_equal;
}

/* Pushes the captured failure of the error at `error`; false (nothing pushed) if there is none. */
static bool push_captured(lua_State *L, neapL__state *state, neapL__task *task, int error) {
  if (!task || !push_captures(L, state, task)) return false;
  int list = lua_gettop(L);
  for (lua_Integer i = luaL_len(L, list); i > 0; i--) {
    lua_rawgeti(L, list, i);
    if (has_error(L, -1, error)) {
      lua_remove(L, list);
      return true;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return false;
}

/* Pushes the traceback of the failure that the task's last await has raised, if the error at
 * `error` is that one. */
static bool push_awaited_traceback(lua_State *L, neapL__state *state, neapL__task *task,
                                   int error) {
  if (!task->rethrown) return false;
  neapL__push_ref(L, state->failures_ref);
  lua_rawgetp(L, -1, task->rethrown);
  lua_remove(L, -2);
  if (lua_type(L, -1) == LUA_TUSERDATA && has_error(L, -1, error)) {
    lua_getiuservalue(L, -1, NEAPL__FAILURE_TRACEBACK);
    lua_remove(L, -2);
    if (lua_isstring(L, -1)) return true;
  }
  lua_pop(L, 1);
  return false;
}

/* The stack where it was raised; for what an await has raised, the one of the awaited task and a
 * line for this await. */
static void push_traceback(lua_State *L, neapL__state *state, neapL__task *task, int error) {
  if (!push_awaited_traceback(L, state, task, error)) {
    luaL_traceback(L, L, NULL, 1);
    return;
  }
  lua_pushliteral(L, "\n\tawaited by ");
  neapL__push_position(L, 1);
  lua_concat(L, 3);
}

/* The error at 1, with the traceback at `traceback`; 0: that of here. */
static void capture(lua_State *L, neapL__state *state, neapL__task *task, int traceback) {
  neapL__failure *failure = new_failure(L, state);
  failure->depth = task->depth;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, NEAPL__FAILURE_ERROR);
  if (traceback)
    lua_pushvalue(L, traceback);
  else
    push_traceback(L, state, task, 1);
  lua_setiuservalue(L, -2, NEAPL__FAILURE_TRACEBACK);
  if (!push_captures(L, state, task)) {
    task->has_captures = true;
    lua_newtable(L);
    neapL__push_ref(L, state->captures_ref);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, task);
    lua_pop(L, 1);
  }
  lua_insert(L, -2);
  lua_rawseti(L, -2, luaL_len(L, -2) + 1);
}

int neapL__handle_error(lua_State *L) {
  neapL__state *state = neapL__state_get(L);
  neapL__task *task = neapL__current(state);
  if (!task || task->co.thread != L) return 1;
  lua_settop(L, 1);
  if (neapL__is_cancelled_object(L, state, 1)) return 1;
  if (push_captured(L, state, task, 1))
    ((neapL__failure *)lua_touserdata(L, -1))->depth = task->depth;
  else
    capture(L, state, task, 0);
  lua_settop(L, 1);
  return 1;
}

/* core.raise(err, traceback): raises it with the traceback of where it came from */
static int raise_traced(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__task *task = neapL__current(state);
  lua_settop(L, 2);
  if (task && task->co.thread == L && lua_isstring(L, 2)) capture(L, state, task, 2);
  lua_settop(L, 1);
  return lua_error(L);
}

/* Its owner hears of it no more; it goes to on_unobserved. */
static void report_replaced(lua_State *L, neapL__state *state, neapL__task *task) {
  neapL__failure *failure = lua_touserdata(L, -1);
  neapL__push_body_task(L, task);
  lua_setiuservalue(L, -2, NEAPL__FAILURE_TASK);
  neapL__report_later(L, state, failure);
}

void neapL__error_arrived(lua_State *L, neapL__state *state, neapL__task *task) {
  int error = lua_gettop(L);
  if (!push_captures(L, state, task)) return;
  int list = error + 1;
  lua_Integer n = luaL_len(L, list), kept = 0;
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, list, i);
    neapL__failure *failure = lua_touserdata(L, -1);
    bool is_this = has_error(L, -1, error);
    bool is_replaced = !is_this && failure->depth >= task->depth;
    if (is_replaced) report_replaced(L, state, task);
    if (is_this || (!is_replaced && failure->depth > 0)) {
      if (is_this) failure->depth = 0;
      lua_rawseti(L, list, ++kept);
    } else {
      lua_pop(L, 1);
    }
  }
  for (lua_Integer i = kept + 1; i <= n; i++) {
    lua_pushnil(L);
    lua_rawseti(L, list, i);
  }
  lua_pop(L, 1);
}

neapL__failure *neapL__make_failure(lua_State *L, neapL__state *state, neapL__task *task) {
  int error = lua_gettop(L);
  if (!push_captured(L, state, task, error)) {
    new_failure(L, state);
    lua_pushvalue(L, error);
    lua_setiuservalue(L, -2, NEAPL__FAILURE_ERROR);
  }
  lua_remove(L, error);
  return lua_touserdata(L, -1);
}

/* ---- Opening ------------------------------------------------------------------------------- */

static const luaL_Reg error_metamethods[] = {{"__tostring", error_tostring}, {NULL, NULL}};
static const luaL_Reg cancelled_metamethods[] = {{"__tostring", cancelled_tostring}, {NULL, NULL}};
static const luaL_Reg failure_metamethods[] = {{"__gc", failure_gc}, {NULL, NULL}};

/* Errors are plain tables for their users: their metatable may be looked at. */
static void allow_getmetatable(lua_State *L) {
  lua_pushnil(L);
  lua_setfield(L, -2, "__metatable");
}

void neapL__open_errors(lua_State *L, neapL__state *state) {
  neapL__class(L, &state->error_meta, "neap.Error", error_metamethods, NULL);
  allow_getmetatable(L);
  lua_pop(L, 1);
  neapL__class(L, &state->cancelled_meta, "neap.Cancelled", cancelled_metamethods, NULL);
  allow_getmetatable(L);
  lua_pop(L, 1);
  neapL__class(L, &state->failure_meta, "neap.Failure", failure_metamethods, NULL);
  lua_pop(L, 1);
}

const luaL_Reg neapL__error_functions[] = {{"raise", raise_traced},

                                           {"error", new_error},
                                           {"is_cancel", is_cancel},
                                           {NULL, NULL}};
