#include "followed.h"

#include "interruption.h"

/* What these do beyond Lua's own is to follow. They do not call Lua's own: each coroutine in
 * a coroutine would take twice the room on the C stack, and the positions in messages would be lost. */

static lua_State *check_thread(lua_State *L) {
  lua_State *thread = lua_tothread(L, 1);
  luaL_argexpected(L, thread, 1, "thread");
  return thread;
}

static int move_results(lua_State *L, lua_State *thread, int n) {
  if (!lua_checkstack(L, n + 1)) {
    lua_pop(thread, n);
    lua_pushliteral(L, "too many results to resume");
    return -1;
  }
  lua_xmove(thread, L, n);
  return n;
}

/* Resumes it with the n values on top. The number of its results, which are on top then; -1: an error is. */
static int resume_with(lua_State *L, lua_State *thread, int n) {
  if (!lua_checkstack(thread, n)) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  lua_xmove(L, thread, n);
  neapL__state *state = lua_touserdata(L, lua_upvalueindex(1));
  lua_State *outer = state->resumed;
  neapL__follow(state, thread);
  int status = lua_resume(thread, L, n, &n);
  neapL__follow(state, outer);
  if (status == LUA_OK || status == LUA_YIELD) return move_results(L, thread, n);
  lua_xmove(thread, L, 1);
  return -1;
}

/* coroutine.resume */
static int resume(lua_State *L) {
  lua_State *thread = check_thread(L);
  int n = resume_with(L, thread, lua_gettop(L) - 1);
  lua_pushboolean(L, n >= 0);
  if (n < 0) n = 1;
  lua_insert(L, -(n + 1));
  return n + 1;
}

static int close_followed(lua_State *L, lua_State *thread) {
  neapL__state *state = lua_touserdata(L, lua_upvalueindex(1));
  lua_State *outer = state->resumed;
  neapL__follow(state, thread);
  int status = neapL__close_thread(thread, L);
  neapL__follow(state, outer);
  return status;
}

static bool has_failed(lua_State *thread) {
  int status = lua_status(thread);
  return status != LUA_OK && status != LUA_YIELD;
}

/* The error of `thread` is on top. */
static int raise_wrapped(lua_State *L, lua_State *thread) {
  int status = lua_status(thread);
  if (has_failed(thread)) {
    status = close_followed(L, thread);
    lua_xmove(thread, L, 1);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

/* What coroutine.wrap gives; upvalue 2: the thread */
static int call_wrapped(lua_State *L) {
  lua_State *thread = lua_tothread(L, lua_upvalueindex(2));
  int n = resume_with(L, thread, lua_gettop(L));
  return n >= 0 ? n : raise_wrapped(L, thread);
}

/* coroutine.wrap */
static int wrap(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_State *thread = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, thread, 1);
  lua_pushcclosure(L, call_wrapped, 2);
  return 1;
}

/* It runs, or has resumed what does. */
static bool is_active(lua_State *L, lua_State *thread) {
  lua_Debug ar;
  return thread == L || (lua_status(thread) == LUA_OK && lua_getstack(thread, 0, &ar));
}

/* coroutine.close */
static int close_coroutine(lua_State *L) {
  lua_State *thread = check_thread(L);
  if (is_active(L, thread))
    return luaL_error(L, "cannot close a %s coroutine", thread == L ? "running" : "normal");
  if (close_followed(L, thread) == LUA_OK) {
    lua_pushboolean(L, true);
    return 1;
  }
  lua_pushboolean(L, false);
  lua_xmove(thread, L, 1);
  return 2;
}

static const luaL_Reg functions[] = {
    {"resume", resume}, {"wrap", wrap}, {"close", close_coroutine}, {NULL, NULL}};

void neapL__open_followed_coroutines(lua_State *L, neapL__state *state) {
  lua_getglobal(L, LUA_COLIBNAME);
  lua_pushlightuserdata(L, state);
  luaL_setfuncs(L, functions, 1);
  lua_pop(L, 1);
}
