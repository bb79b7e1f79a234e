#include "http_client.h"

#include <string.h>

static neap__http_send *of_op(neap__op *op) {
  return (neap__http_send *)op;
}

static bool is_end(const neap__http_send *self) {
  return !self->bytes;
}

size_t neap__http_send_take(neap__http_transfer *transfer, char *bytes, size_t size) {
  neap__http_send *self = transfer->sender;
  if (transfer->is_sent) return 0;
  if (!self || self->sent == self->size) {
    transfer->is_send_paused = true;
    return CURL_READFUNC_PAUSE;
  }
  size_t rest = self->size - self->sent, n = rest < size ? rest : size;
  memcpy(bytes, self->bytes + self->sent, n);
  self->sent += n;
  transfer->has_sent = true;
  if (self->sent == self->size) neap__http_transfer_note(transfer);
  return n;
}

void neap__http_send_end(neap__http_transfer *transfer, int code) {
  neap__http_send *self = transfer->sender;
  if (!self) return;
  transfer->sender = NULL;
  neap__op_settle(&self->op, code);
  neap__op_release_native(&self->op);
}

void neap__http_send_proceed(neap__http_transfer *transfer) {
  if (transfer->sender && transfer->sender->sent == transfer->sender->size)
    neap__http_send_end(transfer, 0);
}

static void resume(neap__http_transfer *transfer) {
  neap__http_client *client = transfer->client;
  if (!transfer->is_send_paused) return;
  transfer->is_send_paused = false;
  client->is_working = true;
  curl_easy_pause(transfer->easy->curl, transfer->is_paused ? CURLPAUSE_RECV : CURLPAUSE_CONT);
  client->is_working = false;
  if (!neap__list_is_empty(&transfer->note)) neap__http_client_kick(client);
}

static int start(neap__op *op) {
  neap__http_send *self = of_op(op);
  neap__http_transfer *transfer = self->transfer;
  if (!transfer || transfer->has_ended || transfer->is_sent) return NEAP_ECLOSED;
  if (transfer->sender) return NEAP_EMISUSE;
  if (is_end(self) || self->size == 0) {
    transfer->is_sent = is_end(self);
    neap__op_settle(op, 0);
  } else {
    transfer->sender = self;
    neap__op_acquire_native(op, false);
  }
  if (transfer->sender || transfer->is_sent) resume(transfer);
  return 0;
}

/* Bytes that libcurl has not taken are not sent. */
static void abort_send(neap__op *op) {
  of_op(op)->transfer->sender = NULL;
  neap__op_release_native(op);
}

static void release(neap__op *op) {
  neap__http_send *self = of_op(op);
  neap__memory_free(&op->task.loop->memory, self->bytes);
  if (self->transfer) neap__http_transfer_unref(self->transfer);
}

const neap__op_kind neap__http_send_kind = {
    .task = NEAP__OP_TASK("http send"),
    .size = sizeof(neap__http_send),
    .start = start,
    .abort = abort_send,
    .release = release,
};
