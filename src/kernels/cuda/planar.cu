/* The caller's planes and pixels to NHWC; NHWC to planes or to a mask. Bound by memory: a thread has a
 * pixel, so that planes are read and written in whole lines. */
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/input.cuh"

template <int TYPE>
static __global__ void load(const gpu_tensor out, const float *planes, const gpu_pixels pixels)
{
    typedef piece<TYPE> P;
    int x = blockIdx.x * GRID_THREADS + threadIdx.x;
    begin_after_previous();
    if (x >= out.width)
        return;
    size_t count = (size_t)out.height * out.width;
    FOR_ROWS(image, out.images, y, out.height)
    {
        char *to = pixel_at(out, image, y, x);
        for (int first = 0; first < out.channels; first += P::COUNT, to += GPU_PIECE) {
            P p;
#pragma unroll
            for (int i = 0; i < P::COUNT; i++) {
                int c = first + i;
                float value = 0.0f;
                if (c < out.channels)
                    value = input_value(planes, pixels, image, out.channels, count,
                                        (size_t)y * out.width + x, c);
                p.set(i, value, out.is_signed);
            }
            p.store(to);
        }
    }
}

cudaError_t gpu_load(const gpu_tensor *out, const float *planes, const gpu_pixels *pixels,
                     cudaStream_t stream)
{
    cudaError_t error;
    dim3 grid = grid_for(out->width, out->height, out->images);
#define LOAD(type)                                                                                 \
    error = enqueue(load<type>, grid, GRID_THREADS, 0, stream, *out, planes, *pixels)
    WITH_TYPE(out->type, LOAD)
    return error;
}

template <int TYPE>
static __global__ void store_planes(const gpu_tensor in, float *planes)
{
    typedef piece<TYPE> P;
    int x = blockIdx.x * GRID_THREADS + threadIdx.x;
    begin_after_previous();
    if (x >= in.width)
        return;
    size_t count = (size_t)in.height * in.width;
    FOR_ROWS(image, in.images, y, in.height)
    {
        const char *from = pixel_at(in, image, y, x);
        float *to = planes + (size_t)image * in.channels * count + (size_t)y * in.width + x;
        for (int first = 0; first < in.channels; first += P::COUNT, from += GPU_PIECE) {
            P p;
            p.load(from);
#pragma unroll
            for (int i = 0; i < P::COUNT; i++)
                if (first + i < in.channels)
                    to[(first + i) * count] = p.get(i, in.is_signed);
        }
    }
}

/* A NaN is greater than nothing, and nothing is greater than one. */
template <int TYPE>
static __global__ void store_mask(const gpu_tensor in, uint8_t *classes, float above)
{
    typedef piece<TYPE> P;
    int x = blockIdx.x * GRID_THREADS + threadIdx.x;
    begin_after_previous();
    if (x >= in.width)
        return;
    FOR_ROWS(image, in.images, y, in.height)
    {
        const char *from = pixel_at(in, image, y, x);
        int best = 0;
        float most = 0.0f;
        for (int first = 0; first < in.channels; first += P::COUNT, from += GPU_PIECE) {
            P p;
            p.load(from);
#pragma unroll
            for (int i = 0; i < P::COUNT; i++) {
                float value = p.get(i, in.is_signed);
                if (first + i == 0 || (first + i < in.channels && value > most)) {
                    best = first + i;
                    most = value;
                }
            }
        }
        if (in.channels == 1)
            best = most > above;
        classes[((size_t)image * in.height + y) * in.width + x] = (uint8_t)best;
    }
}

cudaError_t gpu_store(const gpu_tensor *in, const gpu_planes *to, cudaStream_t stream)
{
    cudaError_t error;
    dim3 grid = grid_for(in->width, in->height, in->images);
#define STORE_PLANES(type)                                                                         \
    error = enqueue(store_planes<type>, grid, GRID_THREADS, 0, stream, *in, to->planes)
#define STORE_MASK(type)                                                                           \
    error = enqueue(store_mask<type>, grid, GRID_THREADS, 0, stream, *in, to->classes, to->above)
    if (to->classes != NULL) {
        WITH_TYPE(in->type, STORE_MASK)
    } else {
        WITH_TYPE(in->type, STORE_PLANES)
    }
    return error;
}
