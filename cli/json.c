#include "json.h"

#include "message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void json_put(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value != NULL ? value : json_null());
}

json_t *json_of_text(const char *text)
{
    if (text == NULL)
        return json_null();
    json_t *value = json_string(text);
    if (value != NULL)
        return value;
    char *ascii = must_format("%s", text);
    for (char *letter = ascii; *letter != '\0'; letter++)
        if ((unsigned char)*letter >= 0x80)
            *letter = '?';
    value = json_string(ascii);
    free(ascii);
    return value;
}

void json_put_text(json_t *object, const char *key, const char *text)
{
    json_put(object, key, json_of_text(text));
}

void json_put_number(json_t *object, const char *key, double value)
{
    json_put(object, key, json_real(value)); /* NULL for NaN and infinity */
}

void json_put_integer(json_t *object, const char *key, int64_t value)
{
    json_put(object, key, json_integer(value));
}

void json_put_bool(json_t *object, const char *key, int value)
{
    json_put(object, key, json_boolean(value));
}

json_t *json_of_mask_values(const uint8_t *values, size_t count, int channels)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        const uint8_t *value = values + i * (size_t)channels;
        json_t *triple = NULL;
        if (channels != 1)
            triple = json_pack("[i,i,i]", value[0], value[1], value[2]);
        json_array_append_new(array, triple != NULL ? triple : json_integer(value[0]));
    }
    return array;
}

void json_print(json_t *object)
{
    json_dumpf(object, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(object);
}
