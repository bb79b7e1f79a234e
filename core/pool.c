#include "pool.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Invariant, with the mutex held: `alive` is the number of threads that are not lost, `idle` of those that
 * wait, `queued` the length of the queue; alive <= limit once those that are over it have seen it. What is
 * queued or runs holds a reference to the pool (its owner sees to that): with the last one there is nothing
 * left to run. */
struct neap_pool {
  uv_mutex_t mutex;
  uv_cond_t wanted;
  neap__list queue;   /* of neap__pool_item, first come, first served */
  neap__list threads; /* of neap__pool_thread */
  atomic_size_t refs;
  size_t limit, alive, idle, queued;
  neap__pool_thread *ends_on; /* dropped the last reference; NULL: none of them has */
  bool is_closing;
};

/* ---- Threads ------------------------------------------------------------------------------- */

/* Waits for an item, with the mutex held; NULL: this thread is not needed any more. */
static neap__pool_item *next_item(neap_pool *pool, neap__pool_thread *self) {
  while (neap__list_is_empty(&pool->queue) && !pool->is_closing && !self->is_lost) {
    pool->idle++;
    uv_cond_wait(&pool->wanted, &pool->mutex);
    pool->idle--;
  }
  if (neap__list_is_empty(&pool->queue) || self->is_lost) return NULL;
  neap__pool_item *item = NEAP__CONTAINER(pool->queue.next, neap__pool_item, link);
  neap__list_unlink(&item->link);
  pool->queued--;
  item->state = NEAP__ITEM_RUNNING;
  item->thread = self;
  return item;
}

/* With the mutex held, which is given up meanwhile. */
static void run_item(neap_pool *pool, neap__pool_thread *self, neap__pool_item *item) {
  uv_mutex_unlock(&pool->mutex);
  item->run(item, self);
  uv_mutex_lock(&pool->mutex);
  item->state = NEAP__ITEM_ENDED;
  bool is_abandoned = item->is_abandoned;
  uv_mutex_unlock(&pool->mutex);
  item->end(item, is_abandoned);
  uv_mutex_lock(&pool->mutex);
}

static void free_pool(neap_pool *pool) {
  uv_cond_destroy(&pool->wanted);
  uv_mutex_destroy(&pool->mutex);
  free(pool);
}

static bool is_this_thread(const neap__pool_thread *thread) {
  uv_thread_t self = uv_thread_self();
  return uv_thread_equal(&thread->id, &self);
}

/* A thread that has to be waited for. A lost one among them has let go of the pool with what it ran, and is
 * about to see that. */
static neap__pool_thread *take_other(neap_pool *pool) {
  neap__pool_thread *other = NULL;
  uv_mutex_lock(&pool->mutex);
  for (neap__list *link = pool->threads.next; !other && link != &pool->threads; link = link->next) {
    neap__pool_thread *thread = NEAP__CONTAINER(link, neap__pool_thread, link);
    if (!is_this_thread(thread)) other = thread;
  }
  if (other) {
    neap__list_unlink(&other->link);
    other->is_joined = true;
  }
  uv_mutex_unlock(&pool->mutex);
  return other;
}

static void join_others(neap_pool *pool) {
  for (neap__pool_thread *thread; (thread = take_other(pool));) {
    uv_thread_join(&thread->id);
    free(thread);
  }
}

/* Nobody waits for a lost thread that comes here before the pool ends, nor for the one that frees the pool.
 * Once it is unlinked, only the latter may touch the pool. */
static void thread_main(void *data) {
  neap__pool_thread *self = data;
  neap_pool *pool = self->pool;
  uv_mutex_lock(&pool->mutex);
  for (neap__pool_item *item; (item = next_item(pool, self));) run_item(pool, self, item);
  bool frees_pool = pool->ends_on == self;
  bool is_alone = frees_pool || (self->is_lost && !self->is_joined);
  if (is_alone) neap__list_unlink(&self->link);
  uv_mutex_unlock(&pool->mutex);
  if (self->end_local) self->end_local(self->local);
  if (frees_pool) {
    join_others(pool);
    free_pool(pool);
  }
  if (!is_alone) return; /* whoever joins it frees it */
  pthread_detach(pthread_self());
  free(self);
}

/* Signals are for the threads that the program has made itself. */
static int start_blocking_signals(neap__pool_thread *thread) {
  sigset_t all, former;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &former);
  int code = uv_thread_create(&thread->id, thread_main, thread);
  pthread_sigmask(SIG_SETMASK, &former, NULL);
  return code;
}

/* With the mutex held. */
static int start_thread(neap_pool *pool) {
  neap__pool_thread *thread = calloc(1, sizeof *thread);
  if (!thread) return UV_ENOMEM;
  thread->pool = pool;
  neap__list_init(&thread->link);
  int code = start_blocking_signals(thread);
  if (code) {
    free(thread);
    return code;
  }
  neap__list_append(&pool->threads, &thread->link);
  pool->alive++;
  return 0;
}

/* ---- Items --------------------------------------------------------------------------------- */

/* With the mutex held: somebody will run what is queued. Only without any thread that is an error. */
static int find_thread(neap_pool *pool) {
  if (pool->queued >= pool->idle && pool->alive < pool->limit) {
    int code = start_thread(pool);
    if (code && pool->alive == 0) return code;
  }
  return 0;
}

int neap__pool_push(neap_pool *pool, neap__pool_item *item) {
  uv_mutex_lock(&pool->mutex);
  int code = find_thread(pool);
  if (!code) {
    item->state = NEAP__ITEM_QUEUED;
    neap__list_init(&item->link);
    neap__list_append(&pool->queue, &item->link);
    pool->queued++;
    if (pool->idle > 0) uv_cond_signal(&pool->wanted);
  }
  uv_mutex_unlock(&pool->mutex);
  return code;
}

bool neap__pool_take_off(neap_pool *pool, neap__pool_item *item) {
  uv_mutex_lock(&pool->mutex);
  bool is_queued = item->state == NEAP__ITEM_QUEUED;
  if (is_queued) {
    neap__list_unlink(&item->link);
    pool->queued--;
    item->state = NEAP__ITEM_ENDED;
  }
  uv_mutex_unlock(&pool->mutex);
  return is_queued;
}

bool neap__pool_abandon(neap_pool *pool, neap__pool_item *item) {
  uv_mutex_lock(&pool->mutex);
  bool is_running = item->state == NEAP__ITEM_RUNNING;
  if (is_running) {
    item->is_abandoned = true;
    item->thread->is_lost = true;
    pool->alive--;
    if (pool->queued > 0) find_thread(pool);
  }
  uv_mutex_unlock(&pool->mutex);
  return is_running;
}

bool neap__pool_poke(neap_pool *pool, neap__pool_item *item, void (*poke)(neap__pool_item *item)) {
  uv_mutex_lock(&pool->mutex);
  bool is_running = item->state == NEAP__ITEM_RUNNING;
  if (is_running) poke(item);
  uv_mutex_unlock(&pool->mutex);
  return is_running;
}

/* ---- Making and ending ---------------------------------------------------------------------- */

static size_t count_processors(void) {
  uv_cpu_info_t *info;
  int count;
  if (uv_cpu_info(&info, &count)) return 1;
  uv_free_cpu_info(info, count);
  return count > 0 ? (size_t)count : 1;
}

static int init_locks(neap_pool *pool) {
  int code = uv_mutex_init(&pool->mutex);
  if (code) return code;
  code = uv_cond_init(&pool->wanted);
  if (code) uv_mutex_destroy(&pool->mutex);
  return code;
}

int neap_pool_new(size_t threads, neap_pool **result) {
  neap_pool *pool = calloc(1, sizeof *pool);
  if (!pool) return UV_ENOMEM;
  int code = init_locks(pool);
  if (code) {
    free(pool);
    return code;
  }
  atomic_init(&pool->refs, 1);
  pool->limit = threads ? threads : count_processors();
  neap__list_init(&pool->queue);
  neap__list_init(&pool->threads);
  *result = pool;
  return 0;
}

size_t neap_pool_size(const neap_pool *pool) {
  return pool->limit;
}

neap_pool *neap_pool_ref(neap_pool *pool) {
  atomic_fetch_add(&pool->refs, 1);
  return pool;
}

/* With the mutex held. */
static neap__pool_thread *own_thread(const neap_pool *pool) {
  for (const neap__list *link = pool->threads.next; link != &pool->threads; link = link->next) {
    neap__pool_thread *thread = NEAP__CONTAINER(link, neap__pool_thread, link);
    if (is_this_thread(thread)) return thread;
  }
  return NULL;
}

void neap_pool_unref(neap_pool *pool) {
  if (!pool || atomic_fetch_sub(&pool->refs, 1) > 1) return;
  uv_mutex_lock(&pool->mutex);
  pool->is_closing = true;
  pool->ends_on = own_thread(pool);
  bool ends_here = !pool->ends_on;
  uv_cond_broadcast(&pool->wanted);
  uv_mutex_unlock(&pool->mutex);
  if (!ends_here) return;
  join_others(pool);
  free_pool(pool);
}
