#include "model/pickle.h"

#include <string.h>

const char *pickle_kind_name(enum pickle_kind kind)
{
    static const char *const names[] = {
        [PICKLE_NONE] = "None",
        [PICKLE_BOOL] = "a truth value",
        [PICKLE_INT] = "an integer",
        [PICKLE_FLOAT] = "a number",
        [PICKLE_STRING] = "a string",
        [PICKLE_BYTES] = "bytes",
        [PICKLE_TUPLE] = "a tuple",
        [PICKLE_LIST] = "a list",
        [PICKLE_DICT] = "a dict",
        [PICKLE_GLOBAL] = "a function or type",
        [PICKLE_STORAGE] = "a storage",
        [PICKLE_TENSOR] = "a tensor",
        [PICKLE_NUMBER_TYPE] = "a numpy type",
        [PICKLE_OPAQUE] = "a set or device",
    };
    return names[kind];
}

bool pickle_is_string(const struct pickle_value *value, const char *text)
{
    return value->kind == PICKLE_STRING && value->text.length == strlen(text) &&
           memcmp(value->text.bytes, text, value->text.length) == 0;
}

const struct pickle_value *pickle_dict_get(const struct pickle_value *dict, const char *key)
{
    if (dict->kind != PICKLE_DICT)
        return NULL;
    for (uint32_t i = dict->list.count; i >= 2; i -= 2)
        if (pickle_is_string(dict->list.items[i - 2], key))
            return dict->list.items[i - 1];
    return NULL;
}
