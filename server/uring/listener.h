/* The listening socket. Shard 0 accepts and gives each socket to the shard with the fewest, so that idle
 * connections are spread evenly; a client of ours then asks for the shard it wants (HELLO).
 *
 * One socket on purpose: with SO_REUSEPORT a second daemon of the same user could share the port
 * unnoticed.
 */
#ifndef LISTENER_H
#define LISTENER_H

#include <liburing.h>
#include <stddef.h>
#include <stdint.h>

struct shard_thread;

/* Bind and listen. Returns the socket, with `port` set, or negative errno with `message`. */
int listener_open(const char *address, uint16_t port, uint16_t *bound, char *message,
                  size_t message_size);

/* On shard 0's thread. */
void listener_arm(struct shard_thread *thread);
void listener_accepted(struct shard_thread *thread, const struct io_uring_cqe *cqe);

#endif
