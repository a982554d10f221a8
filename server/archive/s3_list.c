#include "s3_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "s3_xml.h"

struct reading {
    struct object_list *list;
    const char *prefix;
    char name[OBJECT_NAME_BYTES_MAX + 1];
    bool has_name;
    uint64_t size;
    int rc;
};

static void on_text(void *context, const char *parent, const char *element, const char *text)
{
    struct reading *reading = context;

    if (strcmp(parent, "Contents") == 0 && strcmp(element, "Key") == 0) {
        size_t skip = strlen(reading->prefix);
        if (strncmp(text, reading->prefix, skip) != 0 ||
            strlen(text + skip) > OBJECT_NAME_BYTES_MAX) {
            reading->rc = -EBADMSG;
            return;
        }
        strcpy(reading->name, text + skip);
        reading->has_name = true;
    } else if (strcmp(parent, "Contents") == 0 && strcmp(element, "Size") == 0) {
        reading->size = strtoull(text, NULL, 10);
    } else if (strcmp(element, "IsTruncated") == 0) {
        reading->list->more = strcmp(text, "true") == 0;
    }
}

static void on_end(void *context, const char *element)
{
    struct reading *reading = context;

    if (strcmp(element, "Contents") != 0 || reading->rc != 0) {
        return;
    }
    reading->rc =
        reading->has_name ? object_list_add(reading->list, reading->name, reading->size) : -EBADMSG;
    reading->has_name = false;
    reading->size = 0;
}

int s3_list_read(struct object_list *list, struct bytes xml, const char *prefix)
{
    struct reading reading = {.list = list, .prefix = prefix};
    const struct s3_xml_visitor visitor = {on_text, on_end, &reading};

    int rc = s3_xml_visit(xml, &visitor);
    return rc != 0 ? rc : reading.rc;
}
