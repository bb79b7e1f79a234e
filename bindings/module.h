/* The whole Lua face of the C side. */
#ifndef NEAPLUA_MODULE_H
#define NEAPLUA_MODULE_H

#include "compat.h"
#include "../core/neap.h"

/* require "neap.core" */
NEAP_API int luaopen_neap_core(lua_State *L);

#endif
