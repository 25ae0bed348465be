/* kernels/peak.c: which instructions the rate of bf16 is taken from. */
#include "support/support.h"

#include <stdlib.h>

#include "base/cpu.h"
#include "kernels/peak.h"

static double share_under(const char *limit)
{
    assert_int_equal(setenv("UNET_CPU", limit, 1), 0);
    double share = peak_bf16_share();
    assert_int_equal(unsetenv("UNET_CPU"), 0);
    return share;
}

static void no_bf16_has_no_share(void **state)
{
    (void)state;
    assert_true(share_under("c") == 0.0);
    assert_true(share_under("avx2") == 0.0);
    assert_true(share_under("avx512_vnni") == 0.0);
    if (!(cpu_features() & (CPU_AVX512_BF16 | CPU_AMX_BF16)))
        assert_true(peak_bf16_share() == 0.0);
}

/* A product of AVX512_BF16 does twice the work of float32's, at a quarter of its rate or more; a
 * matrix unit several times that. */
static void shares_are_those_of_the_instructions(void **state)
{
    (void)state;
    if (!(cpu_features() & CPU_AVX512_BF16)) {
        print_message("AVX512_BF16 is not on this machine\n");
        skip();
    }
    assert_true(share_under("avx512_bf16") > 0.25 && share_under("avx512_bf16") < 3.0);
    if (cpu_features() & CPU_AMX_BF16)
        assert_true(peak_bf16_share() > 3.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_bf16_has_no_share),
        cmocka_unit_test(shares_are_those_of_the_instructions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
