/* The last 1×1 convolution, to planes or to a mask. Bound by reading the tensor: a thread has a pixel,
 * the weights lie in shared memory, where all threads of a warp read the same word. */
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/grid.cuh"

#define AT_ONCE 8 /* classes whose sums are in registers */

/* The logits of classes [first, first + AT_ONCE) of a pixel; weights in shared memory are AT_ONCE an
 * input. */
template <int TYPE>
static __device__ void pixel_logits(const char *pixel, int pieces, bool is_signed,
                                    const float *weights, const float *bias, float *logits)
{
    typedef piece<TYPE> P;
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++)
        logits[k] = bias[k];
    for (int at = 0; at < pieces; at++, weights += P::COUNT * AT_ONCE) {
        P p;
        p.load(pixel + (size_t)at * GPU_PIECE);
#pragma unroll
        for (int i = 0; i < P::COUNT; i++) {
            float value = p.get(i, is_signed);
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++)
                logits[k] += value * weights[i * AT_ONCE + k];
        }
    }
}

/* Weights and bias of the classes from `first` on; zeros past the last class and past the last of the
 * `channels`, up to those that `padded` are stored. */
static __device__ void load_weights(const gpu_head &head, int channels, int padded, int first,
                                    float *weights, float *bias)
{
    for (int at = threadIdx.x; at < padded * AT_ONCE; at += GRID_THREADS) {
        int k = first + at % AT_ONCE, c = at / AT_ONCE;
        bool there = k < head.channels && c < channels;
        weights[at] = there ? head.weight[(size_t)k * channels + c] : 0.0f;
    }
    if (threadIdx.x < AT_ONCE)
        bias[threadIdx.x] =
            first + threadIdx.x < head.channels ? head.bias[first + threadIdx.x] : 0.0f;
}

struct best_class {
    int index;
    float logit;
};

static __device__ void look_for_best(best_class *best, const float *logits, int first, int classes)
{
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++)
        if (first + k == 0 || (first + k < classes && logits[k] > best->logit)) {
            best->index = first + k;
            best->logit = logits[k];
        }
}

template <int TYPE>
static __global__ void head_pixels(const gpu_tensor in, const gpu_head head)
{
    extern __shared__ float weights[];
    __shared__ float bias[AT_ONCE];
    begin_after_previous();
    size_t count = (size_t)in.height * in.width;
    int pieces = in.pixel_bytes / GPU_PIECE;
    for (int image = blockIdx.z; image < in.images; image += gridDim.z) {
        size_t place = (size_t)blockIdx.x * GRID_THREADS + threadIdx.x;
        const char *pixel = in.data + image * in.image_bytes + place * in.pixel_bytes;
        best_class best = {0, 0.0f};
        for (int first = 0; first < head.channels; first += AT_ONCE) {
            __syncthreads();
            load_weights(head, in.channels, pieces * piece<TYPE>::COUNT, first, weights, bias);
            __syncthreads();
            if (place >= count)
                continue;
            float logits[AT_ONCE];
            pixel_logits<TYPE>(pixel, pieces, in.is_signed, weights, bias, logits);
            look_for_best(&best, logits, first, head.channels);
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++)
                if (head.to.classes == NULL && first + k < head.channels)
                    head.to.planes[((size_t)image * head.channels + first + k) * count + place] =
                        logits[k];
        }
        if (head.channels == 1)
            best.index = best.logit > head.to.above;
        if (head.to.classes != NULL && place < count)
            head.to.classes[image * count + place] = (uint8_t)best.index;
    }
}

cudaError_t gpu_apply_head(const gpu_tensor *in, const gpu_head *head, cudaStream_t stream)
{
    cudaError_t error;
    size_t blocks = ((size_t)in->height * in->width + GRID_THREADS - 1) / GRID_THREADS;
    dim3 grid((unsigned)blocks, 1, (unsigned)(in->images < GRID_MOST ? in->images : GRID_MOST));
    size_t shared = (size_t)(in->channels + GPU_PIECE) * AT_ONCE * sizeof(float);
#define HEAD(type)                                                                                 \
    error = enqueue(head_pixels<type>, grid, GRID_THREADS, shared, stream, *in, *head)
    WITH_TYPE(in->type, HEAD)
    return error;
}
