/* base/error.c: messages are one line, prefixes stack, long parts are cut and never overflow. */
#include "support/support.h"

#include <string.h>

#include "base/error.h"

static void sets_status_and_message(void **state)
{
    (void)state;
    unet_error error = {0};
    assert_int_equal(error_set(&error, UNET_ERROR_INPUT, "%s has %d", "a.png", 3),
                     UNET_ERROR_INPUT);
    assert_int_equal(error.status, UNET_ERROR_INPUT);
    assert_string_equal(error.message, "a.png has 3");
    assert_int_equal(error_set(NULL, UNET_ERROR_MEMORY, "x"), UNET_ERROR_MEMORY);
}

static void control_characters_cannot_break_the_line(void **state)
{
    (void)state;
    unet_error error;
    error_set(&error, UNET_ERROR_MODEL, "name '%s'", "a\nb\x1b[2Jc\x7f");
    assert_string_equal(error.message, "name 'a?b?[2Jc?'");
}

static void prefixes_stack(void **state)
{
    (void)state;
    unet_error error;
    error_set(&error, UNET_ERROR_MODEL, "is empty");
    assert_int_equal(error_prefix(&error, UNET_ERROR_MODEL, "%s", "x"), UNET_ERROR_MODEL);
    error_prefix(&error, UNET_ERROR_MODEL, "outer");
    assert_string_equal(error.message, "outer: x: is empty");
}

static void long_messages_are_cut(void **state)
{
    (void)state;
    char text[4000];
    memset(text, 'y', sizeof text);
    text[sizeof text - 1] = '\0';
    unet_error error;
    error_set(&error, UNET_ERROR_MODEL, "%s", text);
    assert_int_equal(strlen(error.message), sizeof error.message - 1);
    error_prefix(&error, UNET_ERROR_MODEL, "%s", text);
    assert_int_equal(strlen(error.message), sizeof error.message - 1);
}

static void every_status_has_a_name(void **state)
{
    (void)state;
    for (int i = UNET_OK; i <= UNET_ERROR_CANCELLED; i++)
        assert_string_not_equal(unet_status_name((unet_status)i), "unknown status");
    assert_string_equal(unet_status_name((unet_status)99), "unknown status");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_status_and_message),
        cmocka_unit_test(control_characters_cannot_break_the_line),
        cmocka_unit_test(prefixes_stack),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(every_status_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
