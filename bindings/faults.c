#include "faults.h"

/* The state's allocator, wrapped while failures are armed: Lua's allocations count with the core's. */
typedef struct wrapper {
  lua_Alloc allocate;
  void *data;
  neap__memory *memory;
} wrapper;

static void *failing_allocate(void *data, void *block, size_t old, size_t size) {
  wrapper *self = data;
  if (size > 0 && (!block || size > old) && neap__memory_must_fail(self->memory)) return NULL;
  return self->allocate(self->data, block, old, size);
}

static wrapper *get_wrapper(lua_State *L) {
  void *data;
  return lua_getallocf(L, &data) == failing_allocate ? data : NULL;
}

void neapL__end_faults(lua_State *L) {
  const wrapper *self = get_wrapper(L);
  if (self) lua_setallocf(L, self->allocate, self->data);
}

/* core.fail_allocation(n, persist?): the n-th allocation from now fails, of Lua or of the core, and
 * with persist all that follow. core.fail_allocation() ends it. Returns whether one has failed. */
static int fail_allocation(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  unsigned long n = (unsigned long)luaL_optinteger(L, 1, 0);
  bool persist = lua_toboolean(L, 2);
  bool has_fired = neap_loop_fail_allocation(state->loop, 0, false);
  neapL__end_faults(L);
  lua_pushboolean(L, has_fired);
  if (n == 0) return 1;
  lua_getfield(L, LUA_REGISTRYINDEX, "neap.faults");
  wrapper *self = lua_touserdata(L, -1);
  if (!self) {
    self = lua_newuserdatauv(L, sizeof *self, 0);
    lua_setfield(L, LUA_REGISTRYINDEX, "neap.faults");
  }
  lua_pop(L, 1);
  self->allocate = lua_getallocf(L, &self->data);
  self->memory = &state->loop->memory;
  lua_pushboolean(L, has_fired);
  lua_setallocf(L, failing_allocate, self);
  neap_loop_fail_allocation(state->loop, n, persist);
  return 1;
}

static void set_count(lua_State *L, const char *name, size_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, name);
}

static size_t count_handles(const neap_loop *loop) {
  size_t n = 0;
  for (const neap__list *link = loop->resources.next; link != &loop->resources; link = link->next)
    if (!NEAP__CONTAINER(link, neap__resource, link)->is_standing) n++;
  return n;
}

/* core.stats() -> what is alive */
static int stats(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap_stats stats = neap_loop_stats(state->loop);
  lua_createtable(L, 0, 6);
  set_count(L, "tasks", stats.tasks);
  set_count(L, "operations", stats.operations);
  set_count(L, "timers", stats.timers);
  set_count(L, "scopes", stats.scopes);
  set_count(L, "handles", count_handles(state->loop));
  set_count(L, "pins", state->pins.used);
  return 1;
}

/* core.set_schedule(seed): the order in which what is ready runs; 0: in order */
static int set_schedule(lua_State *L) {
  neap_loop_set_schedule(neapL__state_here(L)->loop, (uint64_t)luaL_checkinteger(L, 1));
  return 0;
}

const luaL_Reg neapL__fault_functions[] = {{"fail_allocation", fail_allocation},
                                           {"stats", stats},
                                           {"set_schedule", set_schedule},
                                           {NULL, NULL}};
