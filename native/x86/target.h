/* target.h - lets the functions between BEGIN and END use instructions that the rest of the core may not.
 *
 * All files share the compiler's flags, so that one library holds every set; <immintrin.h> comes after BEGIN.
 */
#ifndef LC_X86_TARGET_H
#define LC_X86_TARGET_H

#define LC_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define LC_TARGET_BEGIN(features) \
    LC_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define LC_TARGET_END LC_PRAGMA(clang attribute pop)
#else
#define LC_TARGET_BEGIN(features) LC_PRAGMA(GCC push_options) LC_PRAGMA(GCC target(features))
#define LC_TARGET_END LC_PRAGMA(GCC pop_options)
#endif

#define LC_TARGET_BEGIN_AVX2 LC_TARGET_BEGIN("avx2,fma,f16c")
#define LC_TARGET_BEGIN_AVX512 LC_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#define LC_TARGET_BEGIN_AVX512_BF16 LC_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

#endif
