/* isa.c - which instruction sets there are, which this processor runs, and which is in use. */
#include <stdatomic.h>

#include "kernels.h"
#if defined(__x86_64__)
#include "x86/cpu.h"
#elif defined(__aarch64__)
#include "arm/cpu.h"
#include "arm/target.h"
#endif

static bool always(void) { return true; }

typedef struct isa {
    const lc_kernels *kernels;
    bool (*supported)(void);
} isa;

static const isa SETS[] = {
    {&lc_kernels_generic, always},
#if defined(__x86_64__)
    {&lc_kernels_avx2, lc_cpu_has_avx2},
    {&lc_kernels_avx512, lc_cpu_has_avx512},
#elif defined(LC_HAS_NEON)
    {&lc_kernels_neon, lc_cpu_has_dotprod},
#endif
};

#define N_SETS ((int32_t)(sizeof SETS / sizeof *SETS))

static _Atomic(const lc_kernels *) selected;

static const isa *find(const char *name)
{
    for (int32_t i = 0; i < N_SETS; i++)
        if (!strcmp(SETS[i].kernels->name, name))
            return &SETS[i];
    return NULL;
}

static const lc_kernels *best(void)
{
    int32_t i = N_SETS - 1;
    while (!SETS[i].supported())
        i--;
    return SETS[i].kernels;
}

const lc_kernels *lc_kernels_selected(void)
{
    const lc_kernels *kernels = atomic_load(&selected);
    if (!kernels)
        atomic_store(&selected, kernels = best());
    return kernels;
}

const char *lc_isa_name(int32_t index) { return index < 0 || index >= N_SETS ? NULL : SETS[index].kernels->name; }

int32_t lc_isa_supported(const char *name)
{
    const isa *set = name ? find(name) : NULL;
    return set && set->supported();
}

lc_status lc_isa_select(const char *name)
{
    if (!name || !*name) {
        atomic_store(&selected, best());
        return LC_OK;
    }
    const isa *set = find(name);
    if (!set || !set->supported())
        return LC_ERR_ARGUMENT;
    atomic_store(&selected, set->kernels);
    return LC_OK;
}

const char *lc_isa_selected(void) { return lc_kernels_selected()->name; }
