#include "callback.h"

#include "loop.h"

#include <stdlib.h>

neap_callback *neap__callback_new(neap_loop *loop) {
  bool must_fail = neap__memory_must_fail(&loop->memory);
  neap_callback *self = must_fail ? NULL : calloc(1, sizeof *self);
  if (!self) return NULL;
  atomic_init(&self->refs, 1);
  self->inbox = neap_inbox_ref(loop->inbox);
  return self;
}

neap_callback *neap_callback_ref(neap_callback *self) {
  atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
  return self;
}

static void free_callback(neap_callback *self) {
  neap_inbox_unref(self->inbox);
  free(self);
}

static void on_unused(neap__post *post) {
  neap_callback *self = NEAP__CONTAINER(post, neap_callback, post);
  self->release(self);
  free_callback(self);
}

/* What the language keeps for it ends on its own thread, or has ended with the language. */
void neap_callback_unref(neap_callback *self) {
  if (!self || atomic_fetch_sub(&self->refs, 1) > 1) return;
  self->post.fn = on_unused;
  if (!neap__inbox_send(self->inbox, &self->post)) free_callback(self);
}

typedef struct callback_call {
  neap__post post;
  neap_callback *callback; /* a reference */
  neap_values *arguments;
} callback_call;

static void free_call(callback_call *call) {
  neap_callback_unref(call->callback);
  neap_values_free(call->arguments);
  free(call);
}

static void on_called(neap__post *post) {
  callback_call *call = (callback_call *)post;
  call->callback->invoke(call->callback, call->arguments);
  free_call(call);
}

int neap_callback_call(neap_callback *self, neap_values *arguments) {
  int code = arguments ? neap_values_error(arguments) : 0;
  callback_call *call = code ? NULL : malloc(sizeof *call);
  if (!call) {
    neap_values_free(arguments);
    return code ? code : UV_ENOMEM;
  }
  *call = (callback_call){{NULL, on_called}, neap_callback_ref(self), arguments};
  if (neap__inbox_send(self->inbox, &call->post)) return 0;
  free_call(call);
  return NEAP_ECLOSED;
}
