/* Tokens: a request of cancellation that can be handed around, apart from the tree.
 *
 * A token does not keep alive what is registered; what is registered does not keep the token alive.
 * The token of a scope is followed by a node below that scope (`follower`), which holds a reference
 * to it as long as the scope is open. */
#ifndef NEAP_TOKEN_H
#define NEAP_TOKEN_H

#include "task.h"
#include "timer.h"

/* Invariant: registrations is empty once it is cancelled and its registrations were called;
 * is_queued: `runnable` is in the ready queue, with a reference. */
struct neap_token {
  neap_loop *loop;
  neap__list registrations; /* the youngest last */
  neap__cause *cause;       /* why, when the request carried a reason */
  neap__timer timer;        /* of cancel_after */
  neap_task follower;
  neap__runnable runnable;
  uint32_t refs;
  uint32_t
      host; /* for the bindings: what keeps its registrations while it follows, is queued or has a timer */
  bool is_cancelled;
  bool timed_out;
  bool is_queued;
};

/* The same as neap_token_cancel; takes `cause` over (it may be NULL) if it returns true. */
bool neap__token_cancel(neap_token *token, neap__cause *cause);

/* Lets it be cancelled when what hangs below `node` is; once, before anything is registered. `host` is
 * released when there is nothing more to call. */
void neap__token_follow(neap_token *token, neap__node *node);

/* What the ready queue calls; also how the loop, when it closes, frees those that are still queued. */
void neap__token_run(neap__runnable *runnable);

#endif
