/* The limit of bench/http_client.lua: libcurl's multi interface, its easy handles used again. Arguments:
 * number of requests, how many at a time, port. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BODY = 13 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *total) {
  (void)bytes;
  *(size_t *)total += size * n;
  return size * n;
}

static void add(CURLM *multi, const char *url, size_t *total) {
  CURL *easy = curl_easy_init();
  curl_easy_setopt(easy, CURLOPT_URL, url);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, total);
  curl_multi_add_handle(multi, easy);
}

/* Starts another request with each handle that is done; returns how many are. */
static int turn_over(CURLM *multi, int *started, int requests) {
  int done = 0, left;
  for (CURLMsg *message; (message = curl_multi_info_read(multi, &left));) {
    CURL *easy = message->easy_handle;
    if (message->data.result) exit(1);
    done++;
    curl_multi_remove_handle(multi, easy);
    if (*started < requests) {
      (*started)++;
      curl_multi_add_handle(multi, easy);
    } else {
      curl_easy_cleanup(easy);
    }
  }
  return done;
}

int main(int argc, char **argv) {
  char url[64];
  size_t total = 0;
  int done = 0, started, running;
  if (argc < 4) return 2;
  int requests = atoi(argv[1]), at_once = atoi(argv[2]);
  snprintf(url, sizeof url, "http://127.0.0.1:%s/static", argv[3]);
  CURLM *multi = curl_multi_init();
  double begin = now();
  for (started = 0; started < at_once; started++) add(multi, url, &total);
  while (done < requests) {
    curl_multi_perform(multi, &running);
    done += turn_over(multi, &started, requests);
    if (done < requests) curl_multi_poll(multi, NULL, 0, 100, NULL);
  }
  printf("requests %.1f\n", requests / (now() - begin));
  return total == (size_t)BODY * (size_t)requests ? 0 : 1;
}
