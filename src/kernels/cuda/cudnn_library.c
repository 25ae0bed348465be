#include "kernels/cuda/cudnn_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static struct cudnn_library library;
static bool complete;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool find(void *from, const char *name, void *function)
{
    void *found = dlsym(from, name);
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

static void load(void)
{
    const char *asked = getenv("UNET_CUDNN");
    if (asked == NULL || strcmp(asked, "1") != 0)
        return;
    void *from = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    if (from == NULL)
        return;
    complete = find(from, "cudnnGetVersion", &library.get_version) &&
               find(from, "cudnnGetErrorString", &library.get_error_string) &&
               find(from, "cudnnCreate", &library.create) &&
               find(from, "cudnnDestroy", &library.destroy) &&
               find(from, "cudnnSetStream", &library.set_stream) &&
               find(from, "cudnnBackendCreateDescriptor", &library.create_descriptor) &&
               find(from, "cudnnBackendDestroyDescriptor", &library.destroy_descriptor) &&
               find(from, "cudnnBackendFinalize", &library.finalize) &&
               find(from, "cudnnBackendSetAttribute", &library.set_attribute) &&
               find(from, "cudnnBackendGetAttribute", &library.get_attribute) &&
               find(from, "cudnnBackendExecute", &library.execute);
}

const struct cudnn_library *cudnn_library(void)
{
    (void)pthread_once(&once, load);
    return complete ? &library : NULL;
}
