#include "finder.h"

#include <errno.h>

enum { FEW = 8 /* Names that are as quickly found by as many walks. */ };

static uint64_t count_of(const struct finder *finder)
{
    return finder->places.size / sizeof(uint8_t *);
}

/* A walk that stands at the first entry of the field of this number. */
static struct group_walk walk_at(const struct finder *finder, uint64_t number)
{
    const struct record *record = &finder->view->record_;
    struct reader in = {.end = record->end};

    memcpy(&in.at, finder->places.data + number * sizeof in.at, sizeof in.at);
    struct group_walk walk = {.entries = {.record = record, .in = in}};
    group_skip_entry(&walk);
    return walk;
}

static int note(struct finder *finder)
{
    const struct session_view *view = finder->view;
    struct group_walk walk = view->groups_;
    struct group group;
    int rc = 0;

    while (rc == 0 && walk.next_set) {
        const uint8_t *place = walk.next_at;
        (void)group_next(&walk, &view->leader_, &group);
        if (group_shown_at(&group, view->now_ms)) {
            rc = buffer_append(&finder->places, bytes_of(&place, sizeof place));
        }
    }
    return rc;
}

int finder_begin(struct finder *finder, const struct session_view *view, uint64_t names,
                 struct memory *memory)
{
    *finder = (struct finder){.view = view, .places = {.memory = memory}};
    finder->noted = view != NULL && names >= FEW;
    return finder->noted ? note(finder) : 0;
}

void finder_end(struct finder *finder)
{
    buffer_fini(&finder->places);
}

bool finder_find(const struct finder *finder, struct bytes name, struct session_field *field)
{
    uint64_t low = 0, high = count_of(finder);

    if (finder->view == NULL) {
        return false;
    }
    if (!finder->noted) {
        return session_find(finder->view, name, field);
    }
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct group_walk walk = walk_at(finder, middle);
        int order = bytes_compare(walk.next.name, name);
        if (order == 0) {
            session_take(finder->view, &walk, field);
            return true;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

bool finder_at(const struct finder *finder, uint64_t number, struct session_field *field)
{
    struct group_walk walk;

    if (finder->view == NULL) {
        return false;
    }
    if (finder->noted) {
        if (number >= count_of(finder)) {
            return false;
        }
        walk = walk_at(finder, number);
        session_take(finder->view, &walk, field);
        return true;
    }
    walk = finder->view->groups_;
    while (walk.next_set) {
        if (session_take(finder->view, &walk, field) && number-- == 0) {
            return true;
        }
    }
    return false;
}
