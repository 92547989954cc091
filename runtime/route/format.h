/* Layout of the match table in the image; only route/ reads it.
 * All places are offsets from the image's first byte, items of one kind have an index.
 *
 * An entry is one alternative of a route: one of its hosts with one of its paths. Entries are
 * numbered by rank: 0 wins over 1 where both fit, whatever the request is. So every list is
 * sorted, every node knows the best rank below it, and a search stops where nothing better
 * can come. */
#ifndef GW_ROUTE_FORMAT_H
#define GW_ROUTE_FORMAT_H

#include "conf/generation.h"

#define GW_ROUTE_MAGIC 0x474d5254u /* "GMRT" */
#define GW_ROUTE_VERSION 1u        /* changes with any struct below */
#define GW_ROUTE_LABEL_INLINE 8
#define GW_ROUTE_SEGMENT '\001' /* in a key: any one segment */

enum gw_route_path {
    GW_ROUTE_PATH_EXACT,
    GW_ROUTE_PATH_PARAM,
    GW_ROUTE_PATH_REGEX,
    GW_ROUTE_PATH_PREFIX,
    GW_ROUTE_PATH_ANY, /* the route names no path */
};

enum gw_route_host { GW_ROUTE_HOST_EXACT, GW_ROUTE_HOST_WILDCARD, GW_ROUTE_HOST_ANY };

/* Which list of a place in the tree an entry is in. */
enum gw_route_list {
    GW_ROUTE_LIST_END,    /* the path ends here */
    GW_ROUTE_LIST_REGEX,  /* a regex whose literal prefix ends here */
    GW_ROUTE_LIST_PREFIX, /* whatever follows */
    GW_ROUTE_LISTS
};

/* 32 bytes, two in a cache line. */
struct gw_route_node {
    union {
        char text[GW_ROUTE_LABEL_INLINE]; /* with zeros behind */
        uint64_t word;                    /* the same bytes, to compare them at once */
        uint32_t off;                     /* longer labels */
    } label;
    uint16_t label_len;
    uint8_t children; /* how many */
    uint8_t low;      /* first byte of the first child when each next one is one higher, or 0 */
    uint32_t child;   /* index of the first; they stand together, sorted by first byte */
    uint32_t place;   /* what ends or hangs here: gw_route_place, or GW_NONE */
    uint32_t up;      /* nearest node, itself or above, where something hangs, or GW_NONE */
    uint32_t depth;   /* bytes from the start of the run (the root, or behind a segment) */
    uint32_t best;    /* lowest rank here and below */
};

struct gw_route_place {
    uint32_t up;      /* nearest node strictly above where something hangs, or GW_NONE */
    uint32_t segment; /* node that goes on behind any one segment, or GW_NONE */
    uint32_t ranks;   /* first of the lists, one behind another */
    uint32_t count[GW_ROUTE_LISTS];
};

struct gw_route_host_slot {
    uint32_t hash; /* upper half of gw_hash() */
    uint32_t name; /* offset; ".example.com" for a wildcard */
    uint32_t name_len;
    uint32_t root; /* node; GW_NONE: the slot is free */
};

#define GW_ROUTE_ENTRY_MERGE 1u /* wants "//" as "/" */
#define GW_ROUTE_ENTRY_REGEX 2u /* its path is one */

struct gw_route_entry {
    uint32_t route;
    uint32_t pattern;
    uint32_t host;       /* index in the route's hosts, or GW_NONE */
    uint32_t conditions; /* offset of struct gw_route_conditions, 0: none */
    uint32_t flags;
};

struct gw_route_pattern {
    struct gw_ref text; /* normalised; a regex without its "~" */
    uint32_t regex;     /* index, or GW_NONE */
    uint8_t kind;       /* enum gw_route_path */
    uint8_t params;     /* names in it, "*" too */
};

enum gw_route_test_kind { GW_ROUTE_TEST_EQUAL, GW_ROUTE_TEST_REGEX, GW_ROUTE_TEST_PRESENT };

struct gw_route_test {
    struct gw_ref name;
    struct gw_ref value;
    uint32_t regex;
    uint8_t kind;  /* enum gw_route_test_kind */
    uint8_t field; /* enum gw_field_id, for headers */
};

struct gw_route_range {
    uint8_t low[16];
    uint8_t high[16];
};

struct gw_route_conditions {
    struct gw_ref listeners; /* uint32_t */
    struct gw_ref methods;   /* gw_ref; as in the conf */
    uint32_t methods_known;  /* bit (1 << enum gw_method), HEAD implied by GET */
    uint32_t has_regex;      /* one of the tests is one */
    struct gw_ref scheme;    /* empty: both */
    struct gw_ref clients;   /* struct gw_route_range: sorted, apart */
    struct gw_ref headers;   /* struct gw_route_test */
    struct gw_ref query;     /* struct gw_route_test */
};

struct gw_route_table {
    uint32_t magic;
    uint32_t version;
    struct gw_ref hosts; /* struct gw_route_host_slot, a power of two; at least half are free */
    uint32_t any;        /* root of the tree for every host, or GW_NONE */
    uint32_t exact_hosts;
    uint32_t wildcard_min; /* length of the shortest ".example.com"; 0: there are none */
    uint32_t wildcard_max;
    uint32_t merges; /* entries with GW_ROUTE_ENTRY_MERGE */
    struct gw_ref nodes;
    struct gw_ref firsts; /* of each node: first byte of its label */
    struct gw_ref places;
    struct gw_ref ranks; /* uint32_t */
    struct gw_ref entries;
    struct gw_ref patterns;
    struct gw_ref regexes; /* gw_ref */
};

#endif
