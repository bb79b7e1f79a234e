#include "watch.h"

#include "watch_tree.h"

#include <assert.h>
#include <string.h>

static neap__watch_op *of_op(neap__op *op) {
  return (neap__watch_op *)op;
}

/* ---- The watcher --------------------------------------------------------------------------- */

static neap__watch_event *take_event(neap__watcher *self) {
  if (neap__list_is_empty(&self->events)) return NULL;
  neap__watch_event *event = NEAP__CONTAINER(self->events.next, neap__watch_event, link);
  neap__list_unlink(&event->link);
  self->event_count--;
  return event;
}

static void forget_events(neap__watcher *self) {
  for (neap__watch_event *event; (event = take_event(self));)
    neap__memory_free(&self->loop->memory, event);
}

void neap__watcher_unref(neap__watcher *self) {
  if (--self->refs > 0) return;
  neap_loop *loop = self->loop;
  forget_events(self);
  neap__memory_free(&loop->memory, self->path);
  neap__memory_free(&loop->memory, self);
  neap__loop_unanchor(loop);
}

void neap__watcher_acquire(neap__watcher *self) {
  if (self->open++ == 0) self->refs++;
}

void neap__watcher_release(neap__watcher *self) {
  if (--self->open > 0) return;
  neap__op_end_all(&self->closers, 0);
  neap__watcher_unref(self);
}

static void close_resource(neap__resource *resource) {
  neap__watcher_close(NEAP__CONTAINER(resource, neap__watcher, resource));
}

static void trim(char *path) {
  size_t length = strlen(path);
  while (length > 1 && path[length - 1] == '/') path[--length] = '\0';
}

/* Takes the path over. */
static neap__watcher *new_watcher(neap_loop *loop, char *path) {
  neap__watcher *self = neap__memory_new(&loop->memory, sizeof *self);
  if (!self) return NULL;
  trim(path);
  self->loop = loop;
  self->path = path;
  self->refs = 1;
  self->resource.close = close_resource;
  neap__list_init(&self->resource.link);
  neap__list_append(&loop->resources, &self->resource.link);
  neap__list_init(&self->looks);
  neap__list_init(&self->closers);
  neap__list_init(&self->events);
  neap__loop_anchor(loop);
  return self;
}

/* ---- Waiting ------------------------------------------------------------------------------- */

/* The operation still refers to `self`. */
static void end_wait(neap__watcher *self) {
  self->waiter = NULL;
  neap__watch_tree_keep_alive(self, false);
  if (self->is_dropped) neap__watcher_close(self);
}

static void give(neap__watcher *self, neap__watch_event *event, bool is_lost) {
  neap__op *op = self->waiter;
  end_wait(self);
  of_op(op)->event = event;
  of_op(op)->is_lost = is_lost;
  neap__op_settle(op, 0);
  neap__op_release_native(op);
}

static neap__watch_event *new_event(neap__watcher *self, const char *directory, const char *name) {
  size_t prefix = strlen(directory), length = strlen(name);
  neap__watch_event *event =
      neap__memory_resize(&self->loop->memory, NULL, sizeof *event + prefix + length + 1);
  if (!event) return NULL;
  neap__list_init(&event->link);
  memcpy(event->name, directory, prefix);
  memcpy(event->name + prefix, name, length + 1);
  return event;
}

static bool is_repeated(const neap__watcher *self, const neap__watch_event *event) {
  if (neap__list_is_empty(&self->events)) return false;
  const neap__watch_event *last = NEAP__CONTAINER(self->events.prev, neap__watch_event, link);
  return last->is_change == event->is_change && last->is_self == event->is_self &&
         strcmp(last->name, event->name) == 0;
}

void neap__watcher_lose(neap__watcher *self) {
  if (self->is_closing) return;
  if (self->waiter)
    give(self, NULL, true);
  else
    self->has_lost = true;
}

void neap__watcher_add(neap__watcher *self, const char *directory, const char *name, bool is_change,
                       bool is_self) {
  if (self->is_closing) return;
  if (self->has_lost || self->event_count == NEAP__WATCH_EVENTS) {
    self->has_lost = true; /* until that was told */
    return;
  }
  neap__watch_event *event = new_event(self, directory, name);
  if (!event) {
    neap__watcher_lose(self);
    return;
  }
  event->is_change = is_change;
  event->is_self = is_self;
  if (self->waiter) {
    give(self, event, false);
  } else if (is_repeated(self, event)) {
    neap__memory_free(&self->loop->memory, event);
  } else {
    neap__list_append(&self->events, &event->link);
    self->event_count++;
  }
}

static int start_next(neap__op *op) {
  neap__watcher *self = of_op(op)->watcher;
  if (self->waiter) return NEAP_EMISUSE;
  bool is_there = self->is_closing || self->event_count > 0 || self->has_lost;
  if (!is_there) {
    self->waiter = op;
    neap__op_acquire_native(op, false);
    neap__watch_tree_keep_alive(self, true);
    return 0;
  }
  of_op(op)->event = take_event(self);
  of_op(op)->is_lost = !of_op(op)->event && self->has_lost;
  if (of_op(op)->is_lost) self->has_lost = false;
  neap__op_settle(op, 0);
  return 0;
}

static void abort_next(neap__op *op) {
  end_wait(of_op(op)->watcher);
  neap__op_release_native(op);
}

/* ---- Opening ------------------------------------------------------------------------------- */

neap__watcher *neap__watch_take(neap__watch_op *self) {
  neap__watcher *watcher = self->watcher;
  self->watcher = NULL;
  return watcher;
}

void neap__watcher_opened(neap__watcher *self, int code, const char *syscall) {
  neap__op *op = self->opener;
  self->opener = NULL;
  if (code) op->error.syscall = syscall;
  neap__op_settle(op, code);
  if (code) neap__watcher_close(self);
  neap__op_release_native(op);
}

static int start_open(neap__op *op) {
  neap__watch_op *self = of_op(op);
  self->watcher = new_watcher(op->task.loop, self->path);
  if (!self->watcher) return UV_ENOMEM;
  self->path = NULL;
  self->watcher->is_recursive = self->is_recursive;
  op->error.path = self->watcher->path;
  int code = neap__watch_tree_begin(self->watcher);
  if (code) return code;
  self->watcher->opener = op;
  neap__op_acquire_native(op, true);
  return 0;
}

static void abort_open(neap__op *op) {
  neap__watcher *watcher = of_op(op)->watcher;
  watcher->opener = NULL;
  neap__watcher_close(watcher);
  neap__op_release_native(op);
}

/* ---- Closing ------------------------------------------------------------------------------- */

void neap__watcher_close(neap__watcher *self) {
  if (self->is_closing) return;
  self->is_closing = true;
  self->has_lost = false;
  neap__list_unlink(&self->resource.link);
  self->refs++;
  forget_events(self);
  if (self->waiter) give(self, NULL, false);
  neap__watch_tree_end(self);
  neap__watcher_unref(self);
}

void neap__watcher_drop(neap__watcher *self) {
  self->is_dropped = true;
  if (!self->waiter) neap__watcher_close(self);
  neap__watcher_unref(self);
}

static int start_close(neap__op *op) {
  neap__watcher *self = of_op(op)->watcher;
  assert(self->is_closing);
  if (self->open == 0) {
    neap__op_settle(op, 0);
    return 0;
  }
  neap__op_enter(op, &of_op(op)->link, &self->closers);
  return 0;
}

static void abort_close(neap__op *op) {
  neap__op_leave(&of_op(op)->link);
}

static void release(neap__op *op) {
  neap__watch_op *self = of_op(op);
  neap__watcher *watcher = neap__watch_take(self);
  bool is_open = neap__op_kind_of(op) == &neap__watch_open_kind;
  if (watcher && is_open) neap__watcher_close(watcher); /* nobody has taken it */
  if (watcher) neap__watcher_unref(watcher);
  neap__memory_free(&op->task.loop->memory, self->event);
  neap__memory_free(&op->task.loop->memory, self->path);
}

#define WATCH_KIND(task_name, start_function, abort_function)                                      \
  {                                                                                                \
    .task = NEAP__OP_TASK(task_name), .size = sizeof(neap__watch_op), .start = (start_function),   \
    .abort = (abort_function), .release = release                                                  \
  }

const neap__op_kind neap__watch_open_kind = WATCH_KIND("fs.watch", start_open, abort_open);
const neap__op_kind neap__watch_next_kind = WATCH_KIND("watcher:next", start_next, abort_next);
const neap__op_kind neap__watch_close_kind = WATCH_KIND("watcher:close", start_close, abort_close);
