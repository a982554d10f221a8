/* The standard streams of a program, each of ours: belayd's and the tools'.
 *
 * Threads: main's, streams_open() before there is another.
 */
#ifndef STREAMS_H
#define STREAMS_H

/* Open /dev/null in the place of those of descriptors 0 to 2 that are closed, so that nothing else comes to lie
 * there: what is printed then is meant to go nowhere. Where that fails the program ends: code 1. */
void streams_open(const char *program);

/* Write out what was printed. Returns `code`, with which the program would end; where not all came to the standard
 * output this is said on stderr and a code of 0 becomes 1. Call it last, once. */
int streams_close(const char *program, int code);

#endif
