/* ahead.c - how far ahead memory is asked for, and what of it stays in the last-level cache. */
#include "ahead.h"

#include <stdatomic.h>

#if defined(__x86_64__)
#include "x86/cpu.h"
#endif

/* The first-level cache decides, since weights wait there, beside the activations: so it was on the two kinds of
 * processor that were measured.  48 KB (Zen 5), shares of the bandwidth that answers of a 1.1B model get with 6, 8, 10 and
 * 12 KB: Q4_0 at 54 GB/s 96, 95, 93 and 92 %, but Q5_K at 80 GB/s 86, 91, 92 and 92 %; with 6 and 8 KB Q8_0 at 54 GB/s
 * 99 and 98 %, while F16 at 80 GB/s does not care.  32 KB (Zen 4): 30-31 GB/s with 4 KB, 27-28 with 12 KB, 21 with
 * 32 KB. */
size_t lc_ahead_distance(const lc_type_info *info)
{
#if defined(__x86_64__)
    if (lc_cpu_l1_bytes() < (size_t)48 << 10)
        return 4096;
    return info->bytes >= info->elements ? 6144 : 8192;
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
