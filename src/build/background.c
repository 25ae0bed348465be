#include "build/background.h"

#include <pthread.h>

#include "base/memory.h"

struct background {
    void (*run)(void *context);
    void *context;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool busy, over;
};

static void *work(void *argument)
{
    struct background *background = argument;
    pthread_mutex_lock(&background->mutex);
    while (!background->over) {
        if (!background->busy) {
            pthread_cond_wait(&background->changed, &background->mutex);
            continue;
        }
        pthread_mutex_unlock(&background->mutex);
        background->run(background->context);
        pthread_mutex_lock(&background->mutex);
        background->busy = false;
        pthread_cond_broadcast(&background->changed);
    }
    pthread_mutex_unlock(&background->mutex);
    return NULL;
}

unet_status background_create(void (*run)(void *context), void *context,
                              struct background **background, unet_error *error)
{
    struct background *made = memory_calloc(1, sizeof *made);
    if (made == NULL)
        return error_memory(error, sizeof *made, "a thread");
    made->run = run;
    made->context = context;
    pthread_mutex_init(&made->mutex, NULL);
    pthread_cond_init(&made->changed, NULL);
    if (pthread_create(&made->thread, NULL, work, made) != 0) {
        memory_free(made);
        return error_set(error, UNET_ERROR_MEMORY, "no thread can be made: too many are running");
    }
    *background = made;
    return UNET_OK;
}

void background_start(struct background *background)
{
    pthread_mutex_lock(&background->mutex);
    background->busy = true;
    pthread_cond_broadcast(&background->changed);
    pthread_mutex_unlock(&background->mutex);
}

void background_wait(struct background *background)
{
    if (background == NULL)
        return;
    pthread_mutex_lock(&background->mutex);
    while (background->busy)
        pthread_cond_wait(&background->changed, &background->mutex);
    pthread_mutex_unlock(&background->mutex);
}

void background_free(struct background **address)
{
    struct background *background = address != NULL ? *address : NULL;
    if (background == NULL)
        return;
    *address = NULL;
    background_wait(background);
    pthread_mutex_lock(&background->mutex);
    background->over = true;
    pthread_cond_broadcast(&background->changed);
    pthread_mutex_unlock(&background->mutex);
    pthread_join(background->thread, NULL);
    pthread_mutex_destroy(&background->mutex);
    pthread_cond_destroy(&background->changed);
    memory_free(background);
}
