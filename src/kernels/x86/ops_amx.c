/* amx.h in AMX's instructions. Tile registers: 0 to 3 are sums [tile][block], 4 and 5 pixels, 6 and
 * 7 weights. Their one shape, 16 rows of 64 bytes, fits all of them. */
#include "kernels/amx.h"

#include <immintrin.h>
#include <string.h>

#define ROWS      16
#define ROW_BYTES 64
#define REGISTERS 8

/* What LDTILECFG reads (Intel SDM volume 1, 18.3). */
struct tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* gcc 12's intrinsic does not tell the compiler that all of `shapes` is read. A test that has
 * registers of its own defines this, and the intrinsics. */
#ifndef CONFIGURE_TILES
#define CONFIGURE_TILES(shapes) __asm__ volatile("ldtilecfg %0" : : "m"(shapes))
#endif

static void begin(void)
{
    struct tile_shapes shapes = {.palette = 1};
    for (int i = 0; i < REGISTERS; i++) {
        shapes.rows[i] = ROWS;
        shapes.row_bytes[i] = ROW_BYTES;
    }
    CONFIGURE_TILES(shapes);
}

static void end(void)
{
    _tile_release();
}

/* The sums of one tile register: a stride of 0 begins each pixel the same way. */
#define LOAD_SUMS(number, tile, block)                                                             \
    do {                                                                                           \
        if (p->begin != NULL)                                                                      \
            _tile_loadd(number, p->begin + (block)*KERNEL_BLOCK, 0);                               \
        else                                                                                       \
            _tile_loadd(number, p->sums[tile] + (block)*p->sum_stride, ROW_BYTES);                 \
    } while (0)

#define STORE_SUMS(number, tile, block)                                                            \
    _tile_stored(number, p->sums[tile] + (block)*p->sum_stride, ROW_BYTES)

/* Registers are named in the instructions, so each shape is written out; the conditions are
 * constants. */
#define MULTIPLY(tiles, blocks, type, DOT)                                                         \
    static void multiply_##type##_##tiles##x##blocks(const struct amx_product *p)                  \
    {                                                                                              \
        const char *weights = p->weights;                                                          \
        __asm__ volatile(""                                                                        \
                         :                                                                         \
                         :                                                                         \
                         : "memory"); /* the intrinsics read memory that they do not name */       \
        LOAD_SUMS(0, 0, 0);                                                                        \
        if ((blocks) > 1)                                                                          \
            LOAD_SUMS(1, 0, 1);                                                                    \
        if ((tiles) > 1)                                                                           \
            LOAD_SUMS(2, 1, 0);                                                                    \
        if ((tiles) > 1 && (blocks) > 1)                                                           \
            LOAD_SUMS(3, 1, 1);                                                                    \
        for (int step = 0; step < p->step_count; step++) {                                         \
            _tile_loadd(4, p->panel[0] + p->steps[step], AMX_PIXEL_BYTES);                         \
            _tile_loadd(6, weights, ROW_BYTES);                                                    \
            DOT(0, 4, 6);                                                                          \
            if ((blocks) > 1) {                                                                    \
                _tile_loadd(7, weights + AMX_STEP_BYTES, ROW_BYTES);                               \
                DOT(1, 4, 7);                                                                      \
            }                                                                                      \
            if ((tiles) > 1) {                                                                     \
                _tile_loadd(5, p->panel[1] + p->steps[step], AMX_PIXEL_BYTES);                     \
                DOT(2, 5, 6);                                                                      \
            }                                                                                      \
            if ((tiles) > 1 && (blocks) > 1)                                                       \
                DOT(3, 5, 7);                                                                      \
            weights += (blocks)*AMX_STEP_BYTES;                                                    \
        }                                                                                          \
        STORE_SUMS(0, 0, 0);                                                                       \
        if ((blocks) > 1)                                                                          \
            STORE_SUMS(1, 0, 1);                                                                   \
        if ((tiles) > 1)                                                                           \
            STORE_SUMS(2, 1, 0);                                                                   \
        if ((tiles) > 1 && (blocks) > 1)                                                           \
            STORE_SUMS(3, 1, 1);                                                                   \
    }

#define MULTIPLY_ALL(type, DOT)                                                                    \
    MULTIPLY(1, 1, type, DOT)                                                                      \
    MULTIPLY(1, 2, type, DOT)                                                                      \
    MULTIPLY(2, 1, type, DOT)                                                                      \
    MULTIPLY(2, 2, type, DOT)

#define MULTIPLY_TABLE(type)                                                                       \
    {                                                                                              \
        {multiply_##type##_1x1, multiply_##type##_1x2},                                            \
            {multiply_##type##_2x1, multiply_##type##_2x2},                                        \
    }

MULTIPLY_ALL(bf16, _tile_dpbf16ps)
MULTIPLY_ALL(u8, _tile_dpbusd)

/* Blocks of 16 bf16 are half a pixel of the panel. */
static void gather_bf16(char *panel, const void *const *blocks, int count, int pixels)
{
    const __m256i *first = blocks[0], *second = count > 1 ? blocks[1] : NULL;
    __m256i *to = (__m256i *)panel;
    for (int i = 0; i < pixels; i++) {
        _mm256_store_si256(to++, _mm256_load_si256(first++));
        _mm256_store_si256(to++,
                           second != NULL ? _mm256_load_si256(second++) : _mm256_setzero_si256());
    }
}

static inline __m256i pair_of(const __m128i *low, const __m128i *high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_load_si128(low)),
                                   _mm_load_si128(high), 1);
}

/* Blocks of 16 bytes are a quarter of it. */
static void gather_u8(char *panel, const void *const *blocks, int count, int pixels)
{
    static const __m128i zero;
    const __m128i *from[4];
    int step[4];
    for (int b = 0; b < 4; b++) {
        from[b] = b < count ? blocks[b] : &zero;
        step[b] = b < count ? 1 : 0;
    }
    __m256i *to = (__m256i *)panel;
    for (int i = 0; i < pixels; i++) {
        _mm256_store_si256(to++, pair_of(from[0] + i * step[0], from[1] + i * step[1]));
        _mm256_store_si256(to++, pair_of(from[2] + i * step[2], from[3] + i * step[3]));
    }
}

static void scale_u8(float *sums, const float *step, const float *bias, int pixels)
{
    __m256 by[2] = {_mm256_load_ps(step), _mm256_load_ps(step + 8)};
    __m256 to[2] = {_mm256_load_ps(bias), _mm256_load_ps(bias + 8)};
    for (int i = 0; i < pixels; i++)
        for (int half = 0; half < 2; half++, sums += 8) {
            __m256 whole = _mm256_cvtepi32_ps(_mm256_load_si256((const __m256i *)sums));
            _mm256_store_ps(sums, _mm256_fmadd_ps(whole, by[half], to[half]));
        }
}

const struct amx_ops amx_ops_bf16 = {
    .type = KERNEL_BF16,
    .begin = begin,
    .end = end,
    .multiply = MULTIPLY_TABLE(bf16),
    .gather = gather_bf16,
};

const struct amx_ops amx_ops_u8 = {
    .type = KERNEL_U8,
    .begin = begin,
    .end = end,
    .multiply = MULTIPLY_TABLE(u8),
    .gather = gather_u8,
    .scale = scale_u8,
};
