/* mymodule: C libraries that scripts await. A template: copy it, and put your library in the place of `primes`, whose
 * calls block, or of `bell`, which calls back.
 *
 *   local neap = require "neap"
 *   local mymodule = require "mymodule"
 */
#include <neap/neaplua.h>

#include "bell.h"
#include "primes.h"

/* ---- A blocking library, on a thread ----------------------------------------------------------- */

/* The memory of one call, zeroed at first. */
typedef struct counting {
  primes_job job;
  neap_callback *progress; /* of the arguments, which live as long */
} counting;

/* On the thread that counts; the function of the script runs on the loop's, a little later. */
static void tell_progress(void *user, double share) {
  const counting *self = (const counting *)user;
  neap_values *values;
  if (neap_values_new(&values)) return;
  neap_values_add_number(values, share);
  neap_callback_call(self->progress, values); /* which frees the values */
}

/* mymodule.count_primes(limit, progress?) -> count. Calls progress(share). On a thread of the pool. */
static int count_primes(neap_work *work, void *frame, const neap_values *arguments,
                        neap_values *results) {
  counting *self = (counting *)frame;
  int64_t count;
  self->progress = neap_value_callback(neap_values_at(arguments, 1));
  int status = primes_count(&self->job, neap_value_integer(neap_values_at(arguments, 0)),
                            self->progress ? tell_progress : NULL, self, &count);
  if (status == PRIMES_STOPPED) return UV_ECANCELED; /* the task is cancelled, not failed */
  if (status == PRIMES_TOO_MANY) {
    neap_error error = {0};
    error.name = "ETOOMANY"; /* what scripts see as its code */
    error.message = "that would take for ever";
    neap_work_fail(work, &error);
    return NEAP_EOTHER;
  }
  neap_values_add_integer(results, count);
  return 0;
}

/* Its task is cancelled; on the loop's thread, while count_primes runs. */
static void stop_counting(void *frame, const neap_values *arguments) {
  (void)arguments;
  primes_stop(&((counting *)frame)->job);
}

/* ---- A library that calls back ----------------------------------------------------------------- */

static void release_bell(void *object) {
  bell_unref((bell *)object);
}

static const neap_class bell_class = {"mymodule.Bell", release_bell};

/* mymodule.bell() -> Bell. It has ended when it returns. */
static int new_bell(neap_completion *call, void *frame, const neap_values *arguments) {
  bell *object = bell_new();
  (void)frame, (void)arguments;
  if (!object) return UV_ENOMEM;
  neap_values_add_object(neap_completion_values(call), &bell_class, object);
  return neap_completion_end(call, NULL);
}

/* The script may close its Bell, or forget it, while it rings: the call has a reference of its own. */
typedef struct ringing {
  bell *object;
  int number;
} ringing;

/* On the bell's thread. */
static void on_ring(void *user, int strokes) {
  neap_completion *call = (neap_completion *)user;
  neap_values_add_integer(neap_completion_values(call), strokes);
  neap_completion_post(call, NULL); /* refused where it was cancelled just now, which is well */
  neap_completion_unref(call);
}

/* bell:ring(seconds) -> strokes */
static int start_ringing(neap_completion *call, void *frame, const neap_values *arguments) {
  ringing *self = (ringing *)frame;
  bell *object = (bell *)neap_value_object(neap_values_at(arguments, 0), &bell_class);
  self->object = bell_ref(object);
  self->number = bell_ring(object, neap_value_number(neap_values_at(arguments, 1)), on_ring,
                           neap_completion_ref(call));
  if (self->number) return 0;
  neap_completion_unref(call);
  return UV_ENOMEM;
}

/* The one who keeps the reference gives it back: the library, or we where it will not call any more. */
static void cancel_ringing(neap_completion *call, void *frame) {
  const ringing *self = (const ringing *)frame;
  if (bell_forget(self->object, self->number)) neap_completion_unref(call);
}

/* Whoever is last, so perhaps on the bell's thread. */
static void release_ringing(void *frame) {
  const ringing *self = (const ringing *)frame;
  if (self->object) bell_unref(self->object);
}

/* ---- What scripts see -------------------------------------------------------------------------- */

static const neapL_function functions[] = {
    {.kind = {.name = "mymodule.count_primes", .frame_size = sizeof(counting)},
     .arguments = "if?",
     .run = count_primes,
     .interrupt = stop_counting},
    {.kind = {.name = "mymodule.bell"}, .start = new_bell},
    {.kind = {.name = NULL}},
};

/* Objects have `close` besides, and may be <close> variables. */
static const neapL_function bell_methods[] = {
    {.kind = {.name = "mymodule.Bell:ring",
              .frame_size = sizeof(ringing),
              .cancel = cancel_ringing,
              .release = release_ringing},
     .arguments = "on",
     .start = start_ringing},
    {.kind = {.name = NULL}},
};

/* In C++: extern "C". */
NEAP_API int luaopen_mymodule(lua_State *L) {
  lua_newtable(L);
  neapL_register(L, functions);
  neapL_register_class(L, &bell_class, bell_methods);
  return 1;
}
