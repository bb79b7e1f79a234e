#include "sqlite.h"

#include "sqlite_cursor.h"

#include <assert.h>
#include <stdlib.h>

/* ---- Counting ---------------------------------------------------------------------------------- */

void neap__sqlite_begin_native(neap_loop *loop) {
  loop->operations++;
  loop->jobs++;
  neap_loop_hold(loop);
}

void neap__sqlite_end_native(neap_loop *loop) {
  loop->operations--;
  loop->jobs--;
  neap_loop_release(loop);
}

void neap__sqlite_add_reading(neap__sqlite *db) {
  uv_mutex_lock(&db->mutex);
  db->reading++;
  uv_mutex_unlock(&db->mutex);
}

void neap__sqlite_remove_reading(neap__sqlite *db) {
  uv_mutex_lock(&db->mutex);
  if (--db->reading == 0) uv_cond_broadcast(&db->changed);
  uv_mutex_unlock(&db->mutex);
}

/* ---- Readers ----------------------------------------------------------------------------------- */

static neap__sqlite_conn *take_free(neap__sqlite *db) {
  neap__sqlite_conn *found = NULL;
  uv_mutex_lock(&db->mutex);
  for (neap__list *link = db->readers.next; !found && link != &db->readers; link = link->next) {
    neap__sqlite_conn *conn = NEAP__CONTAINER(link, neap__sqlite_conn, link);
    if (conn->is_free) found = conn;
  }
  if (found) found->is_free = false;
  uv_mutex_unlock(&db->mutex);
  return found;
}

neap__sqlite_conn *neap__sqlite_take_reader(neap__sqlite *db, const atomic_bool *stop,
                                            neap__sqlite_failure *failure) {
  neap__sqlite_conn *conn = take_free(db);
  if (conn) return conn;
  conn = malloc(sizeof *conn);
  if (!conn) {
    neap__sqlite_refuse(failure, UV_ENOMEM, NULL);
  } else if (neap__sqlite_conn_open(conn, &db->options, true, stop, failure)) {
    free(conn);
    conn = NULL;
  } else {
    uv_mutex_lock(&db->mutex);
    neap__list_append(&db->readers, &conn->link);
    uv_mutex_unlock(&db->mutex);
  }
  return conn;
}

void neap__sqlite_give_reader(neap__sqlite *db, neap__sqlite_conn *conn) {
  uv_mutex_lock(&db->mutex);
  conn->is_free = true;
  uv_mutex_unlock(&db->mutex);
}

/* ---- Closing: on the thread that writes -------------------------------------------------------- */

static void close_readers(neap__sqlite *db) {
  uv_mutex_lock(&db->mutex);
  while (db->reading > 0) uv_cond_wait(&db->changed, &db->mutex);
  uv_mutex_unlock(&db->mutex);
  for (neap__list *link = db->readers.next, *next; link != &db->readers; link = next) {
    neap__sqlite_conn *conn = NEAP__CONTAINER(link, neap__sqlite_conn, link);
    next = link->next;
    neap__sqlite_conn_close(conn);
    free(conn);
  }
  neap__list_init(&db->readers);
}

static void close_connections(neap__sqlite *db) {
  close_readers(db);
  if (atomic_load(&db->is_open)) neap__sqlite_conn_close(&db->conn);
  atomic_store(&db->is_open, false);
}

static void run_closer(neap__pool_item *item, neap__pool_thread *thread) {
  (void)thread;
  close_connections(NEAP__CONTAINER(item, neap__sqlite, closer));
}

/* A loop that closes has shut its inbox and waits for the signal instead. */
static void end_closer(neap__pool_item *item, bool is_abandoned) {
  neap__sqlite *db = NEAP__CONTAINER(item, neap__sqlite, closer);
  (void)is_abandoned;
  if (neap__inbox_send(db->loop->inbox, &db->closed)) return;
  uv_mutex_lock(&db->mutex);
  db->has_closed = true;
  uv_cond_broadcast(&db->changed);
  uv_mutex_unlock(&db->mutex);
}

/* ---- Closing: on the loop's thread ------------------------------------------------------------- */

static void free_db(neap__sqlite *db) {
  neap_loop *loop = db->loop;
  assert(!atomic_load(&db->is_open) && neap__list_is_empty(&db->cursors));
  neap_pool_unref(db->pool);
  neap_pool_unref(db->reading_pool);
  uv_cond_destroy(&db->changed);
  uv_mutex_destroy(&db->mutex);
  neap__memory_free(&loop->memory, db->options.path);
  neap__memory_free(&loop->memory, db);
  neap__loop_unanchor(loop);
}

static void drop_ref(neap__sqlite *db) {
  if (--db->refs == 0) free_db(db);
}

static void finish_close(neap__sqlite *db) {
  db->is_closed = true;
  neap__list_unlink(&db->resource.link);
  neap__sqlite_end_native(db->loop);
  neap__op_end_all(&db->closers, 0);
  drop_ref(db);
}

static void on_closed(neap__post *post) {
  finish_close(NEAP__CONTAINER(post, neap__sqlite, closed));
}

/* Where there is nothing to close, or no thread can be had, it is done here. */
static void start_closing(neap__sqlite *db) {
  db->is_closing = true;
  neap__sqlite_ref(db);
  neap__sqlite_begin_native(db->loop);
  neap__sqlite_gate_close(&db->gate, NEAP_ECLOSED);
  neap__sqlite_close_cursors(db, NULL);
  if (atomic_load(&db->is_open) && neap__pool_push(db->pool, &db->closer) == 0) return;
  close_connections(db);
  finish_close(db);
}

void neap__sqlite_close_soon(neap__sqlite *db) {
  if (!db->is_closing) start_closing(db);
}

/* The inbox is shut: nothing is posted any more. Work has ended. */
static void close_at_end(neap__resource *resource) {
  neap__sqlite *db = NEAP__CONTAINER(resource, neap__sqlite, resource);
  neap__sqlite_ref(db);
  neap__sqlite_close_soon(db);
  if (!db->is_closed) {
    uv_mutex_lock(&db->mutex);
    while (!db->has_closed) uv_cond_wait(&db->changed, &db->mutex);
    uv_mutex_unlock(&db->mutex);
    neap__sqlite_end_pulls(db);
    finish_close(db);
  }
  drop_ref(db);
}

void neap__sqlite_unref(neap__sqlite *db) {
  bool is_last = db->refs == 1;
  if (is_last) neap__sqlite_close_soon(db); /* has a reference of its own, until it has closed */
  drop_ref(db);
}

static void close_op_release(neap__op *op) {
  neap__sqlite_close *self = (neap__sqlite_close *)op;
  if (self->db) neap__sqlite_unref(self->db);
}

static int close_op_start(neap__op *op) {
  neap__sqlite_close *self = (neap__sqlite_close *)op;
  if (self->db->is_closed)
    neap__op_settle(op, 0);
  else
    neap__op_enter(op, &self->link, &self->db->closers);
  return 0;
}

/* Whoever waits gives up; it closes all the same. */
static void close_op_abort(neap__op *op) {
  neap__op_leave(&((neap__sqlite_close *)op)->link);
}

const neap__op_kind neap__sqlite_close_kind = {
    .task = NEAP__OP_TASK("sqlite.close"),
    .size = sizeof(neap__sqlite_close),
    .start = close_op_start,
    .abort = close_op_abort,
    .release = close_op_release,
};

/* ---- Transactions ------------------------------------------------------------------------------ */

void neap__sqlite_clean_up(neap__sqlite *db) {
  neap__sqlite_failure failure = {0};
  if (!atomic_exchange(&db->needs_rollback, false)) return;
  if (neap__sqlite_is_in_transaction(&db->conn))
    neap__sqlite_script(&db->conn, "ROLLBACK", &failure);
  neap__sqlite_failure_deinit(&failure);
}

void neap__sqlite_end_transaction(neap__sqlite *db, neap__sqlite_tx *tx) {
  if (atomic_load(&tx->has_begun) && !atomic_load(&tx->has_ended))
    atomic_store(&db->needs_rollback, true);
  neap__sqlite_close_cursors(db, tx);
  neap__sqlite_gate_end(&db->gate, tx);
}

/* ---- Making ------------------------------------------------------------------------------------ */

static int init_locks(neap__sqlite *db) {
  int code = uv_mutex_init(&db->mutex);
  if (code) return code;
  code = uv_cond_init(&db->changed);
  if (code) uv_mutex_destroy(&db->mutex);
  return code;
}

/* What outlives the loop is not counted; let tests fail it here. */
static int new_pool(neap_loop *loop, size_t threads, neap_pool **pool) {
  if (neap__memory_must_fail(&loop->memory)) return UV_ENOMEM;
  return neap_pool_new(threads, pool);
}

static int init_pools(neap__sqlite *db) {
  int code = new_pool(db->loop, 1, &db->pool);
  if (code || db->options.readers == 0) return code;
  code = new_pool(db->loop, (size_t)db->options.readers, &db->reading_pool);
  if (code) neap_pool_unref(db->pool);
  return code;
}

static int init_threads(neap__sqlite *db) {
  int code = init_locks(db);
  if (code) return code;
  code = init_pools(db);
  if (!code) return 0;
  uv_cond_destroy(&db->changed);
  uv_mutex_destroy(&db->mutex);
  return code;
}

int neap__sqlite_new(neap_loop *loop, const neap__sqlite_options *options, neap__sqlite **result) {
  neap__sqlite *db = neap__memory_new(&loop->memory, sizeof *db);
  int code = UV_ENOMEM;
  if (!db) goto fail;
  db->loop = loop;
  db->options = *options;
  code = init_threads(db);
  if (code) goto fail;
  db->refs = 1;
  db->closer.run = run_closer;
  db->closer.end = end_closer;
  db->closed.fn = on_closed;
  db->resource.close = close_at_end;
  neap__sqlite_gate_init(&db->gate);
  neap__list_init(&db->cursors);
  neap__list_init(&db->pulls);
  neap__list_init(&db->closers);
  neap__list_init(&db->readers);
  atomic_init(&db->is_open, false);
  atomic_init(&db->needs_rollback, false);
  neap__list_append(&loop->resources, &db->resource.link);
  neap__loop_anchor(loop);
  *result = db;
  return 0;

fail:
  neap__memory_free(&loop->memory, db);
  neap__memory_free(&loop->memory, options->path);
  return code;
}
