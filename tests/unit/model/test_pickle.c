/* The pickle machine, opcode by opcode, and what is taken from its values. Pickles are put together
 * by hand here after Python's pickletools; those that PyTorch wrote are in test_formats. */
#include "unit/model/files.h"

#include "model/pickle.h"
#include "model/state_dict.h"
#include "model/tensor_copy.h"

/* A pickle in pieces: text, of which \0 needs the size. */
#define PICKLE(literal) (const uint8_t *)(literal), sizeof(literal) - 1

struct loaded {
    struct arena arena;
    struct pickle_storages storages;
    const struct pickle_value *value;
};

static unet_status load(const uint8_t *bytes, size_t size, struct loaded *loaded, unet_error *error)
{
    struct byte_reader reader = {.bytes = bytes, .size = size};
    *loaded = (struct loaded){0};
    return pickle_load(&reader, &loaded->arena, &loaded->storages, &loaded->value, error);
}

static void clear(struct loaded *loaded)
{
    pickle_storages_clear(&loaded->storages);
    arena_clear(&loaded->arena);
}

static void loads_integer(const uint8_t *bytes, size_t size, int64_t expected)
{
    struct loaded loaded;
    unet_error error;
    assert_ok(load(bytes, size, &loaded, &error), &error);
    assert_int_equal(loaded.value->kind, PICKLE_INT);
    assert_true(loaded.value->integer == expected);
    clear(&loaded);
}

static void integers_of_every_width(void **state)
{
    (void)state;
    loads_integer(PICKLE("K\xff."), 255);
    loads_integer(PICKLE("M\xff\xff."), 65535);
    loads_integer(PICKLE("J\xff\xff\xff\xff."), -1);
    loads_integer(PICKLE("J\x00\x00\x00\x80."), INT32_MIN);
    loads_integer(PICKLE("\x8a\x00."), 0);
    loads_integer(PICKLE("\x8a\x01\x80."), -128);
    loads_integer(PICKLE("\x8a\x02\x80\x00."), 128);
    loads_integer(PICKLE("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."), INT64_MIN);
    loads_integer(PICKLE("\x8b\x02\x00\x00\x00\x00\x01."), 256);
    loads_integer(PICKLE("I-4294967296\n."), -INT64_C(4294967296));
    loads_integer(PICKLE("L1099511627776L\n."), INT64_C(1) << 40);
}

static void loads_kind(const uint8_t *bytes, size_t size, enum pickle_kind kind)
{
    struct loaded loaded;
    unet_error error;
    assert_ok(load(bytes, size, &loaded, &error), &error);
    assert_int_equal(loaded.value->kind, kind);
    assert_non_null(pickle_kind_name(kind));
    clear(&loaded);
}

static void plain_values(void **state)
{
    (void)state;
    loads_kind(PICKLE("N."), PICKLE_NONE);
    loads_kind(PICKLE("(1N."), PICKLE_NONE);
    loads_kind(PICKLE("(t."), PICKLE_TUPLE);
    loads_kind(PICKLE("I01\n."), PICKLE_BOOL);
    loads_kind(PICKLE("\x89."), PICKLE_BOOL);
    loads_kind(PICKLE("\x8a\x09\0\0\0\0\0\0\0\0\x01."), PICKLE_BYTES);
    loads_kind(PICKLE("C\x01x."), PICKLE_BYTES);
    loads_kind(PICKLE("U\x01x."), PICKLE_STRING);
    loads_kind(PICKLE("\x8d\x01\0\0\0\0\0\0\0x."), PICKLE_STRING);
    loads_kind(PICKLE("(K\x01K\x02t."), PICKLE_TUPLE);
    loads_kind(PICKLE("](K\x01\x65."), PICKLE_LIST);
    loads_kind(PICKLE("\x8f(K\x01\x90."), PICKLE_OPAQUE);
    loads_kind(PICKLE("(K\x01\x91."), PICKLE_OPAQUE);
    loads_kind(PICKLE("N(\x88\x88"
                      "1\x89"
                      "0."),
               PICKLE_NONE); /* what is popped is gone */
}

static void floats_are_big_endian(void **state)
{
    (void)state;
    struct loaded loaded;
    unet_error error;
    assert_ok(load(PICKLE("G\xbf\xf8\0\0\0\0\0\0."), &loaded, &error), &error);
    assert_int_equal(loaded.value->kind, PICKLE_FLOAT);
    assert_true(loaded.value->real == -1.5);
    clear(&loaded);
}

/* A NumPy scalar as protocol 3 and later write it. */
#define DTYPE(code)         "cnumpy\ndtype\n(U\x02" code "\x89\x88tR"
#define STATE(order)        "(K\x03U\x01" order "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
#define SCALAR(dtype, held) PICKLE("cnumpy._core.multiarray\nscalar\n(" dtype held "tR.")

static void numpy_scalars_are_numbers(void **state)
{
    (void)state;
    loads_integer(SCALAR(DTYPE("i1") STATE("|"), "C\x01\x80"), -128);
    loads_integer(SCALAR(DTYPE("i2") STATE("<"), "C\x02\xfe\xff"), -2);
    loads_integer(SCALAR(DTYPE("i4") STATE("<"), "C\x04\0\0\0\x80"), INT32_MIN);
    loads_integer(SCALAR(DTYPE("i8") STATE("<"), "C\x08\0\0\0\0\0\0\0\x80"), INT64_MIN);
    loads_integer(SCALAR(DTYPE("u1") STATE("|"), "C\x01\xff"), 255);
    loads_integer(SCALAR(DTYPE("u2") STATE("<"), "C\x02\xff\xff"), 65535);
    loads_integer(SCALAR(DTYPE("u4") STATE("<"), "C\x04\0\0\0\x80"), INT64_C(1) << 31);
    loads_kind(SCALAR(DTYPE("u8") STATE("<"), "C\x08\0\0\0\0\0\0\0\x80"), PICKLE_BYTES);
    loads_kind(SCALAR(DTYPE("b1") STATE("|"), "C\x01\x01"), PICKLE_BOOL);
    /* protocol 2 writes bytes as text: e9 01 of a 16-bit integer */
    loads_integer(SCALAR(DTYPE("i2") STATE("<"), "c_codecs\nencode\n(X\3\0\0\0\xc3\xa9\x01"
                                                 "X\6\0\0\0latin1tR"),
                  0x1e9);
    loads_kind(PICKLE("cnumpy\ndtype\n(U\x02"
                      "f8K\x00K\x01tR" STATE("<") "."),
               PICKLE_NUMBER_TYPE);
}

static void numpy_floats(void **state)
{
    (void)state;
    const struct {
        const uint8_t *bytes;
        size_t size;
    } pickles[] = {{SCALAR(DTYPE("f2") STATE("<"), "C\x02\x00\xbe")},
                   {SCALAR(DTYPE("f4") STATE("<"), "C\x04\0\0\xc0\xbf")},
                   {SCALAR(DTYPE("f8") STATE("<"), "C\x08\0\0\0\0\0\0\xf8\xbf")}};
    for (size_t i = 0; i < 3; i++) {
        struct loaded loaded;
        unet_error error;
        assert_ok(load(pickles[i].bytes, pickles[i].size, &loaded, &error), &error);
        assert_int_equal(loaded.value->kind, PICKLE_FLOAT);
        assert_true(loaded.value->real == -1.5);
        clear(&loaded);
    }
}

static void dicts_keep_order_and_give_the_last(void **state)
{
    (void)state;
    struct loaded loaded;
    unet_error error;
    static const char pickle[] = "}(U\x01"
                                 "aK\x01U\x01"
                                 "bK\x02uU\x01"
                                 "aK\x03s.";
    assert_ok(load(PICKLE(pickle), &loaded, &error), &error);
    assert_int_equal(loaded.value->kind, PICKLE_DICT);
    assert_int_equal(loaded.value->list.count, 6);
    assert_int_equal(pickle_dict_get(loaded.value, "a")->integer, 3);
    assert_int_equal(pickle_dict_get(loaded.value, "b")->integer, 2);
    assert_null(pickle_dict_get(loaded.value, "c"));
    assert_null(pickle_dict_get(pickle_dict_get(loaded.value, "a"), "a"));
    clear(&loaded);
}

/* Python 2 writes an OrderedDict as a call with a list of pairs, and names as str. */
static void ordered_dicts_of_python_2(void **state)
{
    (void)state;
    struct loaded loaded;
    unet_error error;
    static const char pickle[] = "\x80\x02"
                                 "ccollections\nOrderedDict\n"
                                 "](](U\x01"
                                 "aK\x01"
                                 "e](U\x01"
                                 "bK\x02"
                                 "ee\x85R}b.";
    assert_ok(load(PICKLE(pickle), &loaded, &error), &error);
    assert_int_equal(loaded.value->list.count, 4);
    assert_int_equal(pickle_dict_get(loaded.value, "b")->integer, 2);
    clear(&loaded);
}

static void refuses(const uint8_t *bytes, size_t size, const char *part)
{
    struct loaded loaded;
    unet_error error = {0};
    unet_status status = load(bytes, size, &loaded, &error);
    clear(&loaded);
    assert_error(status, UNET_ERROR_MODEL, &error, part);
}

static void other_numpy_values_are_refused(void **state)
{
    (void)state;
    const char *scalar = "numpy.core.multiarray.scalar", *dtype = "numpy.dtype";
    refuses(SCALAR(DTYPE("f8") STATE("<"), "C\x07\0\0\0\0\0\0\0"), scalar);
    refuses(SCALAR(DTYPE("f8") STATE("<"), "C\x09\0\0\0\0\0\0\0\0\0"), scalar);
    refuses(SCALAR(DTYPE("f8") STATE("<"), "U\x08\0\0\0\0\0\0\0\0"), scalar);
    refuses(SCALAR(DTYPE("f8") STATE("<"), "K\x01"), scalar);
    refuses(SCALAR("N", "C\x01\0"), scalar);
    refuses(SCALAR("ctorch\nfloat32\n", "C\x04\0\0\0\0"), scalar);
    refuses(SCALAR(DTYPE("f8") STATE("<"), ""), scalar);
    refuses(SCALAR(DTYPE("f8") STATE("<"), "c_codecs\nencode\n(X\2\0\0\0\xc4\x80"
                                           "X\6\0\0\0latin1tR"),
            scalar); /* not below 256: opaque */
    refuses(SCALAR(DTYPE("O8") STATE("|"), "C\x08\0\0\0\0\0\0\0\0"), dtype);
    refuses(SCALAR(DTYPE("c8") STATE("<"), "C\x08\0\0\0\0\0\0\0\0"), dtype);
    refuses(SCALAR(DTYPE("M8") STATE("<"), "C\x08\0\0\0\0\0\0\0\0"), dtype);
    refuses(SCALAR(DTYPE("f8") STATE(">"), "C\x08\0\0\0\0\0\0\0\0"), dtype);
    refuses(PICKLE("cnumpy\ndtype\n)R."), dtype);
    refuses(PICKLE("cnumpy\ndtype\n(](U\x01x\x65\x89\x88tR."), dtype);
    refuses(PICKLE("cnumpy\ndtype\n(U\x02"
                   "f8\x88\x88tR."),
            dtype);
    refuses(PICKLE(DTYPE("f8") "Nb."), dtype);
    refuses(PICKLE(DTYPE("f8") "}b."), dtype);
    refuses(PICKLE(DTYPE("f8") "(K\x04U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb."), dtype);
    refuses(PICKLE(DTYPE("f8") "(K\x03U\x01<N)NJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb."), dtype);
    refuses(PICKLE("cnumpy._core.multiarray\n_reconstruct\n."), "_reconstruct");
    refuses(PICKLE("cnumpy\nndarray\n."), "numpy.ndarray");
}

static void broken_pickles_are_refused(void **state)
{
    (void)state;
    refuses(PICKLE(""), "truncated");
    refuses(PICKLE("."), "stack");
    refuses(PICKLE("N(0."), "stack"); /* nothing above the mark */
    refuses(PICKLE("N\x85N(\x85."), "stack");
    refuses(PICKLE("e."), "mark");
    refuses(PICKLE("}(Nu."), "no value");
    refuses(PICKLE("N)R."), "no function");
    refuses(PICKLE("ctorch\nFloatStorage\n)R."), "no function");
    refuses(PICKLE("NNb."), "attributes");
    refuses(PICKLE("Ia\n."), "digits");
    refuses(PICKLE("L\n."), "digits");
    refuses(PICKLE("I111111111111111111111111111111111111111\n."), "digits");
    refuses(PICKLE("ctorch"), "truncated");
    refuses(PICKLE("ctorch\n_C\n."), "torch._C");
    refuses(PICKLE("NN\x93."), "string");
    refuses(PICKLE("ctorch\nSize\nK\x01\x85R."), "torch.Size");
    refuses(PICKLE("ccollections\nOrderedDict\nN\x85R."), "OrderedDict");
    refuses(PICKLE("ccollections\nOrderedDict\n](Ne\x85R."), "OrderedDict");
    refuses(PICKLE("ctorch._utils\n_rebuild_parameter\n)R."), "parameter");
    refuses(PICKLE("(U\x06moduleNNNtQ."), "state_dict");
    refuses(PICKLE("cline\tone\n\x1b[31m\n."), "line?one");
}

/* Each opcode costs one byte: what a hostile file repeats must end. */
static void repetition_is_bounded(void **state)
{
    (void)state;
    static uint8_t bytes[(1 << 24) + 2];
    memset(bytes, '(', sizeof bytes);
    refuses(bytes, sizeof bytes, "deep");
    memset(bytes, 'N', sizeof bytes);
    refuses(bytes, sizeof bytes, "deep");
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = i % 2 == 0 ? 'N' : '0';
    refuses(bytes, sizeof bytes, "opcodes");
}

/* ---------------------------------------------------------------- storages and tensors */

#define STORAGE(type, key, count)                                                                  \
    "(U\x07storagectorch\n" type "\nU\x01" key "U\x03"                                             \
    "cpuK" count

static void storages_are_shared_by_their_key(void **state)
{
    (void)state;
    struct loaded loaded;
    unet_error error;
    assert_ok(load(PICKLE(STORAGE("FloatStorage", "7", "\x04") "tQ" /* with None for a view */
                          STORAGE("FloatStorage", "7", "\x04") "NtQ\x86."),
                   &loaded, &error),
              &error);
    assert_int_equal(loaded.storages.count, 1);
    const struct pickle_value *const *both = loaded.value->list.items;
    assert_ptr_equal(both[0]->view.storage, both[1]->view.storage);
    assert_ptr_equal(pickle_storages_find(&loaded.storages, "7", 1), both[0]->view.storage);
    clear(&loaded);
    refuses(PICKLE(STORAGE("FloatStorage", "7", "\x04") "tQ" STORAGE("HalfStorage", "7",
                                                                     "\x04") "tQ\x86."),
            "differ");
    refuses(PICKLE(STORAGE("FloatStorage", "7", "\x04") "tQ" STORAGE("FloatStorage", "7",
                                                                     "\x05") "tQ\x86."),
            "differ");
    refuses(PICKLE(STORAGE("float32", "7", "\x04") "tQ."), "type");
}

static const float numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

static unet_status locate_numbers(void *context, struct pickle_storage *storage, unet_error *error)
{
    (void)error;
    (*(int *)context)++;
    storage->data = (const uint8_t *)numbers;
    return UNET_OK;
}

static unet_status extract(const uint8_t *bytes, size_t size, struct tensor_set *tensors,
                           int *located, unet_error *error)
{
    struct loaded loaded;
    *tensors = (struct tensor_set){0};
    *located = 0;
    unet_status status = load(bytes, size, &loaded, error);
    struct storage_source source = {.locate = locate_numbers, .context = located};
    if (status == UNET_OK)
        status = state_dict_extract(loaded.value, &source, size, tensors, error);
    clear(&loaded);
    return status;
}

#define REBUILD "ctorch._utils\n_rebuild_tensor\n("

/* Old files have storages that are views of others: tensors count from the view's first value. */
static void views_of_storages(void **state)
{
    (void)state;
    struct tensor_set tensors;
    unet_error error;
    int located;
    assert_ok(
        extract(PICKLE("}U\x01w" REBUILD STORAGE(
                    "FloatStorage", "7", "\x0a") "(U\x01vK\x04K\x05ttQK\x01K\x02\x85K\x02\x85tRs."),
                &tensors, &located, &error),
        &error);
    assert_int_equal(tensors.count, 1);
    assert_int_equal(located, 1);
    const float *values = tensors.items[0].data;
    assert_true(values[0] == 5.0f && values[1] == 7.0f);
    tensor_set_clear(&tensors);
    refuses(PICKLE(STORAGE("FloatStorage", "7", "\x0a") "(U\x01vK\x04K\x07ttQ."), "beyond");
    refuses(PICKLE(STORAGE("FloatStorage", "7", "\x0a") "(U\x01vK\x04ttQ."), "view");
    /* inside the storage, but not inside the view */
    refuses(PICKLE(REBUILD STORAGE("FloatStorage", "7",
                                   "\x0a") "(U\x01vK\x04K\x05ttQK\x01K\x05\x85K\x01\x85tR."),
            "storage");
}

#define V3 "ctorch._utils\n_rebuild_tensor_v3\n("

/* dtypes without a storage of their own are views of bytes. */
static void untyped_storages(void **state)
{
    (void)state;
    struct tensor_set tensors;
    unet_error error;
    int located;
    static const char good[] = "}U\x01w" V3 STORAGE(
        "UntypedStorage", "7",
        "\x28") "tQK\x03K\x02K\x03\x86K\x03K\x01\x86\x89}ctorch\nfloat32\ntRs.";
    assert_ok(extract(PICKLE(good), &tensors, &located, &error), &error);
    assert_int_equal(tensors.items[0].dtype, UNET_F32);
    assert_int_equal(tensors.items[0].bytes, 24);
    assert_memory_equal(tensors.items[0].data, numbers + 3, 24);
    tensor_set_clear(&tensors);
    refuses(
        PICKLE(V3 STORAGE("UntypedStorage", "7",
                          "\x28") "tQK\x05K\x02K\x03\x86K\x03K\x01\x86\x89}ctorch\nfloat32\ntR."),
        "storage");
    refuses(
        PICKLE(V3 STORAGE("FloatStorage", "7",
                          "\x28") "tQK\x05K\x02K\x03\x86K\x03K\x01\x86\x89}ctorch\nfloat32\ntR."),
        "untyped");
    unet_status status = extract(
        PICKLE("}U\x01w" V3 STORAGE("UntypedStorage", "7",
                                    "\x28") "tQK\x03K\x02\x85K\x01\x85\x89}ctorch\nuint16\ntRs."),
        &tensors, &located, &error);
    assert_error(status, UNET_ERROR_MODEL, &error, "torch.uint16");
    tensor_set_clear(&tensors);
}

#define TENSOR REBUILD STORAGE("FloatStorage", "7", "\x0a") "tQK\x01K\x02\x85K\x02\x85tR"

/* The one tensor of the state_dict has this name; its value is irrelevant. */
static void finds(const uint8_t *bytes, size_t size, const char *name)
{
    struct tensor_set tensors;
    unet_error error;
    int located;
    assert_ok(extract(bytes, size, &tensors, &located, &error), &error);
    assert_int_equal(tensors.count, 1);
    assert_string_equal(tensors.items[0].name, name);
    assert_int_equal(located, 1); /* what lies beside it is not even read */
    tensor_set_clear(&tensors);
}

static void state_dicts_are_found_where_they_are(void **state)
{
    (void)state;
    finds(PICKLE("}U\x01w" TENSOR "s."), "w");
    finds(PICKLE("}U\x05model}U\x01w" TENSOR "ss."), "w");
    finds(PICKLE("}U\x05model}U\x0astate_dict}U\x01w" TENSOR "sss."), "w");
    /* a loss beside the model is a tensor too */
    finds(PICKLE("}(U\x04loss" TENSOR "U\x03net}U\x01w" TENSOR "su."), "w");
    /* …while a number called model leaves the root */
    finds(PICKLE("}(U\x05modelK\x01U\x01w" TENSOR "u."), "w");
    finds(PICKLE("}U\x08module.w" TENSOR "s."), "w");
    finds(PICKLE("}U\x12_orig_mod.module.w" TENSOR "s."), "w");
}

static void prefixes_stay_unless_all_have_them(void **state)
{
    (void)state;
    struct tensor_set tensors;
    unet_error error;
    int located;
    assert_ok(extract(PICKLE("}(U\x08module.w" TENSOR "U\x06module" TENSOR "u."), &tensors,
                      &located, &error),
              &error);
    assert_non_null(tensor_set_find(&tensors, "module.w"));
    assert_non_null(tensor_set_find(&tensors, "module"));
    tensor_set_clear(&tensors);
}

static void takes_mask_values(const uint8_t *bytes, size_t size, size_t count, int channels)
{
    struct tensor_set tensors;
    unet_error error;
    int located;
    assert_ok(extract(bytes, size, &tensors, &located, &error), &error);
    assert_int_equal(tensors.mask_value_count, count);
    assert_int_equal(tensors.mask_value_channels, channels);
    tensor_set_clear(&tensors);
}

#define WITH_MASKS(list) PICKLE("}(U\x01w" TENSOR "U\x0bmask_values" list "u.")

static void mask_values_are_what_pytorch_unet_writes(void **state)
{
    (void)state;
    takes_mask_values(WITH_MASKS("](K\x00K\xff\x65"), 2, 1);
    takes_mask_values(WITH_MASKS("](](K\x00K\x01K\x02\x65](K\x00K\x01K\x02\x65\x65"), 2, 3);
    takes_mask_values(WITH_MASKS("](](K\x00\x65](K\x01\x65\x65"), 2, 1);
    takes_mask_values(WITH_MASKS("](\x89\x88\x65"), 2, 1); /* False, True: of masks with one bit */
    takes_mask_values(
        WITH_MASKS("](cnumpy._core.multiarray\nscalar\n(" DTYPE("u1") STATE("|") "C\x01\xfftR\x65"),
        1, 1);
    takes_mask_values(WITH_MASKS("]"), 0, 0);
    takes_mask_values(WITH_MASKS("N"), 0, 0);
    takes_mask_values(WITH_MASKS("](K\x00M\x00\x01\x65"), 0, 0);             /* 256 */
    takes_mask_values(WITH_MASKS("](K\x00](K\x01\x65\x65"), 2, 1);           /* 0 and [1] */
    takes_mask_values(WITH_MASKS("](](K\x00K\x01K\x02\x65K\x00\x65"), 0, 0); /* a triple and 0 */
    takes_mask_values(WITH_MASKS("](](K\x00K\x01\x65\x65"), 0, 0);           /* two channels */
    takes_mask_values(PICKLE("}(U\x05model}U\x01w" TENSOR "sU\x0bmask_values](K\x07\x65u."), 1, 1);
}

/* A view that repeats its storage is fine, as long as it stays small beside the file. */
static void expansion_is_bounded(void **state)
{
    (void)state;
    struct tensor_set tensors;
    unet_error error;
    int located;
#define EXPANDED(side)                                                                             \
    PICKLE("}U\x01w" REBUILD STORAGE("FloatStorage", "7", "\x0a") "tQK\x03J" side                  \
                                                                  "\x85K\x00\x85tRs.")
    assert_ok(extract(EXPANDED("\x00\x00\x01\x00"), &tensors, &located, &error), &error);
    const float *values = tensors.items[0].data;
    assert_int_equal(tensors.items[0].shape[0], 65536);
    assert_true(values[0] == 3.0f && values[65535] == 3.0f);
    tensor_set_clear(&tensors);
    assert_error(extract(EXPANDED("\x00\x00\x10\x00"), &tensors, &located, &error),
                 UNET_ERROR_MODEL, &error, "repeat");
    tensor_set_clear(&tensors);
}

/* ---------------------------------------------------------------- copies of views */

/* One value after another, each found by its indices. */
static void copy_naively(const uint8_t *from, int rank, const int64_t *shape, const int64_t *stride,
                         int64_t count, size_t size, uint8_t *to)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i, at = 0;
        for (int d = rank; d-- > 0;) {
            at += rest % shape[d] * stride[d];
            rest /= shape[d];
        }
        memcpy(to + i * (int64_t)size, from + at * (int64_t)size, size);
    }
}

static void strided_copies_equal_naive_ones(void **state)
{
    (void)state;
    uint64_t random = 5;
    static uint8_t from[8 * 6000], fast[8 * 2000], naive[8 * 2000];
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (uint8_t)random_next(&random);
    for (int round = 0; round < 5000; round++) {
        int rank = (int)(random_next(&random) % 6);
        int64_t shape[UNET_MAX_RANK], stride[UNET_MAX_RANK], count = 1, dense = 1;
        for (int d = rank; d-- > 0;) {
            shape[d] = 1 + (int64_t)(random_next(&random) % 4);
            uint64_t kind = random_next(&random) % 8; /* mostly dense: runs are what is special */
            stride[d] = kind < 5 ? dense : kind == 5 ? 0 : (int64_t)(random_next(&random) % 300);
            dense *= shape[d];
            count *= shape[d];
        }
        size_t size = (size_t)1 << random_next(&random) % 4;
        memset(fast, 0xee, sizeof fast);
        memset(naive, 0xee, sizeof naive);
        tensor_copy_strided(from, rank, shape, stride, count, size, fast);
        copy_naively(from, rank, shape, stride, count, size, naive);
        assert_memory_equal(fast, naive, sizeof fast);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_width),
        cmocka_unit_test(plain_values),
        cmocka_unit_test(floats_are_big_endian),
        cmocka_unit_test(dicts_keep_order_and_give_the_last),
        cmocka_unit_test(ordered_dicts_of_python_2),
        cmocka_unit_test(numpy_scalars_are_numbers),
        cmocka_unit_test(numpy_floats),
        cmocka_unit_test(other_numpy_values_are_refused),
        cmocka_unit_test(broken_pickles_are_refused),
        cmocka_unit_test(repetition_is_bounded),
        cmocka_unit_test(storages_are_shared_by_their_key),
        cmocka_unit_test(views_of_storages),
        cmocka_unit_test(untyped_storages),
        cmocka_unit_test(state_dicts_are_found_where_they_are),
        cmocka_unit_test(prefixes_stay_unless_all_have_them),
        cmocka_unit_test(mask_values_are_what_pytorch_unet_writes),
        cmocka_unit_test(expansion_is_bounded),
        cmocka_unit_test(strided_copies_equal_naive_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
