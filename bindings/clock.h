/* neap.test_clock: virtual time. */
#ifndef NEAPLUA_CLOCK_H
#define NEAPLUA_CLOCK_H

#include "state.h"

/* The core clock of the object at `index`; raises an argument error for other values. */
neap_clock *neapL__check_clock(lua_State *L, int index);

/* Adds test_clock to the table on top. [-0, +0, m] */
void neapL__register_clock(lua_State *L);

#endif
