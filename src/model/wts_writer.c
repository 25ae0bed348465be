/* .wts, byte for byte as the script gen_wts.py writes it. */
#include <stdio.h>
#include <string.h>

#include "model/model.h"

#define CHUNK       2048 /* values that are converted at a time */
#define VALUE_BYTES 9    /* a space and eight digits */

struct chunk {
    float values[CHUNK];
    char text[CHUNK * VALUE_BYTES];
};

static void write_hex(uint32_t bits, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 8; i++)
        text[i] = digits[bits >> (28 - 4 * i) & 15];
}

static void encode(const float *values, size_t count, char *text)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        text[i * VALUE_BYTES] = ' ';
        write_hex(bits, text + i * VALUE_BYTES + 1);
    }
}

static unet_status write_values(struct file_writer *writer, const unet_tensor *tensor, size_t count,
                                struct chunk *chunk, unet_error *error)
{
    for (size_t done = 0; done < count;) {
        size_t step = count - done < CHUNK ? count - done : CHUNK;
        tensor_to_float(tensor, done, step, chunk->values);
        encode(chunk->values, step, chunk->text);
        TRY(file_writer_write(writer, chunk->text, step * VALUE_BYTES, error));
        done += step;
    }
    return file_writer_write(writer, "\n", 1, error);
}

/* Words are separated by white space, so a name must not have any. */
static unet_status check_name(const char *name, const char *path, unet_error *error)
{
    if (name[0] != '\0' && strpbrk(name, " \t\n\v\f\r") == NULL)
        return UNET_OK;
    return error_set(error, UNET_ERROR_OUTPUT,
                     "%s: a .wts cannot hold the name '%s' with white space or nothing in it; "
                     "write a .safetensors",
                     path, name);
}

static unet_status write_entry(struct file_writer *writer, const unet_tensor *tensor,
                               const char *path, struct chunk *chunk, unet_error *error)
{
    char number[32];
    size_t count = tensor->bytes / unet_dtype_size(tensor->dtype);
    TRY(check_name(tensor->name, path, error));
    int length = snprintf(number, sizeof number, " %zu ", count);
    TRY(file_writer_write(writer, tensor->name, strlen(tensor->name), error));
    TRY(file_writer_write(writer, number, (size_t)length, error));
    return write_values(writer, tensor, count, chunk, error);
}

static unet_status write_all(struct file_writer *writer, const struct tensor_set *tensors,
                             const char *path, struct chunk *chunk, unet_error *error)
{
    char number[32];
    int length = snprintf(number, sizeof number, "%zu\n", tensors->count);
    TRY(file_writer_write(writer, number, (size_t)length, error));
    for (size_t i = 0; i < tensors->count; i++)
        TRY(write_entry(writer, &tensors->items[i], path, chunk, error));
    return file_writer_commit(writer, error);
}

unet_status model_write_wts(const struct tensor_set *tensors, const char *path, unet_error *error)
{
    struct file_writer writer;
    TRY(file_writer_open(&writer, path, false, error));
    struct chunk *chunk = memory_alloc(sizeof *chunk);
    unet_status status = chunk != NULL ? write_all(&writer, tensors, path, chunk, error)
                                       : error_memory(error, sizeof *chunk, "writing a .wts");
    memory_free(chunk);
    file_writer_close(&writer);
    return status;
}
