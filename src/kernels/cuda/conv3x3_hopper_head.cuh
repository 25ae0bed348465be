/* How the 3x3 convolution of compute capability 9.0 ends in a head. */
#ifndef UNET_KERNELS_CUDA_CONV3X3_HOPPER_HEAD_CUH
#define UNET_KERNELS_CUDA_CONV3X3_HOPPER_HEAD_CUH

#include "kernels/cuda/conv3x3_hopper_finish.cuh"

namespace hopper {

/* ---- a head of few classes, which sees the sums before they are rounded ---- */

/* In shared memory a class has its weights, its bias, and three floats that mean nothing, so
 * that the next one's are aligned. */
constexpr int class_bytes = (HOPPER_OUTPUTS + 4) * 4;

__device__ inline void fetch_head(const hopper_conv &conv, uint32_t to, int thread, int threads)
{
    for (int i = thread; i < conv.head.channels * HOPPER_OUTPUTS; i += threads)
        store_shared(to + i / HOPPER_OUTPUTS * class_bytes + i % HOPPER_OUTPUTS * 4,
                     __float_as_uint(__ldg(conv.head.weight + i)));
    if (thread < conv.head.channels)
        store_shared(to + thread * class_bytes + HOPPER_OUTPUTS * 4,
                     __float_as_uint(__ldg(conv.head.bias + thread)));
}

/* COUNT classes' logits, from K on, of a pixel that lies at FROM, block by block. */
template <int COUNT>
__device__ inline void make_logits(float (&logits)[COUNT], const hopper_conv &conv, uint32_t head,
                                   int k, uint32_t from, int other, int swizzle)
{
    uint32_t weight[COUNT];
#pragma unroll
    for (int c = 0; c < COUNT; c++) {
        weight[c] = head + min(k + c, conv.head.channels - 1) * class_bytes;
        logits[c] = load_shared(weight[c] + HOPPER_OUTPUTS * 4).x;
    }
#pragma unroll 4
    for (int i = 0; i < HOPPER_OUTPUTS / 4; i++) {
        float4 v = load_shared(from + i / 8 * other + ((i % 8 ^ swizzle) << 4));
#pragma unroll
        for (int c = 0; c < COUNT; c++) {
            float4 w = load_shared(weight[c] + i * 16);
            logits[c] += v.x * w.x + v.y * w.y + v.z * w.z + v.w * w.w;
        }
    }
}

/* What is known of a pixel's classes so far. */
struct best_class {
    float logit;
    int index;
};

/* COUNT logits, from class K on, of the pixel at (x, y); planes get them at once. */
template <int COUNT>
__device__ inline void put_logits(const hopper_conv &conv, uint32_t head, best_class &best, int k,
                                  uint32_t from, int other, int swizzle, float *plane,
                                  size_t plane_size)
{
    float logits[COUNT];
    make_logits<COUNT>(logits, conv, head, k, from, other, swizzle);
#pragma unroll
    for (int c = 0; c < COUNT; c++) {
        if (k + c >= conv.head.channels)
            break;
        if (k + c == 0 || logits[c] > best.logit)
            best = {logits[c], k + c};
        if (plane)
            plane[(k + c) * plane_size] = logits[c];
    }
}

/* What kernel_mask says of one pixel's logits, or the logits. */
template <int STRIPS>
__device__ inline void put_pixel(const hopper_conv &conv, uint32_t head, uint32_t stage, int pixel,
                                 const place &p)
{
    constexpr int other = staged<as_32, STRIPS>::block_bytes;
    const gpu_planes &to = conv.head.to;
    const int x = p.x + pixel % 8, y = p.y + pixel / 8, classes = conv.head.channels;
    if (x >= conv.width || y >= conv.height || p.image >= conv.images)
        return;
    const size_t size = (size_t)conv.width * conv.height, at = (size_t)y * conv.width + x;
    float *plane = to.classes ? nullptr : to.planes + (size_t)p.image * classes * size + at;
    const uint32_t from = stage + pixel * 128;
    best_class best = {0.0f, 0};
    if (classes <= 2)
        put_logits<2>(conv, head, best, 0, from, other, pixel % 8, plane, size);
    for (int k = 0; k < classes && classes > 2; k += 4)
        put_logits<4>(conv, head, best, k, from, other, pixel % 8, plane, size);
    if (to.classes)
        to.classes[p.image * size + at] =
            (uint8_t)(classes == 1 ? best.logit > to.above : best.index);
}

/* To what a type of tensor can hold. */
struct clip {
    float least, most;

    __device__ inline explicit clip(int type)
    {
        most = type == GPU_U8 ? 255.0f : type == GPU_E4M3 ? 448.0f : INFINITY;
        least = type == GPU_U8 ? 0.0f : -most;
    }

    __device__ inline float operator()(float value) const
    {
        asm("min.NaN.f32 %0, %0, %1;" : "+f"(value) : "f"(most));
        return greater(value, least);
    }
};

template <int N, class Sum>
__device__ inline void finish_head(const hopper_conv &conv, const Sum (&d)[N / 2], place p,
                                   const scaling &scale, uint32_t stage, uint32_t head,
                                   const member &me)
{
    constexpr int strips = N / strip_pixels, together = strips_of<as_32, N>;
    using at = staged<as_32, together>;
    const clip hold(conv.head_type);
#pragma unroll
    for (int i = 0; i < strips; i += together, p.y += together * strip_rows) {
#pragma unroll
        for (int j = 0; j < together; j++) {
            float f[strip_sums];
            scale_strip(f, d + (i + j) * strip_sums, scale);
#pragma unroll
            for (float &v : f)
                v = hold(v);
            write_32(stage + j * at::strip_bytes, at::block_bytes, f, me.forgotten());
        }
        group_sync(1 + me.group, 128);
        if (me.thread < together * strip_pixels)
            put_pixel<together>(conv, head, stage, me.forgotten().thread, p);
        fence_async();
        group_sync(1 + me.group, 128);
    }
}

} /* namespace hopper */

#endif
