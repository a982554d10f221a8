#include "scan_task.h"

#include <errno.h>

#include "connection.h"
#include "container.h"
#include "frame.h"
#include "heap.h"
#include "plane_private.h"
#include "shard.h"
#include "shard_thread.h"
#include "sweep.h"
#include "tasks.h"

struct scan_task {
    struct task task;
    struct sweep sweep;
    struct buffer asked;
};

static struct scan_task *scan_of(struct task *task)
{
    return container_of(task, struct scan_task, task);
}

static void free_scan(struct shard_thread *thread, struct task *task)
{
    struct scan_task *scan = scan_of(task);

    sweep_fini(&scan->sweep);
    buffer_fini(&scan->asked);
    heap_give(thread->memory, scan, sizeof *scan);
}

static void end(struct shard_thread *thread, struct scan_task *scan, enum status status)
{
    const struct gathered gathered = {
        .frame_type = FRAME_SCAN,
        .request_id = scan->task.number,
        .part_count = 1,
        .asked = buffer_bytes(&scan->asked),
        .status = status,
        .value = buffer_bytes(&scan->sweep.keys),
        .cursor = scan->sweep.next,
    };
    struct connection *connection = task_client(thread, &scan->task);

    task_over(thread, &scan->task);
    if (connection != NULL) {
        connection->protocol->gathered(thread, connection, &gathered);
    }
}

static void begin_scan(struct shard_thread *thread, struct task *task)
{
    struct scan_task *scan = scan_of(task);

    if (thread->stopping) {
        end(thread, scan, STATUS_STOPPING);
    } else if (connection_find(thread, task->connection, task->generation) == NULL) {
        task_over(thread, task);
    } else if (sweep_ask(thread, &scan->sweep, task) != 0) {
        end(thread, scan, STATUS_BUSY);
    }
}

static void answered(struct shard_thread *thread, struct task *task,
                     const struct task_answer *answer)
{
    struct scan_task *scan = scan_of(task);

    switch (sweep_answered(thread, &scan->sweep, answer)) {
    case SWEEP_WAITS:
        break;
    case SWEEP_AGAIN:
        task_go_on(thread, task, SWEEP_RETRY_US);
        break;
    case SWEEP_DONE:
        end(thread, scan, STATUS_OK);
        break;
    case SWEEP_FAILED:
        end(thread, scan, scan->sweep.status);
        break;
    }
}

static const struct task_kind scan_kind = {
    .begin = begin_scan,
    .answered = answered,
    .free = free_scan,
};

int scan_task_begin(struct shard_thread *thread, struct connection *connection, uint64_t number,
                    const struct request *request, struct bytes asked)
{
    struct scan_task *scan = heap_take(thread->memory, sizeof *scan);

    if (scan == NULL) {
        return -ENOMEM;
    }
    *scan = (struct scan_task){.asked = {.memory = thread->memory}};
    sweep_init(&scan->sweep, thread->memory);
    scan->sweep.only = connection->redirects ? thread->plane->options.actor.node : 0;
    scan->sweep.type = request->type;
    scan->sweep.cursor = request->cursor;
    scan->sweep.count = request->count;
    int rc = buffer_append(&scan->sweep.prefix, request->key);
    rc = rc != 0 ? rc : buffer_append(&scan->asked, asked);
    if (rc != 0) {
        free_scan(thread, &scan->task);
        return rc;
    }
    task_add_for(thread, &scan->task, &scan_kind, connection, number);
    return 0;
}
