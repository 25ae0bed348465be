#include "crew.h"

#include "message.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of each GPU: one runs while another's data is copied, and the third has something to begin
 * with. */
#define SESSIONS 3
/* Outcomes that may wait for an earlier one, for each thread. */
#define AHEAD 4

/* ---------------------------------------------------------------- open and close */

static unet_status add_device(struct crew *crew, const char *path,
                              const struct run_settings *settings, size_t inputs, unet_error *error)
{
    crew->members =
        must_reallocate(crew->members, (size_t)(crew->count + SESSIONS) * sizeof *crew->members);
    struct segmenter *first = &crew->members[crew->count];
    unet_status status = segmenter_open(first, path, settings, error);
    if (status != UNET_OK)
        return status;
    crew->count++;
    bool on_cpu = strcmp(first->info.device, "cpu") == 0;
    for (int i = 1; i < SESSIONS && (size_t)i < inputs && !on_cpu; i++) {
        status = segmenter_share(first, &crew->members[crew->count], error);
        if (status != UNET_OK)
            return status;
        crew->count++;
    }
    return UNET_OK;
}

static unet_status add_all_devices(struct crew *crew, const char *path,
                                   const struct run_settings *settings, size_t inputs,
                                   unet_error *error)
{
    int devices = 0;
    unet_status status = unet_device_count(&devices, error);
    if (status == UNET_OK && devices == 0)
        status = fail_with(error, UNET_ERROR_DEVICE,
                           "there is no GPU: the driver sees none; use the CPU");
    for (int i = 0; i < devices && status == UNET_OK; i++) {
        struct run_settings one = *settings;
        char name[32];
        snprintf(name, sizeof name, "cuda:%d", i);
        one.device = name;
        status = add_device(crew, path, &one, inputs, error);
    }
    return status;
}

/* A run on the CPU takes all of its threads: others would only be in its way. */
static unet_status count_threads(struct crew *crew, const struct run_settings *settings,
                                 size_t inputs, unet_error *error)
{
    unet_machine_info machine = {.size = sizeof machine};
    crew->threads = 1;
    if (strcmp(crew->members[0].info.device, "cpu") == 0)
        return UNET_OK;
    unet_status status = unet_machine_get_info(&machine, error);
    if (status != UNET_OK)
        return status;
    int usable = settings->threads > 0 ? settings->threads : machine.usable_threads;
    int wanted = usable + crew->count; /* those who wait for a GPU need no processor */
    crew->threads = inputs < (size_t)wanted ? (int)inputs : wanted;
    return UNET_OK;
}

unet_status crew_open(struct crew *crew, const char *path, const struct run_settings *settings,
                      size_t inputs, unet_error *error)
{
    bool all = settings->device != NULL && strcmp(settings->device, "cuda:all") == 0;
    *crew = (struct crew){.threads = 1};
    unet_status status = (all ? add_all_devices : add_device)(crew, path, settings, inputs, error);
    if (status == UNET_OK)
        status = count_threads(crew, settings, inputs, error);
    if (status != UNET_OK)
        crew_close(crew);
    return status;
}

/* Those that share come behind whose engine they share. */
void crew_close(struct crew *crew)
{
    for (int i = crew->count - 1; i >= 0; i--)
        segmenter_close(&crew->members[i]);
    free(crew->members);
    *crew = (struct crew){0};
}

/* ---------------------------------------------------------------- at work */

struct slot {
    bool done;
    struct outcome outcome;
};

struct shift {
    struct crew *crew;
    crew_work *work;
    void *context;
    size_t count, next, told; /* inputs; the next to begin; those whose outcome was told */
    bool ended;               /* no further one is begun */
    struct slot *slots;       /* of inputs from `told` on, in turn */
    size_t slot_count;
    bool *busy; /* members */
    int turn;   /* so that all of them, and so all GPUs, get their share */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
};

struct segmenter *crew_enter(struct shift *shift)
{
    struct segmenter *found = NULL;
    pthread_mutex_lock(&shift->mutex);
    for (;;) {
        for (int i = 0; i < shift->crew->count && found == NULL; i++) {
            int member = (shift->turn + i) % shift->crew->count;
            if (!shift->busy[member])
                found = &shift->crew->members[member];
        }
        if (found != NULL)
            break;
        pthread_cond_wait(&shift->changed, &shift->mutex);
    }
    shift->busy[found - shift->crew->members] = true;
    shift->turn = (int)(found - shift->crew->members) + SESSIONS; /* the next GPU's, if any */
    pthread_mutex_unlock(&shift->mutex);
    return found;
}

void crew_leave(struct shift *shift, struct segmenter *member)
{
    pthread_mutex_lock(&shift->mutex);
    shift->busy[member - shift->crew->members] = false;
    pthread_cond_broadcast(&shift->changed);
    pthread_mutex_unlock(&shift->mutex);
}

static void work_on(struct shift *shift, size_t input)
{
    struct slot *slot = &shift->slots[input % shift->slot_count];
    struct outcome outcome = {.status = UNET_OK};
    shift->work(shift->context, shift, input, &outcome);
    pthread_mutex_lock(&shift->mutex);
    slot->outcome = outcome;
    slot->done = true;
    shift->ended = shift->ended || outcome.last; /* now: the one who tells may be late */
    pthread_cond_broadcast(&shift->changed);
    pthread_mutex_unlock(&shift->mutex);
}

/* Holding the mutex: waits while there would be no slot for the next input. */
static bool take_next(struct shift *shift, size_t *input)
{
    while (!shift->ended && shift->next < shift->count &&
           shift->next - shift->told >= shift->slot_count)
        pthread_cond_wait(&shift->changed, &shift->mutex);
    if (shift->ended || shift->next == shift->count)
        return false;
    *input = shift->next++;
    return true;
}

static void *work_along(void *argument)
{
    struct shift *shift = argument;
    for (;;) {
        size_t input;
        pthread_mutex_lock(&shift->mutex);
        bool more = take_next(shift, &input);
        pthread_mutex_unlock(&shift->mutex);
        if (!more)
            return NULL;
        work_on(shift, input);
    }
}

/* In order; true while something is still to come. */
static bool tell_next(struct shift *shift, crew_report *report)
{
    pthread_mutex_lock(&shift->mutex);
    struct slot *slot = &shift->slots[shift->told % shift->slot_count];
    while (!slot->done && shift->told < (shift->ended ? shift->next : shift->count))
        pthread_cond_wait(&shift->changed, &shift->mutex);
    bool there = slot->done;
    pthread_mutex_unlock(&shift->mutex);
    if (!there)
        return false;
    report(shift->context, shift->told, &slot->outcome);
    pthread_mutex_lock(&shift->mutex);
    slot->done = false;
    shift->told++;
    pthread_cond_broadcast(&shift->changed);
    pthread_mutex_unlock(&shift->mutex);
    return true;
}

/* ---------------------------------------------------------------- with threads, and without */

static void run_with_threads(struct shift *shift, int threads, crew_report *report)
{
    pthread_t *started = must_allocate((size_t)threads * sizeof *started);
    int count = 0;
    while (count < threads && pthread_create(&started[count], NULL, work_along, shift) == 0)
        count++;
    if (count == 0)
        shift->ended = true; /* and nothing was begun */
    while (tell_next(shift, report))
        ;
    for (int i = 0; i < count; i++)
        pthread_join(started[i], NULL);
    free(started);
}

static void run_alone(struct shift *shift, crew_report *report)
{
    while (!shift->ended && shift->next < shift->count) {
        work_on(shift, shift->next++);
        tell_next(shift, report);
    }
}

size_t crew_run(struct crew *crew, size_t count, crew_work *work, crew_report *report,
                void *context)
{
    struct shift shift = {.crew = crew,
                          .work = work,
                          .context = context,
                          .count = count,
                          .slot_count = (size_t)crew->threads * AHEAD,
                          .mutex = PTHREAD_MUTEX_INITIALIZER,
                          .changed = PTHREAD_COND_INITIALIZER};
    size_t bytes = shift.slot_count * sizeof *shift.slots;
    shift.slots = must_allocate(bytes);
    memset(shift.slots, 0, bytes);
    shift.busy = must_allocate((size_t)crew->count * sizeof *shift.busy);
    memset(shift.busy, 0, (size_t)crew->count * sizeof *shift.busy);
    if (crew->threads > 1)
        run_with_threads(&shift, crew->threads, report);
    if (shift.told == 0 && shift.next == 0) {
        shift.ended = false; /* no thread could be had */
        run_alone(&shift, report);
    }
    free(shift.slots);
    free(shift.busy);
    return shift.told;
}
