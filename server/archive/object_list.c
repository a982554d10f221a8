#include "object_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int object_list_add(struct object_list *list, const char *name, uint64_t size)
{
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
        struct object_listed *listed = realloc(list->listed, capacity * sizeof *listed);
        if (listed == NULL) {
            return -ENOMEM;
        }
        list->listed = listed;
        list->capacity = capacity;
    }
    char *kept = strdup(name);
    if (kept == NULL) {
        return -ENOMEM;
    }
    list->listed[list->count++] = (struct object_listed){kept, size};
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct object_listed *)a)->name, ((const struct object_listed *)b)->name);
}

static void cut(struct object_list *list, uint32_t most)
{
    while (list->count > most) {
        free(list->listed[--list->count].name);
    }
}

void object_list_sort(struct object_list *list, uint32_t most)
{
    if (list->count > 0) {
        qsort(list->listed, list->count, sizeof *list->listed, by_name);
    }
    list->more = list->count > most;
    cut(list, most);
}

void object_list_fini(struct object_list *list)
{
    cut(list, 0);
    free(list->listed);
    *list = (struct object_list){0};
}
