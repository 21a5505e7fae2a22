/* memory.h - large, aligned, zeroed memory that becomes resident only where it is touched. */
#ifndef LC_MEMORY_H
#define LC_MEMORY_H

#include "base.h"

/* Zeroed bytes aligned to a page, straight from the kernel; NULL if there are none.  huge asks for 2 MB pages:
 * for memory that will be filled from end to end (a third faster to stream), not for a cache that fills slowly. */
void *lc_pages_alloc(size_t bytes, bool huge);
void lc_pages_free(void *pages, size_t bytes);

/* Weights live in an arena: many tensors share slabs, so that small ones get large pages too. */
typedef struct lc_slab lc_slab;

typedef struct lc_arena {
    lc_slab *slabs;   /* the newest first: allocations come from the first that has room */
    size_t used;      /* bytes handed out */
} lc_arena;

/* Zeroed bytes at a 64-byte boundary, or NULL. */
void *lc_arena_alloc(lc_arena *arena, size_t bytes);
void lc_arena_free(lc_arena *arena);

#endif
