/* What S3 answers in XML: the few texts that matter, by libexpat. Threads: any. */
#ifndef S3_XML_H
#define S3_XML_H

#include "bytes.h"

enum { S3_XML_DEPTH_MAX = 16 };

struct s3_xml_visitor {
    /* The text of an element without elements in it, and the name of the element that it is in ("" of none). */
    void (*text)(void *context, const char *parent, const char *element, const char *text);
    /* An element has ended. May be NULL. */
    void (*end)(void *context, const char *element);
    void *context;
};

/* Names come without namespaces. Returns 0; -EBADMSG: it is no such XML; -ENOMEM. */
int s3_xml_visit(struct bytes xml, const struct s3_xml_visitor *visitor);

#endif
