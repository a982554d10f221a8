/* The configuration of belayd: a file of sections and keys, and settings of the command line over it.
 *
 * config_table.h holds the keys. Reading is strict: an unknown section or key, a bad value, a key given
 * twice or a line that is neither is an error which names file and line, and nothing is guessed. All
 * mistakes of a file are told at once.
 *
 *   [listen]
 *   port = 7400
 *   [policy "web:"]
 *   idle_ttl = 30m
 *   [user "shop"]
 *   password = $argon2id$v=19$...
 *   write = "web:" "cart:"
 *
 * Durations are `10ms 5s 30m 2h 7d`, sizes bytes or `64KiB 8MiB 1GiB 2TiB`, switches `yes` or `no`.
 * A policy's keys that are not given have the built-in defaults, not those of a shorter prefix.
 *
 * Order of calls: config_init(), config_read_file() at most once, config_set() any number of times,
 * config_finish(). Each takes a buffer for what is wrong. Memory: plain data of about 250 KiB: keep it
 * off the stack. Threads: the caller's.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "config_table.h"
#include "liveness.h"
#include "policy.h"
#include "users.h"

enum {
    CONFIG_MESSAGE_BYTES = 4096,       /* Of a file as many mistakes as fit, a line each. */
    CONFIG_FRAME_OVERHEAD = 64 * 1024, /* A head, and the change list around the values. */
    CONFIG_FILE_BYTES_MAX = 1024 * 1024,
    CONFIG_VALUE_BYTES = CONFIG_TEXT_MAX + 1, /* Room for any value as text. */
};

enum config_kind {
    CONFIG_TEXT,
    CONFIG_ADDRESS,
    CONFIG_NUMBER,
    CONFIG_SIZE,
    CONFIG_DURATION,
    CONFIG_SWITCH,
    CONFIG_LOG_FORMAT,
    CONFIG_LOG_LEVEL,
    CONFIG_ACK,
    CONFIG_VIEW,
    CONFIG_MODE,
    CONFIG_ARCHIVE,
    CONFIG_NO_REPLICA,
};

/* Text has room for the longest, everything else is a number: milliseconds, bytes, 0 and 1, or the
 * place in the list of choices (config_value.c). */
#define CONFIG_MEMBER_TEXT(name)       char name[CONFIG_VALUE_BYTES];
#define CONFIG_MEMBER_ADDRESS(name)    char name[CONFIG_VALUE_BYTES];
#define CONFIG_MEMBER_NUMBER(name)     uint64_t name;
#define CONFIG_MEMBER_SIZE(name)       uint64_t name;
#define CONFIG_MEMBER_DURATION(name)   uint64_t name;
#define CONFIG_MEMBER_SWITCH(name)     uint64_t name;
#define CONFIG_MEMBER_LOG_FORMAT(name) uint64_t name;
#define CONFIG_MEMBER_LOG_LEVEL(name)  uint64_t name;
#define CONFIG_MEMBER_ACK(name)        uint64_t name;
#define CONFIG_MEMBER_VIEW(name)       uint64_t name;
#define CONFIG_MEMBER_MODE(name)       uint64_t name;
#define CONFIG_MEMBER_ARCHIVE(name)    uint64_t name;
#define CONFIG_MEMBER_NO_REPLICA(name) uint64_t name;

struct config_policy {
    char prefix[POLICY_PREFIX_BYTES_MAX + 1];
    uint32_t line; /* Of its section; 0: from the command line. */
#define CONFIG_MEMBER(section, key, kind, ...) CONFIG_MEMBER_##kind(key)
    CONFIG_POLICY_TABLE(CONFIG_MEMBER)
#undef CONFIG_MEMBER
};

struct config_user {
    char name[USER_NAME_BYTES_MAX + 1];
    uint32_t line; /* Of its section; 0: from the command line. */
#define CONFIG_MEMBER(section, key, kind, ...) CONFIG_MEMBER_##kind(key)
    CONFIG_USER_TABLE(CONFIG_MEMBER)
#undef CONFIG_MEMBER
};

/* The keys by number: CONFIG_KEY_listen_port, and so on. */
enum {
#define CONFIG_MEMBER(section, key, ...) CONFIG_KEY_##section##_##key,
    CONFIG_TABLE(CONFIG_MEMBER)
#undef CONFIG_MEMBER
        CONFIG_KEY_COUNT
};

/* `listen_port` is [listen] port, and so on. */
struct config {
#define CONFIG_MEMBER(section, key, kind, ...) CONFIG_MEMBER_##kind(section##_##key)
    CONFIG_TABLE(CONFIG_MEMBER)
#undef CONFIG_MEMBER
    uint32_t
        lines[CONFIG_KEY_COUNT];   /* Of the file, that set each key; 0: none, or --set over it. */
    char file[CONFIG_VALUE_BYTES]; /* As given to config_read_file(); empty: none. */
    uint32_t weight;               /* node.weight, once config_finish() has found it. */
    uint32_t policy_count;
    struct config_policy policies[POLICIES_MAX];
    uint32_t user_count;
    struct config_user users[USERS_MAX];
};

/* What fills in defaults that depend on where belayd runs. */
struct config_machine {
    const char *host_name;
    uint32_t cores;
    uint64_t memory_bytes;
    uint64_t open_files; /* The most that the process may have. */
};

/* Everything at its default; a policy too. */
void config_init(struct config *config);
void config_policy_init(struct config_policy *policy);

/* Read a file, or the text of one that `name` stands for in messages.
 * Returns 0; -EINVAL with what is wrong in `message`; another errno where the file cannot be read,
 * which `message` says too. */
int config_read_file(struct config *config, const char *path, char *message, size_t message_size);
int config_read_text(struct config *config, const char *name, struct bytes text, char *message,
                     size_t message_size);

/* One setting of the command line: `SECTION.KEY=VALUE`, `policy "PREFIX".KEY=VALUE` or
 * `user "NAME".KEY=VALUE`. It wins over
 * the file and over earlier ones. Returns 0 or -EINVAL. */
int config_set(struct config *config, const char *assignment, char *message, size_t message_size);

/* Fill in what depends on the machine and check what concerns several keys. Returns 0; -EINVAL with a line in `message` for
 * each thing that is wrong, as many as there is room for. */
int config_finish(struct config *config, const struct config_machine *machine, char *message,
                  size_t message_size);

/* The policies in the form that shards use; the empty prefix is always among them. */
void config_policies(const struct config *config, struct policies *policies);

/* The most bytes that any policy, or a key without one, allows. */
uint64_t config_largest_session(const struct config *config);

/* One policy into that form, and back: what only a configuration has is at its default then. */
void config_policy_make(const struct config *config, const struct config_policy *from,
                        struct policy *to);
void config_policy_show(const struct policy *from, struct config_policy *to);

/* The policy that `belayctl policy set` asks for: `text` has a line KEY=VALUE for each key that changes, one empty line, and
 * then the prefix. Returns 0; -EINVAL with `message` set. */
int config_policy_change(const struct config *config, const struct policies *policies,
                         const char *text, struct policy *policy, char *message,
                         size_t message_size);

/* How this node judges who lives. */
void config_liveness(const struct config *config, struct liveness_settings *settings);

/* The users in the form that doors use. Returns 0; -EINVAL with `message` set, `line` that of the user in the file, or 0. */
int config_users(const struct config *config, struct users *users, uint32_t *line, char *message,
                 size_t message_size);

/* One of them, into a row of zeros. Returns 0; -EINVAL with the first thing that is wrong in `message`. */
int config_user(const struct config_user *from, struct user *to, char *message,
                size_t message_size);

/* Can the address be reached from this machine only? */
bool config_is_loopback(const char *address);

/* ---- Keys and values, for whoever prints them ---- */

struct config_key {
    const char *section, *name;
    enum config_kind kind;
    const char *standard; /* The default. */
    uint64_t least, most;
    const char *help;
    size_t offset; /* Of the value in struct config, or in that of its section. */
};

/* All keys in the order of the table; NULL after the last. */
const struct config_key *config_key(uint32_t index);
const struct config_key *config_policy_key(uint32_t index);
const struct config_key *config_user_key(uint32_t index);

/* Read a value of this kind into the member at `to`. Returns 0, or -EINVAL with `message` set. */
int config_value_parse(const struct config_key *key, const char *value, void *to, char *message,
                       size_t message_size);

/* A value as it would stand in the file: at most CONFIG_VALUE_BYTES, with the final zero. */
void config_value_print(const struct config_key *key, const void *from, char *to);

/* What may stand there: "number from 1 to 64". At most 200 bytes, with the final zero. */
void config_value_describe(const struct config_key *key, char *to, size_t to_size);

/* Whether all of the text is well-formed UTF-8 without control characters, but for tabs. */
bool config_text_is_clean(struct bytes text);

#endif
