#include "http_client.h"

#include <strings.h>

/* The system's own reason where libcurl kept one. */
static int system_code(CURL *curl, int otherwise) {
  long number = 0;
  if (curl) curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &number);
  return number > 0 ? uv_translate_sys_error((int)number) : otherwise;
}

static bool is_secure(CURL *curl) {
  char *scheme = NULL;
  if (curl) curl_easy_getinfo(curl, CURLINFO_SCHEME, &scheme);
  return scheme && strcasecmp(scheme, "https") == 0;
}

/* Without a reason of the system's it was bytes that make no sense; of TLS the system's is not kept. */
static int receive_code(CURL *curl, bool is_connected) {
  return system_code(curl, is_connected && is_secure(curl) ? UV_ECONNRESET : UV_EPROTO);
}

int neap__http_code(CURLcode result, CURL *curl, bool is_connected) {
  switch (result) {
  case CURLE_OK: return 0;
  case CURLE_OUT_OF_MEMORY: return UV_ENOMEM;
  case CURLE_URL_MALFORMAT:
  case CURLE_UNSUPPORTED_PROTOCOL: return is_connected ? UV_EPROTO : UV_EINVAL;
  case CURLE_BAD_FUNCTION_ARGUMENT: return UV_EINVAL;
  case CURLE_NOT_BUILT_IN:
  case CURLE_UNKNOWN_OPTION: return UV_ENOTSUP;
  case CURLE_COULDNT_RESOLVE_HOST:
  case CURLE_COULDNT_RESOLVE_PROXY: return NEAP_ERESOLVE;
  case CURLE_COULDNT_CONNECT: return system_code(curl, UV_ECONNREFUSED);
  case CURLE_OPERATION_TIMEDOUT: return UV_ETIMEDOUT;
  case CURLE_TOO_MANY_REDIRECTS: return UV_ELOOP;
  case CURLE_SEND_ERROR: return system_code(curl, UV_ECONNRESET);
  case CURLE_RECV_ERROR: return receive_code(curl, is_connected);
  case CURLE_GOT_NOTHING:
  case CURLE_PARTIAL_FILE: return UV_ECONNRESET;
  case CURLE_SSL_CONNECT_ERROR:
  case CURLE_SSL_ENGINE_NOTFOUND:
  case CURLE_SSL_ENGINE_SETFAILED:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CIPHER:
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_USE_SSL_FAILED:
  case CURLE_SSL_ENGINE_INITFAILED:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_SHUTDOWN_FAILED:
  case CURLE_SSL_CRL_BADFILE:
  case CURLE_SSL_ISSUER_ERROR:
  case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
  case CURLE_SSL_INVALIDCERTSTATUS:
  case CURLE_SSL_CLIENTCERT: return NEAP_ETLS;
  default: return UV_EPROTO;
  }
}
