#include "http_client.h"

#ifndef CURL_IGNORE_DEPRECATION
#define CURL_IGNORE_DEPRECATION(statements) statements
#endif

static neap__http_client *of_kick(neap__runnable *kick) {
  return NEAP__CONTAINER(kick, neap__http_client, kick);
}

/* ---- Time ---------------------------------------------------------------------------------- */

/* libcurl looks at what is due by its own clock; it may be called too early. */
static void act(neap__http_client *self) {
  int running;
  self->is_working = true;
  curl_multi_socket_action(self->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  self->is_working = false;
  neap__http_client_work(self);
}

static void on_kick(neap__runnable *kick) {
  neap__http_client *self = of_kick(kick);
  self->is_kicked = false;
  act(self);
}

void neap__http_client_kick(neap__http_client *self) {
  if (self->is_kicked || self->loop->is_closing) return;
  self->is_kicked = true;
  neap__loop_ready(self->loop, &self->kick);
}

static void on_due(neap__timer *timer) {
  act(NEAP__CONTAINER(timer, neap__http_client, timer));
}

static int on_timer(CURLM *multi, long milliseconds, void *data) {
  neap__http_client *self = data;
  neap_loop *loop = self->loop;
  (void)multi;
  neap__timer_disarm(&loop->timers, &self->timer);
  if (milliseconds < 0 || self->is_closed) return 0;
  double deadline = neap__loop_now(loop) + (double)milliseconds / 1000;
  if (neap__loop_arm(loop, &self->timer, deadline)) neap__http_client_kick(self);
  return 0;
}

/* ---- What follows -------------------------------------------------------------------------- */

/* Goes through all transfers and their sockets: deprecated, since it is slow, and the only way to have one
 * looked at for which nothing has happened. */
static void look(neap__http_client *self) {
  int running;
  self->must_look = false;
  if (self->is_closed) return;
  self->is_working = true;
  CURL_IGNORE_DEPRECATION(curl_multi_socket_all(self->multi, &running);)
  self->is_working = false;
}

static neap__http_transfer *next_noted(neap__http_client *self) {
  if (neap__list_is_empty(&self->noted)) return NULL;
  neap__http_transfer *transfer = NEAP__CONTAINER(self->noted.next, neap__http_transfer, note);
  neap__list_unlink(&transfer->note);
  return transfer;
}

static neap__http_transfer *transfer_of(CURL *curl) {
  neap__http_easy *easy = NULL;
  curl_easy_getinfo(curl, CURLINFO_PRIVATE, &easy);
  return easy->transfer;
}

static bool finish_next(neap__http_client *self) {
  int left;
  const CURLMsg *message = curl_multi_info_read(self->multi, &left);
  if (!message) return false;
  if (message->msg == CURLMSG_DONE)
    neap__http_transfer_finish(transfer_of(message->easy_handle), message->data.result);
  return true;
}

/* Settling may cancel other transfers, so each is looked for anew; and it may end the client. */
void neap__http_client_work(neap__http_client *self) {
  self->refs++;
  neap__http_transfer *transfer;
  while (self->must_look) look(self);
  do
    while ((transfer = next_noted(self))) neap__http_transfer_proceed(transfer);
  while (!self->is_closed && finish_next(self));
  neap__http_client_unref(self);
}

/* ---- Life ---------------------------------------------------------------------------------- */

static void init_libcurl(void) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* libcurl has state for the whole process, which is made once, by whichever thread is the first. It is
 * never given back: other users of libcurl would not survive that. */
static void use_libcurl(void) {
  static uv_once_t once = UV_ONCE_INIT;
  uv_once(&once, init_libcurl);
}

static bool is_new_enough(void) {
  const unsigned needed = 0x075100; /* 7.81 */
  return curl_version_info(CURLVERSION_NOW)->version_num >= needed;
}

static void close_resource(neap__resource *resource) {
  neap__http_client_close(NEAP__CONTAINER(resource, neap__http_client, resource));
}

static bool init_share(neap__http_client *self) {
  CURLSHcode code = curl_share_setopt(self->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  if (!code && self->has_cookies)
    code = curl_share_setopt(self->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE);
  return code == CURLSHE_OK || code == CURLSHE_NOT_BUILT_IN;
}

static bool init_multi(neap__http_client *self, const neap__http_limits *limits) {
  CURLM *multi = self->multi;
  return !curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, neap__http_on_socket) &&
         !curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, self) &&
         !curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer) &&
         !curl_multi_setopt(multi, CURLMOPT_TIMERDATA, self) &&
         !curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, limits->connections) &&
         !curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, limits->connections) &&
         !curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, limits->host_connections);
}

static void free_spares(neap__http_client *self) {
  for (neap__http_transfer *spare; (spare = self->spares);) {
    self->spares = spare->next;
    neap__http_transfer_free(spare, self->loop);
  }
}

static void destroy(neap__http_client *self) {
  neap_loop *loop = self->loop;
  if (self->multi) curl_multi_cleanup(self->multi);
  if (self->share) curl_share_cleanup(self->share);
  if (self->settings) neap__http_settings_unref(self->settings);
  free_spares(self);
  neap__memory_free(&loop->memory, self->sockets);
  neap__memory_free(&loop->memory, self);
  neap__loop_unanchor(loop);
}

static void init_lists(neap__http_client *self) {
  neap__list_init(&self->resource.link);
  neap__list_init(&self->transfers);
  neap__list_init(&self->noted);
}

int neap__http_client_new(neap_loop *loop, neap__http_settings *settings,
                          const neap__http_limits *limits, neap__http_client **result) {
  use_libcurl();
  if (!is_new_enough()) return UV_ENOTSUP;
  neap__http_client *self = neap__memory_new(&loop->memory, sizeof *self);
  if (!self) return UV_ENOMEM;
  self->loop = loop;
  self->refs = 1;
  self->resource.close = close_resource;
  self->timer.fire = on_due;
  self->kick.run = on_kick;
  self->has_cookies = limits->has_cookies;
  init_lists(self);
  neap__loop_anchor(loop);
  self->settings = neap__http_settings_ref(settings);
  bool is_lacking = neap__memory_must_fail(&loop->memory);
  self->multi = is_lacking ? NULL : curl_multi_init();
  self->share = is_lacking ? NULL : curl_share_init();
  if (!self->multi || !self->share || !init_share(self) || !init_multi(self, limits)) {
    destroy(self);
    return UV_ENOMEM;
  }
  neap__list_append(&loop->resources, &self->resource.link);
  *result = self;
  return 0;
}

static bool is_this(neap__runnable *runnable, void *data) {
  return runnable == data;
}

static void free_idle(neap__http_client *self) {
  for (neap__http_easy *easy; (easy = self->idle);) {
    self->idle = easy->next;
    neap__http_easy_free(easy, self->loop);
  }
  self->idle_count = 0;
}

static neap__http_transfer *first_transfer(const neap__http_client *self) {
  return NEAP__CONTAINER(self->transfers.next, neap__http_transfer, link);
}

void neap__http_client_close(neap__http_client *self) {
  if (self->is_closed) return;
  self->refs++;
  self->is_closed = true;
  neap__list_unlink(&self->resource.link);
  while (!neap__list_is_empty(&self->transfers)) neap__http_transfer_close(first_transfer(self));
  free_idle(self);
  curl_multi_cleanup(self->multi);
  self->multi = NULL;
  neap__http_drop_sockets(self);
  neap__timer_disarm(&self->loop->timers, &self->timer);
  if (self->is_kicked) neap__ready_remove(&self->loop->ready, is_this, &self->kick);
  self->is_kicked = false;
  neap__http_client_unref(self);
}

void neap__http_client_unref(neap__http_client *self) {
  if (--self->refs > 0) return;
  if (!self->is_closed) {
    self->refs = 1;
    neap__http_client_close(self);
  }
  destroy(self);
}

/* ---- Cookies ------------------------------------------------------------------------------- */

/* They live in the share, to which an easy handle gives access. */
static CURL *open_jar(neap__http_client *self) {
  CURL *curl = curl_easy_init();
  if (curl && !curl_easy_setopt(curl, CURLOPT_SHARE, self->share)) return curl;
  curl_easy_cleanup(curl);
  return NULL;
}

struct curl_slist *neap__http_client_cookies(neap__http_client *self) {
  struct curl_slist *list = NULL;
  CURL *curl = self->is_closed ? NULL : open_jar(self);
  if (!curl) return NULL;
  curl_easy_getinfo(curl, CURLINFO_COOKIELIST, &list);
  curl_easy_cleanup(curl);
  return list;
}

int neap__http_client_set_cookie(neap__http_client *self, const char *line) {
  if (self->is_closed) return NEAP_ECLOSED;
  CURL *curl = open_jar(self);
  if (!curl) return UV_ENOMEM;
  CURLcode code = curl_easy_setopt(curl, CURLOPT_COOKIELIST, line);
  curl_easy_cleanup(curl);
  return neap__http_code(code, NULL, false);
}
