/* What the commands of the RESP door share: their arguments, their changes, their errors.
 *
 * A command on one key is a procedure (procedure.h) whose argument is the whole request, an array of bulk strings,
 * and whose answer is the reply as RESP has it. The request's flags say in which version.
 *
 * Each returns OK with the reply appended, or a status for which the door has Redis's words. Semantics, replies and
 * errors are those of Redis 7 (redis.io/docs/latest/commands).
 */
#ifndef RUN_H
#define RUN_H

#include <errno.h>

#include "finder.h"
#include "procedure.h"
#include "resp.h"
#include "shard.h"

enum { RUN_RESP3 = 256 }; /* In request.flags of a procedure. */

struct run {
    struct turn *turn;
    struct resp_out out;
    struct bytes name;          /* The command, as it was sent. */
    struct resp_arguments rest; /* After the key. */
};

/* Want of memory, or of room for the reply: all that the command is a part of, a transaction or a script, is undone. */
static inline bool run_undoes(enum status status)
{
    return status == STATUS_NO_MEMORY || status == STATUS_MEMORY_FULL ||
           status == STATUS_FRAME_TOO_LARGE;
}

/* Where the reply goes: no more than REPLY_BYTES_MAX of it, or than the key's policy has a session be. */
struct resp_out run_out(const struct turn *turn);

/* Take apart. The door has checked the number of arguments: at least the name and the key. */
void run_begin(struct run *run, struct turn *turn);

/* The next argument; it must be there. */
struct bytes run_next(struct run *run);
/* The same as an integer. Returns false where it is none. */
bool run_integer(struct run *run, int64_t *value);

/* Does an argument say this (in lower case)? */
bool run_is(struct bytes argument, const char *word);

/* An answer was appended with `rc` of proto/resp.h. */
static inline enum status run_end(int rc)
{
    return rc == 0 ? STATUS_OK : rc == -EMSGSIZE ? STATUS_FRAME_TOO_LARGE : STATUS_NO_MEMORY;
}

enum status run_error(struct run *run, const char *text);
enum status run_number(struct run *run, int64_t value);
enum status run_ok(struct run *run);

extern const char run_syntax[], run_not_integer[], run_not_float[];
extern const char run_bad_time[]; /* Stands for run_bad_expire(). */
extern const char run_bad_cursor[];

/* The live session, where it is of this type. `view` NULL: there is none. Returns OK or WRONG_TYPE. */
enum status run_view(struct run *run, enum session_type type, struct session_view **view);

/* ---- Changes: a list is begun, added to, written ---- */

void run_change_begin(struct run *run);
/* Returns 0 or -ENOMEM. */
int run_change(struct run *run, const struct change *change);
int run_change_set(struct run *run, struct bytes name, struct bytes value);
int run_change_of(struct run *run, uint8_t operation, struct bytes name);
int run_change_absolute(struct run *run, uint64_t ms); /* 0: no deadline any more. */

/* Write the list, of which adding the last returned `rc`. */
enum status run_write(struct run *run, int rc, enum write_mode mode, enum session_type type,
                      struct bytes *results);
/* End the session. */
enum status run_destroy(struct run *run);
/* To look up the names that are left, `step` arguments each, in what is in view; `view` may be NULL. Returns as
 * finder_begin(). */
int run_find(struct run *run, const struct session_view *view, uint32_t step,
             struct finder *finder);
/* The value of a field, or a nil where it is not there. Returns as proto/resp.h. */
int run_put_field(struct run *run, const struct finder *finder, struct bytes name);
/* Remove the names that follow from a map, set or zset, and end it where none is left; the reply is how many
 * there were. */
enum status run_remove(struct run *run, struct session_view *view);

/* The results of a list, one after the other. */
int64_t run_result(struct reader *results);

/* ---- Options of SCAN and the like ---- */

struct scan_options {
    uint64_t cursor;
    struct bytes pattern; /* data NULL: none. */
    uint32_t count;
    enum session_type type; /* SESSION_NONE: any... */
    bool no_type;           /* ... or one that there is not. */
    bool no_values;
};

/* Reads the cursor and what follows; `fields`: of HSCAN, which has NOVALUES. Returns NULL, or the error. */
const char *scan_options_read(struct run *run, bool fields, struct scan_options *options);

/* ---- Deadlines ---- */

/* "EX", "PX", "EXAT", "PXAT" with its number: when, in ms since 1970. `unit` and `since` tell which. Returns 0, or
 * -ERANGE where that is no time a session can end at (the reply then is run_bad_expire()). */
int run_deadline(struct run *run, int64_t number, bool seconds, bool absolute, uint64_t *ms);
enum status run_bad_expire(struct run *run);

/* ---- Numbers that are not integers ---- */

enum { RUN_DOUBLE_BYTES = 40 };

/* Returns false where the text is none. Infinities are some, NaN is not. */
bool run_parse_double(struct bytes text, double *value);

/* One end of a range of scores, as Redis reads it: also after blanks, too large for a double (which is infinity), and
 * without anything, which is 0. */
bool run_parse_bound(struct bytes text, double *value);
/* The shortest text that reads back as it is. Returns its size. */
size_t run_format_double(double value, char text[RUN_DOUBLE_BYTES]);
int run_put_double(struct run *run, double value);
/* The score that a member of a sorted set has as its value. */
double run_score_of(struct bytes value);

#endif
