/* TLS through OpenSSL, as a filter of a stream.
 *
 * A context has what connections share: certificates, whom to trust, protocols, sessions of the servers that
 * were visited. A maker is a context and a role: server, or client of a named server; its filters are
 * connections. All three belong to one loop. OpenSSL's own memory is its own. */
#ifndef NEAP_DRIVERS_TLS_H
#define NEAP_DRIVERS_TLS_H

#include "../ops/filter.h"

#include <openssl/ssl.h>

typedef struct neap__tls_context neap__tls_context;
typedef struct neap__tls_maker neap__tls_maker;
typedef struct neap__tls neap__tls;

/* ---- Contexts --------------------------------------------------------------------------------- */

typedef enum neap__tls_auth {
  NEAP__TLS_NOBODY,   /* the client has no certificate */
  NEAP__TLS_OPTIONAL, /* if it has one it is verified */
  NEAP__TLS_REQUIRED
} neap__tls_auth;

enum { NEAP__TLS_TEXT = 512, NEAP__TLS_SESSIONS = 64 };

/* The session of a server that was visited. */
typedef struct neap__tls_session {
  struct neap__tls_session *next; /* visited before it */
  SSL_SESSION *session;
  char key[]; /* of the maker */
} neap__tls_session;

/* The context of a name that a server has. */
typedef struct neap__tls_name {
  struct neap__tls_name *next;
  neap__tls_context *context; /* referenced */
  char name[];                /* "www.example.com", or "*.example.com" */
} neap__tls_name;

struct neap__tls_context {
  uint32_t refs;
  neap_loop *loop;
  SSL_CTX *ssl;
  BIO_METHOD *method;
  /* Set by the maker of the context, before it is used. */
  bool verifies;            /* a client verifies the server */
  neap__tls_auth auth;      /* what a server wants of clients */
  bool takes_truncated;     /* an end that was not told is an end, no error */
  unsigned char *protocols; /* own: each with its length before it */
  size_t protocols_size;
  char *password; /* own: of the private key, or NULL */
  neap__tls_name *names;
  neap__tls_session *sessions; /* the last one first */
  bool has_certificate;
  bool is_key_at_fault;         /* the last problem is that of the private key */
  char problem[NEAP__TLS_TEXT]; /* why the last call has failed */
};

/* Owner: the caller, of a reference. UV_ENOMEM. */
int neap__tls_context_new(neap_loop *loop, neap__tls_context **result);
neap__tls_context *neap__tls_context_ref(neap__tls_context *self);
void neap__tls_context_unref(neap__tls_context *self);

/* In what follows a source is the path of a file, or its content: text with "-----BEGIN". An error is a code
 * of libuv (the file) or NEAP_ETLS, and self->problem says more. */

/* The certificate with its chain, and its private key; `key` may be NULL: in the same source. */
int neap__tls_use_certificate(neap__tls_context *self, const char *certificate, const char *key);
/* Whom to trust: a source, a directory with hashed names, either may be NULL; both: the system's. */
int neap__tls_trust(neap__tls_context *self, const char *roots, const char *directory);
/* The versions that are allowed: TLS1_2_VERSION, TLS1_3_VERSION. */
int neap__tls_set_versions(neap__tls_context *self, int least, int most);
/* One more application protocol, in the order of preference; 1 to 255 bytes. */
int neap__tls_add_protocol(neap__tls_context *self, const char *name, size_t size);
/* Clients that ask for `name` get the certificate of another context. */
int neap__tls_add_name(neap__tls_context *self, const char *name, neap__tls_context *context);

/* ---- Makers ----------------------------------------------------------------------------------- */

struct neap__tls_maker {
  neap__filter_maker maker;
  uint32_t refs;
  neap__tls_context *context; /* referenced */
  bool is_server;
  char *name;           /* own: of the server, as it is verified and asked for; NULL */
  char *key;            /* own: of its session; NULL: none is kept */
  SSL_SESSION *session; /* to be resumed, or NULL */
};

/* `name`: of the server that a client visits; may be NULL where it is not verified. `place`: where it is, for
 * its session. Owner: the caller, of a reference. UV_ENOMEM. */
int neap__tls_client_new(neap__tls_context *context, const char *name, const char *place,
                         neap__tls_maker **result);
int neap__tls_server_new(neap__tls_context *context, neap__tls_maker **result);

/* A session that was given by neap__tls_session_data; false: it is none. One that was not verified for the
 * name is ignored. */
bool neap__tls_set_session(neap__tls_maker *self, const char *data, size_t size);

/* ---- Connections ------------------------------------------------------------------------------ */

struct neap__tls {
  neap__filter filter;
  neap__tls_context *context; /* referenced */
  SSL *ssl;
  SSL_SESSION *session; /* the last one that the server has given */
  X509 *refused;        /* the certificate at which the verification has stopped, or NULL */
  char *key, *name;     /* own copies of the maker's */
  bool is_server;
  bool is_short; /* there was no memory for output */
  char message[NEAP__TLS_TEXT], address[160];
};

/* The TLS of a stream, or NULL. */
neap__tls *neap__tls_of(const neap__stream *stream);

/* Why it has failed: sets filter.error from what OpenSSL says. */
int neap__tls_fail(neap__tls *self, const char *syscall);
/* The same with words of our own. */
int neap__tls_fail_with(neap__tls *self, const char *syscall, const char *message);

/* The session that can be resumed, as bytes: size, 0 if there is none; with `place`, of that size, writes it. */
size_t neap__tls_session_data(const neap__tls *self, unsigned char *place);

/* Keeps the session of a server that was visited. The reference is the context's then; false: not. */
bool neap__tls_keep_session(neap__tls_context *self, const char *key, SSL_SESSION *session);
/* The session of a server, borrowed; NULL. */
SSL_SESSION *neap__tls_find_session(const neap__tls_context *self, const char *key);

/* What is known of a connection; strings are borrowed from it. */
typedef struct neap__tls_info {
  const char *version, *cipher, *server_name;
  const char *protocol; /* NULL: none was agreed on */
  size_t protocol_size;
  bool is_resumed, has_certificate;
} neap__tls_info;

void neap__tls_inspect(const neap__tls *self, neap__tls_info *info);

typedef struct neap__tls_certificate {
  char subject[NEAP__TLS_TEXT], issuer[NEAP__TLS_TEXT];
  char serial[64];
  char fingerprint[32 * 3 + 1];  /* SHA-256, "AB:CD:..." */
  int64_t not_before, not_after; /* seconds since 1970 */
} neap__tls_certificate;

/* The peer's certificate; false: it has shown none. */
bool neap__tls_certificate_of(const neap__tls *self, neap__tls_certificate *certificate);
/* The name number `n`, from 0 on, for which it is; an address in its usual form. False: there is none. */
bool neap__tls_certificate_name(const X509 *certificate, int n, char *place, size_t size);
const X509 *neap__tls_peer(const neap__tls *self);

#endif
