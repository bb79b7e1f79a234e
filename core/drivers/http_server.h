/* HTTP/1.1 on a connection, as a server: requests in, responses out, in their order.
 *
 * A connection is an operation on a stream; it is done when the connection has ended. What arrives is
 * parsed by llhttp on the spot; a request whose head is complete becomes an exchange, and the host's
 * handler is started for it in the next turn. The next request is not looked at before the handler has
 * ended and its response is with the system. Responses to requests that came together go out together.
 *
 * Strict: what could be understood in two ways is refused (docs/reference/http-server.md). */
#ifndef NEAP_DRIVERS_HTTP_SERVER_H
#define NEAP_DRIVERS_HTTP_SERVER_H

#include "../ops/job.h"
#include "../ops/stream.h"

#include <llhttp.h>
#include <time.h>

typedef struct neap__http_server neap__http_server;
typedef struct neap__http_conn neap__http_conn;
typedef struct neap__http_exchange neap__http_exchange;

/* Bytes that grow. All zero: none. */
typedef struct neap__bytes {
  char *data;
  size_t length, capacity;
} neap__bytes;

/* Room for n more; false when out of memory. */
bool neap__bytes_reserve(neap__bytes *bytes, neap__memory *memory, size_t n);
bool neap__bytes_add(neap__bytes *bytes, neap__memory *memory, const char *data, size_t n);
/* The same where there is room. */
void neap__bytes_put(neap__bytes *bytes, const char *data, size_t n);
void neap__bytes_free(neap__bytes *bytes, neap__memory *memory);

/* ---- What the connections of one server share ------------------------------------------------- */

typedef struct neap__http_hooks {
  /* A request has come: starts its handler, which ends with neap__http_end. In a turn of its own, not in
   * a task. */
  void (*start)(void *data, neap__http_exchange *exchange);
  /* The handler that was started has ended (neap__http_end), and its turn has come: may still respond. Not
   * called where the loop closes. */
  void (*ended)(void *data, neap__http_exchange *exchange);
  /* The last connection and holder have gone. */
  void (*release)(void *data);
} neap__http_hooks;

struct neap__http_server {
  neap_loop *loop;
  neap__http_hooks hooks;
  void *data;
  uint32_t refs;
  size_t max_head, max_body;         /* bytes */
  double head_timeout, idle_timeout; /* seconds; HUGE_VAL: none */
  bool is_stopping;                  /* no connection outlives its exchange */
  bool ignores_hangup;               /* a client that sends no more may still listen */
  neap__list conns;
  neap__http_exchange *spares; /* for the next requests */
  unsigned spare_count;
  llhttp_settings_t settings;
  char date[32]; /* of the second `dated` */
  time_t dated;
};

/* NULL when out of memory. Owner: the caller has one reference. */
neap__http_server *neap__http_server_new(neap_loop *loop, neap__http_hooks hooks, void *data);
void neap__http_server_unref(neap__http_server *self);

/* From now on a connection ends with the exchange that it has; idle ones end at once. */
void neap__http_server_stop(neap__http_server *self);

/* ---- A connection ----------------------------------------------------------------------------- */

typedef enum neap__http_phase {
  NEAP__HTTP_IDLE,   /* before the first byte of a request */
  NEAP__HTTP_HEAD,   /* within its head */
  NEAP__HTTP_BODY,   /* within its body */
  NEAP__HTTP_WAIT,   /* it has come: what follows is left until the response is out */
  NEAP__HTTP_LINGER, /* what comes is dropped, so that the client sees the last response */
  NEAP__HTTP_OVER
} neap__http_phase;

/* Arguments: server, stream (both referenced). */
struct neap__http_conn {
  neap__op op;
  neap__http_server *server;
  neap__stream *stream;
  neap__resource resource;
  neap__list link;        /* in server->conns */
  neap__routine *routine; /* that awaits it; handlers hang below it */
  neap__runnable runnable;
  neap__timer timer;
  double deadline; /* HUGE_VAL: it waits for a handler */
  neap__http_exchange *exchange;
  llhttp_t parser;
  neap__bytes out;       /* not sent yet */
  neap__write *flushing; /* referenced */
  neap__wait flushed;
  size_t flushed_before; /* what it had sent when the timer looked last */
  size_t head_bytes;     /* of this head, so far */
  size_t framing;        /* bytes of this body that are not content */
  size_t max_framing;    /* ... and how many they may be, so far */
  uint64_t body_bytes;   /* of its content, so far */
  size_t discarded;
  char last;        /* the last byte of the head, so far */
  int refusal;      /* the status that the request gets instead of an answer; 0 */
  uint8_t phase;    /* neap__http_phase */
  bool is_queued;   /* its runnable is */
  bool is_running;  /* it is being served at this moment */
  bool was_paused;  /* by a callback of the parser */
  bool discards;    /* nobody wants the rest of the body */
  bool closes;      /* after what is in `out` */
  bool has_ended;   /* nothing more comes */
  bool is_upgraded; /* the stream is the handler's, as long as that runs */
};

extern const neap__op_kind neap__http_conn_kind;

/* ---- One request and its response --------------------------------------------------------------- */

/* A field of the head: places in `head`. */
typedef struct neap__http_field {
  uint32_t name, name_length, value, value_length;
} neap__http_field;

typedef enum neap__http_answer {
  NEAP__HTTP_OPEN,      /* the head of the response is not out */
  NEAP__HTTP_STREAMING, /* its body follows */
  NEAP__HTTP_DONE       /* complete */
} neap__http_answer;

struct neap__http_exchange {
  neap__http_conn *conn;
  neap__http_exchange *next; /* among the spare ones */
  uint32_t refs;             /* the connection's, and one for each read of the body */
  /* The request. */
  neap__bytes head; /* target, then names and values */
  size_t target;    /* its length */
  neap__http_field *fields;
  size_t count, capacity;
  uint8_t method, minor;
  bool keeps_alive;
  bool wants_continue; /* the client waits for "100 Continue" */
  bool has_body;
  neap__reader body;
  /* The response. */
  neap__bytes lines; /* fields that the handler has set */
  int status;        /* 0: none set */
  int64_t length;    /* of the body as told before, -1: not told */
  int64_t written;   /* of the body */
  uint8_t answer;    /* neap__http_answer */
  bool is_chunked;
  bool has_type, has_date;
  bool closes;    /* the connection, after it */
  bool is_broken; /* it cannot be completed: the connection goes */
  bool has_lost;  /* ... since a write has failed: the client has gone */
  bool is_ready, is_started, is_ended;
  bool is_writing; /* `written_wait` waits */
  neap__wait written_wait;
  /* The host's. The first two begin with a pointer to this one, or are NULL. */
  neap_task *task; /* the handler's; borrowed while it is pending */
  neap__wait task_wait;
  void **request, **response;
  uint32_t pin;
};

static inline const char *neap__http_text(const neap__http_exchange *self, uint32_t place) {
  return self->head.data + place;
}

/* The n-th field of that name, from 0 on; NULL: there is none. */
const neap__http_field *neap__http_find(const neap__http_exchange *self, const char *name,
                                        size_t length, size_t n);

bool neap__http_is_name(const char *a, size_t length, const char *b);

/* The client has gone, or the connection is closed. */
static inline bool neap__http_is_gone(const neap__http_exchange *self) {
  return self->conn->phase == NEAP__HTTP_OVER;
}

/* The handler has ended. The exchange may be gone when this returns. */
void neap__http_end(neap__http_exchange *self);

/* Sets a field of the response, in the place of those of the same name or besides them. UV_EINVAL: the
 * name or the value cannot be in a head; NEAP_EMISUSE: it is the server's to set; UV_ENOMEM. */
int neap__http_set_field(neap__http_exchange *self, const char *name, size_t name_length,
                         const char *value, size_t value_length, bool replaces);
/* Drops those of that name. */
void neap__http_drop_field(neap__http_exchange *self, const char *name, size_t length);
/* What was set; NULL: nothing. */
const char *neap__http_get_field(const neap__http_exchange *self, const char *name, size_t length,
                                 size_t *size);

/* The whole response, if its head is not out. The body is copied. UV_ENOMEM. */
int neap__http_respond(neap__http_exchange *self, int status, const char *body, size_t n);

/* Puts the head of a response whose body follows into the connection's `out`. UV_ENOMEM. */
int neap__http_begin(neap__http_exchange *self);
/* The same for what stands around a chunk of n bytes; the caller sends `out`, the chunk, and `tail`. NULL:
 * out of memory. */
const char *neap__http_chunk(neap__http_exchange *self, size_t n);
/* The end of the body. UV_ENOMEM; UV_EINVAL: it is not as long as was told. */
int neap__http_finish(neap__http_exchange *self);

/* Notes a write of the handler's, which has not begun: what it cannot complete breaks the response. */
void neap__http_follow_write(neap__http_exchange *self, neap__op *op);

/* Whether a response with that status, to this request, has a body. */
bool neap__http_has_content(const neap__http_exchange *self, int status);

/* "Not Found"; "" if nobody knows. Static. */
const char *neap__http_reason(int status);

/* The connection is the handler's from now on, with what has arrived and was not used up; the request has no
 * body that is still to come. UV_ENOMEM; NEAP_ECLOSED: the client has gone. */
int neap__http_upgrade(neap__http_exchange *self, const char *head, size_t length);

/* Seconds since 1970 as in "Sun, 06 Nov 1994 08:49:37 GMT", 29 characters and a NUL. */
void neap__http_format_date(time_t time, char *text);
/* The opposite; -1 if it is none. */
time_t neap__http_parse_date(const char *text, size_t length);

/* ---- For the files of this driver ---------------------------------------------------------------- */

/* Parses what has come; returns how much it has used up. */
size_t neap__http_parse(neap__http_conn *self, const char *bytes, size_t n);
/* Makes the request at hand one that gets `status`, and the connection one that ends. */
void neap__http_refuse(neap__http_conn *self, int status);
/* The rest of the body is lost: reads of it fail. */
void neap__http_fail_body(neap__http_conn *self, int code);
void neap__http_init_settings(llhttp_settings_t *settings);

neap__http_exchange *neap__http_exchange_take(neap__http_conn *conn);
void neap__http_exchange_unref(neap__http_exchange *self);

/* Sends `out` and then n bytes more, which are the caller's. */
void neap__http_send(neap__http_conn *self, const char *bytes, size_t n);
/* More of the body is wanted. 1: some came on the spot, 0: it comes later. */
int neap__http_want(neap__http_conn *self);
/* The client has the idle time from now on to take what is written. */
void neap__http_watch(neap__http_conn *self);
/* From now on nothing is parsed; the stream stays open until the handler has ended. */
void neap__http_hand_over(neap__http_conn *self);
/* Serves it in a turn of its own. */
void neap__http_queue(neap__http_conn *self);
/* Ends it now; what is not sent is lost. */
void neap__http_hang_up(neap__http_conn *self);

/* ---- Files ----------------------------------------------------------------------------------- */

/* Sends a part of a file to the stream without a copy, in the pool, as much as the socket takes. Arguments:
 * stream (referenced), file (borrowed until it has started), offset, count. Result: sent; fewer than
 * `count`: the socket is full, or the file has ended, or it is the turn of others. UV_ENOTSUP: there is a
 * filter, such as TLS, between the stream and its socket. */
typedef struct neap__http_sendfile {
  neap__job job;
  neap__stream *stream;
  int file;
  int fd, socket; /* own copies */
  bool has_both;
  int64_t offset, count, sent;
} neap__http_sendfile;

extern const neap__op_kind neap__http_sendfile_kind;

#endif
