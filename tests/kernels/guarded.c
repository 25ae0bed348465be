#include "driver.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PATTERN 0x5a

static size_t page_bytes(void)
{
    static size_t page;
    if (page == 0)
        page = (size_t)sysconf(_SC_PAGESIZE);
    return page;
}

static unsigned char *inside(const struct guarded *memory)
{
    return memory->map + page_bytes();
}

static size_t inside_bytes(const struct guarded *memory)
{
    return memory->map_bytes - 2 * page_bytes();
}

static unsigned char *slack(const struct guarded *memory)
{
    return inside(memory) + (memory->at_end ? 0 : memory->bytes);
}

static size_t slack_bytes(const struct guarded *memory)
{
    return inside_bytes(memory) - memory->bytes;
}

/* ---------------------------------------------------------------- mappings */

/* Those that are free: to map memory and fault its pages in costs more than most kernels do on a
 * case, and the next trial's tensors are as large as the last one's. The oldest gives way. */
#define SPARE       64
#define SPARE_BYTES ((size_t)64 << 20)

static struct spare {
    unsigned char *map; /* or NULL */
    size_t map_bytes;
} spares[SPARE];
static int oldest_spare;
static size_t spare_bytes;

static unsigned char *take_spare(size_t map_bytes)
{
    for (int i = 0; i < SPARE; i++) {
        unsigned char *map = spares[i].map;
        if (map == NULL || spares[i].map_bytes != map_bytes)
            continue;
        spares[i].map = NULL;
        spare_bytes -= map_bytes;
        return map;
    }
    return NULL;
}

static void unmap_spare(struct spare *spare)
{
    if (spare->map == NULL)
        return;
    munmap(spare->map, spare->map_bytes);
    spare_bytes -= spare->map_bytes;
    spare->map = NULL;
}

static void keep_spare(unsigned char *map, size_t map_bytes)
{
    struct spare *spare = &spares[oldest_spare];
    unmap_spare(spare);
    *spare = (struct spare){map, map_bytes};
    spare_bytes += map_bytes;
    oldest_spare = (oldest_spare + 1) % SPARE;
    for (int i = oldest_spare; spare_bytes > SPARE_BYTES; i = (i + 1) % SPARE)
        unmap_spare(&spares[i]);
}

static unsigned char *map_new(size_t room)
{
    size_t page = page_bytes();
    unsigned char *map = mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED ||
        (room > 0 && mprotect(map + page, room, PROT_READ | PROT_WRITE) != 0)) {
        perror("kernel-tests: guarded memory");
        exit(2);
    }
    return map;
}

/* ---------------------------------------------------------------- memory */

void guarded_new(struct guarded *memory, size_t bytes, bool at_end)
{
    size_t page = page_bytes();
    size_t room = (bytes + page - 1) / page * page;
    *memory = (struct guarded){.map_bytes = room + 2 * page, .bytes = bytes, .at_end = at_end};
    memory->map = take_spare(memory->map_bytes);
    if (memory->map == NULL)
        memory->map = map_new(room);
    memory->data = inside(memory) + (at_end ? room - bytes : 0);
    memset(slack(memory), PATTERN, slack_bytes(memory));
    guarded_poison(memory);
}

void guarded_poison(const struct guarded *memory)
{
    memset(memory->data, 0xff, memory->bytes); /* a NaN in every float */
}

void guarded_protect(struct guarded *memory)
{
    memory->protected = inside_bytes(memory) > 0;
    if (memory->protected)
        mprotect(inside(memory), inside_bytes(memory), PROT_READ);
}

bool guarded_intact(const struct guarded *memory)
{
    const unsigned char *at = slack(memory);
    size_t count = slack_bytes(memory);
    return count == 0 || (at[0] == PATTERN && memcmp(at, at + 1, count - 1) == 0);
}

void guarded_free(struct guarded *memory)
{
    if (memory->map != NULL) {
        if (memory->protected)
            mprotect(inside(memory), inside_bytes(memory), PROT_READ | PROT_WRITE);
        keep_spare(memory->map, memory->map_bytes);
    }
    *memory = (struct guarded){0};
}

/* ---------------------------------------------------------------- faults */

static sigjmp_buf fault_return;

static void on_fault(int signal_number)
{
    siglongjmp(fault_return, signal_number);
}

bool guarded_call(void (*function)(void *context), void *context)
{
    struct sigaction action = {.sa_handler = on_fault}, before_segv, before_bus;
    sigaction(SIGSEGV, &action, &before_segv);
    sigaction(SIGBUS, &action, &before_bus);
    bool fine = sigsetjmp(fault_return, 1) == 0;
    if (fine)
        function(context);
    sigaction(SIGSEGV, &before_segv, NULL);
    sigaction(SIGBUS, &before_bus, NULL);
    return fine;
}
