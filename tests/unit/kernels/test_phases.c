/* kernels/winograd_phases.c: when Winograd's convolutions go in phases, and in how many. That each
 * phase gives the bits of the other way is what tests/kernels checks. */
#include "support/support.h"

#include "kernels/kernel.h"
#include "kernels/share.h"

struct layer {
    struct kernel_desc desc;
    struct kernel_args args;
};

static struct layer layer_of(int in, int out, int height, int width)
{
    struct layer layer = {.desc = {.op = KERNEL_CONV,
                                   .source_count = 1,
                                   .source_channels = {in},
                                   .out_channels = out,
                                   .kernel_h = 3,
                                   .kernel_w = 3,
                                   .stride = 1,
                                   .padding = 1,
                                   .relu = true,
                                   .store_out = true}};
    blocked_init(&layer.args.sources[0], KERNEL_F32, in, height, width);
    blocked_init(&layer.args.out, KERNEL_F32, out, height, width);
    return layer;
}

static struct kernel_share share_by(const char *name, const struct layer *layer, int threads)
{
    const struct kernel *kernel = kernel_find(name);
    assert_non_null(kernel);
    struct kernel_args args = layer->args;
    args.threads = threads;
    return kernel_share(kernel, &layer->desc, &args);
}

static struct kernel_share share_of_layer(const struct layer *layer, int threads)
{
    return share_by("conv3x3.winograd4.c", layer, threads);
}

/* As phases are numbered: input and output transform of neighbours in one, products between. */
static int phases_of_chunks(int chunks)
{
    return 2 * chunks + 1;
}

static void wide_layers_go_in_phases(void **state)
{
    (void)state;
    struct layer layer = layer_of(512, 512, 64, 64); /* 256 tiles */
    assert_int_equal(share_of_layer(&layer, 1).phases, 1);
    assert_int_equal(share_of_layer(&layer, 2).phases, phases_of_chunks(4));
    assert_int_equal(share_of_layer(&layer, 16).phases, phases_of_chunks(1));
    layer = layer_of(512, 512, 256, 256); /* 4,096 tiles: memory is bounded */
    assert_int_equal(share_of_layer(&layer, 16).phases, phases_of_chunks(8));
    assert_int_equal(share_of_layer(&layer, 64).phases, phases_of_chunks(8));
}

static void narrow_layers_go_in_strips(void **state)
{
    (void)state;
    struct layer layer = layer_of(64, 64, 512, 512);
    assert_int_equal(share_of_layer(&layer, 16).phases, 1);
    layer = layer_of(128, 128, 64, 64);
    assert_int_equal(share_of_layer(&layer, 16).phases, 1);
    assert_int_equal(share_of_layer(&layer, 16).shared_bytes, 0);
    layer = layer_of(1024, 64, 64, 64);
    assert_int_equal(share_of_layer(&layer, 2).phases, 1);
}

/* F(6,3)'s U of 128 → 128 channels has 4 MiB, F(4,3)'s 2.25: a core of 2 MiB of cache holds
 * neither, but two threads read it faster than what they would pass to each other. */
static void many_threads_share_what_fits_none_of_their_caches(void **state)
{
    (void)state;
    struct layer layer = layer_of(128, 128, 96, 96); /* 256 tiles of F(6,3) */
    assert_int_equal(share_by("conv3x3.winograd6.c", &layer, 16).phases, phases_of_chunks(1));
    assert_int_equal(share_by("conv3x3.winograd6.c", &layer, 2).phases, 1);
    layer = layer_of(1024, 64, 64, 64);
    assert_int_equal(share_of_layer(&layer, 16).phases, phases_of_chunks(1));
    layer = layer_of(128, 64, 96, 96);
    assert_int_equal(share_by("conv3x3.winograd6.c", &layer, 16).phases, 1);
}

/* A head wants all blocks of a pixel from one task. */
static void heads_go_in_strips(void **state)
{
    (void)state;
    struct layer layer = layer_of(512, 512, 64, 64);
    layer.desc.head_channels = 2;
    layer.desc.store_out = false;
    assert_int_equal(share_of_layer(&layer, 16).phases, 1);
}

/* Products of 36 positions × 32 groups of a block taper where there are enough of them, and are as
 * even as they can be for more threads, on the smallest image too. */
static void products_keep_all_threads_busy(void **state)
{
    (void)state;
    struct layer layer = layer_of(512, 512, 4, 4);
    for (int threads = 2; threads <= 256; threads++) {
        struct kernel_share share = share_of_layer(&layer, threads);
        assert_int_equal(share.phases, phases_of_chunks(1));
        int units = 36 * 32, rounds = (share.tasks + threads - 1) / threads;
        int longest = rounds * ((units + share.tasks - 1) / share.tasks);
        assert_true(share.tasks >= threads);
        if (units >= 2 * TAPERING_TASKS * threads)
            assert_int_equal(share.tasks, TAPERING_TASKS * threads);
        else
            assert_true(longest <= (units + threads - 1) / threads);
    }
}

/* What 16 threads need together is less than V and M for each of them alone. */
static void threads_share_memory(void **state)
{
    (void)state;
    struct layer layer = layer_of(1024, 256, 64, 64);
    struct kernel_share strips = share_of_layer(&layer, 1), phases = share_of_layer(&layer, 16);
    assert_true(phases.shared_bytes > 0);
    assert_true(phases.shared_bytes + 16 * phases.scratch_bytes < 16 * strips.scratch_bytes / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wide_layers_go_in_phases),
        cmocka_unit_test(narrow_layers_go_in_strips),
        cmocka_unit_test(many_threads_share_what_fits_none_of_their_caches),
        cmocka_unit_test(heads_go_in_strips),
        cmocka_unit_test(products_keep_all_threads_busy),
        cmocka_unit_test(threads_share_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
