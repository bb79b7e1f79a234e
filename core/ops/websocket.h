/* A WebSocket on a stream whose handshake is over: messages in and out (RFC 6455).
 *
 * It takes over what arrives on the stream. Whole messages are kept until they are received, up to a limit
 * behind which the peer has to wait; control frames are answered meanwhile. A message is one frame and one
 * write, so messages do not mix. The stream closes with it, and it ends when the stream does. */
#ifndef NEAP_OPS_WEBSOCKET_H
#define NEAP_OPS_WEBSOCKET_H

#include "../websocket.h"
#include "stream.h"

typedef struct neap__websocket neap__websocket;

/* One that has arrived. */
typedef struct neap__ws_message {
  neap__list link;
  size_t size, capacity;
  bool is_text;
  char data[];
} neap__ws_message;

/* A write that it has to hear of. */
typedef struct neap__ws_last {
  neap_task *task; /* referenced; NULL: none */
  neap__wait wait;
} neap__ws_last;

typedef struct neap__ws_options {
  bool is_server;
  uint64_t max_message;
  double ping;         /* seconds of silence before one is sent; HUGE_VAL: never */
  double ping_timeout; /* ... and for something to come then */
  double close_timeout;
} neap__ws_options;

/* References: the holder's, one while it is open, one for each operation on it, one while its stream closes.
 *
 * Invariant: while `receiver` waits nothing has arrived that is not received. */
struct neap__websocket {
  neap_loop *loop;
  neap__stream *stream; /* referenced */
  uint32_t refs;
  neap__ws_options options;
  neap__ws_parser parser;
  neap__ws_message *growing; /* the message under way; NULL: none of it is there */
  neap__list arrived;
  size_t arrived_size, arrived_count;
  neap__op *receiver;
  neap__list pings, closers; /* operations */
  uint64_t last_ping;
  neap__timer timer; /* of the keep-alive, then of the closing handshake */
  double heard;      /* when something came last */
  neap__ws_last pong, close, ended;
  char pong_text[NEAP__WS_CONTROL];
  uint8_t pong_size;
  uint8_t random[256]; /* for masks */
  size_t random_left;
  /* The end. */
  uint16_t close_code; /* the peer's; 0: it has sent none */
  char reason[NEAP__WS_REASON];
  uint8_t reason_size;
  neap_error error;    /* what has ended it, code 0: nothing has but a close */
  uint16_t error_code; /* what was told to the peer; 0: nothing */
  bool is_probing;     /* nothing has come since the ping of the keep-alive */
  bool owes_pong;
  bool has_said_close, close_is_out;
  bool is_hasty; /* it waits for no answer to its close */
  bool is_over;
  bool is_dropped;
};

/* Takes over the stream, of which it has a reference of its own. NEAP_ECLOSED; NEAP_EMISUSE: somebody reads
 * from it; UV_ENOMEM. Owner: the caller has one reference. */
int neap__websocket_new(neap__stream *stream, const neap__ws_options *options,
                        neap__websocket **result);

void neap__websocket_unref(neap__websocket *self);
/* Gives up the holder's reference: it ends at once when no operation needs it any more and it is not closing. */
void neap__websocket_drop(neap__websocket *self);

/* Begins the closing handshake, if it has not begun: code and reason are for the peer (NEAP__WS_NO_CODE: none). From
 * now on nothing can be sent, and messages that arrive are dropped. `is_hasty`: no answer is waited for. */
void neap__websocket_close(neap__websocket *self, int code, const char *reason, size_t n,
                           bool is_hasty);

/* Nothing can be sent any more. */
static inline bool neap__websocket_is_closing(const neap__websocket *self) {
  return self->is_over || self->has_said_close;
}

/* What a receiver hears at the end: the peer's code, or NEAP__WS_LOST. */
static inline int neap__websocket_code(const neap__websocket *self) {
  return self->close_code ? self->close_code : NEAP__WS_LOST;
}

/* ---- Operations ------------------------------------------------------------------------------- */

/* Argument: ws (referenced). */
typedef struct neap__ws_op {
  neap__op op;
  neap__op_link link; /* in its pings or closers */
  neap__websocket *ws;
  neap__ws_message *message; /* receive: own; NULL: it has ended */
  uint64_t id;
  double since; /* ping: when it was sent; then the seconds it took */
} neap__ws_op;

extern const neap__op_kind neap__ws_receive_kind; /* one at a time */
extern const neap__op_kind neap__ws_ping_kind;    /* done when the peer has answered */
extern const neap__op_kind neap__ws_close_kind;   /* of what closes; cancelled, it closes at once */

/* Sends a message. Arguments: ws (referenced), opcode, data, size: the caller's until neap__op_start has
 * returned. One that is cancelled while a part of it has left ends the connection. */
typedef struct neap__ws_send {
  neap__write write;
  neap__websocket *ws;
  neap__ws_opcode opcode;
  const char *data;
  size_t size;
} neap__ws_send;

extern const neap__op_kind neap__ws_send_kind;

#endif
