#define _POSIX_C_SOURCE 200809L
#include "waiting.h"

#include <time.h>

static void pause_a_moment(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool lc_sleepers_init(lc_sleepers *who)
{
    if (pthread_mutex_init(&who->mutex, NULL))
        return false;
    if (!pthread_cond_init(&who->changed, NULL))
        return true;
    pthread_mutex_destroy(&who->mutex);
    return false;
}

void lc_sleepers_destroy(lc_sleepers *who)
{
    pthread_cond_destroy(&who->changed);
    pthread_mutex_destroy(&who->mutex);
}

bool lc_look(lc_ready_function *ready, lc_pool *pool, uint64_t seen, int64_t ns)
{
    const int64_t until = now_ns() + ns;
    do {
        for (int i = 0; i < 32; i++) {
            if (ready(pool, seen))
                return true;
            pause_a_moment();
        }
    } while (now_ns() < until);
    return false;
}

/* The sleeper counts itself before it looks for the last time, the waker changes before it counts sleepers (all
 * sequentially consistent): one sees the other. */
void lc_wait(lc_sleepers *who, lc_ready_function *ready, lc_pool *pool, uint64_t seen)
{
    if (lc_look(ready, pool, seen, LC_LOOK_NS))
        return;
    pthread_mutex_lock(&who->mutex);
    atomic_fetch_add(&who->n, 1);
    while (!ready(pool, seen))
        pthread_cond_wait(&who->changed, &who->mutex);
    atomic_fetch_sub(&who->n, 1);
    pthread_mutex_unlock(&who->mutex);
}

void lc_wake(lc_sleepers *who)
{
    if (!atomic_load(&who->n))
        return;
    pthread_mutex_lock(&who->mutex);
    pthread_cond_broadcast(&who->changed);
    pthread_mutex_unlock(&who->mutex);
}
