/* Reads the recordings under tests/golden without the library's own readers. */
#ifndef UNET_TESTS_IMAGE_GOLDEN_H
#define UNET_TESTS_IMAGE_GOLDEN_H

#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct golden_file {
    uint8_t *bytes;
    size_t size;
};

static inline struct golden_file golden_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s is missing", path);
    fseek(file, 0, SEEK_END);
    struct golden_file read = {.size = (size_t)ftell(file)};
    rewind(file);
    read.bytes = malloc(read.size + 1);
    assert_int_equal(fread(read.bytes, 1, read.size, file), read.size);
    fclose(file);
    return read;
}

/* An array as numpy.save writes it: version 1.0, little-endian, C order. Missing sides are 1. */
struct golden_array {
    struct golden_file file;
    char type[4]; /* "u1", "u2", "f4" */
    int shape[3];
    const void *data;
    size_t bytes; /* of the data */
};

static inline struct golden_array golden_array(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "tests/golden/%s/%s", folder, name);
    struct golden_array array = {.file = golden_read(repository_path(path)), .shape = {1, 1, 1}};
    size_t header = 10 + array.file.bytes[8] + 256u * array.file.bytes[9];
    assert_true(header < array.file.size);
    char text[512] = {0};
    memcpy(text, array.file.bytes + 10, header - 10 < 511 ? header - 10 : 511);
    assert_int_equal(sscanf(strstr(text, "'descr': '") + 11, "%3[a-z0-9]", array.type), 1);
    int sides = sscanf(strstr(text, "'shape': ("), "'shape': (%d, %d, %d", &array.shape[0],
                       &array.shape[1], &array.shape[2]);
    assert_true(sides >= 2);
    array.data = array.file.bytes + header;
    array.bytes = array.file.size - header;
    return array;
}

static inline void golden_free(struct golden_array *array)
{
    free(array->file.bytes);
}

/* Opens the index of a folder of goldens. */
static inline FILE *golden_index(const char *folder)
{
    char path[512];
    snprintf(path, sizeof path, "tests/golden/%s/index.txt", folder);
    FILE *index = fopen(repository_path(path), "r");
    if (index == NULL)
        fail_msg("%s is missing", path);
    return index;
}

#endif
