/* Writes that wait for the archive.
 *
 * What the archive has is told as an LSN, as for the disk, and so a write that changed nothing waits for all that was
 * appended before it, too: what it found may not be archived yet. */
#include "adopt.h"
#include "procedure.h"
#include "shard_state.h"

static const char late_text[] = "the write is done, but the archive did not take it in time; what "
                                "asks for a lower level goes on";
static const char lost_text[] = "the write is done, but some of the log was lost before it was "
                                "archived; a checkpoint brings it there later";
static const char unknown_text[] =
    "the write is done; whether the archive has it is not known here";
static const char ends_text[] = "the write is done, and the server stops before it is archived";

void shard_set_archive(struct shard *shard, uint64_t lsn, uint64_t wait_us)
{
    shard->archive.there = true;
    shard->archive.floor_lsn = lsn;
    shard->archive.wait_us = wait_us;
}

/* All that there is now. */
static uint64_t newest_lsn(const struct shard *shard)
{
    return shard->appended_lsn > shard->archive.floor_lsn ? shard->appended_lsn
                                                          : shard->archive.floor_lsn;
}

/* Is what it has there of another node, which archives what it stamped, or of before log was lost? */
static bool is_elsewhere(struct shard *shard, uint64_t position, struct bytes key)
{
    struct stamp newest;

    if (!session_newest(shard_find(shard, position, key), &newest)) {
        return false;
    }
    return newest.hlc <= shard->archive.lost_hlc ||
           (newest.actor.node != shard->options.actor.node && newest.actor.node < ADOPT_NODES);
}

/* A write that wrote nothing, as it was done before: by this node's log nothing is known of it then. */
static bool is_unknown(struct shard *shard, const struct request *request)
{
    if (shard->appended_lsn != shard->archive.begun_lsn) {
        return false;
    }
    if (request->procedure == NULL || !request->procedure->many) {
        return is_elsewhere(shard, request->position, request->key);
    }
    struct reader keys = reader_of(request->body);
    for (uint64_t left = read_varint(&keys); left > 0 && !keys.bad; left--) {
        struct bytes key = read_string(&keys);
        if (is_elsewhere(shard, keeper_position(shard->options.seed, key), key)) {
            return true;
        }
    }
    return false;
}

void shard_answer_archived(struct shard *shard, const struct request *request, struct reply *reply,
                           uint64_t now_us)
{
    uint64_t lsn = newest_lsn(shard);

    if (is_unknown(shard, request)) {
        shard_answer_write_error(shard, request, STATUS_UNAVAILABLE, unknown_text, now_us);
        return;
    }
    reply->ack = ACK_ARCHIVE;
    if (lsn <= shard->archive.archived_lsn) {
        shard_answer(shard, request, reply, now_us);
        return;
    }
    reply->op = request->op;
    if (reply->hlc == 0) {
        reply->hlc = shard->hlc;
    }
    shard->options.door->reply(shard->options.door, request->ticket, reply, true);
    acks_push(&shard->archive.acks, (struct ack){
                                        .lsn = lsn,
                                        .ticket = request->ticket,
                                        .received_us = request->received_us,
                                    });
    shard->archive.asked++;
    shard->stats.archive_waits = shard->archive.acks.count;
    shard->options.log->hurry(shard->options.log);
}

void shard_archived(struct shard *shard, uint64_t lsn, uint64_t now_us)
{
    struct ack ack;

    if (lsn > shard->archive.archived_lsn) {
        shard->archive.archived_lsn = lsn;
    }
    while (acks_pop(&shard->archive.acks, lsn, &ack)) {
        histogram_record(&shard->stats.archive_us,
                         now_us > ack.received_us ? now_us - ack.received_us : 0);
        shard_release(shard, ack.ticket, ACK_ARCHIVE, ack.received_us, now_us);
    }
    shard->stats.archive_waits = shard->archive.acks.count;
}

void shard_archive_lost(struct shard *shard, uint64_t lsn)
{
    struct ack ack;

    shard->archive.lost_hlc = shard->hlc;
    while (acks_pop(&shard->archive.acks, lsn, &ack)) {
        shard_release_failed(shard, ack.ticket, STATUS_UNAVAILABLE, lost_text);
    }
    shard->stats.archive_waits = shard->archive.acks.count;
}

void shard_archive_based(struct shard *shard)
{
    shard->archive.lost_hlc = 0;
}

uint64_t shard_archive_wanted(const struct shard *shard)
{
    const struct ack *first = acks_first(&shard->archive.acks);

    return first == NULL ? 0 : first->lsn;
}

uint64_t shard_archive_asked(const struct shard *shard, uint64_t lsn)
{
    return shard->archive.asked - acks_beyond(&shard->archive.acks, lsn);
}

/* They came in about the order in which they wait. */
uint64_t shard_archive_late(struct shard *shard, bool all, uint64_t now_us)
{
    uint64_t left_us = UINT64_MAX;
    const struct ack *first;
    struct ack ack;

    while ((first = acks_first(&shard->archive.acks)) != NULL) {
        uint64_t until_us = first->received_us + shard->archive.wait_us;
        if (!all && until_us > now_us) {
            left_us = until_us - now_us;
            break;
        }
        (void)acks_pop(&shard->archive.acks, UINT64_MAX, &ack);
        shard->stats.archive_late++;
        shard_release_failed(shard, ack.ticket, STATUS_UNAVAILABLE, all ? ends_text : late_text);
    }
    shard->stats.archive_waits = shard->archive.acks.count;
    return left_us;
}

void shard_archive_failed(struct shard *shard)
{
    struct ack ack;

    while (acks_pop(&shard->archive.acks, UINT64_MAX, &ack)) {
        shard_release_failed(shard, ack.ticket, STATUS_LOG_FAILED, shard_failed_text(shard));
    }
    shard->stats.archive_waits = 0;
}
