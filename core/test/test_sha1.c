#include "test.h"

#include "sha1.h"

#include <stdlib.h>

static bool is_digest(const char *text, size_t n, const char *expected) {
  uint8_t digest[NEAP__SHA1_SIZE];
  char hex[2 * NEAP__SHA1_SIZE + 1];
  neap__sha1(text, n, digest);
  for (int i = 0; i < NEAP__SHA1_SIZE; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
  return strcmp(hex, expected) == 0;
}

TEST(the_digests_of_the_rfc_come_out) { /* RFC 3174, section 7.3 */
  CHECK(is_digest("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d"));
  CHECK(is_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                  "84983e441c3bd26ebaae4aa1f95129e5e54670f1"));
  CHECK(is_digest("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709"));
}

TEST(a_million_letters_have_their_digest) {
  size_t n = 1000000;
  char *text = malloc(n);
  memset(text, 'a', n);
  CHECK(is_digest(text, n, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"));
  free(text);
}

TEST(the_end_fits_in_one_block_or_takes_two) { /* digests by sha1sum */
  char text[64];
  memset(text, 'a', sizeof text);
  CHECK(is_digest(text, 55, "c1c8bbdc22796e28c0e15163d20899b65621d65a"));
  CHECK(is_digest(text, 56, "c2db330f6083854c99d4b5bfb6e8f29f201be699"));
  CHECK(is_digest(text, 63, "03f09f5b158a7a8cdad920bddc29b81c18a551f5"));
  CHECK(is_digest(text, 64, "0098ba824b5c16427bd7a1122a5a442a25ec644d"));
}
