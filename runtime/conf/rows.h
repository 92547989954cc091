/* One table of rows for each section of the conf: key, type, place, default, bounds, doc.
 * From the rows come typing, defaults, "did you mean", `moongate schema` and the reference.
 * Lives in: the loader. The tables are const. Sections have at most 64 rows. */
#ifndef GW_CONF_ROWS_H
#define GW_CONF_ROWS_H

#include <sys/stat.h>

#include "conf/env.h"
#include "conf/load.h"
#include "conf/names.h"
#include "conf/path.h"
#include "net/tls.h"

struct gw_row;
struct gw_files; /* include.h: what was read */

/* All that typing needs. One for a load. */
struct gw_reader {
    struct gw_arena *arena; /* of the source */
    struct gw_image *image;
    struct gw_report *report;
    struct gw_conf_source *source;
    const struct gw_conf_options *options;
    const struct gw_files *files;
    const struct gw_path *path; /* where we are */
    struct gw_conf conf;        /* the draft; goes to the front of the image at the end */

    struct gw_names listeners; /* name -> index */
    struct gw_names upstream_names;
    struct gw_conf_upstream *upstreams;
    uint32_t upstreams_count;
    uint32_t upstreams_size;
    uint32_t target_port; /* of targets that name none */
    struct gw_names routes;
    struct gw_names route_limits; /* the bytes of a struct gw_conf_limits -> its offset */
    uint32_t route;               /* the one that is being read, or GW_NONE */
    uint32_t bindings_size;
    struct gw_conf_key_file *key_files; /* certificates and keys (tls_files.c) */
    uint32_t key_files_count;
    uint32_t key_files_size;
};

/* Types a value into `field`. False: a fault is in the report, `field` is as it was. */
typedef bool (*gw_row_read_fn)(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                               void *field);

struct gw_type {
    const char *form; /* for messages and the reference: "a duration such as 250ms, 5s, 1h" */
    gw_row_read_fn read;
    /* Writes the members of a JSON Schema object, without braces. */
    void (*schema)(const struct gw_row *row, struct gw_buf *out);
    /* `detail` of the row is a section, reached as KEY + this: ".", "[].", ".NAME."; or NULL. */
    const char *inside;
    bool list; /* in two files: appended; a single item stands for a list of one */
};

enum gw_row_flag {
    GW_ROW_REQUIRED = 1 << 0,
    GW_ROW_LISTENER = 1 << 1, /* a limit that a listener may set, or such a set of limits */
    GW_ROW_ROUTE = 1 << 2,
};

struct gw_row {
    const char *key;
    const struct gw_type *type;
    uint32_t offset; /* in the struct that the section fills */
    uint32_t flags;
    const char *otherwise; /* default, as one would write it; NULL: none */
    int64_t min;
    int64_t max;
    const void *detail; /* const struct gw_section *, or names of an enum */
    const char *doc;    /* what it is, and what happens at the limit */
};

struct gw_section {
    const char *name;
    const struct gw_row *rows;
    uint32_t count;
};

#define GW_SECTION(name, rows)                                                                     \
    {                                                                                              \
        (name), (rows), sizeof(rows) / sizeof((rows)[0])                                           \
    }

/* ---- reading ---- */

/* Bit i: row i was given, well or not. `scope` 0, or only rows with one of these flags may be
 * given. */
uint64_t gw_section_read(struct gw_reader *r, const struct gw_section *section,
                         struct gw_node *node, void *base, uint32_t scope);
void gw_section_defaults(struct gw_reader *r, const struct gw_section *section, void *base);
bool gw_section_has(const struct gw_section *section, uint64_t given, const char *key);

/* A fault of the value at `node`, with the path where we are. Always false. */
bool gw_fault(struct gw_reader *r, const struct gw_node *node, const char *fmt, ...)
    GW_PRINTF(3, 4);
/* "must be <form>, not <what it is>" */
bool gw_fault_form(struct gw_reader *r, const struct gw_row *row, const struct gw_node *node);

/* The text of a scalar that is not empty; else a fault by the row's form. */
bool gw_scalar_text(struct gw_reader *r, const struct gw_row *row, const struct gw_node *node,
                    struct gw_str *out);

/* Steps into a member or item for the time of a read. `step` is the caller's. */
static inline void gw_enter(struct gw_reader *r, struct gw_path *step, const struct gw_node *node,
                            uint32_t index)
{
    *step = (struct gw_path){r->path, node->key, index};
    r->path = step;
}

static inline void gw_leave(struct gw_reader *r)
{
    r->path = r->path->up;
}

/* The items of a list; a single value counts as a list of one, an empty one as none. */
struct gw_node *gw_items_first(struct gw_node *node);
static inline struct gw_node *gw_items_next(const struct gw_node *node, const struct gw_node *item)
{
    return item == node ? NULL : item->next;
}
uint32_t gw_items_count(const struct gw_node *node);
#define GW_ITEMS_EACH(item, node)                                                                  \
    for (struct gw_node *item = gw_items_first(node); item != NULL;                                \
         item = gw_items_next((node), item))

/* Enters an item unless it is the single value itself; gw_item_leave() matches it. `index` counts
 * in the file of the item: lists of several files are one, but a user counts in one. */
struct gw_item_step {
    struct gw_path step;
    uint32_t index;
    uint32_t file;
    bool entered;
};
#define GW_ITEM_STEP_INIT ((struct gw_item_step){{NULL, GW_STR_NULL, 0}, 0, GW_NONE, false})
void gw_item_enter(struct gw_reader *r, struct gw_item_step *step, const struct gw_node *list,
                   const struct gw_node *item);
void gw_item_leave(struct gw_reader *r, struct gw_item_step *step);

/* Absolute form of a path that stands in the file of `node`. */
struct gw_str gw_path_absolute(struct gw_reader *r, const struct gw_node *node, struct gw_str path);

/* Members of the JSON Schema of a section (conf_schema.c). */
void gw_section_schema(const struct gw_section *section, uint32_t scope, struct gw_buf *out);

/* ---- types ---- */

extern const struct gw_type gw_type_bool;     /* uint8_t */
extern const struct gw_type gw_type_int;      /* uint32_t */
extern const struct gw_type gw_type_signed;   /* int32_t */
extern const struct gw_type gw_type_workers;  /* uint32_t, auto: 0 */
extern const struct gw_type gw_type_duration; /* uint32_t, ms */
extern const struct gw_type gw_type_size;     /* uint64_t */
extern const struct gw_type gw_type_size32;   /* uint32_t */
extern const struct gw_type gw_type_rate;     /* uint32_t, bytes a second */
extern const struct gw_type gw_type_enum;     /* uint8_t; detail: names, NULL at the end */
extern const struct gw_type gw_type_string;   /* gw_ref; no control bytes */
extern const struct gw_type gw_type_text;     /* gw_ref; any text, may be empty */
extern const struct gw_type gw_type_path;     /* gw_ref; made absolute */
extern const struct gw_type gw_type_section;  /* detail: section; the same base */

extern const struct gw_type gw_type_token;             /* gw_ref; an HTTP token */
extern const struct gw_type gw_type_hosts;             /* gw_ref of gw_ref */
extern const struct gw_type gw_type_paths;             /* gw_ref of gw_ref */
extern const struct gw_type gw_type_methods;           /* gw_ref of gw_ref */
extern const struct gw_type gw_type_cidrs;             /* gw_ref of struct gw_cidr */
extern const struct gw_type gw_type_headers;           /* gw_ref of struct gw_conf_header */
extern const struct gw_type gw_type_conditions;        /* gw_ref of struct gw_conf_condition */
extern const struct gw_type gw_type_header_conditions; /* the same, names in lower case */
extern const struct gw_type gw_type_dns_servers;       /* gw_ref of gw_ref */

/* The values of scalars, for those who have no row. False: not one. */
bool gw_read_duration(struct gw_str text, uint64_t *ms);
bool gw_read_size(struct gw_str text, uint64_t *bytes);

/* An HTTP token (RFC 9110 5.6.2), which is never empty. */
bool gw_is_token(struct gw_str text);

/* Text of JSON Schema for a scalar that may also come from the environment. */
#define GW_SCHEMA_ENV "{\"type\":\"string\",\"pattern\":\"\\\\$\\\\{\"}"

/* ---- the tables ---- */

extern const struct gw_section gw_section_root;
extern const struct gw_section gw_section_limits;
extern const struct gw_section gw_section_listener;
extern const struct gw_section gw_section_upstream;
extern const struct gw_section gw_section_route;
extern const struct gw_section gw_section_binding; /* the keys beside the plugin's name */

/* Custom types of the tables, each in the file of its part. */
extern const struct gw_type gw_type_limits;    /* sections.c */
extern const struct gw_type gw_type_listeners; /* listeners.c */
extern const struct gw_type gw_type_shared;    /* sections.c */
extern const struct gw_type gw_type_upstreams; /* upstreams.c */
extern const struct gw_type gw_type_upstream;  /* upstreams.c: name or URL -> uint32_t index */
extern const struct gw_type gw_type_routes;    /* routes.c */
extern const struct gw_type gw_type_plugins;   /* bindings.c */

/* The first one has the index 0. False: the name is taken. The name is lent until the end. */
bool gw_upstream_add(struct gw_reader *r, struct gw_str name,
                     const struct gw_conf_upstream *upstream);
extern const struct gw_type gw_type_listener_tls; /* tls.c: gw_ref of struct gw_conf_tls */
extern const struct gw_type gw_type_upstream_tls; /* tls_upstream.c: of gw_conf_upstream_tls */
extern const struct gw_section gw_section_tls;
extern const struct gw_section gw_section_upstream_tls;

/* ---- certificates and keys (tls_files.c) ---- */

/* What a PEM file says, in the image. False: a fault is in the report. */
bool gw_pem_certificates(struct gw_reader *r, const struct gw_node *node, struct gw_str path,
                         struct gw_ref *der, struct gw_tls_certificate_facts *facts);
bool gw_pem_key(struct gw_reader *r, const struct gw_node *node, struct gw_str path,
                struct gw_ref chain, struct gw_ref *der);
bool gw_pem_crls(struct gw_reader *r, const struct gw_node *node, struct gw_str path,
                 struct gw_ref *der);

uint64_t gw_key_file_stamp(const struct stat *st);
/* Hashed and written. */
struct gw_ref gw_upstream_tls_add(struct gw_reader *r, struct gw_conf_upstream_tls tls);

/* After all was read: into the image. */
void gw_key_files_finish(struct gw_reader *r);
void gw_tls_finish(struct gw_reader *r); /* tls.c */
void gw_upstreams_finish(struct gw_reader *r);

/* The row of a file, without what is counted of routes and upstreams (load.c). */
struct gw_file;
struct gw_env gw_conf_env(const struct gw_conf_options *options, struct gw_arena *arena,
                          struct gw_report *report);
void gw_file_row(struct gw_image *image, const struct gw_file *file, struct gw_conf_file *row);

#define GW_ROUTES_MAX 100000
#define GW_UPSTREAMS_MAX 100000

#endif
