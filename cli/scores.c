#include "scores.h"

#include "json.h"
#include "message.h"

#include <math.h>
#include <stdio.h>

static uint64_t truth_pixels(const unet_confusion *confusion, int class_index)
{
    uint64_t sum = 0;
    for (int i = 0; i < confusion->classes; i++)
        sum += confusion->counts[(size_t)class_index * (size_t)confusion->classes + (size_t)i];
    return sum;
}

static uint64_t all_pixels(const unet_confusion *confusion)
{
    uint64_t sum = 0;
    for (int i = 0; i < confusion->classes; i++)
        sum += truth_pixels(confusion, i);
    return sum;
}

static uint64_t agreeing_pixels(const unet_confusion *confusion)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < (size_t)confusion->classes; i++)
        sum += confusion->counts[i * (size_t)confusion->classes + i];
    return sum;
}

/* A class that is nowhere has no score. */
static void print_score(double score)
{
    if (isnan(score))
        printf(" %9s", "-");
    else
        printf(" %9.5f", score);
}

static void print_classes(const unet_confusion *confusion, bool labels)
{
    printf("class       IoU      Dice%s        pixels\n", labels ? "    recall" : "");
    for (int c = 0; c < confusion->classes; c++) {
        printf("%-5d", c);
        print_score(unet_confusion_iou(confusion, c));
        print_score(unet_confusion_dice(confusion, c));
        if (labels)
            print_score(unet_confusion_recall(confusion, c));
        printf(" %13s\n", text_of_count((int64_t)truth_pixels(confusion, c)));
    }
    printf("mean ");
    print_score(unet_confusion_mean_iou(confusion));
    putchar('\n');
}

void scores_print_table(const struct scores *scores)
{
    const unet_confusion *confusion = scores->confusion;
    uint64_t all = all_pixels(confusion), agreeing = agreeing_pixels(confusion);
    print_classes(confusion, scores->against == NULL);
    if (scores->against == NULL)
        printf("\npixel accuracy  %.5f\n", unet_confusion_accuracy(confusion));
    else
        printf("\nagreement       %.6f (%s of %s pixels differ)\n",
               unet_confusion_accuracy(confusion), text_of_count((int64_t)(all - agreeing)),
               text_of_count((int64_t)all));
    printf("images          %zu\n", scores->tally->done);
}

static json_t *class_json(const unet_confusion *confusion, int class_index, bool labels)
{
    json_t *object = json_object();
    json_put_integer(object, "class", class_index);
    json_put_number(object, "iou", unet_confusion_iou(confusion, class_index));
    json_put_number(object, "dice", unet_confusion_dice(confusion, class_index));
    if (labels)
        json_put_number(object, "recall", unet_confusion_recall(confusion, class_index));
    json_put_integer(object, "pixels", (int64_t)truth_pixels(confusion, class_index));
    return object;
}

void scores_print_json(const struct scores *scores)
{
    const unet_confusion *confusion = scores->confusion;
    bool labels = scores->against == NULL;
    json_t *object = json_object(), *classes = json_array();
    json_put_text(object, "engine", scores->engine);
    if (!labels)
        json_put_text(object, "against", scores->against);
    json_put_integer(object, "images", (int64_t)scores->tally->done);
    json_put_integer(object, "failed", (int64_t)scores->tally->failed);
    json_put_integer(object, "pixels", (int64_t)all_pixels(confusion));
    json_put_number(object, labels ? "pixel_accuracy" : "agreement",
                    unet_confusion_accuracy(confusion));
    json_put_number(object, "mean_iou", unet_confusion_mean_iou(confusion));
    for (int c = 0; c < confusion->classes; c++)
        json_array_append_new(classes, class_json(confusion, c, labels));
    json_put(object, "classes", classes);
    json_print(object);
}
