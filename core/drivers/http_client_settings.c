#include "http_client.h"

#include <math.h>

enum { DEFAULT_REDIRECTS = 10, DEFAULT_CONNECT_LIMIT = 30 };

neap__http_settings *neap__http_settings_new(neap_loop *loop) {
  neap__http_settings *self = neap__memory_new(&loop->memory, sizeof *self);
  if (!self) return NULL;
  self->loop = loop;
  self->refs = 1;
  self->max_redirects = DEFAULT_REDIRECTS;
  self->version = CURL_HTTP_VERSION_2TLS;
  self->verifies = self->compresses = true;
  self->connect_limit = DEFAULT_CONNECT_LIMIT;
  self->idle_limit = HUGE_VAL;
  neap__loop_anchor(loop);
  return self;
}

neap__http_settings *neap__http_settings_ref(neap__http_settings *self) {
  self->refs++;
  return self;
}

void neap__http_settings_unref(neap__http_settings *self) {
  if (--self->refs > 0) return;
  neap_loop *loop = self->loop;
  char *strings[] = {self->proxy,       self->no_proxy,   self->ca_file,      self->ca_path,
                     self->certificate, self->key,        self->key_password, self->user,
                     self->password,    self->unix_socket};
  for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
    neap__memory_free(&loop->memory, strings[i]);
  curl_slist_free_all(self->headers);
  curl_slist_free_all(self->resolve);
  neap__memory_free(&loop->memory, self);
  neap__loop_unanchor(loop);
}

bool neap__http_append(neap_loop *loop, struct curl_slist **list, const char *text) {
  /* What libcurl allocates is not counted; let tests fail it here. */
  struct curl_slist *longer =
      neap__memory_must_fail(&loop->memory) ? NULL : curl_slist_append(*list, text);
  if (!longer) return false;
  *list = longer;
  return true;
}
