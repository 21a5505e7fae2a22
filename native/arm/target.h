/* target.h - lets the functions between BEGIN and END use instructions that the rest of the core may not. */
#ifndef LC_ARM_TARGET_H
#define LC_ARM_TARGET_H

#if defined(__clang__)
#define LC_TARGET_BEGIN_DOTPROD _Pragma("clang attribute push(__attribute__((target(\"dotprod\"))), apply_to = function)")
#define LC_TARGET_END _Pragma("clang attribute pop")
#else
#define LC_TARGET_BEGIN_DOTPROD _Pragma("GCC push_options") _Pragma("GCC target(\"arch=armv8.2-a+dotprod\")")
#define LC_TARGET_END _Pragma("GCC pop_options")
#endif

#endif
