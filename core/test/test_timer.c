#include "support.h"

#include "timer.h"

enum { CROWD = 100000 };

typedef struct alarm_clock {
  neap__timer timer;
  int index;
} alarm_clock;

static int fired[CROWD];
static size_t fired_count;
static neap__timers *shared; /* the heap of the running test */
static neap__timer *to_arm, *to_disarm;

static void on_fire(neap__timer *timer) {
  fired[fired_count++ % CROWD] = NEAP__CONTAINER(timer, alarm_clock, timer)->index;
  if (to_disarm) neap__timer_disarm(shared, to_disarm);
  if (to_arm && !neap__timer_is_armed(to_arm)) CHECK(neap__timer_arm(shared, to_arm, 0) == 0);
}

static neap__memory memory;
static counter blocks;

static void open_heap(neap__timers *timers) {
  atomic_init(&blocks.live, 0);
  neap__memory_init(&memory, count_allocate, &blocks);
  neap__timers_init(timers, &memory);
  shared = timers;
  fired_count = 0;
  to_arm = to_disarm = NULL;
}

static void close_heap(neap__timers *timers) {
  neap__timers_deinit(timers);
  CHECK(atomic_load(&blocks.live) == 0);
  CHECK(memory.live == 0);
}

static void arm_all(neap__timers *timers, alarm_clock *clocks, const double *deadlines, int count) {
  for (int i = 0; i < count; i++) {
    clocks[i] = (alarm_clock){.timer.fire = on_fire, .index = i};
    CHECK(neap__timer_arm(timers, &clocks[i].timer, deadlines[i]) == 0);
  }
}

TEST(an_empty_heap_has_no_next_deadline) {
  neap__timers timers;
  open_heap(&timers);
  CHECK(neap__timers_next(&timers) == HUGE_VAL);
  CHECK(neap__timers_fire(&timers, 1e9) == 0);
  CHECK(neap__timers_is_valid(&timers));
  close_heap(&timers);
}

TEST(timers_fire_in_the_order_of_their_deadlines) {
  neap__timers timers;
  alarm_clock clocks[5];
  open_heap(&timers);
  arm_all(&timers, clocks, (double[]){5, 1, 4, 2, 3}, 5);
  CHECK(neap__timers_next(&timers) == 1);
  CHECK(neap__timers_fire(&timers, 3) == 3);
  CHECK(fired[0] == 1 && fired[1] == 3 && fired[2] == 4);
  CHECK(neap__timers_next(&timers) == 4);
  CHECK(neap__timers_fire(&timers, 5) == 2);
  CHECK(fired[3] == 2 && fired[4] == 0);
  close_heap(&timers);
}

TEST(equal_deadlines_fire_in_the_order_of_arming) {
  neap__timers timers;
  alarm_clock clocks[100];
  double deadlines[100];
  for (int i = 0; i < 100; i++) deadlines[i] = i % 2;
  open_heap(&timers);
  arm_all(&timers, clocks, deadlines, 100);
  CHECK(neap__timers_fire(&timers, 1) == 100);
  for (int i = 0; i < 100; i++) CHECK(fired[i] == (i < 50 ? 2 * i : 2 * (i - 50) + 1));
  close_heap(&timers);
}

TEST(a_timer_that_is_armed_again_goes_behind_its_equals) {
  neap__timers timers;
  alarm_clock clocks[3];
  open_heap(&timers);
  arm_all(&timers, clocks, (double[]){1, 1, 1}, 3);
  neap__timer_disarm(&timers, &clocks[0].timer);
  CHECK(neap__timer_arm(&timers, &clocks[0].timer, 1) == 0);
  CHECK(neap__timers_fire(&timers, 1) == 3);
  CHECK(fired[0] == 1 && fired[1] == 2 && fired[2] == 0);
  close_heap(&timers);
}

TEST(disarming_twice_is_harmless) {
  neap__timers timers;
  alarm_clock clocks[2];
  open_heap(&timers);
  arm_all(&timers, clocks, (double[]){1, 2}, 2);
  neap__timer_disarm(&timers, &clocks[0].timer);
  neap__timer_disarm(&timers, &clocks[0].timer);
  CHECK(!neap__timer_is_armed(&clocks[0].timer));
  CHECK(timers.count == 1);
  CHECK(neap__timers_fire(&timers, 2) == 1);
  close_heap(&timers);
}

TEST(what_is_armed_while_timers_fire_waits_for_the_next_call) {
  neap__timers timers;
  alarm_clock clocks[2];
  open_heap(&timers);
  arm_all(&timers, clocks, (double[]){1}, 1);
  clocks[1] = (alarm_clock){.timer.fire = on_fire, .index = 1};
  to_arm = &clocks[1].timer;
  CHECK(neap__timers_fire(&timers, 1) == 1);
  CHECK(neap__timer_is_armed(to_arm));
  to_arm = NULL;
  CHECK(neap__timers_fire(&timers, 1) == 1);
  CHECK(fired[1] == 1);
  close_heap(&timers);
}

TEST(what_is_disarmed_while_timers_fire_does_not_fire) {
  neap__timers timers;
  alarm_clock clocks[2];
  open_heap(&timers);
  arm_all(&timers, clocks, (double[]){1, 1}, 2);
  to_disarm = &clocks[1].timer;
  CHECK(neap__timers_fire(&timers, 1) == 1);
  CHECK(timers.count == 0);
  close_heap(&timers);
}

TEST(arming_without_memory_leaves_the_heap_as_it_was) {
  neap__timers timers;
  alarm_clock clocks[17];
  double deadlines[16] = {0};
  open_heap(&timers);
  arm_all(&timers, clocks, deadlines, 16);
  clocks[16] = (alarm_clock){.timer.fire = on_fire, .index = 16};
  memory.fail_at = 1;
  CHECK(neap__timer_arm(&timers, &clocks[16].timer, 0) == UV_ENOMEM);
  CHECK(!neap__timer_is_armed(&clocks[16].timer));
  CHECK(timers.count == 16 && neap__timers_is_valid(&timers));
  CHECK(neap__timers_fire(&timers, 0) == 16);
  close_heap(&timers);
}

static alarm_clock crowd[CROWD];

static void toggle(neap__timers *timers, alarm_clock *clock) {
  if (neap__timer_is_armed(&clock->timer))
    neap__timer_disarm(timers, &clock->timer);
  else
    CHECK(neap__timer_arm(timers, &clock->timer, rand() % 1000) == 0);
}

static void init_crowd(int count) {
  for (int i = 0; i < count; i++) crowd[i] = (alarm_clock){.timer.fire = on_fire, .index = i};
}

TEST(a_random_heap_stays_valid) {
  neap__timers timers;
  open_heap(&timers);
  srand(1);
  init_crowd(300);
  for (int i = 0; i < 20000; i++) {
    toggle(&timers, &crowd[rand() % 300]);
    if (!CHECK(neap__timers_is_valid(&timers))) break;
  }
  neap__timers_fire(&timers, 1000);
  CHECK(timers.count == 0);
  close_heap(&timers);
}

static bool fired_in_order(void) {
  for (int i = 1; i < CROWD; i++) {
    const neap__timer *a = &crowd[fired[i - 1]].timer, *b = &crowd[fired[i]].timer;
    if (a->deadline > b->deadline || (a->deadline == b->deadline && a->order > b->order))
      return false;
  }
  return true;
}

TEST(a_hundred_thousand_timers_fire_in_order_and_give_their_memory_back) {
  neap__timers timers;
  open_heap(&timers);
  srand(2);
  init_crowd(CROWD);
  for (int i = 0; i < 3 * CROWD; i++) toggle(&timers, &crowd[rand() % CROWD]);
  CHECK(neap__timers_is_valid(&timers));
  for (int i = 0; i < CROWD; i++)
    if (!neap__timer_is_armed(&crowd[i].timer)) toggle(&timers, &crowd[i]);
  CHECK(timers.count == CROWD);
  CHECK(neap__timers_fire(&timers, 1000) == CROWD);
  CHECK(fired_in_order());
  CHECK(timers.capacity <= 1024);
  close_heap(&timers);
}
