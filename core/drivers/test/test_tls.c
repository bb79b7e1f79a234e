#include "../../test/wire.h"

#include "../tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

/* tsan: several loops on several threads. */

/* ---- A certificate ----------------------------------------------------------------------------- */

/* One that is signed by itself, and its key, as one text in PEM. */
typedef struct identity {
  char text[4096];
} identity;

static void add_names(X509 *certificate) {
  X509_EXTENSION *names =
      X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
  CHECK(names && X509_add_ext(certificate, names, -1) == 1);
  X509_EXTENSION_free(names);
}

static X509 *make_certificate(EVP_PKEY *key, long end) {
  X509 *certificate = X509_new();
  X509_NAME *name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1,
                             0);
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 77);
  X509_set_issuer_name(certificate, name);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -1000);
  X509_gmtime_adj(X509_getm_notAfter(certificate), end);
  X509_set_pubkey(certificate, key);
  add_names(certificate);
  CHECK(X509_sign(certificate, key, EVP_sha256()) > 0);
  return certificate;
}

static identity make_identity(long end) {
  identity result = {{0}};
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *certificate = make_certificate(key, end);
  BIO *bio = BIO_new(BIO_s_mem());
  CHECK(PEM_write_bio_X509(bio, certificate) == 1);
  CHECK(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
  CHECK(BIO_read(bio, result.text, sizeof result.text - 1) > 0);
  BIO_free(bio);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return result;
}

/* ---- Two ends ---------------------------------------------------------------------------------- */

typedef struct ends {
  wire wire;
  neap__tls_context *own, *visited;
  neap__tls_maker *server, *client;
} ends;

static void make_makers(ends *self, const char *name) {
  identity id = make_identity(1000);
  neap_loop *loop = self->wire.loop;
  CHECK(neap__tls_context_new(loop, &self->own) == 0);
  CHECK(neap__tls_use_certificate(self->own, id.text, NULL) == 0);
  CHECK(neap__tls_context_new(loop, &self->visited) == 0);
  CHECK(neap__tls_trust(self->visited, id.text, NULL) == 0);
  CHECK(neap__tls_server_new(self->own, &self->server) == 0);
  CHECK(neap__tls_client_new(self->visited, name, "here", &self->client) == 0);
}

static void open_ends(ends *self, const char *name) {
  open_wire(&self->wire);
  make_makers(self, name);
}

static void begin_tls(ends *self) {
  CHECK(self->server->maker.attach(&self->server->maker, self->wire.peer) == 0);
  CHECK(self->client->maker.attach(&self->client->maker, self->wire.client) == 0);
}

static void close_ends(ends *self) {
  self->server->maker.unref(&self->server->maker);
  self->client->maker.unref(&self->client->maker);
  neap__tls_context_unref(self->own);
  neap__tls_context_unref(self->visited);
  close_wire(&self->wire);
}

static neap_task *start_handshake(neap__stream *stream) {
  neap__handshake *self = (neap__handshake *)neap__op_new(stream->loop, &neap__handshake_kind);
  self->stream = stream;
  stream->refs++;
  return start(&self->op);
}

static neap_status shake(neap__stream *stream) {
  return finish(start_handshake(stream));
}

static bool passes(neap__stream *from, neap__stream *to, const char *text) {
  if (finish(&start_write_of(from, text, strlen(text))->op.task) != NEAP_DONE) return false;
  neap__read *read = start_read(to, 1000);
  neap_loop_run(to->loop, &read->op.task);
  bool is_it =
      read->length == strlen(text) && memcmp(read->data + read->start, text, read->length) == 0;
  neap_task_unref(&read->op.task);
  return is_it;
}

TEST(two_ends_agree_and_talk) {
  ends e;
  open_ends(&e, "localhost");
  begin_tls(&e);
  CHECK(shake(e.wire.client) == NEAP_DONE);
  CHECK(shake(e.wire.peer) == NEAP_DONE);
  CHECK(passes(e.wire.client, e.wire.peer, "hello"));
  CHECK(passes(e.wire.peer, e.wire.client, "and back"));
  neap__tls_info info;
  neap__tls_inspect(neap__tls_of(e.wire.client), &info);
  CHECK(strcmp(info.version, "TLSv1.3") == 0 && info.has_certificate && !info.is_resumed);
  close_ends(&e);
}

TEST(the_certificate_of_the_peer_is_told) {
  ends e;
  open_ends(&e, "127.0.0.1");
  begin_tls(&e);
  CHECK(shake(e.wire.client) == NEAP_DONE);
  const neap__tls *tls = neap__tls_of(e.wire.client);
  neap__tls_certificate certificate;
  char name[64];
  CHECK(neap__tls_certificate_of(tls, &certificate));
  CHECK(strcmp(certificate.subject, "CN=localhost") == 0);
  CHECK(strcmp(certificate.serial, "4D") == 0);
  CHECK(certificate.not_after - certificate.not_before == 2000);
  CHECK(neap__tls_certificate_name(neap__tls_peer(tls), 1, name, sizeof name));
  CHECK(strcmp(name, "127.0.0.1") == 0);
  CHECK(!neap__tls_certificate_name(neap__tls_peer(tls), 2, name, sizeof name));
  CHECK(!neap__tls_certificate_of(neap__tls_of(e.wire.peer), &certificate));
  close_ends(&e);
}

TEST(another_name_fails_with_an_error_that_says_so) {
  ends e;
  open_ends(&e, "elsewhere");
  begin_tls(&e);
  neap_task *task = start_handshake(e.wire.client);
  CHECK(neap_loop_run(e.wire.loop, task) == 0);
  const neap_error *error = neap_task_error(task);
  CHECK(error->code == NEAP_ETLS && strstr(error->message, "not for 'elsewhere'"));
  CHECK(strncmp(error->address, "127.0.0.1:", 10) == 0);
  neap_task_unref(task);
  CHECK(shake(e.wire.peer) == NEAP_DONE || shake(e.wire.peer) == NEAP_FAILED);
  close_ends(&e);
}

TEST(a_session_is_kept_and_resumed) {
  ends e;
  open_ends(&e, "localhost");
  begin_tls(&e);
  CHECK(shake(e.wire.client) == NEAP_DONE);
  CHECK(passes(e.wire.peer, e.wire.client, "with tickets"));
  CHECK(neap__tls_find_session(e.visited, "localhost here"));
  CHECK(!neap__tls_find_session(e.visited, "localhost there"));
  neap__stream *old[2] = {e.wire.client, e.wire.peer};
  neap_task *accepting = start_accept(e.wire.server);
  neap_task *connecting = start_connect(e.wire.loop, port_of(e.wire.server));
  finish_well(connecting);
  finish_well(accepting);
  e.wire.client = neap__connect_take((neap__connect *)connecting);
  e.wire.peer = neap__accept_take((neap__accept *)accepting);
  neap_task_unref(connecting);
  neap_task_unref(accepting);
  begin_tls(&e);
  CHECK(shake(e.wire.client) == NEAP_DONE);
  neap__tls_info info;
  neap__tls_inspect(neap__tls_of(e.wire.client), &info);
  CHECK(info.is_resumed);
  for (int i = 0; i < 2; i++) neap__stream_unref(old[i]);
  close_ends(&e);
}

TEST(sessions_are_bounded) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__tls_context *context;
  CHECK(neap__tls_context_new(loop, &context) == 0);
  for (int i = 0; i < 2 * NEAP__TLS_SESSIONS; i++) {
    char key[32];
    snprintf(key, sizeof key, "host %d", i);
    CHECK(neap__tls_keep_session(context, key, SSL_SESSION_new()));
  }
  int count = 0;
  for (const neap__tls_session *entry = context->sessions; entry; entry = entry->next) count++;
  CHECK(count == NEAP__TLS_SESSIONS);
  neap__tls_context_unref(context);
  bench_close(&b);
}

TEST(the_loop_closes_in_the_middle_of_a_handshake) {
  ends e;
  open_ends(&e, "localhost");
  begin_tls(&e);
  neap_task_unref(start_handshake(e.wire.client));
  neap_task_unref(start_handshake(e.wire.peer));
  for (int i = 0; i < 2; i++) uv_run(neap_loop_uv(e.wire.loop), UV_RUN_NOWAIT);
  close_ends(&e);
}

TEST(a_context_outlives_its_loop) {
  ends e;
  open_ends(&e, "localhost");
  begin_tls(&e);
  unref_wire(&e.wire);
  neap_loop_close(e.wire.loop);
  e.server->maker.unref(&e.server->maker);
  e.client->maker.unref(&e.client->maker);
  neap__tls_context_unref(e.own);
  neap__tls_context_unref(e.visited);
  CHECK(atomic_load(&e.wire.bench.memory.live) == 0);
}

/* What a plain end sends does not matter: the handshake fails, and says what is wrong. */
static void send_bytes(const char *bytes, size_t n, const char *words) {
  ends e;
  open_ends(&e, "localhost");
  CHECK(e.server->maker.attach(&e.server->maker, e.wire.peer) == 0);
  CHECK(finish(&start_write_of(e.wire.client, bytes, n)->op.task) == NEAP_DONE);
  CHECK(finish(start_shutdown(e.wire.client)) == NEAP_DONE);
  neap_task *task = start_handshake(e.wire.peer);
  CHECK(neap_loop_run(e.wire.loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_FAILED);
  CHECK(strstr(neap_task_error(task)->message, words) != NULL);
  neap_task_unref(task);
  close_ends(&e);
}

TEST(bytes_that_are_no_handshake_fail_it) {
  send_bytes("GET / HTTP/1.1\r\n\r\n", 18, "plain HTTP");
  send_bytes("EHLO example.com\r\n", 18, "does not speak TLS");
  send_bytes("\x16\x03\x01", 3, "in the middle of the handshake");
  send_bytes("", 0, "in the middle of the handshake");
  for (int i = 0; i < 200; i++) {
    unsigned char noise[64];
    RAND_bytes(noise, sizeof noise);
    static const unsigned char head[] = {0x16, 3, 1, 0, 0x20, 1};
    if (i % 2) memcpy(noise, head, sizeof head);
    send_bytes((char *)noise, sizeof noise, " ");
  }
}

static int make_failing(ends *e, neap__tls_context **context, neap__tls_maker **maker) {
  int code = neap__tls_context_new(e->wire.loop, context);
  if (!code) code = neap__tls_add_protocol(*context, "h2", 2);
  if (!code) code = neap__tls_add_name(*context, "name", e->own);
  if (!code) code = neap__tls_client_new(*context, "localhost", "here", maker);
  if (!code) code = (*maker)->maker.attach(&(*maker)->maker, e->wire.client);
  return code;
}

TEST(memory_that_is_short_is_told) {
  bool has_fired = true;
  for (unsigned long n = 1; has_fired && n < 100; n++) {
    ends e;
    neap__tls_context *context = NULL;
    neap__tls_maker *maker = NULL;
    open_ends(&e, "localhost");
    neap_loop_fail_allocation(e.wire.loop, n, false);
    int code = make_failing(&e, &context, &maker);
    has_fired = neap_loop_fail_allocation(e.wire.loop, 0, false);
    bool is_told =
        code == UV_ENOMEM || (e.wire.client->filter && e.wire.client->filter->error.code);
    CHECK(has_fired == is_told);
    if (maker) maker->maker.unref(&maker->maker);
    if (context) neap__tls_context_unref(context);
    close_ends(&e);
  }
  CHECK(!has_fired);
}

static void talk(void *data) {
  bool *is_well = data;
  ends e;
  *is_well = true;
  for (int i = 0; i < 10; i++) {
    open_ends(&e, "localhost");
    begin_tls(&e);
    *is_well &= shake(e.wire.client) == NEAP_DONE;
    *is_well &= passes(e.wire.client, e.wire.peer, "hello");
    close_ends(&e);
  }
}

TEST(loops_on_several_threads_have_tls_of_their_own) {
  uv_thread_t threads[4];
  bool results[4];
  for (int i = 0; i < 4; i++) CHECK(uv_thread_create(&threads[i], talk, &results[i]) == 0);
  for (int i = 0; i < 4; i++) uv_thread_join(&threads[i]);
  for (int i = 0; i < 4; i++) CHECK(results[i]);
}
