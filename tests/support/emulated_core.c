/* emulated_core.c - the C core behind standard input and output: for processors that only an emulator has here.
 *
 * Reads requests, little-endian, and writes an answer each:
 *   'I' char name[16]                       lc_isa_select                  -> i32 status
 *   'M' i32 type, rows, cols, n; weights; f32 x[n][cols]                   -> f32 y[n][rows], f32 row[rows][cols]
 *   'L' lc_hparams, i32 n_tensors, n_ctx, n_ids, rounding, kv_type;
 *       tensors: i32 slot, layer, type, rows, cols, n_bytes; bytes;
 *       i32 n_parts, parts[n_parts], ids[n_ids]                            -> f32 logits[n_parts][n_vocab]
 * Any failure ends it with status 1 and a line that says which call it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llamachat.h"

static void check(int failed, const char *what)
{
    if (failed) {
        fprintf(stderr, "emulated core: %s failed (%d)\n", what, failed);
        exit(1);
    }
}

static void *get(size_t n)
{
    void *bytes = malloc(n ? n : 1);
    check(!bytes || fread(bytes, 1, n, stdin) != n, "reading a request");
    return bytes;
}

static void put(const void *bytes, size_t n) { check(fwrite(bytes, 1, n, stdout) != n, "answering"); }

static void select_isa(void)
{
    char *name = get(16);
    const int32_t status = lc_isa_select(name);
    put(&status, 4);
    free(name);
}

static void multiply(lc_pool *pool)
{
    enum { TYPE, ROWS, COLS, N };
    int32_t *h = get(16), elements, bytes;
    lc_matrix *matrix;
    check(lc_type_block(h[TYPE], &elements, &bytes), "lc_type_block");
    check(lc_matrix_create(h[TYPE], h[ROWS], h[COLS], &matrix), "lc_matrix_create");
    const size_t n_bytes = (size_t)h[ROWS] * (size_t)(h[COLS] / elements) * (size_t)bytes;
    void *weights = get(n_bytes);
    check(lc_matrix_write(matrix, 0, h[ROWS], weights, n_bytes), "lc_matrix_write");
    float *x = get((size_t)h[N] * (size_t)h[COLS] * 4);
    float *y = calloc((size_t)h[N] * (size_t)h[ROWS], 4), *row = calloc((size_t)h[COLS], 4);
    check(lc_matrix_multiply(matrix, pool, x, h[N], 0, y), "lc_matrix_multiply");
    put(y, (size_t)h[N] * (size_t)h[ROWS] * 4);
    for (int32_t i = 0; i < h[ROWS]; i++) {
        check(lc_matrix_row(matrix, i, row), "lc_matrix_row");
        put(row, (size_t)h[COLS] * 4);
    }
    lc_matrix_free(matrix);
    free(h), free(weights), free(x), free(y), free(row);
}

/* All are added before the first is written: a gate gets its memory with its partner. */
static void add_tensors(lc_model *model, int32_t n)
{
    enum { SLOT, LAYER, TYPE, ROWS, COLS, BYTES };
    int32_t **tensors = calloc((size_t)n, sizeof *tensors);
    void **bytes = calloc((size_t)n, sizeof *bytes);
    for (int32_t i = 0; i < n; i++) {
        const int32_t *t = tensors[i] = get(24);
        bytes[i] = get((size_t)t[BYTES]);
        check(lc_model_add(model, t[SLOT], t[LAYER], t[TYPE], t[ROWS], t[COLS]), "lc_model_add");
    }
    for (int32_t i = 0; i < n; i++) {
        const int32_t *t = tensors[i];
        check(lc_model_write(model, t[SLOT], t[LAYER], 0, t[ROWS], bytes[i], (size_t)t[BYTES]), "lc_model_write");
        free(tensors[i]), free(bytes[i]);
    }
    free(tensors), free(bytes);
}

static void evaluate(lc_pool *pool)
{
    enum { TENSORS, N_CTX, IDS, ROUNDING, KV_TYPE };
    lc_hparams *hparams = get(sizeof *hparams);
    int32_t *h = get(20), slot, layer;
    lc_model *model;
    lc_context *context;
    check(lc_model_create(hparams, &model), "lc_model_create");
    add_tensors(model, h[TENSORS]);
    check(lc_model_finish(model, &slot, &layer), "lc_model_finish");
    const lc_context_options options = {
        .n_ctx = h[N_CTX], .n_batch = 256, .kv_type = h[KV_TYPE], .rounding = h[ROUNDING]};
    check(lc_context_create(model, pool, &options, &context), "lc_context_create");
    int32_t *n_parts = get(4), *parts = get((size_t)*n_parts * 4), *ids = get((size_t)h[IDS] * 4);
    for (int32_t i = 0, done = 0; i < *n_parts; done += parts[i++]) {
        check(lc_context_eval(context, ids + done, parts[i], NULL), "lc_context_eval");
        put(lc_context_logits(context), (size_t)hparams->n_vocab * 4);
    }
    lc_context_free(context);
    lc_model_free(model);
    free(hparams), free(h), free(n_parts), free(parts), free(ids);
}

int main(void)
{
    lc_pool *pool;
    check(lc_pool_create(2, &pool), "lc_pool_create");
    for (int request; (request = getchar()) != EOF;) {
        switch (request) {
        case 'I': select_isa(); break;
        case 'M': multiply(pool); break;
        case 'L': evaluate(pool); break;
        default: check(request, "an unknown request");
        }
    }
    lc_pool_free(pool);
    return 0;
}
