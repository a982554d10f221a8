/* Names of objects, for an answer. Memory: malloc(). Threads: any. */
#ifndef OBJECT_LIST_H
#define OBJECT_LIST_H

#include "object_store.h"

struct object_list {
    struct object_listed *listed;
    uint32_t count, capacity;
    bool more; /* There are more behind the last one. */
};

/* Add a copy. Returns 0 or -ENOMEM. */
int object_list_add(struct object_list *list, const char *name, uint64_t size);

/* In ascending order, and no more than `most`. */
void object_list_sort(struct object_list *list, uint32_t most);

void object_list_fini(struct object_list *list);

/* What an answer says of it. */
static inline void object_list_answer(const struct object_list *list, struct object_answer *answer)
{
    answer->listed = list->listed;
    answer->listed_count = list->count;
    answer->more = list->more;
}

#endif
