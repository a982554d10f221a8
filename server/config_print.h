/* The table of keys for people and programs: the example file, the man page, JSON. */
#ifndef CONFIG_PRINT_H
#define CONFIG_PRINT_H

#include <stdio.h>

#include "config.h"

/* belayd.conf.example: every key at its default, commented out. */
void config_print_example(FILE *to);

/* The keys as part of a man page, in scdoc's form. */
void config_print_manual(FILE *to);

/* What is in force, as one JSON document: {"node": {"name": ...}, ..., "policy": {"web:": {...}},
 * "user": {"shop": {...}}}, without the hashes of passwords.
 * Numbers and switches are JSON's own; sizes, durations and the rest are as in the file.
 * Returns memory for free(), or NULL where there is none. */
char *config_to_json(const struct config *config);

/* {"policies": {PREFIX: its keys}}, as memory for free(); NULL where there is none. */
char *config_policies_to_json(const struct policies *policies);

#endif
