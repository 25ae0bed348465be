/* The calibration table: a text file as TensorRT writes it,
 *
 *     TRT-7000-EntropyCalibration2
 *     inc.double_conv.2: 3c88edfc
 *
 * a line a tensor with its range / 127 as the bits of a float32 in hexadecimal. What TensorRT has
 * no place for stands in lines of the same form, whose names begin with "unet/":
 *
 *     unet/range/TENSOR            the range itself: the quotient above is rounded
 *     unet/range/TENSOR/CHANNEL    of a channel; 0: never active
 *     unet/mean/TENSOR/CHANNEL     unet/square/TENSOR/CHANNEL    mean, mean square
 *     unet/share                   as in struct quant_ranges
 *     unet/weights/LAYER           a digest of the weights that were calibrated
 *
 * and whatever a builder puts beside: "unet/flips", "unet/bits/LAYER", of a build of fp8
 * "unet/fp8/flips", …: every value is a finite float. */
#ifndef UNET_QUANT_TABLE_H
#define UNET_QUANT_TABLE_H

#include "base/names.h"
#include "quant/ranges.h"

#define QUANT_TABLE_OWN "unet/" /* begins the names that TensorRT does not know */

struct quant_entry {
    const char *name;
    float value;
    int line; /* in the file; 0: not from there */
};

/* Zero-initialise it. Entries stay in order. */
struct quant_table {
    struct arena arena;
    const char *calibrator; /* "EntropyCalibration2": what the first line says; NULL: that */
    struct quant_entry *entries;
    int count, capacity;
    struct name_index index;
};

/* Reads a whole table into an empty one. MODEL: names path, line and what to do, for a file that is
 * none, a line that is broken or that says what another says, and scales that are not above 0. */
unet_status quant_table_read(struct quant_table *table, const char *path, unet_error *error);
/* Bytes of such a file. */
unet_status quant_table_parse(struct quant_table *table, const char *text, size_t bytes,
                              unet_error *error);
/* OUTPUT. */
unet_status quant_table_write(const struct quant_table *table, const char *path, unet_error *error);

/* Adds an entry or replaces it. MODEL if the name could not be read back. */
unet_status quant_table_put(struct quant_table *table, const char *name, float value,
                            unet_error *error);
bool quant_table_find(const struct quant_table *table, const char *name, float *value);
void quant_table_clear(struct quant_table *table);

/* Puts all that is known of the graph's values, and the digests. The graph is the optimised float32
 * one, here and below. */
unet_status quant_table_put_ranges(struct quant_table *table, const struct graph *graph,
                                   const struct quant_ranges *ranges, unet_error *error);
/* The other way. `ranges` are created here, and empty after a failure. A table without any of this
 * network's names and without lines of libunet's is *foreign: TensorRT's own names for the layers.
 * Such a table is matched by order: unnamed layers, "(Unnamed Layer* 2) [Activation]_output", in
 * the order of their numbers, activations with activations and transposed convolutions with such;
 * others by the sequence of layers that the network comes to. MODEL if the table belongs to another
 * model: names what differs. */
unet_status quant_table_get_ranges(const struct quant_table *table, const struct graph *graph,
                                   struct quant_ranges *ranges, bool *foreign, unet_error *error);

#endif
