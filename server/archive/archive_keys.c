#include "archive_keys.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "archive_cipher.h"

enum { HEX_DIGITS = 2 * ARCHIVE_KEY_BYTES, BASE64_DIGITS = 44, BASE64_BYTES = 33 };

static const char id_characters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
static const char base64_characters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static bool all_of(struct bytes text, const char *characters)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\0' || strchr(characters, text.data[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static uint8_t digit_of(uint8_t character)
{
    if (character <= '9') {
        return (uint8_t)(character - '0');
    }
    return (uint8_t)((character | 0x20) - 'a' + 10);
}

static bool read_key(struct bytes text, uint8_t key[ARCHIVE_KEY_BYTES])
{
    if (text.size == HEX_DIGITS && all_of(text, "0123456789abcdefABCDEF")) {
        for (size_t i = 0; i < ARCHIVE_KEY_BYTES; i++) {
            key[i] = (uint8_t)(digit_of(text.data[2 * i]) << 4 | digit_of(text.data[2 * i + 1]));
        }
        return true;
    }
    uint8_t decoded[BASE64_BYTES];
    if (text.size != BASE64_DIGITS || text.data[BASE64_DIGITS - 1] != '=' ||
        !all_of(bytes_of(text.data, BASE64_DIGITS - 1), base64_characters) ||
        EVP_DecodeBlock(decoded, text.data, BASE64_DIGITS) != BASE64_BYTES) {
        return false;
    }
    memcpy(key, decoded, ARCHIVE_KEY_BYTES);
    archive_bytes_wipe(decoded, sizeof decoded);
    return true;
}

static bool is_space(uint8_t character)
{
    return character == ' ' || character == '\t' || character == '\r';
}

static struct bytes trim(struct bytes text)
{
    while (text.size > 0 && is_space(text.data[0])) {
        text = bytes_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && is_space(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

/* The bytes up to the first `end`, and all without one; `rest` is what comes after it. */
static struct bytes cut(struct bytes *rest, bool (*is_end)(uint8_t))
{
    size_t size = 0;

    while (size < rest->size && !is_end(rest->data[size])) {
        size++;
    }
    struct bytes found = bytes_of(rest->data, size);
    size += size < rest->size;
    *rest = bytes_of(rest->data + size, rest->size - size);
    return found;
}

static bool is_line_end(uint8_t character)
{
    return character == '\n';
}

/* One line that is not empty. Returns what is wrong with it, or NULL. */
static const char *add_line(struct archive_keys *keys, struct bytes line)
{
    struct bytes id = cut(&line, is_space);
    struct archive_key key = {.id = ""};

    if (id.size > ARCHIVE_KEY_ID_BYTES_MAX || !all_of(id, id_characters)) {
        return "an id is 1 to 32 of A-Z a-z 0-9 . _ -";
    }
    memcpy(key.id, id.data, id.size);
    if (archive_keys_find(keys, key.id) != NULL) {
        return "this id has a key already";
    }
    if (!read_key(trim(line), key.bytes)) {
        return "a key is 64 hexadecimal digits, or 44 characters of base64";
    }
    if (keys->count == ARCHIVE_KEYS_MAX) {
        return "too many keys";
    }
    keys->keys[keys->count++] = key;
    archive_bytes_wipe(&key, sizeof key);
    return NULL;
}

static int parse(struct archive_keys *keys, struct bytes text, char *message, size_t message_size)
{
    const char *wrong = NULL;
    uint32_t number = 0;

    keys->count = 0;
    if (text.size > ARCHIVE_KEY_FILE_BYTES_MAX) {
        snprintf(message, message_size, "it is too large for a file of keys");
        return -EINVAL;
    }
    while (wrong == NULL && text.size > 0) {
        struct bytes line = trim(cut(&text, is_line_end));
        number++;
        if (line.size > 0 && line.data[0] != '#') {
            wrong = add_line(keys, line);
        }
    }
    if (wrong == NULL && keys->count == 0) {
        snprintf(message, message_size, "there is no key");
        return -EINVAL;
    }
    if (wrong != NULL) {
        snprintf(message, message_size, "line %" PRIu32 ": %s", number, wrong);
        return -EINVAL;
    }
    for (uint32_t i = 0; i < keys->count; i++) {
        int rc = archive_key_check(keys->keys[i].bytes, keys->keys[i].check);
        if (rc != 0) {
            snprintf(message, message_size, "the library failed");
            return rc;
        }
    }
    return 0;
}

int archive_keys_parse(struct archive_keys *keys, struct bytes text, char *message,
                       size_t message_size)
{
    struct archive_keys found;

    int rc = parse(&found, text, message, message_size);
    if (rc == 0) {
        *keys = found;
    }
    archive_keys_wipe(&found);
    return rc;
}

const struct archive_key *archive_keys_find(const struct archive_keys *keys, const char *id)
{
    for (uint32_t i = 0; keys != NULL && i < keys->count; i++) {
        if (strcmp(keys->keys[i].id, id) == 0) {
            return &keys->keys[i];
        }
    }
    return NULL;
}

void archive_keys_wipe(struct archive_keys *keys)
{
    archive_bytes_wipe(keys, sizeof *keys);
}
