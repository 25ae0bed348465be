/* What the tests of this folder share: golden files in memory, models read from memory, bytes that
 * are put together. */
#ifndef UNET_TESTS_MODEL_FILES_H
#define UNET_TESTS_MODEL_FILES_H

#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "model/model.h"

/* "tests/golden/FOLDER/NAME" in the repository. */
static inline const char *golden_path(const char *folder, const char *name)
{
    char relative[512];
    snprintf(relative, sizeof relative, "tests/golden/%s/%s", folder, name);
    return repository_path(relative);
}

/* A file's bytes in memory of exactly their size, so that a sanitizer sees a read beyond. */
static inline uint8_t *load_bytes(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s cannot be opened", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size > 0 ? *size : 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

/* Calls the function for each line of a golden index, split at `separator`. */
static inline int for_each_golden(const char *folder, char separator,
                                  void (*run)(const char *name, const char *answer))
{
    FILE *index = fopen(golden_path(folder, "index.txt"), "r");
    assert_non_null(index);
    char line[512];
    int lines = 0;
    for (; fgets(line, sizeof line, index) != NULL; lines++) {
        line[strcspn(line, "\n")] = '\0';
        char *answer = strchr(line, separator);
        assert_non_null(answer);
        *answer = '\0';
        run(line, answer + 1);
    }
    fclose(index);
    return lines;
}

static inline unet_status read_memory(const uint8_t *bytes, size_t size, struct unet_model *model,
                                      unet_error *error)
{
    struct file_map file = {.bytes = bytes, .size = size};
    *model = (struct unet_model){0};
    return model_read(&file, model, error);
}

/* Reads bytes that must be refused. */
static inline void assert_refused(const uint8_t *bytes, size_t size, const char *part)
{
    struct unet_model model;
    unet_error error = {0};
    unet_status status = read_memory(bytes, size, &model, &error);
    tensor_set_clear(&model.tensors);
    assert_error(status, UNET_ERROR_MODEL, &error, part);
}

static inline bool tensors_equal(const unet_tensor *a, const unet_tensor *b)
{
    return strcmp(a->name, b->name) == 0 && a->dtype == b->dtype && a->rank == b->rank &&
           memcmp(a->shape, b->shape, (size_t)a->rank * sizeof a->shape[0]) == 0 &&
           a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

static inline bool sets_equal(const struct tensor_set *a, const struct tensor_set *b)
{
    size_t mask_bytes = a->mask_value_count * (size_t)a->mask_value_channels;
    if (a->count != b->count || a->mask_value_count != b->mask_value_count ||
        a->mask_value_channels != b->mask_value_channels ||
        (mask_bytes > 0 && memcmp(a->mask_values, b->mask_values, mask_bytes) != 0))
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!tensors_equal(&a->items[i], &b->items[i]))
            return false;
    return true;
}

static inline void assert_same_file(const char *path, const char *expected)
{
    size_t size, expected_size;
    uint8_t *bytes = load_bytes(path, &size), *right = load_bytes(expected, &expected_size);
    bool same = size == expected_size && memcmp(bytes, right, size) == 0;
    free(bytes);
    free(right);
    if (!same)
        fail_msg("%s differs from %s", path, expected);
}

/* Bytes that grow; a test's own, so it just ends if memory is out. */
struct bytes {
    uint8_t *data;
    size_t size;
};

static inline void put(struct bytes *bytes, const void *data, size_t size)
{
    bytes->data = realloc(bytes->data, bytes->size + size + 1);
    assert_non_null(bytes->data);
    if (size > 0)
        memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static inline void put_number(struct bytes *bytes, uint64_t value, int width)
{
    for (int i = 0; i < width; i++)
        put(bytes, &(uint8_t){i < 8 ? (uint8_t)(value >> (8 * i)) : 0}, 1);
}

static inline void put_text(struct bytes *bytes, const char *text)
{
    put(bytes, text, strlen(text));
}

#endif
