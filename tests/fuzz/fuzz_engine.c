/* Engine files that a forger made: the hashes always fit, so that what lies behind them is reached.
 *
 * The input is a list of patches of 9 bytes on an engine of our own, in bf16 where a byte is left
 * over: offset (4 bytes), width and
 * place (1), value (4); the place is anywhere, or in the small sections that say what the rest
 * means. An input that begins with the engine's magic is a whole file and taken as it is.
 * An engine that opens is run at a small size: a file that passes the reader must run. */
#include "unit/engine/network.h"

#include "base/hash.h"
#include "base/memory.h"

#define HASHED        264
#define TABLE         24
#define ENTRY         40
#define SECTIONS      6
#define PATCH_BYTES   9
#define WEIGHTS       4 /* the section behind the small ones */
#define HEIGHT        6
#define WIDTH         9
#define MOST_CHANNELS 256 /* more would make a slow run, not a new one */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const unet_engine *base_engine(enum graph_type type)
{
    static unet_engine *engines[GRAPH_TYPE_COUNT];
    if (engines[type] == NULL)
        engines[type] = network_engine_of(true, 1, type);
    return engines[type];
}

static uint64_t number_at(const uint8_t *bytes, size_t position)
{
    uint64_t value;
    memcpy(&value, bytes + position, sizeof value);
    return value;
}

static void fix_hashes(uint8_t *bytes, size_t size)
{
    if (size < HASHED + 16)
        return;
    for (size_t i = 0; i < SECTIONS; i++) {
        uint8_t *entry = bytes + TABLE + i * ENTRY;
        uint64_t offset = number_at(entry, 8), count = number_at(entry, 16);
        if (offset > size || count > size - offset)
            continue;
        struct hash128 hash = hash_bytes(bytes + offset, count);
        memcpy(entry + 24, hash.bytes, 16);
    }
    struct hash128 hash = hash_bytes(bytes, HASHED);
    memcpy(bytes + HASHED, hash.bytes, 16);
}

static uint8_t *patched(const uint8_t *data, size_t size, size_t *bytes)
{
    const unet_engine *engine = base_engine(size % PATCH_BYTES > 0 ? GRAPH_BF16 : GRAPH_F32);
    const struct file_map *base = &engine->file;
    size_t small = engine->sections[WEIGHTS].offset;
    uint8_t *made = memory_alloc_aligned(base->size);
    memcpy(made, base->bytes, base->size);
    for (; size >= PATCH_BYTES; data += PATCH_BYTES, size -= PATCH_BYTES) {
        uint32_t offset;
        memcpy(&offset, data, sizeof offset);
        size_t at = offset % (data[4] & 128 ? base->size : small), width = 1 + data[4] % 4;
        memcpy(made + at, data + 5, width < base->size - at ? width : base->size - at);
    }
    *bytes = base->size;
    return made;
}

static uint8_t *whole(const uint8_t *data, size_t size, size_t *bytes)
{
    uint8_t *made = memory_alloc_aligned(size);
    memcpy(made, data, size);
    *bytes = size;
    return made;
}

static void run(const unet_engine *engine)
{
    int in = engine->facts.in_channels, classes = engine->facts.classes;
    unet_session *session = NULL;
    unet_session_options options = {.size = sizeof options, .threads = 1};
    if (in > MOST_CHANNELS || classes > MOST_CHANNELS ||
        unet_session_create(engine, &options, &session, NULL) != UNET_OK)
        return;
    float *input = memory_calloc((size_t)(in * HEIGHT * WIDTH), sizeof *input);
    float *logits = memory_calloc((size_t)(classes * HEIGHT * WIDTH), sizeof *logits);
    unet_session_run(session, input, 1, HEIGHT, WIDTH, logits, NULL);
    memory_free(input);
    memory_free(logits);
    unet_session_close(&session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t bytes;
    bool is_file = size >= 4 && memcmp(data, "\x89UNE", 4) == 0;
    uint8_t *block = is_file ? whole(data, size, &bytes) : patched(data, size, &bytes);
    unet_engine *engine = NULL;
    fix_hashes(block, bytes);
    if (engine_open_block(block, bytes, NULL, NULL, &engine, NULL) == UNET_OK) {
        unet_engine_verify(engine, NULL);
        run(engine);
        unet_engine_close(&engine);
    }
    return 0;
}
