#include "panels.h"

#define LARGEST_BLOCK 34 /* bytes, Q8_0 */

lc_status lc_panel_layout_make(const lc_type_info *info, int32_t rows, int64_t cols, lc_panel_layout *out)
{
    const size_t n = (size_t)rows;
    lc_panel_layout layout = {.info = info, .rows = rows, .cols = cols};

    if (cols < 1 || rows < 1 || rows > LC_PANEL_ROWS_MAX)
        return LC_ERR_ARGUMENT;
    if (cols % info->elements)
        return LC_ERR_SHAPE;
    layout.blocks = cols / info->elements;
    if (lc_type_is_block(info)) {
        layout.m = n * 2;
        layout.high = layout.m + (info->m_offset ? n * 2 : 0);
        layout.q = layout.high + (info->high_offset ? n * 4 : 0);
    }
    layout.record = n * (size_t)info->bytes;
    if (!lc_mul((size_t)layout.blocks, layout.record, &layout.bytes) || layout.bytes > SIZE_MAX / 2)
        return LC_ERR_ARGUMENT;
    layout.bytes = (layout.bytes + LC_CACHE_LINE - 1) / LC_CACHE_LINE * LC_CACHE_LINE;
    layout.row_bytes = (size_t)layout.blocks * (size_t)info->bytes;
    *out = layout;
    return LC_OK;
}

static void put_floats(const lc_panel_layout *layout, uint8_t *panel, int32_t row, const uint8_t *src)
{
    const size_t size = (size_t)layout->info->bytes;
    uint8_t *dst = panel + (size_t)row * size;
    for (int64_t i = 0; i < layout->cols; i++, dst += layout->record, src += size) {
        if (size == 4)
            memcpy(dst, src, 4);
        else
            memcpy(dst, src, 2);
    }
}

/* The fifth bits of 32 weights, from "bit i is weight i" to "bit k of byte b is weight 4k + b", and back. */
static uint32_t spread_high(uint32_t bits)
{
    uint32_t out = 0;
    for (int k = 0; k < LC_BLOCK / 4; k++) /* the product puts bit b of four at bit 8b; no two meet */
        out |= ((bits >> 4 * k & 15) * 0x00204081u & 0x01010101u) << k;
    return out;
}

static uint32_t gather_high(uint32_t spread)
{
    uint32_t out = 0;
    for (int i = 0; i < LC_BLOCK; i++)
        out |= (spread >> ((i & 3) * 8 + i / 4) & 1) << i;
    return out;
}

void lc_panel_put(const lc_panel_layout *layout, uint8_t *panel, int32_t row, const uint8_t *src)
{
    const lc_type_info *info = layout->info;
    if (!lc_type_is_block(info)) {
        put_floats(layout, panel, row, src);
        return;
    }
    const size_t rows = (size_t)layout->rows, r = (size_t)row;
    for (int64_t block = 0; block < layout->blocks; block++, src += info->bytes, panel += layout->record) {
        memcpy(panel + r * 2, src, 2);
        if (info->m_offset)
            memcpy(panel + layout->m + r * 2, src + info->m_offset, 2);
        if (info->high_offset) {
            const uint32_t high = spread_high(lc_load32(src + info->high_offset));
            memcpy(panel + layout->high + r * 4, &high, 4);
        }
        for (size_t j = 0; j < (size_t)info->q_bytes / 4; j++)
            memcpy(panel + layout->q + (j * rows + r) * 4, src + info->q_offset + 4 * j, 4);
    }
}

/* One row's part of a record, as it stood in the file. */
static void get_block(const lc_panel_layout *layout, const uint8_t *record, size_t row, uint8_t *dst)
{
    const lc_type_info *info = layout->info;
    const size_t rows = (size_t)layout->rows;

    memcpy(dst, record + row * 2, 2);
    if (info->m_offset)
        memcpy(dst + info->m_offset, record + layout->m + row * 2, 2);
    if (info->high_offset) {
        uint32_t high;
        memcpy(&high, record + layout->high + row * 4, 4);
        high = gather_high(high);
        memcpy(dst + info->high_offset, &high, 4);
    }
    for (size_t j = 0; j < (size_t)info->q_bytes / 4; j++)
        memcpy(dst + info->q_offset + 4 * j, record + layout->q + (j * rows + row) * 4, 4);
}

void lc_panel_expand(const lc_panel_layout *layout, const uint8_t *panel, int32_t row, float *dst)
{
    const lc_type_info *info = layout->info;
    if (lc_type_is_block(info)) {
        uint8_t block[LARGEST_BLOCK];
        for (int64_t b = 0; b < layout->blocks; b++, panel += layout->record) {
            get_block(layout, panel, (size_t)row, block);
            lc_type_expand(info, block, LC_BLOCK, dst + b * LC_BLOCK);
        }
        return;
    }
    const size_t size = (size_t)info->bytes;
    for (int64_t i = 0; i < layout->cols; i++)
        lc_type_expand(info, panel + (size_t)i * layout->record + (size_t)row * size, 1, dst + i);
}
