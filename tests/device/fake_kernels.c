/* The kernels of the device that is none: the reference, under two names, of which the first takes
 * longer, and one that is for newer devices. Packed weights are row-major. */
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "nhwc_reference.h"

/* ---------------------------------------------------------------- weights */

/* In the order in which they are packed, a flag before each: whether there are any. */
enum part { WEIGHT, BIAS, HEAD_WEIGHT, HEAD_BIAS, WEIGHT_STEP, MEAN, PARTS };

static void count_parts(const struct kernel_desc *desc, size_t counts[PARTS])
{
    size_t ins = 0, outs = (size_t)desc->out_channels;
    for (int s = 0; s < desc->source_count; s++)
        ins += (size_t)desc->source_channels[s];
    counts[WEIGHT] = ins * outs * (size_t)desc->kernel_h * (size_t)desc->kernel_w;
    counts[BIAS] = counts[WEIGHT_STEP] = outs;
    counts[HEAD_WEIGHT] = outs * (size_t)desc->head_channels;
    counts[HEAD_BIAS] = (size_t)desc->head_channels;
    counts[MEAN] = ins;
}

static bool has_weights(const struct kernel_desc *desc)
{
    return desc->op == KERNEL_CONV || desc->op == KERNEL_CONV_TRANSPOSE;
}

static size_t packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    size_t counts[PARTS], all = 0;
    count_parts(desc, counts);
    for (int part = 0; part < PARTS && has_weights(desc); part++)
        all += 1 + counts[part];
    return all * sizeof(float);
}

static void pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed)
{
    (void)kernel;
    const float *from[PARTS] = {weights->weight,    weights->bias,        weights->head_weight,
                                weights->head_bias, weights->weight_step, weights->mean};
    size_t counts[PARTS];
    float *at = packed;
    count_parts(desc, counts);
    for (int part = 0; part < PARTS; part++) {
        *at++ = from[part] != NULL;
        for (size_t i = 0; i < counts[part]; i++)
            *at++ = from[part] != NULL ? from[part][i] : 0;
    }
}

static struct kernel_weights unpack(const struct kernel_desc *desc, const float *packed)
{
    const float *parts[PARTS];
    size_t counts[PARTS];
    count_parts(desc, counts);
    for (int part = 0; part < PARTS; part++) {
        parts[part] = *packed != 0 ? packed + 1 : NULL;
        packed += 1 + counts[part];
    }
    return (struct kernel_weights){parts[WEIGHT],    parts[BIAS],        parts[HEAD_WEIGHT],
                                   parts[HEAD_BIAS], parts[WEIGHT_STEP], parts[MEAN]};
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

double fake_seconds(const struct kernel *kernel, const struct kernel_desc *desc,
                    const struct kernel_args *args)
{
    const int *times = kernel->method;
    size_t counts[PARTS];
    count_parts(desc, counts);
    double pixels = (double)args->out.images * args->out.height * args->out.width;
    double work = pixels * (double)(has_weights(desc) ? counts[WEIGHT] : counts[MEAN]);
    return 1e-6 + 1e-9 * work * *times * (double)kernel_type_bytes(desc->in_type);
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
    if (has_weights(desc))
        weights = unpack(desc, args.packed);
    for (int i = 0; i < *times; i++)
        nhwc_reference(desc, &args, &weights);
}

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    bool bytes = desc->in_type == KERNEL_U8 || desc->out_type == KERNEL_U8;
    if (bytes && getenv("UNET_FAKE_NO_BYTES") != NULL)
        return "has no products of bytes";
    bool e4m3 = desc->in_type == KERNEL_E4M3 || desc->out_type == KERNEL_E4M3;
    if (e4m3 && getenv("UNET_FAKE_NO_FP8") != NULL)
        return "has no products of e4m3";
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

const struct kernel *const fake_kernels[] = {
    &conv_newer, &conv_slow, &conv, &conv_transpose, &upsample, &max_pool, &load, &store, NULL};
