/* The first 3×3 convolution: see conv_first.cu. */
#include "kernels/conv_pack.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/list.h"
#include "kernels/cuda/view.h"

#include <string.h>

#define MOST_IN 3
#define TAPS    9
#define LANES   32
#define TILES   (GPU_FIRST_CHANNELS / 8)

static const char *refuse(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    const char *reason = conv_refuse_numbers(desc);
    if (reason != NULL)
        return reason;
    if (desc->in_type != KERNEL_F32)
        return "float32 inputs only";
    if (!gemm_may_use_tf32(desc))
        return "multiplies with 10 bits of mantissa";
    if (desc->source_count != 1 || desc->source_channels[0] > MOST_IN || desc->upsampled != 0)
        return "one source of at most 3 channels";
    if (desc->kernel_h != 3 || desc->kernel_w != 3 || desc->stride != 1 || desc->padding != 1)
        return "3×3 only";
    return desc->pool || desc->head_channels > 0 ? "no pool, no head" : NULL;
}

static size_t passes(const struct kernel_desc *desc)
{
    return ((size_t)desc->out_channels + GPU_FIRST_CHANNELS - 1) / GPU_FIRST_CHANNELS;
}

static size_t weight_floats(const struct kernel_desc *desc)
{
    return passes(desc) * GPU_FIRST_STEPS * TILES * LANES * 2;
}

static size_t packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    return (weight_floats(desc) + passes(desc) * GPU_FIRST_CHANNELS) * sizeof(float);
}

/* The output that column n of a pass's tile j stands for. */
static int output_of(const struct kernel_desc *desc, int pass, int j, int n)
{
    int piece = GPU_PIECE / (int)kernel_type_bytes(desc->out_type), tiles = piece / 2;
    return pass * GPU_FIRST_CHANNELS + (j / tiles * 4 + n / 2) * piece + j % tiles * 2 + n % 2;
}

/* What a lane multiplies in tile j of a step: two products, four apart. */
static void pack_lane(const struct kernel_desc *desc, const struct kernel_weights *weights,
                      int pass, int step, int j, int lane, float *to)
{
    int output = output_of(desc, pass, j, lane / 4), products = desc->source_channels[0] * TAPS;
    for (int i = 0; i < 2; i++) {
        int k = step * 8 + i * 4 + lane % 4;
        bool there = output < desc->out_channels && k < products && weights->weight != NULL;
        to[i] = there ? gemm_round_tf32(weights->weight[(size_t)output * (size_t)products + (size_t)k])
                      : 0.0f;
    }
}

static void pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed)
{
    (void)kernel;
    float *to = packed, *bias = to + weight_floats(desc);
    for (int pass = 0; pass < (int)passes(desc); pass++) {
        for (int step = 0; step < GPU_FIRST_STEPS; step++)
            for (int j = 0; j < TILES; j++)
                for (int lane = 0; lane < LANES; lane++, to += 2)
                    pack_lane(desc, weights, pass, step, j, lane, to);
        for (int at = 0; at < GPU_FIRST_CHANNELS; at++) {
            int output = output_of(desc, pass, at / 8, at % 8);
            bool there = output < desc->out_channels && weights->bias != NULL;
            *bias++ = there ? weights->bias[output] : 0.0f;
        }
    }
}

static unet_status launch(const struct kernel *kernel, const struct kernel_desc *desc,
                          const struct kernel_args *args, struct device_stream *stream,
                          unet_error *error)
{
    struct gpu_first conv = {
        .in = gpu_view(&args->sources[0]),
        .out = gpu_view(&args->out),
        .weights = args->packed,
        .bias = (const float *)args->packed + weight_floats(desc),
        .relu = desc->relu,
    };
    if (args->from_input) {
        conv.in.data = NULL;
        conv.planes = args->planar_in;
        conv.pixels = gpu_pixels_of(&args->pixels_in);
    }
    TRY_CUDA(gpu_conv_first(&conv, stream->stream), kernel->name);
    return UNET_OK;
}

const struct kernel cuda_conv_first = {
    .name = "conv3x3.first.cuda",
    .op = KERNEL_CONV,
    .reads_input = true,
    .refuse = refuse,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .scratch_bytes = kernel_no_scratch,
    .launch = launch,
    .compute_least = 80,
};
