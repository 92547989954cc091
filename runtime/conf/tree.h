/* A tree of values with places: what a conf file says before it is typed, and what script/
 * makes of a plugin's schema.
 * Lives in: the loader. Owner: the arena that it was made in; nothing is freed alone.
 * Invariant: the keys of a map are unique and keep the order of the file.
 * The nodes of a map or list are a chain: for (n = gw_node_first(m); n != NULL; n = n->next). */
#ifndef GW_CONF_TREE_H
#define GW_CONF_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "conf/generation.h"

#define GW_NODE_DEPTH_MAX 64

enum gw_node_kind { GW_NODE_SCALAR, GW_NODE_LIST, GW_NODE_MAP };

/* What a scalar is by the YAML 1.2 core schema; a quoted one is a string. */
enum gw_scalar { GW_SCALAR_NULL, GW_SCALAR_BOOL, GW_SCALAR_INT, GW_SCALAR_FLOAT, GW_SCALAR_STRING };

struct gw_node {
    struct gw_node *next; /* in the same list or map */
    struct gw_str key;    /* of a member of a map; key.data NULL in a list */
    uint32_t key_line;
    uint32_t key_column;
    struct gw_where where;
    uint8_t kind;   /* enum gw_node_kind */
    uint8_t scalar; /* enum gw_scalar */
    bool quoted;    /* in quotes or a block scalar; a made string counts as quoted */
    bool expanded;  /* held a ${NAME}: its type is the one that the key wants */
    uint32_t count; /* members of a list or map */
    union {
        struct gw_str text; /* scalar, always the source text: "0x1F", "true" */
        struct {
            struct gw_node *first;
            struct gw_node *last;
        } members;
    };
};

/* Makers, for nodes without a file (where.line 0). Text is copied. */
struct gw_node *gw_node_new_map(struct gw_arena *arena);
struct gw_node *gw_node_new_list(struct gw_arena *arena);
struct gw_node *gw_node_new_string(struct gw_arena *arena, struct gw_str text);
struct gw_node *gw_node_new_number(struct gw_arena *arena, double value); /* whole: an int */
struct gw_node *gw_node_new_bool(struct gw_arena *arena, bool value);
struct gw_node *gw_node_new_null(struct gw_arena *arena);

/* Appends; `key` is copied and must not be in the map yet (gw_node_get). A node has one parent. */
void gw_node_set(struct gw_arena *arena, struct gw_node *map, struct gw_str key,
                 struct gw_node *value);
void gw_node_push(struct gw_node *list, struct gw_node *value);

/* All of it, texts too, into another arena. */
struct gw_node *gw_node_copy(struct gw_arena *arena, const struct gw_node *node);

static inline struct gw_node *gw_node_first(const struct gw_node *node)
{
    return node == NULL || node->kind == GW_NODE_SCALAR ? NULL : node->members.first;
}

/* NULL: `map` is none (or NULL), or has no such key. */
struct gw_node *gw_node_get(const struct gw_node *map, struct gw_str key);
struct gw_node *gw_node_get_c(const struct gw_node *map, const char *key);
struct gw_node *gw_node_at(const struct gw_node *list, uint32_t index);

static inline bool gw_node_is_null(const struct gw_node *node)
{
    return node->kind == GW_NODE_SCALAR && node->scalar == GW_SCALAR_NULL;
}

/* By the scalar's type; false: it is of another type or does not fit. */
bool gw_node_bool(const struct gw_node *node, bool *out);
bool gw_node_int(const struct gw_node *node, int64_t *out);
bool gw_node_number(const struct gw_node *node, double *out); /* ints too */
bool gw_node_string(const struct gw_node *node, struct gw_str *out);

/* The same from bare text, for those who type a scalar by a key of theirs. */
enum gw_scalar gw_scalar_of(struct gw_str plain);
bool gw_scalar_int(struct gw_str text, int64_t *out);
bool gw_scalar_number(struct gw_str text, double *out);

/* Place of the key (a member of a map) or else of the value. */
struct gw_where gw_node_key_where(const struct gw_node *node);

/* "a map", "a list", "a string", "an integer", … */
const char *gw_node_what(const struct gw_node *node);

/* Equal values, wherever they stand; the order of keys does not count. */
bool gw_node_eq(const struct gw_node *a, const struct gw_node *b);

/* Same value: same hash, whatever the places and the order of keys. */
uint64_t gw_node_hash(const struct gw_node *node, uint64_t seed);

/* Compact JSON behind what `out` holds. Text that is not UTF-8 cannot be here (the reader
 * refuses it); .inf and .nan, which JSON has not, are written null. */
void gw_node_json(const struct gw_node *node, struct gw_buf *out);

/* JSON into a tree without places. GW_INVALID, or GW_LIMIT behind GW_NODE_DEPTH_MAX levels. */
GW_MUST_CHECK enum gw_rc gw_node_from_json(struct gw_arena *arena, struct gw_str json,
                                           struct gw_node **out, struct gw_err *err);

#endif
