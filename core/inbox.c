#include "inbox.h"

#include "loop.h"

static neap__post *take_all(neap__inbox *inbox) {
  uv_mutex_lock(&inbox->mutex);
  neap__post *posts = inbox->head;
  inbox->head = inbox->tail = NULL;
  uv_mutex_unlock(&inbox->mutex);
  return posts;
}

bool neap__inbox_drain(neap__inbox *inbox) {
  neap__post *posts = take_all(inbox);
  bool any = posts != NULL;
  while (posts) {
    neap__post *post = posts;
    posts = post->next;
    post->fn(post);
  }
  return any;
}

void neap__inbox_wait(neap__inbox *inbox) {
  uv_mutex_lock(&inbox->mutex);
  while (!inbox->head) uv_cond_wait(&inbox->arrived, &inbox->mutex);
  uv_mutex_unlock(&inbox->mutex);
}

static void on_wake(uv_async_t *async) {
  neap__inbox_drain(NEAP__CONTAINER(async, neap__inbox, async));
}

static int init_handle(neap__inbox *inbox, uv_loop_t *uv) {
  int code = uv_cond_init(&inbox->arrived);
  if (code) return code;
  code = uv_async_init(uv, &inbox->async, on_wake);
  if (code) uv_cond_destroy(&inbox->arrived);
  return code;
}

int neap__inbox_init(neap__inbox *inbox, uv_loop_t *uv) {
  int code = uv_mutex_init(&inbox->mutex);
  if (code) return code;
  code = init_handle(inbox, uv);
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
  uv_cond_destroy(&inbox->arrived);
  uv_mutex_destroy(&inbox->mutex);
}

static void append(neap__inbox *inbox, neap__post *post) {
  post->next = NULL;
  if (inbox->tail)
    inbox->tail->next = post;
  else
    inbox->head = post;
  inbox->tail = post;
}

bool neap__inbox_send(neap__inbox *inbox, neap__post *post) {
  uv_mutex_lock(&inbox->mutex);
  bool is_refused = inbox->is_closed;
  if (!is_refused) {
    append(inbox, post);
    uv_cond_signal(&inbox->arrived);
    /* With the mutex held: once the loop has closed the inbox, nobody touches the handle. */
    uv_async_send(&inbox->async);
  }
  uv_mutex_unlock(&inbox->mutex);
  return !is_refused;
}

/* ---- Posts of functions --------------------------------------------------------------------- */

typedef struct call {
  neap__post post;
  neap_loop *loop;
  void (*fn)(void *data);
  void *data;
} call;

/* The counting allocator belongs to the loop's thread, so calls go past it to the host's. */
static void free_call(call *self) {
  const neap__memory *memory = &self->loop->memory;
  memory->allocate(memory->data, self, 0);
}

static void make_call(neap__post *post) {
  call self = *(call *)post;
  free_call((call *)post);
  self.fn(self.data);
}

int neap_loop_post(neap_loop *loop, void (*fn)(void *data), void *data) {
  call *self = loop->memory.allocate(loop->memory.data, NULL, sizeof *self);
  if (!self) return UV_ENOMEM;
  *self = (call){.post.fn = make_call, .loop = loop, .fn = fn, .data = data};
  if (neap__inbox_send(&loop->inbox, &self->post)) return 0;
  free_call(self);
  return NEAP_ECLOSED;
}
