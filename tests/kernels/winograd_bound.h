/* What the files of Winograd's bounds share: winograd_bound.c tells of it. */
#ifndef UNET_TESTS_KERNELS_WINOGRAD_BOUND_H
#define UNET_TESTS_KERNELS_WINOGRAD_BOUND_H

#include "driver.h"

#define TAPS           3
#define MOST_OUT       6
#define MOST_PATCH     8
#define MOST_POSITIONS (MOST_PATCH * MOST_PATCH)
#define LEAST_NORMAL   0x1p-126

/* |G|, |Bᵀ| and |Aᵀ|, row by row. */
struct magnitudes {
    int out, patch;
    double g[MOST_PATCH * TAPS], b[MOST_POSITIONS], a[MOST_OUT * MOST_PATCH];
};

extern const struct magnitudes winograd_magnitudes[WINOGRAD_SIZES];

/* G, Bᵀ and Aᵀ by Toom and Cook, from the points. */
struct matrices {
    double g[MOST_PATCH * TAPS], b[MOST_POSITIONS], a[MOST_OUT * MOST_PATCH];
};

void make_matrices(int index, struct matrices *to);

/* to = left · middle · leftᵀ; left: rows × inner, middle: inner × inner. */
void sandwich(const double *left, const double *middle, int rows, int inner, double *to);

/* A number of bf16, and how far off what the kernel has instead may be. */
struct rounded {
    double value, error;
};

/* One size of tile on one case. */
struct emulation {
    const struct test_case *test;
    const struct magnitudes *size;
    struct matrices matrices;
    struct rounded *u, *v;         /* of each filter; of each channel at one tile */
    double *v_exact, *v_magnitude; /* of each channel */
    double *u_magnitude;           /* of each filter */
};

/* The patch of each channel at tile (y, x), and V of it. */
void input_patches(const struct emulation *work, int tile_y, int tile_x, double *to);
void exact_input(const struct emulation *work, int tile_y, int tile_x, double *to);

/* One tile, one output channel: where its bounds go, and |U|, |V| of all input channels. */
struct tile_place {
    struct expected *out;
    int o, y, x, channels;
    const double *u, *v;
};

/* In the place of the convolution's values. */
void place_tile(const struct test_case *test, const struct magnitudes *size,
                const struct tile_place *tile, const double *value, const double *bound,
                const double *wide);

/* ---------------------------------------------------------------- winograd_bound_u8.c */

void whole_results(struct test_case *test, int index);

#endif
