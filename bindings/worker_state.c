#include "worker_state.h"

#include "error.h"
#include "loader.h"
#include "module.h"
#include "operations.h"

#include <stdlib.h>
#include <string.h>

/* Thread: the one whose it is. Invariant: L, state and interruption.state are set or NULL together. */
typedef struct worker {
  neapL__interruption interruption;
  lua_State *L;
  neapL__state *state;
  neapL__origin *origin; /* whose paths it has now */
  int signal;
  int environment_ref; /* the metatable of environments */
  int created_ref;     /* list of the globals that were created since the last job */
  lua_Integer created;
} worker;

/* ---- What a state begins with ---------------------------------------------------------------- */

static neapL__origin *new_origin(lua_State *L, neapL__state *state, const char *path,
                                 const char *cpath) {
  bool must_fail = neap__memory_must_fail(&state->loop->memory);
  neapL__preloads *preloads = must_fail ? NULL : neapL__preloads_copy(L);
  neapL__origin *origin = preloads ? calloc(1, sizeof *origin) : NULL;
  if (!origin) {
    free(preloads);
    neapL__raise_memory(L);
    return NULL;
  }
  atomic_init(&origin->refs, 1);
  origin->preloads = preloads;
  origin->signal = neapL__interruption_signal();
  origin->path = strdup(path);
  origin->cpath = strdup(cpath);
  return origin;
}

/* Pushes `package`, or an empty table. */
static void push_package(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, LUA_LOADLIBNAME) != LUA_TTABLE) lua_newtable(L);
  lua_remove(L, -2);
}

static const char *push_path(lua_State *L, int package, const char *name) {
  if (lua_getfield(L, package, name) != LUA_TSTRING) lua_pushliteral(L, "");
  return lua_tostring(L, -1);
}

/* Strings that are kept can be told by their addresses: a look at both costs 60 ns. */
neapL__origin *neapL__origin_now(lua_State *L, neapL__state *state) {
  int package = lua_gettop(L) + 1;
  if (!state->package_ref) {
    push_package(L);
    state->package_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  neapL__push_ref(L, state->package_ref);
  const char *path = push_path(L, package, "path"), *cpath = push_path(L, package, "cpath");
  if (path != state->path || cpath != state->cpath) {
    neapL__origin *origin = new_origin(L, state, path, cpath);
    neapL__origin_unref(state->origin);
    state->origin = origin;
    state->path = path;
    state->cpath = cpath;
    lua_rawsetp(L, LUA_REGISTRYINDEX, &state->cpath);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &state->path);
  }
  lua_settop(L, package - 1);
  return state->origin;
}

neapL__origin *neapL__origin_ref(neapL__origin *origin) {
  atomic_fetch_add(&origin->refs, 1);
  return origin;
}

void neapL__origin_unref(neapL__origin *origin) {
  if (!origin || atomic_fetch_sub(&origin->refs, 1) > 1) return;
  free(origin->path);
  free(origin->cpath);
  free(origin->preloads);
  free(origin);
}

/* ---- Globals ------------------------------------------------------------------------------- */

/* __index of an environment; upvalue 1: the globals. (environment, key) -> value */
static int look_up_global(lua_State *L) {
  if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), LUA_GNAME) == 0) {
    lua_pushvalue(L, 1);
  } else {
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    neapL__bind_loader(L, 1, 2);
  }
  if (lua_isnil(L, -1)) return 1;
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  return 1;
}

/* What a module creates while it is loaded is as much its own as what it returns. */
static bool is_loading(lua_State *L) {
  lua_Debug ar;
  bool is_it = false;
  for (int level = 0; !is_it && lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "f", &ar);
    is_it = lua_rawequal(L, -1, lua_upvalueindex(2));
    lua_pop(L, 1);
  }
  return is_it;
}

/* __newindex of the globals; upvalues: the worker, `require`, the list of what was created. */
static int create_global(lua_State *L) {
  worker *self = lua_touserdata(L, lua_upvalueindex(1));
  if (!is_loading(L)) {
    lua_pushvalue(L, 2);
    lua_rawseti(L, lua_upvalueindex(3), self->created + 1);
    self->created++;
  }
  lua_settop(L, 3);
  lua_rawset(L, 1);
  return 0;
}

/* Needs no memory. */
static void remove_created(worker *self) {
  lua_State *L = self->L;
  if (self->created == 0) return;
  lua_pushglobaltable(L);
  neapL__push_ref(L, self->created_ref);
  for (; self->created > 0; self->created--) {
    lua_rawgeti(L, -1, self->created);
    lua_pushnil(L);
    lua_rawset(L, -4);
  }
  lua_pop(L, 2);
}

static void open_globals(lua_State *L, worker *self) {
  lua_createtable(L, 0, 2); /* of environments */
  lua_pushglobaltable(L);
  lua_pushcclosure(L, look_up_global, 1);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  self->environment_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_newtable(L);
  self->created_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushglobaltable(L);
  lua_createtable(L, 0, 1);
  lua_pushlightuserdata(L, self);
  lua_getglobal(L, "require");
  neapL__push_ref(L, self->created_ref);
  lua_pushcclosure(L, create_global, 3);
  lua_setfield(L, -2, "__newindex");
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}

/* ---- Making and closing ---------------------------------------------------------------------- */

static void set_path(lua_State *L, const char *name, const char *path) {
  if (!path) return;
  lua_pushstring(L, path);
  lua_setfield(L, -2, name);
}

static void set_paths(lua_State *L, const neapL__origin *origin) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, LUA_LOADLIBNAME);
  set_path(L, "path", origin->path);
  set_path(L, "cpath", origin->cpath);
  lua_pop(L, 2);
}

/* The C module is this one, wherever it came from: linked into the host, or a file. */
static void open_modules(lua_State *L) {
  luaL_openlibs(L);
  luaL_requiref(L, "neap.core", luaopen_neap_core, 0);
  lua_pop(L, 1);
}

/* (worker) */
static int open_protected(lua_State *L) {
  worker *self = lua_touserdata(L, 1);
  open_modules(L);
  self->state = neapL__state_get(L);
  self->state->is_loopless = true;
  neapL__interruption_open(L, &self->interruption, self->state);
  open_globals(L, self);
  return 0;
}

/* From here on a signal that is late finds nothing. */
static void close_state(worker *self) {
  self->interruption.state = NULL;
  if (self->L) lua_close(self->L);
  neapL__origin_unref(self->origin);
  self->origin = NULL;
  self->L = NULL;
  self->state = NULL;
  self->created = 0;
}

static bool open_state(worker *self) {
  if (self->L) return true;
  self->L = luaL_newstate();
  if (!self->L) return false;
  lua_pushcfunction(self->L, open_protected);
  lua_pushlightuserdata(self->L, self);
  if (lua_pcall(self->L, 1, 0, 0) == LUA_OK) return true;
  close_state(self);
  return false;
}

static void end_worker(void *local) {
  worker *self = local;
  neapL__interruption_admit(self->signal, false);
  close_state(self);
  free(self);
}

static worker *worker_of(neap__pool_thread *thread, const neapL__origin *origin) {
  if (!thread->local) {
    worker *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->signal = origin->signal;
    thread->local = self;
    thread->end_local = end_worker;
    neapL__interruption_admit(self->signal, true);
  }
  return open_state(thread->local) ? thread->local : NULL;
}

/* ---- Running a job --------------------------------------------------------------------------- */

typedef struct job_call {
  worker *worker;
  neap_work *work;
  neapL__job *job;
  int code;
} job_call;

/* The frame of `run_protected`. */
enum { JOB_ENVIRONMENT = 1, JOB_HANDLER, JOB_FUNCTION, JOB_FIRST };

static bool is_callable(lua_State *L, int index) {
  if (lua_isfunction(L, index)) return true;
  if (luaL_getmetafield(L, index, "__call") == LUA_TNIL) return false;
  lua_pop(L, 1);
  return true;
}

/* Replaces "module.function" at 1 by that function. */
static void find_function(lua_State *L) {
  int top = lua_gettop(L);
  const char *name = lua_tostring(L, 1), *dot = strrchr(name, '.');
  lua_getglobal(L, "require");
  const char *module = lua_pushlstring(L, name, (size_t)(dot - name));
  lua_call(L, 1, 1);
  if (lua_istable(L, -1)) lua_getfield(L, -1, dot + 1);
  if (!is_callable(L, -1)) luaL_error(L, "module '%s' has no function '%s'", module, dot + 1);
  lua_replace(L, 1);
  lua_settop(L, top);
}

/* (fn, ...); upvalue 1: the job */
static int call_function(lua_State *L) {
  const neapL__job *job = lua_touserdata(L, lua_upvalueindex(1));
  if (lua_type(L, 1) == LUA_TSTRING) find_function(L);
  if (job->has_loop) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, "neap.core");
    lua_getfield(L, -1, "run");
    lua_insert(L, 1);
    lua_pop(L, 2);
  }
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* The message handler; upvalue 1: the worker. Keeps the traceback. */
static int take_traceback(lua_State *L) {
  lua_settop(L, 1);
  luaL_traceback(L, L, NULL, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, lua_touserdata(L, lua_upvalueindex(1)));
  return 1;
}

/* Whether the job has ended because it was asked to. */
static bool has_obeyed(lua_State *L, const worker *self) {
  if (neapL__is_interruption(L, &self->interruption, -1)) return true;
  if (!self->interruption.is_told || !lua_istable(L, -1)) return false;
  lua_getfield(L, -1, "code");
  bool is_it = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "ECANCELLED") == 0;
  lua_pop(L, 1);
  return is_it;
}

/* Replaces the error on top by what of it can cross: its plain fields, if it is a table; else `why`, which
 * is above it, says what it was. */
static void reduce_error(lua_State *L, worker *self) {
  int error = lua_gettop(L) - 1;
  if (!lua_istable(L, error)) {
    lua_remove(L, error);
    return;
  }
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, error);) {
    int type = lua_type(L, -1), key = lua_type(L, -2);
    bool crosses =
        key == LUA_TSTRING && (type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN);
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    if (crosses)
      lua_rawset(L, -4);
    else
      lua_pop(L, 2);
  }
  if (neapL__has_meta(L, error, &self->state->error_meta))
    neapL__set_meta(L, -1, &self->state->error_meta);
  lua_replace(L, error);
  lua_settop(L, error);
}

/* The error is on top. */
static void write_failure(lua_State *L, const job_call *call) {
  worker *self = call->worker;
  neapL__message *outcome = &call->job->outcome;
  call->job->has_failed = true;
  for (;;) {
    int error = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, self);
    if (neapL__message_write(L, self->state, outcome, error, error + 1, "the error", 1)) return;
    neapL__message_deinit(outcome);
    lua_remove(L, error + 1);
    reduce_error(L, self);
  }
}

static void write_results(lua_State *L, const job_call *call) {
  neapL__state *state = call->worker->state;
  neapL__message *outcome = &call->job->outcome;
  if (neapL__message_write(L, state, outcome, JOB_FIRST, lua_gettop(L), "result", 1)) return;
  neapL__message_deinit(outcome);
  neapL__push_new_error(L, state, "EINVAL", lua_tostring(L, -1));
  write_failure(L, call);
}

static int call_interruptible(lua_State *L, const job_call *call, int n) {
  neapL__interruption *interruption = &call->worker->interruption;
  bool has_loop = call->job->has_loop;
  call->worker->state->is_loopless = !has_loop;
  atomic_store(&call->job->target, interruption);
  neapL__interruption_begin(interruption, L, call->work, has_loop);
  int status = lua_pcall(L, n, LUA_MULTRET, JOB_HANDLER);
  neapL__interruption_end(interruption);
  call->worker->state->is_loopless = true;
  return status;
}

/* The paths and preloads are those of the state that has made the job. */
static void follow_origin(lua_State *L, worker *self, neapL__origin *origin) {
  if (self->origin == origin) return;
  set_paths(L, origin);
  neapL__preloads_apply(L, origin->preloads);
  neapL__origin_unref(self->origin);
  self->origin = neapL__origin_ref(origin);
}

/* (job_call). Raises when out of memory, and where a value could not be made here or not be told. */
static int run_protected(lua_State *L) {
  job_call *call = lua_touserdata(L, 1);
  worker *self = call->worker;
  lua_settop(L, 0);
  follow_origin(L, self, call->job->origin);
  lua_newtable(L);
  neapL__push_ref(L, self->environment_ref);
  lua_setmetatable(L, JOB_ENVIRONMENT);
  lua_pushlightuserdata(L, self);
  lua_pushcclosure(L, take_traceback, 1);
  lua_pushnil(L);
  lua_pushlightuserdata(L, call->job);
  lua_pushcclosure(L, call_function, 1);
  int n = neapL__message_read(L, self->state, &call->job->call, JOB_ENVIRONMENT);
  lua_pushvalue(L, JOB_FIRST + 1);
  lua_replace(L, JOB_FUNCTION);
  int status = call_interruptible(L, call, n);
  if (status == LUA_OK)
    write_results(L, call);
  else if (status == LUA_ERRMEM)
    return lua_error(L);
  else if (has_obeyed(L, self))
    call->code = UV_ECANCELED;
  else
    write_failure(L, call);
  neapL__function_return(L, self->state, JOB_FUNCTION);
  return 0;
}

/* (job_call, error): what went wrong around the job. Raises only when out of memory. */
static int fail_protected(lua_State *L) {
  const job_call *call = lua_touserdata(L, 1);
  neapL__message_deinit(&call->job->outcome);
  write_failure(L, call);
  return 0;
}

static int run_or_fail(lua_State *L, job_call *call) {
  lua_pushcfunction(L, run_protected);
  lua_pushlightuserdata(L, call);
  int status = lua_pcall(L, 1, 0, 0);
  if (status == LUA_OK || status == LUA_ERRMEM) return status;
  lua_pushcfunction(L, fail_protected);
  lua_insert(L, -2);
  lua_pushlightuserdata(L, call);
  lua_insert(L, -2);
  return lua_pcall(L, 2, 0, 0);
}

static void withdraw_target(neap__pool_item *item) {
  neap_work *work = NEAP__CONTAINER(item, neap_work, item);
  atomic_store(&((neapL__job *)work->data)->target, NULL);
}

int neapL__job_run(neap_work *work, neapL__job *job) {
  worker *self = worker_of(neap__work_thread(work), job->origin);
  if (!self) return UV_ENOMEM;
  job_call call = {self, work, job, 0};
  int status = run_or_fail(self->L, &call);
  remove_created(self);
  lua_pushnil(self->L);
  lua_rawsetp(self->L, LUA_REGISTRYINDEX, self);
  if (status == LUA_OK) return call.code;
  neap__pool_poke(work->pool, &work->item,
                  withdraw_target); /* whoever interrupts is done with it */
  close_state(self);
  return UV_ENOMEM;
}
