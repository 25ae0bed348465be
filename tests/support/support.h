/* What tests share: paths of the repository's data, arrays, random numbers, a folder to write
 * in. */
#ifndef UNET_TESTS_SUPPORT_H
#define UNET_TESTS_SUPPORT_H

#include <unet.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* "REPOSITORY/RELATIVE"; a static buffer, one of eight in turn. */
const char *repository_path(const char *relative);
/* The shared checkpoints and images beside the repository; NULL where they are not: then the test
 * says so with skip_without_shared, which ends it as skipped. */
const char *shared_path(const char *relative);
void skip_without_shared(void);

/* A fresh folder under the build folder's temporary place, and a path in it. */
const char *temporary_folder(void);
const char *temporary_path(const char *name);

/* Fails the test with the message if status is not UNET_OK. */
void assert_ok(unet_status status, const unet_error *error);
/* Fails unless status is `expected` and the message is one line that contains `part` (any case). */
void assert_error(unet_status status, unet_status expected, const unet_error *error,
                  const char *part);

/* xorshift: the same numbers everywhere. */
uint64_t random_next(uint64_t *state);
/* Uniform in [low, high). */
float random_float(uint64_t *state, float low, float high);

/* Largest |a − b|; infinity if either has a NaN. */
double max_difference(const float *a, const float *b, size_t count);

#endif
