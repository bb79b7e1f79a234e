/* Frames of any bytes, cut at any places. The first byte tells how: bit 0, they come from a client; the rest, the
 * length of the pieces. The events are the same as of the bytes in one piece, messages of text are UTF-8 and
 * none is longer than allowed. */
#include "../websocket.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_MESSAGE = 4096 };

/* A sum over all events, and the message under way. */
typedef struct told {
  uint64_t sum;
  char message[MAX_MESSAGE];
  size_t size;
} told;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact) {
  if (!fact) abort();
}

static void add(told *self, const char *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) self->sum = self->sum * 1099511628211u + (uint8_t)bytes[i];
}

static bool take_part(told *self, neap__ws_parser *parser) {
  size_t n = parser->part_size;
  require(n > 0 && self->size + n <= MAX_MESSAGE);
  if (!neap__ws_take(parser, self->message + self->size)) return false;
  self->size += n;
  return true;
}

static void end_message(told *self, const neap__ws_parser *parser) {
  neap__utf8 utf8 = {0};
  if (parser->kind == NEAP__WS_TEXT)
    require(neap__utf8_feed(&utf8, self->message, self->size) && neap__utf8_is_complete(&utf8));
  require(parser->size == self->size);
  add(self, self->message, self->size);
  self->size = 0;
}

static bool see(told *self, neap__ws_parser *parser, neap__ws_event event) {
  char what = (char)event;
  if (event == NEAP__WS_PART) return take_part(self, parser);
  add(self, &what, 1);
  if (event == NEAP__WS_FAILED) return false;
  if (event == NEAP__WS_MESSAGE)
    end_message(self, parser);
  else
    add(self, parser->control, (size_t)parser->length);
  return true;
}

static bool feed(told *self, neap__ws_parser *parser, const char *bytes, size_t n) {
  size_t used;
  neap__ws_event event;
  for (;; bytes += used, n -= used) {
    event = neap__ws_parse(parser, bytes, n, &used);
    require(used <= n);
    if (event == NEAP__WS_MORE) {
      require(used == n);
      return true;
    }
    if (!see(self, parser, event)) return false;
  }
}

static uint64_t play(bool is_server, const char *bytes, size_t n, size_t piece) {
  static told told;
  neap__ws_parser parser = {.is_server = is_server, .max_message = MAX_MESSAGE};
  told.sum = told.size = 0;
  for (size_t i = 0; i < n; i += piece) {
    size_t size = n - i < piece ? n - i : piece;
    if (feed(&told, &parser, bytes + i, size)) continue;
    return told.sum + parser.failure;
  }
  return told.sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2 || size > 100000) return 0;
  const char *bytes = (const char *)data + 1;
  size_t piece = data[0] >> 1;
  uint64_t whole = play(data[0] & 1, bytes, size - 1, size - 1);
  require(whole == play(data[0] & 1, bytes, size - 1, piece ? piece : 1));
  return 0;
}
