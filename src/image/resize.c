/* Bicubic resizing with the arithmetic of Pillow's Image.resize: a pass along the rows and one
 * along the columns. 8-bit images use fixed-point weights and round between the passes; 16-bit ones
 * use double sums and float32 between, as Pillow does for its mode F. */
#include "image/resample.h"

#include "image/pixels.h"

/* Columns whose sums stay in the first-level cache while the taps are walked. */
#define COLUMN_BLOCK 512

#define HALF (1 << (RESAMPLE_PRECISION - 1))

/* ---------------------------------------------------------------- 8 bits */

static inline uint8_t round_8(int32_t sum)
{
    int32_t value = sum >> RESAMPLE_PRECISION;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void row_grey8(const struct resample_axis *axis, const uint8_t *in, uint8_t *out)
{
    for (int x = 0; x < axis->out_size; x++) {
        const int32_t *weights = axis->fixed + (size_t)x * (size_t)axis->stride;
        const uint8_t *pixel = in + axis->first[x];
        int32_t sum = HALF;
        for (int tap = 0; tap < axis->count[x]; tap++)
            sum += pixel[tap] * weights[tap];
        out[x] = round_8(sum);
    }
}

static void row_rgb8(const struct resample_axis *axis, const uint8_t *in, uint8_t *out)
{
    for (int x = 0; x < axis->out_size; x++, out += 3) {
        const int32_t *weights = axis->fixed + (size_t)x * (size_t)axis->stride;
        const uint8_t *pixel = in + 3 * (size_t)axis->first[x];
        int32_t red = HALF, green = HALF, blue = HALF;
        for (int tap = 0; tap < axis->count[x]; tap++, pixel += 3) {
            red += pixel[0] * weights[tap];
            green += pixel[1] * weights[tap];
            blue += pixel[2] * weights[tap];
        }
        out[0] = round_8(red);
        out[1] = round_8(green);
        out[2] = round_8(blue);
    }
}

static void row_any8(const struct resample_axis *axis, size_t channels, const uint8_t *in,
                     uint8_t *out)
{
    for (int x = 0; x < axis->out_size; x++, out += channels) {
        const int32_t *weights = axis->fixed + (size_t)x * (size_t)axis->stride;
        const uint8_t *pixel = in + channels * (size_t)axis->first[x];
        for (size_t channel = 0; channel < channels; channel++) {
            int32_t sum = HALF;
            for (int tap = 0; tap < axis->count[x]; tap++)
                sum += pixel[(size_t)tap * channels + channel] * weights[tap];
            out[channel] = round_8(sum);
        }
    }
}

static void rows_8(const struct resample_axis *axis, const unet_image *in, unet_image *out)
{
    const uint8_t *from = in->pixels;
    uint8_t *to = out->pixels;
    for (int y = 0; y < in->height; y++) {
        if (in->channels == 1)
            row_grey8(axis, from, to);
        else if (in->channels == 3)
            row_rgb8(axis, from, to);
        else
            row_any8(axis, (size_t)in->channels, from, to);
        from += image_row_bytes(in);
        to += image_row_bytes(out);
    }
}

/* One output row of a block of columns: sums over whole rows vectorise. */
static void column_block_8(const int32_t *weights, int taps, const uint8_t *in, size_t stride,
                           size_t columns, uint8_t *out)
{
    int32_t sums[COLUMN_BLOCK];
    for (size_t i = 0; i < columns; i++)
        sums[i] = HALF;
    for (int tap = 0; tap < taps; tap++, in += stride) {
        int32_t weight = weights[tap];
        for (size_t i = 0; i < columns; i++)
            sums[i] += in[i] * weight;
    }
    for (size_t i = 0; i < columns; i++)
        out[i] = round_8(sums[i]);
}

static void columns_8(const struct resample_axis *axis, const unet_image *in, unet_image *out)
{
    size_t stride = image_row_bytes(in);
    uint8_t *to = out->pixels;
    for (int y = 0; y < axis->out_size; y++, to += stride) {
        const int32_t *weights = axis->fixed + (size_t)y * (size_t)axis->stride;
        const uint8_t *from = (const uint8_t *)in->pixels + (size_t)axis->first[y] * stride;
        for (size_t x = 0; x < stride; x += COLUMN_BLOCK) {
            size_t left = stride - x;
            column_block_8(weights, axis->count[y], from + x, stride,
                           left < COLUMN_BLOCK ? left : COLUMN_BLOCK, to + x);
        }
    }
}

/* ---------------------------------------------------------------- 16 bits */

/* Between the passes an image of "32 bits" holds floats. */
static inline double load_16(const unet_image *image, size_t index)
{
    return image->bits == 16 ? ((const uint16_t *)image->pixels)[index]
                             : (double)((const float *)image->pixels)[index];
}

static inline void store_16(unet_image *image, size_t index, double sum)
{
    float value = (float)sum;
    if (image->bits == 32) {
        ((float *)image->pixels)[index] = value;
        return;
    }
    value = value < 0 ? 0 : value;
    value = value > 65535 ? 65535 : value;
    ((uint16_t *)image->pixels)[index] = (uint16_t)(value + 0.5f);
}

/* The taps of one sum lie `step` values apart. */
static inline double sum_16(const unet_image *image, size_t first, size_t step,
                            const double *weights, int taps)
{
    double sum = 0;
    for (int tap = 0; tap < taps; tap++)
        sum += load_16(image, first + (size_t)tap * step) * weights[tap];
    return sum;
}

static void rows_16(const struct resample_axis *axis, const unet_image *in, unet_image *out)
{
    size_t channels = (size_t)in->channels, to = 0;
    for (int y = 0; y < in->height; y++) {
        size_t row = (size_t)y * (size_t)in->width * channels;
        for (int x = 0; x < axis->out_size; x++) {
            const double *weights = axis->weights + (size_t)x * (size_t)axis->stride;
            size_t first = row + (size_t)axis->first[x] * channels;
            for (size_t channel = 0; channel < channels; channel++)
                store_16(out, to++, sum_16(in, first + channel, channels, weights, axis->count[x]));
        }
    }
}

static void columns_16(const struct resample_axis *axis, const unet_image *in, unet_image *out)
{
    size_t stride = (size_t)in->width * (size_t)in->channels, to = 0;
    for (int y = 0; y < axis->out_size; y++) {
        const double *weights = axis->weights + (size_t)y * (size_t)axis->stride;
        size_t first = (size_t)axis->first[y] * stride;
        for (size_t x = 0; x < stride; x++)
            store_16(out, to++, sum_16(in, first + x, stride, weights, axis->count[y]));
    }
}

/* ---------------------------------------------------------------- both */

static void pass(const struct resample_axis *axis, bool along_rows, const unet_image *in,
                 unet_image *out)
{
    if (in->bits == 8 && along_rows)
        rows_8(axis, in, out);
    else if (in->bits == 8)
        columns_8(axis, in, out);
    else if (along_rows)
        rows_16(axis, in, out);
    else
        columns_16(axis, in, out);
}

/* Rows go first, but for pictures that lose more than twice as much height as width: Pillow's rule
 * since version 13 (its pull request 9549), which shows in the last bit of the results. */
static bool columns_first(const unet_image *image, int width, int height)
{
    int lost_height = image->height - height, lost_width = image->width - width;
    return lost_height > 0 && lost_height > 2 * lost_width;
}

/* Where a side stays, the weights are 1 on the pixel itself and 0 beside it: such a pass changes
 * nothing and need not be left out, as Pillow does. */
static unet_status resize(const unet_image *image, const struct resample_axis *rows,
                          const struct resample_axis *columns, unet_image *out, unet_error *error)
{
    bool rows_first = !columns_first(image, rows->out_size, columns->out_size);
    unet_image middle, made;
    TRY(image_allocate(rows_first ? rows->out_size : image->width,
                       rows_first ? image->height : columns->out_size, image->channels,
                       image->bits == 8 ? 8 : 32, &middle, error));
    unet_status status = image_allocate(rows->out_size, columns->out_size, image->channels,
                                        image->bits, &made, error);
    if (status == UNET_OK) {
        pass(rows_first ? rows : columns, rows_first, image, &middle);
        pass(rows_first ? columns : rows, !rows_first, &middle, &made);
        *out = made;
    }
    unet_image_clear(&middle);
    return status;
}

unet_status unet_image_resize(const unet_image *image, int width, int height, unet_image *out,
                              unet_error *error)
{
    TRY(image_check(image, "an image", error));
    if (!image_size_allowed(width, height))
        return error_set(error, UNET_ERROR_USAGE,
                         "cannot resize to %d×%d: sides must be 1 to %d, with at most %d pixels",
                         width, height, UNET_MAX_SIDE, UNET_MAX_PIXELS);
    struct resample_axis rows = {0}, columns = {0};
    unet_status status;
    TRY_GOTO(resample_axis_make(image->width, width, &rows, error), done);
    TRY_GOTO(resample_axis_make(image->height, height, &columns, error), done);
    status = resize(image, &rows, &columns, out, error);
done:
    resample_axis_clear(&rows);
    resample_axis_clear(&columns);
    return status;
}
