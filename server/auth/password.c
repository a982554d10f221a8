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
    BASE64_MIN = 11, /* 8 bytes: the least that RFC 9106 allows as a salt. */
    BASE64_MAX = 86, /* 64 bytes. */
};

/* Letters of base64 at the start of the text. */
static size_t base64_span(const char *text)
{
    return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
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
    size_t salt = base64_span(hash + used);
    const char *rest = hash + used + salt;
    size_t size = *rest == '$' ? base64_span(rest + 1) : 0;
    if (salt < BASE64_MIN || salt > BASE64_MAX || size < BASE64_MIN || size > BASE64_MAX ||
        rest[1 + size] != '\0') {
        return "its salt or hash is cut or not base64; `belayctl password` makes a whole one";
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
