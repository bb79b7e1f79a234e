/* What neap keeps for one Lua state. It lives in a userdata in the registry; its __gc is what ends
 * everything when the Lua state closes.
 *
 * Who keeps what alive:
 *   - a task with a Lua body: its coroutine's stack holds the Task (in the frame of `body`), the
 *     table of coroutines holds the coroutine. So a task costs no registry entry of its own.
 *   - an operation: the core's reference count; the Task in Lua is a handle with __gc.
 *   - an open scope, a pending combination, a callback: a pin (a slot in the table of pins).
 *   - a failure: its Task; a weak table finds it again from C. */
#ifndef NEAPLUA_STATE_H
#define NEAPLUA_STATE_H

#include "../core/loop.h"
#include "compat.h"

typedef struct neapL__state neapL__state;
typedef struct neapL__task neapL__task;

/* A table used as an array of slots, with its free slots chained in it. */
typedef struct neapL__slots {
  int ref;       /* of the table, in the registry */
  uint32_t free; /* first free slot, 0: none */
  uint32_t size, used;
} neapL__slots;

/* A pooled coroutine. */
typedef struct neapL__coroutine {
  lua_State *thread;
  uint32_t slot;
} neapL__coroutine;

enum {
  NEAPL__POOL = 1024,   /* idle coroutines that are kept: some 1 MB */
  NEAPL__SPARES = 1024, /* idle handles of operations that are kept: some 80 KB */
  NEAPL__CODES = 256    /* functions whose code is kept, on each side of a transfer */
};

/* A metatable: its reference, and its identity for fast checks. */
typedef struct neapL__meta {
  int ref;
  const void *id;
} neapL__meta;

/* What ends in _ref is a reference in the registry, named after its content. */
struct neapL__state {
  neap_loop *loop;
  lua_State *aux;    /* a thread of our own, for hooks that have no lua_State at hand */
  lua_State *runner; /* the thread that pumps the loop, from which bodies are resumed */
  lua_State *caller; /* the thread that cancels a token, for its callbacks; NULL: the runner */

  neapL__meta task_meta, handle_meta, completion_meta, failure_meta, error_meta, cancelled_meta;
  neapL__meta scope_meta, token_meta, canceller_meta, registration_meta, queue_meta, channel_meta;
  neapL__meta item_meta, stream_meta, each_meta, watch_meta;
  neapL__meta file_meta, conn_meta, server_meta, udp_meta, process_meta, signal_meta, watcher_meta;
  neapL__meta counters_meta, tty_meta, pool_meta, code_meta, message_meta;
  neapL__meta buffer_meta;
  neapL__meta thread_channel_meta, websocket_meta;

  neapL__slots pins, coroutines, locals;
  neapL__coroutine pool[NEAPL__POOL];
  uint32_t pooled;
  uint32_t root_locals; /* slot of the locals of what runs outside of tasks; 0: none */

  int done_ref;          /* a Task that is done, with no results */
  int spares_ref;        /* handles for the next operations (operations.c): 1 to `spares` */
  int rows_ref;          /* name of a queue -> its row */
  int close_signal_ref;  /* what `yield` raises in a producer whose stream is closed */
  int cancelled_ref;     /* node -> its Cancelled object */
  int captures_ref;      /* task -> list of the failures that are unwinding in it */
  int failures_ref;      /* failure -> its userdata, weak */
  int registrations_ref; /* registration -> its userdata, weak */
  int names_ref;         /* Task -> name, weak */
  int pushed_ref;        /* task of C -> its Task, weak */
  int watches_ref;       /* Task -> its watch, weak (NEAP_DEBUG) */
  int on_unobserved_ref, on_warning_ref;
  int functions_ref; /* Lua function -> the box of its code, weak */
  int lent_ref;      /* functions that have come back, by the place of their code */
  int makers_ref;    /* number of variables -> makes functions with so many */
  int classes_ref;   /* of tables that cross: metatable -> {module, before}, module -> metatable */
  int call_ref;      /* of `call`; 0: there is none yet */
  uint32_t spares;
  int streak;       /* of streak_of */
  int result_depth; /* combined tasks whose results are being made */
  int nesting;      /* resumes on top of each other */
  int arguments;    /* of the operation that is called, without the room for optional ones */

  neap__list bodies;            /* tasks with a Lua body that have not ended */
  neap__list parked;            /* producers that nobody pulls */
  neap__list calls;             /* tasks of C for functions of Lua (call.h) */
  neap__list native_calls;      /* what calls of native functions work with (native.c) */
  neap__list lost;              /* failures without an owner, in the order of their loss */
  neap__list reports;           /* failures to report in the next turn */
  neap__runnable reporter;      /* reports them */
  neapL__task *start_request;   /* a child that its starter yielded for */
  const neapL__task *streak_of; /* who awaits without waiting, and how often in a row */
  struct wait_call *wait_call;  /* task:wait, while it pumps */
  neap_clock *clock;            /* the host's; NULL: the monotonic clock */
  neap_task *main;              /* the main task of the run; NULL: none */
  lua_State *volatile resumed;  /* in a worker: the innermost thread that runs, for a signal */
  struct neapL__interruption *interruption; /* in a worker: of its jobs */
  struct neapL__luv *luv;                   /* on our loop, too; NULL: it is not */
  struct neapL__origin *origin;             /* what workers begin with; NULL: not needed yet */
  const char *path, *cpath;                 /* of the origin: strings that the registry keeps */
  int package_ref;                          /* 0: not needed yet */
  uint64_t grace_end;                       /* of the shutdown, in nanoseconds of real time */
  uint32_t first_lost_pin;                  /* the first error lost at the root of this run */

  struct neapL__native_call *call; /* kept for the next call of a native function (native.c) */

  struct neapL__code *known_code[NEAPL__CODES]; /* of functions that were sent */
  struct neapL__code *lent_code[NEAPL__CODES];  /* of functions that have come back */
  struct neapL__scratch *scratch; /* of the next message that is written; NULL: none */
  uint8_t code_turn;              /* which of the places for a code is given up next */

  bool is_call_taken; /* `call` is in use, or was when an error was raised */
  bool is_reporting;  /* the reporter is queued */
  bool is_running;    /* run or wait pumps the loop */
  bool is_closing;    /* the Lua state ends: nothing can be started or awaited */
  bool is_closed;     /* the loop is gone */
  bool has_printed;   /* the default on_unobserved has been called */
  bool is_debugging;  /* warn of tasks that nobody awaits */
  bool is_loopless;   /* a job runs here, without a loop: nothing can be awaited */
};

/* The state of L; NULL before luaopen. [-0, +0, -] */
neapL__state *neapL__state_get(lua_State *L);
/* The same as an upvalue of the functions that this module registers. */
static inline neapL__state *neapL__state_here(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(1));
}

/* Makes the state and its loop, once for each Lua state; `options` (NULL: none) count the first time.
 * [-0, +0, m] */
neapL__state *neapL__state_open(lua_State *L, const neap_loop_options *options);

/* Ends all that is under way, and the loop; idempotent. */
void neapL__state_close(lua_State *L, neapL__state *state);

/* Raises EMISUSE when the Lua state ends: nothing can be started or awaited any more. */
void neapL__check_open(lua_State *L, neapL__state *state);
/* The same only once the loop is gone (a finalizer may still call us). */
void neapL__check_alive(lua_State *L, neapL__state *state);

/* Raises the error of an out of memory core. */
int neapL__raise_memory(lua_State *L);

/* Slots. `give` pops a value and returns its slot (from 1 on). [-1, +0, m] */
uint32_t neapL__slot_give(lua_State *L, neapL__slots *slots);
void neapL__slot_push(lua_State *L, const neapL__slots *slots, uint32_t slot);
/* Makes sure that the next `give` has memory. [-0, +0, m] */
void neapL__slot_reserve(lua_State *L, neapL__slots *slots);
/* Frees a slot. Never allocates. */
void neapL__slot_free(lua_State *L, neapL__slots *slots, uint32_t slot);

static inline uint32_t neapL__pin(lua_State *L, neapL__state *state) {
  return neapL__slot_give(L, &state->pins);
}

static inline void neapL__push_ref(lua_State *L, int ref) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
}

/* Registers functions with the state as their upvalue in the table on top. [-0, +0, m] */
void neapL__register(lua_State *L, const luaL_Reg *functions);

/* Makes a metatable with methods in a table of its own behind __index, keeps it as `meta` and leaves
 * it on the stack. [-0, +1, m] */
void neapL__class(lua_State *L, neapL__meta *meta, const char *name, const luaL_Reg *metamethods,
                  const luaL_Reg *methods);

/* The same for objects with fields: `index` is asked for them; the table of methods is its upvalue 2,
 * and the state upvalue 1. [-0, +1, m] */
void neapL__class_with_fields(lua_State *L, neapL__meta *meta, const char *name,
                              const luaL_Reg *metamethods, const luaL_Reg *methods,
                              lua_CFunction index);

static inline void neapL__set_meta(lua_State *L, int index, const neapL__meta *meta) {
  index = lua_absindex(L, index);
  neapL__push_ref(L, meta->ref);
  lua_setmetatable(L, index);
}

static inline bool neapL__has_meta(lua_State *L, int index, const neapL__meta *meta) {
  if (!lua_getmetatable(L, index)) return false;
  bool is_it = lua_topointer(L, -1) == meta->id;
  lua_pop(L, 1);
  return is_it;
}

/* The userdata at `index`, if it is of that class; raises an argument error otherwise. */
void *neapL__check_object(lua_State *L, int index, const neapL__meta *meta, const char *name);

#endif
