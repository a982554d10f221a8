#include "s3_xml.h"

#include <errno.h>
#include <expat.h>
#include <stdint.h>
#include <stdio.h>

enum { NAME_BYTES = 64, TEXT_BYTES_MAX = 4096 };

struct walk {
    const struct s3_xml_visitor *visitor;
    XML_Parser parser;
    char names[S3_XML_DEPTH_MAX][NAME_BYTES];
    uint32_t depth;
    char text[TEXT_BYTES_MAX];
    size_t text_size;
    bool is_leaf;
    int rc;
};

static void stop(struct walk *walk, int rc)
{
    walk->rc = rc;
    XML_StopParser(walk->parser, XML_FALSE);
}

static void on_begin(void *context, const XML_Char *name, const XML_Char **attributes)
{
    struct walk *walk = context;

    (void)attributes;
    if (walk->depth == S3_XML_DEPTH_MAX || strlen(name) >= NAME_BYTES) {
        stop(walk, -EBADMSG);
        return;
    }
    strcpy(walk->names[walk->depth++], name);
    walk->text_size = 0;
    walk->is_leaf = true;
}

static void on_text(void *context, const XML_Char *text, int size)
{
    struct walk *walk = context;

    if (walk->text_size + (size_t)size >= sizeof walk->text) {
        stop(walk, -EBADMSG);
        return;
    }
    memcpy(walk->text + walk->text_size, text, (size_t)size);
    walk->text_size += (size_t)size;
}

static void on_end(void *context, const XML_Char *name)
{
    struct walk *walk = context;
    const struct s3_xml_visitor *visitor = walk->visitor;

    walk->depth--;
    if (walk->is_leaf) {
        walk->text[walk->text_size] = '\0';
        visitor->text(visitor->context, walk->depth > 0 ? walk->names[walk->depth - 1] : "", name,
                      walk->text);
    }
    walk->text_size = 0;
    walk->is_leaf = false;
    if (visitor->end != NULL) {
        visitor->end(visitor->context, name);
    }
}

int s3_xml_visit(struct bytes xml, const struct s3_xml_visitor *visitor)
{
    struct walk walk = {.visitor = visitor, .parser = XML_ParserCreate(NULL)};

    if (walk.parser == NULL) {
        return -ENOMEM;
    }
    XML_SetUserData(walk.parser, &walk);
    XML_SetElementHandler(walk.parser, on_begin, on_end);
    XML_SetCharacterDataHandler(walk.parser, on_text);
    bool good = xml.size <= INT32_MAX && XML_Parse(walk.parser, (const char *)xml.data,
                                                   (int)xml.size, XML_TRUE) == XML_STATUS_OK;
    if (!good && walk.rc == 0) {
        walk.rc = XML_GetErrorCode(walk.parser) == XML_ERROR_NO_MEMORY ? -ENOMEM : -EBADMSG;
    }
    XML_ParserFree(walk.parser);
    return walk.rc;
}
