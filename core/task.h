/* Tasks: what they share, and those that have a body.
 *
 * Life of a wait: a routine blocks on a target (neap__routine_await) -> the target settles and calls
 * `wake` of each wait in its list -> the routine goes to the ready queue -> it is resumed in its
 * turn. Cancellation unlinks the wait instead (cancel.h). A routine that is queued already keeps
 * what it was queued for: nothing that was completed is lost. */
#ifndef NEAP_TASK_H
#define NEAP_TASK_H

#include "list.h"
#include "ready.h"
#include "tree.h"

typedef struct neap__wait neap__wait;
typedef struct neap__task_kind neap__task_kind;
typedef struct neap__routine neap__routine;

/* One place in the list of those who wait for a task. */
struct neap__wait {
  neap__list link;
  neap_task *target;
  void (*wake)(neap__wait *wait); /* called unlinked, once, when the target has settled */
};

struct neap__task_kind {
  const char *name;
  bool has_body; /* it is a neap__routine */
  /* Others: t:cancel() is a request to what hangs below it, and ends it when that has ended. */
  bool has_below;
  /* Bodies: runs until the body waits or ends. */
  void (*resume)(neap__routine *routine);
  /* Bodies: the loop closes; ends it without running it. */
  void (*drop)(neap__routine *routine);
  /* ... or only its innermost scope, in which nothing is left. NULL: its scopes end with it. */
  void (*drop_scope)(neap__routine *routine);
  /* Others: t:cancel(). Settles it as cancelled, unless it is completed meanwhile. */
  void (*cancel)(neap_task *task);
  /* Others: the cancellation of a scope has reached it. NULL: the same as cancel. */
  void (*reach)(neap_task *task);
  /* Whether a waiter that the same cancellation reaches goes on waiting for this one. NULL: no.
   * (Bodies: always.) */
  bool (*keeps_waiters)(const neap_task *task);
  /* The task that it waits for, NULL if none. NULL: it waits for none. */
  neap_task *(*awaited)(const neap_task *task);
  const neap_error *(*error)(const neap_task *task);
  void *(*value)(const neap_task *task);
  /* What it is done with; NULL: such tasks have no values. */
  const neap_values *(*values)(const neap_task *task);
  /* The last reference is gone. NULL: the memory belongs to the host. */
  void (*destroy)(neap_task *task);
};

/* Invariant: status leaves NEAP_PENDING once; waiters is empty afterwards. */
struct neap_task {
  neap__node node;
  const neap__task_kind *kind;
  neap_loop *loop;
  neap__list waiters;      /* of neap__wait */
  neap_task *deliver_next; /* used while a cancellation is delivered */
  uint64_t id;
  uint32_t refs;
  uint32_t host;  /* for the bindings: what they keep for a pending task */
  uint16_t flags; /* for the bindings */
  uint8_t status;
  bool was_reached; /* cancelled by a scope around it, not on its own account */
};

typedef enum neap__routine_state {
  NEAP__NEW,     /* not started, or queued for it */
  NEAP__READY,   /* in the ready queue */
  NEAP__RUNNING, /* current, or it is starting a child */
  NEAP__BLOCKED, /* waits for `wait.target`, or joins */
  NEAP__PARKED,  /* a producer between pulls: off the tree, or waiting for its turn in it */
  NEAP__ENDED
} neap__routine_state;

/* Why a routine was made ready. */
typedef enum neap__wake_reason {
  NEAP__WAKE_START,
  NEAP__WAKE_SETTLED, /* `wait.target` has settled */
  NEAP__WAKE_CANCEL,  /* the wait was withdrawn */
  NEAP__WAKE_JOINED,  /* the tasks of the scope that it leaves have ended */
  NEAP__WAKE_TURN     /* it asked to be queued */
} neap__wake_reason;

struct neap__routine {
  neap_task task;
  neap__runnable runnable;
  neap_scope *owner;   /* the innermost explicit scope around its start; NULL: background */
  neap__node *current; /* its innermost scope; &task.node when it has opened none */
  neap__wait wait;
  uint32_t mark; /* used while cycles are sought */
  uint8_t state;
  uint8_t reason;
  bool was_cancelled; /* Cancelled has been raised in it before */
};

static inline neap__routine *neap__task_routine(const neap_task *task) {
  return (neap__routine *)task;
}

static inline neap_task *neap__node_task(const neap__node *node) {
  return NEAP__CONTAINER(node, neap_task, node);
}

/* A pending task with one reference, not in the tree. Keeps the loop's memory alive until
 * neap__task_deinit. */
void neap__task_init(neap_task *task, neap_loop *loop, const neap__task_kind *kind);
void neap__task_deinit(neap_task *task);

/* Ends a pending task: sets its status, takes it out of the tree (what it started is handed to its
 * parent) and wakes those who wait for it, in the order in which they came. Runs no task. */
void neap__task_settle(neap_task *task, neap_status status);

/* Adds to the waiters of a pending task. The caller keeps the task alive. */
void neap__wait_start(neap__wait *wait, neap_task *target, void (*wake)(neap__wait *wait));
/* Harmless when it is not in a list. */
void neap__wait_withdraw(neap__wait *wait);

/* The node under which what is started now hangs, and the scope that will own it. */
neap__node *neap__current_node(const neap_loop *loop);
neap_scope *neap__current_owner(const neap_loop *loop);

/* A new routine below `parent`, owned by `owner` (NULL: by nobody, it is in the background). */
void neap__routine_init(neap__routine *routine, neap_loop *loop, const neap__task_kind *kind,
                        neap__node *parent, neap_scope *owner);

/* Settles the task, forgets it with its owner, and wakes the owner if it was the last one. */
void neap__routine_end(neap__routine *routine, neap_status status);

/* For producers, which run only while somebody pulls: takes a running routine off the tree and its
 * owner. What it has started outside of its explicit scopes stays with who pulls. */
void neap__routine_park(neap__routine *routine);
/* Hangs a parked routine below `parent` again, owned by `owner` (NULL: by nobody); it is still to be
 * resumed. */
void neap__routine_adopt(neap__routine *routine, neap__node *parent, neap_scope *owner);

/* Whether a runnable is a routine. */
bool neap__is_routine(const neap__runnable *runnable);

/* Queues it. */
void neap__routine_wake(neap__routine *routine, neap__wake_reason reason);

/* Lets the routine wait for a pending task, which the caller keeps alive. */
void neap__routine_await(neap__routine *routine, neap_task *target);

static inline bool neap__routine_is_cancelled(const neap__routine *routine) {
  return neap__node_is_cancelled(routine->current);
}

#endif
