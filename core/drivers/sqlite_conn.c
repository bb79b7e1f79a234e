#include "sqlite_conn.h"

#include "sqlite_error.h"

#include <stdlib.h>
#include <string.h>

enum {
  MAX_CACHED = 64,        /* statements that are kept for each connection */
  MAX_CACHED_SIZE = 4096, /* bytes of the text of one that is kept */
  STEPS_PER_LOOK = 1000,  /* of SQLite's machine, between two looks at a cancellation */
  MAX_BUSY_WAIT = 50      /* milliseconds between two tries of a lock that another process holds */
};

/* ---- Cancelling, and locks of others ---------------------------------------------------------- */

static bool must_stop(const neap__sqlite_conn *conn) {
  return conn->stop && atomic_load(conn->stop);
}

static int on_progress(void *data) {
  return must_stop(data);
}

/* Half as long again each time; whoever interrupts wakes it. Not 0: try again. */
static int on_busy(void *data, int count) {
  neap__sqlite_conn *conn = data;
  uint64_t now = uv_hrtime(), longest = MAX_BUSY_WAIT * UINT64_C(1000000);
  if (count == 0) conn->busy_until = now + (uint64_t)(conn->options->busy_timeout * 1e9);
  if (now >= conn->busy_until) return 0;
  uint64_t wait = count < 12 ? UINT64_C(500000) + UINT64_C(300000) * (uint64_t)count : longest;
  if (wait > conn->busy_until - now) wait = conn->busy_until - now;
  uv_mutex_lock(&conn->mutex);
  if (!must_stop(conn)) uv_cond_timedwait(&conn->woken, &conn->mutex, wait);
  bool goes_on = !must_stop(conn);
  uv_mutex_unlock(&conn->mutex);
  return goes_on;
}

void neap__sqlite_conn_run(neap__sqlite_conn *conn, const atomic_bool *stop) {
  uv_mutex_lock(&conn->mutex);
  conn->stop = stop;
  uv_mutex_unlock(&conn->mutex);
}

/* sqlite3_interrupt would end the statements that are held, too; on_progress ends only what runs. */
void neap__sqlite_conn_interrupt(neap__sqlite_conn *conn, const atomic_bool *stop) {
  uv_mutex_lock(&conn->mutex);
  if (conn->stop == stop) {
    uv_cond_signal(&conn->woken);
    if (atomic_load(&conn->held) == 0) sqlite3_interrupt(conn->handle);
  }
  uv_mutex_unlock(&conn->mutex);
}

/* ---- Statements ------------------------------------------------------------------------------ */

static uint32_t hash_of(const char *sql, size_t size) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)sql[i]) * 16777619u;
  return hash;
}

static void free_statement(neap__sqlite_statement *statement) {
  sqlite3_finalize(statement->stmt);
  free(statement);
}

static neap__sqlite_statement *take_cached(neap__sqlite_conn *conn, const char *sql, size_t size,
                                           uint32_t hash) {
  neap__list *link = conn->statements.next;
  for (; link != &conn->statements; link = link->next) {
    neap__sqlite_statement *statement = NEAP__CONTAINER(link, neap__sqlite_statement, link);
    if (statement->hash != hash || statement->size != size) continue;
    if (memcmp(statement->sql, sql, size) != 0) continue;
    neap__list_unlink(link);
    conn->cached--;
    return statement;
  }
  return NULL;
}

/* `size` 0: it is not to be cached. */
static neap__sqlite_statement *new_statement(sqlite3_stmt *stmt, const char *sql, size_t size,
                                             uint32_t hash) {
  neap__sqlite_statement *statement = malloc(sizeof *statement + size);
  if (!statement) return NULL;
  neap__list_init(&statement->link);
  statement->stmt = stmt;
  statement->hash = hash;
  statement->size = size;
  memcpy(statement->sql, sql, size);
  return statement;
}

/* Behind blanks, comments and semicolons. */
static const char *skip_nothing(const char *at, const char *end) {
  while (at < end) {
    if (strchr(" \t\r\n\f;", *at) && *at) {
      at++;
    } else if (end - at >= 2 && at[0] == '-' && at[1] == '-') {
      while (at < end && *at != '\n') at++;
    } else if (end - at >= 2 && at[0] == '/' && at[1] == '*') {
      for (at += 2; at < end && !(end - at >= 2 && at[0] == '*' && at[1] == '/');) at++;
      at = end - at >= 2 ? at + 2 : end;
    } else {
      break;
    }
  }
  return at;
}

static int prepare_new(neap__sqlite_conn *conn, const char *sql, size_t size, size_t *used,
                       uint32_t hash, neap__sqlite_statement **result,
                       neap__sqlite_failure *failure) {
  sqlite3_stmt *stmt;
  const char *tail;
  int code =
      sqlite3_prepare_v3(conn->handle, sql, (int)size + 1, SQLITE_PREPARE_PERSISTENT, &stmt, &tail);
  if (code) return neap__sqlite_fail(conn->handle, code, failure);
  *used = (size_t)(skip_nothing(tail, sql + size) - sql);
  if (!stmt) return 0;
  *result = new_statement(stmt, sql, *used == size && size <= MAX_CACHED_SIZE ? size : 0, hash);
  if (*result) return 0;
  sqlite3_finalize(stmt);
  return neap__sqlite_refuse(failure, UV_ENOMEM, NULL);
}

int neap__sqlite_prepare(neap__sqlite_conn *conn, const char *sql, size_t size, size_t *used,
                         neap__sqlite_statement **result, neap__sqlite_failure *failure) {
  uint32_t hash = size <= MAX_CACHED_SIZE ? hash_of(sql, size) : 0;
  *used = size;
  *result = take_cached(conn, sql, size, hash);
  return *result ? 0 : prepare_new(conn, sql, size, used, hash, result, failure);
}

void neap__sqlite_hold(neap__sqlite_conn *conn, neap__sqlite_statement *statement) {
  neap__list_append(&conn->holding, &statement->link);
  atomic_fetch_add(&conn->held, 1);
}

void neap__sqlite_give_back(neap__sqlite_conn *conn, neap__sqlite_statement *statement) {
  if (!neap__list_is_empty(&statement->link)) atomic_fetch_sub(&conn->held, 1);
  neap__list_unlink(&statement->link);
  if (statement->size == 0) {
    free_statement(statement);
    return;
  }
  sqlite3_reset(statement->stmt);
  sqlite3_clear_bindings(statement->stmt);
  neap__list_append(conn->statements.next, &statement->link); /* before the first one */
  if (++conn->cached <= MAX_CACHED) return;
  neap__list *last = conn->statements.prev;
  neap__list_unlink(last);
  conn->cached--;
  free_statement(NEAP__CONTAINER(last, neap__sqlite_statement, link));
}

bool neap__sqlite_only_reads(const neap__sqlite_statement *statement) {
  return sqlite3_stmt_readonly(statement->stmt) && sqlite3_column_count(statement->stmt) > 0;
}

/* ---- Parameters ------------------------------------------------------------------------------ */

static int bind_value(sqlite3_stmt *stmt, int place, const neap__sqlite_value *value) {
  switch (value->type) {
  case NEAP__SQLITE_INTEGER: return sqlite3_bind_int64(stmt, place, value->integer);
  case NEAP__SQLITE_FLOAT: return sqlite3_bind_double(stmt, place, value->number);
  case NEAP__SQLITE_TEXT:
    return sqlite3_bind_text64(stmt, place, value->data, value->size, SQLITE_STATIC, SQLITE_UTF8);
  case NEAP__SQLITE_BLOB:
    return sqlite3_bind_blob64(stmt, place, value->data, value->size, SQLITE_STATIC);
  default: return sqlite3_bind_null(stmt, place);
  }
}

/* The value of parameter `place`, by its name or its number; false if there is none. */
static bool find_value(sqlite3_stmt *stmt, int place, const char *at, const char *end,
                       neap__sqlite_value *value) {
  const char *name = sqlite3_bind_parameter_name(stmt, place);
  bool is_named = name && *name != '?';
  size_t size = is_named ? strlen(name + 1) : 0;
  neap__sqlite_value key;
  while (at < end) {
    at = neap__sqlite_get(at, &key);
    at = neap__sqlite_get(at, value);
    bool is_it = key.type == NEAP__SQLITE_NAME
                     ? is_named && key.size == size && memcmp(key.data, name + 1, size) == 0
                     : key.integer == place;
    if (is_it) return true;
  }
  return false;
}

static int refuse_missing(sqlite3_stmt *stmt, int place, neap__sqlite_failure *failure) {
  const char *name = sqlite3_bind_parameter_name(stmt, place);
  if (name) return neap__sqlite_refuse(failure, UV_EINVAL, "parameter %s has no value", name);
  return neap__sqlite_refuse(failure, UV_EINVAL, "parameter %d has no value", place);
}

/* The end of the set, and the highest number in it. */
static const char *measure_set(const char *at, const char *end, int64_t *highest) {
  neap__sqlite_value value;
  *highest = 0;
  while (at < end) {
    const char *behind_key = neap__sqlite_get(at, &value);
    bool is_place = value.type == NEAP__SQLITE_PLACE;
    if (is_place && value.integer == 0) break;
    if (is_place && value.integer > *highest) *highest = value.integer;
    at = neap__sqlite_get(behind_key, &value);
  }
  return at;
}

int neap__sqlite_bind(neap__sqlite_conn *conn, neap__sqlite_statement *statement, const char *at,
                      const char *end, const char **next, neap__sqlite_failure *failure) {
  neap__sqlite_value value;
  int64_t highest;
  int count = sqlite3_bind_parameter_count(statement->stmt);
  *next = measure_set(at, end, &highest);
  if (highest > count)
    return neap__sqlite_refuse(failure, UV_EINVAL, "value %d is given, and there are %d parameters",
                               (int)highest, count);
  for (int place = 1; place <= count; place++) {
    if (!find_value(statement->stmt, place, at, *next, &value))
      return refuse_missing(statement->stmt, place, failure);
    int code = bind_value(statement->stmt, place, &value);
    if (code) return neap__sqlite_fail(conn->handle, code, failure);
  }
  return 0;
}

/* ---- Rows ------------------------------------------------------------------------------------ */

int neap__sqlite_step(neap__sqlite_conn *conn, neap__sqlite_statement *statement,
                      neap__sqlite_failure *failure) {
  int code = sqlite3_step(statement->stmt);
  if (code != SQLITE_ROW && code != SQLITE_DONE) neap__sqlite_fail(conn->handle, code, failure);
  return code;
}

bool neap__sqlite_put_names(const neap__sqlite_statement *statement, neap__sqlite_buffer *buffer) {
  int count = sqlite3_column_count(statement->stmt);
  for (int i = 0; i < count; i++) {
    const char *name = sqlite3_column_name(statement->stmt, i);
    if (!name || !neap__sqlite_put_bytes(buffer, NEAP__SQLITE_TEXT, name, strlen(name)))
      return false;
  }
  return true;
}

static bool put_column(sqlite3_stmt *stmt, int i, neap__sqlite_buffer *buffer) {
  neap__sqlite_value value = {.type = NEAP__SQLITE_NULL};
  switch (sqlite3_column_type(stmt, i)) {
  case SQLITE_INTEGER:
    value.type = NEAP__SQLITE_INTEGER;
    value.integer = sqlite3_column_int64(stmt, i);
    break;
  case SQLITE_FLOAT:
    value.type = NEAP__SQLITE_FLOAT;
    value.number = sqlite3_column_double(stmt, i);
    break;
  case SQLITE_TEXT:
    value.type = NEAP__SQLITE_TEXT;
    value.data = (const char *)sqlite3_column_text(stmt, i);
    if (!value.data) return false;
    break;
  case SQLITE_BLOB:
    value.type = NEAP__SQLITE_BLOB;
    value.data = sqlite3_column_blob(stmt, i); /* NULL if it is empty */
    break;
  default: break;
  }
  if (value.type >= NEAP__SQLITE_TEXT) value.size = (size_t)sqlite3_column_bytes(stmt, i);
  return neap__sqlite_put(buffer, &value);
}

bool neap__sqlite_put_row(const neap__sqlite_statement *statement, neap__sqlite_buffer *buffer) {
  int count = sqlite3_column_count(statement->stmt);
  for (int i = 0; i < count; i++)
    if (!put_column(statement->stmt, i, buffer)) return false;
  return true;
}

int neap__sqlite_script(neap__sqlite_conn *conn, const char *sql, neap__sqlite_failure *failure) {
  int code = sqlite3_exec(conn->handle, sql, NULL, NULL, NULL);
  return code ? neap__sqlite_fail(conn->handle, code, failure) : 0;
}

/* ---- Opening and closing ---------------------------------------------------------------------- */

static int init_locks(neap__sqlite_conn *conn) {
  int code = uv_mutex_init(&conn->mutex);
  if (code) return code;
  code = uv_cond_init(&conn->woken);
  if (code) uv_mutex_destroy(&conn->mutex);
  return code;
}

static int open_handle(neap__sqlite_conn *conn, bool for_reading, neap__sqlite_failure *failure) {
  const neap__sqlite_options *options = conn->options;
  int flags = options->is_readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  if (options->creates && !options->is_readonly && !for_reading) flags |= SQLITE_OPEN_CREATE;
  int code = sqlite3_open_v2(options->path, &conn->handle,
                             flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
  if (!code) return 0;
  return conn->handle ? neap__sqlite_fail(conn->handle, code, failure)
                      : neap__sqlite_refuse(failure, UV_ENOMEM, NULL);
}

/* What has to be asked for by a pragma. It reads the file, so that one which is no database is refused
 * here. A database in memory stays without a journal on disk. */
static int set_up(neap__sqlite_conn *conn, bool for_reading, neap__sqlite_failure *failure) {
  static const char *const levels[] = {"OFF", "NORMAL", "FULL", "EXTRA"};
  const neap__sqlite_options *options = conn->options;
  char text[200];
  sqlite3_snprintf(
      sizeof text, text, "PRAGMA foreign_keys=%d; PRAGMA synchronous=%s; %s; PRAGMA query_only=%d",
      options->foreign_keys, levels[options->synchronous],
      options->uses_wal && !options->is_readonly && !for_reading ? "PRAGMA journal_mode=WAL"
                                                                 : "PRAGMA schema_version",
      for_reading);
  return neap__sqlite_script(conn, text, failure);
}

int neap__sqlite_conn_open(neap__sqlite_conn *conn, const neap__sqlite_options *options,
                           bool for_reading, const atomic_bool *stop,
                           neap__sqlite_failure *failure) {
  *conn = (neap__sqlite_conn){.options = options, .stop = stop};
  neap__list_init(&conn->link);
  neap__list_init(&conn->statements);
  neap__list_init(&conn->holding);
  atomic_init(&conn->held, 0);
  int code = init_locks(conn);
  if (code) return neap__sqlite_refuse(failure, code, NULL);
  code = open_handle(conn, for_reading, failure);
  if (!code) {
    sqlite3_extended_result_codes(conn->handle, 1);
    sqlite3_busy_handler(conn->handle, on_busy, conn);
    sqlite3_progress_handler(conn->handle, STEPS_PER_LOOK, on_progress, conn);
    code = set_up(conn, for_reading, failure);
  }
  neap__sqlite_conn_run(conn, NULL);
  if (code) neap__sqlite_conn_close(conn);
  return code;
}

static void free_statements(neap__list *list) {
  for (neap__list *link = list->next, *next; link != list; link = next) {
    next = link->next;
    free_statement(NEAP__CONTAINER(link, neap__sqlite_statement, link));
  }
  neap__list_init(list);
}

void neap__sqlite_conn_close(neap__sqlite_conn *conn) {
  free_statements(&conn->statements);
  free_statements(&conn->holding);
  sqlite3_close(conn->handle);
  conn->handle = NULL;
  uv_cond_destroy(&conn->woken);
  uv_mutex_destroy(&conn->mutex);
}
