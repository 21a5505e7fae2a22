/* cores.h - a core for each thread of a pool that uses all of them.
 *
 * Beside another program, three threads share two cores, and a scheduler that wakes ours leaves both on one of them
 * and the other core to that program: 60 % of the speed of a prompt is kept.  On a core each it is 70 %.  An answer's
 * stages are much shorter than a time slice: it keeps more where the scheduler may move its caller away from that
 * program.  A pool of fewer threads than cores is left where the scheduler puts it: it may be an idle one.
 */
#ifndef LC_CORES_H
#define LC_CORES_H

#include "base.h"

typedef struct lc_cores {
    uint64_t allowed[16]; /* bits, by number: the cores that the process may use */
    bool spread;          /* as many as the pool has threads, more than one */
} lc_cores;

lc_cores lc_cores_find(int32_t n_threads);
/* Keeps the calling thread on the rank-th core, if the cores are spread; a failure changes nothing. */
void lc_cores_keep(const lc_cores *cores, int32_t rank);
/* Lets it run on all again. */
void lc_cores_leave(const lc_cores *cores);

#endif
