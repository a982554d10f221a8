#include "archive_vector.h"

#include "adopt.h"

bool archive_vector_covers(struct bytes vector, struct stamp stamp)
{
    struct reader reader = reader_of(vector);
    uint64_t count = read_varint(&reader);

    for (uint64_t i = 0; i < count && !reader.bad; i++) {
        uint64_t node = read_varint(&reader), start = read_varint(&reader);
        uint64_t hlc = read_u64(&reader);
        if (node == stamp.actor.node && start == stamp.actor.start) {
            return !reader.bad && stamp.hlc <= hlc;
        }
    }
    return false;
}

bool archive_vector_covers_own(struct bytes vector, const struct version *version)
{
    struct version_walk walk = version_walk(version);
    struct version_item item;
    bool own = false;

    while (version_next(&walk, &item)) {
        if (item.actor.node >= ADOPT_NODES) {
            continue;
        }
        if (!archive_vector_covers(vector, (struct stamp){item.hlc, item.actor})) {
            return false;
        }
        own = true;
    }
    return own;
}

bool archive_vector_has_birth(struct bytes vector, const struct record *record, struct stamp birth)
{
    return birth.actor.node < ADOPT_NODES ? archive_vector_covers(vector, birth)
                                          : archive_vector_covers_own(vector, &record->version);
}
