#include "test.h"

#include "utf8.h"

/* Encodes as the table says, so that the two can be compared. */
static size_t encode(uint32_t c, char *to) {
  size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (size_t i = n - 1; i > 0; i--, c >>= 6) to[i] = (char)(0x80 | (c & 0x3f));
  to[0] = (char)(first[n] | c);
  return n;
}

static bool is_text(const char *bytes, size_t n) {
  neap__utf8 self = {0};
  return neap__utf8_feed(&self, bytes, n) && neap__utf8_is_complete(&self);
}

TEST(all_characters_and_nothing_else) {
  char bytes[4];
  bool holds = true;
  for (uint32_t c = 0; c < 0x110000; c++) {
    bool is_surrogate = c >= 0xd800 && c <= 0xdfff;
    size_t n = encode(c, bytes);
    holds &= is_text(bytes, n) == !is_surrogate;
  }
  CHECK(holds);
  CHECK(!is_text("\xf4\x90\x80\x80", 4)); /* beyond the last one */
}

TEST(longer_forms_than_needed_are_refused) {
  CHECK(!is_text("\xc0\xaf", 2));
  CHECK(!is_text("\xc1\xbf", 2));
  CHECK(!is_text("\xe0\x9f\xbf", 3));
  CHECK(!is_text("\xf0\x8f\xbf\xbf", 4));
  CHECK(!is_text("\xf5\x80\x80\x80", 4));
  CHECK(!is_text("\xff", 1));
}

TEST(a_character_must_be_complete) {
  CHECK(!is_text("\x80", 1));
  CHECK(!is_text("\xc3", 1));
  CHECK(!is_text("\xe2\x82", 2));
  CHECK(!is_text("\xe2\x82z", 3));
  CHECK(is_text("", 0));
}

TEST(pieces_give_the_same_as_the_whole) {
  static const char text[] = "abcdefgh\xc3\xa4 12345678 \xe2\x82\xac\xf0\x9f\x98\x80 the end of it";
  for (size_t cut = 0; cut < sizeof text; cut++) {
    neap__utf8 self = {0};
    CHECK(neap__utf8_feed(&self, text, cut));
    CHECK(neap__utf8_feed(&self, text + cut, sizeof text - cut));
    CHECK(neap__utf8_is_complete(&self));
  }
}

TEST(what_can_be_no_text_is_seen_at_once) {
  neap__utf8 self = {0};
  CHECK(neap__utf8_feed(&self, "\xf4", 1));
  CHECK(!neap__utf8_feed(&self, "\x90", 1)); /* with two bytes to come */
}
