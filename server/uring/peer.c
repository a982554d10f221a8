#include "peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

void peer_print(int fd, char text[PEER_BYTES])
{
    struct sockaddr_in6 address = {0}; /* Room for the other family, too. */
    socklen_t size = sizeof address;
    char host[INET6_ADDRSTRLEN] = "?";
    struct sockaddr *any = (void *)&address;

    if (getpeername(fd, any, &size) != 0 ||
        (any->sa_family != AF_INET && any->sa_family != AF_INET6)) {
        snprintf(text, PEER_BYTES, "?:0");
        return;
    }
    if (any->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const void *)&address;
        (void)inet_ntop(AF_INET, &four->sin_addr, host, sizeof host);
        snprintf(text, PEER_BYTES, "%s:%u", host, ntohs(four->sin_port));
    } else {
        (void)inet_ntop(AF_INET6, &address.sin6_addr, host, sizeof host);
        snprintf(text, PEER_BYTES, "[%s]:%u", host, ntohs(address.sin6_port));
    }
}
