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
  const neap_class *class_; /* of a method; NULL: it is none */
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
  if (self->function->interrupt) self->function->interrupt(self->frame, &self->arguments);
}

/* The Task may be kept for long. */
static void finish_job(void *data) {
  neap__values_clear(&((job *)data)->arguments);
}

static void release_job(void *data) {
  job *self = data;
  if (self->function->kind.release) self->function->kind.release(self->frame);
  neap__values_clear(&self->arguments);
  neap__values_clear(&self->results);
  free(self);
}

static const neap_work_kind job_kind = {.name = "native",
                                        .run = run_job,
                                        .interrupt = interrupt_job,
                                        .finish = finish_job,
                                        .release = release_job};
static const neap_work_kind abandonable_kind = {.name = "native",
                                                .run = run_job,
                                                .interrupt = interrupt_job,
                                                .finish = finish_job,
                                                .release = release_job,
                                                .is_abandonable = true};

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

/* A method is not called with an object of another class, whose memory is something else. */
static void check_self(lua_State *L, const neap_class *class_) {
  if (!neapL__is_native_object(L, 1, class_)) luaL_typeerror(L, 1, class_->name);
}

/* Upvalues: the state, the row. */
static int call_native(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  const native_row *row = lua_touserdata(L, lua_upvalueindex(2));
  int n = lua_gettop(L);
  neapL__check_open(L, state);
  call *self = take_call(L, state);
  if (row->class_) check_self(L, row->class_);
  neapL__add_arguments(L, n, row->function->arguments, &self->arguments);
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

static int push_job_values(lua_State *L, neapL__state *state, int index) {
  const neapL__handle *handle = lua_touserdata(L, index);
  const job *self = neap_task_value(handle->task);
  (void)state;
  return neapL_push_values(L, &self->results);
}

/* Rows stay with the Lua state. */
static const native_row *new_row(lua_State *L, const neapL_function *function,
                                 const neap_class *class_) {
  native_row *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (native_row){.row = {.name = function->kind.name,
                               .push = function->run ? push_job_values : neapL__push_task_values},
                       .function = function,
                       .class_ = class_};
  lua_rawsetp(L, LUA_REGISTRYINDEX, self);
  return self;
}

static void add_functions(lua_State *L, const neapL_function *functions, const neap_class *class_) {
  luaL_checkstack(L, 8, "native functions");
  neapL__state *state = neapL__need(L);
  for (; functions->kind.name; functions++) {
    const native_row *row = new_row(L, functions, class_);
    lua_pushlightuserdata(L, state);
    lua_pushlightuserdata(L, (void *)(uintptr_t)row);
    lua_pushcclosure(L, call_native, 2);
    lua_setfield(L, -2, neapL__last_part(functions->kind.name));
  }
}

void neapL_register(lua_State *L, const neapL_function *functions) {
  add_functions(L, functions, NULL);
}

void neapL_register_class(lua_State *L, const neap_class *class_, const neapL_function *methods) {
  luaL_checkstack(L, 8, "a native class");
  neapL__push_native_class(L, class_);
  lua_getfield(L, -1, "__index");
  add_functions(L, methods, class_);
  lua_pop(L, 2);
}
