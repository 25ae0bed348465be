/* JSON on stdout, by jansson. */
#ifndef UNET_CLI_JSON_H
#define UNET_CLI_JSON_H

#include <jansson.h>

#include <stdint.h>

/* Each sets a member; a value that JSON has no form for (NaN, infinity, NULL) becomes null, and
 * bytes that are no UTF-8 become '?'. */
void json_put_text(json_t *object, const char *key, const char *text);
void json_put_number(json_t *object, const char *key, double value);
void json_put_integer(json_t *object, const char *key, int64_t value);
void json_put_bool(json_t *object, const char *key, int value);
/* Takes over `value`. */
void json_put(json_t *object, const char *key, json_t *value);

/* A text value with the same care. */
json_t *json_of_text(const char *text);

/* [0, 255] or [[0, 0, 0], [255, 0, 0]]; empty where there are none. */
json_t *json_of_mask_values(const uint8_t *values, size_t count, int channels);

/* Prints and frees. */
void json_print(json_t *object);

#endif
