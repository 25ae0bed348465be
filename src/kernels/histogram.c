#include "kernels/histogram.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/c/vector.h"

#define QUARTERS (KERNEL_BLOCK / VECTOR_LANES)

/* Pixels at a time: few enough for float32 partial sums, and to be in the L1 cache when they are
 * read again. */
#define RUN 32

/* 2⁻¹⁰⁰ is zero to every network, and the reciprocal of its bins is still a float. */
#define LEAST_EXPONENT (-100)

typedef int32_t words4 __attribute__((vector_size(16)));

struct extent {
    float max[KERNEL_BLOCK], sum[KERNEL_BLOCK];
};

/* ---------------------------------------------------------------- one run of pixels */

static inline vector4 magnitudes(vector4 values)
{
    return (vector4)((words4)values & 0x7fffffff);
}

static void measure(const float *values, int pixels, struct extent *extent)
{
    vector4 max[QUARTERS] = {{0}}, sum[QUARTERS] = {{0}};
    for (int p = 0; p < pixels; p++, values += KERNEL_BLOCK) {
        for (int q = 0; q < QUARTERS; q++) {
            vector4 value = vector_load(values + q * VECTOR_LANES);
            max[q] = vector_max(magnitudes(value), max[q]);
            sum[q] += value;
        }
    }
    memcpy(extent->max, max, sizeof max);
    memcpy(extent->sum, sum, sizeof sum);
}

/* A NaN or an infinity in a channel makes its sum one. So may large finite values: a closer look is
 * due then, no more. */
static bool is_suspicious(const struct extent *extent)
{
    float all = 0;
    for (int c = 0; c < KERNEL_BLOCK; c++)
        all += 0 * extent->sum[c];
    return isnan(all);
}

/* Copies the run with zeros for what is not finite. */
static void clean(struct histogram *histogram, const float *values, int pixels, float *cleaned)
{
    for (int i = 0; i < pixels * KERNEL_BLOCK; i++) {
        bool finite = isfinite(values[i]);
        cleaned[i] = finite ? values[i] : 0;
        histogram->special += !finite;
    }
}

static void add_sums(struct histogram *histogram, const float *values, int pixels,
                     const struct extent *extent)
{
    bool finite = true;
    for (int c = 0; c < KERNEL_BLOCK; c++)
        finite = finite && isfinite(extent->sum[c]);
    for (int c = 0; c < KERNEL_BLOCK && finite; c++)
        histogram->sum[c] += extent->sum[c];
    for (int i = 0; i < pixels * KERNEL_BLOCK && !finite; i++)
        histogram->sum[i % KERNEL_BLOCK] += values[i];
}

/* ---------------------------------------------------------------- bins */

/* 2ⁿ bins become one. */
static void merge(uint32_t *counts, int n)
{
    int kept = n < 11 ? HISTOGRAM_BINS >> n : 1, width = HISTOGRAM_BINS / kept;
    for (int i = 0; i < kept; i++) {
        uint32_t sum = 0;
        for (int k = 0; k < width; k++)
            sum += counts[i * width + k];
        counts[i] = sum;
    }
    memset(counts + kept, 0, (size_t)(HISTOGRAM_BINS - kept) * sizeof *counts);
}

static void cover(struct histogram *histogram, int channel, float max)
{
    int exponent;
    frexpf(max, &exponent); /* the least of which max < 2^exponent */
    float per_bin =
        ldexpf(HISTOGRAM_BINS, -(exponent > LEAST_EXPONENT ? exponent : LEAST_EXPONENT));
    float old = histogram->per_bin[channel];
    if (old > per_bin)
        merge(histogram->counts[channel], ilogbf(old) - ilogbf(per_bin));
    if (old == 0 || old > per_bin)
        histogram->per_bin[channel] = per_bin;
    histogram->max[channel] = max;
}

static void cover_all(struct histogram *histogram, const struct extent *extent)
{
    for (int c = 0; c < KERNEL_BLOCK; c++)
        if (extent->max[c] > histogram->max[c])
            cover(histogram, c, extent->max[c]);
}

static void count(struct histogram *histogram, const float *values, int pixels)
{
    vector4 per_bin[QUARTERS];
    memcpy(per_bin, histogram->per_bin, sizeof per_bin);
    for (int p = 0; p < pixels; p++, values += KERNEL_BLOCK) {
        words4 bins[QUARTERS];
        for (int q = 0; q < QUARTERS; q++) {
            vector4 value = vector_load(values + q * VECTOR_LANES);
            bins[q] = __builtin_convertvector(magnitudes(value) * per_bin[q], words4);
        }
        for (int c = 0; c < KERNEL_BLOCK; c++)
            histogram->counts[c][bins[c / VECTOR_LANES][c % VECTOR_LANES]]++;
    }
}

/* Counts are 32 bits wide. Before they could overflow all are halved, which keeps their shape; what
 * was seen stays seen. */
static void make_room(struct histogram *histogram, uint64_t pixels)
{
    if (histogram->held + pixels <= UINT32_MAX)
        return;
    for (int c = 0; c < KERNEL_BLOCK; c++)
        for (int i = 0; i < HISTOGRAM_BINS; i++)
            histogram->counts[c][i] -= histogram->counts[c][i] / 2;
    histogram->held = histogram->held / 2 + HISTOGRAM_BINS;
}

/* ---------------------------------------------------------------- a block */

static void add_run(struct histogram *histogram, const float *values, int pixels, bool sums_only)
{
    _Alignas(MEMORY_ALIGNMENT) float cleaned[RUN * KERNEL_BLOCK];
    struct extent extent;
    measure(values, pixels, &extent);
    if (is_suspicious(&extent)) {
        clean(histogram, values, pixels, cleaned);
        values = cleaned;
        measure(values, pixels, &extent);
    }
    add_sums(histogram, values, pixels, &extent);
    if (sums_only)
        return;
    cover_all(histogram, &extent);
    count(histogram, values, pixels);
}

/* A run of an NHWC tensor's pixels as a block has them: the last block's free lanes are zero. */
static void gather(const struct blocked *tensor, const float *from, int block, int pixels,
                   float *run)
{
    int left = tensor->channels - block * KERNEL_BLOCK;
    size_t held = (size_t)(left < KERNEL_BLOCK ? left : KERNEL_BLOCK);
    for (int p = 0; p < pixels; p++, from += tensor->pixel_stride, run += KERNEL_BLOCK) {
        memcpy(run, from, held * sizeof *run);
        memset(run + held, 0, (KERNEL_BLOCK - held) * sizeof *run);
    }
}

static void add_row(struct histogram *histogram, const struct blocked *tensor, int image, int y,
                    int block, bool sums_only)
{
    _Alignas(MEMORY_ALIGNMENT) float gathered[RUN * KERNEL_BLOCK];
    bool nhwc = tensor->pixel_stride > 0;
    const float *row = nhwc ? (const float *)tensor->data + (size_t)image * tensor->image_stride +
                                  (size_t)y * tensor->row_stride + (size_t)block * KERNEL_BLOCK
                            : blocked_at(tensor, y, block, 0);
    size_t stride = nhwc ? tensor->pixel_stride : KERNEL_BLOCK;
    for (int x = 0; x < tensor->width; x += RUN, row += RUN * stride) {
        int pixels = tensor->width - x < RUN ? tensor->width - x : RUN;
        if (nhwc)
            gather(tensor, row, block, pixels, gathered);
        add_run(histogram, nhwc ? gathered : row, pixels, sums_only);
    }
}

static int rows_of(const struct blocked *tensor)
{
    return tensor->height * (tensor->pixel_stride > 0 ? tensor->images : 1);
}

/* Rows are counted through all images. */
static void add(struct histogram *histogram, const struct blocked *tensor, int block, int first,
                int last, bool sums_only)
{
    for (int row = first; row < last; row++) {
        if (!sums_only) {
            make_room(histogram, (uint64_t)tensor->width);
            histogram->held += (uint64_t)tensor->width;
        }
        add_row(histogram, tensor, row / tensor->height, row % tensor->height, block, sums_only);
    }
    histogram->pixels += (uint64_t)(last - first) * (uint64_t)tensor->width;
}

void histogram_add_part(struct histogram *histogram, const struct blocked *tensor, int block,
                        struct histogram_part part)
{
    int64_t rows = rows_of(tensor);
    int first = (int)(rows * part.index / part.count);
    int last = (int)(rows * (part.index + 1) / part.count);
    add(histogram, tensor, block, first, last, part.sums_only);
}

/* Bins of the finer one become parts of the other's. */
static void merge_channel(struct histogram *into, const struct histogram *from, int channel)
{
    if (from->max[channel] > into->max[channel])
        cover(into, channel, from->max[channel]);
    float fine = from->per_bin[channel], wide = into->per_bin[channel];
    int shift = fine > wide ? ilogbf(fine) - ilogbf(wide) : 0;
    for (int i = 0; i < HISTOGRAM_BINS; i++)
        into->counts[channel][shift < 11 ? i >> shift : 0] += from->counts[channel][i];
    into->sum[channel] += from->sum[channel];
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    make_room(into, from->held);
    for (int c = 0; c < KERNEL_BLOCK; c++)
        merge_channel(into, from, c);
    into->held += from->held;
    into->pixels += from->pixels;
    into->special += from->special;
}

void histogram_add(struct histogram *histogram, const struct blocked *tensor, int block)
{
    add(histogram, tensor, block, 0, rows_of(tensor), false);
}

void histogram_add_sums(struct histogram *histogram, const struct blocked *tensor, int block)
{
    add(histogram, tensor, block, 0, rows_of(tensor), true);
}

float histogram_bin(const struct histogram *histogram, int channel)
{
    float per_bin = histogram->per_bin[channel];
    return per_bin > 0 ? 1 / per_bin : 0;
}

double histogram_mean(const struct histogram *histogram, int channel)
{
    if (histogram->pixels == 0)
        return 0;
    return histogram->sum[channel] / (double)histogram->pixels;
}
