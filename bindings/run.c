#include "run.h"

#include "../core/cancel.h"
#include "../core/ops/interrupt.h"
#include "await.h"
#include "clock.h"
#include "coroutine.h"
#include "describe.h"
#include "error.h"
#include "luv.h"
#include "operations.h"
#include "report.h"
#include "watch.h"

#include <math.h>

static const double default_grace = 5;

/* ---- The pump ------------------------------------------------------------------------------ */

typedef bool (*condition)(const neapL__state *state, const neap_task *task);

static bool is_run_over(const neapL__state *state, const neap_task *main) {
  return main->status != NEAP_PENDING && state->loop->root.live == 0;
}

/* The grace period is over by the loop's clock, or by real time: a virtual clock stands still while a
 * task is always ready. */
static bool is_quiet_or_ended(const neapL__state *state, const neap_task *alarm) {
  return state->loop->tasks == 0 || alarm->status != NEAP_PENDING || uv_hrtime() > state->grace_end;
}

/* Runs the loop until `is_done`; false if nothing can go on any more. */
static bool pump(neapL__state *state, const neap_task *task, condition is_done) {
  while (!is_done(state, task)) {
    neap__loop_turns(state->loop);
    if (is_done(state, task)) break;
    if (neap__loop_wait(state->loop) == NEAP_IDLE) return false;
  }
  return true;
}

/* ---- Deadlock ------------------------------------------------------------------------------ */

/* Pushes EDEADLOCK with a line for each task that cannot go on. */
static void push_deadlock(lua_State *L, neapL__state *state) {
  int top = lua_gettop(L);
  luaL_Buffer text;
  size_t n = neapL__push_lines(L, state, true);
  luaL_buffinit(L, &text);
  if (n == 0)
    lua_pushliteral(L, "nothing can complete the task that is waited for: no task, timer or I/O is "
                       "pending");
  else
    lua_pushfstring(L, "nothing can wake %d task%s, and there is no timer and no I/O to wait for:",
                    (int)n, n == 1 ? "" : "s");
  luaL_addvalue(&text);
  for (size_t i = 1; i <= n; i++) {
    luaL_addstring(&text, "\n  ");
    lua_rawgeti(L, top + 1, (lua_Integer)i);
    luaL_addvalue(&text);
  }
  luaL_pushresult(&text);
  neapL__push_new_error(L, state, "EDEADLOCK", lua_tostring(L, -1));
  lua_pushvalue(L, top + 1);
  lua_setfield(L, -2, "tasks");
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
}

/* It hangs in a scope of a producer that nobody pulls. */
static bool is_apart(const neapL__state *state, const neapL__task *task) {
  if (neap__list_is_empty(&state->parked)) return false;
  const neap__node *node = &task->routine.task.node;
  while (node->parent) node = node->parent;
  return node != &state->loop->root.node;
}

/* One with a body in C that nobody joins, and that no cancellation has reached yet. */
static neap_task *first_background_of_c(const neap_loop *loop) {
  neap__node *top = (neap__node *)(uintptr_t)&loop->root.node;
  for (neap__node *node = top; node; node = neap__node_next(node, top)) {
    neap_task *task = node->kind == NEAP__NODE_TASK ? neap__node_task(node) : NULL;
    bool has_c_body = task && task->kind->has_body && !neapL__is_lua(task);
    if (!has_c_body || neap__node_is_cancelled(node) || node->is_requested) continue;
    if (!neap__task_routine(task)->owner) return task;
  }
  return NULL;
}

/* Cancelling runs nothing, so the list stays as it is; but operations leave the tree. */
static void cancel_background(neapL__state *state) {
  for (neap__list *link = state->bodies.next; link != &state->bodies; link = link->next) {
    neapL__task *task = NEAP__CONTAINER(link, neapL__task, link);
    if (!task->routine.owner || is_apart(state, task))
      neap__node_cancel(&task->routine.task.node, NULL);
  }
  for (neap_task *task; (task = first_background_of_c(state->loop));) neap_task_cancel(task);
}

/* Unwinds tasks that wait for each other: cancelled by one request, which `finish` takes back, and
 * closed if that does not help either. */
static void break_deadlock(lua_State *L, neapL__state *state, const neap_task *main) {
  neap__node_cancel(&state->loop->root.node, NULL);
  if (!pump(state, main, is_run_over)) neapL__close_bodies(L, state);
}

/* ---- Shutdown ------------------------------------------------------------------------------ */

static void warn_closed(lua_State *L, neapL__state *state, neapL__task *task) {
  neapL__push_label(L, state, task);
  lua_pushliteral(L, " was still running in the background after the grace period, and was closed");
  lua_concat(L, 2);
  neapL__push_body_task(L, task);
  neapL__warn(L, state);
}

/* C21: background tasks are cancelled, have a grace period, and are closed. */
static int end_background(lua_State *L, neapL__state *state, double grace) {
  neap_task *alarm;
  if (state->loop->tasks == 0) return 0;
  cancel_background(state);
  state->grace_end = grace < 1e9 ? uv_hrtime() + (uint64_t)(grace * 1e9) : UINT64_MAX;
  int code = neap_sleep(state->loop, grace, &alarm);
  if (code) return code;
  pump(state, alarm, is_quiet_or_ended);
  neap_task_cancel(alarm);
  neap_task_unref(alarm);
  for (neap__list *link = state->bodies.next; link != &state->bodies; link = link->next)
    warn_closed(L, state, NEAP__CONTAINER(link, neapL__task, link));
  neapL__close_bodies(L, state);
  return 0;
}

/* The first one at the root that was not cancelled: work on another thread goes on when it was. */
static neap_task *first_operation(const neap_loop *loop) {
  neap__node *first = neap__node_first_child(&loop->root.node), *node = first;
  while (node && node->is_requested) node = node->next == first ? NULL : node->next;
  return node ? neap__node_task(node) : NULL;
}

/* Operations that nobody waits for any more (99). */
static void drop_operations(neap_loop *loop) {
  for (neap_task *task; (task = first_operation(loop));) neap_task_cancel(task);
}

/* ---- neap.run ------------------------------------------------------------------------------ */

typedef struct run_options {
  neap_clock *clock;
  double grace;
  bool is_debugging;
} run_options;

static void bad_option(lua_State *L, const char *name, const char *expected) {
  luaL_argerror(L, 1, lua_pushfstring(L, "option '%s' must be %s", name, expected));
}

/* Reads the options at 1, whose values stay on the stack. */
static run_options read_options(lua_State *L) {
  run_options options = {NULL, default_grace, neapL__debug_default()};
  if (lua_getfield(L, 1, "clock") != LUA_TNIL) {
    if (!luaL_testudata(L, -1, "neap.Clock")) bad_option(L, "clock", "a clock (neap.test_clock)");
    options.clock = neapL__check_clock(L, -1);
  }
  if (lua_getfield(L, 1, "grace") != LUA_TNIL) {
    if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) >= 0))
      bad_option(L, "grace", "a duration in seconds, 0 or more");
    options.grace = lua_tonumber(L, -1);
  }
  if (lua_getfield(L, 1, "debug") != LUA_TNIL) options.is_debugging = lua_toboolean(L, -1);
  return options;
}

/* (state, options, fn, ...) -> Task, or nil and EDEADLOCK behind it */
static int run_protected(lua_State *L) {
  neapL__state *state = lua_touserdata(L, 1);
  run_options *options = lua_touserdata(L, 2);
  neapL__start where = {&state->loop->root.node, &state->loop->root, false, false, true};
  neapL__start_task(L, state, 3, 4, where);
  lua_replace(L, 3);
  lua_settop(L, 3);
  neap_task *main = ((neapL__handle *)lua_touserdata(L, 3))->task;
  bool had_failed = false;
  state->main = main;
  lua_pushnil(L); /* [3] the main Task, [4] EDEADLOCK or nil */
  if (!pump(state, main, is_run_over)) {
    had_failed = main->status == NEAP_FAILED;
    push_deadlock(L, state);
    lua_replace(L, 4);
    break_deadlock(L, state, main);
    if (had_failed) {
      lua_pushnil(L);
      lua_replace(L, 4);
    }
  }
  if (end_background(L, state, options->grace)) return neapL__raise_memory(L);
  drop_operations(state->loop);
  return 2;
}

static void begin(lua_State *L, neapL__state *state, const run_options *options) {
  neap_loop_set_clock(state->loop, options->clock ? options->clock : state->clock);
  state->runner = L;
  state->is_running = true;
  state->is_debugging = options->is_debugging;
  state->first_lost_pin = 0;
}

static void finish(lua_State *L, neapL__state *state) {
  state->main = NULL;
  neapL__forget_cancelled(L, state, &state->loop->root.node);
  state->loop->root.node.is_requested = false;
  neap__node_changed(&state->loop->root.node);
  neap__loop_calm_down(state->loop);
  neapL__report_all(L, state);
  neapL__watch_report(L, state);
  neap_loop_set_clock(state->loop, state->clock);
  state->runner = state->aux;
  state->is_running = state->is_debugging = false;
}

/* After an error that is none of a task's: no memory. */
static int abandon(lua_State *L, neapL__state *state) {
  neap__loop_recover(state->loop);
  state->nesting = 0;
  neapL__close_bodies(L, state);
  drop_operations(state->loop);
  finish(L, state);
  return lua_error(L);
}

static int take_first_lost(lua_State *L, neapL__state *state) {
  neapL__slot_push(L, &state->pins, state->first_lost_pin);
  neapL__slot_free(L, &state->pins, state->first_lost_pin);
  state->first_lost_pin = 0;
  return lua_error(L);
}

static void forget_first_lost(lua_State *L, neapL__state *state) {
  if (!state->first_lost_pin) return;
  neapL__slot_free(L, &state->pins, state->first_lost_pin);
  state->first_lost_pin = 0;
}

/* The main Task is at `index`, EDEADLOCK or nil behind it. */
static int deliver(lua_State *L, neapL__state *state, int index) {
  neap_task *main = ((neapL__handle *)lua_touserdata(L, index))->task;
  main->flags |= NEAPL__IS_TOUCHED;
  if (main->status == NEAP_FAILED && lua_isnil(L, index + 1)) neapL__observe(L, index);
  finish(L, state);
  if (!lua_isnil(L, index + 1)) {
    forget_first_lost(L, state);
    return lua_error(L);
  }
  if (main->status == NEAP_FAILED) {
    forget_first_lost(L, state);
    neapL__push_error(L, state, index);
    return lua_error(L);
  }
  if (state->first_lost_pin) return take_first_lost(L, state);
  if (main->status == NEAP_DONE) return neapL__push_results(L, state, index);
  neapL__push_cancelled_error(L, state, index);
  return lua_error(L);
}

/* neap.run(opts?, fn, ...) -> fn's results, when all has ended */
static int run(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  run_options options = {NULL, default_grace, neapL__debug_default()};
  neapL__check_open(L, state);
  neapL__check_loop(L, state, "run");
  if (state->is_running || neap__loop_is_running(state->loop))
    return neapL__misuse(L,
                         "neap.run inside a running loop; start a task with neap.start, or await");
  if (neapL__luv_runs(L, state))
    return neapL__misuse(L, "neap.run inside uv.run, which runs tasks, too: use neap.start");
  luaL_checktype(L, lua_istable(L, 1) ? 2 : 1, LUA_TFUNCTION);
  if (lua_istable(L, 1)) {
    int n = lua_gettop(L);
    options = read_options(L);
    lua_settop(L, n);
  } else {
    lua_pushnil(L);
    lua_insert(L, 1);
  }
  begin(L, state, &options);
  int n = lua_gettop(L) - 2;
  lua_pushcfunction(L, run_protected);
  lua_insert(L, 2);
  lua_pushlightuserdata(L, state);
  lua_insert(L, 3);
  lua_pushlightuserdata(L, &options);
  lua_insert(L, 4);
  if (lua_pcall(L, n + 3, 2, 0) != LUA_OK) return abandon(L, state);
  return deliver(L, state, lua_gettop(L) - 1);
}

/* ---- task:wait ----------------------------------------------------------------------------- */

struct wait_call {
  neapL__state *state;
  neap_task *task, *alarm;
  bool can_go_on;
};
typedef struct wait_call wait_call;

static bool has_ended_or_rung(const neapL__state *state, const neap_task *task) {
  const wait_call *call = state->wait_call;
  return task->status != NEAP_PENDING || (call->alarm && call->alarm->status != NEAP_PENDING);
}

static int wait_protected(lua_State *L) {
  wait_call *call = lua_touserdata(L, 1);
  call->can_go_on = pump(call->state, call->task, has_ended_or_rung);
  if (!call->can_go_on && lua_toboolean(L, 2)) push_deadlock(L, call->state);
  return call->can_go_on ? 0 : lua_gettop(L) - 2;
}

/* Pumps; the status of Lua, with the error on top, or EDEADLOCK if `explains` and it is one. */
static int pump_for(lua_State *L, wait_call *call, bool explains) {
  neapL__state *state = call->state;
  state->wait_call = call;
  state->is_running = true;
  state->runner = L;
  lua_pushcfunction(L, wait_protected);
  lua_pushlightuserdata(L, call);
  lua_pushboolean(L, explains);
  int status = lua_pcall(L, 2, LUA_MULTRET, 0);
  neap__loop_recover(state->loop);
  state->runner = state->aux;
  state->is_running = false;
  state->wait_call = NULL;
  return status;
}

static int begin_wait(wait_call *call, double seconds) {
  return seconds < HUGE_VAL ? neap_sleep(call->state->loop, seconds, &call->alarm) : 0;
}

static void end_wait(wait_call *call) {
  if (!call->alarm) return;
  neap_task_cancel(call->alarm);
  neap_task_unref(call->alarm);
}

static int wait_pumping(lua_State *L, neapL__state *state, double seconds) {
  wait_call call = {state, ((neapL__handle *)lua_touserdata(L, 1))->task, NULL, false};
  if (begin_wait(&call, seconds)) return neapL__raise_memory(L);
  int status = pump_for(L, &call, true);
  end_wait(&call);
  if (status != LUA_OK || !call.can_go_on) return lua_error(L);
  if (call.task->status != NEAP_PENDING) return 0;
  neapL__push_new_error(L, state, "ETIMEDOUT", "the time limit has passed");
  return lua_error(L);
}

int neapL__wait_for(lua_State *L, neapL__state *state, neap_task *task, double seconds) {
  wait_call call = {state, neap_task_ref(task), NULL, false};
  int top = lua_gettop(L);
  int code = begin_wait(&call, seconds);
  if (!code && pump_for(L, &call, false) != LUA_OK) {
    neapL__recover(L, state);
    code = UV_ENOMEM;
  }
  end_wait(&call);
  if (!code && !call.can_go_on) code = NEAP_EDEADLOCK;
  if (!code && task->status == NEAP_PENDING) code = UV_ETIMEDOUT;
  lua_settop(L, top);
  neap_task_unref(task);
  return code;
}

/* task:wait(seconds?) -> its outcome, as from await; only outside a loop */
int neapL__task_wait(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__handle *handle = neapL__check_handle(L, 1);
  double seconds = lua_isnoneornil(L, 2) ? HUGE_VAL : neapL__check_seconds(L, 2);
  neapL__check_open(L, state);
  neapL__check_loop(L, state, "wait");
  if (state->loop->current) return neapL__misuse(L, "wait inside a task: use await");
  if (state->is_running || neap__loop_is_running(state->loop))
    return neapL__misuse(L, "wait inside a running loop: it would stop it; use on_done, or a task");
  if (neapL__luv_runs(L, state))
    return neapL__misuse(L, "wait inside uv.run: it would stop it; use on_done, or a task");
  handle->task->flags |= NEAPL__IS_TOUCHED;
  lua_settop(L, 1);
  if (handle->task->status == NEAP_PENDING) wait_pumping(L, state, seconds);
  switch (handle->task->status) {
  case NEAP_DONE: return neapL__push_results(L, state, 1);
  case NEAP_FAILED: neapL__push_error(L, state, 1); break;
  default: neapL__push_cancelled_error(L, state, 1); break;
  }
  return lua_error(L);
}

/* ---- Turns in a foreign run ------------------------------------------------------------------ */

static int run_turns(lua_State *L) {
  neapL__state *state = lua_touserdata(L, 1);
  neap__loop_turns(state->loop);
  return 0;
}

void neapL__run_turns(void *data) {
  neapL__state *state = data;
  lua_State *L = state->aux;
  lua_pushcfunction(L, run_turns);
  lua_pushlightuserdata(L, state);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) neapL__recover(L, state);
}

void neapL__recover(lua_State *L, neapL__state *state) {
  neap__loop_recover(state->loop);
  state->nesting = 0;
  neapL__close_bodies(L, state);
  drop_operations(state->loop);
  neapL__report_error(L, state);
}

/* ---- Small things for neap.main ------------------------------------------------------------- */

/* core.current() -> the current Task, or nil */
static int current(lua_State *L) {
  neapL__task *task = neapL__current(neapL__state_here(L));
  if (task)
    neapL__push_body_task(L, task);
  else
    lua_pushnil(L);
  return 1;
}

/* core.interrupt() -> Task that is done at SIGINT; the next SIGINT ends the process. */
static const neapL__row rows[] = {
    {"interrupt", &neap__interrupt_kind, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static const luaL_Reg functions[] = {{"run", run}, {"current", current}, {NULL, NULL}};

void neapL__register_run(lua_State *L) {
  neapL__register_rows(L, rows);
  neapL__register(L, functions);
}
