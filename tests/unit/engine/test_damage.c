/* Damaged, truncated, foreign and forged engine files: refused in one line that says what to do.
 * The offsets here are those of docs/engine-format.md, not of the sources. */
#include "unit/engine/network.h"

#include <stdlib.h>

#include "base/file.h"
#include "base/hash.h"

#define HASHED      264 /* bytes of the header that its hash covers */
#define HEADER      280
#define TABLE       24
#define ENTRY       40
#define FACTS_BYTES 240

enum { FACTS = 1, GRAPH, STEPS, MASK_VALUES, WEIGHTS, PACKED };

static uint8_t *original;
static size_t original_bytes;

static int make_original(void **state)
{
    (void)state;
    unet_engine *engine = network_engine(false, 3);
    original_bytes = engine->file.size;
    original = memory_alloc_aligned(original_bytes);
    memcpy(original, engine->file.bytes, original_bytes);
    unet_engine_close(&engine);
    return 0;
}

static int free_original(void **state)
{
    (void)state;
    memory_free_aligned(original);
    return 0;
}

static uint64_t number_at(const uint8_t *bytes, size_t position, size_t width)
{
    uint64_t value = 0;
    memcpy(&value, bytes + position, width);
    return value;
}

static size_t section_offset(int id)
{
    return number_at(original, TABLE + (size_t)(id - 1) * ENTRY + 8, 8);
}

static size_t section_bytes(int id)
{
    return number_at(original, TABLE + (size_t)(id - 1) * ENTRY + 16, 8);
}

static uint8_t *copy_of_original(size_t bytes)
{
    uint8_t *copy = memory_alloc_aligned(bytes);
    memcpy(copy, original, bytes < original_bytes ? bytes : original_bytes);
    if (bytes > original_bytes)
        memset(copy + original_bytes, 0, bytes - original_bytes);
    return copy;
}

/* As a forger would: every hash is made to fit. */
static void fix_hashes(uint8_t *bytes)
{
    for (int id = FACTS; id <= PACKED; id++) {
        size_t entry = TABLE + (size_t)(id - 1) * ENTRY;
        struct hash128 hash = hash_bytes(bytes + section_offset(id), section_bytes(id));
        memcpy(bytes + entry + 24, hash.bytes, 16);
    }
    struct hash128 hash = hash_bytes(bytes, HASHED);
    memcpy(bytes + HASHED, hash.bytes, 16);
}

static void refuse_bytes(uint8_t *bytes, size_t count, const char *part)
{
    unet_error error;
    unet_engine *engine = NULL;
    unet_status status = engine_open_block(bytes, count, NULL, NULL, &engine, &error);
    assert_error(status, UNET_ERROR_MODEL, &error, part);
    assert_null(engine);
}

static void flip(size_t position, const char *part)
{
    uint8_t *bytes = copy_of_original(original_bytes);
    bytes[position] ^= (uint8_t)(1 << position % 8);
    refuse_bytes(bytes, original_bytes, part);
}

static void every_flipped_byte_is_found(void **state)
{
    (void)state;
    const char *const names[] = {[FACTS] = "'facts'",
                                 [GRAPH] = "'graph'",
                                 [STEPS] = "'steps'",
                                 [MASK_VALUES] = "'mask values'",
                                 [PACKED] = "'packed weights'"};
    for (size_t i = 0; i < HEADER; i++)
        flip(i, "");
    for (int id = FACTS; id <= MASK_VALUES; id++)
        for (size_t i = 0; i < section_bytes(id); i++)
            flip(section_offset(id) + i, names[id]);
    for (size_t i = 0; i < section_bytes(PACKED); i += 61)
        flip(section_offset(PACKED) + i, names[PACKED]);
    for (size_t i = section_offset(MASK_VALUES) + section_bytes(MASK_VALUES);
         i < section_offset(WEIGHTS); i += 13)
        flip(i, "'weights' does not lie where it must; copy the file again or rebuild it");
}

/* The canonical weights are looked at only where they are used. */
static void unused_weights_are_checked_when_used(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = NULL;
    uint8_t *bytes = copy_of_original(original_bytes);
    bytes[section_offset(WEIGHTS) + 100] ^= 4;
    assert_ok(engine_open_block(bytes, original_bytes, NULL, NULL, &engine, &error), &error);
    assert_error(unet_engine_verify(engine, &error), UNET_ERROR_MODEL, &error, "'weights'");
    unet_engine_close(&engine);
    setenv("UNET_CPU", "c", 1);
    if (cpu_tier_detected() != CPU_TIER_C)
        flip(section_offset(WEIGHTS) + 100, "'weights'");
    unsetenv("UNET_CPU");
}

static void files_cut_anywhere_are_refused(void **state)
{
    (void)state;
    for (size_t bytes = 0; bytes < original_bytes; bytes += bytes < 4096 ? 1 : 997)
        refuse_bytes(copy_of_original(bytes), bytes, "");
    refuse_bytes(copy_of_original(original_bytes - 1), original_bytes - 1, "copy the file again");
    refuse_bytes(copy_of_original(original_bytes + 1), original_bytes + 1, "copy the file again");
    refuse_bytes(copy_of_original(300), 300, "copy the file again");
    refuse_bytes(copy_of_original(5), 5, "copy it again");
}

static void refuse_file(const void *bytes, size_t count, const char *part)
{
    unet_error error;
    unet_engine *engine = NULL;
    const char *path = temporary_path("damaged.engine");
    assert_ok(file_write_whole(path, bytes, count, &error), &error);
    unet_status status = unet_engine_open(path, NULL, &engine, &error);
    assert_error(status, UNET_ERROR_MODEL, &error, "damaged.engine: ");
    assert_error(status, UNET_ERROR_MODEL, &error, part);
}

static void messages_name_the_file_and_the_cure(void **state)
{
    (void)state;
    uint8_t *bytes = copy_of_original(original_bytes);
    refuse_file("", 0, "not an engine");
    refuse_file("# Name: membrane\n", 17, "not an engine file; 'unet build' makes one");
    refuse_file("\x89UNE\n\x1a\n\0\1\0\0", 11, "as if it were text");
    bytes[8] = 9;
    refuse_file(bytes, original_bytes,
                "format 9, this libunet (0.1.0) reads 6; rebuild it with 'unet build'");
    bytes[8] = original[8];
    bytes[section_offset(GRAPH)] ^= 1;
    refuse_file(bytes, original_bytes, "'graph' is damaged; copy the file again or rebuild");
    memory_free_aligned(bytes);
}

/* ---------------------------------------------------------------- forged files */

/* Writes `value` at `position`, makes the hashes fit and expects a refusal that contains `part`. */
static void forge(size_t position, uint64_t value, size_t width, const char *part)
{
    uint8_t *bytes = copy_of_original(original_bytes);
    memcpy(bytes + position, &value, width);
    fix_hashes(bytes);
    refuse_bytes(bytes, original_bytes, part);
}

static void forged_tables_are_refused(void **state)
{
    (void)state;
    for (int id = FACTS; id <= PACKED; id++) {
        size_t entry = TABLE + (size_t)(id - 1) * ENTRY;
        uint8_t *bytes = copy_of_original(original_bytes);
        const uint64_t wrong[] = {0, 1, UINT64_MAX, section_offset(id) + 64, original_bytes};
        for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
            for (size_t field = 8; field <= 16; field += 8) {
                memcpy(bytes, original, HEADER);
                memcpy(bytes + entry + field, &wrong[i], 8);
                struct hash128 hash = hash_bytes(bytes, HASHED);
                memcpy(bytes + HASHED, hash.bytes, 16);
                uint8_t *forged = memory_alloc_aligned(original_bytes);
                memcpy(forged, bytes, original_bytes);
                refuse_bytes(forged, original_bytes, "");
            }
        }
        memory_free_aligned(bytes);
        forge(entry, 77, 4, "does not lie where it must");
        forge(entry + 4, 1, 4, "does not lie where it must");
    }
    forge(12, 5, 4, "5 sections");
    forge(16, original_bytes + 1, 8, "where its header says");
}

static void forged_facts_are_refused(void **state)
{
    (void)state;
    size_t facts = section_offset(FACTS);
    uint64_t infinity = 0x7ff0000000000000u, negative = 0xbff0000000000000u;
    assert_int_equal(section_bytes(FACTS), FACTS_BYTES);
    forge(facts, 0x0a, 1, "facts");     /* a control character in the name */
    forge(facts + 47, 'x', 1, "facts"); /* the name does not end */
    forge(facts + 48, 'x', 1, "precision is not that of the facts");
    forge(facts + 48, 0x36316662, 4, "precision is not that of the facts"); /* bf16 */
    forge(facts + 64, 4, 4, "channels");                                    /* not the graph's */
    forge(facts + 68, 6, 4, "channels");
    forge(facts + 76, 32769, 4, "facts");
    forge(facts + 84, 0, 4, "facts");
    forge(facts + 84, 4, 4, "facts");
    forge(facts + 84, 3, 4, "standard deviation"); /* all zero */
    forge(facts + 88, UINT64_MAX, 8, "facts");
    forge(facts + 96, 0, 8, "scale");
    forge(facts + 96, infinity, 8, "scale");
    forge(facts + 96, negative, 8, "scale");
    forge(facts + 232, 4, 4, "mask values");
    forge(facts + 236, 3, 4, "mask values");
    forge(facts + 236, 2, 4, "mask values");
    forge(facts + 232, UINT64_MAX, 8, "facts");
}

/* Values begin 28 bytes into the graph: channels, type, zero, a name's length, the
 * name. */
static void forged_types_are_refused(void **state)
{
    (void)state;
    size_t type = section_offset(GRAPH) + 28 + 4;
    assert_int_equal(number_at(original, type, 4), 1);
    forge(type, 0, 4, "graph");
    forge(type, 6, 4, "graph");
    forge(type, 5, 4, "precision is not that of the facts");
    forge(type, 4, 4, "precision is not that of the facts");
    forge(type, 2, 4, "precision is not that of the facts");
    forge(type, 3, 4, "precision is not that of the facts");
    forge(type + 4, 256, 4, "graph");
    forge(type + 4, 128, 4, "only one of bytes");
}

/* Any 32-bit field of the graph, replaced by the values that break readers, must be refused or do
 * no harm: the sanitisers watch. */
static void forged_graphs_do_no_harm(void **state)
{
    (void)state;
    const uint32_t values[] = {0, 1, 2, 7, 0x7fffffff, 0x80000000u, 0xffffffffu, 4097, 65537};
    float *input = network_input(3 * 16 * 16, 1);
    float *logits = memory_alloc_array(65536 * 16, sizeof *logits);
    int refused = 0, ran = 0;
    for (size_t at = 0; at + 4 <= section_bytes(GRAPH); at++) {
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            unet_error error;
            unet_engine *engine = NULL;
            unet_session *session = NULL;
            unet_session_options options = {.size = sizeof options, .threads = 1};
            uint8_t *bytes = copy_of_original(original_bytes);
            memcpy(bytes + section_offset(GRAPH) + at, &values[v], 4);
            fix_hashes(bytes);
            unet_status status =
                engine_open_block(bytes, original_bytes, NULL, NULL, &engine, &error);
            refused += status != UNET_OK;
            if (status != UNET_OK)
                continue;
            assert_ok(unet_session_create(engine, &options, &session, &error), &error);
            ran += unet_session_run(session, input, 1, 16, 16, logits, &error) == UNET_OK;
            unet_session_close(&session);
            unet_engine_close(&engine);
        }
    }
    assert_true(refused > 1000);
    assert_true(ran > 10); /* names and the like */
    memory_free(input);
    memory_free(logits);
}

static void unknown_kernels_are_replaced(void **state)
{
    (void)state;
    unet_error error;
    unet_engine *engine = NULL;
    uint8_t *bytes = copy_of_original(original_bytes);
    size_t name = section_offset(STEPS) + 16 + 4 + 2; /* the tier, the count, a length */
    bytes[name] = 'X';
    fix_hashes(bytes);
    assert_ok(engine_open_block(bytes, original_bytes, NULL, NULL, &engine, &error), &error);
    assert_true(engine->repacked);
    unet_engine_close(&engine);
}

static void forged_steps_are_refused(void **state)
{
    (void)state;
    size_t steps = section_offset(STEPS);
    forge(steps, 0x1b, 1, "steps");
    forge(steps + 16, 6, 4, "steps");
    forge(steps + 20, 0xffff, 2, "steps");
    forge(steps + 20, 3, 2, "steps");
    forge(steps + 22, 7, 1, "steps");
}

static void not_a_number_is_refused_where_it_is_used(void **state)
{
    (void)state;
    if (cpu_tier_detected() == CPU_TIER_C)
        return; /* without a second tier nothing is ever packed anew */
    setenv("UNET_CPU", "c", 1);
    forge(section_offset(WEIGHTS) + 8, 0x7fc00000, 4, "conv1.weight");
    unsetenv("UNET_CPU");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_byte_is_found),
        cmocka_unit_test(unused_weights_are_checked_when_used),
        cmocka_unit_test(files_cut_anywhere_are_refused),
        cmocka_unit_test(messages_name_the_file_and_the_cure),
        cmocka_unit_test(forged_tables_are_refused),
        cmocka_unit_test(forged_facts_are_refused),
        cmocka_unit_test(forged_types_are_refused),
        cmocka_unit_test(forged_graphs_do_no_harm),
        cmocka_unit_test(unknown_kernels_are_replaced),
        cmocka_unit_test(forged_steps_are_refused),
        cmocka_unit_test(not_a_number_is_refused_where_it_is_used),
    };
    return cmocka_run_group_tests(tests, make_original, free_original);
}
