/* waiting.h - threads that wait for what another thread changes: they look for a while, and then sleep. */
#ifndef LC_WAITING_H
#define LC_WAITING_H

#include <pthread.h>
#include <stdatomic.h>

#include "base.h"

/* How long a thread looks before it sleeps.  Waking costs 30-50 us on a virtual machine; stages are 5-100 us long,
 * and a caller needs about 50 us between two tokens. */
#define LC_LOOK_NS 100000

/* Threads asleep for one reason. */
typedef struct lc_sleepers {
    _Atomic int32_t n;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
} lc_sleepers;

/* Whether what is waited for has come; seen: what it was before. */
typedef bool lc_ready_function(lc_pool *pool, uint64_t seen);

bool lc_sleepers_init(lc_sleepers *who);
void lc_sleepers_destroy(lc_sleepers *who);

/* Looks for so many nanoseconds; whether ready(pool, seen). */
bool lc_look(lc_ready_function *ready, lc_pool *pool, uint64_t seen, int64_t ns);
/* Returns when ready(pool, seen): looks for LC_LOOK_NS, then sleeps. */
void lc_wait(lc_sleepers *who, lc_ready_function *ready, lc_pool *pool, uint64_t seen);
/* Whoever changes what others may wait for calls this after the change. */
void lc_wake(lc_sleepers *who);

#endif
