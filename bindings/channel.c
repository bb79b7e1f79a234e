#include "channel.h"

#include "await.h"
#include "error.h"
#include "operations.h"
#include "report.h"
#include "waiter.h"

#include <math.h>
#include <string.h>

/* What happens to an item that finds the buffer full. */
typedef enum full_mode { FULL_WAIT, FULL_DROP_OLDEST, FULL_DROP_NEWEST, FULL_DROP_WRITE } full_mode;

/* Invariant: whoever waits has to. Senders wait only while count == capacity, receivers only while
 * count == 0 and no sender waits; nobody waits once it is closed. The buffer is a ring of `size` slots
 * in a table, of which `count` from `first` on are in use. */
typedef struct channel {
  neapL__state *state;
  neap_queue senders, receivers;
  size_t capacity; /* SIZE_MAX: unbounded */
  size_t size, first, count;
  uint8_t mode;
  bool is_closed;
  bool has_error; /* it was closed with one */
} channel;

/* The user values of a channel, and what a waiting send carries. */
enum { CHANNEL_RING = 1, CHANNEL_ON_DROP, CHANNEL_ERROR };
enum { SEND_ITEM = NEAPL__CARRIED };

static const neapL__row send_row = {"channel:send", NULL, NULL, NULL, NULL};
static const neapL__row recv_row = {"channel:recv", NULL, NULL, NULL, NULL};
/* The wait of a `for` loop: the item without `true`, nothing at the end. */
static const neapL__row next_row = {"channel:recv", NULL, NULL, NULL, NULL};

static channel *check_channel(lua_State *L) {
  return neapL__check_object(L, 1, &neapL__state_here(L)->channel_meta, "neap.Channel");
}

/* ---- Items --------------------------------------------------------------------------------- */

/* An item is one Lua value: the only one that was sent, or a table with a metatable of its own. */

/* Pops n values, pushes the item. */
static void pack_item(lua_State *L, const neapL__state *state, int n) {
  if (n == 1) return;
  neapL__pack(L, n);
  neapL__set_meta(L, -1, &state->item_meta);
}

static bool is_packed(lua_State *L, const neapL__state *state, int index) {
  return lua_type(L, index) == LUA_TTABLE && neapL__has_meta(L, index, &state->item_meta);
}

/* Pops the item, pushes its values; returns how many. */
static int unpack_item(lua_State *L, const neapL__state *state) {
  return is_packed(L, state, -1) ? neapL__unpack(L) : 1;
}

/* Makes the item on top the outcome of the embedded Task at `index`. [-1] */
static void give_item(lua_State *L, const neapL__state *state, int index, neap_task *task) {
  task->flags |= is_packed(L, state, -1) ? NEAPL__HAS_PACKED : NEAPL__HAS_ONE;
  lua_setiuservalue(L, index, 1);
}

/* ---- The buffer ----------------------------------------------------------------------------- */

enum { SMALLEST_RING = 16 };

static lua_Integer slot_of(const channel *self, size_t place) {
  size_t slot = self->first + place;
  return (lua_Integer)(slot < self->size ? slot : slot - self->size) + 1;
}

/* Twice as large, or as large as the capacity needs. Making the table may run finalizers, which may
 * use the channel: nothing is read before. */
static void grow(lua_State *L, channel *self) {
  size_t before = self->size;
  size_t size = before ? before * 2 : SMALLEST_RING;
  if (size > self->capacity) size = self->capacity;
  if (size > INT_MAX / 2) luaL_error(L, "too many items in a channel");
  lua_createtable(L, (int)size, 0);
  if (self->size != before) { /* one of them has made it grow */
    lua_pop(L, 1);
    return;
  }
  lua_getiuservalue(L, 1, CHANNEL_RING);
  for (size_t i = 0; i < self->count; i++) {
    lua_rawgeti(L, -1, slot_of(self, i));
    lua_rawseti(L, -3, (lua_Integer)i + 1);
  }
  lua_pop(L, 1);
  lua_setiuservalue(L, 1, CHANNEL_RING);
  self->first = 0;
  self->size = size;
}

/* Makes sure that there is a slot for one more item if the capacity allows it. What was known of the
 * channel before may have changed. [-0, +0, m] */
static void reserve(lua_State *L, channel *self) {
  while (self->count == self->size && self->count < self->capacity) grow(L, self);
}

/* Pops the item; there is a free slot. */
static void push_back(lua_State *L, channel *self) {
  lua_getiuservalue(L, 1, CHANNEL_RING);
  lua_insert(L, -2);
  lua_rawseti(L, -2, slot_of(self, self->count));
  lua_pop(L, 1);
  self->count++;
}

static void take_slot(lua_State *L, const channel *self, size_t place) {
  lua_Integer slot = slot_of(self, place);
  lua_getiuservalue(L, 1, CHANNEL_RING);
  lua_rawgeti(L, -1, slot);
  lua_pushnil(L);
  lua_rawseti(L, -3, slot);
  lua_remove(L, -2);
}

/* Pushes the oldest item. */
static void pop_front(lua_State *L, channel *self) {
  take_slot(L, self, 0);
  self->first = self->first + 1 == self->size ? 0 : self->first + 1;
  self->count--;
}

/* Pushes the newest item. */
static void pop_back(lua_State *L, channel *self) {
  take_slot(L, self, self->count - 1);
  self->count--;
}

/* ---- Sending ------------------------------------------------------------------------------- */

/* Hands the item on top to the first receiver. [-1] */
static void hand_over(lua_State *L, channel *self) {
  neapL__push_first(L, self->state, &self->receivers);
  neapL__waiter *receiver = neapL__waiter_at(L, -1);
  lua_insert(L, -2);
  give_item(L, self->state, lua_gettop(L) - 1, &receiver->waiter.task);
  if (receiver->handle.row == &recv_row) receiver->waiter.task.flags |= NEAPL__IS_ITEM;
  neapL__wake(L, -1);
  lua_pop(L, 1);
}

/* The dropped item is on top. The channel is consistent: the callback may use it. [-1] */
static void dropped(lua_State *L, channel *self) {
  if (lua_getiuservalue(L, 1, CHANNEL_ON_DROP) == LUA_TNIL) {
    lua_pop(L, 2);
    return;
  }
  lua_insert(L, -2);
  int n = unpack_item(L, self->state);
  neapL__call_back(L, self->state, n);
}

/* The buffer is full, and the item on top is not going to wait. [-1] */
static void push_or_drop(lua_State *L, channel *self) {
  if (self->mode == FULL_DROP_WRITE) {
    dropped(L, self);
    return;
  }
  if (self->mode == FULL_DROP_OLDEST)
    pop_front(L, self);
  else
    pop_back(L, self);
  lua_insert(L, -2);
  push_back(L, self);
  dropped(L, self);
}

static bool has_room(const channel *self) {
  return self->count < self->capacity || self->mode != FULL_WAIT;
}

static bool takes_item(const channel *self) {
  return self->receivers.count > 0 || has_room(self);
}

/* The channel takes the item on top at once. [-1] */
static void accept_item(lua_State *L, channel *self) {
  if (self->receivers.count > 0)
    hand_over(L, self);
  else if (self->count < self->capacity)
    push_back(L, self);
  else
    push_or_drop(L, self);
}

/* Pushes ECLOSED; the value at `cause` is what led to it, nil for nothing. */
static void push_closed_error_for(lua_State *L, const channel *self, int cause) {
  neapL__push_new_error(L, self->state, "ECLOSED", "the channel is closed");
  lua_pushvalue(L, cause);
  lua_setfield(L, -2, "cause");
}

static void push_closed_error(lua_State *L, const channel *self) {
  lua_getiuservalue(L, 1, CHANNEL_ERROR);
  push_closed_error_for(L, self, lua_gettop(L));
  lua_remove(L, -2);
}

/* Pushes the item of the first sender, whose send is done. */
static void take_from_sender(lua_State *L, channel *self) {
  neapL__push_first(L, self->state, &self->senders);
  lua_getiuservalue(L, -1, SEND_ITEM);
  neapL__wake(L, -2);
  lua_remove(L, -2);
}

static bool has_item(const channel *self) {
  return self->count > 0 || self->senders.count > 0;
}

/* Pushes the oldest item; what a sender waits with moves up. Raises nothing: its slot is free. */
static void take(lua_State *L, channel *self) {
  if (self->count == 0) {
    take_from_sender(L, self);
    return;
  }
  pop_front(L, self);
  if (self->senders.count == 0) return;
  take_from_sender(L, self);
  push_back(L, self);
}

/* Nobody waits any more: senders fail, with the error on top; receivers get the end. */
static void release_waiters(lua_State *L, channel *self) {
  while (neapL__push_first(L, self->state, &self->senders)) {
    lua_pushvalue(L, -2);
    neapL__wake_with_error(L, self->state, -2);
    lua_pop(L, 1);
  }
  while (neapL__push_first(L, self->state, &self->receivers)) {
    neapL__waiter *receiver = neapL__waiter_at(L, -1);
    if (self->has_error) {
      lua_getiuservalue(L, 1, CHANNEL_ERROR);
      neapL__wake_with_error(L, self->state, -2);
    } else {
      if (receiver->handle.row == &recv_row) {
        lua_pushboolean(L, 0);
        neapL__set_results(L, -2, &receiver->waiter.task, 1);
      }
      neapL__wake(L, -1);
    }
    lua_pop(L, 1);
  }
}

/* Making the Task of a wait may have run a finalizer that used the channel: a wait that is in the queue
 * for nothing is served. (Otherwise there is nothing to do.) */
static void match(lua_State *L, channel *self) {
  while (self->receivers.count > 0 && has_item(self)) {
    take(L, self);
    hand_over(L, self);
  }
  while (self->senders.count > 0 && self->count < self->size) {
    take_from_sender(L, self);
    push_back(L, self);
  }
  if (!self->is_closed || self->receivers.count + self->senders.count == 0) return;
  push_closed_error(L, self);
  release_waiters(L, self);
  lua_pop(L, 1);
}

/* ch:send(...) -> Task: done when the channel has taken the item */
static int channel_send(lua_State *L) {
  channel *self = check_channel(L);
  neapL__check_open(L, self->state);
  pack_item(L, self->state, lua_gettop(L) - 1);
  reserve(L, self);
  bool is_cancelled = neapL__is_cancelled_here(self->state);
  if (self->is_closed && !is_cancelled) {
    push_closed_error(L, self);
    neapL__push_failed(L, self->state);
  } else if (is_cancelled || !takes_item(self)) {
    neapL__push_waiter(L, self->state, &send_row, &self->senders, 1, true);
    lua_insert(L, -2);
    neapL__carry(L);
    match(L, self);
  } else {
    accept_item(L, self);
    neapL__push_done(L, self->state);
  }
  return 1;
}

/* ch:try_send(...) -> true | false, "full" | false, "closed" */
static int channel_try_send(lua_State *L) {
  channel *self = check_channel(L);
  neapL__check_alive(L, self->state);
  pack_item(L, self->state, lua_gettop(L) - 1);
  reserve(L, self);
  bool is_taken = !self->is_closed && takes_item(self);
  const char *why = self->is_closed ? "closed" : "full";
  if (is_taken) accept_item(L, self);
  lua_pushboolean(L, is_taken);
  if (is_taken) return 1;
  lua_pushstring(L, why);
  return 2;
}

/* ---- Receiving ----------------------------------------------------------------------------- */

/* Drained: the end, or the error it was closed with, as a Task. */
static int push_end(lua_State *L, channel *self, const neapL__row *row) {
  if (self->has_error) {
    lua_getiuservalue(L, 1, CHANNEL_ERROR);
    neapL__push_failed(L, self->state);
  } else if (row == &next_row) {
    neapL__push_done(L, self->state);
  } else {
    lua_pushboolean(L, 0);
    neapL__push_completed(L, self->state, 1);
  }
  return 1;
}

/* Pushes the Task of the next item. */
static int receive(lua_State *L, channel *self, const neapL__row *row) {
  if (has_item(self) && !neapL__is_cancelled_here(self->state)) {
    neap_task *task = neapL__push_completed(L, self->state, 0); /* first: it may run finalizers */
    if (has_item(self)) {
      take(L, self);
      give_item(L, self->state, lua_gettop(L) - 1, task);
      if (row == &recv_row) task->flags |= NEAPL__IS_ITEM;
      return 1;
    }
    lua_pop(L, 1);
  }
  if (self->is_closed && !neapL__is_cancelled_here(self->state)) return push_end(L, self, row);
  neapL__push_waiter(L, self->state, row, &self->receivers, 1, false);
  match(L, self);
  return 1;
}

/* ch:recv() -> Task of true, ... | false */
static int channel_recv(lua_State *L) {
  channel *self = check_channel(L);
  neapL__check_open(L, self->state);
  lua_settop(L, 1);
  return receive(L, self, &recv_row);
}

/* ch:try_recv() -> true, ... | false, "empty" | false, "closed" */
static int channel_try_recv(lua_State *L) {
  channel *self = check_channel(L);
  neapL__check_alive(L, self->state);
  lua_settop(L, 1);
  lua_pushboolean(L, has_item(self));
  if (!has_item(self)) {
    lua_pushstring(L, self->is_closed ? "closed" : "empty");
    return 2;
  }
  take(L, self);
  return 1 + unpack_item(L, self->state);
}

/* for ... in ch do. An item that is there needs no Task: 135 ns instead of 210. */
static int channel_call(lua_State *L) {
  channel *self = check_channel(L);
  neapL__state *state = self->state;
  const neapL__task *task = neapL__check_awaiting(L, state);
  lua_settop(L, 1);
  bool is_there = has_item(self) && !neap__routine_is_cancelled(&task->routine);
  if (is_there && neapL__may_go_on(state, task)) {
    take(L, self);
    return unpack_item(L, state);
  }
  receive(L, self, &next_row);
  return neapL__await(L, state, 2);
}

/* ---- Closing ------------------------------------------------------------------------------- */

/* ch:close(err?) -> whether this call has closed it */
static int channel_close(lua_State *L) {
  channel *self = check_channel(L);
  neapL__check_alive(L, self->state);
  lua_settop(L, 2);
  push_closed_error_for(L, self, 2); /* may raise, or run a finalizer that closes it */
  if (self->is_closed) {
    lua_pushboolean(L, 0);
    return 1;
  }
  self->has_error = !lua_isnil(L, 2);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 1, CHANNEL_ERROR);
  self->is_closed = true;
  release_waiters(L, self);
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- Making -------------------------------------------------------------------------------- */

size_t neapL__check_capacity(lua_State *L, int index) {
  if (lua_isnoneornil(L, index)) return SIZE_MAX;
  if (lua_type(L, index) == LUA_TNUMBER && lua_tonumber(L, index) == HUGE_VAL) return SIZE_MAX;
  lua_Integer capacity = luaL_checkinteger(L, index);
  luaL_argcheck(L, capacity >= 0, index, "a capacity of 0 or more items expected");
  return (size_t)capacity;
}

static full_mode read_mode(lua_State *L, size_t capacity) {
  static const char *const names[] = {"wait", "drop_oldest", "drop_newest", "drop_write"};
  if (lua_getfield(L, 2, "full") == LUA_TNIL) return FULL_WAIT;
  const char *name = lua_tostring(L, -1);
  for (int i = 0; name && i < 4; i++) {
    if (strcmp(name, names[i]) != 0) continue;
    luaL_argcheck(L, i == FULL_WAIT || (capacity > 0 && capacity < SIZE_MAX), 2,
                  "option 'full': to drop items a capacity of 1 or more is needed");
    return (full_mode)i;
  }
  return luaL_argerror(L, 2,
                       "option 'full' must be 'wait', 'drop_oldest', 'drop_newest' or "
                       "'drop_write'");
}

/* neap.channel(capacity?, {full =, on_drop =}?) -> channel */
static int new_channel(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  size_t capacity = neapL__check_capacity(L, 1);
  full_mode mode = FULL_WAIT;
  neapL__check_open(L, state);
  lua_settop(L, 2);
  if (!lua_isnil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    mode = read_mode(L, capacity);
    if (lua_getfield(L, 2, "on_drop") != LUA_TNIL && !lua_isfunction(L, -1))
      luaL_argerror(L, 2, "option 'on_drop' must be a function");
  } else {
    lua_pushnil(L);
  }
  channel *self = lua_newuserdatauv(L, sizeof *self, 3);
  *self = (channel){.state = state, .capacity = capacity, .mode = (uint8_t)mode};
  neap__queue_init(&self->senders, state->loop);
  neap__queue_init(&self->receivers, state->loop);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, CHANNEL_ON_DROP);
  neapL__set_meta(L, -1, &state->channel_meta);
  return 1;
}

/* #ch: the items in its buffer */
static int channel_length(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check_channel(L)->count);
  return 1;
}

static int channel_tostring(lua_State *L) {
  const channel *self = check_channel(L);
  const char *closed = self->is_closed ? ": closed" : "";
  if (self->capacity == SIZE_MAX)
    lua_pushfstring(L, "neap.Channel (%I items)%s", (LUAI_UACINT)self->count, closed);
  else
    lua_pushfstring(L, "neap.Channel (%I of %I items)%s", (LUAI_UACINT)self->count,
                    (LUAI_UACINT)self->capacity, closed);
  return 1;
}

static const luaL_Reg channel_methods[] = {
    {"send", channel_send},         {"recv", channel_recv},   {"try_send", channel_try_send},
    {"try_recv", channel_try_recv}, {"close", channel_close}, {NULL, NULL}};

static const luaL_Reg channel_metamethods[] = {{"__len", channel_length},
                                               {"__call", channel_call},
                                               {"__tostring", channel_tostring},
                                               {NULL, NULL}};

void neapL__open_channels(lua_State *L, neapL__state *state) {
  neapL__class(L, &state->channel_meta, "neap.Channel", channel_metamethods, channel_methods);
  lua_pop(L, 1);
  neapL__class(L, &state->item_meta, "neap.Item", NULL, NULL);
  lua_pop(L, 1);
}

const luaL_Reg neapL__channel_functions[] = {{"channel", new_channel}, {NULL, NULL}};
