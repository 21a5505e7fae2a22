#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, madvise */
#include "memory.h"

#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#if defined(__SANITIZE_ADDRESS__)
#define SLAB_SMALLEST ((size_t)0) /* every tensor apart, from the heap, so that reads past its end are seen */
#define SLAB_LARGEST ((size_t)0)
#else
#define SLAB_SMALLEST ((size_t)64 << 10) /* what is mapped at least */
#define SLAB_LARGEST ((size_t)256 << 20) /* each ends in a large page that is used in part */
#endif

struct lc_slab {
    lc_slab *next;
    uint8_t *bytes;
    size_t size, used;
};

#if defined(__SANITIZE_ADDRESS__)

void *lc_pages_alloc(size_t bytes, bool huge)
{
    void *memory = NULL;
    (void)huge;
    if (!bytes || posix_memalign(&memory, LC_CACHE_LINE, bytes))
        return NULL;
    return memset(memory, 0, bytes);
}

void lc_pages_free(void *pages, size_t bytes)
{
    (void)bytes;
    free(pages);
}

#else

static size_t rounded(size_t bytes)
{
    const size_t unit = bytes < HUGE_PAGE ? 65536 : HUGE_PAGE; /* 65536: a multiple of every page size in use */
    return bytes > SIZE_MAX - unit ? 0 : (bytes + unit - 1) / unit * unit;
}

/* Pages aligned to a huge page's size: the kernel makes large ones only of whole aligned stretches.  Maps too much
 * and gives back the ends. */
static void *map_aligned(size_t bytes)
{
    size_t room;
    if (__builtin_add_overflow(bytes, HUGE_PAGE, &room))
        return NULL;
    uint8_t *start = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    const size_t before = (HUGE_PAGE - (uintptr_t)start % HUGE_PAGE) % HUGE_PAGE;
    const size_t after = HUGE_PAGE - before;
    if (before)
        munmap(start, before);
    if (after)
        munmap(start + before + bytes, after);
    return start + before;
}

void *lc_pages_alloc(size_t bytes, bool huge)
{
    const size_t size = rounded(bytes);
    if (!bytes || !size)
        return NULL;
    void *pages = map_aligned(size);
#ifdef MADV_HUGEPAGE
    /* Wishes: without them all works, slower, or with more of a cache resident than is used. */
    if (pages && size >= HUGE_PAGE)
        madvise(pages, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#endif
    return pages;
}

void lc_pages_free(void *pages, size_t bytes)
{
    if (pages)
        munmap(pages, rounded(bytes));
}

#endif

static lc_slab *add_slab(lc_arena *arena, size_t at_least)
{
    /* Slabs double, so that a tiny model stays tiny. */
    size_t size = arena->slabs ? arena->slabs->size * 2 : SLAB_SMALLEST;
    size = size > SLAB_LARGEST ? SLAB_LARGEST : size;
    size = size < at_least ? at_least : size;

    lc_slab *slab = calloc(1, sizeof *slab);
    if (!slab)
        return NULL;
    slab->bytes = lc_pages_alloc(size, true);
    if (!slab->bytes) {
        free(slab);
        return NULL;
    }
    slab->size = size;
    slab->next = arena->slabs;
    arena->slabs = slab;
    return slab;
}

void *lc_arena_alloc(lc_arena *arena, size_t bytes)
{
    if (!bytes || bytes > SIZE_MAX - LC_CACHE_LINE)
        return NULL;
    bytes = (bytes + LC_CACHE_LINE - 1) / LC_CACHE_LINE * LC_CACHE_LINE;
    /* Ends that are left over are used: a page of 2 MB is resident as soon as one byte of it is. */
    lc_slab *slab = arena->slabs;
    while (slab && slab->size - slab->used < bytes)
        slab = slab->next;
    if (!slab)
        slab = add_slab(arena, bytes);
    if (!slab)
        return NULL;
    void *memory = slab->bytes + slab->used;
    slab->used += bytes;
    arena->used += bytes;
    return memory;
}

void lc_arena_free(lc_arena *arena)
{
    for (lc_slab *slab = arena->slabs, *next; slab; slab = next) {
        next = slab->next;
        lc_pages_free(slab->bytes, slab->size);
        free(slab);
    }
    *arena = (lc_arena){0};
}
