#include "conf/names.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"

struct gw_name_slot {
    struct gw_str name; /* data NULL: free */
    uint32_t value;
};

/* Words that are longer than this are not compared: they are no misspelt keys. */
#define WORD_BYTES_MAX 64

/* Any odd number with many bits: keeps the table apart from other uses of the hash. */
#define NAMES_SEED 0x9e3779b97f4a7c15ULL

static struct gw_name_slot *slot_of(const struct gw_names *names, struct gw_str name)
{
    uint32_t at = (uint32_t)gw_hash(name.data, name.len, NAMES_SEED) & (names->size - 1);

    while (names->slots[at].name.data != NULL && !gw_str_eq(names->slots[at].name, name))
        at = (at + 1) & (names->size - 1);
    return &names->slots[at];
}

static void grow(struct gw_names *names)
{
    struct gw_names larger = {NULL, names->size == 0 ? 32 : names->size * 2, names->count};

    larger.slots = calloc(larger.size, sizeof(*larger.slots));
    if (larger.slots == NULL) {
        (void)fputs("moongate: out of memory\n", stderr);
        abort();
    }
    for (uint32_t i = 0; i < names->size; i++)
        if (names->slots[i].name.data != NULL)
            *slot_of(&larger, names->slots[i].name) = names->slots[i];
    free(names->slots);
    *names = larger;
}

void gw_names_reserve(struct gw_names *names, uint32_t count)
{
    assert(names->size == 0 && count <= UINT32_MAX / 8);
    for (names->size = 32; names->size <= count * 2;)
        names->size *= 2;
    names->slots = calloc(names->size, sizeof(*names->slots));
    if (names->slots == NULL) {
        (void)fputs("moongate: out of memory\n", stderr);
        abort();
    }
}

void gw_names_fini(struct gw_names *names)
{
    free(names->slots);
    *names = GW_NAMES_INIT;
}

bool gw_names_add(struct gw_names *names, struct gw_str name, uint32_t value, uint32_t *there)
{
    struct gw_name_slot *slot;

    if (name.data == NULL)
        name.data = "";
    if (names->count * 2 >= names->size)
        grow(names);
    slot = slot_of(names, name);
    if (slot->name.data != NULL) {
        if (there != NULL)
            *there = slot->value;
        return false;
    }
    *slot = (struct gw_name_slot){name, value};
    names->count++;
    return true;
}

bool gw_names_get(const struct gw_names *names, struct gw_str name, uint32_t *value)
{
    const struct gw_name_slot *slot;

    if (names->size == 0)
        return false;
    slot = slot_of(names, name);
    if (slot->name.data == NULL)
        return false;
    *value = slot->value;
    return true;
}

static bool same_letter(char a, char b)
{
    return a == b || ((a == '-' || a == '_') && (b == '-' || b == '_'));
}

static uint32_t min3(uint32_t a, uint32_t b, uint32_t c)
{
    a = a < b ? a : b;
    return a < c ? a : c;
}

uint32_t gw_edit_distance(struct gw_str a, struct gw_str b)
{
    uint32_t rows[3][WORD_BYTES_MAX + 1]; /* two before, one before, this one */
    uint32_t *before = rows[0], *last = rows[1], *now = rows[2];

    if (a.len > WORD_BYTES_MAX || b.len > WORD_BYTES_MAX)
        return WORD_BYTES_MAX;
    for (uint32_t j = 0; j <= b.len; j++)
        last[j] = j;
    for (uint32_t i = 1; i <= a.len; i++) {
        uint32_t *spare = before;

        now[0] = i;
        for (uint32_t j = 1; j <= b.len; j++) {
            uint32_t cost = same_letter(a.data[i - 1], b.data[j - 1]) ? 0 : 1;

            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + cost);
            if (i > 1 && j > 1 && same_letter(a.data[i - 1], b.data[j - 2]) &&
                same_letter(a.data[i - 2], b.data[j - 1]) && before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        before = last;
        last = now;
        now = spare;
    }
    return last[b.len];
}

void gw_suggest_begin(struct gw_suggest *suggest, struct gw_str word)
{
    /* Up to a third of the letters may be wrong, but never all of a short word. */
    *suggest = (struct gw_suggest){word, GW_STR_NULL, (uint32_t)(word.len + 2) / 3 + 1};
    if (suggest->distance > 4)
        suggest->distance = 4;
    if (suggest->distance > word.len)
        suggest->distance = (uint32_t)word.len;
}

void gw_suggest_offer(struct gw_suggest *suggest, struct gw_str candidate)
{
    uint32_t distance = gw_edit_distance(suggest->word, candidate);

    if (distance < suggest->distance) {
        suggest->distance = distance;
        suggest->best = candidate;
    }
}
