/* The instructions of compute capability 9.0a that the Hopper kernels use, one function each:
 * barriers in shared memory, the bulk copy engine (TMA), and the warpgroup's matrix product. */
#ifndef UNET_KERNELS_CUDA_SM90_CUH
#define UNET_KERNELS_CUDA_SM90_CUH

#include <cuda.h>
#include <stdint.h>

namespace sm90 {

/* A barrier that never completes is a defect of a kernel: it ends with an error rather than hang
 * the device. A store to nowhere does that: a kernel that has a trap gets no more registers than
 * it was launched with, whatever setmaxnreg says. */
constexpr int spin_limit = 1 << 20;

__device__ inline void stop_with_error()
{
    asm volatile("st.global.u32 [%0], %1;" ::"l"(0ull), "r"(0) : "memory");
}

__device__ inline uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* ---- barriers ---- */

__device__ inline void barrier_init(uint32_t bar, uint32_t arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(arrivals) : "memory");
}

/* Makes initialised barriers visible to the copy engine and to the other blocks of a cluster. */
__device__ inline void barrier_init_fence()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ inline void barrier_arrive(uint32_t bar)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}

__device__ inline void barrier_arrive_many(uint32_t bar, uint32_t arrivals)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(arrivals)
                 : "memory");
}

/* On the barrier at the same place in block RANK of the cluster. */
__device__ inline void barrier_arrive_at(uint32_t bar, uint32_t rank)
{
    asm volatile("{\n"
                 ".reg .b32 there;\n"
                 "mapa.shared::cluster.u32 there, %0, %1;\n"
                 "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n"
                 "}" ::"r"(bar),
                 "r"(rank)
                 : "memory");
}

__device__ inline void barrier_expect(uint32_t bar, uint32_t bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes)
                 : "memory");
}

__device__ inline bool barrier_try(uint32_t bar, uint32_t parity)
{
    uint32_t done;
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, p;\n"
                 "}"
                 : "=r"(done)
                 : "r"(bar), "r"(parity)
                 : "memory");
    return done;
}

__device__ inline void barrier_wait(uint32_t bar, uint32_t parity)
{
    int spins = 0;
    while (!barrier_try(bar, parity))
        if (++spins > spin_limit)
            stop_with_error();
}

/* ---- the copy engine ---- */

/* Orders ordinary accesses to shared memory before later ones by the copy engine and wgmma. */
__device__ inline void fence_async()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ inline void prefetch_map(const CUtensorMap *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

__device__ inline void load_bulk(uint32_t to, const void *from, uint32_t bytes, uint32_t bar)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                 " [%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(bar)
                 : "memory");
}

/* To the same place in each block of the cluster that MASK names, and its barrier. */
__device__ inline void load_bulk_all(uint32_t to, const void *from, uint32_t bytes, uint32_t bar,
                                     uint16_t mask)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1], %2, [%3], %4;" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(bar), "h"(mask)
                 : "memory");
}

__device__ inline void load_3d(uint32_t to, const CUtensorMap *map, int x, int y, int z,
                               uint32_t bar)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(to),
                 "l"(map), "r"(x), "r"(y), "r"(z), "r"(bar)
                 : "memory");
}

__device__ inline void load_4d(uint32_t to, const CUtensorMap *map, int c, int x, int y, int image,
                               uint32_t bar)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(to),
                 "l"(map), "r"(c), "r"(x), "r"(y), "r"(image), "r"(bar)
                 : "memory");
}

__device__ inline void store_4d(const CUtensorMap *map, int c, int x, int y, int image,
                                uint32_t from)
{
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group"
                 " [%0, {%1, %2, %3, %4}], [%5];" ::"l"(map),
                 "r"(c), "r"(x), "r"(y), "r"(image), "r"(from)
                 : "memory");
}

__device__ inline void store_commit()
{
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

/* Waits until at most PENDING groups of stores still read shared memory. */
template <int PENDING> __device__ inline void store_wait_read()
{
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(PENDING) : "memory");
}

/* Waits until at most PENDING groups of stores are not yet in device memory. */
template <int PENDING> __device__ inline void store_wait()
{
    asm volatile("cp.async.bulk.wait_group %0;" ::"n"(PENDING) : "memory");
}

/* ---- clusters ---- */

__device__ inline uint32_t cluster_rank()
{
    uint32_t rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

/* All threads of all blocks of the cluster; what they wrote before is seen after. */
__device__ inline void cluster_sync()
{
    asm volatile("barrier.cluster.arrive.release.aligned;\n"
                 "barrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
}

/* The address of block RANK's copy of what lies at this address of shared memory. */
__device__ inline uint32_t cluster_address(uint32_t address, uint32_t rank)
{
    uint32_t there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
    return there;
}

__device__ inline uint4 cluster_load(uint32_t address)
{
    uint4 v;
    asm volatile("ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(address)
                 : "memory");
    return v;
}

/* ---- registers, threads, launches ---- */

template <int REGISTERS> __device__ inline void registers_up()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

template <int REGISTERS> __device__ inline void registers_down()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

__device__ inline void group_sync(int id, int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/* Programmatic dependent launch: what follows sees all that the kernel before wrote. */
__device__ inline void wait_for_launcher()
{
    asm volatile("griddepcontrol.wait;" ::: "memory");
}

__device__ inline void launch_dependents()
{
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

/* ---- shared memory ---- */

/* Four (or one) 8x8 matrices of 16-bit values, transposed, to the 16-byte rows that the
 * lanes name. */
__device__ inline void store_transposed(uint32_t row, uint32_t a, uint32_t b, uint32_t c,
                                        uint32_t d)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row),
                 "r"(a), "r"(b), "r"(c), "r"(d)
                 : "memory");
}

__device__ inline void store_transposed(uint32_t row, uint32_t a)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(row), "r"(a)
                 : "memory");
}

__device__ inline void store_shared(uint32_t to, uint4 v)
{
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(v.x), "r"(v.y),
                 "r"(v.z), "r"(v.w)
                 : "memory");
}

__device__ inline void store_shared(uint32_t to, float a, float b)
{
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(a), "f"(b) : "memory");
}

__device__ inline void store_shared(uint32_t to, uint32_t v)
{
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(v) : "memory");
}

__device__ inline float4 load_shared(uint32_t from)
{
    float4 v;
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(from)
                 : "memory");
    return v;
}

/* ---- the matrix product ---- */

enum swizzle { swizzle_none = 0, swizzle_128 = 1, swizzle_64 = 2, swizzle_32 = 3 };

/* Where a K-major operand lies in shared memory, apart from its start: GROUP_BYTES from one
 * group of eight rows to the next; CHUNK_BYTES from one 16-byte column to the next, without
 * swizzle only. */
__host__ __device__ constexpr uint64_t layout(swizzle s, uint32_t chunk_bytes, uint32_t group_bytes)
{
    return (uint64_t)((chunk_bytes >> 4) & 0x3fff) << 16 |
           (uint64_t)((group_bytes >> 4) & 0x3fff) << 32 | (uint64_t)s << 62;
}

__device__ inline uint64_t operand(uint64_t layout, uint32_t start)
{
    return layout | ((start >> 4) & 0x3fff);
}

__device__ inline void product_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ inline void product_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int PENDING> __device__ inline void product_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

} /* namespace sm90 */

#endif
