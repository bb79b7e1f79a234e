// tsan: databases, whose requests run on threads of their own
#include "support.h"

#include "drivers/sqlite_cursor.h"
#include "drivers/sqlite_request.h"

#include <string.h>
#include <unistd.h>

static const char stuck[] = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
                            "SELECT x FROM c WHERE x < 0";
static const char endless[] = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
                              "SELECT x FROM c";

/* ---- Requests ----------------------------------------------------------------------------------- */

static neap_task *start(neap__sqlite *db, neap__sqlite_mode mode, const char *sql,
                        neap__sqlite_tx *tx, neap__sqlite_tx *opens) {
  neap_loop *loop = db->loop;
  neap__sqlite_request *self =
      (neap__sqlite_request *)neap__op_new(loop, &neap__sqlite_request_kind);
  CHECK(self != NULL);
  if (!self) return NULL;
  self->db = neap__sqlite_ref(db);
  self->mode = mode;
  self->sql = neap__memory_copy(&loop->memory, sql);
  self->size = strlen(sql);
  self->params.memory = &loop->memory;
  self->may_read = mode == NEAP__SQLITE_QUERY;
  self->turn.tx = neap__sqlite_tx_ref(tx);
  self->turn.opens = neap__sqlite_tx_ref(opens);
  CHECK(neap__sqlite_request_prepare(self) == 0);
  neap__op_start(&self->work.op);
  return &self->work.op.task;
}

static neap_task *query(neap__sqlite *db, const char *sql) {
  return start(db, NEAP__SQLITE_QUERY, sql, NULL, NULL);
}

static neap_task *exec(neap__sqlite *db, const char *sql) {
  return start(db, NEAP__SQLITE_EXEC, sql, NULL, NULL);
}

/* Runs it to its end; the status. */
static neap_status end(neap_loop *loop, neap_task *task) {
  CHECK(neap_loop_run(loop, task) == 0);
  return end_status(task);
}

static int64_t value(neap__sqlite *db, const char *sql) {
  neap_task *task = query(db, sql);
  CHECK(neap_loop_run(db->loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_DONE);
  const neap__sqlite_request *self = (const neap__sqlite_request *)(const void *)task;
  neap__sqlite_value name, result = {0};
  CHECK(self->columns == 1 && self->count == 1);
  neap__sqlite_get(neap__sqlite_get(self->rows.data, &name), &result);
  neap_task_unref(task);
  return result.integer;
}

/* A database in memory, or in a file with readers. */
static neap__sqlite *open_db(neap_loop *loop, const char *path, int readers) {
  neap__sqlite_options options = {.path = neap__memory_copy(&loop->memory, path),
                                  .busy_timeout = 5,
                                  .synchronous = 0,
                                  .readers = readers,
                                  .creates = true,
                                  .uses_wal = true};
  neap__sqlite *db = NULL;
  CHECK(neap__sqlite_new(loop, &options, &db) == 0);
  CHECK(end(loop, start(db, NEAP__SQLITE_OPEN, "", NULL, NULL)) == NEAP_DONE);
  return db;
}

static neap__sqlite *open_memory(bench *self) {
  return open_db(bench_open_on(self, NULL, false), ":memory:", 0);
}

static void wait_until_idle(neap_loop *loop) {
  while (neap_loop_stats(loop).operations > 0) neap_loop_step(loop);
}

static void close_bench(bench *self, neap__sqlite *db) {
  neap__sqlite_unref(db);
  wait_until_idle(self->loop);
  bench_close_idle(self);
}

static void wait_until_it_runs(const neap_task *task) {
  const neap__sqlite_request *self = (const neap__sqlite_request *)(const void *)task;
  while (!atomic_load(&self->conn)) usleep(100);
}

TEST(what_was_stored_is_found) {
  bench b;
  neap__sqlite *db = open_memory(&b);
  CHECK(end(b.loop, exec(db, "CREATE TABLE t(x); INSERT INTO t VALUES(40), (2)")) == NEAP_DONE);
  CHECK(value(db, "SELECT sum(x) FROM t") == 42);
  close_bench(&b, db);
}

TEST(an_error_has_a_code_a_message_and_a_path) {
  bench b;
  neap__sqlite *db = open_memory(&b);
  neap_task *task = query(db, "SELECT x FROM nowhere");
  CHECK(neap_loop_run(b.loop, task) == 0);
  CHECK(neap_task_status(task) == NEAP_FAILED);
  const neap_error *error = neap_task_error(task);
  CHECK(error->code == UV_EINVAL && strcmp(error->path, ":memory:") == 0);
  CHECK(strcmp(error->message, "no such table: nowhere") == 0);
  neap_task_unref(task);
  close_bench(&b, db);
}

TEST(a_query_that_is_cancelled_is_interrupted_and_waited_for) {
  bench b;
  neap__sqlite *db = open_memory(&b);
  for (int i = 0; i < 20; i++) {
    neap_task *task = query(db, stuck);
    if (i % 2) wait_until_it_runs(task);
    CHECK(neap_task_cancel(task));
    CHECK(end(b.loop, task) == NEAP_CANCELLED);
    CHECK(value(db, "SELECT 1") == 1);
  }
  close_bench(&b, db);
}

TEST(many_at_once_run_in_their_order) {
  enum { MANY = 500 };
  bench b;
  neap_task *tasks[MANY];
  neap__sqlite *db = open_memory(&b);
  CHECK(end(b.loop, exec(db, "CREATE TABLE t(x INTEGER PRIMARY KEY)")) == NEAP_DONE);
  for (int i = 0; i < MANY; i++)
    tasks[i] = exec(db, i % 5 == 4 ? "DELETE FROM t WHERE x = (SELECT max(x) FROM t)"
                                   : "INSERT INTO t VALUES(NULL)");
  for (int i = 0; i < MANY; i++) CHECK(end(b.loop, tasks[i]) == NEAP_DONE);
  CHECK(value(db, "SELECT count(*) FROM t") == MANY * 3 / 5);
  close_bench(&b, db);
}

/* ---- Transactions ------------------------------------------------------------------------------- */

TEST(others_wait_for_a_transaction) {
  bench b;
  neap__sqlite *db = open_memory(&b);
  neap__sqlite_tx *tx = neap__sqlite_tx_new(&b.loop->memory);
  CHECK(end(b.loop, exec(db, "CREATE TABLE t(x)")) == NEAP_DONE);
  neap_task *begin = start(db, NEAP__SQLITE_BEGIN, "BEGIN", NULL, tx);
  neap_task *other = query(db, "SELECT 1");
  neap_task *dropped = query(db, "SELECT 1");
  CHECK(end(b.loop, begin) == NEAP_DONE && tx->is_open);
  CHECK(end(b.loop, start(db, NEAP__SQLITE_EXEC, "INSERT INTO t VALUES(1)", tx, NULL)) ==
        NEAP_DONE);
  CHECK(neap_task_status(other) == NEAP_PENDING);
  CHECK(neap_task_cancel(dropped) && end_status(dropped) == NEAP_CANCELLED);
  CHECK(end(b.loop, start(db, NEAP__SQLITE_COMMIT, "", tx, NULL)) == NEAP_DONE);
  neap__sqlite_end_transaction(db, tx);
  CHECK(end(b.loop, other) == NEAP_DONE);
  CHECK(value(db, "SELECT count(*) FROM t") == 1);
  neap__sqlite_tx_unref(tx);
  close_bench(&b, db);
}

TEST(a_transaction_that_is_left_is_rolled_back_before_the_next_request) {
  bench b;
  neap__sqlite *db = open_memory(&b);
  neap__sqlite_tx *tx = neap__sqlite_tx_new(&b.loop->memory);
  CHECK(end(b.loop, exec(db, "CREATE TABLE t(x)")) == NEAP_DONE);
  CHECK(end(b.loop, start(db, NEAP__SQLITE_BEGIN, "BEGIN", NULL, tx)) == NEAP_DONE);
  CHECK(end(b.loop, start(db, NEAP__SQLITE_EXEC, "INSERT INTO t VALUES(1)", tx, NULL)) ==
        NEAP_DONE);
  neap_task *late = start(db, NEAP__SQLITE_EXEC, "INSERT INTO t VALUES(2)", tx, NULL);
  neap__sqlite_end_transaction(db, tx);
  CHECK(end(b.loop, late) != NEAP_PENDING);
  CHECK(value(db, "SELECT count(*) FROM t") == 0);
  neap__sqlite_tx_unref(tx);
  close_bench(&b, db);
}

/* ---- Rows --------------------------------------------------------------------------------------- */

static neap__sqlite_cursor *new_cursor(neap__sqlite *db, const char *sql) {
  neap__sqlite_cursor *cursor = neap__sqlite_cursor_new(db, NULL);
  CHECK(cursor != NULL);
  if (!cursor) return NULL;
  cursor->sql = neap__memory_copy(&db->loop->memory, sql);
  cursor->size = strlen(sql);
  return cursor;
}

static neap_task *next(neap__sqlite_cursor *cursor) {
  neap__sqlite_next *self =
      (neap__sqlite_next *)neap__op_new(cursor->db->loop, &neap__sqlite_next_kind);
  self->cursor = cursor;
  cursor->refs++;
  neap__op_start(&self->op);
  return &self->op.task;
}

/* Uses up the batch. */
static int64_t add_rows(neap__sqlite_cursor *cursor) {
  int64_t sum = 0;
  for (; cursor->left > 0; cursor->left--) {
    neap__sqlite_value value;
    cursor->at = neap__sqlite_get(cursor->at, &value);
    sum += value.integer;
  }
  return sum;
}

TEST(rows_come_in_batches_and_end) {
  bench b;
  neap__sqlite *db = open_memory(&b);
  neap__sqlite_cursor *cursor =
      new_cursor(db, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c "
                     "WHERE x < 1000) SELECT x FROM c");
  int64_t sum = 0;
  int batches = 0;
  do {
    CHECK(end(b.loop, next(cursor)) == NEAP_DONE);
    batches += cursor->left > 0;
  } while (cursor->left > 0 && (sum += add_rows(cursor)));
  CHECK(sum == 500500 && batches == 4);
  neap__sqlite_cursor_unref(cursor);
  close_bench(&b, db);
}

TEST(rows_are_closed_in_any_state) {
  bench b;
  neap__sqlite *db = open_memory(&b);
  for (int i = 0; i < 40; i++) {
    neap__sqlite_cursor *cursor = new_cursor(db, i % 4 == 3 ? stuck : endless);
    neap_task *task = i % 4 ? next(cursor) : NULL;
    if (i % 4 == 2) CHECK(neap_loop_run(b.loop, task) == 0);
    if (i % 4 == 3) usleep(500);
    if (i % 8 > 4) neap__sqlite_cursor_close(cursor);
    neap__sqlite_cursor_unref(cursor);
    if (task) CHECK(end(b.loop, task) != NEAP_PENDING);
    CHECK(value(db, "SELECT 1") == 1);
  }
  close_bench(&b, db);
}

/* ---- Readers ------------------------------------------------------------------------------------ */

static void remove_db(const char *path) {
  char other[64];
  unlink(path);
  snprintf(other, sizeof other, "%s-wal", path);
  unlink(other);
  snprintf(other, sizeof other, "%s-shm", path);
  unlink(other);
}

static neap__sqlite *open_file(bench *self, char *path, int readers) {
  int fd = mkstemp(path);
  CHECK(fd >= 0);
  close(fd);
  return open_db(bench_open_on(self, NULL, false), path, readers);
}

TEST(readers_run_beside_each_other_and_the_writer) {
  enum { MANY = 200 };
  char path[] = "/tmp/neap_sqlite_XXXXXX";
  bench b;
  neap_task *tasks[MANY];
  neap__sqlite *db = open_file(&b, path, 3);
  CHECK(end(b.loop, exec(db, "CREATE TABLE t(x)")) == NEAP_DONE);
  for (int i = 0; i < MANY; i++)
    tasks[i] = i % 10 == 0   ? exec(db, "INSERT INTO t VALUES(1)")
               : i % 10 == 5 ? query(db, "INSERT INTO t VALUES(1) RETURNING x")
                             : query(db, i % 7 == 0 ? stuck : "SELECT count(*) FROM t");
  for (int i = 0; i < MANY; i++)
    if (i % 7 == 0 && i % 5 != 0) neap_task_cancel(tasks[i]);
  for (int i = 0; i < MANY; i++) CHECK(end(b.loop, tasks[i]) != NEAP_PENDING);
  CHECK(value(db, "SELECT count(*) FROM t") == MANY / 5);
  close_bench(&b, db);
  remove_db(path);
}

/* ---- Closing ------------------------------------------------------------------------------------ */

TEST(a_loop_closes_with_everything_under_way) {
  char path[] = "/tmp/neap_sqlite_XXXXXX";
  for (int i = 0; i < 10; i++) {
    bench b;
    char copy[sizeof path];
    memcpy(copy, path, sizeof path);
    neap__sqlite *db = open_file(&b, copy, 2);
    neap__sqlite_cursor *cursor = new_cursor(db, i % 2 ? stuck : endless);
    neap_task *task = next(cursor);
    if (i % 3 == 0 && i % 2 == 0) CHECK(neap_loop_run(b.loop, task) == 0);
    for (int n = 0; n < 5; n++) neap_task_unref(query(db, stuck));
    neap_task_unref(exec(db, "CREATE TABLE t(x)"));
    if (i > 4) neap__sqlite_close_soon(db);
    neap_loop_close(b.loop);
    neap_task_unref(task);
    neap__sqlite_cursor_unref(cursor);
    neap__sqlite_unref(db);
    CHECK(atomic_load(&b.memory.live) == 0);
    remove_db(copy);
  }
}

TEST(whoever_waits_for_the_end_is_told) {
  bench b;
  neap__sqlite *db = open_memory(&b);
  neap_task *last = exec(db, "CREATE TABLE t(x)");
  neap__sqlite_close *self = (neap__sqlite_close *)neap__op_new(b.loop, &neap__sqlite_close_kind);
  self->db = neap__sqlite_ref(db);
  neap__op_start(&self->op);
  neap__sqlite_close_soon(db);
  CHECK(end(b.loop, &self->op.task) == NEAP_DONE);
  CHECK(end_status(last) == NEAP_DONE);
  CHECK(end(b.loop, query(db, "SELECT 1")) == NEAP_FAILED);
  close_bench(&b, db);
}
