/* sample.c - drawing a token from logits, and log-probabilities. */
#include <math.h>
#include <stdlib.h>

#include "random.h"
#include "select.h"

struct lc_sampler {
    int32_t n_vocab;
    lc_random random;
    float *logits;            /* a copy, with the penalty */
    float *weights;
    uint8_t *in_window;       /* all 0 between calls */
    lc_candidates candidates; /* room for n_vocab */
};

lc_status lc_sampler_create(int32_t n_vocab, uint64_t seed, lc_sampler **out)
{
    if (!out || n_vocab < 1 || n_vocab > 1 << 24)
        return LC_ERR_ARGUMENT;
    lc_sampler *s = calloc(1, sizeof *s);
    if (!s)
        return LC_ERR_MEMORY;
    const size_t n = (size_t)n_vocab;
    s->n_vocab = n_vocab;
    s->logits = malloc(n * sizeof *s->logits);
    s->weights = malloc(n * sizeof *s->weights);
    s->in_window = calloc(n, sizeof *s->in_window);
    s->candidates.logits = malloc(n * sizeof *s->candidates.logits);
    s->candidates.ids = malloc(n * sizeof *s->candidates.ids);
    if (!s->logits || !s->weights || !s->in_window || !s->candidates.logits || !s->candidates.ids) {
        lc_sampler_free(s);
        return LC_ERR_MEMORY;
    }
    lc_sampler_reseed(s, seed);
    *out = s;
    return LC_OK;
}

void lc_sampler_free(lc_sampler *s)
{
    if (!s)
        return;
    free(s->logits);
    free(s->weights);
    free(s->in_window);
    free(s->candidates.logits);
    free(s->candidates.ids);
    free(s);
}

void lc_sampler_reseed(lc_sampler *s, uint64_t seed)
{
    if (s)
        s->random = lc_random_seeded(seed);
}

static bool settings_valid(const lc_sampling *how)
{
    return isfinite(how->temperature) && how->temperature >= 0 && how->top_p >= 0 && how->top_p <= 1 &&
           how->min_p >= 0 && how->min_p <= 1 && isfinite(how->repeat_penalty) && how->repeat_penalty > 0 &&
           how->top_k >= 0;
}

/* Each id once, however often it stands in the window (Keskar et al., "CTRL", 2019; a negative logit is multiplied, so
 * that it too falls). */
static void penalize(lc_sampler *s, float penalty, const int32_t *window, int32_t n_window)
{
    for (int32_t i = 0; i < n_window; i++) {
        float *logit = &s->logits[window[i]];
        if (s->in_window[window[i]])
            continue;
        s->in_window[window[i]] = 1;
        *logit = *logit > 0 ? *logit / penalty : *logit * penalty;
    }
    for (int32_t i = 0; i < n_window; i++)
        s->in_window[window[i]] = 0;
}

/* Candidates are the logits of at least `least`, in the order of their ids. */
static void gather(lc_sampler *s, float least)
{
    lc_candidates *c = &s->candidates;
    c->n = 0;
    for (int32_t i = 0; i < s->n_vocab; i++) {
        c->logits[c->n] = s->logits[i];
        c->ids[c->n] = i;
        c->n += s->logits[i] >= least;
    }
}

/* Keeps the shortest front of sorted candidates that reaches the part p of their mass. */
static void cut_mass(lc_sampler *s, float top, float p)
{
    lc_candidates *c = &s->candidates;
    lc_softmax_weights(c->logits, c->n, top, 1.0f, s->weights);
    const double needed = lc_weights_sum(s->weights, c->n) * (double)p;
    double mass = 0.0;
    int32_t n = 0;
    while (n < c->n && (n == 0 || mass < needed))
        mass += (double)s->weights[n++];
    c->n = n;
}

static void cut_below(lc_candidates *c, float least)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < c->n; i++) {
        c->logits[kept] = c->logits[i];
        c->ids[kept] = c->ids[i];
        kept += c->logits[i] >= least;
    }
    c->n = kept;
}

/* Top-k, top-p, min-p, in this order. */
static void filter(lc_sampler *s, const lc_sampling *how, float top)
{
    lc_candidates *c = &s->candidates;
    const float least = how->min_p > 0 ? top + logf(how->min_p) : -INFINITY;

    if (how->top_k > 0 && how->top_k < s->n_vocab) {
        lc_select_top(s->logits, s->n_vocab, how->top_k, c);
        if (how->top_p < 1)
            cut_mass(s, top, how->top_p);
        cut_below(c, least);
    } else if (how->top_p < 1) {
        lc_softmax_weights(s->logits, s->n_vocab, top, 1.0f, s->weights);
        const double all = lc_weights_sum(s->weights, s->n_vocab);
        lc_select_mass(s->logits, s->weights, s->n_vocab, top, all * (double)how->top_p, c);
        cut_below(c, least);
    } else {
        gather(s, least);
    }
}

/* Leaves in `candidates` the ids that may be drawn, and in `weights` shares of them, of any sum. */
static lc_status spread(lc_sampler *s, const float *logits, const lc_sampling *how, const int32_t *window,
                        int32_t n_window)
{
    if (!s || !logits || !how || n_window < 0 || (n_window && !window) || !settings_valid(how))
        return LC_ERR_ARGUMENT;
    for (int32_t i = 0; i < n_window; i++)
        if (window[i] < 0 || window[i] >= s->n_vocab)
            return LC_ERR_ARGUMENT;
    memcpy(s->logits, logits, (size_t)s->n_vocab * sizeof *logits);
    if (how->repeat_penalty != 1.0f)
        penalize(s, how->repeat_penalty, window, n_window);
    float top;
    if (!lc_logits_highest(s->logits, s->n_vocab, &top))
        return LC_ERR_NONFINITE;

    lc_candidates *c = &s->candidates;
    if (how->temperature == 0) {
        int32_t best = 0;
        while (s->logits[best] != top)
            best++;
        c->ids[0] = best;
        c->n = 1;
        s->weights[0] = 1.0f;
        return LC_OK;
    }
    filter(s, how, top);
    lc_softmax_weights(c->logits, c->n, top, how->temperature, s->weights);
    return LC_OK;
}

lc_status lc_sampler_draw(lc_sampler *s, const float *logits, const lc_sampling *how, const int32_t *window,
                          int32_t n_window, int32_t *id)
{
    if (!id)
        return LC_ERR_ARGUMENT;
    const lc_status status = spread(s, logits, how, window, n_window);
    if (status != LC_OK)
        return status;
    const lc_candidates *c = &s->candidates;
    if (how->temperature == 0) {
        *id = c->ids[0];
        return LC_OK;
    }
    const double mass = lc_random_unit(&s->random) * lc_weights_sum(s->weights, c->n);
    *id = c->ids[lc_weights_find(s->weights, c->n, mass)];
    return LC_OK;
}

lc_status lc_sampler_shares(lc_sampler *s, const float *logits, const lc_sampling *how, const int32_t *window,
                            int32_t n_window, const int32_t *ids, int32_t n_ids, float *shares)
{
    if (n_ids < 0 || (n_ids && (!ids || !shares)))
        return LC_ERR_ARGUMENT;
    const lc_status status = spread(s, logits, how, window, n_window);
    if (status != LC_OK)
        return status;
    const lc_candidates *c = &s->candidates;
    const double all = lc_weights_sum(s->weights, c->n);
    for (int32_t i = 0; i < n_ids; i++) {
        int32_t place = 0;
        while (place < c->n && c->ids[place] != ids[i])
            place++;
        shares[i] = place < c->n ? (float)((double)s->weights[place] / all) : 0.0f;
    }
    return LC_OK;
}

/* The logarithm of the sum of e^logit, in stretches that need no memory. */
static double log_sum(const float *logits, int32_t n, float top)
{
    double sum = 0.0;
    float weights[1024];
    for (int32_t begin = 0; begin < n; begin += 1024) {
        const int32_t size = (int32_t)lc_min(1024, n - begin);
        lc_softmax_weights(logits + begin, size, top, 1.0f, weights);
        sum += lc_weights_sum(weights, size);
    }
    return (double)top + log(sum);
}

lc_status lc_logprobs(const float *logits, int32_t n_vocab, int32_t id, float *logprob, int32_t n_top, int32_t *top_ids,
                      float *top_logprobs)
{
    float top;

    if (!logits || n_vocab < 1 || n_top < 0 || n_top > n_vocab || (n_top && (!top_ids || !top_logprobs)) ||
        (logprob && (id < 0 || id >= n_vocab)))
        return LC_ERR_ARGUMENT;
    if (!lc_logits_highest(logits, n_vocab, &top))
        return LC_ERR_NONFINITE;
    const double all = log_sum(logits, n_vocab, top);
    if (logprob)
        *logprob = (float)((double)logits[id] - all);
    if (n_top) {
        lc_candidates best = {top_logprobs, top_ids, 0};
        lc_select_top(logits, n_vocab, n_top, &best);
        for (int32_t i = 0; i < n_top; i++)
            top_logprobs[i] = (float)((double)top_logprobs[i] - all);
    }
    return LC_OK;
}

/* Differences of logs weighed by p: what p has no part in costs nothing, whatever q says of it. */
lc_status lc_kl_divergence(const float *p, const float *q, int32_t n_vocab, double *divergence)
{
    float top_p, top_q, weights[1024];

    if (!p || !q || n_vocab < 1 || !divergence)
        return LC_ERR_ARGUMENT;
    if (!lc_logits_highest(p, n_vocab, &top_p) || !lc_logits_highest(q, n_vocab, &top_q))
        return LC_ERR_NONFINITE;
    const double shift = log_sum(q, n_vocab, top_q) - log_sum(p, n_vocab, top_p);
    double sum = 0.0, all = 0.0;
    for (int32_t begin = 0; begin < n_vocab; begin += 1024) {
        const int32_t size = (int32_t)lc_min(1024, n_vocab - begin);
        lc_softmax_weights(p + begin, size, top_p, 1.0f, weights);
        for (int32_t i = 0; i < size; i++) {
            all += (double)weights[i];
            sum += (double)weights[i] * ((double)p[begin + i] - (double)q[begin + i] + shift);
        }
    }
    *divergence = sum > 0 ? sum / all : 0.0;
    return LC_OK;
}
