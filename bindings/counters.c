#include "counters.h"

#include "object.h"
#include "transfer.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

/* Owner: the objects of all states that have it. Thread: any. */
typedef struct counters {
  atomic_size_t refs;
  size_t count;
  _Atomic(int64_t) values[];
} counters;

enum { MOST_COUNTERS = 1 << 20 };

static void unref(void *shared) {
  counters *self = shared;
  if (self && atomic_fetch_sub(&self->refs, 1) == 1) free(self);
}

static counters *check_counters(lua_State *L, int index) {
  return neapL__check_core(L, index, &neapL__state_here(L)->counters_meta, "neap.Counters");
}

/* core.counters(n) -> n integers that are 0 */
static int new_counters(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  lua_Integer n = luaL_optinteger(L, 1, 1);
  luaL_argcheck(L, n >= 1 && n <= MOST_COUNTERS, 1, "an integer from 1 to 1048576 expected");
  neapL__object *object = neapL__push_object(L, &state->counters_meta);
  size_t size = sizeof(counters) + (size_t)n * sizeof(_Atomic(int64_t));
  counters *self = neap__memory_must_fail(&state->loop->memory) ? NULL : calloc(1, size);
  if (!self) return neapL__raise_memory(L);
  atomic_init(&self->refs, 1);
  self->count = (size_t)n;
  object->core = self;
  return 1;
}

/* ---- Methods ------------------------------------------------------------------------------- */

/* The counter with the number at 2. */
static _Atomic(int64_t) *check_counter(lua_State *L) {
  counters *self = check_counters(L, 1);
  lua_Integer i = luaL_checkinteger(L, 2);
  luaL_argcheck(L, i >= 1 && (size_t)i <= self->count, 2, "no such counter");
  return &self->values[i - 1];
}

static int push(lua_State *L, int64_t value) {
  lua_pushinteger(L, (lua_Integer)value);
  return 1;
}

/* c:get(i) -> value */
static int get(lua_State *L) {
  return push(L, atomic_load(check_counter(L)));
}

/* c:set(i, value) */
static int set(lua_State *L) {
  atomic_store(check_counter(L), luaL_checkinteger(L, 3));
  return 0;
}

/* c:add(i, n?) -> the new value; wraps around as integers do */
static int add(lua_State *L) {
  lua_Integer n = luaL_optinteger(L, 3, 1);
  uint64_t former = (uint64_t)atomic_fetch_add(check_counter(L), n);
  return push(L, (int64_t)(former + (uint64_t)n));
}

/* c:exchange(i, value) -> the former value */
static int exchange(lua_State *L) {
  lua_Integer value = luaL_checkinteger(L, 3);
  return push(L, atomic_exchange(check_counter(L), value));
}

/* c:compare_exchange(i, value, comparand) -> the former value; it changes if that was the comparand */
static int compare_exchange(lua_State *L) {
  lua_Integer value = luaL_checkinteger(L, 3);
  int64_t comparand = luaL_checkinteger(L, 4);
  atomic_compare_exchange_strong(check_counter(L), &comparand, value);
  return push(L, comparand);
}

/* c:min(i, value) -> the smaller of both, which it has then */
static int lower(lua_State *L) {
  lua_Integer value = luaL_checkinteger(L, 3);
  _Atomic(int64_t) *counter = check_counter(L);
  int64_t former = atomic_load(counter);
  while (value < former && !atomic_compare_exchange_weak(counter, &former, value)) {
  }
  return push(L, value < former ? value : former);
}

/* c:max(i, value) -> the greater of both, which it has then */
static int lift(lua_State *L) {
  lua_Integer value = luaL_checkinteger(L, 3);
  _Atomic(int64_t) *counter = check_counter(L);
  int64_t former = atomic_load(counter);
  while (value > former && !atomic_compare_exchange_weak(counter, &former, value)) {
  }
  return push(L, value > former ? value : former);
}

static int length(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check_counters(L, 1)->count);
  return 1;
}

static int to_string(lua_State *L) {
  lua_pushfstring(L, "neap.Counters: %d", (int)check_counters(L, 1)->count);
  return 1;
}

static int collect(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  unref(self->core);
  self->core = NULL;
  return 0;
}

/* ---- Crossing ------------------------------------------------------------------------------ */

static void *take(lua_State *L, int index) {
  counters *self = ((neapL__object *)lua_touserdata(L, index))->core;
  if (self)
    atomic_fetch_add(&self->refs, 1);
  else
    lua_pushliteral(L, "it was finalized");
  return self;
}

static void arrive(lua_State *L, neapL__state *state, void *shared) {
  neapL__push_object(L, &state->counters_meta)->core = shared;
}

static const neapL__crossing crossing = {
    .name = "neap.Counters", .take = take, .arrive = arrive, .release = unref};

static const luaL_Reg methods[] = {{"get", get},
                                   {"set", set},
                                   {"add", add},
                                   {"exchange", exchange},
                                   {"compare_exchange", compare_exchange},
                                   {"min", lower},
                                   {"max", lift},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {
    {"__len", length}, {"__tostring", to_string}, {"__gc", collect}, {NULL, NULL}};

void neapL__open_counters(lua_State *L, neapL__state *state) {
  neapL__class(L, &state->counters_meta, "neap.Counters", metamethods, methods);
  neapL__set_crossing(L, &crossing);
  lua_pop(L, 1);
}

const luaL_Reg neapL__counters_functions[] = {{"counters", new_counters}, {NULL, NULL}};
