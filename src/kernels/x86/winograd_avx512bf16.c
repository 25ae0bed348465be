/* The transforms of winograd_avx512.c for tensors of bf16: they move half as many bytes. */
#include "kernels/x86/vector_avx512.h"

#define WINOGRAD_TIER avx512bf16
#define WINOGRAD_NO_6
#define WINOGRAD_TYPE         KERNEL_BF16
#define WINOGRAD_ELEMENT      uint16_t
#define WINOGRAD_LOAD(p)      vector_load_bf16(p)
#define WINOGRAD_STORE(p, v)  vector_store_bf16(p, v)
#define WINOGRAD_STREAM(p, v) vector_stream_bf16(p, v)

#include "kernels/winograd_template.h"
