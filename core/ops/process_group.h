/* Process groups. A group has the number of the process that made it, its leader; the system gives this
 * number to nobody else as long as one of the group is there. */
#ifndef NEAP_OPS_PROCESS_GROUP_H
#define NEAP_OPS_PROCESS_GROUP_H

#include <stdbool.h>

/* Whether one of the group still runs, after its leader has ended and was reaped. Looks through /proc at
 * worst: nothing for each turn. */
bool neap__group_lives(int group);

#endif
