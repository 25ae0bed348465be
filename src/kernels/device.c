#include "kernels/device.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY   "libunet-cuda.so"
#define VARIABLE  "UNET_CUDA_LIBRARY"
#define MOST_CUDA 9999

/* Once it is loaded it stays: its memory, streams and kernels may be anywhere. */
static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static const struct device_backend *loaded;

/* ---------------------------------------------------------------- names */

static bool is_index(const char *text, int *index)
{
    int value = 0;
    size_t digits = strlen(text);
    if (digits == 0 || digits > 4 || (digits > 1 && text[0] == '0'))
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = 10 * value + (*text - '0');
    }
    *index = value;
    return value <= MOST_CUDA;
}

unet_status device_parse(const char *name, int *index, unet_error *error)
{
    if (strcmp(name, "cuda") == 0) {
        *index = 0;
        return UNET_OK;
    }
    if (strncmp(name, "cuda:", 5) == 0 && is_index(name + 5, index))
        return UNET_OK;
    return error_set(error, UNET_ERROR_USAGE,
                     "device '%s' is unknown; give cpu, cuda, cuda:N or auto", name);
}

/* ---------------------------------------------------------------- where it may be */

/* The folder of the file that this code is in: the shared library's, or the program's. */
static bool own_folder(char folder[PATH_MAX])
{
    Dl_info info;
    bool known = dladdr((void *)(uintptr_t)&loaded, &info) != 0 && info.dli_fname != NULL &&
                 strchr(info.dli_fname, '/') != NULL && realpath(info.dli_fname, folder) != NULL;
    if (!known) { /* a program that was found on the path knows its name alone */
        ssize_t length = readlink("/proc/self/exe", folder, PATH_MAX - 1);
        if (length <= 0)
            return false;
        folder[length] = '\0';
    }
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    return true;
}

struct search {
    void *handle;
    char problem[512]; /* why the file that is there cannot be loaded; "": none is there */
    char places[800];
};

static void add_place(struct search *search, const char *place)
{
    size_t used = strlen(search->places);
    snprintf(search->places + used, sizeof search->places - used, "%s%.240s", used > 0 ? ", " : "",
             place);
}

static bool try_file(struct search *search, const char *path)
{
    search->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (search->handle != NULL)
        return true;
    const char *problem = dlerror();
    if (access(path, F_OK) == 0 && search->problem[0] == '\0')
        snprintf(search->problem, sizeof search->problem, "%s", problem);
    return false;
}

static void find_library(struct search *search)
{
    static const char *const places[] = {"", "/../lib", "/.."}; /* the last: programs of tests */
    char folder[PATH_MAX], path[PATH_MAX + 64];
    const char *given = secure_getenv(VARIABLE);
    if (given != NULL && given[0] != '\0') {
        try_file(search, given);
        add_place(search, given);
        return;
    }
    bool known = own_folder(folder);
    for (size_t i = 0; known && i < sizeof places / sizeof places[0]; i++) {
        snprintf(path, sizeof path, "%s%s/" LIBRARY, folder, places[i]);
        if (try_file(search, path))
            return;
        add_place(search, path);
    }
    try_file(search, LIBRARY);
    add_place(search, "the loader's path");
}

/* ---------------------------------------------------------------- what it must be */

static unet_status check_table(const struct device_backend *table, unet_error *error)
{
    if (table == NULL)
        return error_set(error, UNET_ERROR_DEVICE,
                         LIBRARY " offers nothing; build it again with this libunet");
    if (table->abi != DEVICE_ABI)
        return error_set(error, UNET_ERROR_DEVICE,
                         LIBRARY " is of another version: its interface is %d, this libunet's %d; "
                                 "install the two that belong together",
                         table->abi, DEVICE_ABI);
    if (table->kernel_bytes != sizeof(struct kernel) ||
        table->desc_bytes != sizeof(struct kernel_desc) ||
        table->args_bytes != sizeof(struct kernel_args))
        return error_set(error, UNET_ERROR_DEVICE,
                         LIBRARY " is of another build than this libunet; install the two that "
                                 "belong together");
    return UNET_OK;
}

static unet_status take_table(void *handle, const struct device_backend **table, unet_error *error)
{
    void *symbol = dlsym(handle, DEVICE_BACKEND_SYMBOL);
    device_backend_function *function;
    if (symbol == NULL)
        return error_set(error, UNET_ERROR_DEVICE,
                         LIBRARY " is none of libunet's: it has no " DEVICE_BACKEND_SYMBOL);
    memcpy(&function, &symbol, sizeof function); /* ISO C has no cast between the two */
    *table = function();
    return check_table(*table, error);
}

static unet_status load(const struct device_backend **table, unet_error *error)
{
    struct search search = {0};
    find_library(&search);
    if (search.handle == NULL && search.problem[0] != '\0')
        return error_set(error, UNET_ERROR_DEVICE, "the GPU's library cannot be loaded: %s",
                         search.problem);
    if (search.handle == NULL)
        return error_set(error, UNET_ERROR_DEVICE,
                         "there is no " LIBRARY ", which runs networks on a GPU: not in %s; build "
                         "libunet where nvcc is, or use the CPU",
                         search.places);
    unet_status status = take_table(search.handle, table, error);
    if (status != UNET_OK)
        dlclose(search.handle);
    return status;
}

unet_status device_backend_load(const struct device_backend **backend, unet_error *error)
{
    unet_status status = UNET_OK;
    pthread_mutex_lock(&load_lock);
    if (loaded == NULL)
        status = load(&loaded, error);
    if (status != UNET_OK)
        loaded = NULL;
    else
        *backend = loaded;
    pthread_mutex_unlock(&load_lock);
    return status;
}
