/* Transposed convolution, 2×2 with stride 2, by wgmma: D[pixel, output] = pixels × weights, where a
 * pixel's four results are four blocks of outputs. A block of threads makes 128 pixels × 128 outputs;
 * one warp fetches, two warpgroups multiply 64 pixels each. Two blocks share a multiprocessor, so that
 * one stores while the other multiplies. */
#include "kernels/cuda/conv_gemm.cuh"
#include "kernels/cuda/conv_transpose_hopper.h"
#include "kernels/cuda/wgmma.cuh"

using namespace sm90;

#define RING           3
#define PIXELS_BYTES   (TILE_PIXELS * HOPPER_GEMM_CHUNK)
#define WEIGHTS_BYTES  (HOPPER_GEMM_OUTPUTS * HOPPER_GEMM_CHUNK)
#define SLOT_BYTES     (PIXELS_BYTES + WEIGHTS_BYTES)
#define GROUP_PIXELS   64
#define GROUP_SUMS     (HOPPER_GEMM_OUTPUTS / 2) /* a thread's */
#define MULTIPLIERS    256
#define SWIZZLE_BYTES  1024 /* what a swizzled tile is aligned to */
#define TILE_WARPS     (HOPPER_GEMM_OUTPUTS / GPU_GEMM_CHANNELS) /* as conv_gemm.cuh counts */

struct ring_barriers {
    uint64_t full[RING], empty[RING];
};

static __device__ unsigned full_at(ring_barriers *b, int slot)
{
    return shared_address(&b->full[slot]);
}

static __device__ unsigned empty_at(ring_barriers *b, int slot)
{
    return shared_address(&b->empty[slot]);
}

/* ---------------------------------------------------------------- the warp that fetches */

static __device__ void fetch_weights(const gpu_gemm &gemm, const gemm_tile &tile, int chunks,
                                     int chunk, unsigned ring, ring_barriers *barriers)
{
    int slot = chunk % RING;
    size_t place = (size_t)(tile.output / HOPPER_GEMM_OUTPUTS) * chunks + chunk;
    barrier_expect(full_at(barriers, slot), SLOT_BYTES);
    load_bulk(ring + slot * SLOT_BYTES + PIXELS_BYTES, gemm.weights + place * WEIGHTS_BYTES,
              WEIGHTS_BYTES, full_at(barriers, slot));
}

static __device__ void fetch_pixels(const CUtensorMap *map, const gemm_tile &tile, int channels,
                                    int chunk, unsigned ring, ring_barriers *barriers)
{
    int slot = chunk % RING;
    load_4d(ring + slot * SLOT_BYTES, map, chunk * channels, tile.x, tile.y, tile.image,
            full_at(barriers, slot));
}

/* Weights do not depend on the kernel before: they may come while it ends. channels: of a chunk. */
static __device__ void fetch(const gpu_gemm &gemm, const CUtensorMap *map, const gemm_tile &tile,
                             int chunks, int channels, unsigned ring, ring_barriers *barriers)
{
    int ahead = chunks < RING ? chunks : RING;
    for (int i = 0; i < ahead; i++)
        fetch_weights(gemm, tile, chunks, i, ring, barriers);
    wait_for_launcher();
    for (int i = 0; i < ahead; i++)
        fetch_pixels(map, tile, channels, i, ring, barriers);
    for (int i = ahead; i < chunks; i++) {
        barrier_wait(empty_at(barriers, i % RING), (i / RING - 1) & 1);
        fetch_weights(gemm, tile, chunks, i, ring, barriers);
        fetch_pixels(map, tile, channels, i, ring, barriers);
    }
}

/* ---------------------------------------------------------------- the warpgroups that multiply */

template <int TYPE> struct product_of {
    typedef float sum;
    template <bool SIGNED>
    static __device__ void run(sum (&d)[GROUP_SUMS], uint64_t a, uint64_t b, int accumulate)
    {
        if (TYPE == GPU_F16)
            product_f16(d, a, b, accumulate);
        else if (TYPE == GPU_BF16)
            product_bf16(d, a, b, accumulate);
        else
            product_tf32(d, a, b, accumulate);
    }
};

/* Of unsigned pixels and weights: the 3×3 convolution has them the other way round. */
static __device__ inline void product_u8_s8(int (&d)[GROUP_SUMS], uint64_t x, uint64_t y,
                                            int accumulate)
{
    UNET_PRODUCT("m64n128k32.s32.u8.s8", UNET_NAMES64, 64, 65, 66, "",
                 UNET_LIST(UNET_ACC64(UNET_WHOLE, d, 0)));
}

template <> struct product_of<GPU_U8> {
    typedef int sum;
    template <bool SIGNED>
    static __device__ void run(sum (&d)[GROUP_SUMS], uint64_t a, uint64_t b, int accumulate)
    {
        if (SIGNED)
            product_s8_s8(d, a, b, accumulate);
        else
            product_u8_s8(d, a, b, accumulate);
    }
};

template <> struct product_of<GPU_E4M3> {
    typedef float sum;
    template <bool SIGNED>
    static __device__ void run(sum (&d)[GROUP_SUMS], uint64_t a, uint64_t b, int accumulate)
    {
        product_e4m3(d, a, b, accumulate);
    }
};

/* A slot is given back when the next one's products are under way: then its own have ended. */
template <int TYPE, bool SIGNED>
static __device__ void multiply(typename product_of<TYPE>::sum (&d)[GROUP_SUMS], int chunks,
                                unsigned ring, ring_barriers *barriers)
{
    const uint64_t rows = layout(swizzle_128, 0, SWIZZLE_BYTES);
    int group = threadIdx.x / 128;
    for (int i = 0; i < chunks; i++) {
        unsigned slot = ring + i % RING * SLOT_BYTES;
        uint64_t a = operand(rows, slot + group * GROUP_PIXELS * HOPPER_GEMM_CHUNK);
        uint64_t b = operand(rows, slot + PIXELS_BYTES);
        barrier_wait(full_at(barriers, i % RING), i / RING & 1);
        product_fence();
#pragma unroll
        for (int k = 0; k < HOPPER_GEMM_CHUNK / 32; k++)
            product_of<TYPE>::template run<SIGNED>(d, a + 2 * k, b + 2 * k, i + k > 0);
        product_commit();
        product_wait<1>();
        if (i > 0 && threadIdx.x % 32 == 0)
            barrier_arrive(empty_at(barriers, (i - 1) % RING));
    }
    product_wait<0>();
}

/* A thread has outputs 8j + 2t and the next of pixels g and g + 8 of its warp's 16. */
template <int TYPE, class SUM>
static __device__ void stage(const gpu_gemm &gemm, const gemm_tile &tile,
                             const SUM (&d)[GROUP_SUMS], char *shared)
{
    typedef typename element<TYPE>::type type;
    int pitch = gemm_sizes<TILE_WARPS>::pitch(sizeof(type)), lane = threadIdx.x % 32;
    char *to = shared + (threadIdx.x / 32 * 16 + lane / 4) * pitch;
#pragma unroll
    for (int j = 0; j < HOPPER_GEMM_OUTPUTS / 8; j++) {
        int column = 8 * j + lane % 4 * 2, output = tile.output + column;
        gemm_scale scale(gemm, output);
        SUM shift[2] = {0, 0};
        if (gemm.sources[0].is_signed) {
            shift[0] = (SUM)gemm.shift[output];
            shift[1] = (SUM)gemm.shift[output + 1];
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const SUM *pair = &d[4 * j + 2 * half];
            element<TYPE>::store_two((type *)(to + half * 8 * pitch) + column,
                                     scale.value((float)(pair[0] + shift[0]), 0),
                                     scale.value((float)(pair[1] + shift[1]), 1),
                                     gemm.out.is_signed);
        }
    }
}

template <int TYPE, bool SIGNED>
static __device__ void make_tile(const gpu_gemm &gemm, const gemm_tile &tile, int chunks,
                                 char *shared, ring_barriers *barriers)
{
    typedef typename product_of<TYPE>::sum sum;
    sum d[GROUP_SUMS];
    multiply<TYPE, SIGNED>(d, chunks, shared_address(shared), barriers);
    group_sync(1, MULTIPLIERS); /* results go where operands were */
#define STAGE(type) stage<type, sum>(gemm, tile, d, shared)
    WITH_TYPE(gemm.out.type, STAGE)
    group_sync(1, MULTIPLIERS);
    store_results<TILE_WARPS>(gemm, tile, shared, type_bytes(gemm.out.type));
}

template <int TYPE, bool SIGNED>
static __global__ void __launch_bounds__(MULTIPLIERS + 32, 2)
    transposed(const __grid_constant__ gpu_gemm gemm, const __grid_constant__ CUtensorMap map,
               int chunks)
{
    extern __shared__ char unaligned[];
    char *shared = unaligned + (-shared_address(unaligned) & (SWIZZLE_BYTES - 1));
    __shared__ ring_barriers barriers;
    gemm_tile tile = tile_of<TILE_WARPS>(gemm);
    if (threadIdx.x == 0) {
        for (int i = 0; i < RING; i++) {
            barrier_init(full_at(&barriers, i), 1);
            barrier_init(empty_at(&barriers, i), MULTIPLIERS / 32);
        }
        barrier_init_fence();
    }
    __syncthreads();
    launch_dependents();
    if (threadIdx.x < MULTIPLIERS)
        make_tile<TYPE, SIGNED>(gemm, tile, chunks, shared, &barriers);
    else if (threadIdx.x == MULTIPLIERS)
        fetch(gemm, &map, tile, chunks, HOPPER_GEMM_CHUNK / type_bytes(TYPE),
              shared_address(shared), &barriers);
}

template <int TYPE, bool SIGNED = false>
static cudaError_t launch(const gpu_gemm *gemm, const CUtensorMap *map, cudaStream_t stream)
{
    int tiles = (gemm->rows + GPU_GEMM_ROWS - 1) / GPU_GEMM_ROWS *
                ((gemm->columns + GPU_GEMM_COLUMNS - 1) / GPU_GEMM_COLUMNS);
    int chunks = (gemm->sources[0].pixel_bytes + HOPPER_GEMM_CHUNK - 1) / HOPPER_GEMM_CHUNK;
    int shared = RING * SLOT_BYTES + SWIZZLE_BYTES;
    dim3 grid((unsigned)(tiles * (gemm->outputs / HOPPER_GEMM_OUTPUTS)), 1,
              (unsigned)gemm->out.images);
    cudaError_t error = cudaFuncSetAttribute(
        transposed<TYPE, SIGNED>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (error != cudaSuccess)
        return error;
    return enqueue(transposed<TYPE, SIGNED>, grid, MULTIPLIERS + 32, shared, stream, *gemm, *map,
                   chunks);
}

cudaError_t hopper_gemm_f16(const gpu_gemm *gemm, const CUtensorMap *map, cudaStream_t stream)
{
    return launch<GPU_F16>(gemm, map, stream);
}

cudaError_t hopper_gemm_bf16(const gpu_gemm *gemm, const CUtensorMap *map, cudaStream_t stream)
{
    return launch<GPU_BF16>(gemm, map, stream);
}

cudaError_t hopper_gemm_tf32(const gpu_gemm *gemm, const CUtensorMap *map, cudaStream_t stream)
{
    return launch<GPU_F32>(gemm, map, stream);
}

cudaError_t hopper_gemm_u8(const gpu_gemm *gemm, const CUtensorMap *map, cudaStream_t stream)
{
    return gemm->sources[0].is_signed ? launch<GPU_U8, true>(gemm, map, stream)
                                      : launch<GPU_U8>(gemm, map, stream);
}

cudaError_t hopper_gemm_e4m3(const gpu_gemm *gemm, const CUtensorMap *map, cudaStream_t stream)
{
    return launch<GPU_E4M3>(gemm, map, stream);
}
