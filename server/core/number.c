#include "number.h"

bool number_parse(struct bytes text, int64_t *value)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t first = negative ? 1 : 0;
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    uint64_t found = 0;

    if (text.size == first || text.size > NUMBER_TEXT_MAX ||
        (text.data[first] == '0' && text.size > 1)) {
        return false;
    }
    for (size_t i = first; i < text.size; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';
        if (digit > 9 || found > (limit - digit) / 10) {
            return false;
        }
        found = found * 10 + digit;
    }
    *value = negative ? (int64_t)(0 - found) : (int64_t)found;
    return true;
}

size_t number_format(int64_t value, char *text)
{
    char digits[NUMBER_TEXT_MAX];
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t count = 0, size = 0;

    do {
        digits[count++] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0) {
        text[size++] = '-';
    }
    while (count > 0) {
        text[size++] = digits[--count];
    }
    return size;
}

bool number_add(int64_t a, int64_t b, int64_t *sum)
{
    if ((b > 0 && a > INT64_MAX - b) || (b < 0 && a < INT64_MIN - b)) {
        return false;
    }
    *sum = a + b;
    return true;
}
