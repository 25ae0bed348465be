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
    begin_after_previous();
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
    cudaError_t error;
    dim3 grid = grid_for(out->width * (out->pixel_bytes / GPU_PIECE), out->height, out->images);
#define MAX_POOL(type)                                                                             \
    error = enqueue(max_pool<type>, grid, GRID_THREADS, 0, stream, *in, *out)
    WITH_TYPE(in->type, MAX_POOL)
    return error;
}

/* Results 2k − 1 and 2k of n, 0 ≤ k ≤ n, lie between inputs k − 1 and k: their positions are index ·
 * (n − 1) / (2n − 1). So four inputs make 2 × 2 results, and of a column of them each input is read,
 * and blended with its neighbour, once. */
struct between {
    int low, high;   /* inputs, clamped */
    float odd, even; /* how far from low to high results 2k − 1 and 2k lie */
};

static __device__ between between_inputs(int k, int count)
{
    float ratio = (float)(count - 1) / (float)(2 * count - 1);
    int low = max(k - 1, 0);
    return {low, min(k, count - 1), ratio * (float)(2 * k - 1) - (float)low,
            ratio * (float)(2 * k) - (float)low};
}

/* Two results of a row of inputs: a piece of channels each. */
template <int TYPE> struct blended {
    float odd[piece<TYPE>::COUNT], even[piece<TYPE>::COUNT];

    __device__ void set(const piece<TYPE> &left, const piece<TYPE> &right, const between &columns,
                        bool is_signed)
    {
#pragma unroll
        for (int i = 0; i < piece<TYPE>::COUNT; i++) {
            float from = left.get(i, is_signed), step = right.get(i, is_signed) - from;
            odd[i] = fmaf(columns.odd, step, from);
            even[i] = fmaf(columns.even, step, from);
        }
    }
};

/* A column of a thread's results: where its first row is, and whether it is wanted. */
struct column {
    char *place;
    bool wanted;
};

static __device__ column column_at(const gpu_tensor &in, const gpu_tensor &out, int image, int x,
                                   int offset_x, int channel)
{
    int to = x + offset_x;
    bool wanted = x >= 0 && x < 2 * in.width && to >= 0 && to < out.width;
    return {pixel_at(out, image, 0, wanted ? to : 0) + channel, wanted};
}

template <int TYPE>
static __device__ void store_between(const column &to, size_t row, const float *above,
                                     const float *below, float v, bool is_signed)
{
    piece<TYPE> result;
#pragma unroll
    for (int i = 0; i < piece<TYPE>::COUNT; i++)
        result.set(i, fmaf(v, below[i] - above[i], above[i]), is_signed);
    if (to.wanted)
        result.store(to.place + row);
}

/* Results of rows 2k − 1 and 2k for a thread's `most` numbers k. */
template <int TYPE>
static __global__ void upsample(const gpu_tensor in, const gpu_tensor out, int offset_y,
                                int offset_x, int most)
{
    int pieces = out.pixel_bytes / GPU_PIECE, image = blockIdx.z;
    int item = blockIdx.x * GRID_THREADS + threadIdx.x, l = item / pieces;
    int channel = (item - l * pieces) * GPU_PIECE, first = blockIdx.y * most;
    begin_after_previous();
    if (l > in.width)
        return;
    between columns = between_inputs(l, in.width);
    const char *left = pixel_at(in, image, 0, columns.low) + channel;
    const char *right = pixel_at(in, image, 0, columns.high) + channel;
    column odd = column_at(in, out, image, 2 * l - 1, offset_x, channel);
    column even = column_at(in, out, image, 2 * l, offset_x, channel);
    piece<TYPE> a, b;
    blended<TYPE> above, below;
    size_t row = max(first - 1, 0) * in.row_bytes;
    a.load(left + row);
    b.load(right + row);
    above.set(a, b, columns, in.is_signed);
    row = min(first, in.height - 1) * in.row_bytes;
    a.load(left + row);
    b.load(right + row);
    for (int k = first; k < min(first + most, in.height + 1); k++) {
        between rows = between_inputs(k, in.height);
        below.set(a, b, columns, in.is_signed);
        row = min(k + 1, in.height - 1) * in.row_bytes; /* the next one's, before they are wanted */
        a.load(left + row);
        b.load(right + row);
        int y = 2 * k - 1 + offset_y;
        if (k > 0 && y >= 0 && y < out.height) {
            store_between<TYPE>(odd, y * out.row_bytes, above.odd, below.odd, rows.odd, in.is_signed);
            store_between<TYPE>(even, y * out.row_bytes, above.even, below.even, rows.odd,
                                in.is_signed);
        }
        y++;
        if (k < in.height && y >= 0 && y < out.height) {
            store_between<TYPE>(odd, y * out.row_bytes, above.odd, below.odd, rows.even,
                                in.is_signed);
            store_between<TYPE>(even, y * out.row_bytes, above.even, below.even, rows.even,
                                in.is_signed);
        }
        above = below;
    }
}

#define ENOUGH_THREADS (1 << 17) /* to keep a large GPU's memory busy */
#define MOST_ROWS      8         /* pairs of them that a thread makes */

cudaError_t gpu_upsample(const gpu_tensor *in, const gpu_tensor *out, int offset_y, int offset_x,
                         cudaStream_t stream)
{
    cudaError_t error;
    int items = (in->width + 1) * (out->pixel_bytes / GPU_PIECE), most = 1;
    size_t all = (size_t)items * in->images * (in->height + 1);
    while (most < MOST_ROWS && all / (2 * most) >= ENOUGH_THREADS)
        most *= 2;
    while ((in->height + most) / most > GRID_MOST)
        most *= 2;
    dim3 grid((unsigned)((items + GRID_THREADS - 1) / GRID_THREADS),
              (unsigned)((in->height + most) / most), (unsigned)in->images);
#define UPSAMPLE(type)                                                                             \
    error = enqueue(upsample<type>, grid, GRID_THREADS, 0, stream, *in, *out, offset_y, offset_x,  \
                    most)
    WITH_TYPE(in->type, UPSAMPLE)
    return error;
}

static __global__ void clear_around(const gpu_tensor out, int offset_y, int offset_x, int height,
                                    int width)
{
    int pieces = out.pixel_bytes / GPU_PIECE;
    int item = blockIdx.x * GRID_THREADS + threadIdx.x;
    begin_after_previous();
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
    return enqueue(clear_around, grid, GRID_THREADS, 0, stream, *out, offset_y, offset_x, height,
                   width);
}
