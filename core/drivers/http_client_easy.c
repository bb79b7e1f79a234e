#include "http_client.h"

#include <string.h>

/* What is the same for many requests is set once, when the handle first serves their settings: setting
 * all of it each time costs as much as a small request. */

#define SET(easy, code, option, value)                                                             \
  if (!*(code)) *(code) = curl_easy_setopt((easy)->curl, option, value)

/* ---- Settings ------------------------------------------------------------------------------ */

static void set_protocols(neap__http_easy *easy, CURLcode *code) {
#if LIBCURL_VERSION_NUM >= 0x075500
  SET(easy, code, CURLOPT_PROTOCOLS_STR, "http,https");
  SET(easy, code, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
  SET(easy, code, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
  SET(easy, code, CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

/* A name that is being looked up does not hold up whoever is cancelled: its thread ends by itself. */
static void set_quick_exit(neap__http_easy *easy, CURLcode *code) {
#if LIBCURL_VERSION_NUM >= 0x075700
  SET(easy, code, CURLOPT_QUICK_EXIT, 1L);
#else
  (void)easy;
  (void)code;
#endif
}

/* What no setting changes. */
static void set_constants(neap__http_client *client, neap__http_easy *easy, CURLcode *code) {
  SET(easy, code, CURLOPT_PRIVATE, easy);
  SET(easy, code, CURLOPT_ERRORBUFFER, easy->error);
  SET(easy, code, CURLOPT_NOSIGNAL, 1L);
  SET(easy, code, CURLOPT_SHARE, client->share);
  SET(easy, code, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  SET(easy, code, CURLOPT_TCP_KEEPALIVE, 1L);
  set_protocols(easy, code);
  set_quick_exit(easy, code);
  if (client->has_cookies) SET(easy, code, CURLOPT_COOKIEFILE, "");
  if (!*code) *code = neap__http_watch_sockets(client, easy);
  if (!*code) *code = neap__http_watch_transfer(easy);
}

static void set_security(neap__http_easy *easy, const neap__http_settings *settings,
                         CURLcode *code) {
  SET(easy, code, CURLOPT_SSL_VERIFYPEER, settings->verifies ? 1L : 0L);
  SET(easy, code, CURLOPT_SSL_VERIFYHOST, settings->verifies ? 2L : 0L);
  if (settings->ca_file) SET(easy, code, CURLOPT_CAINFO, settings->ca_file);
  if (settings->ca_path) SET(easy, code, CURLOPT_CAPATH, settings->ca_path);
  if (settings->certificate) SET(easy, code, CURLOPT_SSLCERT, settings->certificate);
  if (settings->key) SET(easy, code, CURLOPT_SSLKEY, settings->key);
  if (settings->key_password) SET(easy, code, CURLOPT_KEYPASSWD, settings->key_password);
}

static void set_route(neap__http_easy *easy, const neap__http_settings *settings, CURLcode *code) {
  if (settings->proxy) SET(easy, code, CURLOPT_PROXY, settings->proxy);
  if (settings->no_proxy) SET(easy, code, CURLOPT_NOPROXY, settings->no_proxy);
  if (settings->unix_socket) SET(easy, code, CURLOPT_UNIX_SOCKET_PATH, settings->unix_socket);
  if (settings->resolve) SET(easy, code, CURLOPT_RESOLVE, settings->resolve);
}

static void set_settings(neap__http_easy *easy, const neap__http_settings *settings,
                         CURLcode *code) {
  SET(easy, code, CURLOPT_FOLLOWLOCATION, settings->max_redirects > 0 ? 1L : 0L);
  SET(easy, code, CURLOPT_MAXREDIRS, settings->max_redirects);
  SET(easy, code, CURLOPT_HTTP_VERSION, settings->version);
  if (settings->compresses) SET(easy, code, CURLOPT_ACCEPT_ENCODING, "");
  if (settings->user) SET(easy, code, CURLOPT_USERNAME, settings->user);
  if (settings->password) SET(easy, code, CURLOPT_PASSWORD, settings->password);
  SET(easy, code, CURLOPT_HTTPHEADER, settings->headers);
  set_security(easy, settings, code);
  set_route(easy, settings, code);
}

static void forget_settings(neap__http_easy *easy) {
  if (easy->settings) neap__http_settings_unref(easy->settings);
  easy->settings = NULL;
}

static void use_settings(neap__http_client *client, neap__http_easy *easy,
                         neap__http_settings *settings, CURLcode *code) {
  if (easy->settings == settings) return;
  forget_settings(easy);
  curl_easy_reset(easy->curl);
  set_constants(client, easy, code);
  set_settings(easy, settings, code);
  easy->settings = neap__http_settings_ref(settings);
  easy->headers = settings->headers;
  easy->is_plain = true;
  easy->waits_for_others = false;
}

/* ---- The request --------------------------------------------------------------------------- */

static void set_headers(neap__http_easy *easy, const neap__http_transfer *transfer,
                        CURLcode *code) {
  const struct curl_slist *headers =
      transfer->headers ? transfer->headers : transfer->settings->headers;
  if (easy->headers == headers) return;
  SET(easy, code, CURLOPT_HTTPHEADER, headers);
  easy->headers = headers;
}

static void set_body(neap__http_easy *easy, const neap__http_transfer *transfer, CURLcode *code) {
  curl_off_t size = transfer->sends ? transfer->send_size : (curl_off_t)transfer->body_size;
  SET(easy, code, CURLOPT_POST, 1L);
  const char *body = transfer->body ? transfer->body : "";
  SET(easy, code, CURLOPT_POSTFIELDS, transfer->sends ? NULL : body);
  SET(easy, code, CURLOPT_POSTFIELDSIZE_LARGE, size);
}

/* POST is libcurl's own word, which redirects change as browsers do. Other methods with a body are its POST by
 * another name, which they keep, but for 303 (see http_client_transfer.c). */
static void set_method(neap__http_easy *easy, const neap__http_transfer *transfer, CURLcode *code) {
  bool has_body = transfer->has_body || transfer->sends;
  bool is_get = strcmp(transfer->method, "GET") == 0,
       is_head = strcmp(transfer->method, "HEAD") == 0;
  bool is_post = strcmp(transfer->method, "POST") == 0;
  bool is_plain = is_get && !has_body;
  if (is_plain && easy->is_plain) return;
  SET(easy, code, CURLOPT_HTTPGET, 1L);
  if (is_head && !has_body) SET(easy, code, CURLOPT_NOBODY, 1L);
  if (has_body || is_post) set_body(easy, transfer, code);
  bool is_own = is_plain || is_post || (is_head && !has_body);
  SET(easy, code, CURLOPT_CUSTOMREQUEST, is_own ? NULL : transfer->method);
  SET(easy, code, CURLOPT_POSTREDIR,
      is_own ? 0L : (long)(CURL_REDIR_POST_301 | CURL_REDIR_POST_302));
  easy->is_plain = is_plain;
}

/* Requests to a host that may speak HTTP/2 share its first connection: they wait until it is known. */
static void set_sharing(neap__http_easy *easy, const neap__http_transfer *transfer,
                        CURLcode *code) {
  long version = transfer->settings->version;
  bool waits = (strncmp(transfer->url, "https:", 6) == 0 && version != CURL_HTTP_VERSION_1_1) ||
               version == CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
  if (waits == easy->waits_for_others) return;
  SET(easy, code, CURLOPT_PIPEWAIT, waits ? 1L : 0L);
  easy->waits_for_others = waits;
}

/* ---- Life ---------------------------------------------------------------------------------- */

static neap__http_easy *new_easy(neap_loop *loop) {
  neap__http_easy *easy = neap__memory_new(&loop->memory, sizeof *easy);
  if (!easy) return NULL;
  /* What libcurl allocates is not counted; let tests fail it here. */
  easy->curl = neap__memory_must_fail(&loop->memory) ? NULL : curl_easy_init();
  if (easy->curl) return easy;
  neap__memory_free(&loop->memory, easy);
  return NULL;
}

/* One that knows the settings already, if it is at hand. */
static neap__http_easy *take_idle(neap__http_client *client) {
  neap__http_easy *easy = client->idle;
  if (!easy) return NULL;
  client->idle = easy->next;
  client->idle_count--;
  return easy;
}

int neap__http_easy_take(neap__http_transfer *transfer, neap__http_easy **result) {
  neap__http_client *client = transfer->client;
  neap__http_easy *easy = take_idle(client);
  CURLcode code = CURLE_OK;
  if (!easy) easy = new_easy(transfer->loop);
  if (!easy) return UV_ENOMEM;
  use_settings(client, easy, transfer->settings, &code);
  SET(easy, &code, CURLOPT_URL, transfer->url);
  set_headers(easy, transfer, &code);
  set_method(easy, transfer, &code);
  set_sharing(easy, transfer, &code);
  if (code) {
    neap__http_easy_free(easy, transfer->loop);
    return neap__http_code(code, NULL, false);
  }
  easy->error[0] = '\0';
  *result = easy;
  return 0;
}

void neap__http_easy_free(neap__http_easy *easy, neap_loop *loop) {
  curl_easy_cleanup(easy->curl);
  forget_settings(easy);
  neap__memory_free(&loop->memory, easy);
}

/* The headers of a request go with it. */
static bool forget_headers(neap__http_easy *easy) {
  if (easy->headers == easy->settings->headers) return true;
  easy->headers = easy->settings->headers;
  return !curl_easy_setopt(easy->curl, CURLOPT_HTTPHEADER, easy->settings->headers);
}

void neap__http_easy_give(neap__http_client *client, neap__http_easy *easy) {
  easy->transfer = NULL;
  bool is_kept =
      !client->is_closed && client->idle_count < NEAP__HTTP_SPARES && forget_headers(easy);
  if (!is_kept) {
    neap__http_easy_free(easy, client->loop);
    return;
  }
  easy->next = client->idle;
  client->idle = easy;
  client->idle_count++;
}
