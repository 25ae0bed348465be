/* Zip archives around one pickle and one storage, with every field open to forgery; offsets and
 * signatures are those of PKWARE's APPNOTE.TXT. */
#include "unit/model/files.h"

#include <zlib.h>

#define SEVEN 7.0f

/* {"w": one float of storage "0"} */
static const char pickle[] = "\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n("
                             "(U\x07storagectorch\nFloatStorage\nU\x01"
                             "0U\x03"
                             "cpuK\x01tQ"
                             "K\x00K\x01\x85K\x01\x85\x89}tRs.";

/* What the second entry's records say in place of the truth. */
struct lies {
    uint32_t crc;          /* to the CRC */
    int64_t offset;        /* to the local header's offset */
    uint16_t local_method; /* to both methods, */
    uint16_t central_method;
    uint32_t local_stored; /* and so on */
    uint32_t longer;       /* to both sizes in the directory */
    bool descriptor, zip64, other_name, twice;
};

struct entry {
    const char *name;
    const void *data;
    size_t size;
    uint64_t offset;
};

static void put_local(struct bytes *zip, struct entry *entry, const struct lies *lies)
{
    uint32_t crc = (uint32_t)crc32(0, entry->data, (uInt)entry->size);
    entry->offset = zip->size;
    put(zip, "PK\3\4\x14\0", 6);
    put_number(zip, lies->descriptor ? 8 : 0, 2);
    put_number(zip, lies->local_method, 2);
    put_number(zip, 0, 4);
    put_number(zip, lies->descriptor ? 0 : crc + lies->crc, 4);
    put_number(zip, lies->descriptor ? 0 : entry->size + lies->local_stored, 4);
    put_number(zip, lies->descriptor ? 0 : entry->size, 4);
    put_number(zip, strlen(entry->name), 2);
    put_number(zip, 6, 2);
    put_text(zip, entry->name);
    if (lies->other_name)
        zip->data[zip->size - 1] = 'X';
    put(zip, "FB\2\0ZZ", 6); /* an extra field, as PyTorch pads with */
    put(zip, entry->data, entry->size);
    if (lies->descriptor)
        put(zip, "PK\7\10............", 16);
}

static void put_central(struct bytes *zip, const struct entry *entry, const struct lies *lies)
{
    put(zip, "PK\1\2\x14\0\x14\0", 8);
    put_number(zip, lies->descriptor ? 8 : 0, 2);
    put_number(zip, lies->central_method, 2);
    put_number(zip, 0, 4);
    put_number(zip, (uint32_t)crc32(0, entry->data, (uInt)entry->size) + lies->crc, 4);
    put_number(zip, lies->zip64 ? 0xffffffff : entry->size + lies->longer, 4);
    put_number(zip, entry->size + lies->longer, 4);
    put_number(zip, strlen(entry->name), 2);
    put_number(zip, lies->zip64 ? 24 : 0, 2);
    put_number(zip, 0, 10);
    put_number(zip, lies->zip64 ? 0xffffffff : entry->offset + (uint64_t)lies->offset, 4);
    put_text(zip, entry->name);
    if (lies->zip64) { /* another field first; size and offset, but no stored size */
        put(zip, "XY\0\0\1\0\x10\0", 8);
        put_number(zip, entry->size, 8);
        put_number(zip, entry->offset + (uint64_t)lies->offset, 8);
    }
}

static void put_end(struct bytes *zip, uint64_t directory, int count, bool zip64)
{
    uint64_t end = zip->size, bytes = end - directory;
    if (zip64) {
        put(zip, "PK\6\6", 4);
        put_number(zip, 44, 8);
        put(zip, "\x2d\0\x2d\0\0\0\0\0\0\0\0\0", 12);
        put_number(zip, (uint64_t)count, 8);
        put_number(zip, (uint64_t)count, 8);
        put_number(zip, bytes, 8);
        put_number(zip, directory, 8);
        put(zip, "PK\6\7\0\0\0\0", 8);
        put_number(zip, end, 8);
        put_number(zip, 1, 4);
    }
    put(zip, "PK\5\6\0\0\0\0", 8);
    put_number(zip, zip64 ? 0xffff : (uint64_t)count, 2);
    put_number(zip, zip64 ? 0xffff : (uint64_t)count, 2);
    put_number(zip, zip64 ? 0xffffffff : bytes, 4);
    put_number(zip, zip64 ? 0xffffffff : directory, 4);
    put_number(zip, 7, 2);
    put(zip, "comment", 7);
}

static struct bytes make_zip(struct lies lies)
{
    static const float seven = SEVEN;
    static const struct lies none = {0};
    struct entry entries[] = {{"top/data.pkl", pickle, sizeof pickle - 1, 0},
                              {"top/data/0", &seven, sizeof seven, 0}};
    struct bytes zip = {0};
    put_local(&zip, &entries[0], &none);
    put_local(&zip, &entries[1], &lies);
    uint64_t directory = zip.size;
    put_central(&zip, &entries[0], &none);
    put_central(&zip, &entries[1], &lies);
    if (lies.twice)
        put_central(&zip, &entries[1], &lies);
    put_end(&zip, directory, lies.twice ? 3 : 2, lies.zip64);
    return zip;
}

static void is_read(struct lies lies)
{
    struct bytes zip = make_zip(lies);
    struct unet_model model;
    unet_error error;
    assert_ok(read_memory(zip.data, zip.size, &model, &error), &error);
    free(zip.data); /* the model must not point into it */
    assert_int_equal(model.tensors.count, 1);
    assert_true(*(const float *)model.tensors.items[0].data == SEVEN);
    tensor_set_clear(&model.tensors);
}

static void is_refused(struct lies lies, const char *part)
{
    struct bytes zip = make_zip(lies);
    assert_refused(zip.data, zip.size, part);
    free(zip.data);
}

static uint32_t true_crc(void)
{
    static const float seven = SEVEN;
    return (uint32_t)crc32(0, (const Bytef *)&seven, sizeof seven);
}

static void true_archives_are_read(void **state)
{
    (void)state;
    is_read((struct lies){0});
    is_read((struct lies){.descriptor = true});
    is_read((struct lies){.zip64 = true});
    is_read((struct lies){.zip64 = true, .descriptor = true});
    is_read((struct lies){.crc = 0 - true_crc()});           /* 0: not recorded */
    is_read((struct lies){.local_stored = 0xffffffffu - 4}); /* "see the zip64 field" */
}

static void lies_are_refused(void **state)
{
    (void)state;
    is_refused((struct lies){.crc = 1}, "CRC");
    is_refused((struct lies){.offset = 1}, "zip");
    is_refused((struct lies){.offset = 1 << 20}, "zip");
    is_refused((struct lies){.local_method = 8}, "method");
    is_refused((struct lies){.local_method = 8, .central_method = 8}, "compressed");
    is_refused((struct lies){.local_stored = 1}, "size");
    /* past its descriptor and into the directory, whose bytes would pass for values */
    is_refused((struct lies){.descriptor = true, .longer = 20}, "beyond");
    is_refused((struct lies){.descriptor = true, .longer = 16, .crc = 0 - true_crc()}, "0' has 20");
    is_refused((struct lies){.other_name = true}, "name");
    is_refused((struct lies){.twice = true}, "top/data/0");
    is_refused((struct lies){.zip64 = true, .offset = INT64_C(1) << 40}, "zip");
    is_refused((struct lies){.zip64 = true, .offset = -1}, "zip");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(true_archives_are_read),
        cmocka_unit_test(lies_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
