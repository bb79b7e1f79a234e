#include "inbox.h"

#include "loop.h"

struct neap__post {
  neap__post *next;
  void (*fn)(void *data);
  void *data;
};

static neap__post *take_all(neap__inbox *inbox) {
  uv_mutex_lock(&inbox->mutex);
  neap__post *posts = inbox->head;
  inbox->head = inbox->tail = NULL;
  uv_mutex_unlock(&inbox->mutex);
  return posts;
}

/* The counting allocator belongs to the loop's thread, so posts go past it to the host's. */
static void free_post(neap_loop *loop, neap__post *post) {
  loop->memory.allocate(loop->memory.data, post, 0);
}

bool neap__inbox_drain(neap__inbox *inbox) {
  neap_loop *loop = NEAP__CONTAINER(inbox, neap_loop, inbox);
  neap__post *posts = take_all(inbox);
  bool any = posts != NULL;
  while (posts) {
    neap__post *post = posts;
    posts = post->next;
    void (*fn)(void *) = post->fn;
    void *data = post->data;
    free_post(loop, post);
    fn(data);
  }
  return any;
}

static void on_wake(uv_async_t *async) {
  neap__inbox_drain(NEAP__CONTAINER(async, neap__inbox, async));
}

int neap__inbox_init(neap__inbox *inbox, uv_loop_t *uv) {
  int code = uv_mutex_init(&inbox->mutex);
  if (code) return code;
  code = uv_async_init(uv, &inbox->async, on_wake);
  if (code) {
    uv_mutex_destroy(&inbox->mutex);
    return code;
  }
  uv_unref((uv_handle_t *)&inbox->async);
  return 0;
}

void neap__inbox_close(neap__inbox *inbox) {
  uv_mutex_lock(&inbox->mutex);
  inbox->is_closed = true;
  uv_mutex_unlock(&inbox->mutex);
  while (neap__inbox_drain(inbox)) {
  }
}

void neap__inbox_deinit(neap__inbox *inbox) {
  uv_mutex_destroy(&inbox->mutex);
}

int neap_loop_post(neap_loop *loop, void (*fn)(void *data), void *data) {
  neap__inbox *inbox = &loop->inbox;
  neap__post *post = loop->memory.allocate(loop->memory.data, NULL, sizeof *post);
  if (!post) return UV_ENOMEM;
  *post = (neap__post){NULL, fn, data};
  uv_mutex_lock(&inbox->mutex);
  bool is_refused = inbox->is_closed;
  if (!is_refused) {
    if (inbox->tail)
      inbox->tail->next = post;
    else
      inbox->head = post;
    inbox->tail = post;
    /* With the mutex held: once the loop has closed the inbox, nobody touches the handle. */
    uv_async_send(&inbox->async);
  }
  uv_mutex_unlock(&inbox->mutex);
  if (!is_refused) return 0;
  free_post(loop, post);
  return NEAP_ECLOSED;
}
