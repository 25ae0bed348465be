/* The first 3×3 convolution: up to three input channels, read from the caller's planes or pixels. Its 27
 * products fill four steps of mma with 10 bits of mantissa; what bounds it is storing the result. A
 * block keeps the inputs of its tile in shared memory, a warp the weights of 64 outputs in registers.
 *
 * mma gives a lane pairs of neighbouring columns; which output a column stands for is the packer's
 * choice, and made so that a lane's pairs are neighbours too: it stores whole pieces. */
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/input.cuh"
#include "kernels/cuda/instructions.cuh"

#define ROWS    16 /* of a block's tile */
#define COLUMNS 32
#define WARPS   8
#define STRIP   16 /* pixels that one mma multiplies */
#define TILES   (GPU_FIRST_CHANNELS / 8)
#define PITCH   (COLUMNS + 2)
#define PLANE   ((ROWS + 2) * PITCH)
#define MOST_IN 3
#define TAPS    9

static __device__ float source_value(const gpu_first &conv, int image, int y, int x, int c)
{
    if (y < 0 || y >= conv.in.height || x < 0 || x >= conv.in.width)
        return 0.0f;
    if (conv.in.data != NULL)
        return ((const float *)pixel_at(conv.in, image, y, x))[c];
    return input_value(conv.planes, conv.pixels, image, conv.in.channels,
                       (size_t)conv.in.height * conv.in.width, (size_t)y * conv.in.width + x, c);
}

static __device__ void load_halo(const gpu_first &conv, int image, int top, int left, float *halo)
{
    for (int at = threadIdx.x; at < conv.in.channels * PLANE; at += WARPS * 32) {
        int place = at % PLANE, y = top - 1 + place / PITCH, x = left - 1 + place % PITCH;
        float value = source_value(conv, image, y, x, at / PLANE);
        halo[at] = __uint_as_float(tf32_round(__float_as_uint(value)));
    }
}

/* Where a lane's two products of each step lie in the halo, from the pixel's upper left neighbour on;
 * −1 past the last. */
static __device__ void locate(int channels, int places[GPU_FIRST_STEPS][2])
{
#pragma unroll
    for (int i = 0; i < 2 * GPU_FIRST_STEPS; i++) {
        int k = i * 4 + threadIdx.x % 4, tap = k % TAPS;
        places[i / 2][i % 2] =
            k < channels * TAPS ? k / TAPS * PLANE + tap / 3 * PITCH + tap % 3 : -1;
    }
}

struct first_weights {
    unsigned words[GPU_FIRST_STEPS][TILES][2];
};

static __device__ void load_weights(first_weights *weights, const float *from)
{
    const uint2 *lane = (const uint2 *)from + threadIdx.x % 32;
#pragma unroll
    for (int s = 0; s < GPU_FIRST_STEPS; s++)
#pragma unroll
        for (int j = 0; j < TILES; j++, lane += 32) {
            weights->words[s][j][0] = lane->x;
            weights->words[s][j][1] = lane->y;
        }
}

/* bias: in the order of columns, 8 a tile. */
static __device__ void multiply_strip(float sums[TILES][4], const float *pixels,
                                      const int places[GPU_FIRST_STEPS][2],
                                      const first_weights &weights, const float *bias)
{
#pragma unroll
    for (int j = 0; j < TILES; j++) {
        float2 pair = *(const float2 *)(bias + j * 8 + threadIdx.x % 4 * 2);
        sums[j][0] = sums[j][2] = pair.x;
        sums[j][1] = sums[j][3] = pair.y;
    }
#pragma unroll
    for (int s = 0; s < GPU_FIRST_STEPS; s++) {
        unsigned a[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int place = places[s][i / 2];
            a[i] = place < 0 ? 0 : __float_as_uint(pixels[place + i % 2 * 8]);
        }
#pragma unroll
        for (int j = 0; j < TILES; j++)
            mma_tf32(&sums[j][0], &sums[j][2], a, weights.words[s][j]);
    }
}

/* A lane's outputs of pixels g and g + 8 of the strip. */
template <int TYPE>
static __device__ void store_strip(const gpu_first &conv, const float sums[TILES][4], int image,
                                   int y, int x, int first_output)
{
    typedef piece<TYPE> P;
    const int tiles = P::COUNT / 2; /* that make a piece */
#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (x + 8 * half >= conv.out.width)
            continue;
        char *pixel = pixel_at(conv.out, image, y, x + 8 * half);
#pragma unroll
        for (int group = 0; group < TILES / tiles; group++) {
            P p;
#pragma unroll
            for (int i = 0; i < P::COUNT; i++) {
                float value = sums[group * tiles + i / 2][2 * half + i % 2];
                p.set(i, conv.relu && value < 0.0f ? 0.0f : value, conv.out.is_signed);
            }
            int output = first_output + (group * 4 + threadIdx.x % 4) * P::COUNT;
            int byte = output * (int)sizeof(typename P::type);
            if (byte < conv.out.pixel_bytes)
                p.store(pixel + byte);
        }
    }
}

/* `pass`: of 64 outputs. */
template <int TYPE>
static __device__ void make_outputs(const gpu_first &conv, int image, int top, int left, int pass,
                                    const float *halo, const float *bias)
{
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int places[GPU_FIRST_STEPS][2];
    first_weights weights;
    locate(conv.in.channels, places);
    load_weights(&weights, conv.weights + (size_t)pass * GPU_FIRST_STEPS * TILES * 32 * 2);
    for (int strip = warp; strip < ROWS * COLUMNS / STRIP; strip += WARPS) {
        int row = strip / (COLUMNS / STRIP), column = strip % (COLUMNS / STRIP) * STRIP + lane / 4;
        if (top + row >= conv.out.height)
            continue;
        __syncwarp(); /* lanes parted where they stored */
        float sums[TILES][4];
        multiply_strip(sums, halo + row * PITCH + column, places, weights, bias);
        store_strip<TYPE>(conv, sums, image, top + row, left + column, pass * GPU_FIRST_CHANNELS);
    }
}

template <int TYPE>
static __global__ void __launch_bounds__(WARPS * 32, 2)
    conv_first(const __grid_constant__ gpu_first conv)
{
    __shared__ float halo[MOST_IN * PLANE];
    __shared__ __align__(8) float bias[GPU_FIRST_CHANNELS];
    int tiles_wide = (conv.out.width + COLUMNS - 1) / COLUMNS;
    int top = blockIdx.x / tiles_wide * ROWS, left = blockIdx.x % tiles_wide * COLUMNS;
    int passes = (conv.out.channels + GPU_FIRST_CHANNELS - 1) / GPU_FIRST_CHANNELS;
    load_halo(conv, blockIdx.z, top, left, halo);
    for (int pass = 0; pass < passes; pass++) {
        __syncthreads();
        if (threadIdx.x < GPU_FIRST_CHANNELS)
            bias[threadIdx.x] = conv.bias[pass * GPU_FIRST_CHANNELS + threadIdx.x];
        __syncthreads();
        make_outputs<TYPE>(conv, blockIdx.z, top, left, pass, halo, bias);
    }
}

cudaError_t gpu_conv_first(const gpu_first *conv, cudaStream_t stream)
{
    int tiles = (conv->out.height + ROWS - 1) / ROWS * ((conv->out.width + COLUMNS - 1) / COLUMNS);
    dim3 grid((unsigned)tiles, 1, (unsigned)conv->out.images);
#define FIRST(type) conv_first<type><<<grid, WARPS * 32, 0, stream>>>(*conv)
    WITH_TYPE(conv->out.type, FIRST)
    return cudaGetLastError();
}
