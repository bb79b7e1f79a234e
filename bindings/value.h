/* Lua values as values of the core's lists, and back; the functions are in neaplua.h. */
#ifndef NEAPLUA_VALUE_H
#define NEAPLUA_VALUE_H

#include "../core/value.h"
#include "neaplua.h"
#include "state.h"

/* The object at `index`, a userdata of neapL_register_class; NULL: it is none. A closed one has no box. */
typedef struct neapL__native_object {
  neap__box *box; /* a reference; NULL: closed */
} neapL__native_object;

neapL__native_object *neapL__to_native_object(lua_State *L, int index);

/* Whether it is one of that class, closed or not. [-0, +0, -] */
bool neapL__is_native_object(lua_State *L, int index, const neap_class *class_);

/* Pushes the userdata of an object, with a reference of its own. [-0, +1, m] */
void neapL__push_native_object(lua_State *L, neap__box *box);

/* Pushes the metatable of a class, made when it is first needed. [-0, +1, m] */
void neapL__push_native_class(lua_State *L, const neap_class *class_);

/* A callback for the function at `index`; NULL when out of memory. Owner: the caller has one reference.
 * [-0, +0, m] */
neap_callback *neapL__new_callback(lua_State *L, int index);

/* Pushes the function of a callback; raises for one of another Lua state. [-0, +1, v] */
void neapL__push_callback(lua_State *L, neap_callback *callback);

#endif
