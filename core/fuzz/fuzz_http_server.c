/* Requests of any bytes, cut at any places. The first byte tells how: bit 0, handlers wait; the rest, the
 * length of the pieces. Whatever comes, the answers are responses, and the connection ends in order. */
#include "../drivers/test/http_server_support.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact) {
  if (!fact) abort();
}

/* Answers begin like one, and there are no more of them than requests and a refusal. */
static void look(const wire *self, const char *text, size_t n) {
  int answers = 0;
  if (n == 0) return;
  require(strncmp(text, "HTTP/1.1 ", 9) == 0);
  for (; (text = strstr(text, "HTTP/1.1 200 OK\r\nDate")); text++) answers++;
  require(answers <= self->requests);
}

static void play(wire *self, const char *bytes, size_t n, size_t piece) {
  static char text[1 << 20];
  size_t got = 0;
  for (size_t i = 0; i < n; i += piece) {
    wire_send(self, bytes + i, n - i < piece ? n - i : piece);
    wire_step(self, 1);
    answer_waiting(self);
  }
  shutdown(self->peer, SHUT_WR);
  wire_step(self, 3);
  while (self->waiting) {
    answer_waiting(self);
    wire_step(self, 2);
  }
  got = wire_receive(self, text, sizeof text);
  look(self, text, got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  neap_virtual_clock clock;
  neap_loop *loop;
  wire wire;
  if (size < 2 || size > 100000) return 0;
  neap_virtual_clock_init(&clock, 0);
  neap_loop_options options = {.clock = &clock.clock};
  require(neap_loop_new(&options, &loop) == 0);
  require(wire_open(&wire, loop));
  wire.waits = data[0] & 1;
  wire.server->max_head = 4096;
  wire.server->max_body = 4096;
  wire_start(&wire);
  size_t piece = data[0] >> 1;
  play(&wire, (const char *)data + 1, size - 1, piece ? piece : size);
  wire_close(&wire);
  neap_loop_close(loop);
  return 0;
}
