#include "image/png_guard.h"

#include "base/memory.h"

#include <stdio.h>

png_voidp png_guard_allocate(png_structp png, png_alloc_size_t bytes)
{
    struct png_guard *guard = png_get_mem_ptr(png);
    void *block = memory_alloc(bytes);
    if (block == NULL)
        guard->out_of_memory = true;
    return block;
}

void png_guard_release(png_structp png, png_voidp block)
{
    (void)png;
    memory_free(block);
}

void png_guard_error(png_structp png, png_const_charp message)
{
    struct png_guard *guard = png_get_error_ptr(png);
    snprintf(guard->reason, sizeof guard->reason, "%s", message);
    longjmp(guard->jump, 1);
}

void png_guard_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}
