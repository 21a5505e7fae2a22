/* ahead.h - asking for memory before it is read or written.
 *
 * One token's weights come from memory, and the processor's own prefetching starts anew at every page: asking for them
 * some KB before they are read makes a thread a fifth to two thirds faster.
 *
 * Weights that are more than the last-level cache holds push out of it all that comes round with every token: keys
 * and values, activations, and weights themselves, so that none is there when it is wanted again.  So those are asked
 * for as memory that is read once, which passes by that cache, and what of a model it can keep is chosen when the model
 * is finished (model.c).  That is 2 to 5 % of an answer's time on Zen 5, the one processor on which it was measured.
 *
 * Addresses may be past the end: at worst a line is fetched that nobody wanted.
 */
#ifndef LC_AHEAD_H
#define LC_AHEAD_H

#include "panels.h"

/* Whether what is read shall stay in the caches.  A constant of each kernel: a choice made in its loop makes compilers
 * write the loop's loads twice, and processors, which prefetch by the address of the load instruction, then read up to
 * a tenth slower. */
typedef enum lc_reading { LC_AGAIN, LC_ONCE } lc_reading;

/* Bytes that kernels ask ahead for weights of a type. */
size_t lc_ahead_distance(const lc_type_info *info);
/* How many of so many bytes of weights shall stay in the last-level cache from one token of an answer to the next: all,
 * if they leave room for what comes with them, else as many as half of it. */
size_t lc_ahead_room(size_t bytes);

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

/* For each cache line that n bytes from `at` on lie in. */
#define LC_LINES(line, at, n)                                                                              \
    for (uintptr_t line = (uintptr_t)(at) & ~(uintptr_t)(LC_CACHE_LINE - 1); line < (uintptr_t)(at) + (n); \
         line += LC_CACHE_LINE)

LC_INLINE void lc_ahead_read(const void *at, size_t n)
{
    LC_LINES(line, at, n)
        __builtin_prefetch((const void *)line);
}

/* What is not read at once, or more than the first-level cache has room for. */
LC_INLINE void lc_ahead_later(const void *at, size_t n)
{
    LC_LINES(line, at, n)
        __builtin_prefetch((const void *)line, 0, 2);
}

/* Memory that this thread will write, and that may be in other threads' caches: taking a line from them lasts some
 * hundred nanoseconds, in which every store behind it waits, and so does the next atomic operation. */
LC_INLINE void lc_ahead_written(const void *at, size_t n)
{
    LC_LINES(line, at, n)
#if defined(__x86_64__) /* compilers make a prefetch for reading of it; processors that lack this one do nothing */
        __asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
        __builtin_prefetch((const void *)line, 1);
#endif
}

#endif
