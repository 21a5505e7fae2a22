/* probe.c - what the machine can do, measured by plain loops: the yardstick of compare.py.
 *
 *     cc -O3 -march=native -pthread probe.c -o probe && ./probe THREADS
 *
 * prints {"int8_gop_s": ..., "f32_gflop_s": ...}, int8 dot products (a multiplication and an addition are two
 * operations) and f32 fused multiply-adds, the best of a few runs; then for every line that comes {"read_gb_s": ...,
 * "best_read_gb_s": ...}, bytes read from memory by all threads at once (far more than caches hold, 2 MB pages), the
 * median of some runs and the best of them.  Neighbours share a machine's memory, not its arithmetic: what memory gives
 * for as long as an answer takes is the median.  The memory that is read stays the same: a virtual machine that gives
 * back what is free is busy with that for seconds.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define BYTES ((size_t)512 << 20) /* in each thread's memory */
#define ROUNDS 20000000L
#define RUNS 5
#define READ_RUNS 15 /* a third of a second */
#define AHEAD 8192 /* bytes: the processor's own prefetching starts anew at every page */

typedef struct probe {
    pthread_t thread;
    void (*run)(struct probe *);
    uint8_t *memory;
    volatile uint64_t sink;
} probe;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef uint64_t words __attribute__((vector_size(64)));

static void read_memory(probe *p)
{
    words sums[8] = {{0}};
    for (const words *at = (const words *)p->memory, *end = at + BYTES / sizeof(words); at < end; at += 8)
        for (int i = 0; i < 8; i++) {
            __builtin_prefetch((const uint8_t *)(at + i) + AHEAD); /* past the end nothing happens */
            sums[i] += at[i];
        }
    for (int i = 0; i < 8; i++)
        p->sink += sums[i][0] + sums[i][5];
}

/* Enough independent sums to hide the latency: 12 registers. */
#define SUMS 12

#if defined(__AVX512VNNI__)
#define INT8_OPS (64 * 2)
static void int8_dots(probe *p)
{
    __m512i sums[SUMS], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
    for (int i = 0; i < SUMS; i++)
        sums[i] = _mm512_setzero_si512();
    for (long r = 0; r < ROUNDS; r++) {
        #pragma GCC unroll 12
        for (int i = 0; i < SUMS; i++)
            sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
        __asm__ volatile("" : "+v"(a), "+v"(b));
    }
    for (int i = 0; i < SUMS; i++)
        p->sink += (uint64_t)_mm512_reduce_add_epi32(sums[i]);
}
#elif defined(__AVX2__)
#define INT8_OPS (32 * 2)
static void int8_dots(probe *p)
{
    __m256i sums[SUMS], a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
    for (int i = 0; i < SUMS; i++)
        sums[i] = _mm256_setzero_si256();
    for (long r = 0; r < ROUNDS; r++) {
        #pragma GCC unroll 12
        for (int i = 0; i < SUMS; i++)
            sums[i] = _mm256_add_epi16(sums[i], _mm256_maddubs_epi16(a, b));
        __asm__ volatile("" : "+x"(a), "+x"(b));
    }
    for (int i = 0; i < SUMS; i++)
        p->sink += (uint64_t)_mm256_extract_epi64(sums[i], 0);
}
#else
#define INT8_OPS 0
static void int8_dots(probe *p) { p->sink = 1; }
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
typedef float floats __attribute__((vector_size(LANES * 4)));

static void f32_multiply_adds(probe *p)
{
    volatile float one = 1.0f, little = 1e-9f; /* not known to the compiler, which would leave the multiplication out */
    floats sums[SUMS] = {{0}}, a = {0}, b = {0};
    a += one;
    b += little;
    for (int i = 0; i < SUMS; i++) /* unequal, or one would be computed for all */
        sums[i] += (float)i;
    for (long r = 0; r < ROUNDS; r++) {
        #pragma GCC unroll 12
        for (int i = 0; i < SUMS; i++)
            sums[i] = sums[i] * a + b;
        __asm__ volatile("");
    }
    for (int i = 0; i < SUMS; i++)
        p->sink += (uint64_t)sums[i][0];
}

static void *start(void *argument)
{
    probe *p = argument;
    p->run(p);
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The seconds of some runs of all threads together, the fastest first. */
static void measure(probe *probes, int n, void (*run)(probe *), double *seconds, int n_runs)
{
    for (int i = 0; i < n_runs; i++) {
        const double begin = now();
        for (int t = 0; t < n; t++) {
            probes[t].run = run;
            if (pthread_create(&probes[t].thread, NULL, start, &probes[t]))
                exit(1);
        }
        for (int t = 0; t < n; t++)
            pthread_join(probes[t].thread, NULL);
        seconds[i] = now() - begin;
    }
    qsort(seconds, (size_t)n_runs, sizeof *seconds, by_size);
}

static double fastest(probe *probes, int n, void (*run)(probe *))
{
    double seconds[RUNS];
    measure(probes, n, run, seconds, RUNS);
    return seconds[0];
}

static void print_read(probe *probes, int n)
{
    double seconds[READ_RUNS];
    measure(probes, n, read_memory, seconds, READ_RUNS);
    const double gb = (double)BYTES * n / 1e9;
    printf("{\"read_gb_s\": %.1f, \"best_read_gb_s\": %.1f}\n", gb / seconds[READ_RUNS / 2], gb / seconds[0]);
}

int main(int argc, char **argv)
{
    const int n = argc > 1 ? atoi(argv[1]) : 1;
    if (n < 1 || n > 256)
        return 2;
    probe *probes = calloc((size_t)n, sizeof *probes);
    for (int t = 0; t < n; t++) {
        probes[t].memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (probes[t].memory == MAP_FAILED)
            return 1;
        madvise(probes[t].memory, BYTES, MADV_HUGEPAGE);
        for (size_t i = 0; i < BYTES; i += 64)
            probes[t].memory[i] = (uint8_t)i;
    }
    const double int8 = fastest(probes, n, int8_dots);
    const double f32 = fastest(probes, n, f32_multiply_adds);
    const double rounds = (double)ROUNDS * SUMS * n / 1e9;
    printf("{\"int8_gop_s\": %.0f, \"f32_gflop_s\": %.0f}\n", rounds * INT8_OPS / int8, rounds * LANES * 2 / f32);
    for (int c = 0; fflush(stdout) == 0 && c != EOF;) {
        while ((c = getchar()) != '\n' && c != EOF)
            continue;
        if (c == '\n')
            print_read(probes, n);
    }
    return 0;
}
