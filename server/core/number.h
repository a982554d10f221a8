/* Numbers as decimal text, the way Redis has them: no sign but '-', no leading zero, 64 bits. */
#ifndef NUMBER_H
#define NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum { NUMBER_TEXT_MAX = 20 };

/* Returns whether the text is such a number, with `value` set. */
bool number_parse(struct bytes text, int64_t *value);

/* Writes at most NUMBER_TEXT_MAX bytes. Returns how many. */
size_t number_format(int64_t value, char *text);

/* a + b; false, with nothing set, where it leaves the range. */
bool number_add(int64_t a, int64_t b, int64_t *sum);

#endif
