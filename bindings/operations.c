#include "operations.h"

#include "../core/ops/blocked.h"
#include "../core/ops/pause.h"
#include "../core/ops/sleep.h"
#include "buffer.h"
#include "coroutine.h"
#include "error.h"
#include "watch.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- Arguments ----------------------------------------------------------------------------- */

double neapL__check_duration_value(lua_State *L, int index, double seconds) {
  luaL_argcheck(L, seconds >= 0, index, "a duration in seconds, 0 or more, expected");
  return seconds;
}

double neapL__check_seconds(lua_State *L, int index) {
  return neapL__check_duration_value(L, index, luaL_checknumber(L, index));
}

/* With a NUL behind it. */
static char *allocate(lua_State *L, neap_loop *loop, size_t size) {
  char *memory = neap__memory_resize(&loop->memory, NULL, size + 1);
  if (memory)
    memory[size] = '\0';
  else
    neapL__raise_memory(L);
  return memory;
}

char *neapL__copy(lua_State *L, neap_loop *loop, const char *data, size_t size) {
  return memcpy(allocate(L, loop, size), data, size);
}

char *neapL__copy_path(lua_State *L, neap_loop *loop, int index) {
  size_t size;
  const char *path = luaL_checklstring(L, index, &size);
  luaL_argcheck(L, strlen(path) == size, index, "the string contains a NUL byte");
  return neapL__copy(L, loop, path, size);
}

/* First the numbers become strings, which may run finalizers; from then on all of it stays as it is. */
char *neapL__copy_strings(lua_State *L, neap_loop *loop, int first, int last, size_t *size) {
  size_t part, sum = 0, done = 0;
  for (int i = first; i <= last; i++) neapL__check_bytes(L, i, &part);
  for (int i = first; i <= last; i++) {
    neapL__check_bytes(L, i, &part);
    sum += part;
  }
  char *copy = allocate(L, loop, sum);
  for (int i = first; i <= last; i++) {
    const char *data = neapL__check_bytes(L, i, &part);
    memcpy(copy + done, data, part);
    done += part;
  }
  *size = sum;
  return copy;
}

enum { MAX_OPTIONAL = 5 };

/* ---- Rows ---------------------------------------------------------------------------------- */

/* The handle of the operation is above the arguments. Their number is in the state only now: a finalizer
 * may have called something else meanwhile. */
static void read_arguments(lua_State *L, neapL__state *state, const neapL__row *row, neap__op *op,
                           int arguments) {
  int top = lua_gettop(L);
  state->arguments = arguments;
  if (row->read) row->read(L, op);
  lua_settop(L, top);
}

/* An operation to which nothing but the loop points lives in the userdata of its Task, which is pinned
 * while it does. */
typedef struct local_operation {
  neapL__handle handle;
  _Alignas(neap__op) char op[]; /* Lua aligns to 8 bytes, not to max_align_t */
} local_operation;

static void start_local(lua_State *L, neapL__state *state, const neapL__row *row, int arguments) {
  size_t size = sizeof(local_operation) + row->kind->size;
  local_operation *self = neapL__new_embedded(L, state, size, 1);
  neap__op *op = (neap__op *)(void *)self->op;
  neap__op_init(op, state->loop, row->kind);
  neap__loop_unanchor(state->loop); /* the Lua state keeps the loop */
  self->handle = (neapL__handle){&op->task, row};
  read_arguments(L, state, row, op, arguments);
  neapL__slot_reserve(L, &state->pins);
  neap__op_start(op);
  if (!op->is_native) return;
  lua_pushvalue(L, -1);
  op->pin = neapL__pin(L, state);
}

/* Pushes a handle for an operation: one that was put back, if there is one. It is taken, since what is
 * called until it is put back may run a finalizer that starts an operation too. */
static neapL__handle *take_handle(lua_State *L, neapL__state *state, const neapL__row *row) {
  if (state->spares == 0) return neapL__push_handle(L, state, row, 1);
  neapL__push_ref(L, state->spares_ref);
  int place = (int)state->spares--;
  lua_rawgeti(L, -1, place);
  lua_pushnil(L);
  lua_rawseti(L, -3, place);
  lua_remove(L, -2);
  neapL__handle *handle = lua_touserdata(L, -1);
  handle->row = row;
  return handle;
}

void neapL__put_back(lua_State *L, neapL__state *state, int index) {
  neapL__handle *handle = lua_touserdata(L, index);
  neap_task *task = handle->task;
  if (state->is_debugging) return; /* a watch has its Task: the collector gets both */
  handle->task = NULL;
  neap_task_unref(task);
  if (state->spares == NEAPL__SPARES) return;
  lua_pushvalue(L, index);
  neapL__push_ref(L, state->spares_ref);
  lua_insert(L, -2);
  lua_rawseti(L, -2, ++state->spares); /* there is room: it needs no memory */
  lua_pop(L, 1);
}

void neapL__push_operation_error(lua_State *L, neapL__state *state, const neapL__handle *handle) {
  neapL__push_core_error(L, state, neap_task_error(handle->task));
  if (handle->row && handle->row->detail) handle->row->detail(L, (neap__op *)handle->task);
}

/* Pushes a Task with the outcome of the operation that has ended, whose handle is on top. */
static void push_outcome(lua_State *L, neapL__state *state, const neapL__handle *handle) {
  int index = lua_gettop(L);
  switch (handle->task->status) {
  case NEAP_DONE: {
    int n = handle->row->push ? handle->row->push(L, state, index) : 0;
    if (n > 0)
      neapL__push_completed(L, state, n);
    else
      neapL__push_done(L, state);
    break;
  }
  case NEAP_FAILED:
    neapL__push_operation_error(L, state, handle);
    neapL__push_failed_operation(L, state);
    break;
  default: neapL__push_cancelled_here(L, state); break;
  }
}

/* It has ended on the spot: the Task of its outcome takes the place of its handle, on top. */
static void replace_by_outcome(lua_State *L, neapL__state *state, const neapL__handle *handle) {
  int index = lua_gettop(L);
  push_outcome(L, state, handle);
  neapL__put_back(L, state, index);
  lua_replace(L, index);
  lua_settop(L, index);
}

/* The operation is in its handle before its arguments are read, so that an argument error frees it: the
 * handle is garbage then. */
static void start_native(lua_State *L, neapL__state *state, const neapL__row *row, int arguments) {
  neapL__handle *handle = take_handle(L, state, row);
  neap__op *op = neap__op_new(state->loop, row->kind);
  if (!op) {
    neapL__raise_memory(L);
    return;
  }
  handle->task = &op->task;
  read_arguments(L, state, row, op, arguments);
  neap__op_start(op);
  if (op->task.status != NEAP_PENDING && !op->is_native) replace_by_outcome(L, state, handle);
}

void neapL__start_operation(lua_State *L, neapL__state *state, const neapL__row *row) {
  int arguments = state->arguments;
  neapL__check_open(L, state);
  (row->kind->is_local ? start_local : start_native)(L, state, row, arguments);
  neapL__watch(L, state);
}

/* Upvalues: the state, the row. */
static int call_row(lua_State *L) {
  const neapL__row *row = lua_touserdata(L, lua_upvalueindex(2));
  /* Room for optional arguments, so that the Task behind them is not taken for one. */
  neapL__state_here(L)->arguments = lua_gettop(L);
  if (lua_gettop(L) < MAX_OPTIONAL) lua_settop(L, MAX_OPTIONAL);
  neapL__start_operation(L, neapL__state_here(L), row);
  return 1;
}

const char *neapL__last_part(const char *name) {
  const char *dot = strrchr(name, '.');
  const char *colon = strrchr(name, ':');
  if (colon > dot) dot = colon;
  return dot ? dot + 1 : name;
}

void neapL__register_rows(lua_State *L, const neapL__row *rows) {
  neapL__state *state = neapL__state_get(L);
  for (; rows->name; rows++) {
    lua_pushlightuserdata(L, state);
    lua_pushlightuserdata(L, (void *)(uintptr_t)rows);
    lua_pushcclosure(L, call_row, 2);
    lua_setfield(L, -2, neapL__last_part(rows->name));
  }
}

/* ---- Time ---------------------------------------------------------------------------------- */

/* neap.sleep(seconds) -> Task */
static void read_sleep(lua_State *L, neap__op *op) {
  double seconds = neapL__check_seconds(L, 1);
  ((neap__sleep *)op)->deadline = neap__loop_now(op->task.loop) + seconds;
}

/* core.sleep_until(time) -> Task */
static void read_sleep_until(lua_State *L, neap__op *op) {
  ((neap__sleep *)op)->deadline = luaL_checknumber(L, 1);
}

static const neapL__row rows[] = {
    {"sleep", &neap__sleep_kind, read_sleep, NULL, NULL},
    {"sleep_until", &neap__sleep_kind, read_sleep_until, NULL, NULL},
    {"yield", &neap__pause_kind, NULL, NULL, NULL},
    {"wait_all_blocked", &neap__blocked_kind, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* core.tick(time, n) -> Task of n: done at `time`; ended early by core.end_tick it has no result. */
static int push_tick(lua_State *L, neapL__state *state, int index) {
  const neap__sleep *sleep = (const neap__sleep *)neapL__op_at(L, index);
  (void)state;
  if (sleep->is_ended)
    lua_pushnil(L);
  else
    lua_pushinteger(L, sleep->tick);
  return 1;
}

static void read_tick(lua_State *L, neap__op *op) {
  ((neap__sleep *)op)->deadline = luaL_checknumber(L, 1);
  ((neap__sleep *)op)->tick = luaL_checkinteger(L, 2);
}

static const neapL__row tick_rows[] = {
    {"tick", &neap__sleep_kind, read_tick, push_tick, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* core.end_tick(task) */
static int end_tick(lua_State *L) {
  neapL__handle *handle = neapL__check_handle(L, 1);
  luaL_argcheck(L, handle->row == tick_rows, 1, "a tick expected");
  neap__sleep_end((neap__sleep *)handle->task);
  return 0;
}

/* neap.now() -> seconds of the loop's clock */
static int now(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__check_open(L, state);
  lua_pushnumber(L, neap_loop_now(state->loop));
  return 1;
}

/* ---- Checks for the parts that are written in Lua: errors at the line of their caller --------- */

/* The part of a chunk's name that all files of the Lua module share; 0 if there is none. */
static size_t directory_length(const char *source) {
  const char *slash = strrchr(source, '/');
  return source[0] == '@' && slash ? (size_t)(slash - source) + 1 : 0;
}

/* Pushes the position of the innermost function that is no part of neap's Lua module, to which the
 * caller belongs. */
static void push_user_position(lua_State *L) {
  lua_Debug ar;
  char own[LUA_IDSIZE * 4] = "";
  size_t length = 0;
  for (int level = 1; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline <= 0) continue;
    if (!own[0]) {
      length = directory_length(ar.source);
      if (length == 0 || length >= sizeof own) break;
      memcpy(own, ar.source, length);
    } else if (strncmp(ar.source, own, length) != 0) {
      lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
      return;
    }
  }
  neapL__push_position(L, 2);
}

/* core.argument_error(function, index, message): raises it at the line of neap's user */
static int argument_error(lua_State *L) {
  const char *function = luaL_checkstring(L, 1);
  const char *message = luaL_checkstring(L, 3);
  push_user_position(L);
  lua_pushfstring(L, "%s: bad argument #%d to '%s' (%s)", lua_tostring(L, -1),
                  (int)luaL_checkinteger(L, 2), function, message);
  return lua_error(L);
}

/* core.type_name(x) -> as luaL_typename, or the __name of its metatable */
static int type_name(lua_State *L) {
  luaL_checkany(L, 1);
  if (luaL_getmetafield(L, 1, "__name") == LUA_TSTRING) return 1;
  lua_pushstring(L, luaL_typename(L, 1));
  return 1;
}

/* core.metafield(x, name) -> the field of its metatable, protected ones too; nil if there is none */
static int metafield(lua_State *L) {
  luaL_checkany(L, 1);
  if (luaL_getmetafield(L, 1, luaL_checkstring(L, 2)) == LUA_TNIL) lua_pushnil(L);
  return 1;
}

/* core.misuse(message): raises EMISUSE at the line of neap's user */
static int misuse(lua_State *L) {
  const char *message = luaL_checkstring(L, 1);
  neapL__push_new_error(L, neapL__state_here(L), "EMISUSE", message);
  push_user_position(L);
  lua_setfield(L, -2, "where");
  return lua_error(L);
}

/* core.position(level) -> "file:line" */
static int position(lua_State *L) {
  neapL__push_position(L, (int)luaL_checkinteger(L, 1));
  return 1;
}

static const luaL_Reg functions[] = {{"now", now},
                                     {"end_tick", end_tick},
                                     {"misuse", misuse},
                                     {"argument_error", argument_error},
                                     {"type_name", type_name},
                                     {"metafield", metafield},
                                     {"position", position},
                                     {NULL, NULL}};

void neapL__register_operations(lua_State *L) {
  neapL__register_rows(L, rows);
  neapL__register_rows(L, tick_rows);
  neapL__register(L, functions);
}
