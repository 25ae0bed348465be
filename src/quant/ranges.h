/* What calibration knows of the values of a graph. In the units of the float32 network. */
#ifndef UNET_QUANT_RANGES_H
#define UNET_QUANT_RANGES_H

#include "graph/graph.h"
#include "quant/range.h"

struct quant_value_range {
    float tensor;    /* of the whole tensor; 0: nothing is known of this value */
    float *channels; /* a channel each, NULL: not known; 0: the channel is never active */
    float *mean;     /* a channel each; NULL: not known */
    float *square;   /* the mean square of each channel; NULL: not known */
};

struct quant_ranges {
    struct arena arena; /* owns the arrays */
    struct quant_value_range *values;
    int value_count;
    /* 0: all channels of a tensor have its range; 1: each has its own; between them the geometric
     * mean with these weights. */
    float share;
};

/* Room for every value of the graph, of which nothing is known yet. share is 1. */
unet_status quant_ranges_create(const struct graph *graph, struct quant_ranges *ranges,
                                unet_error *error);
/* A zeroed array of the arena for one of a value's members; NULL on lack of memory. */
float *quant_ranges_array(struct quant_ranges *ranges, int channels);
/* Ranges of a value and its channels, from a histogram a channel. Of entropy, which takes too long
 * for thousands of channels, these have mse's. A value that is never active has the range 1.
 * Whether a value may be negative, and so has fewer levels, follows from the graph. */
unet_status quant_ranges_set(struct quant_ranges *ranges, const struct graph *graph, int value,
                             enum quant_method method, const struct quant_histogram *histograms,
                             unet_error *error);
void quant_ranges_clear(struct quant_ranges *ranges);

/* What a channel is given: its share of both ranges, and never less than 1/256 of the tensor's: one
 * that slept through the calibration may wake up. */
float quant_channel_range(const struct quant_ranges *ranges, int value, int channel);

#endif
