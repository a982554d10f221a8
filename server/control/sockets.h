/* Sockets of the control thread: listening ones, and those between nodes.
 *
 * All are non-blocking and close-on-exec. Threads: any.
 */
#ifndef SOCKETS_H
#define SOCKETS_H

#include <stdint.h>
#include <sys/socket.h>

/* Listen on an IPv4 or IPv6 address given as text, with SO_REUSEADDR; port 0 picks one. Returns the descriptor, with
 * `port` set; -EINVAL: that is no address; or negative errno. */
int socket_listen(const char *text, uint16_t *port, int backlog);

/* Begin to connect. Returns the descriptor, or negative errno. */
int socket_connect(const struct sockaddr *address, socklen_t size);

/* What a connection between nodes needs: no waiting for more to send, and an end when the other machine is silent for
 * `silent_ms` (RFC 5482), found out by keepalive where nothing else is sent. */
void socket_set_peer(int fd, uint32_t silent_ms);

#endif
