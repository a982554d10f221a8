/* Slab: cells for records, named by 32-bit references, in pages of one size class each.
 *
 *   reference = page number (21 bits) and cell in the page (11 bits)
 *   page table -> base and class of the page -> cell: prefix, record, a few unused bytes
 *
 * A cell's size is its class's, so that the record's own size costs only a prefix of one byte (how many
 * bytes at the end are unused; two bytes in classes above 1 KiB; 0xff first: the cell is free). The top bit
 * of the first byte is the caller's mark of a record in use (slab_mark()). Classes
 * are the sizes that fill a page exactly, about 8 bytes apart up to 1 KiB and 6 % apart up to 32 KiB;
 * pages have 64 KiB, above 4 KiB per cell 512 KiB; larger records (at most 4 GiB) are blocks of their own.
 *
 * The page table makes a page movable by a copy, with every reference in it still good. Emptying a
 * page needs new references for its records, which only the caller can do: slab_next_victims().
 *
 * Memory: from the port. Pointers into cells are good until the next call that changes the slab.
 * Threads: one.
 */
#ifndef SLAB_H
#define SLAB_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "ground.h"
#include "memory.h"

enum {
    SLAB_CELL_BITS = 11,
    SLAB_CELLS_MAX = 1 << SLAB_CELL_BITS,
    SLAB_PAGES_MAX = 1 << (32 - SLAB_CELL_BITS),
    SLAB_CHUNK_BITS = 10, /* The page table grows by chunks, so that it never moves. */
    SLAB_CHUNK_PAGES = 1 << SLAB_CHUNK_BITS,
    SLAB_CHUNKS = SLAB_PAGES_MAX / SLAB_CHUNK_PAGES,
    SLAB_PAGE_BYTES = 64 * 1024,
    SLAB_BIG_PAGE_BYTES = 512 * 1024,
    SLAB_CELL_BYTES_MIN = 32,
    SLAB_CLASSES_MAX = 224,
    SLAB_LARGE = SLAB_CLASSES_MAX, /* The "class" of a block of its own. */
    SLAB_LISTS = 4,                /* Pages with free cells, by quarters of fullness. */

    SLAB_MARK = 0x80, /* In the first byte of the prefix. */

    /* Two classes without prefix, aligned to 1 KiB, for the index; never evacuated from here. */
    SLAB_BLOCK_2K = 0,
    SLAB_BLOCK_3K = 1,
};

/* No page: the end of a list. (An enum's constants are signed.) */
#define SLAB_PAGE_NONE UINT32_MAX

struct slab_page {
    union {
        struct area *area;
        struct {
            uint32_t large_bytes;    /* SLAB_LARGE: size of the record... */
            uint32_t large_capacity; /* ... and of its block. */
        };
    };
    uint32_t next, prev; /* In its list, by page number. */
    uint16_t live;       /* Cells in use. */
    uint16_t fresh; /* Cells from here on were never used, so that memory is not touched early. */
    uint16_t free_cell; /* Head of the chain of freed cells. */
    uint8_t list;       /* SLAB_LARGE: SLAB_MARK. */
};

/* A part of the page table. A look-up needs a page's base and class only; apart from all else they stay in the
 * cache: those of a million records of 600 bytes take 90 KiB. */
struct slab_chunk {
    uint8_t *bases[SLAB_CHUNK_PAGES];
    uint8_t classes[SLAB_CHUNK_PAGES];
    struct slab_page pages[SLAB_CHUNK_PAGES];
};

struct slab_class {
    uint32_t cell_bytes;
    uint16_t cells; /* Per page. */
    uint8_t prefix_bytes;
    bool big; /* Pages of SLAB_BIG_PAGE_BYTES. */
    uint32_t lists[SLAB_LISTS];
    uint64_t cell_count, live; /* In all pages. */
};

/* Private to slab.c, but for the inline functions here and the counters. */
struct slab {
    struct memory *memory;
    struct ground ground, big_ground;
    uint32_t class_count;
    uint32_t page_count; /* Numbers given out so far... */
    uint32_t free_page;  /* ... and the chain of those free again. */
    uint32_t victim;     /* The page that is being emptied. */
    uint32_t victim_cell, due_class;
    uint64_t record_bytes; /* Of live records... */
    uint64_t cell_bytes;   /* ... and of their cells. */
    uint64_t large_bytes;  /* Of blocks of their own... */
    uint8_t *spare_block;  /* ... one of which is held for the next record. */
    uint32_t spare_bytes;
    uint32_t chunk_count;                            /* Chunks of the page table. */
    uint8_t by_eighth[1024 / 8 + 2];                 /* Class for sizes up to 1 KiB. */
    struct slab_class classes[SLAB_CLASSES_MAX + 1]; /* The last: SLAB_LARGE, zero. */
    struct slab_chunk *chunks[SLAB_CHUNKS];
};

void slab_init(struct slab *slab, struct memory *memory);

/* Gives everything back; references and pointers into cells end with it. */
void slab_fini(struct slab *slab);

/* Make sure that the next slab_alloc(), if its size is at most `size`, cannot fail.
 * Returns 0 or -ENOMEM. */
int slab_reserve(struct slab *slab, size_t size);

/* A cell for a record of `size` bytes. Returns 0 with `ref` set, or -ENOMEM. */
int slab_alloc(struct slab *slab, size_t size, uint32_t *ref);

/* The same for a block of the index: `class` SLAB_BLOCK_2K or SLAB_BLOCK_3K. Not cleared. */
int slab_alloc_block(struct slab *slab, uint32_t class, uint32_t *ref);

void slab_free(struct slab *slab, uint32_t ref);

/* Make the cell hold a record of `size` bytes, if its class is the right one; the old bytes are lost
 * where the size changes. Returns whether it is. */
bool slab_refit(struct slab *slab, uint32_t ref, size_t size);

/* ---- Giving memory back (slab_tidy.c) ---- */

/* References of up to `max` live records that should leave their page, so that it empties. The caller
 * takes slab_alloc()s for them, copies, and slab_free()s. Returns their number: 0 when nothing is due.
 * Records not freed by the next call are given again. */
uint32_t slab_next_victims(struct slab *slab, uint32_t refs[], uint32_t max);

/* Move one page to a fuller area where it helps to give an area back.
 * Returns the bytes moved: 0 when nothing is due. */
uint32_t slab_compact(struct slab *slab);

/* Whether a block of the index lies in a page less than half full while others have room for all of it; and
 * whether there is any such block. */
bool slab_is_sparse(const struct slab *slab, uint32_t ref);
bool slab_has_sparse_blocks(const struct slab *slab);

/* ---- What it holds ---- */

/* Everything held; and what of it cells in use take, with the tables. */
uint64_t slab_bytes(const struct slab *slab);
uint64_t slab_used_bytes(const struct slab *slab);

/* ---- For the slab's own files ---- */

enum {
    SLAB_CELL_FREE = 0xff,             /* First byte of a free cell; no record wastes that much. */
    SLAB_LIST_FULL = SLAB_LISTS,       /* In no list: no free cell... */
    SLAB_LIST_VICTIM = SLAB_LISTS + 1, /* ... or being emptied. */
};

/* Put a page into a list of its class, in front, or only note that it is in none (SLAB_LIST_FULL and on). */
void slab_link_page(struct slab *slab, struct slab_class *class, uint32_t number, uint32_t list);

/* Take it out of its list; nothing where it is in none. */
void slab_unlink_page(struct slab *slab, struct slab_class *class, uint32_t number);

/* Where a page belongs by its fullness: a quarter, or SLAB_LIST_FULL. */
uint32_t slab_list_of(const struct slab_class *class, const struct slab_page *page);

/* The page that the next cell of the class comes from, or SLAB_PAGE_NONE: a new one. */
uint32_t slab_fullest_page(const struct slab_class *class);

/* The class for a record of `size` bytes; SLAB_LARGE where it is larger than all. (slab_classes.c) */
uint32_t slab_class_of(const struct slab *slab, size_t size);

/* Fill in the table of classes. */
void slab_make_classes(struct slab *slab);

static inline struct slab_page *slab_page(const struct slab *slab, uint32_t number)
{
    return &slab->chunks[number >> SLAB_CHUNK_BITS]->pages[number & (SLAB_CHUNK_PAGES - 1)];
}

static inline uint32_t slab_page_class(const struct slab *slab, uint32_t number)
{
    return slab->chunks[number >> SLAB_CHUNK_BITS]->classes[number & (SLAB_CHUNK_PAGES - 1)];
}

/* Of a large record: where it is. */
static inline uint8_t *slab_page_base(const struct slab *slab, uint32_t number)
{
    return slab->chunks[number >> SLAB_CHUNK_BITS]->bases[number & (SLAB_CHUNK_PAGES - 1)];
}

static inline void slab_set_place(struct slab *slab, uint32_t number, uint32_t class, uint8_t *base)
{
    struct slab_chunk *chunk = slab->chunks[number >> SLAB_CHUNK_BITS];

    chunk->bases[number & (SLAB_CHUNK_PAGES - 1)] = base;
    chunk->classes[number & (SLAB_CHUNK_PAGES - 1)] = (uint8_t) class;
}

/* The size of the cell; of a large record, that of a cache line. */
static inline uint32_t slab_cell_bytes(const struct slab *slab, uint32_t ref)
{
    uint32_t class = slab_page_class(slab, ref >> SLAB_CELL_BITS);

    return class == SLAB_LARGE ? 64 : slab->classes[class].cell_bytes;
}

/* The first byte of the cell: prefix, block or, of a large record, its first. */
static inline uint8_t *slab_cell(const struct slab *slab, uint32_t ref)
{
    uint32_t number = ref >> SLAB_CELL_BITS, cell = ref & (SLAB_CELLS_MAX - 1);
    uint32_t cell_bytes = slab->classes[slab_page_class(slab, number)].cell_bytes;

    return slab_page_base(slab, number) + (size_t)cell * cell_bytes;
}

/* Bring the beginning of a record, where its key is, into the cache: cells are not aligned to lines.
 * (Not merely inline: gcc 12 drops calls of functions that do nothing but prefetch.) */
__attribute__((always_inline)) static inline void slab_prefetch(const struct slab *slab,
                                                                uint32_t ref)
{
    const uint8_t *cell = slab_cell(slab, ref);

    __builtin_prefetch(cell);
    __builtin_prefetch(cell + 64);
}

/* The record in a cell. */
static inline struct bytes slab_at(const struct slab *slab, uint32_t ref)
{
    uint32_t number = ref >> SLAB_CELL_BITS;
    uint32_t class_number = slab_page_class(slab, number);

    if (class_number == SLAB_LARGE) {
        return bytes_of(slab_page_base(slab, number), slab_page(slab, number)->large_bytes);
    }
    const struct slab_class *class = &slab->classes[class_number];
    const uint8_t *cell = slab_cell(slab, ref);
    if (class->prefix_bytes == 1) {
        return bytes_of(cell + 1, class->cell_bytes - 1 - (cell[0] & (SLAB_MARK - 1)));
    }
    uint32_t unused = (uint32_t)(cell[0] & (SLAB_MARK - 1)) << 8 | cell[1];
    return bytes_of(cell + 2, class->cell_bytes - 2 - unused);
}

/* A record's mark: clear in a new cell, kept by slab_refit(), not copied by anybody. */
static inline uint8_t *slab_mark_byte(const struct slab *slab, uint32_t ref)
{
    uint32_t number = ref >> SLAB_CELL_BITS;
    bool large = slab_page_class(slab, number) == SLAB_LARGE;

    return large ? &slab_page(slab, number)->list : slab_cell(slab, ref);
}

static inline bool slab_is_marked(const struct slab *slab, uint32_t ref)
{
    return (*slab_mark_byte(slab, ref) & SLAB_MARK) != 0;
}

/* Written only where it changes: the cache line stays clean. */
static inline void slab_mark(const struct slab *slab, uint32_t ref, bool mark)
{
    uint8_t *byte = slab_mark_byte(slab, ref);

    if (((*byte & SLAB_MARK) != 0) != mark) {
        *byte ^= SLAB_MARK;
    }
}

/* The same bytes, for writing. */
static inline uint8_t *slab_data(const struct slab *slab, uint32_t ref)
{
    uint32_t class = slab_page_class(slab, ref >> SLAB_CELL_BITS);

    return slab_cell(slab, ref) + slab->classes[class].prefix_bytes;
}

#endif
