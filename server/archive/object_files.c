#include "object_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "heap.h"
#include "object_list.h"

enum {
    PATH_BYTES_MAX = 4096,
    DEPTH_MAX = 16,
    IO_BYTES_MAX = 1 << 30,     /* Of a call to the kernel. */
    PART_KEPT_MS = 3600 * 1000, /* Somebody may be writing it. */
};
#define PART_PREFIX ".part-"

struct object_files {
    struct object_store port;
    uv_loop_t *loop;
    char directory[PATH_BYTES_MAX];
    struct object_store_stats stats;
    uint32_t under_way;
    uint64_t number; /* Of the next file that is written. */
    bool gone;
};

struct files_call {
    uv_work_t work;
    struct object_files *files;
    struct object_call call;
    uint64_t number;
    int rc;
    char text[OBJECT_TEXT_BYTES];
    struct buffer body;
    uint64_t size;
    struct object_list list;
    char name[OBJECT_NAME_BYTES_MAX + 1], after[OBJECT_NAME_BYTES_MAX + 1];
};

static struct object_files *files_of(struct object_store *port)
{
    return (struct object_files *)(void *)port; /* Its first member. */
}

/* ---- Paths ---- */

/* Neither empty parts nor such as begin with a dot: it stays below the directory, and apart from what is being written. */
static bool is_name(const char *name)
{
    bool first = true;

    for (const char *at = name; *at != '\0'; at++) {
        if (*at < ' ' || *at > '~' || (first && (*at == '.' || *at == '/'))) {
            return false;
        }
        first = *at == '/';
    }
    return !first && strlen(name) <= OBJECT_NAME_BYTES_MAX;
}

static int path_of(const struct object_files *files, const char *name, char path[PATH_BYTES_MAX])
{
    int size = snprintf(path, PATH_BYTES_MAX, "%s/%s", files->directory, name);

    return size > 0 && size < PATH_BYTES_MAX ? 0 : -ENAMETOOLONG;
}

static int sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return -errno;
    }
    int rc = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return rc;
}

/* The directory that a file lies in. */
static int sync_parent(const char *path)
{
    char parent[PATH_BYTES_MAX];

    snprintf(parent, sizeof parent, "%.*s", (int)(strrchr(path, '/') - path), path);
    return sync_directory(parent);
}

/* Make the directories between the store's and the file's name, each durable before the next. One that is there may be of
 * a call whose sync failed, and need not be durable. */
static int make_directories(const struct object_files *files, char path[PATH_BYTES_MAX])
{
    for (char *slash = path + strlen(files->directory) + 1; (slash = strchr(slash, '/')) != NULL;
         slash++) {
        *slash = '\0';
        int rc = mkdir(path, 0777) == 0 || errno == EEXIST ? sync_parent(path) : -errno;
        *slash = '/';
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* ---- On a thread of the pool ---- */

static int write_all(int fd, struct bytes body)
{
    while (body.size > 0) {
        ssize_t written = write(fd, body.data, body.size < IO_BYTES_MAX ? body.size : IO_BYTES_MAX);
        if (written < 0 && errno != EINTR) {
            return -errno;
        }
        size_t size = written < 0 ? 0 : (size_t)written;
        body = bytes_of(body.data + size, body.size - size);
    }
    return fsync(fd) == 0 ? 0 : -errno;
}

static int read_some(int fd, uint64_t offset, size_t size, struct buffer *to)
{
    int rc = buffer_reserve(to, size);

    while (rc == 0 && size > 0) {
        ssize_t got = pread(fd, to->data + to->size, size < IO_BYTES_MAX ? size : IO_BYTES_MAX,
                            (off_t)offset);
        if (got == 0) {
            break;
        }
        if (got < 0 && errno != EINTR) {
            rc = -errno;
        } else if (got > 0) {
            to->size += (size_t)got;
            offset += (uint64_t)got;
            size -= (size_t)got;
        }
    }
    return rc;
}

static int open_object(struct files_call *call, const char *path, int *fd)
{
    struct stat status;

    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) {
        return -errno;
    }
    if (fstat(*fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(*fd);
        return -EIO;
    }
    call->size = (uint64_t)status.st_size;
    return 0;
}

static int get(struct files_call *call, const char *path)
{
    const struct object_call *asked = &call->call;
    int fd, rc = open_object(call, path, &fd);

    if (rc != 0) {
        return rc;
    }
    uint64_t left = asked->offset < call->size ? call->size - asked->offset : 0;
    if (left > asked->bytes_max && !asked->part) {
        rc = -EFBIG;
    } else {
        rc = read_some(fd, asked->offset,
                       (size_t)(left < asked->bytes_max ? left : asked->bytes_max), &call->body);
    }
    close(fd);
    return rc;
}

/* Is what is there ours? */
static int compare(struct files_call *call, const char *path)
{
    int fd, rc = open_object(call, path, &fd);

    if (rc != 0) {
        return rc;
    }
    if (call->size != call->call.body.size) {
        rc = -EEXIST;
    } else {
        rc = read_some(fd, 0, (size_t)call->size, &call->body);
        if (rc == 0 && !bytes_equal(buffer_bytes(&call->body), call->call.body)) {
            rc = -EEXIST;
        }
    }
    close(fd);
    return rc;
}

static int give_name(struct files_call *call, const char *part, const char *path)
{
    if (!call->call.only_new) {
        return rename(part, path) == 0 ? sync_parent(path) : -errno;
    }
    if (link(part, path) == 0) {
        return sync_parent(path);
    }
    if (errno != EEXIST) {
        return -errno;
    }
    int rc = compare(call, path);
    return rc == 0 ? sync_parent(path) : rc; /* Whoever gave it this name may have failed to. */
}

static int put(struct files_call *call, char path[PATH_BYTES_MAX])
{
    char part[PATH_BYTES_MAX];
    int size = snprintf(part, sizeof part, "%s/" PART_PREFIX "%ld-%llu", call->files->directory,
                        (long)getpid(), (unsigned long long)call->number);

    if (size < 0 || (size_t)size >= sizeof part) {
        return -ENAMETOOLONG;
    }
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        return -errno;
    }
    int rc = write_all(fd, call->call.body);
    rc = close(fd) == 0 || rc != 0 ? rc : -errno;
    if (rc == 0) {
        rc = make_directories(call->files, path);
    }
    if (rc == 0) {
        rc = give_name(call, part, path);
    }
    (void)unlink(part);
    return rc;
}

static int remove_object(const char *path)
{
    if (unlink(path) != 0) {
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    }
    return sync_parent(path);
}

/* ---- Lists ---- */

/* Nothing below this directory can have a name that is asked for. */
static bool is_beside(const struct files_call *call, const char *name)
{
    size_t size = strlen(name), wanted = strlen(call->name);

    return strncmp(name, call->name, size < wanted ? size : wanted) != 0;
}

static int walk(struct files_call *call, const char *below, uint32_t depth);

static int visit(struct files_call *call, const char *name, uint32_t depth)
{
    char path[PATH_BYTES_MAX];
    struct stat status;

    int rc = is_name(name) ? path_of(call->files, name, path) : -ENAMETOOLONG;
    if (rc != 0 || stat(path, &status) != 0) {
        return 0; /* None of ours; or it was removed meanwhile. */
    }
    if (S_ISDIR(status.st_mode)) {
        return depth < DEPTH_MAX && !is_beside(call, name) ? walk(call, name, depth + 1) : 0;
    }
    bool wanted = S_ISREG(status.st_mode) && strncmp(name, call->name, strlen(call->name)) == 0 &&
                  (call->call.after == NULL || strcmp(name, call->after) > 0);
    return wanted ? object_list_add(&call->list, name, (uint64_t)status.st_size) : 0;
}

static int walk(struct files_call *call, const char *below, uint32_t depth)
{
    char path[PATH_BYTES_MAX], name[PATH_BYTES_MAX];
    const struct dirent *entry;

    int rc = path_of(call->files, below, path);
    if (rc != 0) {
        return rc;
    }
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return -errno;
    }
    while (rc == 0 && (entry = readdir(directory)) != NULL) {
        int size = snprintf(name, sizeof name, "%s%s%s", below, below[0] != '\0' ? "/" : "",
                            entry->d_name);
        if (entry->d_name[0] != '.' && size > 0 && (size_t)size < sizeof name) {
            rc = visit(call, name, depth);
        }
    }
    closedir(directory);
    return rc;
}

static int list(struct files_call *call)
{
    int rc = walk(call, "", 0);

    object_list_sort(&call->list, OBJECT_LIST_MAX);
    return rc;
}

/* ---- What a crash left beside the objects ---- */

static bool is_old_part(int directory, const char *name, uint64_t before_ms)
{
    struct stat status;

    return strncmp(name, PART_PREFIX, strlen(PART_PREFIX)) == 0 &&
           fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           (uint64_t)status.st_mtime * 1000 < before_ms;
}

/* What was written last before then. Those that went are added to `removed`. */
static int remove_parts(const struct object_files *files, uint64_t before_ms,
                        struct object_list *removed)
{
    DIR *directory = opendir(files->directory);
    const struct dirent *entry;
    int rc = 0;

    if (directory == NULL) {
        return -errno;
    }
    while (rc == 0 && (entry = readdir(directory)) != NULL) {
        if (!is_old_part(dirfd(directory), entry->d_name, before_ms)) {
            continue;
        }
        if (removed->count == OBJECT_LIST_MAX) {
            removed->more = true;
            break;
        }
        if (unlinkat(dirfd(directory), entry->d_name, 0) == 0) {
            rc = object_list_add(removed, entry->d_name, 0);
        } else if (errno != ENOENT) {
            rc = -errno;
        }
    }
    closedir(directory);
    return rc;
}

static void on_work(uv_work_t *work)
{
    struct files_call *call = work->data;
    char path[PATH_BYTES_MAX];

    call->rc = path_of(call->files, call->name, path);
    if (call->rc != 0) {
        return;
    }
    switch (call->call.op) {
    case OBJECT_PUT:
        call->rc = put(call, path);
        break;
    case OBJECT_GET:
        call->rc = get(call, path);
        break;
    case OBJECT_LIST:
        call->rc = list(call);
        break;
    case OBJECT_REMOVE:
        call->rc = remove_object(path);
        break;
    case OBJECT_TIDY:
        call->rc = remove_parts(call->files, call->call.before_ms, &call->list);
        break;
    }
}

/* ---- The port ---- */

static void describe(struct files_call *call)
{
    if (call->rc == -EEXIST) {
        snprintf(call->text, sizeof call->text, "an object of that name with other bytes is there");
    } else if (call->rc != 0) {
        snprintf(call->text, sizeof call->text, "%.255s: %s",
                 call->name[0] != '\0' ? call->name : call->files->directory, strerror(-call->rc));
    }
    if (call->rc == -EPERM) {
        call->rc = -EACCES;
    }
}

static void free_call(struct files_call *call)
{
    struct object_files *files = call->files;

    object_list_fini(&call->list);
    buffer_fini(&call->body);
    free(call);
    if (--files->under_way == 0 && files->gone) {
        free(files);
    }
}

static void on_done(uv_work_t *work, int status)
{
    struct files_call *call = work->data;
    struct object_files *files = call->files;
    enum object_op op = call->call.op;

    call->rc = files->gone ? -ECANCELED : status != 0 ? status : call->rc;
    describe(call);
    struct object_answer answer = {.rc = call->rc, .text = call->text};
    if (call->rc == 0 && op == OBJECT_GET) {
        answer.body = buffer_bytes(&call->body);
        answer.whole = &call->body;
        answer.size = call->size;
        files->stats.bytes_got += answer.body.size;
    } else if (op == OBJECT_TIDY || (call->rc == 0 && op == OBJECT_LIST)) {
        object_list_answer(&call->list, &answer);
    } else if (call->rc == 0 && op == OBJECT_PUT) {
        files->stats.bytes_put += call->call.body.size;
    }
    files->stats.calls[op]++;
    files->stats.failures[op] += call->rc != 0 && !(op == OBJECT_GET && call->rc == -ENOENT);
    call->call.done(call->call.context, &answer);
    free_call(call);
}

static int port_begin(struct object_store *port, const struct object_call *given)
{
    struct object_files *files = files_of(port);
    bool many = given->op == OBJECT_LIST || given->op == OBJECT_TIDY;
    bool good = many ? strlen(given->name) <= OBJECT_NAME_BYTES_MAX : is_name(given->name);

    if (!good || (given->after != NULL && strlen(given->after) > OBJECT_NAME_BYTES_MAX)) {
        return -EINVAL;
    }
    struct files_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return -ENOMEM;
    }
    *call = (struct files_call){
        .files = files, .call = *given, .number = files->number++, .work.data = call};
    call->body.memory = heap_memory();
    strcpy(call->name, given->name);
    if (given->after != NULL) {
        strcpy(call->after, given->after);
        call->call.after = call->after;
    }
    files->under_way++;
    files->stats.tries++;
    (void)uv_queue_work(files->loop, &call->work, on_work,
                        on_done); /* Fails without a function only. */
    return 0;
}

static void port_stats(struct object_store *port, struct object_store_stats *stats)
{
    *stats = files_of(port)->stats;
}

static void port_destroy(struct object_store *port)
{
    struct object_files *files = files_of(port);

    files->gone = true;
    if (files->under_way == 0) {
        free(files);
    }
}

/* It is there, and takes objects. */
static int make_writable(const char *directory)
{
    if (mkdir(directory, 0777) != 0 && errno != EEXIST) {
        return -errno;
    }
    return access(directory, W_OK | X_OK) == 0 ? 0 : -errno;
}

int object_files_create(uv_loop_t *loop, const char *directory, bool writes,
                        struct object_store **store, char *message, size_t message_size)
{
    struct object_files *files = calloc(1, sizeof *files);
    int rc = files == NULL ? -ENOMEM : 0;

    if (rc == 0) {
        size_t size = strlen(directory);
        rc = size + OBJECT_NAME_BYTES_MAX + 2 > sizeof files->directory ? -ENAMETOOLONG : 0;
    }
    if (rc == 0 && writes) {
        rc = make_writable(directory);
    }
    if (rc == 0) {
        strcpy(files->directory, directory);
        rc = sync_directory(directory);
    }
    if (rc != 0) {
        free(files);
        snprintf(message, message_size, "%s: %s", directory, strerror(-rc));
        return rc;
    }
    files->port = (struct object_store){port_begin, port_stats, port_destroy, NULL};
    files->loop = loop;
    if (writes) {
        struct object_list removed = {0};
        uint64_t now_ms = (uint64_t)time(NULL) * 1000;
        (void)remove_parts(files, now_ms - PART_KEPT_MS, &removed); /* Else another time. */
        object_list_fini(&removed);
    }
    *store = &files->port;
    return 0;
}
