#include "sqlite_error.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- Names ----------------------------------------------------------------------------------- */

/* What a code becomes: the core's own where it has one, UV_EIO else, which stands for "it failed"; and
 * the name. By the first byte. */
typedef struct meaning {
  int code;
  const char *name;
} meaning;

static const meaning meanings[] = {
    [SQLITE_ERROR] = {UV_EINVAL, "ESQL"},
    [SQLITE_INTERNAL] = {UV_EIO, "EINTERNAL"},
    [SQLITE_PERM] = {UV_EPERM, "EPERM"},
    [SQLITE_ABORT] = {UV_EIO, "EABORT"},
    [SQLITE_BUSY] = {UV_EBUSY, "EBUSY"},
    [SQLITE_LOCKED] = {UV_EBUSY, "EBUSY"},
    [SQLITE_NOMEM] = {UV_ENOMEM, "ENOMEM"},
    [SQLITE_READONLY] = {UV_EROFS, "EREADONLY"},
    [SQLITE_INTERRUPT] = {UV_ECANCELED, "EABORT"},
    [SQLITE_IOERR] = {UV_EIO, "EIO"},
    [SQLITE_CORRUPT] = {UV_EIO, "ECORRUPT"},
    [SQLITE_NOTFOUND] = {UV_EIO, "ESQL"},
    [SQLITE_FULL] = {UV_ENOSPC, "EFULL"},
    [SQLITE_CANTOPEN] = {UV_EIO, "ECANTOPEN"},
    [SQLITE_PROTOCOL] = {UV_EBUSY, "EBUSY"},
    [SQLITE_SCHEMA] = {UV_EINVAL, "ESQL"},
    [SQLITE_TOOBIG] = {NEAP_ETOOLARGE, "ETOOLARGE"},
    [SQLITE_CONSTRAINT] = {UV_EINVAL, "ECONSTRAINT"},
    [SQLITE_MISMATCH] = {UV_EINVAL, "EMISMATCH"},
    [SQLITE_MISUSE] = {UV_EINVAL, "ESQL"},
    [SQLITE_NOLFS] = {UV_EFBIG, "EFBIG"},
    [SQLITE_AUTH] = {UV_EPERM, "EPERM"},
    [SQLITE_RANGE] = {UV_EINVAL, "ESQL"},
    [SQLITE_NOTADB] = {UV_EIO, "ECORRUPT"},
};

static const meaning *meaning_of(int extended) {
  size_t primary = (size_t)extended & 0xff;
  bool is_known = primary < sizeof meanings / sizeof *meanings && meanings[primary].name;
  return &meanings[is_known ? primary : SQLITE_ERROR];
}

const char *neap__sqlite_error_name(const neap__sqlite_failure *failure) {
  bool is_cantopen = (failure->extended & 0xff) == SQLITE_CANTOPEN;
  if (is_cantopen && failure->errnum)
    return neap_error_name(uv_translate_sys_error(failure->errnum));
  if (failure->extended) return meaning_of(failure->extended)->name;
  return neap_error_name(failure->code);
}

#define NAME(code)                                                                                 \
  { code, #code }

static const struct {
  int code;
  const char *name;
} code_names[] = {
    NAME(SQLITE_ERROR),
    NAME(SQLITE_INTERNAL),
    NAME(SQLITE_PERM),
    NAME(SQLITE_ABORT),
    NAME(SQLITE_ABORT_ROLLBACK),
    NAME(SQLITE_BUSY),
    NAME(SQLITE_BUSY_RECOVERY),
    NAME(SQLITE_BUSY_SNAPSHOT),
    NAME(SQLITE_BUSY_TIMEOUT),
    NAME(SQLITE_LOCKED),
    NAME(SQLITE_LOCKED_SHAREDCACHE),
    NAME(SQLITE_NOMEM),
    NAME(SQLITE_READONLY),
    NAME(SQLITE_READONLY_RECOVERY),
    NAME(SQLITE_READONLY_CANTLOCK),
    NAME(SQLITE_READONLY_ROLLBACK),
    NAME(SQLITE_READONLY_DBMOVED),
    NAME(SQLITE_READONLY_CANTINIT),
    NAME(SQLITE_READONLY_DIRECTORY),
    NAME(SQLITE_INTERRUPT),
    NAME(SQLITE_IOERR),
    NAME(SQLITE_IOERR_READ),
    NAME(SQLITE_IOERR_SHORT_READ),
    NAME(SQLITE_IOERR_WRITE),
    NAME(SQLITE_IOERR_FSYNC),
    NAME(SQLITE_IOERR_DIR_FSYNC),
    NAME(SQLITE_IOERR_TRUNCATE),
    NAME(SQLITE_IOERR_FSTAT),
    NAME(SQLITE_IOERR_UNLOCK),
    NAME(SQLITE_IOERR_RDLOCK),
    NAME(SQLITE_IOERR_DELETE),
    NAME(SQLITE_IOERR_NOMEM),
    NAME(SQLITE_IOERR_ACCESS),
    NAME(SQLITE_IOERR_LOCK),
    NAME(SQLITE_IOERR_CLOSE),
    NAME(SQLITE_IOERR_SHMOPEN),
    NAME(SQLITE_IOERR_SHMSIZE),
    NAME(SQLITE_IOERR_SHMLOCK),
    NAME(SQLITE_IOERR_SHMMAP),
    NAME(SQLITE_IOERR_SEEK),
    NAME(SQLITE_IOERR_MMAP),
    NAME(SQLITE_CORRUPT),
    NAME(SQLITE_CORRUPT_VTAB),
    NAME(SQLITE_CORRUPT_SEQUENCE),
    NAME(SQLITE_CORRUPT_INDEX),
    NAME(SQLITE_NOTFOUND),
    NAME(SQLITE_FULL),
    NAME(SQLITE_CANTOPEN),
    NAME(SQLITE_CANTOPEN_ISDIR),
    NAME(SQLITE_CANTOPEN_FULLPATH),
    NAME(SQLITE_CANTOPEN_SYMLINK),
    NAME(SQLITE_PROTOCOL),
    NAME(SQLITE_SCHEMA),
    NAME(SQLITE_TOOBIG),
    NAME(SQLITE_CONSTRAINT),
    NAME(SQLITE_CONSTRAINT_CHECK),
    NAME(SQLITE_CONSTRAINT_COMMITHOOK),
    NAME(SQLITE_CONSTRAINT_DATATYPE),
    NAME(SQLITE_CONSTRAINT_FOREIGNKEY),
    NAME(SQLITE_CONSTRAINT_FUNCTION),
    NAME(SQLITE_CONSTRAINT_NOTNULL),
    NAME(SQLITE_CONSTRAINT_PINNED),
    NAME(SQLITE_CONSTRAINT_PRIMARYKEY),
    NAME(SQLITE_CONSTRAINT_ROWID),
    NAME(SQLITE_CONSTRAINT_TRIGGER),
    NAME(SQLITE_CONSTRAINT_UNIQUE),
    NAME(SQLITE_CONSTRAINT_VTAB),
    NAME(SQLITE_MISMATCH),
    NAME(SQLITE_MISUSE),
    NAME(SQLITE_NOLFS),
    NAME(SQLITE_AUTH),
    NAME(SQLITE_RANGE),
    NAME(SQLITE_NOTADB),
};

const char *neap__sqlite_code_name(int extended) {
  for (size_t i = 0; i < sizeof code_names / sizeof *code_names; i++)
    if (code_names[i].code == extended) return code_names[i].name;
  return extended > 0xff ? neap__sqlite_code_name(extended & 0xff) : NULL;
}

/* ---- Noting ---------------------------------------------------------------------------------- */

static char *copy_text(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = malloc(size);
  return copy ? memcpy(copy, text, size) : NULL;
}

static int offset_of(sqlite3 *handle) {
#if SQLITE_VERSION_NUMBER >= 3038000
  return sqlite3_error_offset(handle);
#else
  (void)handle;
  return -1;
#endif
}

int neap__sqlite_fail(sqlite3 *handle, int code, neap__sqlite_failure *failure) {
  if (failure->code) return failure->code; /* the first one counts */
  bool is_noted = sqlite3_errcode(handle) == code || sqlite3_extended_errcode(handle) == code;
  failure->extended = is_noted ? sqlite3_extended_errcode(handle) : code;
  failure->errnum = sqlite3_system_errno(handle);
  failure->offset = offset_of(handle);
  failure->message = copy_text(is_noted ? sqlite3_errmsg(handle) : sqlite3_errstr(code));
  failure->code = meaning_of(failure->extended)->code;
  return failure->code;
}

int neap__sqlite_refuse(neap__sqlite_failure *failure, int code, const char *format, ...) {
  if (failure->code) return failure->code;
  failure->code = code;
  failure->offset = -1;
  if (!format) return code;
  va_list arguments;
  va_start(arguments, format);
  char *message = sqlite3_vmprintf(format, arguments);
  va_end(arguments);
  failure->message = message ? copy_text(message) : NULL;
  sqlite3_free(message);
  return code;
}

void neap__sqlite_failure_deinit(neap__sqlite_failure *failure) {
  free(failure->message);
  *failure = (neap__sqlite_failure){0};
}

bool neap__sqlite_forget_unknown(neap__sqlite_failure *failure) {
  if (failure->extended != SQLITE_ERROR) return false;
  neap__sqlite_failure_deinit(failure);
  return true;
}
