#include "scope.h"

#include "../core/cancel.h"
#include "await.h"
#include "coroutine.h"
#include "operations.h"
#include "report.h"

#include <math.h>
#include <string.h>

enum {
  /* Function forms nested in one task: each is a protected call, and Lua has 200 C levels. */
  MAX_DEPTH = 150
};

/* User values of a scope. */
enum { SCOPE_ERRORS = 1, SCOPE_TOKEN };

static neapL__scope *check_scope(lua_State *L, int index) {
  return neapL__check_object(L, index, &neapL__state_here(L)->scope_meta, "neap.Scope");
}

static neap_scope *core_of(neapL__scope *self) {
  return &self->scope;
}

/* ---- Entering ------------------------------------------------------------------------------ */

/* The task on which a scope is opened. */
static neapL__task *check_task(lua_State *L, neapL__state *state, const char *name) {
  neapL__task *task = neapL__current(state);
  neapL__check_open(L, state);
  if (!task)
    neapL__misuse(
        L, "neap.%s with no current task: call it in an async function, or in neap.run(fn)", name);
  if (task->co.thread != L)
    neapL__misuse(L, "neap.%s in a coroutine that is not a task; make its function an async one",
                  name);
  return task;
}

/* Opens a scope as the innermost one of the current task; its userdata is pushed. */
static neapL__scope *open_scope(lua_State *L, neapL__state *state, neapL__scope_mode mode,
                                double seconds, bool shield, const char *name) {
  neapL__task *task = check_task(L, state, name);
  neapL__push_position(L, 1);
  const char *where = lua_tostring(L, -1);
  size_t size = strlen(where) + 1;
  neapL__scope *self = lua_newuserdatauv(L, sizeof *self + size, 2);
  *self = (neapL__scope){.state = state, .mode = (uint8_t)mode};
  memcpy(self->where, where, size);
  neapL__set_meta(L, -1, &state->scope_meta);
  lua_remove(L, -2);
  lua_pushvalue(L, -1);
  uint32_t pin = neapL__pin(L, state);
  neap__scope_open(core_of(self), state->loop, &task->routine, shield);
  self->scope.host = pin;
  if (neap__scope_set_timeout(core_of(self), seconds)) {
    neap__scope_close(core_of(self));
    neapL__slot_free(L, &state->pins, pin);
    neapL__raise_memory(L);
  }
  return self;
}

/* ---- Lost errors --------------------------------------------------------------------------- */

/* Keeps a failure that is not raised for `.errors`; unless it is read it is reported. The scope is
 * at `index`, the failure's userdata on top. [-1] */
static void keep_extra(lua_State *L, neapL__state *state, int index, neapL__failure *failure) {
  failure->owner = NULL;
  neap__list_unlink(&failure->link);
  neap__list_append(&state->lost, &failure->link);
  if (lua_getiuservalue(L, index, SCOPE_ERRORS) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, index, SCOPE_ERRORS);
  }
  lua_insert(L, -2);
  lua_rawseti(L, -2, luaL_len(L, -2) + 1);
  lua_pop(L, 1);
  if (failure->pin) neapL__slot_free(L, &state->pins, failure->pin);
  failure->pin = 0;
}

/* Takes the failures that nobody has observed off the scope. The first one's error is pushed if it
 * is to be raised; the others go to `.errors`. True if one was pushed. */
static bool take_lost(lua_State *L, neapL__state *state, int index, neapL__scope *self,
                      bool raises_first) {
  bool is_pushed = false;
  neap__list *list = &self->scope.failures;
  while (!neap__list_is_empty(list)) {
    neapL__failure *failure = NEAP__CONTAINER(list->next, neapL__failure, link);
    if (!neapL__push_failure(L, state, failure)) { /* its finalizer is about to report it */
      failure->owner = NULL;
      neap__list_unlink(&failure->link);
      neap__list_append(&state->lost, &failure->link);
    } else if (raises_first && !is_pushed) {
      neapL__failure_observed(failure);
      lua_getiuservalue(L, -1, 1);
      lua_remove(L, -2);
      is_pushed = true;
    } else {
      keep_extra(L, state, index, failure);
    }
  }
  return is_pushed;
}

/* Pushes the error that the tasks of the scope have left to be raised; false if there is none. */
static bool push_task_error(lua_State *L, neapL__state *state, int index, neapL__scope *self) {
  if (!self->first) return take_lost(L, state, index, self, true);
  neapL__slot_push(L, &state->pins, self->first_pin);
  lua_getiuservalue(L, -1, 1);
  lua_remove(L, -2);
  neapL__slot_free(L, &state->pins, self->first_pin);
  self->first = NULL;
  take_lost(L, state, index, self, false);
  return true;
}

/* None is raised: all go to `.errors`, the group's own first. */
static void keep_task_errors(lua_State *L, neapL__state *state, int index, neapL__scope *self) {
  neapL__failure *first = self->first;
  if (first) {
    neapL__slot_push(L, &state->pins, self->first_pin);
    neapL__slot_free(L, &state->pins, self->first_pin);
    self->first = NULL;
    first->is_observed = false;
    keep_extra(L, state, index, first);
  }
  take_lost(L, state, index, self, false);
}

void neapL__group_failed(lua_State *L, neapL__state *state, neap_scope *scope,
                         neapL__failure *failure) {
  neapL__scope *self = (neapL__scope *)scope;
  if (self->first || self->scope.node.is_requested) return;
  lua_pushvalue(L, -1);
  self->first_pin = neapL__pin(L, state);
  self->first = failure;
  neapL__failure_observed(failure);
  neap__node_cancel(&scope->node, NULL);
}

bool neapL__scope_timed_out(const neap_scope *scope) {
  if (!neapL__is_lua_scope(scope)) return scope->timed_out;
  const neapL__scope *self = (const neapL__scope *)scope;
  return scope->timed_out || self->timed_out || (self->token && self->token->timed_out);
}

/* ---- Leaving ------------------------------------------------------------------------------- */

/* Frame of a function form: [1] the scope, [2] the message handler, then the function and its
 * arguments, later its results or its error. */

enum { FORM_SCOPE = 1, FORM_HANDLER, FORM_FIRST };

/* How the block was left. */
typedef enum way_out { NORMALLY, BY_ERROR, BY_OWN_CANCELLED, BY_OUTER_CANCELLED } way_out;

static way_out find_way_out(lua_State *L, const neapL__scope *self, bool has_failed, int error) {
  if (!has_failed) return NORMALLY;
  if (!neapL__is_cancelled_object(L, self->state, error)) return BY_ERROR;
  lua_getfield(L, error, "scope");
  bool is_own = lua_touserdata(L, -1) == (const void *)self;
  lua_pop(L, 1);
  return is_own ? BY_OWN_CANCELLED : BY_OUTER_CANCELLED;
}

static void push_timed_out(lua_State *L, neapL__state *state) {
  neapL__push_new_error(L, state, "ETIMEDOUT", "the time limit has passed");
}

static void push_own_cancelled_error(lua_State *L, neapL__state *state, neapL__scope *self,
                                     int error) {
  if (self->scope.timed_out) {
    push_timed_out(L, state);
    return;
  }
  bool by_token = self->mode == NEAPL__TOKEN;
  neapL__push_new_error(L, state, "ECANCELLED",
                        by_token ? "the token was cancelled" : "the block was cancelled");
  lua_getfield(L, error, "reason");
  lua_setfield(L, -2, "reason");
  if (!by_token) return;
  lua_getiuservalue(L, FORM_SCOPE, SCOPE_TOKEN);
  lua_setfield(L, -2, "token");
}

void neapL__scope_abandon(neapL__state *state, neap_scope *scope) {
  neapL__scope *self = (neapL__scope *)scope;
  if (self->token) {
    self->timed_out = self->token->timed_out;
    neap_token_unregister(&self->registration);
    neap_token_unref(self->token);
    self->token = NULL;
  }
  if (scope->live == 0)
    neap__scope_close(scope);
  else
    neap__scope_abandon(scope);
  neapL__slot_free(state->aux, &state->pins, scope->host);
  scope->host = 0;
}

static void close_scope(lua_State *L, neapL__state *state, neapL__scope *self) {
  if (self->has_cancelled) neapL__forget_cancelled(L, state, &self->scope.node);
  neapL__scope_abandon(state, core_of(self));
}

/* Cancels on error, and begins the join. True if the task has to wait for it. */
static bool begin_leaving(lua_State *L, neapL__scope *self, bool has_failed) {
  if (has_failed) neap__node_cancel(&self->scope.node, NULL);
  if (self->scope.live == 0) return false;
  if (!lua_isyieldable(L)) return false; /* close_scope hands the tasks over */
  self->has_joined = true;
  return neap__scope_join(core_of(self));
}

/* Behind a shield nothing is raised when it ends (C9). */
static bool is_outer_cancelled(const neapL__scope *self) {
  return !self->scope.node.is_shield && neap__node_is_cancelled(self->scope.node.parent);
}

/* ---- Function forms ------------------------------------------------------------------------- */

static int return_results(lua_State *L, const neapL__scope *self) {
  if (self->mode != NEAPL__SCOPE && self->mode != NEAPL__TRY_FOR)
    return lua_gettop(L) - FORM_HANDLER;
  lua_pushboolean(L, 1);
  lua_replace(L, FORM_HANDLER);
  return lua_gettop(L) - FORM_SCOPE;
}

/* Its own cancellation ends here: absorbed or converted (C8). */
static int return_cancelled(lua_State *L, neapL__state *state, neapL__scope *self) {
  int error = lua_gettop(L);
  self->caught = true;
  switch (self->mode) {
  case NEAPL__SCOPE:
    lua_pushboolean(L, 0);
    lua_getfield(L, error, "reason");
    return 2;
  case NEAPL__TRY_FOR:
    lua_pushboolean(L, 0);
    lua_pushliteral(L, "timeout");
    return 2;
  case NEAPL__GROUP: return 0;
  default: push_own_cancelled_error(L, state, self, error); return lua_error(L);
  }
}

static int form_left(lua_State *L, int status, lua_KContext has_failed) {
  neapL__scope *self = lua_touserdata(L, FORM_SCOPE);
  neapL__state *state = self->state;
  (void)status;
  bool is_cut_off = is_outer_cancelled(self) && (self->has_joined || has_failed);
  way_out way = find_way_out(L, self, has_failed, -1);
  close_scope(L, state, self);
  if (way == BY_ERROR) {
    keep_task_errors(L, state, FORM_SCOPE, self);
    return lua_error(L);
  }
  if (push_task_error(L, state, FORM_SCOPE, self)) return lua_error(L);
  if (way == BY_OUTER_CANCELLED) return lua_error(L);
  if (is_cut_off) return neapL__raise_cancelled(L, state);
  return way == NORMALLY ? return_results(L, self) : return_cancelled(L, state, self);
}

static int form_returned(lua_State *L, int status, lua_KContext context) {
  neapL__scope *self = lua_touserdata(L, FORM_SCOPE);
  neapL__task *task = neapL__task_of(self->scope.task);
  bool has_failed = status != LUA_OK && status != LUA_YIELD;
  (void)context;
  if (has_failed) neapL__error_arrived(L, self->state, task);
  task->depth--;
  if (task->routine.current != &self->scope.node) {
    /* Scopes that were opened in the body without <close>. */
    neapL__leave_inner(L, self->state, task, &self->scope.node);
  }
  if (begin_leaving(L, self, has_failed)) return lua_yieldk(L, 0, has_failed, form_left);
  return form_left(L, LUA_OK, has_failed);
}

/* Runs a form whose scope is on top of its function (at 1) and arguments. */
static int run_form(lua_State *L, neapL__scope *self, bool passes_scope) {
  neapL__task *task = neapL__task_of(self->scope.task);
  self->is_function_form = true;
  lua_insert(L, 1);
  lua_pushcfunction(L, neapL__handle_error);
  lua_insert(L, FORM_HANDLER);
  if (passes_scope) {
    lua_pushvalue(L, FORM_SCOPE);
    lua_insert(L, FORM_FIRST + 1);
  }
  task->depth++;
  int status =
      lua_pcallk(L, lua_gettop(L) - FORM_FIRST, LUA_MULTRET, FORM_HANDLER, 0, form_returned);
  return form_returned(L, status, 0);
}

static void check_depth(lua_State *L, neapL__state *state) {
  const neapL__task *task = neapL__current(state);
  if (!task || task->depth <= MAX_DEPTH) return;
  neapL__push_new_error(L, state, "EDEPTH",
                        "function forms (scope, group, timeout ...) are nested "
                        "too deeply in one task, more than 150 levels; use the <close> forms, or "
                        "start tasks");
  neapL__push_position(L, 1);
  lua_setfield(L, -2, "where");
  lua_error(L);
}

static double option_seconds(lua_State *L) {
  double seconds = HUGE_VAL;
  if (lua_getfield(L, 1, "timeout") != LUA_TNIL) {
    if (lua_type(L, -1) != LUA_TNUMBER) luaL_argerror(L, 1, "option 'timeout' must be a number");
    seconds = neapL__check_duration_value(L, 1, lua_tonumber(L, -1));
  }
  lua_pop(L, 1);
  return seconds;
}

static bool option_shield(lua_State *L) {
  lua_getfield(L, 1, "shield");
  bool shield = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return shield;
}

static void set_name(lua_State *L, neapL__state *state) {
  if (lua_getfield(L, 1, "name") == LUA_TSTRING) {
    neapL__push_ref(L, state->names_ref);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* neap.scope(opts?, fn, ...) -> true, ... | false, reason */
static int scope(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  bool has_options = lua_istable(L, 1) && luaL_getmetafield(L, 1, "__call") == LUA_TNIL;
  if (!has_options && !lua_isnil(L, 1)) {
    neapL__check_callable(L, 1);
    lua_pushnil(L);
    lua_insert(L, 1);
  }
  neapL__check_callable(L, 2);
  check_depth(L, state);
  double seconds = has_options ? option_seconds(L) : HUGE_VAL;
  bool shield = has_options && option_shield(L);
  neapL__scope *self = open_scope(L, state, NEAPL__SCOPE, seconds, shield, "scope");
  if (has_options) set_name(L, state);
  lua_remove(L, 1);
  return run_form(L, self, true);
}

static int timed_form(lua_State *L, neapL__scope_mode mode, const char *name) {
  neapL__state *state = neapL__state_here(L);
  double seconds = neapL__check_seconds(L, 1);
  neapL__check_callable(L, 2);
  check_depth(L, state);
  neapL__scope *self = open_scope(L, state, mode, seconds, false, name);
  lua_remove(L, 1);
  return run_form(L, self, false);
}

/* neap.timeout(seconds, fn, ...) -> ...; raises ETIMEDOUT */
static int timeout(lua_State *L) {
  return timed_form(L, NEAPL__TIMEOUT, "timeout");
}

/* neap.try_for(seconds, fn, ...) -> true, ... | false, "timeout" */
static int try_for(lua_State *L) {
  return timed_form(L, NEAPL__TRY_FOR, "try_for");
}

/* neap.shield(fn, ...) -> ... */
int neapL__shield(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__check_callable(L, 1);
  check_depth(L, state);
  neapL__scope *self = open_scope(L, state, NEAPL__SHIELD, HUGE_VAL, true, "shield");
  return run_form(L, self, false);
}

/* neap.group(fn, ...) -> ..., with fn(g, ...); without a function: a group for <close> */
static int group(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  bool is_form = !lua_isnone(L, 1);
  if (is_form) {
    neapL__check_callable(L, 1);
    check_depth(L, state);
  }
  neapL__scope *self = open_scope(L, state, NEAPL__GROUP, HUGE_VAL, false, "group");
  return is_form ? run_form(L, self, true) : 1;
}

/* The token was cancelled. */
static void cancel_with_token(neap_registration *registration) {
  neapL__scope *self = NEAP__CONTAINER(registration, neapL__scope, registration);
  if (self->scope.node.is_requested) return;
  neap__node_cancel(&self->scope.node, neap__cause_ref(self->token->cause));
}

/* neap.with_token(token, fn, ...) -> ...; raises ECANCELLED when the token has cancelled it */
static int with_token(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap_token *token = neapL__check_token(L, 1);
  neapL__check_callable(L, 2);
  check_depth(L, state);
  neapL__scope *self = open_scope(L, state, NEAPL__TOKEN, HUGE_VAL, false, "with_token");
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, SCOPE_TOKEN);
  lua_remove(L, 1);
  self->token = neap_token_ref(token);
  self->registration.call = cancel_with_token;
  neap_token_register(token, &self->registration);
  return run_form(L, self, false);
}

/* neap.deadline(seconds): for <close>; ETIMEDOUT leaves the block */
static int deadline(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  double seconds = neapL__check_seconds(L, 1);
  open_scope(L, state, NEAPL__DEADLINE, seconds, false, "deadline");
  return 1;
}

/* ---- Close forms --------------------------------------------------------------------------- */

/* Frame: [1] the scope, [2] the error or nil. Returning lets that error go on. */
static int close_left(lua_State *L, int status, lua_KContext has_failed) {
  neapL__scope *self = lua_touserdata(L, 1);
  neapL__state *state = self->state;
  (void)status;
  lua_settop(L, 2);
  bool is_cut_off = is_outer_cancelled(self) && self->has_joined;
  way_out way = find_way_out(L, self, has_failed, 2);
  close_scope(L, state, self);
  if (way == BY_ERROR) {
    keep_task_errors(L, state, 1, self);
    return 0;
  }
  if (push_task_error(L, state, 1, self)) return lua_error(L);
  if (way == BY_OUTER_CANCELLED) return 0;
  if (is_cut_off) return neapL__raise_cancelled(L, state);
  if (way == NORMALLY) return 0;
  self->caught = true;
  push_own_cancelled_error(L, state, self, 2);
  return lua_error(L);
}

static void check_innermost(lua_State *L, neapL__scope *self) {
  const neapL__task *task = neapL__current(self->state);
  if (!task || &task->routine != self->scope.task)
    neapL__misuse(L, "a scope is closed by another task than the one that opened it");
  if (task->routine.current != &self->scope.node)
    neapL__misuse(L,
                  "a scope is closed before the scopes inside it; use <close>, and close them in "
                  "the reverse order of their opening");
}

static int scope_close(lua_State *L) {
  neapL__scope *self = check_scope(L, 1);
  lua_settop(L, 2);
  if (!self->scope.is_open || self->is_function_form) return 0;
  check_innermost(L, self);
  bool has_failed = !lua_isnil(L, 2);
  if (begin_leaving(L, self, has_failed)) return lua_yieldk(L, 0, has_failed, close_left);
  return close_left(L, LUA_OK, has_failed);
}

/* ---- Leaks --------------------------------------------------------------------------------- */

static void warn_leak(lua_State *L, neapL__state *state, const neapL__scope *self,
                      neapL__task *task) {
  luaL_checkstack(L, 8, "warning");
  lua_pushfstring(
      L, "the scope opened at %s was not closed when its task ended; declare it with <close>",
      self->where);
  neapL__push_body_task(L, task);
  neapL__warn(L, state);
}

static void forget_lost(lua_State *L, neapL__state *state, neapL__scope *self) {
  neapL__slot_push(L, &state->pins, self->scope.host);
  int index = lua_gettop(L);
  close_scope(L, state, self);
  keep_task_errors(L, state, index, self);
  lua_pop(L, 1);
}

bool neapL__leave_leaked(lua_State *L, neapL__state *state, neapL__task *task, bool has_failed) {
  neapL__scope *self = (neapL__scope *)neap__routine_scope(&task->routine);
  if (!self->is_exiting) {
    self->is_exiting = true;
    warn_leak(L, state, self, task);
    if (begin_leaving(L, self, has_failed)) return true;
  }
  forget_lost(L, state, self);
  return false;
}

/* Scopes that the body of a form has left open: closed without waiting, their tasks go to the form's
 * scope, which joins them. */
void neapL__leave_inner(lua_State *L, neapL__state *state, neapL__task *task,
                        const neap__node *outer) {
  while (task->routine.current != outer) {
    neapL__scope *self = (neapL__scope *)neap__routine_scope(&task->routine);
    warn_leak(L, state, self, task);
    forget_lost(L, state, self);
  }
}

/* ---- Methods ------------------------------------------------------------------------------- */

/* scope:cancel(reason?) -> whether this call has requested it */
static int scope_cancel(lua_State *L) {
  neapL__scope *self = check_scope(L, 1);
  neap__node *node = &self->scope.node;
  bool is_first = self->scope.is_open && !node->is_requested &&
                  neap__node_cancel(node, neapL__new_cause(L, self->state, 2));
  lua_pushboolean(L, is_first);
  return 1;
}

static void check_unfinished(lua_State *L, const neapL__scope *self, const char *method) {
  if (!self->scope.is_open)
    neapL__misuse(L, "%s on a scope that has ended; it has no effect any more", method);
}

/* scope:set_timeout(seconds): from now on; math.huge for none */
static int scope_set_timeout(lua_State *L) {
  neapL__scope *self = check_scope(L, 1);
  double seconds = neapL__check_seconds(L, 2);
  check_unfinished(L, self, "set_timeout");
  if (neap__scope_set_timeout(core_of(self), seconds)) neapL__raise_memory(L);
  return 0;
}

/* scope:set_shield(boolean) */
static int scope_set_shield(lua_State *L) {
  neapL__scope *self = check_scope(L, 1);
  luaL_checktype(L, 2, LUA_TBOOLEAN);
  check_unfinished(L, self, "set_shield");
  neap__scope_set_shield(core_of(self), lua_toboolean(L, 2));
  return 0;
}

/* g:spawn(fn, ...) -> Task */
static int scope_spawn(lua_State *L) {
  neapL__scope *self = check_scope(L, 1);
  neapL__check_callable(L, 2);
  neapL__check_open(L, self->state);
  if (self->mode != NEAPL__GROUP)
    neapL__misuse(L, "spawn on a scope that is no group; use neap.group");
  check_unfinished(L, self, "spawn");
  neapL__start where = {&self->scope.node, core_of(self), true, false, false};
  return neapL__start_task(L, self->state, 2, 3, where);
}

/* scope.errors: what the tasks in it left and was not raised; reading them observes them */
static int push_errors(lua_State *L) {
  lua_newtable(L);
  if (lua_getiuservalue(L, 1, SCOPE_ERRORS) != LUA_TTABLE) {
    lua_pop(L, 1);
    return 1;
  }
  lua_Integer n = luaL_len(L, -1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, -1, i);
    neapL__failure *failure = lua_touserdata(L, -1);
    if (!failure->is_observed) neapL__failure_observed(failure);
    lua_getiuservalue(L, -1, 1);
    lua_rawseti(L, -4, i);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return 1;
}

/* scope.token: cancelled when the scope is */
static int push_own_token(lua_State *L, neapL__scope *self) {
  if (lua_getiuservalue(L, 1, SCOPE_TOKEN) == LUA_TUSERDATA) return 1;
  lua_pop(L, 1);
  neapL__check_open(L, self->state);
  neap_token *token = neapL__push_new_token(L, self->state);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 1, SCOPE_TOKEN);
  if (self->scope.is_open) {
    lua_pushvalue(L, -1);
    token->host = neapL__pin(L, self->state);
    neap__token_follow(token, &self->scope.node);
  } else if (self->scope.node.is_requested) {
    token->timed_out = neapL__scope_timed_out(&self->scope);
    neap_token_cancel(token);
  }
  return 1;
}

/* A field, or a method (upvalue 2). */
static int scope_index(lua_State *L) {
  const neapL__scope *self = check_scope(L, 1);
  const char *key = lua_tostring(L, 2);
  if (key && strcmp(key, "cancelled") == 0)
    lua_pushboolean(L, self->scope.node.is_requested);
  else if (key && strcmp(key, "caught") == 0)
    lua_pushboolean(L, self->caught);
  else if (key && strcmp(key, "errors") == 0)
    return push_errors(L);
  else if (key && strcmp(key, "token") == 0)
    return push_own_token(L, (neapL__scope *)lua_touserdata(L, 1));
  else
    lua_rawget(L, lua_upvalueindex(2));
  return 1;
}

static const char *const mode_names[] = {"scope",  "timeout",  "try_for",   "group",
                                         "shield", "deadline", "with_token"};

static int scope_tostring(lua_State *L) {
  const neapL__scope *self = check_scope(L, 1);
  lua_pushfstring(L, "neap.Scope (%s, opened at %s)%s", mode_names[self->mode], self->where,
                  self->scope.is_open ? "" : ": ended");
  return 1;
}

/* neap.effective_deadline() -> time | math.huge */
static int effective_deadline(lua_State *L) {
  const neap_loop *loop = neapL__state_here(L)->loop;
  neapL__check_alive(L, neapL__state_here(L));
  lua_pushnumber(L, neap__effective_deadline(neap__current_node(loop)));
  return 1;
}

static const luaL_Reg scope_methods[] = {{"cancel", scope_cancel},
                                         {"set_timeout", scope_set_timeout},
                                         {"set_shield", scope_set_shield},
                                         {"spawn", scope_spawn},
                                         {NULL, NULL}};

static const luaL_Reg scope_metamethods[] = {
    {"__close", scope_close}, {"__tostring", scope_tostring}, {NULL, NULL}};

void neapL__open_scopes(lua_State *L, neapL__state *state) {
  neapL__class_with_fields(L, &state->scope_meta, "neap.Scope", scope_metamethods, scope_methods,
                           scope_index);
  lua_pop(L, 1);
}

const luaL_Reg neapL__scope_functions[] = {{"scope", scope},
                                           {"timeout", timeout},
                                           {"try_for", try_for},
                                           {"shield", neapL__shield},
                                           {"group", group},
                                           {"with_token", with_token},
                                           {"deadline", deadline},
                                           {"effective_deadline", effective_deadline},
                                           {NULL, NULL}};
