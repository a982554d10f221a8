/* The listening sockets, one of each port. Shard 0 accepts and gives each socket to the shard with the fewest, so that idle
 * connections are spread evenly; a client of ours then asks for the shard it wants (HELLO).
 *
 * One socket for each on purpose: with SO_REUSEPORT a second daemon of the same user could share the port
 * unnoticed.
 */
#ifndef LISTENER_H
#define LISTENER_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shard_thread;

enum {
    LISTENER_NATIVE,  /* The native protocol and RESP. */
    LISTENER_CLUSTER, /* Cluster-aware Redis clients (resp_cluster.h). */
    LISTENERS,
};

struct listener {
    int fd; /* -1: it is not open. */
    uint16_t port;
    bool accepting; /* The ring accepts, or should again from `accept_us` on. Shard 0's. */
    uint64_t accept_us;
};

/* Bind and listen. Returns 0, or negative errno with `message`. */
int listener_open(struct listener *listener, const char *address, uint16_t port, char *message,
                  size_t message_size);

/* On shard 0's thread. */
void listener_arm(struct shard_thread *thread, uint32_t index);
void listener_accepted(struct shard_thread *thread, uint32_t index, const struct io_uring_cqe *cqe);

#endif
