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
    return (size_t)sysconf(_SC_PAGESIZE);
}

static unsigned char *inside(const struct guarded *memory)
{
    return memory->map + page_bytes();
}

static size_t inside_bytes(const struct guarded *memory)
{
    return memory->map_bytes - 2 * page_bytes();
}

void guarded_new(struct guarded *memory, size_t bytes, bool at_end)
{
    size_t page = page_bytes();
    size_t room = (bytes + page - 1) / page * page;
    *memory = (struct guarded){.map_bytes = room + 2 * page, .bytes = bytes, .at_end = at_end};
    memory->map = mmap(NULL, memory->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory->map == MAP_FAILED ||
        (room > 0 && mprotect(inside(memory), room, PROT_READ | PROT_WRITE) != 0)) {
        perror("kernel-tests: guarded memory");
        exit(2);
    }
    memory->data = inside(memory) + (at_end ? room - bytes : 0);
    memset(inside(memory), PATTERN, room);
    guarded_poison(memory);
}

void guarded_poison(const struct guarded *memory)
{
    memset(memory->data, 0xff, memory->bytes); /* a NaN in every float */
}

void guarded_protect(const struct guarded *memory)
{
    if (inside_bytes(memory) > 0)
        mprotect(inside(memory), inside_bytes(memory), PROT_READ);
}

bool guarded_intact(const struct guarded *memory)
{
    const unsigned char *slack = inside(memory) + (memory->at_end ? 0 : memory->bytes);
    for (size_t i = 0; i < inside_bytes(memory) - memory->bytes; i++)
        if (slack[i] != PATTERN)
            return false;
    return true;
}

void guarded_free(struct guarded *memory)
{
    if (memory->map != NULL)
        munmap(memory->map, memory->map_bytes);
    *memory = (struct guarded){0};
}

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
