#include "tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static neap__tls *of_filter(neap__filter *filter) {
  return (neap__tls *)filter;
}

/* ---- Between OpenSSL and the filter ------------------------------------------------------------ */

static int read_input(BIO *bio, char *place, size_t size, size_t *n) {
  neap__tls *self = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  *n = neap__filter_get(&self->filter, place, size);
  if (*n > 0) return 1;
  BIO_set_retry_read(bio);
  return 0;
}

static int write_output(BIO *bio, const char *bytes, size_t size, size_t *n) {
  neap__tls *self = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  *n = size;
  if (neap__filter_put(&self->filter, bytes, size)) return 1;
  self->is_short = true;
  *n = 0;
  return 0;
}

static long control(BIO *bio, int command, long number, void *pointer) {
  (void)bio, (void)number, (void)pointer;
  return command == BIO_CTRL_FLUSH;
}

static int make_bio(BIO *bio) {
  BIO_set_init(bio, 1);
  return 1;
}

static BIO_METHOD *new_method(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "neap filter");
  if (!method) return NULL;
  BIO_meth_set_read_ex(method, read_input);
  BIO_meth_set_write_ex(method, write_output);
  BIO_meth_set_ctrl(method, control);
  BIO_meth_set_create(method, make_bio);
  return method;
}

/* ---- The filter -------------------------------------------------------------------------------- */

static int failed(neap__tls *self, const char *syscall) {
  if (!self->is_short) return neap__tls_fail(self, syscall);
  self->filter.error = (neap_error){.code = UV_ENOMEM, .syscall = syscall};
  return UV_ENOMEM;
}

/* A session that was resumed skips the verification: what it found then counts. */
static bool is_verified(const neap__tls *self) {
  bool has_to_be = !self->is_server && self->context->verifies;
  return !has_to_be || SSL_get_verify_result(self->ssl) == X509_V_OK;
}

/* 1: done, 0: more has to come. */
static int shake_hands(neap__tls *self) {
  int result = SSL_do_handshake(self->ssl);
  if (result != 1)
    return SSL_get_error(self->ssl, result) == SSL_ERROR_WANT_READ ? 0 : failed(self, "handshake");
  if (!is_verified(self)) return neap__tls_fail(self, "handshake");
  self->filter.is_ready = true;
  return 1;
}

static ssize_t read_plain(neap__filter *filter, char *place, size_t size) {
  neap__tls *self = of_filter(filter);
  size_t n;
  ERR_clear_error();
  int result = filter->is_ready ? 1 : shake_hands(self);
  if (result <= 0) return result;
  result = SSL_read_ex(self->ssl, place, size, &n);
  if (result == 1) return (ssize_t)n;
  switch (SSL_get_error(self->ssl, result)) {
  case SSL_ERROR_WANT_READ: return 0;
  case SSL_ERROR_ZERO_RETURN: return UV_EOF;
  default: return failed(self, "read");
  }
}

static int cut_off(neap__filter *filter) {
  neap__tls *self = of_filter(filter);
  if (filter->error.code) return filter->error.code;
  if (!filter->is_ready)
    return neap__tls_fail_with(self, "handshake",
                               "the peer closed the connection in the middle of the handshake");
  if (self->context->takes_truncated) return UV_EOF;
  int code = neap__tls_fail_with(self, "read",
                                 "truncated: the connection ended without the end of its TLS "
                                 "(close_notify); what was read may not be all");
  filter->cut = filter->error;
  filter->error = (neap_error){0};
  return code;
}

static int write_plain(neap__filter *filter, const char *bytes, size_t n) {
  neap__tls *self = of_filter(filter);
  size_t written;
  ERR_clear_error();
  return SSL_write_ex(self->ssl, bytes, n, &written) == 1 ? 0 : failed(self, "write");
}

static void end_plain(neap__filter *filter) {
  ERR_clear_error();
  SSL_shutdown(of_filter(filter)->ssl);
  ERR_clear_error();
}

static void free_tls(neap__tls *self, neap__memory *memory) {
  SSL_free(self->ssl);
  SSL_SESSION_free(self->session);
  X509_free(self->refused);
  neap__memory_free(memory, self->key);
  neap__memory_free(memory, self->name);
  if (self->context) neap__tls_context_unref(self->context);
  neap__memory_free(memory, self);
}

static void release(neap__filter *filter) {
  free_tls(of_filter(filter), &filter->stream->loop->memory);
}

static const neap__filter_kind kind = {read_plain, cut_off, write_plain, end_plain, release};

neap__tls *neap__tls_of(const neap__stream *stream) {
  neap__filter *filter = stream->filter;
  return filter && filter->kind == &kind ? of_filter(filter) : NULL;
}

/* ---- Making one -------------------------------------------------------------------------------- */

static bool is_address(const char *name) {
  unsigned char place[16];
  return inet_pton(AF_INET, name, place) == 1 || inet_pton(AF_INET6, name, place) == 1;
}

/* Whom the certificate has to be for. */
static bool expect_name(SSL *ssl, const char *name) {
  X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (is_address(name)) return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
  return X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 &&
         SSL_set_tlsext_host_name(ssl, name) == 1;
}

static bool begin_client(const neap__tls *self, const neap__tls_maker *maker) {
  SSL *ssl = self->ssl;
  const neap__tls_context *context = self->context;
  SSL_set_connect_state(ssl);
  SSL_set_verify(ssl, context->verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
  if (maker->name && !expect_name(ssl, maker->name)) return false;
  SSL_SESSION *session = maker->session;
  if (!session && maker->key) session = neap__tls_find_session(context, maker->key);
  return !session || SSL_set_session(ssl, session) == 1;
}

static bool begin_server(const neap__tls *self) {
  static const int modes[] = {SSL_VERIFY_NONE, SSL_VERIFY_PEER,
                              SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};
  SSL_set_accept_state(self->ssl);
  SSL_set_verify(self->ssl, modes[self->context->auth], NULL);
  return true;
}

static bool copy_text(neap__memory *memory, const char *text, char **copy) {
  *copy = text ? neap__memory_copy(memory, text) : NULL;
  return *copy || !text;
}

static bool make_ssl(neap__tls *self) {
  neap__tls_context *context = self->context;
  self->ssl = SSL_new(context->ssl);
  if (!self->ssl) return false;
  if (!context->method) context->method = new_method();
  BIO *bio = context->method ? BIO_new(context->method) : NULL;
  if (!bio) return false;
  BIO_set_data(bio, self);
  SSL_set_bio(self->ssl, bio, bio);
  return SSL_set_app_data(self->ssl, self) == 1;
}

static bool begin(neap__tls *self, const neap__tls_maker *maker) {
  neap__memory *memory = &self->context->loop->memory;
  self->filter.kind = &kind;
  self->is_server = maker->is_server;
  if (!copy_text(memory, maker->key, &self->key)) return false;
  if (!copy_text(memory, maker->name, &self->name)) return false;
  if (!make_ssl(self)) return false;
  return maker->is_server ? begin_server(self) : begin_client(self, maker);
}

static int attach(neap__filter_maker *maker, neap__stream *stream) {
  neap__tls_maker *from = NEAP__CONTAINER(maker, neap__tls_maker, maker);
  neap__memory *memory = &stream->loop->memory;
  neap__tls *self = neap__memory_new(memory, sizeof *self);
  if (!self) return UV_ENOMEM;
  self->context = neap__tls_context_ref(from->context);
  int code = begin(self, from) ? neap__filter_attach(&self->filter, stream) : UV_ENOMEM;
  if (code) free_tls(self, memory);
  ERR_clear_error();
  return code;
}

static void ref_maker(neap__filter_maker *maker) {
  NEAP__CONTAINER(maker, neap__tls_maker, maker)->refs++;
}

static void unref_maker(neap__filter_maker *maker) {
  neap__tls_maker *self = NEAP__CONTAINER(maker, neap__tls_maker, maker);
  if (--self->refs > 0) return;
  neap__tls_context *context = self->context;
  neap__memory *memory = &context->loop->memory;
  neap__memory_free(memory, self->name);
  neap__memory_free(memory, self->key);
  SSL_SESSION_free(self->session);
  neap__memory_free(memory, self);
  neap__tls_context_unref(context);
}

static int new_maker(neap__tls_context *context, bool is_server, neap__tls_maker **result) {
  neap__tls_maker *self = neap__memory_new(&context->loop->memory, sizeof *self);
  *result = self;
  if (!self) return UV_ENOMEM;
  self->maker = (neap__filter_maker){attach, ref_maker, unref_maker};
  self->refs = 1;
  self->is_server = is_server;
  self->context = neap__tls_context_ref(context);
  return 0;
}

/* "host." is the same as "host", but certificates have no dot. */
static void cut_dot(char *name) {
  size_t size = strlen(name);
  if (size > 1 && name[size - 1] == '.') name[size - 1] = '\0';
}

static bool name_client(neap__tls_maker *self, const char *name, const char *place) {
  neap__memory *memory = &self->context->loop->memory;
  if (!name) return true;
  self->name = neap__memory_copy(memory, name);
  if (!self->name) return false;
  cut_dot(self->name);
  if (!place) return true;
  size_t size = strlen(self->name) + strlen(place) + 2;
  self->key = neap__memory_resize(memory, NULL, size);
  if (self->key) snprintf(self->key, size, "%s %s", self->name, place);
  return self->key != NULL;
}

int neap__tls_client_new(neap__tls_context *context, const char *name, const char *place,
                         neap__tls_maker **result) {
  int code = new_maker(context, false, result);
  if (code || name_client(*result, name, place)) return code;
  unref_maker(&(*result)->maker);
  *result = NULL;
  return UV_ENOMEM;
}

int neap__tls_server_new(neap__tls_context *context, neap__tls_maker **result) {
  return new_maker(context, true, result);
}

/* ---- Sessions ---------------------------------------------------------------------------------- */

/* Whether it was made with this server, and found good. */
static bool is_for(const neap__tls_maker *self, SSL_SESSION *session) {
  if (!self->context->verifies) return true;
  X509 *peer = SSL_SESSION_get0_peer(session);
  if (!peer || !self->name) return false;
  unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
  return is_address(self->name) ? X509_check_ip_asc(peer, self->name, flags) == 1
                                : X509_check_host(peer, self->name, 0, flags, NULL) == 1;
}

bool neap__tls_set_session(neap__tls_maker *self, const char *data, size_t size) {
  const unsigned char *bytes = (const unsigned char *)data;
  SSL_SESSION *session = d2i_SSL_SESSION(NULL, &bytes, (long)size);
  ERR_clear_error();
  if (!session) return false;
  if (is_for(self, session))
    self->session = session;
  else
    SSL_SESSION_free(session);
  return true;
}

size_t neap__tls_session_data(const neap__tls *self, unsigned char *place) {
  if (!self->session || !SSL_SESSION_is_resumable(self->session)) return 0;
  int size = i2d_SSL_SESSION(self->session, place ? &place : NULL);
  return size > 0 ? (size_t)size : 0;
}
