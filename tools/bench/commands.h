/* The commands of belay-bench. Each prints its result and says how it went. */
#ifndef BENCH_COMMANDS_H
#define BENCH_COMMANDS_H

#include "options.h"
#include "server.h"

enum bench_exit bench_run(const struct bench_options *options, const struct server *server);
enum bench_exit bench_audit(const struct bench_options *options, const struct server *server);
enum bench_exit bench_fill(const struct bench_options *options, const struct server *server);
enum bench_exit bench_check(const struct bench_options *options, const struct server *server);

#endif
