/* avx512_bf16.h - products of F16 and BF16 weights by vdpbf16ps, for lc_cpu_has_avx512_bf16. */
#ifndef LC_X86_AVX512_BF16_H
#define LC_X86_AVX512_BF16_H

#include "../kernels.h"

/* F16 weights are rounded to bf16. */
extern const lc_gemm lc_gemm_bf16, lc_gemm_bf16_of_f16;
/* Halves, LC_TILE tokens. */
void lc_pack_bf16(const float *const x[LC_TILE], int64_t cols, int32_t width, void *tile);

#endif
