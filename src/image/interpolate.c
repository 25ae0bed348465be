/* Bilinear resizing of tensors, as PyTorch's interpolate(align_corners=False) does it. */
#include "image/image.h"

#include "base/memory.h"

#include <string.h>

/* Output i lies between inputs low[i] and high[i], with `weight[i]` on the latter. */
struct axis {
    int *low, *high;
    float *weight;
};

static void clear_axis(struct axis *axis)
{
    memory_free(axis->low);
    memory_free(axis->high);
    memory_free(axis->weight);
}

/* In float32, as PyTorch computes it: pixel centres are matched, and what lies before the first
 * centre takes that pixel. */
static unet_status make_axis(int in_size, int out_size, struct axis *axis, unet_error *error)
{
    size_t count = (size_t)out_size;
    axis->low = memory_alloc_array(count, sizeof *axis->low);
    axis->high = memory_alloc_array(count, sizeof *axis->high);
    axis->weight = memory_alloc_array(count, sizeof *axis->weight);
    if (axis->low == NULL || axis->high == NULL || axis->weight == NULL)
        return error_memory(error, count * sizeof *axis->weight, "resizing logits");
    float scale = (float)in_size / (float)out_size;
    for (int i = 0; i < out_size; i++) {
        float position = scale * ((float)i + 0.5f) - 0.5f;
        position = position < 0 ? 0 : position;
        int low = (int)position;
        low = low > in_size - 1 ? in_size - 1 : low;
        axis->low[i] = low;
        axis->high[i] = low + (low < in_size - 1);
        axis->weight[i] = position - (float)low;
    }
    return UNET_OK;
}

static void stretch_row(const struct axis *columns, const float *in, int out_width, float *out)
{
    for (int x = 0; x < out_width; x++) {
        float weight = columns->weight[x];
        out[x] = (1 - weight) * in[columns->low[x]] + weight * in[columns->high[x]];
    }
}

static void mix_rows(const float *upper, const float *lower, float weight, int width, float *out)
{
    float rest = 1 - weight;
    for (int x = 0; x < width; x++)
        out[x] = rest * upper[x] + weight * lower[x];
}

/* The two input rows that the output row lies between, stretched. Rows are walked downwards, so
 * the lower one often becomes the upper one. */
struct stretched {
    float *rows[2];
    int index[2];
};

static const float *stretched_row(struct stretched *cache, int slot, int y, const float *plane,
                                  int width, const struct axis *columns, int out_width)
{
    if (cache->index[slot] != y) {
        stretch_row(columns, plane + (size_t)y * (size_t)width, out_width, cache->rows[slot]);
        cache->index[slot] = y;
    }
    return cache->rows[slot];
}

/* Makes the lower row the upper one if row `y` is there. */
static void step_down(struct stretched *cache, int y)
{
    if (cache->index[1] != y || cache->index[0] == y)
        return;
    float *row = cache->rows[0];
    cache->rows[0] = cache->rows[1];
    cache->rows[1] = row;
    cache->index[1] = cache->index[0];
    cache->index[0] = y;
}

static void resize_plane(const float *plane, int width, const struct axis *rows,
                         const struct axis *columns, int out_height, int out_width,
                         struct stretched *cache, float *out)
{
    cache->index[0] = cache->index[1] = -1;
    for (int y = 0; y < out_height; y++, out += out_width) {
        step_down(cache, rows->low[y]);
        const float *upper =
            stretched_row(cache, 0, rows->low[y], plane, width, columns, out_width);
        const float *lower =
            stretched_row(cache, 1, rows->high[y], plane, width, columns, out_width);
        mix_rows(upper, lower, rows->weight[y], out_width, out);
    }
}

unet_status tensor_resize_bilinear(const float *in, int channels, int height, int width, float *out,
                                   int out_height, int out_width, unet_error *error)
{
    struct axis rows = {0}, columns = {0};
    size_t row_bytes = (size_t)out_width * sizeof(float);
    float *scratch = memory_alloc_array(2, row_bytes);
    unet_status status;
    if (scratch == NULL) {
        status = error_memory(error, 2 * row_bytes, "resizing logits");
        goto done;
    }
    TRY_GOTO(make_axis(height, out_height, &rows, error), done);
    TRY_GOTO(make_axis(width, out_width, &columns, error), done);
    struct stretched cache = {.rows = {scratch, scratch + out_width}};
    for (int channel = 0; channel < channels; channel++)
        resize_plane(in + (size_t)channel * (size_t)height * (size_t)width, width, &rows, &columns,
                     out_height, out_width, &cache,
                     out + (size_t)channel * (size_t)out_height * (size_t)out_width);
done:
    clear_axis(&rows);
    clear_axis(&columns);
    memory_free(scratch);
    return status;
}
