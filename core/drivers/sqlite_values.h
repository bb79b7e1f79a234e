/* Values between Lua and SQLite, in one block of memory: parameters on their way to the thread of a
 * connection, rows on their way back.
 *
 * Each is one byte for its type, then 8 bytes of a number, or a length of 4 and the bytes. */
#ifndef NEAP_DRIVERS_SQLITE_VALUES_H
#define NEAP_DRIVERS_SQLITE_VALUES_H

#include "../memory.h"

typedef enum neap__sqlite_type {
  NEAP__SQLITE_NULL,
  NEAP__SQLITE_INTEGER,
  NEAP__SQLITE_FLOAT,
  NEAP__SQLITE_TEXT,
  NEAP__SQLITE_BLOB,
  NEAP__SQLITE_NAME, /* before a value: its name; no value itself */
  NEAP__SQLITE_PLACE /* before a value: its number, from 1 on */
} neap__sqlite_type;

typedef struct neap__sqlite_value {
  neap__sqlite_type type;
  int64_t integer; /* INTEGER and PLACE */
  double number;
  const char *data; /* borrowed from the block */
  size_t size;
} neap__sqlite_value;

/* Zeroed at first. */
typedef struct neap__sqlite_buffer {
  neap__memory *memory; /* NULL: malloc's, for what other threads write */
  char *data;
  size_t size, capacity;
} neap__sqlite_buffer;

/* False when out of memory, or for more than 2^32 - 1 bytes; nothing was added then. */
bool neap__sqlite_put(neap__sqlite_buffer *buffer, const neap__sqlite_value *value);
bool neap__sqlite_put_bytes(neap__sqlite_buffer *buffer, neap__sqlite_type type, const char *data,
                            size_t size);

/* Reads the value at `at`; returns where the next one is. */
const char *neap__sqlite_get(const char *at, neap__sqlite_value *value);

/* Empties it and keeps its memory. */
static inline void neap__sqlite_buffer_clear(neap__sqlite_buffer *buffer) {
  buffer->size = 0;
}
void neap__sqlite_buffer_deinit(neap__sqlite_buffer *buffer);

#endif
