/* base/memory.c: alignment, arenas, and the switch that makes allocations fail. */
#include "support/support.h"

#include <string.h>

#include "base/memory.h"

static void aligned_blocks_are_aligned(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 63, 64, 65, 4096, (2u << 20) - 1, 2u << 20, (5u << 20) + 3};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *block = memory_alloc_aligned(sizes[i]);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % MEMORY_ALIGNMENT, 0);
        memset(block, 1, sizes[i]);
        memory_free_aligned(block);
    }
    assert_null(memory_alloc_aligned(SIZE_MAX - 5));
}

static void arenas_hand_out_zeroed_memory(void **state)
{
    (void)state;
    struct arena arena = {0};
    uint64_t seed = 3;
    for (int i = 0; i < 2000; i++) {
        size_t bytes = random_next(&seed) % 300 + (i % 100 == 0 ? 50000 : 0);
        uint8_t *block = arena_alloc(&arena, bytes);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 16, 0);
        for (size_t k = 0; k < bytes; k++)
            assert_int_equal(block[k], 0);
        memset(block, 0xff, bytes);
    }
    assert_string_equal(arena_strdup(&arena, "abc"), "abc");
    assert_string_equal(arena_strndup(&arena, "abcdef", 2), "ab");
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc_array(&arena, SIZE_MAX / 2, 3));
    arena_clear(&arena);
    arena_clear(&arena);
}

static void allocations_fail_on_demand(void **state)
{
    (void)state;
    memory_fail_after(2);
    void *a = memory_alloc(1), *b = memory_calloc(1, 1);
    assert_non_null(a);
    assert_non_null(b);
    assert_null(memory_alloc(1));
    assert_null(memory_alloc_aligned(1));
    assert_int_equal(memory_fail_after(-1), 4);
    memory_free(a);
    memory_free(b);
    assert_null(memory_alloc_array(SIZE_MAX / 2, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aligned_blocks_are_aligned),
        cmocka_unit_test(arenas_hand_out_zeroed_memory),
        cmocka_unit_test(allocations_fail_on_demand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
