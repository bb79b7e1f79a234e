/* What every driver and native module asks first. */
#ifndef NEAPLUA_DRIVER_H
#define NEAPLUA_DRIVER_H

#include "compat.h"
#include "state.h"

/* Raises unless this is the copy of neap that L uses, and of the version that the driver was built for.
 * [-0, +0, v] */
void neapL__check_copy(lua_State *L, const char *driver, const char *version);

/* At the beginning of luaopen_neap_NAME_driver: a driver knows the inner life of neap. */
static inline void neapL__check_driver(lua_State *L, const char *driver) {
  neapL__check_copy(L, driver, NEAP_VERSION);
}

/* The state of L, in which neap is required if nobody has yet; raises if it is another copy of neap than this
 * one. [-0, +0, v] */
neapL__state *neapL__need(lua_State *L);

#endif
