/* Readers of option values, and the nearest word to a mistyped one. */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool parse_integer(const char *text, long low, long high, int *value, struct problem *problem)
{
    char *end = NULL;
    errno = 0;
    long number = strtol(text, &end, 10);
    /* strtol would pass over blanks and a plus sign. */
    bool starts_well = isdigit((unsigned char)text[0]) || text[0] == '-';
    if (!starts_well || *end != '\0' || errno != 0 || number < low || number > high)
        return problem_set(problem, "is not a whole number from %ld to %ld", low, high);
    *value = (int)number;
    return true;
}

bool parse_number(const char *text, double *value)
{
    char *end = NULL;
    /* Decimal digits alone: strtod knows "inf", "nan" and hexadecimal too. */
    if (text[0] == '\0' || strspn(text, "0123456789.+-eE") != strlen(text))
        return false;
    *value = strtod(text, &end);
    return *end == '\0' && isfinite(*value);
}

bool read_threads(const char *text, void *member, struct problem *problem)
{
    return parse_integer(text, 1, 1024, member, problem);
}

bool read_batch(const char *text, void *member, struct problem *problem)
{
    return parse_integer(text, 1, 1024, member, problem);
}

bool read_scale(const char *text, void *member, struct problem *problem)
{
    double value;
    if (!parse_number(text, &value) || value <= 0 || value > 16)
        return problem_set(problem, "is not a number above 0 and at most 16");
    *(double *)member = value;
    return true;
}

bool read_text(const char *text, void *member, struct problem *problem)
{
    (void)problem;
    *(const char **)member = text;
    return true;
}

bool read_size(const char *text, void *member, struct problem *problem)
{
    struct image_size *size = member;
    char width[16];
    const char *cross = strpbrk(text, "xX");
    size_t length = cross != NULL ? (size_t)(cross - text) : 0;
    if (length == 0 || length >= sizeof width)
        return problem_set(problem, "is not a size: width, x, height, as in 512x384");
    memcpy(width, text, length);
    width[length] = '\0';
    struct problem ignored;
    if (!parse_integer(width, 1, 32768, &size->width, &ignored) ||
        !parse_integer(cross + 1, 1, 32768, &size->height, &ignored))
        return problem_set(problem, "is not a size: width, x, height, each from 1 to 32768, as in "
                                    "512x384");
    return true;
}

/* ---------------------------------------------------------------- did you mean */

enum { LONGEST_WORD = 40 };

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Inserted, left out, replaced and swapped letters (optimal string alignment distance). */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][LONGEST_WORD + 1];
    size_t length_a = strlen(a), length_b = strlen(b);
    if (length_a > LONGEST_WORD || length_b > LONGEST_WORD)
        return LONGEST_WORD;
    for (size_t j = 0; j <= length_b; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= length_a; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= length_b; j++) {
            size_t replaced = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(replaced, above[j] + 1, row[j - 1] + 1);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && two_above[j - 2] + 1 < row[j])
                row[j] = two_above[j - 2] + 1;
        }
    }
    return rows[length_a % 3][length_b];
}

const char *suggestion(const char *typed, const char *const *words, size_t count)
{
    const char *best = NULL;
    size_t length = strlen(typed);
    size_t best_distance = length < 3 ? 0 : length < 4 ? 1 : 2; /* further is another word */
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(typed, words[i]);
        bool beginning = length >= 3 && strncmp(typed, words[i], length) == 0;
        if (beginning)
            distance = 1;
        if (distance <= best_distance && (best == NULL || distance < best_distance)) {
            best = words[i];
            best_distance = distance;
        }
    }
    return best;
}
