#include "http_client.h"

#include "../reading.h"

static const char class_name[] = "neap.http.Body";

/* The body of a response that is streamed: what Response delegates its reading to. Its core is the transfer. */

static neap__http_transfer *check_body(lua_State *L, int index) {
  return neapL__check_core(L, index, &neapL__http_get(L)->body_meta, class_name);
}

static neap__reader *use(lua_State *L, int index) {
  neap__http_transfer *self = check_body(L, index);
  self->refs++;
  return &self->reader;
}

static const neapL__readable readable = {use};

void neapL__http_push_body(lua_State *L, neap__http_request *request) {
  neapL__object *object = neapL__push_object(L, &neapL__http_get(L)->body_meta);
  object->core = request->transfer;
  request->transfer->refs++;
  request->is_taken = true;
}

/* What has not been read is not wanted: the connection is closed, unless all has arrived. */
static int close_body(lua_State *L) {
  neap__http_transfer_close(check_body(L, 1));
  return 0;
}

/* body:abort(message): reads fail with it */
static int abort_body(lua_State *L) {
  neap__http_transfer_fail(check_body(L, 1), NEAP_ECANCELLED, luaL_checkstring(L, 2));
  return 0;
}

static int collect(lua_State *L) {
  neapL__object *object = lua_touserdata(L, 1);
  neap__http_transfer *self = object->core;
  object->core = NULL;
  if (self) neap__http_transfer_drop(self);
  return 0;
}

static const luaL_Reg metamethods[] = {{"__gc", collect}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"close", close_body}, {"abort", abort_body}, {NULL, NULL}};

/* ---- A body that has arrived ------------------------------------------------------------------ */

static const char text_name[] = "neap.http.Text";

/* References: the object's, and those of reads. */
typedef struct text {
  neap__reader reader;
  uint32_t refs;
} text;

static void unref_text(neap__reader *reader) {
  text *self = NEAP__CONTAINER(reader, text, reader);
  if (--self->refs > 0) return;
  neap_loop *loop = reader->loop;
  if (reader->buffer) neap__reader_clear(reader);
  neap__memory_free(&loop->memory, self);
  neap__loop_unanchor(loop);
}

/* There is nothing to ask: what follows the buffer is the end. */
static int pull_text(neap__reader *reader, size_t wanted, const char **syscall) {
  (void)reader;
  (void)wanted;
  (void)syscall;
  return 0;
}

static const neap__source text_source = {pull_text, NULL, unref_text, NULL};

static text *check_text(lua_State *L, int index) {
  return neapL__check_core(L, index, &neapL__http_get(L)->text_meta, text_name);
}

static neap__reader *use_text(lua_State *L, int index) {
  text *self = check_text(L, index);
  self->refs++;
  return &self->reader;
}

static const neapL__readable readable_text = {use_text};

int neapL__http_new_text(lua_State *L) {
  size_t size;
  const char *data = luaL_checklstring(L, 1, &size);
  neap_loop *loop = neapL__state_here(L)->loop;
  neapL__object *object = neapL__push_object(L, &neapL__http_get(L)->text_meta);
  text *self = neap__memory_new(&loop->memory, sizeof *self);
  if (!self) return neapL__raise_memory(L);
  object->core = self;
  self->refs = 1;
  neap__reader_init(&self->reader, loop, &text_source);
  neap__loop_anchor(loop);
  self->reader.buffer = size > 0 ? neapL__copy(L, loop, data, size) : NULL;
  self->reader.end = self->reader.capacity = size;
  self->reader.code = UV_EOF;
  return 1;
}

static int close_text(lua_State *L) {
  neap__reader_close(&check_text(L, 1)->reader);
  return 0;
}

static int collect_text(lua_State *L) {
  neapL__object *object = lua_touserdata(L, 1);
  text *self = object->core;
  object->core = NULL;
  if (self) unref_text(&self->reader);
  return 0;
}

static const luaL_Reg text_metamethods[] = {{"__gc", collect_text}, {NULL, NULL}};
static const luaL_Reg text_methods[] = {{"close", close_text}, {NULL, NULL}};

/* ---- The classes --------------------------------------------------------------------------- */

static void set_readable(lua_State *L, const neapL__meta *meta, const neapL__readable *how) {
  neapL__push_ref(L, meta->ref);
  lua_pushlightuserdata(L, (void *)(uintptr_t)how);
  lua_rawsetp(L, -2, &neapL__readable_key);
  lua_pop(L, 1);
}

void neapL__http_open_bodies(lua_State *L, neapL__http *http) {
  static const neapL__row no_rows[] = {{NULL, NULL, NULL, NULL, NULL}};
  neapL__reading_class(L, &http->body_meta, class_name, metamethods, methods, no_rows);
  set_readable(L, &http->body_meta, &readable);
  neapL__reading_class(L, &http->text_meta, text_name, text_metamethods, text_methods, no_rows);
  set_readable(L, &http->text_meta, &readable_text);
}
