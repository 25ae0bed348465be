/* The first 3×3 convolution: up to three input channels, read from the caller's planes or pixels. Its 27
 * products and the bias, in two parts, fill four steps of mma with 10 bits of mantissa. It has little to
 * multiply and much to store, so that what counts is how few instructions a result takes. As many
 * blocks as fit stay for all tiles: weights lie in shared memory, and the next tile's inputs are on
 * their way while this one's are multiplied.
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
#define MOST_IN 3
#define TAPS    9
#define WORDS   (GPU_FIRST_STEPS * TILES * 32 * 2) /* of the weights of a pass */

/* A tile's inputs with their neighbours. Pitches are such that what a warp reads at once, 8 pixels of
 * each of four taps, lies in different banks. */
#define HALO_WIDE  (COLUMNS + 2)
#define HALO_HIGH  (ROWS + 2)
#define PITCH      44
#define PLANE      456
#define HALO       ((MOST_IN + 1) * PLANE) /* and a plane of ones, which the bias is multiplied with */
#define FETCHED    ((MOST_IN * HALO_WIDE * HALO_HIGH + THREADS - 1) / THREADS)

struct first_tile {
    int image, row, column;
};

static __device__ int tiles_wide(const gpu_first &conv)
{
    return (conv.out.width + COLUMNS - 1) / COLUMNS;
}

static __device__ int tiles_high(const gpu_first &conv)
{
    return (conv.out.height + ROWS - 1) / ROWS;
}

static __device__ first_tile tile_at(const gpu_first &conv, int index)
{
    int row = index / tiles_wide(conv);
    return {row / tiles_high(conv), row % tiles_high(conv), index % tiles_wide(conv)};
}

/* The tile that lies as many further as `step` from the first. */
static __device__ void advance(first_tile *tile, const first_tile &step, int wide, int high)
{
    tile->column += step.column;
    tile->row += step.row;
    tile->image += step.image;
    if (tile->column >= wide) {
        tile->column -= wide;
        tile->row++;
    }
    if (tile->row >= high) {
        tile->row -= high;
        tile->image++;
    }
}

/* Which of a tile's inputs a thread fetches: channel, row and column in the halo; no channel is that
 * many where there is nothing to fetch. */
static __device__ void share_out(int channels, uchar4 share[FETCHED])
{
#pragma unroll
    for (int i = 0; i < FETCHED; i++) {
        int at = threadIdx.x + i * THREADS, place = at % (HALO_WIDE * HALO_HIGH);
        share[i].x = (unsigned char)(place % HALO_WIDE);
        share[i].y = (unsigned char)(place / HALO_WIDE);
        share[i].z = (unsigned char)min(at / (HALO_WIDE * HALO_HIGH), channels);
    }
}

static __device__ float source_value(const gpu_first &conv, int image, int y, int x, int c)
{
    if ((unsigned)y >= (unsigned)conv.in.height || (unsigned)x >= (unsigned)conv.in.width)
        return 0.0f;
    if (conv.in.data != NULL)
        return ((const float *)pixel_at(conv.in, image, y, x))[c];
    return input_value(conv.planes, conv.pixels, image, conv.in.channels,
                       (size_t)conv.in.height * conv.in.width, (size_t)y * conv.in.width + x, c);
}

static __device__ void fetch(const gpu_first &conv, const first_tile &tile,
                             const uchar4 share[FETCHED], float values[FETCHED])
{
#pragma unroll
    for (int i = 0; i < FETCHED; i++)
        values[i] = share[i].z < conv.in.channels
                        ? source_value(conv, tile.image, tile.row * ROWS - 1 + share[i].y,
                                       tile.column * COLUMNS - 1 + share[i].x, share[i].z)
                        : 0.0f;
}

static __device__ void put_down(const float values[FETCHED], const uchar4 share[FETCHED],
                                int channels, float *halo)
{
#pragma unroll
    for (int i = 0; i < FETCHED; i++)
        if (share[i].z < channels)
            halo[share[i].z * PLANE + share[i].y * PITCH + share[i].x] =
                __uint_as_float(tf32_round(__float_as_uint(values[i])));
}

/* Where a lane's two products of each step lie in the halo, for the first pixel of row 0. Past the last
 * they are ones, and their weights the bias or zeros. */
static __device__ void locate(int channels, int places[GPU_FIRST_STEPS][2])
{
#pragma unroll
    for (int i = 0; i < 2 * GPU_FIRST_STEPS; i++) {
        int k = i * 4 + threadIdx.x % 4, tap = k % TAPS;
        places[i / 2][i % 2] =
            k < channels * TAPS ? k / TAPS * PLANE + tap / 3 * PITCH + tap % 3 : MOST_IN * PLANE;
    }
}

/* The sums of a row of a tile. */
static __device__ void multiply_row(float sums[STRIPS][TILES][4], const float *pixels,
                                    const int places[GPU_FIRST_STEPS][2], const uint4 *weights)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < STRIPS * TILES * 4; i++)
        sums[i / 4 / TILES][i / 4 % TILES][i % 4] = 0.0f;
#pragma unroll
    for (int s = 0; s < GPU_FIRST_STEPS; s++) {
        unsigned a[STRIPS][4];
#pragma unroll
        for (int i = 0; i < 4 * STRIPS; i++)
            a[i / 4][i % 4] =
                __float_as_uint(pixels[places[s][i % 4 / 2] + i / 4 * STRIP + i % 2 * 8]);
#pragma unroll
        for (int j = 0; j < TILES; j += 2) {
            uint4 b = weights[(s * TILES + j) / 2 * 32 + lane];
            unsigned words[2][2] = {{b.x, b.y}, {b.z, b.w}};
#pragma unroll
            for (int i = 0; i < 2 * STRIPS; i++)
                mma_tf32(&sums[i / 2][j + i % 2][0], &sums[i / 2][j + i % 2][2], a[i / 2],
                         words[i % 2]);
        }
    }
}

/* A lane's outputs of pixels g and g + 8 of a strip that begins g pixels before x. */
template <int TYPE>
static __device__ void store_strip(const gpu_first &conv, const float sums[TILES][4], char *pixel,
                                   int x, int first_output)
{
    typedef piece<TYPE> P;
    const int tiles = P::COUNT / 2; /* that make a piece */
    float floor = conv.relu ? 0.0f : -INFINITY;
#pragma unroll
    for (int half = 0; half < 2; half++, x += 8, pixel += 8 * conv.out.pixel_bytes) {
#pragma unroll
        for (int group = 0; group < TILES / tiles; group++) {
            P p;
#pragma unroll
            for (int i = 0; i < P::COUNT; i += 2) {
                const float *pair = &sums[group * tiles + i / 2][2 * half];
                p.set_two(i, at_least(floor, pair[0]), at_least(floor, pair[1]),
                          conv.out.is_signed);
            }
            int output = first_output + (group * 4 + threadIdx.x % 4) * P::COUNT;
            int byte = output * (int)sizeof(typename P::type);
            if (x < conv.out.width && byte < conv.out.pixel_bytes)
                p.store(pixel + byte);
        }
    }
}

/* blockIdx.y: which 64 outputs. The halo has two places: while some warps still read one, others
 * already fill the other. */
template <int TYPE>
static __global__ void __launch_bounds__(THREADS, 2)
    conv_first(const __grid_constant__ gpu_first conv)
{
    __shared__ float halo[2 * HALO];
    __shared__ uint4 weights[WORDS / 4];
    int pass = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32, turn = 0;
    int places[GPU_FIRST_STEPS][2], wide = tiles_wide(conv), high = tiles_high(conv);
    first_tile tile = tile_at(conv, blockIdx.x), step = tile_at(conv, gridDim.x);
    uchar4 share[FETCHED];
    float values[FETCHED];
    for (int i = threadIdx.x; i < WORDS / 4; i += THREADS)
        weights[i] = ((const uint4 *)conv.weights)[(size_t)pass * WORDS / 4 + i];
    for (int i = threadIdx.x; i < 2 * PLANE; i += THREADS)
        halo[i / PLANE * HALO + MOST_IN * PLANE + i % PLANE] = 1.0f;
    locate(conv.in.channels, places);
    share_out(conv.in.channels, share);
    begin_after_previous();
    fetch(conv, tile, share, values);
    while (tile.image < conv.out.images) {
        int y = tile.row * ROWS + warp, x = tile.column * COLUMNS + lane / 4;
        char *pixel = pixel_at(conv.out, tile.image, y, x);
        put_down(values, share, conv.in.channels, halo + turn);
        __syncthreads();
        advance(&tile, step, wide, high);
        if (tile.image < conv.out.images)
            fetch(conv, tile, share, values);
        float sums[STRIPS][TILES][4];
        multiply_row(sums, halo + turn + warp * PITCH + lane / 4, places, weights);
        turn = HALO - turn;
        if (y >= conv.out.height)
            continue;
#pragma unroll
        for (int strip = 0; strip < STRIPS; strip++)
            store_strip<TYPE>(conv, sums[strip], pixel + strip * STRIP * conv.out.pixel_bytes,
                              x + strip * STRIP, pass * GPU_FIRST_CHANNELS);
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
