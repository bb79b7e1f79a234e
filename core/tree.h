/* The tree along which cancellation flows: explicit scopes, and the root scope that each task has.
 *
 * Whether a node is cancelled is a cached pointer, pushed down when something changes, so that the
 * check at every await costs one load. */
#ifndef NEAP_TREE_H
#define NEAP_TREE_H

#include "neap.h"

typedef struct neap__node neap__node;

/* What a host says about a cancellation: shared by all that was cancelled for this reason. */
typedef struct neap__cause {
  uint32_t refs;
  uint32_t host; /* the host's handle to its reason; given back through neap__hooks */
} neap__cause;

typedef enum neap__node_kind { NEAP__NODE_TASK, NEAP__NODE_SCOPE } neap__node_kind;

/* Invariant: cancelled_by == (not shielded and parent->cancelled_by) or (requested ? self : NULL);
 * children in the order in which they were attached. */
struct neap__node {
  neap__node *parent;
  neap__node *prev, *next;  /* siblings, circular; NULL while detached */
  neap__node *last_child;   /* its next is the first one; NULL: no children */
  neap__node *cancelled_by; /* the outermost cancelled scope that is visible from here, or NULL */
  neap__cause *cause;       /* why, when the request carried a reason */
  uint8_t kind;
  bool is_requested; /* it was cancelled itself */
  bool is_shield;    /* cancellation from outside stops here */
  bool is_inherited; /* is_requested, by a task above that has ended */
};

void neap__node_init(neap__node *node, neap__node_kind kind);

/* Hangs a detached node under `parent` as its last child; it sees the parent's cancellation. */
void neap__node_attach(neap__node *node, neap__node *parent);
/* The same for a node with nodes below it, which do not see it yet: neap__node_changed follows. */
void neap__node_hang(neap__node *node, neap__node *parent);
void neap__node_detach(neap__node *node);

static inline neap__node *neap__node_first_child(const neap__node *node) {
  return node->last_child ? node->last_child->next : NULL;
}

static inline bool neap__node_is_cancelled(const neap__node *node) {
  return node->cancelled_by != NULL;
}

/* The next node in pre-order below `top`, children first; NULL after the last. */
neap__node *neap__node_next(neap__node *node, const neap__node *top);
/* The same without the nodes below `node`. */
neap__node *neap__node_skip(neap__node *node, const neap__node *top);

/* Computes cancelled_by anew; true if it changed. */
bool neap__node_refresh(neap__node *node);

/* Hangs the children of `node`, no shield, under its parent. What `node` itself had cancelled stays so. */
void neap__node_hand_over(neap__node *node);

/* Hangs only the tasks among its children under its parent, not its scopes. */
void neap__node_hand_over_tasks(neap__node *node);

/* Whether the invariant holds for `node` and all below it. For checking builds. */
bool neap__node_is_valid(const neap__node *node);

#endif
