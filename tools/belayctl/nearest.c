#include <string.h>

#include "nearest.h"

enum { TEXT_BYTES = 64 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t nearest_distance(const char *one, const char *other)
{
    size_t rows[TEXT_BYTES]
               [TEXT_BYTES]; /* Of the first i bytes of one and the first j of the other. */
    size_t one_size = strlen(one), other_size = strlen(other);

    if (one_size >= TEXT_BYTES || other_size >= TEXT_BYTES) {
        return one_size > other_size ? one_size : other_size;
    }
    for (size_t i = 0; i <= one_size; i++) {
        for (size_t j = 0; j <= other_size; j++) {
            if (i == 0 || j == 0) {
                rows[i][j] = i + j;
                continue;
            }
            rows[i][j] = least(rows[i - 1][j - 1] + (one[i - 1] != other[j - 1]),
                               least(rows[i - 1][j], rows[i][j - 1]) + 1);
            if (i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1]) {
                rows[i][j] = least(rows[i][j], rows[i - 2][j - 2] + 1);
            }
        }
    }
    return rows[one_size][other_size];
}

int nearest_is_meant(size_t distance, const char *written)
{
    return distance * 3 <= strlen(written);
}
