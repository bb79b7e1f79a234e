#include "token.h"

#include "cancel.h"
#include "loop.h"

#include <assert.h>
#include <math.h>

_Static_assert(sizeof(neap__list) == sizeof(((neap_registration *)0)->link),
               "the public registration has room for a link");

static neap__list *link_of(neap_registration *registration) {
  return (neap__list *)(void *)registration->link;
}

static neap_registration *of_link(neap__list *link) {
  return NEAP__CONTAINER(link, neap_registration, link);
}

/* ---- Calling ------------------------------------------------------------------------------- */

/* The youngest first. What a call registers is called by that; what it unregisters is not. */
static void call_all(neap_token *token) {
  neap_token_ref(token);
  while (!neap__list_is_empty(&token->registrations)) {
    neap_registration *registration = of_link(token->registrations.prev);
    neap__list_unlink(link_of(registration));
    registration->token = NULL;
    registration->call(registration);
  }
  neap_token_unref(token);
}

static void release_host(neap_token *token) {
  neap__hooks *hooks = &token->loop->hooks;
  if (token->host && hooks->release) hooks->release(hooks->data, token->host);
  token->host = 0;
}

static void stop_following(neap_token *token) {
  if (token->follower.status != NEAP_PENDING || !token->follower.node.parent) return;
  neap__task_settle(&token->follower, NEAP_CANCELLED);
  if (!token->is_queued) release_host(token);
  neap_token_unref(token);
}

static bool mark(neap_token *token, neap__cause *cause) {
  if (token->is_cancelled) return false;
  token->is_cancelled = true;
  token->cause = cause;
  neap__timer_disarm(&token->loop->timers, &token->timer);
  return true;
}

bool neap__token_cancel(neap_token *token, neap__cause *cause) {
  if (!mark(token, cause)) return false;
  neap_token_ref(token);
  call_all(token);
  stop_following(token);
  release_host(token);
  neap_token_unref(token);
  return true;
}

static void on_deadline(neap__timer *timer) {
  neap_token *token = NEAP__CONTAINER(timer, neap_token, timer);
  token->timed_out = true;
  neap__token_cancel(token, NULL);
}

/* ---- The token of a scope -------------------------------------------------------------------- */

void neap__token_run(neap__runnable *runnable) {
  neap_token *token = NEAP__CONTAINER(runnable, neap_token, runnable);
  token->is_queued = false;
  if (!token->loop->is_closing) call_all(token);
  release_host(token);
  neap_token_unref(token);
}

/* Cancelled as the scope or task `by` was. */
static bool mark_by(neap_token *token, const neap__node *by) {
  if (token->is_cancelled) return false;
  token->timed_out = by->kind == NEAP__NODE_SCOPE && neap__node_scope(by)->timed_out;
  return mark(token, neap__cause_ref(by->cause));
}

/* Called while a cancellation is delivered, so it only queues the calls. */
static void on_reached(neap_task *follower) {
  neap_token *token = NEAP__CONTAINER(follower, neap_token, follower);
  neap_token_ref(token);
  if (mark_by(token, follower->node.cancelled_by)) {
    token->is_queued = true;
    neap_token_ref(token);
    neap__loop_ready(token->loop, &token->runnable);
  }
  stop_following(token);
  neap_token_unref(token);
}

/* The scope ends. */
static void on_dropped(neap_task *follower) {
  stop_following(NEAP__CONTAINER(follower, neap_token, follower));
}

static const neap__task_kind follower_kind = {
    .name = "token", .cancel = on_dropped, .reach = on_reached};

void neap__token_follow(neap_token *token, neap__node *node) {
  if (neap__node_is_cancelled(node)) {
    mark_by(token, node->cancelled_by);
    release_host(token);
    return;
  }
  neap_token_ref(token);
  neap__node_attach(&token->follower.node, node);
}

/* ---- Life ---------------------------------------------------------------------------------- */

int neap_token_new(neap_loop *loop, neap_token **result) {
  neap_token *token = neap__memory_new(&loop->memory, sizeof *token);
  if (!token) return UV_ENOMEM;
  token->loop = loop;
  token->refs = 1;
  token->timer.fire = on_deadline;
  token->runnable.run = neap__token_run;
  neap__list_init(&token->registrations);
  neap__task_init(&token->follower, loop, &follower_kind); /* keeps the loop's memory */
  *result = token;
  return 0;
}

neap_token *neap_token_ref(neap_token *token) {
  token->refs++;
  return token;
}

static void forget_registrations(neap_token *token) {
  while (!neap__list_is_empty(&token->registrations)) {
    neap_registration *registration = of_link(token->registrations.next);
    neap__list_unlink(link_of(registration));
    registration->token = NULL;
  }
}

void neap_token_unref(neap_token *token) {
  neap_loop *loop = token->loop;
  assert(token->refs > 0);
  if (--token->refs > 0) return;
  neap__timer_disarm(&loop->timers, &token->timer);
  forget_registrations(token);
  neap__cause_forget(token->cause, loop);
  neap__loop_anchor(loop);
  neap__task_deinit(&token->follower);
  neap__memory_free(&loop->memory, token);
  neap__loop_unanchor(loop);
}

/* ---- Public -------------------------------------------------------------------------------- */

bool neap_token_cancel(neap_token *token) {
  return neap__token_cancel(token, NULL);
}

int neap_token_cancel_after(neap_token *token, double seconds) {
  neap_loop *loop = token->loop;
  if (!(seconds >= 0)) return UV_EINVAL;
  if (token->is_cancelled || loop->is_closing) return 0;
  neap__timer_disarm(&loop->timers, &token->timer);
  if (seconds == HUGE_VAL) return 0;
  return neap__loop_arm(loop, &token->timer, neap__loop_now(loop) + seconds);
}

bool neap_token_is_cancelled(const neap_token *token) {
  return token->is_cancelled;
}

bool neap_token_timed_out(const neap_token *token) {
  return token->timed_out;
}

void neap_token_register(neap_token *token, neap_registration *registration) {
  if (registration->token) neap_token_unregister(registration);
  neap__list_init(link_of(registration));
  if (token->is_cancelled) {
    registration->call(registration);
    return;
  }
  registration->token = token;
  neap__list_append(&token->registrations, link_of(registration));
}

bool neap_token_unregister(neap_registration *registration) {
  if (!registration->token) return false;
  registration->token = NULL;
  neap__list_unlink(link_of(registration));
  return true;
}

int neap_scope_token(neap_scope *scope, neap_token **token) {
  int code = neap_token_new(scope->loop, token);
  if (!code) neap__token_follow(*token, &scope->node);
  return code;
}

static void cancel_scope(neap_registration *registration) {
  neap_scope_cancel(registration->data);
}

void neap_token_cancel_scope(neap_token *token, neap_scope *scope,
                             neap_registration *registration) {
  registration->call = cancel_scope;
  registration->data = scope;
  neap_token_register(token, registration);
}
