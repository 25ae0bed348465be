#include "kernels/kernel.h"
#include "kernels/list.h"

#include "base/options.h"

#include <stdio.h>
#include <string.h>

static const struct kernel *const kernels[] = {
    &conv3x3_winograd4_avx512,
    &conv3x3_winograd6_avx512,
    &conv3x3_winograd2_avx512,
    &conv3x3_direct_avx512,
    &conv3x3_direct_bf16_amx,
    &conv3x3_direct_u8_amx,
    &conv3x3_winograd4_bf16_avx512,
    &conv3x3_winograd2_bf16_avx512,
    &conv3x3_direct_bf16_avx512,
    &conv3x3_winograd4_u8_avx512,
    &conv3x3_winograd6_u8_avx512,
    &conv3x3_winograd2_u8_avx512,
    &conv3x3_direct_u8_avx512,
    &conv3x3_winograd4_avx2,
    &conv3x3_winograd6_avx2,
    &conv3x3_winograd2_avx2,
    &conv3x3_direct_avx2,
    &conv3x3_winograd4_u8_avx2,
    &conv3x3_winograd6_u8_avx2,
    &conv3x3_winograd2_u8_avx2,
    &conv3x3_direct_u8_vnni_avx2,
    &conv3x3_direct_u8_avx2,
    &conv3x3_winograd4_c,
    &conv3x3_winograd6_c,
    &conv3x3_winograd2_c,
    &conv3x3_direct_c,
    &conv3x3_direct_bf16_c,
    &conv3x3_winograd4_u8_c,
    &conv3x3_winograd6_u8_c,
    &conv3x3_winograd2_u8_c,
    &conv3x3_direct_u8_c,
    &conv_direct_c,
    &conv_transpose_direct_avx512,
    &conv_transpose_direct_bf16_avx512,
    &conv_transpose_direct_u8_avx512,
    &conv_transpose_direct_avx2,
    &conv_transpose_direct_u8_vnni_avx2,
    &conv_transpose_direct_u8_avx2,
    &conv_transpose_direct_c,
    &conv_transpose_direct_bf16_c,
    &conv_transpose_direct_u8_c,
    &upsample_bf16_avx512,
    &upsample_avx512,
    &upsample_avx2,
    &upsample_c,
    &max_pool_avx512,
    &max_pool_avx2,
    &max_pool_c,
    &load_avx512,
    &load_avx2,
    &load_c,
    &store_avx512,
    &store_avx2,
    &store_c,
    NULL,
};

#define KERNEL_COUNT (sizeof kernels / sizeof kernels[0] - 1)

const struct kernel *const *kernel_list(void)
{
    return kernels;
}

const struct kernel *kernel_find(const char *name)
{
    for (size_t i = 0; i < KERNEL_COUNT; i++) {
        if (strcmp(kernels[i]->name, name) == 0)
            return kernels[i];
    }
    return NULL;
}

/* The last one's reason: the list goes from the machines that have most to those that have
 * least. */
const char *kernel_type_refusal(enum kernel_type type, enum cpu_tier tier, char *text, size_t bytes)
{
    if (type == KERNEL_F32)
        return NULL;
    snprintf(text, bytes, "this libunet has no kernels for it");
    for (size_t i = 0; i < KERNEL_COUNT; i++) {
        char reason[160];
        if (kernels[i]->fast_type != type)
            continue;
        const char *refusal = kernel_machine_refusal(kernels[i], tier, reason, sizeof reason);
        if (refusal == NULL)
            return NULL;
        snprintf(text, bytes, "%s", refusal);
    }
    return text;
}

size_t unet_kernel_count(void)
{
    return KERNEL_COUNT;
}

/* The texts live until this thread's next call. */
unet_status unet_kernel_get(size_t index, unet_kernel_info *info, unet_error *error)
{
    static _Thread_local char needs[160], refused[192];

    if (index >= KERNEL_COUNT)
        return error_set(error, UNET_ERROR_USAGE, "there is no kernel %zu: the last one is %zu",
                         index, KERNEL_COUNT - 1);
    enum cpu_tier tier;
    TRY(cpu_tier_allowed(&tier, error));

    const struct kernel *kernel = kernels[index];
    char features[128] = "";
    if (kernel->features != 0)
        cpu_feature_names(kernel->features, features, sizeof features);
    const char *tier_name = kernel->tier == CPU_TIER_C ? "" : cpu_tier_name(kernel->tier);
    snprintf(needs, sizeof needs, "%s%s%s", tier_name,
             tier_name[0] != '\0' && features[0] != '\0' ? " " : "", features);

    unet_kernel_info known = {
        .size = sizeof known,
        .name = kernel->name,
        .needs = needs,
        .refused = kernel_machine_refusal(kernel, tier, refused, sizeof refused),
    };
    return options_write(info, &known, sizeof known, "unet_kernel_info", error);
}
