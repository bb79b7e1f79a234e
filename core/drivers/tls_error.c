/* Why a TLS connection failed, and what can be done about it. */
#include "tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A message that is made piece by piece; what does not fit is left out. */
static void add(neap__tls *self, const char *format, ...) {
  size_t length = strlen(self->message);
  va_list arguments;
  va_start(arguments, format);
  /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is */
  vsnprintf(self->message + length, sizeof self->message - length, format, arguments);
  va_end(arguments);
}

/* ---- The peer's certificate -------------------------------------------------------------------- */

static void add_time(neap__tls *self, int64_t time) {
  char text[32] = "?";
  time_t seconds = (time_t)time;
  struct tm parts;
  if (gmtime_r(&seconds, &parts)) strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  add(self, "%s", text);
}

static const char *other_end(const neap__tls *self) {
  return self->is_server ? "client" : "server";
}

enum { MANY_NAMES = 4 };

static void explain_name(neap__tls *self) {
  char name[128];
  add(self, "the server's certificate is not for '%s'", self->name ? self->name : "?");
  const X509 *peer = neap__tls_peer(self);
  for (int i = 0; i < MANY_NAMES && neap__tls_certificate_name(peer, i, name, sizeof name); i++)
    add(self, i ? ", '%s'" : " but for '%s'", name);
  add(self, ": connect to the name that it is for, or set 'server_name'");
}

static void explain_time(neap__tls *self, const neap__tls_certificate *certificate, bool is_old) {
  add(self, "the %s's certificate ", other_end(self));
  add(self, is_old ? "has expired, on " : "is not valid before ");
  add_time(self, is_old ? certificate->not_after : certificate->not_before);
  add(self, is_old ? ": it has to be renewed; or is this machine's clock wrong?"
                   : ": is this machine's clock wrong?");
}

/* What OpenSSL's verification has found. */
static void explain_certificate(neap__tls *self, long result) {
  neap__tls_certificate certificate = {0};
  neap__tls_certificate_of(self, &certificate);
  switch (result) {
  case X509_V_ERR_CERT_HAS_EXPIRED: explain_time(self, &certificate, true); break;
  case X509_V_ERR_CERT_NOT_YET_VALID: explain_time(self, &certificate, false); break;
  case X509_V_ERR_HOSTNAME_MISMATCH:
  case X509_V_ERR_IP_ADDRESS_MISMATCH: explain_name(self); break;
  case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    add(self, "the %s's certificate is signed by itself: give it as 'ca' if you trust it",
        other_end(self));
    break;
  case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
  case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    add(self,
        "the issuer of the %s's certificate is not known here (%s): give its certificate as 'ca', "
        "or install it; or the %s has left out one between",
        other_end(self), certificate.issuer, other_end(self));
    break;
  default: add(self, "the %s's certificate was refused", other_end(self));
  }
  add(self, " (OpenSSL: %s)", X509_verify_cert_error_string(result));
}

/* ---- The protocol ------------------------------------------------------------------------------ */

typedef struct explanation {
  int reason;
  const char *words;
} explanation;

static const char no_tls[] =
    "the peer does not speak TLS here: plain text on a TLS port, or TLS on a "
    "port of another protocol";
static const char no_version[] = "the two ends have no version of TLS in common: look at "
                                 "'min_version' and 'max_version' of both";
static const char no_protocol[] = "the two ends have no application protocol in common: look at "
                                  "'alpn' of both";
static const char refused[] = "the peer has refused our certificate: is it the right one, and does "
                              "the peer trust its issuer?";
static const char wanted[] = "the peer wants a certificate of ours: give 'cert' and 'key'";

static const explanation explanations[] = {
    {SSL_R_WRONG_VERSION_NUMBER, no_tls},
    {SSL_R_PACKET_LENGTH_TOO_LONG, no_tls},
    {SSL_R_BAD_PROTOCOL_VERSION_NUMBER, no_tls},
    {SSL_R_UNEXPECTED_MESSAGE, no_tls},
    {SSL_R_HTTP_REQUEST, "the client speaks plain HTTP on a TLS port: it has to use https"},
    {SSL_R_HTTPS_PROXY_REQUEST, "the client takes this TLS port for a proxy"},
    {SSL_R_UNSUPPORTED_PROTOCOL, no_version},
    {SSL_R_UNKNOWN_PROTOCOL, no_version},
    {SSL_R_VERSION_TOO_LOW, no_version},
    {SSL_R_NO_PROTOCOLS_AVAILABLE, no_version},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, no_version},
    {SSL_R_NO_SHARED_CIPHER, "the two ends have no cipher in common"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE,
     "the peer finds nothing in common: versions, ciphers, or a certificate for this name"},
    {SSL_R_NO_APPLICATION_PROTOCOL, no_protocol},
    {SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL, no_protocol},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE,
     "the client has shown no certificate, and 'client_auth' wants one"},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, wanted},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, refused},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, refused},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, refused},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, refused},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "the peer says that our certificate was revoked"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "the peer says that our certificate has expired"},
    {SSL_R_TLSV1_UNRECOGNIZED_NAME, "the server does not know the name that we asked for"},
};

static const char *words_for(int reason) {
  for (size_t i = 0; i < sizeof explanations / sizeof *explanations; i++)
    if (explanations[i].reason == reason) return explanations[i].words;
  return "the TLS connection failed";
}

static void explain_protocol(neap__tls *self, unsigned long error) {
  const char *reason = ERR_reason_error_string(error);
  bool is_ours = ERR_GET_LIB(error) == ERR_LIB_SSL;
  add(self, "%s", words_for(is_ours ? ERR_GET_REASON(error) : 0));
  if (reason) add(self, " (OpenSSL: %s)", reason);
}

/* ---- The whole --------------------------------------------------------------------------------- */

static void set_address(neap__tls *self) {
  neap__address address;
  if (neap__stream_address(self->filter.stream, true, &address)) return;
  const char *form = strchr(address.host, ':') ? "[%s]:%d" : "%s:%d";
  if (address.port < 0)
    snprintf(self->address, sizeof self->address, "%s", address.host);
  else
    snprintf(self->address, sizeof self->address, form, address.host, address.port);
}

static int finish(neap__tls *self, const char *syscall) {
  set_address(self);
  self->filter.error = (neap_error){.code = NEAP_ETLS,
                                    .syscall = syscall,
                                    .message = self->message,
                                    .address = self->address[0] ? self->address : NULL};
  ERR_clear_error();
  return NEAP_ETLS;
}

int neap__tls_fail_with(neap__tls *self, const char *syscall, const char *message) {
  self->message[0] = '\0';
  add(self, "%s", message);
  return finish(self, syscall);
}

int neap__tls_fail(neap__tls *self, const char *syscall) {
  unsigned long error = ERR_peek_error();
  long result = SSL_get_verify_result(self->ssl);
  bool is_verifying = ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED || error == 0;
  self->message[0] = '\0';
  if (result != X509_V_OK && is_verifying && !self->filter.is_ready)
    explain_certificate(self, result);
  else
    explain_protocol(self, error);
  return finish(self, syscall);
}
