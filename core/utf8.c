#include "utf8.h"

#include <string.h>

/* The automaton of the Unicode Standard, table 3-7, "Well-Formed UTF-8 Byte Sequences": the first byte says
 * how many follow and what the second one may be; all others are 80..BF. */

static const uint64_t high_bits = 0x8080808080808080u;

/* Skips what is ASCII, eight bytes at a time. */
static const uint8_t *skip_ascii(const uint8_t *at, const uint8_t *end) {
  for (; end - at >= 8; at += 8) {
    uint64_t word;
    memcpy(&word, at, 8);
    if (word & high_bits) break;
  }
  while (at < end && *at < 0x80) at++;
  return at;
}

static bool begin(neap__utf8 *self, uint8_t byte) {
  if (byte < 0xc2 || byte > 0xf4) return false;
  self->left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
  self->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
  self->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
  return true;
}

static bool go_on(neap__utf8 *self, uint8_t byte) {
  if (byte < self->low || byte > self->high) return false;
  self->left--;
  self->low = 0x80;
  self->high = 0xbf;
  return true;
}

bool neap__utf8_feed(neap__utf8 *self, const char *bytes, size_t n) {
  const uint8_t *at = (const uint8_t *)bytes, *end = at + n;
  while (at < end) {
    if (self->left == 0 && (at = skip_ascii(at, end)) == end) break;
    if (!(self->left ? go_on(self, *at) : begin(self, *at))) return false;
    at++;
  }
  return true;
}
