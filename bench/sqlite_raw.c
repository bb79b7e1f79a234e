/* The limit of bench/sqlite.lua: SQLite's C API called directly, by a program that blocks. */
#define _POSIX_C_SOURCE 200809L
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void check(sqlite3 *db, int code) {
  if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE) return;
  fprintf(stderr, "%s\n", sqlite3_errmsg(db));
  exit(1);
}

static void run(sqlite3 *db, const char *sql) {
  check(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql) {
  sqlite3_stmt *stmt = NULL;
  check(db, sqlite3_prepare_v2(db, sql, -1, &stmt, NULL));
  return stmt;
}

static void insert(sqlite3 *db, int n) {
  sqlite3_stmt *stmt = prepare(db, "INSERT INTO t(id, name, x) VALUES(?, ?, ?)");
  run(db, "BEGIN");
  for (int i = 1; i <= n; i++) {
    sqlite3_bind_int64(stmt, 1, i);
    sqlite3_bind_text(stmt, 2, "name", 4, SQLITE_STATIC);
    sqlite3_bind_double(stmt, 3, i / 2.0);
    check(db, sqlite3_step(stmt));
    sqlite3_reset(stmt);
  }
  run(db, "COMMIT");
  sqlite3_finalize(stmt);
}

static long long read_row(sqlite3_stmt *stmt) {
  return sqlite3_column_int64(stmt, 0) + *sqlite3_column_text(stmt, 1) +
         (sqlite3_column_double(stmt, 2) > 0);
}

static long long find(sqlite3 *db, int n) {
  sqlite3_stmt *stmt = prepare(db, "SELECT id, name, x FROM t WHERE id = ?");
  long long sum = 0;
  for (int i = 1; i <= n; i++) {
    sqlite3_bind_int64(stmt, 1, i);
    check(db, sqlite3_step(stmt));
    sum += read_row(stmt);
    sqlite3_reset(stmt);
  }
  sqlite3_finalize(stmt);
  return sum;
}

static long long scan(sqlite3 *db) {
  sqlite3_stmt *stmt = prepare(db, "SELECT id, name, x FROM t");
  long long sum = 0;
  while (sqlite3_step(stmt) == SQLITE_ROW) sum += read_row(stmt);
  sqlite3_finalize(stmt);
  return sum;
}

static void report(const char *name, double start, int n) {
  printf("%s %.3f\n", name, (now() - start) / n * 1e6);
}

int main(int argc, char **argv) {
  int n = argc > 1 ? atoi(argv[1]) : 20000;
  sqlite3 *db = NULL;
  if (sqlite3_open(":memory:", &db)) return 1;
  run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, x REAL)");
  double start = now();
  insert(db, n);
  report("insert", start, n);
  start = now();
  long long sum = find(db, n);
  report("point", start, n);
  start = now();
  sum -= scan(db);
  report("scan", start, n);
  sqlite3_close(db);
  return sum != 0;
}
