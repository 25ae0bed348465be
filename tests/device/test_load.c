/* kernels/device.c and target.c: names of devices, and the back end's library, there, missing,
 * broken or of another version. */
#include "on_device.h"

#include <sys/wait.h>
#include <unistd.h>

static void names_of_devices(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",      "cpu",     "gpu",     "cuda:", "cuda:-1",    "cuda:01",
        "cuda0", "cuda: 1", "cuda:1x", "CUDA",  "cuda:99999", "auto"};
    unet_error error;
    int index = -1;
    assert_ok(device_parse("cuda", &index, &error), &error);
    assert_int_equal(index, 0);
    assert_ok(device_parse("cuda:0", &index, &error), &error);
    assert_int_equal(index, 0);
    assert_ok(device_parse("cuda:17", &index, &error), &error);
    assert_int_equal(index, 17);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_error(device_parse(wrong[i], &index, &error), UNET_ERROR_USAGE, &error,
                     "give cpu, cuda");
}

static void refuse(const char *library, const char *part)
{
    const struct device_backend *backend = NULL;
    unet_error error;
    setenv("UNET_CUDA_LIBRARY", library, 1);
    assert_error(device_backend_load(&backend, &error), UNET_ERROR_DEVICE, &error, part);
    assert_null(backend);
    assert_int_equal(device_backend_load(&backend, NULL), UNET_ERROR_DEVICE);
}

static void libraries_that_are_none_are_refused(void **state)
{
    (void)state;
    refuse("/nowhere/libunet-cuda.so", "not in /nowhere/libunet-cuda.so");
    refuse(repository_path("README.md"), "cannot be loaded");
    refuse("libm.so.6", "device_backend_table");
    refuse(BROKEN_DEVICE, "another version");
}

/* A back end is loaded once a process, and this one needs the fake after. */
static int look_for_it(void)
{
    const struct device_backend *backend = NULL;
    unet_error error;
    unsetenv("UNET_CUDA_LIBRARY");
    if (device_backend_load(&backend, &error) == UNET_OK)
        return strcmp(backend->name, "cuda") != 0;
    return strstr(error.message, "libunet-cuda.so") == NULL;
}

static void without_a_name_it_is_looked_for_beside_the_program(void **state)
{
    (void)state;
    int status = -1;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(look_for_it());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_device_is_opened_and_asked(void **state)
{
    (void)state;
    struct kernel_target target;
    unet_error error;
    char name[TARGET_NAME_BYTES], device[DEVICE_NAME_BYTES], text[160];
    char precisions[TARGET_PRECISIONS_BYTES];
    use_fake_device();
    assert_ok(target_open(0, &target, &error), &error);
    target_name(&target, name);
    target_device(&target, device);
    target_precisions(&target, precisions);
    assert_string_equal(name, "fake sm_90");
    assert_string_equal(device, "cuda:0");
    assert_string_equal(precisions, "fp32, tf32, fp16, bf16, int8 and fp8");
    assert_string_equal(target_device_name(&target), "A device of the tests");
    assert_non_null(target_kernel_find(&target, "conv.reference.fake"));
    assert_null(target_kernel_find(&target, "conv.direct.c"));
    const struct kernel *newer = target_kernel_find(&target, "conv.newer.fake");
    assert_string_equal(target_kernel_refusal(&target, newer, text, sizeof text),
                        "needs sm_100, this is sm_90");
    assert_null(target_type_refusal(&target, KERNEL_U8, false, text, sizeof text));
    setenv("UNET_FAKE_NO_BYTES", "1", 1);
    assert_non_null(target_type_refusal(&target, KERNEL_U8, false, text, sizeof text));
    unsetenv("UNET_FAKE_NO_BYTES");
    assert_null(target_type_refusal(&target, KERNEL_E4M3, false, text, sizeof text));
    setenv("UNET_FAKE_NO_FP8", "1", 1);
    assert_non_null(target_type_refusal(&target, KERNEL_E4M3, false, text, sizeof text));
    target_precisions(&target, precisions);
    assert_string_equal(precisions, "fp32, tf32, fp16, bf16 and int8");
    unsetenv("UNET_FAKE_NO_FP8");
    target_close(&target);
    target_close(&target);
    assert_int_equal(counts_now().live_objects, 0);
}

static void devices_are_counted(void **state)
{
    (void)state;
    struct kernel_target target;
    unet_error error;
    int count = -1;
    assert_ok(unet_device_count(&count, &error), &error);
    assert_int_equal(count, 1);
    assert_error(target_open(1, &target, &error), UNET_ERROR_DEVICE, &error, "the only one is");
    setenv("UNET_FAKE_DEVICES", "3", 1);
    assert_error(target_open(3, &target, &error), UNET_ERROR_DEVICE, &error, "fake:0 to fake:2");
    setenv("UNET_FAKE_DEVICES", "0", 1);
    assert_error(target_open(0, &target, &error), UNET_ERROR_DEVICE, &error, "sees none");
    unsetenv("UNET_FAKE_DEVICES");
}

static void the_public_interface_tells(void **state)
{
    (void)state;
    unet_error error;
    unet_device_info info = {.size = sizeof info};
    unet_kernel_info kernel = {.size = sizeof kernel};
    int refused = 0;
    assert_ok(unet_device_get_info(0, &info, &error), &error);
    assert_string_equal(info.id, "cuda:0");
    assert_string_equal(info.name, "A device of the tests");
    assert_string_equal(info.precisions, "fp32, tf32, fp16, bf16, int8 and fp8");
    assert_int_equal(info.kernel_count, 8);
    for (size_t i = 0; i < info.kernel_count; i++) {
        assert_ok(unet_device_get_kernel(0, i, &kernel, &error), &error);
        refused += kernel.refused != NULL;
        if (kernel.refused != NULL)
            assert_string_equal(kernel.needs, "sm_100 or later");
    }
    assert_int_equal(refused, 1);
    assert_error(unet_device_get_kernel(0, info.kernel_count, &kernel, &error), UNET_ERROR_USAGE,
                 &error, "the device has 8");
    assert_error(unet_device_get_info(1, &info, &error), UNET_ERROR_DEVICE, &error, "only one");
    assert_error(unet_device_get_info(-1, &info, &error), UNET_ERROR_USAGE, &error, "device -1");
    assert_error(unet_device_get_info(0, NULL, &error), UNET_ERROR_USAGE, &error, "needs info");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_devices),
        cmocka_unit_test(libraries_that_are_none_are_refused),
        cmocka_unit_test(without_a_name_it_is_looked_for_beside_the_program),
        cmocka_unit_test(a_device_is_opened_and_asked),
        cmocka_unit_test(devices_are_counted),
        cmocka_unit_test(the_public_interface_tells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
