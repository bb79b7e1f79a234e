#include "each.h"

#include "combine.h"
#include "operations.h"
#include "waiter.h"

#include "../core/cancel.h"

typedef struct each each;

typedef struct each_element {
  neap__wait wait;
  each *owner;
  size_t next; /* in the list of those that have ended: 1 + index, 0: the last */
} each_element;

/* User value 1: the list of the tasks. Invariant: taken + those in the list of ended ones + those whose
 * wait is linked == count, until it is closed. */
struct each {
  neapL__state *state;
  neap_queue queue;   /* of who iterates */
  size_t first, last; /* ended and not taken: 1 + index, 0: none */
  size_t count, taken;
  each_element elements[];
};

static const neapL__row each_row = {"each", NULL, NULL, NULL, NULL};

static each *check_each(lua_State *L) {
  return neapL__check_object(L, 1, &neapL__state_here(L)->each_meta, "neap.Each");
}

static void append(each *self, size_t index) {
  self->elements[index].next = 0;
  if (self->last)
    self->elements[self->last - 1].next = index + 1;
  else
    self->first = index + 1;
  self->last = index + 1;
}

static void wake_waiter(each *self) {
  neap__waiter *waiter = neap__queue_first(&self->queue);
  if (waiter) neap__waiter_settle(waiter, NEAP_DONE);
}

static void on_element(neap__wait *wait) {
  each_element *element = NEAP__CONTAINER(wait, each_element, wait);
  each *self = element->owner;
  append(self, (size_t)(element - self->elements));
  wake_waiter(self);
}

/* core.each(list) -> each: listens to all the tasks */
static int new_each(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__check_open(L, state);
  neapL__copy_tasks(L);
  size_t count = lua_rawlen(L, -1);
  each *self = lua_newuserdatauv(L, sizeof *self + count * sizeof(each_element), 1);
  *self = (each){.state = state, .count = count};
  neap__queue_init(&self->queue, state->loop);
  for (size_t i = 0; i < count; i++) neap__list_init(&self->elements[i].wait.link);
  neapL__set_meta(L, -1, &state->each_meta);
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, -2, (lua_Integer)i + 1);
    neap_task *task = ((neapL__handle *)lua_touserdata(L, -1))->task;
    neapL__observe(L, -1);
    lua_pop(L, 1);
    self->elements[i].owner = self;
    if (task->status == NEAP_PENDING)
      neap__wait_start(&self->elements[i].wait, task, on_element);
    else
      append(self, i);
  }
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

/* The first task that it waits for and that cleans up after the same cancellation. */
static neap_task *awaited(const neap__waiter *waiter) {
  const each *self = NEAP__CONTAINER(waiter->queue, each, queue);
  for (size_t i = 0; i < self->count; i++) {
    const neap__wait *wait = &self->elements[i].wait;
    if (!neap__list_is_empty(&wait->link) && neap__is_cleaning_up(wait->target))
      return wait->target;
  }
  return NULL;
}

/* each:wait() -> Task: done when one has ended that was not taken. One that has is given also in a
 * cancelled scope: nothing that was obtained is lost. */
static int each_wait(lua_State *L) {
  each *self = check_each(L);
  neapL__check_open(L, self->state);
  if (self->first || self->taken == self->count) {
    neapL__push_done(L, self->state);
    return 1;
  }
  neapL__push_kept_waiter(L, self->state, &each_row, &self->queue, 1, awaited);
  if (self->first) wake_waiter(self); /* a finalizer has ended one meanwhile */
  return 1;
}

/* each:take() -> task, index; nothing if there is none */
static int each_take(lua_State *L) {
  each *self = check_each(L);
  size_t index = self->first;
  if (!index) return 0;
  self->first = self->elements[index - 1].next;
  if (!self->first) self->last = 0;
  self->taken++;
  lua_getiuservalue(L, 1, 1);
  lua_rawgeti(L, -1, (lua_Integer)index);
  lua_pushinteger(L, (lua_Integer)index);
  return 2;
}

/* each:is_over() -> whether all were taken */
static int each_is_over(lua_State *L) {
  const each *self = check_each(L);
  lua_pushboolean(L, self->taken == self->count);
  return 1;
}

/* each:close(): listens no more */
static int each_close(lua_State *L) {
  each *self = check_each(L);
  if (self->state->is_closed) return 0;
  for (size_t i = 0; i < self->count; i++) neap__wait_withdraw(&self->elements[i].wait);
  self->first = self->last = 0;
  self->taken = self->count;
  for (neap__waiter *waiter; (waiter = neap__queue_first(&self->queue));)
    neap__waiter_settle(waiter, NEAP_DONE);
  return 0;
}

static const luaL_Reg each_methods[] = {{"wait", each_wait},
                                        {"take", each_take},
                                        {"is_over", each_is_over},
                                        {"close", each_close},
                                        {NULL, NULL}};
static const luaL_Reg each_metamethods[] = {{"__gc", each_close}, {NULL, NULL}};

void neapL__open_each(lua_State *L, neapL__state *state) {
  neapL__class(L, &state->each_meta, "neap.Each", each_metamethods, each_methods);
  lua_pop(L, 1);
}

const luaL_Reg neapL__each_functions[] = {{"each", new_each}, {NULL, NULL}};
