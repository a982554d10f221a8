/* Proofs that peers give each other, and the tokens that new nodes come with. */
#include "check.h"

#include "join_token.h"
#include "peer_proof.h"
#include "random.h"

#define GOLDEN_TOKEN                                                                               \
    "belay-join-1.AQIDBAUGBwgJCgsMDQ4PEGRlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9f"                       \
    "n-AgYKDAg0xMC4wLjAuMTo3NDAyCls6OjFdOjc0MTIQ5Vgu"

static void fill(uint8_t *to, size_t size, uint8_t from)
{
    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)(from + i);
    }
}

static struct peer_transcript transcript_of(void)
{
    struct peer_transcript transcript = {.dialer = {3, 1}, .acceptor = {4, 9}};

    fill(transcript.cluster, sizeof transcript.cluster, 1);
    fill(transcript.dialer_nonce, sizeof transcript.dialer_nonce, 50);
    fill(transcript.acceptor_nonce, sizeof transcript.acceptor_nonce, 150);
    return transcript;
}

/* The bytes are an agreement between releases; made by Python's hmac module. */
static void test_golden_proof(void **state)
{
    (void)state;
    static const uint8_t golden[2][PEER_PROOF_BYTES] = {
        {0xa1, 0xb3, 0x4b, 0x5d, 0x34, 0x97, 0xd1, 0x08, 0x62, 0x9a, 0x18,
         0x27, 0x01, 0xdc, 0x6a, 0xca, 0x20, 0x65, 0x55, 0x2c, 0x4c, 0x66,
         0x67, 0x05, 0xeb, 0xf9, 0x8a, 0x0c, 0x25, 0x1c, 0x84, 0x02},
        {0x79, 0x75, 0x50, 0x5e, 0x2d, 0x51, 0xf6, 0x45, 0xea, 0x92, 0xd4,
         0x9d, 0xaf, 0x86, 0x5a, 0x11, 0x12, 0x09, 0xe2, 0xd1, 0x73, 0x27,
         0x55, 0xa5, 0x1d, 0xaf, 0xbf, 0x2f, 0x4c, 0x94, 0xb4, 0x48}};
    uint8_t secret[CLUSTER_SECRET_BYTES], proof[PEER_PROOF_BYTES];
    struct peer_transcript transcript = transcript_of();

    fill(secret, sizeof secret, 200);
    peer_prove(secret, PEER_DIALER, &transcript, proof);
    assert_memory_equal(proof, golden[0], sizeof proof);
    peer_prove(secret, PEER_ACCEPTOR, &transcript, proof);
    assert_memory_equal(proof, golden[1], sizeof proof);
}

/* Another secret, side, cluster, node, life or nonce, and any changed bit of the proof: it is not right. */
static void test_wrong_proofs(void **state)
{
    (void)state;
    uint8_t secret[CLUSTER_SECRET_BYTES], proof[PEER_PROOF_BYTES];
    const struct peer_transcript right = transcript_of();

    fill(secret, sizeof secret, 7);
    peer_prove(secret, PEER_DIALER, &right, proof);
    assert_true(peer_proof_is_right(secret, PEER_DIALER, &right, proof));
    assert_false(peer_proof_is_right(secret, PEER_ACCEPTOR, &right, proof));
    for (size_t bit = 0; bit < 8 * sizeof right; bit++) {
        struct peer_transcript wrong = right;
        ((uint8_t *)&wrong)[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(peer_proof_is_right(secret, PEER_DIALER, &wrong, proof));
    }
    for (size_t bit = 0; bit < 8 * sizeof secret; bit++) {
        secret[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(peer_proof_is_right(secret, PEER_DIALER, &right, proof));
        secret[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * sizeof proof; bit++) {
        proof[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(peer_proof_is_right(secret, PEER_DIALER, &right, proof));
        proof[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(peer_proof_is_right(secret, PEER_DIALER, &right, proof));
}

/* ---- Tokens ---- */

static struct join_token token_of(uint32_t addresses, size_t size)
{
    struct join_token token = {.address_count = addresses};

    fill(token.cluster, sizeof token.cluster, 1);
    fill(token.secret, sizeof token.secret, 100);
    for (uint32_t i = 0; i < addresses; i++) {
        memset(token.addresses[i], 'a' + (int)i, size);
    }
    return token;
}

static void check_same(const struct join_token *a, const struct join_token *b)
{
    assert_memory_equal(a->cluster, b->cluster, sizeof a->cluster);
    assert_memory_equal(a->secret, b->secret, sizeof a->secret);
    assert_int_equal(a->address_count, b->address_count);
    for (uint32_t i = 0; i < a->address_count; i++) {
        assert_string_equal(a->addresses[i], b->addresses[i]);
    }
}

static void test_golden_token(void **state)
{
    (void)state;
    static const char golden[] = GOLDEN_TOKEN;
    struct join_token token = {.address_count = 2}, read;
    char written[JOIN_TOKEN_BYTES_MAX];

    fill(token.cluster, sizeof token.cluster, 1);
    fill(token.secret, sizeof token.secret, 100);
    strcpy(token.addresses[0], "10.0.0.1:7402");
    strcpy(token.addresses[1], "[::1]:7412");
    join_token_put(&token, written);
    assert_string_equal(written, golden);
    assert_null(join_token_read(text(golden), &read));
    check_same(&token, &read);
    assert_null(join_token_read(text(" \t" GOLDEN_TOKEN "\r\n"), &read));
}

static void test_all_sizes(void **state)
{
    (void)state;
    char written[JOIN_TOKEN_BYTES_MAX];
    struct join_token read;

    for (uint32_t addresses = 1; addresses <= JOIN_ADDRESSES_MAX; addresses++) {
        for (size_t size = 1; size <= JOIN_ADDRESS_BYTES_MAX; size += size < 9 ? 1 : 41) {
            struct join_token token = token_of(addresses, size);
            join_token_put(&token, written);
            assert_null(strchr(written, '='));
            assert_null(join_token_read(text(written), &read));
            check_same(&token, &read);
        }
    }
}

static bool says(const char *problem, const char *words)
{
    return problem != NULL && strstr(problem, words) != NULL;
}

static void test_bad_tokens(void **state)
{
    (void)state;
    static const char good[] = GOLDEN_TOKEN;
    struct join_token read;
    char bad[sizeof good + 1];

    assert_true(says(join_token_read(text(""), &read), "no join token"));
    assert_true(says(join_token_read(text("127.0.0.1:7402"), &read), "no join token"));
    assert_true(says(join_token_read(text("belay-join-2.AAAA"), &read), "another release"));
    for (size_t size = sizeof "belay-join-1." - 1; size < sizeof good - 1; size++) {
        assert_true(says(join_token_read(bytes_of(good, size), &read), "cut"));
    }
    for (size_t i = sizeof "belay-join-1." - 1; i < sizeof good - 1; i++) {
        strcpy(bad, good);
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        const char *problem = join_token_read(text(bad), &read);
        /* The last letter has bits that mean nothing. */
        assert_true(says(problem, "cut") || (i + 2 == sizeof good && problem == NULL));
        bad[i] = '*';
        assert_true(says(join_token_read(text(bad), &read), "cut"));
    }
    strcpy(bad, good);
    strcat(bad, "A");
    assert_true(says(join_token_read(text(bad), &read), "cut"));
}

/* Bytes of any kind, with a right checksum and without. */
static void test_random_tokens(void **state)
{
    (void)state;
    enum { ROUNDS = 20000 };
    static const char letters[] = "ABCabc019-_=. ";
    char bytes[200] = "belay-join-1.";
    uint64_t random = 4;

    for (int round = 0; round < ROUNDS; round++) {
        size_t size = 13 + random_below(&random, sizeof bytes - 13);
        struct join_token read;
        for (size_t i = 13; i < size; i++) {
            bytes[i] = random_below(&random, 20) == 0
                           ? (char)random_next(&random)
                           : letters[random_below(&random, sizeof letters - 1)];
        }
        assert_non_null(join_token_read(bytes_of(bytes, size), &read));
    }
    char *large = malloc(100000);
    struct join_token read;
    assert_non_null(large);
    memset(large, 'A', 100000);
    memcpy(large, "belay-join-1.", 13);
    assert_true(says(join_token_read(bytes_of(large, 100000), &read), "cut"));
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_proof), cmocka_unit_test(test_wrong_proofs),
        cmocka_unit_test(test_golden_token), cmocka_unit_test(test_all_sizes),
        cmocka_unit_test(test_bad_tokens),   cmocka_unit_test(test_random_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
