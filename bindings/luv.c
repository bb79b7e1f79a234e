#include "luv.h"

#include "await.h"
#include "error.h"
#include "report.h"

#include <dlfcn.h>
#include <string.h>

/* What luv exports to its hosts, and the functions of its module that are replaced. */
struct neapL__luv {
  lua_State *main; /* the thread that callbacks run on, as in luv alone */
  void (*set_loop)(lua_State *L, uv_loop_t *loop);
  lua_CFunction run, mode, close, collect;
  bool is_ending; /* the Lua state closes, though neap's turn has not come yet */
};
typedef struct neapL__luv luv;

/* The signature of luv's luv_CFpcall. */
typedef int (*callback_runner)(lua_State *L, int nargs, int nresults, int flags);

/* ---- Callbacks ------------------------------------------------------------------------------- */

/* (err) -> err, of which a failure with its traceback is queued to be reported. */
static int report_failure(lua_State *L) {
  neapL__state *state = neapL__state_get(L);
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  neapL__failure *failure = neapL__make_failure(L, state, NULL);
  luaL_traceback(L, L, NULL, 1);
  lua_setiuservalue(L, -2, NEAPL__FAILURE_TRACEBACK);
  neapL__report_later(L, state, failure);
  lua_settop(L, 1);
  return 1;
}

/* In the place of luv's own, which prints the error and exits. While the Lua state closes nothing is
 * called any more. */
static int call_back(lua_State *L, int nargs, int nresults, int flags) {
  neapL__state *state = neapL__state_get(L);
  int function = lua_gettop(L) - nargs;
  (void)flags;
  if (state->is_closing || state->luv->is_ending) {
    lua_settop(L, function - 1);
    return -LUA_ERRRUN;
  }
  neap__routine *current = state->loop->current;
  state->loop->current = NULL;
  lua_pushcfunction(L, report_failure);
  lua_insert(L, function);
  int status = lua_pcall(L, nargs, nresults, function);
  state->loop->current = current;
  lua_remove(L, function);
  if (status == LUA_OK) return lua_gettop(L) - function + 1;
  if (status == LUA_ERRRUN)
    lua_pop(L, 1);
  else /* no memory: the message handler was not called, or has failed */
    neapL__report_error(L, state);
  return -status;
}

static bool runs(lua_State *L, lua_CFunction mode) {
  lua_pushcfunction(L, mode);
  lua_call(L, 0, 1);
  bool does = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return does;
}

bool neapL__luv_runs(lua_State *L, const neapL__state *state) {
  return state->luv && runs(L, state->luv->mode);
}

/* ---- Handles --------------------------------------------------------------------------------- */

/* Whether a handle of luv is at `index`. luv keeps all that are open in the registry, and there, too, a set
 * of their metatables. */
static bool is_handle(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) return false;
  lua_getfield(L, LUA_REGISTRYINDEX, "uv_handle");
  lua_insert(L, -2);
  bool is_one = lua_rawget(L, -2) != LUA_TNIL;
  lua_pop(L, 2);
  return is_one;
}

/* NULL: it was closed and collected. */
static uv_handle_t *to_handle(lua_State *L, int index) {
  return *(uv_handle_t **)lua_touserdata(L, index);
}

/* uv.walk(fn): luv's goes through the loop, and takes what it finds there for its own. */
static int walk(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_newtable(L);
  lua_Integer n = 0;
  for (lua_pushnil(L); lua_next(L, LUA_REGISTRYINDEX); lua_pop(L, 1)) {
    if (!is_handle(L, -1)) continue;
    lua_pushvalue(L, -1);
    lua_rawseti(L, 2, ++n);
  }
  for (lua_Integer i = 1; i <= n; i++) {
    lua_pushvalue(L, 1);
    lua_rawgeti(L, 2, i);
    call_back(L, 1, 0, 0);
  }
  return 0;
}

/* uv.close(handle, callback?). The reference, which libuv takes from a handle that has closed, is how
 * `collect_handle` knows that this one has not. */
static int close_handle(lua_State *L) {
  const luv *self = neapL__state_here(L)->luv;
  int n = self->close(L);
  uv_ref(to_handle(L, 1));
  return n;
}

/* libuv has closed it, and has taken its reference. */
static bool is_closed(const uv_handle_t *handle) {
  return uv_is_closing(handle) && !uv_has_ref(handle);
}

/* Lets libuv close what is closing, while nothing is called any more. In a close callback (os.exit in it)
 * libuv has others in a list of its own, which it does not come back to. */
static void end_close(lua_State *L, neapL__state *state, const uv_handle_t *handle) {
  bool is_in_callback = state->loop->is_polling || neapL__luv_runs(L, state);
  state->luv->is_ending = true;
  do neap__loop_drain(state->loop, !is_in_callback);
  while (!is_in_callback && !is_closed(handle));
}

/* The __gc of handles. luv's frees one that is closing, which libuv may still point at: only when the Lua
 * state closes, since the registry has it until then. So what is left of its close comes first. */
static int collect_handle(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  const uv_handle_t *handle = to_handle(L, 1);
  bool is_closing = handle && uv_is_closing(handle);
  if (is_closing && !is_closed(handle)) end_close(L, state, handle);
  return is_closing && !is_closed(handle) ? 0 : state->luv->collect(L);
}

void neapL__close_luv(lua_State *L, neapL__state *state) {
  if (!state->luv || !state->loop->owns_uv) return;
  for (lua_pushnil(L); lua_next(L, LUA_REGISTRYINDEX); lua_pop(L, 1)) {
    if (!is_handle(L, -1) || !to_handle(L, -1) || uv_is_closing(to_handle(L, -1))) continue;
    lua_pushcfunction(L, state->luv->collect); /* closes it, and frees it in the end */
    lua_pushvalue(L, -2);
    lua_call(L, 1, 0);
  }
}

void neapL__leave_luv(neapL__state *state) {
  if (state->luv) state->luv->set_loop(state->luv->main, NULL);
}

/* ---- Running --------------------------------------------------------------------------------- */

/* uv.run(mode?): luv's, which runs neap's tasks, too, unless the loop runs already. */
static int run(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  if (state->is_running || neap__loop_is_running(state->loop))
    return neapL__misuse(
        L, "uv.run inside neap's loop, which runs luv's callbacks, too: leave it out");
  if (neapL__luv_runs(L, state)) return neapL__misuse(L, "uv.run inside uv.run");
  int n = state->luv->run(L);
  neapL__report_all(L, state);
  return n;
}

/* ---- Joining --------------------------------------------------------------------------------- */

/* A function of the module at 1; one that was replaced by a Lua function is refused. */
static lua_CFunction module_function(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  lua_CFunction function = lua_tocfunction(L, -1);
  if (!function) neapL__misuse(L, "uv.%s is not luv's own function any more", name);
  lua_pop(L, 1);
  return function;
}

/* The library that a function is in, or the program, where it is linked into that. It stays loaded: Lua has
 * it open until its state closes. */
static void *open_library(lua_CFunction function) {
  Dl_info info;
  void *address, *library = NULL;
  memcpy(&address, &function, sizeof address);
  if (dladdr(address, &info)) library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  return library ? library : dlopen(NULL, RTLD_LAZY);
}

/* Gives the address of a symbol to a pointer to a function. */
static void find(lua_State *L, void *library, const char *name, void *pointer) {
  void *address = library ? dlsym(library, name) : NULL;
  if (!address) neapL__misuse(L, "this luv does not export %s, so that it can share no loop", name);
  memcpy(pointer, &address, sizeof address);
}

/* Whether luv has made its loop; else it is a host's. */
static bool has_own_loop(lua_State *L) {
  bool has = luaL_getmetatable(L, "uv_loop.meta") != LUA_TNIL;
  lua_pop(L, 1);
  return has;
}

/* luv's loop is neap's to close now. Its __gc would close the handles of both. */
static void disarm_loop(lua_State *L) {
  if (luaL_getmetatable(L, "uv_loop.meta") != LUA_TNIL) {
    lua_pushnil(L);
    lua_setfield(L, -2, "__gc");
  }
  lua_pop(L, 1);
  lua_getfield(L, 1, "_loop"); /* the memory */
  luaL_ref(L, LUA_REGISTRYINDEX);
}

static void move_neap(lua_State *L, neapL__state *state, uv_loop_t *uv) {
  if (neap__loop_move(state->loop, uv, has_own_loop(L)))
    neapL__misuse(L, "luv and neap have handles on two loops, which cannot become one: call "
                     "neap.luv() before the first handle of either");
}

/* luv's loop goes, if nothing is on it; else neap moves there. */
static void join_loops(lua_State *L, neapL__state *state, luv *self, uv_loop_t *theirs) {
  bool is_running = runs(L, self->mode);
  if (is_running && state->is_running)
    neapL__misuse(L, "two loops run, one inside the other: call neap.luv() before that");
  bool is_free = !theirs || (!is_running && has_own_loop(L) && uv_loop_close(theirs) == 0);
  if (is_free)
    self->set_loop(self->main, state->loop->uv);
  else if (theirs != state->loop->uv)
    move_neap(L, state, theirs);
  disarm_loop(L);
  neap__loop_share(state->loop);
}

static lua_State *main_thread(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  lua_State *main = lua_tothread(L, -1);
  lua_pop(L, 1);
  return main;
}

static void join(lua_State *L, neapL__state *state) {
  luv *self = lua_newuserdatauv(L, sizeof *self, 0);
  luaL_ref(L, LUA_REGISTRYINDEX);
  *self = (luv){.main = main_thread(L),
                .run = module_function(L, "run"),
                .mode = module_function(L, "loop_mode"),
                .close = module_function(L, "close")};
  void *library = open_library(self->run);
  uv_loop_t *(*get_loop)(lua_State * L);
  void (*set_callback)(lua_State * L, callback_runner runner);
  find(L, library, "luv_loop", &get_loop);
  find(L, library, "luv_set_loop", &self->set_loop);
  find(L, library, "luv_set_callback", &set_callback);
  dlclose(library);
  join_loops(L, state, self, get_loop(L));
  set_callback(L, call_back);
  state->luv = self;
}

/* ---- The functions that are replaced --------------------------------------------------------- */

static void replace(lua_State *L, int index, const char *name, lua_CFunction function) {
  index = lua_absindex(L, index);
  lua_pushlightuserdata(L, neapL__state_get(L));
  lua_pushcclosure(L, function, 1);
  lua_setfield(L, index, name);
}

/* In the metatable on top. */
static void replace_in_class(lua_State *L, luv *self) {
  lua_getfield(L, -1, "__gc");
  lua_CFunction collect = lua_tocfunction(L, -1);
  lua_pop(L, 1);
  if (collect != collect_handle) self->collect = collect;
  replace(L, -1, "__gc", collect_handle);
  lua_getfield(L, -1, "__index");
  replace(L, -1, "close", close_handle);
  lua_pop(L, 1);
}

/* Also in a module that was loaded once more, which makes them anew. */
static void replace_all(lua_State *L, luv *self) {
  replace(L, 1, "run", run);
  replace(L, 1, "walk", walk);
  replace(L, 1, "close", close_handle);
  lua_getfield(L, LUA_REGISTRYINDEX, "uv_handle");
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    replace_in_class(L, self);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* core.join_luv(uv): one loop for both */
static int join_luv(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  neapL__check_open(L, state);
  neapL__check_loop(L, state, "luv");
  lua_settop(L, 1);
  if (!state->luv) join(L, state);
  replace_all(L, state->luv);
  return 0;
}

/* ---- Errors ---------------------------------------------------------------------------------- */

/* core.luv_error(err) -> "ENOENT" or "ENOENT: message" as a neap.Error, anything else as it is */
static int luv_error(lua_State *L) {
  lua_settop(L, 1);
  if (lua_type(L, 1) != LUA_TSTRING) return 1;
  const char *text = lua_tostring(L, 1), *colon = strstr(text, ": ");
  lua_pushlstring(L, text, colon ? (size_t)(colon - text) : strlen(text));
  int code = neap_error_code(lua_tostring(L, 2));
  if (code)
    neapL__push_new_error(L, neapL__state_here(L), lua_tostring(L, 2),
                          colon ? colon + 2 : neap_error_message(code));
  else
    lua_settop(L, 1);
  return 1;
}

const luaL_Reg neapL__luv_functions[] = {
    {"join_luv", join_luv}, {"luv_error", luv_error}, {NULL, NULL}};
