/* Burials: a session past its deadline goes only when all of its owners agree that it is. The primary asks the others,
 * in batches, with what it knows of the session: its version and its last access. Who has a copy that is alive, or that
 * has seen more, or was used later, says no and sends that copy. Who has nothing, or no more, agrees. What is agreed on
 * is this state of the session, for a few seconds; if it changes meanwhile, or another node may have taken this one's place
 * and begun it anew, it is asked about anew. */
#include "replication_private.h"

enum { STATE_FREE, STATE_ASKED, STATE_AGREED };

/* ---- The table, by digest ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t digest_bytes(uint64_t digest, struct bytes bytes)
{
    digest = mix(digest + bytes.size);
    for (size_t i = 0; i < bytes.size; i++) {
        digest = (digest ^ bytes.data[i]) * UINT64_C(0x100000001b3);
    }
    return mix(digest);
}

/* The other end gives it back: so what was answered before this node was away is none to what is asked since. */
static uint64_t digest_of(const struct replication *r, struct bytes key, struct bytes version,
                          uint64_t access_ms)
{
    uint64_t digest = digest_bytes(mix(mix(r->away) ^ access_ms), key);

    digest = digest_bytes(digest, version);
    return digest == 0 ? 1 : digest;
}

static bool is_stale(const struct replication *r, const struct burial *burial)
{
    const uint64_t age_ms = (r->now_us - burial->us) / 1000;

    return age_ms >= (burial->state == STATE_AGREED ? BURIAL_FRESH_MS : BURIAL_ASK_MS);
}

/* Its place, or a free one; NULL: there is none near. Entries never move, and what is stale is free. */
static struct burial *place_of(struct replication *r, uint64_t digest, bool make)
{
    enum { PROBES = 16 };
    struct burial *free = NULL;

    for (uint32_t probe = 0; probe < PROBES; probe++) {
        struct burial *burial = &r->burials[(digest + probe) % BURIALS_MAX];
        if (burial->state != STATE_FREE && burial->digest == digest) {
            return burial;
        }
        if (free == NULL && (burial->state == STATE_FREE || is_stale(r, burial))) {
            free = burial;
        }
    }
    return make ? free : NULL;
}

/* ---- Asking ---- */

static bool ask(struct replication *r, struct burial *burial, uint64_t position, struct bytes key,
                struct bytes version, uint64_t access_ms)
{
    const struct slot_route *route = route_of(r, slot_of_position(position));
    uint8_t head[16 + VARINT_BYTES_MAX], middle[VARINT_BYTES_MAX], tail[VARINT_BYTES_MAX];

    burial->awaits = 0;
    store_u64(head, burial->digest);
    store_u64(head + 8, position);
    const size_t head_bytes = (size_t)(varint_put(head + 16, key.size) - head);
    const size_t middle_bytes = (size_t)(varint_put(middle, version.size) - middle);
    const size_t tail_bytes = (size_t)(varint_put(tail, access_ms) - tail);
    for (uint32_t i = 0; i < route->owners; i++) {
        struct buffer *to = &peer_at(r, route->peers[i])->burials;
        if (buffer_reserve(to, head_bytes + key.size + middle_bytes + version.size + tail_bytes) !=
            0) {
            return false;
        }
        (void)buffer_append(to, bytes_of(head, head_bytes));
        (void)buffer_append(to, key);
        (void)buffer_append(to, bytes_of(middle, middle_bytes));
        (void)buffer_append(to, version);
        (void)buffer_append(to, bytes_of(tail, tail_bytes));
        burial->awaits |= (uint8_t)(1U << route->ranks[i]);
    }
    return true;
}

bool replication_may_bury(struct replication *r, uint64_t position, struct bytes key,
                          struct bytes record, bool *asked)
{
    struct bytes version;

    *asked = false;
    if (r->table == NULL) {
        return false;
    }
    const struct slot_route *route = route_of(r, slot_of_position(position));
    if (route->rank != 0 || route->awaits_from != NOBODY ||
        !replication_check_level(r, slot_of_position(position)) ||
        session_open(&r->view, record, r->now_ms) != 0 ||
        session_token(&r->view, &r->token, &version) != 0) {
        return false;
    }
    if (route->owners == 0) {
        return true; /* The only owner. */
    }
    for (uint32_t i = 0; i < route->owners; i++) {
        if (!peer_at(r, route->peers[i])->reachable) {
            return false;
        }
    }
    const uint64_t digest = digest_of(r, key, version, r->view.last_access_ms);
    struct burial *burial = place_of(r, digest, true);
    if (burial == NULL) {
        return false;
    }
    if (burial->state != STATE_FREE && burial->digest == digest && !is_stale(r, burial)) {
        const bool agreed = burial->state == STATE_AGREED;
        burial->state = agreed ? STATE_FREE : burial->state;
        return agreed;
    }
    *burial = (struct burial){.digest = digest, .us = r->now_us, .state = STATE_ASKED};
    *asked = ask(r, burial, position, key, version, r->view.last_access_ms);
    if (!*asked) {
        burial->state = STATE_FREE;
    }
    r->stats.burials_asked++;
    return false;
}

void replication_take_bury_answer(struct replication *r, struct replication_link *link,
                                  struct bytes body)
{
    struct reader from = reader_of(body);

    while (reader_left(&from) > 0) {
        const uint64_t digest = read_u64(&from);
        const uint8_t agreed = read_u8(&from);
        const uint64_t slot_position = read_u64(&from);
        if (from.bad || agreed > 1 || !has_slot(r, link->peer, slot_of_position(slot_position))) {
            replication_link_bad(link);
            return;
        }
        struct burial *burial = place_of(r, digest, false);
        if (burial == NULL || burial->state != STATE_ASKED) {
            continue;
        }
        if (agreed == 0) {
            burial->state = STATE_FREE;
            r->stats.burials_refused++;
            continue;
        }
        const uint32_t rank =
            slot_owners_rank(&r->table->owners[slot_of_position(slot_position)], link->peer->node);
        if (rank < PLACEMENT_REPLICAS_MAX) {
            burial->awaits &= (uint8_t) ~(1U << rank);
        }
        if (burial->awaits == 0) {
            burial->state = STATE_AGREED;
            burial->us = r->now_us;
        }
    }
}

/* ---- Answering ---- */

/* Has the asking end seen all that this record has, and was it used no later here? */
static bool is_known(struct replication *r, struct bytes version, uint64_t access_ms)
{
    struct version theirs, ours;
    struct bytes token;
    struct reader from = reader_of(version);

    if (session_token(&r->other_view, &r->other_token, &token) != 0) {
        return false;
    }
    struct reader here = reader_of(token);
    return version_read(&from, true, &theirs) && version_read(&here, false, &ours) &&
           version_covers_all(&theirs, &ours) && r->other_view.last_access_ms <= access_ms;
}

/* Returns 1 yes, 0 no, -1: it is not known yet. */
static int opinion(struct replication *r, uint64_t position, struct bytes key, struct bytes version,
                   uint64_t access_ms)
{
    struct bytes record;

    if (!r->core->find(r->core, position, key, &record)) {
        return -1;
    }
    if (record.size == 0) {
        return 1;
    }
    if (session_open(&r->other_view, record, r->now_ms) != 0) {
        return -1; /* Damaged: not for others to decide about. */
    }
    if (!r->other_view.live && !r->other_view.expired) {
        return 1;
    }
    return r->other_view.expired && is_known(r, version, access_ms);
}

void replication_take_bury_ask(struct replication *r, struct replication_link *link,
                               struct bytes body)
{
    struct reader from = reader_of(body);
    uint8_t answer[8 + 1 + 8];

    r->answer.size = 0;
    while (reader_left(&from) > 0) {
        const uint64_t digest = read_u64(&from), position = read_u64(&from);
        const struct bytes key = read_string(&from), version = read_string(&from);
        const uint64_t access_ms = read_varint(&from);
        if (from.bad || !has_slot(r, link->peer, slot_of_position(position))) {
            replication_link_bad(link);
            return;
        }
        int agreed = opinion(r, position, key, version, access_ms);
        if (agreed == -1) {
            continue; /* It is asked again. */
        }
        store_u64(answer, digest);
        answer[8] = (uint8_t)agreed;
        store_u64(answer + 9, position);
        if ((agreed == 0 && replication_send_whole(link, REPLICATION_COPY, 0, position) != 0) ||
            buffer_append(&r->answer, bytes_of(answer, sizeof answer)) != 0) {
            replication_link_cut(link); /* No memory. */
            return;
        }
    }
    if (r->answer.size > 0) {
        replication_link_send_bytes(link, REPLICATION_BURY_ANSWER, 0, buffer_bytes(&r->answer));
    }
}
