/* Dates as HTTP writes them; apart from the C library's, which knows locales. */
#include "http_server.h"

#include <stdio.h>
#include <string.h>

static const char days[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static void put_number(char *text, int number, int digits) {
  while (digits-- > 0) {
    text[digits] = (char)('0' + number % 10);
    number /= 10;
  }
}

void neap__http_format_date(time_t time, char *text) {
  struct tm at = {0};
  gmtime_r(&time, &at);
  memcpy(text, "Sun, 00 Jan 0000 00:00:00 GMT", 30);
  memcpy(text, days + 3 * at.tm_wday, 3);
  put_number(text + 5, at.tm_mday, 2);
  memcpy(text + 8, months + 3 * at.tm_mon, 3);
  put_number(text + 12, at.tm_year + 1900, 4);
  put_number(text + 17, at.tm_hour, 2);
  put_number(text + 20, at.tm_min, 2);
  put_number(text + 23, at.tm_sec, 2);
}

/* -1: there is something else. */
static int read_number(const char *text, int digits) {
  int number = 0;
  for (int i = 0; i < digits; i++) {
    if (text[i] < '0' || text[i] > '9') return -1;
    number = number * 10 + (text[i] - '0');
  }
  return number;
}

static int read_month(const char *text) {
  for (int i = 0; i < 12; i++)
    if (memcmp(text, months + 3 * (ptrdiff_t)i, 3) == 0) return i;
  return -1;
}

/* Days since 1970-01-01; years are counted from March on, so that leap days come last. */
static int64_t days_of(int year, int month, int day) {
  int64_t y = month < 2 ? year - 1 : year;
  int64_t shifted = (month + 10) % 12;
  int64_t days_before = 365 * y + y / 4 - y / 100 + y / 400 + (153 * shifted + 2) / 5;
  return days_before + day - 1 - 719468;
}

time_t neap__http_parse_date(const char *text, size_t length) {
  if (length != 29 || memcmp(text + 25, " GMT", 4) != 0) return -1;
  int day = read_number(text + 5, 2), month = read_month(text + 8);
  int year = read_number(text + 12, 4), hour = read_number(text + 17, 2);
  int minute = read_number(text + 20, 2), second = read_number(text + 23, 2);
  if (day < 1 || day > 31 || month < 0 || year < 1970) return -1;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return -1;
  return (time_t)(days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second);
}
