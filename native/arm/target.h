/* target.h - lets the functions between BEGIN and END use instructions that the rest of the core may not.
 *
 * LC_HAS_NEON is set where the compiler can: clang before 16 declares the functions of an instruction only if all of
 * the program may use it.
 */
#ifndef LC_ARM_TARGET_H
#define LC_ARM_TARGET_H

#if defined(__aarch64__) && (!defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_DOTPROD))
#define LC_HAS_NEON
#endif

#if defined(__clang__)
#define LC_TARGET_BEGIN_DOTPROD _Pragma("clang attribute push(__attribute__((target(\"dotprod\"))), apply_to = function)")
#define LC_TARGET_END _Pragma("clang attribute pop")
#else
#define LC_TARGET_BEGIN_DOTPROD _Pragma("GCC push_options") _Pragma("GCC target(\"arch=armv8.2-a+dotprod\")")
#define LC_TARGET_END _Pragma("GCC pop_options")
#endif

#endif
