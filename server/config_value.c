/* Values of the configuration: text to number and back, one form for each kind. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "config.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* The largest first, so that printing finds the shortest form. */
static const struct unit durations[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};
static const struct unit sizes[] = {
    {"TiB", UINT64_C(1) << 40},
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"", 1},
    {NULL, 0},
};

/* Words that a kind allows, separated by `|`: the value is the word's place, from 0. */
static const char *choices_of(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_SWITCH:
        return "no|yes";
    case CONFIG_LOG_FORMAT:
        return "text|json";
    case CONFIG_LOG_LEVEL:
        return "debug|info|warn|error";
    case CONFIG_ACK:
        return "memory|replica|disk|archive";
    case CONFIG_VIEW:
        return "newest|siblings";
    case CONFIG_MODE:
        return "available";
    case CONFIG_ARCHIVE:
        return "on|off";
    case CONFIG_NO_REPLICA:
        return "degrade|refuse";
    default:
        return NULL;
    }
}

static const struct unit *units_of(enum config_kind kind)
{
    return kind == CONFIG_DURATION ? durations : kind == CONFIG_SIZE ? sizes : NULL;
}

/* The place of a word in a list. Returns false where it is not in it. */
static bool choice_find(const char *choices, const char *word, uint64_t *place)
{
    size_t size = strlen(word);

    for (uint64_t at = 0; choices != NULL; at++) {
        const char *end = strchr(choices, '|');
        size_t this_size = end == NULL ? strlen(choices) : (size_t)(end - choices);
        if (this_size == size && memcmp(choices, word, size) == 0) {
            *place = at;
            return true;
        }
        choices = end == NULL ? NULL : end + 1;
    }
    return false;
}

static void choice_print(const char *choices, uint64_t place, char *to)
{
    for (; place > 0; place--) {
        choices = strchr(choices, '|') + 1;
    }
    size_t size = strcspn(choices, "|");
    memcpy(to, choices, size);
    to[size] = '\0';
}

/* Digits, then one of the units. A duration needs its unit, except for 0. */
static bool number_read(const char *text, const struct unit *units, uint64_t *number)
{
    uint64_t value = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (at == text) {
        return false;
    }
    if (units == NULL || (value == 0 && *at == '\0')) {
        *number = value;
        return *at == '\0';
    }
    for (; units->name != NULL; units++) {
        if (strcmp(units->name, at) == 0 && value <= UINT64_MAX / units->factor) {
            *number = value * units->factor;
            return true;
        }
    }
    return false;
}

static void number_print(uint64_t number, const struct unit *units, char *to, size_t to_size)
{
    if (number == 0 || units == NULL) {
        snprintf(to, to_size, "%" PRIu64, number);
        return;
    }
    while (number % units->factor != 0) {
        units++;
    }
    snprintf(to, to_size, "%" PRIu64 "%s", number / units->factor, units->name);
}

static bool address_ok(const char *text)
{
    struct in6_addr address;

    return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1;
}

static int text_parse(const struct config_key *key, const char *value, char *to)
{
    size_t size = strlen(value);

    if (size < key->least || size > key->most || !config_text_is_clean(bytes_of(value, size)) ||
        (key->kind == CONFIG_ADDRESS && !address_ok(value))) {
        return -EINVAL;
    }
    memcpy(to, value, size + 1);
    return 0;
}

int config_value_parse(const struct config_key *key, const char *value, void *to, char *message,
                       size_t message_size)
{
    const char *choices = choices_of(key->kind);
    uint64_t number = 0;
    bool ok = false;

    if (key->kind == CONFIG_TEXT || key->kind == CONFIG_ADDRESS) {
        ok = text_parse(key, value, to) == 0;
    } else if (choices != NULL) {
        ok = choice_find(choices, value, &number) ||
             (key->kind == CONFIG_SWITCH && choice_find("off|on", value, &number));
    } else {
        ok = number_read(value, units_of(key->kind), &number) && number >= key->least &&
             number <= key->most;
    }
    if (!ok) {
        char allowed[200];
        config_value_describe(key, allowed, sizeof allowed);
        snprintf(message, message_size, "%s.%s: '%.100s' is not valid: %s", key->section, key->name,
                 value, allowed);
        return -EINVAL;
    }
    if (key->kind != CONFIG_TEXT && key->kind != CONFIG_ADDRESS) {
        memcpy(to, &number, sizeof number);
    }
    return 0;
}

void config_value_print(const struct config_key *key, const void *from, char *to)
{
    uint64_t number;

    if (key->kind == CONFIG_TEXT || key->kind == CONFIG_ADDRESS) {
        memcpy(to, from, strlen(from) + 1);
        return;
    }
    memcpy(&number, from, sizeof number);
    if (choices_of(key->kind) != NULL) {
        choice_print(choices_of(key->kind), number, to);
    } else {
        number_print(number, units_of(key->kind), to, CONFIG_VALUE_BYTES);
    }
}

static void describe_range(const struct config_key *key, const char *what, char *to, size_t to_size)
{
    char least[32], most[32];

    number_print(key->least, units_of(key->kind), least, sizeof least);
    number_print(key->most, units_of(key->kind), most, sizeof most);
    snprintf(to, to_size, "%s from %s to %s", what, least, most);
}

void config_value_describe(const struct config_key *key, char *to, size_t to_size)
{
    switch (key->kind) {
    case CONFIG_TEXT:
        snprintf(to, to_size, "text of %" PRIu64 " to %" PRIu64 " bytes", key->least, key->most);
        return;
    case CONFIG_ADDRESS:
        snprintf(to, to_size, "IPv4 or IPv6 address");
        return;
    case CONFIG_NUMBER:
        describe_range(key, "number", to, to_size);
        return;
    case CONFIG_SIZE:
        describe_range(key, "size (64KiB, 8MiB, 1GiB)", to, to_size);
        return;
    case CONFIG_DURATION:
        describe_range(key, "duration (10ms, 5s, 30m, 2h, 7d)", to, to_size);
        return;
    default:
        snprintf(to, to_size, "one of %s%s", choices_of(key->kind),
                 key->kind == CONFIG_SWITCH ? " (or off|on)" : "");
    }
}

/* Length of the well-formed sequence at `at` (RFC 3629, section 4), 0 where there is none. */
static size_t utf8_sequence(const uint8_t *at, size_t left)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = at[0] < 0x80 ? 1 : at[0] >> 5 == 6 ? 2 : at[0] >> 4 == 14 ? 3 : 4;
    uint32_t point = at[0];

    if (size == 1) {
        return 1;
    }
    if (size > left || (size == 4 && at[0] >> 3 != 30)) {
        return 0;
    }
    point &= 0x7fU >> size;
    for (size_t i = 1; i < size; i++) {
        if (at[i] >> 6 != 2) {
            return 0;
        }
        point = point << 6 | (at[i] & 0x3f);
    }
    bool bad = point < smallest[size] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000);
    return bad ? 0 : size;
}

bool config_text_is_clean(struct bytes text)
{
    for (size_t at = 0; at < text.size;) {
        uint8_t byte = text.data[at];
        size_t size = utf8_sequence(text.data + at, text.size - at);
        if (size == 0 || (byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return false;
        }
        at += size;
    }
    return true;
}
