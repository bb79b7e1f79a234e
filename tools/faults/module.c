/* require "faults": faults.so as a Lua module, in the process that has it preloaded.
 *
 *   faults.set{ call = "read", nth = 3, errno = "EINTR" }    the third read fails
 *   faults.set{ call = "any", nth = 5, errno = "ENOMEM", times = 100 }
 *                         the fifth call that may fail so, and 99 more
 *   faults.set{ call = "writes", short = 1, times = math.huge }    one byte at a time
 *   faults.random(seed, { short = 0.3, EINTR = 0.1, EAGAIN = 0.1, least = 512 })    what any kernel may do
 *   faults.clear()    nothing fails any more; counts begin anew
 *   faults.count()    { seen =, delivered =, last = the call that failed last, calls = { read =, ... } }
 *
 * call: a name in FAULTS_CALLS (plan.h; 64 at the end and the like left out), "reads" or "writes" (of
 * any kind), or "any". Rules add up; set and random arm, clear disarms. Each is called in Lua's thread
 * while no operation is under way. */
#include <dlfcn.h>
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

#define ERROR(name)                                                                                \
  { #name, name }

static const struct {
  const char *name;
  int number;
} errors[] = {
    ERROR(EACCES),       ERROR(EADDRINUSE), ERROR(EAGAIN),    ERROR(ECONNABORTED),
    ERROR(ECONNREFUSED), ERROR(ECONNRESET), ERROR(EDQUOT),    ERROR(EFBIG),
    ERROR(EINTR),        ERROR(EINVAL),     ERROR(EIO),       ERROR(EMFILE),
    ERROR(ENETUNREACH),  ERROR(ENFILE),     ERROR(ENOBUFS),   ERROR(ENOMEM),
    ERROR(ENOSPC),       ERROR(ENOSYS),     ERROR(ENOTCONN),  ERROR(EOPNOTSUPP),
    ERROR(EPERM),        ERROR(EPIPE),      ERROR(ETIMEDOUT), ERROR(EXDEV),
};

static int error_number(lua_State *L, const char *name) {
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    if (strcmp(errors[i].name, name) == 0) return errors[i].number;
  return luaL_error(L, "faults: unknown errno '%s'", name);
}

static int call_number(lua_State *L, const char *name) {
  if (strcmp(name, "any") == 0) return CALL_ANY;
  if (strcmp(name, "reads") == 0) return CALL_READS;
  if (strcmp(name, "writes") == 0) return CALL_WRITES;
  for (int i = 0; i < CALL_COUNT; i++)
    if (strcmp(faults_call_name(i), name) == 0) return i;
  return luaL_error(L, "faults: unknown call '%s'", name);
}

/* The field of the table at 1, on top. */
static int field(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  return lua_gettop(L);
}

static unsigned times(lua_State *L) {
  double n = luaL_optnumber(L, field(L, "times"), 1);
  return n < 0 ? 0 : n > UINT_MAX ? UINT_MAX : (unsigned)n;
}

static int set(lua_State *L) {
  struct faults_rule rule = {0};
  luaL_checktype(L, 1, LUA_TTABLE);
  rule.call = call_number(L, luaL_checkstring(L, field(L, "call")));
  rule.nth = (unsigned)luaL_optinteger(L, field(L, "nth"), 1);
  rule.times = times(L);
  rule.longest = (size_t)luaL_optinteger(L, field(L, "short"), 0);
  const char *error = luaL_optstring(L, field(L, "errno"), NULL);
  if (error) rule.error = error_number(L, error);
  if (!rule.error == !rule.longest) return luaL_error(L, "faults: either errno or short");
  if (!faults_add_rule(&rule)) return luaL_error(L, "faults: too many rules, or no neap");
  return 0;
}

static double chance(lua_State *L, const char *name) {
  lua_getfield(L, 2, name);
  return luaL_optnumber(L, -1, 0);
}

static int make_noise(lua_State *L) {
  struct faults_noise noise = {.seed = (uint64_t)luaL_checkinteger(L, 1)};
  luaL_checktype(L, 2, LUA_TTABLE);
  noise.shorter = chance(L, "short");
  noise.interrupted = chance(L, "EINTR");
  noise.again = chance(L, "EAGAIN");
  noise.least = (size_t)chance(L, "least");
  if (noise.least == 0) noise.least = 1;
  if (!faults_make_noise(&noise)) return luaL_error(L, "faults: no neap");
  return 0;
}

static int clear(lua_State *L) {
  (void)L;
  faults_clear();
  return 0;
}

static void push_counts(lua_State *L, unsigned (*count)(int), const char *total_name,
                        const char *list_name) {
  lua_Integer total = 0;
  lua_newtable(L);
  for (int i = 0; i < CALL_COUNT; i++) {
    if (count(i) == 0) continue;
    total += count(i);
    lua_pushinteger(L, count(i));
    lua_setfield(L, -2, faults_call_name(i));
  }
  lua_setfield(L, -2, list_name);
  lua_pushinteger(L, total);
  lua_setfield(L, -2, total_name);
}

static int count(lua_State *L) {
  lua_newtable(L);
  push_counts(L, faults_seen, "seen", "calls");
  push_counts(L, faults_delivered, "delivered", "faults");
  if (faults_last() != CALL_COUNT) {
    lua_pushstring(L, faults_call_name(faults_last()));
    lua_setfield(L, -2, "last");
  }
  return 1;
}

__attribute__((visibility("default"))) int luaopen_faults(lua_State *L);

/* Is it this library whose `read` the process uses? */
static bool is_preloaded(void) {
  Dl_info mine, used;
  void *read_of_process = dlsym(RTLD_DEFAULT, "read");
  return read_of_process && dladdr(read_of_process, &used) && dladdr((void *)&errors, &mine) &&
         used.dli_fbase == mine.dli_fbase;
}

/* What the process starts is left in peace: it does not inherit the preload. */
int luaopen_faults(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"set", set}, {"random", make_noise}, {"clear", clear}, {"count", count}, {NULL, NULL}};
  if (!is_preloaded())
    return luaL_error(L, "faults.so is not preloaded: no call would ever fail (run ./dev test, or "
                         "set LD_PRELOAD=build/dev/lib/faults.so)");
  unsetenv("LD_PRELOAD");
  faults_clear();
  luaL_newlib(L, functions);
  return 1;
}
