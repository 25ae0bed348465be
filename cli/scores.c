#include "scores.h"

#include "json.h"
#include "message.h"

#include <math.h>
#include <stdio.h>

/* Rows of a table; JSON has all images. */
#define WORST_IMAGES 5

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

/* A file's name may hold anything, and here a terminal would obey it. */
static void print_name(const char *name)
{
    for (; *name != '\0'; name++)
        putchar((unsigned char)*name < ' ' || *name == 0x7f ? '?' : *name);
    putchar('\n');
}

static void print_worst_images(const struct flip_list *images)
{
    if (images->count == 0 || images->items[0].counts.flips == 0)
        return;
    printf("\n      flips     share near boundary  worst images\n");
    for (size_t i = 0; i < images->count && i < WORST_IMAGES; i++) {
        const struct image_flips *image = &images->items[i];
        if (image->counts.flips == 0)
            break;
        printf("%11s %8.4f%% %13.5f  ", text_of_count((int64_t)image->counts.flips),
               100 * flip_share(&image->counts), unet_flips_near_share(&image->counts));
        print_name(image->name);
    }
}

static void print_flips(const struct scores *scores)
{
    const unet_flip_counts *total = &scores->flips->total;
    printf("\nagreement       %.6f (%s of %s pixels differ)\n",
           unet_confusion_accuracy(scores->confusion), text_of_count((int64_t)total->flips),
           text_of_count((int64_t)total->pixels));
    if (total->flips > 0)
        printf("near boundary   %.6f (%s of those lie within %d pixels of a boundary between "
               "classes)\n",
               unet_flips_near_share(total), text_of_count((int64_t)total->near_boundary),
               UNET_FLIP_REACH);
}

void scores_print_table(const struct scores *scores)
{
    const unet_confusion *confusion = scores->confusion;
    print_classes(confusion, scores->against == NULL);
    if (scores->against == NULL)
        printf("\npixel accuracy  %.5f\n", unet_confusion_accuracy(confusion));
    else
        print_flips(scores);
    printf("images          %zu\n", scores->tally->done);
    if (scores->against != NULL)
        print_worst_images(scores->images);
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

static void put_flips(json_t *object, const unet_flip_counts *counts)
{
    json_put_integer(object, "pixels", (int64_t)counts->pixels);
    json_put_integer(object, "flips", (int64_t)counts->flips);
    json_put_number(object, "flip_share", flip_share(counts));
    json_put_integer(object, "flips_near_boundary", (int64_t)counts->near_boundary);
    json_put_number(object, "near_boundary_share", unet_flips_near_share(counts));
}

static json_t *images_json(const struct flip_list *images)
{
    json_t *array = json_array();
    for (size_t i = 0; i < images->count; i++) {
        json_t *object = json_object();
        json_put_text(object, "image", images->items[i].name);
        put_flips(object, &images->items[i].counts);
        json_array_append_new(array, object);
    }
    return array;
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
    if (labels)
        json_put_integer(object, "pixels", (int64_t)all_pixels(confusion));
    else
        put_flips(object, &scores->flips->total);
    json_put_number(object, labels ? "pixel_accuracy" : "agreement",
                    unet_confusion_accuracy(confusion));
    json_put_number(object, "mean_iou", unet_confusion_mean_iou(confusion));
    for (int c = 0; c < confusion->classes; c++)
        json_array_append_new(classes, class_json(confusion, c, labels));
    json_put(object, "classes", classes);
    if (!labels)
        json_put(object, "flips_by_image", images_json(scores->images));
    json_print(object);
}
