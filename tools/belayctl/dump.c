/* belayctl log dump, data dump, archive cat: what the server's parts print of their files, one line for each thing, or the same
 * as JSON. The lines pass through a stream of our own, which turns them into objects as they come, so
 * that a dump of any size needs no memory. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "dump.h"
#include "heap.h"

enum { LINE_BYTES_MAX = 8192 }; /* Keys are at most 512 bytes, four characters each; a path 4096. */

struct lines {
    bool json;
    bool failed; /* The output cannot be written. */
    uint64_t count;
    char line[LINE_BYTES_MAX];
    size_t size;
    struct progress progress;
};

static int digit_of(char character)
{
    return isdigit((unsigned char)character) ? character - '0' : character - 'a' + 10;
}

/* A quoted key: \xHH are bytes. Returns the first character after it. */
static const char *take_key(const char *text, json_t *object)
{
    char key[LINE_BYTES_MAX];
    size_t size = 0;

    for (; *text != '"' && *text != '\0'; size++) {
        if (text[0] == '\\' && text[1] == 'x' && isxdigit((unsigned char)text[2]) &&
            isxdigit((unsigned char)text[3])) {
            key[size] = (char)(digit_of(text[2]) << 4 | digit_of(text[3]));
            text += 4;
        } else {
            key[size] = *text++;
        }
    }
    json_set_bytes(object, "key", belay_bytes_of(key, size));
    return *text == '"' ? text + 1 : text;
}

/* Where a value ends: before " name=", for a path may have spaces, or with the line. */
static size_t value_size(const char *value)
{
    const char *end = value;

    for (; *end != '\0'; end++) {
        size_t name = *end == ' ' ? strspn(end + 1, "abcdefghijklmnopqrstuvwxyz-") : 0;
        if (name > 0 && end[1 + name] == '=') {
            break;
        }
    }
    return (size_t)(end - value);
}

/* A number as a number, but for hexadecimal ones and names; "none" as null. */
static json_t *value_json(const char *name, const char *value, size_t size)
{
    bool text = strcmp(name, "position") == 0 || strcmp(name, "id") == 0 ||
                strcmp(name, "cluster") == 0 || strcmp(name, "key_id") == 0;

    if (!text && size > 0 && size < 19 && strspn(value, "0123456789") == size) {
        return json_integer((json_int_t)strtoll(value, NULL, 10));
    }
    return size == 4 && memcmp(value, "none", 4) == 0 ? json_null()
                                                      : json_stringn_nocheck(value, size);
}

/* "what name=value ... key=..." */
static json_t *line_json(const char *line)
{
    json_t *object = json_object();
    size_t what = strcspn(line, " ");

    json_object_set_new(object, "what", json_stringn_nocheck(line, what));
    for (const char *at = line + what; *at == ' ';) {
        char name[40];
        size_t size = strcspn(++at, "= ");
        if (at[size] != '=' || size >= sizeof name) {
            break;
        }
        for (size_t i = 0; i < size; i++) {
            name[i] = at[i] == '-' ? '_' : at[i];
        }
        name[size] = '\0';
        at += size + 1;
        if (*at == '"') {
            at = take_key(at + 1, object);
            continue;
        }
        size = value_size(at);
        json_object_set_new(object, name, value_json(name, at, size));
        at += size;
    }
    return object;
}

static uint64_t number_in(const char *line, const char *name)
{
    const char *found = strstr(line, name);

    return found == NULL ? 0 : strtoull(found + strlen(name), NULL, 10);
}

/* How far it is: bytes of a log file, sessions of a directory. */
static void note_progress(struct lines *lines)
{
    struct progress *progress = &lines->progress;

    if (!progress_wanted() || isatty(STDOUT_FILENO)) {
        return;
    }
    if (strncmp(lines->line, "shard ", 6) == 0) {
        progress->total += number_in(lines->line, " sessions=");
    } else if (strncmp(lines->line, "session ", 8) == 0) {
        progress_update(progress, progress->done + 1);
    } else if (strcmp(progress->what, "bytes") == 0 && strncmp(lines->line, "record ", 7) == 0) {
        progress_update(progress, number_in(lines->line, " offset="));
    }
}

static void end_line(struct lines *lines)
{
    lines->line[lines->size] = '\0';
    note_progress(lines);
    if (lines->json) {
        json_t *object = line_json(lines->line);
        int rc = fputs(lines->count == 0 ? "" : ",", stdout);
        if (rc >= 0 && object != NULL) {
            rc = json_dumpf(object, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
        }
        lines->failed = lines->failed || rc < 0 || object == NULL;
        json_decref(object);
    } else {
        lines->failed = lines->failed || puts(lines->line) == EOF;
    }
    lines->count++;
    lines->size = 0;
}

static ssize_t lines_write(void *cookie, const char *text, size_t size)
{
    struct lines *lines = cookie;

    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n') {
            end_line(lines);
        } else if (lines->size + 1 < sizeof lines->line) {
            lines->line[lines->size++] = text[i];
        }
    }
    return lines->failed ? 0 : (ssize_t)size;
}

static int dump_to(struct lines *lines, const struct dump_source *source, char *message,
                   size_t message_size)
{
    FILE *out = fopencookie(lines, "w", (cookie_io_functions_t){.write = lines_write});

    if (out == NULL) {
        return -errno;
    }
    int rc = source->dump(source->context, source->path, out, message, message_size);
    if (fclose(out) != 0 && rc == 0) {
        rc = -EIO;
    }
    return rc;
}

static int log_to(void *context, const char *path, FILE *out, char *message, size_t message_size)
{
    (void)context;
    return dump_log(heap_memory(), path, out, message, message_size);
}

static int data_to(void *context, const char *path, FILE *out, char *message, size_t message_size)
{
    (void)context;
    return dump_data(heap_memory(), path, out, message, message_size);
}

/* One of the two was given what the other one shows, or something else. */
static const char *advice_of(const struct dump_source *source, int rc)
{
    if (source->dump == log_to && rc == -EISDIR) {
        return "; belayctl data dump shows a data directory";
    }
    return source->dump == data_to && (rc == -ENOENT || rc == -ENOTDIR)
               ? "; no data directory of Belay is there (storage.dir)"
               : "";
}

static int dump_failed(struct ctl *ctl, const struct dump_source *source, int rc,
                       const char *message)
{
    char text[1200];

    if (message[0] != '\0') {
        snprintf(text, sizeof text, "%s%s", message, advice_of(source, rc));
    } else {
        snprintf(text, sizeof text, "%s: %s%s", source->path, strerror(-rc), advice_of(source, rc));
    }
    if (!ctl->json) {
        fprintf(stderr, "belayctl: %s: %s\n", ctl->command->words, text);
        return CTL_REFUSED;
    }
    json_t *error = json_pack("{s:s, s:s, s:s}", "status", "FAILED", "text", text, "node", "");
    fputs("],\"error\":", stdout);
    json_dumpf(error, stdout, JSON_COMPACT | JSON_SORT_KEYS);
    puts("}");
    json_decref(error);
    return CTL_REFUSED;
}

int dump_run(struct ctl *ctl, const struct dump_source *source)
{
    struct lines *lines = calloc(1, sizeof *lines);
    struct stat file;
    char message[1024] = "";

    if (lines == NULL) {
        return CTL_REFUSED;
    }
    lines->json = ctl->json;
    bool sized = strcmp(source->what, "bytes") == 0 && stat(source->path, &file) == 0;
    progress_begin(&lines->progress, source->what, sized ? (uint64_t)file.st_size : 0);
    if (ctl->json) {
        fputs("{\"lines\":[", stdout);
    }
    int rc = dump_to(lines, source, message, sizeof message);
    progress_end(&lines->progress);
    if (lines->failed) {
        rc =
            CTL_REFUSED; /* Nothing is wrong with what was read; that the output is not whole is told at the end. */
    } else if (rc != 0) {
        rc = dump_failed(ctl, source, rc, message);
    } else if (ctl->json) {
        puts("]}");
    }
    free(lines);
    return rc;
}

static int run_dump(struct ctl *ctl, int argc, char **argv, struct dump_source source)
{
    const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    source.path = operands.items[0];
    return dump_run(ctl, &source);
}

int log_dump_run(struct ctl *ctl, int argc, char **argv)
{
    return run_dump(ctl, argc, argv, (struct dump_source){.what = "bytes", .dump = log_to});
}

int data_dump_run(struct ctl *ctl, int argc, char **argv)
{
    return run_dump(ctl, argc, argv, (struct dump_source){.what = "sessions", .dump = data_to});
}
