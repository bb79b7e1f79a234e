#include "tree.h"

#include <assert.h>

void neap__node_init(neap__node *node, neap__node_kind kind) {
  *node = (neap__node){.kind = (uint8_t)kind};
}

static neap__node *compute(const neap__node *node) {
  neap__node *outer = node->parent && !node->is_shield ? node->parent->cancelled_by : NULL;
  if (outer) return outer;
  return node->is_requested ? (neap__node *)node : NULL;
}

bool neap__node_refresh(neap__node *node) {
  neap__node *by = compute(node);
  if (by == node->cancelled_by) return false;
  node->cancelled_by = by;
  return true;
}

static void link_last(neap__node *node, neap__node *parent) {
  neap__node *last = parent->last_child;
  node->parent = parent;
  node->prev = last ? last : node;
  node->next = last ? last->next : node;
  node->prev->next = node->next->prev = node;
  parent->last_child = node;
}

static void unlink_child(neap__node *node) {
  neap__node *parent = node->parent;
  if (parent->last_child == node) parent->last_child = node->prev == node ? NULL : node->prev;
  node->prev->next = node->next;
  node->next->prev = node->prev;
  node->parent = node->prev = node->next = NULL;
}

void neap__node_attach(neap__node *node, neap__node *parent) {
  assert(!node->parent);
  link_last(node, parent);
  neap__node_refresh(node);
}

void neap__node_hang(neap__node *node, neap__node *parent) {
  assert(!node->parent);
  link_last(node, parent);
}

void neap__node_detach(neap__node *node) {
  if (node->parent) unlink_child(node);
}

neap__node *neap__node_skip(neap__node *node, const neap__node *top) {
  while (node != top) {
    if (node != node->parent->last_child) return node->next;
    node = node->parent;
  }
  return NULL;
}

neap__node *neap__node_next(neap__node *node, const neap__node *top) {
  return node->last_child ? neap__node_first_child(node) : neap__node_skip(node, top);
}

/* `node` is about to go: the request lives on in each child, so that nothing below changes its mind;
 * only the name of the scope that answers for it does. */
static void hand_over(neap__node *node, neap__node *child) {
  unlink_child(child);
  link_last(child, node->parent);
  if (child->cancelled_by != node) return;
  child->is_requested = child->is_inherited = true;
  if (!child->cause && node->cause) {
    child->cause = node->cause;
    child->cause->refs++;
  }
  for (neap__node *below = child; below;) {
    bool changed = neap__node_refresh(below);
    below = changed ? neap__node_next(below, child) : neap__node_skip(below, child);
  }
}

void neap__node_hand_over(neap__node *node) {
  assert(!node->is_shield); /* what it kept out would have to be delivered */
  while (node->last_child) hand_over(node, neap__node_first_child(node));
}

void neap__node_hand_over_tasks(neap__node *node) {
  neap__node *child = neap__node_first_child(node), *last = node->last_child;
  assert(!node->is_shield);
  while (child) {
    neap__node *next = child == last ? NULL : child->next;
    if (child->kind == NEAP__NODE_TASK) hand_over(node, child);
    child = next;
  }
}

bool neap__node_is_valid(const neap__node *top) {
  for (neap__node *node = (neap__node *)top; node; node = neap__node_next(node, top)) {
    if (node->cancelled_by != compute(node)) return false;
    if (node->last_child && node->last_child->parent != node) return false;
  }
  return true;
}
