/* Addresses as people write them: HOST, HOST:PORT, [HOST]:PORT, where the brackets allow a host with colons (IPv6;
 * RFC 3986, section 3.2.2).
 *
 * Memory: the caller's. Threads: any.
 */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

enum { HOST_BYTES_MAX = 253 /* Of a name in DNS (RFC 1035). */ };

struct address {
    char host[HOST_BYTES_MAX + 1];
    uint16_t port; /* 1 to 65535. */
};

/* Read the text up to `end`; without a port it is `port`. Returns false, with `address` as it was, where it is of no such
 * form, the host is empty or too long, or the port out of range. */
bool address_parse(const char *text, const char *end, uint16_t port, struct address *address);

/* Digits and nothing else up to `end`, a number at most `most` (below 10^9). Returns false where it is none. */
bool address_number(const char *text, const char *end, uint32_t most, uint32_t *number);

#endif
