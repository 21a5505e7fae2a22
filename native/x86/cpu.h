/* cpu.h - what an x86-64 processor, and its operating system, can run. */
#ifndef LC_X86_CPU_H
#define LC_X86_CPU_H

#include "../base.h"

/* AVX2, FMA and F16C. */
bool lc_cpu_has_avx2(void);
/* The above, and AVX-512 F, BW, DQ, VL and VNNI. */
bool lc_cpu_has_avx512(void);
/* The above, and dot products of bf16. */
bool lc_cpu_has_avx512_bf16(void);
/* Bytes of a core's first-level cache for data; 0 if the processor does not say. */
size_t lc_cpu_l1_bytes(void);
/* Bytes of the cache behind those of single cores, or of one of them where groups of cores have one each; 0 if there is
 * none, or the processor does not say. */
size_t lc_cpu_last_cache_bytes(void);

#endif
