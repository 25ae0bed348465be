/* kernels/x86/ops_amx.c with tile registers in memory: all of the AMX kernels but the instructions
 * themselves runs on every machine with AVX2.
 *
 * The instructions do what Intel's SDM says, with the shapes that they were given: no shapes, no
 * rows, so nothing is loaded, multiplied or stored, and results stay unwritten. */
#include "driver.h"

#include <immintrin.h>
#include <math.h>
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

#define WORDS (MOST_ROW_BYTES / 4)

static void floats_of(float *to, const unsigned char *row)
{
    uint16_t halves[2 * WORDS];
    uint32_t bits[2 * WORDS];
    memcpy(halves, row, sizeof halves);
    for (int i = 0; i < 2 * WORDS; i++)
        bits[i] = (uint32_t)halves[i] << 16;
    memcpy(to, bits, sizeof bits);
}

/* Even and odd products in sums of their own, which begin at zero. */
static void multiply_bf16(int to, int a, int b)
{
    float right[MOST_ROWS][2 * WORDS];
    for (int k = 0; k < MOST_ROWS; k++)
        floats_of(right[k], tiles[b].bytes[k]);
    for (int row = 0; row < tiles[to].rows; row++) {
        float left[2 * WORDS], even_odd[2 * WORDS] = {0}, sums[WORDS];
        floats_of(left, tiles[a].bytes[row]);
        for (int k = 0; k < tiles[a].row_bytes / 4; k++)
            for (int i = 0; i < 2 * WORDS; i++)
                even_odd[i] = fmaf(left[2 * k + i % 2], right[k][i], even_odd[i]);
        memcpy(sums, tiles[to].bytes[row], sizeof sums);
        for (int n = 0; n < WORDS; n++)
            sums[n] += even_odd[2 * n] + even_odd[2 * n + 1];
        memcpy(tiles[to].bytes[row], sums, (size_t)tiles[to].row_bytes);
    }
}

/* Bytes without a sign by bytes with one; sums of 32 bits. */
static void multiply_u8(int to, int a, int b)
{
    for (int row = 0; row < tiles[to].rows; row++) {
        int32_t sums[WORDS];
        memcpy(sums, tiles[to].bytes[row], sizeof sums);
        for (int k = 0; k < tiles[a].row_bytes / 4; k++) {
            int8_t right[4 * WORDS];
            memcpy(right, tiles[b].bytes[k], sizeof right);
            const unsigned char *left = tiles[a].bytes[row] + 4 * k;
            for (int n = 0; n < WORDS; n++)
                for (int i = 0; i < 4; i++)
                    sums[n] += left[i] * right[4 * n + i];
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
