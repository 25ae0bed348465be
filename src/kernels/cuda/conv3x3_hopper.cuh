/* The 3x3 convolution of compute capability 9.0a: an implicit product of matrices,
 *
 *     D[64 output channels, N pixels] = weights x pixels,
 *
 * both from shared memory, sums in registers. A pixel tile is 8 columns x N/8 rows. Of every chunk
 * of channels (ROW bytes of a pixel) its halo, 10 columns wide, is fetched once, and all nine taps
 * read it where it lies: a tap is the same operand, (ky * 10 + kx) pixels further. That works since
 * the swizzle is a function of the address in shared memory.
 *
 * A block is persistent. Of its three warpgroups two multiply, in turns: while one multiplies, the
 * other finishes its tile, where there is room in the stage that its last chunk of pixels lay in. Of
 * the third one, a warp fetches pixels, one weights, and two send off finished tiles. */
#ifndef UNET_KERNELS_CUDA_CONV3X3_HOPPER_CUH
#define UNET_KERNELS_CUDA_CONV3X3_HOPPER_CUH

#include "kernels/cuda/conv3x3_hopper_head.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace hopper {

constexpr int threads = 384;
constexpr int shared_limit = 232448;
constexpr int barrier_bytes = 512;
constexpr int head_bytes = HOPPER_HEAD * (HOPPER_OUTPUTS + 4) * 4; /* its weights and biases */

template <int N, int ROW> struct sizes {
    static constexpr int rows = N / 8;
    static constexpr int pixel_bytes = (rows + 2) * 10 * ROW;
    static constexpr int stage_bytes = (pixel_bytes + 1023) / 1024 * 1024;
    static constexpr int piece_bytes = HOPPER_OUTPUTS * ROW;
    static constexpr int tile_bytes = N * 160; /* of 16-bit channels, and of their pool */
    /* Narrow chunks leave no room for a tile: then each multiplying group has its own. */
    static constexpr bool in_stage = tile_bytes <= stage_bytes;
    static constexpr int tiles_bytes = in_stage ? 0 : 2 * ((tile_bytes + 1023) / 1024 * 1024);
    static constexpr int room = shared_limit - 1024 - barrier_bytes - head_bytes - tiles_bytes;
    static constexpr int stages = N == 256 ? 3 : 4;
    static constexpr int left = (room - stages * stage_bytes) / piece_bytes;
    static constexpr int slots = left < 24 ? left : 24;
    static constexpr int shared_bytes = 1024 + barrier_bytes + head_bytes + tiles_bytes +
                                        stages * stage_bytes + slots * piece_bytes;
    static_assert(shared_bytes <= shared_limit, "more shared memory than there is");
    static_assert(16 * (stages + slots) + 40 <= barrier_bytes, "no room for barriers");
};

/* Where a ring of N slots is: SLOT, and whether it has been filled an odd number of times. */
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

/* The shared memory of a block: stages, tiles, pieces, barriers (full, then empty), a head. */
template <int N, int ROW> struct block {
    using S = sizes<N, ROW>;
    uint32_t stages, pieces, tiles, pixel_bars, weight_bars, turn;

    __device__ inline explicit block(const void *shared)
    {
        stages = (shared_address(shared) + 1023) & ~1023u;
        tiles = stages + S::stages * S::stage_bytes;
        pieces = tiles + S::tiles_bytes;
        pixel_bars = pieces + S::slots * S::piece_bytes; /* a multiple of 1024 */
        weight_bars = pixel_bars + 16 * S::stages;
        turn = weight_bars + 16 * S::slots;
    }

    __device__ inline uint32_t staged(int group) const { return turn + 8 + group * 16; }
    __device__ inline uint32_t read(int group) const { return turn + 16 + group * 16; }
    __device__ inline uint32_t head() const { return pixel_bars + barrier_bytes; }

    __device__ inline uint32_t stage(int slot) const { return stages + slot * S::stage_bytes; }
    __device__ inline uint32_t piece(int slot) const { return pieces + slot * S::piece_bytes; }
    __device__ inline uint32_t tile(int group) const
    {
        return tiles + group * (S::tiles_bytes / 2);
    }
    __device__ inline uint32_t pixels_full(int slot) const { return pixel_bars + slot * 8; }
    __device__ inline uint32_t pixels_empty(int slot) const
    {
        return pixel_bars + (S::stages + slot) * 8;
    }
    __device__ inline uint32_t weights_full(int slot) const { return weight_bars + slot * 8; }
    __device__ inline uint32_t weights_empty(int slot) const
    {
        return weight_bars + (S::slots + slot) * 8;
    }

    __device__ void init(int sharers) const
    {
        for (int i = 0; i < S::stages; i++) {
            barrier_init(pixels_full(i), 1);
            barrier_init(pixels_empty(i), 4);
        }
        for (int i = 0; i < S::slots; i++) {
            barrier_init(weights_full(i), 1);
            barrier_init(weights_empty(i), 4 * sharers);
        }
        barrier_init(turn, 4);
        for (int group = 0; group < 2; group++) {
            barrier_init(staged(group), 4);
            barrier_init(read(group), 1);
        }
        barrier_init_fence();
    }
};

/* The OF pixel tiles of an item have the same output tile; this is number RANK. */
template <int ROWS>
__device__ inline place place_of(const hopper_conv &conv, int item, int of, int rank)
{
    place p;
    p.output_tile = item % conv.output_tiles;
    int tile = item / conv.output_tiles * of + rank, across = tile / conv.tiles_x;
    p.x = tile % conv.tiles_x * 8;
    p.y = across % conv.tiles_y * ROWS;
    p.image = across / conv.tiles_y;
    return p;
}

/* The chunks [from, to) of each item that this block multiplies. */
struct span {
    int from, to;
};

template <int MODE, int CLUSTER>
__device__ inline span span_of(const hopper_conv &conv, int rank)
{
    if (MODE != HOPPER_SPLIT)
        return {0, conv.chunks};
    return {rank * conv.chunks / CLUSTER, (rank + 1) * conv.chunks / CLUSTER};
}

/* ---- the warps that fetch ---- */

template <class T, int N, int ROW>
__device__ void fetch_tile(const hopper_conv &conv, const block<N, ROW> &b,
                           ring<sizes<N, ROW>::stages> &r, const place &p, const span &chunks)
{
    constexpr int chunk_channels = ROW / T::bytes;
    int source = 0, first = 0;
    for (int chunk = chunks.from; chunk < chunks.to; chunk++, r.next()) {
        while (chunk >= first + conv.source_chunks[source])
            first += conv.source_chunks[source++];
        uint32_t full = b.pixels_full(r.slot);
        barrier_wait(b.pixels_empty(r.slot), r.phase ^ 1);
        barrier_expect(full, sizes<N, ROW>::pixel_bytes);
        load_4d(b.stage(r.slot), &conv.source[source], (chunk - first) * chunk_channels, p.x - 1,
                p.y - 1, p.image, full);
    }
}

template <class T, int N, int ROW, int MODE, int CLUSTER>
__device__ void fetch_pixels(const hopper_conv &conv, const block<N, ROW> &b, int rank)
{
    constexpr bool split = MODE == HOPPER_SPLIT;
    ring<sizes<N, ROW>::stages> r;
    span chunks = span_of<MODE, CLUSTER>(conv, rank);
    wait_for_launcher();
    for (int item = blockIdx.x / CLUSTER; item < conv.items; item += gridDim.x / CLUSTER) {
        place p = place_of<N / 8>(conv, item, split ? 1 : CLUSTER, split ? 0 : rank);
        fetch_tile<T, N, ROW>(conv, b, r, p, chunks);
    }
}

template <int N, int ROW, int MODE, int CLUSTER>
__device__ void fetch_weights(const hopper_conv &conv, const block<N, ROW> &b, int rank)
{
    constexpr int bytes = sizes<N, ROW>::piece_bytes, part = bytes / CLUSTER;
    constexpr bool together = MODE == HOPPER_STREAMED && CLUSTER > 1;
    ring<sizes<N, ROW>::slots> r;
    span chunks = span_of<MODE, CLUSTER>(conv, rank);
    for (int item = blockIdx.x / CLUSTER; item < conv.items; item += gridDim.x / CLUSTER) {
        const size_t first = (size_t)(item % conv.output_tiles) * conv.chunks * HOPPER_TAPS;
        for (int i = chunks.from * HOPPER_TAPS; i < chunks.to * HOPPER_TAPS; i++, r.next()) {
            const uint8_t *from = conv.weights + (first + i) * bytes;
            uint32_t full = b.weights_full(r.slot), to = b.piece(r.slot);
            barrier_wait(b.weights_empty(r.slot), r.phase ^ 1);
            barrier_expect(full, bytes);
            if (together)
                load_bulk_all(to + rank * part, from + rank * part, part, full,
                              (uint16_t)((1 << CLUSTER) - 1));
            else
                load_bulk(to, from, bytes, full);
        }
        if (MODE == HOPPER_RESIDENT)
            return;
    }
}

/* The tiles of one multiplying group, which takes every other turn. */
template <int N, int ROW, int CLUSTER>
__device__ void send_tiles(const hopper_conv &conv, const block<N, ROW> &b, int rank, int group)
{
    constexpr bool in_stage = sizes<N, ROW>::in_stage;
    ring<sizes<N, ROW>::stages> last;
    int turn = 0, count = 0;
    last.advance(conv.chunks - 1);
    for (int item = blockIdx.x / CLUSTER; item < conv.items && conv.head.channels == 0;
         item += gridDim.x / CLUSTER, turn++, last.advance(conv.chunks)) {
        if (turn % 2 != group)
            continue;
        place p = place_of<N / 8>(conv, item, CLUSTER, rank);
        send_tile<N>(conv, p, in_stage ? b.stage(last.slot) : b.tile(group), b.staged(group),
                     b.read(group), count);
        if (in_stage)
            barrier_arrive_many(b.pixels_empty(last.slot), 4);
    }
    store_wait<0>();
}

/* ---- the warpgroups that multiply ---- */

template <int ROW> __device__ inline uint64_t weights_layout()
{
    return layout(ROW == 128 ? swizzle_128 : swizzle_64, 0, 8 * ROW);
}

template <int ROW> __device__ inline uint64_t pixels_layout()
{
    return layout(ROW == 128 ? swizzle_128 : swizzle_64, 0, 10 * ROW);
}

/* What one multiplying warpgroup is at. */
template <class T, int N, int ROW, int MODE, int CLUSTER> struct multiplier {
    using S = sizes<N, ROW>;
    using sum = typename T::sum;
    const hopper_conv &conv;
    const block<N, ROW> &b;
    member me;
    ring<S::stages> pixels;
    ring<S::slots> weights;
    int taken_piece = -1; /* whose products may still run */

    __device__ inline multiplier(const hopper_conv &conv, const block<N, ROW> &b) : conv(conv), b(b)
    {
        me.thread = threadIdx.x % 128;
        me.group = (int)threadIdx.x / 128 - 1;
        me.warp = me.thread / 32;
        me.lane = me.thread % 32;
    }

    /* Past CHUNKS chunks that the other group takes. */
    __device__ inline void skip(int chunks)
    {
        pixels.advance(chunks);
        if (MODE != HOPPER_RESIDENT)
            weights.advance(chunks * HOPPER_TAPS);
    }

    __device__ inline void release_stage(int slot) const
    {
        if (me.lane == 0)
            barrier_arrive(b.pixels_empty(slot));
    }

    __device__ inline void release_piece()
    {
        if (MODE == HOPPER_RESIDENT || taken_piece < 0)
            return;
        if (MODE == HOPPER_STREAMED && CLUSTER > 1) {
            if (me.lane < CLUSTER)
                barrier_arrive_at(b.weights_empty(taken_piece), me.lane);
        } else if (me.lane == 0) {
            barrier_arrive(b.weights_empty(taken_piece));
        }
    }

    /* One tap of one chunk, while the products of the tap before may still run. */
    template <bool SIGNED>
    __device__ inline void tap(sum (&d)[N / 2], uint32_t from, bool first)
    {
        barrier_wait(b.weights_full(weights.slot), MODE == HOPPER_RESIDENT ? 0 : weights.phase);
        uint64_t x = operand(weights_layout<ROW>(), b.piece(weights.slot));
        uint64_t y = operand(pixels_layout<ROW>(), from);
        product_fence();
#pragma unroll
        for (int k = 0; k < ROW / 32; k++)
            T::template product<SIGNED>(d, x + k * 2, y + k * 2, !first || k > 0);
        product_commit();
        product_wait<1>();
        release_piece();
        taken_piece = weights.slot;
        weights.next();
    }

    /* One chunk, whose pixels lie AT; when the chunk before is done, its STAGE is given back. */
    template <bool SIGNED>
    __device__ inline void taps(sum (&d)[N / 2], uint32_t at, bool first, int stage)
    {
#pragma unroll
        for (int t = 0; t < HOPPER_TAPS; t++) {
            tap<SIGNED>(d, at + (t / 3 * 10 + t % 3) * ROW, first && t == 0);
            if (t == 0 && stage >= 0)
                release_stage(stage);
        }
    }

    /* The sums of every STEP-th chunk of [from, to). Its last products may still run, and its
     * last stage of pixels stays taken: the result is its slot. */
    __device__ inline int multiply(sum (&d)[N / 2], int from, int to, int step)
    {
        int stage = -1;
        if (MODE == HOPPER_RESIDENT)
            weights.slot = 0;
#pragma unroll 1
        for (int chunk = from; chunk < to; chunk += step) {
            barrier_wait(b.pixels_full(pixels.slot), pixels.phase);
            if (T::may_be_signed && conv.chunk_signed[chunk])
                taps<true>(d, b.stage(pixels.slot), chunk == from, stage);
            else
                taps<false>(d, b.stage(pixels.slot), chunk == from, stage);
            stage = pixels.slot;
            pixels.next();
            if (step > 1)
                skip(step - 1);
        }
        return stage;
    }

    /* Until the products are done and all four warps know. */
    __device__ inline void finish_products()
    {
        product_wait<0>();
        release_piece();
        taken_piece = -1;
        group_sync(1 + me.group, 128);
    }
};

template <class T, int N, int ROW, int MODE, int CLUSTER>
__device__ void multiply_items(const hopper_conv &conv, const block<N, ROW> &b, int rank)
{
    constexpr bool in_stage = sizes<N, ROW>::in_stage;
    multiplier<T, N, ROW, MODE, CLUSTER> m(conv, b);
    sent_by_warp way(b.staged(m.me.group), b.read(m.me.group));
    const int stride = gridDim.x / CLUSTER, ahead = stride % conv.output_tiles;
    int turn = 0, output_tile = blockIdx.x / CLUSTER % conv.output_tiles;
    for (int item = blockIdx.x / CLUSTER; item < conv.items; item += stride, turn++) {
        const int tile_of_turn = output_tile;
        output_tile += ahead - (output_tile + ahead >= conv.output_tiles ? conv.output_tiles : 0);
        if (turn % 2 != m.me.group) {
            m.skip(conv.chunks);
            continue;
        }
        scaling scale(conv, tile_of_turn, m.me);
        typename T::sum d[N / 2];
        if (turn > 0)
            barrier_wait(b.turn, (turn - 1) & 1);
        int slot = m.multiply(d, 0, conv.chunks, 1);
        if (m.me.lane == 0)
            barrier_arrive(b.turn);
        m.finish_products();
        if (!in_stage)
            m.release_stage(slot);
        uint32_t tile = in_stage ? b.stage(slot) : b.tile(m.me.group);
        if (conv.head.channels == 0) {
            finish_tile<N>(conv, d, place{}, scale, tile, m.me, way);
        } else {
            finish_head<N>(conv, d, place_of<N / 8>(conv, item, CLUSTER, rank), scale, tile,
                           b.head(), m.me);
            if (in_stage && m.me.thread == 0)
                barrier_arrive_many(b.pixels_empty(slot), 4);
        }
        __syncwarp();
    }
}

/* ---- tiles that are split over chunks ---- */

__device__ inline uint32_t bits_of(float v)
{
    return __float_as_uint(v);
}

__device__ inline uint32_t bits_of(int v)
{
    return (uint32_t)v;
}

__device__ inline void add_bits(float &sum, uint32_t v)
{
    sum += __uint_as_float(v);
}

__device__ inline void add_bits(int &sum, uint32_t v)
{
    sum += (int)v;
}

/* A group's sums to where the others find them: [four sums][thread]. */
template <int N, class Sum>
__device__ inline void write_sums(uint32_t to, const Sum (&d)[N / 2], int thread)
{
#pragma unroll
    for (int i = 0; i < N / 8; i++) {
        const Sum *p = d + 4 * i;
        store_shared(to + (i * 128 + thread) * 16,
                     make_uint4(bits_of(p[0]), bits_of(p[1]), bits_of(p[2]), bits_of(p[3])));
    }
}

/* The sums of all groups for part PART of the tile. */
template <int N, int PARTS, class Sum>
__device__ inline void add_sums(Sum (&d)[N / 2 / PARTS], uint32_t from, int part, int thread)
{
    constexpr int count = N / 8 / PARTS;
#pragma unroll
    for (int i = 0; i < N / 2 / PARTS; i++)
        d[i] = 0;
#pragma unroll
    for (int other = 0; other < PARTS; other++) {
        uint32_t there = cluster_address(from, other / 2) + other % 2 * N * 256;
#pragma unroll
        for (int i = 0; i < count; i++) {
            uint4 v = cluster_load(there + ((part * count + i) * 128 + thread) * 16);
            add_bits(d[4 * i], v.x);
            add_bits(d[4 * i + 1], v.y);
            add_bits(d[4 * i + 2], v.z);
            add_bits(d[4 * i + 3], v.w);
        }
    }
}

template <class T, int N, int ROW, int CLUSTER>
__device__ void multiply_split(const hopper_conv &conv, const block<N, ROW> &b, int rank)
{
    constexpr int parts = 2 * CLUSTER, P = N / parts;
    static_assert(sizes<N, ROW>::stages * sizes<N, ROW>::stage_bytes >= 2 * N * 256, "no room");
    static_assert(P >= 32, "parts too small to store");
    multiplier<T, N, ROW, HOPPER_SPLIT, CLUSTER> m(conv, b);
    const int part = rank * 2 + m.me.group;
    span chunks = span_of<HOPPER_SPLIT, CLUSTER>(conv, rank);
    place p = place_of<N / 8>(conv, blockIdx.x / CLUSTER, 1, 0);
    scaling scale(conv, p.output_tile, m.me);
    {
        typename T::sum d[N / 2];
        m.skip(m.me.group);
        m.multiply(d, chunks.from + m.me.group, chunks.to, 2);
        product_wait<0>();
        group_sync(3, 256);
        write_sums<N>(b.stages + m.me.group * N * 256, d, m.me.thread);
    }
    cluster_sync();
    typename T::sum e[P / 2];
    add_sums<N, parts>(e, b.stages, part, m.me.thread);
    p.y += part * (P / 8);
    sent_by_group way;
    finish_tile<P>(conv, e, p, scale, b.pieces + m.me.group * 16384, m.me, way);
    store_wait<0>();
    cluster_sync();
}

/* ---- the kernel ---- */

template <class T, int N, int ROW, int MODE, int CLUSTER>
__global__ void __launch_bounds__(threads, 1) kernel(const __grid_constant__ hopper_conv conv)
{
    constexpr bool split = MODE == HOPPER_SPLIT;
    extern __shared__ uint8_t shared[];
    const block<N, ROW> b(shared);
    const int rank = CLUSTER > 1 ? (int)cluster_rank() : 0;
    if (threadIdx.x == 0)
        b.init(split ? 1 : CLUSTER);
    if (conv.head.channels > 0)
        fetch_head(conv, b.head(), threadIdx.x, threads);
    launch_dependents();
    if (CLUSTER > 1)
        cluster_sync();
    else
        __syncthreads();
    if (threadIdx.x < 128) {
        registers_down<40>();
        if (threadIdx.x == 0)
            fetch_pixels<T, N, ROW, MODE, CLUSTER>(conv, b, rank);
        if (threadIdx.x == 32)
            fetch_weights<N, ROW, MODE, CLUSTER>(conv, b, rank);
        if (!split && (threadIdx.x == 64 || threadIdx.x == 96))
            send_tiles<N, ROW, CLUSTER>(conv, b, rank, threadIdx.x / 32 - 2);
        __syncwarp();
        if (split)
            cluster_sync();
        if (split || CLUSTER > 1)
            cluster_sync();
    } else {
        registers_up<232>();
        if constexpr (split) {
            multiply_split<T, N, ROW, CLUSTER>(conv, b, rank);
        } else {
            multiply_items<T, N, ROW, MODE, CLUSTER>(conv, b, rank);
            if (CLUSTER > 1)
                cluster_sync();
        }
    }
}

} /* namespace hopper */

#endif
