/* Frames of WebSocket (RFC 6455), without a socket: parsing, building, and the key of the handshake.
 *
 * Strict: what an endpoint must not send is refused, with the code to close with. No extension is spoken. */
#ifndef NEAP_WEBSOCKET_H
#define NEAP_WEBSOCKET_H

#include "utf8.h"

typedef enum neap__ws_opcode {
  NEAP__WS_CONTINUATION = 0,
  NEAP__WS_TEXT = 1,
  NEAP__WS_BINARY = 2,
  NEAP__WS_CLOSE = 8,
  NEAP__WS_PING = 9,
  NEAP__WS_PONG = 10
} neap__ws_opcode;

/* Why a connection closes: those that this code uses itself. */
enum {
  NEAP__WS_NORMAL = 1000,
  NEAP__WS_GOING_AWAY = 1001,
  NEAP__WS_PROTOCOL = 1002,
  NEAP__WS_NO_CODE = 1005, /* never sent: the peer gave none */
  NEAP__WS_LOST = 1006,    /* never sent: there was no closing handshake */
  NEAP__WS_NOT_TEXT = 1007,
  NEAP__WS_TOO_LARGE = 1009,
  NEAP__WS_INTERNAL = 1011
};

enum {
  NEAP__WS_HEAD = 14,         /* bytes in front of a payload, at most */
  NEAP__WS_CONTROL = 125,     /* payload of a control frame, at most */
  NEAP__WS_REASON = 123,      /* bytes of a reason, at most */
  NEAP__WS_KEY_SIZE = 24 + 1, /* with a NUL */
  NEAP__WS_ACCEPT_SIZE = 28 + 1
};

/* ---- Parsing ---------------------------------------------------------------------------------- */

typedef enum neap__ws_event {
  NEAP__WS_MORE,     /* all bytes are used up, more are needed */
  NEAP__WS_PART,     /* part_size bytes of a message have come: take them with neap__ws_take */
  NEAP__WS_MESSAGE,  /* the message of `kind` is complete */
  NEAP__WS_GOT_PING, /* a control frame: `control`, `length` bytes */
  NEAP__WS_GOT_PONG,
  NEAP__WS_GOT_CLOSE, /* ... with close_code; its reason are the bytes from the third on */
  NEAP__WS_FAILED     /* close with `failure`; nothing more can be parsed */
} neap__ws_event;

/* What arrives. All zero but for the first two: before the first frame.
 *
 * Invariant: done <= length; `kind` is 0 while no message is under way. */
typedef struct neap__ws_parser {
  bool is_server;       /* what comes is masked, as from a client; else it is not */
  uint64_t max_message; /* bytes */
  uint8_t head[NEAP__WS_HEAD];
  uint8_t head_size; /* of it, so far */
  uint8_t opcode;    /* of this frame */
  uint8_t kind;      /* of this message */
  bool is_final, is_in_payload, has_ended;
  uint8_t mask[4];
  uint64_t length, done; /* of the payload of this frame, and so far */
  uint64_t size;         /* of the message, with all of this frame */
  neap__utf8 utf8;
  const char *part; /* in the caller's bytes, masked */
  size_t part_size;
  char control[NEAP__WS_CONTROL];
  uint16_t close_code, failure;
  const char *why; /* of the failure, static */
} neap__ws_parser;

/* Parses up to the next event; *used tells how many of the n bytes it took. Call it again with the rest,
 * which may be none, until it asks for more. */
neap__ws_event neap__ws_parse(neap__ws_parser *self, const char *bytes, size_t n, size_t *used);

/* Copies the part that has come, unmasked, before the next call of parse; `to` NULL: drops it. False: it is not
 * the text that it has to be, and the parser has failed. */
bool neap__ws_take(neap__ws_parser *self, char *to);

/* Whether an endpoint may send this code. */
bool neap__ws_is_code(int code);

/* ---- Building --------------------------------------------------------------------------------- */

/* The head of a final frame with n bytes of payload; `mask` NULL: not masked. Gives its size. */
size_t neap__ws_head(char head[NEAP__WS_HEAD], neap__ws_opcode opcode, uint64_t n,
                     const uint8_t *mask);

/* Masks or unmasks n bytes, the first of which is the one at `place` of the payload. In place, or to memory
 * that does not overlap. */
void neap__ws_mask(char *to, const char *from, size_t n, const uint8_t mask[4], uint64_t place);

/* ---- The handshake ---------------------------------------------------------------------------- */

/* What a server answers to Sec-WebSocket-Key, with a NUL. */
void neap__ws_accept(const char *key, size_t n, char accept[NEAP__WS_ACCEPT_SIZE]);
/* A key of 16 random bytes, with a NUL. */
void neap__ws_key(const uint8_t random[16], char key[NEAP__WS_KEY_SIZE]);
/* Whether a client may send this as its key: 16 bytes in base64. */
bool neap__ws_is_key(const char *key, size_t n);

#endif
