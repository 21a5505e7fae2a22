/* select.h - the largest of many logits, and sums of their exponentials. */
#ifndef LC_SELECT_H
#define LC_SELECT_H

#include "base.h"

/* Logits of some tokens, as two arrays side by side.  Their order, wherever they are sorted or compared: higher logits
 * first, lower ids first among equals; so there are no ties. */
typedef struct lc_candidates {
    float *logits;
    int32_t *ids;
    int32_t n;
} lc_candidates;

/* e^x for x <= 0 (more than -87: e^-87 below it), within 2 units in the last place.  Plain arithmetic that compilers
 * vectorise: a vocabulary of 128k takes some 100 us. */
LC_INLINE float lc_exp(float x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds, and leaves the integer in the low bits */
    x = x < -87.0f ? -87.0f : x;
    const float biased = x * 1.44269504f + magic;
    const float n = biased - magic;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f; /* ln 2 in two parts */
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return lc_float_of_bits(lc_bits_of_float(p) + (lc_bits_of_float(biased) << 23));
}

/* Whether all are finite; the highest, if so. */
bool lc_logits_highest(const float *logits, int32_t n, float *highest);
/* weights[i] = e^((logits[i] - top) / temperature), for logits of at most top; may be done in place. */
void lc_softmax_weights(const float *logits, int32_t n, float top, float temperature, float *weights);
/* Their sum, and the place where the running sum exceeds `mass` (the last place if it never does). */
double lc_weights_sum(const float *weights, int32_t n);
int32_t lc_weights_find(const float *weights, int32_t n, double mass);

/* The k (1..n) first of n logits in order, into out, which has room for k. */
void lc_select_top(const float *logits, int32_t n, int32_t k, lc_candidates *out);
/* The shortest front of the order of n logits whose weights (at temperature 1, of highest logit top) sum to at least
 * `mass`, in no particular but a fixed order, into out, which has room for n.  Does not sort them all. */
void lc_select_mass(const float *logits, const float *weights, int32_t n, float top, double mass, lc_candidates *out);

#endif
