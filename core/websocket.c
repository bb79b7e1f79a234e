#include "websocket.h"

#include "sha1.h"

#include <string.h>

enum { FINAL = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f };
enum { LENGTH_16 = 126, LENGTH_64 = 127 };

static size_t smaller(uint64_t a, size_t b) {
  return a < b ? (size_t)a : b;
}

/* ---- Masks ------------------------------------------------------------------------------------ */

/* The mask as a word that begins with the byte for `place`. */
static uint64_t mask_word(const uint8_t mask[4], uint64_t place) {
  uint8_t bytes[8];
  uint64_t word;
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = mask[(place + i) & 3];
  memcpy(&word, bytes, sizeof word);
  return word;
}

void neap__ws_mask(char *to, const char *from, size_t n, const uint8_t mask[4], uint64_t place) {
  uint64_t key = mask_word(mask, place), word;
  size_t i = 0;
  for (; n - i >= sizeof word; i += sizeof word) {
    memcpy(&word, from + i, sizeof word);
    word ^= key;
    memcpy(to + i, &word, sizeof word);
  }
  for (; i < n; i++) to[i] = (char)((uint8_t)from[i] ^ mask[(place + i) & 3]);
}

/* ---- Heads ------------------------------------------------------------------------------------ */

static uint64_t read_number(const uint8_t *at, size_t n) {
  uint64_t number = 0;
  for (size_t i = 0; i < n; i++) number = number << 8 | at[i];
  return number;
}

static void put_number(char *to, uint64_t number, size_t n) {
  for (size_t i = 0; i < n; i++) to[i] = (char)(uint8_t)(number >> (8 * (n - 1 - i)));
}

/* Bytes of a length that the second byte of the head leaves to others. */
static size_t extra_of(uint8_t second) {
  uint8_t length = second & LENGTH;
  return length == LENGTH_64 ? 8 : length == LENGTH_16 ? 2 : 0;
}

static size_t head_size(const neap__ws_parser *self) {
  if (self->head_size < 2) return 2;
  return 2 + extra_of(self->head[1]) + (self->head[1] & MASKED ? 4 : 0);
}

size_t neap__ws_head(char head[NEAP__WS_HEAD], neap__ws_opcode opcode, uint64_t n,
                     const uint8_t *mask) {
  uint8_t length = n <= NEAP__WS_CONTROL ? (uint8_t)n : n <= UINT16_MAX ? LENGTH_16 : LENGTH_64;
  size_t extra = extra_of(length);
  head[0] = (char)(uint8_t)(FINAL | (unsigned)opcode);
  head[1] = (char)(uint8_t)(length | (mask ? MASKED : 0));
  put_number(head + 2, n, extra);
  if (!mask) return 2 + extra;
  memcpy(head + 2 + extra, mask, 4);
  return 2 + extra + 4;
}

/* ---- Parsing ---------------------------------------------------------------------------------- */

static neap__ws_event fail(neap__ws_parser *self, int code, const char *why) {
  self->failure = (uint16_t)code;
  self->why = why;
  return NEAP__WS_FAILED;
}

static bool is_control(uint8_t opcode) {
  return opcode >= NEAP__WS_CLOSE;
}

static bool is_known(uint8_t opcode) {
  return opcode <= NEAP__WS_BINARY || (is_control(opcode) && opcode <= NEAP__WS_PONG);
}

/* What is wrong with the first two bytes; NULL: nothing. */
static const char *fault_of_start(const neap__ws_parser *self) {
  uint8_t first = self->head[0], second = self->head[1];
  uint8_t opcode = first & OPCODE;
  if (first & RESERVED) return "a frame has reserved bits, and no extension was agreed upon";
  if (!is_known(opcode)) return "a frame has an unknown opcode";
  if (is_control(opcode) && !(first & FINAL)) return "a control frame is fragmented";
  if (is_control(opcode) && (second & LENGTH) > NEAP__WS_CONTROL)
    return "a control frame is longer than 125 bytes";
  if (self->is_server && !(second & MASKED)) return "a frame of the client is not masked";
  if (!self->is_server && (second & MASKED)) return "a frame of the server is masked";
  if (opcode == NEAP__WS_CONTINUATION && !self->kind) return "a continuation continues no message";
  bool is_first = opcode == NEAP__WS_TEXT || opcode == NEAP__WS_BINARY;
  return is_first && self->kind ? "a message begins within another one" : NULL;
}

static const char *fault_of_length(uint64_t length, size_t extra) {
  if (extra == 8 && length >> 63) return "the length of a frame is negative";
  bool is_longer =
      (extra == 2 && length <= NEAP__WS_CONTROL) || (extra == 8 && length <= UINT16_MAX);
  return is_longer ? "the length of a frame takes more bytes than it needs" : NULL;
}

static bool begin_data(neap__ws_parser *self) {
  if (self->opcode != NEAP__WS_CONTINUATION) {
    self->kind = self->opcode;
    self->size = 0;
    self->utf8 = (neap__utf8){0};
  }
  if (self->length > self->max_message || self->size > self->max_message - self->length)
    return false;
  self->size += self->length;
  return true;
}

/* The head is complete. */
static neap__ws_event begin_frame(neap__ws_parser *self) {
  size_t extra = extra_of(self->head[1]);
  self->opcode = self->head[0] & OPCODE;
  self->is_final = self->head[0] & FINAL;
  self->length = extra ? read_number(self->head + 2, extra) : self->head[1] & LENGTH;
  self->done = 0;
  const char *fault = fault_of_length(self->length, extra);
  if (fault) return fail(self, NEAP__WS_PROTOCOL, fault);
  memcpy(self->mask, self->head + 2 + extra, 4);
  if (!is_control(self->opcode) && !begin_data(self))
    return fail(self, NEAP__WS_TOO_LARGE, "a message is longer than max_message");
  self->head_size = 0;
  self->is_in_payload = true;
  return NEAP__WS_MORE;
}

/* Gives NEAP__WS_MORE also where the head is complete: is_in_payload then. */
static neap__ws_event parse_head(neap__ws_parser *self, const char *bytes, size_t n, size_t *used) {
  while (self->head_size < head_size(self)) {
    if (*used == n) return NEAP__WS_MORE;
    self->head[self->head_size++] = (uint8_t)bytes[(*used)++];
    if (self->head_size != 2) continue;
    const char *fault = fault_of_start(self);
    if (fault) return fail(self, NEAP__WS_PROTOCOL, fault);
  }
  return begin_frame(self);
}

/* A close frame: nothing, or a code and a reason. */
static neap__ws_event end_close(neap__ws_parser *self) {
  neap__utf8 utf8 = {0};
  self->close_code = NEAP__WS_NO_CODE;
  self->has_ended = true;
  if (self->length == 0) return NEAP__WS_GOT_CLOSE;
  if (self->length == 1) return fail(self, NEAP__WS_PROTOCOL, "a close frame has half a code");
  self->close_code = (uint16_t)read_number((const uint8_t *)self->control, 2);
  if (!neap__ws_is_code(self->close_code))
    return fail(self, NEAP__WS_PROTOCOL, "a close frame has a code that must not be sent");
  bool is_text = neap__utf8_feed(&utf8, self->control + 2, (size_t)self->length - 2) &&
                 neap__utf8_is_complete(&utf8);
  return is_text ? NEAP__WS_GOT_CLOSE
                 : fail(self, NEAP__WS_NOT_TEXT, "the reason of a close frame is not UTF-8");
}

static neap__ws_event end_data(neap__ws_parser *self) {
  if (!self->is_final) return NEAP__WS_MORE;
  if (self->kind == NEAP__WS_TEXT && !neap__utf8_is_complete(&self->utf8))
    return fail(self, NEAP__WS_NOT_TEXT, "a text message ends within a character");
  return NEAP__WS_MESSAGE;
}

static neap__ws_event end_frame(neap__ws_parser *self) {
  self->is_in_payload = false;
  switch (self->opcode) {
  case NEAP__WS_PING: return NEAP__WS_GOT_PING;
  case NEAP__WS_PONG: return NEAP__WS_GOT_PONG;
  case NEAP__WS_CLOSE: return end_close(self);
  default: return end_data(self);
  }
}

static void take_control(neap__ws_parser *self, const char *bytes, size_t n) {
  char *to = self->control + self->done;
  if (self->is_server)
    neap__ws_mask(to, bytes, n, self->mask, self->done);
  else
    memcpy(to, bytes, n);
  self->done += n;
}

/* Some of the payload is there, or was not missing. */
static neap__ws_event parse_payload(neap__ws_parser *self, const char *bytes, size_t n,
                                    size_t *used) {
  size_t size = smaller(self->length - self->done, n - *used);
  const char *at = bytes + *used;
  if (self->done == self->length) return end_frame(self);
  *used += size;
  if (is_control(self->opcode)) {
    take_control(self, at, size);
    return self->done == self->length ? end_frame(self) : NEAP__WS_MORE;
  }
  self->part = at;
  self->part_size = size;
  return size > 0 ? NEAP__WS_PART : NEAP__WS_MORE;
}

neap__ws_event neap__ws_parse(neap__ws_parser *self, const char *bytes, size_t n, size_t *used) {
  neap__ws_event event = self->failure ? NEAP__WS_FAILED : NEAP__WS_MORE;
  *used = 0;
  if (event == NEAP__WS_MORE && self->has_ended) *used = n; /* what follows a close is nobody's */
  if (self->kind && !self->is_in_payload && self->is_final && !is_control(self->opcode))
    self->kind = 0; /* the message that was told of last */
  while (event == NEAP__WS_MORE && !self->has_ended) {
    if (!self->is_in_payload) event = parse_head(self, bytes, n, used);
    if (event == NEAP__WS_FAILED || !self->is_in_payload) break;
    event = parse_payload(self, bytes, n, used);
    if (*used == n && self->is_in_payload) break;
  }
  return event;
}

bool neap__ws_take(neap__ws_parser *self, char *to) {
  const size_t n = self->part_size;
  if (to && self->is_server)
    neap__ws_mask(to, self->part, n, self->mask, self->done);
  else if (to)
    memcpy(to, self->part, n);
  self->done += n;
  self->part_size = 0;
  if (!to || self->kind != NEAP__WS_TEXT || neap__utf8_feed(&self->utf8, to, n)) return true;
  fail(self, NEAP__WS_NOT_TEXT, "a text message is not UTF-8");
  return false;
}

/* Section 7.4: what is defined to be sent, and the ranges for libraries and for programs. */
bool neap__ws_is_code(int code) {
  bool is_defined = code >= 1000 && code <= 1014 && !(code >= 1004 && code <= 1006);
  return is_defined || (code >= 3000 && code <= 4999);
}

/* ---- The handshake ---------------------------------------------------------------------------- */

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* RFC 4648, section 4; with a NUL. */
static void encode_base64(const uint8_t *bytes, size_t n, char *to) {
  for (size_t i = 0; i < n; i += 3) {
    uint32_t three = (uint32_t)bytes[i] << 16;
    if (i + 1 < n) three |= (uint32_t)bytes[i + 1] << 8;
    if (i + 2 < n) three |= bytes[i + 2];
    *to++ = letters[three >> 18];
    *to++ = letters[three >> 12 & 63];
    *to++ = i + 1 < n ? letters[three >> 6 & 63] : '=';
    *to++ = i + 2 < n ? letters[three & 63] : '=';
  }
  *to = '\0';
}

void neap__ws_accept(const char *key, size_t n, char accept[NEAP__WS_ACCEPT_SIZE]) {
  static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  char text[NEAP__WS_KEY_SIZE + sizeof guid];
  uint8_t digest[NEAP__SHA1_SIZE];
  if (n >= NEAP__WS_KEY_SIZE) n = NEAP__WS_KEY_SIZE - 1;
  memcpy(text, key, n);
  memcpy(text + n, guid, sizeof guid - 1);
  neap__sha1(text, n + sizeof guid - 1, digest);
  encode_base64(digest, sizeof digest, accept);
}

void neap__ws_key(const uint8_t random[16], char key[NEAP__WS_KEY_SIZE]) {
  encode_base64(random, 16, key);
}

bool neap__ws_is_key(const char *key, size_t n) {
  if (n != NEAP__WS_KEY_SIZE - 1 || memcmp(key + 22, "==", 2) != 0) return false;
  for (size_t i = 0; i < 22; i++)
    if (key[i] == '\0' || !strchr(letters, key[i])) return false;
  return strchr("AQgw", key[21]) != NULL; /* the bits behind the 16 bytes are zero */
}
