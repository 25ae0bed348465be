/* Files that must be refused, and damage: tests/golden/bad, truncation at every byte, flipped
 * bytes, failing allocations. */
#include "unit/model/files.h"

#include <unistd.h>

/* What the pickles that call something would leave. */
#define TRACE "/tmp/unet-was-here"

/* Files whose tensors read well, but which are no network: src/graph refuses them. */
static bool is_readable(const char *name)
{
    static const char *const prefixes[] = {"lost-entry-", "wrong-shape-", "wrong-value-",
                                           "stranger.", "classifier."};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static void is_refused_for_its_reason(const char *name, const char *word)
{
    unet_model *model = NULL;
    unet_error error;
    unet_status status = unet_model_open(golden_path("bad", name), &model, &error);
    if (is_readable(name)) {
        assert_ok(status, &error);
        unet_model_close(&model);
        return;
    }
    assert_null(model);
    assert_error(status, UNET_ERROR_MODEL, &error, word);
    assert_error(status, UNET_ERROR_MODEL, &error, name);
}

static void bad_files_are_refused_for_their_reason(void **state)
{
    (void)state;
    unlink(TRACE);
    assert_true(for_each_golden("bad", '\t', is_refused_for_its_reason) >= 130);
    assert_int_not_equal(access(TRACE, F_OK), 0);
}

/* What a clone without Git LFS holds in a checkpoint's place. */
static void a_git_lfs_pointer_is_called_one(void **state)
{
    (void)state;
    const char pointer[] = "version https://git-lfs.github.com/spec/v1\n"
                           "oid sha256:00000000000000000000000000000000\nsize 12345\n";
    struct unet_model model;
    unet_error error;
    assert_error(read_memory((const uint8_t *)pointer, sizeof pointer - 1, &model, &error),
                 UNET_ERROR_MODEL, &error, "git lfs pull");
}

/* ---------------------------------------------------------------- damage */

struct sample {
    uint8_t *bytes;
    size_t size;
    struct unet_model model; /* what is in it */
};

static struct sample load_sample(const char *folder, const char *name)
{
    struct sample sample;
    unet_error error;
    sample.bytes = load_bytes(golden_path(folder, name), &sample.size);
    assert_ok(read_memory(sample.bytes, sample.size, &sample.model, &error), &error);
    return sample;
}

static void free_sample(struct sample *sample)
{
    tensor_set_clear(&sample->model.tensors);
    free(sample->bytes);
}

/* A copy in memory of its exact size, which a sanitizer guards. */
static unet_status read_copy(const uint8_t *bytes, size_t size, struct unet_model *model,
                             unet_error *error)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    unet_status status = read_memory(copy, size, model, error);
    free(copy);
    return status;
}

/* White space at the end of a .wts is no loss. */
static bool lost_only_space(const struct sample *sample, size_t size)
{
    while (size < sample->size && strchr(" \r\n", sample->bytes[size]) != NULL)
        size++;
    return size == sample->size && strcmp(sample->model.format, "wts") == 0;
}

/* Every length up to 2,000 bytes and from the last 500 on, and every `step`-th between. */
static void is_refused_when_truncated(const char *folder, const char *name, size_t step)
{
    struct sample sample = load_sample(folder, name);
    for (size_t size = 0; size < sample.size;) {
        struct unet_model model;
        unet_error error = {0};
        unet_status status = read_copy(sample.bytes, size, &model, &error);
        bool whole = status == UNET_OK && lost_only_space(&sample, size) &&
                     sets_equal(&model.tensors, &sample.model.tensors);
        tensor_set_clear(&model.tensors);
        if (!whole)
            assert_error(status, UNET_ERROR_MODEL, &error, "");
        size += size < 2000 || size + 500 + step > sample.size ? 1 : step;
    }
    free_sample(&sample);
}

static void truncated_files_are_refused(void **state)
{
    (void)state;
    is_refused_when_truncated("formats", "hand-made.pth", 1);
    is_refused_when_truncated("formats", "zip.pth", 61);
    is_refused_when_truncated("formats", "training.pth", 127);
    is_refused_when_truncated("formats", "crc-0.pth", 31);
    is_refused_when_truncated("formats", "protocol-5.pth", 61);
    is_refused_when_truncated("formats", "legacy-float16.pth", 7);
    is_refused_when_truncated("formats", "legacy.pth", 13);
    is_refused_when_truncated("formats", "f16.safetensors", 7);
    is_refused_when_truncated("formats", "in-order.safetensors", 7);
    is_refused_when_truncated("formats", "hand-made.wts", 11);
    is_refused_when_truncated("formats", "white-space.wts", 11);
}

/* Flips bits of some bytes. Whatever comes of it, it is a model or a message. */
static void flip(struct sample *sample, uint64_t *random, int flips, bool checked)
{
    size_t at[8];
    uint8_t masks[8];
    for (int i = 0; i < flips; i++) {
        at[i] = random_next(random) % sample->size;
        masks[i] = (uint8_t)(1 + random_next(random) % 255);
        sample->bytes[at[i]] ^= masks[i];
    }
    struct unet_model model;
    unet_error error = {0};
    unet_status status = read_copy(sample->bytes, sample->size, &model, &error);
    if (status != UNET_OK)
        assert_error(status, UNET_ERROR_MODEL, &error, "");
    else if (checked)
        assert_true(sets_equal(&model.tensors, &sample->model.tensors));
    tensor_set_clear(&model.tensors);
    for (int i = flips; i-- > 0;)
        sample->bytes[at[i]] ^= masks[i];
}

static void survives_flips(const char *name, bool checked)
{
    struct sample sample = load_sample("formats", name);
    uint64_t random = 20240 + sample.size;
    for (int round = 0; round < 3000; round++)
        flip(&sample, &random, 1 + (checked ? 0 : round % 8), checked);
    free_sample(&sample);
}

static void flipped_bytes_end_in_a_model_or_a_message(void **state)
{
    (void)state;
    /* with checksums, one flipped byte must not change a value */
    survives_flips("hand-made.pth", true);
    survives_flips("torch-1.6.pth", true);
    survives_flips("shared-storage.pth", true);
    survives_flips("crc-0.pth", false);
    survives_flips("legacy-mask-values.pth", false);
    survives_flips("f32.safetensors", false);
    survives_flips("expected.wts", false);
}

/* ---------------------------------------------------------------- memory */

static unet_status open_and_save(const char *path, const char *output, unet_error *error)
{
    unet_model *model = NULL;
    unet_status status = unet_model_open(path, &model, error);
    if (status == UNET_OK)
        status = unet_model_save(model, output, error);
    unet_model_close(&model);
    return status;
}

static void survives_failing_allocations(const char *name, const char *output)
{
    unet_status status = UNET_ERROR_MEMORY;
    for (long n = 0; status != UNET_OK; n++) {
        unet_error error = {0};
        memory_fail_after(n);
        status = open_and_save(golden_path("formats", name), temporary_path(output), &error);
        assert_true(memory_fail_after(-1) > n || status == UNET_OK);
        if (status != UNET_OK)
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
    }
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    survives_failing_allocations("hand-made.pth", "memory.wts");
    survives_failing_allocations("mask-values.pth", "memory.safetensors");
    survives_failing_allocations("training.pth", "memory.wts");
    survives_failing_allocations("legacy-mask-values.pth", "memory.safetensors");
    survives_failing_allocations("bf16.safetensors", "memory.wts");
    survives_failing_allocations("white-space.wts", "memory.safetensors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_refused_for_their_reason),
        cmocka_unit_test(a_git_lfs_pointer_is_called_one),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(flipped_bytes_end_in_a_model_or_a_message),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
