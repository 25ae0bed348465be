/* How libpng's errors and memory reach us, for the decoder and the encoder alike. */
#ifndef UNET_IMAGE_PNG_GUARD_H
#define UNET_IMAGE_PNG_GUARD_H

#include <png.h>
#include <setjmp.h>
#include <stdbool.h>

/* libpng's error and memory pointer point here. */
struct png_guard {
    jmp_buf jump; /* where an error goes */
    bool out_of_memory;
    char reason[128];
};

png_voidp png_guard_allocate(png_structp png, png_alloc_size_t bytes);
void png_guard_release(png_structp png, png_voidp block);
void png_guard_error(png_structp png, png_const_charp message);
void png_guard_warning(png_structp png, png_const_charp message);

#endif
