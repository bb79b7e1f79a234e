#include "support.h"

#include "tree.h"

enum { CROWD = 1000 };

/* A chain: each node below the one before it. */
static void build_chain(neap__node *nodes, int count) {
  for (int i = 0; i < count; i++) {
    neap__node_init(&nodes[i], NEAP__NODE_TASK);
    if (i > 0) neap__node_attach(&nodes[i], &nodes[i - 1]);
  }
}

/* What cancel.c does, without the delivery. */
static void refresh_below(neap__node *top) {
  for (neap__node *node = top; node;) {
    bool is_changed = neap__node_refresh(node);
    node = is_changed ? neap__node_next(node, top) : neap__node_skip(node, top);
  }
}

static void request(neap__node *node) {
  node->is_requested = true;
  refresh_below(node);
}

static int count_children(const neap__node *node) {
  int count = 0;
  const neap__node *child = neap__node_first_child(node);
  for (; child; child = child->next) {
    count++;
    if (child == node->last_child) break;
  }
  return count;
}

TEST(a_new_node_is_alone_and_not_cancelled) {
  neap__node node;
  neap__node_init(&node, NEAP__NODE_SCOPE);
  CHECK(neap__node_first_child(&node) == NULL);
  CHECK(neap__node_next(&node, &node) == NULL);
  CHECK(!neap__node_is_cancelled(&node));
  CHECK(neap__node_is_valid(&node));
  neap__node_detach(&node); /* harmless */
}

TEST(children_stay_in_the_order_of_attaching) {
  neap__node nodes[4];
  for (int i = 0; i < 4; i++) neap__node_init(&nodes[i], NEAP__NODE_TASK);
  for (int i = 1; i < 4; i++) neap__node_attach(&nodes[i], &nodes[0]);
  CHECK(neap__node_first_child(&nodes[0]) == &nodes[1]);
  CHECK(neap__node_next(&nodes[1], &nodes[0]) == &nodes[2]);
  neap__node_detach(&nodes[2]);
  CHECK(neap__node_next(&nodes[1], &nodes[0]) == &nodes[3]);
  neap__node_attach(&nodes[2], &nodes[0]);
  CHECK(nodes[0].last_child == &nodes[2]);
  CHECK(neap__node_next(&nodes[2], &nodes[0]) == NULL);
  CHECK(neap__node_is_valid(&nodes[0]));
}

TEST(the_walk_is_in_pre_order_and_skip_leaves_out_what_is_below) {
  neap__node top, a, b, below_a;
  neap__node_init(&top, NEAP__NODE_TASK);
  neap__node_init(&a, NEAP__NODE_TASK);
  neap__node_init(&b, NEAP__NODE_TASK);
  neap__node_init(&below_a, NEAP__NODE_TASK);
  neap__node_attach(&a, &top);
  neap__node_attach(&b, &top);
  neap__node_attach(&below_a, &a);
  CHECK(neap__node_next(&top, &top) == &a);
  CHECK(neap__node_next(&a, &top) == &below_a);
  CHECK(neap__node_next(&below_a, &top) == &b);
  CHECK(neap__node_skip(&a, &top) == &b);
  CHECK(neap__node_next(&below_a, &a) == NULL);
  CHECK(neap__node_skip(&b, &top) == NULL);
}

TEST(a_request_is_seen_by_all_below_and_by_what_is_attached_later) {
  neap__node nodes[3], late;
  build_chain(nodes, 3);
  neap__node_init(&late, NEAP__NODE_TASK);
  request(&nodes[1]);
  CHECK(!neap__node_is_cancelled(&nodes[0]));
  CHECK(nodes[1].cancelled_by == &nodes[1]);
  CHECK(nodes[2].cancelled_by == &nodes[1]);
  neap__node_attach(&late, &nodes[2]);
  CHECK(late.cancelled_by == &nodes[1]);
  CHECK(neap__node_is_valid(&nodes[0]));
}

TEST(the_outermost_request_answers) {
  neap__node nodes[3];
  build_chain(nodes, 3);
  request(&nodes[2]);
  CHECK(nodes[2].cancelled_by == &nodes[2]);
  request(&nodes[0]);
  CHECK(nodes[2].cancelled_by == &nodes[0]);
  CHECK(neap__node_is_valid(&nodes[0]));
}

TEST(a_shield_stops_what_comes_from_outside_only) {
  neap__node nodes[3];
  build_chain(nodes, 3);
  nodes[1].is_shield = true;
  request(&nodes[0]);
  CHECK(!neap__node_is_cancelled(&nodes[1]));
  CHECK(!neap__node_is_cancelled(&nodes[2]));
  request(&nodes[1]);
  CHECK(nodes[2].cancelled_by == &nodes[1]);
  CHECK(neap__node_is_valid(&nodes[0]));
  nodes[1].is_shield = false;
  refresh_below(&nodes[1]);
  CHECK(nodes[2].cancelled_by == &nodes[0]);
  CHECK(neap__node_is_valid(&nodes[0]));
}

TEST(refresh_tells_whether_something_changed) {
  neap__node node;
  neap__node_init(&node, NEAP__NODE_SCOPE);
  CHECK(!neap__node_refresh(&node));
  node.is_requested = true;
  CHECK(neap__node_refresh(&node));
  CHECK(!neap__node_refresh(&node));
}

TEST(handing_over_hangs_the_children_behind_their_new_siblings) {
  neap__node top, old, child, sibling;
  neap__node_init(&top, NEAP__NODE_TASK);
  neap__node_init(&old, NEAP__NODE_TASK);
  neap__node_init(&child, NEAP__NODE_TASK);
  neap__node_init(&sibling, NEAP__NODE_TASK);
  neap__node_attach(&old, &top);
  neap__node_attach(&child, &old);
  neap__node_attach(&sibling, &top);
  neap__node_hand_over(&old);
  neap__node_detach(&old);
  CHECK(child.parent == &top);
  CHECK(count_children(&top) == 2);
  CHECK(top.last_child == &child);
  CHECK(neap__node_is_valid(&top));
}

TEST(what_an_ended_node_had_cancelled_stays_cancelled) {
  neap__node nodes[4];
  build_chain(nodes, 4);
  neap__cause cause = {.refs = 1};
  nodes[1].cause = &cause;
  request(&nodes[1]);
  neap__node_hand_over(&nodes[1]);
  neap__node_detach(&nodes[1]);
  CHECK(nodes[2].parent == &nodes[0]);
  CHECK(nodes[2].cancelled_by == &nodes[2]);
  CHECK(nodes[3].cancelled_by == &nodes[2]);
  CHECK(nodes[2].cause == &cause && cause.refs == 2);
  CHECK(!neap__node_is_cancelled(&nodes[0]));
  CHECK(neap__node_is_valid(&nodes[0]));
}

TEST(validity_finds_a_stale_node) {
  neap__node nodes[3];
  build_chain(nodes, 3);
  nodes[1].is_requested = true;
  CHECK(!neap__node_is_valid(&nodes[0]));
}

/* ---- Random trees --------------------------------------------------------------------------- */

static neap__node crowd[CROWD];

static void grow(void) {
  for (int i = 0; i < CROWD; i++) {
    neap__node_init(&crowd[i], rand() % 4 ? NEAP__NODE_TASK : NEAP__NODE_SCOPE);
    if (i > 0) neap__node_attach(&crowd[i], &crowd[rand() % i]);
  }
}

/* Cancels, shields, or ends the node as a task does. */
static void change(neap__node *node) {
  int what = rand() % 8;
  if (what == 0) {
    request(node);
  } else if (what < 4) {
    node->is_shield = !node->is_shield;
    refresh_below(node);
  } else if (node != crowd && node->parent && !node->is_shield) {
    neap__node_hand_over(node);
    neap__node_detach(node);
  }
}

static int count_below(const neap__node *top) {
  int count = 0;
  for (neap__node *node = crowd; node; node = neap__node_next(node, top)) count++;
  return count;
}

TEST(random_trees_of_a_thousand_nodes_stay_valid) {
  for (unsigned seed = 1; seed <= 20; seed++) {
    srand(seed);
    grow();
    CHECK(count_below(crowd) == CROWD);
    for (int i = 0; i < 400; i++) {
      change(&crowd[rand() % CROWD]);
      if (!CHECK(neap__node_is_valid(crowd))) return;
    }
  }
}

TEST(random_trees_lose_nobody_when_nodes_end) {
  srand(7);
  grow();
  int alive = CROWD;
  for (int i = 1; i < CROWD; i += 2, alive--) {
    neap__node_hand_over(&crowd[i]);
    neap__node_detach(&crowd[i]);
  }
  CHECK(count_below(crowd) == alive);
  CHECK(neap__node_is_valid(crowd));
}
