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
 * luma as the network needs, resized by preprocess->scale, normalised. Allocates *tensor.
 * Order: convert as Pillow, resize (bicubic), range, normalise.
 * INPUT: an image whose channels do not fit the network (neither 1 nor 3 wanted), or an empty size
 * after scaling. */
unet_status image_to_tensor(const unet_image *image, const unet_preprocess *preprocess,
                            const struct pixel_range *range, int channels, float **tensor,
                            int *height, int *width, unet_error *error);

/* PyTorch's interpolate(mode="bilinear", align_corners=False): planar channels × h × w. */
unet_status tensor_resize_bilinear(const float *in, int channels, int height, int width,
                                   float *out, int out_height, int out_width, unet_error *error);

/* argmax over classes; for one class sigmoid(logit) > threshold. */
void logits_to_mask(const float *logits, int classes, size_t pixels, double threshold,
                    uint8_t *mask);
/* softmax over classes; for one class the sigmoid. `prob` may be `logits`. */
void logits_to_prob(const float *logits, int classes, size_t pixels, float *prob);

#endif
