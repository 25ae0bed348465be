/* One network in every container and shape that a checkpoint comes in: tests/golden/formats, as
 * PyTorch and safetensors wrote it, against the .wts that PyTorch's values give. */
#include "unit/model/files.h"

static unet_model *open_golden(const char *folder, const char *name)
{
    unet_model *model = NULL;
    unet_error error;
    assert_ok(unet_model_open(golden_path(folder, name), &model, &error), &error);
    return model;
}

static const unet_tensor *tensor_of(const unet_model *model, const char *name)
{
    const unet_tensor *tensor = tensor_set_find(&model->tensors, name);
    if (tensor == NULL)
        fail_msg("no tensor '%s'", name);
    return tensor;
}

static void converts_to_the_golden_wts(const char *name, const char *expected)
{
    const char *output = temporary_path("converted.wts");
    unet_model *model = open_golden("formats", name);
    unet_error error;
    assert_ok(unet_model_save(model, output, &error), &error);
    assert_same_file(output, golden_path("formats", expected));
    unet_model_close(&model);
    assert_null(model);
}

static void every_format_gives_the_same_wts(void **state)
{
    (void)state;
    assert_true(for_each_golden("formats", ' ', converts_to_the_golden_wts) >= 39);
}

static void survives_safetensors(const char *name, const char *expected)
{
    (void)expected;
    const char *output = temporary_path("kept.safetensors");
    unet_model *model = open_golden("formats", name), *again = NULL;
    unet_error error;
    assert_ok(unet_model_save(model, output, &error), &error);
    assert_ok(unet_model_open(output, &again, &error), &error);
    assert_true(sets_equal(&model->tensors, &again->tensors));
    unet_model_close(&model);
    unet_model_close(&again);
}

static void every_format_survives_safetensors(void **state)
{
    (void)state;
    for_each_golden("formats", ' ', survives_safetensors);
}

static void dtypes_are_kept(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unet_dtype weights, gammas;
    } cases[] = {
        {"zip.pth", UNET_F32, UNET_F32},
        {"float16.pth", UNET_F16, UNET_F16},
        {"bfloat16.pth", UNET_BF16, UNET_BF16},
        {"float64.pth", UNET_F64, UNET_F64},
        {"legacy-mixed-precision.pth", UNET_F16, UNET_F32},
        {"bf16.safetensors", UNET_BF16, UNET_BF16},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unet_model *model = open_golden("formats", cases[i].name);
        const unet_tensor *weight = tensor_of(model, "inc.double_conv.0.weight");
        assert_int_equal(weight->dtype, cases[i].weights);
        assert_int_equal(weight->rank, 4);
        assert_int_equal(weight->shape[1], 3);
        assert_int_equal(tensor_of(model, "inc.double_conv.1.weight")->dtype, cases[i].gammas);
        const unet_tensor *counter = tensor_of(model, "inc.double_conv.1.num_batches_tracked");
        assert_int_equal(counter->dtype, UNET_I64);
        assert_int_equal(counter->rank, 0);
        unet_model_close(&model);
    }
}

static void info_says_what_is_there(void **state)
{
    (void)state;
    unet_model *model = open_golden("formats", "mask-values.pth");
    unet_model_info info = {.size = sizeof info};
    unet_error error;
    assert_ok(unet_model_get_info(model, &info, &error), &error);
    assert_string_equal(info.format, "pth");
    assert_int_equal(info.tensor_count, 128);
    assert_int_equal(info.mask_value_count, 2);
    assert_int_equal(info.mask_value_channels, 1);
    assert_int_equal(info.mask_values[1], 255);
    int64_t parameters = 0, count;
    for (size_t i = 0; i < info.tensor_count; i++) {
        unet_tensor tensor;
        assert_ok(unet_model_get_tensor(model, i, &tensor, &error), &error);
        assert_true(tensor_count(tensor.shape, tensor.rank, &count));
        assert_int_equal(tensor.bytes, (size_t)count * unet_dtype_size(tensor.dtype));
        bool buffer = strstr(tensor.name, ".running_") != NULL || tensor.dtype == UNET_I64;
        parameters += buffer ? 0 : count;
    }
    assert_int_equal(info.parameter_count, parameters);
    unet_tensor tensor;
    assert_error(unet_model_get_tensor(model, 128, &tensor, &error), UNET_ERROR_USAGE, &error,
                 "128");
    info.size = 0;
    assert_error(unet_model_get_info(model, &info, &error), UNET_ERROR_USAGE, &error, "size");
    unet_model_close(&model);
}

static void colours_are_mask_values_too(void **state)
{
    (void)state;
    static const uint8_t expected[] = {0, 0, 0, 128, 64, 0};
    unet_model *model = open_golden("formats", "legacy-mask-values.pth");
    assert_int_equal(model->tensors.mask_value_count, 2);
    assert_int_equal(model->tensors.mask_value_channels, 3);
    assert_memory_equal(model->tensors.mask_values, expected, sizeof expected);
    unet_model_close(&model);
}

static void numpy_scalars_are_mask_values_too(void **state)
{
    (void)state;
    static const char *const names[] = {"numpy-1.pth", "numpy-2.pth", "numpy-4.pth"};
    static const uint8_t expected[] = {0, 255};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unet_model *model = open_golden("formats", names[i]);
        assert_int_equal(model->tensors.mask_value_count, 2);
        assert_int_equal(model->tensors.mask_value_channels, 1);
        assert_memory_equal(model->tensors.mask_values, expected, sizeof expected);
        unet_model_close(&model);
    }
}

static void the_extension_decides_what_is_written(void **state)
{
    (void)state;
    unet_model *model = open_golden("formats", "hand-made.pth");
    unet_error error;
    assert_error(unet_model_save(model, temporary_path("model.pth"), &error), UNET_ERROR_USAGE,
                 &error, "model.pth");
    assert_error(unet_model_save(model, temporary_path("dir.wts/model"), &error), UNET_ERROR_USAGE,
                 &error, ".safetensors");
    assert_ok(unet_model_save(model, temporary_path("model.WTS"), &error), &error);
    assert_same_file(temporary_path("model.WTS"), golden_path("formats", "hand-made.wts"));
    assert_error(unet_model_save(model, temporary_path("nowhere/model.wts"), &error),
                 UNET_ERROR_OUTPUT, &error, "nowhere/model.wts");
    unet_model_close(&model);
}

static void verifying_counts_checksums(void **state)
{
    (void)state;
    unet_error error;
    size_t checksums;
    /* data.pkl, byteorder, version, the format's own marks and a storage */
    assert_ok(unet_model_verify(golden_path("formats", "shared-storage.pth"), &checksums, &error),
              &error);
    assert_true(checksums >= 4);
    assert_ok(unet_model_verify(golden_path("formats", "legacy.pth"), &checksums, &error), &error);
    assert_int_equal(checksums, 0);
    assert_error(unet_model_verify(golden_path("bad", "flipped-value.pth"), &checksums, &error),
                 UNET_ERROR_MODEL, &error, "flipped-value.pth: entry ");
    assert_error(unet_model_verify(golden_path("bad", "prose.pth"), &checksums, &error),
                 UNET_ERROR_MODEL, &error, "not a model");
    assert_error(unet_model_verify(temporary_path("none.pth"), &checksums, &error),
                 UNET_ERROR_MODEL, &error, "none.pth");
    unet_status status = UNET_ERROR_MEMORY;
    int failures = 0;
    for (; status != UNET_OK; failures++) {
        memory_fail_after(failures);
        status = unet_model_verify(golden_path("formats", "zip.pth"), &checksums, &error);
        memory_fail_after(-1);
        if (status != UNET_OK)
            assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
    }
    assert_true(failures > 2);
}

static void what_cannot_be_opened_is_named(void **state)
{
    (void)state;
    unet_model *model = NULL;
    unet_error error;
    assert_error(unet_model_open("/nowhere/at/all.pth", &model, &error), UNET_ERROR_MODEL, &error,
                 "/nowhere/at/all.pth");
    assert_error(unet_model_open(repository_path("tests"), &model, &error), UNET_ERROR_MODEL,
                 &error, "folder");
    assert_null(model);
    unet_model_close(&model);
    unet_model_close(NULL);
}

static void trained_networks_survive_conversion(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t entries;
        int64_t parameters;
    } cases[] = {
        {"models/membrane-w16.pth", 128, 839794},
        {"models/camvid-w32.pth", 118, 7763371},
        {"models/membrane.pth", 128, 13395394},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (shared_path(cases[i].path) == NULL)
            skip_without_shared();
        unet_model *model = NULL, *again = NULL;
        unet_model_info info = {.size = sizeof info};
        unet_error error;
        assert_ok(unet_model_open(shared_path(cases[i].path), &model, &error), &error);
        assert_ok(unet_model_get_info(model, &info, &error), &error);
        assert_int_equal(info.tensor_count, cases[i].entries);
        assert_int_equal(info.parameter_count, cases[i].parameters);
        const char *output = temporary_path("trained.wts");
        assert_ok(unet_model_save(model, output, &error), &error);
        assert_ok(unet_model_open(output, &again, &error), &error);
        for (size_t t = 0; t < info.tensor_count; t++) {
            const unet_tensor *from = &model->tensors.items[t], *to = &again->tensors.items[t];
            assert_string_equal(from->name, to->name);
            if (from->dtype == UNET_F32)
                assert_memory_equal(from->data, to->data, from->bytes);
        }
        unet_model_close(&model);
        unet_model_close(&again);
        remove(output);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_gives_the_same_wts),
        cmocka_unit_test(every_format_survives_safetensors),
        cmocka_unit_test(dtypes_are_kept),
        cmocka_unit_test(info_says_what_is_there),
        cmocka_unit_test(colours_are_mask_values_too),
        cmocka_unit_test(numpy_scalars_are_mask_values_too),
        cmocka_unit_test(the_extension_decides_what_is_written),
        cmocka_unit_test(verifying_counts_checksums),
        cmocka_unit_test(what_cannot_be_opened_is_named),
        cmocka_unit_test(trained_networks_survive_conversion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
