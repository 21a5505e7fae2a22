#if defined(__x86_64__)
#include "cpu.h"

#include <cpuid.h>
#include <pthread.h>

/* Bits of XCR0: register states that the operating system saves. */
#define XCR0_YMM 0x06u
#define XCR0_ZMM 0xe6u

/* Intel describes caches in leaf 4, AMD in a leaf of its own, in the same form. */
#define CACHES_INTEL 4u
#define CACHES_AMD 0x8000001du
#define CACHE_TYPE 31u    /* of eax: 0 ends the list, 1 holds data, 2 instructions, 3 both */
#define CACHES_MOST 16u

typedef struct features {
    uint32_t ecx1, ebx7, ecx7, eax71, xcr0;
    size_t l1_bytes, last_bytes;
} features;

/* Caches for data, from the first level to the last; false if this leaf tells of none. */
static bool find_caches(uint32_t leaf, features *f)
{
    uint32_t a, b, c, d;
    for (uint32_t i = 0; i < CACHES_MOST && __get_cpuid_count(leaf, i, &a, &b, &c, &d) && (a & CACHE_TYPE); i++)
        if ((a & CACHE_TYPE) != 2) { /* ways, partitions, bytes of a line, sets: each less one */
            const size_t bytes = ((size_t)(b >> 22) + 1) * ((b >> 12 & 1023) + 1) * ((b & 4095) + 1) * ((size_t)c + 1);
            const uint32_t level = a >> 5 & 7;
            if (level == 1)
                f->l1_bytes = bytes;
            else if (level >= 3)
                f->last_bytes = bytes;
        }
    return f->l1_bytes > 0;
}

static features found;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return;
    found.ecx1 = c;
    if (c & bit_OSXSAVE) {
        uint32_t high;
        __asm__ volatile("xgetbv" : "=a"(found.xcr0), "=d"(high) : "c"(0));
    }
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        found.ebx7 = b;
        found.ecx7 = c;
    }
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d))
        found.eax71 = a;
    if (!find_caches(CACHES_INTEL, &found))
        find_caches(CACHES_AMD, &found);
}

/* Asked once: in a virtual machine every cpuid goes to its host, and takes longer than to place a small matrix. */
static const features *processor(void)
{
    pthread_once(&once, find);
    return &found;
}

LC_INLINE bool all_set(uint32_t value, uint32_t bits) { return (value & bits) == bits; }

bool lc_cpu_has_avx2(void)
{
    const features *f = processor();
    return all_set(f->ecx1, bit_AVX | bit_FMA | bit_F16C) && all_set(f->ebx7, bit_AVX2) && all_set(f->xcr0, XCR0_YMM);
}

bool lc_cpu_has_avx512(void)
{
    const features *f = processor();
    return lc_cpu_has_avx2() && all_set(f->ebx7, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL) &&
           all_set(f->ecx7, bit_AVX512VNNI) && all_set(f->xcr0, XCR0_ZMM);
}

bool lc_cpu_has_avx512_bf16(void) { return lc_cpu_has_avx512() && processor()->eax71 & bit_AVX512BF16; }

size_t lc_cpu_l1_bytes(void) { return processor()->l1_bytes; }

size_t lc_cpu_last_cache_bytes(void) { return processor()->last_bytes; }

#else
typedef int lc_not_x86; /* a file may not be empty */
#endif
