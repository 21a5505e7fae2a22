#include "select.h"

bool lc_logits_finite(const float *logits, int32_t n)
{
    bool bad = false;
    for (int32_t i = 0; i < n; i++)
        bad |= (lc_bits_of_float(logits[i]) & 0x7f800000u) == 0x7f800000u;
    return !bad;
}

/* Eight results side by side, here and below: compilers make vectors of them. */
#define ABREAST 8

float lc_logits_highest(const float *logits, int32_t n)
{
    float best[ABREAST];
    for (int j = 0; j < ABREAST; j++)
        best[j] = logits[0];
    int32_t i = 0;
    for (; i + ABREAST <= n; i += ABREAST)
        for (int j = 0; j < ABREAST; j++)
            best[j] = logits[i + j] > best[j] ? logits[i + j] : best[j];
    for (; i < n; i++)
        best[0] = logits[i] > best[0] ? logits[i] : best[0];
    for (int j = 1; j < ABREAST; j++)
        best[0] = best[j] > best[0] ? best[j] : best[0];
    return best[0];
}

double lc_logits_mass(const float *logits, int32_t n, float top, float least)
{
    double total = 0.0;
    /* In stretches, so that float sums stay exact to some 1e-7. */
    for (int32_t begin = 0; begin < n; begin += 1024) {
        const int32_t end = (int32_t)lc_min(begin + 1024, n);
        float sums[ABREAST] = {0};
        int32_t i = begin;
        for (; i + ABREAST <= end; i += ABREAST)
            for (int j = 0; j < ABREAST; j++) {
                const float weight = lc_exp(logits[i + j] - top);
                sums[j] += logits[i + j] >= least ? weight : 0.0f;
            }
        for (; i < end; i++)
            sums[0] += logits[i] >= least ? lc_exp(logits[i] - top) : 0.0f;
        for (int j = 0; j < ABREAST; j++)
            total += (double)sums[j];
    }
    return total;
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

void lc_candidates_sort(lc_candidates *c)
{
    make_heap(c);
    sort_heap(c);
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
