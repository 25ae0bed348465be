/* Counts of (truth, prediction) pairs and the scores made of them. */
#include "base/memory.h"

#include <math.h>

unet_status unet_confusion_new(int classes, unet_confusion *confusion, unet_error *error)
{
    if (classes < 1 || classes > UNET_MAX_CLASSES)
        return error_set(error, UNET_ERROR_USAGE, "scores of %d classes: there can be 1 to %d",
                         classes, UNET_MAX_CLASSES);
    size_t cells = (size_t)classes * (size_t)classes;
    uint64_t *counts = memory_calloc(cells, sizeof *counts);
    if (counts == NULL)
        return error_memory(error, cells * sizeof *counts, "scores");
    *confusion = (unet_confusion){.classes = classes, .counts = counts};
    return UNET_OK;
}

/* Looks before it counts, so that a bad pair leaves the counts as they were. */
static unet_status check_pairs(int classes, const uint8_t *truth, const uint8_t *predicted,
                               size_t pixels, int ignore, unet_error *error)
{
    unsigned most_true = 0, most_predicted = 0;
    for (size_t i = 0; i < pixels; i++) {
        unsigned value = truth[i] == ignore ? 0 : truth[i];
        most_true = value > most_true ? value : most_true;
        most_predicted = predicted[i] > most_predicted ? predicted[i] : most_predicted;
    }
    bool bad_truth = most_true >= (unsigned)classes;
    if (bad_truth || most_predicted >= (unsigned)classes)
        return error_set(error, UNET_ERROR_INPUT,
                         "%s value %u is none of the %d classes 0 to %d: %s",
                         bad_truth ? "label" : "predicted", bad_truth ? most_true : most_predicted,
                         classes, classes - 1,
                         bad_truth ? "ignore it or give labels of class indices"
                                   : "give masks of the same network");
    return UNET_OK;
}

unet_status unet_confusion_add(unet_confusion *confusion, const uint8_t *truth,
                               const uint8_t *predicted, size_t pixels, int ignore,
                               unet_error *error)
{
    TRY(check_pairs(confusion->classes, truth, predicted, pixels, ignore, error));
    size_t classes = (size_t)confusion->classes;
    for (size_t i = 0; i < pixels; i++) {
        if (truth[i] != ignore)
            confusion->counts[truth[i] * classes + predicted[i]]++;
    }
    return UNET_OK;
}

/* What a class's scores are made of. */
struct tally {
    double hit, truth, predicted;
};

static struct tally tally_class(const unet_confusion *confusion, int class_index)
{
    struct tally tally = {0};
    int classes = confusion->classes;
    if (class_index < 0 || class_index >= classes)
        return tally;
    const uint64_t *counts = confusion->counts;
    tally.hit = (double)counts[class_index * classes + class_index];
    for (int other = 0; other < classes; other++) {
        tally.truth += (double)counts[class_index * classes + other];
        tally.predicted += (double)counts[other * classes + class_index];
    }
    return tally;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : NAN;
}

double unet_confusion_iou(const unet_confusion *confusion, int class_index)
{
    struct tally tally = tally_class(confusion, class_index);
    return ratio(tally.hit, tally.truth + tally.predicted - tally.hit);
}

double unet_confusion_dice(const unet_confusion *confusion, int class_index)
{
    struct tally tally = tally_class(confusion, class_index);
    return ratio(2 * tally.hit, tally.truth + tally.predicted);
}

double unet_confusion_recall(const unet_confusion *confusion, int class_index)
{
    struct tally tally = tally_class(confusion, class_index);
    return ratio(tally.hit, tally.truth);
}

double unet_confusion_mean_iou(const unet_confusion *confusion)
{
    double sum = 0;
    int present = 0;
    for (int i = 0; i < confusion->classes; i++) {
        double iou = unet_confusion_iou(confusion, i);
        if (isnan(iou))
            continue;
        sum += iou;
        present++;
    }
    return ratio(sum, present);
}

double unet_confusion_accuracy(const unet_confusion *confusion)
{
    size_t classes = (size_t)confusion->classes;
    uint64_t hits = 0, all = 0;
    for (size_t i = 0; i < classes * classes; i++)
        all += confusion->counts[i];
    for (size_t i = 0; i < classes; i++)
        hits += confusion->counts[i * classes + i];
    return ratio((double)hits, (double)all);
}

void unet_confusion_clear(unet_confusion *confusion)
{
    if (confusion == NULL)
        return;
    memory_free(confusion->counts);
    *confusion = (unet_confusion){0};
}
