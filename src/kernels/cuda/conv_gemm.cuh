/* Convolution of any window as an implicit GEMM, for every GPU since sm_75: D[pixel, output] = pixels ×
 * weights. A block of threads makes a tile of 8 × 16 pixels times 32, 64 or 128 outputs. Steps of 64
 * bytes of channels of one tap go through a ring in shared memory: cp.async gathers them, and writes
 * zeros for what lies outside. A source's taps follow one another, so that all but the first find its
 * pixels in the first-level cache.
 *
 * All element types share the code. What tensor cores multiply is laid out in 32-bit words, be these
 * two halves, four bytes or one float with ten bits of mantissa, and so are the fragments. Only
 * `multiply` differs; with float32 it does without tensor cores. */
#ifndef UNET_KERNELS_CUDA_CONV_GEMM_CUH
#define UNET_KERNELS_CUDA_CONV_GEMM_CUH

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/instructions.cuh"

#define TILE_PIXELS  (GPU_GEMM_ROWS * GPU_GEMM_COLUMNS)
#define CHUNK_PIECES (GPU_GEMM_CHUNK / GPU_PIECE)
#define STAGES       4

/* A warp has 64 pixels × 32 outputs; two of them lie over one another, WARPS side by side. A lane
 * has rows g + 8r (r < 8) and pairs of columns 2t + 8j (j < 4), where g = lane / 4, t = lane % 4: as
 * mma's fragments have it. */
#define WARP_PIXELS 64
#define LANE_ROWS   8
#define LANE_PAIRS  4

template <class SUM> struct lane_sums {
    SUM at[LANE_ROWS][LANE_PAIRS][2];
};

/* Where a piece of a row of GPU_GEMM_CHUNK bytes lies in shared memory: rotated, so that eight rows'
 * pieces of one column fall into different banks. */
static __device__ unsigned staged_at(int row, int piece)
{
    return (unsigned)(row * GPU_GEMM_CHUNK + ((piece ^ (row >> 1 & 3)) * GPU_PIECE));
}

/* ---------------------------------------------------------------- what a step reads */

/* The next step: a tap of a chunk of a source's channels. */
struct gemm_step {
    int source, chunk, ky, kx;

    __device__ void advance(const gpu_gemm &gemm)
    {
        if (++kx < gemm.kernel_w)
            return;
        kx = 0;
        if (++ky < gemm.kernel_h)
            return;
        ky = 0;
        if ((++chunk) * GPU_GEMM_CHUNK < gemm.sources[source].pixel_bytes)
            return;
        chunk = 0;
        source++;
    }
};

/* The tile that a block makes. */
struct gemm_tile {
    int image, y, x, output;
};

template <int WARPS> static __device__ gemm_tile tile_of(const gpu_gemm &gemm)
{
    int outputs = gemm.outputs / (WARPS * GPU_GEMM_CHANNELS);
    int columns = (gemm.columns + GPU_GEMM_COLUMNS - 1) / GPU_GEMM_COLUMNS;
    int place = blockIdx.x / outputs;
    return {(int)blockIdx.z, place / columns * GPU_GEMM_ROWS, place % columns * GPU_GEMM_COLUMNS,
            (int)(blockIdx.x % outputs) * WARPS * GPU_GEMM_CHANNELS};
}

/* A thread gathers one piece of pixels that lie below one another, WARPS rows apart. */
template <int WARPS>
static __device__ void gather_pixels(const gpu_gemm &gemm, const gemm_tile &tile,
                                     const gemm_step &step, unsigned to)
{
    const gpu_tensor &in = gemm.sources[step.source];
    int row = threadIdx.x / CHUNK_PIECES, piece = threadIdx.x % CHUNK_PIECES;
    int x = (tile.x + row % GPU_GEMM_COLUMNS) * gemm.stride - gemm.padding + step.kx;
    int channel = step.chunk * GPU_GEMM_CHUNK + piece * GPU_PIECE;
    bool column_inside = x >= 0 && x < in.width && channel < in.pixel_bytes;
    const char *from = in.data + tile.image * in.image_bytes + (size_t)x * in.pixel_bytes + channel;
#pragma unroll
    for (int i = 0; i < GPU_GEMM_ROWS / WARPS; i++) {
        int place = row + i * WARPS * GPU_GEMM_COLUMNS;
        int y = (tile.y + place / GPU_GEMM_COLUMNS) * gemm.stride - gemm.padding + step.ky;
        bool inside = column_inside && y >= 0 && y < in.height;
        copy_async_near(to + staged_at(place, piece), inside ? from + y * in.row_bytes : in.data,
                        inside);
    }
}

template <int WARPS>
static __device__ void fetch_weights(const gpu_gemm &gemm, const gemm_tile &tile, int step,
                                     unsigned to)
{
    const char *from =
        gemm.weights + ((size_t)step * gemm.outputs + tile.output) * GPU_GEMM_CHUNK;
    const int threads = 2 * WARPS * 32, pieces = WARPS * GPU_GEMM_CHANNELS * CHUNK_PIECES;
#pragma unroll
    for (int i = 0; i < pieces / threads; i++) {
        int at = threadIdx.x + i * threads;
        copy_async(to + staged_at(at / CHUNK_PIECES, at % CHUNK_PIECES), from + at * GPU_PIECE);
    }
}

/* ---------------------------------------------------------------- the main loop */

template <int WARPS> struct gemm_sizes {
    static const int THREADS = 2 * WARPS * 32, OUTPUTS = WARPS * GPU_GEMM_CHANNELS;
    static const int PIXEL_BYTES = TILE_PIXELS * GPU_GEMM_CHUNK;
    static const int STAGE_BYTES = PIXEL_BYTES + OUTPUTS * GPU_GEMM_CHUNK;
    static const int RING_BYTES = STAGES * STAGE_BYTES;
    /* Results wait in shared memory to be stored in whole lines; a row is a piece longer than it
     * need be, so that neighbours begin in different banks. */
    static __host__ __device__ int pitch(int bytes) { return OUTPUTS * bytes + GPU_PIECE; }
    static int shared(int bytes)
    {
        int results = TILE_PIXELS * pitch(bytes);
        return results > RING_BYTES ? results : RING_BYTES;
    }
};

template <class MATH, int WARPS>
static __device__ void add_products(const gpu_gemm &gemm, const gemm_tile &tile, int steps,
                                    unsigned ring, lane_sums<typename MATH::sum> *sums)
{
    typedef gemm_sizes<WARPS> S;
    int warp = threadIdx.x / 32, pixels = warp % 2 * WARP_PIXELS;
    int outputs = warp / 2 * GPU_GEMM_CHANNELS;
    gemm_step ahead = {0, 0, 0, 0}, here = {0, 0, 0, 0};
    for (int i = 0; i < steps + STAGES - 1; i++) {
        int step = i - (STAGES - 1);
        if (step >= 0) {
            copies_wait<STAGES - 2>();
            __syncthreads();
        }
        if (i < steps) {
            unsigned to = ring + i % STAGES * S::STAGE_BYTES;
            gather_pixels<WARPS>(gemm, tile, ahead, to);
            fetch_weights<WARPS>(gemm, tile, i, to + S::PIXEL_BYTES);
            ahead.advance(gemm);
        }
        copies_commit();
        if (step < 0)
            continue;
        unsigned from = ring + step % STAGES * S::STAGE_BYTES;
        MATH::multiply(sums, from, pixels, from + S::PIXEL_BYTES, outputs,
                       gemm.sources[here.source].is_signed);
        here.advance(gemm);
    }
    __syncthreads();
}

/* Signed bytes are 128 less than what they stand for. What is not there is 0 signed, and stands for
 * 128 too. */
template <int WARPS>
static __device__ void begin_sums(const gpu_gemm &gemm, const gemm_tile &tile, lane_sums<int> *sums)
{
    int first = tile.output + threadIdx.x / 64 * GPU_GEMM_CHANNELS + threadIdx.x % 4 * 2;
#pragma unroll
    for (int j = 0; j < LANE_PAIRS; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            int shift = 0;
            for (int s = 0; s < gemm.source_count; s++)
                if (gemm.sources[s].is_signed)
                    shift += gemm.shift[s * gemm.outputs + first + 8 * j + e];
#pragma unroll
            for (int r = 0; r < LANE_ROWS; r++)
                sums->at[r][j][e] = shift;
        }
}

template <int WARPS>
static __device__ void begin_sums(const gpu_gemm &, const gemm_tile &, lane_sums<float> *sums)
{
    *sums = {};
}

/* ---------------------------------------------------------------- results */

/* What becomes of two neighbouring outputs' sums. */
struct gemm_scale {
    float step[2], bias[2], floor;

    __device__ gemm_scale(const gpu_gemm &gemm, int output)
    {
        floor = gemm.relu ? 0.0f : -INFINITY;
#pragma unroll
        for (int e = 0; e < 2; e++) {
            step[e] = gemm.step != NULL ? gemm.step[output + e] : 1.0f;
            bias[e] = gemm.bias[output + e];
        }
    }
    __device__ float value(float sum, int e) const
    {
        return at_least(floor, sum * step[e] + bias[e]);
    }
};

template <int TYPE, class SUM, int WARPS>
static __device__ void stage_results(const gpu_gemm &gemm, const gemm_tile &tile,
                                     const lane_sums<SUM> &sums, char *shared)
{
    typedef typename element<TYPE>::type type;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int pitch = gemm_sizes<WARPS>::pitch(sizeof(type));
    char *to = shared + (warp % 2 * WARP_PIXELS + lane / 4) * pitch;
#pragma unroll
    for (int j = 0; j < LANE_PAIRS; j++) {
        int column = warp / 2 * GPU_GEMM_CHANNELS + 8 * j + lane % 4 * 2;
        gemm_scale scale(gemm, tile.output + column);
#pragma unroll
        for (int r = 0; r < LANE_ROWS; r++) {
            const SUM *pair = sums.at[r][j];
            element<TYPE>::store_two((type *)(to + r * 8 * pitch) + column,
                                     scale.value((float)pair[0], 0),
                                     scale.value((float)pair[1], 1), gemm.out.is_signed);
        }
    }
}

/* Of the tile's results, those that there are. A thread has the same piece of every so many pixels:
 * pieces of a tile are a power of two, and no more than threads. */
template <int WARPS>
static __device__ void store_results(const gpu_gemm &gemm, const gemm_tile &tile,
                                     const char *shared, int bytes)
{
    typedef gemm_sizes<WARPS> S;
    int pieces = S::OUTPUTS * bytes / GPU_PIECE, byte = threadIdx.x % pieces * GPU_PIECE;
    int output = tile.output + byte / bytes, quarter = output / gemm.block;
    int channel = (output - quarter * gemm.block) * bytes;
    int offset_y = quarter / 2 + gemm.offset_y, offset_x = quarter % 2 + gemm.offset_x;
    char *to = pixel_at(gemm.out, tile.image, 0, 0) + channel;
    if (channel >= gemm.out.pixel_bytes)
        return;
    for (int place = threadIdx.x / pieces; place < TILE_PIXELS; place += S::THREADS / pieces) {
        int y = tile.y + place / GPU_GEMM_COLUMNS, x = tile.x + place % GPU_GEMM_COLUMNS;
        int to_y = y * gemm.scale + offset_y, to_x = x * gemm.scale + offset_x;
        if (y < gemm.rows && x < gemm.columns && (unsigned)to_y < (unsigned)gemm.out.height &&
            (unsigned)to_x < (unsigned)gemm.out.width)
            *(uint4 *)(to + to_y * gemm.out.row_bytes + (size_t)to_x * gemm.out.pixel_bytes) =
                *(const uint4 *)(shared + place * S::pitch(bytes) + byte);
    }
}

/* 2×2 max-pool. */
template <int TYPE, int WARPS>
static __device__ void store_pooled(const gpu_gemm &gemm, const gemm_tile &tile,
                                    const char *shared)
{
    typedef gemm_sizes<WARPS> S;
    typedef piece<TYPE> P;
    const int bytes = sizeof(typename P::type), pieces = S::OUTPUTS * bytes / GPU_PIECE;
    const int pitch = S::pitch(bytes);
    bool s = gemm.out.is_signed;
    for (int at = threadIdx.x; at < TILE_PIXELS / 4 * pieces; at += S::THREADS) {
        int place = at / pieces, byte = at % pieces * GPU_PIECE, columns = GPU_GEMM_COLUMNS / 2;
        int row = place / columns, column = place % columns;
        int y = tile.y / 2 + row, x = tile.x / 2 + column;
        int to = tile.output * bytes + byte;
        if (y >= gemm.pooled.height || x >= gemm.pooled.width || to >= gemm.pooled.pixel_bytes)
            continue;
        const char *from = shared + (row * 2 * GPU_GEMM_COLUMNS + column * 2) * pitch + byte;
        P most, corner;
        most.load(from);
        for (int k = 1; k < 4; k++) {
            corner.load(from + (k / 2 * GPU_GEMM_COLUMNS + k % 2) * pitch);
#pragma unroll
            for (int i = 0; i < P::COUNT; i++) {
                float value = corner.get(i, s);
                if (value > most.get(i, s) || value != value)
                    most.elements[i] = corner.elements[i];
            }
        }
        most.store(pixel_at(gemm.pooled, tile.image, y, x) + to);
    }
}

/* The 1×1 convolution of results: a thread has a pixel. */
template <int TYPE, int WARPS>
static __device__ void store_head(const gpu_gemm &gemm, const gemm_tile &tile, const char *shared)
{
    typedef piece<TYPE> P;
    const gpu_head &head = gemm.head;
    for (int place = threadIdx.x; place < TILE_PIXELS; place += gemm_sizes<WARPS>::THREADS) {
        const char *from = shared + place * gemm_sizes<WARPS>::pitch(sizeof(typename P::type));
        float logits[GPU_HEAD_CHANNELS] = {0};
        for (int first = 0; first < gemm.out.channels; first += P::COUNT, from += GPU_PIECE) {
            P p;
            p.load(from);
#pragma unroll
            for (int i = 0; i < P::COUNT; i++) {
                int c = first + i < gemm.out.channels ? first + i : 0; /* results there are zeros */
                float value = p.get(i, gemm.out.is_signed);
#pragma unroll
                for (int k = 0; k < GPU_HEAD_CHANNELS; k++)
                    if (k < head.channels)
                        logits[k] += value * head.weight[k * gemm.out.channels + c];
            }
        }
        int y = tile.y + place / GPU_GEMM_COLUMNS, x = tile.x + place % GPU_GEMM_COLUMNS;
        if (y >= gemm.rows || x >= gemm.columns)
            continue;
        size_t count = (size_t)gemm.rows * gemm.columns, pixel = (size_t)y * gemm.columns + x;
        int best = 0;
        float most = 0.0f;
#pragma unroll
        for (int k = 0; k < GPU_HEAD_CHANNELS; k++) {
            if (k >= head.channels)
                break;
            float logit = logits[k] + head.bias[k];
            if (head.to.classes == NULL)
                head.to.planes[((size_t)tile.image * head.channels + k) * count + pixel] = logit;
            if (k == 0 || logit > most) {
                best = k;
                most = logit;
            }
        }
        if (head.channels == 1)
            best = most > head.to.above;
        if (head.to.classes != NULL)
            head.to.classes[tile.image * count + pixel] = (uint8_t)best;
    }
}

template <int TYPE, class SUM, int WARPS>
static __device__ void finish(const gpu_gemm &gemm, const gemm_tile &tile,
                              const lane_sums<SUM> &sums, char *shared)
{
    stage_results<TYPE, SUM, WARPS>(gemm, tile, sums, shared);
    __syncthreads();
    if (gemm.out.data != NULL)
        store_results<WARPS>(gemm, tile, shared, sizeof(typename element<TYPE>::type));
    if (gemm.pooled.data != NULL)
        store_pooled<TYPE, WARPS>(gemm, tile, shared);
    if (gemm.head.channels > 0)
        store_head<TYPE, WARPS>(gemm, tile, shared);
}

template <class MATH, int WARPS>
static __global__ void __launch_bounds__(gemm_sizes<WARPS>::THREADS, 8 / WARPS)
    conv_gemm(const __grid_constant__ gpu_gemm gemm, int steps)
{
    extern __shared__ __align__(128) char shared[];
    gemm_tile tile = tile_of<WARPS>(gemm);
    begin_after_previous();
    lane_sums<typename MATH::sum> sums;
    begin_sums<WARPS>(gemm, tile, &sums);
    add_products<MATH, WARPS>(gemm, tile, steps, in_shared(shared), &sums);
#define FINISH(type) finish<type, typename MATH::sum, WARPS>(gemm, tile, sums, shared)
    WITH_TYPE(gemm.out.type, FINISH)
}

/* ---------------------------------------------------------------- the host's side */

static int gemm_steps(const gpu_gemm &gemm)
{
    int chunks = 0;
    for (int s = 0; s < gemm.source_count; s++)
        chunks += (gemm.sources[s].pixel_bytes + GPU_GEMM_CHUNK - 1) / GPU_GEMM_CHUNK;
    return chunks * gemm.kernel_h * gemm.kernel_w;
}

static inline __host__ __device__ int type_bytes(int type)
{
    return type == GPU_F32 ? 4 : type == GPU_F16 || type == GPU_BF16 ? 2 : 1;
}

template <class MATH, int WARPS>
static cudaError_t launch_gemm(const gpu_gemm &gemm, cudaStream_t stream)
{
    typedef gemm_sizes<WARPS> S;
    int shared = S::shared(type_bytes(gemm.out.type));
    if (shared > 48 * 1024) { /* what a kernel gets without asking */
        cudaError_t error = cudaFuncSetAttribute(
            conv_gemm<MATH, WARPS>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
        if (error != cudaSuccess)
            return error;
    }
    int tiles = (gemm.rows + GPU_GEMM_ROWS - 1) / GPU_GEMM_ROWS *
                ((gemm.columns + GPU_GEMM_COLUMNS - 1) / GPU_GEMM_COLUMNS);
    dim3 grid((unsigned)(tiles * (gemm.outputs / S::OUTPUTS)), 1, (unsigned)gemm.out.images);
    return enqueue(conv_gemm<MATH, WARPS>, grid, S::THREADS, shared, stream, gemm,
                   gemm_steps(gemm));
}

template <class MATH>
static cudaError_t launch_tiles(const gpu_gemm *gemm, int tile_outputs, cudaStream_t stream)
{
    if (tile_outputs == 1 * GPU_GEMM_CHANNELS)
        return launch_gemm<MATH, 1>(*gemm, stream);
    if (tile_outputs == 2 * GPU_GEMM_CHANNELS)
        return launch_gemm<MATH, 2>(*gemm, stream);
    return launch_gemm<MATH, 4>(*gemm, stream);
}

#endif
