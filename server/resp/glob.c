#include "glob.h"

/* The class that begins behind `[`; sets `size`, with the closing bracket. One that does not end ends with the
 * pattern. */
static bool in_class(struct bytes pattern, uint8_t byte, size_t *size)
{
    size_t at = 0;
    bool inverted = pattern.size > 0 && pattern.data[0] == '^', found = false;

    at += inverted;
    while (at < pattern.size && pattern.data[at] != ']') {
        if (pattern.data[at] == '\\' && at + 1 < pattern.size) {
            at++;
            found = found || pattern.data[at] == byte;
            at++;
        } else if (at + 2 < pattern.size && pattern.data[at + 1] == '-') {
            uint8_t low = pattern.data[at], high = pattern.data[at + 2];
            found =
                found || (low <= high ? byte >= low && byte <= high : byte >= high && byte <= low);
            at += 3;
        } else {
            found = found || pattern.data[at] == byte;
            at++;
        }
    }
    *size = at < pattern.size ? at + 1 : at;
    return found != inverted;
}

/* Does one byte match what stands at `at`? Sets `size` of that. */
static bool matches_one(struct bytes pattern, size_t at, uint8_t byte, size_t *size)
{
    *size = 1;
    if (pattern.data[at] == '?') {
        return true;
    }
    if (pattern.data[at] == '[') {
        size_t class_size;
        bool found =
            in_class(bytes_of(pattern.data + at + 1, pattern.size - at - 1), byte, &class_size);
        *size = 1 + class_size;
        return found;
    }
    if (pattern.data[at] == '\\' && at + 1 < pattern.size) {
        *size = 2;
        return pattern.data[at + 1] == byte;
    }
    return pattern.data[at] == byte;
}

/* Only the last star need be tried again: what an earlier one takes more, that one can take as well. */
bool glob_matches(struct bytes pattern, struct bytes text)
{
    size_t at = 0, in = 0, star = SIZE_MAX, star_in = 0, size;

    if (pattern.data == NULL) {
        return true;
    }
    while (in < text.size) {
        if (at < pattern.size && pattern.data[at] == '*') {
            star = at++;
            star_in = in;
        } else if (at < pattern.size && matches_one(pattern, at, text.data[in], &size)) {
            at += size;
            in++;
        } else if (star != SIZE_MAX) {
            at = star + 1;
            in = ++star_in;
        } else {
            return false;
        }
    }
    while (at < pattern.size && pattern.data[at] == '*') {
        at++;
    }
    return at == pattern.size;
}

struct bytes glob_prefix(struct bytes pattern)
{
    size_t size = 0;

    while (size < pattern.size && pattern.data[size] != '*' && pattern.data[size] != '?' &&
           pattern.data[size] != '[' && pattern.data[size] != '\\') {
        size++;
    }
    return bytes_of(pattern.data, size);
}
