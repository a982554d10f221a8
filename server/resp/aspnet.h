/* The seven scripts of the ASP.NET session state provider, natively: each a transaction on two or three keys of a slot.
 *
 * Its keys are the session's lock (a string), its data, and its timeout in seconds: strings since version 5, hashes before.
 * Each runs the commands that its text names, in that order, on what came before.
 *
 * Source: Azure/aspnet-redis-providers, src/RedisSessionStateProvider/RedisConnectionWrapper.cs.
 * Threads: any; nothing here changes.
 */
#ifndef ASPNET_H
#define ASPNET_H

#include "procedure.h"

/* Keys: data, timeout; argument: seconds. */
enum status aspnet_update(struct turn *turn);
/* The same keys; the session, seconds. Of hashes: the last argument's number, seconds, fields and values. */
enum status aspnet_set(struct turn *turn);
/* Keys from here on: lock, data, timeout. Arguments: the lock's value, its seconds. */
enum status aspnet_lock(struct turn *turn);
enum status aspnet_read(struct turn *turn);
/* The lock's value, seconds. */
enum status aspnet_release(struct turn *turn);
/* The lock's value; empty: whoever has it, of strings. */
enum status aspnet_remove(struct turn *turn);
/* The lock's value, seconds, and then where among the arguments is what goes (three numbers) and what comes (three). */
enum status aspnet_save(struct turn *turn);

/* The same of hashes. */
enum status aspnet_hash_update(struct turn *turn);
enum status aspnet_hash_set(struct turn *turn);
enum status aspnet_hash_lock(struct turn *turn);
enum status aspnet_hash_read(struct turn *turn);
enum status aspnet_hash_release(struct turn *turn);
enum status aspnet_hash_remove(struct turn *turn);
enum status aspnet_hash_save(struct turn *turn);

#endif
