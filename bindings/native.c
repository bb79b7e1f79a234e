#include "native.h"

#include "../core/completion.h"
#include "buffer.h"
#include "driver.h"
#include "error.h"
#include "operations.h"
#include "value.h"
#include "watch.h"

#include <stdlib.h>
#include <string.h>

/* ---- Arguments ------------------------------------------------------------------------------ */

/* What a letter of neapL_function.arguments stands for. */
typedef struct letter {
  char letter;
  const char *expected;
} letter;

static const letter letters[] = {{'b', "boolean"},
                                 {'i', "integer"},
                                 {'n', "number"},
                                 {'s', "string or Buffer"},
                                 {'p', "light userdata"},
                                 {'o', "native object"},
                                 {'f', "function"},
                                 {'a', "array"},
                                 {'m', "table with keys"},
                                 {'t', "table"}};

static const char *expected_of(char wanted) {
  for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
    if (letters[i].letter == wanted) return letters[i].expected;
  return "other value";
}

static bool is_whole(const neap_value *value) {
  return value->kind == NEAP_VALUE_NUMBER &&
         (neap_value_integer(value) != 0 || neap_value_number(value) == 0);
}

static bool is_empty_table(const neap_value *value) {
  return value->kind == NEAP_VALUE_ARRAY && value->size == 0;
}

static bool fits(const neap_value *value, char wanted) {
  neap_value_kind kind = neap_value_kind_of(value);
  switch (wanted) {
  case 'b': return kind == NEAP_VALUE_BOOLEAN;
  case 'i': return kind == NEAP_VALUE_INTEGER || is_whole(value);
  case 'n': return kind == NEAP_VALUE_INTEGER || kind == NEAP_VALUE_NUMBER;
  case 's': return kind == NEAP_VALUE_BYTES || kind == NEAP_VALUE_BUFFER;
  case 'p': return kind == NEAP_VALUE_POINTER;
  case 'o': return kind == NEAP_VALUE_OBJECT;
  case 'f': return kind == NEAP_VALUE_CALLBACK;
  case 'a': return kind == NEAP_VALUE_ARRAY;
  case 'm': return kind == NEAP_VALUE_MAP || is_empty_table(value);
  case 't': return kind == NEAP_VALUE_ARRAY || kind == NEAP_VALUE_MAP;
  default: return wanted == '.';
  }
}

/* One that is missing has the call in its place. */
static void bad_argument(lua_State *L, int index, char wanted, bool is_there) {
  const char *expected = expected_of(wanted);
  if (is_there)
    luaL_typeerror(L, index, expected);
  else
    luaL_argerror(L, index, lua_pushfstring(L, "%s expected, got no value", expected));
}

static void add_argument(lua_State *L, int index, neap_values *values) {
  int code = neapL_to_values(L, index, values);
  if (!code) return;
  if (code == UV_ENOMEM) neapL__raise_memory(L);
  if (code == NEAP_EDEPTH) luaL_argerror(L, index, "it is nested too deeply, or has a cycle");
  if (neapL__to_native_object(L, index)) luaL_argerror(L, index, "the object is closed");
  if (neapL__to_buffer(L, index)) neapL__check_buffer(L, index); /* raises why it is none */
  luaL_argerror(L, index, "a value of this type, or one in it, cannot be passed to C");
}

/* Adds argument `i` of n, which `want` stands for. */
static void add_wanted(lua_State *L, int i, int n, char want, bool is_optional,
                       neap_values *values) {
  bool is_absent = i > n || (is_optional && lua_isnil(L, i));
  if (is_absent && (is_optional || want == '.')) {
    neap_values_add_nil(values);
    return;
  }
  if (is_absent) bad_argument(L, i, want, false);
  add_argument(L, i, values);
  if (!fits(neap_values_at(values, (size_t)i - 1), want)) bad_argument(L, i, want, true);
}

/* The letters are followed as far as they go; each argument that is there crosses. */
static void add_arguments(lua_State *L, int n, const char *wanted, neap_values *values) {
  if (!wanted) wanted = "";
  for (int i = 1; i <= n || *wanted; i++) {
    char want = *wanted ? *wanted++ : '.';
    bool is_optional = *wanted == '?';
    if (is_optional) wanted++;
    add_wanted(L, i, n, want, is_optional, values);
  }
}

/* ---- The call ------------------------------------------------------------------------------- */

/* What a call works with, in a userdata whose __gc frees it, whatever raises. One is kept for the next call, in
 * the registry: with what ends on the spot it costs no memory. */
typedef struct neapL__native_call {
  neap__list link; /* in state->native_calls, unless it was finalized and is not used since */
  neap_values arguments;
  neap_completion *completion; /* the caller's; NULL: none, or given away */
  size_t room;                 /* of its frame */
} call;

enum { FRAME_ROOM = 128 };

/* One that is pending still has begun, but there was no memory for its Task. */
static void end_call(call *self) {
  neap_completion *completion = self->completion;
  self->completion = NULL;
  neap__list_unlink(&self->link);
  neap__values_clear(&self->arguments);
  if (completion) neap__completion_abandon(completion);
  neap_completion_unref(completion);
}

static int call_gc(lua_State *L) {
  end_call(lua_touserdata(L, 1));
  return 0;
}

/* While the Lua state closes, other finalizers use one that was finalized, or new ones that never are. */
void neapL__close_native_calls(neapL__state *state) {
  while (!neap__list_is_empty(&state->native_calls))
    end_call(NEAP__CONTAINER(state->native_calls.next, call, link));
}

static const char call_meta_key = 'm'; /* its address: in the registry the metatable */

static call *new_call(lua_State *L, neapL__state *state) {
  call *self = lua_newuserdatauv(L, sizeof *self, 0);
  neap__list_init(&self->link);
  neap__values_init(&self->arguments);
  self->completion = NULL;
  self->room = 0;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &call_meta_key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, call_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &call_meta_key);
  }
  lua_setmetatable(L, -2);
  neap__list_append(&state->native_calls, &self->link);
  return self;
}

/* Pushes the kept one, which others cannot take until it is back, or a new one. On the stack it stays alive
 * also where another one takes its place. */
static call *take_call(lua_State *L, neapL__state *state) {
  call *self = state->call;
  if (!self || state->is_call_taken) return new_call(L, state);
  state->is_call_taken = true;
  neapL__push_ref(L, state->call_ref);
  if (neap__list_is_empty(&self->link)) neap__list_append(&state->native_calls, &self->link);
  return self;
}

static void keep_call(lua_State *L, neapL__state *state, int index, call *self) {
  lua_pushvalue(L, index);
  if (state->call_ref)
    lua_rawseti(L, LUA_REGISTRYINDEX, state->call_ref);
  else
    state->call_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  state->call = self;
}

/* By its number and a flag: by a key in the registry it took 400 instructions more. */
static void put_call_back(lua_State *L, neapL__state *state, int index, call *self) {
  neap__values_clear(&self->arguments);
  if (state->call != self) keep_call(L, state, index, self);
  state->is_call_taken = false;
}

/* ---- Functions of the loop ------------------------------------------------------------------- */

/* In memory that the Lua state keeps: a row is behind each handle. */
typedef struct native_row {
  neapL__row row;
  const neapL_function *function;
} native_row;

static void prepare_completion(lua_State *L, neapL__state *state, call *self,
                               const neap_completion_kind *kind) {
  if (self->completion && kind->frame_size <= self->room) {
    neap__completion_reset(self->completion, kind);
    return;
  }
  neap_completion_unref(self->completion);
  self->room = kind->frame_size > FRAME_ROOM ? kind->frame_size : FRAME_ROOM;
  self->completion = neap__completion_make(state->loop, kind, self->room);
  if (!self->completion) neapL__raise_memory(L);
}

/* Pushes a Task with what a completion on the spot has left. */
static void push_spent(lua_State *L, neapL__state *state, call *self) {
  neap_completion *completion = self->completion;
  if (completion->error.code) {
    neapL__push_core_error(L, state, &completion->error);
    neapL__push_failed_operation(L, state);
  } else if (neap_values_count(&completion->values) > 0) {
    neap_task *task = neapL__push_completed(L, state, 0); /* first: nothing has to be moved */
    int n = neapL_push_values(L, &completion->values);
    neapL__set_results(L, -(n + 1), task, n);
  } else {
    neapL__push_done(L, state);
  }
  neap__completion_empty(completion);
}

/* It goes on: its Task is a handle of an operation. */
static void push_attached(lua_State *L, neapL__state *state, call *self, const neapL__row *row) {
  neapL__handle *handle = neapL__push_handle(L, state, row, 1);
  if (neap__completion_attach(self->completion, &handle->task)) neapL__raise_memory(L);
  if (handle->task->status == NEAP_CANCELLED) neap__completion_abandon(self->completion);
  neap_completion_unref(self->completion);
  self->completion = NULL;
}

static void call_on_loop(lua_State *L, neapL__state *state, const native_row *row, call *self) {
  const neapL_function *function = row->function;
  int index = lua_gettop(L);
  prepare_completion(L, state, self, &function->kind);
  neap_completion *completion = self->completion;
  int code = function->start(completion, completion->frame, &self->arguments);
  if (code < 0)
    neap_completion_end(completion, &(neap_error){.code = code, .syscall = function->kind.name});
  if (neap__completion_is_spent(completion))
    push_spent(L, state, self);
  else
    push_attached(L, state, self, &row->row);
  put_call_back(L, state, index, self);
}

/* ---- Functions of the pool ------------------------------------------------------------------- */

typedef struct job {
  const neapL_function *function;
  neap_values arguments, results;
  _Alignas(max_align_t) char frame[];
} job;

/* Thread: one of the pool's. */
static int run_job(neap_work *work, void *data) {
  job *self = data;
  int code = self->function->run(work, self->frame, &self->arguments, &self->results);
  return code < 0 ? code : neap_values_error(&self->results);
}

static void interrupt_job(neap_work *work, void *data) {
  job *self = data;
  (void)work;
  if (self->function->interrupt) self->function->interrupt(self->frame);
}

static void release_job(void *data) {
  job *self = data;
  if (self->function->kind.release) self->function->kind.release(self->frame);
  neap__values_clear(&self->arguments);
  neap__values_clear(&self->results);
  free(self);
}

static const neap_work_kind job_kind = {"native", run_job, interrupt_job, release_job, false};
static const neap_work_kind abandonable_kind = {"native", run_job, interrupt_job, release_job,
                                                true};

/* Takes over the arguments. */
static job *new_job(const neapL_function *function, neap_values *arguments) {
  job *self = calloc(1, sizeof *self + function->kind.frame_size);
  if (!self) return NULL;
  self->function = function;
  neap__values_move(&self->arguments, arguments);
  neap__values_init(&self->results);
  return self;
}

static void call_on_thread(lua_State *L, neapL__state *state, const native_row *row, call *self) {
  const neapL_function *function = row->function;
  int index = lua_gettop(L);
  neapL__handle *handle = neapL__push_handle(L, state, &row->row, 1);
  bool must_fail = neap__memory_must_fail(&state->loop->memory);
  job *data = must_fail ? NULL : new_job(function, &self->arguments);
  const neap_work_kind *kind = function->is_abandonable ? &abandonable_kind : &job_kind;
  if (!data || neap_work_start(state->loop, NULL, kind, data, &handle->task)) {
    if (data) release_job(data);
    neapL__raise_memory(L);
  }
  put_call_back(L, state, index, self);
}

/* ---- From Lua ------------------------------------------------------------------------------- */

/* Upvalues: the state, the row. */
static int call_native(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  const native_row *row = lua_touserdata(L, lua_upvalueindex(2));
  int n = lua_gettop(L);
  neapL__check_open(L, state);
  call *self = take_call(L, state);
  add_arguments(L, n, row->function->arguments, &self->arguments);
  if (neapL__is_cancelled_here(state)) {
    put_call_back(L, state, n + 1, self);
    neapL__push_cancelled_here(L, state);
  } else if (row->function->run) {
    call_on_thread(L, state, row, self);
  } else {
    call_on_loop(L, state, row, self);
  }
  neapL__watch(L, state);
  return 1;
}

static int push_completed_values(lua_State *L, neapL__state *state, int index) {
  const neapL__handle *handle = lua_touserdata(L, index);
  (void)state;
  return neapL_push_values(L, neap_task_values(handle->task));
}

static int push_job_values(lua_State *L, neapL__state *state, int index) {
  const neapL__handle *handle = lua_touserdata(L, index);
  const job *self = neap_task_value(handle->task);
  (void)state;
  return neapL_push_values(L, &self->results);
}

static const char *last_part(const char *name) {
  const char *dot = strrchr(name, '.');
  const char *colon = strrchr(name, ':');
  if (colon > dot) dot = colon;
  return dot ? dot + 1 : name;
}

/* Rows stay with the Lua state. */
static const native_row *new_row(lua_State *L, const neapL_function *function) {
  native_row *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (native_row){.row = {.name = function->kind.name,
                               .push = function->run ? push_job_values : push_completed_values},
                       .function = function};
  lua_rawsetp(L, LUA_REGISTRYINDEX, self);
  return self;
}

void neapL_register(lua_State *L, const neapL_function *functions) {
  luaL_checkstack(L, 8, "native functions");
  neapL__state *state = neapL__need(L);
  for (; functions->kind.name; functions++) {
    const native_row *row = new_row(L, functions);
    lua_pushlightuserdata(L, state);
    lua_pushlightuserdata(L, (void *)(uintptr_t)row);
    lua_pushcclosure(L, call_native, 2);
    lua_setfield(L, -2, last_part(functions->kind.name));
  }
}

/* ---- Tasks of C ----------------------------------------------------------------------------- */

static const neapL__row task_row = {.name = "task", .push = push_completed_values};

typedef struct pushing {
  neap_task *task;
  neapL_push push;
} pushing;

/* A handle with a row of its own. */
typedef struct pushed_task {
  neapL__handle handle;
  neapL__row row;
  neapL_push push;
} pushed_task;

static int push_by_host(lua_State *L, neapL__state *state, int index) {
  const pushed_task *self = lua_touserdata(L, index);
  (void)state;
  return self->push(L, self->handle.task);
}

static int push_task(lua_State *L) {
  pushing *self = lua_touserdata(L, 1);
  neapL__state *state = neapL__need(L);
  if (!self->push) {
    neapL__push_handle(L, state, &task_row, 1)->task = self->task;
    return 1;
  }
  pushed_task *pushed = lua_newuserdatauv(L, sizeof *pushed, 1);
  *pushed = (pushed_task){.row = {.name = "task", .push = push_by_host}, .push = self->push};
  pushed->handle = (neapL__handle){NULL, &pushed->row};
  neapL__set_meta(L, -1, &state->handle_meta);
  pushed->handle.task = self->task;
  return 1;
}

/* Protected: the reference is taken over also where there is no memory for the Task. */
void neapL_push_task_with(lua_State *L, neap_task *task, neapL_push push) {
  pushing self = {task, push};
  lua_pushcfunction(L, push_task);
  lua_pushlightuserdata(L, &self);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) return;
  neap_task_unref(task);
  lua_error(L);
}

void neapL_push_task(lua_State *L, neap_task *task) {
  neapL_push_task_with(L, task, NULL);
}

neap_task *neapL_to_task(lua_State *L, int index) {
  neapL__state *state = neapL__state_get(L);
  const neapL__handle *handle = state ? neapL__to_handle(L, state, index) : NULL;
  return handle ? handle->task : NULL;
}
