/* quantize_super.c - float32 weights as super-blocks: Q4_K, Q5_K and Q6_K.
 *
 * A weight becomes d * scale * q - dmin * minimum (Q4_K, Q5_K) or d * scale * q (Q6_K), where scales and minima are
 * small integers themselves.  No closed form gives the best integers, so they are searched for, from the weights up:
 *
 *   1. A group alone.  With its quants held fixed, the best real scale and minimum are a linear least-squares problem
 *      with a closed form; with these held fixed, the best quants are found by rounding.  From some twenty starting
 *      points, scales near that which spans the group, one such step finds the best start, and a few more settle it.
 *   2. The super-block.  d and dmin take the largest scale and minimum to the largest integer.
 *   3. The group again, now in integers: the neighbours of its scale and of its minimum are tried, since rounding both
 *      on their own misses pairs in which one makes up for the other; quants are rounded anew for each.
 *   4. With all integers fixed, d and dmin are once more a least-squares problem; where its solution, rounded to
 *      float16, leaves a smaller error it is taken, with quants rounded anew.
 *
 * Errors are weighed by the magnitude of the weight: large weights are those that training moved most, and they meet
 * the larger activations.  The measure is half flat, so that small weights do not all become zero.
 *
 * Sums run in LANES partial sums in a fixed order: compilers make vectors of them, and every processor gets the same
 * bytes.
 */
#include "quantize.h"

#include "superblocks.h"

#include <math.h>

#define LANES 8
#define GROUPS_MAX 16

/* Rounds to nearest, for magnitudes below 2^22, in a form that compilers make vectors of. */
LC_INLINE float rounded(float v) { return (v + 0x1.8p23f) - 0x1.8p23f; }

LC_INLINE float clamped(float v, float low, float high)
{
    v = v > low ? v : low;
    return v < high ? v : high;
}

/* What a type asks of its groups. */
typedef struct shape {
    int size;         /* weights in a group */
    float low, high;  /* the least and the largest quant */
    bool affine;      /* whether there are minima */
} shape;

/* A group in the making. */
typedef struct group {
    const float *x;
    float w[LC_BLOCK];  /* how much an error of each weight counts */
    float q[LC_BLOCK];
    float scale, minimum;
} group;

/* Weighted sums over a group that the least-squares solutions are made of. */
typedef struct sums {
    float one, q, qq, x, xq, xx;
} sums;

LC_INLINE float total(const float lanes[LANES])
{
    return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

LC_INLINE sums sums_of(const shape *s, const float *x, const float *w, const float *q)
{
    float one[LANES] = {0}, sq[LANES] = {0}, qq[LANES] = {0}, sx[LANES] = {0}, xq[LANES] = {0}, xx[LANES] = {0};
    for (int i = 0; i < s->size; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            const float wq = w[i + l] * q[i + l], wx = w[i + l] * x[i + l];
            one[l] += w[i + l];
            sq[l] += wq;
            qq[l] += wq * q[i + l];
            sx[l] += wx;
            xq[l] += wx * q[i + l];
            xx[l] += wx * x[i + l];
        }
    }
    return (sums){total(one), total(sq), total(qq), total(sx), total(xq), total(xx)};
}

/* The quants nearest to the weights for a scale and a minimum. */
LC_INLINE void round_quants(const shape *s, const float *x, float scale, float minimum, float *q)
{
    const float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
    const bool usable = fabsf(inverse) < 0x1p126f;
    for (int i = 0; i < s->size; i++)
        q[i] = usable ? rounded(clamped((x[i] + minimum) * inverse, s->low, s->high)) : 0.0f;
}

/* The weighted squared error of a group. */
LC_INLINE float error_of(const shape *s, const float *x, const float *w, const float *q, float scale, float minimum)
{
    float error[LANES] = {0};
    for (int i = 0; i < s->size; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            const float e = x[i + l] - (scale * q[i + l] - minimum);
            error[l] += w[i + l] * e * e;
        }
    }
    return total(error);
}

/* The best scale and minimum (none below 0) for quants.  Returns the error that they leave, less what no choice can
 * change. */
LC_INLINE float solve(const shape *s, const sums *t, float *scale, float *minimum)
{
    const float det = t->one * t->qq - t->q * t->q;
    *minimum = 0.0f;
    *scale = t->qq > 0.0f ? t->xq / t->qq : 0.0f;
    if (s->affine && det > 1e-6f * t->one * t->qq) {
        const float m = (t->q * t->xq - t->x * t->qq) / det;
        if (m > 0.0f) {
            *minimum = m;
            *scale = (t->one * t->xq - t->q * t->x) / det;
        }
    }
    return *minimum * t->x - *scale * t->xq; /* the residual is orthogonal to the fit */
}

/* ---- 1. a group alone ---- */

#define STARTS 10      /* on either side of the scale that spans the group */
#define START_STEP 0.1f
#define SETTLING 3

static void fit_group(const shape *s, group *g)
{
    float low = g->x[0], high = g->x[0];
    for (int i = 1; i < s->size; i++) {
        low = g->x[i] < low ? g->x[i] : low;
        high = g->x[i] > high ? g->x[i] : high;
    }
    g->scale = g->minimum = 0.0f;
    for (int i = 0; i < s->size; i++)
        g->q[i] = 0.0f;
    if (low == 0.0f && high == 0.0f)
        return;

    /* An affine group spans from its minimum, at most 0, to its maximum; another reaches its extreme, on the side where
     * there is one quant more. */
    const float offset = s->affine ? -(low < 0.0f ? low : 0.0f) : 0.0f;
    const float extreme = -low > high ? low : high;
    const float range = s->affine ? high + offset : extreme;
    const float steps = s->affine ? s->high : s->low;
    float best = INFINITY;
    if (s->affine && range <= 0.0f) {
        g->minimum = offset; /* all weights equal and negative: the minimum alone */
        return;
    }
    for (int i = -STARTS; i <= STARTS; i++) {
        float q[LC_BLOCK], scale, minimum;
        round_quants(s, g->x, range / (steps + START_STEP * (float)i), offset, q);
        const sums t = sums_of(s, g->x, g->w, q);
        const float error = solve(s, &t, &scale, &minimum);
        if (error < best) {
            best = error;
            g->scale = scale;
            g->minimum = minimum;
        }
    }
    for (int i = 0; i < SETTLING; i++) {
        float q[LC_BLOCK], scale, minimum;
        round_quants(s, g->x, g->scale, g->minimum, q);
        const sums t = sums_of(s, g->x, g->w, q);
        const float error = solve(s, &t, &scale, &minimum);
        if (!(error < best))
            break;
        best = error;
        g->scale = scale;
        g->minimum = minimum;
    }
}

/* ---- 2 to 4: groups as integers ---- */

/* A super-block in integers. */
typedef struct super {
    uint16_t d, dmin;          /* f16 */
    int scale[GROUPS_MAX], minimum[GROUPS_MAX];
    float q[LC_SUPER];
} super;

/* The integers that scales and minima may be. */
typedef struct limits {
    int scale_low, scale_high, minimum_high;
} limits;

/* A scale as float16 has it.  Where float16 has few digits left it is rounded up: integers can be smaller, but those of
 * the widest group not larger. */
LC_INLINE float f16(float v)
{
    const float nearest = lc_f32_of_f16(lc_f16_of_f32(v));
    const bool short_of = fabsf(nearest) < 0x1p-14f && fabsf(nearest) < fabsf(v);
    return short_of ? nearest + copysignf(0x1p-24f, v) : nearest;
}

/* The best integers for a group near those that its own scale and minimum round to; returns the error.  The results
 * are zeros before, and stay so where nothing is better. */
static float place_group(const shape *s, const limits *may, const group *g, float d, float dmin, int *scale,
                         int *minimum, float *q)
{
    const int near_scale = (int)clamped(rounded(d != 0.0f ? g->scale / d : 0.0f), -1000.0f, 1000.0f);
    const int near_minimum = (int)clamped(rounded(dmin != 0.0f ? g->minimum / dmin : 0.0f), 0.0f, 1000.0f);
    const int reach = s->affine ? 1 : 0;
    float best = error_of(s, g->x, g->w, q, 0.0f, 0.0f); /* of zeros, which *scale, *minimum and q are */
    for (int i = near_scale - 1; i <= near_scale + 1; i++) {
        for (int j = near_minimum - reach; j <= near_minimum + reach; j++) {
            float trial[LC_BLOCK];
            if (i < may->scale_low || i > may->scale_high || j < 0 || j > may->minimum_high)
                continue;
            round_quants(s, g->x, d * (float)i, dmin * (float)j, trial);
            const float error = error_of(s, g->x, g->w, trial, d * (float)i, dmin * (float)j);
            if (error < best) {
                best = error;
                *scale = i;
                *minimum = j;
                memcpy(q, trial, (size_t)s->size * sizeof *q);
            }
        }
    }
    return best;
}

static float place_all(const shape *s, const limits *may, const group *g, float d, float dmin, super *out)
{
    float error = 0.0f;
    out->d = lc_f16_of_f32(d);
    out->dmin = lc_f16_of_f32(dmin);
    for (int i = 0; i < LC_SUPER / s->size; i++) {
        out->scale[i] = out->minimum[i] = 0;
        memset(out->q + i * s->size, 0, (size_t)s->size * sizeof *out->q);
        error += place_group(s, may, g + i, d, dmin, &out->scale[i], &out->minimum[i], out->q + i * s->size);
    }
    return error;
}

/* d and dmin that fit the integers best: least squares over all groups, in two unknowns. */
static void refit(const shape *s, const group *g, const super *at, float *d, float *dmin)
{
    float aa = 0.0f, ab = 0.0f, bb = 0.0f, xa = 0.0f, xb = 0.0f;
    for (int i = 0; i < LC_SUPER / s->size; i++) {
        const sums t = sums_of(s, g[i].x, g[i].w, at->q + i * s->size);
        const float u = (float)at->scale[i], v = (float)at->minimum[i];
        aa += u * u * t.qq;
        ab += u * v * t.q;
        bb += v * v * t.one;
        xa += u * t.xq;
        xb += v * t.x;
    }
    const float det = aa * bb - ab * ab;
    if (s->affine && det > 1e-6f * aa * bb) {
        *d = (xa * bb - xb * ab) / det;
        *dmin = (xa * ab - xb * aa) / det;
    } else if (aa > 0.0f) {
        *d = (xa + *dmin * ab) / aa;
    }
}

#define REFITS 2

static void search(const shape *s, const limits *may, const float *x, super *out)
{
    group groups[GROUPS_MAX];
    const int n = LC_SUPER / s->size;
    float scale = 0.0f, minimum = 0.0f;
    for (int i = 0; i < n; i++) {
        group *const g = &groups[i];
        float squares = 0.0f;
        g->x = x + i * s->size;
        for (int k = 0; k < s->size; k++)
            squares += g->x[k] * g->x[k];
        const float flat = sqrtf(squares / (float)s->size);
        for (int k = 0; k < s->size; k++)
            g->w[k] = flat + fabsf(g->x[k]);
        fit_group(s, g);
        scale = fabsf(g->scale) > fabsf(scale) ? g->scale : scale;
        minimum = g->minimum > minimum ? g->minimum : minimum;
    }
    /* Where scales have a sign, the largest becomes the most negative one, of which there is one more. */
    const float widest = s->affine ? (float)may->scale_high : (float)may->scale_low;
    float d = f16(scale / widest), dmin = s->affine ? f16(minimum / (float)may->minimum_high) : 0.0f;
    float best = place_all(s, may, groups, d, dmin, out);
    for (int i = 0; i < REFITS; i++) {
        super other;
        refit(s, groups, out, &d, &dmin);
        d = f16(d);
        dmin = f16(dmin < 0.0f ? 0.0f : dmin);
        const float error = place_all(s, may, groups, d, dmin, &other);
        if (!(error < best))
            break;
        best = error;
        *out = other;
    }
}

/* ---- the bytes of a file ---- */

static void store_halves(const super *at, uint8_t *block)
{
    lc_store16(block, at->d);
    lc_store16(block + 2, at->dmin);
}

/* Eight scales and eight minima of six bits: the first four stand in bytes of their own, whose two high bits are those
 * of the last four. */
static void store_scales(const super *at, uint8_t *scales)
{
    for (int i = 0; i < 4; i++) {
        const int j = i + 4;
        scales[i] = (uint8_t)(at->scale[i] | at->scale[j] >> 4 << 6);
        scales[j] = (uint8_t)(at->minimum[i] | at->minimum[j] >> 4 << 6);
        scales[i + 8] = (uint8_t)((at->scale[j] & 15) | (at->minimum[j] & 15) << 4);
    }
}

/* Q4_K and Q5_K: nibbles of two groups of 32 share bytes; fifth bits of all eight groups do. */
static void store_affine(int32_t type, const super *at, uint8_t *block)
{
    uint8_t *const high = type == LC_Q5_K ? block + 16 : NULL;
    uint8_t *const low = block + (type == LC_Q5_K ? 48 : 16);
    store_halves(at, block);
    store_scales(at, block + 4);
    memset(block + 16, 0, (size_t)(low - block - 16) + LC_SUPER / 2);
    for (int e = 0; e < LC_SUPER; e++) {
        const int q = (int)at->q[e];
        low[e / 64 * 32 + e % 32] |= (uint8_t)((q & 15) << e / 32 % 2 * 4);
        if (high)
            high[e % 32] |= (uint8_t)((q >> 4) << e / 32);
    }
}

/* Q6_K: of each half, nibbles of two quarters share bytes, and pairs of high bits of all four. */
static void store_q6(const super *at, uint8_t *block)
{
    memset(block, 0, 192);
    for (int e = 0; e < LC_SUPER; e++) {
        const int half = e / 128, g = e % 128 / 32, l = e % 32;
        const int q = (int)at->q[e] + 32;
        block[64 * half + 32 * (g % 2) + l] |= (uint8_t)((q & 15) << g / 2 * 4);
        block[128 + 32 * half + l] |= (uint8_t)((q >> 4) << 2 * g);
    }
    for (int i = 0; i < GROUPS_MAX; i++)
        block[192 + i] = (uint8_t)(int8_t)at->scale[i];
    lc_store16(block + 208, at->d);
}

bool lc_super_quantizes(int32_t type) { return type == LC_Q4_K || type == LC_Q5_K || type == LC_Q6_K; }

void lc_super_quantize(int32_t type, const float *x, uint8_t *block)
{
    static const limits SIX_BITS = {0, 63, 63}, EIGHT_BITS = {-128, 127, 0};
    super found;
    if (type == LC_Q6_K) {
        search(&(shape){16, -32.0f, 31.0f, false}, &EIGHT_BITS, x, &found);
        store_q6(&found, block);
    } else {
        search(&(shape){32, 0.0f, type == LC_Q5_K ? 31.0f : 15.0f, true}, &SIX_BITS, x, &found);
        store_affine(type, &found, block);
    }
}
