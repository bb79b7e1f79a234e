#include "clock.h"

#include "error.h"
#include "operations.h"

#include "../core/ops/sleep.h"

#include <math.h>

static const char class_name[] = "neap.Clock";

static neap_virtual_clock *check_clock(lua_State *L, int index) {
  return luaL_checkudata(L, index, class_name);
}

neap_clock *neapL__check_clock(lua_State *L, int index) {
  return &check_clock(L, index)->clock;
}

/* neap.test_clock{autojump =, start =}? -> clock */
static int test_clock(lua_State *L) {
  double start = 0;
  bool jumps = false;
  if (!lua_isnoneornil(L, 1)) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "autojump");
    jumps = lua_toboolean(L, -1);
    lua_getfield(L, 1, "start");
    start = luaL_optnumber(L, -1, 0);
    luaL_argcheck(L, start == start && start < HUGE_VAL, 1, "option 'start' must be a finite time");
  }
  neap_virtual_clock *clock = lua_newuserdatauv(L, sizeof *clock, 0);
  neap_virtual_clock_init(clock, start);
  clock->horizon = jumps ? HUGE_VAL : start;
  luaL_setmetatable(L, class_name);
  return 1;
}

/* clock:now() -> seconds */
static int clock_now(lua_State *L) {
  lua_pushnumber(L, check_clock(L, 1)->time);
  return 1;
}

static void read_advance(lua_State *L, neap__op *op) {
  neap_virtual_clock *clock = check_clock(L, 1);
  if (op->task.loop->clock != &clock->clock)
    neapL__misuse(L, "the clock is not in use: pass it to neap.run({clock = clock}, fn)");
  double target = clock->time + neapL__check_seconds(L, 2);
  luaL_argcheck(L, target < HUGE_VAL, 2, "a finite duration expected");
  ((neap__sleep *)op)->deadline = target;
  if (clock->horizon < target) clock->horizon = target;
}

/* clock:advance(seconds) -> Task: done when the clock has moved so far, deadline by deadline */
static const neapL__row rows[] = {
    {"clock:advance", &neap__sleep_kind, read_advance, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static int clock_tostring(lua_State *L) {
  lua_pushfstring(L, "neap.Clock: %f", check_clock(L, 1)->time);
  return 1;
}

static const luaL_Reg methods[] = {{"now", clock_now}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__tostring", clock_tostring}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"test_clock", test_clock}, {NULL, NULL}};

void neapL__register_clock(lua_State *L) {
  luaL_newmetatable(L, class_name);
  neapL__register(L, metamethods);
  lua_newtable(L);
  neapL__register(L, methods);
  neapL__register_rows(L, rows);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  neapL__register(L, functions);
}
