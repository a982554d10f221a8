#include "archive_cipher.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "archive_object.h"

enum {
    NONCE_BYTES = 12,
    DIGEST_BYTES = 32,
    BESIDE_BYTES = ARCHIVE_HEADER_BYTES + 8 + 4 + 1,
};

static const char check_label[] = "belay archive key check";
static const char object_label[] = "belay archive object";

static_assert(DIGEST_BYTES == (int)ARCHIVE_KEY_BYTES, "an object's key is a digest");

static int digest(const uint8_t key[ARCHIVE_KEY_BYTES], struct bytes of, uint8_t to[DIGEST_BYTES])
{
    unsigned size = 0;

    if (HMAC(EVP_sha256(), key, ARCHIVE_KEY_BYTES, of.data, of.size, to, &size) == NULL ||
        size != DIGEST_BYTES) {
        return -EIO;
    }
    return 0;
}

int archive_key_check(const uint8_t key[ARCHIVE_KEY_BYTES], uint8_t check[ARCHIVE_KEY_CHECK_BYTES])
{
    uint8_t found[DIGEST_BYTES];

    int rc = digest(key, bytes_of(check_label, sizeof check_label - 1), found);
    if (rc == 0) {
        memcpy(check, found, ARCHIVE_KEY_CHECK_BYTES);
    }
    return rc;
}

int archive_object_key(const uint8_t key[ARCHIVE_KEY_BYTES], struct bytes header,
                       uint8_t object_key[ARCHIVE_KEY_BYTES])
{
    uint8_t text[sizeof object_label - 1 + ARCHIVE_HEADER_BYTES];

    assert(header.size == ARCHIVE_HEADER_BYTES);
    memcpy(text, object_label, sizeof object_label - 1);
    memcpy(text + sizeof object_label - 1, header.data, header.size);
    return digest(key, bytes_of(text, sizeof text), object_key);
}

static void put_nonce(uint8_t nonce[NONCE_BYTES], const struct archive_seal *seal)
{
    memset(nonce, 0, NONCE_BYTES);
    store_u32(nonce, seal->number);
}

static void put_beside(uint8_t beside[BESIDE_BYTES], const struct archive_seal *seal)
{
    assert(seal->header.size == ARCHIVE_HEADER_BYTES);
    memcpy(beside, seal->header.data, ARCHIVE_HEADER_BYTES);
    store_u64(beside + ARCHIVE_HEADER_BYTES, seal->offset);
    store_u32(beside + ARCHIVE_HEADER_BYTES + 8, seal->raw_size);
    beside[ARCHIVE_HEADER_BYTES + 12] = seal->codec;
}

int archive_seal(const struct archive_seal *seal, uint8_t *bytes, size_t size)
{
    uint8_t nonce[NONCE_BYTES], beside[BESIDE_BYTES];
    int done = 0;

    assert(size <= INT32_MAX);
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    if (cipher == NULL) {
        return -ENOMEM;
    }
    put_nonce(nonce, seal);
    put_beside(beside, seal);
    bool good =
        EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, seal->object_key, nonce) == 1 &&
        EVP_EncryptUpdate(cipher, NULL, &done, beside, sizeof beside) == 1 &&
        EVP_EncryptUpdate(cipher, bytes, &done, bytes, (int)size) == 1 && done == (int)size &&
        EVP_EncryptFinal_ex(cipher, bytes + size, &done) == 1 && done == 0 &&
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, ARCHIVE_TAG_BYTES, bytes + size) == 1;
    EVP_CIPHER_CTX_free(cipher);
    return good ? 0 : -EIO;
}

int archive_unseal(const struct archive_seal *seal, struct bytes sealed, uint8_t *to)
{
    uint8_t nonce[NONCE_BYTES], beside[BESIDE_BYTES], tag[ARCHIVE_TAG_BYTES];
    uint8_t rest[EVP_MAX_BLOCK_LENGTH];
    int done = 0, rc = 0;

    if (sealed.size < ARCHIVE_TAG_BYTES || sealed.size > INT32_MAX) {
        return -EBADMSG;
    }
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    if (cipher == NULL) {
        return -ENOMEM;
    }
    int size = (int)(sealed.size - ARCHIVE_TAG_BYTES);
    put_nonce(nonce, seal);
    put_beside(beside, seal);
    memcpy(tag, sealed.data + size, sizeof tag);
    if (EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, seal->object_key, nonce) != 1 ||
        EVP_DecryptUpdate(cipher, NULL, &done, beside, sizeof beside) != 1 ||
        EVP_DecryptUpdate(cipher, to, &done, sealed.data, size) != 1 || done != size ||
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, ARCHIVE_TAG_BYTES, tag) != 1) {
        rc = -EIO;
    } else if (EVP_DecryptFinal_ex(cipher, rest, &done) != 1) {
        rc = -EBADMSG;
    }
    EVP_CIPHER_CTX_free(cipher);
    return rc;
}

void archive_bytes_wipe(void *bytes, size_t size)
{
    OPENSSL_cleanse(bytes, size);
}
