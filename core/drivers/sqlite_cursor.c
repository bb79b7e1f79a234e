#include "sqlite_cursor.h"

#include "sqlite_error.h"

static neap__sqlite_cursor *of_item(neap__pool_item *item) {
  return NEAP__CONTAINER(item, neap__sqlite_cursor, item);
}

/* ---- On a thread -------------------------------------------------------------------------------- */

/* 0 without a statement: it moves. */
static int prepare(neap__sqlite_cursor *self, neap__sqlite_conn *conn) {
  size_t used;
  int code =
      neap__sqlite_prepare(conn, self->sql, self->size, &used, &self->statement, &self->failure);
  self->moves = code && self->is_reading && neap__sqlite_forget_unknown(&self->failure);
  if (code) return self->moves ? 0 : code;
  if (!self->statement)
    return neap__sqlite_refuse(&self->failure, UV_EINVAL, "there is no statement in the text");
  neap__sqlite_hold(conn, self->statement);
  if (used == self->size) return 0;
  return neap__sqlite_refuse(&self->failure, UV_EINVAL,
                             "a query is one statement, and there is more behind its end");
}

static int start_statement(neap__sqlite_cursor *self, neap__sqlite_conn *conn) {
  const char *end = self->params.data + self->params.size, *next;
  int code = prepare(self, conn);
  if (code || self->moves) return code;
  self->moves = self->is_reading && !neap__sqlite_only_reads(self->statement);
  if (self->moves) return 0;
  return neap__sqlite_bind(conn, self->statement, self->params.data, end, &next, &self->failure);
}

static bool is_full(const neap__sqlite_batch *batch) {
  return batch->count == NEAP__SQLITE_BATCH_ROWS || batch->rows.size >= NEAP__SQLITE_BATCH_SIZE;
}

/* The names are those after the first step: until then the schema may change. */
static bool put_names_once(neap__sqlite_cursor *self) {
  if (self->names.size > 0) return true;
  self->columns = sqlite3_column_count(self->statement->stmt);
  return neap__sqlite_put_names(self->statement, &self->names);
}

static void fill(neap__sqlite_cursor *self, neap__sqlite_conn *conn) {
  bool has_memory = true;
  while (has_memory && !is_full(&self->next)) {
    int code = neap__sqlite_step(conn, self->statement, &self->failure);
    self->is_at_end = code != SQLITE_ROW;
    if (self->is_at_end) return;
    has_memory = put_names_once(self) && neap__sqlite_put_row(self->statement, &self->next.rows);
    if (has_memory) self->next.count++;
  }
  if (!has_memory) neap__sqlite_refuse(&self->failure, UV_ENOMEM, NULL);
}

static void end_statement(neap__sqlite_cursor *self, neap__sqlite_conn *conn) {
  if (self->statement) neap__sqlite_give_back(conn, self->statement);
  self->statement = NULL;
  atomic_store(&self->conn, NULL);
  if (self->is_reading) neap__sqlite_give_reader(self->db, conn);
}

static neap__sqlite_conn *get_conn(neap__sqlite_cursor *self) {
  neap__sqlite_conn *conn = atomic_load(&self->conn);
  if (conn || atomic_load(&self->stop)) return conn;
  conn = self->is_reading ? neap__sqlite_take_reader(self->db, &self->stop, &self->failure)
                          : &self->db->conn;
  atomic_store(&self->conn, conn);
  return conn;
}

static void check_transaction(neap__sqlite_cursor *self, const neap__sqlite_conn *conn) {
  if (self->turn.tx && !neap__sqlite_is_in_transaction(conn))
    neap__sqlite_refuse(&self->failure, NEAP_ECLOSED,
                        "the transaction was rolled back already, by SQLite or by its end");
}

static void pull_on(neap__sqlite_cursor *self, neap__sqlite_conn *conn) {
  neap__sqlite_conn_run(conn, &self->stop);
  check_transaction(self, conn);
  if (!self->failure.code && !self->statement) start_statement(self, conn);
  if (!self->failure.code && !self->moves) fill(self, conn);
  neap__sqlite_conn_run(conn, NULL);
}

/* Also the end of what was closed is a pull. */
static void run_pull(neap__pool_item *item, neap__pool_thread *thread) {
  neap__sqlite_cursor *self = of_item(item);
  (void)thread;
  if (!self->is_reading) neap__sqlite_clean_up(self->db);
  neap__sqlite_conn *conn = get_conn(self);
  if (!conn) return;
  if (!atomic_load(&self->stop)) pull_on(self, conn);
  bool has_ended = atomic_load(&self->stop) || self->failure.code || self->is_at_end || self->moves;
  if (has_ended) end_statement(self, conn);
}

static void end_pull(neap__pool_item *item, bool is_abandoned) {
  neap__sqlite_cursor *self = of_item(item);
  neap__sqlite *db = self->db;
  bool is_reading = self->is_reading;
  (void)is_abandoned;
  neap__inbox_send(db->loop->inbox, &self->post); /* refused: neap__sqlite_end_pulls */
  if (is_reading) neap__sqlite_remove_reading(db);
}

/* ---- Pulling: on the loop's thread -------------------------------------------------------------- */

static void pulled(neap__sqlite_cursor *self);

static void push_pull(neap__sqlite_cursor *self) {
  if (self->is_reading) neap__sqlite_add_reading(self->db);
  neap_pool *pool = self->is_reading ? self->db->reading_pool : self->db->pool;
  int code = neap__pool_push(pool, &self->item);
  if (!code) return;
  neap__sqlite_refuse(&self->failure, code, NULL);
  if (self->is_reading) neap__sqlite_remove_reading(self->db);
  pulled(self);
}

static void go(neap__sqlite_turn *turn) {
  push_pull(NEAP__CONTAINER(turn, neap__sqlite_cursor, turn));
}

static void fail(neap__sqlite_turn *turn, int code) {
  neap__sqlite_cursor *self = NEAP__CONTAINER(turn, neap__sqlite_cursor, turn);
  self->closed_code = code;
  pulled(self);
}

/* What ends a statement does not wait for its turn. */
static void start_pull(neap__sqlite_cursor *self) {
  neap__sqlite *db = self->db;
  self->is_pulling = true;
  self->refs++;
  neap__list_append(&db->pulls, &self->pull);
  neap__sqlite_begin_native(db->loop);
  neap__sqlite_buffer_clear(&self->next.rows);
  self->next.count = 0;
  bool passes = self->is_reading || atomic_load(&self->stop);
  if (passes || neap__sqlite_gate_enter(&db->gate, &self->turn)) push_pull(self);
}

/* While it pulls nobody knows yet what the thread has found. */
static bool has_ended(const neap__sqlite_cursor *self) {
  if (self->closed_code || self->is_closed) return true;
  return !self->is_pulling && (self->is_at_end || self->failure.code);
}

/* The batch that has come takes the place of the last one, and the next one is asked for. */
static void turn_over(neap__sqlite_cursor *self) {
  neap__sqlite_batch former = self->batch;
  self->batch = self->next;
  self->next = former;
  self->has_next = false;
  self->at = self->batch.rows.data;
  self->left = self->batch.count;
  if (!has_ended(self)) start_pull(self);
}

/* What has come before an error is given first. */
static int outcome(neap__sqlite_next *self) {
  const neap__sqlite_cursor *cursor = self->cursor;
  if (cursor->left > 0 || cursor->is_closed) return 0;
  self->op.error.path = cursor->db->options.path;
  if (cursor->closed_code) return cursor->closed_code;
  self->op.error.message = cursor->failure.message;
  return cursor->failure.code;
}

static void end_waiting(neap__sqlite_cursor *self) {
  neap__sqlite_next *next = (neap__sqlite_next *)self->waiting;
  self->waiting = NULL;
  if (self->has_next) turn_over(self);
  neap__op_end(&next->link, outcome(next));
}

static void drop_ref(neap__sqlite_cursor *self) {
  if (--self->refs > 0) return;
  neap__sqlite *db = self->db;
  neap__memory *memory = &db->loop->memory;
  neap__list_unlink(&self->link);
  neap__memory_free(memory, self->sql);
  neap__sqlite_buffer_deinit(&self->params);
  neap__sqlite_buffer_deinit(&self->batch.rows);
  neap__sqlite_buffer_deinit(&self->next.rows);
  neap__sqlite_buffer_deinit(&self->names);
  neap__sqlite_failure_deinit(&self->failure);
  neap__sqlite_tx_unref(self->turn.tx);
  neap__memory_free(memory, self);
  neap__sqlite_unref(db);
}

static void end_soon(neap__sqlite_cursor *self);

static void pulled(neap__sqlite_cursor *self) {
  self->is_pulling = false;
  neap__list_unlink(&self->pull);
  neap__sqlite_end_native(self->db->loop);
  if (self->moves && !self->is_closed && !self->closed_code) {
    self->moves = self->is_reading = false;
    start_pull(self);
  } else {
    self->has_next = !self->is_closed;
    end_soon(self);
    if (self->waiting) end_waiting(self);
  }
  drop_ref(self);
}

static void on_pulled(neap__post *post) {
  pulled(NEAP__CONTAINER(post, neap__sqlite_cursor, post));
}

/* ---- Closing ------------------------------------------------------------------------------------ */

/* It was closed, and has a statement that its thread has to end. A database that closes ends it itself. */
static void end_soon(neap__sqlite_cursor *self) {
  if (atomic_load(&self->stop) && !self->is_pulling && self->statement && !self->db->is_closing)
    start_pull(self);
}

static void stop(neap__sqlite_cursor *self) {
  atomic_store(&self->stop, true);
  neap__sqlite_conn *conn = atomic_load(&self->conn);
  neap__list_unlink(&self->link);
  if (self->turn.is_waiting) {
    neap__sqlite_gate_leave(&self->db->gate, &self->turn);
    pulled(self);
  } else if (self->is_pulling && conn) {
    neap__sqlite_conn_interrupt(conn, &self->stop);
  }
  end_soon(self);
}

void neap__sqlite_cursor_close(neap__sqlite_cursor *self) {
  if (self->is_closed) return;
  self->is_closed = true;
  self->left = 0;
  self->has_next = false;
  self->refs++;
  if (!atomic_load(&self->stop)) stop(self);
  drop_ref(self);
}

/* What is in use is still given. */
static void close_for_others(neap__sqlite_cursor *self) {
  self->refs++;
  if (!has_ended(self)) {
    self->closed_code = NEAP_ECLOSED;
    self->has_next = false;
  }
  stop(self);
  drop_ref(self);
}

static neap__sqlite_cursor *first_of(const neap__sqlite *db, const neap__sqlite_tx *tx) {
  for (neap__list *link = db->cursors.next; link != &db->cursors; link = link->next) {
    neap__sqlite_cursor *cursor = NEAP__CONTAINER(link, neap__sqlite_cursor, link);
    if (!tx || cursor->turn.tx == tx) return cursor;
  }
  return NULL;
}

void neap__sqlite_close_cursors(neap__sqlite *db, const neap__sqlite_tx *tx) {
  for (neap__sqlite_cursor *cursor; (cursor = first_of(db, tx));) close_for_others(cursor);
}

void neap__sqlite_cursor_unref(neap__sqlite_cursor *self) {
  neap__sqlite_cursor_close(self);
  drop_ref(self);
}

/* ---- Waiting for a batch ------------------------------------------------------------------------ */

static int start_next(neap__op *op) {
  neap__sqlite_next *self = (neap__sqlite_next *)op;
  neap__sqlite_cursor *cursor = self->cursor;
  if (cursor->left == 0 && cursor->has_next) turn_over(cursor);
  if (cursor->left > 0 || has_ended(cursor)) {
    int code = outcome(self);
    if (!code) neap__op_settle(op, 0);
    return code;
  }
  cursor->waiting = op;
  neap__list_init(&self->place);
  neap__op_enter(op, &self->link, &self->place);
  if (!cursor->is_pulling) start_pull(cursor);
  return 0;
}

static void abort_next(neap__op *op) {
  neap__sqlite_next *self = (neap__sqlite_next *)op;
  self->cursor->waiting = NULL;
  neap__op_leave(&self->link);
}

static void release_next(neap__op *op) {
  neap__sqlite_next *self = (neap__sqlite_next *)op;
  if (self->cursor) drop_ref(self->cursor);
}

const neap__op_kind neap__sqlite_next_kind = {
    .task = NEAP__OP_TASK("sqlite.rows"),
    .size = sizeof(neap__sqlite_next),
    .start = start_next,
    .abort = abort_next,
    .release = release_next,
};

/* ---- Making ------------------------------------------------------------------------------------- */

neap__sqlite_cursor *neap__sqlite_cursor_new(neap__sqlite *db, neap__sqlite_tx *tx) {
  neap_loop *loop = db->loop;
  neap__sqlite_cursor *self = neap__memory_new(&loop->memory, sizeof *self);
  if (!self) return NULL;
  self->db = neap__sqlite_ref(db);
  self->refs = 1;
  self->params.memory = &loop->memory;
  self->turn.go = go;
  self->turn.fail = fail;
  self->item.run = run_pull;
  self->item.end = end_pull;
  self->post.fn = on_pulled;
  self->turn.tx = neap__sqlite_tx_ref(tx);
  self->is_reading = db->reading_pool && !tx;
  atomic_init(&self->stop, false);
  atomic_init(&self->conn, NULL);
  neap__list_init(&self->turn.link);
  neap__list_init(&self->pull);
  neap__list_init(&self->link);
  if (db->is_closing)
    self->closed_code = NEAP_ECLOSED;
  else
    neap__list_append(&db->cursors, &self->link);
  return self;
}

void neap__sqlite_end_pulls(neap__sqlite *db) {
  while (!neap__list_is_empty(&db->pulls))
    pulled(NEAP__CONTAINER(db->pulls.next, neap__sqlite_cursor, pull));
}
