/* What TLS connections share. */
#include "tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- Problems ---------------------------------------------------------------------------------- */

/* What OpenSSL says, after our own words. */
static int report(neap__tls_context *self, const char *words) {
  const char *reason = ERR_reason_error_string(ERR_peek_last_error());
  snprintf(self->problem, sizeof self->problem, reason ? "%s (OpenSSL: %s)" : "%s", words, reason);
  ERR_clear_error();
  return NEAP_ETLS;
}

/* ---- Sources: files and texts ------------------------------------------------------------------ */

static bool is_text(const char *source) {
  return strstr(source, "-----BEGIN") != NULL;
}

/* NULL, and a code: the file cannot be opened. */
static BIO *open_source(const char *source, int *code) {
  *code = 0;
  errno = 0;
  BIO *bio = is_text(source) ? BIO_new_mem_buf(source, -1) : BIO_new_file(source, "r");
  if (!bio) *code = errno && !is_text(source) ? uv_translate_sys_error(errno) : UV_ENOMEM;
  ERR_clear_error();
  return bio;
}

/* Never asks at the terminal. */
static int give_password(char *place, int size, int is_writing, void *data) {
  const neap__tls_context *self = data;
  (void)is_writing;
  if (!self->password || size < 0) return 0;
  size_t length = strlen(self->password);
  if (length > (size_t)size) return 0;
  memcpy(place, self->password, length);
  return (int)length;
}

static X509 *next_certificate(neap__tls_context *self, BIO *bio) {
  return PEM_read_bio_X509(bio, NULL, give_password, self);
}

/* Its end is not an error. */
static bool has_ended(void) {
  unsigned long error = ERR_peek_last_error();
  bool is_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (is_end) ERR_clear_error();
  return is_end;
}

/* ---- The certificate --------------------------------------------------------------------------- */

static bool use_leaf(neap__tls_context *self, BIO *bio) {
  X509 *leaf = next_certificate(self, bio);
  bool is_used = leaf && SSL_CTX_use_certificate(self->ssl, leaf) == 1;
  X509_free(leaf);
  return is_used;
}

static bool use_chain(neap__tls_context *self, BIO *bio) {
  SSL_CTX_clear_chain_certs(self->ssl);
  for (X509 *link; (link = next_certificate(self, bio));) {
    if (SSL_CTX_add0_chain_cert(self->ssl, link) == 1) continue;
    X509_free(link);
    return false;
  }
  return has_ended();
}

static int read_certificate(neap__tls_context *self, const char *source) {
  int code;
  BIO *bio = open_source(source, &code);
  if (!bio) return code;
  if (!use_leaf(self, bio))
    code = report(self, "no certificate could be read: PEM is expected, the certificate itself "
                        "first");
  else if (!use_chain(self, bio))
    code = report(self, "the chain behind the certificate could not be read");
  BIO_free(bio);
  return code;
}

static int use_key(neap__tls_context *self, EVP_PKEY *key) {
  if (!key)
    return report(self, "no private key could be read: PEM is expected, with 'password' if it is "
                        "encrypted");
  if (SSL_CTX_use_PrivateKey(self->ssl, key) == 1 && SSL_CTX_check_private_key(self->ssl) == 1)
    return 0;
  return report(self, "the private key is not that of the certificate");
}

static int read_key(neap__tls_context *self, const char *source) {
  int code;
  BIO *bio = open_source(source, &code);
  if (!bio) return code;
  EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, give_password, self);
  code = use_key(self, key);
  EVP_PKEY_free(key);
  BIO_free(bio);
  return code;
}

int neap__tls_use_certificate(neap__tls_context *self, const char *certificate, const char *key) {
  ERR_clear_error();
  int code = read_certificate(self, certificate);
  self->is_key_at_fault = code == 0;
  if (!code) code = read_key(self, key ? key : certificate);
  self->has_certificate = code == 0;
  return code;
}

/* ---- Whom to trust ----------------------------------------------------------------------------- */

static int add_roots(neap__tls_context *self, BIO *bio) {
  X509_STORE *store = SSL_CTX_get_cert_store(self->ssl);
  int count = 0;
  bool is_added = true;
  for (X509 *root; is_added && (root = next_certificate(self, bio)); count++) {
    is_added = X509_STORE_add_cert(store, root) == 1 && SSL_CTX_add_client_CA(self->ssl, root) == 1;
    X509_free(root);
  }
  if (is_added && has_ended() && count > 0) return 0;
  return report(self, "no certificates to trust could be read: PEM is expected");
}

static int trust_source(neap__tls_context *self, const char *source) {
  int code;
  BIO *bio = open_source(source, &code);
  if (!bio) return code;
  code = add_roots(self, bio);
  BIO_free(bio);
  return code;
}

int neap__tls_trust(neap__tls_context *self, const char *roots, const char *directory) {
  ERR_clear_error();
  int code = roots ? trust_source(self, roots) : 0;
  if (!code && directory && SSL_CTX_load_verify_dir(self->ssl, directory) != 1)
    code = report(self, "the directory of certificates cannot be used");
  if (!code && !roots && !directory && SSL_CTX_set_default_verify_paths(self->ssl) != 1)
    code = report(self, "the system's certificates cannot be used: install ca-certificates");
  return code;
}

/* The certificate at fault is kept for the error: the connection knows its peer's only when it is good. */
static int verify(X509_STORE_CTX *store, void *data) {
  const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
  neap__tls *tls = SSL_get_app_data(ssl);
  (void)data;
  int result = X509_verify_cert(store);
  X509 *certificate = X509_STORE_CTX_get_current_cert(store);
  if (result == 1 || !certificate || X509_up_ref(certificate) != 1) return result;
  X509_free(tls->refused);
  tls->refused = certificate;
  return result;
}

/* ---- Protocols --------------------------------------------------------------------------------- */

int neap__tls_set_versions(neap__tls_context *self, int least, int most) {
  ERR_clear_error();
  if (SSL_CTX_set_min_proto_version(self->ssl, least) == 1 &&
      SSL_CTX_set_max_proto_version(self->ssl, most) == 1)
    return 0;
  return report(self, "this version of TLS is not available");
}

int neap__tls_add_protocol(neap__tls_context *self, const char *name, size_t size) {
  size_t place = self->protocols_size;
  unsigned char *all = neap__memory_resize(&self->loop->memory, self->protocols, place + size + 1);
  if (!all) return UV_ENOMEM;
  all[place] = (unsigned char)size;
  memcpy(all + place + 1, name, size);
  self->protocols = all;
  self->protocols_size = place + size + 1;
  return SSL_CTX_set_alpn_protos(self->ssl, all, (unsigned)self->protocols_size) ? UV_ENOMEM : 0;
}

/* The first of ours that the client has. Without one in common the handshake fails, as RFC 7301 says; a
 * server that names none takes any. */
static int choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *size,
                           const unsigned char *offered, unsigned count, void *data) {
  const neap__tls_context *self = data;
  (void)ssl;
  if (!self->protocols) return SSL_TLSEXT_ERR_NOACK;
  int result = SSL_select_next_proto((unsigned char **)(uintptr_t)chosen, size, self->protocols,
                                     (unsigned)self->protocols_size, offered, count);
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- Names of a server ------------------------------------------------------------------------- */

int neap__tls_add_name(neap__tls_context *self, const char *name, neap__tls_context *context) {
  size_t size = strlen(name) + 1;
  neap__tls_name *entry =
      neap__memory_resize(&self->loop->memory, NULL, sizeof(neap__tls_name) + size);
  if (!entry) return UV_ENOMEM;
  memcpy(entry->name, name, size);
  entry->context = neap__tls_context_ref(context);
  entry->next = self->names;
  self->names = entry;
  return 0;
}

/* "*.example.com" stands for one more label. */
static bool matches(const char *pattern, const char *name) {
  if (strncmp(pattern, "*.", 2) != 0) return strcasecmp(pattern, name) == 0;
  const char *rest = strchr(name, '.');
  return rest && rest != name && strcasecmp(pattern + 1, rest) == 0;
}

static const neap__tls_name *find_name(const neap__tls_context *self, const char *name) {
  const neap__tls_name *wild = NULL;
  for (const neap__tls_name *entry = self->names; entry; entry = entry->next) {
    if (!matches(entry->name, name)) continue;
    if (entry->name[0] != '*') return entry;
    wild = entry;
  }
  return wild;
}

/* A name that is not known gets the certificate of the context itself. */
static int choose_certificate(SSL *ssl, int *alert, void *data) {
  const neap__tls_context *self = data;
  const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  (void)alert;
  const neap__tls_name *entry = name ? find_name(self, name) : NULL;
  if (!entry) return name ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
  SSL_set_SSL_CTX(ssl, entry->context->ssl);
  return SSL_TLSEXT_ERR_OK;
}

/* ---- Sessions of servers that were visited ----------------------------------------------------- */

static void free_session(neap__tls_context *self, neap__tls_session *entry) {
  SSL_SESSION_free(entry->session);
  neap__memory_free(&self->loop->memory, entry);
}

/* Forgets the one with the key, and the oldest where there are too many. */
static void make_room(neap__tls_context *self, const char *key) {
  int count = 0;
  for (neap__tls_session **link = &self->sessions; *link;) {
    neap__tls_session *entry = *link;
    if (strcmp(entry->key, key) == 0 || ++count >= NEAP__TLS_SESSIONS) {
      *link = entry->next;
      free_session(self, entry);
    } else {
      link = &entry->next;
    }
  }
}

bool neap__tls_keep_session(neap__tls_context *self, const char *key, SSL_SESSION *session) {
  size_t size = strlen(key) + 1;
  neap__tls_session *entry =
      neap__memory_resize(&self->loop->memory, NULL, sizeof(neap__tls_session) + size);
  if (!entry) return false;
  make_room(self, key);
  memcpy(entry->key, key, size);
  entry->session = session;
  entry->next = self->sessions;
  self->sessions = entry;
  return true;
}

SSL_SESSION *neap__tls_find_session(const neap__tls_context *self, const char *key) {
  for (const neap__tls_session *entry = self->sessions; entry; entry = entry->next)
    if (strcmp(entry->key, key) == 0)
      return SSL_SESSION_is_resumable(entry->session) ? entry->session : NULL;
  return NULL;
}

/* One reference is ours if the result is 1; the connection keeps it, the context another. */
static int on_session(SSL *ssl, SSL_SESSION *session) {
  neap__tls *tls = SSL_get_app_data(ssl);
  if (tls->is_server) return 0;
  if (tls->key && SSL_SESSION_up_ref(session) == 1 &&
      !neap__tls_keep_session(tls->context, tls->key, session))
    SSL_SESSION_free(session);
  SSL_SESSION_free(tls->session);
  tls->session = session;
  return 1;
}

/* ---- Life -------------------------------------------------------------------------------------- */

static void set_up(neap__tls_context *self) {
  static const unsigned char id[] = "neap";
  SSL_CTX *ssl = self->ssl;
  SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_id_context(ssl, id, sizeof id - 1);
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ssl, on_session);
  SSL_CTX_set_cert_verify_callback(ssl, verify, NULL);
  SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, self);
  SSL_CTX_set_tlsext_servername_callback(ssl, choose_certificate);
  SSL_CTX_set_tlsext_servername_arg(ssl, self);
  SSL_CTX_set_default_passwd_cb(ssl, give_password);
  SSL_CTX_set_default_passwd_cb_userdata(ssl, self);
}

int neap__tls_context_new(neap_loop *loop, neap__tls_context **result) {
  neap__tls_context *self = neap__memory_new(&loop->memory, sizeof *self);
  *result = self;
  if (!self) return UV_ENOMEM;
  self->loop = loop;
  self->refs = 1;
  self->verifies = true;
  neap__loop_anchor(loop);
  self->ssl = SSL_CTX_new(TLS_method());
  if (self->ssl) {
    set_up(self);
    return neap__tls_set_versions(self, TLS1_2_VERSION, TLS1_3_VERSION);
  }
  ERR_clear_error();
  neap__tls_context_unref(self);
  *result = NULL;
  return UV_ENOMEM;
}

neap__tls_context *neap__tls_context_ref(neap__tls_context *self) {
  self->refs++;
  return self;
}

static void free_names(neap__tls_context *self) {
  while (self->names) {
    neap__tls_name *entry = self->names;
    self->names = entry->next;
    neap__tls_context_unref(entry->context);
    neap__memory_free(&self->loop->memory, entry);
  }
}

static void free_sessions(neap__tls_context *self) {
  while (self->sessions) {
    neap__tls_session *entry = self->sessions;
    self->sessions = entry->next;
    free_session(self, entry);
  }
}

void neap__tls_context_unref(neap__tls_context *self) {
  if (--self->refs > 0) return;
  neap_loop *loop = self->loop;
  free_names(self);
  free_sessions(self);
  SSL_CTX_free(self->ssl);
  BIO_meth_free(self->method);
  neap__memory_free(&loop->memory, self->protocols);
  neap__memory_free(&loop->memory, self->password);
  neap__memory_free(&loop->memory, self);
  neap__loop_unanchor(loop);
}
