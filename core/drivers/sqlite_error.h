/* What SQLite's result codes become. */
#ifndef NEAP_DRIVERS_SQLITE_ERROR_H
#define NEAP_DRIVERS_SQLITE_ERROR_H

#include "sqlite_conn.h"

/* Notes the error that a call on `handle` has ended with; gives neap's code for it. */
int neap__sqlite_fail(sqlite3 *handle, int code, neap__sqlite_failure *failure);

/* True, and the failure is forgotten: the text could not be compiled, which another connection may do. */
bool neap__sqlite_forget_unknown(neap__sqlite_failure *failure);

/* The name of neap's error, for instance "ECONSTRAINT". Static. */
const char *neap__sqlite_error_name(const neap__sqlite_failure *failure);
/* SQLite's name of a code, for instance "SQLITE_CONSTRAINT_UNIQUE"; NULL if it has none. Static. */
const char *neap__sqlite_code_name(int extended);

#endif
