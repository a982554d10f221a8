#include "events.h"

#include <assert.h>
#include <errno.h>

/* A letter's place is its bit; the first ALL of them are what `A` stands for. */
static const char letters[] = "g$lshzxetdnKEm";

enum { ALL = 10, AFTER_ALL = 11 };

static_assert(EVENTS_GENERIC == 1 << 0 && EVENTS_EXPIRED == 1 << 6, "g and x");
static_assert(EVENTS_KEYSPACE == 1 << 11 && EVENTS_KEYEVENT == 1 << 12, "K and E");
static_assert(sizeof letters < EVENTS_TEXT_BYTES, "all fit");

int events_parse(struct bytes text, uint32_t *events)
{
    uint32_t found = 0;

    for (size_t i = 0; i < text.size; i++) {
        uint32_t place = 0;
        while (letters[place] != '\0' && (uint8_t)letters[place] != text.data[i]) {
            place++;
        }
        if (text.data[i] == 'A') {
            found |= (1U << ALL) - 1;
        } else if (letters[place] != '\0') {
            found |= 1U << place;
        } else {
            return -EINVAL;
        }
    }
    *events = found;
    return 0;
}

void events_print(uint32_t events, char text[EVENTS_TEXT_BYTES])
{
    const uint32_t all = (1U << ALL) - 1;
    uint32_t place = 0;

    if ((events & all) == all) {
        *text++ = 'A';
        place = AFTER_ALL; /* As Redis 7.0 shows it, `n` is not shown beside it. */
    }
    for (; letters[place] != '\0'; place++) {
        if ((events & 1U << place) != 0) {
            *text++ = letters[place];
        }
    }
    *text = '\0';
}
