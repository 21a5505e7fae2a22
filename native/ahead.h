/* ahead.h - asking for memory before it is read.
 *
 * One token's weights come from memory, and the processor's own prefetching starts anew at every page: asking for them
 * some KB before they are read makes a thread a fifth to two thirds faster.
 *
 * Weights that are more than the last-level cache holds push out of it all that comes round with every token: the cache
 * of keys and values, activations, and weights themselves, so that none is there when it is wanted again.  So those are
 * asked for as memory that is read once, which passes by that cache, and what of a model it can keep is chosen when the
 * model is finished (model.c).  On Zen 5 an answer is 3 to 8 % faster for it.
 *
 * Addresses may be past the end: then nothing happens.
 */
#ifndef LC_AHEAD_H
#define LC_AHEAD_H

#include "panels.h"

/* Whether what is read shall stay in the caches.  A constant of each kernel: a choice made in its loop has compilers
 * write two loops' worth of loads, and processors, which prefetch by the address of a load, then read 10 % slower. */
typedef enum lc_reading { LC_AGAIN, LC_ONCE } lc_reading;

/* What this machine is like: bytes that kernels ask ahead for weights of a type, and bytes of its last-level cache, or
 * what was chosen for it (0: not known). */
size_t lc_ahead_distance(const lc_type_info *info);
size_t lc_cache_bytes(void);

/* Weights that a kernel reads n bytes a step. */
LC_INLINE void lc_ahead_of(const lc_reading reading, const lc_panel_layout *layout, const uint8_t *at, size_t n)
{
    const uintptr_t ahead = (uintptr_t)at + layout->ahead;
    for (size_t i = 0; i < n; i += LC_CACHE_LINE)
        if (reading == LC_ONCE)
            __builtin_prefetch((const void *)(ahead + i), 0, 0);
        else
            __builtin_prefetch((const void *)(ahead + i));
}

LC_INLINE void lc_ahead_read(const void *at, size_t n)
{
    for (size_t i = 0; i < n; i += LC_CACHE_LINE)
        __builtin_prefetch((const void *)((uintptr_t)at + i));
}

/* Memory that this thread will write, and that others have read or written: taking a line from their caches lasts some
 * hundred nanoseconds, in which every store behind it waits, and so does the next atomic operation. */
LC_INLINE void lc_ahead_written(const void *at, size_t n)
{
    for (size_t i = 0; i < n; i += LC_CACHE_LINE) {
        const char *line = (const char *)((uintptr_t)at + i);
#if defined(__x86_64__) /* compilers make a prefetch for reading of it; processors that lack this one do nothing */
        __asm__ volatile("prefetchw %0" : : "m"(*line));
#else
        __builtin_prefetch(line, 1);
#endif
    }
}

#endif
