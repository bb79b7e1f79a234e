#include "combine.h"

#include "../core/combine.h"
#include "error.h"
#include "operations.h"
#include "watch.h"

#include <math.h>

/* A combined Task has a second user value: the list of its elements, which keeps them alive. It is
 * pinned while it is pending. */
enum { ELEMENTS = 2 };

void neapL__push_element(lua_State *L, int index, size_t i) {
  lua_getiuservalue(L, index, ELEMENTS);
  lua_rawgeti(L, -1, (lua_Integer)i + 1);
  lua_remove(L, -2);
}

/* ---- Results ------------------------------------------------------------------------------- */

static neap__combine *combine_at(lua_State *L, int index) {
  return neap__task_combine(((neapL__handle *)lua_touserdata(L, index))->task);
}

/* {n =, first results} */
static int push_all(lua_State *L, neapL__state *state, int index) {
  size_t count = combine_at(L, index)->count;
  lua_createtable(L, (int)count, 1);
  int table = lua_gettop(L);
  for (size_t i = 0; i < count; i++) {
    neapL__push_element(L, index, i);
    if (neapL__push_results(L, state, lua_gettop(L)) > 0) {
      lua_settop(L, table + 2);
      lua_rawseti(L, table, (lua_Integer)i + 1);
    }
    lua_settop(L, table);
  }
  lua_pushinteger(L, (lua_Integer)count);
  lua_setfield(L, table, "n");
  return 1;
}

/* {n =, {n =, results}, ...} */
static int push_all_packed(lua_State *L, neapL__state *state, int index) {
  size_t count = combine_at(L, index)->count;
  lua_createtable(L, (int)count, 1);
  int table = lua_gettop(L);
  for (size_t i = 0; i < count; i++) {
    lua_newtable(L);
    neapL__push_element(L, index, i);
    int n = neapL__push_results(L, state, lua_gettop(L));
    for (int k = n; k > 0; k--) lua_rawseti(L, table + 1, k);
    lua_pushinteger(L, n);
    lua_setfield(L, table + 1, "n");
    lua_settop(L, table + 1);
    lua_rawseti(L, table, (lua_Integer)i + 1);
  }
  lua_pushinteger(L, (lua_Integer)count);
  lua_setfield(L, table, "n");
  return 1;
}

/* task, index */
static int push_any(lua_State *L, neapL__state *state, int index) {
  size_t first = combine_at(L, index)->decisive;
  (void)state;
  neapL__push_element(L, index, first);
  lua_pushinteger(L, (lua_Integer)first + 1);
  return 2;
}

/* "done", ... | "failed", err | "cancelled", reason */
static int push_settled(lua_State *L, neapL__state *state, int index) {
  neapL__push_element(L, index, 0);
  int element = lua_gettop(L);
  switch (neap_task_status(((neapL__handle *)lua_touserdata(L, element))->task)) {
  case NEAP_DONE: {
    lua_pushliteral(L, "done");
    return 1 + neapL__push_results(L, state, element);
  }
  case NEAP_FAILED:
    lua_pushliteral(L, "failed");
    neapL__push_error(L, state, element);
    return 2;
  default:
    lua_pushliteral(L, "cancelled");
    neapL__push_reason(L, element);
    return 2;
  }
}

static int push_same(lua_State *L, neapL__state *state, int index) {
  neapL__push_element(L, index, 0);
  return neapL__push_results(L, state, lua_gettop(L));
}

static const neapL__row all_row = {"all", NULL, NULL, push_all, NULL};
static const neapL__row all_packed_row = {"all_packed", NULL, NULL, push_all_packed, NULL};
static const neapL__row any_row = {"any", NULL, NULL, push_any, NULL};
static const neapL__row settle_row = {"settle", NULL, NULL, push_settled, NULL};
static const neapL__row wait_for_row = {"wait_for", NULL, NULL, push_same, NULL};
static const neapL__row flatten_row = {"flatten", NULL, NULL, push_same, NULL};

/* ---- Making -------------------------------------------------------------------------------- */

/* The list of elements is on top, and is popped; the combined Task is pushed. */
static int combine(lua_State *L, const neapL__row *row, neap__combine_mode mode, double seconds,
                   neap_task *(*follow)(neap__combine *, neap_task *)) {
  neapL__state *state = neapL__state_here(L);
  neapL__check_open(L, state);
  int list = lua_gettop(L);
  size_t count = lua_rawlen(L, list);
  neap_task **tasks = lua_newuserdatauv(L, (count + 1) * sizeof *tasks, 0);
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, list, (lua_Integer)i + 1);
    tasks[i] = ((neapL__handle *)lua_touserdata(L, -1))->task;
    neapL__observe(L, -1);
    lua_pop(L, 1);
  }
  neapL__handle *handle = neapL__push_handle(L, state, row, 2);
  lua_pushvalue(L, list);
  lua_setiuservalue(L, -2, ELEMENTS);
  lua_pushvalue(L, -1);
  uint32_t pin = neapL__pin(L, state);
  neap__combine *self;
  if (neap__combine_new(state->loop, mode, tasks, count, seconds, follow, &self)) {
    neapL__slot_free(L, &state->pins, pin);
    return neapL__raise_memory(L);
  }
  handle->task = &self->task;
  if (self->task.status == NEAP_PENDING)
    self->task.host = pin;
  else
    neapL__slot_free(L, &state->pins, pin);
  neapL__watch(L, state);
  return 1;
}

void neapL__copy_tasks(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_Integer n = luaL_len(L, 1);
  lua_createtable(L, (int)n, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_geti(L, 1, i);
    const neapL__handle *handle = neapL__to_handle(L, neapL__state_here(L), -1);
    if (handle && !handle->task) neapL__misuse_finalized(L);
    if (!handle)
      luaL_argerror(L, 1,
                    lua_pushfstring(L, "element %I is a %s, a neap.Task expected", (LUAI_UACINT)i,
                                    luaL_typename(L, -1)));
    lua_rawseti(L, 2, i);
  }
}

/* neap.all(list) -> Task of {n =, ...} */
static int all(lua_State *L) {
  neapL__copy_tasks(L);
  return combine(L, &all_row, NEAP__ALL, HUGE_VAL, NULL);
}

/* neap.all_packed(list) -> Task of {n =, {n =, ...}, ...} */
static int all_packed(lua_State *L) {
  neapL__copy_tasks(L);
  return combine(L, &all_packed_row, NEAP__ALL, HUGE_VAL, NULL);
}

/* neap.any(list) -> Task of the first task that ends, and its index */
static int any(lua_State *L) {
  neapL__copy_tasks(L);
  luaL_argcheck(L, lua_rawlen(L, 2) > 0, 1, "the list is empty: nothing would ever end it");
  return combine(L, &any_row, NEAP__ANY, HUGE_VAL, NULL);
}

static void list_of_one(lua_State *L) {
  neapL__check_handle(L, 1);
  lua_createtable(L, 1, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 1);
}

/* neap.settle(task) -> Task of "done", ... | "failed", err | "cancelled", reason */
static int settle(lua_State *L) {
  list_of_one(L);
  return combine(L, &settle_row, NEAP__SETTLE, HUGE_VAL, NULL);
}

/* neap.wait_for(task, seconds) -> Task with its outcome, or ETIMEDOUT */
static int wait_for(lua_State *L) {
  neapL__check_handle(L, 1);
  double seconds = neapL__check_seconds(L, 2);
  list_of_one(L);
  return combine(L, &wait_for_row, NEAP__WAIT_FOR, seconds, NULL);
}

/* Replaces the first element, whose Task is at `index`, by the task it has ended with, if it is one. */
static neap_task *replace_by_inner(lua_State *L, neapL__state *state, int list, int outer) {
  int top = lua_gettop(L);
  neap_task *inner = NULL;
  if (neapL__push_results(L, state, outer) > 0) {
    const neapL__handle *handle = neapL__to_handle(L, state, top + 1);
    if (handle && handle->task) { /* one that was finalized is a value like others */
      inner = handle->task;
      neapL__observe(L, top + 1);
      lua_pushvalue(L, top + 1);
      lua_rawseti(L, list, 1);
    }
  }
  lua_settop(L, top);
  return inner;
}

static int protected_follow(lua_State *L) {
  neap__combine *self = lua_touserdata(L, 1);
  neapL__state *state = self->task.loop->hooks.data;
  neapL__slot_push(L, &state->pins, self->task.host);
  lua_getiuservalue(L, 2, ELEMENTS);
  lua_rawgeti(L, 3, 1);
  lua_pushlightuserdata(L, replace_by_inner(L, state, 3, 4));
  return 1;
}

/* The outer task has ended while somebody waits. */
static neap_task *follow_inner(neap__combine *self, neap_task *ended) {
  neapL__state *state = self->task.loop->hooks.data;
  lua_State *L = state->aux;
  (void)ended;
  lua_pushcfunction(L, protected_follow);
  lua_pushlightuserdata(L, self);
  neap_task *inner = lua_pcall(L, 1, 1, 0) == LUA_OK ? lua_touserdata(L, -1) : NULL;
  lua_pop(L, 1);
  return inner;
}

/* neap.flatten(outer) -> Task with the outcome of the Task that outer ends with */
static int flatten(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  const neapL__handle *outer = neapL__check_handle(L, 1);
  list_of_one(L);
  if (outer->task->status == NEAP_PENDING)
    return combine(L, &flatten_row, NEAP__FLATTEN, HUGE_VAL, follow_inner);
  if (outer->task->status == NEAP_DONE) replace_by_inner(L, state, lua_gettop(L), 1);
  return combine(L, &flatten_row, NEAP__WAIT_FOR, HUGE_VAL, NULL);
}

const luaL_Reg neapL__combine_functions[] = {
    {"all", all},           {"all_packed", all_packed}, {"any", any}, {"settle", settle},
    {"wait_for", wait_for}, {"flatten", flatten},       {NULL, NULL}};
