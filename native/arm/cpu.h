/* cpu.h - what this processor can do. */
#ifndef LC_ARM_CPU_H
#define LC_ARM_CPU_H

#include "../base.h"

/* Dot products of bytes (the feature "dotprod"); NEON itself every 64-bit ARM has. */
bool lc_cpu_has_dotprod(void);

#endif
