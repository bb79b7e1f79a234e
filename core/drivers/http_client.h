/* HTTP requests, by libcurl's multi interface on the loop.
 *
 * libcurl calls back from within its own functions, and must not be called again there. So a callback
 * notes what has come and puts its transfer into client->noted; what follows from it (settling, giving
 * bytes to a reader) happens in neap__http_client_work, when libcurl has returned. */
#ifndef NEAP_DRIVERS_HTTP_CLIENT_H
#define NEAP_DRIVERS_HTTP_CLIENT_H

#include "../loop.h"
#include "../op.h"
#include "../ops/reader.h"

#include <curl/curl.h>

typedef struct neap__http_client neap__http_client;
typedef struct neap__http_easy neap__http_easy;
typedef struct neap__http_send neap__http_send;
typedef struct neap__http_settings neap__http_settings;
typedef struct neap__http_socket neap__http_socket;
typedef struct neap__http_transfer neap__http_transfer;

/* ---- Settings ------------------------------------------------------------------------------ */

/* What holds for many requests, and is told to an easy handle once. Filled in after it was made, then
 * constant; shared by references. Strings are own memory, NULL where absent. */
struct neap__http_settings {
  neap_loop *loop;
  uint32_t refs;
  char *proxy; /* "": none, whatever the environment says */
  char *no_proxy;
  char *ca_file, *ca_path;
  char *certificate, *key, *key_password; /* of the client; files in PEM form */
  char *user, *password;
  char *unix_socket; /* to connect to, whatever host the URL names */
  struct curl_slist *headers;
  struct curl_slist *resolve; /* "host:port:address" */
  long max_redirects;         /* 0: redirects are responses like others */
  long version;               /* CURL_HTTP_VERSION_... */
  bool verifies;              /* the peer's certificate and its name */
  bool compresses;            /* responses may come compressed */
  double connect_limit;       /* seconds of the loop's clock for a connection; HUGE_VAL: any */
  double idle_limit;          /* ... without a byte in either direction */
};

/* Redirects are followed, 10 at most; all is verified and may be compressed; 30 s to connect. NULL when
 * out of memory. Owner: the caller has one reference. */
neap__http_settings *neap__http_settings_new(neap_loop *loop);
neap__http_settings *neap__http_settings_ref(neap__http_settings *self);
void neap__http_settings_unref(neap__http_settings *self);

/* Appends to a list of libcurl; false when out of memory, the list is as it was. */
bool neap__http_append(neap_loop *loop, struct curl_slist **list, const char *text);

/* ---- Client -------------------------------------------------------------------------------- */

enum {
  NEAP__HTTP_SPARES = 64, /* easy handles, and transfers, that are kept for the next requests */
  NEAP__HTTP_KEPT = 4096, /* ... with memory of this size at most */
  NEAP__HTTP_METHOD = 32, /* bytes of a method's name, its end included */
  NEAP__HTTP_DEFAULT_MAX_BODY = 64 << 20,
  NEAP__HTTP_MAX_HEAD = 256 << 10
};

/* A descriptor. */
typedef struct neap__http_place {
  neap__http_socket *socket; /* NULL: none of libcurl's */
  int asked; /* events that libcurl thinks it is watched for, by whatever socket it had */
} neap__http_place;

/* Connections, and what they have in common: cookies, TLS sessions, names that were looked up.
 * References: the holder's, and one for each transfer. */
struct neap__http_client {
  neap__resource resource;
  neap_loop *loop;
  uint32_t refs;
  CURLM *multi;
  CURLSH *share;
  neap__http_settings *settings; /* of requests that have none of their own */
  neap__timer timer;             /* when libcurl wants to be called */
  neap__runnable kick;           /* the same at once, where there was no memory for a timer */
  neap__list transfers;          /* that libcurl has */
  neap__list noted;              /* ... to which something has happened */
  neap__http_place *sockets;     /* by descriptor, `capacity` of them */
  size_t capacity;
  neap__http_easy *idle;
  unsigned idle_count;
  neap__http_transfer *spares; /* by `next`: only their memory is of use */
  unsigned spare_count;
  bool has_cookies;
  bool is_kicked;
  bool is_working; /* libcurl runs: it must not be called */
  bool must_look;  /* ... and has to go through all transfers when it has returned */
  bool is_closed;
};

typedef struct neap__http_limits {
  long connections;      /* of the client */
  long host_connections; /* to a host; 0: no limit */
  bool has_cookies;
} neap__http_limits;

/* Takes a reference to the settings. Owner: the caller has one reference. UV_ENOMEM, or UV_ENOTSUP when
 * libcurl is too old. */
int neap__http_client_new(neap_loop *loop, neap__http_settings *settings,
                          const neap__http_limits *limits, neap__http_client **result);
void neap__http_client_unref(neap__http_client *self);
/* Requests under way fail with ECLOSED, and so do those that come. Idempotent. */
void neap__http_client_close(neap__http_client *self);

/* After each call of libcurl's that may have called back: makes what follows from it. */
void neap__http_client_work(neap__http_client *self);

/* Lets neap__http_client_work happen soon: there is something noted. Never fails. */
void neap__http_client_kick(neap__http_client *self);

/* The cookies, as lines of the format that Netscape's file had. NULL: none, or out of memory. Owner: the
 * caller, curl_slist_free_all. */
struct curl_slist *neap__http_client_cookies(neap__http_client *self);
/* Adds such a line, or a header "Set-Cookie: ..."; "ALL" forgets them all. */
int neap__http_client_set_cookie(neap__http_client *self, const char *line);

/* ---- Sockets: how libcurl watches them ---------------------------------------------------------- */

/* Tells an easy handle how to open and close its sockets. */
CURLcode neap__http_watch_sockets(neap__http_client *self, neap__http_easy *easy);
int neap__http_on_socket(CURL *curl, curl_socket_t fd, int what, void *data, void *known);
/* The connection that the transfer has opened has come about. */
void neap__http_keep_socket(neap__http_transfer *transfer);
/* None is watched any more: libcurl has closed them. */
void neap__http_drop_sockets(neap__http_client *client);

/* ---- Easy handles -------------------------------------------------------------------------- */

/* An easy handle of libcurl, and what was told to it. */
struct neap__http_easy {
  CURL *curl;
  neap__http_easy *next;
  neap__http_settings *settings; /* NULL: a new one */
  const struct curl_slist *headers;
  neap__http_transfer *transfer; /* whose it is now */
  bool is_plain;                 /* the method of the last request was GET, without a body */
  bool waits_for_others;         /* CURLOPT_PIPEWAIT */
  char error[CURL_ERROR_SIZE];
};

/* An easy handle with all that the transfer needs; a negative code. Owner: the caller. */
int neap__http_easy_take(neap__http_transfer *transfer, neap__http_easy **result);
/* Gives it back, for the next request. */
void neap__http_easy_give(neap__http_client *client, neap__http_easy *easy);
void neap__http_easy_free(neap__http_easy *easy, neap_loop *loop);

/* ---- Transfers ----------------------------------------------------------------------------- */

/* A request and its response. References: the operation's, the holder's of a streamed body, and those of
 * reads and sends. */
struct neap__http_transfer {
  neap__resource resource; /* once its body is streamed */
  neap__list link;         /* in client->transfers */
  neap__list note;         /* in client->noted */
  neap_loop *loop;
  neap__http_client *client;
  neap__http_settings *settings;
  neap__http_easy *easy; /* while libcurl has it */
  neap__http_transfer *next;
  uint32_t refs;
  neap__op *request; /* until it has settled */

  /* The request. */
  char *url;
  size_t url_capacity;
  char method[NEAP__HTTP_METHOD];
  struct curl_slist *headers; /* NULL: those of the settings */
  char *body;
  size_t body_size;
  bool has_body;
  bool sends;           /* the body comes by neap__http_send */
  bool streams;         /* the response's body is read from `reader` */
  curl_off_t send_size; /* of a body that is sent; -1: unknown */
  size_t max_body;

  /* The response. */
  int status;
  char *head; /* of the last response, as it came: lines with their ends */
  size_t head_size, head_capacity;
  char *final_url; /* NULL: `url` */
  char *data;      /* the body, or what of a streamed one was not given to the reader so far */
  size_t data_size, data_capacity;
  size_t received; /* bytes of the body */
  neap__reader reader;

  /* Sending. */
  neap__http_send *sender; /* whose bytes are next */
  bool is_sent;            /* nothing follows */
  bool has_sent;           /* something has left */

  neap__timer limit;
  double last_activity;
  int code; /* why it has failed, or is to */
  const char *syscall;
  char *message; /* of libcurl, or NULL */
  bool is_connecting;
  bool has_opened; /* a socket, since the last connection came about */
  bool has_location;
  bool has_head;
  bool is_connected;   /* the request was sent, or is about to be */
  bool is_paused;      /* nobody reads */
  bool is_send_paused; /* nobody sends */
  bool has_ended;
  bool is_dropped; /* nobody holds the streamed body but reads */
};

/* Owner: the caller has one reference. NULL when out of memory. `method`: shorter than NEAP__HTTP_METHOD. */
neap__http_transfer *neap__http_transfer_new(neap__http_client *client, const char *method,
                                             const char *url);
/* Frees the memory of a spare one. */
void neap__http_transfer_free(neap__http_transfer *self, neap_loop *loop);
void neap__http_transfer_unref(neap__http_transfer *self);
/* Ends it, wherever it is: the connection is closed unless all has arrived. What waits for it fails
 * with ECLOSED. */
void neap__http_transfer_close(neap__http_transfer *self);
/* Gives up the reference of a streamed body's holder: it is closed when nobody reads any more. */
void neap__http_transfer_drop(neap__http_transfer *self);
/* Ends it for a reason; `message` is copied. */
void neap__http_transfer_fail(neap__http_transfer *self, int code, const char *message);

/* For the client: libcurl has ended it; something was noted. */
void neap__http_transfer_finish(neap__http_transfer *self, CURLcode result);
void neap__http_transfer_proceed(neap__http_transfer *self);
/* Notes it. From a callback. */
void neap__http_transfer_note(neap__http_transfer *self);
/* From a callback: it is going to fail with the code. */
void neap__http_transfer_doom(neap__http_transfer *self, int code, const char *syscall);
/* From a callback: it begins to connect. */
void neap__http_transfer_connect(neap__http_transfer *self);

/* Tells an easy handle of a transfer's callbacks. */
CURLcode neap__http_watch_transfer(neap__http_easy *easy);

/* What libcurl says as a code of neap's. Where there is a connection already, it is not the URL that is
 * wrong. */
int neap__http_code(CURLcode result, CURL *curl, bool is_connected);

/* Sends a request: done when the response's body has arrived, or, where it is streamed, its head.
 * Arguments: transfer (referenced). */
typedef struct neap__http_request {
  neap__op op;
  neap__http_transfer *transfer;
  bool is_taken; /* the body is somebody's: it outlives the operation */
} neap__http_request;

extern const neap__op_kind neap__http_request_kind;

/* Sends the next bytes of the request's body: done when libcurl has taken them; ECLOSED: nobody wants them any
 * more. Arguments: transfer (referenced), bytes (own copy). NULL bytes: the end. */
struct neap__http_send {
  neap__op op;
  neap__http_transfer *transfer;
  char *bytes;
  size_t size, sent;
};

extern const neap__op_kind neap__http_send_kind;

/* For the transfer: up to `size` bytes; CURL_READFUNC_PAUSE. */
size_t neap__http_send_take(neap__http_transfer *transfer, char *bytes, size_t size);
/* Ends the sender whose bytes were all taken, or any one with a code. */
void neap__http_send_proceed(neap__http_transfer *transfer);
void neap__http_send_end(neap__http_transfer *transfer, int code);

#endif
