/* The limit of the bench of workers: a pool of two threads, each with a Lua state, that a libuv loop gives
 * jobs to. Nothing is copied but an integer, or a string: once into the Lua state, once out of it. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { THREADS = 2, AT_ONCE = 64, STRING_BYTES = 16 * 1024 * 1024 };

typedef struct job job;
struct job {
  job *next;
  const char *function; /* a global of the states */
  lua_Integer argument, result;
  char *text; /* its other argument, and its result then */
  size_t size;
};

typedef struct list {
  job *head, **tail;
} list;

static list queue, ended;
static uv_mutex_t mutex;
static uv_cond_t wanted;
static uv_async_t wake;
static bool is_over;
static void (*on_end)(job *);

static void push(list *to, job *item) {
  item->next = NULL;
  *to->tail = item;
  to->tail = &item->next;
}

static job *pop(list *from) {
  job *first = from->head;
  from->head = first->next;
  if (!from->head) from->tail = &from->head;
  return first;
}

static void check(lua_State *L, int status) {
  if (status == LUA_OK) return;
  fprintf(stderr, "workers_raw: %s\n", lua_tostring(L, -1));
  exit(1);
}

static void run(lua_State *L, job *self) {
  lua_getglobal(L, self->function);
  if (self->text)
    lua_pushlstring(L, self->text, self->size);
  else
    lua_pushinteger(L, self->argument);
  check(L, lua_pcall(L, 1, 1, 0));
  if (self->text) {
    size_t size;
    const char *text = lua_tolstring(L, -1, &size);
    char *copy = malloc(size);
    memcpy(copy, text, size);
    free(self->text);
    self->text = copy;
  } else {
    self->result = lua_tointeger(L, -1);
  }
  lua_settop(L, 0);
}

static void main_of_thread(void *data) {
  lua_State *L = luaL_newstate();
  (void)data;
  luaL_openlibs(L);
  check(L, luaL_dofile(L, "bench/workers_job.lua"));
  lua_setglobal(L, "primes");
  check(L, luaL_dostring(L, "function empty() end function back(x) return x end"));
  uv_mutex_lock(&mutex);
  for (;;) {
    while (!queue.head && !is_over) uv_cond_wait(&wanted, &mutex);
    if (!queue.head) break;
    job *self = pop(&queue);
    uv_mutex_unlock(&mutex);
    run(L, self);
    uv_mutex_lock(&mutex);
    push(&ended, self);
    uv_async_send(&wake);
  }
  uv_mutex_unlock(&mutex);
  lua_close(L);
}

static void start(job *self) {
  uv_mutex_lock(&mutex);
  push(&queue, self);
  uv_cond_signal(&wanted);
  uv_mutex_unlock(&mutex);
}

static void on_wake(uv_async_t *handle) {
  (void)handle;
  uv_mutex_lock(&mutex);
  job *first = ended.head;
  ended.head = NULL;
  ended.tail = &ended.head;
  uv_mutex_unlock(&mutex);
  while (first) {
    job *self = first;
    first = self->next;
    on_end(self);
  }
}

static long started, finished, wanted_jobs;

static void next_job(job *self) {
  if (++finished == wanted_jobs) uv_stop(uv_default_loop());
  if (started == wanted_jobs) return;
  started++;
  start(self);
}

static double run_jobs(job *jobs, int at_once, long n) {
  double begin = (double)uv_hrtime();
  started = finished = 0;
  wanted_jobs = n;
  on_end = next_job;
  for (int i = 0; i < at_once && started < n; i++) {
    started++;
    start(&jobs[i]);
  }
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  return ((double)uv_hrtime() - begin) / 1e9;
}

static void prepare(job *jobs, const char *function, lua_Integer argument) {
  for (int i = 0; i < AT_ONCE; i++) jobs[i] = (job){.function = function, .argument = argument};
}

int main(void) {
  uv_thread_t threads[THREADS];
  static job jobs[AT_ONCE];
  queue.tail = &queue.head;
  ended.tail = &ended.head;
  uv_mutex_init(&mutex);
  uv_cond_init(&wanted);
  uv_async_init(uv_default_loop(), &wake, on_wake);
  for (int i = 0; i < THREADS; i++) uv_thread_create(&threads[i], main_of_thread, NULL);
  prepare(jobs, "primes", 200000);
  printf("wall_ms %.3f\n", run_jobs(jobs, 16, 16) * 1e3);
  prepare(jobs, "empty", 0);
  run_jobs(jobs, 1, 1000);
  printf("round_trip_us %.3f\n", run_jobs(jobs, 1, 20000) / 20000 * 1e6);
  printf("round_trip_64_us %.3f\n", run_jobs(jobs, AT_ONCE, 192000) / 192000 * 1e6);
  prepare(jobs, "back", 0);
  jobs[0].size = STRING_BYTES;
  jobs[0].text = malloc(STRING_BYTES);
  memset(jobs[0].text, 'x', STRING_BYTES);
  run_jobs(jobs, 1, 1);
  printf("string_mb %.3f\n", 40.0 * STRING_BYTES / run_jobs(jobs, 1, 20) / 1e6);
  free(jobs[0].text);
  uv_mutex_lock(&mutex);
  is_over = true;
  uv_cond_broadcast(&wanted);
  uv_mutex_unlock(&mutex);
  for (int i = 0; i < THREADS; i++) uv_thread_join(&threads[i]);
  return 0;
}
