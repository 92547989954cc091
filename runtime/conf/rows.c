#include "conf/rows.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf/include.h"

#define KEYS_TOLD_MAX 24 /* a section with more keys than this does not list them in a hint */

bool gw_fault(struct gw_reader *r, const struct gw_node *node, const char *fmt, ...)
{
    char text[1024];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    gw_report_fault(r->report, node->where, gw_path_text(r->path, r->arena), "%s", text);
    return false;
}

bool gw_fault_form(struct gw_reader *r, const struct gw_row *row, const struct gw_node *node)
{
    if (gw_node_is_null(node)) {
        (void)gw_fault(r, node, "is empty");
        gw_report_hint(r->report, "write %s, or leave the key out", row->type->form);
        return false;
    }
    return gw_fault(r, node, "must be %s, not %s", row->type->form, gw_node_what(node));
}

bool gw_scalar_text(struct gw_reader *r, const struct gw_row *row, const struct gw_node *node,
                    struct gw_str *out)
{
    if (node->kind != GW_NODE_SCALAR || gw_node_is_null(node))
        return gw_fault_form(r, row, node);
    *out = node->text;
    return true;
}

struct gw_node *gw_items_first(struct gw_node *node)
{
    if (node->kind == GW_NODE_LIST)
        return node->members.first;
    return gw_node_is_null(node) ? NULL : node;
}

uint32_t gw_items_count(const struct gw_node *node)
{
    if (node->kind == GW_NODE_LIST)
        return node->count;
    return gw_node_is_null(node) ? 0 : 1;
}

void gw_item_enter(struct gw_reader *r, struct gw_item_step *step, const struct gw_node *list,
                   const struct gw_node *item)
{
    step->entered = item != list;
    if (!step->entered)
        return;
    if (item->where.file != step->file) {
        step->file = item->where.file;
        step->index = 0;
    }
    step->step = (struct gw_path){r->path, GW_STR_NULL, step->index++};
    r->path = &step->step;
}

void gw_item_leave(struct gw_reader *r, struct gw_item_step *step)
{
    if (step->entered)
        gw_leave(r);
}

/* Keys mostly stand in the order of the rows, so the search begins behind the last one. */
static uint32_t row_of(const struct gw_section *section, struct gw_str key, uint32_t from)
{
    for (uint32_t n = 0, i = from; n < section->count; n++, i++) {
        const char *name;

        if (i >= section->count)
            i = 0;
        name = section->rows[i].key;
        if (key.len > 0 && name[0] == key.data[0] && strncmp(name, key.data, key.len) == 0 &&
            name[key.len] == '\0')
            return i;
    }
    return GW_NONE;
}

static bool in_scope(const struct gw_row *row, uint32_t scope)
{
    return scope == 0 || (row->flags & scope) != 0;
}

static void fault_unknown(struct gw_reader *r, const struct gw_section *section,
                          const struct gw_node *node, uint32_t scope)
{
    struct gw_buf known = GW_BUF_INIT;
    struct gw_suggest suggest;
    struct gw_path step;

    gw_suggest_begin(&suggest, node->key);
    for (uint32_t i = 0; i < section->count; i++) {
        if (!in_scope(&section->rows[i], scope))
            continue;
        gw_suggest_offer(&suggest, gw_str_c(section->rows[i].key));
        gw_buf_printf(&known, "%s%s", gw_buf_len(&known) > 0 ? ", " : "", section->rows[i].key);
    }
    gw_enter(r, &step, node, 0);
    gw_report_fault(r->report, gw_node_key_where(node), gw_path_text(r->path, r->arena),
                    "unknown key");
    gw_leave(r);
    if (suggest.best.data != NULL)
        gw_report_hint(r->report, "did you mean \"%.*s\"?", GW_STR_ARG(suggest.best));
    else if (section->count <= KEYS_TOLD_MAX)
        gw_report_hint(r->report, "known are: %.*s", GW_STR_ARG(gw_buf_str(&known)));
    gw_buf_fini(&known);
}

static void fault_scope(struct gw_reader *r, const struct gw_row *row, const struct gw_node *node,
                        uint32_t scope)
{
    struct gw_path step;

    gw_enter(r, &step, node, 0);
    gw_report_fault(r->report, gw_node_key_where(node), gw_path_text(r->path, r->arena),
                    "cannot be set for %s: it counts before one is chosen",
                    scope == GW_ROW_ROUTE ? "a route" : "a listener");
    gw_report_hint(r->report, "set it in limits: of %sthe whole gateway",
                   (row->flags & GW_ROW_LISTENER) != 0 ? "the listener, or of " : "");
    gw_leave(r);
}

uint64_t gw_section_read(struct gw_reader *r, const struct gw_section *section,
                         struct gw_node *node, void *base, uint32_t scope)
{
    struct gw_node *found[64] = {NULL};
    uint64_t given = 0;
    uint32_t next = 0;

    assert(section->count <= 64);
    if (node->kind != GW_NODE_MAP && !gw_node_is_null(node)) {
        (void)gw_fault(r, node, "must be a map of keys, not %s", gw_node_what(node));
        return 0;
    }
    for (struct gw_node *n = gw_node_first(node); n != NULL; n = n->next) {
        uint32_t i = row_of(section, n->key, next);

        next = i + 1; /* behind GW_NONE: the first */
        if (i == GW_NONE)
            fault_unknown(r, section, n, scope);
        else if (!in_scope(&section->rows[i], scope))
            fault_scope(r, &section->rows[i], n, scope);
        else
            found[i] = n;
    }
    /* In the order of the rows: what is needed by others stands before them. */
    for (uint32_t i = 0; i < section->count; i++) {
        const struct gw_row *row = &section->rows[i];
        struct gw_path step;

        if (found[i] == NULL) {
            if ((row->flags & GW_ROW_REQUIRED) != 0) {
                (void)gw_fault(r, node, "\"%s\" is missing", row->key);
                gw_report_hint(r->report, "it is %s", row->type->form);
            }
            continue;
        }
        gw_enter(r, &step, found[i], 0);
        (void)row->type->read(r, row, found[i], (char *)base + row->offset);
        given |= 1ULL << i;
        gw_leave(r);
    }
    return given;
}

void gw_section_defaults(struct gw_reader *r, const struct gw_section *section, void *base)
{
    for (uint32_t i = 0; i < section->count; i++) {
        const struct gw_row *row = &section->rows[i];
        void *field = (char *)base + row->offset;
        struct gw_node node = {.kind = GW_NODE_SCALAR};
        bool ok;

        if (row->type == &gw_type_section) {
            gw_section_defaults(r, row->detail, field);
            continue;
        }
        if (row->otherwise == NULL)
            continue;
        node.text = gw_str_c(row->otherwise);
        node.scalar = (uint8_t)gw_scalar_of(node.text);
        if (node.scalar == GW_SCALAR_NULL)
            node.scalar = GW_SCALAR_STRING;
        ok = row->type->read(r, row, &node, field);
        assert(ok);
        (void)ok;
    }
}

/* Looks only at the few that were given, not at all rows. */
bool gw_section_has(const struct gw_section *section, uint64_t given, const char *key)
{
    for (; given != 0; given &= given - 1)
        if (strcmp(section->rows[__builtin_ctzll(given)].key, key) == 0)
            return true;
    return false;
}

struct gw_str gw_path_absolute(struct gw_reader *r, const struct gw_node *node, struct gw_str path)
{
    struct gw_str dir = gw_files_dir(r->files, node->where.file);

    if (path.len > 0 && path.data[0] == '/')
        return path;
    while (gw_str_starts(path, GW_STR("./")))
        path = gw_str(path.data + 2, path.len - 2);
    return gw_arena_printf(r->arena, "%.*s%s%.*s", GW_STR_ARG(dir), dir.len == 1 ? "" : "/",
                           GW_STR_ARG(path));
}

/* ---- sections as values ---- */

static bool read_section(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    uint32_t before = r->report->faults_count;

    (void)gw_section_read(r, row->detail, node, field, 0);
    return r->report->faults_count == before;
}

static void schema_section(const struct gw_row *row, struct gw_buf *out)
{
    gw_section_schema(row->detail, 0, out);
}

const struct gw_type gw_type_section = {
    .form = "a map", .read = read_section, .schema = schema_section, .inside = "."};
