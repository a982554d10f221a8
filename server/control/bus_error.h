/* SIGBUS: a page of a mapped file could not be read or given room. The checkpoint and the staging are
 * mapped, so it means that a file of the data directory was cut short, or that its disk failed.
 *
 * Nothing can be done about it in the place where it happens: the process ends, as by the signal. But it
 * says which file it was. Threads: any.
 */
#ifndef BUS_ERROR_H
#define BUS_ERROR_H

/* From now on. Returns 0 or negative errno. */
int bus_error_explain(void);

#endif
