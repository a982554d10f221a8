#include "status.h"

#include <errno.h>
#include <string.h>

static const char *const ack_names[] = {"default", "memory", "replica", "disk", "archive"};

enum { ACK_LEVELS = sizeof ack_names / sizeof ack_names[0] };

const char *status_name(uint32_t status)
{
    switch (status) {
#define STATUS_NAME(name, number, text)                                                            \
    case number:                                                                                   \
        return #name;
        STATUS_TABLE(STATUS_NAME)
#undef STATUS_NAME
    default:
        return "UNKNOWN";
    }
}

const char *status_text(uint32_t status)
{
    switch (status) {
#define STATUS_TEXT(name, number, text)                                                            \
    case number:                                                                                   \
        return text;
        STATUS_TABLE(STATUS_TEXT)
#undef STATUS_TEXT
    default:
        return "unknown status";
    }
}

const char *ack_level_name(uint32_t level)
{
    return level < ACK_LEVELS ? ack_names[level] : "unknown";
}

int ack_level_parse(const char *name, enum ack_level *level)
{
    for (uint32_t i = 0; i < ACK_LEVELS; i++) {
        if (strcmp(name, ack_names[i]) == 0) {
            *level = (enum ack_level)i;
            return 0;
        }
    }
    return -EINVAL;
}
