/* random.h - random numbers that a seed determines.
 *
 * xoshiro256++ 1.0, seeded by SplitMix64, as Blackman and Vigna describe them in "Scrambled Linear Pseudorandom Number
 * Generators" (2018) and at prng.di.unimi.it, where they are in the public domain.
 */
#ifndef LC_RANDOM_H
#define LC_RANDOM_H

#include "base.h"

typedef struct lc_random {
    uint64_t s[4];
} lc_random;

LC_INLINE uint64_t lc_rotate_left(uint64_t x, int by) { return x << by | x >> (64 - by); }

LC_INLINE lc_random lc_random_seeded(uint64_t seed)
{
    lc_random r;
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        r.s[i] = z ^ z >> 31;
    }
    return r;
}

LC_INLINE uint64_t lc_random_next(lc_random *r)
{
    uint64_t *s = r->s;
    const uint64_t result = lc_rotate_left(s[0] + s[3], 23) + s[0];
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = lc_rotate_left(s[3], 45);
    return result;
}

/* Uniform in [0, 1), 53 bits. */
LC_INLINE double lc_random_unit(lc_random *r) { return (double)(lc_random_next(r) >> 11) * 0x1p-53; }

#endif
