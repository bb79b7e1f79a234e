#define _POSIX_C_SOURCE 200809L
#include "bell.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

typedef struct ring {
  struct ring *next;
  int number;
  double time;
  void (*fn)(void *user, int strokes);
  void *user;
} ring;

struct bell {
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int refs; /* -1: its own thread frees it */
  int count, strokes;
  bool is_ending;
  ring *rings; /* the next one first */
};

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void wait_until(bell *self, double time) {
  struct timespec until = {.tv_sec = (time_t)time,
                           .tv_nsec = (long)((time - (double)(time_t)time) * 1e9)};
  pthread_cond_timedwait(&self->changed, &self->mutex, &until);
}

/* Called with the mutex, which is open while it calls back. */
static void call_first(bell *self) {
  ring first = *self->rings;
  free(self->rings);
  self->rings = first.next;
  int strokes = ++self->strokes;
  pthread_mutex_unlock(&self->mutex);
  first.fn(first.user, strokes);
  pthread_mutex_lock(&self->mutex);
}

static void destroy(bell *self) {
  for (ring *next; self->rings; self->rings = next) {
    next = self->rings->next;
    free(self->rings);
  }
  pthread_mutex_destroy(&self->mutex);
  pthread_cond_destroy(&self->changed);
  free(self);
}

static void *run(void *data) {
  bell *self = data;
  pthread_mutex_lock(&self->mutex);
  while (!self->is_ending) {
    if (!self->rings)
      pthread_cond_wait(&self->changed, &self->mutex);
    else if (self->rings->time > now())
      wait_until(self, self->rings->time);
    else
      call_first(self);
  }
  bool is_own = self->refs < 0;
  pthread_mutex_unlock(&self->mutex);
  if (is_own) destroy(self);
  return NULL;
}

bell *bell_new(void) {
  bell *self = calloc(1, sizeof *self);
  if (!self) return NULL;
  self->refs = 1;
  pthread_mutex_init(&self->mutex, NULL);
  pthread_cond_init(&self->changed, NULL);
  if (pthread_create(&self->thread, NULL, run, self) == 0) return self;
  destroy(self);
  return NULL;
}

bell *bell_ref(bell *self) {
  pthread_mutex_lock(&self->mutex);
  self->refs++;
  pthread_mutex_unlock(&self->mutex);
  return self;
}

/* A thread cannot join itself: from within a callback it is the thread that destroys the bell later. */
void bell_unref(bell *self) {
  pthread_mutex_lock(&self->mutex);
  bool is_last = --self->refs == 0;
  pthread_t thread = self->thread;
  bool is_own = pthread_equal(thread, pthread_self());
  self->is_ending = is_last;
  if (is_last && is_own) self->refs = -1;
  pthread_cond_signal(&self->changed);
  pthread_mutex_unlock(&self->mutex);
  if (!is_last) return;
  if (is_own) {
    pthread_detach(thread);
    return;
  }
  pthread_join(thread, NULL);
  destroy(self);
}

int bell_ring(bell *self, double seconds, void (*fn)(void *user, int strokes), void *user) {
  ring *added = malloc(sizeof *added);
  if (!added) return 0;
  pthread_mutex_lock(&self->mutex);
  int number = ++self->count;
  *added = (ring){NULL, number, now() + seconds, fn, user};
  ring **place = &self->rings;
  while (*place && (*place)->time <= added->time) place = &(*place)->next;
  added->next = *place;
  *place = added;
  pthread_cond_signal(&self->changed);
  pthread_mutex_unlock(&self->mutex);
  return number;
}

bool bell_forget(bell *self, int number) {
  pthread_mutex_lock(&self->mutex);
  ring **place = &self->rings;
  while (*place && (*place)->number != number) place = &(*place)->next;
  ring *found = *place;
  if (found) *place = found->next;
  pthread_mutex_unlock(&self->mutex);
  free(found);
  return found != NULL;
}
