#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>

#include "cores.h"

_Static_assert(sizeof(((lc_cores *)0)->allowed) == sizeof(cpu_set_t), "a set of cores has another size");

static void restrict_to(const cpu_set_t *set) { (void)!sched_setaffinity(0, sizeof *set, set); /* this thread's */ }

lc_cores lc_cores_find(int32_t n_threads)
{
    lc_cores cores = {.spread = false};
    cpu_set_t set;
    if (n_threads > 1 && !sched_getaffinity(0, sizeof set, &set)) {
        memcpy(cores.allowed, &set, sizeof set);
        cores.spread = CPU_COUNT(&set) == n_threads;
    }
    return cores;
}

void lc_cores_keep(const lc_cores *cores, int32_t rank)
{
    if (!cores->spread)
        return;
    cpu_set_t all, one;
    memcpy(&all, cores->allowed, sizeof all);
    CPU_ZERO(&one);
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &all) && rank-- == 0)
            CPU_SET(core, &one);
    restrict_to(&one);
}

void lc_cores_leave(const lc_cores *cores)
{
    if (!cores->spread)
        return;
    cpu_set_t all;
    memcpy(&all, cores->allowed, sizeof all);
    restrict_to(&all);
}
#else
#include "cores.h"

lc_cores lc_cores_find(int32_t n_threads)
{
    (void)n_threads;
    return (lc_cores){.spread = false};
}

void lc_cores_keep(const lc_cores *cores, int32_t rank) { (void)cores, (void)rank; }
void lc_cores_leave(const lc_cores *cores) { (void)cores; }
#endif
