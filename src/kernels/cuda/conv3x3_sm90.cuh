/* The 3x3 convolution of compute capability 9.0a: an implicit product of matrices,
 *
 *     D[64 output channels, N pixels] = weights x pixels,
 *
 * both from shared memory, sums in registers. A pixel tile is 8 columns x N/8 rows. Of every chunk
 * of channels (128 bytes of a pixel) its halo, 10 columns wide, is fetched once, and all nine taps
 * read it where it lies: a tap is the same operand, (ky * 10 + kx) pixels further. That works since
 * the 128-byte swizzle is a function of the address in shared memory.
 *
 * A block is persistent. Of its three warpgroups one fetches (a warp the pixels, a warp the
 * weights), two multiply, in turns: while one multiplies, the other finishes and stores its tile,
 * from the stage that its last chunk of pixels lay in. */
#ifndef UNET_KERNELS_CUDA_CONV3X3_SM90_CUH
#define UNET_KERNELS_CUDA_CONV3X3_SM90_CUH

#include "kernels/cuda/sm90.cuh"

#define CONV3X3_MAX_SOURCES 4

/* STREAMED: weights pass through a ring; the blocks of a cluster have the same output channels and
 * fetch a part each for all. RESIDENT: one chunk, whose weights stay. SPLIT: the chunks of a tile are
 * shared out among the blocks of a cluster and their two multiplying warpgroups, which add up their
 * sums in the end. */
enum conv3x3_mode { CONV3X3_STREAMED, CONV3X3_RESIDENT, CONV3X3_SPLIT };

/* Everything that a launch needs to know. An item is 64 output channels of CLUSTER pixel tiles
 * (SPLIT: of one). */
struct conv3x3_sm90_args {
    CUtensorMap source[CONV3X3_MAX_SOURCES], output, pooled;
    const uint8_t *weights; /* pieces of 8 KB: [output tile][chunk][tap], see conv3x3_sm90_pack */
    const float *bias;      /* 64 for each output tile */
    int source_chunks[CONV3X3_MAX_SOURCES];
    int chunks, output_tiles, tiles_x, tiles_y, items;
    int relu, store, pool;
};

namespace conv3x3_device {

using namespace sm90;

constexpr int piece_bytes = 8192;
constexpr int threads = 384;
constexpr int shared_limit = 232448;

template <int N, int MODE> struct sizes {
    static constexpr int rows = N / 8;
    static constexpr int pixel_bytes = (rows + 2) * 10 * 128;
    static constexpr int stage_bytes = (pixel_bytes + 1023) / 1024 * 1024;
    static constexpr int barrier_bytes = 512;
    static constexpr int room = shared_limit - 1024 - barrier_bytes;
    static constexpr int stages = N == 256 ? 3 : 4;
    static constexpr int left = (room - stages * stage_bytes) / piece_bytes;
    static constexpr int slots = MODE == CONV3X3_RESIDENT ? 9 : left < 16 ? left : 16;
    static constexpr int shared_bytes =
        1024 + barrier_bytes + stages * stage_bytes + slots * piece_bytes;
    static_assert(shared_bytes <= shared_limit, "more shared memory than there is");
    static_assert(N * 160 <= stage_bytes, "no room for the tile and its pool");
};

/* Where a ring of N stages is: SLOT, and whether it has been filled an odd number of times. */
template <int N> struct ring {
    int slot = 0;
    uint32_t phase = 0;

    __device__ inline void advance(int by)
    {
        slot += by;
        phase ^= (slot / N) & 1;
        slot %= N;
    }

    __device__ inline void next()
    {
        if (++slot == N) {
            slot = 0;
            phase ^= 1;
        }
    }
};

/* Barriers of rings in shared memory, 8 bytes each: N full, then N empty. */
template <int N> struct barriers {
    uint32_t at;

    __device__ inline uint32_t full(int slot) const { return at + slot * 8; }
    __device__ inline uint32_t empty(int slot) const { return at + (N + slot) * 8; }
};

template <int N, int MODE> struct block {
    using S = sizes<N, MODE>;
    uint32_t stages, pieces, turn;
    barriers<S::stages> pixels;
    barriers<S::slots> weights;

    __device__ inline explicit block(const void *shared)
    {
        stages = (shared_address(shared) + 1023) & ~1023u;
        pieces = stages + S::stages * S::stage_bytes;
        pixels.at = pieces + S::slots * piece_bytes;
        weights.at = pixels.at + 16 * S::stages;
        turn = weights.at + 16 * S::slots;
    }

    __device__ inline uint32_t stage(int slot) const { return stages + slot * S::stage_bytes; }
    __device__ inline uint32_t piece(int slot) const { return pieces + slot * piece_bytes; }

    __device__ void init(int cluster) const
    {
        for (int i = 0; i < S::stages; i++) {
            barrier_init(pixels.full(i), 1);
            barrier_init(pixels.empty(i), 4);
        }
        for (int i = 0; i < S::slots; i++) {
            barrier_init(weights.full(i), 1);
            barrier_init(weights.empty(i), 4 * cluster);
        }
        barrier_init(turn, 4);
        barrier_init_fence();
    }
};

/* One pixel tile and the output channels that an item wants of it. */
struct place {
    int output_tile, x, y, image;
};

template <int ROWS>
__device__ inline place place_of(const conv3x3_sm90_args &args, int item, int cluster, int rank)
{
    place p;
    p.output_tile = item % args.output_tiles;
    int tile = item / args.output_tiles * cluster + rank, across = tile / args.tiles_x;
    p.x = tile % args.tiles_x * 8;
    p.y = across % args.tiles_y * ROWS;
    p.image = across / args.tiles_y;
    return p;
}

/* The chunks [FROM, TO) of each item that this block multiplies. */
struct span {
    int from, to;
};

template <int MODE, int CLUSTER>
__device__ inline span span_of(const conv3x3_sm90_args &args, int rank)
{
    if (MODE != CONV3X3_SPLIT)
        return {0, args.chunks};
    return {rank * args.chunks / CLUSTER, (rank + 1) * args.chunks / CLUSTER};
}

/* ---- the warps that fetch ---- */

template <int N, int MODE>
__device__ void fetch_tile(const conv3x3_sm90_args &args, const block<N, MODE> &b,
                           ring<sizes<N, MODE>::stages> &r, const place &p, const span &chunks,
                           int chunk_channels)
{
    int source = 0, first = 0;
    for (int chunk = chunks.from; chunk < chunks.to; chunk++) {
        while (chunk >= first + args.source_chunks[source])
            first += args.source_chunks[source++];
        uint32_t full = b.pixels.full(r.slot);
        barrier_wait(b.pixels.empty(r.slot), r.phase ^ 1);
        barrier_expect(full, sizes<N, MODE>::pixel_bytes);
        load_4d(b.stage(r.slot), &args.source[source], (chunk - first) * chunk_channels, p.x - 1,
                p.y - 1, p.image, full);
        r.next();
    }
}

template <class T, int N, int MODE, int CLUSTER>
__device__ void fetch_pixels(const conv3x3_sm90_args &args, const block<N, MODE> &b, int rank)
{
    const bool split = MODE == CONV3X3_SPLIT;
    ring<sizes<N, MODE>::stages> r;
    span chunks = span_of<MODE, CLUSTER>(args, rank);
    wait_for_launcher();
    for (int item = blockIdx.x / CLUSTER; item < args.items; item += gridDim.x / CLUSTER) {
        place p = place_of<N / 8>(args, item, split ? 1 : CLUSTER, split ? 0 : rank);
        fetch_tile<N, MODE>(args, b, r, p, chunks, T::chunk);
    }
}

template <int N, int MODE, int CLUSTER>
__device__ void fetch_weights(const conv3x3_sm90_args &args, const block<N, MODE> &b, int rank)
{
    const bool shared = MODE == CONV3X3_STREAMED && CLUSTER > 1;
    ring<sizes<N, MODE>::slots> r;
    span chunks = span_of<MODE, CLUSTER>(args, rank);
    for (int item = blockIdx.x / CLUSTER; item < args.items; item += gridDim.x / CLUSTER) {
        const uint8_t *from =
            args.weights + (size_t)(item % args.output_tiles * args.chunks) * 9 * piece_bytes;
        for (int i = chunks.from * 9; i < chunks.to * 9; i++, r.next()) {
            uint32_t full = b.weights.full(r.slot), to = b.piece(r.slot);
            barrier_wait(b.weights.empty(r.slot), r.phase ^ 1);
            barrier_expect(full, piece_bytes);
            const int part = piece_bytes / CLUSTER, at = shared ? rank * part : 0;
            if (shared)
                load_bulk_all(to + at, from + (size_t)i * piece_bytes + at, part, full,
                              (uint16_t)((1 << CLUSTER) - 1));
            else
                load_bulk(to, from + (size_t)i * piece_bytes, piece_bytes, full);
        }
        if (MODE == CONV3X3_RESIDENT)
            return;
    }
}

/* ---- the warpgroups that multiply ---- */

/* What one multiplying warpgroup is at. */
template <class T, int N, int MODE, int CLUSTER> struct multiplier {
    using S = sizes<N, MODE>;
    using sum = typename T::sum;
    const conv3x3_sm90_args &args;
    const block<N, MODE> &b;
    int group, lane, warp; /* warp: of the group's four */
    ring<S::stages> pixels;
    ring<S::slots> weights;

    __device__ inline multiplier(const conv3x3_sm90_args &args, const block<N, MODE> &b)
        : args(args), b(b), group((int)threadIdx.x / 128 - 1), lane(threadIdx.x % 32),
          warp(threadIdx.x / 32 % 4)
    {
    }

    /* Past CHUNKS chunks that the other group takes. */
    __device__ inline void skip(int chunks)
    {
        pixels.advance(chunks);
        weights.advance(chunks * 9);
    }

    __device__ inline void release_stage(int slot) const
    {
        if (lane == 0)
            barrier_arrive(b.pixels.empty(slot));
    }

    __device__ inline void release_piece(int slot) const
    {
        if (MODE == CONV3X3_RESIDENT)
            return;
        if (MODE == CONV3X3_STREAMED && CLUSTER > 1) {
            if (lane < CLUSTER)
                barrier_arrive_at(b.weights.empty(slot), lane);
        } else if (lane == 0) {
            barrier_arrive(b.weights.empty(slot));
        }
    }

    /* One tap of one chunk: four products, while those of the tap before may still run. */
    __device__ inline void tap(sum (&d)[N / 2], uint32_t from, bool first)
    {
        barrier_wait(b.weights.full(weights.slot), MODE == CONV3X3_RESIDENT ? 0 : weights.phase);
        uint64_t x = operand(layout(swizzle_128, 0, 1024), b.piece(weights.slot));
        uint64_t y = operand(layout(swizzle_128, 0, 1280), from);
        product_fence();
#pragma unroll
        for (int k = 0; k < 4; k++)
            T::template product<N>(d, x + k * 2, y + k * 2, !first || k > 0);
        product_commit();
    }

    /* The sums of COUNT chunks, of which every STEP-th is this group's. Its last stage of pixels
     * stays taken (the result is its slot), and its last products may still run. */
    __device__ inline int multiply(sum (&d)[N / 2], int count, int step)
    {
        int last_stage = -1, last_piece = -1;
#pragma unroll 1
        for (int i = 0; i < count; i += step) {
            barrier_wait(b.pixels.full(pixels.slot), pixels.phase);
            uint32_t from = b.stage(pixels.slot);
#pragma unroll
            for (int t = 0; t < 9; t++) {
                tap(d, from + (t / 3 * 10 + t % 3) * 128, i == 0 && t == 0);
                product_wait<1>();
                if (last_piece >= 0)
                    release_piece(last_piece);
                if (t == 0 && last_stage >= 0)
                    release_stage(last_stage);
                last_piece = weights.slot;
                weights.next();
            }
            last_stage = pixels.slot;
            pixels.next();
            if (step > 1)
                skip(step - 1);
        }
        this->last_piece = last_piece;
        return last_stage;
    }

    int last_piece;

    /* Until the products are done and all four warps know. */
    __device__ inline void finish_products()
    {
        product_wait<0>();
        release_piece(last_piece);
        group_sync(1 + group, 128);
    }
};

/* A strip is 64 pixels, eight rows of the tile (a part of a split tile may be less): P pixels. */

/* Sums + bias, ReLU, to 16 bits; pixel pairs of channel lane/4 (+ 8) of the warp's 16. */
template <class T, int P>
__device__ inline void finish(uint32_t (&out)[P / 4], const float *d, float low, float high,
                              float least)
{
#pragma unroll
    for (int i = 0; i < P / 4; i++) {
        float bias = i & 1 ? high : low;
        out[i] = T::pack(fmaxf(d[2 * i] + bias, least), fmaxf(d[2 * i + 1] + bias, least));
    }
}

/* 64 channels of P pixels at TO, with the swizzle that the tensor map expects. */
template <int P>
__device__ inline void write_strip(uint32_t to, const uint32_t (&v)[P / 4], int warp, int lane)
{
    int pixel = lane / 16 * 8 + lane % 8, channels = warp * 2 + lane / 8 % 2;
    uint32_t row = to + pixel * 128 + ((channels ^ (lane % 8)) << 4);
#pragma unroll
    for (int j = 0; j < P / 8; j += 2)
        store_transposed(row + j * 1024, v[2 * j], v[2 * j + 1], v[2 * j + 2], v[2 * j + 3]);
}

/* The greatest of 2x2 pixels each: 64 channels of 16 pixels at TO. Columns of the matrices are the
 * pixels of two rows in turns: (row 0, pixel 0), (row 1, pixel 0), (row 0, pixel 1), ... */
template <class T>
__device__ inline void write_pool(uint32_t to, const uint32_t (&v)[16], int warp, int lane)
{
    int i = lane % 8, pixel = lane / 16 * 8 + i % 2 * 4 + i / 2, channels = warp * 2 + lane / 8 % 2;
    uint32_t m[4];
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const uint32_t *p = v + k / 2 * 8 + k % 2;
        m[k] = T::greatest(T::larger(p[0], p[2]), T::larger(p[4], p[6]));
    }
    store_transposed(to + pixel * 128 + ((channels ^ (pixel % 8)) << 4), m[0], m[1], m[2], m[3]);
}

/* Finishes 64 channels of N pixels (rows from p.y) and sends them off through STAGE, of which nothing
 * is read any more when the thread with lane 0 of warp 0 returns. */
template <class T, int N>
__device__ inline void store_result(const conv3x3_sm90_args &args, const float (&d)[N / 2],
                                    const place &p, float low, float high, uint32_t stage,
                                    int group, int warp, int lane)
{
    constexpr int strip = N < 64 ? N : 64;
    const float least = args.relu ? 0.0f : -INFINITY;
#pragma unroll
    for (int i = 0; i < N / strip; i++) {
        uint32_t v[strip / 4];
        finish<T, strip>(v, d + i * strip / 2, low, high, least);
        if (args.store)
            write_strip<strip>(stage + i * strip * 128, v, warp, lane);
        if constexpr (strip == 64)
            if (args.pool)
                write_pool<T>(stage + N * 128 + i * 2048, v, warp, lane);
    }
    fence_async();
    group_sync(1 + group, 128);
    if (warp == 0 && lane == 0) {
        int channel = p.output_tile * 64;
        if (args.store)
            store_4d(&args.output, channel, p.x, p.y, p.image, stage);
        if (args.pool)
            store_4d(&args.pooled, channel, p.x / 2, p.y / 2, p.image, stage + N * 128);
        store_commit();
        store_wait_read<0>();
    }
    __syncwarp();
}

template <class T, int N, int MODE, int CLUSTER>
__device__ void multiply_items(const conv3x3_sm90_args &args, const block<N, MODE> &b, int rank)
{
    multiplier<T, N, MODE, CLUSTER> m(args, b);
    int turn = 0;
    for (int item = blockIdx.x / CLUSTER; item < args.items; item += gridDim.x / CLUSTER, turn++) {
        if (turn % 2 != m.group) {
            m.skip(args.chunks);
            continue;
        }
        place p = place_of<N / 8>(args, item, CLUSTER, rank);
        const float *bias = args.bias + p.output_tile * 64 + m.warp * 16 + m.lane / 4;
        float low = __ldg(bias), high = __ldg(bias + 8);
        typename T::sum d[N / 2];
        if (turn > 0)
            barrier_wait(b.turn, (turn - 1) & 1);
        int slot = m.multiply(d, args.chunks, 1);
        if (m.lane == 0)
            barrier_arrive(b.turn);
        m.finish_products();
        store_result<T, N>(args, d, p, low, high, b.stage(slot), m.group, m.warp, m.lane);
        if (m.warp == 0 && m.lane == 0)
            barrier_arrive_many(b.pixels.empty(slot), 4);
        __syncwarp();
    }
    store_wait<0>();
}

/* ---- tiles that are split over chunks ---- */

/* This group's sums to where the others find them: [four accumulators][thread]. */
template <int N> __device__ inline void write_sums(uint32_t to, const float (&d)[N / 2], int thread)
{
#pragma unroll
    for (int i = 0; i < N / 8; i++)
        asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(to + (i * 128 + thread) * 16),
                     "f"(d[4 * i]), "f"(d[4 * i + 1]), "f"(d[4 * i + 2]), "f"(d[4 * i + 3])
                     : "memory");
}

/* The sums of all groups for part PART of the tile. */
template <int N, int CLUSTER, int PARTS>
__device__ inline void add_sums(float (&d)[N / 2 / PARTS], uint32_t from, int part, int thread)
{
#pragma unroll
    for (int i = 0; i < N / 2 / PARTS; i++)
        d[i] = 0;
#pragma unroll
    for (int other = 0; other < PARTS; other++) {
        uint32_t there = cluster_address(from, other / 2) + other % 2 * N * 256;
#pragma unroll
        for (int i = 0; i < N / 8 / PARTS; i++) {
            float4 v = cluster_load(there + ((part * (N / 8 / PARTS) + i) * 128 + thread) * 16);
            d[4 * i] += v.x;
            d[4 * i + 1] += v.y;
            d[4 * i + 2] += v.z;
            d[4 * i + 3] += v.w;
        }
    }
}

template <class T, int N, int MODE, int CLUSTER>
__device__ void multiply_split(const conv3x3_sm90_args &args, const block<N, MODE> &b, int rank)
{
    constexpr int parts = 2 * CLUSTER, columns = N / parts;
    static_assert(sizes<N, MODE>::stages * sizes<N, MODE>::stage_bytes >= 2 * N * 256, "no room");
    multiplier<T, N, MODE, CLUSTER> m(args, b);
    int part = rank * 2 + m.group, thread = threadIdx.x % 128;
    span chunks = span_of<MODE, CLUSTER>(args, rank);
    place p = place_of<N / 8>(args, blockIdx.x / CLUSTER, 1, 0);
    const float *bias = args.bias + p.output_tile * 64 + m.warp * 16 + m.lane / 4;
    float low = __ldg(bias), high = __ldg(bias + 8);
    {
        float d[N / 2];
        if (m.group == 1)
            m.skip(1);
        m.multiply(d, chunks.to - chunks.from - m.group, 2);
        product_wait<0>();
        group_sync(3, 256);
        write_sums<N>(b.stages + m.group * N * 256, d, thread);
    }
    cluster_sync();
    float e[columns / 2];
    add_sums<N, CLUSTER, parts>(e, b.stages, part, thread);
    p.y += part * (columns / 8);
    store_result<T, columns>(args, e, p, low, high, b.pieces + m.group * 16384, m.group, m.warp,
                             m.lane);
    store_wait<0>();
    cluster_sync();
}

/* ---- the kernel ---- */

template <class T, int N, int MODE, int CLUSTER>
__global__ void __launch_bounds__(threads, 1)
    kernel(const __grid_constant__ conv3x3_sm90_args args)
{
    constexpr bool split = MODE == CONV3X3_SPLIT;
    extern __shared__ uint8_t shared[];
    const block<N, MODE> b(shared);
    const int warp = threadIdx.x / 32, rank = CLUSTER > 1 ? (int)cluster_rank() : 0;
    if (threadIdx.x == 0)
        b.init(split ? 1 : CLUSTER);
    launch_dependents();
    if (CLUSTER > 1)
        cluster_sync();
    else
        __syncthreads();
    if (warp < 4) {
        registers_down<40>();
        if (warp == 0 && threadIdx.x == 0)
            fetch_pixels<T, N, MODE, CLUSTER>(args, b, rank);
        if (warp == 1 && threadIdx.x == 32)
            fetch_weights<N, MODE, CLUSTER>(args, b, rank);
        __syncwarp();
        if (split)
            cluster_sync();
        if (split || CLUSTER > 1)
            cluster_sync();
    } else {
        registers_up<232>();
        if constexpr (split) {
            multiply_split<T, N, MODE, CLUSTER>(args, b, rank);
        } else {
            multiply_items<T, N, MODE, CLUSTER>(args, b, rank);
            if (CLUSTER > 1)
                cluster_sync();
        }
    }
}

/* ---- types ---- */

struct f16 {
    typedef float sum;
    static constexpr int chunk = 64; /* channels in 128 bytes */

    template <int N>
    static __device__ inline void product(float (&d)[N / 2], uint64_t x, uint64_t y, int add)
    {
        product_f16<N>::run(d, x, y, add);
    }
    static __device__ inline uint32_t pack(float low, float high)
    {
        __half2 v = __floats2half2_rn(low, high);
        return *(uint32_t *)&v;
    }
    static __device__ inline __half2 value(uint32_t v) { return *(__half2 *)&v; }
    static __device__ inline uint32_t bits(__half2 v) { return *(uint32_t *)&v; }
    /* Of the corresponding halves. */
    static __device__ inline uint32_t larger(uint32_t a, uint32_t b)
    {
        return bits(__hmax2(value(a), value(b)));
    }
    /* (the larger half of a, that of b). */
    static __device__ inline uint32_t greatest(uint32_t a, uint32_t b)
    {
        __half2 x = value(a), y = value(b);
        return bits(__hmax2(__lows2half2(x, y), __highs2half2(x, y)));
    }
};

} /* namespace conv3x3_device */

#endif
