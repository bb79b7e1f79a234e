/* How a message looks inside, for those who write and read it.
 *
 * The data is the values, then the bodies of the objects in the order of their numbers. An object (a table,
 * a function, a userdata) gets the next number where it is first referred to, and is made there by the
 * reader; later references are by that number. So neither side recurses, and cycles need no care.
 *
 *   table     TABLE | ERROR, u32 list, u32 fields | CLASS, u32, u32, string     its sizes are exact
 *     body    value * list, END, (key, value) * fields, END
 *   function  FUNCTION, number in `shared`
 *     body    for each upvalue: a value | BOX, number of a function, its upvalue | ENVIRONMENT; END
 *   userdata  OBJECT, number in `shared`; no body
 *
 * Numbers are varints, seven bits a byte. Words of several bytes have the order of the machine: a message
 * never leaves the process. */
#ifndef NEAPLUA_MESSAGE_H
#define NEAPLUA_MESSAGE_H

#include "code.h"
#include "transfer.h"

enum neapL__tag {
  NEAPL__TAG_END,
  NEAPL__TAG_NIL,
  NEAPL__TAG_FALSE,
  NEAPL__TAG_TRUE,
  NEAPL__TAG_INT16, /* in 2, 4, 8 bytes */
  NEAPL__TAG_INT32,
  NEAPL__TAG_INT64,
  NEAPL__TAG_FLOAT,
  NEAPL__TAG_STRING, /* varint length, bytes */
  NEAPL__TAG_AGAIN,  /* number of the object */
  NEAPL__TAG_TABLE,
  NEAPL__TAG_ERROR,
  NEAPL__TAG_CLASS,
  NEAPL__TAG_FUNCTION,
  NEAPL__TAG_OBJECT,
  NEAPL__TAG_BOX,
  NEAPL__TAG_ENVIRONMENT,
  NEAPL__TAG_SHORT = 64, /* to 127: a string of 0 to 63 bytes */
  NEAPL__TAG_SMALL = 128 /* to 255: an integer */
};

enum {
  NEAPL__SHORTEST = -16, /* the integer of NEAPL__TAG_SMALL */
  NEAPL__SIZES = 8,      /* bytes of the two sizes of a table */
  NEAPL__FEW = 32        /* objects that have places on the stack: without a table for them */
};

/* What a message refers to. */
struct neapL__shared {
  const neapL__crossing *crossing; /* NULL: code */
  void *reference;                 /* NULL: it was given to an object */
  uint32_t object;
};

/* Grows a block of memory that belongs to no state; NULL: not enough memory, the old one is as it was.
 * Counts as an allocation of the state's loop. To be freed with `free`. */
void *neapL__resize_block(neapL__state *state, void *block, size_t size);

/* Memory that was needed to write. */
void neapL__scratch_free(struct neapL__scratch *scratch);

/* Pushes the metatable of a registered class, requiring its module. Raises. [-0, +1, e] */
void neapL__push_class(lua_State *L, neapL__state *state, const char *module);

#endif
