#include "ring_svg.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "slot.h"

/* Pixels. */
enum {
    SIZE = 640,
    OUTER_RADIUS = 300,
    TRACK = 44, /* From one copy's arcs to the next one's. */
    ARC = 38,
    LEGEND_X = SIZE + 20,
    LEGEND_WIDTH = 260,
    LEGEND_LINE = 22,
    LEGEND_LINES = SIZE / LEGEND_LINE - 3,
};

#define GOLDEN_ANGLE 137.50776

/* Colours that are far apart however many nodes there are: each next one by the golden angle. */
static void put_colour(FILE *to, size_t node)
{
    fprintf(to, "hsl(%.0f,65%%,%d%%)", fmod((double)node * GOLDEN_ANGLE, 360),
            node % 2 == 0 ? 45 : 60);
}

static void put_escaped(FILE *to, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", to);
            break;
        case '>':
            fputs("&gt;", to);
            break;
        case '&':
            fputs("&amp;", to);
            break;
        default:
            fputc(*text, to);
        }
    }
}

static void put_point(FILE *to, double radius, double slot)
{
    double angle = slot / SLOT_COUNT * 2 * M_PI;

    fprintf(to, "%.2f %.2f", SIZE / 2.0 + radius * sin(angle), SIZE / 2.0 - radius * cos(angle));
}

/* From a slot to before another one. A whole circle has no arc of its own in SVG: it is two. */
static void put_arc(FILE *to, size_t node, size_t rank, double first, double end)
{
    double outer = OUTER_RADIUS - (double)rank * TRACK, inner = outer - ARC;

    if (end - first > SLOT_COUNT / 2.0) {
        put_arc(to, node, rank, first, first + SLOT_COUNT / 2.0);
        first += SLOT_COUNT / 2.0;
    }
    fputs("<path fill=\"", to);
    put_colour(to, node);
    fputs("\" d=\"M", to);
    put_point(to, outer, first);
    fprintf(to, "A%.0f %.0f 0 0 1 ", outer, outer);
    put_point(to, outer, end);
    fputc('L', to);
    put_point(to, inner, end);
    fprintf(to, "A%.0f %.0f 0 0 0 ", inner, inner);
    put_point(to, inner, first);
    fputs("Z\"/>\n", to);
}

static size_t node_named(const json_t *nodes, const char *name)
{
    const json_t *node;
    size_t index;

    json_array_foreach(nodes, index, node)
    {
        if (strcmp(json_string_value(json_object_get(node, "name")), name) == 0) {
            return index;
        }
    }
    return 0;
}

static const char *owner_of(const json_t *run, size_t rank)
{
    const json_t *owners = json_object_get(run, "owners");

    return rank < json_array_size(owners) ? json_string_value(json_array_get(owners, rank)) : NULL;
}

static size_t put_run(FILE *to, const json_t *document, size_t rank, size_t begin)
{
    const json_t *runs = json_object_get(document, "runs");
    const json_t *first = json_array_get(runs, begin), *last = first;
    const char *name = owner_of(first, rank);
    size_t end = begin + 1;

    for (; end < json_array_size(runs); end++) {
        const char *next = owner_of(json_array_get(runs, end), rank);
        if (name == NULL || next == NULL || strcmp(name, next) != 0) {
            break;
        }
        last = json_array_get(runs, end);
    }
    if (name != NULL) {
        put_arc(to, node_named(json_object_get(document, "nodes"), name), rank,
                (double)json_integer_value(json_object_get(first, "first")),
                (double)json_integer_value(json_object_get(last, "last")) + 1);
    }
    return end;
}

/* Runs that differ only in other copies are one arc. */
static void put_track(FILE *to, const json_t *document, size_t rank)
{
    size_t count = json_array_size(json_object_get(document, "runs"));

    for (size_t begin = 0; begin < count;) {
        begin = put_run(to, document, rank, begin);
    }
}

static void put_legend(FILE *to, const json_t *document)
{
    const json_t *nodes = json_object_get(document, "nodes"), *node;
    size_t index;

    fprintf(to,
            "<text x=\"%d\" y=\"24\">epoch %" PRId64 "; the outer circle is the primaries</text>\n",
            LEGEND_X, (int64_t)json_integer_value(json_object_get(document, "epoch")));
    json_array_foreach(nodes, index, node)
    {
        int y = 56 + (int)index * LEGEND_LINE;
        if (index == LEGEND_LINES) {
            fprintf(to, "<text x=\"%d\" y=\"%d\">and %zu more</text>\n", LEGEND_X, y,
                    json_array_size(nodes) - index);
            break;
        }
        fprintf(to, "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" fill=\"", LEGEND_X, y - 12);
        put_colour(to, index);
        fprintf(to, "\"/><text x=\"%d\" y=\"%d\">", LEGEND_X + 22, y);
        put_escaped(to, json_string_value(json_object_get(node, "name")));
        fprintf(to, " (%s", json_string_value(json_object_get(node, "state")));
        const char *zone = json_string_value(json_object_get(node, "zone"));
        if (zone[0] != '\0') {
            fputs(", ", to);
            put_escaped(to, zone);
        }
        fputs(")</text>\n", to);
    }
}

int ring_svg(const json_t *document, FILE *to)
{
    size_t replicas = (size_t)json_integer_value(json_object_get(document, "replicas"));

    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"14\">\n<rect width=\"100%%\" height=\"100%%\" "
            "fill=\"white\"/>\n",
            LEGEND_X + LEGEND_WIDTH, SIZE);
    for (size_t rank = 0; rank < replicas; rank++) {
        put_track(to, document, rank);
    }
    put_legend(to, document);
    fputs("</svg>\n", to);
    return ferror(to) ? -EIO : 0;
}
