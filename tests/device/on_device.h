/* For tests that run on the device that is none. */
#ifndef UNET_TESTS_ON_DEVICE_H
#define UNET_TESTS_ON_DEVICE_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "fake.h"
#include "unit/engine/network.h"

/* Called before anything else: the back end is loaded once. */
static inline void use_fake_device(void)
{
    setenv("UNET_CUDA_LIBRARY", FAKE_DEVICE, 1);
}

static inline struct fake_counts counts_now(void)
{
    fake_counts_function *function;
    void *handle = dlopen(FAKE_DEVICE, RTLD_NOW), *symbol = dlsym(handle, "fake_counts_now");
    memcpy(&function, &symbol, sizeof function);
    return function();
}

/* The hourglass with values of this type, as a device's build makes it. */
static inline struct graph device_graph(bool transposed, uint64_t seed, enum graph_type type)
{
    struct graph graph;
    network_optimized(&graph, transposed, seed);
    graph_set_type(&graph, type);
    return graph;
}

static inline unet_engine *device_engine(bool transposed, uint64_t seed, enum graph_type type)
{
    unet_error error;
    struct plan plan;
    struct kernel_target target;
    unet_engine *engine = NULL;
    struct engine_facts facts = network_facts();
    struct graph graph = device_graph(transposed, seed, type);
    assert_ok(target_open(0, &target, &error), &error);
    assert_ok(plan_create(&graph, target, NULL, NULL, &plan, &error), &error);
    assert_ok(engine_create(&graph, &plan, &facts, &engine, &error), &error);
    plan_clear(&plan);
    target_close(&target);
    return engine;
}

static inline unet_session *session_for(const unet_engine *engine, bool profile)
{
    unet_error error;
    unet_session *session = NULL;
    unet_session_options options = UNET_SESSION_OPTIONS_INIT;
    options.profile = profile;
    assert_ok(unet_session_create(engine, &options, &session, &error), &error);
    return session;
}

/* Notices, one behind the other. */
struct notices {
    char text[4096];
};

static inline void note_line(void *user, int level, const char *line)
{
    struct notices *notices = user;
    if (level == 0 && strlen(notices->text) + strlen(line) + 2 < sizeof notices->text) {
        strcat(notices->text, line);
        strcat(notices->text, "\n");
    }
}

#endif
