#include "raft_members.h"

#include <errno.h>
#include <string.h>

/* The place of `node`, or where it would go. */
static uint32_t place_of(const struct raft_members *members, uint32_t node)
{
    uint32_t at = 0;

    while (at < members->count && members->list[at].node < node) {
        at++;
    }
    return at;
}

const struct raft_member *raft_members_find(const struct raft_members *members, uint32_t node)
{
    uint32_t at = place_of(members, node);

    return at < members->count && members->list[at].node == node ? &members->list[at] : NULL;
}

bool raft_members_vote(const struct raft_members *members, uint32_t node)
{
    const struct raft_member *member = raft_members_find(members, node);

    return member != NULL && member->voter;
}

uint32_t raft_members_voters(const struct raft_members *members)
{
    uint32_t voters = 0;

    for (uint32_t i = 0; i < members->count; i++) {
        voters += members->list[i].voter;
    }
    return voters;
}

static int add(struct raft_members *members, uint32_t at, uint32_t node)
{
    if (members->count == RAFT_MEMBERS_MAX) {
        return -E2BIG;
    }
    memmove(&members->list[at + 1], &members->list[at],
            (members->count - at) * sizeof members->list[0]);
    members->list[at] = (struct raft_member){.node = node};
    members->count++;
    return 0;
}

static int set_voter(struct raft_members *members, uint32_t at, bool voter)
{
    uint32_t voters = raft_members_voters(members);

    if (members->list[at].voter == voter) {
        return voter ? -EEXIST : -ENOENT;
    }
    if (voter ? voters == RAFT_VOTERS_MAX : voters == 1) {
        return voter ? -E2BIG : -EINVAL;
    }
    members->list[at].voter = voter;
    return 0;
}

static int take_out(struct raft_members *members, uint32_t at)
{
    if (members->list[at].voter && raft_members_voters(members) == 1) {
        return -EINVAL;
    }
    members->count--;
    memmove(&members->list[at], &members->list[at + 1],
            (members->count - at) * sizeof members->list[0]);
    return 0;
}

int raft_members_change(struct raft_members *members, enum raft_change change, uint32_t node)
{
    uint32_t at = place_of(members, node);
    bool there = at < members->count && members->list[at].node == node;

    if (node == 0 || change < RAFT_ADD_LEARNER || change > RAFT_REMOVE) {
        return -EINVAL;
    }
    if (change == RAFT_ADD_LEARNER) {
        return there ? -EEXIST : add(members, at, node);
    }
    if (!there) {
        return -ENOENT;
    }
    return change == RAFT_REMOVE ? take_out(members, at)
                                 : set_voter(members, at, change == RAFT_PROMOTE);
}

size_t raft_members_put(uint8_t *to, const struct raft_members *members)
{
    uint8_t *at = to;
    uint32_t before = 0;

    *at++ = RAFT_MEMBERS_VERSION;
    at = varint_put(at, members->count);
    for (uint32_t i = 0; i < members->count; i++) {
        at = varint_put(at, members->list[i].node - before);
        *at++ = members->list[i].voter;
        before = members->list[i].node;
    }
    return (size_t)(at - to);
}

int raft_members_read(struct reader *reader, struct raft_members *members)
{
    struct raft_members found = {0};
    uint64_t node = 0, count = 0;

    if (read_u8(reader) != RAFT_MEMBERS_VERSION) {
        return -EBADMSG;
    }
    count = read_varint(reader);
    if (count > RAFT_MEMBERS_MAX) {
        return -EBADMSG;
    }
    for (; found.count < count; found.count++) {
        uint64_t step = read_varint(reader);
        uint8_t voter = read_u8(reader);
        if (reader->bad || step == 0 || step > UINT32_MAX - node || voter > 1) {
            return -EBADMSG;
        }
        node += step;
        found.list[found.count] = (struct raft_member){(uint32_t)node, voter == 1};
    }
    uint32_t voters = raft_members_voters(&found);
    if (reader->bad || voters == 0 || voters > RAFT_VOTERS_MAX) {
        return -EBADMSG;
    }
    *members = found;
    return 0;
}
