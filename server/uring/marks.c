#include "marks.h"

#include <errno.h>
#include <string.h>

#include "calls.h"
#include "heap.h"

enum { MARKS_MIN = 64 };

bool marks_has(const struct marks *marks, const struct call *call)
{
    return call->connection < marks->size &&
           marks->marks[call->connection].generation == call->connection_generation &&
           marks->marks[call->connection].count > 0;
}

int marks_add(struct marks *marks, struct memory *memory, const struct call *call)
{
    if (call->connection >= marks->size) {
        uint32_t size = marks->size == 0 ? MARKS_MIN : marks->size;
        while (size <= call->connection) {
            size *= 2;
        }
        struct mark *grown =
            memory->resize(memory, marks->marks, marks->size * sizeof *grown, size * sizeof *grown);
        if (grown == NULL) {
            return -ENOMEM;
        }
        memset(grown + marks->size, 0, (size - marks->size) * sizeof *grown);
        marks->marks = grown;
        marks->size = size;
    }
    struct mark *mark = &marks->marks[call->connection];
    if (mark->generation != call->connection_generation) {
        *mark = (struct mark){.generation = call->connection_generation};
    }
    mark->count++;
    return 0;
}

void marks_remove(struct marks *marks, const struct call *call)
{
    if (marks_has(marks, call)) {
        marks->marks[call->connection].count--;
    }
}

void marks_fini(struct marks *marks, struct memory *memory)
{
    if (marks->marks != NULL) {
        heap_give(memory, marks->marks, marks->size * sizeof *marks->marks);
    }
    *marks = (struct marks){0};
}
