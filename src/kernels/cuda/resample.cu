/* Max-pool, bilinear up-sampling, zeros around what is placed in a larger tensor. Bound by memory: each
 * thread moves pieces of 16 bytes, neighbours those of neighbouring channels. */
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/grid.cuh"

/* PyTorch's maximum, which a NaN is. */
static __device__ float most_of(float a, float b)
{
    return a > b || a != a ? a : b;
}

template <int TYPE>
static __global__ void max_pool(const gpu_tensor in, const gpu_tensor out)
{
    typedef piece<TYPE> P;
    int pieces = out.pixel_bytes / GPU_PIECE;
    int item = blockIdx.x * GRID_THREADS + threadIdx.x;
    if (item >= out.width * pieces)
        return;
    int x = item / pieces, channel = item % pieces * GPU_PIECE;
    FOR_ROWS(image, out.images, y, out.height)
    {
        const char *from = pixel_at(in, image, 2 * y, 2 * x) + channel;
        P corner[4], most;
        corner[0].load(from);
        corner[1].load(from + in.pixel_bytes);
        corner[2].load(from + in.row_bytes);
        corner[3].load(from + in.row_bytes + in.pixel_bytes);
#pragma unroll
        for (int i = 0; i < P::COUNT; i++) {
            bool s = in.is_signed;
            float above = most_of(corner[0].get(i, s), corner[1].get(i, s));
            float below = most_of(corner[2].get(i, s), corner[3].get(i, s));
            most.set(i, most_of(above, below), s);
        }
        most.store(pixel_at(out, image, y, x) + channel);
    }
}

cudaError_t gpu_max_pool(const gpu_tensor *in, const gpu_tensor *out, cudaStream_t stream)
{
    dim3 grid = grid_for(out->width * (out->pixel_bytes / GPU_PIECE), out->height, out->images);
#define MAX_POOL(type) max_pool<type><<<grid, GRID_THREADS, 0, stream>>>(*in, *out)
    WITH_TYPE(in->type, MAX_POOL)
    return cudaGetLastError();
}

/* Results 2k − 1 and 2k of a row of n, 0 ≤ k ≤ n, lie between inputs k − 1 and k: their positions are
 * index · (n − 1) / (2n − 1). So a thread makes 2 × 2 results of the same four inputs. */
struct between {
    int low, high;      /* inputs, clamped */
    float odd, even;    /* how far from low to high results 2k − 1 and 2k lie */
};

static __device__ between between_inputs(int k, int count)
{
    float ratio = (float)(count - 1) / (float)(2 * count - 1);
    int low = max(k - 1, 0);
    return {low, min(k, count - 1), ratio * (float)(2 * k - 1) - (float)low,
            ratio * (float)(2 * k) - (float)low};
}

template <int TYPE>
static __device__ piece<TYPE> blend(const piece<TYPE> *corner, float v, float u, bool is_signed)
{
    piece<TYPE> result;
#pragma unroll
    for (int i = 0; i < piece<TYPE>::COUNT; i++) {
        float above = (1.0f - u) * corner[0].get(i, is_signed) + u * corner[1].get(i, is_signed);
        float below = (1.0f - u) * corner[2].get(i, is_signed) + u * corner[3].get(i, is_signed);
        result.set(i, (1.0f - v) * above + v * below, is_signed);
    }
    return result;
}

/* Result (y, x), where there is one and it lies inside of `out`. */
template <int TYPE>
static __device__ void place(const gpu_tensor &in, const gpu_tensor &out, int image, int y, int x,
                             int offset_y, int offset_x, int channel, const piece<TYPE> &value)
{
    bool made = y >= 0 && y < 2 * in.height && x >= 0 && x < 2 * in.width;
    int to_y = y + offset_y, to_x = x + offset_x;
    if (made && to_y >= 0 && to_y < out.height && to_x >= 0 && to_x < out.width)
        value.store(pixel_at(out, image, to_y, to_x) + channel);
}

template <int TYPE>
static __global__ void upsample(const gpu_tensor in, const gpu_tensor out, int offset_y,
                                int offset_x)
{
    typedef piece<TYPE> P;
    int pieces = out.pixel_bytes / GPU_PIECE;
    int item = blockIdx.x * GRID_THREADS + threadIdx.x;
    if (item >= (in.width + 1) * pieces)
        return;
    int l = item / pieces, channel = item % pieces * GPU_PIECE;
    between columns = between_inputs(l, in.width);
    bool s = in.is_signed;
    FOR_ROWS(image, in.images, k, in.height + 1)
    {
        between rows = between_inputs(k, in.height);
        P corner[4];
        corner[0].load(pixel_at(in, image, rows.low, columns.low) + channel);
        corner[1].load(pixel_at(in, image, rows.low, columns.high) + channel);
        corner[2].load(pixel_at(in, image, rows.high, columns.low) + channel);
        corner[3].load(pixel_at(in, image, rows.high, columns.high) + channel);
        place(in, out, image, 2 * k - 1, 2 * l - 1, offset_y, offset_x, channel,
              blend<TYPE>(corner, rows.odd, columns.odd, s));
        place(in, out, image, 2 * k - 1, 2 * l, offset_y, offset_x, channel,
              blend<TYPE>(corner, rows.odd, columns.even, s));
        place(in, out, image, 2 * k, 2 * l - 1, offset_y, offset_x, channel,
              blend<TYPE>(corner, rows.even, columns.odd, s));
        place(in, out, image, 2 * k, 2 * l, offset_y, offset_x, channel,
              blend<TYPE>(corner, rows.even, columns.even, s));
    }
}

cudaError_t gpu_upsample(const gpu_tensor *in, const gpu_tensor *out, int offset_y, int offset_x,
                         cudaStream_t stream)
{
    int items = (in->width + 1) * (out->pixel_bytes / GPU_PIECE);
    dim3 grid = grid_for(items, in->height + 1, in->images);
#define UPSAMPLE(type)                                                                             \
    upsample<type><<<grid, GRID_THREADS, 0, stream>>>(*in, *out, offset_y, offset_x)
    WITH_TYPE(in->type, UPSAMPLE)
    return cudaGetLastError();
}

static __global__ void clear_around(const gpu_tensor out, int offset_y, int offset_x, int height,
                                    int width)
{
    int pieces = out.pixel_bytes / GPU_PIECE;
    int item = blockIdx.x * GRID_THREADS + threadIdx.x;
    if (item >= out.width * pieces)
        return;
    int x = item / pieces, channel = item % pieces * GPU_PIECE;
    bool column_covered = x >= offset_x && x < offset_x + width;
    FOR_ROWS(image, out.images, y, out.height)
    {
        if (!column_covered || y < offset_y || y >= offset_y + height)
            *(uint4 *)(pixel_at(out, image, y, x) + channel) = make_uint4(0, 0, 0, 0);
    }
}

cudaError_t gpu_clear_around(const gpu_tensor *out, int offset_y, int offset_x, int height,
                             int width, cudaStream_t stream)
{
    if (offset_y <= 0 && offset_x <= 0 && offset_y + height >= out->height &&
        offset_x + width >= out->width)
        return cudaSuccess;
    dim3 grid = grid_for(out->width * (out->pixel_bytes / GPU_PIECE), out->height, out->images);
    clear_around<<<grid, GRID_THREADS, 0, stream>>>(*out, offset_y, offset_x, height, width);
    return cudaGetLastError();
}
