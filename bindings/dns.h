/* neap.dns: names and addresses. */
#ifndef NEAPLUA_DNS_H
#define NEAPLUA_DNS_H

#include "state.h"

/* Adds the table `dns` to the table on top. [-0, +0, m] */
void neapL__register_dns(lua_State *L);

#endif
