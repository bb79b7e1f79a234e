#include "loop.h"

/* One that waits for the end of a task, in C; it is a resource, so a loop that closes calls it, too. */
typedef struct callback {
  neap__resource resource;
  neap__wait wait;
  neap__runnable runnable;
  neap_task *task; /* a reference */
  void (*fn)(void *data, neap_task *task);
  void *data;
} callback;

static void call(callback *self) {
  neap_loop *loop = self->task->loop;
  callback copy = *self;
  neap__list_unlink(&self->resource.link);
  neap__loop_anchor(loop);
  neap__memory_free(&loop->memory, self);
  copy.fn(copy.data, copy.task);
  neap_task_unref(copy.task);
  neap__loop_unanchor(loop);
}

static void run(neap__runnable *runnable) {
  call(NEAP__CONTAINER(runnable, callback, runnable));
}

static void on_settled(neap__wait *wait) {
  callback *self = NEAP__CONTAINER(wait, callback, wait);
  neap__loop_ready(self->task->loop, &self->runnable);
}

/* Its task was settled when all was dropped, and the queue is empty. */
static void close_callback(neap__resource *resource) {
  callback *self = NEAP__CONTAINER(resource, callback, resource);
  neap__wait_withdraw(&self->wait);
  call(self);
}

int neap_task_on_end(neap_task *task, void (*fn)(void *data, neap_task *task), void *data) {
  neap_loop *loop = task->loop;
  if (loop->is_closing) return NEAP_ECLOSED;
  callback *self = neap__memory_new(&loop->memory, sizeof *self);
  if (!self) return UV_ENOMEM;
  self->resource.close = close_callback;
  self->runnable.run = run;
  self->task = neap_task_ref(task);
  self->fn = fn;
  self->data = data;
  neap__list_init(&self->wait.link);
  neap__list_append(&loop->resources,
                    (neap__list_init(&self->resource.link), &self->resource.link));
  if (task->status == NEAP_PENDING)
    neap__wait_start(&self->wait, task, on_settled);
  else
    neap__loop_ready(loop, &self->runnable);
  return 0;
}
