/* The kernels of the device that is none: the reference, under two names, of which the first takes
 * longer, and one that is for newer devices. Packed weights are row-major. */
#include <string.h>

#include "fake.h"
#include "nhwc_reference.h"

/* ---------------------------------------------------------------- weights */

struct counts {
    size_t weight, bias, head_weight, head_bias;
};

static struct counts counts_of(const struct kernel_desc *desc)
{
    size_t ins = 0, outs = (size_t)desc->out_channels;
    size_t taps = (size_t)desc->kernel_h * (size_t)desc->kernel_w;
    for (int s = 0; s < desc->source_count; s++)
        ins += (size_t)desc->source_channels[s];
    if (desc->op != KERNEL_CONV && desc->op != KERNEL_CONV_TRANSPOSE)
        return (struct counts){0};
    return (struct counts){ins * outs * taps, outs, outs * (size_t)desc->head_channels,
                           (size_t)desc->head_channels};
}

static size_t packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    struct counts counts = counts_of(desc);
    return (counts.weight + counts.bias + counts.head_weight + counts.head_bias) * sizeof(float);
}

static float *put(float *into, const float *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        into[i] = from != NULL ? from[i] : 0;
    return into + count;
}

static void pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed)
{
    (void)kernel;
    struct counts counts = counts_of(desc);
    float *at = put(packed, weights->weight, counts.weight);
    at = put(at, weights->bias, counts.bias);
    at = put(at, weights->head_weight, counts.head_weight);
    put(at, weights->head_bias, counts.head_bias);
}

static struct kernel_weights unpack(const struct kernel_desc *desc, const float *packed)
{
    struct counts counts = counts_of(desc);
    const float *head = packed + counts.weight + counts.bias;
    return (struct kernel_weights){.weight = packed,
                                   .bias = packed + counts.weight,
                                   .head_weight = head,
                                   .head_bias = head + counts.head_weight};
}

/* ---------------------------------------------------------------- running */

static void translate(struct kernel_args *args)
{
    for (int s = 0; s < KERNEL_MAX_SOURCES; s++)
        args->sources[s].data = fake_host_address(args->sources[s].data);
    args->out.data = fake_host_address(args->out.data);
    args->pooled.data = fake_host_address(args->pooled.data);
    args->planar_in = fake_host_address(args->planar_in);
    args->pixels_in.bytes = fake_host_address(args->pixels_in.bytes);
    args->pixels_in.values = fake_host_address(args->pixels_in.values);
    args->planar_out = fake_host_address(args->planar_out);
    args->mask_out.classes = fake_host_address(args->mask_out.classes);
    args->packed = fake_host_address(args->packed);
    args->scratch = fake_host_address(args->scratch);
}

static size_t scratch_of(const struct kernel_args *args)
{
    return (size_t)args->out.images * 100;
}

static size_t scratch_bytes(const struct kernel *kernel, const struct kernel_desc *desc,
                            const struct kernel_args *args)
{
    (void)kernel, (void)desc;
    return scratch_of(args);
}

void fake_execute(const struct kernel *kernel, const struct kernel_desc *desc,
                  const struct kernel_args *given)
{
    struct kernel_args args = *given;
    const int *times = kernel->method;
    translate(&args);
    memset(args.scratch, 0xff, scratch_of(&args)); /* nothing else may be kept there */
    if (kernel->reads_input && args.from_input)
        args.sources[0].data = NULL; /* nobody has written it */
    struct kernel_weights weights = {0};
    if (args.packed != NULL)
        weights = unpack(desc, args.packed);
    for (int i = 0; i < *times; i++)
        nhwc_reference(desc, &args, &weights);
}

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    return nhwc_reference_refusal(desc);
}

static const int once = 1, five_times = 5;

#define FAKE_KERNEL(symbol, kernel_name, kernel_op, repeats, from_input, least)                    \
    static const struct kernel symbol = {.name = kernel_name,                                      \
                                         .op = kernel_op,                                          \
                                         .method = repeats,                                        \
                                         .reads_input = from_input,                                \
                                         .refuse = refuse,                                         \
                                         .packed_bytes = packed_bytes,                             \
                                         .pack = pack,                                             \
                                         .scratch_bytes = scratch_bytes,                           \
                                         .launch = fake_enqueue,                                   \
                                         .compute_least = least}

FAKE_KERNEL(conv_newer, "conv.newer.fake", KERNEL_CONV, &once, false, FAKE_COMPUTE + 10);
FAKE_KERNEL(conv_slow, "conv.slow.fake", KERNEL_CONV, &five_times, false, 0);
FAKE_KERNEL(conv, "conv.reference.fake", KERNEL_CONV, &once, true, 0);
FAKE_KERNEL(conv_transpose, "conv_transpose.reference.fake", KERNEL_CONV_TRANSPOSE, &once, false,
            0);
FAKE_KERNEL(upsample, "upsample.reference.fake", KERNEL_UPSAMPLE, &once, false, 0);
FAKE_KERNEL(max_pool, "max_pool.reference.fake", KERNEL_MAX_POOL, &once, false, 0);
FAKE_KERNEL(load, "load.reference.fake", KERNEL_LOAD, &once, false, 0);
FAKE_KERNEL(store, "store.reference.fake", KERNEL_STORE, &once, false, 0);

const struct kernel *const fake_kernels[] = {&conv_newer, &conv_slow, &conv, &conv_transpose,
                                             &upsample,   &max_pool,  &load, &store,
                                             NULL};
