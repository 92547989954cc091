#include "conf/yaml.h"

#include <assert.h>
#include <string.h>
#include <yaml.h>

#include "conf/names.h"
#include "conf/yaml_error.h"
#include "conf/yaml_plain.h"

/* A map with fewer keys than this is searched from end to end; above, by a table. */
#define SMALL_MAP 12

struct frame {
    struct gw_node *node;
    struct gw_names keys; /* of a large map */
    struct gw_str key;    /* read, its value comes next */
    uint32_t key_line;
    uint32_t key_column;
    bool has_key;
    bool drop; /* the key was there already: its value is read and forgotten */
};

struct reader {
    struct gw_arena *arena;
    struct gw_report *report;
    struct gw_str text;
    uint32_t file;
    struct frame frames[GW_NODE_DEPTH_MAX];
    uint32_t depth;
    struct gw_node *root;
    uint32_t nodes;
    uint32_t copied; /* nodes made by aliases */
    struct gw_names anchors;
    struct gw_node **anchored;
    uint32_t anchored_count;
    uint32_t anchored_size;
};

static struct gw_where where_of(const struct reader *r, const yaml_mark_t *mark)
{
    return (struct gw_where){r->file, (uint32_t)mark->line + 1, (uint32_t)mark->column + 1};
}

#define FAULT(r, mark, ...)                                                                        \
    gw_report_fault((r)->report, where_of((r), (mark)), GW_STR(""), __VA_ARGS__)

static enum gw_rc too_many(struct reader *r, const yaml_mark_t *mark)
{
    FAULT(r, mark, "the file holds more than %u values", GW_YAML_NODES_MAX);
    return GW_INVALID;
}

static const struct gw_node *member_of(const struct frame *frame, struct gw_str key)
{
    uint32_t line = 0;

    if (frame->keys.count == 0)
        return gw_node_get(frame->node, key);
    if (!gw_names_get(&frame->keys, key, &line))
        return NULL;
    return gw_node_get(frame->node, key); /* it is there: this is for its place only */
}

static void remember_key(struct frame *frame, const struct gw_node *member)
{
    if (frame->node->count < SMALL_MAP)
        return;
    if (frame->keys.count == 0)
        for (const struct gw_node *n = frame->node->members.first; n != NULL; n = n->next)
            (void)gw_names_add(&frame->keys, n->key, 0, NULL);
    (void)gw_names_add(&frame->keys, member->key, 0, NULL);
}

static void attach(struct reader *r, struct gw_node *node)
{
    struct frame *frame;

    if (r->depth == 0) {
        r->root = node;
        return;
    }
    frame = &r->frames[r->depth - 1];
    if (frame->node->kind == GW_NODE_LIST) {
        gw_node_push(frame->node, node);
        return;
    }
    assert(frame->has_key);
    frame->has_key = false;
    if (frame->drop) {
        frame->drop = false;
        return;
    }
    node->key = frame->key;
    node->key_line = frame->key_line;
    node->key_column = frame->key_column;
    node->next = NULL;
    if (frame->node->members.last == NULL)
        frame->node->members.first = node;
    else
        frame->node->members.last->next = node;
    frame->node->members.last = node;
    frame->node->count++;
    remember_key(frame, node);
}

/* A collection: what comes next goes into it. */
static void push(struct reader *r, struct gw_node *node)
{
    attach(r, node);
    r->frames[r->depth++] = (struct frame){.node = node, .keys = GW_NAMES_INIT};
}

static void set_key(struct reader *r, struct gw_str key, struct gw_where where)
{
    struct frame *frame = &r->frames[r->depth - 1];

    frame->key = gw_arena_dup(r->arena, key);
    frame->key_line = where.line;
    frame->key_column = where.column;
    frame->has_key = true;
}

static bool wants_key(const struct reader *r)
{
    return r->depth > 0 && r->frames[r->depth - 1].node->kind == GW_NODE_MAP &&
           !r->frames[r->depth - 1].has_key;
}

static enum gw_rc take_key(struct reader *r, const yaml_event_t *event)
{
    struct frame *frame = &r->frames[r->depth - 1];
    struct gw_str key = gw_str((const char *)event->data.scalar.value, event->data.scalar.length);
    struct gw_where where = where_of(r, &event->start_mark);
    const struct gw_node *there;

    if (key.len == 0) {
        FAULT(r, &event->start_mark, "a key is empty");
        gw_report_hint(r->report, "write a name before the \":\"");
    } else if (gw_str_eq(key, GW_STR("<<")) &&
               event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        FAULT(r, &event->start_mark, "merge keys (\"<<\") are not part of YAML 1.2");
        gw_report_hint(r->report, "use the alias as a whole value, or repeat the keys");
        return GW_INVALID;
    }
    there = member_of(frame, key);
    if (there != NULL) {
        FAULT(r, &event->start_mark, "\"%.*s\" is given twice, first in line %u", GW_STR_ARG(key),
              there->key_line);
        gw_report_hint(r->report, "keep one of them");
        frame->drop = true;
    }
    if (event->data.scalar.anchor != NULL) {
        FAULT(r, &event->start_mark, "a key cannot have an anchor");
        gw_report_hint(r->report, "put \"&%s\" before a value", event->data.scalar.anchor);
    }
    set_key(r, key, where);
    return GW_OK;
}

static struct gw_node *node_at(struct reader *r, struct gw_where where, enum gw_node_kind kind)
{
    struct gw_node *node = gw_arena_zalloc(r->arena, sizeof(*node));

    node->kind = (uint8_t)kind;
    node->where = where;
    return node;
}

static struct gw_node *scalar_at(struct reader *r, struct gw_where where, struct gw_str text,
                                 bool string)
{
    struct gw_node *node = node_at(r, where, GW_NODE_SCALAR);

    node->text = gw_arena_dup(r->arena, text);
    node->quoted = string;
    node->scalar = (uint8_t)(string ? GW_SCALAR_STRING : gw_scalar_of(node->text));
    return node;
}

static enum gw_rc keep_anchor(struct reader *r, const yaml_event_t *event, const yaml_char_t *name,
                              struct gw_node *node)
{
    struct gw_str anchor;
    uint32_t there;

    if (name == NULL)
        return GW_OK;
    if (r->anchored_count == GW_YAML_ANCHORS_MAX) {
        FAULT(r, &event->start_mark, "the file has more than %u anchors", GW_YAML_ANCHORS_MAX);
        return GW_INVALID;
    }
    anchor = gw_arena_dup(r->arena, gw_str_c((const char *)name));
    if (!gw_names_add(&r->anchors, anchor, r->anchored_count, &there)) {
        /* YAML lets a later anchor of the same name win; in a conf that is a slip. */
        FAULT(r, &event->start_mark, "the anchor \"&%.*s\" is given twice", GW_STR_ARG(anchor));
        return GW_OK;
    }
    if (r->anchored_count == r->anchored_size) {
        uint32_t size = r->anchored_size == 0 ? 16 : r->anchored_size * 2;
        struct gw_node **larger = gw_arena_alloc(r->arena, size * sizeof(struct gw_node *));

        if (r->anchored_count > 0)
            memcpy(larger, r->anchored, r->anchored_count * sizeof(struct gw_node *));
        r->anchored = larger;
        r->anchored_size = size;
    }
    r->anchored[r->anchored_count++] = node;
    return GW_OK;
}

/* Only `!!str` and the bare `!` say something that the core schema of a conf needs. */
static enum gw_rc check_tag(struct reader *r, const yaml_event_t *event, const yaml_char_t *tag,
                            bool *string)
{
    if (tag == NULL)
        return GW_OK;
    *string = strcmp((const char *)tag, YAML_STR_TAG) == 0 || strcmp((const char *)tag, "!") == 0;
    if (*string)
        return GW_OK;
    FAULT(r, &event->start_mark, "the tag \"%s\" is not supported", tag);
    gw_report_hint(r->report, "a text that begins with \"!\" must stand in quotes");
    return GW_INVALID;
}

static enum gw_rc on_scalar(struct reader *r, const yaml_event_t *event)
{
    struct gw_node *node;
    enum gw_rc rc;
    bool string = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;

    if (event->data.scalar.length > GW_YAML_SCALAR_BYTES_MAX) {
        FAULT(r, &event->start_mark, "a text of %zu bytes is longer than %u",
              event->data.scalar.length, GW_YAML_SCALAR_BYTES_MAX);
        return GW_INVALID;
    }
    if (memchr(event->data.scalar.value, '\0', event->data.scalar.length) != NULL) {
        FAULT(r, &event->start_mark, "a text holds a NUL byte (\"\\0\")");
        return GW_INVALID;
    }
    if (wants_key(r))
        return take_key(r, event);
    if (++r->nodes > GW_YAML_NODES_MAX)
        return too_many(r, &event->start_mark);
    rc = check_tag(r, event, event->data.scalar.tag, &string);
    if (rc != GW_OK)
        return rc;
    node = scalar_at(r, where_of(r, &event->start_mark),
                     gw_str((const char *)event->data.scalar.value, event->data.scalar.length),
                     string);
    attach(r, node);
    return keep_anchor(r, event, event->data.scalar.anchor, node);
}

static enum gw_rc on_begin(struct reader *r, const yaml_event_t *event, enum gw_node_kind kind)
{
    bool map = kind == GW_NODE_MAP;
    const yaml_char_t *tag = map ? event->data.mapping_start.tag : event->data.sequence_start.tag;
    struct gw_node *node;
    bool ignored;
    enum gw_rc rc;

    if (wants_key(r)) {
        FAULT(r, &event->start_mark, "a key cannot be %s", map ? "a map" : "a list");
        gw_report_hint(r->report, map ? "a text that begins with \"{\" must stand in quotes: "
                                        "\"{{ … }}\""
                                      : "a text that begins with \"[\" must stand in quotes");
        return GW_INVALID;
    }
    if (r->depth == GW_NODE_DEPTH_MAX) {
        FAULT(r, &event->start_mark, "nested deeper than %d levels", GW_NODE_DEPTH_MAX);
        return GW_INVALID;
    }
    if (++r->nodes > GW_YAML_NODES_MAX)
        return too_many(r, &event->start_mark);
    rc = check_tag(r, event, tag, &ignored);
    if (rc != GW_OK)
        return rc;
    node = node_at(r, where_of(r, &event->start_mark), kind);
    push(r, node);
    return keep_anchor(
        r, event, map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor, node);
}

static void on_end(struct reader *r)
{
    gw_names_fini(&r->frames[--r->depth].keys);
}

static uint32_t size_of(const struct gw_node *node)
{
    uint32_t size = 1;

    for (const struct gw_node *n = gw_node_first(node); n != NULL; n = n->next)
        size += size_of(n);
    return size;
}

static uint32_t height_of(const struct gw_node *node)
{
    uint32_t height = 0;

    if (node->kind == GW_NODE_SCALAR)
        return 0;
    for (const struct gw_node *n = node->members.first; n != NULL; n = n->next) {
        uint32_t below = height_of(n);
        height = below > height ? below : height;
    }
    return height + 1;
}

static bool is_open(const struct reader *r, const struct gw_node *node)
{
    for (uint32_t i = 0; i < r->depth; i++)
        if (r->frames[i].node == node)
            return true;
    return false;
}

static enum gw_rc on_alias(struct reader *r, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    const struct gw_node *target;
    uint32_t index;

    if (wants_key(r)) {
        FAULT(r, &event->start_mark, "a key cannot be the alias \"*%s\"", name);
        gw_report_hint(r->report, "if it is text, quote it: \"*%s\"", name);
        return GW_INVALID;
    }
    if (!gw_names_get(&r->anchors, gw_str_c(name), &index)) {
        struct gw_str word = gw_yaml_word(r->text, where_of(r, &event->start_mark));

        FAULT(r, &event->start_mark,
              "YAML reads a \"*\" as an alias, and there is no anchor \"&%s\" before", name);
        gw_report_hint(r->report, "if it is text, quote it: \"%.*s\"", GW_STR_ARG(word));
        return GW_INVALID;
    }
    target = r->anchored[index];
    if (is_open(r, target)) {
        FAULT(r, &event->start_mark, "the alias \"*%s\" stands inside of what it names", name);
        return GW_INVALID;
    }
    r->copied += size_of(target);
    if (r->copied > GW_YAML_ALIAS_NODES_MAX) {
        FAULT(r, &event->start_mark, "aliases make more than %u values", GW_YAML_ALIAS_NODES_MAX);
        return GW_INVALID;
    }
    if (r->depth + height_of(target) > GW_NODE_DEPTH_MAX) {
        FAULT(r, &event->start_mark, "nested deeper than %d levels", GW_NODE_DEPTH_MAX);
        return GW_INVALID;
    }
    attach(r, gw_node_copy(r->arena, target));
    return GW_OK;
}

static enum gw_rc on_event(struct reader *r, const yaml_event_t *event, uint32_t *documents)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents == 1)
            return GW_OK;
        FAULT(r, &event->start_mark, "a second document begins here (\"---\")");
        gw_report_hint(r->report, "put it into a file of its own and include: that");
        return GW_INVALID;
    case YAML_SCALAR_EVENT:
        return on_scalar(r, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_begin(r, event, GW_NODE_LIST);
    case YAML_MAPPING_START_EVENT:
        return on_begin(r, event, GW_NODE_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_end(r);
        return GW_OK;
    case YAML_ALIAS_EVENT:
        return on_alias(r, event);
    default:
        return GW_OK;
    }
}

static void explain(const struct reader *r, const yaml_parser_t *parser)
{
    struct gw_yaml_error error = {
        .problem = parser->problem,
        .context = parser->context,
        .problem_where = where_of(r, &parser->problem_mark),
        .context_where = where_of(r, &parser->context_mark),
        .bytes = parser->error == YAML_READER_ERROR,
        .offset = parser->problem_offset,
        .value = (unsigned)parser->problem_value,
    };

    if (parser->error == YAML_MEMORY_ERROR)
        error.problem = "out of memory";
    gw_yaml_explain(&error, r->text, r->report);
}

static enum gw_rc run(struct reader *r, yaml_parser_t *parser)
{
    uint32_t documents = 0;

    for (;;) {
        yaml_event_t event;
        yaml_event_type_t type;
        enum gw_rc rc;

        if (!yaml_parser_parse(parser, &event)) {
            explain(r, parser);
            return GW_INVALID;
        }
        type = event.type;
        rc = on_event(r, &event, &documents);
        yaml_event_delete(&event);
        if (rc != GW_OK || type == YAML_STREAM_END_EVENT)
            return rc;
    }
}

/* ---- the short cut: what would be a fault is left to libyaml, which tells it ---- */

static bool plain_begin(void *arg, enum gw_node_kind kind, uint32_t line, uint32_t column)
{
    struct reader *r = arg;

    if (r->depth == GW_NODE_DEPTH_MAX || ++r->nodes > GW_YAML_NODES_MAX)
        return false;
    push(r, node_at(r, (struct gw_where){r->file, line, column}, kind));
    return true;
}

static bool plain_key(void *arg, struct gw_str text, bool quoted, uint32_t line, uint32_t column)
{
    struct reader *r = arg;

    if (text.len == 0 || (!quoted && gw_str_eq(text, GW_STR("<<"))) ||
        member_of(&r->frames[r->depth - 1], text) != NULL)
        return false;
    set_key(r, text, (struct gw_where){r->file, line, column});
    return true;
}

static bool plain_scalar(void *arg, struct gw_str text, bool quoted, uint32_t line, uint32_t column)
{
    struct reader *r = arg;

    if (text.len > GW_YAML_SCALAR_BYTES_MAX || ++r->nodes > GW_YAML_NODES_MAX)
        return false;
    attach(r, scalar_at(r, (struct gw_where){r->file, line, column}, text, quoted));
    return true;
}

static void plain_end(void *arg)
{
    on_end(arg);
}

bool gw_yaml_parse_plain(struct gw_arena *arena, uint32_t file, struct gw_str text,
                         struct gw_node **out)
{
    static const struct gw_yaml_sink sink = {plain_begin, plain_key, plain_scalar, plain_end};
    struct reader r = {.arena = arena, .file = file, .text = text};
    bool done = gw_yaml_plain_read(text, &sink, &r);

    while (r.depth > 0)
        on_end(&r);
    *out = done && !gw_node_is_null(r.root) ? r.root : NULL;
    return done;
}

static enum gw_rc parse(struct gw_arena *arena, uint32_t file, struct gw_str text,
                        struct gw_report *report, struct gw_node **out)
{
    struct reader r = {.arena = arena, .report = report, .file = file, .text = text};
    yaml_parser_t parser;
    enum gw_rc rc;

    if (!yaml_parser_initialize(&parser)) {
        gw_report_fault(report, (struct gw_where){file, 0, 0}, GW_STR(""), "out of memory");
        return GW_INVALID;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.len);
    rc = run(&r, &parser);
    yaml_parser_delete(&parser);
    while (r.depth > 0)
        on_end(&r);
    gw_names_fini(&r.anchors);
    if (rc == GW_OK && r.root != NULL && !gw_node_is_null(r.root))
        *out = r.root;
    return rc;
}

static bool fits(uint32_t file, struct gw_str text, struct gw_report *report)
{
    if (text.len <= GW_YAML_FILE_BYTES_MAX)
        return true;
    gw_report_fault(report, (struct gw_where){file, 0, 0}, GW_STR(""),
                    "the file has %zu bytes, more than %u", text.len, GW_YAML_FILE_BYTES_MAX);
    return false;
}

/* The mark of UTF-8 is not text. */
static struct gw_str without_mark(struct gw_str text)
{
    if (gw_str_starts(text, GW_STR("\xef\xbb\xbf")))
        return gw_str(text.data + 3, text.len - 3);
    return text;
}

enum gw_rc gw_yaml_parse_full(struct gw_arena *arena, uint32_t file, struct gw_str text,
                              struct gw_report *report, struct gw_node **out)
{
    *out = NULL;
    return fits(file, text, report) ? parse(arena, file, without_mark(text), report, out)
                                    : GW_INVALID;
}

enum gw_rc gw_yaml_parse(struct gw_arena *arena, uint32_t file, struct gw_str text,
                         struct gw_report *report, struct gw_node **out)
{
    *out = NULL;
    if (!fits(file, text, report))
        return GW_INVALID;
    if (gw_yaml_parse_plain(arena, file, text, out))
        return GW_OK;
    return parse(arena, file, without_mark(text), report, out);
}
