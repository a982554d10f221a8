/* An edit: a change list worked through on one session, before anything is written.
 *
 * Each name that the list mentions has a slot: what is shown under it in the present record, and what it
 * will be. Slots are in order of names, so that a record is rewritten in one walk beside them.
 *
 * Memory: slots and the room in which appended values grow lie in the scratch buffer; everything else
 * is pointed to, in the present record or in the list. Threads: any.
 */
#ifndef EDIT_H
#define EDIT_H

#include "session.h"

enum { EDIT_FEW = 4 };

enum slot_state {
    SLOT_SAME = 0,   /* The present entries stay as they are. */
    SLOT_ABSENT = 1, /* They go. */
    SLOT_VALUE = 2,  /* One new field entry in their place. */
    SLOT_SUM = 3,    /* Those that count stay, and this actor's sum is new. */
};

struct slot {
    struct bytes name;
    const uint8_t *at; /* Its first entry in the present record; NULL: it has none. */
    uint8_t state;
    uint32_t clears; /* CLEARs that it has gone through: those of the edit, once it is asked. */
    bool present;    /* Shown, as the changes so far have left it... */
    bool number;     /* ... as `total`, else as `value`. */
    bool alone;      /* SLOT_SUM: no present entry counts any more. */
    struct bytes value;
    int64_t total;
    int64_t own;       /* What this actor has added to `base`. */
    struct stamp base; /* hlc 0: nothing. */
    uint64_t deadline_ms;
    uint8_t *room; /* Where an appended value grows. */
    size_t room_bytes;
    char text[24];
};

/* What is not a user's field, by kind: OWNER, ABSOLUTE, IDLE, ALIAS. */
struct attribute {
    bool touched, present;
    uint64_t ms;
    struct bytes value;
};

struct edit {
    const struct session_write *write;
    struct session_view view; /* Of the present record... */
    struct record *old;       /* ... and that: view.record_, empty where there is none. */
    struct stamp stamp;
    struct birth birth; /* Of new entries. */
    bool fresh;         /* An incarnation begins: nothing of the old entries stays. */
    uint32_t clears;    /* CLEARs so far; any: only slots have fields. */
    bool effect;        /* Something changed. */
    int64_t fields;
    struct attribute attributes[ENTRY_FIELD];
    struct slot *slots;
    uint32_t *slot_of_change;
    uint32_t slot_count, change_count;
    struct change few[EDIT_FEW]; /* The changes, where there are no more than that. */
};

/* Make slots for the changes of edit->write->changes and find what is there now.
 * Returns 0, -ENOMEM, -EBADMSG. */
int edit_prepare(struct edit *edit, struct buffer *scratch);

/* The next change of a list that edit_prepare() has seen. Returns false at its end. */
bool edit_next(const struct edit *edit, uint32_t number, struct reader *list,
               struct change *change);

/* Work through the changes, with their results appended. The edit knows the type in birth.type.
 * Returns a status: OK; WRONG_TYPE, NOT_A_NUMBER, OUT_OF_RANGE, SESSION_TOO_LARGE, NO_MEMORY. */
enum status edit_run(struct edit *edit, struct buffer *results);

/* Does an entry of the present record count in what its slot (state SLOT_SUM) shows? */
bool edit_keeps(const struct edit *edit, const struct slot *slot, const struct entry *entry);

#endif
