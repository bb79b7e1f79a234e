#include "sqlite_request.h"

#include "sqlite_error.h"

static neap__sqlite_request *of_op(const neap__op *op) {
  return (neap__sqlite_request *)(void *)(uintptr_t)op;
}

/* ---- On a thread: statements ------------------------------------------------------------------- */

static int run_to_end(neap__sqlite_conn *conn, neap__sqlite_statement *statement,
                      neap__sqlite_failure *failure) {
  int code = SQLITE_ROW;
  while (code == SQLITE_ROW) code = neap__sqlite_step(conn, statement, failure);
  return failure->code;
}

/* sqlite3_changes keeps the number of an earlier statement where this one is no INSERT, UPDATE, DELETE. */
static int run_counted(neap__sqlite_request *self, neap__sqlite_conn *conn,
                       neap__sqlite_statement *statement) {
  int before = sqlite3_total_changes(conn->handle);
  int code = run_to_end(conn, statement, &self->failure);
  if (sqlite3_total_changes(conn->handle) != before) self->changes += sqlite3_changes(conn->handle);
  return code;
}

static const char *params_end(const neap__sqlite_request *self) {
  return self->params.data + self->params.size;
}

static int bind_all(neap__sqlite_request *self, neap__sqlite_conn *conn,
                    neap__sqlite_statement *statement) {
  const char *next;
  return neap__sqlite_bind(conn, statement, self->params.data, params_end(self), &next,
                           &self->failure);
}

static int exec_one(neap__sqlite_request *self, neap__sqlite_conn *conn,
                    neap__sqlite_statement *statement) {
  int code = bind_all(self, conn, statement);
  if (!code) code = run_counted(self, conn, statement);
  neap__sqlite_give_back(conn, statement);
  return code;
}

static int refuse_several(neap__sqlite_request *self, const char *what) {
  return neap__sqlite_refuse(&self->failure, UV_EINVAL,
                             "%s one statement, and there is more behind its end", what);
}

/* Statements one after the other, as far as they go. */
static int exec_all(neap__sqlite_request *self, neap__sqlite_conn *conn) {
  const char *sql = self->sql, *end = self->sql + self->size;
  int code = 0;
  while (!code && sql < end) {
    neap__sqlite_statement *statement;
    size_t used;
    code = neap__sqlite_prepare(conn, sql, (size_t)(end - sql), &used, &statement, &self->failure);
    if (!code && self->params.size > 0 && sql + used < end) {
      if (statement) neap__sqlite_give_back(conn, statement);
      return refuse_several(self, "parameters are for");
    }
    if (!code && statement) code = exec_one(self, conn, statement);
    if (code && self->failure.offset >= 0) self->failure.offset += (int)(sql - self->sql);
    sql += used;
  }
  return code;
}

/* The one statement of a text. */
static int prepare_one(neap__sqlite_request *self, neap__sqlite_conn *conn, const char *what,
                       neap__sqlite_statement **statement) {
  size_t used;
  int code = neap__sqlite_prepare(conn, self->sql, self->size, &used, statement, &self->failure);
  if (code) return code;
  if (*statement && used == self->size) return 0;
  if (!*statement)
    return neap__sqlite_refuse(&self->failure, UV_EINVAL, "there is no statement in the text");
  neap__sqlite_give_back(conn, *statement);
  *statement = NULL;
  return refuse_several(self, what);
}

static int put_rows(neap__sqlite_request *self, neap__sqlite_conn *conn,
                    neap__sqlite_statement *statement) {
  int code = neap__sqlite_step(conn, statement, &self->failure);
  self->columns = sqlite3_column_count(statement->stmt);
  bool has_memory = neap__sqlite_put_names(statement, &self->rows);
  while (code == SQLITE_ROW && has_memory) {
    has_memory = neap__sqlite_put_row(statement, &self->rows);
    if (has_memory && ++self->count == self->most) break;
    code = neap__sqlite_step(conn, statement, &self->failure);
  }
  return has_memory ? self->failure.code : neap__sqlite_refuse(&self->failure, UV_ENOMEM, NULL);
}

/* What writes, and what only the connection that writes may know (a temporary table), goes there, however it
 * was asked for. */
static bool must_move(neap__sqlite_request *self, const neap__sqlite_statement *statement) {
  if (!self->is_reading) return false;
  return statement ? !neap__sqlite_only_reads(statement)
                   : neap__sqlite_forget_unknown(&self->failure);
}

static int query(neap__sqlite_request *self, neap_work *work, neap__sqlite_conn *conn) {
  neap__sqlite_statement *statement = NULL;
  int code = prepare_one(self, conn, "a query is", &statement);
  bool moves = must_move(self, code ? NULL : statement);
  if (moves) neap__work_move(work, self->db->pool);
  if (!code && !moves) {
    code = bind_all(self, conn, statement);
    if (!code) code = put_rows(self, conn, statement);
  }
  if (statement) neap__sqlite_give_back(conn, statement);
  return moves ? 0 : code;
}

/* ---- On a thread: several sets of parameters ---------------------------------------------------- */

static int run_sets(neap__sqlite_request *self, neap__sqlite_conn *conn,
                    neap__sqlite_statement *statement) {
  const char *at = self->params.data, *end = params_end(self);
  neap__sqlite_value place;
  int code = 0;
  while (!code && at < end) {
    at = neap__sqlite_get(at, &place); /* the PLACE of 0 */
    const char *next;
    code = neap__sqlite_bind(conn, statement, at, end, &next, &self->failure);
    if (!code) code = run_counted(self, conn, statement);
    sqlite3_reset(statement->stmt);
    at = next;
  }
  return code;
}

/* What was done is undone, without being interrupted. */
static void undo(neap__sqlite_conn *conn, bool is_alone) {
  neap__sqlite_failure second = {0};
  if (!neap__sqlite_is_in_transaction(conn)) return; /* SQLite has done it already */
  neap__sqlite_conn_run(conn, NULL);
  neap__sqlite_script(conn, is_alone ? "ROLLBACK" : "ROLLBACK TO neap_many; RELEASE neap_many",
                      &second);
  neap__sqlite_failure_deinit(&second);
}

static int run_all_or_nothing(neap__sqlite_request *self, neap__sqlite_conn *conn,
                              neap__sqlite_statement *statement) {
  bool is_alone = !neap__sqlite_is_in_transaction(conn);
  int code = neap__sqlite_script(conn, is_alone ? "BEGIN IMMEDIATE" : "SAVEPOINT neap_many",
                                 &self->failure);
  if (code) return code;
  code = run_sets(self, conn, statement);
  if (!code)
    code = neap__sqlite_script(conn, is_alone ? "COMMIT" : "RELEASE neap_many", &self->failure);
  if (code) undo(conn, is_alone);
  return code;
}

static int exec_many(neap__sqlite_request *self, neap__sqlite_conn *conn) {
  neap__sqlite_statement *statement;
  int code = prepare_one(self, conn, "exec_many takes", &statement);
  if (code) return code;
  code = run_all_or_nothing(self, conn, statement);
  neap__sqlite_give_back(conn, statement);
  return code;
}

/* ---- On a thread: transactions ------------------------------------------------------------------ */

static int begin(neap__sqlite_request *self, neap__sqlite_conn *conn) {
  neap__sqlite_tx *tx = self->turn.opens;
  int code =
      neap__sqlite_script(conn, tx->is_nested ? "SAVEPOINT neap" : self->sql, &self->failure);
  if (!code) atomic_store(&tx->has_begun, true);
  return code;
}

static int commit(neap__sqlite_request *self, neap__sqlite_conn *conn) {
  neap__sqlite_tx *tx = self->turn.tx;
  int code = neap__sqlite_script(conn, tx->is_nested ? "RELEASE neap" : "COMMIT", &self->failure);
  if (!code) atomic_store(&tx->has_ended, true);
  return code;
}

/* SQLite may have done it before: an interrupted write, a full disk. */
static int roll_back(neap__sqlite_request *self, neap__sqlite_conn *conn) {
  neap__sqlite_tx *tx = self->turn.tx;
  int code = 0;
  if (atomic_load(&tx->has_begun) && neap__sqlite_is_in_transaction(conn))
    code = neap__sqlite_script(conn, tx->is_nested ? "ROLLBACK TO neap; RELEASE neap" : "ROLLBACK",
                               &self->failure);
  if (!code) atomic_store(&tx->has_ended, true);
  return code;
}

/* Or what follows in it would be done, each statement for itself. */
static int check_transaction(neap__sqlite_request *self, const neap__sqlite_conn *conn) {
  const neap__sqlite_tx *tx = self->turn.tx;
  if (!tx || self->mode == NEAP__SQLITE_ROLLBACK || neap__sqlite_is_in_transaction(conn)) return 0;
  return neap__sqlite_refuse(&self->failure, NEAP_ECLOSED,
                             "the transaction was rolled back already, by SQLite or by its end");
}

/* ---- On a thread: all --------------------------------------------------------------------------- */

static int run_on(neap__sqlite_request *self, neap_work *work, neap__sqlite_conn *conn) {
  int code = check_transaction(self, conn);
  if (code) return code;
  switch (self->mode) {
  case NEAP__SQLITE_EXEC: return exec_all(self, conn);
  case NEAP__SQLITE_MANY: return exec_many(self, conn);
  case NEAP__SQLITE_BEGIN: return begin(self, conn);
  case NEAP__SQLITE_COMMIT: return commit(self, conn);
  case NEAP__SQLITE_ROLLBACK: return roll_back(self, conn);
  default: return query(self, work, conn);
  }
}

/* The end of a transaction is not interrupted: it would be unknown what became of it. */
static bool is_interruptible(const neap__sqlite_request *self) {
  return self->mode != NEAP__SQLITE_COMMIT && self->mode != NEAP__SQLITE_ROLLBACK;
}

/* Once it is forgotten nobody interrupts it any more: then a reader may be closed. */
static void forget_conn(neap__sqlite_request *self) {
  uv_mutex_lock(&self->db->mutex);
  atomic_store(&self->conn, NULL);
  uv_mutex_unlock(&self->db->mutex);
}

static int run_between(neap__sqlite_request *self, neap_work *work, neap__sqlite_conn *conn) {
  neap__sqlite_conn_run(conn, is_interruptible(self) ? &work->is_cancelled : NULL);
  atomic_store(&self->conn, conn);
  int code = run_on(self, work, conn);
  forget_conn(self);
  neap__sqlite_conn_run(conn, NULL);
  self->last_rowid = sqlite3_last_insert_rowid(conn->handle);
  return code;
}

static int run_reading(neap__sqlite_request *self, neap_work *work) {
  neap__sqlite_conn *conn = neap__sqlite_take_reader(self->db, &work->is_cancelled, &self->failure);
  if (conn) {
    run_between(self, work, conn);
    neap__sqlite_give_reader(self->db, conn);
  }
  neap__sqlite_remove_reading(self->db);
  return self->failure.code;
}

static int run_writing(neap__sqlite_request *self, neap_work *work) {
  neap__sqlite *db = self->db;
  neap__sqlite_clean_up(db);
  return run_between(self, work, &db->conn);
}

static int open_db(neap__sqlite_request *self, const neap_work *work) {
  neap__sqlite *db = self->db;
  int code =
      neap__sqlite_conn_open(&db->conn, &db->options, false, &work->is_cancelled, &self->failure);
  atomic_store(&db->is_open, code == 0);
  return code;
}

/* What was cancelled, and has failed for it, is cancelled. */
static int run(neap_work *work, void *data) {
  neap__sqlite_request *self = data;
  atomic_store(&self->has_run, true);
  int code = self->mode == NEAP__SQLITE_OPEN ? open_db(self, work)
             : self->is_reading              ? run_reading(self, work)
                                             : run_writing(self, work);
  if (!code) return 0;
  int primary = self->failure.extended & 0xff;
  bool is_stopped = primary == SQLITE_INTERRUPT || primary == SQLITE_BUSY;
  if (is_stopped && neap_work_is_cancelled(work)) return UV_ECANCELED;
  neap_error error = {
      .code = code, .message = self->failure.message, .path = self->db->options.path};
  neap_work_fail(work, &error);
  return code;
}

/* ---- On the loop's thread ----------------------------------------------------------------------- */

static void interrupt(neap_work *work, void *data) {
  neap__sqlite_request *self = data;
  uv_mutex_lock(&self->db->mutex);
  neap__sqlite_conn *conn = atomic_load(&self->conn);
  if (conn) neap__sqlite_conn_interrupt(conn, &work->is_cancelled);
  uv_mutex_unlock(&self->db->mutex);
}

static const neap_work_kind work_kind = {.name = "sqlite", .run = run, .interrupt = interrupt};

static int fail_closed(neap__sqlite_request *self) {
  self->work.op.error.path = self->db->options.path;
  return NEAP_ECLOSED;
}

static int push(neap__sqlite_request *self) {
  if (self->is_reading) neap__sqlite_add_reading(self->db);
  int code = neap__work_kind.start(&self->work.op);
  if (code && self->is_reading) neap__sqlite_remove_reading(self->db);
  return code;
}

/* Once more if it turned out to write (neap__work_move): `has_run` tells. */
static int start(neap__op *op) {
  neap__sqlite_request *self = of_op(op);
  if (self->db->is_closing) return fail_closed(self);
  self->is_reading =
      self->may_read && self->db->reading_pool && !self->turn.tx && !atomic_load(&self->has_run);
  if (self->is_reading || neap__sqlite_gate_enter(&self->db->gate, &self->turn)) return push(self);
  neap__op_acquire_native(op, false);
  return 0;
}

static void go(neap__sqlite_turn *turn) {
  neap__sqlite_request *self = NEAP__CONTAINER(turn, neap__sqlite_request, turn);
  neap__op *op = &self->work.op;
  neap_task_ref(&op->task);
  neap__op_release_native(op);
  int code = push(self);
  if (code) neap__op_settle(op, code);
  neap_task_unref(&op->task);
}

static void fail(neap__sqlite_turn *turn, int code) {
  neap__sqlite_request *self = NEAP__CONTAINER(turn, neap__sqlite_request, turn);
  self->work.op.error.path = self->db->options.path;
  neap__op_settle(&self->work.op, code);
  neap__op_release_native(&self->work.op);
}

static bool keeps_waiters(const neap_task *task) {
  const neap__sqlite_request *self = (const neap__sqlite_request *)(const void *)task;
  return !self->turn.is_waiting && neap__work_kind.task.keeps_waiters(task);
}

static void reach(neap_task *task) {
  if (((neap__sqlite_request *)task)->turn.is_waiting)
    neap__op_cancel(task);
  else
    neap__work_kind.task.reach(task);
}

/* Of the three that are asked to stop, the one that waits before the gate and the one that waits for a
 * thread go at once. */
static void abort_request(neap__op *op) {
  neap__sqlite_request *self = of_op(op);
  if (self->turn.is_waiting) {
    neap__sqlite_gate_leave(&self->db->gate, &self->turn);
    neap__op_release_native(op);
    return;
  }
  if (self->is_reading && !atomic_load(&self->has_run)) neap__sqlite_remove_reading(self->db);
  neap__work_kind.abort(op);
}

static void release(neap__op *op) {
  neap__sqlite_request *self = of_op(op);
  neap__memory_free(&op->task.loop->memory, self->sql);
  neap__sqlite_buffer_deinit(&self->params);
  neap__sqlite_buffer_deinit(&self->rows);
  neap__sqlite_failure_deinit(&self->failure);
  neap__sqlite_tx_unref(self->turn.tx);
  neap__sqlite_tx_unref(self->turn.opens);
  neap__work_kind.release(op);
  if (self->db) neap__sqlite_unref(self->db);
}

const neap__op_kind neap__sqlite_request_kind = {
    .task = {.name = "sqlite",
             .has_below = true,
             .cancel = reach,
             .reach = reach,
             .keeps_waiters = keeps_waiters,
             .error = neap__op_error,
             .destroy = neap__op_destroy},
    .size = sizeof(neap__sqlite_request),
    .start = start,
    .abort = abort_request,
    .release = release,
};

int neap__sqlite_request_prepare(neap__sqlite_request *self) {
  neap__sqlite *db = self->db;
  bool reads = self->may_read && db->reading_pool && !self->turn.tx;
  self->turn.go = go;
  self->turn.fail = fail;
  atomic_init(&self->has_run, false);
  atomic_init(&self->conn, NULL);
  return neap__work_prepare(&self->work, reads ? db->reading_pool : db->pool, &work_kind, self);
}
