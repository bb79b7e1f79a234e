/* Buffered reading, the same for sockets, pipes, terminals and files.
 *
 * A source has one reader. What arrives goes to the read that waits; what that does not want, or what
 * arrives when nobody waits, is kept for the next one. So a cancelled read loses nothing, and a source
 * that nobody reads is asked for no more: that is the back-pressure. */
#ifndef NEAP_OPS_READER_H
#define NEAP_OPS_READER_H

#include "../bytes.h"
#include "../op.h"

typedef struct neap__reader neap__reader;
typedef struct neap__read neap__read;

typedef struct neap__source {
  /* More bytes are wanted, about `wanted`. 1: some have arrived on the spot (neap__reader_arrived or
   * neap__reader_ended was called), 0: they come later, negative: an error, with *syscall. */
  int (*pull)(neap__reader *reader, size_t wanted, const char **syscall);
  /* Nobody wants what came last: it should not go on. NULL: it stops by itself. */
  void (*rest)(neap__reader *reader);
  void (*unref)(neap__reader *reader); /* one reference to the owner of the reader */
  /* Adds what is known of an error that ended the source. NULL: nothing. */
  void (*explain)(const neap__reader *reader, neap_error *error);
} neap__source;

/* Takes what arrives in the place of reads: a protocol that is spoken on the stream. */
typedef struct neap__sink {
  /* `n` bytes are there; gives how many it has used up. The rest is kept, and offered again in front of
   * what arrives next. May close the stream. */
  size_t (*take)(neap__reader *reader, const char *bytes, size_t n);
  /* All that there was is used up, and nothing more comes: UV_EOF or an error. Once. */
  void (*ended)(neap__reader *reader, int code);
} neap__sink;

struct neap__reader {
  const neap__source *source;
  const neap__sink *sink; /* NULL: there are reads */
  void *sink_data;
  neap_loop *loop;
  neap__read *waiting; /* the pending read, or NULL */
  uint64_t reads;      /* that had to ask the source for more, so far */
  char *buffer;        /* what has arrived and is not read: [start, end) of `capacity` */
  size_t start, end, capacity;
  const char *syscall; /* of `code` */
  int code;            /* what follows the buffer: UV_EOF or an error; 0: more */
  bool is_closed;
  bool rests; /* the sink wants no more for now */
};

typedef enum neap__read_mode {
  NEAP__READ_SOME,    /* what there is, `size` bytes at most */
  NEAP__READ_EXACTLY, /* `size` bytes */
  NEAP__READ_UNTIL,   /* up to the delimiter, `size` bytes at most before it */
  NEAP__READ_LINE,    /* up to "\n"; the last line may lack it */
  NEAP__READ_ALL      /* up to the end, `size` bytes at most */
} neap__read_mode;

/* A read. Arguments: reader (its owner referenced), mode, size, delimiter. Result: `length` bytes at
 * data + start; is_end: there is nothing more. Read_exactly and read_until that fail with UV_EOF have
 * what came before the end.
 *
 * With a target, in the mode NEAP__READ_SOME, the bytes go there: they are in the block when the read has
 * ended. */
struct neap__read {
  neap__op op;
  neap__reader *reader;
  neap__read_mode mode;
  size_t size;
  char *delimiter; /* own */
  size_t delimiter_size;
  size_t scanned; /* bytes of the buffer without a delimiter */
  char *data;     /* own */
  size_t start, length, capacity;
  neap__target target;
  bool is_end;
};

extern const neap__op_kind neap__read_kind, neap__read_exactly_kind, neap__read_until_kind,
    neap__read_line_kind, neap__read_all_kind, neap__read_into_kind;

/* ---- For the source ------------------------------------------------------------------------- */

enum { NEAP__BLOCK_SIZE = 64 * 1024 };

void neap__reader_init(neap__reader *reader, neap_loop *loop, const neap__source *source);

/* A block of NEAP__BLOCK_SIZE bytes, that of the loop if nobody has it; NULL when out of memory. */
char *neap__block_take(neap_loop *loop);
/* Gives a block back, or frees memory of another capacity. */
void neap__block_give(neap_loop *loop, char *block, size_t capacity);

/* Whether it has no place of its own for what arrives next: neither a buffer nor a read with a target. */
bool neap__reader_needs_block(const neap__reader *reader);

/* Where to put what arrives next, and how much of it: the tail of the buffer where that is used, the
 * target of the read that waits, else `block`, of NEAP__BLOCK_SIZE bytes. NULL when out of memory. */
char *neap__reader_space(neap__reader *reader, char *block, size_t *size);

/* Makes room for `n` bytes that are not in the space which the reader has given; false: no memory. */
bool neap__reader_reserve(neap__reader *reader, size_t n);

/* `n` bytes have come: at `block`, of `capacity` bytes, or in the space that the reader has given. True
 * if it keeps the block. */
bool neap__reader_arrived(neap__reader *reader, char *block, size_t n, size_t capacity);

/* Nothing more comes: UV_EOF, or an error of `syscall`. */
void neap__reader_ended(neap__reader *reader, const char *syscall, int code);

/* The read that waits has failed; the next one tries again. */
void neap__reader_failed(neap__reader *reader, const char *syscall, int code);

/* Goes on after something has arrived: asks for more if somebody waits. */
void neap__reader_go_on(neap__reader *reader);

/* `n` bytes of somebody else's memory have come, which are copied; false: no memory, and nothing came. */
bool neap__reader_feed(neap__reader *reader, const char *bytes, size_t n);

/* ---- For a protocol ------------------------------------------------------------------------- */

/* From now on the sink gets what arrives. ECLOSED; EMISUSE while somebody reads. */
int neap__reader_attach(neap__reader *reader, const neap__sink *sink, void *data);
/* What it has not used up is there for reads again. */
void neap__reader_detach(neap__reader *reader);
/* Offers the sink what is buffered, or the end. */
void neap__reader_offer(neap__reader *reader);
/* Asks the source for more; a negative code. And lets it rest. */
int neap__reader_flow(neap__reader *reader);
void neap__reader_rest(neap__reader *reader);

/* ---- Forgetting and closing ------------------------------------------------------------------- */

/* Forgets what is buffered, in favour of what comes next; also under a read that waits. */
void neap__reader_rewind(neap__reader *reader);

/* Forgets what is buffered. */
void neap__reader_clear(neap__reader *reader);

/* From now on all reads fail with ECLOSED; the pending one does so at once. */
void neap__reader_close(neap__reader *reader);

static inline size_t neap__reader_buffered(const neap__reader *reader) {
  return reader->end - reader->start;
}

#endif
