/* belayctl archive: what its commands share. */
#ifndef BELAYCTL_ARCHIVE_H
#define BELAYCTL_ARCHIVE_H

#include "archive_reading.h"
#include "ctl.h"

enum { CLUSTER_HEX_BYTES = 2 * CLUSTER_ID_BYTES + 1 };

/* Which archive, and which cluster's part of it. */
struct archive_command {
    struct ctl *ctl;
    struct archive_place place;
    bool host_style; /* Else `place.path_style`, as belayd has it unless told otherwise. */
    const char *key_file;
    const char *cluster_text; /* NULL: the only one that there is. */
    struct archive_access access;
    uint8_t cluster[CLUSTER_ID_BYTES];
    char cluster_hex[CLUSTER_HEX_BYTES];
    uint64_t damaged; /* Told so far. */
};

/* Rows of a table of options. */
#define ARCHIVE_OPTIONS(command)                                                                   \
    {"endpoint", OPTION_TEXT, &(command)->place.endpoint},                                         \
        {"region", OPTION_TEXT, &(command)->place.region},                                         \
        {"ca-file", OPTION_TEXT, &(command)->place.ca_file},                                       \
        {"credentials-file", OPTION_TEXT, &(command)->place.credentials_file},                     \
        {"path-style", OPTION_FLAG, &(command)->place.path_style},                                 \
        {"host-style", OPTION_FLAG, &(command)->host_style},                                       \
        {"key-file", OPTION_TEXT, &(command)->key_file},                                           \
    {                                                                                              \
        "cluster", OPTION_TEXT, &(command)->cluster_text                                           \
    }

/* What --help says of them. */
#define ARCHIVE_OPTIONS_HELP                                                                       \
    "  --cluster ID             of which cluster, where the archive has several\n"                 \
    "  --key-file FILE          keys of an archive that is enciphered; else BELAY_ARCHIVE_KEYS\n"  \
    "  --endpoint URL           of S3: as archive.endpoint in belayd.conf, as the five below\n"    \
    "  --region NAME\n"                                                                            \
    "  --path-style             the bucket stands in the path: the default, as of belayd\n"        \
    "  --host-style             it stands in the name of the host\n"                               \
    "name\n"                                                                                       \
    "  --ca-file FILE\n"                                                                           \
    "  --credentials-file FILE\n"

/* Open `url`, and find the cluster. Returns CTL_OK; else the exit code, with a message printed and nothing to end. */
int archive_begin(struct archive_command *command, struct ctl *ctl, const char *url);
void archive_end(struct archive_command *command);

/* Print why it ends. Returns the exit code. */
int archive_failed(struct archive_command *command, int rc);
int archive_refused(struct archive_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

enum archive_checkpoint_state {
    CHECKPOINT_WHOLE,
    CHECKPOINT_UNFINISHED, /* It has no end yet. */
    CHECKPOINT_GIVEN_UP,   /* Nor will it: its node has gone on. archive forget removes it. */
    CHECKPOINT_DAMAGED,    /* Or some of it is missing. */
};

/* Of a catalog that is loaded. */
enum archive_checkpoint_state archive_checkpoint_state(const struct archive_catalog *catalog,
                                                       size_t index);

/* As reading_open()'s `damaged`, of a command: names it on the standard error output. */
void archive_tell_damaged(void *context, const char *name, const char *why, uint16_t first_slot,
                          uint16_t last_slot);

/* What a restore as of a time misses, each on the standard error output, after catalog_plan(): parts of logs, those too that
 * a checkpoint has closed by then where `closed`; with `list` (NULL: none) an object for each is appended. Returns how many. */
uint64_t archive_tell_gaps(struct archive_command *command, const struct archive_catalog *catalog,
                           uint64_t as_of_hlc, bool closed, json_t *list);
/* Checkpoints that are not whole though they were once: each counts as damaged. */
void archive_tell_parts(struct archive_command *command, const struct archive_catalog *catalog,
                        uint64_t as_of_hlc);

/* A time: "2026-01-31T12:00:00Z", also with a space, or without seconds; "@" and ms since 1970; a duration, that long
 * ago; NULL: now. Returns whether it is one. */
bool archive_time(const char *text, uint64_t now_ms, uint64_t *time_ms);

/* The time since 1970. */
uint64_t archive_now_ms(void);

/* An actor as text: NODE.START. */
const char *archive_actor(struct actor actor, char *text, size_t text_size);

#endif
