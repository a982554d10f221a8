/* What the plane's own files share. */
#ifndef PLANE_PRIVATE_H
#define PLANE_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "listener.h"
#include "monitor.h"
#include "plane.h"
#include "pubsub.h"
#include "rename.h"
#include "resp_door.h"
#include "shard_thread.h"
#include "slowlog.h"

struct plane {
    struct plane_options options;
    char *node_name;
    struct listener listeners[LISTENERS];
    uint32_t thread_count, started; /* Threads made, and running. */
    _Atomic bool broken;            /* A thread could not use its ring. */
    _Atomic uint64_t clients;       /* Ids given out in this run of the node. */
    _Atomic uint64_t resp_clients;  /* The same, of connections that speak RESP. */
    struct scripts scripts;
    struct pubsub pubsub;
    struct monitor monitor;
    struct slowlog slowlog;
    uint16_t rename_tags[SLOT_COUNT]; /* The first RENAME_JOURNALS are of journals. */
    _Atomic uint32_t
        recovering; /* Threads that have not yet ended what a crash left half done: nothing is accepted. */
    _Atomic uint32_t draining; /* Threads that have nothing left to answer. */
    _Atomic uint64_t refused_connections;
    struct shard_thread *threads; /* options.shard_count of them. */
};

#endif
