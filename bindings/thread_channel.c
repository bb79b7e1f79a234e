#include "thread_channel.h"

#include "../core/thread_channel.h"
#include "channel.h"
#include "error.h"
#include "message.h"
#include "object.h"
#include "transfer.h"

#include <stdlib.h>
#include <string.h>

static const char class_name[] = "neap.ThreadChannel";

/* The object's core is the port of this state's loop: the same one for all objects of a channel. */
static neap_port *check_port(lua_State *L) {
  return neapL__check_core(L, 1, &neapL__state_here(L)->thread_channel_meta, class_name);
}

static neap_channel *check_channel(lua_State *L) {
  return neap_port_channel(check_port(L));
}

/* ---- Items ----------------------------------------------------------------------------------- */

/* What the core hands on: in memory of no state. */
typedef struct item {
  neapL__message message;
  bool is_begun; /* it was read; if it is still there, that has failed */
} item;

/* Thread: any. */
static void release_item(void *data) {
  neapL__message_deinit(&((item *)data)->message);
  free(data);
}

static item *new_item(lua_State *L, neapL__state *state) {
  item *self = neapL__resize_block(state, NULL, sizeof *self);
  if (!self) {
    neapL__raise_memory(L);
    return NULL;
  }
  *self = (item){0};
  return self;
}

/* Pushes a message that is freed with its userdata. */
static neapL__message *push_message(lua_State *L, const neapL__state *state) {
  neapL__message *message = lua_newuserdatauv(L, sizeof *message, 0);
  *message = (neapL__message){0};
  neapL__set_meta(L, -1, &state->message_meta);
  return message;
}

/* Writes the arguments from 2 to `last`; raises the argument error of one that cannot cross. */
static void write_arguments(lua_State *L, neapL__state *state, neapL__message *message, int last) {
  static const char what[] = "argument";
  if (neapL__message_write(L, state, message, 2, last, what, 1)) return;
  int number = atoi(lua_tostring(L, -1) + sizeof what); /* "argument 2.items[3]: ..." */
  luaL_argerror(L, number + 1, lua_tostring(L, -1));
}

/* Pushes the values of an item that stays where it is until they are there; returns how many. */
static int read_item(lua_State *L, neapL__state *state, item *self) {
  if (self->is_begun) luaL_error(L, "the item could not be read, and is lost");
  self->is_begun = true;
  return neapL__message_read(L, state, &self->message, 0);
}

/* The message on top becomes an item; it stays there, empty. */
static item *item_of(lua_State *L, neapL__state *state, neapL__message *message) {
  item *self = new_item(L, state);
  self->message = *message;
  *message = (neapL__message){0};
  return self;
}

/* ---- Why it was closed ------------------------------------------------------------------------ */

/* Pushes a copy of the error it was closed with; nil if there is none. */
static void push_reason(lua_State *L, neapL__state *state, neap_channel *channel) {
  const item *reason = neap_channel_reason(channel);
  if (!reason) {
    lua_pushnil(L);
    return;
  }
  neapL__message *copy = push_message(L, state);
  if (!neapL__message_copy(state, &reason->message, copy)) neapL__raise_memory(L);
  neapL__message_read(L, state, copy, 0);
  lua_remove(L, -2);
}

static neap_channel *channel_of(neap__op *op) {
  return neap_port_channel(neap__transit_of(op)->port);
}

static bool is_closed_error(const neap__op *op) {
  return op->task.status == NEAP_FAILED && op->error.code == NEAP_ECLOSED;
}

/* ECLOSED is on top. */
static bool add_cause(lua_State *L, neap__op *op) {
  if (!is_closed_error(op)) return false;
  push_reason(L, neapL__state_get(L), channel_of(op));
  lua_setfield(L, -2, "cause");
  return true;
}

/* A receiver fails with the error itself. */
static bool replace_by_reason(lua_State *L, neap__op *op) {
  if (!is_closed_error(op)) return false;
  push_reason(L, neapL__state_get(L), channel_of(op));
  lua_replace(L, -2);
  return true;
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void use_port(lua_State *L, neap__op *op) {
  neap__transit_of(op)->port = neap_port_ref(check_port(L));
}

/* ch:send(...) -> Task: done when the channel has taken the item. Where it is not going to be sent, it is
 * not written: what may leave with it stays. */
static void read_send(lua_State *L, neap__op *op) {
  neapL__state *state = neapL__state_here(L);
  int last = state->arguments;
  use_port(L, op);
  if (neapL__is_cancelled_here(state) || neap_channel_is_closed(channel_of(op))) return;
  item *self = new_item(L, state);
  neap__transit_of(op)->item = self;
  write_arguments(L, state, &self->message, last);
}

/* ch:try_send(...) -> true | false, "full" | false, "closed" */
static int channel_try_send(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap_channel *channel = check_channel(L);
  int last = lua_gettop(L);
  neapL__check_alive(L, state);
  int code = neap_channel_room(channel);
  if (!code) {
    neapL__message *message = push_message(L, state);
    write_arguments(L, state, message, last);
    item *self = item_of(L, state, message);
    code = neap_channel_try_send(channel, self);
    if (code) release_item(self);
  }
  if (code == UV_ENOMEM) return neapL__raise_memory(L);
  lua_pushboolean(L, code == 0);
  if (!code) return 1;
  lua_pushstring(L, code == NEAP_ECLOSED ? "closed" : "full");
  return 2;
}

/* ---- Receiving ------------------------------------------------------------------------------- */

/* ch:recv() -> Task of true, ... | false */
static void read_recv(lua_State *L, neap__op *op) {
  use_port(L, op);
}

/* An item that cannot be read is still there: awaiting again fails as well. */
static int push_values(lua_State *L, neapL__state *state, int index) {
  neap_task *task = &neapL__op_at(L, index)->task;
  int n = read_item(L, state, neap_task_value(task));
  release_item(neap_port_take(task));
  return n;
}

static int push_item(lua_State *L, neapL__state *state, int index) {
  bool is_there = neap_task_value(&neapL__op_at(L, index)->task) != NULL;
  lua_pushboolean(L, is_there);
  return is_there ? 1 + push_values(L, state, index) : 1;
}

/* The wait of a `for` loop: the item without `true`, nothing at the end. */
static int push_next(lua_State *L, neapL__state *state, int index) {
  bool is_there = neap_task_value(&neapL__op_at(L, index)->task) != NULL;
  return is_there ? push_values(L, state, index) : 0;
}

static const neapL__row rows[] = {
    {"worker.channel:send", &neap__send_kind, read_send, NULL, add_cause},
    {"worker.channel:recv", &neap__recv_kind, read_recv, push_item, replace_by_reason},
    {NULL, NULL, NULL, NULL, NULL},
};

static const neapL__row next_row = {"worker.channel:recv", &neap__recv_kind, read_recv, push_next,
                                    replace_by_reason};

/* for ... in ch do */
static int channel_call(lua_State *L) {
  lua_settop(L, 1); /* without the control values of the loop */
  return neapL__call_and_await(L, neapL__state_here(L), &next_row);
}

/* ch:try_recv() -> true, ... | false, "empty" | false, "closed" */
static int channel_try_recv(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap_channel *channel = check_channel(L);
  void *received;
  neapL__check_alive(L, state);
  lua_settop(L, 1);
  neapL__message *message = push_message(L, state);
  int code = neap_channel_try_recv(channel, &received);
  lua_pushboolean(L, code == 0);
  if (code) {
    lua_pushstring(L, code == NEAP_ECLOSED ? "closed" : "empty");
    return 2;
  }
  *message = ((item *)received)->message;
  free(received);
  return 1 + neapL__message_read(L, state, message, 0);
}

/* ---- Closing --------------------------------------------------------------------------------- */

/* ch:close(err?) -> whether this call has closed it */
static int channel_close(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap_channel *channel = check_channel(L);
  item *reason = NULL;
  neapL__check_alive(L, state);
  lua_settop(L, 2);
  if (!lua_isnil(L, 2) && !neap_channel_is_closed(channel)) {
    neapL__message *message = push_message(L, state);
    message->is_repeated = true;
    write_arguments(L, state, message, 2);
    reason = item_of(L, state, message);
  }
  bool is_first = neap_channel_close(channel, reason);
  if (!is_first && reason) release_item(reason);
  lua_pushboolean(L, is_first);
  return 1;
}

/* ---- Making ---------------------------------------------------------------------------------- */

/* thread_channel(capacity?) -> channel */
static int new_thread_channel(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap_channel_options options = {.capacity = neapL__check_capacity(L, 1), .release = release_item};
  neap_channel *channel;
  neap_port *port;
  neapL__check_open(L, state);
  neapL__object *self = neapL__push_object(L, &state->thread_channel_meta);
  int code = neap__memory_must_fail(&state->loop->memory) ? UV_ENOMEM
                                                          : neap_channel_new(&options, &channel);
  if (code) return neapL__raise_memory(L);
  code = neap_port_open(state->loop, channel, &port);
  neap_channel_unref(channel); /* the port has a reference, or nobody */
  if (code) return neapL__raise_memory(L);
  self->core = port;
  return 1;
}

static int channel_gc(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap_port *port = self->core;
  self->core = NULL;
  if (port) neap_port_unref(port);
  return 0;
}

/* #ch: the items in its buffer */
static int channel_length(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)neap_channel_count(check_channel(L)));
  return 1;
}

/* A channel that comes back is another object, but the same channel. */
static int channel_equal(lua_State *L) {
  const neapL__meta *meta = &neapL__state_here(L)->thread_channel_meta;
  bool are_channels = neapL__has_meta(L, 1, meta) && neapL__has_meta(L, 2, meta);
  lua_pushboolean(L, are_channels && ((neapL__object *)lua_touserdata(L, 1))->core ==
                                         ((neapL__object *)lua_touserdata(L, 2))->core);
  return 1;
}

static int channel_tostring(lua_State *L) {
  neap_channel *channel = check_channel(L);
  const char *closed = neap_channel_is_closed(channel) ? ": closed" : "";
  size_t capacity = neap_channel_capacity(channel), count = neap_channel_count(channel);
  if (capacity == SIZE_MAX)
    lua_pushfstring(L, "%s (%I items)%s", class_name, (LUAI_UACINT)count, closed);
  else
    lua_pushfstring(L, "%s (%I of %I items)%s", class_name, (LUAI_UACINT)count,
                    (LUAI_UACINT)capacity, closed);
  return 1;
}

/* ---- Crossing --------------------------------------------------------------------------------- */

static void *take_reference(lua_State *L, int index) {
  const neapL__object *self = lua_touserdata(L, index);
  if (self->core) return neap_channel_ref(neap_port_channel(self->core));
  lua_pushliteral(L, "the channel was finalized");
  return NULL;
}

static void arrive(lua_State *L, neapL__state *state, void *shared) {
  neapL__object *self = neapL__push_object(L, &state->thread_channel_meta);
  neap_port *port;
  if (neap_port_open(state->loop, shared, &port)) neapL__raise_memory(L);
  self->core = port;
  neap_channel_unref(shared);
}

static void release_reference(void *shared) {
  neap_channel_unref(shared);
}

static const neapL__crossing crossing = {
    .name = class_name, .take = take_reference, .arrive = arrive, .release = release_reference};

/* ---- The class -------------------------------------------------------------------------------- */

static const luaL_Reg methods[] = {{"try_send", channel_try_send},
                                   {"try_recv", channel_try_recv},
                                   {"close", channel_close},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__len", channel_length}, {"__call", channel_call},
                                       {"__eq", channel_equal},   {"__tostring", channel_tostring},
                                       {"__gc", channel_gc},      {NULL, NULL}};

void neapL__open_thread_channels(lua_State *L, neapL__state *state) {
  neapL__meta *meta = &state->thread_channel_meta;
  neapL__object_class(L, meta, class_name, metamethods, methods, rows);
  neapL__push_ref(L, meta->ref);
  neapL__set_crossing(L, &crossing);
  lua_pop(L, 1);
}

const luaL_Reg neapL__thread_channel_functions[] = {{"thread_channel", new_thread_channel},
                                                    {NULL, NULL}};
