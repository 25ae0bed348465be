#include "inputs.h"

#include "message.h"

#include <unet.h>

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

char *name_without_extension(const char *path)
{
    char *name = must_format("%s", path);
    char *base = name + (base_name(name) - name);
    char *dot = strrchr(base, '.');
    if (dot != NULL && dot != base)
        *dot = '\0';
    return name;
}

bool is_array_name(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && strcasecmp(path + length - 4, ".npy") == 0;
}

bool is_folder(const char *path)
{
    struct stat facts;
    return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

bool is_same_file(const char *a, const char *b)
{
    struct stat facts_a, facts_b;
    return stat(a, &facts_a) == 0 && stat(b, &facts_b) == 0 && facts_a.st_dev == facts_b.st_dev &&
           facts_a.st_ino == facts_b.st_ino;
}

static void append(struct input_list *list, enum input_kind kind, const char *path, char *name)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity > 0 ? 2 * list->capacity : 64;
        list->items = must_reallocate(list->items, list->capacity * sizeof *list->items);
    }
    list->items[list->count++] = (struct input){must_format("%s", path), name, kind};
}

void inputs_add_file(struct input_list *list, const char *path, const char *name)
{
    append(list, is_array_name(path) ? INPUT_ARRAY : INPUT_IMAGE, path, must_format("%s", name));
}

static void add_plain_file(struct input_list *list, const char *path)
{
    char *name = name_without_extension(base_name(path));
    inputs_add_file(list, path, name);
    free(name);
}

void inputs_clear(struct input_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].path);
        free(list->items[i].name);
    }
    free(list->items);
    *list = (struct input_list){0};
}

/* ---------------------------------------------------------------- folders */

/* The folders from the argument down to the one that is being read: a link to one of them would
 * never end. */
struct level {
    const struct level *above;
    dev_t device;
    ino_t inode;
};

static bool is_above(const struct level *level, const struct stat *facts)
{
    for (; level != NULL; level = level->above)
        if (level->device == facts->st_dev && level->inode == facts->st_ino)
            return true;
    return false;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

struct walk {
    struct input_list *list;
    bool saw_arrays;
};

static void walk_folder(struct walk *walk, const char *path, const char *tree,
                        const struct level *above);

static void walk_entry(struct walk *walk, const char *path, const char *tree,
                       const struct level *level)
{
    struct stat facts;
    bool exists = stat(path, &facts) == 0;
    if (exists && S_ISDIR(facts.st_mode)) {
        if (walk->list->results != NULL && is_same_file(path, walk->list->results))
            return; /* an earlier run's masks are not images to segment */
        if (is_above(level, &facts))
            message("%s links to a folder above itself; passed over", path);
        else
            walk_folder(walk, path, tree, level);
    } else if (unet_is_image_name(path) && (!exists || S_ISREG(facts.st_mode))) {
        /* A dangling link becomes an input too: the failure to open it names it. */
        append(walk->list, INPUT_IMAGE, path, name_without_extension(tree));
    } else if (is_array_name(path)) {
        walk->saw_arrays = true;
    }
}

/* `tree` is the path below the argument: "" at its top. */
static void walk_folder(struct walk *walk, const char *path, const char *tree,
                        const struct level *above)
{
    struct stat facts;
    struct dirent **entries = NULL;
    int count = stat(path, &facts) == 0 ? scandir(path, &entries, is_visible, by_bytes) : -1;
    if (count < 0) {
        message_error("cannot read the folder %s: %s", path, strerror(errno));
        walk->list->failed++;
        return;
    }
    struct level level = {above, facts.st_dev, facts.st_ino};
    bool ends_in_slash = path[0] != '\0' && path[strlen(path) - 1] == '/';
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char *inner = must_format("%s%s%s", path, ends_in_slash ? "" : "/", name);
        char *inner_tree = must_format("%s%s%s", tree, tree[0] != '\0' ? "/" : "", name);
        walk_entry(walk, inner, inner_tree, &level);
        free(inner);
        free(inner_tree);
        free(entries[i]);
    }
    free(entries);
}

static void add_folder(struct input_list *list, const char *path)
{
    struct walk walk = {list, false};
    size_t count = list->count, failed = list->failed;
    walk_folder(&walk, path, "", NULL);
    if (list->count > count || list->failed > failed)
        return;
    message_error("%s holds no images (.png .jpg .jpeg .tif .tiff)%s%s%s", path,
                  walk.saw_arrays ? "; arrays are named by a pattern: '" : "",
                  walk.saw_arrays ? path : "", walk.saw_arrays ? "/*.npy'" : "");
    list->failed++;
}

/* ---------------------------------------------------------------- arguments */

static void add_existing(struct input_list *list, const char *path)
{
    if (is_folder(path))
        add_folder(list, path);
    else
        add_plain_file(list, path);
}

static void add_pattern(struct input_list *list, const char *pattern)
{
    glob_t matches;
    int result = glob(pattern, GLOB_BRACE | GLOB_TILDE, NULL, &matches);
    if (result == 0) {
        for (size_t i = 0; i < matches.gl_pathc; i++)
            add_existing(list, matches.gl_pathv[i]);
        globfree(&matches);
        return;
    }
    message_error("%s the pattern %s", result == GLOB_NOMATCH ? "nothing matches" : "cannot expand",
                  pattern);
    list->failed++;
}

void inputs_add(struct input_list *list, const char *argument)
{
    struct stat facts;
    if (strcmp(argument, "-") == 0)
        append(list, INPUT_STDIN, "-", must_format("stdin"));
    else if (stat(argument, &facts) == 0)
        add_existing(list, argument);
    else if (errno == ENOENT && strpbrk(argument, "*?[{") != NULL)
        add_pattern(list, argument);
    else {
        message_error("cannot open %s: %s", argument, strerror(errno));
        list->failed++;
    }
}
