/* The matrix product of a warpgroup, for each type of operand. Both operands are K-major in shared
 * memory; a product is 64 x N x 32 bytes. */
#ifndef UNET_KERNELS_CUDA_WGMMA_CUH
#define UNET_KERNELS_CUDA_WGMMA_CUH

#include "kernels/cuda/sm90.cuh"

/* Operand lists of 8, 16, ... accumulators for the inline assembly below. */
#define UNET_ACC8(t, d, i)                                                                         \
    t((d)[i]), t((d)[i + 1]), t((d)[i + 2]), t((d)[i + 3]), t((d)[i + 4]), t((d)[i + 5]),          \
        t((d)[i + 6]), t((d)[i + 7])
#define UNET_ACC32(t, d, i)                                                                        \
    UNET_ACC8(t, d, i), UNET_ACC8(t, d, i + 8), UNET_ACC8(t, d, i + 16), UNET_ACC8(t, d, i + 24)
#define UNET_ACC64(t, d, i) UNET_ACC32(t, d, i), UNET_ACC32(t, d, i + 32)
#define UNET_ACC128(t, d, i) UNET_ACC64(t, d, i), UNET_ACC64(t, d, i + 64)

#define UNET_NAMES32 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define UNET_NAMES64 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define UNET_NAMES128 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"


/* D = A·B + (ACCUMULATE ? D : 0). NAMES are D's operands in the text, LIST those of the statement; A,
 * B and ACCUMULATE follow them as operands number a, b and c. */
#define UNET_PRODUCT(shape, names, a, b, c, tail, list)                                            \
    asm volatile("{\n"                                                                             \
                 ".reg .pred p;\n"                                                                 \
                 "setp.ne.b32 p, %" #c ", 0;\n"                                                    \
                 "wgmma.mma_async.sync.aligned." shape " {" names "}, %" #a ", %" #b ", p" tail    \
                 ";\n"                                                                             \
                 "}"                                                                               \
                 : list                                                                            \
                 : "l"(x), "l"(y), "r"(accumulate))
#define UNET_FLOAT(v)  "+f"(v)
#define UNET_WHOLE(v)  "+r"(v)
#define UNET_LIST(...) __VA_ARGS__

/* For all widths of a product: NAME, the type of sums and its constraint, K of a product, the types
 * in the instruction's name, what follows its operands. */
#define UNET_PRODUCTS(name, sum, constraint, k, types, tail)                                       \
    static __device__ inline void name(sum (&d)[128], uint64_t x, uint64_t y, int accumulate)      \
    {                                                                                              \
        UNET_PRODUCT("m64n256" k types, UNET_NAMES128, 128, 129, 130, tail,                        \
                     UNET_LIST(UNET_ACC128(constraint, d, 0)));                                    \
    }                                                                                              \
    static __device__ inline void name(sum (&d)[64], uint64_t x, uint64_t y, int accumulate)       \
    {                                                                                              \
        UNET_PRODUCT("m64n128" k types, UNET_NAMES64, 64, 65, 66, tail,                            \
                     UNET_LIST(UNET_ACC64(constraint, d, 0)));                                     \
    }                                                                                              \
    static __device__ inline void name(sum (&d)[32], uint64_t x, uint64_t y, int accumulate)       \
    {                                                                                              \
        UNET_PRODUCT("m64n64" k types, UNET_NAMES32, 32, 33, 34, tail,                             \
                     UNET_LIST(UNET_ACC32(constraint, d, 0)));                                     \
    }

namespace sm90 {

UNET_PRODUCTS(product_f16, float, UNET_FLOAT, "k16", ".f32.f16.f16", ", 1, 1, 0, 0")
UNET_PRODUCTS(product_bf16, float, UNET_FLOAT, "k16", ".f32.bf16.bf16", ", 1, 1, 0, 0")
UNET_PRODUCTS(product_tf32, float, UNET_FLOAT, "k8", ".f32.tf32.tf32", ", 1, 1")
UNET_PRODUCTS(product_e4m3, float, UNET_FLOAT, "k32", ".f32.e4m3.e4m3", ", 1, 1")
UNET_PRODUCTS(product_s8_u8, int, UNET_WHOLE, "k32", ".s32.s8.u8", "")
UNET_PRODUCTS(product_s8_s8, int, UNET_WHOLE, "k32", ".s32.s8.s8", "")

} /* namespace sm90 */

#endif
