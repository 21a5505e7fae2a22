#include "select.h"

/* Eight results side by side: compilers make vectors of them. */
#define ABREAST 8
/* Floats are summed in stretches of so many, and those sums in double: exact to some 1e-7. */
#define STRETCH 1024

bool lc_logits_highest(const float *logits, int32_t n, float *highest)
{
    float best[ABREAST], zeros[ABREAST] = {0}; /* x * 0 is 0, but NaN for an infinity or a NaN */
    for (int j = 0; j < ABREAST; j++)
        best[j] = logits[0];
    int32_t i = 0;
    for (; i + ABREAST <= n; i += ABREAST)
        for (int j = 0; j < ABREAST; j++) {
            best[j] = logits[i + j] > best[j] ? logits[i + j] : best[j];
            zeros[j] += logits[i + j] * 0.0f;
        }
    for (; i < n; i++) {
        best[0] = logits[i] > best[0] ? logits[i] : best[0];
        zeros[0] += logits[i] * 0.0f;
    }
    for (int j = 1; j < ABREAST; j++) {
        best[0] = best[j] > best[0] ? best[j] : best[0];
        zeros[0] += zeros[j];
    }
    *highest = best[0];
    return zeros[0] == 0.0f;
}

void lc_softmax_weights(const float *logits, int32_t n, float top, float temperature, float *weights)
{
    for (int32_t i = 0; i < n; i++)
        weights[i] = lc_exp((logits[i] - top) / temperature);
}

static double stretch_sum(const float *weights, int32_t n)
{
    float sums[ABREAST] = {0};
    int32_t i = 0;
    for (; i + ABREAST <= n; i += ABREAST)
        for (int j = 0; j < ABREAST; j++)
            sums[j] += weights[i + j];
    double total = 0.0;
    for (; i < n; i++)
        total += (double)weights[i];
    for (int j = 0; j < ABREAST; j++)
        total += (double)sums[j];
    return total;
}

double lc_weights_sum(const float *weights, int32_t n)
{
    double total = 0.0;
    for (int32_t begin = 0; begin < n; begin += STRETCH)
        total += stretch_sum(weights + begin, (int32_t)lc_min(STRETCH, n - begin));
    return total;
}

int32_t lc_weights_find(const float *weights, int32_t n, double mass)
{
    int32_t begin = 0;
    for (; begin + STRETCH < n; begin += STRETCH) {
        const double sum = stretch_sum(weights + begin, STRETCH);
        if (sum > mass)
            break;
        mass -= sum;
    }
    const int32_t last = (int32_t)lc_min(begin + STRETCH, n) - 1;
    for (int32_t i = begin; i < last; i++) {
        mass -= (double)weights[i];
        if (mass < 0)
            return i;
    }
    return last;
}

/* ---- a heap whose root is the last in order: the first to be replaced ---- */

LC_INLINE bool before(const lc_candidates *c, int32_t a, int32_t b)
{
    return c->logits[a] > c->logits[b] || (c->logits[a] == c->logits[b] && c->ids[a] < c->ids[b]);
}

LC_INLINE void swap(lc_candidates *c, int32_t a, int32_t b)
{
    const float logit = c->logits[a];
    const int32_t id = c->ids[a];
    c->logits[a] = c->logits[b];
    c->ids[a] = c->ids[b];
    c->logits[b] = logit;
    c->ids[b] = id;
}

static void sift_down(lc_candidates *c, int32_t at, int32_t n)
{
    for (;;) {
        int32_t child = 2 * at + 1;
        if (child >= n)
            return;
        if (child + 1 < n && before(c, child, child + 1))
            child++;
        if (!before(c, at, child))
            return;
        swap(c, at, child);
        at = child;
    }
}

static void make_heap(lc_candidates *c)
{
    for (int32_t i = c->n / 2 - 1; i >= 0; i--)
        sift_down(c, i, c->n);
}

static void sort_heap(lc_candidates *c)
{
    for (int32_t n = c->n - 1; n > 0; n--) {
        swap(c, 0, n);
        sift_down(c, 0, n);
    }
}

void lc_select_top(const float *logits, int32_t n, int32_t k, lc_candidates *out)
{
    out->n = k;
    for (int32_t i = 0; i < k; i++) {
        out->logits[i] = logits[i];
        out->ids[i] = i;
    }
    make_heap(out);
    /* Ids come in ascending order, so among equals the one that is in already stays. */
    for (int32_t i = k; i < n; i++)
        if (logits[i] > out->logits[0]) {
            out->logits[0] = logits[i];
            out->ids[0] = i;
            sift_down(out, 0, k);
        }
    sort_heap(out);
}

/* ---- by mass ---- */

/* Buckets of logits by how far they are below the highest: 1/64 apart; the last one holds all the rest, which weighs
 * e^-32 each at most. */
#define BUCKETS 2048

LC_INLINE int32_t bucket_of(float logit, float top)
{
    const float steps = (top - logit) * 64.0f;
    return steps < BUCKETS - 1 ? (int32_t)steps : BUCKETS - 1;
}

/* The bucket in which the sum reaches the mass, and what the better ones weigh. */
static int32_t boundary(const float *logits, const float *weights, int32_t n, float top, double mass, double *better)
{
    double masses[BUCKETS] = {0};
    for (int32_t i = 0; i < n; i++)
        masses[bucket_of(logits[i], top)] += (double)weights[i];
    int32_t bucket = 0;
    for (*better = 0.0; bucket < BUCKETS - 1 && *better + masses[bucket] < mass; bucket++)
        *better += masses[bucket];
    return bucket;
}

/* Only the bucket in which the front ends is sorted: sorting a vocabulary would take ten times as long. */
void lc_select_mass(const float *logits, const float *weights, int32_t n, float top, double mass, lc_candidates *out)
{
    double sum;
    const int32_t last = boundary(logits, weights, n, top, mass, &sum);
    int32_t n_better = 0, n_last = 0;

    for (int32_t i = 0; i < n; i++) {
        const int32_t bucket = bucket_of(logits[i], top);
        if (bucket < last) {
            out->logits[n_better] = logits[i];
            out->ids[n_better++] = i;
        } else if (bucket == last) { /* from the end, until all better ones are known */
            n_last++;
            out->logits[n - n_last] = logits[i];
            out->ids[n - n_last] = i;
        }
    }
    lc_candidates rest = {out->logits + n - n_last, out->ids + n - n_last, n_last};
    make_heap(&rest);
    sort_heap(&rest);
    out->n = n_better;
    for (int32_t i = 0; i < n_last && (out->n == 0 || sum < mass); i++) {
        out->logits[out->n] = rest.logits[i];
        out->ids[out->n++] = rest.ids[i];
        sum += (double)lc_exp(rest.logits[i] - top);
    }
}
