/* A C host with functions of its own, by the public API; `native FILE` runs a script, `native uv` measures
 * what libuv alone takes for the same. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <lauxlib.h>
#include <lualib.h>

#include "neaplua.h"

enum { AT_ONCE = 64 };

/* ---- What scripts call ----------------------------------------------------------------------- */

/* plain() -> 1, of Lua's own kind */
static int plain(lua_State *L) {
  lua_pushinteger(L, 1);
  return 1;
}

/* call() -> 1, on the spot */
static int start_call(neap_completion *call, void *frame, const neap_values *arguments) {
  (void)frame, (void)arguments;
  neap_values_add_integer(neap_completion_values(call), 1);
  return neap_completion_end(call, NULL);
}

/* What was begun in this turn; a uv_idle_t ends it in the next one. */
static uv_idle_t idle;
static neap_completion *kept[AT_ONCE];
static size_t kept_count;

static void on_idle(uv_idle_t *handle) {
  size_t count = kept_count;
  uv_idle_stop(handle);
  kept_count = 0;
  for (size_t i = 0; i < count; i++) {
    neap_values_add_integer(neap_completion_values(kept[i]), 1);
    neap_completion_end(kept[i], NULL);
    neap_completion_unref(kept[i]);
  }
}

/* later() -> 1; no more than AT_ONCE at a time */
static int start_later(neap_completion *call, void *frame, const neap_values *arguments) {
  (void)frame, (void)arguments;
  if (kept_count == AT_ONCE) return UV_EAGAIN;
  kept[kept_count++] = neap_completion_ref(call);
  return uv_idle_start(&idle, on_idle);
}

/* work() -> 1, on a thread */
static int run_work(neap_work *work, void *frame, const neap_values *arguments,
                    neap_values *results) {
  (void)work, (void)frame, (void)arguments;
  neap_values_add_integer(results, 1);
  return 0;
}

static const neapL_function functions[] = {
    {.kind = {.name = "native.call"}, .start = start_call},
    {.kind = {.name = "native.later"}, .start = start_later},
    {.kind = {.name = "native.work"}, .run = run_work},
    {.kind = {.name = NULL}},
};

static int open_native(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, plain);
  lua_setfield(L, -2, "plain");
  neapL_register(L, functions);
  return 1;
}

static int run_script(const char *file) {
  lua_State *L = luaL_newstate();
  if (!L) return 2;
  luaL_openlibs(L);
  bool is_ok = neapL_open(L, &(neapL_options){.threads = 4}) == 0;
  if (is_ok) {
    neapL_preload(L, "native", open_native);
    uv_idle_init(neap_loop_uv(neapL_loop(L)), &idle);
    is_ok = luaL_dofile(L, file) == LUA_OK;
    if (uv_is_active((uv_handle_t *)&idle)) uv_idle_stop(&idle);
    uv_close((uv_handle_t *)&idle, NULL);
  }
  if (!is_ok) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
  return is_ok ? 0 : 1;
}

/* ---- libuv alone ------------------------------------------------------------------------------- */

static size_t started, total;

static void on_turn(uv_idle_t *handle) {
  if (++started >= total) uv_idle_stop(handle);
}

static void do_nothing(uv_work_t *work) {
  (void)work;
}

static void start_work(uv_work_t *work, int status) {
  if (status || started == total) return;
  started++;
  uv_queue_work(uv_default_loop(), work, do_nothing, start_work);
}

static void report(const char *name, double seconds, size_t n) {
  printf("%s %.3f\n", name, seconds / (double)n * 1e9);
}

static void measure_turns(const char *name, size_t n, size_t at_once) {
  uv_idle_t turns[AT_ONCE];
  clock_t since = clock();
  started = 0;
  total = n;
  for (size_t i = 0; i < at_once; i++) {
    uv_idle_init(uv_default_loop(), &turns[i]);
    uv_idle_start(&turns[i], on_turn);
  }
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  report(name, (double)(clock() - since) / CLOCKS_PER_SEC, n);
  for (size_t i = 0; i < at_once; i++) uv_close((uv_handle_t *)&turns[i], NULL);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

static void measure_work(const char *name, size_t n, size_t at_once) {
  uv_work_t works[AT_ONCE];
  uint64_t since = uv_hrtime();
  started = 0;
  total = n;
  for (size_t i = 0; i < at_once; i++) start_work(&works[i], 0);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  report(name, (double)(uv_hrtime() - since) / 1e9, n);
}

static int run_uv(void) {
  measure_work("warm_up", 1000, AT_ONCE);
  measure_turns("native_later", 300000, 1);
  measure_turns("native_later_64", 64 * 50000, AT_ONCE);
  measure_work("native_work", 20000, 1);
  measure_work("native_work_64", 64 * 3000, AT_ONCE);
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  return strcmp(argv[1], "uv") == 0 ? run_uv() : run_script(argv[1]);
}
