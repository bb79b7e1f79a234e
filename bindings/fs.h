/* neap.fs: operations on paths. */
#ifndef NEAPLUA_FS_H
#define NEAPLUA_FS_H

#include "operations.h"

/* Adds the table `fs` to the table on top. [-0, +0, m] */
void neapL__register_fs(lua_State *L);

/* Pushes the table of what is known of a file. [-0, +1, m] */
void neapL__push_stat(lua_State *L, const uv_stat_t *stat);

/* A time in seconds since 1970, NaN for nil: now; raises an argument error. */
double neapL__check_time(lua_State *L, int index);

#endif
