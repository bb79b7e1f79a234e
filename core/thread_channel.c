#include "thread_channel.h"

#include "loop.h"

#include <assert.h>
#include <string.h>

/* Invariant: whoever waits has to, unless its loop is closing. Senders wait only while count ==
 * capacity, receivers only while count == 0 and no sender waits; nobody waits once it is closed.
 * refs counts the ports, one each, and those who are no port. The buffer is a ring of `size` places, of
 * which `count` from `first` on are in use. */
struct neap_channel {
  uv_mutex_t mutex;
  neap__memory memory; /* counts under the mutex */
  void (*release)(void *item);
  size_t refs;
  neap__list ports;              /* of neap_port */
  neap__list senders, receivers; /* of neap__transit */
  void **ring;
  size_t capacity, size, first, count;
  void *reason;
  bool is_closed;
};

/* Invariant: is_holding only while pending > 0. `waiting` and what stands after it is touched with the
 * channel's mutex held, the rest on the loop's thread. */
struct neap_port {
  neap_loop *loop;
  neap_channel *channel;
  size_t refs;
  size_t pending; /* transits that wait or whose post is under way */
  bool is_holding;
  bool is_done;   /* no references, but a post is under way */
  size_t waiting; /* transits in the channel's lists: while there are, the loop is open */
  neap__list link;
  neap__post post; /* look again whether anybody can wake the loop */
  bool is_posted;
};

/* ---- The buffer, mutex held ------------------------------------------------------------------- */

enum { SMALLEST_RING = 16 };

static size_t place_of(const neap_channel *self, size_t index) {
  size_t place = self->first + index;
  return place < self->size ? place : place - self->size;
}

static int grow(neap_channel *self) {
  size_t size = self->size ? self->size * 2 : SMALLEST_RING;
  if (size > self->capacity) size = self->capacity;
  if (size > SIZE_MAX / sizeof(void *)) return UV_ENOMEM;
  void **ring = neap__memory_resize(&self->memory, NULL, size * sizeof *ring);
  if (!ring) return UV_ENOMEM;
  for (size_t i = 0; i < self->count; i++) ring[i] = self->ring[place_of(self, i)];
  neap__memory_free(&self->memory, self->ring);
  self->ring = ring;
  self->size = size;
  self->first = 0;
  return 0;
}

/* Makes sure that there is a place for one more item if the capacity allows it. */
static int reserve(neap_channel *self) {
  return self->count == self->size && self->count < self->capacity ? grow(self) : 0;
}

static void push_back(neap_channel *self, void *item) {
  self->ring[place_of(self, self->count++)] = item;
}

static void *pop_front(neap_channel *self) {
  void *item = self->ring[self->first];
  self->first = place_of(self, 1);
  self->count--;
  return item;
}

/* ---- Waits, mutex held ------------------------------------------------------------------------ */

static neap__transit *first_of(const neap__list *list) {
  if (neap__list_is_empty(list)) return NULL;
  return NEAP__CONTAINER(list->next, neap__transit, link);
}

static void leave(neap__transit *transit, neap__transit_state state) {
  neap__list_unlink(&transit->link);
  transit->port->waiting--;
  transit->state = (uint8_t)state;
}

/* It gets `item` in place of its own and leaves, completed: from here on its loop may end it. False: the
 * loop refuses the post, and it is withdrawn as it is. */
static bool complete(neap__transit *transit, void *item, int code) {
  neap_loop *loop = transit->op.task.loop;
  void *own = transit->item;
  transit->item = item;
  transit->code = code;
  leave(transit, NEAP__TRANSIT_COMPLETED);
  if (neap__inbox_send(loop->inbox, &transit->post)) return true;
  transit->item = own;
  transit->state = NEAP__TRANSIT_WITHDRAWN;
  return false;
}

/* The first receiver whose loop is open gets the item; false: there is none. */
static bool give_item(neap_channel *self, void *item) {
  for (neap__transit *receiver; (receiver = first_of(&self->receivers));)
    if (complete(receiver, item, 0)) return true;
  return false;
}

/* The item of the first sender whose loop is open; NULL: there is none. */
static void *take_from_sender(neap_channel *self) {
  for (neap__transit *sender; (sender = first_of(&self->senders));) {
    void *item = sender->item;
    if (complete(sender, NULL, 0)) return item;
  }
  return NULL;
}

/* The channel takes the item at once; false: it is full. A place is reserved. */
static bool accept_item(neap_channel *self, void *item) {
  if (give_item(self, item)) return true;
  if (self->count == self->capacity) return false;
  push_back(self, item);
  return true;
}

/* The oldest item, NULL if there is none; what a sender waits with moves up. */
static void *take_item(neap_channel *self) {
  if (self->count == 0) return take_from_sender(self);
  void *item = pop_front(self);
  void *next = take_from_sender(self);
  if (next) push_back(self, next);
  return item;
}

/* ---- Who can wake a loop ---------------------------------------------------------------------- */

/* The loop's thread looks whether it has to be held. */
static void update_hold(neap_port *port, bool is_shared) {
  bool is_held = port->pending > 0 && is_shared;
  if (is_held == port->is_holding) return;
  port->is_holding = is_held;
  if (is_held)
    neap_loop_hold(port->loop);
  else
    neap_loop_release(port->loop);
}

static void free_port(neap_port *port) {
  neap_loop *loop = port->loop;
  assert(port->pending == 0 && !port->is_holding);
  neap__memory_free(&loop->memory, port);
  neap__loop_unanchor(loop);
}

static void on_look_again(neap__post *post) {
  neap_port *port = NEAP__CONTAINER(post, neap_port, post);
  if (port->is_done) { /* it has no channel any more */
    free_port(port);
    return;
  }
  uv_mutex_lock(&port->channel->mutex);
  port->is_posted = false;
  bool is_shared = port->channel->refs > 1;
  uv_mutex_unlock(&port->channel->mutex);
  update_hold(port, is_shared);
}

/* The only reference was joined by another one, or has become the only one: if it is that of a port at
 * which tasks wait, its loop looks again. Mutex held. */
static void tell_only_port(neap_channel *self) {
  if (neap__list_is_empty(&self->ports)) return;
  neap_port *port = NEAP__CONTAINER(self->ports.next, neap_port, link);
  if (port->waiting == 0 || port->is_posted) return;
  port->is_posted = neap__inbox_send(port->loop->inbox, &port->post);
}

/* ---- Making and freeing ----------------------------------------------------------------------- */

int neap_channel_new(const neap_channel_options *options, neap_channel **channel) {
  neap__memory memory;
  neap__memory_init(&memory, options->allocator, options->allocator_data);
  neap_channel *self = neap__memory_new(&memory, sizeof *self);
  if (!self) return UV_ENOMEM;
  int code = uv_mutex_init(&self->mutex);
  if (code) {
    neap__memory_free(&memory, self);
    return code;
  }
  self->memory = memory;
  self->release = options->release;
  self->capacity = options->capacity;
  self->refs = 1;
  neap__list_init(&self->ports);
  neap__list_init(&self->senders);
  neap__list_init(&self->receivers);
  *channel = self;
  return 0;
}

static void free_channel(neap_channel *self) {
  assert(neap__list_is_empty(&self->senders) && neap__list_is_empty(&self->receivers));
  while (self->count > 0) self->release(pop_front(self));
  if (self->reason) self->release(self->reason);
  uv_mutex_destroy(&self->mutex);
  neap__memory memory = self->memory;
  neap__memory_free(&memory, self->ring);
  neap__memory_free(&memory, self);
}

static void add_ref(neap_channel *self) {
  if (self->refs++ == 1) tell_only_port(self);
}

/* True: it was the last one. */
static bool drop_ref(neap_channel *self) {
  assert(self->refs > 0);
  if (--self->refs == 1) tell_only_port(self);
  return self->refs == 0;
}

neap_channel *neap_channel_ref(neap_channel *channel) {
  uv_mutex_lock(&channel->mutex);
  add_ref(channel);
  uv_mutex_unlock(&channel->mutex);
  return channel;
}

void neap_channel_unref(neap_channel *channel) {
  uv_mutex_lock(&channel->mutex);
  bool is_last = drop_ref(channel);
  uv_mutex_unlock(&channel->mutex);
  if (is_last) free_channel(channel);
}

/* ---- What does not wait ----------------------------------------------------------------------- */

static int try_send(neap_channel *self, void *item) {
  if (self->is_closed) return NEAP_ECLOSED;
  int code = reserve(self);
  if (code) return code;
  return accept_item(self, item) ? 0 : UV_EAGAIN;
}

int neap_channel_try_send(neap_channel *channel, void *item) {
  assert(item);
  uv_mutex_lock(&channel->mutex);
  int code = try_send(channel, item);
  uv_mutex_unlock(&channel->mutex);
  return code;
}

/* 0 and no item: the end, for which no reason was given. */
static int try_recv(neap_channel *self, void **item) {
  *item = take_item(self);
  if (*item) return 0;
  if (!self->is_closed) return UV_EAGAIN;
  return self->reason ? NEAP_ECLOSED : 0;
}

int neap_channel_try_recv(neap_channel *channel, void **item) {
  uv_mutex_lock(&channel->mutex);
  int code = try_recv(channel, item);
  uv_mutex_unlock(&channel->mutex);
  return (code || *item) ? code : NEAP_ECLOSED;
}

static void close_channel(neap_channel *self, void *reason) {
  self->is_closed = true;
  self->reason = reason;
  for (neap__transit *sender; (sender = first_of(&self->senders));)
    complete(sender, sender->item, NEAP_ECLOSED);
  for (neap__transit *receiver; (receiver = first_of(&self->receivers));)
    complete(receiver, NULL, reason ? NEAP_ECLOSED : 0);
}

bool neap_channel_close(neap_channel *channel, void *reason) {
  uv_mutex_lock(&channel->mutex);
  bool is_first = !channel->is_closed;
  if (is_first) close_channel(channel, reason);
  uv_mutex_unlock(&channel->mutex);
  return is_first;
}

bool neap_channel_is_closed(neap_channel *channel) {
  uv_mutex_lock(&channel->mutex);
  bool is_closed = channel->is_closed;
  uv_mutex_unlock(&channel->mutex);
  return is_closed;
}

void *neap_channel_reason(neap_channel *channel) {
  uv_mutex_lock(&channel->mutex);
  void *reason = channel->reason;
  uv_mutex_unlock(&channel->mutex);
  return reason;
}

int neap_channel_room(neap_channel *channel) {
  uv_mutex_lock(&channel->mutex);
  bool has_room = channel->count < channel->capacity || first_of(&channel->receivers);
  int code = channel->is_closed ? NEAP_ECLOSED : has_room ? 0 : UV_EAGAIN;
  uv_mutex_unlock(&channel->mutex);
  return code;
}

size_t neap_channel_capacity(const neap_channel *channel) {
  return channel->capacity;
}

size_t neap_channel_count(neap_channel *channel) {
  uv_mutex_lock(&channel->mutex);
  size_t count = channel->count;
  uv_mutex_unlock(&channel->mutex);
  return count;
}

/* ---- Ports ------------------------------------------------------------------------------------ */

static neap_port *find_port(const neap_channel *channel, const neap_loop *loop) {
  for (neap__list *link = channel->ports.next; link != &channel->ports; link = link->next) {
    neap_port *port = NEAP__CONTAINER(link, neap_port, link);
    if (port->loop == loop) return port;
  }
  return NULL;
}

static neap_port *new_port(neap_loop *loop, neap_channel *channel) {
  neap_port *self = neap__memory_new(&loop->memory, sizeof *self);
  if (!self) return NULL;
  neap__loop_anchor(loop);
  self->loop = loop;
  self->channel = channel;
  self->refs = 1;
  self->post.fn = on_look_again;
  uv_mutex_lock(&channel->mutex);
  add_ref(channel); /* before it is one of those who may have been the only one */
  neap__list_append(&channel->ports, &self->link);
  uv_mutex_unlock(&channel->mutex);
  return self;
}

int neap_port_open(neap_loop *loop, neap_channel *channel, neap_port **port) {
  uv_mutex_lock(&channel->mutex);
  neap_port *self = find_port(channel, loop);
  uv_mutex_unlock(&channel->mutex);
  self = self ? neap_port_ref(self) : new_port(loop, channel);
  if (!self) return UV_ENOMEM;
  *port = self;
  return 0;
}

neap_port *neap_port_ref(neap_port *port) {
  port->refs++;
  return port;
}

void neap_port_unref(neap_port *port) {
  assert(port->refs > 0);
  if (--port->refs > 0) return;
  neap_channel *channel = port->channel;
  uv_mutex_lock(&channel->mutex);
  neap__list_unlink(&port->link);
  port->is_done = port->is_posted;
  bool is_last = drop_ref(channel);
  uv_mutex_unlock(&channel->mutex);
  if (!port->is_done) free_port(port);
  if (is_last) free_channel(channel);
}

neap_channel *neap_port_channel(const neap_port *port) {
  return port->channel;
}

/* ---- Waiting ---------------------------------------------------------------------------------- */

static void drop_item(neap__transit *self) {
  void *item = self->item;
  self->item = NULL;
  if (item) self->port->channel->release(item);
}

static void settle(neap__transit *self, int code) {
  if (code == NEAP_ECLOSED) self->op.error.message = "the channel is closed";
  neap__op_settle(&self->op, code);
}

/* It is neither in a list nor in an inbox any more. May free it. */
static void let_go(neap__transit *self) {
  if (--self->port->pending == 0) update_hold(self->port, false);
  neap__op_release_native(&self->op);
}

static void on_completed(neap__post *post) {
  neap__transit *self = NEAP__CONTAINER(post, neap__transit, post);
  if (self->code) drop_item(self);
  settle(self, self->code);
  let_go(self);
}

/* At the end of the list. Mutex held. */
static void enter(neap__transit *self, neap__list *list) {
  self->post.fn = on_completed;
  self->state = NEAP__TRANSIT_WAITING;
  self->port->waiting++;
  self->port->pending++;
  neap__list_append(list, &self->link);
  neap__op_acquire_native(&self->op, false);
}

static int send_or_enter(neap__transit *self, neap_channel *channel) {
  int code = try_send(channel, self->item);
  if (!code) self->item = NULL;
  if (code != UV_EAGAIN) return code;
  enter(self, &channel->senders);
  return 0;
}

static int recv_or_enter(neap__transit *self, neap_channel *channel) {
  int code = try_recv(channel, &self->item);
  if (code != UV_EAGAIN) return code;
  enter(self, &channel->receivers);
  return 0;
}

/* A post that was sent meanwhile is called later, by this thread: it still waits. */
static int start(neap__op *op, int (*transfer)(neap__transit *, neap_channel *)) {
  neap__transit *self = neap__transit_of(op);
  neap_channel *channel = self->port->channel;
  uv_mutex_lock(&channel->mutex);
  int code = transfer(self, channel);
  bool is_shared = channel->refs > 1;
  uv_mutex_unlock(&channel->mutex);
  if (op->is_native)
    update_hold(self->port, is_shared);
  else
    settle(self, code);
  return 0;
}

static int start_send(neap__op *op) {
  return start(op, send_or_enter);
}

static int start_recv(neap__op *op) {
  return start(op, recv_or_enter);
}

/* Leaves the list for good; false: it is completed, and its result counts. */
static bool withdraw(neap__transit *self) {
  neap_channel *channel = self->port->channel;
  uv_mutex_lock(&channel->mutex);
  if (self->state == NEAP__TRANSIT_WAITING) leave(self, NEAP__TRANSIT_WITHDRAWN);
  bool is_withdrawn = self->state == NEAP__TRANSIT_WITHDRAWN;
  uv_mutex_unlock(&channel->mutex);
  return is_withdrawn;
}

static void cancel(neap_task *task) {
  neap__transit *self = (neap__transit *)task;
  if (withdraw(self))
    neap__op_cancel(task);
  else
    settle(self, self->code); /* its post lets go of it */
}

/* Whoever waits for one that is completed gets the result, though the same cancellation reaches both. It
 * is asked before the cancellation reaches the transit, and what is answered stays true: it leaves the
 * list here. */
static bool keeps_waiters(const neap_task *task) {
  return !withdraw((neap__transit *)(void *)(uintptr_t)task);
}

static void *value(const neap_task *task) {
  return task->kind == &neap__recv_kind.task ? ((const neap__transit *)task)->item : NULL;
}

static void abort_transit(neap__op *op) {
  drop_item(neap__transit_of(op));
  let_go(neap__transit_of(op));
}

static void release(neap__op *op) {
  neap__transit *self = neap__transit_of(op);
  if (!self->port) return;
  drop_item(self);
  neap_port_unref(self->port);
}

#define TRANSIT_TASK(task_name)                                                                    \
  {                                                                                                \
    .name = (task_name), .cancel = cancel, .keeps_waiters = keeps_waiters, .value = value,         \
    .error = neap__op_error, .destroy = neap__op_destroy                                           \
  }

const neap__op_kind neap__send_kind = {
    .task = TRANSIT_TASK("send"),
    .size = sizeof(neap__transit),
    .start = start_send,
    .abort = abort_transit,
    .release = release,
};

const neap__op_kind neap__recv_kind = {
    .task = TRANSIT_TASK("recv"),
    .size = sizeof(neap__transit),
    .start = start_recv,
    .abort = abort_transit,
    .release = release,
};

static int start_transit(neap_port *port, const neap__op_kind *kind, void *item, neap_task **task) {
  neap__op *op = neap__op_new(port->loop, kind);
  if (!op) return UV_ENOMEM;
  neap__transit *self = neap__transit_of(op);
  self->port = neap_port_ref(port);
  self->item = item;
  neap__op_start(op);
  *task = &op->task;
  return 0;
}

int neap_port_send(neap_port *port, void *item, neap_task **task) {
  assert(item);
  return start_transit(port, &neap__send_kind, item, task);
}

int neap_port_recv(neap_port *port, neap_task **task) {
  return start_transit(port, &neap__recv_kind, NULL, task);
}

void *neap_port_take(neap_task *task) {
  void *item = neap_task_value(task);
  if (item) ((neap__transit *)task)->item = NULL;
  return item;
}
