/* attention.c - the KV cache, and how attention is cut into chunks.
 *
 * The inner loops are the kernels' (templates/attention_few.h, attention_many.h).  Heads that share a KV head are
 * attended together, so that its keys and values are read once.
 */
#include <math.h>

#include "context.h"

/* One token's keys are cut into parts of up to this many (whole tiles), or of more where a layer's attention would have
 * more than this many chunks: so that several threads share a long context.  Neither may depend on the number of
 * threads: sums would.  Two threads lose 1 % with half as many keys, since each part is delivered and joined. */
#define PART_KEYS 256
#define PART_CHUNKS 32

/* One token's keys and values are asked for so many bytes before they are read, in whole blocks, at most a tile's. */
#define AHEAD_BYTES 8192

/* ---- the cache ---- */

LC_INLINE size_t first_block_of(const lc_context *ctx, int32_t layer, int32_t kv_head)
{
    return ((size_t)layer * (size_t)ctx->model->hparams.n_kv_heads + (size_t)kv_head) * ctx->n_blocks;
}

/* n numbers, n <= 32, as a record's f16 scale and int8s.  Like the file's Q8_0, but for the scale being rounded before
 * the numbers are divided by it. */
static void quantize(const float *x, int32_t n, uint16_t *scale, uint8_t *q)
{
    uint32_t most = 0; /* compared as integers: a NaN is above all numbers, and stays */
    for (int32_t i = 0; i < n; i++) {
        const uint32_t magnitude = lc_bits_of_float(x[i]) & 0x7fffffffu;
        most = magnitude > most ? magnitude : most;
    }
    *scale = lc_f16_of_f32(lc_float_of_bits(most) / 127.0f);
    const float d = lc_f32_of_f16(*scale);
    const float inverse = d > 0.0f ? 1.0f / d : 0.0f;
    for (int32_t i = 0; i < n; i++) {
        const float rounded = rintf(fmaxf(-127.0f, fminf(127.0f, x[i] * inverse))); /* a NaN becomes a number */
        q[i] = (uint8_t)(int8_t)rounded;
    }
}

/* Rounds a key or a value, [head_dim], to the cache's type, laid out as the first value of a block. */
static void round_row(const lc_context *ctx, const float *x, uint8_t *row)
{
    if (!ctx->kv_q8) {
        ctx->model->kernels->to_f16(x, ctx->head_stride, (uint16_t *)(void *)row);
        return;
    }
    const int32_t head_dim = ctx->model->hparams.head_dim;
    for (int32_t d = 0; d < head_dim; d += LC_BLOCK, row += LC_KV_RECORD)
        quantize(x + d, (int32_t)lc_min(LC_BLOCK, head_dim - d), (uint16_t *)(void *)row, row + 2 * LC_KEY_BLOCK);
}

typedef struct kv_block {
    uint8_t *k, *v;
} kv_block;

/* The block of a position in the cache. */
static kv_block block_of(const lc_context *ctx, int32_t layer, int32_t kv_head, int32_t position)
{
    const size_t block = first_block_of(ctx, layer, kv_head) + (size_t)position / LC_KEY_BLOCK;
    return (kv_block){ctx->k + block * ctx->k_block, ctx->v + block * ctx->v_block};
}

/* Rotates one token's key of one head, and rounds it and the value, to the thread's own rows.  In between it is where
 * sums will be: the thread's queries may be those of parts to come. */
static void make_rows(const lc_batch *b, const lc_scratch *scratch, int32_t kv_head, int32_t token)
{
    const lc_context *ctx = b->context;
    const int32_t stride = ctx->head_stride;
    const int64_t from = token * ctx->kv_stride + (int64_t)kv_head * ctx->model->hparams.head_dim;

    ctx->model->kernels->rope(ctx->keys + from, ctx->cosine + token * stride, ctx->sine + token * stride, stride, 1.0f,
                              scratch->acc);
    round_row(ctx, scratch->acc, scratch->own_k);
    round_row(ctx, ctx->values + from, scratch->own_v);
}

/* Puts the thread's own rows at place i of a block. */
static void store_rows(const lc_context *ctx, const lc_scratch *scratch, kv_block to, int32_t i)
{
    const int32_t head_dim = ctx->model->hparams.head_dim;
    const uint8_t *key = scratch->own_k, *value = scratch->own_v;
    if (!ctx->kv_q8) {
        const size_t row_bytes = (size_t)ctx->head_stride * 2;
        for (int32_t d = 0; d < head_dim; d++)
            memcpy(to.k + (d * LC_KEY_BLOCK + i) * 2, key + d * 2, 2);
        memcpy(to.v + (size_t)i * row_bytes, value, row_bytes);
        return;
    }
    for (int32_t d = 0; d < head_dim; d += LC_BLOCK) {
        const int32_t n = (int32_t)lc_min(LC_BLOCK, head_dim - d), q = 2 * LC_KEY_BLOCK;
        memcpy(to.k + i * 2, key, 2);
        memcpy(to.v + i * 2, value, 2);
        for (int32_t j = 0; j < n; j++)
            to.k[q + j * LC_KEY_BLOCK + i] = key[q + j];
        memcpy(to.v + q + i * LC_BLOCK, value + q, (size_t)n);
        to.k += LC_KV_RECORD, to.v += LC_KV_RECORD, key += LC_KV_RECORD, value += LC_KV_RECORD;
    }
}

void lc_attention_store(const lc_batch *b, lc_team *team, int32_t layer)
{
    const lc_context *ctx = b->context;
    const int32_t n_kv_heads = ctx->model->hparams.n_kv_heads;
    /* A chunk is one block of keys: threads write to the same cache line only where two blocks of Q8_0 meet in one. */
    const int32_t first_block = b->start / LC_KEY_BLOCK, last = b->start + b->n;
    const int32_t n_blocks = (int32_t)lc_ceil_div(last, LC_KEY_BLOCK) - first_block;
    int32_t chunk;

    while ((chunk = lc_team_take(team, n_blocks)) >= 0) {
        const lc_scratch *scratch = &ctx->scratch[lc_team_rank(team)];
        const int32_t position = (first_block + chunk) * LC_KEY_BLOCK;
        const int32_t begin = (int32_t)lc_max(position, b->start), end = (int32_t)lc_min(position + LC_KEY_BLOCK, last);
        for (int32_t head = 0; head < n_kv_heads; head++)
            for (int32_t p = begin; p < end; p++) {
                make_rows(b, scratch, head, p - b->start);
                store_rows(ctx, scratch, block_of(ctx, layer, head, p), p % LC_KEY_BLOCK);
            }
    }
}

/* ---- attending ---- */

/* Rotates and scales the queries of some tokens of one KV head's group: row = token * group + head. */
static void gather_queries(const lc_batch *b, const lc_scratch *scratch, int32_t kv_head, int32_t first, int32_t end)
{
    const lc_context *ctx = b->context;
    const lc_hparams *h = &ctx->model->hparams;
    const int32_t group = h->n_heads / h->n_kv_heads, stride = ctx->head_stride;
    const float scale = (float)(1.44269504088896341 / sqrt(h->head_dim)); /* log2(e): kernels take powers of 2 */
    int32_t row = 0;

    for (int32_t token = first; token < end; token++)
        for (int32_t i = 0; i < group; i++, row++) {
            const float *q = ctx->q + token * ctx->q_stride + ((int64_t)kv_head * group + i) * h->head_dim;
            ctx->model->kernels->rope(q, ctx->cosine + token * stride, ctx->sine + token * stride, stride, scale,
                                      scratch->q + (int64_t)row * stride);
            scratch->visible[row] = b->start + token + 1;
        }
}

/* Which keys of a KV head are attended. */
typedef struct key_span {
    int32_t first, last; /* up to last - 1 */
    bool own;            /* and the newest one, which is in the thread's own rows */
    const uint8_t *next; /* the keys that the thread attends after them */
    int32_t n_next;      /* so many; 0: not known */
} key_span;

/* Attends the rows gathered. */
static void attend(const lc_batch *b, const lc_scratch *scratch, int32_t layer, int32_t kv_head, int32_t n_rows,
                   const key_span *keys)
{
    const lc_context *ctx = b->context;
    const lc_attention attention = {
        .head_dim = ctx->model->hparams.head_dim,
        .stride = ctx->head_stride,
        .n_rows = n_rows,
        .first = keys->first,
        .last = keys->last,
        .q = scratch->q,
        .visible = scratch->visible,
        .q8 = ctx->kv_q8,
        .k_bytes = ctx->k_block,
        .v_bytes = ctx->v_block,
        .k = ctx->k + first_block_of(ctx, layer, kv_head) * ctx->k_block,
        .v = ctx->v + first_block_of(ctx, layer, kv_head) * ctx->v_block,
        .own_k = keys->own ? scratch->own_k : NULL,
        .own_v = scratch->own_v,
        .next_k = keys->next,
        .n_next = keys->n_next,
        .ahead = (int32_t)lc_max(AHEAD_BYTES / (int64_t)ctx->k_block, 1),
        .acc = scratch->acc,
        .top = scratch->top,
        .sum = scratch->sum,
        .scratch = scratch->attention,
    };
    ctx->model->kernels->attend(&attention);
}

/* A prompt: chunks are some tokens of one KV head, the last tokens, which see most, first; head after head, so that its
 * keys and values stay in the second-level cache. */
static void attend_tokens(const lc_batch *b, lc_team *team, int32_t layer, int32_t first)
{
    const lc_context *ctx = b->context;
    const lc_hparams *h = &ctx->model->hparams;
    const int32_t group = h->n_heads / h->n_kv_heads, stride = ctx->head_stride;
    const int32_t tokens = (int32_t)lc_max(ctx->attention_rows / group, 1);
    const int32_t n_spans = (int32_t)lc_ceil_div(b->n - first, tokens);
    int32_t chunk;

    while ((chunk = lc_team_take(team, (int64_t)n_spans * h->n_kv_heads)) >= 0) {
        const lc_scratch *scratch = &ctx->scratch[lc_team_rank(team)];
        const int32_t kv_head = chunk / n_spans;
        const int32_t end = b->n - chunk % n_spans * tokens, begin = (int32_t)lc_max(end - tokens, first);
        const key_span keys = {0, b->start + end, false, NULL, 0};
        gather_queries(b, scratch, kv_head, begin, end);
        attend(b, scratch, layer, kv_head, (end - begin) * group, &keys);

        for (int32_t row = 0; row < (end - begin) * group; row++) {
            const float *acc = scratch->acc + (int64_t)row * stride;
            const int32_t head = kv_head * group + row % group;
            float *out = ctx->attended + (begin + row / group) * ctx->q_stride + (int64_t)head * h->head_dim;
            const float scale = 1.0f / scratch->sum[row];
            for (int32_t d = 0; d < h->head_dim; d++)
                out[d] = acc[d] * scale;
        }
    }
}

/* ---- one token, in parts ---- */

typedef struct parts {
    int32_t n, keys; /* of a KV head; keys of a part, but for the last */
} parts;

static int32_t most_parts(const lc_hparams *h) { return (int32_t)lc_max(PART_CHUNKS / h->n_kv_heads, 1); }

static parts parts_of(const lc_hparams *h, int32_t length)
{
    const int32_t most = (int32_t)lc_min(most_parts(h), lc_ceil_div(length, PART_KEYS));
    const int32_t keys = (int32_t)lc_round_up(lc_ceil_div(length, most), LC_KEY_TILE);
    return (parts){(int32_t)lc_ceil_div(length, keys), keys};
}

/* A part's sums, then its highest score and its sum of weights. */
static int64_t part_floats(int32_t head_stride) { return head_stride + LC_PAD; }

int64_t lc_attention_partial_floats(const lc_hparams *h, int32_t head_stride)
{
    return (int64_t)h->n_heads * most_parts(h) * part_floats(head_stride);
}

static float *part_at(const lc_context *ctx, int32_t head, int32_t part)
{
    const lc_hparams *h = &ctx->model->hparams;
    return ctx->partial + ((int64_t)head * most_parts(h) + part) * part_floats(ctx->head_stride);
}

/* Other threads have read there when the layer before was joined. */
static void expect_part(const lc_context *ctx, int32_t kv_head, int32_t part)
{
    const int32_t group = ctx->model->hparams.n_heads / ctx->model->hparams.n_kv_heads;
    const size_t bytes = (size_t)part_floats(ctx->head_stride) * sizeof(float);
    for (int32_t i = 0; i < group; i++)
        lc_ahead_written(part_at(ctx, kv_head * group + i, part), bytes);
}

static void deliver_part(const lc_context *ctx, const lc_scratch *scratch, int32_t kv_head, int32_t part)
{
    const int32_t group = ctx->model->hparams.n_heads / ctx->model->hparams.n_kv_heads;
    for (int32_t i = 0; i < group; i++) {
        float *out = part_at(ctx, kv_head * group + i, part);
        memcpy(out, scratch->acc + (int64_t)i * ctx->head_stride, (size_t)ctx->head_stride * sizeof(float));
        out[ctx->head_stride] = scratch->top[i];
        out[ctx->head_stride + 1] = scratch->sum[i];
    }
}

/* The newest key of an answer is the thread's own.  (That of a prompt's last token is in the cache already.) */
static key_span part_span(const lc_batch *b, const parts *p, int32_t part)
{
    const int32_t first = part * p->keys, length = b->start + b->n;
    const bool own = b->n == 1 && part == p->n - 1;
    return (key_span){.first = first, .last = (int32_t)lc_min(first + p->keys, length - own), .own = own};
}

/* Queries come from the threads that computed them. */
static void expect_queries(const lc_batch *b, int32_t kv_head)
{
    const lc_context *ctx = b->context;
    const lc_hparams *h = &ctx->model->hparams;
    const int64_t n = (int64_t)(h->n_heads / h->n_kv_heads) * h->head_dim;
    lc_ahead_read(ctx->q + (b->n - 1) * ctx->q_stride + kv_head * n, (size_t)n * sizeof(float));
}

/* What comes after the keys of one chunk, for most of them: the next one's. */
static void expect_span(const lc_batch *b, const parts *p, int32_t layer, int32_t next, key_span *keys)
{
    const key_span span = part_span(b, p, next % p->n);
    keys->next = block_of(b->context, layer, next / p->n, span.first).k;
    keys->n_next = span.last - span.first;
}

/* Where the newest key goes, and its value. */
static void expect_newest(const lc_context *ctx, kv_block block, int32_t i)
{
    const size_t row_bytes = (size_t)ctx->head_stride * 2;
    lc_ahead_written(block.k, ctx->k_block);
    if (ctx->kv_q8)
        lc_ahead_written(block.v, ctx->v_block);
    else
        lc_ahead_written(block.v + (size_t)i * row_bytes, row_bytes);
}

/* The stage is one of trials: the newest key stays in the thread's own memory until it is delivered.  Chunks are the
 * parts of one KV head after the other, so that a thread walks through its keys from end to end. */
static void attend_parts(const lc_batch *b, lc_team *team, int32_t layer)
{
    const lc_context *ctx = b->context;
    const lc_hparams *h = &ctx->model->hparams;
    const lc_scratch *scratch = &ctx->scratch[lc_team_rank(team)];
    const int32_t group = h->n_heads / h->n_kv_heads, length = b->start + b->n;
    const parts p = parts_of(h, length);
    const int64_t n_chunks = (int64_t)p.n * h->n_kv_heads, part_ns = lc_ceil_div(p.keys, LC_KEY_TILE) * LC_TILE_NS;
    int32_t chunk, gathered = -1; /* the KV head whose queries the thread has */

    while ((chunk = lc_team_try(team, n_chunks, part_ns)) >= 0) {
        const int32_t kv_head = chunk / p.n, part = chunk % p.n, place = (length - 1) % LC_KEY_BLOCK;
        const kv_block block = block_of(ctx, layer, kv_head, length - 1);
        key_span keys = part_span(b, &p, part);
        if (kv_head != gathered)
            expect_queries(b, kv_head);
        if (chunk + 1 < n_chunks)
            expect_span(b, &p, layer, chunk + 1, &keys);
        if (keys.own) {
            expect_newest(ctx, block, place);
            make_rows(b, scratch, kv_head, 0);
        }
        expect_part(ctx, kv_head, part);
        if (kv_head != gathered)
            gather_queries(b, scratch, kv_head, b->n - 1, b->n);
        gathered = kv_head;
        attend(b, scratch, layer, kv_head, group, &keys);
        if (!lc_team_win(team))
            continue;
        deliver_part(ctx, scratch, kv_head, part);
        if (keys.own)
            store_rows(ctx, scratch, block, place);
    }
}

/* Heads whose parts come from other threads' caches while one is joined. */
#define JOIN_AHEAD 4

static void expect_parts(const lc_context *ctx, int32_t head, int32_t n_parts)
{
    lc_ahead_read(part_at(ctx, head, 0), (size_t)(n_parts * part_floats(ctx->head_stride)) * sizeof(float));
}

void lc_attention_join(const lc_batch *b, float *out)
{
    const lc_context *ctx = b->context;
    const lc_hparams *h = &ctx->model->hparams;
    const int32_t n_parts = parts_of(h, b->start + b->n).n, stride = ctx->head_stride;

    for (int32_t head = 0; head < lc_min(JOIN_AHEAD, h->n_heads); head++)
        expect_parts(ctx, head, n_parts);
    for (int32_t head = 0; head < h->n_heads; head++, out += h->head_dim) {
        if (head + JOIN_AHEAD < h->n_heads)
            expect_parts(ctx, head + JOIN_AHEAD, n_parts);
        float top = -INFINITY, sum = 0.0f;
        for (int32_t i = 0; i < n_parts; i++)
            top = fmaxf(top, part_at(ctx, head, i)[stride]);
        for (int32_t i = 0; i < n_parts; i++) {
            const float *part = part_at(ctx, head, i);
            const float weight = exp2f(part[stride] - top);
            sum += part[stride + 1] * weight;
            for (int32_t d = 0; d < h->head_dim; d++)
                out[d] = (i ? out[d] : 0.0f) + part[d] * weight;
        }
        for (int32_t d = 0; d < h->head_dim; d++)
            out[d] /= sum;
    }
}

void lc_attention_attend(const lc_batch *b, lc_team *team, int32_t layer, int32_t first)
{
    if (first == b->n - 1)
        attend_parts(b, team, layer);
    else
        attend_tokens(b, team, layer, first);
}
