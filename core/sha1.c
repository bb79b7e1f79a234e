#include "sha1.h"

#include <string.h>

/* As RFC 3174 describes it: section 4 for the padding, 6.1 for the rounds. */

enum { BLOCK = 64, LENGTH_PLACE = 56, ROUNDS = 80 };

static uint32_t rotate(uint32_t word, int bits) {
  return word << bits | word >> (32 - bits);
}

static void put_word(uint8_t *to, uint32_t word) {
  for (int i = 0; i < 4; i++) to[i] = (uint8_t)(word >> (24 - 8 * i));
}

static void spread(const uint8_t *block, uint32_t words[ROUNDS]) {
  for (int i = 0; i < 16; i++, block += 4)
    words[i] =
        (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
  for (int i = 16; i < ROUNDS; i++)
    words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
}

/* f(t; b, c, d) + K(t) */
static uint32_t mix(int round, uint32_t b, uint32_t c, uint32_t d) {
  switch (round / 20) {
  case 0: return ((b & c) | (~b & d)) + 0x5a827999u;
  case 1: return (b ^ c ^ d) + 0x6ed9eba1u;
  case 2: return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcu;
  default: return (b ^ c ^ d) + 0xca62c1d6u;
  }
}

static void add_block(uint32_t h[5], const uint8_t *block) {
  uint32_t words[ROUNDS];
  uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
  spread(block, words);
  for (int i = 0; i < ROUNDS; i++) {
    uint32_t next = rotate(a, 5) + mix(i, b, c, d) + e + words[i];
    e = d;
    d = c;
    c = rotate(b, 30);
    b = a;
    a = next;
  }
  h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

/* What is left of the bytes, a one bit, zeros, the length in bits. */
static void add_end(uint32_t h[5], const uint8_t *rest, size_t n, uint64_t total) {
  uint8_t last[2 * BLOCK] = {0};
  size_t size = n < LENGTH_PLACE ? BLOCK : sizeof last;
  memcpy(last, rest, n);
  last[n] = 0x80;
  put_word(last + size - 8, (uint32_t)(total >> 29));
  put_word(last + size - 4, (uint32_t)(total << 3));
  for (size_t i = 0; i < size; i += BLOCK) add_block(h, last + i);
}

void neap__sha1(const void *bytes, size_t n, uint8_t digest[NEAP__SHA1_SIZE]) {
  uint32_t h[5] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u, 0xc3d2e1f0u};
  const uint8_t *at = bytes;
  size_t left = n;
  for (; left >= BLOCK; at += BLOCK, left -= BLOCK) add_block(h, at);
  add_end(h, at, left, n);
  for (int i = 0; i < 5; i++) put_word(digest + 4 * i, h[i]);
}
