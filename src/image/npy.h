/* The header of a .npy file, as numpy's "NPY format" page specifies it. */
#ifndef UNET_IMAGE_NPY_H
#define UNET_IMAGE_NPY_H

#include "base/error.h"

struct npy_header {
    unet_dtype dtype;
    bool swapped; /* the other byte order than this machine's */
    bool fortran; /* the first index runs fastest */
    int rank;
    int64_t shape[UNET_MAX_RANK];
    size_t data_offset;
};

/* INPUT: the message says what is wrong, without the file's name. */
unet_status npy_parse_header(const uint8_t *bytes, size_t size, struct npy_header *header,
                             unet_error *error);

/* A whole file from memory; the message says what is wrong, without the file's name. */
unet_status npy_decode(const uint8_t *bytes, size_t size, unet_array *array, unet_error *error);

/* Room for any header of version 1.0 that this library writes. */
#define NPY_HEADER_MAX 384

/* Writes the header of an array in this machine's byte order, as numpy.save would, and returns its
 * length; 0 for a dtype that .npy lacks. */
size_t npy_write_header(unet_dtype dtype, int rank, const int64_t *shape,
                        char text[NPY_HEADER_MAX]);

#endif
