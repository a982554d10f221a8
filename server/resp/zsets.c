/* Commands on sorted sets. */
#include "commands.h"
#include "run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct scored {
    double score;
    struct bytes member;
};

static int compare(const void *left, const void *right)
{
    const struct scored *a = left, *b = right;

    if (a->score != b->score) {
        return a->score < b->score ? -1 : 1;
    }
    return bytes_compare(a->member, b->member);
}

/* All members, by score and then by name. They lie in the turn's list of changes. */
static int sort(struct run *run, struct session_view *view, struct scored **members, size_t *count)
{
    struct buffer *room = run->turn->changes;
    struct session_field field;

    *count = 0;
    *members = NULL;
    room->size = 0;
    if (view == NULL) {
        return 0;
    }
    int rc = buffer_reserve(room, view->field_count * sizeof **members);
    if (rc != 0) {
        return rc;
    }
    *members = (struct scored *)(void *)room->data;
    session_rewind(view);
    while (*count < view->field_count && session_next(view, false, &field)) {
        (*members)[(*count)++] = (struct scored){run_score_of(field.value), field.name};
    }
    if (*count > 1) {
        qsort(*members, *count, sizeof **members, compare);
    }
    return 0;
}

/* ---- ZADD ---- */

struct add_options {
    uint32_t flags;
    bool changed, increment;
};

static const char *read_add_options(struct run *run, struct add_options *options)
{
    static const struct {
        const char *word;
        uint32_t flag;
    } words[] = {{"nx", SCORE_NX}, {"xx", SCORE_XX}, {"gt", SCORE_GT}, {"lt", SCORE_LT}};

    *options = (struct add_options){0};
    for (bool more = true; more && run->rest.count > 0;) {
        struct resp_arguments before = run->rest;
        struct bytes word = run_next(run);
        more = false;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            if (run_is(word, words[i].word)) {
                options->flags |= words[i].flag;
                more = true;
            }
        }
        if (run_is(word, "ch") || run_is(word, "incr")) {
            options->changed |= run_is(word, "ch");
            options->increment |= run_is(word, "incr");
            more = true;
        }
        if (!more) {
            run->rest = before;
        }
    }
    uint32_t flags = options->flags;
    if (run->rest.count == 0 || run->rest.count % 2 != 0) {
        return run_syntax;
    }
    if ((flags & SCORE_NX) != 0 && (flags & SCORE_XX) != 0) {
        return "ERR XX and NX options at the same time are not compatible";
    }
    if (((flags & SCORE_NX) != 0 && (flags & (SCORE_GT | SCORE_LT)) != 0) ||
        ((flags & SCORE_GT) != 0 && (flags & SCORE_LT) != 0)) {
        return "ERR GT, LT, and/or NX options at the same time are not compatible";
    }
    if (options->increment && run->rest.count != 2) {
        return "ERR INCR option supports a single increment-element pair";
    }
    return NULL;
}

/* Does a member that has `present` (NULL: is not there) take the score? */
static bool takes(uint32_t flags, const double *present, double score)
{
    if (present == NULL) {
        return (flags & SCORE_XX) == 0;
    }
    return (flags & SCORE_NX) == 0 && ((flags & SCORE_GT) == 0 || score > *present) &&
           ((flags & SCORE_LT) == 0 || score < *present);
}

static enum status increment(struct run *run, uint32_t flags)
{
    struct change change = {.operation = CHANGE_SET_SCORE};
    struct session_field field;
    struct session_view *view;
    double present, delta;

    if (!run_parse_double(run_next(run), &delta)) {
        return run_error(run, run_not_float);
    }
    enum status status = run_view(run, SESSION_ZSET, &view);
    if (status != STATUS_OK) {
        return status;
    }
    change.name = run_next(run);
    bool there = view != NULL && session_find(view, change.name, &field);
    present = there ? run_score_of(field.value) : 0;
    change.score = present + delta;
    if (isnan(change.score)) {
        return run_error(run, "ERR resulting score is not a number (NaN)");
    }
    if (!takes(flags, there ? &present : NULL, change.score)) {
        return run_end(resp_null(&run->out));
    }
    run_change_begin(run);
    int rc = run_change(run, &change);
    status = run_write(run, rc, WRITE_UPSERT, SESSION_ZSET, NULL);
    if (status != STATUS_OK && status != STATUS_DESTROYED) {
        return status;
    }
    return run_end(run_put_double(run, change.score));
}

enum status command_zadd(struct turn *turn)
{
    struct add_options options;
    struct session_view *view;
    struct bytes results;
    int64_t counted = 0;
    struct run run;
    int rc = 0;

    run_begin(&run, turn);
    const char *error = read_add_options(&run, &options);
    if (error != NULL) {
        return run_error(&run, error);
    }
    if (options.increment) {
        return increment(&run, options.flags);
    }
    uint32_t pairs = run.rest.count / 2;
    run_change_begin(&run);
    for (uint32_t i = 0; rc == 0 && i < pairs; i++) {
        struct change change = {.operation = CHANGE_SET_SCORE, .flags = options.flags};
        if (!run_parse_double(run_next(&run), &change.score)) {
            return run_error(&run, run_not_float);
        }
        change.name = run_next(&run);
        rc = run_change(&run, &change);
    }
    enum status status = run_view(&run, SESSION_ZSET, &view);
    if (status != STATUS_OK) {
        return status;
    }
    if (view == NULL && (options.flags & SCORE_XX) != 0) {
        return run_number(&run, 0);
    }
    status = run_write(&run, rc, WRITE_UPSERT, SESSION_ZSET, &results);
    if (status == STATUS_DESTROYED) {
        return run_number(&run, 0);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct reader reader = reader_of(results);
    for (uint32_t i = 0; i < pairs; i++) {
        int64_t result = run_result(&reader);
        counted += result == 1 || (result == 2 && options.changed);
    }
    return run_number(&run, counted);
}

enum status command_zincrby(struct turn *turn)
{
    struct run run;

    run_begin(&run, turn);
    return increment(&run, 0);
}

enum status command_zrem(struct turn *turn)
{
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_ZSET, &view);
    return status != STATUS_OK ? status : run_remove(&run, view);
}

enum status command_zcard(struct turn *turn)
{
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_ZSET, &view);
    return status != STATUS_OK ? status : run_number(&run, view == NULL ? 0 : view->field_count);
}

enum status command_zscore(struct turn *turn)
{
    struct session_field field;
    struct session_view *view;
    struct run run;

    run_begin(&run, turn);
    enum status status = run_view(&run, SESSION_ZSET, &view);
    if (status != STATUS_OK) {
        return status;
    }
    if (view == NULL || !session_find(view, run_next(&run), &field)) {
        return run_end(resp_null(&run.out));
    }
    return run_end(run_put_double(&run, run_score_of(field.value)));
}

/* ---- Ranges ---- */

struct bound {
    double score;
    bool open;
};

/* Of names: "-" and "+" are before and behind all. */
struct name_bound {
    bool open, least, most;
    struct bytes name;
};

struct range {
    bool by_score, by_name, reverse, scores, limited;
    struct bound low, high;
    struct name_bound from, to;
    int64_t first, last; /* By place. */
    int64_t offset, count;
};

static bool read_bound(struct bytes text, struct bound *bound)
{
    bound->open = text.size > 0 && text.data[0] == '(';
    if (bound->open) {
        text = bytes_of(text.data + 1, text.size - 1);
    }
    return run_parse_bound(text, &bound->score);
}

static bool read_name_bound(struct bytes text, struct name_bound *bound)
{
    uint8_t first = text.size > 0 ? text.data[0] : 0;

    bound->least = text.size == 1 && first == '-';
    bound->most = text.size == 1 && first == '+';
    bound->open = first == '(';
    if (bound->least || bound->most) {
        return true;
    }
    if (first != '(' && first != '[') {
        return false;
    }
    bound->name = bytes_of(text.data + 1, text.size - 1);
    return true;
}

static const char *read_range_options(struct run *run, struct range *range, bool any)
{
    while (run->rest.count > 0) {
        struct bytes word = run_next(run);
        if (run_is(word, "withscores")) {
            range->scores = true;
        } else if (any && run_is(word, "byscore")) {
            range->by_score = true;
        } else if (any && run_is(word, "bylex")) {
            range->by_name = true;
        } else if (any && run_is(word, "rev")) {
            range->reverse = true;
        } else if (run_is(word, "limit") && run->rest.count >= 2) {
            range->limited = true;
            if (!run_integer(run, &range->offset) || !run_integer(run, &range->count)) {
                return run_not_integer;
            }
        } else {
            return run_syntax;
        }
    }
    if (range->by_name && range->scores) {
        return "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
    }
    if (range->limited && range->count != -1 && !range->by_score && !range->by_name) {
        return "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or "
               "BYLEX";
    }
    return NULL;
}

static const char *read_limits(struct range *range, struct bytes begin, struct bytes end)
{
    if (range->by_name) {
        return read_name_bound(range->reverse ? end : begin, &range->from) &&
                       read_name_bound(range->reverse ? begin : end, &range->to)
                   ? NULL
                   : "ERR min or max not valid string range item";
    }
    if (range->by_score) {
        struct bytes low = range->reverse ? end : begin, high = range->reverse ? begin : end;
        return read_bound(low, &range->low) && read_bound(high, &range->high)
                   ? NULL
                   : "ERR min or max is not a float";
    }
    return resp_integer(begin, &range->first) && resp_integer(end, &range->last) ? NULL
                                                                                 : run_not_integer;
}

static bool is_within(const struct range *range, double score)
{
    return (range->low.open ? score > range->low.score : score >= range->low.score) &&
           (range->high.open ? score < range->high.score : score <= range->high.score);
}

static bool is_named_within(const struct range *range, struct bytes name)
{
    int low = range->from.least ? 1 : range->from.most ? -1 : bytes_compare(name, range->from.name);
    int high = range->to.most ? -1 : range->to.least ? 1 : bytes_compare(name, range->to.name);

    return (range->from.open ? low > 0 : low >= 0) && (range->to.open ? high < 0 : high <= 0);
}

static bool is_member_within(const struct range *range, const struct scored *member)
{
    return range->by_name ? is_named_within(range, member->member)
                          : is_within(range, member->score);
}

/* From place `first` on, `count` of the sorted members, counted from the end where reversed. */
static void by_place(const struct range *range, size_t size, size_t *first, size_t *count)
{
    int64_t all = (int64_t)size, begin = range->first, end = range->last;

    begin = begin < 0 ? begin + all : begin;
    end = end < 0 ? end + all : end;
    begin = begin < 0 ? 0 : begin;
    end = end >= all ? all - 1 : end;
    *first = begin <= end ? (size_t)begin : 0;
    *count = begin <= end ? (size_t)(end - begin + 1) : 0;
}

static void by_bounds(const struct range *range, const struct scored members[], size_t size,
                      size_t *first, size_t *count)
{
    size_t low = 0, high = size;

    while (low < size && !is_member_within(range, &members[low])) {
        low++;
    }
    high = low;
    while (high < size && is_member_within(range, &members[high])) {
        high++;
    }
    *first = range->reverse ? size - high : low;
    *count = high - low;
    if (!range->limited) {
        return;
    }
    size_t skip =
        range->offset < 0 || (uint64_t)range->offset > *count ? *count : (size_t)range->offset;
    *first += skip;
    *count -= skip;
    if (range->count >= 0 && (uint64_t)range->count < *count) {
        *count = (size_t)range->count;
    }
}

static int put_range(struct run *run, const struct range *range, const struct scored members[],
                     size_t size)
{
    size_t first, count;

    if (range->by_score || range->by_name) {
        by_bounds(range, members, size, &first, &count);
    } else {
        by_place(range, size, &first, &count);
    }
    bool pairs = range->scores && run->out.resp3;
    int rc = resp_array(&run->out, range->scores && !pairs ? 2 * count : count);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        size_t at = first + i;
        const struct scored *member = &members[range->reverse ? size - 1 - at : at];
        rc = pairs ? resp_array(&run->out, 2) : 0;
        rc = rc != 0 ? rc : resp_bulk(&run->out, member->member);
        if (rc == 0 && range->scores) {
            rc = run_put_double(run, member->score);
        }
    }
    return rc;
}

static enum status answer_range(struct turn *turn, struct range range, bool any)
{
    struct session_view *view;
    struct scored *members;
    struct run run;
    size_t size;

    run_begin(&run, turn);
    struct bytes begin = run_next(&run), end = run_next(&run);
    const char *error = read_range_options(&run, &range, any);
    error = error != NULL ? error : read_limits(&range, begin, end);
    if (error != NULL) {
        return run_error(&run, error);
    }
    enum status status = run_view(&run, SESSION_ZSET, &view);
    if (status != STATUS_OK) {
        return status;
    }
    int rc = sort(&run, view, &members, &size);
    return run_end(rc != 0 ? rc : put_range(&run, &range, members, size));
}

enum status command_zrange(struct turn *turn)
{
    return answer_range(turn, (struct range){.count = -1}, true);
}

enum status command_zrevrange(struct turn *turn)
{
    return answer_range(turn, (struct range){.reverse = true, .count = -1}, false);
}

enum status command_zrangebyscore(struct turn *turn)
{
    return answer_range(turn, (struct range){.by_score = true, .count = -1}, false);
}

enum status command_zrevrangebyscore(struct turn *turn)
{
    return answer_range(turn, (struct range){.by_score = true, .reverse = true, .count = -1},
                        false);
}

enum status command_zcount(struct turn *turn)
{
    struct range range = {.by_score = true, .count = -1};
    struct session_field field;
    struct session_view *view;
    int64_t count = 0;
    struct run run;

    run_begin(&run, turn);
    struct bytes low = run_next(&run);
    const char *error = read_limits(&range, low, run_next(&run));
    if (error != NULL) {
        return run_error(&run, error);
    }
    enum status status = run_view(&run, SESSION_ZSET, &view);
    if (status != STATUS_OK) {
        return status;
    }
    while (view != NULL && session_next(view, false, &field)) {
        count += is_within(&range, run_score_of(field.value));
    }
    return run_number(&run, count);
}
