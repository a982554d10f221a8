/* What the two halves of the model share. */
#ifndef SESSION_MODEL_INSIDE_H
#define SESSION_MODEL_INSIDE_H

#include "session_model.h"

struct model_string model_string_of(struct bytes bytes);
struct bytes model_bytes(const struct model_string *string);
bool model_strings_equal(const struct model_string *a, const struct model_string *b);
bool model_stamps_equal(struct stamp a, struct stamp b);
bool model_is_user(const struct model_entry *entry);
void model_see(struct model *model, struct actor actor, uint64_t hlc);
void model_add(struct model *model, const struct model_entry *entry);
void model_remove(struct model *model, int index);
void model_settle(struct model *model);
void model_settle_items(struct model *model);
struct stamp model_since(const struct model *model);
bool model_is_of_life(const struct model *model, const struct model_entry *entry);
const struct model_entry *model_lead(const struct model *model);
bool model_shows(const struct model *model, const struct model_entry *lead,
                 const struct model_entry *entry);
const struct model_entry *model_newest(const struct model *model, int kind,
                                       const struct model_string *name);
bool model_counts(const struct model *model, const struct model_entry *entry);
bool model_parse(const struct model_string *text, int64_t *number);
struct model_string model_format(int64_t number);
bool model_find_name(const struct model *model, uint64_t now_ms, const struct model_string *name,
                     struct model_string *value, uint64_t *deadline_ms);

#endif
