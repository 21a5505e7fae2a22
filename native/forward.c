/* forward.c - the Llama forward pass, from token ids to logits.
 *
 * Read lc_forward first: it is the paper's order.  Every thread of the pool runs it; see pool.h for how they share the
 * work.
 */
#include <math.h>

#include "ahead.h"
#include "context.h"
#include "rounding.h"

/* ---- products ---- */

/* The rows that products read. */
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

/* A stage: all products of the same rows. */
typedef struct step {
    input in;
    product products[3];
    int n_products;
} step;

/* How a step is shared out: the chunks of its products, one after the other. */
typedef struct plan {
    lc_grid grids[3];
    int64_t n_chunks;
} plan;

static plan plan_of(const lc_batch *b, const step *s)
{
    plan p = {.n_chunks = 0};
    for (int i = 0; i < s->n_products; i++) {
        const lc_matrix *m = s->products[i].m;
        p.grids[i] = lc_grid_make(m->n_panels, s->in.n, m->stride, lc_pool_threads(b->context->pool));
        p.n_chunks += lc_grid_chunks(&p.grids[i]);
    }
    return p;
}

/* Which product a chunk belongs to; makes it the number within that product. */
static int find_product(const plan *p, int64_t *chunk)
{
    int i = 0;
    for (; *chunk >= lc_grid_chunks(&p->grids[i]); i++)
        *chunk -= lc_grid_chunks(&p->grids[i]);
    return i;
}

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
    lc_activations_pack(a, tile, 0, in->cols, rows);
}

/* ---- one token: weights are asked for while memory would rest ----
 *
 * Between two products memory would have nothing to do: rows are made ready (each thread does it for itself, two
 * microseconds, less than sharing would take), heads are attended, one thread waits for the other.  What a thread reads
 * first of the next product is known before, so it asks for that meanwhile.
 */

#define FIRST_FETCH 8192 /* what comes while the rows are normed, or a token's attention is joined */
#define PACK_COLUMNS 512 /* made ready between two looks at memory, a third of a microsecond */
#define PACK_FETCH 8192  /* what memory gives a thread in that time */
#define NEAR_BYTES 24576 /* of one row, half of a first-level cache */

/* What the thread reads of a step of one token when the chunks first..end-1 of the step are its own: those that lie in
 * the same product as the first do so one after the other. */
static void expect_chunks(lc_team *team, const step *s, const plan *p, int64_t first, int64_t end)
{
    const int64_t n = end - first;
    const int i = find_product(p, &first);
    const lc_matrix *m = s->products[i].m;
    lc_team_expect(team, (lc_expected){lc_multiply_address(m, &p->grids[i], first),
                                       lc_multiply_bytes(m, &p->grids[i], first, first + n)});
}

static void expect(const lc_batch *b, lc_team *team, const step *next)
{
    if (!next || next->in.n != 1)
        return;
    const plan p = plan_of(b, next);
    int64_t first, end;
    lc_team_own(team, p.n_chunks, &first, &end);
    if (first < end)
        expect_chunks(team, next, &p, first, end);
}

/* A row comes from the threads that computed it.  One that would fill the first-level cache (7B's input of `down`)
 * would push out its own beginning, and weights that were asked for: 1 % of 7B's answers (Zen 5, builds in turn). */
static void expect_row(const input *in)
{
    const size_t n_bytes = (size_t)in->cols * sizeof(float);
    if (n_bytes > NEAR_BYTES)
        lc_ahead_later(in->x, n_bytes);
    else
        lc_ahead_read(in->x, n_bytes);
}

static void pack_one(const lc_batch *b, lc_team *team, const input *in, lc_activations *a, float *scratch)
{
    if (!in->in_parts)
        expect_row(in);
    lc_team_fetch(team, FIRST_FETCH);
    const float *x = input_row(b, in, 0, scratch);
    for (int64_t first = 0; first < in->cols; first += PACK_COLUMNS) {
        const float *rows[LC_TILE] = {x + first};
        lc_activations_pack(a, 0, first, lc_min(PACK_COLUMNS, in->cols - first), rows);
        lc_team_fetch(team, PACK_FETCH);
    }
}

/* ---- a step ---- */

static void multiply_chunk(const product *p, const lc_activations *a, const lc_grid *grid, int64_t chunk, lc_team *team,
                           uint8_t *scratch)
{
    if (p->up)
        lc_multiply_gated_chunk(p->m, p->up, a, grid, chunk, team, scratch, &p->out);
    else
        lc_multiply_chunk(p->m, a, grid, chunk, team, scratch, &p->out);
}

/* The rows of a step, those of a prompt packed in a stage of their own. */
static lc_activations ready_rows(const lc_batch *b, lc_team *team, const step *s)
{
    lc_context *ctx = b->context;
    lc_scratch *scratch = &ctx->scratch[lc_team_rank(team)];
    const bool alone = s->in.n == 1;
    lc_activations a = alone ? scratch->activations : ctx->activations;
    int32_t tile;

    a.n = s->in.n;
    a.cols = s->in.cols;
    a.precision = lc_multiply_precision(ctx->rounding, a.n);
    a.rounded_for = lc_rounded_for(ctx->rounding, s->products[0].m->layout.info);
    a.forms = 0;
    for (int i = 0; i < s->n_products; i++) {
        const product *p = &s->products[i];
        a.forms |= 1u << lc_multiply_form(p->m, &a) | (p->up ? 1u << lc_multiply_form(p->up, &a) : 0);
    }
    if (!alone)
        while ((tile = lc_team_take(team, lc_activations_n_tiles(&a))) >= 0)
            pack_tile(b, &s->in, &a, tile, scratch->rows);
    return a;
}

#define CHUNK_NS 5000         /* of one token, 128 KB; those of rows wider than that have more */
#define BYTES_IN_US 25000

static int64_t chunk_ns(const step *s, const plan *p)
{
    int64_t most = CHUNK_NS;
    for (int i = 0; i < s->n_products; i++)
        most = lc_max(most, (int64_t)lc_multiply_bytes(s->products[i].m, &p->grids[i], 0, 1) * 1000 / BYTES_IN_US);
    return most;
}

/* The caller's own thread alone may read its flag: another one may come to it when the caller has gone on. */
static int32_t next_chunk(const lc_batch *b, lc_team *team, const step *s, const plan *p)
{
    if (lc_team_rank(team) == 0 && b->cancel && *b->cancel)
        lc_team_abort(team);
    return s->in.n == 1 ? lc_team_try(team, p->n_chunks, chunk_ns(s, p)) : lc_team_take(team, p->n_chunks);
}

/* next: the step that comes after this one, attention aside; NULL: none. */
static void multiply_together(const lc_batch *b, lc_team *team, const step *s, const step *next)
{
    lc_scratch *scratch = &b->context->scratch[lc_team_rank(team)];
    lc_activations a = ready_rows(b, team, s);
    const plan p = plan_of(b, s);
    bool ready = s->in.n > 1;
    int64_t chunk;

    while ((chunk = next_chunk(b, team, s, &p)) >= 0) {
        if (!ready) {
            expect_chunks(team, s, &p, chunk, chunk + 1);
            pack_one(b, team, &s->in, &a, scratch->rows);
            expect(b, team, next);
            ready = true;
        }
        const int i = find_product(&p, &chunk);
        multiply_chunk(&s->products[i], &a, &p.grids[i], chunk, team, scratch->product);
    }
}

static bool rounded_alike(const lc_batch *b, const step *s)
{
    bool alike = true;
    for (int i = 1; i < s->n_products; i++)
        alike &= lc_rounded_alike(s->products[0].m->layout.info, s->products[i].m->layout.info);
    return alike || b->context->rounding != LC_ROUND_LLAMA_CPP;
}

/* Rows that products want rounded in different ways are packed for each of them.  A gate and its partner mostly are of
 * one type; where they are not, what the gate wants goes for both. */
static void multiply(const lc_batch *b, lc_team *team, const step *s, const step *next)
{
    if (rounded_alike(b, s)) {
        multiply_together(b, team, s, next);
        return;
    }
    for (int i = 0; i < s->n_products; i++) {
        const step one = {.in = s->in, .products = {s->products[i]}, .n_products = 1};
        multiply_together(b, team, &one, NULL);
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

/* ---- the steps of a layer, and the last; tokens first..n-1 of the batch ---- */

/* No queries where nothing is wanted of the last layer but its keys and values. */
static step projections(const lc_batch *b, int32_t layer)
{
    const lc_context *ctx = b->context;
    const bool kv_alone = layer == ctx->model->hparams.n_layers - 1 && b->n_rows == 0;
    const lc_layer *w = &ctx->model->layers[layer];
    return (step){
        .in = {ctx->x, ctx->embd_stride, ctx->model->hparams.n_embd, b->n, &w->attn_norm, false},
        .products = {{&w->k, NULL, {ctx->keys, ctx->kv_stride, false}},
                     {&w->v, NULL, {ctx->values, ctx->kv_stride, false}},
                     {&w->q, NULL, {ctx->q, ctx->q_stride, false}}},
        .n_products = kv_alone ? 2 : 3,
    };
}

/* What was attended, added to x. */
static step attention_output(const lc_batch *b, int32_t layer, int32_t first)
{
    const lc_context *ctx = b->context;
    const lc_hparams *h = &ctx->model->hparams;
    const int32_t n = b->n - first;
    return (step){
        .in = {ctx->attended + first * ctx->q_stride, ctx->q_stride, (int64_t)h->n_heads * h->head_dim, n, NULL,
               n == 1},
        .products = {{&ctx->model->layers[layer].attn_output, NULL,
                      {ctx->x + first * ctx->embd_stride, ctx->embd_stride, true}}},
        .n_products = 1,
    };
}

static step gate_and_up(const lc_batch *b, int32_t layer, int32_t first)
{
    const lc_context *ctx = b->context;
    const lc_layer *w = &ctx->model->layers[layer];
    return (step){
        .in = {ctx->x + first * ctx->embd_stride, ctx->embd_stride, ctx->model->hparams.n_embd, b->n - first,
               &w->ffn_norm, false},
        .products = {{&w->gate, &w->up, {ctx->hidden + first * ctx->ff_stride, ctx->ff_stride, false}}},
        .n_products = 1,
    };
}

static step down(const lc_batch *b, int32_t layer, int32_t first)
{
    const lc_context *ctx = b->context;
    return (step){
        .in = {ctx->hidden + first * ctx->ff_stride, ctx->ff_stride, ctx->model->hparams.n_ff, b->n - first, NULL,
               false},
        .products = {{&ctx->model->layers[layer].down, NULL,
                      {ctx->x + first * ctx->embd_stride, ctx->embd_stride, true}}},
        .n_products = 1,
    };
}

/* Tokens first..first+n-1 of the last layer, to logits[n][n_vocab]. */
static step output(const lc_context *ctx, int32_t first, int32_t n, float *logits)
{
    const lc_model *model = ctx->model;
    const lc_hparams *h = &model->hparams;
    return (step){
        .in = {ctx->x + first * ctx->embd_stride, ctx->embd_stride, h->n_embd, n, &model->output_norm, false},
        .products = {{lc_model_output(model), NULL, {logits, h->n_vocab, false}}},
        .n_products = 1,
    };
}

/* ---- jobs ---- */

void lc_forward_rows(const void *job, lc_team *team)
{
    const lc_rows *rows = job;
    const lc_batch b = {.context = rows->context, .cancel = rows->cancel};
    const step logits = output(b.context, rows->first, rows->n, rows->logits);
    multiply(&b, team, &logits, NULL);
}

/* The last layer's keys and values are wanted of all tokens, the rest of it of the last ones alone. */
void lc_forward(const void *job, lc_team *team)
{
    const lc_batch *b = job;
    const int32_t n_layers = b->context->model->hparams.n_layers;
    const step logits = output(b->context, b->n - 1, 1, b->logits);
    step qkv = projections(b, 0);

    expect(b, team, &qkv);
    embed(b, team);
    for (int32_t layer = 0; layer < n_layers; layer++) {
        const bool last = layer == n_layers - 1;
        const int32_t first = last ? b->n - b->n_rows : 0;
        const step attended = attention_output(b, layer, first);
        const step gated = gate_and_up(b, layer, first);
        const step ff_output = down(b, layer, first);

        multiply(b, team, &qkv, &attended);
        if (b->n > 1 || first == b->n)
            lc_attention_store(b, team, layer);
        if (first == b->n)
            break;
        lc_attention_attend(b, team, layer, first);
        multiply(b, team, &attended, &gated);
        multiply(b, team, &gated, &ff_output);
        if (!last)
            qkv = projections(b, layer + 1);
        multiply(b, team, &ff_output, last ? &logits : &qkv);
    }
    if (b->logits)
        multiply(b, team, &logits, NULL);
}
