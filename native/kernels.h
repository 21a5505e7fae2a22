/* kernels.h - the functions that have a version per instruction set, as one table per set.
 *
 * The versions differ in the width of a register, and in how activations of quantised matrices are stored; all else
 * of the core is written once, over this table.  A matrix, a model and a context keep the table that they were made
 * with.
 */
#ifndef LC_KERNELS_H
#define LC_KERNELS_H

#include "ahead.h"
#include "blocks.h"

#define LC_TILE 4       /* tokens packed side by side; one token alone is a tile of its own width, 1 */

/* What activations look like to a kernel; width is the tokens in a tile, 1 or LC_TILE.
 *   floats:    f32 [column][token]
 *   integers:  for each block of 32 columns a record: x is about d * q, q an integer of 15 bits (see below);
 *                q           64 bytes a token, in an order of the set's own
 *                d           f32 [token]
 *                start       i32 [2][token]: -128 * sum(q), of the block's 32 columns and of the first 16; AVX-512's
 *                scaled_sum  f32 [2][token]: d * sum(q), likewise
 *   bytes:     the same with q of 8 bits, 32 bytes a token: i8 [step][token][4]
 *   halves:    bf16 [pair of columns][token][2]
 */
typedef enum lc_form { LC_FORM_FLOATS, LC_FORM_INTEGERS, LC_FORM_BYTES, LC_FORM_HALVES, LC_N_FORMS } lc_form;

/* |q| <= 127 * 128: a high int8 plane of at most 127, and a low one of -64..63, make it whole.  One plane (8 bits)
 * would put log-probabilities of a 135M model off by up to 0.18; two add 0.003 to what the f16 cache does. */
#define LC_Q_MAX 16256
#define LC_BYTE_MAX 127
/* A block whose largest magnitude is below this is zero; the inverse of its scale would not be finite. */
#define LC_Q_TINY 1e-30f
/* What start takes for the q of a weight that is zero: no type's is more. */
#define LC_START_ZERO 128

/* Offsets in a record of integers, and its size. */
typedef struct lc_record {
    size_t d, start, scaled_sum, bytes;
} lc_record;

LC_INLINE lc_record lc_record_of(lc_form form, int32_t width)
{
    const size_t n = (size_t)width, q = n * (form == LC_FORM_BYTES ? LC_BLOCK : 2 * LC_BLOCK);
    return (lc_record){q, q + n * 4, q + n * 12, q + n * 20};
}

/* Bytes of so many columns of a tile: whole blocks of integers and bytes; the last half may be without its pair. */
LC_INLINE size_t lc_form_bytes(lc_form form, int32_t width, int64_t cols)
{
    const size_t n = (size_t)cols;
    switch (form) {
    case LC_FORM_FLOATS: return n * (size_t)width * sizeof(float);
    case LC_FORM_HALVES: return (n + 1) / 2 * (size_t)width * sizeof(float);
    default: return n / LC_BLOCK * lc_record_of(form, width).bytes;
    }
}

/* One token: out[rows of a panel] = the panel times x, straight from memory. */
typedef void lc_dot_kernel(const lc_panel_layout *layout, const uint8_t *panel, const void *x, float *out);
/* Packs a tile of `width` tokens of cols values; a row that is NULL is zeros. */
typedef void lc_pack_kernel(const float *const x[LC_TILE], int64_t cols, int32_t width, void *tile);

/* ---- several tokens: a slice of the columns of a pair of panels is unpacked, and meets all tiles ---- */

#define LC_PAIR 2                 /* panels */
#define LC_SLICE_BYTES (32 << 10) /* unpacked, a slice stays in the first-level cache beside a tile */

/* Unpacks the columns column..column + n - 1 (whole records) of a pair of panels, in the set's own form. */
typedef void lc_unpack_kernel(const lc_panel_layout *layout, const uint8_t *const panels[LC_PAIR], int64_t column,
                              int64_t n, void *weights);
/* sums[tile][pair][token][row] += unpacked weights of n columns times the tiles, tile_bytes from one to the next. */
typedef void lc_gemm_kernel(const void *weights, int64_t n, const uint8_t *tiles, size_t tile_bytes, int32_t n_tiles,
                            float *sums);

typedef struct lc_gemm {
    lc_form form;      /* of the activations */
    int64_t columns;   /* of a slice: whole records, at most LC_SLICE_BYTES */
    lc_unpack_kernel *unpack;
    lc_gemm_kernel *multiply;
} lc_gemm;

/* How well a product of several tokens is computed: from the weights as they are and activations of 15 bits or floats,
 * or with activations of 8 bits (quantised weights) or bf16 (F16 and BF16 weights). */
typedef enum lc_precision { LC_EXACT, LC_FAST, LC_N_PRECISIONS } lc_precision;

/* ---- attention ---- */

#define LC_KEY_BLOCK 16 /* keys stored side by side */
#define LC_KEY_DIMS 4   /* dimensions of keys that one step meets */
#define LC_KEY_TILE 64  /* keys that one step of attention reads; a cache has room for whole tiles */

/* The cache of one KV head is a row of blocks of 16 keys, and likewise of values.
 *   f16:   keys [head_dim rounded up to LC_KEY_DIMS, with zeros][16 keys], values [16 keys][stride], stride being
 *          head_dim rounded up to LC_PAD
 *   Q8_0:  for every 32 dimensions (the last ones padded with zeros) a record: f16 scales [16 keys], then int8 of
 *          keys [32 dimensions][16 keys], of values [16 keys][32 dimensions]; stride is head_dim rounded up to 32 */
#define LC_KV_RECORD (LC_KEY_BLOCK * (2 + LC_BLOCK))

/* Attention of some queries, all of one KV head, over the keys first..last-1: online softmax, tile by tile. */
typedef struct lc_attention {
    int32_t head_dim;
    int32_t stride;         /* floats in a row of q and acc */
    int32_t n_rows;         /* queries */
    int32_t first, last;    /* keys; first is a multiple of LC_KEY_TILE */
    bool q8;                /* the cache's type: Q8_0, or f16 */
    size_t k_bytes, v_bytes; /* of a block of 16 keys */
    const uint8_t *k, *v;   /* the cache */
    /* One key more, which all queries see and the cache does not have, and its value; NULL: none.  Both are laid out as
     * the first value of a block. */
    const uint8_t *own_k, *own_v;
    const uint8_t *next_k;  /* a few queries: the keys that are attended after these */
    int32_t n_next;         /* so many; 0: not known */
    int32_t ahead;          /* a few queries: blocks that are asked for before they are read */
    const float *q;         /* [n_rows][stride], times log2(e) / sqrt(head_dim); zeros from head_dim on */
    const int32_t *visible; /* [n_rows], ascending: a query sees the keys below this */
    float *acc;             /* [n_rows][stride]: sum of 2^(score - top) * v */
    float *top;             /* [n_rows]: the highest score */
    float *sum;             /* [n_rows]: sum of 2^(score - top) */
    float *scratch;         /* lc_attention_scratch floats.  It, q, acc, visible, top and sum have room for n_rows
                               rounded up to LC_QUERIES rows. */
} lc_attention;

/* Attending one tile of keys of 64 dimensions for eight queries takes 0.7 microseconds from a cache and 0.8 from memory
 * (Zen 5).  Slower machines are given time before others try a chunk too. */
#define LC_TILE_NS 3000
#define LC_QUERIES 48       /* a multiple of how many queries any set attends together */

/* Floats of lc_attention.scratch for n_rows (a multiple of LC_QUERIES). */
LC_INLINE int64_t lc_attention_scratch(int64_t n_rows, int64_t stride)
{
    return 2 * n_rows * stride + LC_KEY_TILE * (2 * stride + LC_QUERIES);
}

typedef struct lc_kernels {
    const char *name;
    int32_t panel;                    /* rows in a panel */

    lc_dot_kernel *(*dot)(const lc_type_info *info, lc_reading reading);
    lc_form (*form)(const lc_type_info *info); /* of the activations that dot reads */
    lc_gemm (*gemm)(const lc_type_info *info, lc_precision precision);
    lc_pack_kernel *pack[LC_N_FORMS];

    /* Of vectors padded with zeros to whole LC_PADs; n is the true length. */
    void (*rmsnorm)(const float *x, const float *weight, int64_t n, float eps, float *out);
    void (*swiglu)(float *gate, const float *up, int64_t n); /* gate = silu(gate) * up */
    /* Rotates adjacent pairs.  cosine and sine hold each angle twice, sine with the sign of its place (-, +). */
    void (*rope)(const float *x, const float *cosine, const float *sine, int64_t n, float scale, float *out);
    void (*to_f16)(const float *x, int64_t n, uint16_t *out);
    void (*attend)(const lc_attention *attention);
} lc_kernels;

/* The table in use. */
const lc_kernels *lc_kernels_selected(void);

extern const lc_kernels lc_kernels_generic;
#if defined(__x86_64__)
extern const lc_kernels lc_kernels_avx2;
extern const lc_kernels lc_kernels_avx512;
#elif defined(__aarch64__)
extern const lc_kernels lc_kernels_neon;
#endif

#endif
