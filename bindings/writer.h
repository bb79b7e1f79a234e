/* What those share who write a message. */
#ifndef NEAPLUA_WRITER_H
#define NEAPLUA_WRITER_H

#include "message.h"

/* What becomes of a table. */
typedef enum neapL__table_kind {
  NEAPL__PLAIN,
  NEAPL__ERROR,     /* without the fields that cannot cross */
  NEAPL__CANCELLED, /* the same, and without its scope; arrives as a plain table */
  NEAPL__CLASS      /* as what `before` makes of it */
} neapL__table_kind;

/* Where an object was found. */
typedef struct neapL__origin {
  uint32_t parent; /* 0: among the values */
  uint8_t kind;    /* neapL__table_kind */
  size_t sizes;    /* offset of the two sizes of a table in the data */
} neapL__origin;

/* A pointer that was seen. */
typedef struct neapL__mark {
  const void *pointer; /* NULL: free */
  uint64_t value;
} neapL__mark;

/* Kept by the state from message to message, unless it has grown large. */
typedef struct neapL__scratch {
  neapL__mark *marks; /* open addressing; the number of places is a power of 2 */
  size_t mark_places, mark_count;
  neapL__origin *origins; /* by number - 1 */
  size_t origin_capacity;
} neapL__scratch;

/* The first objects have places on the stack, from `few` + 1 on; `list` is the index of the table of the
 * others by number, or of nil. */
typedef struct neapL__writer {
  lua_State *L;
  neapL__state *state;
  neapL__message *message;
  neapL__scratch *scratch;
  int few, list, first, last;
  const char *what;
  int number;
  uint32_t owner;      /* whose body is written; 0: the values */
  bool is_first_again; /* object 1 was referred to again */
} neapL__writer;

/* Makes `pointer` known with `value`. True: it was known before, with *known. Raises. */
bool neapL__mark_seen(neapL__writer *writer, const void *pointer, uint64_t value, uint64_t *known);

/* The scratch of the next message. Raises. */
void neapL__scratch_take(neapL__writer *writer);
void neapL__scratch_give(neapL__writer *writer);

/* Pushes the object with that number. [-0, +1, -] */
void neapL__push_numbered(const neapL__writer *self, uint32_t number);

/* Pushes what is written of the table with that number. [-0, +1, e] */
void neapL__push_body(neapL__writer *self, uint32_t number);

/* Replaces the reason on top by the whole message, and returns false. The key, or the value behind it, at
 * index `key` of the object whose body is written; an upvalue of it; a value at `index`. */
bool neapL__refuse_field(neapL__writer *writer, int key, bool is_key);
bool neapL__refuse_upvalue(neapL__writer *writer, int upvalue);
bool neapL__refuse_value(neapL__writer *writer, int index);

/* Whether a function is between the values and the body that is written. */
bool neapL__is_below_function(const neapL__writer *writer);

#endif
