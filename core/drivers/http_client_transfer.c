#include "http_client.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static neap__http_transfer *of_data(void *data) {
  return ((neap__http_easy *)data)->transfer;
}

static neap__memory *memory_of(const neap__http_transfer *self) {
  return &self->loop->memory;
}

/* ---- Notes --------------------------------------------------------------------------------- */

void neap__http_transfer_note(neap__http_transfer *self) {
  neap__list_unlink(&self->note);
  neap__list_append(&self->client->noted, &self->note);
}

void neap__http_transfer_doom(neap__http_transfer *self, int code, const char *syscall) {
  if (self->code) return;
  self->code = code;
  self->syscall = syscall;
  neap__http_transfer_note(self);
  if (!self->client->is_working) neap__http_client_kick(self->client);
}

/* ---- Limits of time ------------------------------------------------------------------------- */

/* The bytes of both directions count, not each of them arms a timer. */
static void touch(neap__http_transfer *self) {
  if (self->settings->idle_limit < HUGE_VAL) self->last_activity = neap__loop_now(self->loop);
}

static void arm(neap__http_transfer *self, double limit) {
  neap_loop *loop = self->loop;
  neap__timer_disarm(&loop->timers, &self->limit);
  if (limit == HUGE_VAL) return;
  int code = neap__loop_arm(loop, &self->limit, neap__loop_now(loop) + limit);
  if (code) neap__http_transfer_doom(self, code, NULL);
}

void neap__http_transfer_connect(neap__http_transfer *self) {
  if (self->is_connecting) return;
  self->is_connecting = true;
  arm(self, self->settings->connect_limit);
}

static int on_resolve(void *resolver, void *reserved, void *data) {
  (void)resolver;
  (void)reserved;
  neap__http_transfer_connect(of_data(data));
  return 0;
}

/* There is a connection, and the request is sent next. */
static int on_connected(void *data, char *address, char *local, int port, int local_port) {
  neap__http_transfer *self = of_data(data);
  (void)address;
  (void)local;
  (void)port;
  (void)local_port;
  self->is_connecting = false;
  self->is_connected = true;
  if (self->has_opened) neap__http_keep_socket(self);
  touch(self);
  arm(self, self->settings->idle_limit);
  return CURL_PREREQFUNC_OK;
}

static void on_limit(neap__timer *timer) {
  neap__http_transfer *self = NEAP__CONTAINER(timer, neap__http_transfer, limit);
  double idle = self->settings->idle_limit, now = neap__loop_now(self->loop);
  char message[80];
  if (self->is_connecting) {
    snprintf(message, sizeof message, "no connection within %g s", self->settings->connect_limit);
    neap__http_transfer_fail(self, UV_ETIMEDOUT, message);
    return;
  }
  /* A transfer that waits for its own program is not idle. */
  if (self->is_paused || self->is_send_paused) self->last_activity = now;
  if (self->last_activity + idle > now) {
    arm(self, self->last_activity + idle - now);
    return;
  }
  snprintf(message, sizeof message, "nothing came or went for %g s", idle);
  neap__http_transfer_fail(self, UV_ETIMEDOUT, message);
}

/* ---- Memory that grows ---------------------------------------------------------------------- */

static bool reserve(neap__http_transfer *self, char **block, size_t *capacity, size_t size) {
  if (size <= *capacity) return true;
  size_t larger = *capacity ? *capacity * 2 : 512;
  while (larger < size) larger *= 2;
  char *longer = neap__memory_resize(memory_of(self), *block, larger);
  if (!longer) return false;
  *block = longer;
  *capacity = larger;
  return true;
}

/* ---- Head ---------------------------------------------------------------------------------- */

static bool is_redirected(const neap__http_transfer *self) {
  return self->status >= 300 && self->status < 400 && self->has_location &&
         self->settings->max_redirects > 0;
}

static int keep_url(neap__http_transfer *self) {
  char *url = NULL;
  long redirects = 0;
  curl_easy_getinfo(self->easy->curl, CURLINFO_REDIRECT_COUNT, &redirects);
  if (redirects == 0) return 0;
  curl_easy_getinfo(self->easy->curl, CURLINFO_EFFECTIVE_URL, &url);
  self->final_url = url ? neap__memory_copy(memory_of(self), url) : NULL;
  return self->final_url ? 0 : UV_ENOMEM;
}

static bool is_head_request(const neap__http_transfer *self) {
  return strcmp(self->method, "HEAD") == 0;
}

/* Room for a body whose size is told, and none for one that is too large. */
static int prepare_body(neap__http_transfer *self) {
  curl_off_t size = -1;
  curl_easy_getinfo(self->easy->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
  if (size <= 0 || is_head_request(self)) return 0;
  if ((uint64_t)size > self->max_body) return NEAP_ETOOLARGE;
  if (self->streams || (size_t)size <= self->data_capacity) return 0;
  char *data = neap__memory_resize(memory_of(self), self->data, (size_t)size);
  if (!data) return UV_ENOMEM;
  self->data = data;
  self->data_capacity = (size_t)size;
  return 0;
}

static int end_head(neap__http_transfer *self) {
  int code = keep_url(self);
  if (!code) code = prepare_body(self);
  self->has_head = !code;
  if (code)
    neap__http_transfer_doom(self, code, NULL);
  else if (self->streams)
    neap__http_transfer_note(self);
  return code;
}

static bool begins_with(const char *line, size_t size, const char *name) {
  size_t length = strlen(name);
  return size >= length && strncasecmp(line, name, length) == 0;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* An empty Location leads nowhere. */
static bool is_location(const char *line, size_t size) {
  if (!begins_with(line, size, "location:")) return false;
  for (size_t i = sizeof "location:" - 1; i < size; i++)
    if (!is_blank(line[i])) return true;
  return false;
}

/* After 303 the request is a GET, which libcurl says by the name that it was given. */
static void note_status(neap__http_transfer *self) {
  long status = 0;
  curl_easy_getinfo(self->easy->curl, CURLINFO_RESPONSE_CODE, &status);
  self->status = (int)status;
  if (status == 303 && self->settings->max_redirects > 0 && !is_head_request(self))
    curl_easy_setopt(self->easy->curl, CURLOPT_CUSTOMREQUEST, NULL);
}

static int add_line(neap__http_transfer *self, const char *line, size_t size) {
  bool is_first = begins_with(line, size, "HTTP/");
  if (is_first) {
    self->head_size = 0;
    self->has_location = false;
  }
  if (self->head_size + size > NEAP__HTTP_MAX_HEAD) return NEAP_ETOOLARGE;
  if (!reserve(self, &self->head, &self->head_capacity, self->head_size + size)) return UV_ENOMEM;
  memcpy(self->head + self->head_size, line, size);
  self->head_size += size;
  self->has_location |= is_location(line, size);
  return 0;
}

static bool is_empty(const char *line, size_t size) {
  return size == 0 || line[0] == '\r' || line[0] == '\n';
}

/* Line by line, of each response on the way to the last one; after the body come trailers. */
static size_t on_header(char *line, size_t unit, size_t n, void *data) {
  neap__http_transfer *self = of_data(data);
  size_t size = unit * n;
  touch(self);
  if (self->has_head) return size;
  int code = add_line(self, line, size);
  if (code) neap__http_transfer_doom(self, code, NULL);
  if (!code && is_empty(line, size)) {
    note_status(self);
    if (self->status >= 200 && !is_redirected(self)) code = end_head(self);
  }
  return code ? 0 : size;
}

/* ---- Body ---------------------------------------------------------------------------------- */

static int collect(neap__http_transfer *self, const char *bytes, size_t size) {
  if (!reserve(self, &self->data, &self->data_capacity, self->data_size + size)) return UV_ENOMEM;
  memcpy(self->data + self->data_size, bytes, size);
  self->data_size += size;
  return 0;
}

/* What is streamed is gathered in a block, which the reader gets when libcurl has returned. */
static int stage(neap__http_transfer *self, const char *bytes, size_t size) {
  if (self->data_capacity < NEAP__BLOCK_SIZE) {
    neap__memory_free(memory_of(self), self->data);
    self->data = neap__block_take(self->loop);
    self->data_capacity = self->data ? NEAP__BLOCK_SIZE : 0;
  }
  if (!self->data) return UV_ENOMEM;
  memcpy(self->data + self->data_size, bytes, size);
  self->data_size += size;
  neap__http_transfer_note(self);
  return 0;
}

/* Nobody reads, or not as fast as it comes. libcurl gives it again when it goes on. */
static bool must_wait(const neap__http_transfer *self, size_t size) {
  const neap__reader *reader = &self->reader;
  if (self->data_size + size > NEAP__BLOCK_SIZE) return true;
  return !reader->waiting &&
         neap__reader_buffered(reader) + self->data_size + size > NEAP__BLOCK_SIZE;
}

static size_t on_body(char *bytes, size_t unit, size_t n, void *data) {
  neap__http_transfer *self = of_data(data);
  size_t size = unit * n;
  touch(self);
  if (!self->has_head && end_head(self)) return 0;
  if (self->streams && must_wait(self, size)) {
    self->is_paused = true;
    return CURL_WRITEFUNC_PAUSE;
  }
  int code = size > self->max_body - self->received ? NEAP_ETOOLARGE : 0;
  if (!code) code = self->streams ? stage(self, bytes, size) : collect(self, bytes, size);
  if (code) neap__http_transfer_doom(self, code, NULL);
  self->received += size;
  return code ? 0 : size;
}

/* ---- The request's body --------------------------------------------------------------------- */

static size_t on_send(char *bytes, size_t unit, size_t n, void *data) {
  neap__http_transfer *self = of_data(data);
  touch(self);
  return neap__http_send_take(self, bytes, unit * n);
}

/* libcurl would send it again: after a redirect, or on another connection. */
static int on_rewind(void *data, curl_off_t offset, int origin) {
  const neap__http_transfer *self = of_data(data);
  return offset == 0 && origin == SEEK_SET && !self->has_sent ? CURL_SEEKFUNC_OK
                                                              : CURL_SEEKFUNC_FAIL;
}

CURLcode neap__http_watch_transfer(neap__http_easy *easy) {
  CURL *curl = easy->curl;
  CURLcode code = CURLE_OK;
  if (!code) code = curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  if (!code) code = curl_easy_setopt(curl, CURLOPT_HEADERDATA, easy);
  if (!code) code = curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  if (!code) code = curl_easy_setopt(curl, CURLOPT_WRITEDATA, easy);
  if (!code) code = curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_send);
  if (!code) code = curl_easy_setopt(curl, CURLOPT_READDATA, easy);
  if (!code) code = curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_rewind);
  if (!code) code = curl_easy_setopt(curl, CURLOPT_SEEKDATA, easy);
  if (!code) code = curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, on_connected);
  if (!code) code = curl_easy_setopt(curl, CURLOPT_PREREQDATA, easy);
  if (!code) code = curl_easy_setopt(curl, CURLOPT_RESOLVER_START_FUNCTION, on_resolve);
  if (!code) code = curl_easy_setopt(curl, CURLOPT_RESOLVER_START_DATA, easy);
  return code;
}

/* ---- Streaming ----------------------------------------------------------------------------- */

static neap__http_transfer *of_reader(neap__reader *reader) {
  return NEAP__CONTAINER(reader, neap__http_transfer, reader);
}

/* Gives what was gathered to the reader; false: there was nothing, or no memory. */
static bool deliver(neap__http_transfer *self) {
  char *block = self->data;
  size_t size = self->data_size;
  if (!self->streams || size == 0) return false;
  if (!neap__reader_reserve(&self->reader, size)) {
    neap__reader_failed(&self->reader, NULL, UV_ENOMEM); /* the next read tries again */
    return false;
  }
  self->data = NULL;
  self->data_size = self->data_capacity = 0;
  if (!neap__reader_arrived(&self->reader, block, size, NEAP__BLOCK_SIZE))
    neap__block_give(self->loop, block, NEAP__BLOCK_SIZE);
  return true;
}

/* Lets libcurl go on, which calls back with what it had kept. */
static void resume(neap__http_transfer *self) {
  neap__http_client *client = self->client;
  if (!self->is_paused || !self->easy) return;
  self->is_paused = false;
  client->is_working = true;
  curl_easy_pause(self->easy->curl, self->is_send_paused ? CURLPAUSE_SEND : CURLPAUSE_CONT);
  client->is_working = false;
}

/* A read wants more. */
static int pull(neap__reader *reader, size_t wanted, const char **syscall) {
  neap__http_transfer *self = of_reader(reader);
  (void)wanted;
  (void)syscall;
  if (deliver(self)) return 1;
  resume(self);
  if (!neap__list_is_empty(&self->note)) neap__http_client_kick(self->client);
  return deliver(self) ? 1 : 0;
}

/* A body that nobody holds any more ends with the last read. */
static void close_if_unused(neap__http_transfer *self) {
  if (self->is_dropped && !self->reader.waiting) neap__http_transfer_close(self);
}

static void unref_reader(neap__reader *reader) {
  neap__http_transfer *self = of_reader(reader);
  close_if_unused(self);
  neap__http_transfer_unref(self);
}

void neap__http_transfer_drop(neap__http_transfer *self) {
  self->is_dropped = true;
  close_if_unused(self);
  neap__http_transfer_unref(self);
}

static void explain(const neap__reader *reader, neap_error *error) {
  const neap__http_transfer *self =
      NEAP__CONTAINER((uintptr_t)reader, const neap__http_transfer, reader);
  error->message = self->message;
  error->url = self->url;
}

static const neap__source source = {pull, NULL, unref_reader, explain};

/* A read that still waits gets what libcurl had kept meanwhile. */
static void deliver_all(neap__http_transfer *self) {
  deliver(self);
  while (self->reader.waiting && self->is_paused) {
    resume(self);
    if (!deliver(self)) break;
  }
}

static void close_resource(neap__resource *resource) {
  neap__http_transfer_close(NEAP__CONTAINER(resource, neap__http_transfer, resource));
}

/* The head of a streamed response is there. */
static void begin_stream(neap__http_transfer *self) {
  neap__list_append(&self->loop->resources, &self->resource.link);
}

/* ---- Ends ---------------------------------------------------------------------------------- */

static void settle_request(neap__http_transfer *self, int code) {
  neap__op *op = self->request;
  if (!op) return;
  self->request = NULL;
  op->error.message = self->message;
  op->error.url = self->url;
  op->error.syscall = self->syscall;
  neap__op_settle(op, code);
  neap__op_release_native(op);
}

/* Takes it away from libcurl, which closes the connection where the response is not complete. */
static void detach(neap__http_transfer *self) {
  neap__http_easy *easy = self->easy;
  neap__http_client *client = self->client;
  neap__list_unlink(&self->link);
  neap__list_unlink(&self->note);
  neap__list_unlink(&self->resource.link);
  neap__timer_disarm(&self->loop->timers, &self->limit);
  if (!easy) return;
  assert(!client->is_working);
  client->is_working = true;
  curl_multi_remove_handle(client->multi, easy->curl);
  client->is_working = false;
  self->easy = NULL;
  neap__http_easy_give(client, easy);
}

/* Whoever waits for it hears of the end. */
static void end(neap__http_transfer *self, int code) {
  if (self->has_ended) return;
  self->refs++;
  self->has_ended = true;
  self->code = code;
  detach(self);
  settle_request(self, code);
  if (self->streams) {
    deliver(self);
    if (!code) code = self->data_size > 0 ? UV_ENOMEM : UV_EOF;
    neap__reader_ended(&self->reader, self->syscall, code);
  }
  neap__http_send_end(self, NEAP_ECLOSED);
  neap__http_transfer_unref(self);
}

static void keep_message(neap__http_transfer *self, const char *message) {
  if (!self->message && message) self->message = neap__memory_copy(memory_of(self), message);
}

void neap__http_transfer_fail(neap__http_transfer *self, int code, const char *message) {
  if (self->has_ended) return;
  keep_message(self, message);
  end(self, code);
}

void neap__http_transfer_close(neap__http_transfer *self) {
  self->refs++;
  end(self, NEAP_ECLOSED);
  if (self->streams) neap__reader_close(&self->reader);
  neap__http_transfer_unref(self);
}

void neap__http_transfer_finish(neap__http_transfer *self, CURLcode result) {
  neap__http_easy *easy = self->easy;
  int code = self->code;
  if (!code && result) {
    code = neap__http_code(result, easy->curl, self->is_connected);
    keep_message(self, easy->error[0] ? easy->error : curl_easy_strerror(result));
  } else if (!code && !self->has_head) {
    code = UV_ECONNRESET;
    keep_message(self, "the connection ended within the head of the response");
  }
  end(self, code);
}

void neap__http_transfer_proceed(neap__http_transfer *self) {
  self->refs++;
  if (self->streams && self->has_head && self->request) {
    begin_stream(self);
    settle_request(self, 0);
  }
  if (self->code)
    end(self, self->code);
  else {
    deliver_all(self);
    neap__http_send_proceed(self);
  }
  neap__http_transfer_unref(self);
}

/* ---- Life ---------------------------------------------------------------------------------- */

/* Memory of a transfer that has been: with blocks that serve the next one, which are all it has. */
static neap__http_transfer *take_spare(neap__http_client *client) {
  neap__http_transfer *self = client->spares;
  if (!self) return neap__memory_new(&client->loop->memory, sizeof *self);
  client->spares = self->next;
  client->spare_count--;
  return self;
}

static void init(neap__http_transfer *self, neap__http_client *client) {
  self->loop = client->loop;
  self->client = client;
  self->settings = neap__http_settings_ref(client->settings);
  self->refs = 1;
  self->send_size = -1;
  self->max_body = NEAP__HTTP_DEFAULT_MAX_BODY;
  self->resource.close = close_resource;
  self->limit.fire = on_limit;
  neap__list_init(&self->resource.link);
  neap__list_init(&self->link);
  neap__list_init(&self->note);
  neap__reader_init(&self->reader, client->loop, &source);
  client->refs++;
  neap__loop_anchor(client->loop);
}

neap__http_transfer *neap__http_transfer_new(neap__http_client *client, const char *method,
                                             const char *url) {
  size_t size = strlen(url) + 1;
  neap__http_transfer *self = take_spare(client);
  if (!self) return NULL;
  init(self, client);
  assert(strlen(method) < sizeof self->method);
  strcpy(self->method, method);
  if (reserve(self, &self->url, &self->url_capacity, size)) {
    memcpy(self->url, url, size);
    return self;
  }
  neap__http_transfer_unref(self);
  return NULL;
}

static void free_block(neap_loop *loop, char **block, size_t *capacity) {
  neap__memory_free(&loop->memory, *block);
  *block = NULL;
  *capacity = 0;
}

void neap__http_transfer_free(neap__http_transfer *self, neap_loop *loop) {
  free_block(loop, &self->url, &self->url_capacity);
  free_block(loop, &self->head, &self->head_capacity);
  free_block(loop, &self->data, &self->data_capacity);
  neap__memory_free(&loop->memory, self);
}

static void drop_large(neap_loop *loop, char **block, size_t *capacity) {
  if (*capacity > NEAP__HTTP_KEPT) free_block(loop, block, capacity);
}

/* What is left are its blocks. */
static void clear(neap__http_transfer *self) {
  neap__http_transfer blocks = {.url = self->url,
                                .url_capacity = self->url_capacity,
                                .head = self->head,
                                .head_capacity = self->head_capacity,
                                .data = self->data,
                                .data_capacity = self->data_capacity};
  *self = blocks;
}

static void put_back(neap__http_transfer *self, neap__http_client *client) {
  neap_loop *loop = client->loop;
  if (client->is_closed || client->spare_count >= NEAP__HTTP_SPARES) {
    neap__http_transfer_free(self, loop);
    return;
  }
  drop_large(loop, &self->url, &self->url_capacity);
  drop_large(loop, &self->head, &self->head_capacity);
  drop_large(loop, &self->data, &self->data_capacity);
  clear(self);
  self->next = client->spares;
  client->spares = self;
  client->spare_count++;
}

static void free_body(neap__http_transfer *self) {
  if (self->data && self->streams) {
    neap__block_give(self->loop, self->data, self->data_capacity);
    self->data = NULL;
    self->data_capacity = 0;
  }
  if (self->reader.buffer) neap__reader_clear(&self->reader);
}

void neap__http_transfer_unref(neap__http_transfer *self) {
  if (--self->refs > 0) return;
  assert(!self->easy);
  neap_loop *loop = self->loop;
  neap__http_client *client = self->client;
  free_body(self);
  neap__memory_free(&loop->memory, self->body);
  neap__memory_free(&loop->memory, self->final_url);
  neap__memory_free(&loop->memory, self->message);
  curl_slist_free_all(self->headers);
  neap__http_settings_unref(self->settings);
  put_back(self, client);
  neap__http_client_unref(client);
  neap__loop_unanchor(loop);
}

/* ---- The operation -------------------------------------------------------------------------- */

static int start(neap__op *op) {
  neap__http_transfer *self = ((neap__http_request *)op)->transfer;
  neap__http_client *client = self->client;
  if (client->is_closed) return NEAP_ECLOSED;
  int code = neap__http_easy_take(self, &self->easy);
  if (code) return code;
  self->easy->transfer = self;
  self->request = op;
  neap__op_acquire_native(op, false);
  neap__list_append(&client->transfers, &self->link);
  if (curl_multi_add_handle(client->multi, self->easy->curl)) end(self, UV_ENOMEM);
  return 0;
}

/* The connection is closed at once. */
static void abort_request(neap__op *op) {
  neap__http_transfer *self = ((neap__http_request *)op)->transfer;
  neap__http_transfer_close(self);
}

static void release_request(neap__op *op) {
  neap__http_request *self = (neap__http_request *)op;
  if (!self->transfer) return;
  if (!self->is_taken) neap__http_transfer_close(self->transfer);
  neap__http_transfer_unref(self->transfer);
}

const neap__op_kind neap__http_request_kind = {
    .task = NEAP__OP_TASK("http request"),
    .size = sizeof(neap__http_request),
    .start = start,
    .abort = abort_request,
    .release = release_request,
};
