/* The first 3×3 convolution: see conv_first.cu. */
#include "kernels/conv_pack.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/list.h"
#include "kernels/cuda/view.h"

#include <math.h>

#define MOST_IN 3
#define TAPS    9
#define LANES   32
#define TILES   (GPU_FIRST_CHANNELS / 8)
#define WORDS   2 /* of a lane, a tile and a step: two products, four apart */

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
    return passes(desc) * GPU_FIRST_STEPS * TILES * LANES * WORDS;
}

static size_t packed_bytes(const struct kernel *kernel, const struct kernel_desc *desc)
{
    (void)kernel;
    return weight_floats(desc) * sizeof(float);
}

/* The output that column n of a pass's tile j stands for. */
static int output_of(const struct kernel_desc *desc, int pass, int j, int n)
{
    int piece = GPU_PIECE / (int)kernel_type_bytes(desc->out_type), tiles = piece / 2;
    return pass * GPU_FIRST_CHANNELS + (j / tiles * 4 + n / 2) * piece + j % tiles * 2 + n % 2;
}

/* A weight, or a part of the bias, which follows them. Two parts of 11 bits are as good as a
 * float. */
static float product_of(const struct kernel_desc *desc, const struct kernel_weights *weights,
                        int output, int k)
{
    int products = desc->source_channels[0] * TAPS;
    if (output >= desc->out_channels || k > products + 1)
        return 0.0f;
    if (k < products)
        return weights->weight != NULL
                   ? gemm_round_tf32(weights->weight[(size_t)output * (size_t)products + (size_t)k])
                   : 0.0f;
    float bias = weights->bias != NULL ? weights->bias[output] : 0.0f;
    float upper = gemm_round_tf32(bias), lower = gemm_round_tf32(bias - upper);
    return k == products ? upper : isfinite(lower) ? lower : 0.0f;
}

/* A lane has two neighbouring tiles beside each other. */
static void pack(const struct kernel *kernel, const struct kernel_desc *desc,
                 const struct kernel_weights *weights, void *packed)
{
    (void)kernel;
    float *to = packed;
    for (size_t at = 0; at < weight_floats(desc); at++) {
        int word = (int)(at % WORDS), lane = (int)(at / WORDS / 2 % LANES);
        int pair = (int)(at / WORDS / 2 / LANES),
            j = pair % (TILES / 2) * 2 + (int)(at / WORDS % 2);
        int step = pair / (TILES / 2) % GPU_FIRST_STEPS,
            pass = pair / (TILES / 2) / GPU_FIRST_STEPS;
        to[at] = product_of(desc, weights, output_of(desc, pass, j, lane / 4),
                            step * 8 + word * 4 + lane % 4);
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
