/*
 * neap: tasks that await, on libuv.
 *
 * This is the C face of neap. It knows nothing of Lua; the Lua module is built on it.
 *
 * A *loop* (neap_loop) drives everything: it keeps the queue of tasks that are ready to run, the
 * deadlines, and a libuv loop, its own or one of the host's. All state hangs from the loop, there
 * are no globals, and two loops never meet, but through a channel (neap_channel).
 *
 * A *task* (neap_task) is work that ends once: done, failed or cancelled. It either has a body, a
 * step function that neap calls again whenever what it awaits has ended, or it is an *operation*,
 * native work such as a timer, a file or a socket. Whoever holds a reference may ask for the
 * outcome; any number of tasks may await the same task.
 *
 * A *scope* (neap_scope) owns what is started inside it: leaving it waits for the tasks in it,
 * cancelling it cancels them. Cancellation flows down the tree of scopes and tasks.
 *
 * Conventions, unless a declaration says otherwise:
 *   - Thread: everything is called on the loop's thread. The exceptions say so.
 *   - Errors: an int result is 0 or a negative code (libuv's, or one of NEAP_E...).
 *   - Ownership: arguments are borrowed for the call, returned pointers are borrowed.
 *   - Time: seconds, as double.
 *   - Nothing here raises, prints, exits or blocks (neap_loop_run, neap_loop_step and neap_loop_poll
 *     wait).
 */
#ifndef NEAP_H
#define NEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#if defined(__GNUC__)
#define NEAP_API __attribute__((visibility("default")))
#else
#define NEAP_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define NEAP_VERSION "0.1.0"

typedef struct neap_loop neap_loop;
typedef struct neap_task neap_task;
typedef struct neap_scope neap_scope;
typedef struct neap_clock neap_clock;
typedef struct neap_queue neap_queue;
typedef struct neap_token neap_token;
typedef struct neap_channel neap_channel;
typedef struct neap_port neap_port;
typedef struct neap_pool neap_pool;
typedef struct neap_work neap_work;
typedef struct neap_inbox neap_inbox;
typedef struct neap_values neap_values;
typedef struct neap_value neap_value;
typedef struct neap_callback neap_callback;
typedef struct neap_completion neap_completion;

/* ---- Errors -------------------------------------------------------------------------------- */

/* Codes that neap adds to libuv's negative codes. X(NAME, number, message) */
#define NEAP_ERROR_CODES(X)                                                                        \
  X(ECANCELLED, -5001, "the awaited task was cancelled")                                           \
  X(EMISUSE, -5002, "neap was used in a way it does not allow")                                    \
  X(EDEADLOCK, -5003, "nothing can wake the tasks that are waiting")                               \
  X(ECLOSED, -5004, "it is closed")                                                                \
  X(EDEPTH, -5005, "nested too deeply")                                                            \
  X(ETOOLARGE, -5006, "it is longer than allowed")                                                 \
  X(ERESOLVE, -5007, "the name could not be resolved")                                             \
  X(ETLS, -5008, "the TLS connection failed")                                                      \
  X(EHTTP, -5009, "the response says that the request has failed")                                 \
  X(ESCRIPT, -5010, "a script has raised an error")                                                \
  X(ETYPE, -5011, "a value of this type cannot cross")                                             \
  X(EOTHER, -5012, "it has failed")

enum neap_error_code {
#define NEAP_X(name, number, message) NEAP_##name = (number),
  NEAP_ERROR_CODES(NEAP_X)
#undef NEAP_X
};

/* Why an operation failed. Fields that do not apply are NULL. */
typedef struct neap_error neap_error;
struct neap_error {
  int code; /* negative; a libuv code or one of neap_error_code: EOTHER where it has a name */
  const char *name;      /* of an error of somebody else's, "EMYLIB"; NULL: neap_error_name(code) */
  const char *message;   /* NULL: neap_error_message(code) */
  const char *traceback; /* of a script: where the error was raised, and what awaited it */
  const char *syscall;   /* the call that failed, for instance "open" */
  const char *path;      /* the file that it concerned */
  const char *dest;      /* the second one of a call that has two */
  const char *address;   /* the network address that it concerned, "host:port" */
  const char *url;       /* the request that it concerned */
  const neap_error *cause; /* what led to this error */
};

/* The name of a code, for instance "ENOENT"; "UNKNOWN" for numbers that are no code. Static. */
NEAP_API const char *neap_error_name(int code);
/* The code of a name; 0 if there is none. */
NEAP_API int neap_error_code(const char *name);
/* One line of English for a code. Static. */
NEAP_API const char *neap_error_message(int code);

/* ---- Loop ---------------------------------------------------------------------------------- */

/* Allocates (ptr NULL), resizes, or frees (size 0), as realloc does; NULL when it cannot.
 * Thread: the loop's; also that of libuv's pool for what file operations read. Pools of threads, work,
 * posts and what else crosses threads have memory of their own, from malloc, for they may outlive the
 * loop. */
typedef void *(*neap_allocator)(void *data, void *ptr, size_t size);

/* A source of time. `now` gives seconds that never go back. `idle`, if there is one, is called when
 * no task is ready and no I/O has arrived; it may move the time forward, to `deadline` (the next
 * one; HUGE_VAL when there is none) at most, and tells whether it did. The clock must outlive its
 * use by the loop. */
struct neap_clock {
  double (*now)(neap_clock *clock);
  bool (*idle)(neap_clock *clock, double deadline);
};

/* A clock for tests: stands still unless it is told to move. With `horizon` HUGE_VAL it jumps to
 * the next deadline whenever the loop is idle. */
typedef struct neap_virtual_clock {
  neap_clock clock;
  double time;    /* what `now` gives */
  double horizon; /* idle jumps reach this time at most */
} neap_virtual_clock;

NEAP_API void neap_virtual_clock_init(neap_virtual_clock *clock, double time);

typedef struct neap_loop_options {
  uv_loop_t *uv;            /* NULL: a loop of its own. Else the host's; the host closes it later */
  neap_allocator allocator; /* NULL: realloc and free */
  void *allocator_data;
  neap_clock *clock; /* NULL: the monotonic clock */
  size_t threads;    /* of its pool for work, at most; 0: as many as there are processors */
} neap_loop_options;

/* Makes a loop. `options` may be NULL. Owner: the caller, who ends it with neap_loop_close.
 * On a host's uv_loop_t, neap runs its tasks whenever the host runs that loop. */
NEAP_API int neap_loop_new(const neap_loop_options *options, neap_loop **loop);

/* Ends the loop: pending operations are dropped, bodies are destroyed without being run, posts are
 * refused from now on. On its own uv_loop_t the memory is free when it returns; on a host's it is
 * freed when that loop has closed neap's handles (run it once more). Tasks that the host still
 * holds references to are settled as cancelled and stay readable until they are unreferenced.
 * Not from within a task. */
NEAP_API void neap_loop_close(neap_loop *loop);

/* A pointer of the host's, NULL at first. */
NEAP_API void *neap_loop_data(const neap_loop *loop);
NEAP_API void neap_loop_set_data(neap_loop *loop, void *data);

/* The libuv loop underneath. */
NEAP_API uv_loop_t *neap_loop_uv(neap_loop *loop);

/* Seconds, of the loop's clock. */
NEAP_API double neap_loop_now(neap_loop *loop);

/* Replaces the clock (NULL: the monotonic clock). Deadlines that are pending keep the time that is
 * left to them. */
NEAP_API void neap_loop_set_clock(neap_loop *loop, neap_clock *clock);

typedef enum neap_progress {
  NEAP_PROGRESS, /* something ran, or time or I/O moved on */
  NEAP_IDLE      /* no task is ready, and nothing that is pending could make one ready */
} neap_progress;

/* Runs what is ready, then waits for I/O or the next deadline and returns. Not for a loop that the
 * host runs itself. Not from within a task. */
NEAP_API neap_progress neap_loop_step(neap_loop *loop);

/* For a main loop that is none of libuv's (a game's, a user interface's): runs what is ready, takes what has
 * arrived, and waits for `seconds` at most if nothing has (0: not at all, HUGE_VAL: as neap_loop_step); what
 * that has made ready is run, too. NEAP_IDLE: nothing is pending. As neap_loop_step otherwise. */
NEAP_API neap_progress neap_loop_poll(neap_loop *loop, double seconds);

/* In how many seconds neap_loop_poll is due; 0: now, HUGE_VAL: not before something arrives, which the
 * descriptor and the wake callback tell. Ask again after each poll. */
NEAP_API double neap_loop_due(neap_loop *loop);

/* A descriptor that becomes readable when I/O or a post has arrived; -1 where the system has none. */
NEAP_API int neap_loop_fd(const neap_loop *loop);

/* Lets `wake` be called for each post from another thread, on that thread: for a main loop that cannot watch
 * the descriptor. It tells that to its loop, and does not block or call neap. NULL: not any more. */
NEAP_API void neap_loop_set_wake(neap_loop *loop, void (*wake)(void *data), void *data);

/* Steps until `task` has ended (NULL: until every task with a body has ended). NEAP_EDEADLOCK when
 * nothing can end it. */
NEAP_API int neap_loop_run(neap_loop *loop, neap_task *task);

/* Calls fn(data) on the loop's thread, in the order of the posts. Thread: any, while the loop is there.
 * NEAP_ECLOSED once the loop is closing (then fn is never called), UV_ENOMEM. What was accepted is
 * always called, at the latest by neap_loop_close. */
NEAP_API int neap_loop_post(neap_loop *loop, void (*fn)(void *data), void *data);

/* The door of the loop for other threads. Whoever has a reference may post for as long as they like: once
 * the loop is closing, or gone, they are told NEAP_ECLOSED. Borrowed until the loop is closed. */
NEAP_API neap_inbox *neap_loop_inbox(neap_loop *loop);
/* Thread: any. */
NEAP_API neap_inbox *neap_inbox_ref(neap_inbox *inbox);
/* Thread: any. NULL is allowed. */
NEAP_API void neap_inbox_unref(neap_inbox *inbox);
/* The same as neap_loop_post. Thread: any. */
NEAP_API int neap_inbox_post(neap_inbox *inbox, void (*fn)(void *data), void *data);

/* Tells the loop that another thread is going to post, so that it waits instead of reporting a
 * deadlock. Counted. */
NEAP_API void neap_loop_hold(neap_loop *loop);
NEAP_API void neap_loop_release(neap_loop *loop);

/* What is alive; all zero when nothing is. */
typedef struct neap_stats {
  size_t tasks;      /* bodies that have not ended */
  size_t operations; /* native work that has not settled, or is still in libuv's hands */
  size_t timers;     /* armed deadlines */
  size_t scopes;     /* open explicit scopes */
  size_t blocks;     /* allocated through the loop's allocator */
} neap_stats;

NEAP_API neap_stats neap_loop_stats(const neap_loop *loop);

/* For tests: lets the n-th allocation from now fail, and with `persist` all that follow it. 0 ends
 * it. Returns whether a failure was delivered since the last call. */
NEAP_API bool neap_loop_fail_allocation(neap_loop *loop, unsigned long n, bool persist);

/* For tests: runs what is ready in an order drawn from `seed`, another one for each, instead of first
 * in, first out. 0: in order again. What a program relies on must hold for every seed. */
NEAP_API void neap_loop_set_schedule(neap_loop *loop, uint64_t seed);

/* For tests: a task that is done when nothing is ready to run, before the loop waits for I/O and
 * before a virtual clock moves. UV_ENOMEM. Owner: the caller has one reference. */
NEAP_API int neap_loop_all_blocked(neap_loop *loop, neap_task **task);

/* ---- Tasks --------------------------------------------------------------------------------- */

typedef enum neap_status { NEAP_PENDING, NEAP_DONE, NEAP_FAILED, NEAP_CANCELLED } neap_status;

NEAP_API neap_status neap_task_status(const neap_task *task);

/* Why it failed. NULL unless it failed, and for bodies that keep their error elsewhere (Lua's). */
NEAP_API const neap_error *neap_task_error(const neap_task *task);

/* What the body left with neap_task_finish; NULL for operations. Borrowed until the last unref. */
NEAP_API void *neap_task_value(const neap_task *task);

/* What it is done with: the results of a completion, or of a body that has written them
 * (neap_task_results); NULL for other tasks. Borrowed until the last unref. */
NEAP_API const neap_values *neap_task_values(const neap_task *task);

/* Calls fn(data, task) once, in a turn after the one in which the task ends, or in the next one; at the latest
 * from neap_loop_close. The callback has a reference to the task. UV_ENOMEM, NEAP_ECLOSED. */
NEAP_API int neap_task_on_end(neap_task *task, void (*fn)(void *data, neap_task *task), void *data);

/* Numbers tasks in the order of their creation, from 1 on, for each loop. */
NEAP_API uint64_t neap_task_id(const neap_task *task);

/* The loop that it belongs to. */
NEAP_API neap_loop *neap_task_loop(const neap_task *task);

/* Asks for cancellation; true the first time, false when it was asked before or has ended.
 * Runs no code of the task: an operation settles at once, a body is resumed later. */
NEAP_API bool neap_task_cancel(neap_task *task);

NEAP_API bool neap_task_cancel_requested(const neap_task *task);

NEAP_API neap_task *neap_task_ref(neap_task *task);
/* Drops a reference. Legal in every state: a pending task goes on without its holder. */
NEAP_API void neap_task_unref(neap_task *task);

/* ---- Tasks written in C -------------------------------------------------------------------- */

/* The state machine that a C# compiler would make of an async method, written by hand: a step function
 * whose cases are the places where it goes on.
 *
 *   static neap_step_result copy(neap_task *self, void *frame) {
 *     struct copy *me = frame;
 *     neap_loop *loop = neap_task_loop(self);
 *     neap_task *task;
 *     switch (neap_task_place(self)) {
 *     case 0: return neap_await(self, neap_fs_read_file(loop, me->from, &task), &task, 1);
 *     case 1:
 *       me->data = neap_fs_data(neap_awaited(self), &me->size);
 *       ...
 *     default: return NEAP_STEP_END;
 *     }
 *   }
 *
 * An error of what it awaits, and a cancellation, end the body: it is not called again, and its task has
 * that outcome. Then its cleanup is called, however the body has ended. */

typedef enum neap_step_result {
  NEAP_STEP_WAIT, /* after neap_task_await said true, neap_scope_exit did, or neap_task_pause */
  NEAP_STEP_NEXT, /* call it again at once, at its place */
  NEAP_STEP_END   /* the body has ended, failed if that was said, else done */
} neap_step_result;

/* `frame` is the memory asked for with neap_task_start, zeroed at first. It may start and await other
 * tasks. */
typedef neap_step_result (*neap_step)(neap_task *self, void *frame);

typedef struct neap_body {
  const char *name;
  size_t frame_size;
  neap_step step;
  /* Called once when the task has ended, or is dropped by neap_loop_close; may be NULL. */
  void (*release)(void *frame);
  /* What C# has in `finally`, a step function with places of its own: begins when the body has ended, well or
   * not, behind a shield, so it may await, and errors do not end it. Not when neap_loop_close drops the task. May
   * be NULL. */
  neap_step cleanup;
} neap_body;

/* Starts a task: its body runs at once, to its first wait. `init` (may be NULL) is copied into the
 * frame, frame_size bytes. The new task belongs to the scope of the task that runs now, if any.
 * Owner: the caller has one reference, in *task. UV_ENOMEM, NEAP_ECLOSED. */
NEAP_API int neap_task_start(neap_loop *loop, const neap_body *body, const void *init,
                             neap_task **task);

/* Where the body goes on: 0 at first, then what it has said. */
NEAP_API int neap_task_place(const neap_task *self);

/* From a step, which returns what it gives: goes on at `place` when `other` is done, which may be at once.
 * `code` is what starting `other` has given: where that is an error, it is as if `other` had failed with it.
 * An error of `other` ends the body with the same error; the cancellation of the current scope ends it, too,
 * and one of `other` alone is an error, NEAP_ECANCELLED. Takes over the reference in *other, which is NULL
 * then. */
NEAP_API neap_step_result neap_await(neap_task *self, int code, neap_task **other, int place);
/* The same, but goes on at `place` however `other` has ended, also where it is pending still because the
 * current scope is cancelled: what C# does with `catch`. */
NEAP_API neap_step_result neap_settle(neap_task *self, int code, neap_task **other, int place);
/* Goes on at `place`. */
NEAP_API neap_step_result neap_go(neap_task *self, int place);
/* What neap_await or neap_settle awaited last; NULL: it could not be started. Borrowed until the next one, or
 * the end of the task. */
NEAP_API neap_task *neap_awaited(const neap_task *self);

/* From a step: true if `self` now waits for `other` and must return NEAP_STEP_WAIT; it is called again when
 * `other` has ended, or the wait was cancelled (neap_task_is_cancelling). False if `other` has ended already.
 * `self` holds a reference to `other` until it is resumed. */
NEAP_API bool neap_task_await(neap_task *self, neap_task *other);

/* From a step that returns NEAP_STEP_WAIT next: lets the others run for one turn. */
NEAP_API void neap_task_pause(neap_task *self);

/* From a step: true while the current scope is cancelled. A body that sees it cleans up and ends;
 * one that ends without neap_task_finish is then "cancelled". */
NEAP_API bool neap_task_is_cancelling(const neap_task *self);

/* From a step: where it writes what scripts and neap_task_values see as its results. */
NEAP_API neap_values *neap_task_results(neap_task *self);

/* From a step that returns NEAP_STEP_END next: the value (freed with `release`, may be NULL, at the last
 * unref), or the error, which is copied; the first error counts. */
NEAP_API void neap_task_finish(neap_task *self, void *value, void (*release)(void *value));
NEAP_API void neap_task_fail(neap_task *self, const neap_error *error);

/* ---- Scopes, for steps --------------------------------------------------------------------- */

/* Opens a scope in the task that runs now. `timeout` in seconds, HUGE_VAL for none; with `shield`
 * no cancellation from outside reaches into it. UV_EINVAL for a negative timeout or NaN, UV_ENOMEM.
 * Owner: the task, until neap_scope_exit. */
NEAP_API int neap_scope_enter(neap_task *self, double timeout, bool shield, neap_scope **scope);

/* Asks for the cancellation of all that runs in the scope; true the first time. */
NEAP_API bool neap_scope_cancel(neap_scope *scope);

NEAP_API bool neap_scope_cancel_requested(const neap_scope *scope);
/* Whether the scope was cancelled by its own time limit. */
NEAP_API bool neap_scope_timed_out(const neap_scope *scope);

/* Leaves the innermost scope. True: tasks in it still run; return NEAP_STEP_WAIT and call it again
 * when resumed. False: it is closed and freed. A scope that is open when the body ends is left then; if an
 * error has ended the body it is cancelled first, and if its own time limit has, the task fails with
 * UV_ETIMEDOUT. */
NEAP_API bool neap_scope_exit(neap_task *self, neap_scope *scope);

/* ---- Tokens -------------------------------------------------------------------------------- */

/* A token carries a request of cancellation to code that whoever cancels did not start. Its
 * registrations are called once, the youngest first, when it is cancelled. */

/* Makes a token. UV_ENOMEM. Owner: the caller has one reference. */
NEAP_API int neap_token_new(neap_loop *loop, neap_token **token);

NEAP_API neap_token *neap_token_ref(neap_token *token);
/* Drops a reference. With the last one what is registered is forgotten, without being called. */
NEAP_API void neap_token_unref(neap_token *token);

/* Cancels it and calls what is registered before it returns; true the first time. */
NEAP_API bool neap_token_cancel(neap_token *token);
/* Cancels it after `seconds`, counted from now; HUGE_VAL: not any more. The last call counts. UV_EINVAL
 * for a negative duration or NaN, UV_ENOMEM. A token without references is not cancelled. */
NEAP_API int neap_token_cancel_after(neap_token *token, double seconds);

NEAP_API bool neap_token_is_cancelled(const neap_token *token);
/* Whether it was its own time limit. */
NEAP_API bool neap_token_timed_out(const neap_token *token);

/* A place among the registrations of a token, in memory of the caller, zeroed at first, who sets `call`
 * and `data`. */
typedef struct neap_registration neap_registration;
struct neap_registration {
  void (*call)(neap_registration *registration);
  void *data;
  neap_token *token; /* NULL: not registered. This and what follows is the token's */
  void *link[2];
};

/* Registers; calls at once if the token is cancelled. One that is registered already moves. Borrowed
 * until it is called, unregistered, or the token is gone (that of a scope not before the scope ends).
 * A call may register, unregister and cancel whatever it likes. */
NEAP_API void neap_token_register(neap_token *token, neap_registration *registration);
/* True if it was registered and is not any more; false if it has been called, or its token is gone. */
NEAP_API bool neap_token_unregister(neap_registration *registration);

/* The token of a scope, cancelled when the scope is, by whomever; its registrations are called in the
 * next turn. UV_ENOMEM. Owner: the caller has one reference. */
NEAP_API int neap_scope_token(neap_scope *scope, neap_token **token);

/* A registration that cancels `scope`; unregister it before the scope is left. */
NEAP_API void neap_token_cancel_scope(neap_token *token, neap_scope *scope,
                                      neap_registration *registration);

/* ---- Wait queues --------------------------------------------------------------------------- */

/* Tasks that wait for their turn, first come, first served: what a semaphore, a channel or a pool of
 * connections is made of. */

/* Owner: the caller, who ends it with neap_queue_free. UV_ENOMEM. */
NEAP_API int neap_queue_new(neap_loop *loop, neap_queue **queue);
/* What still waits is cancelled. */
NEAP_API void neap_queue_free(neap_queue *queue);

/* How many wait. */
NEAP_API size_t neap_queue_count(const neap_queue *queue);

/* A task that is done when it was woken. Owner: the caller has one reference; dropping the last one
 * gives up the place, as cancelling does. In a cancelled scope it is cancelled. UV_ENOMEM. */
NEAP_API int neap_queue_wait(neap_queue *queue, neap_task **task);

/* Ends the first wait: its task is done, with `value` as its neap_task_value. False: nobody waits,
 * and nothing was handed over. Runs no task. */
NEAP_API bool neap_queue_wake(neap_queue *queue, void *value);

/* ---- Shared bytes --------------------------------------------------------------------------- */

/* A block of bytes that crosses threads without being copied. Its references are counted: any thread
 * may take and drop them, and the last one frees it. Whoever has the only reference may write into it;
 * what others have a reference to does not change any more. Thread: any, for all of these. */
typedef struct neap_bytes neap_bytes;

/* A block of `size` bytes, zeroed; with a copy of `data`; or around memory of somebody else, which is
 * given to `release` (may be NULL) in the end, on the thread that drops the last reference. UV_ENOMEM:
 * then `release` is not called. Owner: the caller has one reference. */
NEAP_API int neap_bytes_new(size_t size, neap_bytes **bytes);
NEAP_API int neap_bytes_copy(const void *data, size_t size, neap_bytes **bytes);
NEAP_API int neap_bytes_wrap(char *data, size_t size,
                             void (*release)(void *user, char *data, size_t size), void *user,
                             neap_bytes **bytes);

NEAP_API neap_bytes *neap_bytes_ref(neap_bytes *bytes);
NEAP_API void neap_bytes_unref(neap_bytes *bytes);

/* Where they are, for as long as the caller has a reference. */
NEAP_API char *neap_bytes_data(const neap_bytes *bytes);
NEAP_API size_t neap_bytes_size(const neap_bytes *bytes);

/* ---- Values --------------------------------------------------------------------------------- */

/* Lists of values of the kinds that languages share: what native functions are given and what they give.
 * A list is written from its front to its end, and read at any place. It may cross threads: one of them
 * has it at a time. */

typedef enum neap_value_kind {
  NEAP_VALUE_NIL,
  NEAP_VALUE_BOOLEAN,
  NEAP_VALUE_INTEGER,
  NEAP_VALUE_NUMBER,
  NEAP_VALUE_BYTES,    /* a string */
  NEAP_VALUE_BUFFER,   /* a block of bytes that is shared (neap_bytes) */
  NEAP_VALUE_POINTER,  /* light: nobody owns what is behind it */
  NEAP_VALUE_OBJECT,   /* with a class, which releases it in the end */
  NEAP_VALUE_CALLBACK, /* a function of a script */
  NEAP_VALUE_ARRAY,
  NEAP_VALUE_MAP
} neap_value_kind;

/* Objects of a C library that scripts may hold. What crosses is the object itself: its references are
 * counted, in lists and in scripts, and the last one releases it, once. */
typedef struct neap_class {
  const char *name;              /* "mylib.Connection": what scripts see */
  void (*release)(void *object); /* Thread: any. May be NULL */
} neap_class;

/* UV_ENOMEM. Owner: the caller, who ends it with neap_values_free. */
NEAP_API int neap_values_new(neap_values **values);
/* NULL is allowed. */
NEAP_API void neap_values_free(neap_values *values);
/* Empties it. */
NEAP_API void neap_values_clear(neap_values *values);

/* Each adds one value, and never fails on the spot: an error (UV_ENOMEM; NEAP_EDEPTH for more than 64 arrays
 * and maps in each other; NEAP_EMISUSE where open and close do not match) stays in the list, and fails what
 * the list is for. `values` NULL: nothing happens. */
NEAP_API void neap_values_add_nil(neap_values *values);
NEAP_API void neap_values_add_boolean(neap_values *values, bool boolean);
NEAP_API void neap_values_add_integer(neap_values *values, int64_t integer);
NEAP_API void neap_values_add_number(neap_values *values, double number);
/* A copy. */
NEAP_API void neap_values_add_bytes(neap_values *values, const void *data, size_t size);
/* A copy of a C string; NULL becomes nil. */
NEAP_API void neap_values_add_string(neap_values *values, const char *string);
/* A reference of its own to the block, which does not change any more. */
NEAP_API void neap_values_add_buffer(neap_values *values, neap_bytes *bytes);
NEAP_API void neap_values_add_pointer(neap_values *values, void *pointer);
/* Takes the object over, also where it cannot be added: it is released then. */
NEAP_API void neap_values_add_object(neap_values *values, const neap_class *class_, void *object);
/* Any value, also with what is in it: objects, buffers and callbacks are the same, with a reference more. */
NEAP_API void neap_values_add_value(neap_values *values, const neap_value *value);
/* A reference of its own; it becomes the function again that it was. */
NEAP_API void neap_values_add_callback(neap_values *values, neap_callback *callback);
/* What is added up to neap_values_close is in the array; in the map, where keys and values alternate. */
NEAP_API void neap_values_open_array(neap_values *values);
NEAP_API void neap_values_open_map(neap_values *values);
NEAP_API void neap_values_close(neap_values *values);
/* The first error that came up; NEAP_EMISUSE while an array or map is open; 0. */
NEAP_API int neap_values_error(const neap_values *values);

/* How many values there are; arrays and maps count as one. NULL has none. */
NEAP_API size_t neap_values_count(const neap_values *values);
/* The value at `i`, from 0 on; nil beyond the end. Never NULL. Borrowed until the list changes. */
NEAP_API const neap_value *neap_values_at(const neap_values *values, size_t i);

NEAP_API neap_value_kind neap_value_kind_of(const neap_value *value);
/* As scripts see it: all but false and nil is true. */
NEAP_API bool neap_value_boolean(const neap_value *value);
/* Also of a number that is whole; 0 for other values. */
NEAP_API int64_t neap_value_integer(const neap_value *value);
/* Also of an integer; 0 for other values. */
NEAP_API double neap_value_number(const neap_value *value);
/* Of bytes, behind which is a NUL, and of a buffer, behind which is none. `size` may be NULL. NULL for
 * other values. */
NEAP_API const char *neap_value_bytes(const neap_value *value, size_t *size);
/* NULL for other values. */
NEAP_API neap_bytes *neap_value_buffer(const neap_value *value);
NEAP_API void *neap_value_pointer(const neap_value *value);
/* NULL also for an object of another class. Borrowed from the list. */
NEAP_API void *neap_value_object(const neap_value *value, const neap_class *class_);
NEAP_API neap_callback *neap_value_callback(const neap_value *value);
/* Of an array its items, of a map its pairs; 0 for other values. */
NEAP_API size_t neap_value_count(const neap_value *value);
/* The item of an array, or the value of a pair, at `i`, from 0 on; its key. Nil beyond the end. Never NULL. */
NEAP_API const neap_value *neap_value_item(const neap_value *value, size_t i);
NEAP_API const neap_value *neap_value_key(const neap_value *value, size_t i);
/* The value in a map behind that string; nil if there is none. Never NULL. */
NEAP_API const neap_value *neap_value_field(const neap_value *value, const char *name);
/* The one behind it in the same array, map or list, to go through many: not beyond the last. */
NEAP_API const neap_value *neap_value_next(const neap_value *value);

/* ---- Callbacks ------------------------------------------------------------------------------ */

/* A function of a script that C may call: to tell of progress, or of what a library calls back for. */

/* Calls it on the thread of its loop, in a later turn and in the order of the calls, as a task of its own
 * that nobody joins. Takes `arguments` over (NULL: none), also when it fails. NEAP_ECLOSED: the script has
 * ended; UV_ENOMEM; what neap_values_error says. Thread: any. */
NEAP_API int neap_callback_call(neap_callback *callback, neap_values *arguments);
/* Thread: any. */
NEAP_API neap_callback *neap_callback_ref(neap_callback *callback);
/* Thread: any. NULL is allowed. */
NEAP_API void neap_callback_unref(neap_callback *callback);

/* ---- Completions ---------------------------------------------------------------------------- */

/* A task that C ends: what a library with callbacks, or a thread of somebody else's, needs to be awaited
 * (C#'s TaskCompletionSource). Its task is pending, and the loop held, until one of its holders completes it;
 * when the last of them lets it go without that, the task fails with NEAP_EMISUSE.
 *
 * Each completion has a frame of memory for what belongs to the work, zeroed at first. */

typedef struct neap_completion_kind {
  const char *name; /* "mylib.query", for messages */
  size_t frame_size;
  /* The task is cancelled: ends the native work soon. Called once, at most. Thread: the loop's. NULL: the
   * work runs out, for nobody. */
  void (*cancel)(neap_completion *completion, void *frame);
  /* Frees what is in the frame: no holder is left, and the task has ended. Once. Thread: any. May be NULL. */
  void (*release)(void *frame);
  /* A cancelled task ends not before it is completed (with UV_ECANCELED it is then cancelled): `cancel` only
   * asks for that. Otherwise it ends at once, and what completes it later is refused. */
  bool is_joined;
} neap_completion_kind;

/* Owner: the caller has one reference to both. UV_ENOMEM, NEAP_ECLOSED. */
NEAP_API int neap_completion_new(neap_loop *loop, const neap_completion_kind *kind,
                                 neap_completion **completion, neap_task **task);
/* Thread: any. */
NEAP_API neap_completion *neap_completion_ref(neap_completion *completion);
/* Thread: any. NULL is allowed. */
NEAP_API void neap_completion_unref(neap_completion *completion);

/* Where its own memory is. */
NEAP_API void *neap_completion_frame(neap_completion *completion);
/* The loop of its task. Only while that is open. */
NEAP_API neap_loop *neap_completion_loop(const neap_completion *completion);
/* Where the one who will complete it writes the results first. NULL once it was completed or cancelled:
 * what is added to that is dropped. Thread: of the one who will complete it. */
NEAP_API neap_values *neap_completion_values(neap_completion *completion);
/* Whether the work is for nobody any more. Thread: any. */
NEAP_API bool neap_completion_is_cancelled(const neap_completion *completion);

/* Completes it: its task is done with the values, or has failed with `error` (NULL: done), whose strings are
 * copied. UV_ECANCELED: it was cancelled before; NEAP_EMISUSE: it was completed before; NEAP_ECLOSED: its
 * loop is gone. Nothing happens in these cases. Thread: the loop's. */
NEAP_API int neap_completion_end(neap_completion *completion, const neap_error *error);
/* The same from elsewhere: the task ends in a turn of the loop. Thread: any. */
NEAP_API int neap_completion_post(neap_completion *completion, const neap_error *error);

/* ---- Channels between threads --------------------------------------------------------------- */

/* A channel hands items from loop to loop, each on a thread of its own, in the order in which they were
 * sent; senders and receivers that wait are served in the order in which they came. An item is a
 * pointer, not NULL, which belongs to one after the other: the sender, the channel, the receiver.
 *
 * A loop waits on a channel through a port. While tasks wait there, and somebody else has a reference to
 * the channel, the loop is held: another thread may wake it. Where nobody else has one, nobody will,
 * which is a deadlock as usual. */

typedef struct neap_channel_options {
  size_t
      capacity; /* items that are buffered; 0: a send ends when its item is received; SIZE_MAX: any */
  void (*release)(void *item); /* frees what was not received. Thread: any */
  neap_allocator allocator;    /* NULL: realloc and free. Outlives the channel. Thread: any */
  void *allocator_data;
} neap_channel_options;

/* Owner: the caller has one reference. UV_ENOMEM. Thread: any. */
NEAP_API int neap_channel_new(const neap_channel_options *options, neap_channel **channel);

/* Thread: any. The last one to let go frees the channel with what is in it. */
NEAP_API neap_channel *neap_channel_ref(neap_channel *channel);
NEAP_API void neap_channel_unref(neap_channel *channel);

/* What does not wait. Thread: any. Takes the item over if it returns 0; UV_EAGAIN where a send would
 * wait, NEAP_ECLOSED, UV_ENOMEM. */
NEAP_API int neap_channel_try_send(neap_channel *channel, void *item);
/* Gives an item away; UV_EAGAIN: there is none, NEAP_ECLOSED: there is none and will be none.
 * Thread: any. */
NEAP_API int neap_channel_try_recv(neap_channel *channel, void **item);

/* Closes it: what is buffered can still be received, what waits to be sent fails with NEAP_ECLOSED.
 * `reason` (NULL: none), which is taken over and freed as an item is, says why; receivers then fail with
 * NEAP_ECLOSED at the end. False: it was closed before, and the reason is still the caller's. Thread: any. */
NEAP_API bool neap_channel_close(neap_channel *channel, void *reason);
/* Thread: any. */
NEAP_API bool neap_channel_is_closed(neap_channel *channel);
/* Why it was closed; NULL: for no reason, or it is open. Borrowed until the last unref. Thread: any. */
NEAP_API void *neap_channel_reason(neap_channel *channel);

/* Whether neap_channel_try_send would take an item now: 0, UV_EAGAIN, NEAP_ECLOSED. Thread: any. */
NEAP_API int neap_channel_room(neap_channel *channel);

/* How many items are buffered, and how many can be. Thread: any. */
NEAP_API size_t neap_channel_count(neap_channel *channel);
NEAP_API size_t neap_channel_capacity(const neap_channel *channel);

/* The port of a loop, always the same one as long as it is open. It has a reference to the channel.
 * Owner: the caller has one reference to the port. UV_ENOMEM. */
NEAP_API int neap_port_open(neap_loop *loop, neap_channel *channel, neap_port **port);
NEAP_API neap_port *neap_port_ref(neap_port *port);
/* What waits goes on without its holder. */
NEAP_API void neap_port_unref(neap_port *port);
NEAP_API neap_channel *neap_port_channel(const neap_port *port);

/* A task that is done when the item is in the channel or with a receiver. NEAP_ECLOSED, UV_ENOMEM. Takes
 * the item over if it returns 0; one that is not sent is freed. Owner: the caller has one reference. */
NEAP_API int neap_port_send(neap_port *port, void *item, neap_task **task);

/* A task that is done when it has an item, its neap_task_value, or NULL at the end. Cancelled, it has
 * taken nothing; one that has got its item when the cancellation comes is done. Owner: the caller has
 * one reference. UV_ENOMEM. */
NEAP_API int neap_port_recv(neap_port *port, neap_task **task);
/* Gives the item of neap_port_recv's task away, the first time; NULL: there is none. What nobody takes is
 * freed with the task. */
NEAP_API void *neap_port_take(neap_task *task);

/* ---- Work on other threads ----------------------------------------------------------------- */

/* A pool of threads, for work that keeps a processor busy or that blocks. They start when there is work for
 * them and end with the pool. All signals are blocked in them. */

/* `threads` at most, 0: as many as there are processors. UV_ENOMEM. Owner: the caller has one reference.
 * Thread: any. */
NEAP_API int neap_pool_new(size_t threads, neap_pool **pool);
/* How many threads it has at most. Thread: any. */
NEAP_API size_t neap_pool_size(const neap_pool *pool);
/* Thread: any. With the last reference, each piece of work holds one, the threads end; this waits for
 * them, unless it is one of them. NULL is allowed. */
NEAP_API neap_pool *neap_pool_ref(neap_pool *pool);
NEAP_API void neap_pool_unref(neap_pool *pool);

/* A kind of work: a function that runs on a thread of a pool, with data that it alone touches until its task
 * has ended. */
typedef struct neap_work_kind {
  const char *name;
  /* Thread: one of the pool's. 0, or a negative code, with which its task fails; UV_ECANCELED after a
   * cancellation makes it "cancelled". It may end well in spite of one. */
  int (*run)(neap_work *work, void *data);
  /* A cancellation has come while it runs: makes `run` end soon. Thread: the loop's, at the same time as
   * `run`. Must not block, nor call neap. NULL: `run` looks at neap_work_is_cancelled. */
  void (*interrupt)(neap_work *work, void *data);
  /* Frees the data: its task has no references any more, or, if it was abandoned, `run` has returned. Thread:
   * the loop's or, if it was abandoned, the pool's. May be NULL. */
  void (*release)(void *data);
  /* A cancelled task ends at once; `run` runs on, for nobody. Without it the task ends when `run` has
   * returned, and closing the loop waits for that. */
  bool is_abandonable;
  /* Frees what only `run` and `interrupt` need: `run` has returned, and `interrupt` is not called any more.
   * Thread: the pool's. May be NULL. */
  void (*finish)(void *data);
} neap_work_kind;

/* Starts work in `pool` (NULL: the loop's own, with a thread for each processor); what waits for a thread
 * starts first come, first served. Cancelled before that, it never runs. The task's value is `data`, which
 * is taken over if this returns 0. UV_ENOMEM. Owner: the caller has one reference to the task. */
NEAP_API int neap_work_start(neap_loop *loop, neap_pool *pool, const neap_work_kind *kind,
                             void *data, neap_task **task);

/* Whether `run` should give up. Thread: any. */
NEAP_API bool neap_work_is_cancelled(const neap_work *work);

/* From `run`, which returns the same code next: what its task fails with. A copy. */
NEAP_API void neap_work_fail(neap_work *work, const neap_error *error);

/* ---- Operations ---------------------------------------------------------------------------- */

/* Each starts native work and gives its task; the caller owns one reference. Work started in a
 * cancelled scope has no effect and is "cancelled" on return. */

/* Done after `seconds`; UV_EINVAL if they are negative or not a number. */
NEAP_API int neap_sleep(neap_loop *loop, double seconds, neap_task **task);

/* Ends when all of `tasks` have ended, which are referenced until then: done, or with the error of the first in
 * the list that has failed. */
NEAP_API int neap_all(neap_loop *loop, neap_task *const *tasks, size_t count, neap_task **task);

/* Done when the first of `tasks` (at least one) has ended, well or not; see neap_any_index. */
NEAP_API int neap_any(neap_loop *loop, neap_task *const *tasks, size_t count, neap_task **task);
/* Which one of neap_any's tasks it was, from 0 on. */
NEAP_API size_t neap_any_index(const neap_task *task);

/* Reads a whole file, in one job of the thread pool. */
NEAP_API int neap_fs_read_file(neap_loop *loop, const char *path, neap_task **task);
/* What neap_fs_read_file read. Borrowed until the last unref. */
NEAP_API const char *neap_fs_data(const neap_task *task, size_t *size);

#ifdef __cplusplus
}
#endif

#endif
