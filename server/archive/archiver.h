/* When a node's log goes to the archive, how far it is there, and what becomes of it when the archive is away.
 *
 * The log of all shards is the queue (log_follow.h): what is durable of it and not archived yet goes out as one object at a
 * time. An object begins once one of these holds: writes wait for it, and have gathered; as much log as an object takes is
 * there; `flush_ms` have passed since the last one began, and there is any; something of other nodes is to go
 * (archive_tails.h). The next one begins when the one before is stored,
 * so that objects lie there in the order of the log, without a gap, whatever is lost meanwhile. One that has sessions as they
 * were in memory waits until the log of that is durable: else the archive would have what the node loses with its machine, and
 * an end that it lost would end, once restored, what was written to the session after. One that cannot be stored
 * is tried again, the same bytes, for as long as it takes. Nothing waits in memory but that object.
 *
 * Who writes one after the other waits for an answer before the next: once an object is stored, the writes that it answers come
 * again at once, while those that came meanwhile wait already. Were the next object begun with these, each write would
 * wait for two. So it waits until as many are there as waited when the last one was stored, for a quarter of what that
 * one took and 3 ms (but `gather_ms_max`) at the longest; where one client alone writes, that is no time at all.
 *
 *                  +-----------------------------+
 *                  v                             |
 *   IDLE -> BUILDING -> STORING -> (KEEPING) -> IDLE
 *             |    ^       |   ^
 *             v    |       v   |
 *             PAUSING      PAUSING
 *
 * How far it is, is kept (archive_mark.h) once it has moved and `keep_ms` have passed, and only then is log given up; a node
 * that is killed before sends some of it again, which changes nothing.
 *
 * It is away from what came to nothing on, as tries do, or what was asked of it before the first one, until an object is stored. Where
 * there is none to store, nobody would see that it is back; so then it is asked, each `pause_max_ms`.
 *
 * A name that is taken by other bytes is an alarm, as two nodes may be one then; what is there stays, and the object is made
 * anew under the next name. Made anew it may not build on what was in it (archive_feed.h).
 *
 * Log that was given up, or is damaged, leaves a number out: an object without records is stored, and the one that follows
 * the loss is made anew under the number behind the next. Who reads the archive sees by that that stamps are missing which are older
 * than those that follow (archive_catalog.h). The one without records is what they are missing behind: numbers before an actor's first
 * object are missing wherever older ones were let go.
 *
 * Pure: a state machine; time comes with each event, the world is a port. Memory: the caller's. Threads: the caller's.
 */
#ifndef ARCHIVER_H
#define ARCHIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"

enum { ARCHIVER_SHARDS_MAX = 255, ARCHIVER_TEXT_BYTES = 256, ARCHIVER_TIMES = 32 };

struct archiver_settings {
    uint32_t shard_count;
    uint64_t flush_ms;
    uint64_t object_bytes; /* Of log. */
    uint64_t keep_ms;
    uint64_t
        slow_ms; /* An object that is not stored by then: the archive is away, though nothing has failed yet. */
    uint64_t gather_ms_max;          /* So long at most an object waits for writes. */
    uint64_t pause_ms, pause_max_ms; /* Before another try: doubled from one to the other. */
};

/* What building an object came to. */
struct archiver_built {
    int rc; /* 0; -EAGAIN: nothing could be told yet, try again soon; other negative errno. */
    /* Of each shard: with this object the archive has the log up to `to`; it has sessions as the log up to `needs` made
     * them, which is to be durable first (0: none). */
    const uint64_t *to, *needs;
    uint64_t records;      /* 0: nothing of it goes out, there is no object. */
    uint64_t raw_bytes;    /* Of records. */
    uint64_t object_bytes; /* As it is to be stored. */
    uint64_t gap_bytes;    /* Of log that was given up, or is damaged: it never comes. */
    uint64_t baseless; /* Deltas that went out although nothing is there any more to build on. */
};

/* Effects. None calls back from within. */
struct archiver_port {
    /* Make the object of this sequence, of the log of each shard from `archived` up to `durable`: archiver_built(). `anew`:
     * what was built since the last one that was stored is not there. `bare`: without records, of none of the log. */
    void (*build)(struct archiver_port *port, uint64_t sequence, bool anew, bool bare);
    /* Store what was built last: archiver_stored(). */
    void (*store)(struct archiver_port *port);
    /* Nothing of what was built last goes out: there is no object, and its log counts as archived. */
    void (*passed)(struct archiver_port *port);
    /* Some of the log that is told to be archived next was given up, or is damaged, and no object brings it: before archived()
     * and keep() of it, so that nobody is told that it is there, now or by the next life. */
    void (*lost)(struct archiver_port *port);
    /* The archive has the log of this shard up to there. */
    void (*archived)(struct archiver_port *port, uint32_t shard, uint64_t lsn);
    /* Keep how far it is, and `sequence`: archiver_kept(). */
    void (*keep)(struct archiver_port *port);
    /* It is away, and why; or, NULL, back. An alarm: `text` says what. Once for each time. */
    void (*away)(struct archiver_port *port, const char *text);
    /* Is it there again? archiver_probed(), whatever else goes on meanwhile. */
    void (*probe)(struct archiver_port *port);
    void (*alarm)(struct archiver_port *port, const char *text);
};

enum archiver_state {
    ARCHIVER_IDLE,
    ARCHIVER_BUILDING,
    ARCHIVER_STORING,
    ARCHIVER_PAUSING,
    ARCHIVER_KEEPING
};

/* The log ended at `lsn` then: what lies behind it was appended later. */
struct archiver_time {
    uint64_t lsn, ms;
};

struct archiver_shard {
    uint64_t archived, wanted, durable, appended;
    uint64_t to, needs; /* Of the object that is built. */
    /* Ascending; the first one is of what is archived. They are some sixteenth of the whole time apart. */
    struct archiver_time times[ARCHIVER_TIMES];
    uint32_t time_count;
};

/* Since the start. */
struct archiver_figures {
    uint64_t objects, records, raw_bytes, object_bytes;
    uint64_t failures;  /* Tries that came to nothing. */
    uint64_t conflicts; /* Names that were taken. */
    uint64_t gap_bytes, baseless;
    uint64_t stored_ms; /* When the last one was stored; 0: none was. */
    struct histogram store_us;
};

struct archiver {
    struct archiver_settings settings;
    struct archiver_port *port;
    struct archiver_shard shards[ARCHIVER_SHARDS_MAX];
    enum archiver_state state;
    uint64_t sequence;  /* Of the object that is made, or of the next. */
    bool building_next; /* PAUSING: what follows is to build, not to store. */
    bool anew;
    bool bare; /* What is made, or stored, is without records: a number is left out behind it... */
    bool left_out; /* ... or was, for a loss that what is built next is to find again. */
    bool moved;    /* Since it was kept. */
    bool ending;
    bool tails;                                /* Some log is to be walked again. */
    uint64_t asked, asked_built, asked_stored; /* Writes: so far, in what is built, and stored. */
    uint64_t group;           /* So many are to be there before an object begins... */
    uint64_t gather_until_ms; /* ... or it is so late. */
    uint64_t begun_ms, kept_ms, until_ms, pause_ms, store_ms;
    struct archiver_built built;
    uint64_t away_ms;               /* Since when it is; 0: it is not. */
    bool probing;                   /* It is being asked... */
    uint64_t probe_ms;              /* ... or is, from then on. */
    char text[ARCHIVER_TEXT_BYTES]; /* Why, the last time. */
    struct archiver_figures figures;
};

/* `sequence`: of the next object. */
void archiver_init(struct archiver *archiver, const struct archiver_settings *settings,
                   struct archiver_port *port, uint64_t sequence, uint64_t now_ms);

/* Before the first step: where a shard's log goes on, and from where on it is not archived. */
void archiver_begin(struct archiver *archiver, uint32_t shard, uint64_t archived, uint64_t durable);

/* What is known of a shard's log: wanted <= durable <= appended, and none goes back. */
void archiver_reach(struct archiver *archiver, uint32_t shard, uint64_t wanted, uint64_t durable,
                    uint64_t appended);

/* Is some log that is archived to be walked again, for what others stamped? Then an object is due. */
void archiver_tails(struct archiver *archiver, bool due);

/* So many writes waited so far, each for what is wanted at most. It does not go back. */
void archiver_asked(struct archiver *archiver, uint64_t writes);

/* Do what is due. Returns in how many milliseconds to come again, if nothing happens before. */
uint64_t archiver_step(struct archiver *archiver, uint64_t now_ms);

/* It is away, as is known from elsewhere, until an object is stored. */
void archiver_trouble(struct archiver *archiver, const char *text, uint64_t now_ms);

/* How what was begun by the port ended. archiver_step() comes after each. */
void archiver_built(struct archiver *archiver, const struct archiver_built *built, uint64_t now_ms);
/* `rc` as object_store.h has it, `text` why. */
void archiver_stored(struct archiver *archiver, int rc, const char *text, uint64_t now_ms,
                     uint64_t took_us);
void archiver_kept(struct archiver *archiver, int rc, uint64_t now_ms);
void archiver_probed(struct archiver *archiver, int rc, const char *text, uint64_t now_ms);

/* The node stops: what is durable goes out at once, and how far it is, is kept. */
void archiver_end(struct archiver *archiver);
bool archiver_is_done(const struct archiver *archiver);

/* Bytes of log that are not archived, and the age of the oldest of them: at least that old is nothing. */
uint64_t archiver_behind_bytes(const struct archiver *archiver);
uint64_t archiver_behind_ms(const struct archiver *archiver, uint64_t now_ms);

#endif
