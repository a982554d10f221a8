#include "report.h"

const char *store_event_name(enum store_event event)
{
    switch (event) {
#define STORE_EVENT_CASE(name, text)                                                               \
    case STORE_##name:                                                                             \
        return text;
        STORE_EVENT_TABLE(STORE_EVENT_CASE)
#undef STORE_EVENT_CASE
    }
    return "unknown";
}
