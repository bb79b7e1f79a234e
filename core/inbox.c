#include "inbox.h"

#include "loop.h"

#include <stdlib.h>

static neap__post *take_all(neap_inbox *inbox) {
  uv_mutex_lock(&inbox->mutex);
  neap__post *posts = inbox->head;
  inbox->head = inbox->tail = NULL;
  uv_mutex_unlock(&inbox->mutex);
  return posts;
}

/* A post may close the loop, or run it in C: then those behind it are called by that. */
bool neap__inbox_drain(neap_inbox *inbox) {
  if (!inbox->taken) inbox->taken = take_all(inbox);
  if (!inbox->taken) return false;
  neap_inbox_ref(inbox);
  inbox->is_calling = true;
  for (neap__post *post; (post = inbox->taken);) {
    inbox->taken = post->next;
    post->fn(post);
  }
  inbox->is_calling = false;
  neap_inbox_unref(inbox);
  return true;
}

void neap__inbox_wait(neap_inbox *inbox) {
  uv_mutex_lock(&inbox->mutex);
  while (!inbox->head && !inbox->taken) uv_cond_wait(&inbox->arrived, &inbox->mutex);
  uv_mutex_unlock(&inbox->mutex);
}

static void on_wake(uv_async_t *async) {
  neap__inbox_drain(NEAP__CONTAINER(async, neap_inbox, async));
}

static int init_handle(neap_inbox *inbox, uv_loop_t *uv) {
  int code = uv_cond_init(&inbox->arrived);
  if (code) return code;
  code = uv_async_init(uv, &inbox->async, on_wake);
  if (code) uv_cond_destroy(&inbox->arrived);
  return code;
}

static int init(neap_inbox *inbox, uv_loop_t *uv) {
  int code = uv_mutex_init(&inbox->mutex);
  if (code) return code;
  code = init_handle(inbox, uv);
  if (code) uv_mutex_destroy(&inbox->mutex);
  return code;
}

int neap__inbox_new(uv_loop_t *uv, neap_inbox **result) {
  neap_inbox *inbox = calloc(1, sizeof *inbox);
  if (!inbox) return UV_ENOMEM;
  int code = init(inbox, uv);
  if (code) {
    free(inbox);
    return code;
  }
  atomic_init(&inbox->refs, 1);
  uv_unref((uv_handle_t *)&inbox->async);
  *result = inbox;
  return 0;
}

neap_inbox *neap_inbox_ref(neap_inbox *inbox) {
  atomic_fetch_add_explicit(&inbox->refs, 1, memory_order_relaxed);
  return inbox;
}

void neap_inbox_unref(neap_inbox *inbox) {
  if (!inbox || atomic_fetch_sub(&inbox->refs, 1) > 1) return;
  uv_cond_destroy(&inbox->arrived);
  uv_mutex_destroy(&inbox->mutex);
  free(inbox);
}

neap_inbox *neap_loop_inbox(neap_loop *loop) {
  return loop->inbox;
}

void neap_loop_set_wake(neap_loop *loop, void (*wake)(void *data), void *data) {
  uv_mutex_lock(&loop->inbox->mutex);
  loop->inbox->wake = wake;
  loop->inbox->wake_data = data;
  uv_mutex_unlock(&loop->inbox->mutex);
}

void neap__inbox_leave(neap_inbox *inbox) {
  uv_mutex_lock(&inbox->mutex);
  uv_close((uv_handle_t *)&inbox->async, NULL);
}

int neap__inbox_enter(neap_inbox *inbox, uv_loop_t *uv, bool is_held) {
  int code = uv_async_init(uv, &inbox->async, on_wake);
  if (code) return code;
  if (!is_held) uv_unref((uv_handle_t *)&inbox->async);
  if (inbox->head) uv_async_send(&inbox->async);
  uv_mutex_unlock(&inbox->mutex);
  return 0;
}

void neap__inbox_close(neap_inbox *inbox) {
  uv_mutex_lock(&inbox->mutex);
  inbox->is_closed = true;
  uv_mutex_unlock(&inbox->mutex);
  bool is_more = true;
  // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the loop has a reference
  while (is_more) is_more = neap__inbox_drain(inbox);
}

static void on_handle_closed(uv_handle_t *handle) {
  neap_inbox *inbox = NEAP__CONTAINER(handle, neap_inbox, async);
  void (*on_closed)(void *data) = inbox->on_closed;
  void *data = handle->data;
  neap_inbox_unref(inbox);
  on_closed(data);
}

void neap__inbox_close_handle(neap_inbox *inbox, void (*on_closed)(void *data), void *data) {
  inbox->on_closed = on_closed;
  inbox->async.data = data;
  uv_close((uv_handle_t *)&inbox->async, on_handle_closed);
}

static void append(neap_inbox *inbox, neap__post *post) {
  post->next = NULL;
  if (inbox->tail)
    inbox->tail->next = post;
  else
    inbox->head = post;
  inbox->tail = post;
}

bool neap__inbox_send(neap_inbox *inbox, neap__post *post) {
  uv_mutex_lock(&inbox->mutex);
  bool is_refused = inbox->is_closed;
  if (!is_refused) {
    append(inbox, post);
    uv_cond_signal(&inbox->arrived);
    /* With the mutex held: once the loop has closed the inbox, nobody touches the handle. */
    uv_async_send(&inbox->async);
    if (inbox->wake) inbox->wake(inbox->wake_data);
  }
  uv_mutex_unlock(&inbox->mutex);
  return !is_refused;
}

/* ---- Posts of functions --------------------------------------------------------------------- */

typedef struct call {
  neap__post post;
  void (*fn)(void *data);
  void *data;
} call;

static void make_call(neap__post *post) {
  call self = *(call *)post;
  free(post);
  self.fn(self.data);
}

int neap_inbox_post(neap_inbox *inbox, void (*fn)(void *data), void *data) {
  call *self = malloc(sizeof *self);
  if (!self) return UV_ENOMEM;
  *self = (call){.post.fn = make_call, .fn = fn, .data = data};
  if (neap__inbox_send(inbox, &self->post)) return 0;
  free(self);
  return NEAP_ECLOSED;
}

int neap_loop_post(neap_loop *loop, void (*fn)(void *data), void *data) {
  return neap_inbox_post(loop->inbox, fn, data);
}
