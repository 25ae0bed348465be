/* JPEG through libjpeg-turbo, set so that its pixels equal Pillow's: the accurate integer DCT and
 * the smooth up-sampling of chroma, both of which are its defaults. */
#include "image/decode.h"

#include "base/memory.h"
#include "image/pixels.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

/* A scan can be two bytes and still cost a pass over the whole picture; encoders make about ten. */
#define MAX_SCANS 200

/* Huffman coding spends a bit at least on each block, and a block spans 8×8 pixels, or up to four
 * times as many in each direction where its component is sub-sampled. */
#define MAX_PIXELS_PER_BYTE (8 * 64 * 16)

/* One decoding. Everything that outlives a jump is in here, not in a function's variables. */
struct jpeg_job {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr input;
    struct jpeg_progress_mgr progress;
    const struct image_source *source;
    unet_image image;
    uint8_t *row; /* CMYK of one row */
    jmp_buf jump;
    int error_code; /* of jerror.h; 0: our own */
    char reason[JMSG_LENGTH_MAX];
};

static void fail(struct jpeg_job *job, const char *reason)
{
    snprintf(job->reason, sizeof job->reason, "%s", reason);
    longjmp(job->jump, 1);
}

static void on_error(j_common_ptr jpeg)
{
    struct jpeg_job *job = jpeg->client_data;
    job->error_code = jpeg->err->msg_code;
    jpeg->err->format_message(jpeg, job->reason);
    longjmp(job->jump, 1);
}

/* libjpeg fills missing pixels with grey and goes on; a mask of those would be worth nothing. */
static void on_message(j_common_ptr jpeg, int level)
{
    static const int damage[] = {JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE, JWRN_ARITH_BAD_CODE,
                                 JWRN_MUST_RESYNC, JWRN_JPEG_EOF};
    for (size_t i = 0; level < 0 && i < sizeof damage / sizeof damage[0]; i++) {
        if (jpeg->err->msg_code == damage[i])
            on_error(jpeg);
    }
}

static void on_output(j_common_ptr jpeg)
{
    (void)jpeg;
}

static void on_progress(j_common_ptr jpeg)
{
    struct jpeg_job *job = jpeg->client_data;
    if (job->jpeg.input_scan_number > MAX_SCANS)
        fail(job, "more scans than any encoder makes");
}

/* The whole file was handed over at the start: whoever wants more has reached its end. */
static boolean on_input_end(j_decompress_ptr jpeg)
{
    fail(jpeg->client_data, "the file ends early");
    return FALSE;
}

static void skip_input(j_decompress_ptr jpeg, long count)
{
    struct jpeg_source_mgr *input = jpeg->src;
    if (count <= 0)
        return;
    if ((size_t)count > input->bytes_in_buffer)
        on_input_end(jpeg);
    input->next_input_byte += count;
    input->bytes_in_buffer -= (size_t)count;
}

static void ignore(j_decompress_ptr jpeg)
{
    (void)jpeg;
}

static void attach(struct jpeg_job *job)
{
    job->input = (struct jpeg_source_mgr){
        .next_input_byte = job->source->bytes,
        .bytes_in_buffer = job->source->size,
        .init_source = ignore,
        .fill_input_buffer = on_input_end,
        .skip_input_data = skip_input,
        .resync_to_restart = jpeg_resync_to_restart,
        .term_source = ignore,
    };
    job->jpeg.src = &job->input;
    job->progress.progress_monitor = on_progress;
    job->jpeg.progress = &job->progress;
}

static unet_status check_header(const struct jpeg_job *job, unet_error *error)
{
    const struct jpeg_decompress_struct *jpeg = &job->jpeg;
    TRY(decode_check_size(job->source, "JPEG", jpeg->image_width, jpeg->image_height, error));
    uint64_t pixels = (uint64_t)jpeg->image_width * jpeg->image_height;
    if (!jpeg->arith_code && pixels / MAX_PIXELS_PER_BYTE > job->source->size)
        return decode_damaged(job->source, "JPEG", "too few bytes for its size", error);
    int components = jpeg->num_components;
    if (components != 1 && components != 3 && components != 4)
        return decode_unsupported(job->source, "JPEG", "other than 1, 3 or 4 components",
                                  "grey or RGB", error);
    return UNET_OK;
}

static unet_status start(struct jpeg_job *job, unet_error *error)
{
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    static const J_COLOR_SPACE wanted[5] = {0, JCS_GRAYSCALE, 0, JCS_RGB, JCS_CMYK};
    int components = jpeg->num_components;
    jpeg->out_color_space = wanted[components];
    jpeg->dct_method = JDCT_ISLOW;
    jpeg->do_fancy_upsampling = TRUE;
    TRY(image_allocate((int)jpeg->image_width, (int)jpeg->image_height, components == 1 ? 1 : 3, 8,
                       &job->image, error));
    if (components == 4) {
        job->row = memory_alloc_array((size_t)job->image.width, 4);
        if (job->row == NULL)
            return error_memory(error, (size_t)job->image.width * 4, "decoding a JPEG");
    }
    jpeg_start_decompress(jpeg);
    return UNET_OK;
}

/* Adobe's programs store CMYK inverted, and as no others write it, Pillow takes all to be so. */
static void convert_row(const struct jpeg_job *job, uint8_t *rgb)
{
    size_t width = (size_t)job->image.width;
    for (size_t i = 0; i < 4 * width; i++)
        job->row[i] = (uint8_t)(255 - job->row[i]);
    cmyk_to_rgb(job->row, width, rgb);
}

static void read_rows(struct jpeg_job *job)
{
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    size_t row_bytes = image_row_bytes(&job->image);
    uint8_t *pixels = job->image.pixels;
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *out = pixels + jpeg->output_scanline * row_bytes;
        JSAMPROW row = job->row != NULL ? job->row : out;
        jpeg_read_scanlines(jpeg, &row, 1);
        if (job->row != NULL)
            convert_row(job, out);
    }
    jpeg_finish_decompress(jpeg);
}

static unet_status report(const struct jpeg_job *job, unet_error *error)
{
    switch (job->error_code) {
    case JERR_OUT_OF_MEMORY:
        return error_memory(error, job->source->size, "decoding a JPEG");
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_ARITH_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
        return decode_unsupported(job->source, "JPEG", "this coding or bit depth",
                                  "baseline JPEG or PNG", error);
    default:
        return decode_damaged(job->source, "JPEG", job->reason, error);
    }
}

/* Errors of libjpeg come back through the jump. */
static unet_status run(struct jpeg_job *job, unet_error *error)
{
    job->jpeg.err = jpeg_std_error(&job->errors);
    job->errors.error_exit = on_error;
    job->errors.emit_message = on_message;
    job->errors.output_message = on_output;
    job->jpeg.client_data = job;
    if (setjmp(job->jump) != 0)
        return report(job, error);
    jpeg_create_decompress(&job->jpeg);
    attach(job);
    jpeg_read_header(&job->jpeg, TRUE);
    TRY(check_header(job, error));
    TRY(start(job, error));
    read_rows(job);
    return UNET_OK;
}

static unet_status decode_jpeg(const struct image_source *source, unet_image *image,
                               unet_error *error)
{
    struct jpeg_job job = {.source = source};
    unet_status status = run(&job, error);
    jpeg_destroy_decompress(&job.jpeg);
    memory_free(job.row);
    if (status == UNET_OK)
        *image = job.image;
    else
        unet_image_clear(&job.image);
    return status;
}

static bool probe_jpeg(const uint8_t *bytes, size_t size)
{
    return size >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

const struct image_reader jpeg_reader = {"JPEG", probe_jpeg, decode_jpeg};
