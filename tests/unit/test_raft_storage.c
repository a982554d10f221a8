/* Raft's store beside a model of it (raft_disk.h): what comes back is what was reported stored, and a prefix of the rest. */
#include "raft_storage.h"

#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "raft_disk.h"
#include "random.h"
#include "scratch.h"
#include "store_faults.h"

enum { CALLS = 60, COPIES = CALLS + 1 };

struct life {
    struct scratch home;
    char path[300];
    struct shared_memory memory;
    struct faulty_files files;
    struct raft_storage *storage;
    char message[512];
    int woken[2]; /* A pipe: a byte for each wake. */
};

static struct life life;

static void wake(void *context)
{
    (void)context;
    ssize_t written = write(life.woken[1], "", 1);
    (void)written; /* Full: there is enough in it. */
}

static struct raft_storage_options options(void)
{
    return (struct raft_storage_options){
        .directory = life.path,
        .files = &life.files.files,
        .memory = &life.memory.memory,
        .wake = wake,
        .map_bytes = 1,
        .retry_ms = 5,
    };
}

static int setup(void **state)
{
    (void)state;
    memset(&life, 0, sizeof life);
    scratch_make(&life.home, "/tmp", "belay-raft");
    snprintf(life.path, sizeof life.path, "%s/raft", life.home.path);
    life.memory.inner = test_memory();
    pthread_mutex_init(&life.memory.lock, NULL);
    life.memory.memory = (struct memory){.resize = shared_resize};
    life.files.files = (struct files){
        .sync_directory = faulty_sync_directory,
        .make_directory = faulty_make_directory,
        .commit = faulty_commit,
    };
    life.files.error = -EIO;
    assert_int_equal(pipe2(life.woken, O_CLOEXEC | O_NONBLOCK), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    raft_storage_close(life.storage);
    assert_int_equal(life.memory.inner.outstanding_bytes, 0);
    close(life.woken[0]);
    close(life.woken[1]);
    scratch_remove(&life.home);
    return 0;
}

static int open_storage(void)
{
    const struct raft_storage_options with = options();

    int rc = raft_storage_open(&with, &life.storage, life.message, sizeof life.message);
    if (rc != 0) {
        life.storage = NULL;
        assert_true(life.message[0] != '\0');
    }
    return rc;
}

static void close_storage(void)
{
    raft_storage_close(life.storage);
    life.storage = NULL;
}

/* Wait until something was reported. */
static void await_wake(void)
{
    char byte;

    while (read(life.woken[0], &byte, 1) != 1) {
        usleep(200);
    }
}

static void await_stored(uint64_t sequence)
{
    while (raft_storage_stored(life.storage) < sequence) {
        await_wake();
    }
}

/* ---- Calls, the same from the same seed ---- */

/* The next call to both, or to the one that is not NULL. Returns what the storage said. */
static int call_next(struct raft_store *port, struct raft_disk *model, uint64_t *seed,
                     uint64_t sequence)
{
    uint8_t data[3000];
    uint64_t last = disk_last(model), index, from;
    struct raft_entry entries[3];
    uint32_t count = 1 + random_below(seed, 3), size = random_below(seed, sizeof data);
    uint64_t term = model->saved.term + 1;
    struct raft_store *to[2] = {port, &model->store};
    int rc = 0;

    memset(data, (int)sequence, sizeof data);
    uint32_t kind = random_below(seed, 8);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t again = *seed;
        if (to[i] == NULL) {
            continue;
        }
        if (kind == 0) {
            rc = to[i]->vote(to[i], sequence, term, 1 + random_below(&again, 3));
        } else if (kind == 1 && last > model->saved.snapshot_index) {
            index = model->saved.snapshot_index + 1 +
                    random_below(&again, (uint32_t)(last - model->saved.snapshot_index));
            rc = to[i]->snapshot(to[i], sequence, index, term, bytes_of(data, 1 + size), false);
        } else if (kind == 2) {
            index = last + 5;
            if (last > model->saved.snapshot_index && random_below(&again, 2) == 0) {
                index = model->saved.snapshot_index + 1; /* What is behind it goes as well. */
            }
            rc = to[i]->snapshot(to[i], sequence, index, term, bytes_of(data, 1 + size), true);
        } else {
            from = model->saved.snapshot_index + 1 +
                   random_below(&again, (uint32_t)(last - model->saved.snapshot_index) + 1);
            from = random_below(&again, 3) > 0 ? last + 1 : from;
            for (uint32_t j = 0; j < count; j++) {
                entries[j] = (struct raft_entry){
                    .index = from + j,
                    .term = term,
                    .sequence = sequence,
                    .kind = (enum raft_kind)(1 + random_below(&again, 2)),
                    .data = bytes_of(data, j == 1 ? 0 : size),
                };
            }
            rc = to[i]->append(to[i], sequence, entries, count);
        }
        if (rc != 0) {
            return rc;
        }
    }
    *seed += 77;
    assert_int_equal(disk_do(model, model->call_count), sequence);
    return 0;
}

static bool saved_equal(const struct raft_saved *a, const struct raft_saved *b)
{
    if (a->term != b->term || a->voted_for != b->voted_for ||
        a->snapshot_index != b->snapshot_index || a->snapshot_term != b->snapshot_term ||
        !bytes_equal(a->snapshot, b->snapshot) || a->entry_count != b->entry_count) {
        return false;
    }
    for (uint32_t i = 0; i < a->entry_count; i++) {
        const struct raft_entry *one = &a->entries[i], *other = &b->entries[i];
        if (one->index != other->index || one->term != other->term || one->kind != other->kind ||
            !bytes_equal(one->data, other->data)) {
            return false;
        }
    }
    return true;
}

/* After how many calls, at least `least`, the model has what the storage found; fails where it never has. */
static uint32_t prefix_found(uint64_t seed, uint32_t least)
{
    struct raft_disk model;
    uint32_t found = UINT32_MAX;

    disk_init(&model);
    for (uint32_t i = 0; i <= CALLS; i++) {
        if (i >= least && saved_equal(raft_storage_saved(life.storage), &model.saved)) {
            found = i;
            break;
        }
        assert_int_equal(call_next(NULL, &model, &seed, i + 1), 0);
    }
    disk_fini(&model);
    assert_int_not_equal(found, UINT32_MAX);
    return found;
}

/* Calls until one is refused, or all were taken. Returns how many were taken. */
static uint32_t make_calls(uint64_t seed)
{
    struct raft_disk model;
    uint32_t taken = 0;

    disk_init(&model);
    while (taken < CALLS &&
           call_next(raft_storage_port(life.storage), &model, &seed, taken + 1) == 0) {
        taken++;
    }
    disk_fini(&model);
    return taken;
}

/* ---- What comes back ---- */

static void test_comes_back(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        assert_int_equal(open_storage(), 0);
        assert_true(saved_equal(raft_storage_saved(life.storage), &(struct raft_saved){0}));
        assert_int_equal(raft_storage_start(life.storage), 0);
        assert_int_equal(make_calls(seed), CALLS);
        if (seed % 2 == 0) {
            await_stored(CALLS);
        } /* Else closing writes them. */
        close_storage();
        assert_int_equal(open_storage(), 0);
        assert_int_equal(prefix_found(seed, CALLS), CALLS);
        close_storage();
        assert_int_equal(files_remove_tree(files_system(), life.path), 0);
    }
}

static void test_begins_with(void **state)
{
    const struct raft_saved first = {
        .term = 7, .snapshot_index = 5, .snapshot_term = 7, .snapshot = text("a map")};
    struct raft_entry entry = {.index = 6, .term = 7, .kind = RAFT_COMMAND, .data = text("x")};

    (void)state;
    assert_int_equal(open_storage(), 0);
    assert_int_equal(raft_storage_begin(life.storage, &first), 0);
    assert_true(saved_equal(raft_storage_saved(life.storage), &first));
    close_storage();
    assert_int_equal(open_storage(), 0);
    assert_true(saved_equal(raft_storage_saved(life.storage), &first));
    assert_int_equal(raft_storage_start(life.storage), 0);
    struct raft_store *port = raft_storage_port(life.storage);
    assert_int_equal(port->append(port, 1, &entry, 1), 0);
    raft_storage_commit(life.storage, 5);
    raft_storage_commit(life.storage, 6);
    close_storage();
    assert_int_equal(open_storage(), 0);
    assert_int_equal(raft_storage_saved(life.storage)->commit, 6);
    assert_int_equal(raft_storage_saved(life.storage)->entry_count, 1);
    raft_storage_forget(life.storage);
}

/* What takes the place of all that was there leaves no entry and no vote of it. */
static void test_replaced(void **state)
{
    const struct raft_saved first = {
        .term = 7, .snapshot_index = 5, .snapshot_term = 7, .snapshot = text("a map")};
    const struct raft_saved second = {
        .term = 20, .snapshot_index = 100, .snapshot_term = 20, .snapshot = text("another")};
    struct raft_entry entry = {.index = 6, .term = 7, .kind = RAFT_COMMAND, .data = text("x")};

    (void)state;
    assert_int_equal(open_storage(), 0);
    assert_int_equal(raft_storage_begin(life.storage, &first), 0);
    assert_int_equal(raft_storage_start(life.storage), 0);
    struct raft_store *port = raft_storage_port(life.storage);
    assert_int_equal(port->append(port, 1, &entry, 1), 0);
    assert_int_equal(port->vote(port, 2, 8, 3), 0);
    close_storage();
    assert_int_equal(open_storage(), 0);
    assert_int_equal(raft_storage_saved(life.storage)->voted_for, 3);
    assert_int_equal(raft_storage_replace(life.storage, &second), 0);
    assert_true(saved_equal(raft_storage_saved(life.storage), &second));
    close_storage();
    assert_int_equal(open_storage(), 0);
    assert_true(saved_equal(raft_storage_saved(life.storage), &second));
    close_storage();
}

/* ---- Crashes ---- */

/* The n-th operation fails and all after it, as in a process that was killed there: what is found is what was reported,
 * and a prefix of the rest. */
static void test_killed_at_each_step(void **state)
{
    bool through = false;

    (void)state;
    for (uint64_t n = 1; !through; n++) {
        uint64_t seed = n % 7;
        uint32_t stored = 0, taken = 0;
        life.files.operations = 0;
        life.files.fail_at = n;
        life.files.stay_failed = true;
        int rc = open_storage();
        rc = rc != 0 ? rc : raft_storage_start(life.storage);
        if (rc == 0) {
            taken = make_calls(seed);
            while (raft_storage_stored(life.storage) < taken &&
                   raft_storage_failure(life.storage) == 0) {
                await_wake();
            }
            stored = (uint32_t)raft_storage_stored(life.storage);
        }
        through = rc == 0 && raft_storage_failure(life.storage) == 0;
        close_storage();
        life.files.fail_at = 0;
        assert_int_equal(open_storage(), 0);
        assert_true(prefix_found(seed, stored) <= taken);
        close_storage();
        assert_int_equal(files_remove_tree(files_system(), life.path), 0);
    }
}

/* A process that is really killed, whenever. */
static void test_killed(void **state)
{
    int said[2];

    (void)state;
    for (uint64_t round = 0; round < 20; round++) {
        uint64_t stored = 0, last = 0;
        assert_int_equal(pipe2(said, O_CLOEXEC), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            if (open_storage() != 0 || raft_storage_start(life.storage) != 0) {
                _exit(1);
            }
            (void)make_calls(round);
            for (;;) {
                uint64_t now = raft_storage_stored(life.storage);
                if (now > last && write(said[1], &now, sizeof now) != sizeof now) {
                    _exit(1);
                }
                last = now;
            }
        }
        close(said[1]);
        usleep((useconds_t)(round * 400));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(said[0], &stored, sizeof stored) == sizeof stored) {
            last = stored;
        }
        close(said[0]);
        assert_int_equal(open_storage(), 0);
        (void)prefix_found(round, (uint32_t)last);
        close_storage();
        assert_int_equal(files_remove_tree(files_system(), life.path), 0);
    }
}

/* ---- Failures ---- */

static void test_disk_full(void **state)
{
    struct raft_disk model;
    uint64_t seed = 3, sequence = 0;

    (void)state;
    disk_init(&model);
    assert_int_equal(open_storage(), 0);
    assert_int_equal(raft_storage_start(life.storage), 0);
    struct raft_store *port = raft_storage_port(life.storage);
    for (; sequence < 5; sequence++) {
        assert_int_equal(call_next(port, &model, &seed, sequence + 1), 0);
    }
    await_stored(sequence);
    __atomic_store_n(&life.files.commit_error, -ENOSPC, __ATOMIC_RELAXED);
    assert_int_equal(call_next(port, &model, &seed, ++sequence), 0); /* Taken, and waits. */
    while (raft_storage_failure(life.storage) != -ENOSPC) {
        await_wake();
    }
    assert_int_equal(port->vote(port, sequence + 1, 100, 1), -ENOSPC);
    assert_int_equal(raft_storage_stored(life.storage), sequence - 1);
    __atomic_store_n(&life.files.commit_error, 0, __ATOMIC_RELAXED);
    await_stored(sequence); /* There is room: it goes on by itself. */
    while (raft_storage_failure(life.storage) != 0) {
        await_wake();
    }
    for (; sequence < CALLS; sequence++) {
        assert_int_equal(call_next(port, &model, &seed, sequence + 1), 0);
    }
    await_stored(sequence);
    close_storage();
    assert_int_equal(open_storage(), 0);
    assert_true(saved_equal(raft_storage_saved(life.storage), &model.saved));
    disk_fini(&model);
}

/* A disk that is full to the end keeps nobody from closing. */
static void test_closed_while_full(void **state)
{
    (void)state;
    assert_int_equal(open_storage(), 0);
    assert_int_equal(raft_storage_start(life.storage), 0);
    life.files.commit_error = -ENOSPC;
    struct raft_store *port = raft_storage_port(life.storage);
    assert_int_equal(port->vote(port, 1, 1, 1), 0);
    close_storage();
    life.files.commit_error = 0;
    assert_int_equal(open_storage(), 0);
    assert_int_equal(raft_storage_saved(life.storage)->term, 0);
}

/* After another failure nothing is reported any more, nor taken. */
static void test_failed_for_good(void **state)
{
    (void)state;
    assert_int_equal(open_storage(), 0);
    assert_int_equal(raft_storage_start(life.storage), 0);
    struct raft_store *port = raft_storage_port(life.storage);
    assert_int_equal(port->vote(port, 1, 1, 1), 0);
    await_stored(1);
    __atomic_store_n(&life.files.commit_error, -EIO, __ATOMIC_RELAXED);
    assert_int_equal(port->vote(port, 2, 2, 1), 0);
    while (raft_storage_failure(life.storage) != -EIO) {
        await_wake();
    }
    __atomic_store_n(&life.files.commit_error, 0, __ATOMIC_RELAXED);
    assert_int_equal(port->vote(port, 3, 3, 1), -EIO);
    raft_storage_commit(life.storage, 1);
    assert_int_equal(raft_storage_stored(life.storage), 1);
    close_storage();
    assert_int_equal(open_storage(), 0);
    assert_int_equal(raft_storage_saved(life.storage)->term, 1);
}

static void test_queue_is_bounded(void **state)
{
    uint64_t sequence = 0;

    (void)state;
    assert_int_equal(open_storage(), 0);
    assert_int_equal(raft_storage_start(life.storage), 0);
    struct raft_store *port = raft_storage_port(life.storage);
    __atomic_store_n(&life.files.hold_commits, true, __ATOMIC_RELAXED);
    while (sequence < RAFT_STORAGE_CALLS_MAX) {
        sequence++;
        assert_int_equal(port->vote(port, sequence, sequence, 1), 0);
    }
    assert_int_equal(port->vote(port, sequence + 1, sequence + 1, 1), -EAGAIN);
    __atomic_store_n(&life.files.hold_commits, false, __ATOMIC_RELAXED);
    await_stored(sequence);
    assert_int_equal(port->vote(port, sequence + 1, sequence + 1, 1), 0);
}

static void test_no_memory(void **state)
{
    bool through = false;

    (void)state;
    for (uint64_t n = 1; !through; n++) {
        uint64_t seed = 5;
        life.memory.inner.requests = 0;
        life.memory.inner.fail_at = n;
        uint32_t taken = 0;
        int rc = open_storage();
        if (rc == 0) {
            assert_int_equal(raft_storage_start(life.storage), 0);
            taken = make_calls(seed);
        } else {
            assert_int_equal(rc, -ENOMEM);
        }
        close_storage();
        through = life.memory.inner.requests < n;
        life.memory.inner.requests = 0;
        life.memory.inner.fail_at = n; /* Reading, too. */
        rc = open_storage();
        assert_true(rc == 0 || rc == -ENOMEM);
        life.memory.inner.fail_at = 0;
        close_storage();
        assert_int_equal(open_storage(), 0);
        assert_int_equal(prefix_found(seed, taken), taken);
        close_storage();
        assert_int_equal(files_remove_tree(files_system(), life.path), 0);
    }
}

/* ---- Damage ---- */

static void edit_file(uint64_t at, uint8_t with)
{
    char path[320];
    uint8_t byte;

    snprintf(path, sizeof path, "%s/data.mdb", life.path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    if (pread(fd, &byte, 1, (off_t)at) == 1) {
        byte ^= with;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    }
    close(fd);
}

/* Whatever byte changes, what is read is what was written, or refused with words. */
static void test_damage(void **state)
{
    uint64_t random = 9;
    uint32_t refused = 0;
    struct stat_size {
        uint64_t bytes;
    } size = {0};
    char path[320];

    (void)state;
    assert_int_equal(open_storage(), 0);
    assert_int_equal(raft_storage_start(life.storage), 0);
    /* Two commits at most, so that the file is not pages of earlier ones for the most part, however slow the thread. */
    __atomic_store_n(&life.files.hold_commits, true, __ATOMIC_RELAXED);
    assert_int_equal(make_calls(4), CALLS);
    __atomic_store_n(&life.files.hold_commits, false, __ATOMIC_RELAXED);
    close_storage();
    snprintf(path, sizeof path, "%s/data.mdb", life.path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size.bytes = (uint64_t)lseek(fd, 0, SEEK_END);
    close(fd);
    for (int i = 0; i < 400; i++) {
        uint64_t at = 8192 + random_next(&random) % (size.bytes - 8192);
        uint8_t bit = (uint8_t)(1U << random_below(&random, 8));
        edit_file(at, bit);
        int rc = open_storage();
        if (rc == 0) {
            assert_int_equal(prefix_found(4, CALLS), CALLS);
        } else {
            assert_int_equal(rc, -EBADMSG);
            assert_non_null(strstr(life.message, "damaged"));
            refused++;
        }
        close_storage();
        edit_file(at, bit);
    }
    assert_true(refused > 20);
    assert_int_equal(open_storage(), 0);
    assert_int_equal(prefix_found(4, CALLS), CALLS);
}

/* An entry that is not there is missed, also where those behind it are. */
static void test_gap(void **state)
{
    struct raft_entry entries[3];
    uint8_t bytes[9] = {3};
    MDB_val key = {.mv_size = sizeof bytes, .mv_data = bytes};
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        entries[i] = (struct raft_entry){.index = 1 + i, .term = 1, .kind = RAFT_NOOP};
    }
    assert_int_equal(open_storage(), 0);
    assert_int_equal(raft_storage_start(life.storage), 0);
    struct raft_store *port = raft_storage_port(life.storage);
    assert_int_equal(port->append(port, 1, entries, 3), 0);
    close_storage();
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, life.path, 0, 0640), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
    store_u64_big(bytes + 1, 2);
    assert_int_equal(mdb_del(txn, dbi, &key, NULL), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    assert_int_equal(open_storage(), -EBADMSG);
    assert_non_null(strstr(life.message, "missing"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_comes_back),          CASE(test_begins_with),     CASE(test_replaced),
        CASE(test_killed_at_each_step), CASE(test_killed),          CASE(test_disk_full),
        CASE(test_closed_while_full),   CASE(test_failed_for_good), CASE(test_queue_is_bounded),
        CASE(test_no_memory),           CASE(test_damage),          CASE(test_gap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
