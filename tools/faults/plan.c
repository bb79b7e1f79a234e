#include "plan.h"

#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "descriptor.h"

enum what { OTHER, READS, WRITES, ACCEPTS, WAITS };
enum { MOST_ERRORS = 8, MOST_RANGES = 8 };

/* ---- What a kernel may do ------------------------------------------------------------------- */

static const struct {
  const char *name;
  enum what what;
  bool may_be_interrupted;
  int errors[MOST_ERRORS];
} calls[] = {
#define FAULTS_ROW(name, what, interrupted, ...) {#name, what, interrupted, {__VA_ARGS__}},
    FAULTS_CALLS(FAULTS_ROW)
#undef FAULTS_ROW
};

static const int read_errors[KIND_COUNT][MOST_ERRORS] = {
    [A_FILE] = {EIO, ENOMEM},
    [A_STREAM] = {ECONNRESET, ETIMEDOUT, ENOMEM},
    [PACKETS] = {ECONNREFUSED, ENOMEM, ENOBUFS},
    [A_PIPE] = {EIO, ENOMEM},
};

static const int write_errors[KIND_COUNT][MOST_ERRORS] = {
    [A_FILE] = {EIO, ENOSPC, EDQUOT, EFBIG, ENOMEM},
    [A_STREAM] = {EPIPE, ECONNRESET, ETIMEDOUT, ENOMEM, ENOBUFS},
    [PACKETS] = {ECONNREFUSED, ENOMEM, ENOBUFS},
    [A_PIPE] = {EPIPE, EIO, ENOMEM},
};

static bool may_fail_with(enum faults_call call, enum faults_kind kind, int error) {
  if (error == EINTR) return calls[call].may_be_interrupted;
  if (call == CALL_preadv2_nowait && error == EOPNOTSUPP) return true;
  const int *errors = calls[call].errors;
  if (calls[call].what == READS) errors = read_errors[kind];
  if (calls[call].what == WRITES) errors = write_errors[kind];
  for (int i = 0; i < MOST_ERRORS && errors[i]; i++)
    if (errors[i] == error) return true;
  return false;
}

static bool counts_messages(enum faults_call call) {
  return call == CALL_recvmmsg || call == CALL_sendmmsg;
}

/* A packet is taken whole, and so is a small write to a pipe. What remains in a stream that has hung up is
 * taken at once by every kernel, and libuv takes less than that for the end. */
static bool may_be_short(enum faults_call call, enum faults_kind kind, int fd, size_t size) {
  if (size < 2) return false;
  if (kind == PACKETS) return counts_messages(call);
  if (calls[call].what == WRITES) return kind != A_PIPE || size > PIPE_BUF;
  return kind == A_FILE || !faults_has_hung_up(fd);
}

/* As after another process has taken what there was, or while there is no memory, or no page in the cache.
 * A small write to a pipe is left alone: libuv's signal handler drops what its pipe does not take. */
static bool may_come_later(enum faults_call call, enum faults_kind kind, int fd, size_t size) {
  if (call == CALL_preadv2_nowait) return true;
  if (calls[call].what == WRITES && kind == A_PIPE && size <= PIPE_BUF) return false;
  return kind != A_FILE && faults_is_nonblocking(fd);
}

/* ---- State ---------------------------------------------------------------------------------- */

struct rule {
  struct faults_rule is; /* written before it is counted in */
  atomic_uint matched;
};

static struct state {
  atomic_bool is_armed, is_noisy;
  atomic_uint rule_count;
  struct rule rules[FAULTS_RULES];
  struct faults_noise noise;
  pid_t pid; /* who asked for noise */
  struct {
    uintptr_t begin, end;
    bool is_quiet; /* SQLite's: noise spares it, for it takes an interrupted fsync for a failure */
  } ranges[MOST_RANGES]; /* where the code of libuv, SQLite and neap is */
  int range_count;
  atomic_uint seen[CALL_COUNT], delivered[CALL_COUNT];
  atomic_int last;
} * state;

__attribute__((constructor)) static void make_state(void) {
  void *memory =
      mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;
  state = memory;
  state->last = CALL_COUNT;
}

static bool is_name_of_interest(const char *name) {
  static const char module[] = "/neap/core.so";
  size_t length = strlen(name), size = sizeof module - 1;
  if (strstr(name, "/libuv.so") || strstr(name, "/libsqlite3.so")) return true;
  if (strstr(name, "/libneaplua.so")) return true;
  return length >= size && !strcmp(name + length - size, module);
}

static int note_object(struct dl_phdr_info *info, size_t size, void *unused) {
  (void)size, (void)unused;
  if (!is_name_of_interest(info->dlpi_name)) return 0;
  for (int i = 0; i < info->dlpi_phnum && state->range_count < MOST_RANGES; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
    uintptr_t begin = info->dlpi_addr + part->p_vaddr;
    state->ranges[state->range_count].begin = begin;
    state->ranges[state->range_count].is_quiet = strstr(info->dlpi_name, "/libsqlite3.so");
    state->ranges[state->range_count++].end = begin + part->p_memsz;
  }
  return 0;
}

/* Anew for each rule: what is loaded when it is first used may be there by now. */
static bool find_objects(void) {
  if (!state) return false;
  state->range_count = 0;
  dl_iterate_phdr(note_object, NULL);
  return state->range_count > 0;
}

/* The range in which the caller is; -1: it is of no interest. */
static int range_of(const void *caller) {
  for (int i = 0; i < state->range_count; i++)
    if ((uintptr_t)caller >= state->ranges[i].begin && (uintptr_t)caller < state->ranges[i].end)
      return i;
  return -1;
}

/* ---- One call ------------------------------------------------------------------------------- */

struct asked {
  enum faults_call call;
  enum faults_kind kind;
  int fd;
  size_t *size;
};

static void delivered(enum faults_call call) {
  state->delivered[call]++;
  state->last = (int)call;
}

static bool fails_with(enum faults_call call, int error) {
  delivered(call);
  errno = error;
  return true;
}

static void shorten(const struct asked *asked, size_t longest) {
  if (*asked->size <= longest) return;
  *asked->size = longest;
  delivered(asked->call);
}

static bool concerns(const struct faults_rule *rule, const struct asked *asked) {
  enum what what = calls[asked->call].what;
  if (!rule->error && !asked->size) return false;
  switch (rule->call) {
  case CALL_ANY: return may_fail_with(asked->call, asked->kind, rule->error);
  case CALL_READS: return what == READS;
  case CALL_WRITES: return what == WRITES;
  default: return rule->call == (int)asked->call;
  }
}

/* Counts the call if the rule concerns it, and says whether it is one of those that it strikes. */
static bool is_struck(struct rule *rule, const struct asked *asked) {
  if (!concerns(&rule->is, asked)) return false;
  unsigned n = ++rule->matched;
  return n >= rule->is.nth && n - rule->is.nth < rule->is.times;
}

/* Every rule sees every call; of several that strike the first one does. */
static bool fails_by_rule(const struct asked *asked) {
  const struct faults_rule *striking = NULL;
  for (unsigned i = 0, count = state->rule_count; i < count; i++)
    if (is_struck(&state->rules[i], asked) && !striking) striking = &state->rules[i].is;
  if (!striking) return false;
  if (striking->error) return fails_with(asked->call, striking->error);
  if (may_be_short(asked->call, asked->kind, asked->fd, *asked->size))
    shorten(asked, striking->longest);
  return false;
}

/* splitmix64 of seed, call and how many of its name there were: threads change the order of different
 * calls, not what happens to the n-th of a name. */
static uint64_t draw(enum faults_call call, unsigned n, unsigned which) {
  uint64_t z = state->noise.seed * 0x9e3779b97f4a7c15u + ((uint64_t)call << 40) +
               ((uint64_t)which << 32) + n;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static bool happens(double chance, uint64_t number) {
  return (double)(number >> 11) / (double)(1ull << 53) < chance;
}

static size_t some_length(size_t size, uint64_t number) {
  size_t longest = number & 1 && size > 16 ? 16 : size;
  return 1 + (size_t)(number >> 1) % (longest - 1);
}

static void shorten_by_chance(const struct asked *asked, unsigned n) {
  if (!asked->size || !happens(state->noise.shorter, draw(asked->call, n, 1))) return;
  if (!may_be_short(asked->call, asked->kind, asked->fd, *asked->size)) return;
  size_t length = some_length(*asked->size, draw(asked->call, n, 2));
  size_t least = counts_messages(asked->call) ? 1 : state->noise.least;
  shorten(asked, length < least ? least : length);
}

/* What a child does before its exec is no business of the noise: the kernel does not interrupt the open of
 * /dev/null, and libuv does not expect it. */
static bool is_in_child(void) {
  return getpid() != state->pid;
}

static bool fails_by_chance(const struct asked *asked, unsigned n) {
  const struct faults_noise *noise = &state->noise;
  if (is_in_child()) return false;
  enum what what = calls[asked->call].what;
  if (calls[asked->call].may_be_interrupted && happens(noise->interrupted, draw(asked->call, n, 3)))
    return fails_with(asked->call, EINTR);
  if ((what == READS || what == WRITES || what == ACCEPTS) &&
      happens(noise->again, draw(asked->call, n, 4)) &&
      may_come_later(asked->call, asked->kind, asked->fd, asked->size ? *asked->size : 0))
    return fails_with(asked->call, EAGAIN);
  shorten_by_chance(asked, n);
  return false;
}

static bool decide(const struct asked *asked, bool is_quiet) {
  unsigned n = ++state->seen[asked->call];
  return fails_by_rule(asked) || (state->is_noisy && !is_quiet && fails_by_chance(asked, n));
}

bool faults_fails(enum faults_call call, int fd, size_t *size, const void *caller) {
  int range = state && state->is_armed ? range_of(caller) : -1;
  if (range < 0) return false;
  int saved = errno;
  struct asked asked = {call, fd < 0 ? A_FILE : faults_kind_of(fd), fd, size};
  errno = saved;
  if (asked.kind == PRIVATE && calls[call].what != WAITS) return false;
  if (call == CALL_close && asked.kind != A_FILE) return false;
  return decide(&asked, state->ranges[range].is_quiet);
}

/* ---- For the module ------------------------------------------------------------------------- */

bool faults_add_rule(const struct faults_rule *rule) {
  if (!find_objects() || state->rule_count == FAULTS_RULES) return false;
  struct rule *next = &state->rules[state->rule_count];
  next->is = *rule;
  next->matched = 0;
  state->rule_count++;
  state->is_armed = true;
  return true;
}

bool faults_make_noise(const struct faults_noise *noise) {
  if (!find_objects()) return false;
  state->is_noisy = false;
  state->noise = *noise;
  state->pid = getpid();
  state->is_noisy = state->is_armed = true;
  return true;
}

void faults_clear(void) {
  if (!state) return;
  state->is_armed = state->is_noisy = false;
  state->rule_count = 0;
  for (int i = 0; i < CALL_COUNT; i++) state->seen[i] = state->delivered[i] = 0;
  state->last = CALL_COUNT;
}

const char *faults_call_name(int call) {
  return calls[call].name;
}

unsigned faults_seen(int call) {
  return state ? state->seen[call] : 0;
}

unsigned faults_delivered(int call) {
  return state ? state->delivered[call] : 0;
}

int faults_last(void) {
  return state ? state->last : CALL_COUNT;
}
