/* Lists of values, as the core sees them: a flat list, in which an array or a map is followed by what is in
 * it. Memory comes from malloc, for a list crosses threads. */
#ifndef NEAP_VALUE_H
#define NEAP_VALUE_H

#include "neap.h"

#include <stdatomic.h>

typedef struct neap__box neap__box;

struct neap_value {
  union {
    bool boolean;
    int64_t integer;
    double number;
    void *pointer;
    const char *bytes; /* in a chunk, with a NUL behind them */
    neap_bytes *buffer;
    neap_callback *callback;
    neap__box *box; /* of an object */
    size_t outer;   /* of an array or map that is open: the place of the one that it is in */
  } as;
  size_t size;   /* of bytes; of an array its items, of a map its pairs */
  uint32_t span; /* values from this one to its end */
  uint8_t kind;  /* neap_value_kind */
};

enum {
  NEAP__VALUES_INLINE = 4, /* calls with few arguments and results need no memory */
  NEAP__VALUES_DEPTH = 64  /* arrays and maps in each other */
};

/* Invariant: count <= capacity; list is `first` while capacity is NEAP__VALUES_INLINE. Each call has two or
 * three of these, so they are small: what is open is chained in the list. */
struct neap_values {
  neap_value *list;
  size_t count, capacity;
  size_t top; /* of them that are in no array or map */
  struct neap__chunk *chunks;
  size_t open; /* the place of the innermost array or map that is open; of none: SIZE_MAX */
  int depth;   /* how many are open */
  int error;   /* the first that came up; what is added after it is dropped */
  neap_value first[NEAP__VALUES_INLINE];
};

/* In memory of the caller. */
void neap__values_init(neap_values *self);
/* Frees what is in it; it is empty then. */
void neap__values_clear(neap_values *self);

/* Makes `to`, which is nothing yet, what `from` is, which is empty then. */
void neap__values_move(neap_values *to, neap_values *from);

/* Notes an error, unless there is one. */
void neap__values_fail(neap_values *self, int code);

/* An object: what is behind all references to it, in lists and in languages. Thread: any. */
struct neap__box {
  atomic_size_t refs;
  const neap_class *class_;
  void *object;
};

/* Takes the object over; NULL when out of memory: it is released then. */
neap__box *neap__box_new(const neap_class *class_, void *object);
neap__box *neap__box_ref(neap__box *box);
/* The last one releases the object. */
void neap__box_unref(neap__box *box);

/* Takes over the reference to the box. */
void neap__values_add_box(neap_values *values, neap__box *box);

#endif
