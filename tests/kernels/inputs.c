/* The inputs of a case in guarded memory, shared by all trials of all kernels. */
#include "driver.h"

#include "base/bf16.h"
#include "base/u8.h"

#include <stdlib.h>
#include <string.h>

/* At either end: [at_end]. */
struct inputs {
    struct guarded sources[2][KERNEL_MAX_SOURCES], low[2], planes[2], pixels[2], values[2];
};

struct inputs *inputs_new(void)
{
    return need(calloc(1, sizeof(struct inputs)));
}

void inputs_free(struct inputs *inputs)
{
    for (int end = 0; end < 2 && inputs != NULL; end++) {
        for (int s = 0; s < KERNEL_MAX_SOURCES; s++)
            guarded_free(&inputs->sources[end][s]);
        guarded_free(&inputs->low[end]);
        guarded_free(&inputs->planes[end]);
        guarded_free(&inputs->pixels[end]);
        guarded_free(&inputs->values[end]);
    }
    free(inputs);
}

/* ---------------------------------------------------------------- blocked */

static void set_element(const struct blocked *t, int channel, int y, int x, float value)
{
    void *pixel = blocked_at(t, y, channel / KERNEL_BLOCK, x);
    if (t->type == KERNEL_BF16)
        ((uint16_t *)pixel)[channel % KERNEL_BLOCK] = bf16_from_float(value);
    else if (t->type == KERNEL_U8)
        ((uint8_t *)pixel)[channel % KERNEL_BLOCK] = u8_from_float(value);
    else
        ((float *)pixel)[channel % KERNEL_BLOCK] = value;
}

static void fill_blocked(const struct blocked *t, const float *from)
{
    for (int c = 0; c < t->channels; c++)
        for (int y = 0; y < t->height; y++)
            for (int x = 0; x < t->width; x++)
                set_element(t, c, y, x, *from++);
}

/* `t` says all but where its data are, for which `bytes` are needed. */
static void place_blocked(struct guarded *memory, struct blocked *t, size_t bytes,
                          const float *from, bool at_end)
{
    bool there = memory->map != NULL;
    if (!there)
        guarded_new(memory, bytes, at_end);
    t->data = (char *)memory->data + blocked_origin(t);
    if (there)
        return;
    memset(memory->data, t->zero, memory->bytes);
    fill_blocked(t, from);
    guarded_protect(memory);
}

struct blocked input_source(const struct test_case *test, int s, bool at_end)
{
    struct blocked t = {.zero = test->zeros[s]};
    size_t bytes = blocked_init(&t, test->desc.in_type, test->desc.source_channels[s], test->height,
                                test->width);
    place_blocked(&test->inputs->sources[at_end][s], &t, bytes, test->sources[s], at_end);
    return t;
}

struct blocked input_low(const struct test_case *test, bool at_end)
{
    struct blocked t = {.zero = test->zeros[test->upsampled]};
    size_t bytes = blocked_init(&t, test->desc.in_type, test->desc.source_channels[test->upsampled],
                                test->low_height, test->low_width);
    place_blocked(&test->inputs->low[at_end], &t, bytes, test->low, at_end);
    return t;
}

/* ---------------------------------------------------------------- the caller's */

static const void *place_bytes(struct guarded *memory, const void *from, size_t bytes, bool at_end)
{
    if (memory->map == NULL) {
        guarded_new(memory, bytes, at_end);
        memcpy(memory->data, from, bytes);
        guarded_protect(memory);
    }
    return memory->data;
}

const float *input_planes(const struct test_case *test, bool at_end)
{
    size_t bytes = sizeof(float) * (size_t)test->desc.source_channels[0] * (size_t)test->height *
                   (size_t)test->width;
    return place_bytes(&test->inputs->planes[at_end], test->sources[0], bytes, at_end);
}

struct kernel_pixels input_pixels(const struct test_case *test, bool at_end)
{
    size_t pixels = (size_t)test->height * (size_t)test->width;
    size_t values = sizeof(float) * 256 * (size_t)test->desc.source_channels[0];
    return (struct kernel_pixels){
        .bytes = place_bytes(&test->inputs->pixels[at_end], test->pixels,
                             pixels * (size_t)test->pixel_step, at_end),
        .step = test->pixel_step,
        .values = place_bytes(&test->inputs->values[at_end], test->pixel_values, values, at_end),
    };
}
