/* A session's state as sets and arrays, with the rules of record.h, merge.c and shown.h written down as
 * plainly as can be: what the byte implementation is compared with. Nothing here is fast, and nothing
 * is shared with the implementation but the readers of record.h, which turn bytes into a model. */
#ifndef SESSION_MODEL_H
#define SESSION_MODEL_H

#include "check.h"
#include "session.h"

enum {
    MODEL_TYPE = 10, /* A kind of entry of its own here; `ms` is the type. */
    MODEL_ENTRIES_MAX = 192,
    MODEL_ACTORS_MAX = 48,
    MODEL_VALUE_MAX = 64,
};

struct model_string {
    uint32_t size;
    uint8_t data[MODEL_VALUE_MAX];
};

struct model_entry {
    int kind;
    struct model_string name, value;
    uint64_t ms;
    int64_t sum;
    struct stamp stamp, base, birth;
    bool blind;
    bool fades; /* MODEL_TYPE. */
    uint64_t deadline_ms;
};

struct model_item {
    uint64_t client, sequence;
    struct stamp stamp;
    struct model_string results;
};

struct model {
    struct version_item seen[MODEL_ACTORS_MAX];
    int seen_count;
    struct death death;
    uint64_t access_ms, floor;
    bool life_kept; /* While it is written to: the life is the one that began at `since`. */
    struct stamp since;
    struct model_entry entries[MODEL_ENTRIES_MAX];
    int entry_count;
    struct model_item items[2 * DEDUP_ROOM];
    int item_count;
};

/* Read a record; an empty one is a model of nothing. Canonical: in one order. */
void model_read(struct model *model, struct bytes record);
void model_merge(const struct model *a, const struct model *b, struct model *out);
bool model_equal(const struct model *a, const struct model *b);

/* For people, where a test fails. */
void model_print(const struct model *model);

uint64_t model_seen(const struct model *model, struct actor actor);

/* What is shown. */
struct model_view {
    bool live, expired, faded;
    enum session_type type;
    struct stamp lead;
    uint64_t absolute_ms, idle_ms, deadline_ms;
    uint32_t field_count, hidden;
};

void model_look(const struct model *model, uint64_t now_ms, struct model_view *view);

/* The shown value of a name: true with the text. */
bool model_find(const struct model *model, uint64_t now_ms, struct bytes name,
                struct model_string *value);

/* session_write(), without tokens, limits and sorted sets. The model becomes the state after it. Results as the
 * implementation's. */
enum status model_write(struct model *model, const struct session_write *write, bool *changed,
                        bool *repeated, struct buffer *results);

/* receipt_refuse() and receipt_remove() of that rename. */
void model_refuse(struct model *model, struct stamp stamp, uint64_t id);
void model_forget(struct model *model, struct stamp stamp, uint64_t id);

/* How many receipts there are. */
int model_receipts(const struct model *model);

/* session_bury(), with that death. */
void model_bury(struct model *model, struct stamp stamp, uint64_t death_hlc);

#endif
