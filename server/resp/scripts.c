#include "scripts.h"

#include <nettle/sha1.h>
#include <string.h>

#include "aspnet.h"
#include "run.h"

/* ---- What they do ---- */

static const struct bytes whole; /* The name of a blob's only field: empty. */

/* Is the key a string that is the next argument? */
static enum status holds(struct run *run, bool *same)
{
    struct bytes token = run_next(run);
    struct session_field field;
    struct session_view *view;

    enum status status = run_view(run, SESSION_BLOB, &view);
    *same = status == STATUS_OK && view != NULL && session_find(view, whole, &field) &&
            bytes_equal(field.value, token);
    return status;
}

/* Let go of the lock: under `no_resurrect`, too, the next one takes it at once. */
static enum status let_go(struct run *run)
{
    run->turn->frees = true;
    enum status status = run_destroy(run);
    run->turn->frees = false;
    return status;
}

static enum status release(struct turn *turn)
{
    struct run run;
    bool same;

    run_begin(&run, turn);
    enum status status = holds(&run, &same);
    if (status == STATUS_OK && same) {
        status = let_go(&run);
    }
    return status != STATUS_OK ? status : run_number(&run, same);
}

/* The lock lives for so long from now; 0 or less ends it. */
static enum status set_left(struct run *run, int64_t ms)
{
    uint64_t deadline_ms;

    if (run_deadline(run, ms, false, false, &deadline_ms) != 0) {
        return run_bad_expire(run);
    }
    if (deadline_ms <= run->turn->now_ms) {
        enum status ended = let_go(run);
        return ended != STATUS_OK ? ended : run_number(run, 1);
    }
    run_change_begin(run);
    int rc = run_change_absolute(run, deadline_ms);
    enum status status = run_write(run, rc, WRITE_UPDATE, SESSION_NONE, NULL);
    return status != STATUS_OK ? status : run_number(run, 1);
}

static enum status refresh_by(struct turn *turn, int64_t unit_ms)
{
    int64_t number;
    struct run run;
    bool same;

    run_begin(&run, turn);
    enum status status = holds(&run, &same);
    if (status != STATUS_OK || !same) {
        return status != STATUS_OK ? status : run_number(&run, 0);
    }
    if (!run_integer(&run, &number) || __builtin_mul_overflow(number, unit_ms, &number)) {
        return run_error(&run, run_not_integer);
    }
    return set_left(&run, number);
}

static enum status refresh(struct turn *turn)
{
    return refresh_by(turn, 1000);
}

static enum status refresh_ms(struct turn *turn)
{
    return refresh_by(turn, 1);
}

/* To what is left, or in its place where a third argument other than "0" says so. Without a deadline there is nothing to
 * extend. */
static enum status extend(struct turn *turn)
{
    int64_t number;
    struct run run;
    bool same;

    run_begin(&run, turn);
    enum status status = holds(&run, &same);
    if (status != STATUS_OK) {
        return status;
    }
    const struct session_view *view = turn_view(turn);
    if (!same || view->deadline_ms == 0) {
        return run_number(&run, 0);
    }
    int64_t left_ms = (int64_t)(view->deadline_ms - turn->now_ms);
    if (!run_integer(&run, &number)) {
        return run_error(&run, run_not_integer);
    }
    bool replace = run.rest.count > 0 && !run_is(run_next(&run), "0");
    if (!replace && __builtin_add_overflow(number, left_ms, &number)) {
        return run_error(&run, run_not_integer);
    }
    return set_left(&run, number);
}

static enum status add(struct turn *turn)
{
    uint64_t deadline_ms;
    int64_t seconds;
    struct run run;

    run_begin(&run, turn);
    struct bytes value = run_next(&run);
    if (turn_view(turn) != NULL) {
        return run_end(resp_null(&run.out)); /* Lua's false. */
    }
    if (!run_integer(&run, &seconds)) {
        return run_error(&run, run_not_integer);
    }
    if (seconds <= 0 || run_deadline(&run, seconds, true, false, &deadline_ms) != 0) {
        return run_error(&run, "ERR invalid expire time in 'setex' command");
    }
    run_change_begin(&run);
    int rc = run_change_set(&run, whole, value);
    rc = rc != 0 ? rc : run_change_absolute(&run, deadline_ms);
    enum status status = run_write(&run, rc, WRITE_UPSERT, SESSION_BLOB, NULL);
    if (status == STATUS_DESTROYED) {
        return run_end(resp_null(&run.out));
    }
    return status != STATUS_OK ? status : run_ok(&run);
}

/* absolute, sliding, seconds to live (-1: none), data: all in one write. */
static enum status cache_set(struct turn *turn)
{
    struct run run;
    uint64_t deadline_ms;
    int64_t seconds;

    run_begin(&run, turn);
    struct bytes absolute = run_next(&run), sliding = run_next(&run);
    if (!run_integer(&run, &seconds)) {
        return run_error(&run, run_not_integer);
    }
    struct bytes data = run_next(&run);
    run_change_begin(&run);
    int rc = run_change_set(&run, bytes_of_string("absexp"), absolute);
    rc = rc != 0 ? rc : run_change_set(&run, bytes_of_string("sldexp"), sliding);
    rc = rc != 0 ? rc : run_change_set(&run, bytes_of_string("data"), data);
    if (rc == 0 && seconds != -1) {
        if (run_deadline(&run, seconds, true, false, &deadline_ms) != 0) {
            return run_bad_expire(&run);
        }
        bool past = deadline_ms <= turn->now_ms;
        rc = run_change_absolute(&run, past ? turn->now_ms + 1 : deadline_ms);
    }
    enum status status = run_write(&run, rc, WRITE_UPSERT, SESSION_MAP, NULL);
    return status != STATUS_OK && status != STATUS_DESTROYED ? status : run_number(&run, 1);
}

/* ---- Which they are ---- */

/* The SHA1 of the text without blanks, every quote a double one; and of the text as it is sent. */
static const struct {
    const char *bare, *sent;
    struct command command;
} scripts[] = {
#define ROW(bare_, sent_, flags_, arity_, keys_, run_, summary_)                                   \
    {                                                                                              \
        .bare = (bare_), .sent = (sent_),                                                          \
        .command = {.name = "eval",                                                                \
                    .arity = (arity_),                                                             \
                    .flags = (flags_),                                                             \
                    .first_key = 1,                                                                \
                    .last_key = (keys_),                                                           \
                    .key_step = 1,                                                                 \
                    .procedure = {.name = "eval", .run = (run_), .many = (keys_) > 1},             \
                    .summary = (summary_)},                                                        \
    }
#define SCRIPT(bare_, sent_, flags_, arity_, run_, summary_)                                       \
    ROW(bare_, sent_, flags_, arity_, 1, run_, summary_)
    SCRIPT("8495ec8158ab82a537af96feaa2f098671909b2f", "b70c2384248f88e6b75b9f89241a180f856ad852",
           COMMAND_WRITE, 3, release, "phpredis and Laravel: release a lock"),
    SCRIPT("8495ec8158ab82a537af96feaa2f098671909b2f", "647c65a442733a1aa440f99908d249d13b4d6c4a",
           COMMAND_WRITE, 3, release, "Laravel: release a lock"),
    SCRIPT("d214d855453090fb73077dd608bef0fdf06d89f0", "c3f8721cbb97f72bc19e972846bd7aaf91901658",
           COMMAND_WRITE, 3, release, "redis-py: release a lock"),
    SCRIPT("5e11d5331a0a25edd1be9eaffb26d335e0b094df", "57486f22cb7668ecfab9f6e275419892fa3c4018",
           COMMAND_WRITE, 4, refresh, "Laravel: refresh a lock"),
    SCRIPT("69c83c2c72f194f785721733b61d8e231462a0f3", "36e94d1c6e02fcefaa7ee5d79eee614dbac55f10",
           COMMAND_WRITE, 4, refresh_ms, "refresh a lock, in milliseconds"),
    SCRIPT("409f8ac7e94a48cdbc580ae97a2fef60def449e3", "1cac51482acf5858da00f6d685d68f886cd6b6b2",
           COMMAND_WRITE, 4, refresh_ms, "redis-py: reacquire a lock"),
    SCRIPT("e2fec663793074635604e47026e7592ce9835275", "a4e8783852e6b949f9ef3a97212805108459a890",
           COMMAND_WRITE, 5, extend, "redis-py: extend a lock"),
    SCRIPT("6a0befef95abadcfea583ec472aeb3b99f8a0241", "4a484ac024e9b025224cd9f8e1d59dbf3c15d00d",
           COMMAND_WRITE, 4, extend, "redis-py before 3.5: extend a lock"),
    SCRIPT("264894e168da93ebf21cde32919542c166ffd164", "a08c9c69b7c07ae2485190873b90d128a23e502d",
           COMMAND_WRITE | COMMAND_MAKES, 4, add, "Laravel: add to a cache"),
    SCRIPT("123128e9ff2ee26f6999b99615c6ec437c3b900e", "1e31507ae86ff56f4c3bacc5a47e742c07b64b92",
           COMMAND_READ, -3, command_hmget, "ASP.NET Core before 8: read"),
    SCRIPT("21a443fc89c344e6af9548a94d86f3e96d8381db", "b14fa8fde189a972b3b909bbd786b08a01b7c8c3",
           COMMAND_WRITE | COMMAND_MAKES, 6, cache_set, "ASP.NET Core before 8: write"),
    SCRIPT("d4a7bf8759427207d64ee3a49d1d1714854a99c4", "0a6a7d936995018b4c2949664ae9abf6290c7f5e",
           COMMAND_WRITE | COMMAND_MAKES, 6, cache_set, "ASP.NET Core before 8: write"),
    ROW("2f622050134ae00b7f9b7afff33d9d15b525d3f5", "0751d60ba929d4551b91997492bb48f348a3e78a",
        COMMAND_WRITE | COMMAND_MAKES, 4, 2, aspnet_update, "ASP.NET: slide"),
    ROW("633a3228ea8d0365e0a99d21367273a0a221e2cf", "00094302566b2aece96aa04a24b6a624387101ec",
        COMMAND_WRITE | COMMAND_MAKES, 5, 2, aspnet_set, "ASP.NET: write"),
    ROW("b985257e571b85502d01402373146445fdc23a22", "4f34ee9f230f1a4a9b3cb32265fd96b3eca4dbf5",
        COMMAND_WRITE | COMMAND_MAKES, 6, 3, aspnet_lock, "ASP.NET: lock and read"),
    ROW("27464ce69e2b7810791dc31e9fe4aaeaf96e733d", "f8afe338df77b5b403cfc2a351f9d6e77ef87db5",
        COMMAND_WRITE, 4, 3, aspnet_read, "ASP.NET: read"),
    ROW("675cc4f587261a9a98b924057235304b5ead65d6", "3f9b318afbdeb8d061954175123f2246023cdaa7",
        COMMAND_WRITE, 6, 3, aspnet_release, "ASP.NET: release the lock"),
    ROW("817644c6d83e5081fba6acdac8e94093138939eb", "d2093199417a6ff38b2f32cfadc2b804c072097d",
        COMMAND_WRITE, 5, 3, aspnet_remove, "ASP.NET: end the session"),
    ROW("c7c7535aad7db10d4c651c655d5265a013c1b1ee", "eb8252faa2833ab7d3e2834a80f8c7e4441e5ede",
        COMMAND_WRITE | COMMAND_MAKES, -12, 3, aspnet_save, "ASP.NET: write and release the lock"),
    ROW("0e284fce63620edbb6d227ee8c851883c39cf8f9", "c0eafb7d981222134d32ef822d59ba2ade448043",
        COMMAND_WRITE | COMMAND_MAKES, 4, 2, aspnet_hash_update, "ASP.NET before 5: slide"),
    ROW("608af575c656315202bc238f0268613e4e1e6376", "7f7002a0915dbc3f74303e9810c4c0be1ec6a683",
        COMMAND_WRITE | COMMAND_MAKES, -7, 2, aspnet_hash_set, "ASP.NET before 5: write"),
    ROW("5e994dcb9d386282b8e03a1ffea95b353639b0ef", "9eb92f97390d1038967b0a052e6ab648f9437f71",
        COMMAND_WRITE | COMMAND_MAKES, 6, 3, aspnet_hash_lock, "ASP.NET before 5: lock and read"),
    ROW("cda5a77378435dc9546e31d0cdbed2ccd967c139", "59fc0fd86d8ec28a3f605cb520cb519ad94ccf42",
        COMMAND_WRITE, 4, 3, aspnet_hash_read, "ASP.NET before 5: read"),
    ROW("34c51b7940af3102381e62cd1b5dd4837cad6d5f", "022d1684a8c557566cca6d4a979edcd685343ef3",
        COMMAND_WRITE, 6, 3, aspnet_hash_release, "ASP.NET before 5: release the lock"),
    ROW("6e82c21f11cc5a262bd3e48b514d80d4ab5ca323", "c090a118e411f90cddcd333d92284a08895d3895",
        COMMAND_WRITE, 5, 3, aspnet_hash_remove, "ASP.NET before 5: end the session"),
    ROW("511b1c13538bce26a9f78643bdfc1992f5c861c6", "d9a0f19f761ac28613d3229ff2149a77fd01c080",
        COMMAND_WRITE | COMMAND_MAKES, -12, 3, aspnet_hash_save,
        "ASP.NET before 5: write and release the lock"),
#undef SCRIPT
#undef ROW
};

enum { COUNT = sizeof scripts / sizeof scripts[0] };

static void finish(struct sha1_ctx *context, char sha1[SCRIPT_SHA1_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA1_DIGEST_SIZE];

    sha1_digest(context, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        sha1[2 * i] = digits[digest[i] >> 4];
        sha1[2 * i + 1] = digits[digest[i] & 15];
    }
    sha1[SCRIPT_SHA1_BYTES] = '\0';
}

void script_sha1(struct bytes text, char sha1[SCRIPT_SHA1_BYTES + 1])
{
    struct sha1_ctx context;

    sha1_init(&context);
    sha1_update(&context, text.size, text.data);
    finish(&context, sha1);
}

const struct command *script_of_text(struct bytes text)
{
    char sha1[SCRIPT_SHA1_BYTES + 1];
    struct sha1_ctx context;

    sha1_init(&context);
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i] == '\'' ? '"' : text.data[i];
        if (byte != ' ' && (byte < '\t' || byte > '\r')) {
            sha1_update(&context, 1, &byte);
        }
    }
    finish(&context, sha1);
    for (size_t i = 0; i < COUNT; i++) {
        if (strcmp(scripts[i].bare, sha1) == 0) {
            return &scripts[i].command;
        }
    }
    return NULL;
}

const struct command *script_of_sha1(struct bytes sha1)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (run_is(sha1, scripts[i].sent)) {
            return &scripts[i].command;
        }
    }
    return NULL;
}

const struct command *script_of(const struct procedure *procedure)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (&scripts[i].command.procedure == procedure) {
            return &scripts[i].command;
        }
    }
    return NULL;
}

const char *script_sent(const struct command *command)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (&scripts[i].command == command) {
            return scripts[i].sent;
        }
    }
    return NULL;
}
