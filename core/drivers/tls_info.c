/* What is known of a TLS connection and its peer. */
#include "tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void neap__tls_inspect(const neap__tls *self, neap__tls_info *info) {
  const SSL *ssl = self->ssl;
  const unsigned char *protocol;
  unsigned size;
  SSL_get0_alpn_selected(ssl, &protocol, &size);
  *info = (neap__tls_info){
      .version = SSL_get_version(ssl),
      .cipher = SSL_get_cipher_name(ssl),
      .server_name =
          self->is_server ? SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) : self->name,
      .protocol = size ? (const char *)protocol : NULL,
      .protocol_size = size,
      .is_resumed = SSL_session_reused(ssl) == 1,
      .has_certificate = neap__tls_peer(self) != NULL,
  };
}

const X509 *neap__tls_peer(const neap__tls *self) {
  const X509 *peer = SSL_get0_peer_certificate(self->ssl);
  return peer ? peer : self->refused;
}

/* ---- Text -------------------------------------------------------------------------------------- */

/* What was printed, cut off where it does not fit. */
static void take_text(BIO *bio, char *place, size_t size) {
  int n = BIO_read(bio, place, (int)size - 1);
  place[n > 0 ? n : 0] = '\0';
}

/* As RFC 2253 writes it, "CN=example.com,O=Example". */
static void write_name(const X509_NAME *name, char *place, size_t size) {
  place[0] = '\0';
  BIO *bio = BIO_new(BIO_s_mem());
  if (!bio) return;
  X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
  take_text(bio, place, size);
  BIO_free(bio);
}

static void write_bytes(const unsigned char *bytes, size_t n, const char *between, char *place,
                        size_t size) {
  size_t length = 0;
  place[0] = '\0';
  for (size_t i = 0; i < n && length + 4 < size; i++)
    length += (size_t)snprintf(place + length, size - length, "%s%02X", i ? between : "", bytes[i]);
}

static int64_t to_seconds(const ASN1_TIME *time) {
  struct tm parts;
  return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

bool neap__tls_certificate_of(const neap__tls *self, neap__tls_certificate *certificate) {
  const X509 *peer = neap__tls_peer(self);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (!peer) return false;
  write_name(X509_get_subject_name(peer), certificate->subject, sizeof certificate->subject);
  write_name(X509_get_issuer_name(peer), certificate->issuer, sizeof certificate->issuer);
  const ASN1_INTEGER *serial = X509_get0_serialNumber(peer);
  write_bytes(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial), "",
              certificate->serial, sizeof certificate->serial);
  if (X509_digest(peer, EVP_sha256(), digest, &size) != 1) size = 0;
  write_bytes(digest, size, ":", certificate->fingerprint, sizeof certificate->fingerprint);
  certificate->not_before = to_seconds(X509_get0_notBefore(peer));
  certificate->not_after = to_seconds(X509_get0_notAfter(peer));
  ERR_clear_error();
  return true;
}

/* ---- Names ------------------------------------------------------------------------------------- */

static bool write_text(const ASN1_STRING *text, char *place, size_t size) {
  int length = ASN1_STRING_length(text);
  const char *data = (const char *)ASN1_STRING_get0_data(text);
  if (memchr(data, '\0', (size_t)length)) return false;
  snprintf(place, size, "%.*s", length, data);
  return true;
}

static bool write_address(const ASN1_STRING *text, char *place, size_t size) {
  int family = ASN1_STRING_length(text) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(text) != 16) return false;
  return inet_ntop(family, ASN1_STRING_get0_data(text), place, (socklen_t)size) != NULL;
}

static bool write_general(const GENERAL_NAME *name, char *place, size_t size) {
  switch (name->type) {
  case GEN_DNS: return write_text(name->d.dNSName, place, size);
  case GEN_EMAIL: return write_text(name->d.rfc822Name, place, size);
  case GEN_URI: return write_text(name->d.uniformResourceIdentifier, place, size);
  case GEN_IPADD: return write_address(name->d.iPAddress, place, size);
  default: return false;
  }
}

bool neap__tls_certificate_name(const X509 *certificate, int n, char *place, size_t size) {
  if (!certificate) return false;
  GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  bool is_found = false;
  for (int i = 0; !is_found && i < sk_GENERAL_NAME_num(names); i++)
    is_found = write_general(sk_GENERAL_NAME_value(names, i), place, size) && n-- == 0;
  GENERAL_NAMES_free(names);
  return is_found;
}
