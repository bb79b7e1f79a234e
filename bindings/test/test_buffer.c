// tsan: Buffers between Lua states, each on a thread of its own
#include "host.h"

#include "neap.h"
#include "state.h"
#include "transfer.h"

/* Each thread has a Lua state with a script, which defines `receive(...)` and `send()`. Messages are handed
 * round in a ring, so that nothing but the handing over orders what the threads do with the bytes. */

enum { THREADS = 4, ROUNDS = 50 };

typedef struct station {
  uv_thread_t thread;
  uv_sem_t arrived;
  neapL__message message; /* what has arrived */
  struct station *next;
  const char *script;
  int number;
  bool is_first;
  char error[256];
} station;

static int read_message(lua_State *L) {
  neapL__message *message = lua_touserdata(L, 1);
  lua_getglobal(L, "receive");
  int count = neapL__message_read(L, neapL__state_get(L), message, 0);
  lua_call(L, count, 0);
  return 0;
}

static int make_message(lua_State *L) {
  neapL__message *message = lua_touserdata(L, 1);
  lua_getglobal(L, "send");
  lua_call(L, 0, LUA_MULTRET);
  bool is_done =
      neapL__message_write(L, neapL__state_get(L), message, 2, lua_gettop(L), "value", 1);
  return is_done ? 0 : lua_error(L);
}

static int start_script(lua_State *L) {
  const station *self = lua_touserdata(L, 1);
  open_neap(L);
  lua_pushinteger(L, self->number);
  lua_setglobal(L, "number");
  if (luaL_loadstring(L, self->script) != LUA_OK) return lua_error(L);
  lua_call(L, 0, 0);
  return 0;
}

/* Without an error before: the stations go round also when one has failed, or the others would wait. */
static void call(station *self, lua_State *L, lua_CFunction fn, void *argument) {
  if (self->error[0]) return;
  lua_pushcfunction(L, fn);
  lua_pushlightuserdata(L, argument);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return;
  snprintf(self->error, sizeof self->error, "%s", luaL_tolstring(L, -1, NULL));
}

static void pass_on(station *self, lua_State *L) {
  call(self, L, make_message, &self->next->message);
  uv_sem_post(&self->next->arrived);
}

static void take_in(station *self, lua_State *L) {
  uv_sem_wait(&self->arrived);
  if (self->message.count > 0) call(self, L, read_message, &self->message);
  neapL__message_deinit(&self->message);
}

static void run_station(void *data) {
  station *self = data;
  heap memory = {0};
  lua_State *L = lua_newstate(allocate, &memory);
  call(self, L, start_script, self);
  for (int i = 0; i < ROUNDS; i++) {
    if (self->is_first) pass_on(self, L);
    take_in(self, L);
    if (!self->is_first) pass_on(self, L);
  }
  lua_close(L);
}

static void run_ring(const char *script) {
  station ring[THREADS] = {0};
  for (int i = 0; i < THREADS; i++) {
    ring[i].script = script;
    ring[i].number = i + 1;
    ring[i].is_first = i == 0;
    ring[i].next = &ring[(i + 1) % THREADS];
    CHECK(uv_sem_init(&ring[i].arrived, 0) == 0);
  }
  for (int i = 0; i < THREADS; i++)
    CHECK(uv_thread_create(&ring[i].thread, run_station, &ring[i]) == 0);
  for (int i = 0; i < THREADS; i++) uv_thread_join(&ring[i].thread);
  for (int i = 0; i < THREADS; i++) {
    if (!CHECK(ring[i].error[0] == '\0')) fprintf(stderr, "# %s\n", ring[i].error);
    uv_sem_destroy(&ring[i].arrived);
  }
}

/* ---- Rings --------------------------------------------------------------------------------- */

TEST(a_writable_buffer_is_written_by_one_thread_after_the_other) {
  run_ring("local neap = require 'neap'\n"
           "local buf, former, rounds = nil, nil, 0\n"
           "if number == 1 then buf = neap.buffer(4096) end\n"
           "function receive(b) buf = b rounds = rounds + 1 end\n"
           "function send()\n"
           "  assert(buf:is_writable() and #buf == 4096)\n"
           "  if former then assert(not pcall(former.string, former)) end\n"
           "  local before = (buf:unpack('i4', 4 * number - 3))\n"
           "  assert(before == rounds - (number == 1 and 0 or 1), before)\n"
           "  buf:pack(4 * number - 3, 'i4', before + 1)\n"
           "  buf:fill(number, 100)\n"
           "  former = buf:slice()\n"
           "  return buf\n"
           "end");
}

TEST(an_immutable_buffer_is_read_by_all_at_once) {
  run_ring("local neap = require 'neap'\n"
           "local kept\n"
           "if number == 1 then kept = neap.buffer(('x'):rep(10000)) end\n"
           "function receive(b) if number > 1 then kept = b end end\n"
           "function send()\n"
           "  assert(kept:find('y') == nil and #kept:string() == 10000)\n"
           "  if number % 2 == 0 then collectgarbage() end\n"
           "  return kept, { kept:slice(5) }\n"
           "end");
}

/* What one thread has frozen all of them read, while it drops what it has. */
TEST(a_frozen_buffer_outlives_its_maker) {
  run_ring("local neap = require 'neap'\n"
           "local list = {}\n"
           "function receive(all) list = all end\n"
           "function send()\n"
           "  local buf = neap.buffer(100):fill(number)\n"
           "  table.insert(list, buf:freeze())\n"
           "  if #list > 6 then table.remove(list, 1):close() end\n"
           "  for _, b in ipairs(list) do assert(b:byte(1) == b:byte(100)) end\n"
           "  local all = list\n"
           "  list = {}\n"
           "  return all\n"
           "end");
}

/* ---- Messages that nobody reads -------------------------------------------------------------- */

static void drop_message(void *data) {
  neapL__message_deinit(data);
}

static station lonely;

TEST(what_nobody_reads_is_freed_by_any_thread) {
  uv_thread_t thread;
  neapL__message message = {0};
  heap memory = {0};
  lonely = (station){.script =
                         "local neap = require 'neap'\n"
                         "function send()\n"
                         "  return neap.buffer(1000), neap.buffer('abc'), neap.buffer(3):freeze()\n"
                         "end"};
  lua_State *L = lua_newstate(allocate, &memory);
  call(&lonely, L, start_script, &lonely);
  call(&lonely, L, make_message, &message);
  CHECK(lonely.error[0] == '\0' && message.count == 3);
  lua_close(L);
  CHECK(uv_thread_create(&thread, drop_message, &message) == 0);
  uv_thread_join(&thread);
  CHECK(memory.bytes == 0);
}
