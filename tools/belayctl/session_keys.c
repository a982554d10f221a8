/* belayctl session del, session touch: what is done to many sessions alike, each by a write of its own. So many at once, as one
 * after the other each would take the way to the server and to a copy. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "limits.h"

enum { AT_ONCE = 256, SCAN_KEYS = 1000, TEXT_BYTES = 64, FAILURE_BYTES = 400 };

struct action {
    const char *done; /* "deleted": in words, and in JSON. */
    bool ends; /* The session is not there any more: a write that finds none succeeds, too. */
};

static const struct action action_del = {.done = "deleted", .ends = true};
static const struct action action_touch = {.done = "touched"};

/* One session's write, and what became of it. */
struct item {
    struct belay_bytes key;
    enum belay_status status;
    bool found;
    char text[FAILURE_BYTES], node[FAILURE_BYTES]; /* Of a failure. */
};

static bool has_failed(const struct item *item)
{
    return item->status != BELAY_OK && item->status != BELAY_NOT_FOUND;
}

static void fail(struct item *item, enum belay_status status, const char *text, const char *node)
{
    item->status = status;
    snprintf(item->text, sizeof item->text, "%s", text);
    snprintf(item->node, sizeof item->node, "%s", node);
}

static void on_written(struct belay_result *result, void *context)
{
    struct item *item = context;

    item->status = belay_result_status(result);
    item->found = item->status == BELAY_OK;
    if (has_failed(item)) {
        fail(item, item->status, belay_result_text(result), belay_result_node(result));
    }
}

static void on_ended(struct belay_result *result, void *context)
{
    struct item *item = context;

    on_written(result, item);
    item->found = item->found && belay_result_change(result, 0) == 1;
}

static void send_one(struct belay_client *client, const struct action *action, struct item *item)
{
    struct belay_request *write =
        belay_write_begin(client, item->key, action->ends ? BELAY_UPSERT : BELAY_UPDATE);

    if (action->ends) {
        belay_write_destroy(write);
    } else {
        belay_write_touch(write);
    }
    enum belay_status status = belay_send(write, action->ends ? on_ended : on_written, item);
    if (status != BELAY_OK) {
        fail(item, status, belay_status_text(status), "");
    }
}

/* At most AT_ONCE. */
static void write_all(struct belay_client *client, const struct action *action, struct item items[],
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        items[i].found = false;
        send_one(client, action, &items[i]);
    }
    belay_client_run(client);
}

/* ---- Keys that are given ---- */

struct keys {
    struct ctl *ctl;
    const struct action *action;
    char **keys;
    int count, tried;
    json_t *list;
    int worst; /* Exit code. */
};

static void tell(struct keys *keys, const struct item *item)
{
    FILE *to = item->found ? stdout : stderr;

    keys->worst = item->found || keys->worst != CTL_OK ? keys->worst : CTL_REFUSED;
    if (keys->ctl->json) {
        json_t *object = json_object();
        json_set_bytes(object, "key", item->key);
        json_object_set_new(object, keys->action->done, json_boolean(item->found));
        json_array_append_new(keys->list, object);
        return;
    }
    fprintf(to, "%s: ", item->found ? keys->action->done : "no such session");
    show_bytes(to, item->key);
    fputc('\n', to);
}

/* The next ones. Returns whether to go on: with --json the first failure is all that is printed. */
static bool next_keys(struct keys *keys, struct belay_client *client, struct item items[])
{
    const int left = keys->count - keys->tried;
    const int count = left < AT_ONCE ? left : AT_ONCE;
    char **next = keys->keys + keys->tried;
    bool failed = false;

    for (int i = 0; i < count; i++) {
        items[i].key = belay_text(next[i]);
    }
    write_all(client, keys->action, items, (size_t)count);
    keys->tried += count;
    for (int i = 0; i < count; i++) {
        if (!has_failed(&items[i])) {
            tell(keys, &items[i]);
        } else if (!failed || !keys->ctl->json) {
            int rc =
                ctl_failed_for(keys->ctl, next[i], items[i].status, items[i].text, items[i].node);
            keys->worst = failed ? keys->worst : rc;
            failed = true;
        }
    }
    return !failed;
}

static int each_key(struct keys *keys)
{
    struct belay_client *client = ctl_client(keys->ctl);
    struct item *items = calloc(AT_ONCE, sizeof *items);
    bool good = true;

    if (client == NULL || items == NULL) {
        free(items);
        return CTL_USAGE;
    }
    keys->list = json_array();
    while (good && keys->tried < keys->count) {
        good = next_keys(keys, client, items);
    }
    if (!good && keys->tried < keys->count && !keys->ctl->json) {
        fprintf(stderr, "belayctl: %s: the last %d keys were not tried\n",
                keys->ctl->command->words, keys->count - keys->tried);
    }
    if (good && keys->ctl->json) {
        int rc = ctl_print_json(json_pack("{s:O}", "sessions", keys->list));
        keys->worst = rc > keys->worst ? rc : keys->worst;
    }
    json_decref(keys->list);
    free(items);
    return keys->worst;
}

/* ---- All of a prefix ---- */

struct sweep {
    struct ctl *ctl;
    const char *prefix;
    bool ends;         /* Else they are counted. */
    uint64_t sessions; /* That were there. */
    struct item items[AT_ONCE];
    struct progress progress;
};

static int end_items(struct sweep *sweep, struct belay_client *client, size_t count)
{
    write_all(client, &action_del, sweep->items, count);
    for (size_t i = 0; i < count; i++) {
        sweep->sessions += sweep->items[i].found;
    }
    for (size_t i = 0; i < count; i++) {
        const struct item *item = &sweep->items[i];
        if (has_failed(item)) {
            progress_end(&sweep->progress);
            return ctl_failed_for(sweep->ctl, sweep->prefix, item->status, item->text, item->node);
        }
    }
    progress_update(&sweep->progress, sweep->sessions);
    return CTL_OK;
}

static int sweep_page(struct sweep *sweep, struct belay_client *client, struct belay_result *page)
{
    size_t position = 0, count = 0;
    struct belay_bytes key;
    int rc = CTL_OK;

    while (rc == CTL_OK && belay_result_key(page, &position, &key)) {
        if (!sweep->ends) {
            sweep->sessions++;
            continue;
        }
        sweep->items[count++].key = key;
        if (count == AT_ONCE) {
            rc = end_items(sweep, client, count);
            count = 0;
        }
    }
    return rc == CTL_OK && count > 0 ? end_items(sweep, client, count) : rc;
}

static int sweep_all(struct sweep *sweep)
{
    struct belay_client *client = ctl_client(sweep->ctl);
    uint64_t cursor = 0;
    int rc = client == NULL ? CTL_USAGE : CTL_OK;

    progress_begin(&sweep->progress, sweep->ends ? "deleted" : "sessions", 0);
    while (rc == CTL_OK) {
        struct belay_result *page;
        enum belay_status status = belay_run(
            belay_scan_begin(client, cursor, belay_text(sweep->prefix), BELAY_NONE, SCAN_KEYS),
            &page);
        if (status != BELAY_OK) {
            progress_end(&sweep->progress);
            return ctl_failed(sweep->ctl, sweep->prefix, status, page);
        }
        rc = sweep_page(sweep, client, page);
        cursor = belay_result_cursor(page);
        belay_result_destroy(page);
        if (!sweep->ends) {
            progress_update(&sweep->progress, sweep->sessions);
        }
        if (cursor == 0) {
            break;
        }
    }
    progress_end(&sweep->progress);
    return rc;
}

/* Without --force it is only said what would be ended, and refused. */
static int end_prefix(struct ctl *ctl, const char *prefix, bool force)
{
    struct sweep *sweep = calloc(1, sizeof *sweep);
    char count[TEXT_BYTES], text[2 * TEXT_BYTES];

    if (sweep == NULL) {
        fprintf(stderr, "belayctl: out of memory\n");
        return CTL_REFUSED;
    }
    sweep->ctl = ctl;
    sweep->prefix = prefix;
    sweep->ends = force;
    int rc = sweep_all(sweep);
    show_count(sweep->sessions, count, sizeof count);
    if (rc != CTL_OK && force && sweep->sessions > 0 && !ctl->json) {
        fprintf(stderr, "belayctl: %s: %s sessions were deleted before that\n", ctl->command->words,
                count);
    } else if (rc == CTL_OK && !force && sweep->sessions > 0) {
        snprintf(text, sizeof text, "%s sessions begin so: --force ends them", count);
        rc = ctl_failed_for(ctl, prefix, BELAY_UNSUPPORTED, text, "");
    } else if (rc == CTL_OK && ctl->json) {
        rc = ctl_print_json(json_pack("{s:I}", "deleted", (json_int_t)sweep->sessions));
    } else if (rc == CTL_OK) {
        printf("deleted %s sessions\n", count);
    }
    free(sweep);
    return rc;
}

/* ---- The commands ---- */

int session_del_run(struct ctl *ctl, int argc, char **argv)
{
    struct keys keys = {.ctl = ctl, .action = &action_del, .keys = argv};
    const char *prefix = NULL;
    bool force = false;
    const struct option options[] = {{"prefix", OPTION_TEXT, &prefix},
                                     {"force", OPTION_FLAG, &force},
                                     {NULL, OPTION_FLAG, NULL}};
    int rc = arguments_keep(ctl, argc, argv, options, &keys.count);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    if (prefix == NULL && force) {
        return ctl_usage(ctl, "--force goes with --prefix");
    }
    if (prefix == NULL) {
        return keys.count == 0 ? arguments_missing(ctl) : each_key(&keys);
    }
    if (keys.count > 0) {
        return ctl_usage(ctl, "keys and --prefix do not go together");
    }
    if (prefix[0] == '\0') {
        return ctl_usage(ctl, "--prefix is empty, and all sessions begin so: say with what");
    }
    rc = ctl_length_check(ctl, "--prefix", strlen(prefix), KEY_BYTES_MAX);
    return rc == CTL_OK ? end_prefix(ctl, prefix, force) : rc;
}

int session_touch_run(struct ctl *ctl, int argc, char **argv)
{
    struct keys keys = {.ctl = ctl, .action = &action_touch, .keys = argv};
    const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    int rc = arguments_keep(ctl, argc, argv, options, &keys.count);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    return keys.count == 0 ? arguments_missing(ctl) : each_key(&keys);
}
