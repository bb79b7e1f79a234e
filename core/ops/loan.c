#include "loan.h"

#include <unistd.h>

static const char in_use[] =
    "it is being read or written, or has read ahead: it cannot be given to a child now";

static const char has_filter[] = "it has TLS: a child would get what is encrypted";

static bool is_busy(const neap__file *file) {
  return file->busy > 0 || file->reader.waiting;
}

static int lend_file(neap__file *file, int *fd, const char **message) {
  if (file->is_closing || file->fd < 0) return NEAP_ECLOSED;
  *message = in_use;
  if (is_busy(file)) return NEAP_EMISUSE;
  *message = NULL;
  *fd = file->fd;
  int64_t position = neap__file_position(file);
  return position >= 0 && lseek(*fd, (off_t)position, SEEK_SET) < 0 ? -errno : 0;
}

/* What comes from now on is the child's: libuv reads no further, as it may between two reads. */
static int lend_stream(neap__stream *stream, int *fd, const char **message) {
  neap__reader *reader = &stream->reader;
  if (stream->is_closing) return NEAP_ECLOSED;
  *message = has_filter;
  if (stream->filter) return NEAP_EMISUSE;
  *message = in_use;
  if (reader->waiting || neap__reader_buffered(reader) > 0) return NEAP_EMISUSE;
  if (!neap__list_is_empty(&stream->writers)) return NEAP_EMISUSE;
  *message = NULL;
  reader->source->rest(reader);
  return uv_fileno(&stream->uv.handle, fd);
}

int neap__loan_begin(const neap__loan *loan, int *fd, const char **message) {
  return loan->file ? lend_file(loan->file, fd, message) : lend_stream(loan->stream, fd, message);
}

static void take_file_back(neap__file *file) {
  int64_t position = neap__file_position(file);
  if (position < 0 || file->is_closing || file->fd < 0 || is_busy(file)) return;
  off_t left_at = lseek(file->fd, 0, SEEK_CUR);
  if (left_at >= 0 && left_at != (off_t)position) neap__file_move(file, left_at);
}

/* The child has a standard stream that blocks, as all expect it; that is a property of what both share. */
static void take_stream_back(neap__stream *stream) {
  if (!stream->is_closing) uv_stream_set_blocking(&stream->uv.stream, 0);
}

void neap__loan_end(neap__loan *loan) {
  neap__file *file = loan->file;
  neap__stream *stream = loan->stream;
  *loan = (neap__loan){NULL, NULL};
  if (file) {
    take_file_back(file);
    neap__file_unref(file);
  }
  if (stream) {
    take_stream_back(stream);
    neap__stream_unref(stream);
  }
}
