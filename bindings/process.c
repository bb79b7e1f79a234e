#include "process.h"

#include "../core/ops/signal.h"
#include "../core/ops/spawn.h"
#include "await.h"
#include "conn.h"
#include "error.h"
#include "file.h"
#include "options.h"
#include "scope.h"

#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_GRACE = 5 };

static const char class_name[] = "neap.Process";
static const char *const stream_names[] = {"stdin", "stdout", "stderr"};

static neap__process *check_process(lua_State *L) {
  return neapL__check_core(L, 1, &neapL__state_here(L)->process_meta, class_name);
}

/* ---- core.process.spawn ---------------------------------------------------------------------- */

/* Copies the strings of the list on top, which it pops, into one block, as exec wants them. */
static char **copy_list(lua_State *L, neap_loop *loop) {
  lua_Integer n = luaL_len(L, -1);
  size_t length, size = ((size_t)n + 1) * sizeof(char *);
  for (lua_Integer i = 1; i <= n; i++, lua_pop(L, 1)) {
    lua_rawgeti(L, -1, i);
    luaL_checktype(L, -1, LUA_TSTRING); /* so that nothing raises once the block is there */
    lua_tolstring(L, -1, &length);
    size += length + 1;
  }
  char **list = neap__memory_resize(&loop->memory, NULL, size);
  if (!list) {
    neapL__raise_memory(L);
    return NULL;
  }
  char *text = (char *)(list + n + 1);
  for (lua_Integer i = 0; i < n; i++, lua_pop(L, 1)) {
    lua_rawgeti(L, -1, i + 1);
    const char *string = lua_tolstring(L, -1, &length);
    list[i] = memcpy(text, string, length + 1);
    text += length + 1;
  }
  list[n] = NULL;
  lua_pop(L, 1);
  return list;
}

/* A File or a Conn, on top. */
static void read_loan(lua_State *L, const neapL__state *state, neap__channel *channel) {
  const neapL__object *object = lua_touserdata(L, -1);
  bool is_file = neapL__has_meta(L, -1, &state->file_meta);
  bool is_stream =
      neapL__has_meta(L, -1, &state->conn_meta) || neapL__has_meta(L, -1, &state->tty_meta);
  luaL_argcheck(L, (is_file || is_stream) && object->core, 1, "an open File or Conn expected");
  channel->kind = NEAP__CHANNEL_LOAN;
  if (is_file) {
    channel->loan.file = object->core;
    channel->loan.file->refs++;
  } else {
    channel->loan.stream = object->core;
    channel->loan.stream->refs++;
  }
}

static void read_channel(lua_State *L, const neapL__state *state, const char *name,
                         neap__channel *channel) {
  static const char *const kinds[] = {"null", "pipe", "inherit", "stdout", NULL};
  lua_getfield(L, 1, name);
  if (lua_isuserdata(L, -1))
    read_loan(L, state, channel);
  else
    channel->kind = (neap__channel_kind)neapL__option_choice(L, 1, name, kinds, 0);
  lua_pop(L, 1);
}

/* core.process.spawn{args =, env =, cwd =, stdin =, stdout =, stderr =, group =, detached =, grace =, uid =,
 * gid =} -> Task<Process> */
static void read_spawn(lua_State *L, neap__op *op) {
  neap__spawn *self = (neap__spawn *)op;
  neap_loop *loop = op->task.loop;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "args");
  luaL_argcheck(L, luaL_len(L, -1) > 0, 1, "a command expected");
  self->args = copy_list(L, loop);
  if (lua_getfield(L, 1, "env") != LUA_TNIL) self->env = copy_list(L, loop);
  self->cwd = neapL__option_copy(L, loop, 1, "cwd");
  for (int i = 0; i < NEAP__STANDARD_STREAMS; i++)
    read_channel(L, neapL__state_here(L), stream_names[i], &self->channels[i]);
  self->uid = (int)neapL__option_integer(L, 1, "uid", 0, INT_MAX, -1);
  self->gid = (int)neapL__option_integer(L, 1, "gid", 0, INT_MAX, -1);
  self->is_detached = neapL__option_boolean(L, 1, "detached", false);
  self->leads_group = neapL__option_boolean(L, 1, "group", false) || self->is_detached;
  self->grace = neapL__option_seconds(L, 1, "grace", DEFAULT_GRACE);
}

/* The objects are made first, and then given what they are for. */
static int push_process(lua_State *L, neapL__state *state, int index) {
  neap__spawn *op = (neap__spawn *)neapL__op_at(L, index);
  neapL__object *conns[NEAP__STANDARD_STREAMS] = {NULL};
  neap__stream *pipes[NEAP__STANDARD_STREAMS];
  neapL__object *self = lua_newuserdatauv(L, sizeof *self, NEAP__STANDARD_STREAMS);
  self->core = NULL;
  neapL__set_meta(L, -1, &state->process_meta);
  for (int i = 0; i < NEAP__STANDARD_STREAMS; i++) {
    if (!op->pipes[i]) continue;
    conns[i] = neapL__push_object(L, &state->conn_meta);
    lua_setiuservalue(L, -2, i + 1);
  }
  self->core = neap__spawn_take(op, pipes);
  for (int i = 0; i < NEAP__STANDARD_STREAMS; i++)
    if (conns[i]) conns[i]->core = pipes[i];
  return 1;
}

static const neapL__row spawn_rows[] = {
    {"process.spawn", &neap__spawn_kind, read_spawn, push_process, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- Waiting and closing ---------------------------------------------------------------------- */

static void read_wait(lua_State *L, neap__op *op) {
  neap__process *process = check_process(L);
  process->refs++;
  ((neap__process_wait *)op)->process = process;
}

/* "SIGTERM"; "SIG40" for one without a name. */
static void push_signal(lua_State *L, int number) {
  const char *name = neap__signal_name(number);
  if (name)
    lua_pushstring(L, name);
  else
    lua_pushfstring(L, "SIG%d", number);
}

/* process:wait() -> Task<code, signal | nil> */
static int push_end(lua_State *L, neapL__state *state, int index) {
  const neap__process *process = ((neap__process_wait *)neapL__op_at(L, index))->process;
  (void)state;
  lua_pushinteger(L, process->code);
  if (!process->signal) return 1;
  push_signal(L, process->signal);
  return 2;
}

static const neapL__row process_rows[] = {
    {"wait", &neap__process_wait_kind, read_wait, push_end, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static const neapL__row close_row = {"close", &neap__process_close_kind, read_wait, NULL, NULL};

/* process:close() -> Task */
static int close_process(lua_State *L) {
  neap__process_end(check_process(L));
  lua_settop(L, 1);
  neapL__start_operation(L, neapL__state_here(L), &close_row);
  return 1;
}

static int close_and_await(lua_State *L) {
  close_process(L);
  lua_replace(L, 1);
  return neapL__await(L, neapL__state_here(L), 1);
}

/* Waits for the end also in a cancelled scope: a child is not left behind. */
static int close_block(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  lua_settop(L, 1);
  if (state->is_closing) return 0; /* the loop ends what is left */
  neap__process *process = check_process(L);
  neap__process_end(process);
  if (process->is_over || !neapL__current(state) || !lua_isyieldable(L)) return 0;
  lua_pushlightuserdata(L, state);
  lua_pushcclosure(L, close_and_await, 1);
  lua_insert(L, 1);
  return neapL__shield(L);
}

static int collect(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap__process *process = self->core;
  self->core = NULL;
  if (process) neap__process_drop(process);
  return 0;
}

/* core.process.release(process): it has done all it was to do; what it has left behind may go on. */
static int release(lua_State *L) {
  check_process(L)->is_detached = true;
  return 0;
}

/* ---- Signals -------------------------------------------------------------------------------- */

/* A name or a number. */
static int check_signal(lua_State *L, int index) {
  const char *form = "a signal such as 'SIGTERM' expected";
  if (lua_isnoneornil(L, index)) return SIGTERM;
  if (lua_isinteger(L, index)) {
    lua_Integer number = lua_tointeger(L, index);
    luaL_argcheck(L, number >= 0 && number < NSIG, index, form);
    return (int)number;
  }
  luaL_argexpected(L, lua_type(L, index) == LUA_TSTRING, index, "a signal's name");
  int number = neap__signal_number(lua_tostring(L, index));
  luaL_argcheck(L, number > 0, index, form);
  return number;
}

static int raise_code(lua_State *L, int code) {
  neap_error error = {.code = code, .syscall = "kill"};
  neapL__push_core_error(L, neapL__state_here(L), &error);
  return lua_error(L);
}

/* process:kill(signal?) -> whether it was there to get it */
static int kill_process(lua_State *L) {
  neap__process *process = check_process(L);
  int code = neap__process_kill(process, check_signal(L, 2));
  if (code && code != UV_ESRCH) return raise_code(L, code);
  lua_pushboolean(L, code == 0);
  return 1;
}

/* neap.process.kill(pid, signal?) */
static int kill_pid(lua_State *L) {
  lua_Integer pid = luaL_checkinteger(L, 1);
  bool is_one = pid > 0 && pid <= INT_MAX;
  luaL_argcheck(L, is_one || (pid < -1 && pid >= -INT_MAX), 1,
                "the number of a process expected, or -number of a group");
  int code = kill((pid_t)pid, check_signal(L, 2)) ? uv_translate_sys_error(errno) : 0;
  return code ? raise_code(L, code) : 0;
}

/* ---- Fields --------------------------------------------------------------------------------- */

static int push_pipe(lua_State *L, const char *key) {
  for (int i = 0; i < NEAP__STANDARD_STREAMS; i++)
    if (strcmp(key, stream_names[i]) == 0) return lua_getiuservalue(L, 1, i + 1), 1;
  return 0;
}

static int index_process(lua_State *L) {
  const neap__process *process = check_process(L);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "pid") == 0)
    lua_pushinteger(L, process->pid);
  else if (!push_pipe(L, key))
    lua_rawget(L, lua_upvalueindex(2));
  return 1;
}

static int to_string(lua_State *L) {
  const neap__process *process = check_process(L);
  lua_pushfstring(L, "%s %d '%s'", class_name, process->pid, process->command);
  if (!process->has_ended) return 1;
  if (process->signal)
    push_signal(L, process->signal);
  else
    lua_pushfstring(L, "exit code %d", process->code);
  lua_pushfstring(L, "%s: %s", lua_tostring(L, -2), lua_tostring(L, -1));
  return 1;
}

/* core.process.environ() -> table of names and values */
static int get_environ(lua_State *L) {
  lua_newtable(L);
  for (char **entry = environ; entry && *entry; entry++) {
    const char *value = strchr(*entry, '=');
    if (!value) continue;
    lua_pushlstring(L, *entry, (size_t)(value - *entry));
    lua_pushstring(L, value + 1);
    lua_rawset(L, -3);
  }
  return 1;
}

/* ---- Making --------------------------------------------------------------------------------- */

static const luaL_Reg metamethods[] = {
    {"__gc", collect}, {"__close", close_block}, {"__tostring", to_string}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"kill", kill_process}, {"close", close_process}, {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"kill", kill_pid}, {"release", release}, {"environ", get_environ}, {NULL, NULL}};

void neapL__open_processes(lua_State *L, neapL__state *state) {
  neapL__class_with_fields(L, &state->process_meta, class_name, metamethods, methods,
                           index_process);
  lua_getfield(L, -1, "__index");
  lua_getupvalue(L, -1, 2);
  neapL__register_rows(L, process_rows);
  lua_pop(L, 3);
}

void neapL__register_process(lua_State *L) {
  lua_newtable(L);
  neapL__register_rows(L, spawn_rows);
  neapL__register(L, functions);
  lua_setfield(L, -2, "process");
}
