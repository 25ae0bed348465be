/* libunet: runs trained U-Nets for semantic segmentation.
 *
 * The way of the data, and of this file:
 *
 *     unet_model ──unet_build──► unet_engine ──► unet_session ──unet_predict──► unet_prediction
 *     .pth .wts .safetensors     a file, mapped   one a thread   image in        mask out
 *
 * Conventions that hold for every function:
 *  - A function that can fail returns unet_status and takes `unet_error *error` last. `error` may
 *    be NULL. On failure it holds one line that names the file or layer, what is wrong and what to
 *    do; on success it is left untouched. Out-parameters are written on success only.
 *  - A `*_close` function takes the address of the handle, frees it and sets it to NULL. NULL, and
 *    the address of NULL, are accepted.
 *  - Option structs begin with `size`, which the caller sets to sizeof(struct); the _INIT macros
 *    do so. A member that is zero takes its default. A library that is older than the caller
 *    accepts the larger struct if the members that it does not know are zero (else
 *    UNET_ERROR_USAGE); a newer library takes missing members as zero.
 *  - NULL options mean all defaults. Strings are UTF-8 paths or names, terminated by NUL.
 *  - Thread-safety: distinct objects may be used by distinct threads at the same time. A const
 *    object may be shared by any number of threads; anything else by one at a time.
 *  - The library never prints, aborts, exits or changes process-wide state.
 *
 * Functions marked [build] are in libunet only; all others are in libunet-runtime too, which holds
 * what a deployed program needs and neither reads checkpoints nor builds engines. */
#ifndef UNET_H
#define UNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UNET_VERSION_MAJOR 0
#define UNET_VERSION_MINOR 1
#define UNET_VERSION_PATCH 0

#if defined(__GNUC__) && __GNUC__ >= 4
#define UNET_API __attribute__((visibility("default")))
#else
#define UNET_API
#endif

/* ---------------------------------------------------------------- status */

typedef enum unet_status {
    UNET_OK = 0,
    UNET_ERROR_USAGE,     /* an argument or option is out of range or contradicts another */
    UNET_ERROR_MODEL,     /* a checkpoint, engine or table cannot be read or used */
    UNET_ERROR_INPUT,     /* an image, label or array cannot be read or used */
    UNET_ERROR_OUTPUT,    /* a file cannot be written: no space, no permission, not a folder */
    UNET_ERROR_MEMORY,    /* memory could not be allocated */
    UNET_ERROR_DEVICE,    /* this machine lacks the device, instructions or precision asked for */
    UNET_ERROR_CANCELLED, /* a callback asked to stop */
} unet_status;

typedef struct unet_error {
    unet_status status;
    char message[1024]; /* one line, no newline at the end; long parts are cut */
} unet_error;

/* "model error", "out of memory", …: a static string, for any value. */
UNET_API const char *unet_status_name(unet_status status);

/* "0.1.0": a static string, the version of the library that runs. */
UNET_API const char *unet_version(void);

/* ---------------------------------------------------------------- tensors of a checkpoint */

typedef enum unet_dtype {
    UNET_F32 = 0,
    UNET_F16,
    UNET_BF16,
    UNET_F64,
    UNET_U8,
    UNET_I8,
    UNET_I16,
    UNET_I32,
    UNET_I64,
    UNET_BOOL,
} unet_dtype;

#define UNET_MAX_RANK 8

/* One named tensor of a model. The pointers belong to the model and live as long as it. */
typedef struct unet_tensor {
    const char *name;
    unet_dtype dtype;
    int rank;
    int64_t shape[UNET_MAX_RANK];
    const void *data; /* contiguous, row-major, native byte order */
    size_t bytes;
} unet_tensor;

/* Bytes of one value; 0 for a dtype that does not exist. */
UNET_API size_t unet_dtype_size(unet_dtype dtype);
/* "float32", "bfloat16", …: a static string. */
UNET_API const char *unet_dtype_name(unet_dtype dtype);

/* ---------------------------------------------------------------- model [build] */

/* A trained checkpoint: its tensors, in the file's order. Immutable once open. */
typedef struct unet_model unet_model;

typedef struct unet_model_info {
    size_t size;
    const char *format;         /* "pth", "wts" or "safetensors": a static string */
    size_t tensor_count;        /* num_batches_tracked counts too */
    int64_t parameter_count;    /* as PyTorch counts: without batch norm's running statistics */
    size_t mask_value_count;    /* 0 where the checkpoint holds no mask_values */
    int mask_value_channels;    /* 1: grey values; 3: RGB triples */
    const uint8_t *mask_values; /* count × channels; belongs to the model */
} unet_model_info;

/* What network the tensors are. */
typedef struct unet_network_info {
    size_t size;
    const char *architecture; /* "unet-bilinear-old", "unet-bilinear", "unet-transposed",
                                 "brain-segmentation": a static string */
    int in_channels, classes, width;
    bool conv_bias;
} unet_network_info;

/* [build] Reads a .pth (zip or the older format), .wts or .safetensors; the content decides, not
 * the name. The file is data: nothing in it is executed. Errors: MODEL (cannot be opened or read,
 * names what is wrong and where), MEMORY. */
UNET_API unet_status unet_model_open(const char *path, unet_model **model, unet_error *error);

/* [build] Compares every checksum of the file, of parts that no tensor uses too (an optimizer's
 * state), and counts them; 0 where the format has none or they were not recorded. unet_model_open
 * compares those of what it uses. MODEL names the first that differs. */
UNET_API unet_status unet_model_verify(const char *path, size_t *checksums, unet_error *error);

/* [build] `info->size` must be set (else USAGE). */
UNET_API unet_status unet_model_get_info(const unet_model *model, unet_model_info *info,
                                         unet_error *error);

/* [build] Recognises the network from names and shapes alone. MODEL where it is none that is
 * known: the message names the first tensor that does not fit and what was expected. */
UNET_API unet_status unet_model_recognize(const unet_model *model, unet_network_info *info,
                                          unet_error *error);

/* [build] The tensor at `index` in the file's order. USAGE if index >= tensor_count. */
UNET_API unet_status unet_model_get_tensor(const unet_model *model, size_t index,
                                           unet_tensor *tensor, unet_error *error);

/* [build] Writes the tensors as .wts or .safetensors: the extension of `path` decides (USAGE for
 * another). .wts holds float32 alone; other types are converted. Whole or not at all: OUTPUT. */
UNET_API unet_status unet_model_save(const unet_model *model, const char *path, unet_error *error);

/* [build] */
UNET_API void unet_model_close(unet_model **model);

/* ---------------------------------------------------------------- preprocessing */

#define UNET_MAX_MEAN_CHANNELS 16 /* of UNET_NORMALIZE_MEAN_STD */

typedef enum unet_normalize {
    UNET_NORMALIZE_DEFAULT = 0, /* what the network was trained with: 255, zscore for brain */
    UNET_NORMALIZE_255,         /* v / 255 if any value of the image is above 1, else v */
    UNET_NORMALIZE_ZSCORE,      /* (v − mean) / standard deviation of the image, all channels */
    UNET_NORMALIZE_MEAN_STD,    /* (v / 255 − mean[c]) / std[c] */
} unet_normalize;

/* How pixels become the network's input. It is stored in the engine. For 16-bit images v / 65535
 * takes the place of v / 255. */
typedef struct unet_preprocess {
    size_t size;
    unet_normalize normalize;
    float mean[UNET_MAX_MEAN_CHANNELS], std[UNET_MAX_MEAN_CHANNELS];
    double scale; /* 0 or 1: the image's own size; else int(scale·w) × int(scale·h), bicubic */
} unet_preprocess;

/* ---------------------------------------------------------------- engine */

typedef struct unet_engine unet_engine;

typedef enum unet_precision {
    UNET_PRECISION_AUTO = 0, /* the fastest inside the budget; without images or a table: fp32 */
    UNET_PRECISION_FP32,
    /* Tensors between layers and the weights that meet them are bfloat16, sums float32. DEVICE
     * where the machine has no fast bfloat16; an engine of it that comes there runs in fp32. */
    UNET_PRECISION_BF16,
    /* Most tensors between layers are bytes: those of layers where that is faster, and inside the
     * budget of changed pixels. It needs calibration: images or a table. */
    UNET_PRECISION_INT8,
    /* Of GPUs alone: tensors are float32, and what is multiplied is rounded to 11 significant
     * bits. */
    UNET_PRECISION_TF32,
    /* Of GPUs alone: as BF16, with IEEE 754's 16-bit numbers: 11 significant bits, up to 65504. */
    UNET_PRECISION_FP16,
    /* Of GPUs alone, from compute capability 8.9 on: as INT8, with e4m3 in the place of bytes: 4
     * significant bits, up to 448. Its masks differ more than INT8's. An engine of it that comes to
     * another machine runs in bf16 or fp32. */
    UNET_PRECISION_FP8,
} unet_precision;

/* A line for the user: what was refused and why, a repacking, a default that matters.
 * `level`: 0 notice, 1 detail (only worth showing when asked for). Not called concurrently. */
typedef void (*unet_log_function)(void *user, int level, const char *line);

/* How a layer's kernel is found where several can run it. */
typedef enum unet_timing {
    UNET_TIMING_ON = 0, /* the fastest when timed here, at the size to tune for: takes seconds */
    UNET_TIMING_OFF,    /* the first in the order of preference: at once, and always the same */
} unet_timing;

/* How the range of a tensor that is stored in 8 bits follows from what calibration counted. */
typedef enum unet_calibration {
    UNET_CALIBRATION_AUTO = 0,   /* of each tensor the one whose error does the least harm */
    UNET_CALIBRATION_ENTROPY,    /* least Kullback-Leibler divergence */
    UNET_CALIBRATION_MSE,        /* least mean square of rounding and clipping errors */
    UNET_CALIBRATION_PERCENTILE, /* 99.99% of the values lie inside */
    UNET_CALIBRATION_MINMAX,     /* all of them do */
} unet_calibration;

typedef struct unet_calibration_progress {
    size_t size;
    size_t done, skipped, total; /* images that were used; that could not be; all */
    double seconds_left;         /* at most: it may stop early; 0: not known yet */
    const char *next;            /* the image that comes next; NULL: calibration is over */
} unet_calibration_progress;

/* Called before each image and after the last one, from the thread that called unet_build. False
 * ends the build: CANCELLED. */
typedef bool (*unet_calibration_function)(void *user, const unet_calibration_progress *progress);

/* The precision that a layer reads its inputs in, whatever the budget says. */
typedef struct unet_keep {
    const char *layer;        /* as unet_layer_info names it: "up4.conv.double_conv.0" */
    unet_precision precision; /* not AUTO */
} unet_keep;

/* What a build of INT8, FP8 or AUTO measured: see unet_build_report_get_info. */
typedef struct unet_build_report unet_build_report;

typedef struct unet_build_options {
    size_t size;
    unet_precision precision;
    int height, width; /* the size to tune for; 0: 512×512. Any size runs. */
    unet_preprocess preprocess;
    unet_log_function log;
    void *log_user;
    unet_timing timing;
    int threads; /* that kernels are timed with; 0: what affinity and the cgroup quota allow */
    const char *timing_cache; /* a file; NULL: none. What it knows is not timed again, what is timed
                                 goes into it; made where it is not there. Not with TIMING_OFF. */

    /* Of INT8 and FP8, which need images or a table that is there (else USAGE), and of AUTO. */
    const char *const *calibration_images; /* paths of what unet_predict and unet_predict_array
                                              take, preprocessed as they do. Where height and width
                                              are given, images are resized to them instead of
                                              scaled. One that cannot be used is named in a notice;
                                              INPUT where none can. */
    size_t calibration_count;
    unet_calibration calibration_method;
    bool calibrate_all;            /* else calibration ends once all ranges stand still */
    const char *calibration_table; /* a file; NULL: none. Used where it is there, in place of
                                      images; else written after calibration. */
    unet_calibration_function calibration_progress;
    void *calibration_progress_user;

    /* The budget: so many percent of the pixels may get another class than in fp32, four times as
     * many of a single image's, and no class that is present may have an IoU below 0.90 against
     * fp32. It is judged on a quarter of the images, from 2 to 8, which do not set ranges. 0: 0.3.
     * For none at all give less than one pixel is. USAGE where it cannot be met. */
    double max_flips;
    const unet_keep *keep;
    size_t keep_count;
    unet_build_report **report; /* NULL: not wanted. Gets one, to be closed by the caller */

    /* What the engine is to run on: "cpu"; "cuda", "cuda:N", a GPU; "auto", the first GPU where
     * there is one. NULL: "cpu". DEVICE where it is not there. The engine runs on others too, where
     * its kernels are chosen anew. */
    const char *device;
    int batch; /* images at a time to tune for, on a GPU; 0: 1 */
} unet_build_options;

#define UNET_BUILD_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .size = sizeof(unet_build_options), .preprocess = {.size = sizeof(unet_preprocess) }       \
    }

/* [build] Recognises the network, optimises its graph, chooses kernels and packs weights for this
 * machine. The engine is independent of the model, which may be closed. Equal models and options
 * give equal bytes if kernels are not timed, or if the timing cache knew them all; times differ a
 * little from build to build, and so may the choice between kernels that are about as fast. Errors:
 * MODEL (not a known network; NaN or infinite weights, names the layer; a timing cache that is
 * broken, names file and line), USAGE, DEVICE, MEMORY, OUTPUT (the timing cache cannot be
 * written). */
UNET_API unet_status unet_build(const unet_model *model, const unet_build_options *options,
                                unet_engine **engine, unet_error *error);

/* [build] The same network with its kernels timed anew where the engine runs by now (see
 * unet_engine_options.device), for engines that were built on another machine or without timing.
 * Types, ranges and preprocessing are the engine's: USAGE where the options ask for others. Of the
 * size to tune for the default is the engine's; `device` is not looked at. Errors: as unet_build
 * and unet_engine_verify. */
UNET_API unet_status unet_engine_retime(const unet_engine *engine,
                                        const unet_build_options *options, unet_engine **retimed,
                                        unet_error *error);

typedef struct unet_build_report_info {
    size_t size;
    size_t layer_count;
    size_t calibration_images, judged_images; /* 0: a table took their place */
    const char *precision;    /* of the engine: its narrowest tensors', "int8", "fp8", "fp32" */
    const char *instructions; /* of 8-bit products: "avx512_vnni", "sm_90"; "": none are fast */
    const char *method;       /* "entropy", …; "table" */
    double share;             /* of a channel's own range beside its tensor's, 0 to 1 */
    double max_flips;         /* percent; as the next two, which are NaN where no image judged */
    double flips, worst_image_flips;
    double least_iou;    /* NaN: not measured */
    double milliseconds; /* the network at the size to tune for; 0: not timed */
    const char *wider;   /* what it was timed against: "bf16" or "fp32"; "": nothing */
    double wider_milliseconds;
    int evaluations; /* plans whose masks were compared */
} unet_build_report_info;

typedef struct unet_layer_report {
    size_t size;
    const char *name;
    const char *precision; /* that it reads: "int8", "fp8", "bf16", "fp32" */
    const char *kernel;
    double range;              /* of what it writes, in float32's units; 0: not known */
    double milliseconds;       /* alone, as it was timed */
    double milliseconds_saved; /* against the wider precision; 0 where it has that */
    double flips; /* percent of the pixels that it flips: so many fewer flip where this layer alone
                     has the wider precision. NaN: not measured */
} unet_layer_report;

/* [build] Strings belong to the report. USAGE. */
UNET_API unet_status unet_build_report_get_info(const unet_build_report *report,
                                                unet_build_report_info *info, unet_error *error);
UNET_API unet_status unet_build_report_get_layer(const unet_build_report *report, size_t index,
                                                 unet_layer_report *layer, unet_error *error);
/* [build] Writes it as JSON, whole or not at all. OUTPUT. */
UNET_API unet_status unet_build_report_save(const unet_build_report *report, const char *path,
                                            unet_error *error);
UNET_API void unet_build_report_close(unet_build_report **report);

/* Writes the engine file, whole or not at all. docs/engine-format.md specifies it. OUTPUT. */
UNET_API unet_status unet_engine_save(const unet_engine *engine, const char *path,
                                      unet_error *error);

typedef struct unet_engine_options {
    size_t size;
    unet_log_function log; /* told when weights are repacked for this machine */
    void *log_user;
    /* "cpu", "cuda", "cuda:N" or "auto", as unet_build_options has it. NULL: what the engine was
     * built for; where that is a GPU and there is none, the CPU, which a notice tells. Precisions
     * that a machine lacks are widened to fp32, fp8 to bf16 where there is that, which a notice
     * tells too. */
    const char *device;
} unet_engine_options;

#define UNET_ENGINE_OPTIONS_INIT                                                                   \
    {                                                                                              \
        .size = sizeof(unet_engine_options)                                                        \
    }

/* Maps an engine file and checks every section that this machine uses. The file must not be
 * modified while the engine is open (replacing it is fine). Errors: MODEL (not an engine, another
 * version, damaged: names the section), MEMORY, DEVICE (the device that the options name is not
 * there, or runs no int8 where the engine needs that), USAGE. */
UNET_API unet_status unet_engine_open(const char *path, const unet_engine_options *options,
                                      unet_engine **engine, unet_error *error);

/* Checks the hash of every section, used or not. MODEL names the first damaged one. */
UNET_API unet_status unet_engine_verify(const unet_engine *engine, unet_error *error);

/* True if the file begins with the engine magic. A file that cannot be read is none. */
UNET_API bool unet_is_engine_file(const char *path);

typedef struct unet_engine_info {
    size_t size;
    const char *architecture;
    const char *precision; /* as it runs here: "fp32", "bf16" */
    const char *built_for; /* what the packed weights are for: the CPU's "avx512"; "cuda sm_90" */
    bool repacked;         /* packed weights were made anew in memory for this machine */
    int format_version;
    int in_channels, classes;
    int tuned_height, tuned_width;
    int64_t parameter_count;
    size_t file_bytes;
    size_t layer_count;
    unet_preprocess preprocess;
    size_t mask_value_count;
    int mask_value_channels;
    const uint8_t *mask_values;
    const char *built_precision; /* as it was built. A machine without fast bf16 runs it in fp32 */
    const char *device;          /* where it runs: "cpu", "cuda:0" */
    const char *device_name;     /* "NVIDIA H200"; "" for the CPU */
} unet_engine_info;

UNET_API unet_status unet_engine_get_info(const unet_engine *engine, unet_engine_info *info,
                                          unet_error *error);

/* One layer of the optimised graph as it will run. Strings belong to the engine. */
typedef struct unet_layer_info {
    size_t size;
    const char *name;   /* the checkpoint's name: "down1.maxpool_conv.1.double_conv.0" */
    const char *op;     /* "conv", "conv_transpose", "upsample", … */
    const char *fused;  /* "relu+pool", "relu+head", "" */
    const char *kernel; /* "conv3x3.direct.avx512" */
    int in_channels, out_channels;
    size_t weight_bytes; /* packed */
    const char *type;    /* what its tensor is stored as: "fp32", "bf16" */
} unet_layer_info;

UNET_API unet_status unet_engine_get_layer(const unet_engine *engine, size_t index,
                                           unet_layer_info *info, unet_error *error);

UNET_API void unet_engine_close(unet_engine **engine);

/* ---------------------------------------------------------------- session */

/* Memory and threads to run an engine; on a GPU a stream. One thread at a time uses a session; any
 * number of sessions share an engine, which must outlive them, and run side by side. */
typedef struct unet_session unet_session;

typedef struct unet_session_options {
    size_t size;
    int threads;  /* 0: what affinity and the cgroup quota allow */
    bool profile; /* time every layer */
} unet_session_options;

#define UNET_SESSION_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(unet_session_options)                                                       \
    }

/* Errors: MEMORY, USAGE, DEVICE. */
UNET_API unet_status unet_session_create(const unet_engine *engine,
                                         const unet_session_options *options,
                                         unet_session **session, unet_error *error);

/* Books all memory for this size, so that the next runs at it allocate nothing; on a GPU, of one
 * image. A run at another size or of more images does this by itself. Memory grows to the largest
 * size seen and is reused for smaller ones.
 * Errors: USAGE (a side below 1 or above 32768), MEMORY. */
UNET_API unet_status unet_session_reserve(unet_session *session, int height, int width,
                                          unet_error *error);

/* Runs the network. `input`: float32 batch × in_channels × height × width, contiguous.
 * `logits`: float32 batch × classes × height × width, contiguous, before softmax or sigmoid; must
 * not overlap `input`. The bits do not depend on the number of threads. A GPU runs the batch at
 * once, or in parts where that is large or memory short. Errors: as reserve; DEVICE. */
UNET_API unet_status unet_session_run(unet_session *session, const float *input, int batch,
                                      int height, int width, float *logits, unet_error *error);

/* Enqueues a run and returns, on a GPU at once: `input` and `logits`, as above, are in the device's
 * memory (unet_device_memory_new's, or of any other program part that shares the device's address
 * space), and must stay as they are until unet_session_wait. Runs of a session are executed in
 * order. Nothing is copied; so `batch` is not divided: MEMORY where it does not fit. With equal
 * arguments nothing is prepared twice. On the CPU this is unet_session_run. */
UNET_API unet_status unet_session_enqueue(unet_session *session, const float *input, int batch,
                                          int height, int width, float *logits, unet_error *error);
/* Until all that was enqueued has run. DEVICE where some of it failed. */
UNET_API unet_status unet_session_wait(unet_session *session, unet_error *error);

/* Memory where the session's tensors lie: the GPU's, or of a session on the CPU the host's. It must
 * be freed before the session is closed. The copies wait until all that was enqueued has run, and
 * they too. MEMORY, DEVICE, USAGE. */
UNET_API unet_status unet_device_memory_new(unet_session *session, size_t bytes, void **memory,
                                            unet_error *error);
UNET_API void unet_device_memory_free(unet_session *session, void *memory);
UNET_API unet_status unet_device_memory_write(unet_session *session, void *memory, const void *from,
                                              size_t bytes, unet_error *error);
UNET_API unet_status unet_device_memory_read(unet_session *session, const void *memory, void *to,
                                             size_t bytes, unet_error *error);

/* The mean of each layer since the last reset; sessions made with `profile` only (else USAGE). */
typedef struct unet_layer_profile {
    size_t size;
    const char *name, *kernel;
    double
        milliseconds; /* of one image; 0 for "input" where the first convolution reads the input */
    double flops;     /* of one image: 2 × multiply-adds of the layer as the network defines it */
    double bytes; /* of one image: tensors read and written once, and its share of the weights */
    double
        peak; /* flops a second that the layer's instructions reach at best on this session's
                 threads, as unet_session_measure_peak found; 0: it was not asked, or not known */
} unet_layer_profile;

UNET_API unet_status unet_session_get_profile(const unet_session *session, size_t index,
                                              unet_layer_profile *profile, unet_error *error);
UNET_API void unet_session_reset_profile(unet_session *session);

/* On the CPU: measures, on all of the session's threads at once, how fast the instructions of its
 * kernels multiply and add with nothing to wait for: some 10 ms for each kind. On a GPU: what large
 * matrix products of a layer's type reach there by cuBLAS, where that is installed. A machine's
 * clock changes with its load, so call it before and after what is to be compared: the best of all
 * calls counts. A layer may be above its peak: Winograd's method does fewer multiplications than
 * `flops` counts. USAGE. */
UNET_API unet_status unet_session_measure_peak(unet_session *session, unet_error *error);

typedef struct unet_session_info {
    size_t size;
    int threads;
    size_t activation_bytes; /* booked now for tensors and scratch; on a GPU also for its copies of
                                inputs and logits */
    size_t weight_bytes;     /* packed weights in use */
    size_t layer_count;
} unet_session_info;

UNET_API unet_status unet_session_get_info(const unet_session *session, unet_session_info *info,
                                           unet_error *error);

UNET_API void unet_session_close(unet_session **session);

/* ---------------------------------------------------------------- images */

/* Pixels, interleaved row by row without padding: height × width × channels of uint8_t (bits 8) or
 * native uint16_t (bits 16). channels: 1 grey, 3 RGB; others, up to UNET_MAX_CHANNELS, for networks
 * that take just so many. The library makes images with
 * unet_image_load and unet_image_new and frees them with unet_image_clear; a caller may also point
 * `pixels` at memory of its own, and then must not clear it. */
typedef struct unet_image {
    int width, height, channels, bits;
    void *pixels;
} unet_image;

/* Sides above this, or more pixels than UNET_MAX_PIXELS, are refused. */
#define UNET_MAX_SIDE     32768
#define UNET_MAX_PIXELS   (1 << 28)
#define UNET_MAX_CHANNELS 16

/* Decodes PNG, JPEG or TIFF; the content decides. As Pillow's convert('RGB') does: palettes are
 * looked up, alpha is dropped, CMYK is converted, a TIFF is turned by its Orientation tag while
 * EXIF's is ignored; grey stays one channel, 1-bit becomes 0 and 255, 16 bits stay 16. Of an
 * animated PNG its default picture is taken; a TIFF of several pages is refused (smaller versions
 * and masks of the first page are none). INPUT, MEMORY. */
UNET_API unet_status unet_image_load(const char *path, unet_image *image, unet_error *error);

/* The same from memory; `name` is used in messages. */
UNET_API unet_status unet_image_decode(const void *data, size_t bytes, const char *name,
                                       unet_image *image, unet_error *error);

/* A label or mask: as unet_image_load, but palette images give their indices, and the result
 * always has one channel and 8 bits. INPUT if the image is RGB or has 16 bits. */
UNET_API unet_status unet_label_load(const char *path, unet_image *label, unet_error *error);

UNET_API unet_status unet_image_new(int width, int height, int channels, int bits,
                                    unet_image *image, unet_error *error);

/* Pillow's resize(BICUBIC), to the bit for 8-bit images; in float32 for 16-bit ones. */
UNET_API unet_status unet_image_resize(const unet_image *image, int width, int height,
                                       unet_image *out, unet_error *error);

/* Frees the pixels and sets the struct to zero. */
UNET_API void unet_image_clear(unet_image *image);

/* True if the extension is one that unet_image_load reads (.png .jpg .jpeg .tif .tiff), in any
 * case: for choosing files in a folder. */
UNET_API bool unet_is_image_name(const char *path);

/* PNG writers: whole or not at all; missing folders are made. OUTPUT, MEMORY.
 *  mask:    8-bit grey, pixel = class index.
 *  color:   the same indices with a palette.
 *  overlay: the palette's colours at 45% over the image.
 *  values:  the checkpoint's mask_values in the classes' place; grey or RGB. */
UNET_API unet_status unet_mask_save(const char *path, const unet_image *mask, unet_error *error);
UNET_API unet_status unet_color_save(const char *path, const unet_image *mask, unet_error *error);
UNET_API unet_status unet_overlay_save(const char *path, const unet_image *image,
                                       const unet_image *mask, unet_error *error);
UNET_API unet_status unet_values_save(const char *path, const unet_image *mask,
                                      const uint8_t *values, size_t count, int channels,
                                      unet_error *error);

/* The colour of a class in color and overlay; class 0 is black and transparent in overlays. */
UNET_API void unet_class_color(int class_index, uint8_t rgb[3]);

/* ---------------------------------------------------------------- .npy arrays */

typedef struct unet_array {
    unet_dtype dtype; /* UNET_F32 or UNET_U8 or UNET_I16…; what the file holds */
    int rank;
    int64_t shape[UNET_MAX_RANK];
    void *data; /* contiguous, row-major, native byte order */
} unet_array;

/* Reads a .npy file, versions 1 to 3, either byte order, C or Fortran order. INPUT, MEMORY. */
UNET_API unet_status unet_array_load(const char *path, unet_array *array, unet_error *error);
/* Writes version 1.0, whole or not at all. OUTPUT. */
UNET_API unet_status unet_array_save(const char *path, const unet_array *array, unet_error *error);
UNET_API void unet_array_clear(unet_array *array);

/* ---------------------------------------------------------------- prediction */

typedef struct unet_predict_options {
    size_t size;
    double scale;          /* 0: the engine's; else overrides it */
    double threshold;      /* one-class networks: sigmoid > threshold; 0: 0.5 */
    bool range_set;        /* map [low, high] of the pixel values to [0, 1] before normalising */
    bool range_percentile; /* low and high are percentiles of the image, 0 to 100 */
    double range_low, range_high;
    bool want_logits; /* fill prediction.logits */
    bool want_prob;   /* fill prediction.prob: softmax, or sigmoid for one class */
} unet_predict_options;

#define UNET_PREDICT_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(unet_predict_options)                                                       \
    }

typedef struct unet_prediction {
    int width, height, classes; /* the input's size; a one-class network gives masks of 0 and 1 */
    uint8_t *mask;              /* height × width, the class index */
    float *logits;              /* classes × height × width, or NULL */
    float *prob;                /* classes × height × width, or NULL */
} unet_prediction;

/* Preprocesses as the engine says, runs, resizes the logits to the image's size where a scale was
 * used, and picks the classes (argmax; the lower index wins a tie). `session` is used by one thread
 * at a time. Errors: INPUT (channels that do not fit: the message says which), MEMORY, USAGE. */
UNET_API unet_status unet_predict(unet_session *session, const unet_image *image,
                                  const unet_predict_options *options, unet_prediction *prediction,
                                  unet_error *error);

/* The same for an array: float32 C×H×W is fed as it is (H×W too where the network has one
 * channel); uint8 H×W×C or H×W is an image. INPUT for any other, and for NaN or infinite values. */
UNET_API unet_status unet_predict_array(unet_session *session, const unet_array *array,
                                        const unet_predict_options *options,
                                        unet_prediction *prediction, unet_error *error);

UNET_API void unet_prediction_clear(unet_prediction *prediction);

/* ---------------------------------------------------------------- scores */

#define UNET_MAX_CLASSES 256

/* counts[truth × classes + predicted] */
typedef struct unet_confusion {
    int classes;
    uint64_t *counts;
} unet_confusion;

UNET_API unet_status unet_confusion_new(int classes, unet_confusion *confusion, unet_error *error);
/* Adds `pixels` pairs; truth == ignore is passed over (−1: none is). INPUT if a truth or a
 * prediction is no class: the message names the value. */
UNET_API unet_status unet_confusion_add(unet_confusion *confusion, const uint8_t *truth,
                                        const uint8_t *predicted, size_t pixels, int ignore,
                                        unet_error *error);
/* Of one class: TP/(TP+FP+FN) and 2TP/(2TP+FP+FN); NaN where the class is nowhere. */
UNET_API double unet_confusion_iou(const unet_confusion *confusion, int class_index);
UNET_API double unet_confusion_dice(const unet_confusion *confusion, int class_index);
/* Recall of one class: TP/(TP+FN); NaN where the truth has none. */
UNET_API double unet_confusion_recall(const unet_confusion *confusion, int class_index);
/* Over the classes that are somewhere (truth or prediction). */
UNET_API double unet_confusion_mean_iou(const unet_confusion *confusion);
/* The share of pixels on the diagonal. */
UNET_API double unet_confusion_accuracy(const unet_confusion *confusion);
UNET_API void unet_confusion_clear(unet_confusion *confusion);

/* ---------------------------------------------------------------- flips */

/* A flip is a pixel to which a mask gives another class than a reference does: the mask of the same
 * network in float32, for example. It is near a boundary if the reference's mask holds another
 * class than the pixel's own at most UNET_FLIP_REACH columns and UNET_FLIP_REACH rows away (a
 * Chebyshev distance; what lies outside the mask does not count). Flips there move an edge; others
 * are another answer. */
#define UNET_FLIP_REACH 2

typedef struct unet_flip_counts {
    uint64_t pixels, flips, near_boundary;
} unet_flip_counts;

/* What may be judged of a network without labels. Read it freely; unet_flips_add writes it. */
typedef struct unet_flips {
    unet_flip_counts total;
    size_t images;      /* pairs of masks added so far */
    size_t worst_image; /* the pair, counted from 0, of which the largest share flipped; the first
                           of equals */
    double worst_share; /* its flips / its pixels */
    unet_confusion confusion; /* the reference is the truth: IoU and Dice a class */
} unet_flips;

UNET_API unet_status unet_flips_new(int classes, unet_flips *flips, unet_error *error);
/* Adds the masks of one image, height × width class indices each. `counts` may be NULL; else it
 * gets this image's. INPUT if a mask holds a value that is no class: nothing is added then.
 * USAGE. */
UNET_API unet_status unet_flips_add(unet_flips *flips, const uint8_t *reference,
                                    const uint8_t *mask, int width, int height,
                                    unet_flip_counts *counts, unet_error *error);
/* Of all pixels; NaN where there are none yet. */
UNET_API double unet_flips_share(const unet_flips *flips);
/* The share of the flips that are near a boundary; NaN where nothing flipped. */
UNET_API double unet_flips_near_share(const unet_flip_counts *counts);
/* The least IoU of the classes that some reference holds, and which it is of (the first of equals;
 * may be NULL). NaN and −1 where nothing was added. */
UNET_API double unet_flips_least_iou(const unet_flips *flips, int *class_index);
UNET_API void unet_flips_clear(unet_flips *flips);

/* A PNG of where two masks differ: the image in grey and dimmed, flips near a boundary in amber,
 * the others in magenta, each with a halo of its colour, so that a single one is seen. `image` may
 * be NULL: black takes its place. USAGE if sizes or channels do not fit; OUTPUT, MEMORY. */
UNET_API unet_status unet_flips_save(const char *path, const unet_image *image,
                                     const unet_image *reference, const unet_image *mask,
                                     unet_error *error);

/* ---------------------------------------------------------------- machine */

typedef struct unet_machine_info {
    size_t size;
    char cpu[64];           /* the brand string */
    char features[256];     /* names separated by blanks, those that CPU and OS both allow */
    const char *tier;       /* the highest tier that runs: "c", "avx2", "avx512" */
    const char *tier_limit; /* UNET_CPU's value, or NULL */
    int hardware_threads;   /* what the machine has */
    int usable_threads;     /* what affinity and the cgroup quota allow */
    double cgroup_cpus;     /* the quota in CPUs; 0: none */
    uint64_t memory_bytes;
    uint64_t cache_bytes[3];   /* L1d, L2, L3; 0 where unknown */
    char usable_features[256]; /* those of `features` that UNET_CPU leaves */
} unet_machine_info;

/* Errors: USAGE if the environment variable UNET_CPU names no tier, nor one with an extension
 * ("avx512_bf16"); lists those there are. */
UNET_API unet_status unet_machine_get_info(unet_machine_info *info, unet_error *error);

typedef struct unet_kernel_info {
    size_t size;
    const char *name;    /* "conv3x3.direct.avx512" */
    const char *needs;   /* "avx512f", … "" */
    const char *refused; /* why it cannot run here; NULL: it can */
} unet_kernel_info;

UNET_API size_t unet_kernel_count(void);
UNET_API unet_status unet_kernel_get(size_t index, unet_kernel_info *info, unet_error *error);

typedef struct unet_device_info {
    size_t size;
    char id[16];                  /* "cuda:0": what `device` takes */
    char name[64];                /* "NVIDIA H200" */
    char architecture[16];        /* "sm_90" */
    char driver[24], runtime[24]; /* versions: "13.0" */
    char libraries[64];           /* that kernels use: "cudnn 9.15.0"; "" */
    char precisions[64];          /* "fp32, tf32, fp16 and bf16" */
    int multiprocessors;
    uint64_t memory_bytes, l2_bytes;
    size_t kernel_count;
} unet_device_info;

/* GPUs of this machine. DEVICE says why there is none. */
UNET_API unet_status unet_device_count(int *count, unet_error *error);
/* DEVICE, MEMORY. */
UNET_API unet_status unet_device_get_info(int device, unet_device_info *info, unet_error *error);
/* As unet_kernel_get; the texts live until this thread's next call. */
UNET_API unet_status unet_device_get_kernel(int device, size_t index, unet_kernel_info *info,
                                            unet_error *error);

#ifdef __cplusplus
}
#endif
#endif
