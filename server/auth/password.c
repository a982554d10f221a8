#include "password.h"

#include <argon2.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum {
    KIB = 19456, /* password.h tells where these come from. */
    PASSES = 2,
    LANES = 1,
    SALT_BYTES = 16,
    HASH_BYTES = 32,
    SALT_BYTES_MIN = 8,  /* The least that libargon2 takes. */
    HASH_BYTES_MIN = 16, /* Of 32 that it makes: a shorter one was cut. */
    BOTH_BYTES_MAX = 64,
};

/* Letters of base64, in order of their values. */
static const char base64_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Read base64 without padding from the start of the text. Returns the letters read, with the bytes that they stand for;
 * 0 where there are none, or too few, or they end within a byte. */
static size_t base64_span(const char *text, size_t *bytes)
{
    size_t letters = strspn(text, base64_letters), spare_bits = letters * 6 % 8;

    *bytes = letters * 6 / 8;
    if (letters == 0 || letters % 4 == 1) {
        return 0;
    }
    size_t last = (size_t)(strchr(base64_letters, text[letters - 1]) - base64_letters);
    return last % ((size_t)1 << spare_bits) == 0 ? letters : 0;
}

const char *password_hash_problem(const char *hash)
{
    uint32_t kib, passes, lanes;
    int used = 0;

    if (sscanf(hash, "$argon2id$v=19$m=%" SCNu32 ",t=%" SCNu32 ",p=%" SCNu32 "$%n", &kib, &passes,
               &lanes, &used) != 3 ||
        used == 0) {
        return "it is no Argon2id hash; `belayctl password` makes one";
    }
    size_t salt_bytes, hash_bytes = 0;
    const char *rest = hash + used;
    size_t letters = base64_span(rest, &salt_bytes);
    rest += letters;
    if (letters == 0 || salt_bytes < SALT_BYTES_MIN || salt_bytes > BOTH_BYTES_MAX ||
        (*rest != '$' && *rest != '\0')) {
        return "its salt is cut (8 bytes are the least) or not base64; `belayctl password` makes a "
               "whole one";
    }
    letters = *rest == '$' ? base64_span(++rest, &hash_bytes) : 0;
    if (letters == 0 || hash_bytes < HASH_BYTES_MIN || hash_bytes > BOTH_BYTES_MAX ||
        rest[letters] != '\0') {
        return "its hash is cut (16 bytes are the least) or not base64; `belayctl password` makes "
               "a whole one";
    }
    if (kib < 8 * lanes || passes == 0 || lanes == 0) {
        return "its cost (m, t, p) is none that Argon2 knows";
    }
    if (kib > PASSWORD_KIB_MAX || passes > PASSWORD_PASSES_MAX || lanes > PASSWORD_LANES_MAX) {
        return "it costs more than is allowed here: m up to 262144, t up to 32, p up to 16";
    }
    return NULL;
}

int password_hash(struct bytes password, char hash[PASSWORD_TEXT_BYTES])
{
    uint8_t salt[SALT_BYTES];

    if (getrandom(salt, sizeof salt, 0) != sizeof salt) {
        return -EIO;
    }
    int rc = argon2id_hash_encoded(PASSES, KIB, LANES, password.data, password.size, salt,
                                   sizeof salt, HASH_BYTES, hash, PASSWORD_TEXT_BYTES);
    return rc == ARGON2_OK ? 0 : -EIO;
}

int password_check(const char *hash, struct bytes password)
{
    switch (argon2id_verify(hash, password.data, password.size)) {
    case ARGON2_OK:
        return 1;
    case ARGON2_MEMORY_ALLOCATION_ERROR:
    case ARGON2_THREAD_FAIL:
        return -ENOMEM;
    default:
        return 0;
    }
}
