#if defined(__aarch64__)
#include "cpu.h"

#if defined(__linux__)
#include <sys/auxv.h>

#define HWCAP_DOTPROD (1ul << 20) /* HWCAP_ASIMDDP, which old headers lack */

bool lc_cpu_has_dotprod(void) { return getauxval(AT_HWCAP) & HWCAP_DOTPROD; }
#elif defined(__APPLE__)
bool lc_cpu_has_dotprod(void) { return true; } /* all that run macOS */
#else
bool lc_cpu_has_dotprod(void) { return false; }
#endif

#else
typedef int lc_not_aarch64; /* a file may not be empty */
#endif
