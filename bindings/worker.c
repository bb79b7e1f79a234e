#include "worker.h"

#include "../core/ops/job.h"
#include "error.h"
#include "object.h"
#include "watch.h"
#include "worker_state.h"

#include <stdlib.h>
#include <string.h>

/* ---- Jobs ---------------------------------------------------------------------------------- */

/* Thread: any. */
static void free_job(void *data) {
  neapL__job *self = data;
  neapL__message_deinit(&self->call);
  neapL__message_deinit(&self->outcome);
  neapL__origin_unref(self->origin);
  free(self);
}

static int run(neap_work *work, void *data) {
  return neapL__job_run(work, data);
}

static void interrupt(neap_work *work, void *data) {
  neapL__job *self = data;
  neapL__interruption *target = atomic_load(&self->target);
  if (!target) return;
  neapL__interrupt(target, neap__work_thread(work)->id, self->origin->signal, self->has_loop);
}

static const neap_work_kind waited_kind = {
    .name = "job", .run = run, .interrupt = interrupt, .release = free_job};
static const neap_work_kind abandoned_kind = {
    .name = "job", .run = run, .interrupt = interrupt, .release = free_job, .is_abandonable = true};

static const neapL__row job_row;

static neapL__job *new_job_for(neap__work *work, neap_pool *pool, const neap_work_kind *kind,
                               neapL__origin *origin) {
  neap__memory *memory = &work->op.task.loop->memory;
  neapL__job *job = neap__memory_must_fail(memory) ? NULL : calloc(1, sizeof *job);
  if (!job) return NULL;
  if (neap__work_prepare(work, pool, kind, job)) {
    free(job);
    return NULL;
  }
  job->origin = neapL__origin_ref(origin);
  return job;
}

/* Pushes the Task of an operation that is not started: collected, it frees its job. */
static neapL__job *push_job(lua_State *L, neapL__state *state, neap_pool *pool,
                            const neap_work_kind *kind) {
  neapL__origin *origin = neapL__origin_now(L, state);
  neapL__handle *handle = neapL__push_handle(L, state, &job_row, 1);
  neap__op *op = neap__op_new(state->loop, &neap__work_kind);
  if (op) handle->task = &op->task;
  neapL__job *job = op ? new_job_for((neap__work *)op, pool, kind, origin) : NULL;
  if (!job) neapL__raise_memory(L);
  return job;
}

/* core.new_job(pool | nil, has_loop, abandons, fn | "module.function", ...) -> a Task for core.work; or nil
 * and why an argument cannot cross */
static int new_job(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  int top = lua_gettop(L);
  neap_pool *pool = NULL;
  neapL__check_open(L, state);
  if (!lua_isnil(L, 1)) pool = neapL__check_core(L, 1, &state->pool_meta, "neap.Pool");
  neapL__job *job = push_job(L, state, pool, lua_toboolean(L, 3) ? &abandoned_kind : &waited_kind);
  job->has_loop = lua_toboolean(L, 2);
  if (neapL__message_write(L, state, &job->call, 4, top, "argument", 1)) return 1;
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/* core.work(job) -> the same Task, started: of true and its results, or of false, its error and a
 * traceback */
static int work(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  const neapL__handle *handle = neapL__check_handle(L, 1);
  bool is_new =
      handle->row == &job_row && handle->task->status == NEAP_PENDING && !handle->task->node.parent;
  luaL_argcheck(L, is_new, 1, "a job expected that was not started");
  neapL__check_open(L, state);
  neap__op_start((neap__op *)handle->task);
  neapL__watch(L, state);
  lua_settop(L, 1);
  return 1;
}

/* The error came by copy: it has room for where it came from. */
static void attach_traceback(lua_State *L, int error) {
  if (!lua_istable(L, error) || !lua_isstring(L, error + 1)) return;
  lua_pushliteral(L, "worker_traceback");
  if (lua_rawget(L, error) == LUA_TNIL) {
    lua_pushliteral(L, "worker_traceback");
    lua_pushvalue(L, error + 1);
    lua_rawset(L, error);
  }
  lua_pop(L, 1);
}

static int push_work(lua_State *L, neapL__state *state, int index) {
  neapL__job *job = neap_task_value(&neapL__op_at(L, index)->task);
  lua_pushboolean(L, !job->has_failed);
  int first = lua_gettop(L) + 1;
  int n = neapL__message_read(L, state, &job->outcome, 0);
  if (job->has_failed) attach_traceback(L, first);
  return n + 1;
}

static const neapL__row job_row = {"worker.run", NULL, NULL, push_work, NULL};

/* ---- Pools --------------------------------------------------------------------------------- */

static int pool_gc(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap_pool_unref(self->core);
  self->core = NULL;
  return 0;
}

/* core.new_pool(size) -> pool */
static int new_pool(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  lua_Integer size = luaL_checkinteger(L, 1);
  neapL__object *self = neapL__push_object(L, &state->pool_meta);
  neap_pool *pool;
  bool must_fail = neap__memory_must_fail(&state->loop->memory);
  if (must_fail || neap_pool_new((size_t)size, &pool)) return neapL__raise_memory(L);
  self->core = pool;
  return 1;
}

/* core.pool_size(pool | nil) -> how many threads it has at most; nil: the pool that all share */
static int pool_size(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap_pool *pool = NULL;
  if (!lua_isnoneornil(L, 1))
    pool = neapL__check_core(L, 1, &state->pool_meta, "neap.Pool");
  else if (neap__loop_pool(state->loop, &pool))
    return neapL__raise_memory(L);
  lua_pushinteger(L, (lua_Integer)neap_pool_size(pool));
  return 1;
}

/* Its threads end: waited for on one of libuv's, since that may take a while. */
typedef struct pool_end {
  neap__job job;
  neap_pool *pool;
} pool_end;

static int run_end(neap__job *job) {
  pool_end *self = (pool_end *)job;
  neap_pool_unref(self->pool);
  self->pool = NULL;
  return 0;
}

static int start_end(neap__op *op) {
  ((neap__job *)op)->run = run_end;
  return neap__job_start(op);
}

static void release_end(neap__op *op) {
  neap_pool_unref(((pool_end *)op)->pool);
}

static const neap__op_kind pool_end_kind = {.task = NEAP__OP_TASK("pool:close"),
                                            .size = sizeof(pool_end),
                                            .start = start_end,
                                            .release = release_end};

/* core.end_pool(pool) -> Task: done when its threads have ended. Nothing runs in it any more. */
static void read_end(lua_State *L, neap__op *op) {
  neapL__state *state = op->task.loop->hooks.data;
  neapL__check_core(L, 1, &state->pool_meta, "neap.Pool");
  neapL__object *self = lua_touserdata(L, 1);
  ((pool_end *)op)->pool = self->core;
  self->core = NULL;
}

/* ---- Registering --------------------------------------------------------------------------- */

static const neapL__row end_row = {"pool:close", &pool_end_kind, read_end, NULL, NULL};

static int end_pool(lua_State *L) {
  neapL__state_here(L)->arguments = 1;
  lua_settop(L, 1);
  neapL__start_operation(L, neapL__state_here(L), &end_row);
  return 1;
}

static const luaL_Reg functions[] = {{"new_job", new_job},     {"work", work},
                                     {"new_pool", new_pool},   {"end_pool", end_pool},
                                     {"pool_size", pool_size}, {NULL, NULL}};

void neapL__register_worker(lua_State *L) {
  neapL__register(L, functions);
}

static const luaL_Reg pool_metamethods[] = {{"__gc", pool_gc}, {NULL, NULL}};

void neapL__open_workers(lua_State *L, neapL__state *state) {
  neapL__class(L, &state->pool_meta, "neap.Pool", pool_metamethods, NULL);
  lua_pop(L, 1);
}

void neapL__close_workers(neapL__state *state) {
  neapL__origin_unref(state->origin);
  state->origin = NULL;
}
