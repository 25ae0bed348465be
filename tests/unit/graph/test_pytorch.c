/* Whole networks against PyTorch's recordings: every variant, as the checkpoint says it and
 * optimised, at sizes that are multiples of 16 and that are not. */
#include "graph/passes.h"
#include "graph/recognize.h"
#include "model/model.h"
#include "random_graph.h"

/* Of the largest logit. PyTorch's were computed in double, so this is float32's rounding alone. */
#define TOLERANCE 1e-5

struct recording {
    char model[64], input[64], logits[64];
};

static void load(const char *folder, const char *name, unet_array *array)
{
    char path[256];
    unet_error error;
    snprintf(path, sizeof path, "tests/golden/%s/%s", folder, name);
    assert_ok(unet_array_load(repository_path(path), array, &error), &error);
    assert_int_equal(array->dtype, UNET_F32);
    assert_int_equal(array->rank, 3);
}

static void recognize(const char *name, struct graph *graph)
{
    char path[256];
    unet_error error;
    unet_model *model;
    snprintf(path, sizeof path, "tests/golden/models/%s", name);
    assert_ok(unet_model_open(repository_path(path), &model, &error), &error);
    assert_ok(graph_recognize(&model->tensors, graph, NULL, &error), &error);
    unet_model_close(&model);
}

static void compare(const struct graph *graph, const unet_array *input, const unet_array *logits,
                    const char *what)
{
    assert_int_equal(graph->values[graph->input].channels, input->shape[0]);
    assert_int_equal(graph->values[graph->output].channels, logits->shape[0]);
    size_t count, due = (size_t)(logits->shape[0] * logits->shape[1] * logits->shape[2]);
    float *output =
        run_reference(graph, input->data, (int)input->shape[1], (int)input->shape[2], &count);
    assert_int_equal(count, due);
    double worst = max_difference(output, logits->data, count);
    double bound = TOLERANCE * largest_magnitude(logits->data, count);
    if (worst > bound)
        fail_msg("%s: differs by %g, %g is allowed", what, worst, bound);
    free(output);
}

static void check_recording(const struct recording *recording)
{
    unet_array input, logits;
    struct graph graph;
    unet_error error;
    load("cases", recording->input, &input);
    load("cases", recording->logits, &logits);
    recognize(recording->model, &graph);
    compare(&graph, &input, &logits, recording->logits);
    assert_ok(graph_optimize(&graph, &error), &error);
    compare(&graph, &input, &logits, recording->logits);
    graph_clear(&graph);
    unet_array_clear(&logits);
    unet_array_clear(&input);
}

static void agrees_with_pytorch(void **state)
{
    (void)state;
    FILE *index = fopen(repository_path("tests/golden/cases/index.txt"), "r");
    assert_non_null(index);
    struct recording recording;
    int count = 0;
    while (fscanf(index, "%63s %63s %63s", recording.model, recording.input, recording.logits) ==
           3) {
        check_recording(&recording);
        count++;
    }
    fclose(index);
    assert_true(count >= 20);
}

/* A recording's checkpoint by its counts alone, as a .wts has them, is the same network. */
static void counts_alone_give_the_same_network(void **state)
{
    (void)state;
    static const char *const names[] = {"old-bilinear.pth",    "bilinear.pth",
                                        "bilinear-bias.pth",   "transposed.pth",
                                        "transposed-bias.pth", "brain.pth"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[256];
        unet_error error;
        unet_model *model;
        struct graph shaped, flat;
        snprintf(path, sizeof path, "tests/golden/models/%s", names[i]);
        assert_ok(unet_model_open(repository_path(path), &model, &error), &error);
        assert_ok(graph_recognize(&model->tensors, &shaped, NULL, &error), &error);
        for (size_t t = 0; t < model->tensors.count; t++) {
            unet_tensor *tensor = &model->tensors.items[t];
            assert_true(tensor_count(tensor->shape, tensor->rank, &tensor->shape[0]));
            tensor->rank = 1;
        }
        assert_ok(graph_recognize(&model->tensors, &flat, NULL, &error), &error);
        unet_model_close(&model);
        assert_int_equal(shaped.node_count, flat.node_count);
        for (int n = 0; n < flat.node_count; n++) {
            const struct graph_node *a = &shaped.nodes[n], *b = &flat.nodes[n];
            assert_string_equal(a->name, b->name);
            assert_int_equal(a->weight.count, b->weight.count);
            if (a->weight.count > 0)
                assert_memory_equal(a->weight.data, b->weight.data,
                                    (size_t)a->weight.count * sizeof(float));
        }
        graph_clear(&flat);
        graph_clear(&shaped);
    }
}

/* The networks that were trained for this project. */
static void knows_the_trained_networks(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        struct unet_facts facts;
    } known[] = {
        {"models/membrane.pth", {"unet-bilinear-old", 3, 2, 64, true}},
        {"models/membrane-w16.pth", {"unet-bilinear-old", 3, 2, 16, true}},
        {"models/camvid-w32.pth", {"unet-transposed", 3, 11, 32, false}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const char *path = shared_path(known[i].path);
        if (path == NULL)
            skip_without_shared();
        unet_error error;
        unet_model *model;
        struct graph graph;
        struct unet_facts facts, due = known[i].facts;
        assert_ok(unet_model_open(path, &model, &error), &error);
        assert_ok(graph_recognize(&model->tensors, &graph, &facts, &error), &error);
        unet_model_close(&model);
        assert_string_equal(facts.architecture, due.architecture);
        assert_int_equal(facts.in_channels, due.in_channels);
        assert_int_equal(facts.classes, due.classes);
        assert_int_equal(facts.width, due.width);
        assert_int_equal(facts.conv_bias, due.conv_bias);
        assert_ok(graph_optimize(&graph, &error), &error);
        assert_int_equal(graph.node_count, 22);
        graph_clear(&graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_trained_networks),
        cmocka_unit_test(agrees_with_pytorch),
        cmocka_unit_test(counts_alone_give_the_same_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
