#include "image/resample.h"

#include "base/memory.h"

#include <math.h>

/* Keys' cubic convolution kernel reaches two pixels to either side; a = −0.5 as in Pillow. */
#define RADIUS 2.0
#define A      (-0.5)

/* The order of operations is Pillow's, so that the last bits of the doubles are too. */
static double cubic(double x)
{
    x = fabs(x);
    if (x < 1)
        return ((A + 2) * x - (A + 3)) * x * x + 1;
    if (x < 2)
        return (((x - 5) * x + 8) * x - 4) * A;
    return 0;
}

static unet_status allocate(struct resample_axis *axis, unet_error *error)
{
    size_t out = (size_t)axis->out_size, taps = out * (size_t)axis->stride;
    axis->first = memory_alloc_array(out, sizeof *axis->first);
    axis->count = memory_alloc_array(out, sizeof *axis->count);
    axis->weights = memory_alloc_array(taps, sizeof *axis->weights);
    axis->fixed = memory_alloc_array(taps, sizeof *axis->fixed);
    if (axis->first != NULL && axis->count != NULL && axis->weights != NULL && axis->fixed != NULL)
        return UNET_OK;
    return error_memory(error, taps * (sizeof *axis->weights + sizeof *axis->fixed),
                        "resizing an image");
}

static int32_t to_fixed(double weight)
{
    double scaled = weight * (1 << RESAMPLE_PRECISION);
    return (int32_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

/* The taps of output `index`. Those beyond the edge are left out and the others scaled to sum 1. */
static void fill(struct resample_axis *axis, int index, int in_size, double scale, double stretch)
{
    double center = (index + 0.5) * scale;
    double support = RADIUS * stretch, inverse = 1 / stretch;
    int first = (int)(center - support + 0.5);
    int end = (int)(center + support + 0.5);
    first = first < 0 ? 0 : first;
    end = end > in_size ? in_size : end;
    double *weights = axis->weights + (size_t)index * (size_t)axis->stride;
    int32_t *fixed = axis->fixed + (size_t)index * (size_t)axis->stride;
    double sum = 0;
    for (int tap = 0; tap < end - first; tap++) {
        weights[tap] = cubic((tap + first - center + 0.5) * inverse);
        sum += weights[tap];
    }
    for (int tap = 0; tap < end - first; tap++) {
        if (sum != 0)
            weights[tap] /= sum;
        fixed[tap] = to_fixed(weights[tap]);
    }
    axis->first[index] = first;
    axis->count[index] = end - first;
}

unet_status resample_axis_make(int in_size, int out_size, struct resample_axis *axis,
                               unet_error *error)
{
    double scale = (double)in_size / out_size;
    double stretch = scale < 1 ? 1 : scale; /* when shrinking, the kernel covers what is merged */
    *axis = (struct resample_axis){
        .out_size = out_size,
        .stride = (int)ceil(RADIUS * stretch) * 2 + 1,
    };
    unet_status status = allocate(axis, error);
    if (status != UNET_OK) {
        resample_axis_clear(axis);
        return status;
    }
    for (int i = 0; i < out_size; i++)
        fill(axis, i, in_size, scale, stretch);
    return UNET_OK;
}

void resample_axis_clear(struct resample_axis *axis)
{
    memory_free(axis->first);
    memory_free(axis->count);
    memory_free(axis->weights);
    memory_free(axis->fixed);
    *axis = (struct resample_axis){0};
}
