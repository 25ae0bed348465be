/* Scores against their definitions by sets. */
#include "support/support.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

#define PIXELS 5000

static uint8_t truth[PIXELS], predicted[PIXELS];

static void fill(int classes, uint64_t seed)
{
    for (int i = 0; i < PIXELS; i++) {
        truth[i] = (uint8_t)(random_next(&seed) % (unsigned)classes);
        predicted[i] =
            random_next(&seed) % 3 ? truth[i] : (uint8_t)(random_next(&seed) % (unsigned)classes);
    }
}

static void assert_near(double got, double wanted)
{
    if (!(fabs(got - wanted) < 1e-12))
        fail_msg("%.17g, not %.17g", got, wanted);
}

static void check_class(const unet_confusion *confusion, int c, int ignore)
{
    int both = 0, in_truth = 0, in_prediction = 0, either = 0;
    for (int i = 0; i < PIXELS; i++) {
        if (truth[i] == ignore)
            continue;
        both += truth[i] == c && predicted[i] == c;
        either += truth[i] == c || predicted[i] == c;
        in_truth += truth[i] == c;
        in_prediction += predicted[i] == c;
    }
    if (either == 0) {
        assert_true(isnan(unet_confusion_iou(confusion, c)));
        assert_true(isnan(unet_confusion_dice(confusion, c)));
    } else {
        assert_near(unet_confusion_iou(confusion, c), (double)both / either);
        assert_near(unet_confusion_dice(confusion, c), 2.0 * both / (in_truth + in_prediction));
    }
    if (in_truth == 0)
        assert_true(isnan(unet_confusion_recall(confusion, c)));
    else
        assert_near(unet_confusion_recall(confusion, c), (double)both / in_truth);
}

static void check_all(int classes, int ignore)
{
    unet_confusion confusion;
    unet_error error = {0};
    assert_ok(unet_confusion_new(classes, &confusion, &error), &error);
    assert_ok(unet_confusion_add(&confusion, truth, predicted, 1234, ignore, &error), &error);
    assert_ok(unet_confusion_add(&confusion, truth + 1234, predicted + 1234, PIXELS - 1234, ignore,
                                 &error),
              &error);
    double sum = 0;
    int present = 0;
    for (int c = 0; c < classes; c++) {
        check_class(&confusion, c, ignore);
        double iou = unet_confusion_iou(&confusion, c);
        sum += isnan(iou) ? 0 : iou;
        present += !isnan(iou);
    }
    assert_near(unet_confusion_mean_iou(&confusion), sum / present);
    int right = 0, all = 0;
    for (int i = 0; i < PIXELS; i++) {
        right += truth[i] != ignore && truth[i] == predicted[i];
        all += truth[i] != ignore;
    }
    assert_near(unet_confusion_accuracy(&confusion), (double)right / all);
    unet_confusion_clear(&confusion);
    assert_null(confusion.counts);
}

static void follows_the_definitions(void **state)
{
    (void)state;
    static const int counts[] = {1, 2, 3, 11, 256};
    for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
        fill(counts[k], 3 + k);
        check_all(counts[k], -1);
    }
    fill(5, 9);
    check_all(8, -1); /* classes that are nowhere */
    check_all(8, 3);  /* an ignored class of the network */
    for (int i = 0; i < PIXELS; i += 7)
        truth[i] = 255;
    check_all(5, 255); /* an ignored value that is no class */
}

static void says_nothing_of_nothing(void **state)
{
    (void)state;
    unet_confusion confusion;
    unet_error error = {0};
    assert_ok(unet_confusion_new(2, &confusion, &error), &error);
    assert_true(isnan(unet_confusion_mean_iou(&confusion)));
    assert_true(isnan(unet_confusion_accuracy(&confusion)));
    assert_true(isnan(unet_confusion_iou(&confusion, 0)));
    assert_true(isnan(unet_confusion_iou(&confusion, 2)));
    assert_true(isnan(unet_confusion_iou(&confusion, -1)));
    unet_confusion_clear(&confusion);
    unet_confusion_clear(&confusion);
    unet_confusion_clear(NULL);
}

/* A bad pair is named, and none of its call is counted. */
static void refuses_other_classes(void **state)
{
    (void)state;
    unet_confusion confusion;
    unet_error error = {0};
    uint64_t zeros[9] = {0};
    assert_ok(unet_confusion_new(3, &confusion, &error), &error);
    fill(3, 1);
    truth[PIXELS - 1] = 7;
    assert_error(unet_confusion_add(&confusion, truth, predicted, PIXELS, -1, &error),
                 UNET_ERROR_INPUT, &error, "label value 7");
    assert_memory_equal(confusion.counts, zeros, sizeof zeros);
    assert_ok(unet_confusion_add(&confusion, truth, predicted, PIXELS, 7, &error), &error);
    uint64_t before[9];
    memcpy(before, confusion.counts, sizeof before);
    predicted[0] = 200;
    assert_error(unet_confusion_add(&confusion, truth, predicted, PIXELS, 7, &error),
                 UNET_ERROR_INPUT, &error, "predicted value 200");
    assert_memory_equal(confusion.counts, before, sizeof before);
    unet_confusion_clear(&confusion);
}

static void refuses_class_counts(void **state)
{
    (void)state;
    unet_confusion confusion = {.classes = 77};
    unet_error error = {0};
    assert_error(unet_confusion_new(0, &confusion, &error), UNET_ERROR_USAGE, &error, "classes");
    assert_error(unet_confusion_new(257, &confusion, &error), UNET_ERROR_USAGE, &error, "257");
    memory_fail_after(0);
    unet_status status = unet_confusion_new(2, &confusion, &error);
    memory_fail_after(-1);
    assert_error(status, UNET_ERROR_MEMORY, &error, "memory");
    assert_int_equal(confusion.classes, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_definitions),
        cmocka_unit_test(says_nothing_of_nothing),
        cmocka_unit_test(refuses_other_classes),
        cmocka_unit_test(refuses_class_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
