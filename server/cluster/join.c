#include "join.h"

#include <errno.h>

#include "map_parts.h"

enum { JOINED_HEAD_BYTES_MAX = 2 + 2 + MAP_TEXT_BYTES_MAX + VARINT_BYTES_MAX + 8 };

int join_encode(const struct map_command *add, struct buffer *to)
{
    size_t before = to->size;
    const uint8_t version = JOIN_VERSION;
    int rc = buffer_append(to, bytes_of(&version, 1));

    if (rc == 0) {
        rc = map_command_encode(add, to);
    }
    if (rc != 0) {
        to->size = before;
    }
    return rc;
}

int join_decode(struct bytes from, struct map_command *add)
{
    if (from.size == 0) {
        return -EBADMSG;
    }
    if (from.data[0] != JOIN_VERSION) {
        return -EPROTONOSUPPORT;
    }
    int rc = map_command_decode(bytes_of(from.data + 1, from.size - 1), add);
    bool good = add->type == MAP_ADD && add->number == 0 && map_place_good(&add->place);
    return rc != 0 ? rc : good ? 0 : -EBADMSG;
}

int joined_encode(const struct joined *joined, struct buffer *to)
{
    uint8_t seed[8];
    int rc = buffer_reserve(to, JOINED_HEAD_BYTES_MAX + joined->beginning.size);

    if (rc != 0) {
        return rc;
    }
    map_put_u8(to, JOIN_VERSION);
    map_put_u8(to, (uint8_t)joined->answer);
    map_put_string(to, map_text_bytes(&joined->text));
    if (joined->answer == JOIN_TAKEN) {
        map_put_varint(to, joined->number);
        store_u64(seed, joined->seed);
        (void)buffer_append(to, bytes_of(seed, sizeof seed)); /* There is room. */
        (void)buffer_append(to, joined->beginning);
    }
    return 0;
}

int joined_decode(struct bytes from, struct joined *joined)
{
    struct reader reader = reader_of(from);

    *joined = (struct joined){.answer = JOIN_REFUSED};
    if (from.size > 0 && from.data[0] != JOIN_VERSION) {
        return -EPROTONOSUPPORT;
    }
    (void)read_u8(&reader);
    uint8_t answer = read_u8(&reader);
    map_read_text(&reader, &joined->text);
    if (reader.bad || answer > JOIN_LATER || !map_text_good(&joined->text)) {
        return -EBADMSG;
    }
    joined->answer = (enum join_answer)answer;
    if (joined->answer != JOIN_TAKEN) {
        return reader_done(&reader) ? 0 : -EBADMSG;
    }
    joined->number = map_read_number(&reader, MAP_NUMBER_MAX);
    joined->seed = read_u64(&reader);
    if (reader.bad || joined->number == 0 || reader.at == reader.end) {
        return -EBADMSG;
    }
    joined->beginning = bytes_of(reader.at, (size_t)(reader.end - reader.at));
    return 0;
}

static bool text_equal(const struct map_text *a, const struct map_text *b)
{
    return bytes_equal(map_text_bytes(a), map_text_bytes(b));
}

const struct map_member *join_member(const struct map *map, const struct map_command *add)
{
    const struct map_member *member = map_member_named(map, map_text_bytes(&add->name));

    if (member == NULL || member->state != MAP_JOINING || member->place.start != 0 ||
        !text_equal(&member->place.host, &add->place.host) ||
        memcmp(member->place.ports, add->place.ports, sizeof add->place.ports) != 0) {
        return NULL;
    }
    return member;
}
