#include "test.h"

#include "websocket.h"

#include <stdlib.h>

enum { MAX = 1 << 20 };

/* What was told, one event a line. */
typedef struct told {
  char text[4096];
  size_t size;
  char message[MAX];
  size_t length;
} told;

static told log_one, log_two;

#define TELL(self, ...)                                                                            \
  ((self)->size +=                                                                                 \
   (size_t)snprintf((self)->text + (self)->size, sizeof(self)->text - (self)->size, __VA_ARGS__))

static void tell_message(told *self, const neap__ws_parser *parser) {
  unsigned sum = 0;
  for (size_t i = 0; i < self->length; i++) sum = sum * 31 + (unsigned char)self->message[i];
  TELL(self, "%s %zu %u\n", parser->kind == NEAP__WS_TEXT ? "text" : "binary", self->length, sum);
  self->length = 0;
}

static void tell_control(told *self, const neap__ws_parser *parser, const char *name) {
  TELL(self, "%s %.*s\n", name, (int)parser->length, parser->control);
}

/* Gives all bytes; false once it has failed. */
static bool feed(told *self, neap__ws_parser *parser, const char *bytes, size_t n) {
  size_t used;
  for (;; bytes += used, n -= used) {
    switch (neap__ws_parse(parser, bytes, n, &used)) {
    case NEAP__WS_MORE: return CHECK(used == n);
    case NEAP__WS_PART: {
      size_t size = parser->part_size;
      if (!neap__ws_take(parser, self->message + self->length)) goto fail;
      self->length += size;
      break;
    }
    case NEAP__WS_MESSAGE: tell_message(self, parser); break;
    case NEAP__WS_GOT_PING: tell_control(self, parser, "ping"); break;
    case NEAP__WS_GOT_PONG: tell_control(self, parser, "pong"); break;
    case NEAP__WS_GOT_CLOSE:
      TELL(self, "close %d %.*s\n", parser->close_code,
           (int)(parser->length > 2 ? parser->length - 2 : 0), parser->control + 2);
      break;
    default: goto fail;
    }
  }
fail:
  TELL(self, "failed %d\n", parser->failure);
  CHECK(parser->why != NULL);
  return false;
}

static void forget(told *self) {
  self->size = self->length = 0;
  self->text[0] = '\0';
}

static const char *parse(bool is_server, uint64_t max, const char *bytes, size_t n) {
  neap__ws_parser parser = {.is_server = is_server, .max_message = max};
  forget(&log_one);
  feed(&log_one, &parser, bytes, n);
  return log_one.text;
}

#define PARSE(bytes)        parse(false, MAX, bytes, sizeof(bytes) - 1)
#define PARSE_MASKED(bytes) parse(true, MAX, bytes, sizeof(bytes) - 1)
#define IS(text, expected)  CHECK(strcmp(text, expected) == 0)

/* ---- Messages --------------------------------------------------------------------------------- */

TEST(the_examples_of_the_rfc_are_understood) { /* section 5.7 */
  static const char hello[] = "Hello";
  char expected[64];
  unsigned sum = 0;
  for (const char *at = hello; *at; at++) sum = sum * 31 + (unsigned char)*at;
  snprintf(expected, sizeof expected, "text 5 %u\n", sum);
  IS(PARSE("\x81\x05Hello"), expected);
  IS(PARSE_MASKED("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), expected);
  IS(PARSE("\x01\x03Hel\x80\x02lo"), expected);
  IS(PARSE("\x89\x05Hello"), "ping Hello\n");
  IS(PARSE_MASKED("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "pong Hello\n");
}

TEST(empty_messages_and_fragments_are_messages) {
  IS(PARSE("\x81\x00\x82\x00"), "text 0 0\nbinary 0 0\n");
  IS(PARSE("\x01\x00\x00\x00\x80\x00"), "text 0 0\n");
  IS(PARSE("\x82\x01\x05\x02\x00\x00\x00\x80\x01\x06"), "binary 1 5\nbinary 1 6\n");
}

TEST(control_frames_come_between_fragments) {
  IS(PARSE("\x02\x01\x01\x89\x01p\x8a\x00\x80\x01\x02\x88\x05\x03\xe8"
           "bye"),
     "ping p\npong \nbinary 2 33\nclose 1000 bye\n");
}

TEST(what_follows_a_close_is_nobodys) {
  IS(PARSE("\x88\x00\x81\x01x\xff\xff"), "close 1005 \n");
}

/* ---- Lengths and cuts -------------------------------------------------------------------------- */

static const size_t lengths[] = {0, 1, 7, 8, 9, 124, 125, 126, 127, 128, 65535, 65536, 70001};

/* A masked frame of n bytes; the caller frees it. */
static char *build(neap__ws_opcode opcode, size_t n, size_t *size) {
  static const uint8_t mask[4] = {0x12, 0xff, 0x80, 0x01};
  char *frame = malloc(NEAP__WS_HEAD + n);
  size_t head = neap__ws_head(frame, opcode, n, mask);
  for (size_t i = 0; i < n; i++) frame[head + i] = (char)('a' + i % 26);
  neap__ws_mask(frame + head, frame + head, n, mask, 0);
  *size = head + n;
  return frame;
}

TEST(what_is_built_is_what_is_parsed) {
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    size_t size;
    char *frame = build(NEAP__WS_TEXT, lengths[i], &size);
    neap__ws_parser parser = {.is_server = true, .max_message = MAX};
    forget(&log_one);
    CHECK(feed(&log_one, &parser, frame, size));
    char begin[32];
    snprintf(begin, sizeof begin, "text %zu ", lengths[i]);
    CHECK(strncmp(log_one.text, begin, strlen(begin)) == 0);
    for (size_t at = 0; at < lengths[i]; at++) {
      if (log_one.message[at] != (char)('a' + at % 26)) CHECK(!"the text");
    }
    free(frame);
  }
}

/* The same events wherever the bytes are cut: once, or everywhere. */
static void check_cuts(bool is_server, const char *bytes, size_t n) {
  parse(is_server, MAX, bytes, n);
  for (size_t cut = 0; cut <= n; cut++) {
    neap__ws_parser parser = {.is_server = is_server, .max_message = MAX};
    forget(&log_two);
    if (feed(&log_two, &parser, bytes, cut)) feed(&log_two, &parser, bytes + cut, n - cut);
    CHECK(strcmp(log_one.text, log_two.text) == 0);
  }
  neap__ws_parser parser = {.is_server = is_server, .max_message = MAX};
  forget(&log_two);
  for (size_t i = 0; i < n && feed(&log_two, &parser, bytes + i, 1); i++)
    ;
  CHECK(strcmp(log_one.text, log_two.text) == 0);
}

TEST(where_the_bytes_are_cut_does_not_matter) {
  static const char plain[] = "\x01\x05"
                              "ab\xe2\x82\xac"
                              "\x89\x03"
                              "abc"
                              "\x80\x03"
                              "\xc3\xa4!"
                              "\x81\x00"
                              "\x02\x00\x80\x01z\x88\x06\x0f\xa0"
                              "done";
  static const char masked[] = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
                               "\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
  static const char broken[] = "\x81\x05"
                               "ab\xe2\x28\xa1";
  check_cuts(false, plain, sizeof plain - 1);
  check_cuts(true, masked, sizeof masked - 1);
  check_cuts(false, broken, sizeof broken - 1);
  size_t size;
  char *frame = build(NEAP__WS_BINARY, 300, &size);
  check_cuts(true, frame, size);
  free(frame);
}

TEST(masks_apply_at_any_place_and_length) {
  static const uint8_t mask[4] = {1, 2, 4, 0x80};
  char plain[64], whole[64], parts[64];
  for (size_t i = 0; i < sizeof plain; i++) plain[i] = (char)(i * 7);
  for (size_t i = 0; i < sizeof plain; i++) whole[i] = (char)(plain[i] ^ mask[i & 3]);
  for (size_t cut = 0; cut <= sizeof plain; cut++) {
    neap__ws_mask(parts, plain, cut, mask, 0);
    neap__ws_mask(parts + cut, plain + cut, sizeof plain - cut, mask, cut);
    CHECK(memcmp(parts, whole, sizeof whole) == 0);
  }
}

TEST(a_part_can_be_dropped) {
  neap__ws_parser parser = {.max_message = MAX};
  size_t used;
  CHECK(neap__ws_parse(&parser, "\x81\x02\xff\xff", 4, &used) == NEAP__WS_PART && used == 4);
  CHECK(neap__ws_take(&parser, NULL));
  CHECK(neap__ws_parse(&parser, "", 0, &used) == NEAP__WS_MESSAGE);
}

/* ---- What is refused --------------------------------------------------------------------------- */

TEST(heads_that_must_not_be_sent_are_protocol_errors) {
  IS(PARSE("\xc1\x00"), "failed 1002\n"); /* a reserved bit */
  IS(PARSE("\xa1\x00"), "failed 1002\n");
  IS(PARSE("\x91\x00"), "failed 1002\n");
  IS(PARSE("\x83\x00"), "failed 1002\n"); /* unknown opcodes */
  IS(PARSE("\x87\x00"), "failed 1002\n");
  IS(PARSE("\x8b\x00"), "failed 1002\n");
  IS(PARSE("\x8f\x00"), "failed 1002\n");
  IS(PARSE("\x09\x00"), "failed 1002\n");     /* a fragmented ping */
  IS(PARSE("\x89\x7e\x00"), "failed 1002\n"); /* a long one */
  IS(PARSE("\x80\x00"), "failed 1002\n");     /* it continues nothing */
  IS(PARSE("\x01\x00\x81\x00"), "failed 1002\n");
  IS(PARSE("\x81\x00\x80\x00"), "text 0 0\nfailed 1002\n");
  IS(PARSE("\x81\x80"), "failed 1002\n"); /* masked by a server */
  IS(PARSE_MASKED("\x81\x00"), "failed 1002\n");
}

TEST(lengths_take_no_more_bytes_than_they_need) {
  IS(PARSE("\x82\x7e\x00\x7d"), "failed 1002\n");
  IS(PARSE("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"), "failed 1002\n");
  IS(PARSE("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), "failed 1002\n");
}

TEST(a_message_has_a_limit_that_counts_all_fragments) {
  IS(parse(false, 4,
           "\x81\x04"
           "abcd",
           6),
     "text 4 2987074\n");
  IS(parse(false, 4, "\x81\x05", 2), "failed 1009\n");
  IS(parse(false, 4,
           "\x01\x03"
           "abc\x80\x02",
           7),
     "failed 1009\n");
  IS(parse(false, UINT64_MAX,
           "\x01\x01"
           "a\x80\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
           13),
     "");
  IS(parse(false, 0, "\x81\x00\x89\x01x", 5), "text 0 0\nping x\n");
}

TEST(text_is_utf8_and_binary_is_anything) {
  IS(PARSE("\x82\x02\xff\xfe"), "binary 2 8159\n");
  IS(PARSE("\x81\x02\xff\xfe"), "failed 1007\n");
  IS(PARSE("\x81\x01\xc3"), "failed 1007\n");             /* it ends within a character */
  IS(PARSE("\x01\x01\xc3\x80\x01\x28"), "failed 1007\n"); /* which goes over fragments */
  IS(PARSE("\x81\x7e\x10\x00\xf4\x90"), "failed 1007\n"); /* seen long before the end */
}

TEST(close_frames_have_a_code_that_may_be_sent_and_a_text) {
  IS(PARSE("\x88\x02\x03\xe8"), "close 1000 \n");
  IS(PARSE("\x88\x05\x0f\xa0"
           "abc"),
     "close 4000 abc\n");
  IS(PARSE("\x88\x01\x03"), "failed 1002\n");
  IS(PARSE("\x88\x02\x03\xed"), "failed 1002\n"); /* 1005 */
  IS(PARSE("\x88\x02\x03\xee"), "failed 1002\n");
  IS(PARSE("\x88\x02\x00\x00"), "failed 1002\n");
  IS(PARSE("\x88\x02\x07\xd0"), "failed 1002\n");
  IS(PARSE("\x88\x02\xff\xff"), "failed 1002\n");
  IS(PARSE("\x88\x03\x03\xe8\xff"), "failed 1007\n");
}

TEST(it_stays_failed) {
  neap__ws_parser parser = {.max_message = MAX};
  size_t used;
  CHECK(neap__ws_parse(&parser, "\x83\x00", 2, &used) == NEAP__WS_FAILED);
  CHECK(neap__ws_parse(&parser, "\x81\x00", 2, &used) == NEAP__WS_FAILED);
  CHECK(used == 0 && parser.failure == NEAP__WS_PROTOCOL);
}

/* ---- The handshake ---------------------------------------------------------------------------- */

TEST(the_answer_to_the_key_of_the_rfc_is_its_own) { /* section 1.3 */
  char accept[NEAP__WS_ACCEPT_SIZE], key[NEAP__WS_KEY_SIZE];
  neap__ws_accept("dGhlIHNhbXBsZSBub25jZQ==", 24, accept);
  IS(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  neap__ws_key((const uint8_t *)"the sample nonce", key);
  IS(key, "dGhlIHNhbXBsZSBub25jZQ==");
}

TEST(a_key_is_16_bytes_in_base64) {
  CHECK(neap__ws_is_key("dGhlIHNhbXBsZSBub25jZQ==", 24));
  CHECK(!neap__ws_is_key("dGhlIHNhbXBsZSBub25jZR==", 24));
  CHECK(!neap__ws_is_key("dGhlIHNhbXBsZSBub25jZQ=", 23));
  CHECK(!neap__ws_is_key("dGhlIHNhbXBsZSBub25jZQAA", 24));
  CHECK(!neap__ws_is_key("dGhl HNhbXBsZSBub25jZQ==", 24));
}
