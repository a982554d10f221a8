/* The other end of a socket, as Redis writes it: "127.0.0.1:40318", "[::1]:40318". */
#ifndef PEER_H
#define PEER_H

enum { PEER_BYTES = 64 };

/* "?:0" where it has none any more. */
void peer_print(int fd, char text[PEER_BYTES]);

#endif
