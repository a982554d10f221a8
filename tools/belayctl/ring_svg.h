/* The ring as a picture: a circle of slots, one track for each copy, the primaries outermost, a colour for each node. */
#ifndef RING_SVG_H
#define RING_SVG_H

#include <jansson.h>
#include <stdio.h>

/* Write the picture of the document that the server gives for "ring". Returns 0, or negative errno. */
int ring_svg(const json_t *document, FILE *to);

#endif
