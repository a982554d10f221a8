/* Bytes that lie on disks or travel between versions, as hexadecimal text. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <stdio.h>

#include "bytes.h"
#include "check.h"

/* They are these; blanks are only for people. */
static inline void assert_golden(struct bytes bytes, const char *hex)
{
    char *found = calloc(1, 2 * bytes.size + 1), *wanted = calloc(1, strlen(hex) + 1);
    size_t size = 0;

    assert_non_null(found);
    assert_non_null(wanted);
    for (size_t i = 0; i < bytes.size; i++) {
        snprintf(found + 2 * i, 3, "%02x", bytes.data[i]);
    }
    for (; *hex != '\0'; hex++) {
        if (*hex != ' ') {
            wanted[size++] = *hex;
        }
    }
    assert_string_equal(found, wanted);
    free(found);
    free(wanted);
}

#endif
