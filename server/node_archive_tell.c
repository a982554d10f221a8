/* What the node's part in the archive tells: figures, and whether all that the log had at some time is there. */
#include <stdio.h>
#include <stdlib.h>

#include "node_archive.h"
#include "node_archive_private.h"
#include "node_recover.h"
#include "status_page.h"

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

void node_archive_flush(struct node *node)
{
    struct node_archive *archive = node->archive;

    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct plane_log_reach found;
        plane_log_reach(node->plane, i, &found);
        archive->flush[i] =
            found.appended > node->shards[i].lsn ? found.appended : node->shards[i].lsn;
    }
    uv_async_send(&archive->wake);
}

bool node_archive_is_flushed(const struct node *node)
{
    const struct node_archive *archive = node->archive;
    bool is = true;

    for (uint32_t i = 0; i < node->shard_count; i++) {
        is = is && archive->archiver.shards[i].archived >= archive->flush[i];
    }
    return is;
}

const char *node_archive_trouble(const struct node *node)
{
    const struct archiver *archiver = &node->archive->archiver;

    return archiver->away_ms == 0 ? NULL : archiver->text;
}

/* ---- Figures ---- */

void node_archive_figures(struct node *node, struct metrics_archive *to)
{
    struct node_archive *archive = node->archive;

    *to = (struct metrics_archive){.there = archive != NULL && archive->began};
    node_recover_figures(node, &to->restore);
    if (!to->there) {
        return;
    }
    const struct archiver *archiver = &archive->archiver;
    const struct archiver_figures *figures = &archiver->figures;
    archive_reach(archive);
    to->away = archiver->away_ms != 0;
    to->away_for_ms = to->away ? now_ms() - archiver->away_ms : 0;
    snprintf(to->cause, sizeof to->cause, "%s", archiver->text);
    to->url = node->world.config->archive_url;
    to->behind_ms = archiver_behind_ms(archiver, now_ms());
    to->others_ms = archive_tails_behind_ms(&archive->others.tails, now_ms());
    to->behind_ms = to->others_ms > to->behind_ms ? to->others_ms : to->behind_ms;
    to->taken = archive_tails_taken(&archive->others.tails);
    to->taken_records = archive->others.records;
    to->behind_bytes = archiver_behind_bytes(archiver);
    to->objects = figures->objects;
    to->records = figures->records;
    to->raw_bytes = figures->raw_bytes;
    to->object_bytes = figures->object_bytes;
    to->failures = figures->failures;
    to->conflicts = figures->conflicts;
    to->gap_bytes = figures->gap_bytes;
    to->baseless = figures->baseless;
    to->stored_ms_ago = figures->stored_ms == 0 ? 0 : now_ms() - figures->stored_ms;
    to->sequence = archiver->sequence;
    to->checkpoints = archive->side.checkpointer.made;
    to->store_us = figures->store_us;
    to->based = archive_is_based(archive);
    for (uint32_t i = 0; i < node->shard_count; i++) {
        struct store_stats stats;
        store_stats(node->shards[i].store, &stats);
        to->kept_bytes += stats.kept_bytes;
    }
}

char *node_archive_json(struct node *node)
{
    struct metrics_archive *figures = malloc(sizeof *figures);

    if (figures == NULL) {
        return NULL;
    }
    node_archive_figures(node, figures);
    char *json = status_archive_json(figures);
    free(figures);
    return json;
}
