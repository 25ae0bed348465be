/* The first 3×3 convolution: up to three input channels, read from the caller's planes or pixels. Its 27
 * products fill four steps of mma with 10 bits of mantissa; what bounds it is storing the result. As
 * many blocks as fit stay for all tiles: weights lie in shared memory, and the next tile's inputs are
 * on their way while this one's are multiplied.
 *
 * mma gives a lane pairs of neighbouring columns; which output a column stands for is the packer's
 * choice, and made so that a lane's pairs are neighbours too: it stores whole pieces. */
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/input.cuh"
#include "kernels/cuda/instructions.cuh"

#define ROWS    8 /* of a tile: a warp has one */
#define COLUMNS 32
#define WARPS   ROWS
#define THREADS (WARPS * 32)
#define STRIP   16 /* pixels that one mma multiplies */
#define STRIPS  (COLUMNS / STRIP)
#define TILES   (GPU_FIRST_CHANNELS / 8)
#define PITCH   (COLUMNS + 2)
#define PLANE   ((ROWS + 2) * PITCH)
#define MOST_IN 3
#define TAPS    9
#define WORDS   (GPU_FIRST_STEPS * TILES * 32 * 2) /* of the weights of a pass */
#define FETCHED ((MOST_IN * PLANE + THREADS - 1) / THREADS)

struct first_tile {
    int image, top, left;
};

static __device__ int tiles_wide(const gpu_first &conv)
{
    return (conv.out.width + COLUMNS - 1) / COLUMNS;
}

static __device__ int tile_count(const gpu_first &conv)
{
    return (conv.out.height + ROWS - 1) / ROWS * tiles_wide(conv) * conv.out.images;
}

static __device__ first_tile tile_at(const gpu_first &conv, int index)
{
    int wide = tiles_wide(conv), high = (conv.out.height + ROWS - 1) / ROWS;
    int row = index / wide;
    return {row / high, row % high * ROWS, index % wide * COLUMNS};
}

static __device__ float source_value(const gpu_first &conv, int image, int y, int x, int c)
{
    if (y < 0 || y >= conv.in.height || x < 0 || x >= conv.in.width)
        return 0.0f;
    if (conv.in.data != NULL)
        return ((const float *)pixel_at(conv.in, image, y, x))[c];
    return input_value(conv.planes, conv.pixels, image, conv.in.channels,
                       (size_t)conv.in.height * conv.in.width, (size_t)y * conv.in.width + x, c);
}

/* A thread's share of a tile's inputs, halo included. */
static __device__ void fetch(const gpu_first &conv, const first_tile &tile, float values[FETCHED])
{
#pragma unroll
    for (int i = 0; i < FETCHED; i++) {
        int at = threadIdx.x + i * THREADS, place = at % PLANE;
        int y = tile.top - 1 + place / PITCH, x = tile.left - 1 + place % PITCH;
        values[i] = at < conv.in.channels * PLANE
                        ? source_value(conv, tile.image, y, x, at / PLANE)
                        : 0.0f;
    }
}

static __device__ void put_down(const float values[FETCHED], float *halo)
{
#pragma unroll
    for (int i = 0; i < FETCHED; i++) {
        int at = threadIdx.x + i * THREADS;
        if (at < MOST_IN * PLANE)
            halo[at] = __uint_as_float(tf32_round(__float_as_uint(values[i])));
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

/* The sums of a row of a tile; bias: in the order of columns, 8 a tile of mma. */
static __device__ void multiply_row(float sums[STRIPS][TILES][4], const float *pixels,
                                    const int places[GPU_FIRST_STEPS][2], const unsigned *weights,
                                    const float *bias)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < TILES; j++) {
        float2 pair = *(const float2 *)(bias + j * 8 + lane % 4 * 2);
#pragma unroll
        for (int strip = 0; strip < STRIPS; strip++) {
            sums[strip][j][0] = sums[strip][j][2] = pair.x;
            sums[strip][j][1] = sums[strip][j][3] = pair.y;
        }
    }
#pragma unroll
    for (int s = 0; s < GPU_FIRST_STEPS; s++) {
        unsigned a[STRIPS][4];
#pragma unroll
        for (int i = 0; i < 4 * STRIPS; i++) {
            int place = places[s][i % 4 / 2];
            const float *from = pixels + i / 4 * STRIP + i % 2 * 8;
            a[i / 4][i % 4] = place < 0 ? 0 : __float_as_uint(from[place]);
        }
#pragma unroll
        for (int j = 0; j < TILES; j++) {
            uint2 b = ((const uint2 *)weights)[(s * TILES + j) * 32 + lane];
            unsigned words[2] = {b.x, b.y};
#pragma unroll
            for (int strip = 0; strip < STRIPS; strip++)
                mma_tf32(&sums[strip][j][0], &sums[strip][j][2], a[strip], words);
        }
    }
}

/* A lane's outputs of pixels g and g + 8 of a strip that begins g pixels before x. */
template <int TYPE>
static __device__ void store_strip(const gpu_first &conv, const float sums[TILES][4], int image,
                                   int y, int x, int first_output)
{
    typedef piece<TYPE> P;
    const int tiles = P::COUNT / 2; /* that make a piece */
#pragma unroll
    for (int half = 0; half < 2; half++) {
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
            if (x + 8 * half < conv.out.width && byte < conv.out.pixel_bytes)
                p.store(pixel + byte);
        }
    }
}

/* blockIdx.y: which 64 outputs. */
template <int TYPE>
static __global__ void __launch_bounds__(THREADS, 2)
    conv_first(const __grid_constant__ gpu_first conv)
{
    __shared__ float halo[MOST_IN * PLANE];
    __shared__ __align__(16) unsigned weights[WORDS];
    __shared__ __align__(8) float bias[GPU_FIRST_CHANNELS];
    int pass = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int places[GPU_FIRST_STEPS][2], tiles = tile_count(conv);
    float next[FETCHED];
    for (int i = threadIdx.x; i < WORDS; i += THREADS)
        weights[i] = __float_as_uint(conv.weights[(size_t)pass * WORDS + i]);
    for (int i = threadIdx.x; i < GPU_FIRST_CHANNELS; i += THREADS)
        bias[i] = conv.bias[pass * GPU_FIRST_CHANNELS + i];
    locate(conv.in.channels, places);
    begin_after_previous();
    fetch(conv, tile_at(conv, blockIdx.x), next);
    for (int index = blockIdx.x; index < tiles; index += gridDim.x) {
        first_tile tile = tile_at(conv, index);
        __syncthreads();
        put_down(next, halo);
        __syncthreads();
        if (index + (int)gridDim.x < tiles)
            fetch(conv, tile_at(conv, index + gridDim.x), next);
        float sums[STRIPS][TILES][4];
        multiply_row(sums, halo + warp * PITCH + lane / 4, places, weights, bias);
        if (tile.top + warp >= conv.out.height)
            continue;
#pragma unroll
        for (int strip = 0; strip < STRIPS; strip++)
            store_strip<TYPE>(conv, sums[strip], tile.image, tile.top + warp,
                              tile.left + strip * STRIP + lane / 4, pass * GPU_FIRST_CHANNELS);
    }
}

cudaError_t gpu_conv_first(const gpu_first *conv, cudaStream_t stream)
{
    cudaError_t error;
    int tiles = (conv->out.height + ROWS - 1) / ROWS *
                ((conv->out.width + COLUMNS - 1) / COLUMNS) * conv->out.images;
    int passes = (conv->out.channels + GPU_FIRST_CHANNELS - 1) / GPU_FIRST_CHANNELS;
    int places = 2 * device_attribute(cudaDevAttrMultiProcessorCount);
    dim3 grid((unsigned)(tiles < places ? tiles : places), (unsigned)passes);
#define FIRST(type) error = enqueue(conv_first<type>, grid, THREADS, 0, stream, *conv)
    WITH_TYPE(conv->out.type, FIRST)
    return error;
}
