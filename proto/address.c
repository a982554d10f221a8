#include "address.h"

#include <string.h>

enum { DIGITS_MAX = 9 };

bool address_number(const char *text, const char *end, uint32_t most, uint32_t *number)
{
    uint32_t value = 0;

    if (text == end || end - text > DIGITS_MAX) {
        return false;
    }
    for (; text < end; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        value = value * 10 + (uint32_t)(*text - '0');
    }
    *number = value;
    return value <= most;
}

/* ":PORT" or nothing. */
static bool port_parse(const char *text, const char *end, uint32_t *port)
{
    return text == end || (*text == ':' && end - text <= 6 &&
                           address_number(text + 1, end, UINT16_MAX, port) && *port > 0);
}

bool address_parse(const char *text, const char *end, uint16_t port, struct address *address)
{
    const char *host = text, *host_end;
    uint32_t number = port;

    if (text < end && *text == '[') {
        host++;
        host_end = memchr(text, ']', (size_t)(end - text));
        text = host_end == NULL ? NULL : host_end + 1;
    } else {
        host_end = memchr(text, ':', (size_t)(end - text));
        text = host_end = host_end == NULL ? end : host_end;
    }
    if (host_end == NULL || host_end == host || host_end - host > HOST_BYTES_MAX ||
        !port_parse(text, end, &number)) {
        return false;
    }
    memset(address, 0, sizeof *address);
    memcpy(address->host, host, (size_t)(host_end - host));
    address->port = (uint16_t)number;
    return true;
}
