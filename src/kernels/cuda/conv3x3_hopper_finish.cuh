/* How the 3x3 convolution of compute capability 9.0 ends: from sums in registers to tensors.
 *
 * A warp has 16 rows of the 64 in an output tile. A thread of lane 4r + q has rows r ("low") and
 * r + 8 ("high"), whose weights are packed to be those of channels next to each other, 2r and 2r
 * + 1, of pixels 2q and 2q + 1 of every group of eight, which is a row of the tile: value 4j +
 * 2h + e is pixel 2q + e of row j, low (h = 0) or high. */
#ifndef UNET_KERNELS_CUDA_CONV3X3_HOPPER_FINISH_CUH
#define UNET_KERNELS_CUDA_CONV3X3_HOPPER_FINISH_CUH

#include "kernels/cuda/conv3x3_hopper.h"
#include "kernels/cuda/sm90.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace hopper {

using namespace sm90;

/* One pixel tile and the output tile that an item wants of it. */
struct place {
    int output_tile, x, y, image;
};

/* Who a thread of a multiplying warpgroup is. */
struct member {
    int group, warp, lane, thread; /* warp, thread: of the group's */

    __device__ inline int row() const { return warp * 16 + lane / 4; }

    /* A compiler that knew that it stays the same would keep addresses of all the ways in which
     * a tile can end in registers, from tile to tile, where sums need them. */
    __device__ inline member forgotten() const
    {
        member m = *this;
        asm volatile("" : "+r"(m.warp), "+r"(m.lane), "+r"(m.thread));
        m.warp &= 3; /* what it had better know */
        m.lane &= 31;
        m.thread &= 127;
        return m;
    }
};

/* A NaN stays one. */
__device__ inline float greater(float a, float b)
{
    float v;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(v) : "f"(a), "f"(b));
    return v;
}

__device__ inline uint32_t greater(uint32_t a, uint32_t b)
{
    return max(a, b);
}

/* bias + step * (shift + sum) of a thread's two rows. */
struct scaling {
    float bias[2], step[2], least;
    int shift[2];

    __device__ inline scaling(const hopper_conv &conv, int output_tile, const member &me)
    {
        const int rows = conv.output_tiles * HOPPER_OUTPUTS;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int row = output_tile * HOPPER_OUTPUTS + me.row() + 8 * h;
            bias[h] = __ldg(conv.bias + row);
            step[h] = conv.step ? __ldg(conv.step + row) : 1.0f;
            shift[h] = 0;
            for (int s = 0; s < GPU_MAX_SOURCES && conv.shift; s++)
                if (conv.source_signed[s])
                    shift[h] += __ldg(conv.shift + s * rows + row);
        }
        least = conv.relu ? 0.0f : -INFINITY;
    }

    __device__ inline float operator()(float sum, int h) const
    {
        return greater(__fmaf_rn(sum, step[h], bias[h]), least);
    }
    __device__ inline float operator()(int sum, int h) const
    {
        return greater(__fmaf_rn((float)(sum + shift[h]), step[h], bias[h]), least);
    }

    /* Of which 255ths are wanted: a float whose lowest byte is the result, clipped, halves to
     * even. */
    __device__ inline uint32_t byte(float sum, int h) const
    {
        float share;
        asm("fma.rn.sat.f32 %0, %1, %2, %3;"
            : "=f"(share)
            : "f"(sum), "f"(step[h]), "f"(bias[h]));
        return __float_as_uint(__fmaf_rn(share, 255.0f, 12582912.0f));
    }
    __device__ inline uint32_t byte(int sum, int h) const
    {
        return byte((float)(sum + shift[h]), h);
    }
};

/* ---- a strip: 32 pixels, four rows of a tile ----
 *
 * What is made of the sums at a time, since sums keep their registers to the end. */

constexpr int strip_pixels = 32, strip_rows = 4, strip_sums = 16;

/* A compiler that sees the same expressions for every type of result would make all of them
 * ahead: it is kept from seeing. */
template <class Sum>
__device__ inline void scale_strip(float (&f)[strip_sums], const Sum *d, scaling scale)
{
    asm volatile("" : "+f"(scale.bias[0]), "+f"(scale.bias[1]), "+r"(scale.shift[0]),
                 "+r"(scale.shift[1]));
#pragma unroll
    for (int i = 0; i < strip_sums; i++)
        f[i] = scale(d[i], i / 2 % 2);
}

/* Bytes; only their order matters before they are stored. */
template <class Sum>
__device__ inline void scale_strip(uint32_t (&f)[strip_sums], const Sum *d, scaling scale)
{
    asm volatile("" : "+f"(scale.bias[0]), "+f"(scale.bias[1]), "+r"(scale.shift[0]),
                 "+r"(scale.shift[1]));
#pragma unroll
    for (int h = 0; h < 2; h++) {
        scale.step[h] *= 1.0f / 255.0f;
        scale.bias[h] *= 1.0f / 255.0f;
    }
#pragma unroll
    for (int i = 0; i < strip_sums; i++)
        f[i] = scale.byte(d[i], i / 2 % 2);
}

/* Value 2r + h: the greatest of 2x2 pixels of pooled row r, low or high. */
template <class Value>
__device__ inline void pool_strip(Value (&g)[4], const Value (&f)[strip_sums])
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const Value *p = f + i / 2 * 8 + i % 2 * 2;
        g[i] = greater(greater(p[0], p[1]), greater(p[4], p[5]));
    }
}

struct to_f16 {
    static __device__ inline uint32_t pair(float low, float high)
    {
        __half2 v = __floats2half2_rn(low, high);
        return *(uint32_t *)&v;
    }
};

struct to_bf16 {
    static __device__ inline uint32_t pair(float low, float high)
    {
        __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
        return *(uint32_t *)&v;
    }
};

/* The lowest bytes of a, b, c, d, from the lowest. */
__device__ inline uint32_t to_bytes(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t flip)
{
    uint32_t low = __byte_perm(a, b, 0x0040), high = __byte_perm(c, d, 0x0040);
    return __byte_perm(low, high, 0x5410) ^ flip;
}

/* Where a pixel's two channels of this thread lie, of 4 * WORDS bytes, in 128 bytes a pixel, the
 * 16-byte pieces swizzled as the tensor map expects. */
template <int WORDS> __device__ inline uint32_t pair_at(uint32_t to, int pixel, int word)
{
    const int at = word * WORDS;
    return to + pixel * 128 + ((at / 4 ^ pixel % 8) << 4) + at % 4 * 4;
}

/* 16 bits: 64 channels. */
template <class To>
__device__ inline void write_16(uint32_t to, const float (&f)[strip_sums], const member &me)
{
#pragma unroll
    for (int i = 0; i < strip_sums / 2; i++) {
        const float *p = f + i / 2 * 4 + i % 2;
        store_shared(pair_at<1>(to, i / 2 * 8 + me.lane % 4 * 2 + i % 2, me.warp * 8 + me.lane / 4),
                     To::pair(p[0], p[2]));
    }
}

template <class To>
__device__ inline void write_pool_16(uint32_t to, const float (&g)[4], const member &me)
{
#pragma unroll
    for (int r = 0; r < 2; r++)
        store_shared(pair_at<1>(to, r * 4 + me.lane % 4, me.warp * 8 + me.lane / 4),
                     To::pair(g[2 * r], g[2 * r + 1]));
}

/* Floats a, b, c, d as e4m3. */
__device__ inline uint32_t to_bytes(float a, float b, float c, float d, uint32_t)
{
    uint16_t low, high;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(b), "f"(a));
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(d), "f"(c));
    return (uint32_t)high << 16 | low;
}

/* Bytes: 64 a pixel; an element of a matrix is two channels. */
template <class Value>
__device__ inline void write_8(uint32_t to, const Value (&f)[strip_sums], const member &me,
                               uint32_t flip)
{
    uint32_t m[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const Value *p = f + 4 * j;
        m[j] = to_bytes(p[0], p[2], p[1], p[3], flip);
    }
    store_transposed(to + me.lane * 64 + ((me.warp ^ (me.lane / 2 % 4)) << 4), m[0], m[1], m[2],
                     m[3]);
}

/* Columns of a matrix are the pixels of two pooled rows in turns: (0, 0), (1, 0), (0, 1), ... */
__device__ inline int pooled_pixel(int column)
{
    return column % 2 * 4 + column / 2;
}

template <class Value>
__device__ inline void write_pool_8(uint32_t to, const Value (&g)[4], const member &me,
                                    uint32_t flip)
{
    int pixel = pooled_pixel(me.lane % 8);
    store_transposed(to + pixel * 64 + ((me.warp ^ (pixel / 2 % 4)) << 4),
                     to_bytes(g[0], g[1], g[2], g[3], flip));
}

/* float32: 32 channels at TO, the other 32 OTHER bytes further. */
__device__ inline void write_32(uint32_t to, int other, const float (&f)[strip_sums],
                                const member &me)
{
    to += me.warp / 2 * other;
#pragma unroll
    for (int i = 0; i < strip_sums / 2; i++) {
        const float *p = f + i / 2 * 4 + i % 2;
        store_shared(pair_at<2>(to, i / 2 * 8 + me.lane % 4 * 2 + i % 2,
                                me.warp % 2 * 8 + me.lane / 4),
                     p[0], p[2]);
    }
}

__device__ inline void write_pool_32(uint32_t to, int other, const float (&g)[4], const member &me)
{
    to += me.warp / 2 * other;
#pragma unroll
    for (int r = 0; r < 2; r++)
        store_shared(pair_at<2>(to, r * 4 + me.lane % 4, me.warp % 2 * 8 + me.lane / 4), g[2 * r],
                     g[2 * r + 1]);
}

/* ---- a tile ---- */

/* Each type of result: what a strip is made of, how many strips of COUNT are staged at a time,
 * in how many blocks of channels, OTHER bytes apart. */
template <class To> struct as_16 {
    typedef float value;
    static constexpr int block_bytes = 128, blocks = 1;
    static __host__ __device__ constexpr int strips(int count) { return count; }
    static __device__ inline void write(uint32_t to, int, const float (&f)[strip_sums],
                                        const member &me, uint32_t)
    {
        write_16<To>(to, f, me);
    }
    static __device__ inline void write_pool(uint32_t to, int, const float (&g)[4],
                                             const member &me, uint32_t)
    {
        write_pool_16<To>(to, g, me);
    }
};

template <class Value> struct as_8 {
    typedef Value value;
    static constexpr int block_bytes = 64, blocks = 1;
    static __host__ __device__ constexpr int strips(int count) { return count; }
    static __device__ inline void write(uint32_t to, int, const Value (&f)[strip_sums],
                                        const member &me, uint32_t flip)
    {
        write_8(to, f, me, flip);
    }
    static __device__ inline void write_pool(uint32_t to, int, const Value (&g)[4],
                                             const member &me, uint32_t flip)
    {
        write_pool_8(to, g, me, flip);
    }
};

struct as_32 {
    typedef float value;
    static constexpr int block_bytes = 128, blocks = 2;
    static __host__ __device__ constexpr int strips(int count) { return count > 1 ? count / 2 : 1; }
    static __device__ inline void write(uint32_t to, int other, const float (&f)[strip_sums],
                                        const member &me, uint32_t)
    {
        write_32(to, other, f, me);
    }
    static __device__ inline void write_pool(uint32_t to, int other, const float (&g)[4],
                                             const member &me, uint32_t)
    {
        write_pool_32(to, other, g, me);
    }
};

/* Where STRIPS strips of a tile lie in a stage, and their pool behind them. */
template <class As, int STRIPS> struct staged {
    static constexpr int strip_bytes = strip_pixels * As::block_bytes;
    static constexpr int block_bytes = STRIPS * strip_bytes;
    static constexpr int pool = As::blocks * block_bytes;
    static constexpr int pool_strip_bytes = strip_bytes / 4, pool_block_bytes = block_bytes / 4;
};

/* STRIPS strips of sums to STAGE, their pool behind them. */
template <class As, int STRIPS, class Sum>
__device__ inline void write_strips(const hopper_conv &conv, const hopper_result &result,
                                    const Sum *d, const scaling &scale, uint32_t stage,
                                    const member &me)
{
    using at = staged<As, STRIPS>;
    const uint32_t flip = conv.out.is_signed ? 0x80808080u : 0;
    const uint32_t pool_flip = conv.pool.is_signed ? 0x80808080u : 0;
#pragma unroll
    for (int i = 0; i < STRIPS; i++) {
        typename As::value f[strip_sums], g[4];
        scale_strip(f, d + i * strip_sums, scale);
        if (result.out)
            As::write(stage + i * at::strip_bytes, at::block_bytes, f, me, flip);
        if (result.pool) {
            pool_strip(g, f);
            As::write_pool(stage + at::pool + i * at::pool_strip_bytes, at::pool_block_bytes, g,
                           me, pool_flip);
        }
    }
}

/* Sends off what lies in STAGE; returns when it has been read. */
template <class As, int STRIPS>
__device__ inline void send_strips(const hopper_conv &conv, const hopper_result &result,
                                   const place &p, uint32_t stage)
{
    using at = staged<As, STRIPS>;
#pragma unroll
    for (int b = 0; b < As::blocks; b++) {
        const int channel = p.output_tile * HOPPER_OUTPUTS + b * (HOPPER_OUTPUTS / As::blocks);
        if (result.out)
            store_4d(&conv.output, channel, p.x, p.y, p.image, stage + b * at::block_bytes);
        if (result.pool)
            store_4d(&conv.pooled, channel, p.x / 2, p.y / 2, p.image,
                     stage + at::pool + b * at::pool_block_bytes);
    }
    store_commit();
    store_wait_read<0>();
}

/* Who sends off what a group has staged: the group itself, which waits until it has been read, */
struct sent_by_group {
    bool again = false;

    __device__ inline void before(const member &me)
    {
        if (again)
            group_sync(1 + me.group, 128);
        again = true;
    }

    template <class As, int STRIPS>
    __device__ inline void after(const hopper_conv &conv, const hopper_result &result,
                                 const place &p, uint32_t stage, const member &me)
    {
        group_sync(1 + me.group, 128);
        if (me.thread == 0)
            send_strips<As, STRIPS>(conv, result, p, stage);
        __syncwarp();
    }
};

/* or a warp that does nothing else, which these barriers tell: what is staged is complete; it
 * has been read. */
struct sent_by_warp {
    uint32_t staged, read;
    int count = 0;

    __device__ inline sent_by_warp(uint32_t staged, uint32_t read) : staged(staged), read(read) {}

    __device__ inline void before(const member &)
    {
        if (count > 0)
            barrier_wait(read, (count - 1) & 1);
        count++;
    }

    template <class As, int STRIPS>
    __device__ inline void after(const hopper_conv &, const hopper_result &, const place &,
                                 uint32_t, const member &me)
    {
        __syncwarp();
        if (me.lane == 0)
            barrier_arrive(staged);
    }
};

template <class As, int N> constexpr int strips_of = As::strips(N / strip_pixels);

template <class As, int N, class Sum, class Way>
__device__ inline void finish_as(const hopper_conv &conv, const hopper_result &result,
                                 const Sum (&d)[N / 2], place p, const scaling &scale,
                                 uint32_t stage, const member &me, Way &way)
{
    constexpr int strips = N / strip_pixels, together = strips_of<As, N>;
#pragma unroll
    for (int i = 0; i < strips; i += together, p.y += together * strip_rows) {
        way.before(me);
        write_strips<As, together>(conv, result, d + i * strip_sums, scale, stage, me.forgotten());
        fence_async();
        way.template after<As, together>(conv, result, p, stage, me);
    }
}

/* All of N pixels. */
template <int N, class Sum, class Way>
__device__ inline void finish_tile(const hopper_conv &conv, const Sum (&d)[N / 2], const place &p,
                                   const scaling &scale, uint32_t stage, const member &me, Way &way)
{
#pragma unroll 1
    for (int i = 0; i < conv.result_count; i++) {
        const hopper_result &result = conv.results[i];
        switch (result.type) {
        case GPU_F32:
            finish_as<as_32, N>(conv, result, d, p, scale, stage, me, way);
            break;
        case GPU_U8:
            finish_as<as_8<uint32_t>, N>(conv, result, d, p, scale, stage, me, way);
            break;
        case GPU_E4M3:
            finish_as<as_8<float>, N>(conv, result, d, p, scale, stage, me, way);
            break;
        case GPU_F16:
            finish_as<as_16<to_f16>, N>(conv, result, d, p, scale, stage, me, way);
            break;
        default:
            finish_as<as_16<to_bf16>, N>(conv, result, d, p, scale, stage, me, way);
            break;
        }
    }
}

/* ---- the warp that sends ---- */

template <class As, int N>
__device__ inline void send_as(const hopper_conv &conv, const hopper_result &result, place p,
                               uint32_t stage, uint32_t staged, uint32_t read, int &count)
{
    constexpr int strips = N / strip_pixels, together = strips_of<As, N>;
#pragma unroll 1
    for (int i = 0; i < strips; i += together, p.y += together * strip_rows, count++) {
        barrier_wait(staged, count & 1);
        send_strips<As, together>(conv, result, p, stage);
        barrier_arrive(read);
    }
}

/* What finish_tile stages of one tile; COUNT: of all stagings so far. */
template <int N>
__device__ inline void send_tile(const hopper_conv &conv, const place &p, uint32_t stage,
                                 uint32_t staged, uint32_t read, int &count)
{
    for (int i = 0; i < conv.result_count; i++) {
        const hopper_result &result = conv.results[i];
        if (result.type == GPU_F32)
            send_as<as_32, N>(conv, result, p, stage, staged, read, count);
        else if (result.type == GPU_U8 || result.type == GPU_E4M3)
            send_as<as_8<float>, N>(conv, result, p, stage, staged, read, count);
        else
            send_as<as_16<to_f16>, N>(conv, result, p, stage, staged, read, count);
    }
}

} /* namespace hopper */

#endif
