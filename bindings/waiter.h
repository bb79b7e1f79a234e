/* Waits in a queue of the core, as Tasks of Lua; and wait queues for what is written in Lua. */
#ifndef NEAPLUA_WAITER_H
#define NEAPLUA_WAITER_H

#include "../core/queue.h"
#include "task.h"

/* In the userdata of its Task, which is pinned while it waits. User values: the owner of the queue,
 * later the outcome; what it carries. */
enum { NEAPL__CARRIED = 2 };

typedef struct neapL__waiter {
  neapL__handle handle;
  neap__waiter waiter;
} neapL__waiter;

/* What `neap__waiter.awaited` is. */
typedef neap_task *(*neapL__awaited)(const neap__waiter *waiter);

/* Pushes the Task of a new wait in `queue`, which lives in the object at `owner`. It is pending, or
 * cancelled if the current scope is. Making it may run finalizers: what it waits for may have come
 * meanwhile, so look again afterwards. [-0, +1, m] */
neapL__waiter *neapL__push_waiter(lua_State *L, neapL__state *state, const neapL__row *row,
                                  neap_queue *queue, int owner, bool carries);
/* The same for a wait that goes on in a cancelled scope while `awaited` gives a task. */
neapL__waiter *neapL__push_kept_waiter(lua_State *L, neapL__state *state, const neapL__row *row,
                                       neap_queue *queue, int owner, neapL__awaited awaited);

/* Pops a value: what the wait whose Task is below it carries, until it has ended. One that has ended
 * already takes nothing. [-1, +0, -] */
void neapL__carry(lua_State *L);

/* Pushes the Task of the first wait; false (nothing pushed): nobody waits. [-0, +(0|1), -] */
bool neapL__push_first(lua_State *L, neapL__state *state, const neap_queue *queue);

/* The wait behind the Task at `index`. */
static inline neapL__waiter *neapL__waiter_at(lua_State *L, int index) {
  return (neapL__waiter *)lua_touserdata(L, index);
}

/* Ends the wait whose Task is at `index`: done with the outcome that it was given. [-0, +0, -] */
void neapL__wake(lua_State *L, int index);

/* The same, failed with the error on top. [-1, +0, -] */
void neapL__wake_with_error(lua_State *L, neapL__state *state, int index);

void neapL__open_queues(lua_State *L, neapL__state *state);

extern const luaL_Reg neapL__queue_functions[];

#endif
