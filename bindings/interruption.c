#include "interruption.h"

#include "../core/cancel.h"
#include "error.h"
#include "followed.h"
#include "run.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* What a job has for its cleanup before everything in it is interrupted, and what a loop has to cancel its
 * main task, in nanoseconds: together below the 50 ms in which a job stops (SPEC 170). */
static const uint64_t patience = 20000000;

enum { LOOK_INTERVAL = 1000 }; /* instructions between two looks at the clock */

/* The threads of a Lua state begin with a copy of its main thread's. */
static neapL__interruption *of_thread(lua_State *L) {
  neapL__interruption *self;
  memcpy(&self, lua_getextraspace(L), sizeof(void *));
  return self;
}

static bool is_asked(const neapL__interruption *self) {
  return self->work && neap_work_is_cancelled(self->work);
}

/* ---- The hook ------------------------------------------------------------------------------ */

static void on_hook(lua_State *L, lua_Debug *ar);

static void arm(lua_State *L) {
  lua_sethook(L, on_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static void rest(lua_State *L) {
#ifdef NEAPL__SIGQUEUE
  lua_sethook(L, NULL, 0, 0);
#else
  lua_sethook(L, on_hook, LUA_MASKCOUNT, LOOK_INTERVAL);
#endif
}

static void look_again(lua_State *L, int instructions) {
  lua_sethook(L, on_hook, LUA_MASKCOUNT, instructions);
}

static bool is_patient(uint64_t since, uint64_t now) {
  return since && now - since < patience;
}

/* What is asked of a job with a loop is up to its main task, once that has been told. */
static bool concerns(const neapL__interruption *self) {
  return is_asked(self) && !self->is_delivered;
}

/* Whoever is interrupted in a loop ends as cancelled, as all below the main task do. */
static bool cancel_main(neapL__interruption *self) {
  neap_task *main = self->has_loop && self->state ? self->state->main : NULL;
  if (!main) return false;
  self->is_told = true;
  neap__node_cancel(&main->node, NULL);
  return true;
}

static void on_hook(lua_State *L, lua_Debug *ar) {
  neapL__interruption *self = of_thread(L);
  uint64_t now = uv_hrtime();
  (void)ar;
  if (!concerns(self)) {
    rest(L);
    if (concerns(self)) arm(L); /* asked meanwhile: the signal may have come in the middle of it */
    return;
  }
  if (!self->first_at) self->first_at = now;
  if ((self->has_loop && is_patient(self->first_at, now)) || is_patient(self->raised_at, now)) {
    look_again(L, LOOK_INTERVAL);
    return;
  }
  look_again(L, self->raised_at ? 1 : LOOK_INTERVAL);
  if (!self->raised_at) cancel_main(self);
  if (!self->raised_at) self->raised_at = now;
  neapL__push_ref(L, self->error_ref);
  lua_error(L);
}

bool neapL__is_interruption(lua_State *L, const neapL__interruption *self, int index) {
  index = lua_absindex(L, index);
  neapL__push_ref(L, self->error_ref);
  bool is_it = lua_rawequal(L, -1, index);
  lua_pop(L, 1);
  return is_it;
}

/* ---- The signal ---------------------------------------------------------------------------- */

#ifdef NEAPL__SIGQUEUE

/* On the thread that runs the job, at any moment of it. */
static void on_signal(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  if (info->si_code != SI_QUEUE || info->si_pid != getpid()) return;
  const neapL__interruption *self = info->si_value.sival_ptr;
  const neapL__state *state = self->state;
  lua_State *L = state ? state->resumed : NULL;
  if (L) arm(L);
}

/* Sets the handler unless the program uses this signal for something else. */
static bool claim(int number) {
  struct sigaction former, ours = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
  if (sigaction(number, NULL, &former)) return false;
  if (former.sa_flags & SA_SIGINFO) return former.sa_sigaction == on_signal;
  if (former.sa_handler != SIG_DFL) return false;
  sigfillset(&ours.sa_mask);
  return sigaction(number, &ours, NULL) == 0;
}

int neapL__interruption_signal(void) {
  for (int number = SIGRTMAX - 1; number >= SIGRTMIN; number--)
    if (claim(number)) return number;
  return 0;
}

void neapL__interruption_admit(int number, bool is_admitted) {
  sigset_t set;
  if (!number) return;
  sigemptyset(&set);
  sigaddset(&set, number);
  pthread_sigmask(is_admitted ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

static void send_signal(neapL__interruption *self, uv_thread_t thread, int number) {
  if (number) pthread_sigqueue(thread, number, (union sigval){.sival_ptr = self});
}

#else

int neapL__interruption_signal(void) {
  return 0;
}

void neapL__interruption_admit(int number, bool is_admitted) {
  (void)number, (void)is_admitted;
}

static void send_signal(neapL__interruption *self, uv_thread_t thread, int number) {
  (void)self, (void)thread, (void)number;
}

#endif

/* ---- Jobs with a loop ----------------------------------------------------------------------- */

/* On the loop of the job, or of the next one, if it was late; or while the loop closes, without a state. */
static void on_post(neap__post *post) {
  neapL__interruption *self = NEAP__CONTAINER(post, neapL__interruption, post);
  atomic_store(&self->is_posted, false);
  if (is_asked(self) && cancel_main(self)) self->is_delivered = true;
}

static void post(neapL__interruption *self) {
  if (atomic_exchange(&self->is_posted, true)) return;
  neap__inbox_send(self->state->loop->inbox, &self->post);
}

void neapL__interrupt(neapL__interruption *self, uv_thread_t thread, int number, bool has_loop) {
  if (has_loop) post(self);
  send_signal(self, thread, number);
}

/* ---- Jobs ---------------------------------------------------------------------------------- */

void neapL__interruption_renew(neapL__interruption *self, lua_State *thread) {
  if (thread && concerns(self)) arm(thread);
}

void neapL__interruption_begin(neapL__interruption *self, lua_State *L, neap_work *work,
                               bool has_loop) {
  self->first_at = self->raised_at = 0;
  self->is_delivered = self->is_told = false;
  self->has_loop = has_loop;
  self->work = work;
  rest(L);
  neapL__follow(self->state, L);
  if (has_loop && is_asked(self)) post(self);
}

void neapL__interruption_end(neapL__interruption *self) {
  lua_State *L = self->state->resumed;
  self->state->resumed = NULL;
  self->work = NULL;
  if (L) rest(L);
}

/* ---- Opening -------------------------------------------------------------------------------- */

void neapL__interruption_open(lua_State *L, neapL__interruption *self, neapL__state *state) {
  memcpy(lua_getextraspace(L), &self, sizeof(void *));
  neapL__open_followed_coroutines(L, state);
  lua_createtable(L, 0, 1);
  neapL__set_meta(L, -1, &state->cancelled_meta);
  self->error_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  self->post.fn = on_post;
  self->state = state;
  state->interruption = self;
}
