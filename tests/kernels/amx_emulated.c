/* kernels/x86/ops_amx.c with tile registers in memory: all of the AMX kernels but the instructions
 * themselves runs on every machine with AVX2.
 *
 * The instructions do what Intel's SDM says, with the shapes that they were given: no shapes, no
 * rows, so nothing is loaded, multiplied or stored, and results stay unwritten. */
#include "driver.h"

#include <immintrin.h>
#include <string.h>

#define REGISTERS_THERE 8
#define MOST_ROWS       16
#define MOST_ROW_BYTES  64

/* ---------------------------------------------------------------- the registers */

static struct {
    int rows, row_bytes;
    unsigned char bytes[MOST_ROWS][MOST_ROW_BYTES];
} tiles[REGISTERS_THERE];

/* 64 bytes: the palette, then the bytes a row of each register from 16 on, then rows from 48 on. */
static void configure(const void *shapes)
{
    const unsigned char *bytes = shapes;
    memset(tiles, 0, sizeof tiles);
    for (int i = 0; i < REGISTERS_THERE && bytes[0] == 1; i++) {
        tiles[i].row_bytes = bytes[16 + 2 * i] | bytes[17 + 2 * i] << 8;
        tiles[i].rows = bytes[48 + i];
    }
}

static void release(void)
{
    memset(tiles, 0, sizeof tiles);
}

static void load(int to, const void *from, size_t stride)
{
    memset(tiles[to].bytes, 0, sizeof tiles[to].bytes);
    for (int row = 0; row < tiles[to].rows; row++)
        memcpy(tiles[to].bytes[row], (const char *)from + (size_t)row * stride,
               (size_t)tiles[to].row_bytes);
}

static void store(int from, void *to, size_t stride)
{
    for (int row = 0; row < tiles[from].rows; row++)
        memcpy((char *)to + (size_t)row * stride, tiles[from].bytes[row],
               (size_t)tiles[from].row_bytes);
}

/* ---------------------------------------------------------------- the products */

/* In vectors of AVX2, which the kernels under test need anyway: in plain C these products were a
 * quarter of all that this program does. */
#define WORDS (MOST_ROW_BYTES / 4)
#define HALF  (WORDS / 2)

static __m256i words_at(const void *from)
{
    return _mm256_loadu_si256(from);
}

static __m256 odd_halves(__m256i words)
{
    __m256i high = _mm256_and_si256(words, _mm256_set1_epi32((int)0xffff0000u));
    return _mm256_castsi256_ps(high);
}

static __m256 even_halves(__m256i words)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
}

/* A word of the left matrix, in every lane. */
static __m256i repeated(const unsigned char *from)
{
    int word;
    memcpy(&word, from, sizeof word);
    return _mm256_set1_epi32(word);
}

/* Even and odd products in sums of their own, which begin at zero. */
static void multiply_bf16(int to, int a, int b)
{
    for (int row = 0; row < tiles[to].rows; row++) {
        float sums[WORDS];
        memcpy(sums, tiles[to].bytes[row], sizeof sums);
        for (int n = 0; n < WORDS; n += HALF) {
            __m256 even = _mm256_setzero_ps(), odd = _mm256_setzero_ps();
            for (int k = 0; k < tiles[a].row_bytes / 4; k++) {
                __m256i left = repeated(tiles[a].bytes[row] + 4 * k);
                __m256i right = words_at(tiles[b].bytes[k] + 4 * n);
                even = _mm256_fmadd_ps(even_halves(left), even_halves(right), even);
                odd = _mm256_fmadd_ps(odd_halves(left), odd_halves(right), odd);
            }
            __m256 both = _mm256_add_ps(even, odd);
            _mm256_storeu_ps(sums + n, _mm256_add_ps(_mm256_loadu_ps(sums + n), both));
        }
        memcpy(tiles[to].bytes[row], sums, (size_t)tiles[to].row_bytes);
    }
}

/* Bytes without a sign by bytes with one; sums of 32 bits. Bytes 0 and 2 of a word are multiplied
 * as one pair of 16 bits, 1 and 3 as another. */
static void multiply_u8(int to, int a, int b)
{
    __m256i low = _mm256_set1_epi16(0xff);
    for (int row = 0; row < tiles[to].rows; row++) {
        unsigned char sums[MOST_ROW_BYTES];
        memcpy(sums, tiles[to].bytes[row], sizeof sums);
        for (int n = 0; n < WORDS; n += HALF) {
            __m256i sum = words_at(sums + 4 * n);
            for (int k = 0; k < tiles[a].row_bytes / 4; k++) {
                __m256i left = repeated(tiles[a].bytes[row] + 4 * k);
                __m256i right = words_at(tiles[b].bytes[k] + 4 * n);
                __m256i even = _mm256_madd_epi16(_mm256_and_si256(left, low),
                                                 _mm256_srai_epi16(_mm256_slli_epi16(right, 8), 8));
                __m256i odd =
                    _mm256_madd_epi16(_mm256_srli_epi16(left, 8), _mm256_srai_epi16(right, 8));
                sum = _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
            }
            _mm256_storeu_si256((__m256i_u *)(void *)(sums + 4 * n), sum);
        }
        memcpy(tiles[to].bytes[row], sums, (size_t)tiles[to].row_bytes);
    }
}

/* ---------------------------------------------------------------- in the instructions' place */

#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#undef _tile_dpbusd
#define _tile_loadd(to, from, stride)  load(to, from, (size_t)(stride))
#define _tile_stored(from, to, stride) store(from, to, (size_t)(stride))
#define _tile_dpbf16ps                 multiply_bf16
#define _tile_dpbusd                   multiply_u8
#define _tile_release()                release()
#define CONFIGURE_TILES(shapes)        configure(&(shapes))
#define amx_ops_bf16                   emulated_bf16
#define amx_ops_u8                     emulated_u8

#include "kernels/x86/ops_amx.c"

#include "kernels/list.h"

/* ---------------------------------------------------------------- the kernels */

static const struct amx_method bf16_method = {&emulated_bf16, &row_ops_avx2};
static const struct amx_method u8_method = {&emulated_u8, &row_ops_avx2};

static struct kernel emulated(const struct kernel *kernel, const char *name,
                              const struct amx_method *method)
{
    struct kernel changed = *kernel;
    changed.name = name;
    changed.tier = CPU_TIER_AVX2;
    changed.features = 0;
    changed.method = method;
    return changed;
}

const struct kernel *const *emulated_kernels(void)
{
    static struct kernel bf16, u8;
    static const struct kernel *list[3];
    int count = 0;
    bf16 = emulated(&conv3x3_direct_bf16_amx, "conv3x3.direct_bf16.amx, emulated", &bf16_method);
    u8 = emulated(&conv3x3_direct_u8_amx, "conv3x3.direct_u8.amx, emulated", &u8_method);
    bool able = cpu_tier_detected() >= CPU_TIER_AVX2;
    if (able && (cpu_features() & CPU_AMX_BF16) == 0)
        list[count++] = &bf16;
    if (able && (cpu_features() & CPU_AMX_INT8) == 0)
        list[count++] = &u8;
    list[count] = NULL;
    return list;
}
