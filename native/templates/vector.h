/* vector.h - kernels over plain float vectors, written once for every instruction set.
 *
 * The including file defines LANES and a vector type `vf` of that many floats (`vi`: as many int32), on which C's
 * operators work, and vf_load, vf_store, vf_set1, vf_fma(a, b, c) = a * b + c, vf_max (its second argument if
 * either is NaN), vf_swap_pairs, vf_sum, vf_highest, vf_load_f16 and vf_store_f16.
 */

LC_INLINE vf vf_min(vf a, vf b) { return -vf_max(-a, -b); }

/* e^x, within 2 units in the last place for x in -87..88, the nearest end of that range beyond it, NaN for NaN: 2^n *
 * e^r with n = round(x / ln 2) and |r| <= ln(2) / 2.  The polynomial is the Taylor series to r^7, whose remainder there
 * is below 6e-9. */
LC_INLINE vf vf_exp(vf x)
{
    const vf magic = vf_set1(12582912.0f); /* 1.5 * 2^23: adding it leaves the rounded value in the low bits */
    x = vf_max(vf_set1(-87.0f), vf_min(vf_set1(88.0f), x));
    const vf biased = vf_fma(x, vf_set1(1.44269504f), magic);
    const vf n = biased - magic;
    vf r = vf_fma(n, vf_set1(-0.693359375f), x);     /* ln 2 in two parts: the first is exact times n */
    r = vf_fma(n, vf_set1(2.12194440e-4f), r);
    vf p = vf_set1(1.0f / 5040);
    p = vf_fma(p, r, vf_set1(1.0f / 720));
    p = vf_fma(p, r, vf_set1(1.0f / 120));
    p = vf_fma(p, r, vf_set1(1.0f / 24));
    p = vf_fma(p, r, vf_set1(1.0f / 6));
    p = vf_fma(p, r, vf_set1(0.5f));
    p = vf_fma(p, r, vf_set1(1.0f));
    p = vf_fma(p, r, vf_set1(1.0f));
    return (vf)((vi)p + ((vi)biased << 23));
}

/* 2^x, relative error below 2e-7, for x in -126..127; 2^-126 below that, NaN for NaN; 1 for 0 exactly: 2^n * 2^r with
 * n = round(x).  The polynomial is the one of degree 5 with the smallest relative error for |r| <= 1/2 (9e-8) among
 * those that are 1 at 0, found by linear programming. */
LC_INLINE vf vf_exp2(vf x)
{
    const vf magic = vf_set1(12582912.0f);
    x = vf_max(vf_set1(-126.0f), x);
    const vf biased = x + magic, r = x - (biased - magic);
    vf p = vf_set1(0.00132647273f);
    p = vf_fma(p, r, vf_set1(0.00967151299f));
    p = vf_fma(p, r, vf_set1(0.0555073358f));
    p = vf_fma(p, r, vf_set1(0.240222424f));
    p = vf_fma(p, r, vf_set1(0.693147004f));
    p = vf_fma(p, r, vf_set1(1.0f));
    return (vf)((vi)p + ((vi)biased << 23));
}

static void rmsnorm(const float *x, const float *weight, int64_t n, float eps, float *out)
{
    vf sum = vf_set1(0.0f);
    for (int64_t i = 0; i < n; i += LANES)
        sum = vf_fma(vf_load(x + i), vf_load(x + i), sum);
    const float square = vf_sum(sum) / (float)n;
    /* An overflow must show: 1 / sqrt(inf) would make zeros of it. */
    const vf scale = vf_set1(square <= FLT_MAX ? 1.0f / sqrtf(square + eps) : NAN);
    for (int64_t i = 0; i < n; i += LANES)
        vf_store(out + i, vf_load(x + i) * scale * vf_load(weight + i));
}

static void swiglu(float *gate, const float *up, int64_t n)
{
    const vf one = vf_set1(1.0f);
    for (int64_t i = 0; i < n; i += LANES) {
        const vf g = vf_load(gate + i);
        vf_store(gate + i, g / (one + vf_exp(-g)) * vf_load(up + i));
    }
}

static void rope(const float *x, const float *cosine, const float *sine, int64_t n, float scale, float *out)
{
    const vf s = vf_set1(scale);
    for (int64_t i = 0; i < n; i += LANES) {
        const vf v = vf_load(x + i) * s;
        vf_store(out + i, vf_fma(vf_swap_pairs(v), vf_load(sine + i), v * vf_load(cosine + i)));
    }
}

static void to_f16(const float *x, int64_t n, uint16_t *out)
{
    for (int64_t i = 0; i < n; i += LANES)
        vf_store_f16(out + i, vf_load(x + i));
}
