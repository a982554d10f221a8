#include "slab.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    CELL_NONE = UINT16_MAX,
    CHUNK_BYTES = sizeof(struct slab_chunk),
};

static_assert(sizeof(struct slab_page) == 24, "with base and class 33 bytes a page");
static_assert(SLAB_LARGE <= UINT8_MAX, "classes of pages are bytes");
static_assert(SLAB_PAGE_BYTES / SLAB_CELL_BYTES_MIN <= SLAB_CELLS_MAX, "every cell has a number");

static void set_prefix(const struct slab_class *class, uint8_t *cell, size_t size, uint8_t mark)
{
    uint32_t unused = class->cell_bytes - class->prefix_bytes - (uint32_t)size;
    uint32_t first = class->prefix_bytes == 2 ? unused >> 8 : unused;

    if (class->prefix_bytes == 0) {
        return;
    }
    assert(first < (SLAB_CELL_FREE & ~SLAB_MARK));
    cell[0] = (uint8_t)(first | mark);
    if (class->prefix_bytes == 2) {
        cell[1] = (uint8_t)unused;
    }
}

/* ---- pages ---- */

void slab_init(struct slab *slab, struct memory *memory)
{
    memset(slab, 0, sizeof *slab);
    slab->memory = memory;
    slab->free_page = SLAB_PAGE_NONE;
    slab->victim = SLAB_PAGE_NONE;
    ground_init(&slab->ground, memory, SLAB_PAGE_BYTES);
    ground_init(&slab->big_ground, memory, SLAB_BIG_PAGE_BYTES);
    slab_make_classes(slab);
}

static void drop_spare_block(struct slab *slab)
{
    if (slab->spare_block != NULL) {
        slab->memory->resize(slab->memory, slab->spare_block, slab->spare_bytes, 0);
        slab->large_bytes -= slab->spare_bytes;
        slab->spare_block = NULL;
    }
}

void slab_fini(struct slab *slab)
{
    struct memory *memory = slab->memory;

    for (uint32_t number = 0; number < slab->page_count; number++) {
        struct slab_page *page = slab_page(slab, number);
        if (slab_page_class(slab, number) == SLAB_LARGE && page->live > 0) {
            memory->resize(memory, slab_page_base(slab, number), page->large_capacity, 0);
        }
    }
    drop_spare_block(slab);
    for (uint32_t chunk = 0; chunk < slab->chunk_count; chunk++) {
        memory->resize(memory, slab->chunks[chunk], CHUNK_BYTES, 0);
    }
    ground_fini(&slab->ground);
    ground_fini(&slab->big_ground);
}

/* Make sure that there is a page number to take. Returns 0 or -ENOMEM. */
static int reserve_number(struct slab *slab)
{
    if (slab->free_page != SLAB_PAGE_NONE) {
        return 0;
    }
    if (slab->page_count == slab->chunk_count * SLAB_CHUNK_PAGES) {
        if (slab->chunk_count == SLAB_CHUNKS) {
            return -ENOMEM;
        }
        struct slab_chunk *chunk = slab->memory->resize(slab->memory, NULL, 0, CHUNK_BYTES);
        if (chunk == NULL) {
            return -ENOMEM;
        }
        slab->chunks[slab->chunk_count++] = chunk;
    }
    return 0;
}

/* A page number with its entry. Returns 0 or -ENOMEM. */
static int take_number(struct slab *slab, uint32_t *number)
{
    int rc = reserve_number(slab);

    if (rc != 0) {
        return rc;
    }
    if (slab->free_page == SLAB_PAGE_NONE) {
        *number = slab->page_count++;
    } else {
        *number = slab->free_page;
        slab->free_page = slab_page(slab, *number)->next;
    }
    return 0;
}

static void give_number(struct slab *slab, uint32_t number)
{
    *slab_page(slab, number) = (struct slab_page){.next = slab->free_page};
    slab_set_place(slab, number, 0, NULL);
    slab->free_page = number;
}

static struct ground *ground_of(struct slab *slab, const struct slab_class *class)
{
    return class->big ? &slab->big_ground : &slab->ground;
}

void slab_link_page(struct slab *slab, struct slab_class *class, uint32_t number, uint32_t list)
{
    struct slab_page *page = slab_page(slab, number);

    page->list = (uint8_t)list;
    if (list >= SLAB_LISTS) {
        return;
    }
    page->prev = SLAB_PAGE_NONE;
    page->next = class->lists[list];
    if (page->next != SLAB_PAGE_NONE) {
        slab_page(slab, page->next)->prev = number;
    }
    class->lists[list] = number;
}

void slab_unlink_page(struct slab *slab, struct slab_class *class, uint32_t number)
{
    struct slab_page *page = slab_page(slab, number);

    if (page->list >= SLAB_LISTS) {
        return;
    }
    if (page->prev != SLAB_PAGE_NONE) {
        slab_page(slab, page->prev)->next = page->next;
    } else {
        class->lists[page->list] = page->next;
    }
    if (page->next != SLAB_PAGE_NONE) {
        slab_page(slab, page->next)->prev = page->prev;
    }
}

uint32_t slab_list_of(const struct slab_class *class, const struct slab_page *page)
{
    return (uint32_t)page->live * SLAB_LISTS / class->cells;
}

static void relink_page(struct slab *slab, struct slab_class *class, uint32_t number)
{
    struct slab_page *page = slab_page(slab, number);
    uint32_t list = slab_list_of(class, page);

    if (page->list != list && page->list != SLAB_LIST_VICTIM) {
        slab_unlink_page(slab, class, number);
        slab_link_page(slab, class, number, list);
    }
}

/* A new page for the class, in its list. Returns 0 or -ENOMEM. */
static int open_page(struct slab *slab, uint32_t class_number, uint32_t *number)
{
    struct slab_class *class = &slab->classes[class_number];
    struct slab_page page = {.free_cell = CELL_NONE};
    uint8_t *base;

    int rc = take_number(slab, number);
    if (rc != 0) {
        return rc;
    }
    rc = ground_take(ground_of(slab, class), *number, &page.area, &base);
    if (rc != 0) {
        give_number(slab, *number);
        return rc;
    }
    *slab_page(slab, *number) = page;
    slab_set_place(slab, *number, class_number, base);
    slab_link_page(slab, class, *number, 0);
    class->cell_count += class->cells;
    return 0;
}

static void close_page(struct slab *slab, struct slab_class *class, uint32_t number)
{
    struct slab_page *page = slab_page(slab, number);

    slab_unlink_page(slab, class, number);
    if (slab->victim == number) {
        slab->victim = SLAB_PAGE_NONE;
    }
    class->cell_count -= class->cells;
    ground_give(ground_of(slab, class), page->area, slab_page_base(slab, number));
    give_number(slab, number);
}

/* ---- cells ---- */

static uint32_t take_cell(const struct slab *slab, const struct slab_class *class, uint32_t number)
{
    struct slab_page *page = slab_page(slab, number);
    uint32_t cell = page->free_cell;

    if (cell == CELL_NONE) {
        assert(page->fresh < class->cells);
        cell = page->fresh++;
    } else {
        memcpy(&page->free_cell,
               slab_page_base(slab, number) + (size_t)cell * class->cell_bytes + 2,
               sizeof page->free_cell);
    }
    page->live++;
    return cell;
}

uint32_t slab_fullest_page(const struct slab_class *class)
{
    uint32_t number = SLAB_PAGE_NONE;

    for (uint32_t list = SLAB_LISTS; list-- > 0 && number == SLAB_PAGE_NONE;) {
        number = class->lists[list];
    }
    return number;
}

static int alloc_cell(struct slab *slab, uint32_t class_number, uint32_t *ref)
{
    struct slab_class *class = &slab->classes[class_number];
    uint32_t number = slab_fullest_page(class);

    if (number == SLAB_PAGE_NONE) {
        int rc = open_page(slab, class_number, &number);
        if (rc != 0) {
            return rc;
        }
    }
    *ref = number << SLAB_CELL_BITS | take_cell(slab, class, number);
    relink_page(slab, class, number);
    class->live++;
    slab->cell_bytes += class->cell_bytes;
    return 0;
}

/* A block of its own for the next large record. Returns 0 or -ENOMEM. */
static int reserve_block(struct slab *slab, size_t size)
{
    if (slab->spare_block != NULL && slab->spare_bytes >= size) {
        return 0;
    }
    drop_spare_block(slab);
    if (size > UINT32_MAX) {
        return -ENOMEM;
    }
    slab->spare_block = slab->memory->resize(slab->memory, NULL, 0, size);
    if (slab->spare_block == NULL) {
        return -ENOMEM;
    }
    slab->spare_bytes = (uint32_t)size;
    slab->large_bytes += size;
    return 0;
}

static int alloc_large(struct slab *slab, size_t size, uint32_t *ref)
{
    uint32_t number;
    int rc = reserve_block(slab, size);

    if (rc == 0) {
        rc = take_number(slab, &number);
    }
    if (rc != 0) {
        return rc;
    }
    if (slab->spare_bytes > size) {
        uint8_t *fitted =
            slab->memory->resize(slab->memory, slab->spare_block, slab->spare_bytes, size);
        if (fitted != NULL) {
            slab->large_bytes -= slab->spare_bytes - size;
            slab->spare_block = fitted;
            slab->spare_bytes = (uint32_t)size;
        }
    }
    *slab_page(slab, number) = (struct slab_page){
        .large_bytes = (uint32_t)size,
        .large_capacity = slab->spare_bytes,
        .live = 1,
    };
    slab_set_place(slab, number, SLAB_LARGE, slab->spare_block);
    slab->spare_block = NULL;
    slab->cell_bytes += size;
    *ref = number << SLAB_CELL_BITS;
    return 0;
}

/* A smaller record may be of another class than one of `size`, so a page must be there, not a cell. */
int slab_reserve(struct slab *slab, size_t size)
{
    uint32_t class = slab_class_of(slab, size);
    int rc = reserve_number(slab);

    if (rc == 0) {
        rc = ground_reserve(&slab->ground);
    }
    if (rc == 0 && (class == SLAB_LARGE || slab->classes[class].big)) {
        rc = ground_reserve(&slab->big_ground);
    }
    if (rc == 0 && class == SLAB_LARGE) {
        return reserve_block(slab, size);
    }
    drop_spare_block(slab);
    return rc;
}

int slab_alloc(struct slab *slab, size_t size, uint32_t *ref)
{
    uint32_t class = slab_class_of(slab, size);
    int rc = class == SLAB_LARGE ? alloc_large(slab, size, ref) : alloc_cell(slab, class, ref);

    if (rc == 0) {
        if (class != SLAB_LARGE) {
            set_prefix(&slab->classes[class], slab_cell(slab, *ref), size, 0);
        }
        slab->record_bytes += size;
    }
    return rc;
}

int slab_alloc_block(struct slab *slab, uint32_t class, uint32_t *ref)
{
    assert(class <= SLAB_BLOCK_3K);
    return alloc_cell(slab, class, ref);
}

static void free_large(struct slab *slab, uint32_t number)
{
    struct slab_page *page = slab_page(slab, number);

    slab->large_bytes -= page->large_capacity;
    slab->cell_bytes -= page->large_bytes;
    slab->memory->resize(slab->memory, slab_page_base(slab, number), page->large_capacity, 0);
    give_number(slab, number);
}

void slab_free(struct slab *slab, uint32_t ref)
{
    uint32_t number = ref >> SLAB_CELL_BITS;
    uint32_t class_number = slab_page_class(slab, number);
    struct slab_page *page = slab_page(slab, number);

    assert(page->live > 0);
    if (class_number > SLAB_BLOCK_3K) {
        slab->record_bytes -= slab_at(slab, ref).size;
    }
    if (class_number == SLAB_LARGE) {
        free_large(slab, number);
        return;
    }
    struct slab_class *class = &slab->classes[class_number];
    uint8_t *cell = slab_cell(slab, ref);
    assert(class->prefix_bytes == 0 || cell[0] != SLAB_CELL_FREE);
    cell[0] = SLAB_CELL_FREE;
    memcpy(cell + 2, &page->free_cell, sizeof page->free_cell);
    page->free_cell = (uint16_t)(ref & (SLAB_CELLS_MAX - 1));
    page->live--;
    class->live--;
    slab->cell_bytes -= class->cell_bytes;
    if (page->live == 0) {
        close_page(slab, class, number);
    } else {
        relink_page(slab, class, number);
    }
}

bool slab_refit(struct slab *slab, uint32_t ref, size_t size)
{
    uint32_t class = slab_page_class(slab, ref >> SLAB_CELL_BITS);
    size_t old_size = slab_at(slab, ref).size;

    if (class == SLAB_LARGE) {
        return size == old_size;
    }
    if (slab_class_of(slab, size) != class) {
        return false;
    }
    uint8_t *cell = slab_cell(slab, ref);
    set_prefix(&slab->classes[class], cell, size, cell[0] & SLAB_MARK);
    slab->record_bytes += size - old_size;
    return true;
}

uint64_t slab_bytes(const struct slab *slab)
{
    return ground_bytes(&slab->ground) + ground_bytes(&slab->big_ground) + slab->large_bytes +
           slab->chunk_count * CHUNK_BYTES + sizeof *slab;
}

uint64_t slab_used_bytes(const struct slab *slab)
{
    return slab->cell_bytes + slab->chunk_count * CHUNK_BYTES + sizeof *slab;
}
