/* .wts and .safetensors in detail: layout, white space, messages, what cannot be written. */
#include "unit/model/files.h"

static struct tensor_set set;

static int clear_set(void **state)
{
    (void)state;
    tensor_set_clear(&set);
    return 0;
}

/* Adds a vector whose data is the caller's. */
static void add(const char *name, unet_dtype dtype, const void *data, int64_t count)
{
    unet_error error;
    unet_tensor tensor = {.name = name,
                          .dtype = dtype,
                          .rank = 1,
                          .shape = {count},
                          .data = data,
                          .bytes = (size_t)count * unet_dtype_size(dtype)};
    assert_ok(tensor_set_add(&set, &tensor, &error), &error);
}

static void file_is(const char *path, const void *expected, size_t expected_size)
{
    size_t size;
    uint8_t *bytes = load_bytes(path, &size);
    assert_int_equal(size, expected_size);
    assert_memory_equal(bytes, expected, expected_size);
    free(bytes);
}

/* ---------------------------------------------------------------- .wts */

static void wts_is_written_as_gen_wts_writes_it(void **state)
{
    (void)state;
    static const char expected[] = "5\n"
                                   "a.weight 3  3f800000 c0490fdb 00000001\n"
                                   "count 1  42c80000\n"
                                   "half 1  3fc00000\n"
                                   "flag 2  00000000 3f800000\n"
                                   "none 0 \n";
    static const float floats[] = {1.0f, -3.14159274f, 0x1p-149f};
    static const int64_t hundred = 100;
    static const uint16_t one_and_a_half = 0x3e00;
    static const uint8_t flags[] = {0, 1};
    unet_error error;
    add("a.weight", UNET_F32, floats, 3);
    add("count", UNET_I64, &hundred, 1);
    add("half", UNET_F16, &one_and_a_half, 1);
    add("flag", UNET_BOOL, flags, 2);
    add("none", UNET_F32, floats, 0);
    assert_ok(model_write_wts(&set, temporary_path("small.wts"), &error), &error);
    file_is(temporary_path("small.wts"), expected, sizeof expected - 1);
}

static void names_with_white_space_are_no_wts(void **state)
{
    (void)state;
    unet_error error;
    add("good", UNET_F32, "", 0);
    add("bad name", UNET_F32, "", 0);
    const char *path = temporary_path("spaces.wts");
    assert_error(model_write_wts(&set, path, &error), UNET_ERROR_OUTPUT, &error, "bad name");
    assert_null(fopen(path, "r"));
}

static void reads_wts(const char *text)
{
    static const float expected[] = {1.0f, -2.0f};
    struct unet_model model;
    unet_error error;
    assert_ok(read_memory((const uint8_t *)text, strlen(text), &model, &error), &error);
    assert_string_equal(model.format, "wts");
    assert_int_equal(model.tensors.count, 2);
    const unet_tensor *a = tensor_set_find(&model.tensors, "a");
    assert_non_null(a);
    assert_int_equal(a->rank, 1);
    assert_int_equal(a->shape[0], 2);
    assert_memory_equal(a->data, expected, sizeof expected);
    assert_int_equal(tensor_set_find(&model.tensors, "b")->bytes, 0);
    tensor_set_clear(&model.tensors);
}

static void wts_is_read_with_any_white_space(void **state)
{
    (void)state;
    reads_wts("2\na 2  3f800000 c0000000\nb 0 \n");
    reads_wts("2\na 2  3f800000 c0000000\nb 0");
    reads_wts(" \r\n2 a 2 3F800000\nC0000000 b 0");
    reads_wts("2\r\na\t2\r\n3f800000\v\fc0000000\r\n\r\nb 0\r\n\r\n");
}

static void wts_errors_name_line_and_entry(void **state)
{
    (void)state;
#define REFUSED(text, part) assert_refused((const uint8_t *)(text), strlen(text), part)
    REFUSED("2\na 2  3f800000 c0000000\nb x\n", "line 3: 'x'");
    REFUSED("2\na 2  3f800000 c000000\nb 0\n", "line 2: 'c000000'");
    REFUSED("2\na 2  3f800000 c000000g\nb 0\n", "of a;");
    REFUSED("2\na 3  3f800000 c0000000\nb 0\n", "line 3: 'b'");
    REFUSED("2\na 2  3f800000 c0000000\n", "truncated");
    REFUSED("1\na 2  3f800000 c0000000\nb 0\n", "line 3");
    REFUSED("99999999999999999999 a", "entries");
    REFUSED("0\n", "no tensors");
#undef REFUSED
}

/* ---------------------------------------------------------------- .safetensors */

/* The layout by hand: header in the set's order, values by falling size, all aligned. */
static void safetensors_keeps_order_and_aligns(void **state)
{
    (void)state;
    static const char header[] =
        "{\"__metadata__\":{\"mask_values\":\"[0,255]\"},"
        "\"byte\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[12,13]},"
        "\"float\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]},"
        "\"long\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}";
    static const float one = 1.0f;
    static const int64_t two = 2;
    static const uint8_t three = 3;
    uint8_t values[] = {0, 255};
    unet_error error;
    add("byte", UNET_U8, &three, 1);
    add("float", UNET_F32, &one, 1);
    add("long", UNET_I64, &two, 1);
    set.mask_values = values;
    set.mask_value_count = 2;
    set.mask_value_channels = 1;
    struct bytes expected = {0};
    size_t length = (strlen(header) + 7) / 8 * 8;
    put_number(&expected, length, 8);
    put_text(&expected, header);
    put(&expected, "        ", length - strlen(header));
    put(&expected, "\2\0\0\0\0\0\0\0\0\0\x80\x3f\3", 13);
    assert_ok(model_write_safetensors(&set, temporary_path("small.safetensors"), &error), &error);
    file_is(temporary_path("small.safetensors"), expected.data, expected.size);
    free(expected.data);
}

static void odd_names_survive_safetensors(void **state)
{
    (void)state;
    static const char *const names[] = {"a \"b\"\\/\t", "größe.重み", "", "{}"};
    struct unet_model model = {0};
    struct file_map file;
    unet_error error;
    for (size_t i = 0; i < 4; i++)
        add(names[i], UNET_F32, "", 0);
    const char *path = temporary_path("odd.safetensors");
    assert_ok(model_write_safetensors(&set, path, &error), &error);
    assert_ok(file_map_open(path, 0, UNET_ERROR_MODEL, &file, &error), &error);
    assert_ok(model_read(&file, &model, &error), &error);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(model.tensors.items[i].name, names[i]);
    tensor_set_clear(&model.tensors);
    file_map_close(&file);
}

static void names_that_no_header_holds_are_refused(void **state)
{
    (void)state;
    unet_error error;
    const char *path = temporary_path("reserved.safetensors");
    add("__metadata__", UNET_F32, "", 0);
    assert_error(model_write_safetensors(&set, path, &error), UNET_ERROR_OUTPUT, &error,
                 "__metadata__");
    tensor_set_clear(&set);
    add("not \xff UTF-8", UNET_F32, "", 0);
    assert_error(model_write_safetensors(&set, path, &error), UNET_ERROR_OUTPUT, &error, "UTF-8");
    assert_null(fopen(path, "r"));
}

static struct bytes with_header(const char *header, size_t data)
{
    struct bytes file = {0};
    put_number(&file, strlen(header), 8);
    put_text(&file, header);
    for (size_t i = 0; i < data; i++)
        put(&file, "", 1);
    return file;
}

static void refuses(const char *header, size_t data, const char *part)
{
    struct bytes file = with_header(header, data);
    assert_refused(file.data, file.size, part);
    free(file.data);
}

static void headers_that_lie_are_refused(void **state)
{
    (void)state;
#define ENTRY(shape, from, to)                                                                     \
    "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"
    refuses("{\"a\":" ENTRY("[1]", "0", "4") "}x", 4, "JSON");
    refuses("{\"a\":" ENTRY("[1]", "4", "8") "}", 8, "cover");
    refuses("{\"a\":" ENTRY("[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "shape");
    refuses("{\"a\":" ENTRY("[\"1\"]", "0", "4") "}", 4, "shape");
    refuses("{\"a\":" ENTRY("1", "0", "4") "}", 4, "shape");
    refuses("{\"a\":" ENTRY("[1]", "0", "9223372036854775808") "}", 4, "JSON");
    refuses("{\"a\":" ENTRY("[1]", "-4", "0") "}", 4, "offsets");
    refuses("{\"a\":1}", 4, "offsets");
    refuses("{\"a\":" ENTRY("[1]", "0", "4") ",\"b\":" ENTRY("[1]", "0", "4") "}", 8, "overlap");
    refuses("{\"a\":" ENTRY("[1]", "0", "4") ",\"b\":" ENTRY("[1]", "0", "4") "}", 4, "overlap");
    refuses("{\"__metadata__\":{}}", 0, "no tensors");
    refuses("{\"a\\u0000b\":" ENTRY("[1]", "0", "4") "}", 4, "JSON");
}

static void takes_metadata(const char *mask_values, size_t count, int channels)
{
    char header[300];
    snprintf(header, sizeof header,
             "{\"__metadata__\":{\"format\":\"pt\",\"mask_values\":%s},\"a\":" ENTRY("[1]", "0",
                                                                                     "4") "}    ",
             mask_values);
    struct bytes file = with_header(header, 4);
    struct unet_model model;
    unet_error error;
    assert_ok(read_memory(file.data, file.size, &model, &error), &error);
    assert_int_equal(model.tensors.count, 1);
    assert_int_equal(model.tensors.mask_value_count, count);
    assert_int_equal(model.tensors.mask_value_channels, channels);
    tensor_set_clear(&model.tensors);
    free(file.data);
}

static void metadata_holds_mask_values(void **state)
{
    (void)state;
    takes_metadata("\"[0,128,255]\"", 3, 1);
    takes_metadata("\"[[0,0,0],[1,2,3]]\"", 2, 3);
    takes_metadata("\"[0,256]\"", 0, 0);
    takes_metadata("\"[[0,0,0],1]\"", 0, 0);
    takes_metadata("\"none\"", 0, 0);
    takes_metadata("7", 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(wts_is_written_as_gen_wts_writes_it, clear_set),
        cmocka_unit_test_teardown(names_with_white_space_are_no_wts, clear_set),
        cmocka_unit_test(wts_is_read_with_any_white_space),
        cmocka_unit_test(wts_errors_name_line_and_entry),
        cmocka_unit_test_teardown(safetensors_keeps_order_and_aligns, clear_set),
        cmocka_unit_test_teardown(odd_names_survive_safetensors, clear_set),
        cmocka_unit_test_teardown(names_that_no_header_holds_are_refused, clear_set),
        cmocka_unit_test(headers_that_lie_are_refused),
        cmocka_unit_test(metadata_holds_mask_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
