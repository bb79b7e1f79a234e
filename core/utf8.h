/* Whether bytes are UTF-8, piece by piece. */
#ifndef NEAP_UTF8_H
#define NEAP_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: between two characters. */
typedef struct neap__utf8 {
  uint8_t left;      /* bytes of this character to come */
  uint8_t low, high; /* what the next one of them may be */
} neap__utf8;

/* The next n bytes; false: no text continues like this. */
bool neap__utf8_feed(neap__utf8 *self, const char *bytes, size_t n);

/* The text may end here. */
static inline bool neap__utf8_is_complete(const neap__utf8 *self) {
  return self->left == 0;
}

#endif
