/* Which word of a list is meant by one that is none of them. */
#ifndef NEAREST_H
#define NEAREST_H

#include <stddef.h>

/* How many letters differ, are missing or too many, or change places with the next one. Texts of more than 63 bytes are as far
 * from all others as they are long. */
size_t nearest_distance(const char *one, const char *other);

/* Is a text at that distance from `written` likely what was meant? At most a third of it is wrong. */
int nearest_is_meant(size_t distance, const char *written);

#endif
