/* belayctl: what its commands share.
 *
 * A command is a row of a table: its words, its help, a function. It parses its own options with
 * arguments_parse(), which takes the global ones (-s, --json, --timeout, --help) anywhere, asks through
 * libbelay with ctl_client(), and prints either for people or one JSON document.
 * Exit codes: CTL_OK, CTL_REFUSED, CTL_USAGE, CTL_UNREACHABLE.
 */
#ifndef CTL_H
#define CTL_H

#include <belay/belay.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { CTL_OK = 0, CTL_REFUSED = 1, CTL_USAGE = 2, CTL_UNREACHABLE = 3 };

struct ctl;

struct command {
    const char *words;    /* "session get" */
    const char *operands; /* "KEY [FIELD...]" */
    const char *summary;  /* One line. */
    const char *help;     /* Options and details, terminated by a newline; may be empty. */
    int (*run)(struct ctl *ctl, int argc, char **argv);
};

/* The default of --timeout, and that of commands which a majority of the nodes decides on: they try for ten seconds, and it
 * is their answer that says why it came to nothing. */
enum { CTL_TIMEOUT_MS = 5000, CTL_DECIDE_TIMEOUT_MS = 15000 };

struct ctl {
    const struct command *command; /* The one that runs. */
    const char *server;
    bool json;
    uint64_t timeout_ms;
    bool
        timeout_given; /* By the user: so long is waited in all, where a command waits (ctl_is_late()). */
    uint64_t began_ms;           /* ctl_now_ms() when the program did. */
    bool once;                   /* ctl_admin() takes BUSY for an answer. */
    bool wide;                   /* For much work: a connection to each shard, in place of one. */
    struct belay_client *client; /* ctl_client() */
};

/* ---- commands ---- */

extern const struct command commands[];
extern const size_t command_count;

int status_run(struct ctl *ctl, int argc, char **argv);
int session_get_run(struct ctl *ctl, int argc, char **argv);
int session_put_run(struct ctl *ctl, int argc, char **argv);
int session_del_run(struct ctl *ctl, int argc, char **argv);
int session_touch_run(struct ctl *ctl, int argc, char **argv);
int session_inspect_run(struct ctl *ctl, int argc, char **argv);
int session_where_run(struct ctl *ctl, int argc, char **argv);
int session_list_run(struct ctl *ctl, int argc, char **argv);
int join_token_run(struct ctl *ctl, int argc, char **argv);
int node_list_run(struct ctl *ctl, int argc, char **argv);
int node_remove_run(struct ctl *ctl, int argc, char **argv);
int node_drain_run(struct ctl *ctl, int argc, char **argv);
int node_weight_run(struct ctl *ctl, int argc, char **argv);
int node_activate_run(struct ctl *ctl, int argc, char **argv);
int node_degrade_run(struct ctl *ctl, int argc, char **argv);
int node_undegrade_run(struct ctl *ctl, int argc, char **argv);
int rebalance_run(struct ctl *ctl, int argc, char **argv);
int cluster_replicas_run(struct ctl *ctl, int argc, char **argv);
int restart_check_run(struct ctl *ctl, int argc, char **argv);
int ring_run(struct ctl *ctl, int argc, char **argv);
int slot_run(struct ctl *ctl, int argc, char **argv);
int policy_list_run(struct ctl *ctl, int argc, char **argv);
int policy_set_run(struct ctl *ctl, int argc, char **argv);
int policy_rm_run(struct ctl *ctl, int argc, char **argv);
int archive_status_run(struct ctl *ctl, int argc, char **argv);
int archive_give_up_run(struct ctl *ctl, int argc, char **argv);
int config_get_run(struct ctl *ctl, int argc, char **argv);
int import_run(struct ctl *ctl, int argc, char **argv);
int password_run(struct ctl *ctl, int argc, char **argv);
int completion_bash_run(struct ctl *ctl, int argc, char **argv);
int log_dump_run(struct ctl *ctl, int argc, char **argv);
int data_dump_run(struct ctl *ctl, int argc, char **argv);
int archive_cat_run(struct ctl *ctl, int argc, char **argv);
int archive_ls_run(struct ctl *ctl, int argc, char **argv);
int archive_verify_run(struct ctl *ctl, int argc, char **argv);
int archive_restore_run(struct ctl *ctl, int argc, char **argv);
int archive_forget_run(struct ctl *ctl, int argc, char **argv);

/* ---- arguments.c ---- */

enum option_kind {
    OPTION_FLAG,     /* bool: becomes true. */
    OPTION_TEXT,     /* const char * */
    OPTION_LIST,     /* struct text_list: one more. */
    OPTION_DURATION, /* uint64_t: ms, from "30m". */
    OPTION_LIFETIME, /* The same, from 1 ms to ten years. */
    OPTION_NUMBER,   /* uint64_t */
};

struct option {
    const char *name; /* Without "--". NULL ends a table. */
    enum option_kind kind;
    void *value;
};

enum { TEXT_LIST_MAX = 1024 };

struct text_list {
    int count;
    char *items[TEXT_LIST_MAX];
};

/* Take options out of `argv`; what is left goes to `operands`. `min` and `max` are how many there may be.
 * Returns CTL_OK; CTL_USAGE with a message printed; -1 when help was asked for and printed. */
int arguments_parse(struct ctl *ctl, int argc, char **argv, const struct option *options,
                    struct text_list *operands, int min, int max);

/* The same for any number of operands: they come to lie at the beginning of `argv`, so many of them. */
int arguments_keep(struct ctl *ctl, int argc, char **argv, const struct option *options,
                   int *operand_count);

/* Say that operands are missing. Returns CTL_USAGE. */
int arguments_missing(const struct ctl *ctl);

/* "250ms", "30s", "5m", "2h", "7d" as milliseconds. Returns false where it is none of them. */
bool duration_parse(const char *text, uint64_t *ms);

/* Print "belayctl: COMMAND: ..." and where to find help. Returns CTL_USAGE. */
int ctl_usage(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* CTL_USAGE with a message printed where a text of the command line is longer than it may be. `what`: "a field's name". */
int ctl_length_check(const struct ctl *ctl, const char *what, size_t size, size_t size_max);

/* ---- ctl.c ---- */

/* The connection, made on the first call. NULL with a message printed. */
struct belay_client *ctl_client(struct ctl *ctl);

/* Another one, of the caller, to this server. NULL with a message printed. */
struct belay_client *ctl_connect(const struct ctl *ctl, const char *server);

/* Print what went wrong with `what` (a key, or NULL), destroy the result. Returns the exit code. */
int ctl_failed(struct ctl *ctl, const char *what, enum belay_status status,
               struct belay_result *result);
/* As that, of no result: in other words, and `node` said them; empty: belayctl. */
int ctl_failed_for(struct ctl *ctl, const char *what, enum belay_status status, const char *text,
                   const char *node);

/* Print one JSON document and give it back. Returns CTL_OK, or CTL_REFUSED where it cannot be written. */
int ctl_print_json(json_t *document);

/* Ask the server for a document (belay_admin_begin()).
 * Returns CTL_OK with `document` to be given back, or the exit code of a failure that was printed. */
int ctl_admin(struct ctl *ctl, const char *command, const char *argument, json_t **document);

/* Ask one server, wherever -s leads, and print nothing of what its answer is. Returns the document, to be given back; else NULL
 * with `status`, never BELAY_OK. */
json_t *ctl_ask(const struct ctl *ctl, const char *server, const char *command,
                const char *argument, enum belay_status *status);

/* A command without arguments of its own that shows such a document. Returns CTL_OK with `document` to be printed and given
 * back, or NULL: nothing is left to be done; or the exit code of a failure that was printed. */
int ctl_show(struct ctl *ctl, int argc, char **argv, const char *command, json_t **document);

/* A member of such a document: 0, or an empty text, where it has none of that name, or is NULL. */
uint64_t ctl_number(const json_t *object, const char *name);
const char *ctl_text(const json_t *object, const char *name);

/* Of the document "nodes": the row of a node by its name or, where none has that name, its number. NULL: there is none. */
const json_t *ctl_node(const json_t *nodes, const char *node);

/* Does a node, by such a row, have sessions, and goes on to? */
bool ctl_serves(const json_t *row);

/* What is said of a change of the map where nobody leads. */
#define CTL_UNDECIDED "nobody leads the cluster: nothing is decided until a majority is back"

/* What others may not have yet of a node that has left: it took writes while it was cut off, or they ended sessions there. */
struct ctl_rest {
    bool asked;     /* It runs, as far as is known. */
    bool is_none;   /* It has looked through all that it has, and there is no more. */
    uint64_t slots; /* With something of that, as far as it has looked. */
};

/* From the node itself, whose row of the document "nodes" this is. Prints nothing. */
struct ctl_rest ctl_rest(const struct ctl *ctl, const json_t *row);

/* Has a command that waits for what takes its time done so for longer than the user said? It ends as with BELAY_TIMEOUT. */
bool ctl_is_late(const struct ctl *ctl);

/* Since some moment; it never goes back. */
uint64_t ctl_now_ms(void);
/* Or less, where a signal comes. */
void ctl_sleep_ms(uint64_t ms);

/* ---- show.c ---- */

/* Bytes as text: printable UTF-8 as it is, all else as \n, \t, \\, \xNN. */
void show_bytes(FILE *to, struct belay_bytes bytes);
/* The columns that show_bytes() takes, counting a character as one. */
size_t show_width(struct belay_bytes bytes);
/* "2h 3m", "45s", "120ms" */
const char *show_duration(uint64_t ms, char *text, size_t text_size);
/* "1.5 GiB", "512 B" */
const char *show_size(uint64_t bytes, char *text, size_t text_size);
/* "1,234,567" */
const char *show_count(uint64_t count, char *text, size_t text_size);
/* "2026-01-31 12:00:00Z (in 29m)" */
const char *show_time(uint64_t time_ms, char *text, size_t text_size);
/* Set `name` to the bytes, or `name`_hex where they are no UTF-8. */
void json_set_bytes(json_t *object, const char *name, struct belay_bytes bytes);
/* Bytes as hex digits. Returns memory for free(), NULL where there is none. */
char *hex_of(struct belay_bytes bytes);
/* Read hex digits. Returns how many bytes, or -1. */
long hex_parse(const char *text, unsigned char *to, size_t to_size);

/* ---- config.c ---- */

/* A section that has a name, [policy "PREFIX"], as belayd.conf has it. */
void config_print_named(const char *kind, const char *name, json_t *section);

/* ---- node_drain.c ---- */

/* A node was asked to give what it has to others: where fewer are left than sessions are to have copies, that is said. */
void node_drain_warn(struct ctl *ctl, uint64_t number);

/* ---- node_weight.c ---- */

/* Ask for a step of "node-weight" or "node-activate". As ctl_admin(). */
int node_weight_ask(struct ctl *ctl, const char *command, const char *node, uint64_t weight,
                    uint64_t over_ms, json_t **step);

/* ---- dump.c ---- */

/* What prints lines "what name=value ... key=..." of a file or another thing. */
struct dump_source {
    const char *path; /* What it is called. */
    const char *what; /* The progress is counted in: "bytes" of a file, or "sessions". */
    /* Returns 0; negative errno, mostly with `message` set. */
    int (*dump)(void *context, const char *path, FILE *out, char *message, size_t message_size);
    void *context;
};

/* Print the lines, or the same as JSON. Returns the exit code. */
int dump_run(struct ctl *ctl, const struct dump_source *source);

/* ---- progress.c ---- */

/* A bar on stderr, where that is a terminal and the work takes longer than a moment. */
struct progress {
    const char *what;
    const char *more;     /* Beside the bar: of the caller; NULL: nothing. */
    uint64_t done, total; /* total 0: unknown. */
    uint64_t started_ms, drawn_ms;
    bool shown;
};

/* Is there anybody to see it? */
bool progress_wanted(void);
void progress_begin(struct progress *progress, const char *what, uint64_t total);
void progress_update(struct progress *progress, uint64_t done);
/* Take the bar away. */
void progress_end(struct progress *progress);

/* What is said where the user ends the program with Ctrl-C while it waits for what goes on without it, bar or no bar. */
void progress_goes_on(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* It is not waited for any more. */
void progress_is_over(void);

#endif
