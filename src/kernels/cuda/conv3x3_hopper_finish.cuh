/* How the 3x3 convolution of compute capability 9.0 ends: from sums in registers to tensors.
 *
 * A warp has 16 rows of the 64 in an output tile. A thread of lane 4r + q has rows r ("low") and
 * r + 8 ("high") of pixels 2q and 2q + 1 of every group of eight, which is a row of the tile: value
 * 4j + 2h + e is pixel 2q + e of row j, low (h = 0) or high. Where bytes come out, the weights are
 * packed so that low and high are channels next to each other; else a row is its channel. */
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
};

/* A NaN stays one. */
__device__ inline float greater(float a, float b)
{
    float v;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(v) : "f"(a), "f"(b));
    return v;
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
            for (int s = 0; s < GPU_MAX_SOURCES && conv.step; s++)
                if (conv.source_signed[s])
                    shift[h] += __ldg(conv.shift + s * rows + row);
        }
        least = conv.relu ? 0.0f : -INFINITY;
    }

    __device__ inline float operator()(float sum, int h) const
    {
        return greater(sum + bias[h], least);
    }
    __device__ inline float operator()(int sum, int h) const
    {
        return greater(__fmaf_rn((float)(sum + shift[h]), step[h], bias[h]), least);
    }
};

/* ---- a strip: 32 pixels, four rows of a tile ----
 *
 * What is made of the sums at a time, since sums keep their registers to the end. */

constexpr int strip_pixels = 32, strip_rows = 4, strip_sums = 16;

/* A compiler that sees the same expressions for every type of result would make all of them ahead: it
 * is kept from seeing. */
template <class Sum>
__device__ inline void scale_strip(float (&f)[strip_sums], const Sum *d, scaling scale)
{
    asm volatile("" : "+f"(scale.bias[0]), "+f"(scale.bias[1]));
#pragma unroll
    for (int i = 0; i < strip_sums; i++)
        f[i] = scale(d[i], i / 2 % 2);
}

/* Value 2r + h: the greatest of 2x2 pixels of pooled row r, low or high. */
__device__ inline void pool_strip(float (&g)[4], const float (&f)[strip_sums])
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float *p = f + i / 2 * 8 + i % 2 * 2;
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

/* To 0 ... 255, halves to even, in the low byte. */
__device__ inline uint32_t to_byte(float v)
{
    return __float_as_uint(fminf(fmaxf(v, 0.0f), 255.0f) + 12582912.0f);
}

/* Bytes a, b, c, d, from the lowest. */
__device__ inline uint32_t to_bytes(float a, float b, float c, float d, uint32_t flip)
{
    uint32_t low = __byte_perm(to_byte(a), to_byte(b), 0x0040);
    uint32_t high = __byte_perm(to_byte(c), to_byte(d), 0x0040);
    return __byte_perm(low, high, 0x5410) ^ flip;
}

/* 16 bits: 64 channels at TO, 128 bytes a pixel, 16-byte pieces swizzled as the tensor map expects. A
 * matrix is eight channels of eight pixels. */
template <class To>
__device__ inline void write_16(uint32_t to, const float (&f)[strip_sums], const member &me)
{
    int i = me.lane % 8, pixel = me.lane / 16 * 8 + i, piece = me.warp * 2 + me.lane / 8 % 2;
    uint32_t at = to + pixel * 128 + ((piece ^ i) << 4);
#pragma unroll
    for (int j = 0; j < 2; j++) {
        const float *p = f + 8 * j;
        store_transposed(at + j * 2048, To::pair(p[0], p[1]), To::pair(p[2], p[3]),
                         To::pair(p[4], p[5]), To::pair(p[6], p[7]));
    }
}

/* Columns of a matrix are the pixels of two pooled rows in turns: (0, 0), (1, 0), (0, 1), ... */
__device__ inline int pooled_pixel(int column)
{
    return column % 2 * 4 + column / 2;
}

template <class To>
__device__ inline void write_pool_16(uint32_t to, const float (&g)[4], const member &me)
{
    int pixel = pooled_pixel(me.lane % 8), piece = me.warp * 2 + me.lane / 8 % 2;
    store_transposed(to + pixel * 128 + ((piece ^ pixel) << 4), To::pair(g[0], g[2]),
                     To::pair(g[1], g[3]));
}

/* Bytes: 64 a pixel; an element of a matrix is two channels. */
__device__ inline void write_8(uint32_t to, const float (&f)[strip_sums], const member &me,
                               uint32_t flip)
{
    uint32_t m[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const float *p = f + 4 * j;
        m[j] = to_bytes(p[0], p[2], p[1], p[3], flip);
    }
    store_transposed(to + me.lane * 64 + ((me.warp ^ (me.lane / 2 % 4)) << 4), m[0], m[1], m[2],
                     m[3]);
}

__device__ inline void write_pool_8(uint32_t to, const float (&g)[4], const member &me,
                                    uint32_t flip)
{
    int pixel = pooled_pixel(me.lane % 8);
    store_transposed(to + pixel * 64 + ((me.warp ^ (pixel / 2 % 4)) << 4),
                     to_bytes(g[0], g[1], g[2], g[3], flip));
}

/* float32: straight to where it belongs, whole sectors of eight channels. */
__device__ inline void put_float(const gpu_tensor &t, int channel, int x, int y, int image, float v)
{
    if (x < t.width && y < t.height && image < t.images && channel * 4 < t.pixel_bytes)
        *(float *)(t.data + image * t.image_bytes + y * t.row_bytes + (size_t)x * t.pixel_bytes +
                   channel * 4) = v;
}

__device__ inline void put_32(const gpu_tensor &t, const float (&f)[strip_sums], const place &p,
                              int y, const member &me)
{
    int channel = p.output_tile * HOPPER_OUTPUTS + me.row(), x = p.x + me.lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < strip_sums; i++)
        put_float(t, channel + i / 2 % 2 * 8, x + i % 2, y + i / 4, p.image, f[i]);
}

__device__ inline void put_pool_32(const gpu_tensor &t, const float (&g)[4], const place &p, int y,
                                   const member &me)
{
    int channel = p.output_tile * HOPPER_OUTPUTS + me.row(), x = p.x / 2 + me.lane % 4;
#pragma unroll
    for (int i = 0; i < 4; i++)
        put_float(t, channel + i % 2 * 8, x, y / 2 + i / 2, p.image, g[i]);
}

/* ---- a tile ---- */

/* Each type of result: how a strip that begins in row Y, and its pool, get to where the copy engine
 * takes them from, or to where they belong. */
template <class To> struct as_16 {
    static constexpr int bytes = 2;
    static __device__ inline void write(const gpu_tensor &, uint32_t to,
                                        const float (&f)[strip_sums], const place &, int,
                                        const member &me)
    {
        write_16<To>(to, f, me);
    }
    static __device__ inline void write_pool(const gpu_tensor &, uint32_t to, const float (&g)[4],
                                             const place &, int, const member &me)
    {
        write_pool_16<To>(to, g, me);
    }
};

struct as_8 {
    static constexpr int bytes = 1;
    static __device__ inline void write(const gpu_tensor &t, uint32_t to,
                                        const float (&f)[strip_sums], const place &, int,
                                        const member &me)
    {
        write_8(to, f, me, t.is_signed ? 0x80808080u : 0);
    }
    static __device__ inline void write_pool(const gpu_tensor &t, uint32_t to, const float (&g)[4],
                                             const place &, int, const member &me)
    {
        write_pool_8(to, g, me, t.is_signed ? 0x80808080u : 0);
    }
};

struct as_32 {
    static constexpr int bytes = 0; /* nothing is staged */
    static __device__ inline void write(const gpu_tensor &t, uint32_t, const float (&f)[strip_sums],
                                        const place &p, int y, const member &me)
    {
        put_32(t, f, p, y, me);
    }
    static __device__ inline void write_pool(const gpu_tensor &t, uint32_t, const float (&g)[4],
                                             const place &p, int y, const member &me)
    {
        put_pool_32(t, g, p, y, me);
    }
};

/* The tile to STAGE, its pool behind it. */
template <class As, int N, class Sum>
__device__ inline void write_tile(const hopper_conv &conv, const Sum (&d)[N / 2], const place &p,
                                  const scaling &scale, uint32_t stage, const member &me)
{
    constexpr int pixel = HOPPER_OUTPUTS * As::bytes, bytes = strip_pixels * pixel;
#pragma unroll
    for (int i = 0; i < N / strip_pixels; i++) {
        const int y = p.y + i * strip_rows;
        float f[strip_sums], g[4];
        scale_strip(f, d + i * strip_sums, scale);
        pool_strip(g, f);
        if (conv.out.data)
            As::write(conv.out, stage + i * bytes, f, p, y, me);
        if (conv.pool.data)
            As::write_pool(conv.pool, stage + N * pixel + i * bytes / 4, g, p, y, me);
    }
}

/* Sends off what lies in STAGE; returns when it has been read. */
template <int N>
__device__ inline void send_tile(const hopper_conv &conv, const place &p, uint32_t stage)
{
    const int channel = p.output_tile * HOPPER_OUTPUTS;
    const int pixel = HOPPER_OUTPUTS * (conv.result_type == GPU_U8 ? 1 : 2);
    if (conv.result_type == GPU_F32)
        return;
    if (conv.out.data)
        store_4d(&conv.output, channel, p.x, p.y, p.image, stage);
    if (conv.pool.data)
        store_4d(&conv.pooled, channel, p.x / 2, p.y / 2, p.image, stage + N * pixel);
    store_commit();
    store_wait_read<0>();
}

/* All of N pixels; thread 0 of the group returns when nothing is read of STAGE any more. */
template <int N, class Sum>
__device__ inline void finish_tile(const hopper_conv &conv, const Sum (&d)[N / 2], const place &p,
                                   const scaling &scale, uint32_t stage, const member &me)
{
    switch (conv.result_type) {
    case GPU_F32:
        write_tile<as_32, N>(conv, d, p, scale, stage, me);
        break;
    case GPU_U8:
        write_tile<as_8, N>(conv, d, p, scale, stage, me);
        break;
    case GPU_F16:
        write_tile<as_16<to_f16>, N>(conv, d, p, scale, stage, me);
        break;
    default:
        write_tile<as_16<to_bf16>, N>(conv, d, p, scale, stage, me);
        break;
    }
    fence_async();
    group_sync(1 + me.group, 128);
    if (me.thread == 0)
        send_tile<N>(conv, p, stage);
    __syncwarp();
}

/* ---- a head of few classes, which sees the sums before they are rounded ---- */

/* Adds up what lanes that differ in MASK have: each keeps one half of the 2 * HALF values. */
template <int HALF, int MASK> __device__ inline void add_lanes(float (&s)[8], int lane)
{
    const bool upper = lane & MASK;
#pragma unroll
    for (int i = 0; i < HALF; i++) {
        float mine = upper ? s[i + HALF] : s[i], other = upper ? s[i] : s[i + HALF];
        s[i] = mine + __shfl_xor_sync(0xffffffffu, other, MASK);
    }
}

/* This warp's share of the logits of one class of a strip, to TO: [pixel]. */
__device__ inline void head_strip(uint32_t to, const float (&f)[strip_sums], float low, float high,
                                  int lane)
{
    float s[8];
#pragma unroll
    for (int i = 0; i < 8; i++) {
        int at = i / 2 * 4 + i % 2;
        s[i] = f[at] * low + f[at + 2] * high;
    }
    add_lanes<4, 16>(s, lane);
    add_lanes<2, 8>(s, lane);
    add_lanes<1, 4>(s, lane); /* lane 4r + q has pixel 2q + r % 2 of row r / 2 */
    store_shared(to + (lane / 8 * 8 + lane % 4 * 2 + lane / 4 % 2) * 4, s[0]);
}

/* The logit of class K of a pixel of the tile: the four warps' shares and the bias. */
template <int N>
__device__ inline float logit_of(const hopper_conv &conv, uint32_t from, int k, int pixel)
{
    float sum = __ldg(conv.head.bias + k);
#pragma unroll
    for (int w = 0; w < 4; w++)
        sum += load_shared(from + ((k * 4 + w) * N + pixel) * 4);
    return sum;
}

/* What kernel_mask says of one pixel's logits, or the logits. */
template <int N>
__device__ inline void put_logits(const hopper_conv &conv, uint32_t from, int pixel, const place &p)
{
    const gpu_planes &to = conv.head.to;
    const int x = p.x + pixel % 8, y = p.y + pixel / 8, classes = conv.head.channels;
    if (x >= conv.width || y >= conv.height || p.image >= conv.images)
        return;
    const size_t plane = (size_t)conv.width * conv.height, at = (size_t)y * conv.width + x;
    float best = 0.0f;
    int index = 0;
    for (int k = 0; k < classes; k++) {
        float logit = logit_of<N>(conv, from, k, pixel);
        if (k == 0 || logit > best) {
            best = logit;
            index = k;
        }
        if (!to.classes)
            to.planes[((size_t)p.image * classes + k) * plane + at] = logit;
    }
    if (to.classes)
        to.classes[p.image * plane + at] = (uint8_t)(classes == 1 ? best > to.above : index);
}

template <int N, class Sum>
__device__ inline void finish_head(const hopper_conv &conv, const Sum (&d)[N / 2], const place &p,
                                   const scaling &scale, uint32_t stage, const member &me)
{
#pragma unroll
    for (int i = 0; i < N / strip_pixels; i++) {
        float f[strip_sums];
        scale_strip(f, d + i * strip_sums, scale);
        const float *weight = conv.head.weight + me.row();
#pragma unroll 1
        for (int k = 0; k < conv.head.channels; k++, weight += HOPPER_OUTPUTS)
            head_strip(stage + ((k * 4 + me.warp) * N + i * strip_pixels) * 4, f, __ldg(weight),
                       __ldg(weight + 8), me.lane);
    }
    group_sync(1 + me.group, 128);
    for (int pixel = me.thread; pixel < N; pixel += 128)
        put_logits<N>(conv, stage, pixel, p);
    fence_async();
    group_sync(1 + me.group, 128);
}

} /* namespace hopper */

#endif
