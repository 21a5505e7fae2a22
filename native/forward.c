/* forward.c - the Llama forward pass, from token ids to logits.
 *
 * Read lc_forward first: it is the paper's order.  Every thread of the pool runs it; see pool.h for how they share the
 * work.
 */
#include <math.h>

#include "context.h"

/* ---- products ---- */

/* The rows that a product reads. */
typedef struct input {
    const float *x;          /* [n][stride] */
    int64_t stride, cols;
    int32_t n;
    const lc_vector *norm;   /* RMSNorm comes first; NULL: none */
    bool in_parts;           /* one token's attention, still to be joined; x is not used */
} input;

/* One product with those rows, and where it goes. */
typedef struct product {
    const lc_matrix *m;
    const lc_matrix *up;     /* silu(m * x) * (up * x), if there is one */
    lc_output out;
} product;

static const float *input_row(const lc_batch *b, const input *in, int32_t token, float *row)
{
    const lc_model *model = b->context->model;
    const float *x = in->x + token * in->stride;
    if (in->in_parts) {
        lc_attention_join(b, row);
        return row;
    }
    if (!in->norm)
        return x;
    model->kernels->rmsnorm(x, in->norm->values, in->cols, model->hparams.norm_eps, row);
    return row;
}

static void pack_tile(const lc_batch *b, const input *in, lc_activations *a, int32_t tile, float *scratch)
{
    const int32_t first = tile * lc_activations_width(a), n = lc_activations_in_tile(a, tile);
    const float *rows[LC_TILE] = {NULL};
    for (int32_t t = 0; t < n; t++)
        rows[t] = input_row(b, in, first + t, scratch + t * lc_round_up(in->cols, LC_PAD));
    lc_activations_pack(a, tile, rows);
}

/* Which product a chunk of the stage belongs to; makes it the number within that product. */
static int find_product(const lc_grid *grids, int64_t *chunk)
{
    int i = 0;
    for (; *chunk >= lc_grid_chunks(&grids[i]); i++)
        *chunk -= lc_grid_chunks(&grids[i]);
    return i;
}

static void multiply_chunk(const product *p, const lc_activations *a, const lc_grid *grid, int64_t chunk,
                           uint8_t *scratch)
{
    if (p->up)
        lc_multiply_gated_chunk(p->m, p->up, a, grid, chunk, scratch, &p->out);
    else
        lc_multiply_chunk(p->m, a, grid, chunk, scratch, &p->out);
}

/* Stage: all products of the same rows.  One token's rows are made ready by every thread for itself (a microsecond,
 * less than waiting would take), a prompt's in a stage of their own. */
static void multiply(const lc_batch *b, lc_team *team, const input *in, const product *products, int n_products)
{
    lc_context *ctx = b->context;
    lc_scratch *scratch = &ctx->scratch[lc_team_rank(team)];
    const bool alone = in->n == 1;
    lc_activations a = alone ? scratch->activations : ctx->activations;
    lc_grid grids[3];
    int64_t n_chunks = 0, chunk;
    bool ready = !alone;

    a.n = in->n;
    a.cols = in->cols;
    a.precision = lc_multiply_precision(ctx->exact, in->n);
    a.forms = 0;
    for (int i = 0; i < n_products; i++) {
        const lc_matrix *m = products[i].m;
        a.forms |= 1u << lc_multiply_form(m, &a) | (products[i].up ? 1u << lc_multiply_form(products[i].up, &a) : 0);
        grids[i] = lc_grid_make(m->n_panels, a.n, m->layout.bytes, lc_pool_threads(ctx->pool));
        n_chunks += lc_grid_chunks(&grids[i]);
    }
    if (!alone)
        while ((chunk = lc_team_take(team, lc_activations_n_tiles(&a))) >= 0)
            pack_tile(b, in, &a, (int32_t)chunk, scratch->rows);

    while ((chunk = lc_team_take(team, n_chunks)) >= 0) {
        if (b->cancel && *b->cancel) { /* may be read only with a chunk in hand */
            lc_team_abort(team);
            continue;
        }
        const int i = find_product(grids, &chunk);
        if (!ready) {
            lc_multiply_prefetch(products[i].m, &grids[i], chunk); /* comes while the rows are made ready */
            pack_tile(b, in, &a, 0, scratch->rows);
            ready = true;
        }
        multiply_chunk(&products[i], &a, &grids[i], chunk, scratch->product);
    }
}

/* ---- stages ---- */

/* RoPE's angles at a position (Su et al., "RoFormer", 2021): the pair i turns by position * base^(-2i / head_dim). */
static void make_angles(const lc_context *ctx, int32_t position, float *cosine, float *sine)
{
    for (int32_t i = 0; i < ctx->model->hparams.head_dim / 2; i++) {
        const double angle = position * ctx->frequencies[i];
        cosine[2 * i] = cosine[2 * i + 1] = (float)cos(angle);
        sine[2 * i + 1] = (float)sin(angle);
        sine[2 * i] = -sine[2 * i + 1];
    }
}

static void embed(const lc_batch *b, lc_team *team)
{
    const lc_context *ctx = b->context;
    int32_t token;
    while ((token = lc_team_take(team, b->n)) >= 0) {
        const int64_t at = (int64_t)token * ctx->head_stride;
        lc_matrix_row(&ctx->model->token_embd, b->ids[token], ctx->x + token * ctx->embd_stride);
        make_angles(ctx, b->start + token, ctx->cosine + at, ctx->sine + at);
    }
}

/* Attention of the tokens first..n-1, added to x. */
static void attention(const lc_batch *b, lc_team *team, int32_t layer, int32_t first)
{
    const lc_context *ctx = b->context;
    const lc_hparams *h = &ctx->model->hparams;
    const lc_layer *w = &ctx->model->layers[layer];
    const int64_t q_width = (int64_t)h->n_heads * h->head_dim;

    lc_attention_attend(b, team, layer, first);
    const input attended = {
        .x = ctx->attended + first * ctx->q_stride,
        .stride = ctx->q_stride,
        .cols = q_width,
        .n = b->n - first,
        .in_parts = b->n - first == 1,
    };
    const product out = {&w->attn_output, NULL, {ctx->x + first * ctx->embd_stride, ctx->embd_stride, true}};
    multiply(b, team, &attended, &out, 1);
}

static void feed_forward(const lc_batch *b, lc_team *team, const lc_layer *w, int32_t first)
{
    const lc_context *ctx = b->context;
    const lc_hparams *h = &ctx->model->hparams;
    float *x = ctx->x + first * ctx->embd_stride, *hidden = ctx->hidden + first * ctx->ff_stride;

    const input normed = {x, ctx->embd_stride, h->n_embd, b->n - first, &w->ffn_norm, false};
    const product gated = {&w->gate, &w->up, {hidden, ctx->ff_stride, false}};
    multiply(b, team, &normed, &gated, 1);

    const input inner = {hidden, ctx->ff_stride, h->n_ff, b->n - first, NULL, false};
    const product down = {&w->down, NULL, {x, ctx->embd_stride, true}};
    multiply(b, team, &inner, &down, 1);
}

/* Tokens first..first+n-1 of the last layer, to logits[n][n_vocab]. */
static void output(const lc_batch *b, lc_team *team, int32_t first, int32_t n, float *logits)
{
    const lc_context *ctx = b->context;
    const lc_model *model = ctx->model;
    const lc_hparams *h = &model->hparams;
    const input rows = {ctx->x + first * ctx->embd_stride, ctx->embd_stride, h->n_embd, n, &model->output_norm, false};
    const product out = {lc_model_output(model), NULL, {logits, h->n_vocab, false}};
    multiply(b, team, &rows, &out, 1);
}

void lc_forward_rows(const void *job, lc_team *team)
{
    const lc_rows *rows = job;
    const lc_batch b = {.context = rows->context, .cancel = rows->cancel};
    output(&b, team, rows->first, rows->n, rows->logits);
}

/* The last layer's keys and values are wanted of all tokens, the rest of it of the last ones alone. */
void lc_forward(const void *job, lc_team *team)
{
    const lc_batch *b = job;
    const lc_context *ctx = b->context;
    const lc_model *model = ctx->model;
    const lc_hparams *h = &model->hparams;

    embed(b, team);
    for (int32_t layer = 0; layer < h->n_layers; layer++) {
        const lc_layer *w = &model->layers[layer];
        const bool last_layer = layer == h->n_layers - 1;
        const int32_t first = last_layer ? b->n - b->n_rows : 0;
        const bool kv_alone = first == b->n;
        const input normed = {ctx->x, ctx->embd_stride, h->n_embd, b->n, &w->attn_norm, false};
        const product qkv[] = {
            {&w->k, NULL, {ctx->keys, ctx->kv_stride, false}},
            {&w->v, NULL, {ctx->values, ctx->kv_stride, false}},
            {&w->q, NULL, {ctx->q, ctx->q_stride, false}},
        };
        multiply(b, team, &normed, qkv, kv_alone ? 2 : 3);
        if (b->n > 1 || kv_alone)
            lc_attention_store(b, team, layer);
        if (kv_alone)
            break;
        attention(b, team, layer, first);
        feed_forward(b, team, w, first);
    }
    if (b->logits)
        output(b, team, b->n - 1, 1, b->logits);
}
