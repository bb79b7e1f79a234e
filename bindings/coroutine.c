#include "coroutine.h"

#include "../core/cancel.h"
#include "await.h"
#include "interruption.h"
#include "locals.h"
#include "report.h"
#include "scope.h"
#include "stream.h"
#include "watch.h"

#include <assert.h>

enum {
  /* Children are resumed on top of their starter while there are few: that saves the yield and resume
   * of the starter: it took 168 ns instead of 247 for a spawn and await. Deeper ones are started by the
   * trampoline, at any depth. */
  NEST_SHALLOW = 8,
  /* Where the starter cannot yield (inside table.sort, a metamethod) nesting is the only way. A
   * level costs about three of Lua's 200 C levels; beyond this the child is queued. */
  NEST_DEEP = 40
};

static neapL__state *state_of(neapL__task *task) {
  return task->routine.task.loop->hooks.data;
}

/* ---- The pool ------------------------------------------------------------------------------ */

static neapL__coroutine acquire(lua_State *L, neapL__state *state) {
  if (state->pooled > 0) return state->pool[--state->pooled];
  neapL__coroutine co;
  co.thread = lua_newthread(L);
  co.slot = neapL__slot_give(L, &state->coroutines);
  return co;
}

/* Its stack is empty, or made so here. A hook that the task had set ends with the task. */
static void release(neapL__state *state, neapL__coroutine co) {
  lua_settop(co.thread, 0);
  if (lua_gethook(co.thread)) lua_sethook(co.thread, NULL, 0, 0);
  if (state->pooled < NEAPL__POOL)
    state->pool[state->pooled++] = co;
  else
    neapL__slot_free(state->aux, &state->coroutines, co.slot);
}

/* ---- The body ------------------------------------------------------------------------------ */

/* Inside the coroutine. Frame: the message handler, the Task, then the function and its arguments,
 * later its results or its error; the Task and what follows is returned. Everything that ends the
 * body comes through here, so to-be-closed variables have run, and could wait, before the outcome is
 * known (F1, F2). */

enum { BODY_HANDLER = 1, BODY_TASK, BODY_FIRST };

static bool is_own_cancelled(lua_State *L, neapL__state *state, neapL__task *task, int index) {
  return neap__node_is_cancelled(&task->routine.task.node) &&
         neapL__is_cancelled_object(L, state, index);
}

/* An error has left the body: decides how the task ends. The error is on top; leaves the value for
 * the Task there: the reason, or the failure. */
static void body_failed(lua_State *L, neapL__state *state, neapL__task *task) {
  neapL__error_arrived(L, state, task);
  /* Its stream was closed: the end that was asked for. */
  if (neapL__is_close_signal(L, state, -1)) {
    lua_pop(L, 1);
    return;
  }
  if (is_own_cancelled(L, state, task, -1)) {
    task->routine.task.flags |= NEAPL__IS_CANCELLED;
    lua_pop(L, 1);
    neapL__push_node_reason(L, state, task->routine.task.node.cancelled_by);
    return;
  }
  neapL__make_failure(L, state, task);
  task->routine.task.flags |= NEAPL__HAS_FAILURE;
}

static int body_left(lua_State *L, int status, lua_KContext has_failed) {
  neapL__task *task = lua_touserdata(L, BODY_TASK);
  neapL__state *state = state_of(task);
  (void)status;
  while (neap__routine_scope(&task->routine))
    if (neapL__leave_leaked(L, state, task, has_failed))
      return lua_yieldk(L, 0, has_failed, body_left);
  if (has_failed) body_failed(L, state, task);
  return lua_gettop(L) - BODY_HANDLER;
}

static int body_returned(lua_State *L, int status, lua_KContext context) {
  (void)context;
  bool has_failed = status != LUA_OK && status != LUA_YIELD;
  const neapL__task *task = lua_touserdata(L, BODY_TASK);
  if (!has_failed && task->routine.current == &task->routine.task.node)
    return lua_gettop(L) - BODY_HANDLER;
  return body_left(L, LUA_OK, has_failed);
}

static int body(lua_State *L) {
  int n = lua_gettop(L) - BODY_FIRST;
  return body_returned(L, lua_pcallk(L, n, LUA_MULTRET, BODY_HANDLER, 0, body_returned), 0);
}

/* The frame of `body` is the outermost one of its thread. */
static void push_from_frame(lua_State *thread) {
  lua_Debug ar;
  int low = 0, high = 1;
  while (lua_getstack(thread, high, &ar)) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    int middle = (low + high) / 2;
    if (lua_getstack(thread, middle, &ar))
      low = middle;
    else
      high = middle;
  }
  lua_getstack(thread, low, &ar);
  lua_getlocal(thread, &ar, BODY_TASK);
}

void neapL__push_body_task(lua_State *L, neapL__task *task) {
  lua_State *thread = task->co.thread;
  lua_Debug ar;
  lua_checkstack(thread, 2);
  if (lua_getstack(thread, 0, &ar))
    push_from_frame(thread);
  else
    lua_pushvalue(thread, 1 + BODY_TASK); /* not started: the body and its arguments */
  if (thread != L) lua_xmove(thread, L, 1);
}

/* ---- Ending -------------------------------------------------------------------------------- */

/* A failed task: its owner hears of it when nobody else has observed it. [.., Task, failure] */
static void failed(lua_State *L, neapL__state *state, neapL__task *task) {
  neapL__failure *failure = lua_touserdata(L, -1);
  neap_scope *owner = task->routine.owner;
  if (owner && owner->task && !neapL__is_lua_scope(owner)) owner = NULL; /* C's keeps no failures */
  lua_pushvalue(L, -2);
  lua_setiuservalue(L, -2, NEAPL__FAILURE_TASK);
  failure->owner = owner;
  failure->is_root = owner == &state->loop->root;
  neap__list_unlink(&failure->link);
  if (task->routine.task.flags & NEAPL__IS_OBSERVED)
    neapL__failure_observed(failure);
  else
    neap__list_append(owner ? &owner->failures : &state->lost, &failure->link);
  if (task->in_group) neapL__group_failed(L, state, owner, failure);
}

/* On top of L are the Task and what the body left, n values. Gives the task its outcome. */
static neap_status take_outcome(lua_State *L, neapL__state *state, neapL__task *task, int n) {
  neap_task *core = &task->routine.task;
  if (core->flags & NEAPL__HAS_FAILURE) {
    failed(L, state, task);
    lua_setiuservalue(L, -2, 1);
    return NEAP_FAILED;
  }
  neapL__set_results(L, -(n + 1), core, n);
  return core->flags & NEAPL__IS_CANCELLED ? NEAP_CANCELLED : NEAP_DONE;
}

typedef struct outcome_call {
  neapL__task *task;
  int n;
  neap_status status;
} outcome_call;

/* (call): the thread has the Task and n values, of which the Task stays. */
static int protected_outcome(lua_State *L) {
  outcome_call *call = lua_touserdata(L, 1);
  lua_State *thread = call->task->co.thread;
  luaL_checkstack(L, call->n + 8, "too many results");
  lua_pushvalue(thread, 1);
  lua_xmove(thread, L, 1);
  lua_xmove(thread, L, call->n);
  call->status = take_outcome(L, state_of(call->task), call->task, call->n);
  return 0;
}

/* Out of memory: there is no more than the error itself. [1] of the thread is the Task, the error is
 * on top. Nothing here allocates. */
static neap_status take_raw_error(neapL__task *task) {
  task->routine.task.flags = NEAPL__HAS_ERROR;
  lua_setiuservalue(task->co.thread, 1, 1);
  return NEAP_FAILED;
}

/* Where it may need memory, on a thread where errors can be caught. */
static neap_status take_outcome_safely(neapL__state *state, neapL__task *task, int n) {
  if (n <= 1 && !(task->routine.task.flags & NEAPL__HAS_FAILURE))
    return take_outcome(task->co.thread, state, task, n);
  outcome_call call = {task, n, NEAP_FAILED};
  lua_State *L = state->aux;
  lua_pushcfunction(L, protected_outcome);
  lua_pushlightuserdata(L, &call);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return call.status;
  lua_settop(task->co.thread, 1);
  lua_xmove(L, task->co.thread, 1);
  return take_raw_error(task);
}

static void forget(lua_State *L, neapL__state *state, neapL__task *task) {
  if (task->has_cancelled) neapL__forget_cancelled(L, state, &task->routine.task.node);
  if (task->has_captures) neapL__forget_captures(L, state, task);
  neapL__forget_locals(state, task);
}

static void leave_scopes(neapL__state *state, neapL__task *task) {
  for (neap_scope *scope; (scope = neap__routine_scope(&task->routine));) {
    neapL__scope_abandon(state, scope);
  }
}

/* The Task has its outcome before anybody is woken. Whoever calls keeps the Task alive. */
static void end(neapL__state *state, neapL__task *task, neap_status status) {
  leave_scopes(state, task);
  forget(state->aux, state, task);
  neap__list_unlink(&task->link);
  task->co.thread = NULL;
  neap__routine_end(&task->routine, status);
  neap__node_forget_cause(&task->routine.task.node, state->loop);
}

/* The thread is dead, its error on top: takes the error, and leaves [1] the Task, the error. */
static void revive(neapL__state *state, neapL__task *task) {
  lua_State *thread = task->co.thread, *L = state->aux;
  neapL__push_body_task(L, task);
  lua_xmove(thread, L, 1);
  neapL__close_thread(thread, state->runner);
  lua_settop(thread, 0);
  lua_xmove(L, thread, 2);
}

static void ended(neapL__state *state, neapL__task *task, int status) {
  neapL__coroutine co = task->co;
  neap_status outcome;
  if (status == LUA_OK) {
    outcome = take_outcome_safely(state, task, lua_gettop(co.thread) - 1);
  } else {
    revive(state, task);
    outcome = take_raw_error(task);
  }
  end(state, task, outcome);
  if (task->is_producer) neapL__producer_ended(co.thread, 1, state, task);
  release(state, co);
}

/* ---- Running ------------------------------------------------------------------------------- */

/* coroutine.yield in a task, outside a generator: nobody is there to resume it. */
static int yielder_error(lua_State *L) {
  neapL__task *task = lua_touserdata(L, 1);
  neapL__state *state = state_of(task);
  neapL__push_new_error(L, state, "EMISUSE",
                        "coroutine.yield was called in a task, which nobody resumes; to let the "
                        "others run, use await(neap.yield())");
  neapL__push_thread_position(L, task->co.thread);
  lua_setfield(L, -2, "where");
  neapL__make_failure(L, state, NULL);
  return 1;
}

static void fail_yielder(neapL__state *state, neapL__task *task) {
  neapL__coroutine co = task->co;
  lua_State *L = state->aux;
  lua_pushcfunction(L, yielder_error);
  lua_pushlightuserdata(L, task);
  bool is_made = lua_pcall(L, 1, 1, 0) == LUA_OK;
  lua_xmove(L, co.thread, 1);
  revive(state, task);
  if (is_made) task->routine.task.flags |= NEAPL__HAS_FAILURE;
  end(state, task, is_made ? take_outcome_safely(state, task, 1) : take_raw_error(task));
  if (task->is_producer) neapL__producer_ended(co.thread, 1, state, task);
  release(state, co);
}

static bool is_parked(const neapL__task *task) {
  return task->routine.state != NEAP__RUNNING;
}

/* Resumes `first`, and flatly the children that are asked for on the way: a child runs until it
 * suspends, then the task that asked for it goes on. So C#'s order holds at any depth. */
static void run(neapL__state *state, lua_State *from, neapL__task *first) {
  neap__routine *outer = state->loop->current;
  lua_State *outer_thread = state->resumed;
  neapL__task *task = first;
  state->nesting++;
  for (;;) {
    int n;
    state->loop->current = &task->routine;
    task->routine.state = NEAP__RUNNING;
    int arguments = task->arguments;
    task->arguments = 0;
    neapL__follow(state, task->co.thread);
    int status = lua_resume(task->co.thread, from, arguments, &n);
    neapL__task *child = state->start_request;
    if (status == LUA_YIELD && child) {
      state->start_request = NULL;
      child->starter = task;
      task = child;
      continue;
    }
    neapL__task *starter = task->starter;
    task->starter = NULL;
    state->loop->current = NULL;
    if (status != LUA_YIELD)
      ended(state, task, status);
    else if (!is_parked(task))
      fail_yielder(state, task);
    if (!starter) break;
    task = starter;
  }
  state->nesting--;
  neapL__follow(state, outer_thread);
  state->loop->current = outer;
}

static void resume(neap__routine *routine) {
  neapL__task *task = neapL__task_of(routine);
  neapL__state *state = state_of(task);
  run(state, state->runner, task);
}

static void drop(neap__routine *routine) {
  neapL__task *task = neapL__task_of(routine);
  neapL__state *state = state_of(task);
  neapL__close_body(state->aux, state, task);
}

const neap__task_kind neapL__body_kind = {
    .name = "task", .has_body = true, .resume = resume, .drop = drop};

/* ---- Starting ------------------------------------------------------------------------------ */

/* Copies the Task, which is on top of L, the function and its n arguments to the task's thread. In one
 * move: 15 ns less than with the arguments rotated into place. */
static void prepare(lua_State *L, neapL__task *task, int function, int first, int n) {
  lua_State *thread = task->co.thread;
  lua_pushcfunction(thread, body);
  lua_pushcfunction(thread, neapL__handle_error);
  lua_pushvalue(L, -1);
  lua_pushvalue(L, function);
  for (int i = 0; i < n; i++) lua_pushvalue(L, first + i);
  lua_xmove(L, thread, n + 2);
  task->arguments = n + BODY_FIRST;
}

/* A coroutine with room for n arguments. Whatever may raise has to come before. */
static neapL__coroutine acquire_for(lua_State *L, neapL__state *state, int n) {
  luaL_checkstack(L, n + 8, "too many arguments for a task");
  neapL__coroutine co = acquire(L, state);
  if (lua_checkstack(co.thread, n + 8)) return co;
  release(state, co);
  luaL_error(L, "not enough memory: too many arguments for a task");
  return co;
}

neapL__task *neapL__new_task(lua_State *L, neapL__state *state, int function, int first,
                             neapL__start where, size_t size) {
  int n = lua_gettop(L) - first + 1;
  neapL__task *task = neapL__new_embedded(L, state, size, size > sizeof *task ? 2 : 1);
  bool has_locals = neapL__reserve_locals(L, state);
  neapL__coroutine co = acquire_for(L, state, n);
  task->locals = 0;
  if (has_locals) neapL__inherit_locals(L, state, task);
  task->co = co;
  task->handle = (neapL__handle){&task->routine.task, NULL};
  task->starter = NULL;
  task->swallowed_by = NULL;
  task->swallowed = 0;
  task->depth = 1;
  task->rethrown = NULL;
  task->in_group = where.in_group;
  task->has_cancelled = task->has_captures = task->is_producer = false;
  neap__list_append(&state->bodies, (neap__list_init(&task->link), &task->link));
  neap__routine_init(&task->routine, state->loop, &neapL__body_kind, where.parent, where.owner);
  neap__loop_unanchor(state->loop); /* the Lua state keeps the loop */
  prepare(L, task, function, first, n);
  return task;
}

/* The starter goes on, with the Task on top of its frame. */
static int started(lua_State *L, int status, lua_KContext context) {
  (void)L;
  (void)status;
  (void)context;
  return 1;
}

int neapL__run_now(lua_State *L, neapL__state *state, neapL__task *task, lua_KFunction next,
                   lua_KContext context) {
  const neapL__task *current = neapL__current(state);
  bool can_yield = current && current->co.thread == L && lua_isyieldable(L);
  if (can_yield && state->nesting >= NEST_SHALLOW) {
    state->start_request = task;
    return lua_yieldk(L, 0, context, next);
  }
  if (state->nesting < NEST_DEEP)
    run(state, L, task);
  else
    neap__routine_wake(&task->routine, NEAP__WAKE_START);
  return next(L, LUA_OK, context);
}

int neapL__start_task(lua_State *L, neapL__state *state, int function, int first,
                      neapL__start where) {
  neapL__task *child = neapL__new_task(L, state, function, first, where, sizeof *child);
  if (where.is_watched) neapL__watch(L, state);
  if (!where.is_queued) return neapL__run_now(L, state, child, started, 0);
  neap__routine_wake(&child->routine, NEAP__WAKE_START);
  return 1;
}

void neapL__start_background(lua_State *L, neapL__state *state, int function) {
  neapL__start where = {&state->loop->root.node, NULL, false, false, false};
  neapL__enter_locals(L, state);
  neapL__start_task(L, state, function, function + 1, where);
}

void neapL__call_starter(lua_State *L, neapL__state *state, int n) {
  uint32_t former = state->root_locals;
  int status = lua_pcall(L, n, 0, 0);
  if (state->root_locals != former) neapL__leave_locals(state, former);
  if (status != LUA_OK) neapL__report_error(L, state);
}

static neapL__start here(const neapL__state *state) {
  return (neapL__start){neap__current_node(state->loop), neap__current_owner(state->loop), false,
                        true, false};
}

void neapL__check_callable(lua_State *L, int index) {
  if (lua_isfunction(L, index)) return;
  if (luaL_getmetafield(L, index, "__call") == LUA_TNIL) luaL_typeerror(L, index, "function");
  lua_pop(L, 1);
}

/* An async function: upvalues state, fn. */
static int call_async(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__check_open(L, state);
  return neapL__start_task(L, state, lua_upvalueindex(2), 1, here(state));
}

/* neap.async(fn) -> function(...) -> Task */
static int async(lua_State *L) {
  neapL__check_callable(L, 1);
  lua_settop(L, 1);
  lua_pushlightuserdata(L, neapL__state_here(L));
  lua_insert(L, 1);
  lua_pushcclosure(L, call_async, 2);
  return 1;
}

/* neap.start(fn, ...) -> Task */
static int start(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__check_callable(L, 1);
  neapL__check_open(L, state);
  return neapL__start_task(L, state, 1, 2, here(state));
}

/* neap.background(fn, ...) -> Task */
static int background(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__check_callable(L, 1);
  neapL__check_open(L, state);
  neapL__start where = {&state->loop->root.node, NULL, false, false, false};
  return neapL__start_task(L, state, 1, 2, where);
}

/* ---- Closing ------------------------------------------------------------------------------- */

/* It runs now, or has resumed what runs (os.exit in a task): its thread dies with the Lua state. */
static bool is_on_c_stack(const neapL__task *task) {
  return task->routine.state == NEAP__RUNNING && lua_status(task->co.thread) == LUA_OK;
}

/* While it is queued; what it was queued for will not happen. */
static bool is_this_one(neap__runnable *runnable, void *data) {
  return runnable == data;
}

static bool is_any_body(neap__runnable *runnable, void *data) {
  (void)data;
  return neap__is_routine(runnable);
}

/* Takes the runnable out of the queue; all bodies at once are taken out by close_bodies. */
static void leave_queue(neapL__state *state, neapL__task *task) {
  if (task->routine.state == NEAP__READY && state->loop->ready.head)
    neap__ready_remove(&state->loop->ready, is_this_one, &task->routine.runnable);
}

static int close_protected(lua_State *L) {
  neapL__close_thread(lua_touserdata(L, 1), L);
  return 0;
}

/* Its to-be-closed variables are closed. False: there was no memory for that, and the thread is of no use. */
static bool close_thread(lua_State *L, neapL__state *state, neapL__task *task) {
  neap__routine *outer = state->loop->current;
  task->routine.state = NEAP__RUNNING;
  state->loop->current = &task->routine;
  lua_pushcfunction(L, close_protected);
  lua_pushlightuserdata(L, task->co.thread);
  int status = lua_pcall(L, 1, 0, 0);
  if (status != LUA_OK) lua_pop(L, 1);
  state->loop->current = outer;
  return status == LUA_OK;
}

void neapL__close_body(lua_State *L, neapL__state *state, neapL__task *task) {
  neapL__coroutine co = task->co;
  bool is_closable = !is_on_c_stack(task), is_closed = false;
  neap__wait_withdraw(&task->routine.wait);
  leave_queue(state, task);
  neapL__push_body_task(L, task);
  if (is_closable) is_closed = close_thread(L, state, task);
  end(state, task, NEAP_CANCELLED);
  if (task->is_producer) neapL__producer_ended(L, lua_gettop(L), state, task);
  if (is_closed && co.slot)
    release(state, co);
  else if (is_closable && co.slot)
    neapL__slot_free(state->aux, &state->coroutines, co.slot);
  lua_pop(L, 1);
}

void neapL__close_bodies(lua_State *L, neapL__state *state) {
  neap__ready_remove(&state->loop->ready, is_any_body, NULL);
  while (!neap__list_is_empty(&state->bodies))
    neapL__close_body(L, state, NEAP__CONTAINER(state->bodies.prev, neapL__task, link));
}

static void adopt_parked(neapL__state *state) {
  while (!neap__list_is_empty(&state->parked)) {
    neapL__task *task = NEAP__CONTAINER(state->parked.next, neapL__task, link);
    neap__routine_adopt(&task->routine, &state->loop->root.node, NULL);
    neap__list_unlink(&task->link);
    neap__list_append(&state->bodies, &task->link);
  }
}

/* Producers come to the end of the list with each pull. */
static void sort_bodies(neapL__state *state) {
  neap_task *sorted = NULL;
  for (neap__list *link = state->bodies.next; link != &state->bodies; link = link->next) {
    neap_task *task = &NEAP__CONTAINER(link, neapL__task, link)->routine.task;
    task->deliver_next = sorted;
    sorted = task;
  }
  sorted = neap__sort_by_creation(sorted);
  neap__list_init(&state->bodies);
  for (; sorted; sorted = sorted->deliver_next)
    neap__list_append(&state->bodies, &neapL__task_of(neap__task_routine(sorted))->link);
}

void neapL__close_all(lua_State *L, neapL__state *state) {
  adopt_parked(state);
  sort_bodies(state);
  neapL__close_bodies(L, state);
}

const luaL_Reg neapL__coroutine_functions[] = {
    {"async", async}, {"start", start}, {"background", background}, {NULL, NULL}};
