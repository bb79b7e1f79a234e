/* A server on several threads, each with a Lua state and a loop of its own, which run the same script.
 *   server SCRIPT [--threads N] [--port P]      until Ctrl-C
 *   server SCRIPT [--threads N] --test CLIENTS  the host connects to it, checks the answers, and stops it */
#include <neap/neaplua.h>

#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_THREADS = 64 };

typedef struct worker {
  const char *script;
  int number, port;
  uv_thread_t thread;
  uv_sem_t ready;    /* it listens, or has ended */
  neap_inbox *inbox; /* its door for other threads; NULL: it could not open neap. A reference */
  neap_task *task;   /* what the script runs. Its thread's */
  bool is_listening;
} worker;

/* ---- On each worker's thread --------------------------------------------------------------------- */

static void on_error(void *data, lua_State *L, const neap_error *error) {
  (void)L;
  fprintf(stderr, "thread %d: %s\n%s\n", ((worker *)data)->number, error->message,
          error->traceback ? error->traceback : "");
}

/* on_listen(port) */
static int on_listen(lua_State *L) {
  worker *self = (worker *)lua_touserdata(L, lua_upvalueindex(1));
  self->port = (int)luaL_checkinteger(L, 1);
  self->is_listening = true;
  uv_sem_post(&self->ready);
  return 0;
}

/* Posted: cancels what the script runs; neapL_wait returns when that has cleaned up. */
static void stop(void *data) {
  worker *self = (worker *)data;
  if (self->task) neap_task_cancel(self->task);
}

/* The script gives a function, which is started with the number of the thread, the port and on_listen. */
static int start_script(lua_State *L, worker *self) {
  if (luaL_loadfile(L, self->script) != LUA_OK) lua_error(L);
  lua_call(L, 0, 1);
  lua_pushinteger(L, self->number);
  lua_pushinteger(L, self->port);
  lua_pushlightuserdata(L, self);
  lua_pushcclosure(L, on_listen, 1);
  return neapL_start(L, 3, &self->task);
}

static void show_failure(const worker *self) {
  const neap_error *error = neap_task_error(self->task);
  if (error) fprintf(stderr, "thread %d: %s\n", self->number, error->message);
}

/* (worker); protected */
static int serve(lua_State *L) {
  worker *self = (worker *)lua_touserdata(L, 1);
  neapL_options options = {0};
  options.threads = 1;
  options.on_error = on_error;
  options.data = self;
  luaL_openlibs(L);
  if (neapL_open(L, &options)) return lua_error(L);
  self->inbox = neap_inbox_ref(neap_loop_inbox(neapL_loop(L)));
  int code = start_script(L, self);
  if (!code) code = neapL_wait(L, self->task, HUGE_VAL);
  if (code) return luaL_error(L, "%s", neap_error_message(code));
  show_failure(self);
  return 0;
}

static void run(void *data) {
  worker *self = (worker *)data;
  lua_State *L = luaL_newstate();
  if (L) {
    lua_pushcfunction(L, serve);
    lua_pushlightuserdata(L, self);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK)
      fprintf(stderr, "thread %d: %s\n", self->number, luaL_tolstring(L, -1, NULL));
    /* Here, while the loop is there or after it: a task may be let go of at any time, on its thread. */
    if (self->task) neap_task_unref(self->task);
    self->task = NULL;
    lua_close(L); /* posts are refused from now on */
  }
  if (!self->is_listening) uv_sem_post(&self->ready);
}

/* ---- On the main thread -------------------------------------------------------------------------- */

/* Waits until it listens, or has failed to. */
static bool start(worker *self, const char *script, int number, int port) {
  memset(self, 0, sizeof *self);
  self->script = script;
  self->number = number;
  self->port = port;
  if (uv_sem_init(&self->ready, 0)) return false;
  if (uv_thread_create(&self->thread, run, self)) {
    uv_sem_destroy(&self->ready);
    return false;
  }
  uv_sem_wait(&self->ready);
  return true;
}

static void stop_all(worker *workers, int count) {
  /* One that has ended by itself refuses the post, which is well. */
  for (int i = 0; i < count; i++)
    if (workers[i].inbox) neap_inbox_post(workers[i].inbox, stop, &workers[i]);
  for (int i = 0; i < count; i++) {
    uv_thread_join(&workers[i].thread);
    neap_inbox_unref(workers[i].inbox);
    uv_sem_destroy(&workers[i].ready);
  }
}

/* ---- The test: a client that blocks ----------------------------------------------------------------- */

static int connect_to(int port) {
  struct sockaddr_in address;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons((uint16_t)port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

/* The number of the thread that has answered; 0: none, or wrongly. */
static int ask(int fd, int client) {
  char question[32], answer[64], expected[64];
  size_t size = 0;
  int length = snprintf(question, sizeof question, "client %d\n", client), thread = 0;
  if (write(fd, question, (size_t)length) != length) return 0;
  while (size < sizeof answer - 1 && (size == 0 || answer[size - 1] != '\n')) {
    ssize_t n = read(fd, answer + size, sizeof answer - 1 - size);
    if (n <= 0) return 0;
    size += (size_t)n;
  }
  answer[size] = '\0';
  snprintf(expected, sizeof expected, "hello client %d, this is thread %%d\n", client);
  return sscanf(answer, expected, &thread) == 1 ? thread : 0;
}

static bool test(int port, int clients) {
  int right = 0;
  for (int client = 1; client <= clients; client++) {
    int fd = connect_to(port);
    if (fd >= 0 && ask(fd, client)) right++;
    if (fd >= 0) close(fd);
  }
  printf("%d of %d answers are right\n", right, clients);
  return right == clients;
}

/* ---- All ------------------------------------------------------------------------------------------- */

typedef struct settings {
  const char *script;
  int threads, port, clients;
} settings;

static settings read_arguments(int argc, char **argv) {
  settings set = {argc > 1 ? argv[1] : "server.lua", 4, 8000, 0};
  for (int i = 2; i + 1 < argc; i += 2) {
    int value = atoi(argv[i + 1]);
    if (strcmp(argv[i], "--threads") == 0) set.threads = value;
    if (strcmp(argv[i], "--port") == 0) set.port = value;
    if (strcmp(argv[i], "--test") == 0) set.clients = value;
  }
  if (set.clients > 0) set.port = 0; /* any that is free */
  if (set.threads < 1) set.threads = 1;
  if (set.threads > MOST_THREADS) set.threads = MOST_THREADS;
  return set;
}

int main(int argc, char **argv) {
  static worker workers[MOST_THREADS];
  settings set = read_arguments(argc, argv);
  int count = 0, port = set.port, signal_number;
  bool is_ok = true;

  /* Blocked here, they are blocked in all threads, and wait for sigwait. */
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, NULL);

  while (is_ok && count < set.threads) {
    is_ok = start(&workers[count], set.script, count + 1, port);
    if (!is_ok) break;
    is_ok = workers[count].is_listening;
    port = workers[count++].port; /* the first finds it, the others share it */
  }
  if (is_ok && set.clients > 0) {
    int idle = connect_to(port); /* does not hold up the end */
    is_ok = test(port, set.clients);
    stop_all(workers, count);
    if (idle >= 0) close(idle);
    return is_ok ? 0 : 1;
  }
  if (is_ok) {
    printf("%d threads listen at 127.0.0.1:%d\n", count, port);
    fflush(stdout);
    sigwait(&ends, &signal_number);
  }
  stop_all(workers, count);
  return is_ok ? 0 : 1;
}
