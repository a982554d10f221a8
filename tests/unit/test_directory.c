/* The data directory: lives and actors, locks, strangers, damage; another number of shards; dumps. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "convert.h"
#include "crc32c.h"
#include "directory.h"
#include "dump.h"
#include "store_kit.h"

static char base[300];
static char message[512];
static struct store_kit kit; /* For its reporter, memory and faulty files only. */

static int setup(void **state)
{
    (void)state;
    store_kit_init(&kit, 2000, 64 * 1024);
    snprintf(base, sizeof base, "%s/data", kit.directory);
    message[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (access(base, F_OK) == 0) {
        assert_int_equal(files_remove_tree(files_system(), base), 0);
    }
    store_kit_fini(&kit);
    return 0;
}

/* ---- A cluster that takes in ---- */

static const struct directory_identity seventh = {
    .cluster = "our cluster's id",
    .secret = "a secret of thirty-two bytes ...",
    .seed = UINT64_C(0x0123456789abcdef),
    .node = 7,
};
static int enter_error;
static uint32_t entered;

static int enter(void *context, struct directory_identity *identity, char *text, size_t text_size)
{
    (void)context;
    entered++;
    if (enter_error != 0) {
        snprintf(text, text_size, "nobody answers");
        return enter_error;
    }
    *identity = seventh;
    identity->beginning.memory = &kit.memory.memory;
    return buffer_append(&identity->beginning, bytes_of_string("the map of today"));
}

static const struct directory_entrance entrance = {.cluster = seventh.cluster, .enter = enter};

static int open_directory(struct directory *directory, uint32_t shards)
{
    return directory_open(directory, &kit.files.files, base, shards, &entrance, message,
                          sizeof message);
}

static void path_in(char path[PATH_BYTES_MAX], const char *name)
{
    assert_int_equal(path_join(path, base, name), 0);
}

/* ---- Lives ---- */

static void test_starts_are_counted(void **state)
{
    struct directory directory;

    (void)state;
    assert_int_equal(open_directory(&directory, 2), 0);
    assert_true(directory.created);
    assert_int_equal(directory.meta.actor.node, 7);
    assert_int_equal(directory.meta.actor.start, 1);
    assert_int_equal(directory.meta.run, 1);
    assert_int_equal(directory.meta.shards, 2);
    uint64_t seed = directory.meta.seed;
    directory_close(&directory);

    assert_int_equal(open_directory(&directory, 2), 0); /* After a crash. */
    assert_false(directory.created || directory.copied);
    assert_int_equal(directory.meta.actor.start, 2);
    assert_int_equal(directory.meta.seed, seed);
    assert_int_equal(directory_stop(&directory, 12345), 0);
    directory_close(&directory);

    assert_int_equal(open_directory(&directory, 2), 0); /* After a clean stop: the same actor. */
    assert_int_equal(directory.meta.actor.start, 2);
    assert_int_equal(directory.meta.run, 3); /* But another run. */
    assert_int_equal(directory.meta.clean_hlc, 12345);
    directory_close(&directory);

    assert_int_equal(open_directory(&directory, 2), 0); /* That one crashed again. */
    assert_int_equal(directory.meta.actor.start, 3);
    directory_close(&directory);
}

static void test_second_user_is_refused(void **state)
{
    struct directory directory, second;
    char pid[32];

    (void)state;
    assert_int_equal(open_directory(&directory, 1), 0);
    assert_int_equal(open_directory(&second, 1), -EBUSY);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(message, pid));
    assert_non_null(strstr(message, base));
    directory_close(&directory);
    assert_int_equal(open_directory(&second, 1), 0);
    assert_int_equal(second.meta.actor.start, 2); /* The refused one was no life. */
    directory_close(&second);
}

static void test_copy_is_another_actor(void **state)
{
    struct directory directory;
    char lock[PATH_BYTES_MAX], copy[PATH_BYTES_MAX];

    (void)state;
    assert_int_equal(open_directory(&directory, 1), 0);
    uint64_t id = directory.meta.id;
    assert_int_equal(directory_stop(&directory, 1), 0);
    directory_close(&directory);
    path_in(lock, "LOCK");
    path_in(copy, "LOCK.copy");
    FILE *file = fopen(copy, "w"); /* What a copy does: the same bytes in another inode. */
    assert_non_null(file);
    fclose(file);
    assert_int_equal(rename(copy, lock), 0);
    assert_int_equal(open_directory(&directory, 1), 0);
    assert_true(directory.copied);
    assert_true(directory.meta.actor.start > 1);
    assert_true(directory.meta.id != id);
    directory_close(&directory);
}

/* ---- Whose it is ---- */

static int open_alone(struct directory *directory)
{
    return directory_open(directory, &kit.files.files, base, 1, NULL, message, sizeof message);
}

static void assert_private(const char *name)
{
    char path[PATH_BYTES_MAX];
    struct stat status;

    path_in(path, name);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void put_file(const char *name, const char *content);

/* Each directory on its own is another cluster, for as long as it is there. */
static void test_alone_is_a_cluster(void **state)
{
    struct directory directory;
    struct directory_meta metas[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(open_alone(&directory), 0);
        assert_int_equal(directory.meta.actor.node, 1);
        metas[i] = directory.meta;
        directory_close(&directory);
        assert_private("META");
        assert_int_equal(open_alone(&directory), 0);
        assert_memory_equal(directory.meta.cluster, metas[i].cluster, CLUSTER_ID_BYTES);
        assert_memory_equal(directory.meta.secret, metas[i].secret, CLUSTER_SECRET_BYTES);
        directory_close(&directory);
        assert_int_equal(files_remove_tree(files_system(), base), 0);
    }
    assert_memory_not_equal(metas[0].cluster, metas[1].cluster, CLUSTER_ID_BYTES);
    assert_memory_not_equal(metas[0].secret, metas[1].secret, CLUSTER_SECRET_BYTES);
    assert_true(metas[0].seed != metas[1].seed);
}

static void test_entering(void **state)
{
    struct directory directory;
    char path[PATH_BYTES_MAX];

    (void)state;
    entered = 0;
    enter_error = -ETIMEDOUT;
    path_in(path, "META");
    assert_int_equal(open_directory(&directory, 2), -ETIMEDOUT);
    assert_string_equal(message, "nobody answers");
    assert_int_not_equal(access(path, F_OK), 0);
    enter_error = 0;
    assert_int_equal(open_directory(&directory, 2), 0);
    assert_int_equal(entered, 2);
    assert_memory_equal(directory.meta.cluster, seventh.cluster, CLUSTER_ID_BYTES);
    assert_memory_equal(directory.meta.secret, seventh.secret, CLUSTER_SECRET_BYTES);
    assert_true(directory.meta.seed == seventh.seed);
    assert_int_equal(directory.meta.actor.node, 7);
    directory_close(&directory);
    assert_int_equal(open_directory(&directory, 2), 0); /* It is in already. */
    assert_int_equal(entered, 2);
    directory_close(&directory);
    assert_int_equal(open_alone(&directory), 0); /* And stays so without being asked. */
    assert_int_equal(directory.meta.actor.node, 7);
    directory_close(&directory);
}

/* Where nothing can be kept nobody is asked: who is let in is a member from then on, whatever becomes of it. */
static void test_not_entering_without_room(void **state)
{
    struct directory directory;
    struct rlimit before, little;

    (void)state;
    entered = 0;
    enter_error = 0;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    little = before;
    little.rlim_cur = 8192;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    int rc = open_directory(&directory, 2);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, -EFBIG);
    assert_non_null(strstr(message, "cannot keep anything there"));
    assert_int_equal(entered, 0);
    assert_int_equal(open_directory(&directory, 2), 0);
    assert_int_equal(entered, 1);
    directory_close(&directory);
}

/* What a new member begins with is there until it has begun, through whatever goes wrong. */
static void test_beginning(void **state)
{
    struct directory directory;
    struct buffer got = {.memory = &kit.memory.memory};
    char path[PATH_BYTES_MAX];

    (void)state;
    assert_int_equal(open_alone(&directory), 0);
    assert_int_equal(directory_beginning(&directory, &got), 0);
    assert_int_equal(got.size, 0);
    assert_int_equal(directory_begun(&directory), 0);
    directory_close(&directory);
    assert_int_equal(open_alone(&directory), 0);
    assert_true(directory.meta.begun);
    directory_close(&directory);
    assert_int_equal(files_remove_tree(files_system(), base), 0);

    path_in(path, "JOINED");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(open_directory(&directory, 1), 0);
        got.size = 0;
        assert_int_equal(directory_beginning(&directory, &got), 0);
        assert_true(bytes_equal(buffer_bytes(&got), bytes_of_string("the map of today")));
        assert_private("JOINED");
        directory_close(&directory);
    }
    assert_int_equal(open_directory(&directory, 1), 0);
    put_file("JOINED", "the map of toda\001\002\003\004");
    assert_int_equal(directory_beginning(&directory, &got), -EBADMSG);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(directory_beginning(&directory, &got), -ENOENT);
    assert_int_equal(directory_begun(&directory), 0);
    assert_int_equal(directory_beginning(&directory, &got), 0);
    assert_int_equal(got.size, 16);
    directory_close(&directory);
    assert_int_not_equal(access(path, F_OK), 0);
    buffer_fini(&got);

    assert_int_equal(files_remove_tree(files_system(), base), 0);
    assert_int_equal(files_system()->make_directory(files_system(), base), 0);
    put_file("JOINED", "of a first start that was cut short");
    assert_int_equal(open_alone(&directory), 0);
    assert_int_not_equal(access(path, F_OK), 0);
    directory_close(&directory);
}

/* Not into a directory with sessions, not into that of another cluster: and nothing of either changes. */
static void test_not_entering(void **state)
{
    struct directory directory;
    uint8_t cluster[CLUSTER_ID_BYTES];

    (void)state;
    entered = 0;
    assert_int_equal(open_alone(&directory), 0);
    uint32_t start = directory.meta.actor.start;
    memcpy(cluster, directory.meta.cluster, sizeof cluster);
    directory_close(&directory);
    assert_int_equal(open_directory(&directory, 1), -EEXIST);
    assert_non_null(strstr(message, "another cluster"));
    assert_non_null(strstr(message, base));
    assert_int_equal(open_alone(&directory), 0);
    assert_int_equal(directory.meta.actor.start, start + 1);
    assert_memory_equal(directory.meta.cluster, cluster, sizeof cluster);
    directory_close(&directory);
    assert_int_equal(files_remove_tree(files_system(), base), 0);
    assert_int_equal(files_system()->make_directory(files_system(), base), 0);
    put_file("thesis.tex", "all my work");
    assert_int_equal(open_directory(&directory, 1), -ENOTEMPTY);
    assert_int_equal(entered, 0);
}

/* One that an older release made: as it was, it is read, and the next start gives it a cluster. */
static void test_version_1(void **state)
{
    static const char old[] = "belay-data 1\nid 00000000000000aa\nseed 00000000000000bb\nnode 1\n"
                              "start 4\nrun 5\nshards 1\ngeneration 1\nclean 1\n"
                              "clean-hlc 77\ninode 1\n";
    struct directory directory;
    char content[512], path[PATH_BYTES_MAX];

    (void)state;
    assert_int_equal(open_alone(&directory), 0);
    directory_close(&directory);
    snprintf(content, sizeof content, "%scrc %08x\n", old, crc32c(0, bytes_of_string(old)));
    put_file("META", content);
    path_in(path, "META");
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(directory_inspect(&directory, files_system(), base, message, sizeof message),
                     0);
    assert_int_equal(directory.meta.seed, 0xbb);
    directory_close(&directory);
    put_file("META.tmp", ""); /* An old start that was cut short left it readable. */
    path_in(path, "META.tmp");
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(open_alone(&directory), 0);
    uint8_t cluster[CLUSTER_ID_BYTES] = {0};
    assert_memory_not_equal(directory.meta.cluster, cluster, sizeof cluster);
    memcpy(cluster, directory.meta.cluster, sizeof cluster);
    assert_int_equal(directory.meta.seed, 0xbb);
    assert_int_equal(directory.meta.run > 5 && directory.meta.actor.start > 4, 1);
    directory_close(&directory);
    assert_private("META");
    assert_int_equal(open_alone(&directory), 0);
    assert_memory_equal(directory.meta.cluster, cluster, sizeof cluster);
    directory_close(&directory);
}

/* ---- What is refused ---- */

static void put_file(const char *name, const char *content)
{
    char path[PATH_BYTES_MAX];

    path_in(path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static void test_strangers(void **state)
{
    struct directory directory;

    (void)state;
    assert_int_equal(files_system()->make_directory(files_system(), base), 0);
    put_file("thesis.tex", "all my work");
    assert_int_equal(open_directory(&directory, 1), -ENOTEMPTY);
    assert_non_null(strstr(message, "thesis.tex"));
    assert_int_equal(
        directory_inspect(&directory, files_system(), "/nonexistent", message, sizeof message),
        -ENOENT);
}

/* What META speaks of and is not there is named; nothing is made in its place, and no start is counted. */
static void test_missing_parts(void **state)
{
    static const char *const parts[] = {"gen-1/shard-1", "gen-1"};
    struct directory directory;
    char path[PATH_BYTES_MAX], away[PATH_BYTES_MAX];

    (void)state;
    assert_int_equal(open_directory(&directory, 2), 0);
    directory_close(&directory);
    path_in(away, "away");
    for (int i = 0; i < 2; i++) {
        path_in(path, parts[i]);
        assert_int_equal(rename(path, away), 0);
        assert_int_equal(open_directory(&directory, 2), -ENOENT);
        assert_non_null(strstr(message, path));
        assert_non_null(strstr(message, "is missing"));
        assert_int_not_equal(access(path, F_OK), 0);
        put_file(parts[i], "a file");
        assert_int_equal(open_directory(&directory, 2), -ENOTDIR);
        assert_non_null(strstr(message, path));
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rename(away, path), 0);
        assert_int_equal(open_directory(&directory, 2), 0);
        assert_int_equal(directory.meta.actor.start, (uint32_t)i + 2);
        directory_close(&directory);
    }
}

/* A first start that was cut short before META goes on; without META nothing that is there is touched. */
static void test_missing_meta(void **state)
{
    struct directory directory;
    char path[PATH_BYTES_MAX];

    (void)state;
    assert_int_equal(open_directory(&directory, 2), 0);
    directory_close(&directory);
    path_in(path, "META");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_directory(&directory, 3), 0);
    assert_true(directory.created);
    directory_close(&directory);
    assert_int_equal(unlink(path), 0);
    put_file("gen-1/shard-2/staging", "sessions");
    assert_int_equal(open_directory(&directory, 3), -ENOTEMPTY);
    assert_non_null(strstr(message, "META is missing"));
    assert_null(strstr(message, "remove"));
}

static void test_meta(void **state)
{
    struct directory directory;
    char path[PATH_BYTES_MAX], content[1024];

    (void)state;
    assert_int_equal(open_directory(&directory, 1), 0);
    directory_close(&directory);
    path_in(path, "META");
    int fd = open(path, O_RDWR);
    ssize_t size = pread(fd, content, sizeof content - 1, 0);
    assert_true(size > 100);
    for (ssize_t i = 0; i < size; i++) {
        content[i] ^= 4;
        assert_int_equal(pwrite(fd, content, (size_t)size, 0), size);
        int rc = directory_inspect(&directory, files_system(), base, message, sizeof message);
        assert_true(rc == -EBADMSG || rc == -EPROTONOSUPPORT);
        assert_int_equal(open_directory(&directory, 1), rc);
        content[i] ^= 4;
    }
    assert_int_equal(pwrite(fd, content, (size_t)size, 0), size);
    assert_int_equal(ftruncate(fd, size / 2), 0);
    assert_int_equal(open_directory(&directory, 1), -EBADMSG);
    assert_non_null(strstr(message, "damaged"));
    close(fd);
    put_file("META", "belay-data 99\nwho knows\n");
    assert_int_equal(open_directory(&directory, 1), -EPROTONOSUPPORT);
    assert_non_null(strstr(message, "later version of Belay"));
}

/* The numbers of starts end somewhere: above them a start would be taken for another era of an old one. */
static void test_last_start(void **state)
{
    static const char last[] = "belay-data 1\nid 00000000000000aa\nseed 00000000000000bb\nnode 1\n"
                               "start 67108863\nrun 5\nshards 1\ngeneration 1\nclean 0\n"
                               "clean-hlc 77\ninode 1\n";
    struct directory directory;
    char content[512];

    (void)state;
    assert_int_equal(open_alone(&directory), 0);
    directory_close(&directory);
    snprintf(content, sizeof content, "%scrc %08x\n", last, crc32c(0, bytes_of_string(last)));
    put_file("META", content);
    for (int i = 0; i < 2; i++) { /* It stays as it is. */
        assert_int_equal(open_alone(&directory), -EOVERFLOW);
        assert_non_null(strstr(message, "no number is left for one start more"));
    }
}

/* The n-th operation fails; the directory opens all the same the next time, and no start number comes
 * twice. */
static void test_faults(void **state)
{
    struct directory directory;
    uint32_t last_start = 0;

    (void)state;
    for (uint64_t n = 1;; n++) {
        kit.files.operations = 0;
        kit.files.fail_at = n;
        int rc = open_directory(&directory, 2);
        if (rc == 0) {
            assert_true(directory.meta.actor.start > last_start);
            last_start = directory.meta.actor.start;
            directory_close(&directory);
        }
        bool reached = kit.files.operations >= n;
        kit.files.fail_at = 0;
        assert_int_equal(open_directory(&directory, 2), 0);
        assert_true(directory.meta.actor.start > last_start);
        last_start = directory.meta.actor.start;
        directory_close(&directory);
        if (!reached) {
            assert_int_equal(rc, 0);
            assert_true(n > 5);
            break;
        }
    }
}

/* That a node has come back from a drain is not said before it is on the disk: else a drain by an operator could be undone. */
static void test_drained_is_forgotten_durably(void **state)
{
    struct directory directory;
    bool degraded;

    (void)state;
    assert_int_equal(open_directory(&directory, 2), 0);
    assert_int_equal(directory_forget_drained(&directory), 0);
    for (uint64_t n = 1; n <= 3; n++) {
        assert_int_equal(directory_put_drained(&directory, n % 2 == 0), 0);
        assert_true(directory_was_drained(&directory, &degraded));
        assert_int_equal(degraded, n % 2 == 0);
        kit.files.operations = 0;
        kit.files.fail_at = n; /* Of removing it, and of the directory's being written. */
        assert_int_equal(directory_forget_drained(&directory), n < 3 ? kit.files.error : 0);
        kit.files.fail_at = 0;
        assert_int_equal(directory_forget_drained(&directory), 0);
        assert_false(directory_was_drained(&directory, &degraded));
    }
    directory_close(&directory);
}

/* Directories in which one was made that is not durable there yet. */
static struct {
    char parents[16][PATH_BYTES_MAX];
    uint32_t count;
    int (*make_directory)(struct files *files, const char *path);
    int (*sync_directory)(struct files *files, const char *path);
} made;

static int make_unsure(struct files *files, const char *path)
{
    int rc = made.make_directory(files, path);

    if (rc == 0) {
        assert_true(made.count < 16);
        snprintf(made.parents[made.count++], PATH_BYTES_MAX, "%.*s",
                 (int)(strrchr(path, '/') - path), path);
    }
    return rc;
}

static int sync_made(struct files *files, const char *path)
{
    int rc = made.sync_directory(files, path);

    for (uint32_t i = made.count; rc == 0 && i-- > 0;) {
        if (strncmp(made.parents[i], path, strlen(made.parents[i])) == 0 &&
            strcmp(path + strlen(made.parents[i]), path[strlen(path) - 1] == '/' ? "/" : "") == 0) {
            memmove(made.parents[i], made.parents[--made.count], PATH_BYTES_MAX);
        }
    }
    return rc;
}

/* A first start is killed at any place: once the next one serves, all that was made is durable. */
static void test_what_is_made_is_durable(void **state)
{
    struct directory directory;
    bool reached = true;

    (void)state;
    made.count = 0;
    made.make_directory = kit.files.files.make_directory;
    made.sync_directory = kit.files.files.sync_directory;
    kit.files.files.make_directory = make_unsure;
    kit.files.files.sync_directory = sync_made;
    kit.files.stay_failed = true;
    for (uint64_t n = 1; reached; n++) {
        kit.files.operations = 0;
        kit.files.fail_at = n;
        if (open_directory(&directory, 2) == 0) {
            directory_close(&directory);
        }
        reached = kit.files.operations >= n;
        kit.files.fail_at = 0;
        assert_int_equal(open_directory(&directory, 2), 0);
        assert_int_equal(made.count, 0);
        directory_close(&directory);
        assert_int_equal(files_remove_tree(files_system(), base), 0);
    }
}

/* There is no room for META, wherever in its writing that shows: what was reserved for this is enough. */
static void test_full_disk(void **state)
{
    struct directory directory;
    char path[PATH_BYTES_MAX];
    uint32_t helped = 0;
    bool reached = true;

    (void)state;
    path_in(path, "RESERVE");
    assert_int_equal(open_directory(&directory, 2), 0);
    directory_close(&directory);
    kit.files.error = -ENOSPC;
    for (uint64_t n = 1; reached; n++) {
        assert_int_equal(access(path, F_OK), 0);
        kit.files.operations = 0;
        kit.files.fail_at = n;
        uint64_t removed = kit.files.removed;
        int rc = open_directory(&directory, 2);
        reached = kit.files.operations >= n;
        kit.files.fail_at = 0;
        if (rc == 0) {
            helped += kit.files.removed > removed;
            directory_close(&directory);
        }
        assert_int_equal(open_directory(&directory, 2), 0);
        directory_close(&directory);
    }
    assert_in_range(helped, 5,
                    6); /* To open, to write, to synchronise, to rename, and the directory. */
}

/* ---- Another number of shards ---- */

/* Open the store of a shard of the directory into the kit. Key `i` belongs to shard `i % shards` in the
 * model only where its slot says so. */
static void open_shard(struct directory *directory, uint32_t shard)
{
    static char path[PATH_BYTES_MAX];

    assert_int_equal(directory_shard_path(directory, directory->meta.generation, shard, path), 0);
    kit.options.directory = path;
    kit.options.shard = shard;
    kit.options.seed = directory->meta.seed;
    assert_int_equal(store_open(&kit.options, &kit.store, message, sizeof message), 0);
    kit.segment_open = false;
    kit.tail_size = kit.staged = 0;
    assert_int_equal(store_restore(kit.store, &kit.sink, &kit.lsn), 0);
}

static uint32_t shard_of(uint32_t number, const struct directory *directory)
{
    char key[16];

    return convert_shard_of(keeper_position(directory->meta.seed, kit_key(number, key)),
                            directory->meta.shards);
}

/* Write to the sessions of each shard. */
static void live(struct directory *directory, uint32_t every)
{
    kit.seed = directory->meta.seed;
    kit_forget_restored(&kit);
    for (uint32_t shard = 0; shard < directory->meta.shards; shard++) {
        open_shard(directory, shard);
        assert_int_equal(store_compact(kit.store), 0); /* Of the life before. */
        for (uint32_t i = 0; i < kit.key_count; i += every) {
            if (shard_of(i, directory) == shard) {
                assert_int_equal(kit_set(&kit, i), 0);
            }
        }
        kit_flush(&kit);
        store_kit_close(&kit);
    }
}

static void check(struct directory *directory)
{
    kit_forget_restored(&kit);
    for (uint32_t shard = 0; shard < directory->meta.shards; shard++) {
        uint32_t before = 0, after = 0, own = 0;
        for (uint32_t i = 0; i < kit.key_count; i++) {
            before += kit.restored[i].size > 0;
        }
        open_shard(directory, shard);
        store_kit_close(&kit);
        for (uint32_t i = 0; i < kit.key_count; i++) {
            after += kit.restored[i].size > 0;
            own += kit.present[i].size > 0 && shard_of(i, directory) == shard;
        }
        assert_int_equal(after - before, own);
    }
    assert_int_equal(kit_differences(&kit), 0);
}

static int convert(struct directory *directory, uint32_t shards)
{
    const struct convert_options options = {
        .map_bytes = 1,
        .memory = &kit.memory.memory,
        .reporter = &kit.reporter,
    };

    return convert_shards(directory, &options, shards, message, sizeof message);
}

static void test_number_of_shards_changes(void **state)
{
    static const uint32_t counts[] = {5, 1, 2, 2, 3};
    struct directory directory;

    (void)state;
    assert_int_equal(open_directory(&directory, 2), 0);
    live(&directory, 1);
    check(&directory);
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        assert_int_equal(convert(&directory, counts[i]), 0);
        assert_int_equal(directory.meta.shards, counts[i]);
        check(&directory);
        live(&directory, 3);
        directory_close(&directory);
        assert_int_equal(open_directory(&directory, 99), 0);
        assert_int_equal(directory.meta.shards, counts[i]);
        check(&directory);
    }
    assert_int_equal(kit.reports[STORE_LOG_DAMAGED] + kit.reports[STORE_LOG_MISSING] +
                         kit.reports[STORE_LOG_BASELESS],
                     0);
    directory_close(&directory);
}

/* A log whose end is missing is told here as at any start. */
static void test_conversion_tells_a_missing_end(void **state)
{
    struct directory directory;

    (void)state;
    assert_int_equal(open_directory(&directory, 1), 0);
    live(&directory, 20);
    open_shard(&directory, 0);
    staging_set_durable(store_staging(kit.store), kit.lsn + LOG_BLOCK_BYTES);
    store_kit_close(&kit);
    assert_int_equal(convert(&directory, 2), 0);
    assert_int_equal(kit.reports[STORE_LOG_MISSING], 1);
    check(&directory);
    assert_int_equal(kit.reports[STORE_LOG_MISSING], 1);
    for (uint32_t shard = 0; shard < 2; shard++) { /* And the new ones know that it is. */
        open_shard(&directory, shard);
        for (uint32_t slot = shard; slot < SLOT_COUNT; slot += 2) {
            assert_true(store_lacks(kit.store, slot));
        }
        assert_false(store_lacks(kit.store, 1 - shard));
        store_kit_close(&kit);
    }
    directory_close(&directory);
}

/* Wherever it is cut short, the directory has all sessions, with the one number or the other. */
static void test_conversion_under_faults(void **state)
{
    struct directory directory;
    bool reached = true;

    (void)state;
    kit.key_count = 200;
    assert_int_equal(open_directory(&directory, 2), 0);
    live(&directory, 1);
    for (uint64_t n = 1; reached; n++) {
        kit.files.stay_failed = n % 2 == 0;
        kit.files.operations = 0;
        kit.files.fail_at = n;
        int rc = convert(&directory, 3);
        assert_int_equal(directory.meta.shards, rc == 0 ? 3 : 2);
        reached = kit.files.operations >= n;
        kit.files.fail_at = 0;
        directory_close(&directory);
        assert_int_equal(open_directory(&directory, 2), 0);
        assert_true(reached || rc == 0);
        assert_true(rc != 0 || directory.meta.shards == 3);
        check(&directory);
        kit.files.stay_failed = false;
        assert_int_equal(convert(&directory, 2), 0); /* Where it went through. */
        live(&directory, 20);
        assert_true(n < 500);
        if (!reached) {
            print_message("%lu operations\n", (unsigned long)n);
        }
    }
    directory_close(&directory);
    kit.key_count = 2000;
}

/* ---- Dumps ---- */

static void test_dumps(void **state)
{
    struct directory directory;
    char path[PATH_BYTES_MAX], name[SEGMENT_NAME_BYTES];
    char *text = NULL;
    size_t size = 0;

    (void)state;
    assert_int_equal(open_directory(&directory, 1), 0);
    kit.seed = directory.meta.seed;
    open_shard(&directory, 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
    }
    assert_int_equal(kit_touch(&kit, 2), 0);
    assert_int_equal(kit_bury(&kit, 1), 0);
    kit_flush(&kit);
    segment_name(name, kit.segment.epoch);
    assert_int_equal(path_join(path, kit.options.directory, name), 0);

    FILE *out = open_memstream(&text, &size); /* While the store has it open. */
    assert_int_equal(dump_log(&kit.memory.memory, path, out, message, sizeof message), 0);
    fclose(out);
    assert_non_null(strstr(text, "header=good shard=0 node=1 start=1 epoch=1"));
    assert_non_null(strstr(text, "record offset=4096 lsn=0 kind=mark"));
    assert_non_null(strstr(text, "kind=full"));
    assert_non_null(strstr(text, "kind=touch"));
    assert_non_null(strstr(text, "kind=bury"));
    assert_non_null(strstr(text, "key=\"key-00002\""));
    assert_non_null(strstr(text, " records=6\n"));
    free(text);

    assert_int_equal(kit_take_segment(&kit), 0);
    assert_int_equal(store_compact(kit.store), 0);
    store_kit_close(&kit);
    assert_int_equal(dump_data(&kit.memory.memory, base, stdout, message, sizeof message), -EBUSY);
    directory_close(&directory);
    out = open_memstream(&text, &size);
    assert_int_equal(dump_data(&kit.memory.memory, base, out, message, sizeof message), 0);
    fclose(out);
    assert_non_null(strstr(text, "node=7 start=1 shards=1"));
    assert_non_null(strstr(text, "shard index=0 checkpoint-lsn="));
    assert_non_null(strstr(text, "key=\"key-00000\""));
    assert_null(strstr(text, "key=\"key-00001\""));
    assert_non_null(strstr(text, "key=\"key-00002\""));
    free(text);

    put_file("some-file", "nothing that we know");
    path_in(path, "some-file");
    out = open_memstream(&text, &size);
    assert_int_equal(dump_log(&kit.memory.memory, path, out, message, sizeof message), -EBADMSG);
    fclose(out);
    free(text);
    assert_non_null(strstr(message, "no segment of Belay's log"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_starts_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_user_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_is_another_actor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alone_is_a_cluster, setup, teardown),
        cmocka_unit_test_setup_teardown(test_entering, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_entering_without_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_beginning, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_entering, setup, teardown),
        cmocka_unit_test_setup_teardown(test_version_1, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_meta, setup, teardown),
        cmocka_unit_test_setup_teardown(test_meta, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drained_is_forgotten_durably, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_made_is_durable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_number_of_shards_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_conversion_tells_a_missing_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_conversion_under_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dumps, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
