/* base/options.c: older and newer callers, as docs in unet.h promise. */
#include "support/support.h"

#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/options.h"

struct known {
    size_t size;
    int a, b;
};

struct newer {
    size_t size;
    int a, b, c, d;
};

static void smaller_structs_read_as_zero(void **state)
{
    (void)state;
    struct known from = {.size = sizeof(size_t) + sizeof(int), .a = 5, .b = 6}, into;
    unet_error error;
    assert_ok(options_read(&into, sizeof into, &from, "known", &error), &error);
    assert_int_equal(into.a, 5);
    assert_int_equal(into.b, 0);
    assert_ok(options_read(&into, sizeof into, NULL, "known", &error), &error);
    assert_int_equal(into.a, 0);
}

static void larger_structs_need_a_zero_tail(void **state)
{
    (void)state;
    struct newer from = {.size = sizeof from, .a = 1, .b = 2};
    struct known into;
    unet_error error;
    assert_ok(options_read(&into, sizeof into, &from, "newer", &error), &error);
    assert_int_equal(into.b, 2);
    assert_int_equal(into.size, sizeof into);
    from.d = 1;
    assert_error(options_read(&into, sizeof into, &from, "newer", &error), UNET_ERROR_USAGE, &error,
                 "newer");
    from.size = 0;
    assert_error(options_read(&into, sizeof into, &from, "newer", &error), UNET_ERROR_USAGE, &error,
                 "size");
}

static void results_fit_the_callers_struct(void **state)
{
    (void)state;
    struct known ours = {.a = 3, .b = 4};
    struct newer theirs;
    unet_error error;
    memset(&theirs, 0xff, sizeof theirs);
    theirs.size = sizeof theirs;
    assert_ok(options_write(&theirs, &ours, sizeof ours, "newer", &error), &error);
    assert_int_equal(theirs.size, sizeof theirs);
    assert_true(theirs.a == 3 && theirs.b == 4 && theirs.c == 0 && theirs.d == 0);
    struct known older = {.size = sizeof(size_t) + sizeof(int), .b = 77};
    assert_ok(options_write(&older, &ours, sizeof ours, "older", &error), &error);
    assert_true(older.a == 3 && older.b == 77);
}

/* The value that xxHash's own documentation gives for the empty input. */
static void hashes_are_xxh3_128(void **state)
{
    (void)state;
    const struct hash128 empty = {{0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8, 0x60, 0x01, 0xc3,
                                   0x24, 0x46, 0x8d, 0x49, 0x7f}};
    struct hash128 hash = hash_bytes("", 0);
    assert_true(hash_equal(&hash, &empty));
    struct hash128 other = hash_bytes("a", 1);
    assert_false(hash_equal(&hash, &other));
}

/* Told again in the words of docs/engine-format.md. */
static void long_inputs_are_hashed_in_pieces(void **state)
{
    (void)state;
    const size_t piece = (size_t)4 << 20, sizes[] = {0, 100, piece, piece + 1, 3 * piece + 777};
    uint8_t *bytes = memory_alloc_array(sizes[4], 1);
    for (size_t i = 0; i < sizes[4]; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 11);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct hash128 hash, expected = hash_bytes(bytes, sizes[i]), parts[4];
        size_t count = 0;
        for (size_t at = 0; at < sizes[i]; at += piece)
            parts[count++] = hash_bytes(bytes + at, sizes[i] - at < piece ? sizes[i] - at : piece);
        if (count > 1)
            expected = hash_bytes(parts, count * sizeof parts[0]);
        unet_error error;
        assert_ok(hash_in_pieces(bytes, sizes[i], &hash, &error), &error);
        assert_true(hash_equal(&hash, &expected));
    }
    memory_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smaller_structs_read_as_zero),
        cmocka_unit_test(larger_structs_need_a_zero_tail),
        cmocka_unit_test(results_fit_the_callers_struct),
        cmocka_unit_test(hashes_are_xxh3_128),
        cmocka_unit_test(long_inputs_are_hashed_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
