/* Hashes of passwords: Argon2id (RFC 9106) in its usual text form, `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
 *
 * Threads: any. Memory: libargon2 takes m KiB while it hashes.
 */
#ifndef PASSWORD_H
#define PASSWORD_H

#include <stddef.h>

#include "bytes.h"

enum {
    PASSWORD_BYTES_MAX = 255,
    PASSWORD_TEXT_BYTES = 160, /* Room for a hash as text, with the final zero. */
    PASSWORD_KIB_MAX = 256 * 1024,
    PASSWORD_PASSES_MAX = 32,
    PASSWORD_LANES_MAX = 16,
};

/* What is wrong with the text of a hash, or NULL: it is one, and costs no more than the limits above. It has 8 to 64 bytes of
 * salt and 16 to 64 of hash, where RFC 9106 recommends 16 and 16 or 32: what is shorter was cut in copying. */
const char *password_hash_problem(const char *hash);

/* Hash with a salt of its own and the cost that OWASP's Password Storage Cheat Sheet names first among Argon2id's
 * (19 MiB, 2 passes, 1 lane). Returns 0, or -EIO where there is no randomness or no memory. */
int password_hash(struct bytes password, char hash[PASSWORD_TEXT_BYTES]);

/* Returns 1 where the password is the hash's, 0 where it is not, -ENOMEM where that cannot be found out now. Takes as long as
 * the hash says. */
int password_check(const char *hash, struct bytes password);

#endif
