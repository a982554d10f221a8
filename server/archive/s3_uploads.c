#include "s3_uploads.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "object_store.h"
#include "s3_xml.h"
#include "sigv4.h"

struct reading {
    struct s3_uploads *uploads;
    const char *prefix;
    char before[SIGV4_DATE_BYTES], begun[SIGV4_DATE_BYTES];
    char name[OBJECT_NAME_BYTES_MAX + 1], id[S3_UPLOAD_ID_BYTES];
    int rc;
};

/* 2015-08-30T12:36:00.000Z as sigv4_date() writes it, in which order is that of time. Returns whether it is such a time. */
static bool read_time(const char *text, char time[SIGV4_DATE_BYTES])
{
    static const char form[] = "0000-00-00T00:00:00";
    size_t size = 0;

    for (size_t i = 0; i < sizeof form - 1; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (form[i] == '0' ? !digit : text[i] != form[i]) {
            return false;
        }
        if (digit || text[i] == 'T') {
            time[size++] = text[i];
        }
    }
    strcpy(time + size, "Z");
    return true;
}

/* Take a text into a field of so many bytes. */
static bool take(char *field, size_t size, const char *text)
{
    if (text[0] == '\0' || strlen(text) >= size) {
        return false;
    }
    strcpy(field, text);
    return true;
}

static void on_text(void *context, const char *parent, const char *element, const char *text)
{
    struct reading *reading = context;
    bool good = true;

    if (strcmp(element, "IsTruncated") == 0) {
        reading->uploads->more = strcmp(text, "true") == 0;
    }
    if (strcmp(parent, "Upload") != 0) {
        return;
    }
    if (strcmp(element, "Key") == 0) {
        size_t skip = strlen(reading->prefix);
        good = strncmp(text, reading->prefix, skip) == 0 &&
               take(reading->name, sizeof reading->name, text + skip);
    } else if (strcmp(element, "UploadId") == 0) {
        good = take(reading->id, sizeof reading->id, text);
    } else if (strcmp(element, "Initiated") == 0) {
        good = read_time(text, reading->begun);
    }
    reading->rc = good ? reading->rc : -EBADMSG;
}

static int add(struct s3_uploads *uploads, const char *name, const char *id)
{
    if (uploads->count == uploads->capacity) {
        uint32_t capacity = uploads->capacity == 0 ? 16 : 2 * uploads->capacity;
        struct s3_upload *table = realloc(uploads->table, capacity * sizeof *table);
        if (table == NULL) {
            return -ENOMEM;
        }
        uploads->table = table;
        uploads->capacity = capacity;
    }
    size_t name_size = strlen(name) + 1;
    char *texts = malloc(name_size + strlen(id) + 1);
    if (texts == NULL) {
        return -ENOMEM;
    }
    strcpy(texts, name);
    strcpy(texts + name_size, id);
    uploads->table[uploads->count++] = (struct s3_upload){texts, texts + name_size};
    return 0;
}

static void on_end(void *context, const char *element)
{
    struct reading *reading = context;

    if (strcmp(element, "Upload") != 0 || reading->rc != 0) {
        return;
    }
    if (reading->name[0] == '\0' || reading->id[0] == '\0' || reading->begun[0] == '\0') {
        reading->rc = -EBADMSG;
    } else if (strcmp(reading->begun, reading->before) < 0) {
        reading->rc = add(reading->uploads, reading->name, reading->id);
    }
    reading->name[0] = reading->id[0] = reading->begun[0] = '\0';
}

int s3_uploads_read(struct s3_uploads *uploads, struct bytes xml, const char *prefix,
                    uint64_t before_ms)
{
    struct reading reading = {.uploads = uploads, .prefix = prefix};
    const struct s3_xml_visitor visitor = {on_text, on_end, &reading};

    sigv4_date(before_ms / 1000, reading.before);
    int rc = s3_xml_visit(xml, &visitor);
    return rc != 0 ? rc : reading.rc;
}

void s3_uploads_fini(struct s3_uploads *uploads)
{
    for (uint32_t i = 0; i < uploads->count; i++) {
        free(uploads->table[i].name);
    }
    free(uploads->table);
    *uploads = (struct s3_uploads){0};
}
