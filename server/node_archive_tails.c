/* What other nodes stamped, and may not have archived (archive_tails.h): what they say of it, and what this node says. */
#include <errno.h>
#include <string.h>

#include "node_archive.h"
#include "node_archive_private.h"
#include "node_peers.h"

enum {
    TELL_MS = 1000, /* At most so often, and look as often who is down. */
    SLACK_MS =
        1000, /* Beside two flushes, for what they take: who has said nothing new then is behind. */
};

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static uint64_t tell_ms(const struct node_archive *archive)
{
    uint64_t flush_ms = archive->archiver.settings.flush_ms;

    return flush_ms < TELL_MS ? flush_ms : TELL_MS;
}

void archive_others_init(struct node_archive *archive)
{
    const struct node *node = archive->node;
    uint64_t flush_ms = archive->archiver.settings.flush_ms;
    const struct archive_tails_settings settings = {
        .shard_count = node->shard_count,
        .self = node->directory.meta.actor,
        .behind_ms = 2 * flush_ms + SLACK_MS,
        .mark_ms = flush_ms / 2,
    };

    archive_tails_init(&archive->others.tails, &archive->node->memory, &settings);
    archive->others.message.memory = &archive->node->memory;
}

void archive_others_fini(struct node_archive *archive)
{
    archive_tails_fini(&archive->others.tails);
    buffer_fini(&archive->others.message);
}

/* ---- Objects ---- */

void archive_others_build(struct node_archive *archive)
{
    struct archive_others *others = &archive->others;

    memcpy(others->own_lsn, archive->from, sizeof others->own_lsn);
    others->taken_count = archive_tails_build(&others->tails, archive->from, others->taken);
    others->asks = archive->node->among_others && !archive->stopped;
    memset(others->walked, 0, sizeof others->walked);
    memset(others->own_hlc, 0, sizeof others->own_hlc);
}

int archive_others_built(struct node_archive *archive)
{
    struct archive_others *others = &archive->others;
    const struct buffer *notes = &archive->feed.notes;
    int rc = 0;

    for (size_t at = 0; at < notes->size && rc == 0; at += sizeof(struct archive_feed_note)) {
        struct archive_feed_note note;
        memcpy(&note, notes->data + at, sizeof note);
        rc = archive_tails_note(&others->tails, &note, now_ms());
    }
    for (uint32_t i = 0; i < archive->node->shard_count && rc == 0; i++) {
        archive_tails_walked(&others->tails, i, others->walked[i]);
    }
    return rc;
}

void archive_others_stored(struct node_archive *archive)
{
    struct archive_others *others = &archive->others;

    archive_tails_stored(&others->tails, archive->to);
    for (uint32_t i = 0; i < archive->node->shard_count; i++) {
        archive_tails_own(&others->tails, i, others->own_hlc[i]);
    }
    others->records += archive->feed.taken_records;
}

/* ---- The others ---- */

static const struct map *map_of(const struct node_archive *archive)
{
    return cluster_map(cluster_host_cluster(archive->node->cluster));
}

static bool is_down(const struct map *map, uint32_t number)
{
    const struct map_member *member = map_member(map, number);

    return member == NULL || member->state == MAP_DOWN || member->state == MAP_LEFT;
}

static void look(struct node_archive *archive)
{
    struct archive_tails *tails = &archive->others.tails;
    const struct map *map = map_of(archive);

    for (uint32_t i = 0; i < tails->actor_count; i++) {
        archive_tails_down(tails, i, is_down(map, tails->actors[i].actor.node));
    }
}

static void tell(struct node_archive *archive)
{
    struct archive_others *others = &archive->others;
    struct node *node = archive->node;
    const struct map *map = map_of(archive);
    uint64_t own_hlc = archive_tails_own_hlc(&others->tails);

    others->message.size = 0;
    if (own_hlc <= others->told_hlc || !archive_is_based(archive) ||
        archive_tails_put(&others->tails, &others->message) != 0) {
        return;
    }
    const struct bytes message = buffer_bytes(&others->message);
    for (uint32_t i = 0; i < map->member_count; i++) {
        uint32_t number = map->members[i].number;
        if (number != others->tails.settings.self.node && map->members[i].state != MAP_LEFT) {
            (void)node_peers_send(node, number, PEER_ARCHIVED, 0, &message, 1);
        }
    }
    others->told_hlc = own_hlc;
}

bool archive_others_step(struct node_archive *archive)
{
    struct archive_others *others = &archive->others;
    uint64_t now = now_ms();

    if (archive->stopped || archive->node->cluster == NULL) {
        return false;
    }
    if (now - others->looked_ms >= tell_ms(archive)) {
        others->looked_ms = now;
        look(archive);
        tell(archive);
    }
    return archive_tails_step(&others->tails, archive->archiver.away_ms != 0, now);
}

void node_archive_heard(struct node *node, uint32_t from, struct bytes message)
{
    struct node_archive *archive = node->archive;

    node->archive_elsewhere = true;
    if (archive == NULL || !archive->began || archive->closing) {
        return;
    }
    struct archive_tails *tails = &archive->others.tails;
    bool behind = archive_tails_behind_ms(tails, now_ms()) != 0;
    if (archive_tails_take(tails, message, now_ms()) != 0) {
        logger_write(node->world.logger, LOG_LEVEL_WARN, "archive-tails", LOG_NUMBER("node", from),
                     LOG_TEXT("cause", "it says what is archived in a way that is not known here"));
    }
    if (behind && archive_tails_behind_ms(tails, now_ms()) == 0) {
        archive->archiver.moved = true; /* Less of the log is needed: that is kept. */
    }
}

void node_archive_link_up(struct node *node)
{
    if (node->archive != NULL) {
        node->archive->others.told_hlc = 0;
    }
}
