/* What predict and the command line need of images beyond the public header: pixels ↔ tensors. */
#ifndef UNET_IMAGE_IMAGE_H
#define UNET_IMAGE_IMAGE_H

#include "base/error.h"

/* The value range that maps to [0, 1] instead of the default /255 or /65535. */
struct pixel_range {
    bool set, percentile;
    double low, high;
};

/* Pixels → planar float32 tensor of `channels` × (out height × out width): converted to RGB or
 * luma as the network needs, resized by preprocess->scale, normalised. Allocates *tensor, which
 * memory_free_aligned frees. UNET_NORMALIZE_DEFAULT is taken as 255. `range` may be NULL.
 * Order: convert as Pillow, resize (bicubic), range, normalise.
 * Percentiles are numpy's (linear), over all channels. A flat image becomes 0 by zscore.
 * INPUT: an image whose channels do not fit the network (neither 1 nor 3 wanted), or a size after
 * scaling that is empty or too large. USAGE: a scale below 0, a range that is upside down or no
 * number, percentiles beyond 0 to 100, a std that is not above 0. */
unet_status image_to_tensor(const unet_image *image, const unet_preprocess *preprocess,
                            const struct pixel_range *range, int channels, float **tensor,
                            int *height, int *width, unet_error *error);

/* An 8-bit image as the network sees it, without planes: of channel c, a pixel's byte c, or its
 * only one where the image is grey, stands for values[256 · c + byte]. */
struct image_pixels {
    unet_image image; /* the caller's where it went unchanged, else `owned` */
    bool owned;
    float *values;
};

/* The same numbers as image_to_tensor's, for 8-bit images alone. *pixels is all zero where it
 * fails. */
unet_status image_to_pixels(const unet_image *image, const unet_preprocess *preprocess,
                            const struct pixel_range *range, int channels,
                            struct image_pixels *pixels, unet_error *error);
void image_pixels_clear(struct image_pixels *pixels);

/* PyTorch's interpolate(mode="bilinear", align_corners=False): planar channels × h × w. */
unet_status tensor_resize_bilinear(const float *in, int channels, int height, int width, float *out,
                                   int out_height, int out_width, unet_error *error);

/* argmax over classes, the lower index wins a tie; for one class sigmoid(logit) > threshold, in
 * float32. A NaN is never greater: it never wins against a class before it, and is 0 where there is
 * one class. At most UNET_MAX_CLASSES classes. */
void logits_to_mask(const float *logits, int classes, size_t pixels, double threshold,
                    uint8_t *mask);
/* The least logit that logits_to_mask finds above the threshold; NaN, which none reaches, if there
 * is none. */
float logit_border(double threshold);
/* softmax over classes; for one class the sigmoid. `prob` may be `logits`. */
void logits_to_prob(const float *logits, int classes, size_t pixels, float *prob);

#endif
