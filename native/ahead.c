/* ahead.c - how far ahead memory is asked for, and what of it stays in the last-level cache. */
#include "ahead.h"

#include <stdatomic.h>

#if defined(__x86_64__)
#include "x86/cpu.h"
#endif

/* Far enough that memory answers in time, near enough that what was asked for is still in the first-level cache, and
 * not more than a thread can wait for at once: so it was on the two kinds of processor that were measured.
 *
 * 48 KB (Zen 5), shares of the bandwidth that products read with 4, 6 and 8 KB, in rows of 4,096: Q4_0 at 53 GB/s 99,
 * 98 and 96 %, at 80 GB/s 91, 96 and 94 %; Q4_1 100, 97, 96 and 87, 93, 94 %; Q5_0 at 80 GB/s 89, 95 and 96 %; Q8_0 92
 * % with all.  A super-block's parts are not read from its beginning to its end: Q4_K at 53 GB/s 97, 96 and 94 %, at 80
 * GB/s 88, 94 and 97 %.  32 KB (Zen 4): 30-31 GB/s with 4 KB, 27-28 with 12 KB, 21 with 32 KB.  Other processors than
 * these have a distance that was not measured on them. */
size_t lc_ahead_distance(const lc_type_info *info)
{
#if defined(__x86_64__)
    if (lc_cpu_l1_bytes() < (size_t)48 << 10)
        return 4096;
    return lc_type_is_super(info) ? 8192 : 6144;
#else
    (void)info;
    return 12288;
#endif
}

static _Atomic size_t chosen_bytes;

void lc_last_cache_select(size_t bytes) { atomic_store(&chosen_bytes, bytes); }

/* Where it is not known, everything is taken to stay in it: nothing was measured there. */
static size_t last_cache_bytes(void)
{
    const size_t chosen = atomic_load(&chosen_bytes);
#if defined(__x86_64__)
    const size_t known = lc_cpu_last_cache_bytes();
#else
    const size_t known = 0;
#endif
    return chosen ? chosen : known ? known : SIZE_MAX;
}

size_t lc_ahead_room(size_t bytes)
{
    const size_t cache = last_cache_bytes();
    return bytes <= cache / 4 * 3 ? bytes : cache / 2;
}
