#include "panels.h"

#include "superblocks.h"

#define LARGEST_BLOCK LC_SUPER_BYTES_MAX

/* Registers of 16 bytes, which every processor that matters has. */
typedef uint32_t words __attribute__((vector_size(16)));
typedef uint16_t halves __attribute__((vector_size(16)));
#ifdef __clang__
#define SHUFFLE(type, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(type, a, b, ...) __builtin_shuffle(a, b, (type){__VA_ARGS__})
#endif

lc_status lc_panel_layout_make(const lc_type_info *info, int32_t rows, int64_t cols, lc_panel_layout *out)
{
    const size_t n = (size_t)rows;
    lc_panel_layout layout = {.info = info, .rows = rows, .cols = cols};

    if (cols < 1 || rows < 1 || rows > LC_PANEL_ROWS_MAX)
        return LC_ERR_ARGUMENT;
    if (cols % info->elements)
        return LC_ERR_SHAPE;
    layout.blocks = cols / info->elements;
    if (lc_type_is_block(info) && !lc_type_is_super(info)) {
        layout.m = n * lc_type_scales(info);
        layout.high = layout.m + (info->m_offset ? n * lc_type_scales(info) : 0);
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

/* ---- super-blocks ---- */

static void put_super(const lc_panel_layout *layout, uint8_t *record, size_t row, const uint8_t *src)
{
    const lc_super_parts parts = lc_super_parts_of(layout->info->type);
    const size_t rows = (size_t)layout->rows;
    uint16_t row_halves[2];
    uint32_t row_words[LC_SUPER_WORDS_MAX];

    lc_super_split(layout->info, src, row_halves, row_words);
    for (size_t i = 0; i < (size_t)parts.halves; i++)
        memcpy(record + (i * rows + row) * 2, &row_halves[i], 2);
    record += rows * 2 * (size_t)parts.halves;
    for (size_t i = 0; i < (size_t)parts.words; i++)
        memcpy(record + (i * rows + row) * 4, &row_words[i], 4);
}

static void get_super(const lc_panel_layout *layout, const uint8_t *record, size_t row, uint8_t *dst)
{
    const lc_super_parts parts = lc_super_parts_of(layout->info->type);
    const size_t rows = (size_t)layout->rows;
    uint16_t row_halves[2];
    uint32_t row_words[LC_SUPER_WORDS_MAX];

    for (size_t i = 0; i < (size_t)parts.halves; i++)
        memcpy(&row_halves[i], record + (i * rows + row) * 2, 2);
    record += rows * 2 * (size_t)parts.halves;
    for (size_t i = 0; i < (size_t)parts.words; i++)
        memcpy(&row_words[i], record + (i * rows + row) * 4, 4);
    lc_super_join(layout->info, row_halves, row_words, dst);
}

/* ---- blocks ---- */

/* A row's d or m of every group, into a panel and out of it. */
static void put_scales(const lc_type_info *info, uint8_t *dst, size_t rows, size_t row, const uint8_t *src)
{
    const size_t size = (size_t)info->scale_bytes;
    for (size_t g = 0; g < (size_t)info->groups; g++)
        memcpy(dst + (g * rows + row) * size, src + g * size, size);
}

static void get_scales(const lc_type_info *info, const uint8_t *src, size_t rows, size_t row, uint8_t *dst)
{
    const size_t size = (size_t)info->scale_bytes;
    for (size_t g = 0; g < (size_t)info->groups; g++)
        memcpy(dst + g * size, src + (g * rows + row) * size, size);
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
        if (lc_type_is_super(info)) {
            put_super(layout, panel, r, src);
            continue;
        }
        put_scales(info, panel, rows, r, src);
        if (info->m_offset)
            put_scales(info, panel + layout->m, rows, r, src + info->m_offset);
        if (info->high_offset) {
            const uint32_t high = spread_high(lc_load32(src + info->high_offset));
            memcpy(panel + layout->high + r * 4, &high, 4);
        }
        for (size_t j = 0; j < (size_t)info->q_bytes / 4; j++)
            memcpy(panel + layout->q + (j * rows + r) * 4, src + info->q_offset + 4 * j, 4);
    }
}

/* ---- all rows of a panel at once ----
 *
 * A record is then written from end to end while it is in the nearest cache, from as many streams as there are rows,
 * and looked at for what is not finite in the same place.  `rows` is a constant wherever these are called. */

/* Four words (of 4 bytes) of four rows: out[word] has the rows'. */
LC_INLINE void turn_words(const words in[4], words out[4])
{
    const words ab_low = SHUFFLE(words, in[0], in[1], 0, 4, 1, 5), ab_high = SHUFFLE(words, in[0], in[1], 2, 6, 3, 7);
    const words cd_low = SHUFFLE(words, in[2], in[3], 0, 4, 1, 5), cd_high = SHUFFLE(words, in[2], in[3], 2, 6, 3, 7);
    out[0] = SHUFFLE(words, ab_low, cd_low, 0, 1, 4, 5);
    out[1] = SHUFFLE(words, ab_low, cd_low, 2, 3, 6, 7);
    out[2] = SHUFFLE(words, ab_high, cd_high, 0, 1, 4, 5);
    out[3] = SHUFFLE(words, ab_high, cd_high, 2, 3, 6, 7);
}

/* Eight halves (of 2 bytes) of four rows: out[i] has the rows' halves 2i and 2i + 1. */
LC_INLINE void turn_halves(const halves in[4], words out[4])
{
    const words ab_low = (words)SHUFFLE(halves, in[0], in[1], 0, 8, 1, 9, 2, 10, 3, 11);
    const words ab_high = (words)SHUFFLE(halves, in[0], in[1], 4, 12, 5, 13, 6, 14, 7, 15);
    const words cd_low = (words)SHUFFLE(halves, in[2], in[3], 0, 8, 1, 9, 2, 10, 3, 11);
    const words cd_high = (words)SHUFFLE(halves, in[2], in[3], 4, 12, 5, 13, 6, 14, 7, 15);
    out[0] = SHUFFLE(words, ab_low, cd_low, 0, 4, 1, 5);
    out[1] = SHUFFLE(words, ab_low, cd_low, 2, 6, 3, 7);
    out[2] = SHUFFLE(words, ab_high, cd_high, 0, 4, 1, 5);
    out[3] = SHUFFLE(words, ab_high, cd_high, 2, 6, 3, 7);
}

/* dst[word][row] = word of src[row], for words of 4 bytes; rows of src lie `stride` bytes apart. */
LC_INLINE void interleave_words(uint8_t *dst, const uint8_t *src, size_t stride, size_t rows, size_t n_words)
{
    size_t first = 0;
    for (; first + 4 <= n_words; first += 4)
        for (size_t r = 0; r < rows; r += 4) {
            words in[4], out[4];
            for (size_t i = 0; i < 4; i++)
                memcpy(&in[i], src + (r + i) * stride + first * 4, 16);
            turn_words(in, out);
            for (size_t i = 0; i < 4; i++)
                memcpy(dst + ((first + i) * rows + r) * 4, &out[i], 16);
        }
    for (; first < n_words; first++)
        for (size_t r = 0; r < rows; r++)
            memcpy(dst + (first * rows + r) * 4, src + r * stride + first * 4, 4);
}

/* The same for words of 2 bytes. */
LC_INLINE void interleave_halves(uint8_t *dst, const uint8_t *src, size_t stride, size_t rows, size_t n_halves)
{
    size_t first = 0;
    for (; first + 8 <= n_halves; first += 8)
        for (size_t r = 0; r < rows; r += 4) {
            halves in[4];
            words out[4];
            for (size_t i = 0; i < 4; i++)
                memcpy(&in[i], src + (r + i) * stride + first * 2, 16);
            turn_halves(in, out);
            for (size_t i = 0; i < 8; i++)
                memcpy(dst + ((first + i) * rows + r) * 2, (uint8_t *)&out[i / 2] + i % 2 * 8, 8);
        }
    for (; first < n_halves; first++)
        for (size_t r = 0; r < rows; r++)
            memcpy(dst + (first * rows + r) * 2, src + r * stride + first * 2, 2);
}

LC_INLINE void interleave_high(uint8_t *dst, const uint8_t *src, size_t stride, size_t rows)
{
    for (size_t r = 0; r < rows; r++) {
        const uint32_t high = spread_high(lc_load32(src + r * stride));
        memcpy(dst + r * 4, &high, 4);
    }
}

LC_INLINE void interleave_scales(const lc_type_info *info, uint8_t *dst, const uint8_t *src, size_t stride, size_t rows)
{
    if (info->scale_bytes == 4)
        interleave_words(dst, src, stride, rows, 1);
    else
        interleave_halves(dst, src, stride, rows, (size_t)info->groups);
}

LC_INLINE bool put_block_panel(const lc_panel_layout *layout, uint8_t *panel, const uint8_t *src, size_t rows)
{
    const lc_type_info *info = layout->info;
    const size_t stride = layout->row_bytes;
    const uint8_t *const m = src + info->m_offset, *const high = src + info->high_offset;
    const uint8_t *const q = src + info->q_offset;
    const size_t n_scales = rows * (size_t)(info->m_offset ? 2 * info->groups : info->groups);
    bool finite = true;

    for (size_t block = 0, at = 0; block < (size_t)layout->blocks; block++, at += (size_t)info->bytes) {
        interleave_scales(info, panel, src + at, stride, rows);
        if (info->m_offset)
            interleave_scales(info, panel + layout->m, m + at, stride, rows);
        finite &= lc_scales_finite(info, panel, n_scales);
        if (info->high_offset)
            interleave_high(panel + layout->high, high + at, stride, rows);
        if (info->q_bytes == 16)
            interleave_words(panel + layout->q, q + at, stride, rows, 4);
        else
            interleave_words(panel + layout->q, q + at, stride, rows, 8);
        panel += layout->record;
    }
    return finite;
}

LC_INLINE bool put_super_panel(const lc_panel_layout *layout, uint8_t *panel, const uint8_t *src, size_t rows)
{
    const lc_super_parts parts = lc_super_parts_of(layout->info->type);
    const size_t n_halves = (size_t)parts.halves, n_scales = layout->info->m_offset ? 2 : 1;
    uint16_t all_halves[LC_PANEL_ROWS_MAX][2];
    uint32_t all_words[LC_PANEL_ROWS_MAX][LC_SUPER_WORDS_MAX];
    bool finite = true;

    for (int64_t block = 0; block < layout->blocks; block++, src += layout->info->bytes, panel += layout->record) {
        for (size_t r = 0; r < rows; r++)
            lc_super_split(layout->info, src + r * layout->row_bytes, all_halves[r], all_words[r]);
        interleave_halves(panel, (const uint8_t *)all_halves, sizeof *all_halves, rows, n_halves);
        interleave_words(panel + rows * 2 * n_halves, (const uint8_t *)all_words, sizeof *all_words, rows,
                         (size_t)parts.words);
        finite &= lc_all_finite_16(panel, rows * n_scales, LC_F16_EXPONENT);
    }
    return finite;
}

/* A cache line of each row at a time: rows of a power of two bytes share the few lines of one set of the cache. */
LC_INLINE bool put_float_panel(const lc_panel_layout *layout, uint8_t *panel, const uint8_t *src, size_t rows,
                               size_t size)
{
    const size_t stride = layout->row_bytes, at_once = LC_CACHE_LINE / size;
    size_t left = (size_t)layout->cols;
    bool finite = true;

    for (; left >= at_once; left -= at_once, src += LC_CACHE_LINE, panel += LC_CACHE_LINE * rows) {
        if (size == 4)
            interleave_words(panel, src, stride, rows, LC_CACHE_LINE / 4);
        else
            interleave_halves(panel, src, stride, rows, LC_CACHE_LINE / 2);
        finite &= lc_type_all_finite(layout->info, panel, LC_CACHE_LINE * rows);
    }
    if (size == 4)
        interleave_words(panel, src, stride, rows, left);
    else
        interleave_halves(panel, src, stride, rows, left);
    return finite & lc_type_all_finite(layout->info, panel, left * size * rows);
}

LC_INLINE bool put_panel(const lc_panel_layout *layout, uint8_t *panel, const uint8_t *src, size_t rows)
{
    if (lc_type_is_super(layout->info))
        return put_super_panel(layout, panel, src, rows);
    if (lc_type_is_block(layout->info))
        return put_block_panel(layout, panel, src, rows);
    return layout->info->bytes == 4 ? put_float_panel(layout, panel, src, rows, 4)
                                    : put_float_panel(layout, panel, src, rows, 2);
}

bool lc_panel_put_all(const lc_panel_layout *layout, uint8_t *panel, const uint8_t *src)
{
    switch (layout->rows) {
    case 16: return put_panel(layout, panel, src, 16);
    case 8: return put_panel(layout, panel, src, 8);
    case 4: return put_panel(layout, panel, src, 4);
    default: return put_panel(layout, panel, src, (size_t)layout->rows);
    }
}

/* One row's part of a record, as it stood in the file. */
static void get_block(const lc_panel_layout *layout, const uint8_t *record, size_t row, uint8_t *dst)
{
    const lc_type_info *info = layout->info;
    const size_t rows = (size_t)layout->rows;

    if (lc_type_is_super(info)) {
        get_super(layout, record, row, dst);
        return;
    }
    get_scales(info, record, rows, row, dst);
    if (info->m_offset)
        get_scales(info, record + layout->m, rows, row, dst + info->m_offset);
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
            lc_type_expand(info, block, (size_t)info->elements, dst + b * info->elements);
        }
        return;
    }
    const size_t size = (size_t)info->bytes;
    for (int64_t i = 0; i < layout->cols; i++)
        lc_type_expand(info, panel + (size_t)i * layout->record + (size_t)row * size, 1, dst + i);
}
