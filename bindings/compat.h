/* What differs between the versions of Lua from 5.4.4 on, and between compilers. */
#ifndef NEAPLUA_COMPAT_H
#define NEAPLUA_COMPAT_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

/* Functions that raise: lua_error has no such mark. */
#if defined(__GNUC__)
#define NEAPL__NORETURN    __attribute__((noreturn))
#define NEAPL__UNREACHABLE __builtin_unreachable()
#else
#define NEAPL__NORETURN
#define NEAPL__UNREACHABLE return 0
#endif

/* Closes a suspended or failed thread: its pending to-be-closed variables run, and it can be used
 * again. The status is LUA_OK, or that of an error, whose value is on the thread's stack. */
static inline int neapL__close_thread(lua_State *thread, lua_State *from) {
#if LUA_VERSION_NUM > 504 || (LUA_VERSION_NUM == 504 && LUA_VERSION_RELEASE_NUM >= 50406)
  return lua_closethread(thread, from);
#else
  (void)from;
  return lua_resetthread(thread);
#endif
}

#endif
