/* Giving the slab's memory back: which pages are to be emptied, by their records or by the index's blocks
 * moving to fuller ones, and pages that move to fuller areas. */
#include "slab.h"

#include <assert.h>

enum { SLACK_PART = 20 }; /* 1/20 of a class may be free cells. */

/* A page of this class that others have room for, where more than 1/SLACK_PART of the class is free.
 * Fewer free cells are what ordinary coming and going leaves. */
static uint32_t sparse_page(const struct slab *slab, const struct slab_class *class)
{
    uint64_t free_cells = class->cell_count - class->live;

    if (free_cells * SLACK_PART <= class->cell_count) {
        return SLAB_PAGE_NONE;
    }
    for (uint32_t list = 0; list < SLAB_LISTS; list++) {
        uint32_t number = class->lists[list];
        if (number != SLAB_PAGE_NONE) {
            uint32_t live = slab_page(slab, number)->live;
            bool room = free_cells - (class->cells - live) >= live;
            return room ? number : SLAB_PAGE_NONE;
        }
    }
    return SLAB_PAGE_NONE;
}

/* Choose the next page to empty, going round the classes. */
static void choose_victim(struct slab *slab)
{
    for (uint32_t tried = 0; tried < slab->class_count; tried++) {
        if (slab->due_class <= SLAB_BLOCK_3K || slab->due_class >= slab->class_count) {
            slab->due_class = SLAB_BLOCK_3K + 1;
        }
        struct slab_class *class = &slab->classes[slab->due_class];
        uint32_t number = sparse_page(slab, class);
        if (number != SLAB_PAGE_NONE) {
            slab_unlink_page(slab, class, number);
            slab_page(slab, number)->list = SLAB_LIST_VICTIM;
            slab->victim = number;
            slab->victim_cell = 0;
            return;
        }
        slab->due_class++;
    }
}

/* The victim stays when the room for its records was taken by others meanwhile. */
static void check_victim(struct slab *slab)
{
    if (slab->victim == SLAB_PAGE_NONE) {
        return;
    }
    struct slab_page *page = slab_page(slab, slab->victim);
    struct slab_class *class = &slab->classes[slab_page_class(slab, slab->victim)];
    uint64_t elsewhere = class->cell_count - class->live - (uint64_t)(class->cells - page->live);

    if (elsewhere < page->live) {
        slab_link_page(slab, class, slab->victim, slab_list_of(class, page));
        slab->victim = SLAB_PAGE_NONE;
    }
}

uint32_t slab_next_victims(struct slab *slab, uint32_t refs[], uint32_t max)
{
    uint32_t count = 0;

    check_victim(slab);
    if (slab->victim == SLAB_PAGE_NONE) {
        choose_victim(slab);
    }
    if (slab->victim == SLAB_PAGE_NONE) {
        return 0;
    }
    const struct slab_page *page = slab_page(slab, slab->victim);
    const struct slab_class *class = &slab->classes[slab_page_class(slab, slab->victim)];
    const uint8_t *base = slab_page_base(slab, slab->victim);
    for (uint32_t left = page->fresh; left > 0 && count < max && count < page->live; left--) {
        uint32_t cell = slab->victim_cell;
        slab->victim_cell = cell + 1 < page->fresh ? cell + 1 : 0;
        if (base[(size_t)cell * class->cell_bytes] != SLAB_CELL_FREE) {
            refs[count++] = slab->victim << SLAB_CELL_BITS | cell;
        }
    }
    assert(count > 0);
    return count;
}

static uint32_t compact_ground(struct slab *slab, struct ground *ground)
{
    struct area *area = ground_sparsest(ground);

    if (area == NULL) {
        return 0;
    }
    uint8_t *unit;
    uint32_t number = ground_move(ground, &area, &unit);
    slab_page(slab, number)->area = area;
    slab_set_place(slab, number, slab_page_class(slab, number), unit);
    return ground->unit_bytes;
}

uint32_t slab_compact(struct slab *slab)
{
    uint32_t moved = compact_ground(slab, &slab->ground);

    return moved != 0 ? moved : compact_ground(slab, &slab->big_ground);
}

bool slab_is_sparse(const struct slab *slab, uint32_t ref)
{
    uint32_t number = ref >> SLAB_CELL_BITS;
    const struct slab_page *page = slab_page(slab, number);
    const struct slab_class *class = &slab->classes[slab_page_class(slab, number)];
    uint64_t free_cells = class->cell_count - class->live;

    return page->live * 2 < class->cells && number != slab_fullest_page(class) &&
           free_cells * 8 > class->cell_count &&
           free_cells - (class->cells - page->live) >= page->live;
}

bool slab_has_sparse_blocks(const struct slab *slab)
{
    for (uint32_t block_class = SLAB_BLOCK_2K; block_class <= SLAB_BLOCK_3K; block_class++) {
        const struct slab_class *class = &slab->classes[block_class];
        for (uint32_t list = 0; list < SLAB_LISTS / 2; list++) {
            uint32_t number = class->lists[list];
            if (number != SLAB_PAGE_NONE && number == slab_fullest_page(class)) {
                number = slab_page(slab, number)->next;
            }
            if (number != SLAB_PAGE_NONE && slab_is_sparse(slab, number << SLAB_CELL_BITS)) {
                return true;
            }
        }
    }
    return false;
}
