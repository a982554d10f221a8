/* Writes that a client repeats because it had no answer: each is done once, or it is said that nobody can tell.
 *
 * The dedup window (dedup.h) knows the newest writes of a session. What left it, or went with all of the session,
 * is known only by how new it was; a client says with a repeated write how new what it had seen before any of its
 * tries was, on the connection of that try. A time of another connection would not do: where a crash takes the end of the
 * log and the clock is set back, the node goes on at an earlier one.
 *
 * Memory: results lie in the caller's buffers. Threads: any.
 */
#ifndef REPEAT_H
#define REPEAT_H

#include "session.h"

/* Has this write of a client (which is not 0) been done before, on what is now `record` with this window?
 * Returns OK when it is to be done, and, with `repeated` set, when it was: stamp and results are those of the first
 * time; MAYBE_APPLIED when that cannot be told; NO_MEMORY. */
enum status repeat_check(const struct session_write *write, const struct record *record,
                         const struct dedup *dedup, struct session_written *written);

/* Did another client begin the session in view, which this repeated write is to end, after its first try perhaps?
 * (A first try that found nothing is remembered nowhere.) */
bool repeat_began_since(const struct session_write *write, const struct session_view *view,
                        const struct dedup *dedup);

/* Remember this write in the window, if it can be repeated, and let what is old go; `news` is set to what that adds, for
 * a delta. It points to the results. */
void repeat_remember(const struct session_write *write, struct stamp stamp, struct bytes results,
                     struct dedup *dedup, struct dedup *news);

#endif
