#include "value.h"

/* ---- Objects of C libraries, as userdata ---------------------------------------------------- */

static const char class_key = 'c'; /* its address: in the metatable the class */

/* In the registry the metatable is behind the address of the class. */

neapL__native_object *neapL__to_native_object(lua_State *L, int index) {
  void *object = lua_touserdata(L, index);
  if (!object || lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) return NULL;
  bool is_it = lua_rawgetp(L, -1, &class_key) == LUA_TLIGHTUSERDATA;
  lua_pop(L, 2);
  return is_it ? object : NULL;
}

/* Idempotent. What still uses the object has a reference of its own. */
static int object_close(lua_State *L) {
  neapL__native_object *object = neapL__to_native_object(L, 1);
  if (!object) return luaL_typeerror(L, 1, "an object of a native class");
  neap__box *box = object->box;
  object->box = NULL;
  if (box) neap__box_unref(box);
  return 0;
}

/* name (address), or name (closed) */
static int object_tostring(lua_State *L) {
  const neapL__native_object *object = neapL__to_native_object(L, 1);
  if (!object) return luaL_typeerror(L, 1, "an object of a native class");
  luaL_getmetafield(L, 1, "__name");
  if (object->box)
    lua_pushfstring(L, "%s (%p)", lua_tostring(L, -1), object->box->object);
  else
    lua_pushfstring(L, "%s (closed)", lua_tostring(L, -1));
  return 1;
}

static const luaL_Reg metamethods[] = {{"__gc", object_close},
                                       {"__close", object_close},
                                       {"__tostring", object_tostring},
                                       {NULL, NULL}};

static void make_class(lua_State *L, const neap_class *class_) {
  lua_createtable(L, 0, 8);
  luaL_setfuncs(L, metamethods, 0);
  lua_pushstring(L, class_->name);
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, object_close);
  lua_setfield(L, -2, "close");
  lua_setfield(L, -2, "__index");
  lua_pushlightuserdata(L, (void *)(uintptr_t)class_);
  lua_rawsetp(L, -2, &class_key);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, class_);
}

void neapL__push_native_class(lua_State *L, const neap_class *class_) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, class_) == LUA_TTABLE) return;
  lua_pop(L, 1);
  make_class(L, class_);
}

void neapL__push_native_object(lua_State *L, neap__box *box) {
  neapL__native_object *object = lua_newuserdatauv(L, sizeof *object, 0);
  object->box = NULL;
  neapL__push_native_class(L, box->class_);
  lua_setmetatable(L, -2);
  object->box = neap__box_ref(box);
}

bool neapL__is_native_object(lua_State *L, int index, const neap_class *class_) {
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) return false;
  bool is_it = lua_rawgetp(L, -1, &class_key) == LUA_TLIGHTUSERDATA &&
               lua_touserdata(L, -1) == (const void *)class_;
  lua_pop(L, 2);
  return is_it;
}

void *neapL_to_object(lua_State *L, int index, const neap_class *class_) {
  if (!lua_checkstack(L, 2) || !neapL__is_native_object(L, index, class_)) return NULL;
  const neapL__native_object *object = lua_touserdata(L, index);
  return object->box ? object->box->object : NULL;
}

void *neapL_check_object(lua_State *L, int index, const neap_class *class_) {
  if (!neapL__is_native_object(L, index, class_)) luaL_typeerror(L, index, class_->name);
  void *object = neapL_to_object(L, index, class_);
  if (!object) luaL_argerror(L, index, "the object is closed");
  return object;
}

static int push_boxed(lua_State *L) {
  neapL__push_native_object(L, lua_touserdata(L, 1));
  return 1;
}

/* Protected: the object is taken over also where there is no memory for the userdata. */
void neapL_push_object(lua_State *L, const neap_class *class_, void *object) {
  neap__box *box = neap__box_new(class_, object);
  if (!box) luaL_error(L, "not enough memory");
  lua_pushcfunction(L, push_boxed);
  lua_pushlightuserdata(L, box);
  int status = lua_pcall(L, 1, 1, 0);
  neap__box_unref(box);
  if (status != LUA_OK) lua_error(L);
}
