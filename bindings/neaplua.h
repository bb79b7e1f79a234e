/*
 * neaplua: neap in a Lua state of a C program.
 *
 * This header is for two kinds of C code. A *host* has a Lua state, puts neap into it, runs its loop and calls
 * async functions of its scripts. A *module* gives scripts native functions that they can await. Both use the
 * tasks of neap.h: what a script can await, C can await, and the other way round.
 *
 * The smallest host:
 *
 *   lua_State *L = luaL_newstate();
 *   luaL_openlibs(L);
 *   if (neapL_open(L, NULL) || luaL_dofile(L, "main.lua")) ...   // main.lua calls neap.run(function() ... end)
 *   lua_close(L);
 *
 * Who runs the loop, one of three:
 *   - the script, by neap.run;
 *   - the host's uv_loop_t (neapL_options.uv): whenever the host runs it, tasks run;
 *   - another main loop (a game's, a user interface's): it calls neapL_poll, by neapL_due and neapL_fd or
 *     a wake callback (neap_loop_set_wake).
 *
 * Several Lua states may be in a process, each with a loop of its own and each on any thread, one thread at a time;
 * also several on one uv_loop_t. Nothing is shared but what is said to cross threads.
 *
 * Closing with work pending is ordinary: lua_close ends what is under way, in any state. Tasks that the host
 * has references to are cancelled then, and stay readable until they are let go of.
 *
 * Conventions are those of neap.h. Besides, for functions with a lua_State:
 *   - [-p, +q, e]: values popped and pushed, and whether it raises Lua errors, as in Lua's manual: `-` never,
 *     `m` out of memory, `v` as said. What never raises may be called outside of a protected call.
 *   - L is any thread of the Lua state; calls are on the loop's thread.
 */
#ifndef NEAPLUA_H
#define NEAPLUA_H

#include <lua.h>

#include "neap.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Opening and closing -------------------------------------------------------------------- */

typedef struct neapL_options {
  /* The loop, as in neap_loop_options. */
  uv_loop_t *uv;            /* the host's, which runs and closes it; NULL: one of neap's own */
  neap_allocator allocator; /* for the core's memory; Lua's has its own. NULL: realloc and free */
  void *allocator_data;
  neap_clock *clock; /* NULL: the monotonic clock */
  size_t threads; /* of the pool for work and neap.worker.run, at most; 0: one for each processor */
  /* An error that nobody has observed, and a warning; borrowed for the call, on the loop's thread. They may
   * use L, and must not raise. NULL: to stderr. neap.on_unobserved and neap.on_warning replace them. */
  void (*on_error)(void *data, lua_State *L, const neap_error *error);
  void (*on_warning)(void *data, lua_State *L, const char *message);
  void *data;
} neapL_options;

/* Puts neap into a Lua state that has the standard libraries (package at least), and pushes the module; scripts
 * get it by require "neap", without a search path: its Lua half is in the library. `options` may be NULL.
 * Returns 0; or a negative code, and pushes what is wrong: NEAP_EMISUSE if neap is there already, UV_ENOMEM,
 * NEAP_ESCRIPT. [-0, +1, -] */
NEAP_API int neapL_open(lua_State *L, const neapL_options *options);

/* Ends neap now, before lua_close, which does the same: for a host that closes its uv_loop_t first. What scripts
 * call after it raises EMISUSE. On a host's uv_loop_t run that once more for the handles to close. Not from
 * within a task. Idempotent. [-0, +0, -] */
NEAP_API void neapL_close(lua_State *L);

/* The loop of a Lua state; NULL without neap, and once it is closed. Borrowed until then. [-0, +0, -] */
NEAP_API neap_loop *neapL_loop(lua_State *L);

/* Makes a function of C a module that is loaded by require `name`, unless there is one: for drivers and
 * modules that are linked into the host. [-0, +0, m] */
NEAP_API void neapL_preload(lua_State *L, const char *name, lua_CFunction open);

/* ---- Running -------------------------------------------------------------------------------- */

/* One turn for a main loop of the host's: neap_loop_poll for this Lua state. Errors of tasks go where nobody
 * observes them. NEAP_IDLE: nothing is pending. Not from within a task, nor while neap.run runs: nothing
 * happens then, and it is NEAP_IDLE. [-0, +0, -] */
NEAP_API neap_progress neapL_poll(lua_State *L, double seconds);

/* neap_loop_due and neap_loop_fd of its loop; HUGE_VAL and -1 without neap. [-0, +0, -] */
NEAP_API double neapL_due(lua_State *L);
NEAP_API int neapL_fd(lua_State *L);

/* Runs the loop until `task` has ended, for `seconds` at most (HUGE_VAL: as long as it takes). 0: it has;
 * UV_ETIMEDOUT, NEAP_EDEADLOCK (nothing can end it), NEAP_EMISUSE (a loop runs already, or the task is none of
 * its), UV_ENOMEM. On a host's uv_loop_t only while that does not run. [-0, +0, -] */
NEAP_API int neapL_wait(lua_State *L, neap_task *task, double seconds);

/* ---- C calls async functions of Lua ---------------------------------------------------------- */

/* Calls the function below n arguments on top as a task, to its first wait, like neap.start; it may also be an
 * async function: its Task is flattened. The task ends as the function does; its error has code, name (of a
 * neap.Error its code; else ESCRIPT), message and traceback. Cancelling it cancels the function, and ends it when
 * that has cleaned up. An error that nobody can see any more, because the host has let the task go before it
 * ended, is unobserved. UV_ENOMEM, NEAP_EMISUSE (no neap, or closed). Owner: the caller has one reference.
 * [-(n + 1), +0, -] */
NEAP_API int neapL_start(lua_State *L, int n, neap_task **task);

/* The same by name, with typed arguments (may be NULL; borrowed). `name` is that of a global function, or of a
 * field of global tables ("game.update"), or else of a function of a module, which is required ("app.users.find").
 * An error of finding it is the task's. NEAP_ETYPE: a callback of another Lua state is among the arguments.
 * [-0, +0, -] */
NEAP_API int neapL_call(lua_State *L, const char *name, const neap_values *arguments,
                        neap_task **task);

/* The same for a function that a script has handed over, for its results; neap_callback_call wants none, and may be
 * called on any thread. NEAP_EMISUSE for one of another Lua state. [-0, +0, -] */
NEAP_API int neapL_call_back(lua_State *L, neap_callback *callback, const neap_values *arguments,
                             neap_task **task);

/* What a task of neapL_start or neapL_call is done with, added to `results`. NEAP_EMISUSE: it is none, or not
 * done; NEAP_ETYPE: a result has a type that does not cross (neap_values_error says the same). UV_ENOMEM.
 * [-0, +0, -] */
NEAP_API int neapL_results(lua_State *L, neap_task *task, neap_values *results);
/* Pushes the results; returns how many, -1: it is none of these tasks, or not done. [-0, +n, m] */
NEAP_API int neapL_push_results(lua_State *L, neap_task *task);

/* ---- Lua awaits tasks of C ------------------------------------------------------------------- */

/* Pushes a Lua Task for a task of the same loop, and takes over the reference to it, also if it raises. Its results
 * are neap_task_values; its error is a neap.Error with the fields of neap_task_error. Pushed again it is the same
 * Lua Task, while Lua has that. Not of a task that came from Lua (neapL_to_task). [-0, +1, m] */
NEAP_API void neapL_push_task(lua_State *L, neap_task *task);

/* The same, with results that `push` pushes, whose number it returns. It is called once, when they are asked for,
 * on the loop's thread, and may raise. */
typedef int (*neapL_push)(lua_State *L, neap_task *task);
NEAP_API void neapL_push_task_with(lua_State *L, neap_task *task, neapL_push push);

/* The task behind the Lua Task at `index`; NULL: it is none. Borrowed until Lua collects that: a task in C
 * that awaits it keeps it by a value on the stack or in the registry; it fails with NEAP_ESCRIPT where a function
 * of Lua has. [-0, +0, -] */
NEAP_API neap_task *neapL_to_task(lua_State *L, int index);

/* ---- Native async functions ------------------------------------------------------------------ */

/* A function that scripts call and await. It has `start` or `run`:
 *   - `start` is called on the loop's thread. It begins the work, keeps a reference to `call` (neap_completion_ref)
 *     and completes that when the work has ended; or it completes it on the spot.
 *   - `run` is called on a thread of the pool, and may block. Cancelled before it runs, it never does.
 * Both read `arguments`, which `start` has for the call and `run` until it returns. A negative code that they
 * return fails the task; for more than a code: neap_completion_end(call, &error), neap_work_fail(work, &error). */
typedef struct neapL_function {
  /* Name, frame and cancellation. The name is that of the function, perhaps with the module's in front of it:
   * "mylib.query". */
  neap_completion_kind kind;
  /* What the arguments are, checked before anything is started; an error at the caller's line. A letter for each:
   * b boolean, i integer, n number, s string or Buffer, z string without NUL bytes (a C string), p light pointer,
   * o object, f function, a array, m map, t array or map, . anything; `?` behind it: it may be nil or absent. NULL:
   * anything. */
  const char *arguments;
  int (*start)(neap_completion *call, void *frame, const neap_values *arguments);
  int (*run)(neap_work *work, void *frame, const neap_values *arguments, neap_values *results);
  /* Of `run`: makes it end soon. Thread: the loop's, while it runs; must not block, nor call neap. NULL: it looks at
   * neap_work_is_cancelled. */
  void (*interrupt)(void *frame, const neap_values *arguments);
  /* Of `run`: a cancelled task ends at once, and `run` runs on for nobody. */
  bool is_abandonable;
} neapL_function;

/* Adds functions, up to one without a name, to the table on top, under the last parts of their names. They are
 * static data. Opens neap if need be. [-0, +0, m] */
NEAP_API void neapL_register(lua_State *L, const neapL_function *functions);

/* Objects of `class_` have these functions as methods, whose first argument is the object (letter o); an object of
 * another class is an argument error. All objects can be closed: <close>, object:close(). [-0, +0, m] */
NEAP_API void neapL_register_class(lua_State *L, const neap_class *class_,
                                   const neapL_function *methods);

/* For functions with the Lua API. Pushes a new object, which is taken over, also if it raises. [-0, +1, m] */
NEAP_API void neapL_push_object(lua_State *L, const neap_class *class_, void *object);
/* The object at `index`; NULL: it is none of that class, or closed. Borrowed while Lua has it open. [-0, +0, -] */
NEAP_API void *neapL_to_object(lua_State *L, int index, const neap_class *class_);
/* The same; raises an argument error instead. [-0, +0, v] */
NEAP_API void *neapL_check_object(lua_State *L, int index, const neap_class *class_);

/* ---- Values --------------------------------------------------------------------------------- */

/* Adds the Lua value at `index`. 0, or the code that is the list's error then: NEAP_ETYPE for what does not cross
 * (coroutines, userdata of others), NEAP_EDEPTH also for tables with cycles. A table is an array if it has the keys
 * 1 to n and no other, also an empty one; else a map. [-0, +0, m] */
NEAP_API int neapL_to_values(lua_State *L, int index, neap_values *values);

/* Pushes a value. [-0, +1, m] */
NEAP_API void neapL_push_value(lua_State *L, const neap_value *value);
/* Pushes all of a list (NULL: none); returns how many. [-0, +n, m] */
NEAP_API int neapL_push_values(lua_State *L, const neap_values *values);

#ifdef __cplusplus
}
#endif

#endif
