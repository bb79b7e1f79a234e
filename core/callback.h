/* Callbacks: functions of a language that C code on any thread may call. */
#ifndef NEAP_CALLBACK_H
#define NEAP_CALLBACK_H

#include "inbox.h"
#include "value.h"

/* What the language keeps is behind `host`, and touched on the loop's thread only. */
struct neap_callback {
  atomic_size_t refs;
  neap_inbox *inbox; /* a reference */
  neap__post post;   /* of its end */
  /* Calls the function. Thread: the loop's. */
  void (*invoke)(neap_callback *callback, neap_values *arguments);
  /* Gives up what `host` stands for. Thread: the loop's, while that is open. */
  void (*release)(neap_callback *callback);
  void *data;
  uint32_t host;
};

/* One with one reference; the caller sets the rest. NULL when out of memory. */
neap_callback *neap__callback_new(neap_loop *loop);

#endif
