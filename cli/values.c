/* Readers of option values. */
#include "options.h"

#include <unet.h>

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool parse_integer(const char *text, long low, long high, int *value, struct problem *problem)
{
    char *end = NULL;
    errno = 0;
    long number = strtol(text, &end, 10);
    /* strtol would pass over blanks and a plus sign. */
    bool starts_well = isdigit((unsigned char)text[0]) || text[0] == '-';
    if (!starts_well || *end != '\0' || errno != 0 || number < low || number > high)
        return problem_set(problem, "is not a whole number from %ld to %ld", low, high);
    *value = (int)number;
    return true;
}

bool parse_number(const char *text, double *value)
{
    char *end = NULL;
    /* Decimal digits alone: strtod knows "inf", "nan" and hexadecimal too. */
    if (text[0] == '\0' || strspn(text, "0123456789.+-eE") != strlen(text))
        return false;
    *value = strtod(text, &end);
    return *end == '\0' && isfinite(*value);
}

bool read_threads(const char *text, void *member, struct problem *problem)
{
    return parse_integer(text, 1, 1024, member, problem);
}

bool read_batch(const char *text, void *member, struct problem *problem)
{
    return parse_integer(text, 1, 1024, member, problem);
}

bool read_scale(const char *text, void *member, struct problem *problem)
{
    double value;
    if (!parse_number(text, &value) || value <= 0 || value > 16)
        return problem_set(problem, "is not a number above 0 and at most 16");
    *(double *)member = value;
    return true;
}

bool read_precision(const char *text, void *member, struct problem *problem)
{
    static const struct {
        const char *name;
        unet_precision precision;
    } known[] = {
        {"auto", UNET_PRECISION_AUTO}, {"fp32", UNET_PRECISION_FP32}, {"bf16", UNET_PRECISION_BF16},
        {"int8", UNET_PRECISION_INT8}, {"tf32", UNET_PRECISION_TF32}, {"fp16", UNET_PRECISION_FP16},
        {"fp8", UNET_PRECISION_FP8},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(text, known[i].name) == 0) {
            *(unet_precision *)member = known[i].precision;
            return true;
        }
    }
    return problem_set(problem, "is not a precision of this version: fp32, tf32, bf16, fp16, int8, "
                                "fp8 or auto");
}

bool is_8bit(unet_precision precision)
{
    return precision == UNET_PRECISION_INT8 || precision == UNET_PRECISION_FP8;
}

/* Whether the device is there is the library's to say. */
bool read_device(const char *text, void *member, struct problem *problem)
{
    static const char head[] = "cuda:";
    int index;
    bool known = strcmp(text, "cpu") == 0 || strcmp(text, "auto") == 0 || strcmp(text, "cuda") == 0;
    if (strncmp(text, head, sizeof head - 1) == 0)
        known = parse_integer(text + sizeof head - 1, 0, 9999, &index, problem);
    if (!known)
        return problem_set(problem, "is not a device: cpu, cuda, cuda:N or auto");
    *(const char **)member = text;
    return true;
}

/* The same, or all GPUs at once. */
bool read_devices(const char *text, void *member, struct problem *problem)
{
    if (strcmp(text, "cuda:all") != 0)
        return read_device(text, member, problem);
    *(const char **)member = text;
    return true;
}

bool read_text(const char *text, void *member, struct problem *problem)
{
    (void)problem;
    *(const char **)member = text;
    return true;
}

bool read_size(const char *text, void *member, struct problem *problem)
{
    struct image_size *size = member;
    char width[16];
    const char *cross = strpbrk(text, "xX");
    size_t length = cross != NULL ? (size_t)(cross - text) : 0;
    if (length == 0 || length >= sizeof width)
        return problem_set(problem, "is not a size: width, x, height, as in 512x384");
    memcpy(width, text, length);
    width[length] = '\0';
    struct problem ignored;
    if (!parse_integer(width, 1, 32768, &size->width, &ignored) ||
        !parse_integer(cross + 1, 1, 32768, &size->height, &ignored))
        return problem_set(problem, "is not a size: width, x, height, each from 1 to 32768, as in "
                                    "512x384");
    return true;
}
