/* .npy arrays: those that numpy wrote, those of other machines and versions, and broken ones. */
#include "golden.h"

#include "base/memory.h"
#include "image/npy.h"

#include <unistd.h>

/* A header of any version and the data behind it. */
static size_t compose(uint8_t *bytes, int version, const char *dict, const void *data, size_t count)
{
    size_t start = version == 1 ? 10 : 12, length = strlen(dict);
    memcpy(bytes, "\x93NUMPY", 6);
    bytes[6] = (uint8_t)version;
    bytes[7] = 0;
    memset(bytes + 8, 0, 4);
    bytes[8] = (uint8_t)(length & 255);
    bytes[9] = (uint8_t)(length >> 8);
    memcpy(bytes + start, dict, length);
    memcpy(bytes + start + length, data, count);
    return start + length + count;
}

static unet_status load_bytes(const void *bytes, size_t count, unet_array *array, unet_error *error)
{
    const char *path = temporary_path("array.npy");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
    return unet_array_load(path, array, error);
}

static unet_array load_dict(int version, const char *dict, const void *data, size_t count)
{
    uint8_t bytes[1024];
    unet_array array = {0};
    unet_error error = {0};
    size_t size = compose(bytes, version, dict, data, count);
    assert_ok(load_bytes(bytes, size, &array, &error), &error);
    return array;
}

/* Read and written again, numpy's files stay the same to the byte. */
static void round_trips_numpys_files(void **state)
{
    (void)state;
    FILE *index = golden_index("interpolate");
    char names[2][128];
    int cases = 0;
    while (fscanf(index, "%127s %127s", names[0], names[1]) == 2) {
        for (int i = 0; i < 2; i++) {
            struct golden_array known = golden_array("interpolate", names[i]);
            char path[512];
            snprintf(path, sizeof path, "tests/golden/interpolate/%s", names[i]);
            unet_array array;
            unet_error error = {0};
            assert_ok(unet_array_load(repository_path(path), &array, &error), &error);
            assert_int_equal(array.dtype, UNET_F32);
            assert_int_equal(array.rank, 3);
            for (int side = 0; side < 3; side++)
                assert_int_equal(array.shape[side], known.shape[side]);
            assert_memory_equal(array.data, known.data, known.bytes);
            assert_ok(unet_array_save(temporary_path("again.npy"), &array, &error), &error);
            struct golden_file again = golden_read(temporary_path("again.npy"));
            assert_int_equal(again.size, known.file.size);
            assert_memory_equal(again.bytes, known.file.bytes, again.size);
            free(again.bytes);
            unet_array_clear(&array);
            golden_free(&known);
            cases++;
        }
    }
    fclose(index);
    assert_true(cases >= 16);
}

static void reads_every_version(void **state)
{
    (void)state;
    static const uint8_t data[6] = {1, 2, 3, 4, 5, 6};
    static const char *const dicts[] = {
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }   \n",
        "{\"shape\":(2,3),\"descr\":\"|u1\",\"fortran_order\":False}\n",
        "{'fortran_order': False, 'shape': (2L, 3L), 'descr': '<u1'}\n",
        " { 'descr' : '|u1' , 'fortran_order' : False , 'shape' : ( 2 , 3 , ) }",
    };
    for (int version = 1; version <= 3; version++) {
        for (size_t d = 0; d < sizeof dicts / sizeof dicts[0]; d++) {
            unet_array array = load_dict(version, dicts[d], data, sizeof data);
            assert_int_equal(array.dtype, UNET_U8);
            assert_int_equal(array.rank, 2);
            assert_int_equal(array.shape[0], 2);
            assert_int_equal(array.shape[1], 3);
            assert_memory_equal(array.data, data, sizeof data);
            unet_array_clear(&array);
            assert_null(array.data);
        }
    }
}

static void turns_big_endian_round(void **state)
{
    (void)state;
    static const uint8_t shorts[4] = {0x12, 0x34, 0xff, 0xfe};
    static const int16_t short_values[2] = {0x1234, -2};
    static const uint8_t floats[8] = {0x3f, 0xc0, 0, 0, 0xc1, 0x20, 0, 0};
    static const float float_values[2] = {1.5f, -10};
    static const uint8_t doubles[8] = {0x40, 0x09, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18};
    unet_array array =
        load_dict(1, "{'descr': '>i2', 'fortran_order': False, 'shape': (2,), }\n", shorts, 4);
    assert_memory_equal(array.data, short_values, 4);
    unet_array_clear(&array);
    array =
        load_dict(1, "{'descr': '>f4', 'fortran_order': False, 'shape': (1, 2), }\n", floats, 8);
    assert_memory_equal(array.data, float_values, 8);
    unet_array_clear(&array);
    array = load_dict(1, "{'descr': '>f8', 'fortran_order': False, 'shape': (), }\n", doubles, 8);
    assert_int_equal(array.rank, 0);
    assert_true(*(double *)array.data == 3.141592653589793);
    unet_array_clear(&array);
}

/* In Fortran's order, value (i, j, k) lies at i + 2 × (j + 3 × k). */
static void turns_fortran_order_round(void **state)
{
    (void)state;
    uint8_t data[48];
    for (int i = 0; i < 24; i++) {
        data[2 * i] = (uint8_t)i; /* '>i2' */
        data[2 * i + 1] = (uint8_t)(100 + i);
    }
    unet_array array = load_dict(
        1, "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3, 4), }\n", data, sizeof data);
    const int16_t *values = array.data;
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 3; j++) {
            for (int k = 0; k < 4; k++) {
                int at = i + 2 * (j + 3 * k);
                assert_int_equal(values[(i * 3 + j) * 4 + k], at << 8 | (100 + at));
            }
        }
    }
    unet_array_clear(&array);
}

static void reads_every_type(void **state)
{
    (void)state;
    static const struct {
        const char *code;
        unet_dtype dtype;
        size_t bytes;
    } types[] = {
        {"<f4", UNET_F32, 4}, {"<f2", UNET_F16, 2}, {"<f8", UNET_F64, 8},
        {"|u1", UNET_U8, 1},  {"|i1", UNET_I8, 1},  {"<i2", UNET_I16, 2},
        {"<i4", UNET_I32, 4}, {"<i8", UNET_I64, 8}, {"|b1", UNET_BOOL, 1},
    };
    static const uint8_t data[24] = {1, 0, 1, 0, 0, 1, 1, 0, 1, 1, 1, 1};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        char dict[128];
        snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': (3,), }\n",
                 types[t].code);
        unet_array array = load_dict(1, dict, data, 3 * types[t].bytes);
        assert_int_equal(array.dtype, types[t].dtype);
        assert_memory_equal(array.data, data, 3 * types[t].bytes);
        unet_error error = {0};
        assert_ok(unet_array_save(temporary_path("type.npy"), &array, &error), &error);
        struct golden_file file = golden_read(temporary_path("type.npy"));
        assert_int_equal(file.size, 128 + 3 * types[t].bytes);
        assert_non_null(strstr((char *)file.bytes + 10, types[t].code));
        free(file.bytes);
        unet_array_clear(&array);
    }
}

static void reads_empty_arrays(void **state)
{
    (void)state;
    unet_array array =
        load_dict(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 0, 5), }\n", "", 0);
    assert_int_equal(array.rank, 3);
    assert_non_null(array.data);
    assert_ok(unet_array_save(temporary_path("empty.npy"), &array, NULL), NULL);
    unet_array_clear(&array);
}

static void refuse_dict(const char *dict, const char *word)
{
    uint8_t bytes[1024], data[64] = {0};
    unet_array array = {.rank = -9};
    unet_error error = {0};
    size_t size = compose(bytes, 1, dict, data, 24);
    unet_status status = load_bytes(bytes, size, &array, &error);
    if (status != UNET_ERROR_INPUT)
        fail_msg("taken: %s", dict);
    assert_error(status, UNET_ERROR_INPUT, &error, word);
    assert_error(status, UNET_ERROR_INPUT, &error, "array.npy");
    assert_int_equal(array.rank, -9);
}

static void refuses_bad_headers(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (12,), }", "'<u2'"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (3,), }", "'<c8'"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", "'|O'"},
        {"{'descr': '|S4', 'fortran_order': False, 'shape': (6,), }", "'|S4'"},
        {"{'descr': '|f4', 'fortran_order': False, 'shape': (6,), }", "'|f4'"},
        {"{'descr': 'f4', 'fortran_order': False, 'shape': (6,), }", "'f4'"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }", "number type"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }", "24 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }", "24 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-6,), }", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6), }", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 6, }", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,,), }", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (,), }", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,), }", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,6), }", "dimensions"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (6,), }", "order"},
        {"{'descr': '<f4', 'fortran_order': False, }", "three entries"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'x': 1}", "three entries"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}",
         "three entries"},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (6,), }", "three entries"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), } x", "three entries"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), ", "three entries"},
        {"'descr': '<f4', 'fortran_order': False, 'shape': (6,)", "three entries"},
        {"{'descr", "three entries"},
        {"", "three entries"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refuse_dict(cases[i][0], cases[i][1]);
}

static void refuses_other_files(void **state)
{
    (void)state;
    unet_array array;
    unet_error error = {0};
    assert_error(load_bytes("", 0, &array, &error), UNET_ERROR_INPUT, &error, "not a .npy");
    assert_error(load_bytes("PK\3\4 a zip of them", 19, &array, &error), UNET_ERROR_INPUT, &error,
                 "not a .npy");
    assert_error(load_bytes("\x93NUMPY\4\0\0\0\0\0", 12, &array, &error), UNET_ERROR_INPUT, &error,
                 "version 4");
    assert_error(load_bytes("\x93NUMPY\2\0\xff\xff\xff\xff", 12, &array, &error), UNET_ERROR_INPUT,
                 &error, "cut short");
    assert_error(unet_array_load(temporary_path("none.npy"), &array, &error), UNET_ERROR_INPUT,
                 &error, "none.npy");
}

static void refuses_every_prefix(void **state)
{
    (void)state;
    uint8_t bytes[256];
    static const uint8_t data[24] = {0};
    size_t size = compose(bytes, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }\n",
                          data, sizeof data);
    unet_array array = {0};
    unet_error error = {0};
    for (size_t cut = 0; cut < size; cut++)
        assert_error(npy_decode(bytes, cut, &array, &error), UNET_ERROR_INPUT, &error, "npy");
    assert_ok(load_bytes(bytes, size, &array, &error), &error);
    unet_array_clear(&array);
}

static void survives_flips(void **state)
{
    (void)state;
    uint64_t random = 12;
    static const uint8_t data[24] = {0};
    for (int round = 0; round < 1500; round++) {
        uint8_t bytes[256];
        size_t size = compose(bytes, 1 + round % 3,
                              "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3, 2), }\n",
                              data, sizeof data);
        for (int flips = 1 + round % 3; flips > 0; flips--)
            bytes[random_next(&random) % size] ^= (uint8_t)(1u << random_next(&random) % 8);
        unet_array array = {0};
        unet_error error = {0};
        unet_status status = npy_decode(bytes, size, &array, &error);
        assert_true(status == UNET_OK || status == UNET_ERROR_INPUT);
        unet_array_clear(&array);
    }
}

static void refuses_what_cannot_be_saved(void **state)
{
    (void)state;
    uint16_t value = 0;
    unet_array array = {.dtype = UNET_BF16, .rank = 1, .shape = {1}, .data = &value};
    unet_error error = {0};
    const char *path = temporary_path("never.npy");
    assert_error(unet_array_save(path, &array, &error), UNET_ERROR_USAGE, &error, "bfloat16");
    array.dtype = (unet_dtype)99;
    assert_error(unet_array_save(path, &array, &error), UNET_ERROR_USAGE, &error, "never.npy");
    array.dtype = UNET_I16;
    array.rank = 9;
    assert_error(unet_array_save(path, &array, &error), UNET_ERROR_USAGE, &error, "shape");
    array.rank = 1;
    array.shape[0] = -1;
    assert_error(unet_array_save(path, &array, &error), UNET_ERROR_USAGE, &error, "shape");
    assert_error(unet_array_save(path, NULL, &error), UNET_ERROR_USAGE, &error, "array");
    assert_int_not_equal(access(path, F_OK), 0);
    array.shape[0] = 1;
    assert_error(unet_array_save("/proc/never.npy", &array, &error), UNET_ERROR_OUTPUT, &error,
                 "/proc/never.npy");
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    float value = 1;
    unet_array array = {.dtype = UNET_F32, .rank = 1, .shape = {1}, .data = &value};
    const char *path = temporary_path("memory.npy");
    unet_status status = UNET_ERROR_MEMORY;
    for (long n = 0; status != UNET_OK; n++) {
        unet_error error = {0};
        memory_fail_after(n);
        status = unet_array_save(path, &array, &error);
        memory_fail_after(-1);
        if (status != UNET_OK)
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
    }
    unet_array read = {0};
    unet_error error = {0};
    memory_fail_after(0);
    status = unet_array_load(path, &read, &error);
    memory_fail_after(-1);
    assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
    assert_null(read.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips_numpys_files),
        cmocka_unit_test(reads_every_version),
        cmocka_unit_test(turns_big_endian_round),
        cmocka_unit_test(turns_fortran_order_round),
        cmocka_unit_test(reads_every_type),
        cmocka_unit_test(reads_empty_arrays),
        cmocka_unit_test(refuses_bad_headers),
        cmocka_unit_test(refuses_other_files),
        cmocka_unit_test(refuses_every_prefix),
        cmocka_unit_test(survives_flips),
        cmocka_unit_test(refuses_what_cannot_be_saved),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
