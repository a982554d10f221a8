/* Streams out: what the shard stamps, to whoever owns the slot or is to own it. Appended in the turn of the log's
 * append, sent at the end of the turn from where it lies. */
#include "replication_private.h"

#include <assert.h>

#include "log_kind.h"

static void forget_flights(struct replication *r, struct peer *peer)
{
    replication_copies_leave(r, peer, true);
    while (peer->flights.count > 0) {
        queue_pop(&peer->flights);
    }
    peer->flight_bytes = 0;
}

/* Too much was kept, or memory was short: the next connection begins a new life. */
static void lapse(struct replication *r, struct peer *peer)
{
    r->stats.lapses++;
    forget_flights(r, peer);
    if (peer->out != NULL) {
        replication_link_cut(peer->out);
    }
}

static bool append(struct replication *r, struct peer *peer, const struct stream_record *record,
                   const struct bytes parts[], uint32_t part_count, uint64_t copy)
{
    struct flight *flight = queue_push(&peer->flights, r->memory, sizeof *flight, UINT32_MAX);
    size_t size = STREAM_RECORD_HEAD_BYTES;

    if (flight == NULL) {
        /* What cannot be accounted for cannot be streamed: the stream ends as if its window were full. */
        stream_out_lapse(&peer->stream);
        lapse(r, peer);
        return false;
    }
    if (stream_out_append(&peer->stream, record, parts, part_count) == 0) {
        peer->flights.count--;
        lapse(r, peer);
        return false;
    }
    for (uint32_t i = 0; i < part_count; i++) {
        size += parts[i].size;
    }
    *flight = (struct flight){.copy = copy, .us = r->now_us, .bytes = (uint32_t)size};
    peer->flight_bytes += size;
    r->stats.records_out++;
    r->stats.bytes_out += size;
    return true;
}

/* To everybody who gets the slot. Returns the copy's number; 0: there is none, or none is asked for. */
static uint64_t append_to_all(struct replication *r, const struct stream_record *record,
                              const struct bytes parts[], uint32_t part_count, bool numbered)
{
    const struct slot_route *route = route_of(r, slot_of_position(record->position));
    const bool counts = numbered && route->owners > 0 && replication_copies_reserve(r);
    uint32_t waiting = 0;

    if (!route->mine) {
        replication_stray_grew(r, slot_of_position(record->position));
    }
    for (uint32_t i = 0; i < route->count; i++) {
        struct peer *peer = peer_at(r, route->peers[i]);
        bool waits =
            counts && i < route->owners && peer_takes(peer) && !peer->unheeded && peer->stream.open;
        if (peer->stream.open &&
            append(r, peer, record, parts, part_count, waits ? r->copy_next : 0)) {
            waiting += waits;
        }
    }
    if (waiting == 0) {
        return 0;
    }
    replication_copies_add(r, waiting);
    return r->copy_next - 1;
}

bool replication_reaches_owner(const struct replication *r, uint64_t position)
{
    if (r->table == NULL) {
        return false;
    }
    const struct slot_route *route = route_of(r, slot_of_position(position));
    bool reaches = false;

    for (uint32_t i = 0; i < route->owners && !reaches; i++) {
        const struct peer *peer = peer_at(r, route->peers[i]);
        reaches = peer_takes(peer) && !peer->unheeded && peer->stream.open;
    }
    return reaches;
}

struct item {
    uint8_t kind;
    uint64_t position;
    struct bytes body;
};

static bool next_item(struct reader *batch, struct item *item)
{
    if (reader_left(batch) == 0) {
        return false;
    }
    item->kind = read_u8(batch);
    item->position = read_u64(batch);
    item->body = read_string(batch);
    assert(!batch->bad); /* The shard made it. */
    return true;
}

static uint8_t era_of(const struct replication *r, uint64_t position)
{
    return eras_era(r->core->eras, slot_of_position(position));
}

/* A batch whose sessions are of several slots: other nodes have some of these and not the others, so each goes as a
 * record of its own, in their order. The last one's is the number: on the stream of one node it is merged after the
 * others. */
static uint64_t append_items(struct replication *r, uint64_t hlc, struct bytes batch)
{
    struct reader from = reader_of(batch);
    struct item item;
    uint64_t number = 0;

    while (next_item(&from, &item)) {
        const struct stream_record record = {.kind = item.kind,
                                             .position = item.position,
                                             .hlc = hlc,
                                             .era = era_of(r, item.position)};
        number = append_to_all(r, &record, &item.body, 1, reader_left(&from) == 0);
    }
    return number;
}

static bool is_of_one_slot(struct bytes batch)
{
    struct reader from = reader_of(batch);
    struct item item;
    uint32_t slot = SLOT_COUNT;

    while (next_item(&from, &item)) {
        if (slot != SLOT_COUNT && slot_of_position(item.position) != slot) {
            return false;
        }
        slot = slot_of_position(item.position);
    }
    return true;
}

/* Join the parts, where memory allows. */
static bool join_parts(struct buffer *to, const struct bytes parts[], uint32_t part_count)
{
    to->size = 0;
    for (uint32_t i = 0; i < part_count; i++) {
        if (buffer_append(to, parts[i]) != 0) {
            return false;
        }
    }
    return true;
}

uint64_t replication_append(struct replication *r, uint8_t kind, uint64_t position, uint64_t hlc,
                            const struct bytes parts[], uint32_t part_count)
{
    const struct stream_record record = {
        .kind = kind, .position = position, .hlc = hlc, .era = era_of(r, position)};
    uint64_t number;

    if (r->table == NULL) {
        return 0;
    }
    r->appending = true;
    if (kind == LOG_BATCH && !join_parts(&r->batch, parts, part_count)) {
        /* What cannot be looked at cannot be sent: whoever would get it is compared instead. */
        for (uint32_t i = 0; i < r->peer_capacity; i++) {
            if (r->peers[i] != NULL && r->peers[i]->stream.open) {
                stream_out_lapse(&r->peers[i]->stream);
                lapse(r, r->peers[i]);
            }
        }
        number = 0;
    } else if (kind == LOG_BATCH && !is_of_one_slot(buffer_bytes(&r->batch))) {
        number = append_items(r, hlc, buffer_bytes(&r->batch));
    } else {
        number = append_to_all(r, &record, parts, part_count, true);
    }
    r->appending = false;
    return number;
}

/* ---- The link ---- */

void replication_out_up(struct peer *peer)
{
    peer->begun = false;
}

void replication_out_down(struct replication *r, struct peer *peer)
{
    stream_out_cut(&peer->stream);
    peer->begun = false;
    replication_copies_leave(r, peer, false);
}

/* So many more are merged there. */
static void land_flights(struct replication *r, struct peer *peer, uint64_t count)
{
    for (; count > 0; count--) {
        const struct flight *flight = queue_at(&peer->flights, 0);
        histogram_record(&peer->merged_us, r->now_us - flight->us);
        if (flight->copy != 0) {
            replication_copy_done(r, flight->copy);
        }
        peer->flight_bytes -= flight->bytes;
        queue_pop(&peer->flights);
    }
    replication_copies_settle(r);
}

void replication_take_hello(struct replication *r, struct peer *peer, uint64_t number,
                            struct bytes body)
{
    struct reader from = reader_of(body);
    const uint64_t life = read_u64(&from), applied = read_u64(&from);
    const uint64_t acked = peer->stream.acked;
    uint8_t begin[8 + 1];

    if (!reader_done(&from)) {
        replication_link_bad(peer->out);
        return;
    }
    bool resumed = stream_out_open(&peer->stream, life, applied);
    if (resumed) {
        land_flights(r, peer, peer->stream.acked - acked);
        r->stats.resumes++;
    } else {
        forget_flights(r, peer);
        peer->covered = (struct slot_set){0};
        peer->out_turn++;
        r->stats.lives++;
    }
    store_u64(begin, peer->stream.life);
    begin[8] = resumed;
    replication_link_send_bytes(peer->out, REPLICATION_BEGIN, number,
                                bytes_of(begin, sizeof begin));
    peer->begun = true;
}

void replication_take_ack(struct replication *r, struct peer *peer, uint64_t number,
                          struct bytes body)
{
    struct reader from = reader_of(body);
    const uint64_t life = read_u64(&from), acked = peer->stream.acked;

    if (!reader_done(&from) || !peer->begun) {
        replication_link_bad(peer->out);
        return;
    }
    if (life != peer->stream.life || !peer->stream.open) {
        return; /* Of a life that is over. */
    }
    if (stream_out_acked(&peer->stream, number) != 0) {
        replication_link_bad(peer->out);
        return;
    }
    land_flights(r, peer, peer->stream.acked - acked);
}

void replication_send_runs(struct replication *r, struct peer *peer)
{
    struct stream_run run;

    (void)r;
    while (peer->begun && replication_link_is_clear(peer->out) &&
           stream_out_next(&peer->stream, RUN_BYTES, &run)) {
        if (!replication_link_try(peer->out, REPLICATION_RUN, run.first, run.bytes)) {
            stream_out_return(&peer->stream, &run);
            return;
        }
    }
}

bool replication_stream_mark(struct replication *r, struct peer *peer, uint8_t kind, uint32_t slot,
                             uint32_t node)
{
    const struct stream_record record = {.kind = kind, .position = slot_first(slot)};
    uint8_t body[4];

    store_u32(body, node);
    const struct bytes part = bytes_of(body, sizeof body);
    return peer->stream.open && append(r, peer, &record, &part, 1, 0);
}

/* ---- Slots that come and go ---- */

void replication_tell_covers(struct replication *r, struct peer *peer,
                             const struct slot_set *covers)
{
    r->scratch.size = 0;
    bool failed = false;
    uint32_t any = SLOT_COUNT;
    for (uint32_t word = 0; word < SLOT_WORDS; word++) {
        uint64_t changed = covers->words[word] ^ peer->covers.words[word];
        peer->covered.words[word] &= ~changed;
        for (uint32_t bit = 0; changed >> bit != 0; bit++) {
            if ((changed >> bit & 1) != 0) {
                uint8_t slot[2];
                any = word * 64 + bit;
                store_u16(slot, (uint16_t)any);
                failed |= buffer_append(&r->scratch, bytes_of(slot, sizeof slot)) != 0;
            }
            if (bit == 63) {
                break;
            }
        }
    }
    peer->covers = *covers;
    if (any == SLOT_COUNT) {
        return;
    }
    peer->out_turn++;
    if (peer->stream.open) {
        const struct stream_record record = {.kind = KIND_COVERS, .position = slot_first(any)};
        const struct bytes body = buffer_bytes(&r->scratch);
        if (failed) {
            stream_out_lapse(&peer->stream);
            lapse(r, peer);
        } else {
            (void)append(r, peer, &record, &body, 1, 0);
        }
    }
}
