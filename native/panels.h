/* panels.h - the layout that kernels read: rows of a matrix interleaved in panels.
 *
 * A panel holds as many rows as a vector register has 32-bit lanes (16 for AVX-512, 8 for AVX2, 4 for ARM and in
 * generic C), so that one register holds one step of all its rows, and a dot product needs no sum across lanes.  Rows
 * that are missing in the last panel are zero.
 *
 * Float types: [column][row].
 * Block types: one record for each block of 32 columns, so that a panel is one stream:
 *   d       f16 [row]               f32 in the types named so; Q4_2, Q4_3: [2 groups of 16 columns][row]
 *   m       like d                  Q4_1, Q5_1, Q4_3
 *   high    u8  [row][4]            Q5_0, Q5_1: bit k of byte b is the fifth bit of column 4k + b
 *   quants  u8  [step][row][4]      nibbles: 4 steps, byte b of step j holds columns 4j + b (low half) and
 *                                   4j + b + 16 (high half); bytes: 8 steps, columns 4j + b
 * Super-blocks: one record for each 256 columns, see superblocks.h:
 *   halves  u16 [half][row]
 *   words   u32 [word][row]
 * Four neighbouring columns stay together because the dot-product instructions (vpdpbusd, sdot) want them so.
 */
#ifndef LC_PANELS_H
#define LC_PANELS_H

#include "types.h"

#define LC_PANEL_ROWS_MAX 16

typedef struct lc_panel_layout {
    const lc_type_info *info;
    int32_t rows;             /* in a panel */
    int64_t cols;
    int64_t blocks;           /* in a row; columns, for float types */
    size_t m, high, q;        /* offsets in a record of 32 columns; d is at 0 */
    size_t record;            /* bytes of a block of all rows */
    size_t bytes;             /* of a panel, a multiple of 64 */
    size_t row_bytes;         /* of a row in the file's layout */
    size_t ahead;             /* how far before they read a byte kernels ask for it; the matrix sets it */
} lc_panel_layout;

/* LC_ERR_SHAPE: cols does not fill whole blocks; LC_ERR_ARGUMENT: sizes overflow. */
lc_status lc_panel_layout_make(const lc_type_info *info, int32_t rows, int64_t cols, lc_panel_layout *out);
/* Puts all rows of a panel, which follow one another in src, into their places; returns whether every weight or scale
 * is finite.  Several times as fast as row by row. */
bool lc_panel_put_all(const lc_panel_layout *layout, uint8_t *panel, const uint8_t *src);
/* Puts one row of file bytes into its place. */
void lc_panel_put(const lc_panel_layout *layout, uint8_t *panel, int32_t row, const uint8_t *src);
/* One row as floats: exactly what lc_type_expand makes of the file's bytes. */
void lc_panel_expand(const lc_panel_layout *layout, const uint8_t *panel, int32_t row, float *dst);

#endif
