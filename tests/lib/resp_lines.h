/* What a RESP client sends and is answered (plane_kit.h), as texts. */
#ifndef RESP_LINES_H
#define RESP_LINES_H

#include "plane_kit.h"

enum { RESP_LINE_BYTES = 1024 };

/* Send lines, in one piece: the kernel would keep a second one back until the first is acknowledged. */
static inline void plane_client_ask(struct plane_client *client, const char *lines)
{
    char whole[RESP_LINE_BYTES];

    int size = snprintf(whole, sizeof whole, "%s\r\n", lines);
    assert_true(size > 0 && (size_t)size < sizeof whole);
    plane_client_send(client, bytes_of(whole, (size_t)size));
}

/* Exactly this comes next. */
static inline void plane_client_expect(struct plane_client *client, const char *reply)
{
    char got[RESP_LINE_BYTES] = "";
    size_t size = strlen(reply);

    assert_true(size < sizeof got);
    for (size_t at = 0; at < size;) {
        ssize_t more = plane_client_recv(client, got + at, size - at);
        if (more <= 0) {
            fail_msg("the connection ended after \"%s\"", got);
        }
        at += (size_t)more;
    }
    assert_string_equal(got, reply);
}

/* The next line of a reply, without its end. */
static inline void plane_client_line(struct plane_client *client, char line[RESP_LINE_BYTES])
{
    size_t size = 0;

    do {
        assert_true(size < RESP_LINE_BYTES - 1);
        assert_int_equal(plane_client_recv(client, line + size++, 1), 1);
    } while (size < 2 || line[size - 1] != '\n');
    line[size - 2] = '\0';
}

#endif
