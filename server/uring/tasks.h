/* Tasks: what takes a thread several requests, one after the other, to shards: a rename, a walk over all keys.
 *
 * A task has a due time, at which it begins its next step: it asks one or more shards, and is told each answer where it
 * comes. What follows begins with the next turn, as a batch may be running. A task may be for a client, which, where it speaks RESP, gets
 * no other reply before the task's, and whose next command waits; it goes on, or not, when its client has left.
 *
 * Threads: its shard's.
 */
#ifndef TASKS_H
#define TASKS_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "status.h"

struct call;
struct connection;
struct request;
struct shard_thread;
struct slow_request;
struct task;

struct task_answer {
    enum status status;
    uint32_t part;        /* As it was asked. */
    enum ack_level level; /* Of a write that was done, as it was reached. */
    uint64_t cursor;      /* Of a scan. */
    struct bytes bytes;   /* What a procedure answered, or a scan's keys; with an error nothing. */
};

struct task_kind {
    void (*begin)(struct shard_thread *thread, struct task *task);
    void (*answered)(struct shard_thread *thread, struct task *task,
                     const struct task_answer *answer);
    void (*free)(struct shard_thread *thread, struct task *task);
};

/* Part of what the kind has; zeroed at first. */
struct task {
    struct task *next;
    const struct task_kind *kind;
    uint64_t due_us; /* UINT64_MAX: answers are awaited. */
    bool over;
    bool for_client;
    uint32_t connection, generation;
    uint64_t number;           /* Of the client's request. */
    struct slow_request *slow; /* Measured, and held by the task; NULL: it is not. */
};

extern const struct protocol tasks_protocol;

enum { TASK_RETRY_US = 1000 }; /* After BUSY. */

/* It begins with the next turn. */
void task_add(struct shard_thread *thread, struct task *task, const struct task_kind *kind);
/* The same, and its end is the reply to request `number`. */
void task_add_for(struct shard_thread *thread, struct task *task, const struct task_kind *kind,
                  struct connection *connection, uint64_t number);
/* Its client may be replied to, and its next command served. Returns NULL where it has none, or it has left. */
struct connection *task_client(struct shard_thread *thread, struct task *task);

/* Begin the next step after `delay_us`. */
void task_go_on(struct shard_thread *thread, struct task *task, uint64_t delay_us);
/* There is none; it is freed with the next turn. */
void task_over(struct shard_thread *thread, struct task *task);

/* Ask the shard of the request's key. Where that cannot be sent, the answer is BUSY, and may come at once. */
void task_ask(struct shard_thread *thread, struct task *task, struct request *request,
              uint32_t part);
/* The same of a shard, for a scan. */
void task_ask_shard(struct shard_thread *thread, struct task *task, struct request *request,
                    uint32_t shard);

/* The same of a shard of any node of the cluster; the answer has that part. */
void task_ask_node(struct shard_thread *thread, struct task *task, struct request *request,
                   uint32_t node, uint32_t shard, uint32_t part);

/* The answer to a call of form CALL_STEP. */
void task_answered(struct shard_thread *thread, const struct call *call, struct bytes answer);

/* Begin what is due: into the batch, which is to be run. Returns when to come again, in us. */
uint64_t tasks_turn(struct shard_thread *thread);
void tasks_fini(struct shard_thread *thread);

#endif
