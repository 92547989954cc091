#include "conf/schema.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/regex.h"
#include "conf/names.h"
#include "conf/path.h"

enum type { T_NULL, T_BOOLEAN, T_INTEGER, T_NUMBER, T_STRING, T_ARRAY, T_OBJECT, T_COUNT };
static const char *const type_names[T_COUNT] = {"null",   "boolean", "integer", "number",
                                                "string", "array",   "object"};
#define ALL_TYPES ((1u << T_COUNT) - 1)
#define BIT(type) (1u << (type))

struct check {
    const struct gw_schema_at *at;
    const struct gw_path *path; /* beneath at->path */
    uint32_t depth;
    uint32_t faults;
};

/* `node` may be NULL or without a place: then the fault stands where the whole does. */
static bool fault(struct check *c, const struct gw_node *node, const char *fmt, ...)
    GW_PRINTF(3, 4);
static bool fault(struct check *c, const struct gw_node *node, const char *fmt, ...)
{
    struct gw_where where = node == NULL || node->where.line == 0 ? c->at->where : node->where;
    struct gw_buf path = GW_BUF_INIT;
    char text[900];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    gw_path_add(c->path, c->at->path, &path);
    gw_report_fault(c->at->report, where, gw_buf_len(&path) == 0 ? GW_STR("") : gw_buf_str(&path),
                    "%s", text);
    gw_buf_fini(&path);
    c->faults++;
    return false;
}

static struct gw_path enter(struct check *c, struct gw_str key, uint32_t index)
{
    struct gw_path step = {c->path, key, index};
    return step;
}

/* ---- the schema itself ---- */

/* An empty Lua table may be either. */
static bool is_map(const struct gw_node *node)
{
    return node->kind == GW_NODE_MAP || (node->kind == GW_NODE_LIST && node->count == 0);
}

static bool is_list(const struct gw_node *node)
{
    return node->kind == GW_NODE_LIST || (node->kind == GW_NODE_MAP && node->count == 0);
}

static bool type_of_name(struct gw_str name, uint32_t *types)
{
    for (uint32_t i = 0; i < T_COUNT; i++) {
        if (!gw_str_eq(name, gw_str_c(type_names[i])))
            continue;
        *types |= BIT(i);
        return true;
    }
    return false;
}

/* The types that a schema takes; all when it says nothing. */
static uint32_t types_of(const struct gw_node *schema)
{
    const struct gw_node *type = gw_node_get_c(schema, "type");
    uint32_t types = 0;

    if (type == NULL)
        return ALL_TYPES;
    if (type->kind == GW_NODE_SCALAR)
        (void)type_of_name(type->text, &types);
    else
        for (const struct gw_node *n = gw_node_first(type); n != NULL; n = n->next)
            if (n->kind == GW_NODE_SCALAR)
                (void)type_of_name(n->text, &types);
    return types;
}

static bool compile(struct check *c, const struct gw_node *schema);

typedef bool (*keyword_fn)(struct check *c, const struct gw_node *value);

static bool kw_type(struct check *c, const struct gw_node *value)
{
    uint32_t types = 0;

    if (value->kind == GW_NODE_SCALAR)
        return type_of_name(value->text, &types) ||
               fault(c, value, "\"%.*s\" is no type", GW_STR_ARG(value->text));
    if (!is_list(value) || value->count == 0)
        return fault(c, value, "must be the name of a type, or a list of them");
    for (const struct gw_node *n = gw_node_first(value); n != NULL; n = n->next)
        if (n->kind != GW_NODE_SCALAR || !type_of_name(n->text, &types))
            return fault(c, value, "must be a list of names of types");
    return true;
}

static bool kw_required(struct check *c, const struct gw_node *value)
{
    if (!is_list(value))
        return fault(c, value, "must be a list of names");
    for (const struct gw_node *n = gw_node_first(value); n != NULL; n = n->next)
        if (n->kind != GW_NODE_SCALAR)
            return fault(c, value, "must be a list of names");
    return true;
}

static bool kw_properties(struct check *c, const struct gw_node *value)
{
    bool ok = true;

    if (!is_map(value))
        return fault(c, value, "must be a map of names to schemas");
    for (const struct gw_node *n = gw_node_first(value); n != NULL; n = n->next) {
        struct gw_path step = enter(c, n->key, 0);

        c->path = &step;
        ok = compile(c, n) && ok;
        c->path = step.up;
    }
    return ok;
}

static bool kw_enum(struct check *c, const struct gw_node *value)
{
    return (is_list(value) && value->count > 0) || fault(c, value, "must be a list of values");
}

static bool kw_number(struct check *c, const struct gw_node *value)
{
    double number;
    return gw_node_number(value, &number) || fault(c, value, "must be a number");
}

static bool kw_count(struct check *c, const struct gw_node *value)
{
    int64_t count;
    return (gw_node_int(value, &count) && count >= 0) ||
           fault(c, value, "must be an integer that is not negative");
}

static bool kw_items(struct check *c, const struct gw_node *value)
{
    return compile(c, value);
}

static bool kw_additional(struct check *c, const struct gw_node *value)
{
    bool flag;
    return gw_node_bool(value, &flag) || compile(c, value);
}

static bool kw_pattern(struct check *c, const struct gw_node *value)
{
    struct gw_regex *regex;
    struct gw_err err = {{0}};

    if (value->kind != GW_NODE_SCALAR)
        return fault(c, value, "must be a text");
    if (gw_regex_new(value->text, GW_REGEX_UTF | GW_REGEX_NO_JIT, &regex, &err) != GW_OK)
        return fault(c, value, "%s", err.text);
    gw_regex_free(regex);
    return true;
}

static bool kw_any(struct check *c, const struct gw_node *value)
{
    return true;
}

static bool kw_text(struct check *c, const struct gw_node *value)
{
    return value->kind == GW_NODE_SCALAR || fault(c, value, "must be a text");
}

/* Left to gw.schema, which looks at its value as well. */
static bool kw_wide(struct check *c, const struct gw_node *value)
{
    return true;
}

static const struct {
    const char *name;
    keyword_fn compile;
} keywords[] = {
    {"type", kw_type},
    {"required", kw_required},
    {"properties", kw_properties},
    {"enum", kw_enum},
    {"minimum", kw_number},
    {"maximum", kw_number},
    {"exclusiveMinimum", kw_number},
    {"exclusiveMaximum", kw_number},
    {"minLength", kw_count},
    {"maxLength", kw_count},
    {"minItems", kw_count},
    {"maxItems", kw_count},
    {"items", kw_items},
    {"default", kw_any}, /* held against the rest of its schema in compile() */
    {"pattern", kw_pattern},
    {"description", kw_text},
    {"additionalProperties", kw_additional},
    {"title", kw_text},
    {"examples", kw_any},
    {"$id", kw_wide},
    {"$schema", kw_wide},
    {"$anchor", kw_wide},
    {"$dynamicAnchor", kw_wide},
    {"$ref", kw_wide},
    {"$dynamicRef", kw_wide},
    {"$defs", kw_wide},
    {"$comment", kw_wide},
    {"allOf", kw_wide},
    {"anyOf", kw_wide},
    {"oneOf", kw_wide},
    {"not", kw_wide},
    {"if", kw_wide},
    {"then", kw_wide},
    {"else", kw_wide},
    {"prefixItems", kw_wide},
    {"contains", kw_wide},
    {"minContains", kw_wide},
    {"maxContains", kw_wide},
    {"uniqueItems", kw_wide},
    {"multipleOf", kw_wide},
    {"const", kw_wide},
    {"minProperties", kw_wide},
    {"maxProperties", kw_wide},
    {"dependentRequired", kw_wide},
    {"dependentSchemas", kw_wide},
    {"propertyNames", kw_wide},
    {"patternProperties", kw_wide},
    {"unevaluatedItems", kw_wide},
    {"unevaluatedProperties", kw_wide},
    {"format", kw_wide},
};

#define KEYWORDS (sizeof(keywords) / sizeof(keywords[0]))

static size_t find_keyword(struct gw_str name)
{
    size_t i = 0;

    while (i < KEYWORDS && !gw_str_eq(name, gw_str_c(keywords[i].name)))
        i++;
    return i;
}

bool gw_schema_is_wide(const struct gw_node *schema)
{
    for (const struct gw_node *n = gw_node_first(schema); n != NULL; n = n->next) {
        size_t i = find_keyword(n->key);
        if (i < KEYWORDS && keywords[i].compile == kw_wide)
            return true;
        if (i < KEYWORDS && keywords[i].compile == kw_properties) {
            for (const struct gw_node *p = gw_node_first(n); p != NULL; p = p->next)
                if (gw_schema_is_wide(p))
                    return true;
        } else if (i < KEYWORDS &&
                   (keywords[i].compile == kw_items || keywords[i].compile == kw_additional)) {
            if (gw_schema_is_wide(n))
                return true;
        }
    }
    return false;
}

static void fault_keyword(struct check *c, const struct gw_node *node)
{
    struct gw_suggest suggest;

    (void)fault(c, node, "no keyword of JSON Schema 2020-12");
    gw_suggest_begin(&suggest, node->key);
    for (size_t i = 0; i < KEYWORDS; i++)
        gw_suggest_offer(&suggest, gw_str_c(keywords[i].name));
    if (suggest.best.data != NULL)
        gw_report_hint(c->at->report, "did you mean \"%.*s\"?", GW_STR_ARG(suggest.best));
    else
        gw_report_hint(c->at->report, "check it in init() of the plugin");
}

static bool check_node(struct check *c, const struct gw_node *schema, struct gw_node *value);

/* A default that does not fit would be a fault of every conf that leaves it out. */
static bool compile_default(struct check *c, const struct gw_node *schema)
{
    const struct gw_node *given = gw_node_get_c(schema, "default");
    struct gw_path step = enter(c, GW_STR("default"), 0);
    bool ok;

    if (given == NULL)
        return true;
    c->path = &step;
    ok = check_node(c, schema, gw_node_copy(c->at->arena, given));
    c->path = step.up;
    return ok;
}

static bool compile(struct check *c, const struct gw_node *schema)
{
    uint32_t before = c->faults;

    if (!is_map(schema))
        return fault(c, schema, "a schema must be a map, not %s", gw_node_what(schema));
    if (++c->depth > GW_NODE_DEPTH_MAX) {
        c->depth--;
        return fault(c, schema, "nested deeper than %d levels", GW_NODE_DEPTH_MAX);
    }
    for (const struct gw_node *n = gw_node_first(schema); n != NULL; n = n->next) {
        struct gw_path step = enter(c, n->key, 0);
        size_t i = find_keyword(n->key);

        c->path = &step;
        if (i == KEYWORDS)
            fault_keyword(c, n);
        else
            (void)keywords[i].compile(c, n);
        c->path = step.up;
    }
    if (c->faults == before)
        (void)compile_default(c, schema);
    c->depth--;
    return c->faults == before;
}

enum gw_rc gw_schema_compile_check(const struct gw_node *schema, const struct gw_schema_at *at)
{
    struct check c = {.at = at};

    if (schema == NULL)
        return GW_OK;
    if (!compile(&c, schema))
        return GW_INVALID;
    if ((types_of(schema) & BIT(T_OBJECT)) == 0) {
        (void)fault(&c, gw_node_get_c(schema, "type"),
                    "the conf of a plugin is a map: the type must be \"object\"");
        return GW_INVALID;
    }
    return GW_OK;
}

/* ---- values ---- */

static const char *wanted(uint32_t types, struct gw_buf *out)
{
    static const char *const texts[T_COUNT] = {
        "null", "true or false", "an integer", "a number", "a string", "a list", "a map"};

    for (uint32_t i = 0; i < T_COUNT; i++) {
        if ((types & BIT(i)) == 0 || (i == T_INTEGER && (types & BIT(T_NUMBER)) != 0))
            continue;
        if (gw_buf_len(out) > 0)
            gw_buf_printf(out, " or ");
        gw_buf_printf(out, "%s", texts[i]);
    }
    gw_buf_add(out, "", 1);
    return out->data + out->from;
}

/* Gives a scalar the type that the schema wants; false: none of them fits. */
static bool type_scalar(uint32_t types, struct gw_node *node)
{
    /* From the environment comes text: what it is, its place decides. */
    bool plain = !node->quoted || node->expanded;
    enum gw_scalar own = plain && node->expanded ? gw_scalar_of(node->text) : node->scalar;
    double number;
    int64_t integer;

    node->scalar = (uint8_t)own;
    if (own == GW_SCALAR_NULL && (types & BIT(T_NULL)) != 0)
        return true;
    if (own == GW_SCALAR_BOOL && (types & BIT(T_BOOLEAN)) != 0)
        return true;
    if ((types & BIT(T_NUMBER)) != 0 && gw_node_number(node, &number) && isfinite(number))
        return true;
    if ((types & BIT(T_INTEGER)) != 0 && gw_node_int(node, &integer))
        return true;
    if ((types & BIT(T_STRING)) == 0 ||
        (own == GW_SCALAR_NULL && !node->expanded && node->text.len == 0))
        return false;
    /* The plain words 5, true and ~ are texts where a text is wanted; nothing at all is not. */
    node->scalar = GW_SCALAR_STRING;
    return true;
}

static bool check_type(struct check *c, const struct gw_node *schema, struct gw_node *node)
{
    uint32_t types = types_of(schema);
    struct gw_buf buf = GW_BUF_INIT;
    bool quoted_number;
    double number;

    if (node->kind == GW_NODE_MAP && (types & BIT(T_OBJECT)) != 0)
        return true;
    if (node->kind == GW_NODE_LIST && (types & BIT(T_ARRAY)) != 0)
        return true;
    /* What Lua gave as {} is the empty one of the type that is wanted. */
    if (node->kind != GW_NODE_SCALAR && node->count == 0 && node->where.line == 0) {
        if ((types & BIT(T_OBJECT)) != 0 || (types & BIT(T_ARRAY)) != 0) {
            node->kind = (types & BIT(T_OBJECT)) != 0 ? GW_NODE_MAP : GW_NODE_LIST;
            return true;
        }
    }
    if (node->kind == GW_NODE_SCALAR && type_scalar(types, node))
        return true;
    quoted_number = node->kind == GW_NODE_SCALAR && node->quoted && !node->expanded &&
                    gw_scalar_of(node->text) != GW_SCALAR_STRING && node->text.len > 0;
    (void)fault(c, node, "must be %s, not %s", wanted(types, &buf),
                gw_node_number(node, &number) && !isfinite(number) ? "infinite"
                                                                   : gw_node_what(node));
    if (quoted_number)
        gw_report_hint(c->at->report, "write %.*s without quotes", GW_STR_ARG(node->text));
    gw_buf_fini(&buf);
    return false;
}

static bool check_enum(struct check *c, const struct gw_node *schema, const struct gw_node *node)
{
    const struct gw_node *list = gw_node_get_c(schema, "enum");
    struct gw_buf all = GW_BUF_INIT;
    struct gw_suggest suggest;

    if (list == NULL)
        return true;
    gw_suggest_begin(&suggest, node->kind == GW_NODE_SCALAR ? node->text : GW_STR(""));
    for (const struct gw_node *n = gw_node_first(list); n != NULL; n = n->next) {
        if (gw_node_eq(n, node)) {
            gw_buf_fini(&all);
            return true;
        }
        if (gw_buf_len(&all) > 0)
            gw_buf_printf(&all, ", ");
        gw_node_json(n, &all);
        if (n->kind == GW_NODE_SCALAR)
            gw_suggest_offer(&suggest, n->text);
    }
    (void)fault(c, node, "must be one of %.*s", GW_STR_ARG(gw_buf_str(&all)));
    if (suggest.best.data != NULL)
        gw_report_hint(c->at->report, "did you mean \"%.*s\"?", GW_STR_ARG(suggest.best));
    gw_buf_fini(&all);
    return false;
}

static bool bound(const struct gw_node *schema, const char *keyword, double *out)
{
    const struct gw_node *node = gw_node_get_c(schema, keyword);
    return node != NULL && gw_node_number(node, out);
}

static bool check_number(struct check *c, const struct gw_node *schema, const struct gw_node *node)
{
    double value, limit;

    if (!gw_node_number(node, &value))
        return true;
    if (bound(schema, "minimum", &limit) && value < limit)
        return fault(c, node, "must be at least %.15g", limit);
    if (bound(schema, "maximum", &limit) && value > limit)
        return fault(c, node, "must be at most %.15g", limit);
    if (bound(schema, "exclusiveMinimum", &limit) && value <= limit)
        return fault(c, node, "must be more than %.15g", limit);
    if (bound(schema, "exclusiveMaximum", &limit) && value >= limit)
        return fault(c, node, "must be less than %.15g", limit);
    return true;
}

static size_t characters(struct gw_str text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.data[i] & 0xc0) != 0x80;
    return count;
}

static bool check_pattern(struct check *c, const struct gw_node *pattern,
                          const struct gw_node *node)
{
    struct gw_regex *regex;
    struct gw_err err = {{0}};
    enum gw_rc rc;

    rc = gw_regex_new(pattern->text, GW_REGEX_UTF | GW_REGEX_NO_JIT, &regex, &err);
    if (rc != GW_OK)
        return fault(c, node, "the pattern %.*s: %s", GW_STR_ARG(pattern->text), err.text);
    rc = gw_regex_match(regex, node->text, 0, NULL, 0);
    gw_regex_free(regex);
    if (rc == GW_OK)
        return true;
    return fault(c, node, "must fit the pattern %.*s%s", GW_STR_ARG(pattern->text),
                 rc == GW_LIMIT ? " (which is too expensive to match)" : "");
}

static bool check_string(struct check *c, const struct gw_node *schema, const struct gw_node *node)
{
    const struct gw_node *pattern = gw_node_get_c(schema, "pattern");
    double limit;

    if (node->kind != GW_NODE_SCALAR || node->scalar != GW_SCALAR_STRING)
        return true;
    if (bound(schema, "minLength", &limit) && (double)characters(node->text) < limit)
        return limit == 1 ? fault(c, node, "must not be empty")
                          : fault(c, node, "must have at least %.15g characters", limit);
    if (bound(schema, "maxLength", &limit) && (double)characters(node->text) > limit)
        return fault(c, node, "must have at most %.15g characters", limit);
    return pattern == NULL || check_pattern(c, pattern, node);
}

static bool check_list(struct check *c, const struct gw_node *schema, struct gw_node *node)
{
    const struct gw_node *items = gw_node_get_c(schema, "items");
    uint32_t index = 0;
    double limit;
    bool ok = true;

    if (node->kind != GW_NODE_LIST)
        return true;
    if (bound(schema, "minItems", &limit) && (double)node->count < limit)
        ok = fault(c, node, "must have at least %.15g items", limit);
    if (bound(schema, "maxItems", &limit) && (double)node->count > limit)
        ok = fault(c, node, "must have at most %.15g items", limit);
    for (struct gw_node *n = node->members.first; n != NULL && items != NULL; n = n->next) {
        struct gw_path step = enter(c, GW_STR_NULL, index++);

        c->path = &step;
        ok = check_node(c, items, n) && ok;
        c->path = step.up;
    }
    return ok;
}

static bool fault_property(struct check *c, const struct gw_node *properties,
                           const struct gw_node *node)
{
    struct gw_node place = *node;
    struct gw_suggest suggest;

    place.where = gw_node_key_where(node);
    (void)fault(c, &place, "unknown key");
    gw_suggest_begin(&suggest, node->key);
    for (const struct gw_node *n = gw_node_first(properties); n != NULL; n = n->next)
        gw_suggest_offer(&suggest, n->key);
    if (suggest.best.data != NULL)
        gw_report_hint(c->at->report, "did you mean \"%.*s\"?", GW_STR_ARG(suggest.best));
    return false;
}

static bool fits_pattern(const struct gw_node *patterns, struct gw_str key)
{
    bool fits = false;

    for (const struct gw_node *n = gw_node_first(patterns); n != NULL && !fits; n = n->next) {
        struct gw_regex *regex;
        struct gw_err err = {{0}};
        if (gw_regex_new(n->key, GW_REGEX_UTF | GW_REGEX_ECMA | GW_REGEX_NO_JIT, &regex, &err) !=
            GW_OK)
            continue; /* gw.schema has said so when it read the schema */
        fits = gw_regex_match(regex, key, 0, NULL, 0) == GW_OK;
        gw_regex_free(regex);
    }
    return fits;
}

/* Does some other keyword speak of this member? Then gw.schema decides. */
static bool named_elsewhere(const struct gw_node *schema, struct gw_str key, uint32_t depth)
{
    static const char *const all[] = {"$ref", "$dynamicRef", "unevaluatedProperties"};
    static const char *const many[] = {"allOf", "anyOf", "oneOf", "dependentSchemas"};
    static const char *const one[] = {"if", "then", "else"};

    if (schema == NULL || depth > GW_NODE_DEPTH_MAX)
        return false;
    if (depth > 0 && gw_node_get(gw_node_get_c(schema, "properties"), key) != NULL)
        return true;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (gw_node_get_c(schema, all[i]) != NULL)
            return true;
    for (size_t i = 0; i < sizeof(many) / sizeof(many[0]); i++)
        for (const struct gw_node *n = gw_node_first(gw_node_get_c(schema, many[i])); n != NULL;
             n = n->next)
            if (named_elsewhere(n, key, depth + 1))
                return true;
    for (size_t i = 0; i < sizeof(one) / sizeof(one[0]); i++)
        if (named_elsewhere(gw_node_get_c(schema, one[i]), key, depth + 1))
            return true;
    return fits_pattern(gw_node_get_c(schema, "patternProperties"), key);
}

static bool check_member(struct check *c, const struct gw_node *schema, struct gw_node *node)
{
    const struct gw_node *properties = gw_node_get_c(schema, "properties");
    const struct gw_node *additional = gw_node_get_c(schema, "additionalProperties");
    const struct gw_node *property = gw_node_get(properties, node->key);
    bool any = properties == NULL;

    if (property != NULL)
        return check_node(c, property, node);
    if (additional != NULL && fits_pattern(gw_node_get_c(schema, "patternProperties"), node->key))
        return true;
    if (additional != NULL && !gw_node_bool(additional, &any))
        return check_node(c, additional, node);
    if (any || (additional == NULL && named_elsewhere(schema, node->key, 0)))
        return true;
    return fault_property(c, properties, node);
}

static void add_defaults(struct check *c, const struct gw_node *schema, struct gw_node *node)
{
    const struct gw_node *properties = gw_node_get_c(schema, "properties");

    for (const struct gw_node *n = gw_node_first(properties); n != NULL; n = n->next) {
        const struct gw_node *given = gw_node_get_c(n, "default");
        struct gw_node *copy;

        if (given == NULL || gw_node_get(node, n->key) != NULL)
            continue;
        copy = gw_node_copy(c->at->arena, given);
        copy->where = (struct gw_where){0, 0, 0};
        copy->key_line = 0;
        gw_node_set(c->at->arena, node, n->key, copy);
    }
}

static bool check_map(struct check *c, const struct gw_node *schema, struct gw_node *node)
{
    const struct gw_node *required = gw_node_get_c(schema, "required");
    bool ok = true;

    if (node->kind != GW_NODE_MAP)
        return true;
    add_defaults(c, schema, node);
    for (const struct gw_node *n = gw_node_first(required); n != NULL; n = n->next)
        if (gw_node_get(node, n->text) == NULL)
            ok = fault(c, node, "\"%.*s\" is missing", GW_STR_ARG(n->text));
    for (struct gw_node *n = node->members.first; n != NULL; n = n->next) {
        struct gw_path step = enter(c, n->key, 0);

        c->path = &step;
        ok = check_member(c, schema, n) && ok;
        c->path = step.up;
    }
    return ok;
}

static bool check_node(struct check *c, const struct gw_node *schema, struct gw_node *value)
{
    bool ok;

    if (c->depth >= GW_NODE_DEPTH_MAX * 2)
        return fault(c, value, "nested too deep");
    c->depth++;
    ok = check_type(c, schema, value) && check_enum(c, schema, value) &&
         check_number(c, schema, value) && check_string(c, schema, value) &&
         check_list(c, schema, value) && check_map(c, schema, value);
    c->depth--;
    return ok;
}

enum gw_rc gw_schema_check(const struct gw_node *schema, struct gw_node **value,
                           const struct gw_schema_at *at)
{
    struct check c = {.at = at};

    if (*value == NULL || gw_node_is_null(*value)) {
        *value = gw_node_new_map(at->arena);
        (*value)->where = at->where;
    }
    if ((*value)->kind != GW_NODE_MAP) {
        (void)fault(&c, *value, "the conf of a plugin must be a map, not %s", gw_node_what(*value));
        return GW_INVALID;
    }
    if (schema == NULL) {
        if ((*value)->count == 0)
            return GW_OK;
        (void)fault(&c, *value, "this plugin takes no conf");
        return GW_INVALID;
    }
    return check_node(&c, schema, *value) ? GW_OK : GW_INVALID;
}

/* ---- for `moongate schema` ---- */

static void list_json(const struct gw_node *list, struct gw_buf *out)
{
    if (list->count == 0)
        gw_buf_printf(out, "[]");
    else
        gw_node_json(list, out);
}

static void member_json(const struct gw_node *schema, const struct gw_node *node,
                        struct gw_buf *out)
{
    uint32_t types = types_of(schema);
    bool flag;

    if (gw_str_eq(node->key, GW_STR("properties"))) {
        gw_buf_printf(out, "{");
        for (const struct gw_node *p = gw_node_first(node); p != NULL; p = p->next) {
            gw_json_quote(out, p->key);
            gw_buf_printf(out, ":");
            gw_schema_json(p, out);
            gw_buf_printf(out, "%s", p->next == NULL ? "" : ",");
        }
        gw_buf_printf(out, "}");
    } else if (gw_str_eq(node->key, GW_STR("items")) ||
               (gw_str_eq(node->key, GW_STR("additionalProperties")) &&
                !gw_node_bool(node, &flag))) {
        gw_schema_json(node, out);
    } else if (gw_str_eq(node->key, GW_STR("required")) ||
               gw_str_eq(node->key, GW_STR("examples")) ||
               (gw_str_eq(node->key, GW_STR("default")) && node->kind != GW_NODE_SCALAR &&
                (types & BIT(T_OBJECT)) == 0)) {
        list_json(node, out);
    } else {
        gw_node_json(node, out);
    }
}

void gw_schema_json(const struct gw_node *schema, struct gw_buf *out)
{
    if (schema == NULL) {
        gw_buf_printf(out, "{\"type\":\"object\",\"additionalProperties\":false}");
        return;
    }
    gw_buf_printf(out, "{");
    for (const struct gw_node *n = gw_node_first(schema); n != NULL; n = n->next) {
        gw_json_quote(out, n->key);
        gw_buf_printf(out, ":");
        member_json(schema, n, out);
        gw_buf_printf(out, "%s", n->next == NULL ? "" : ",");
    }
    if (gw_node_get_c(schema, "properties") != NULL &&
        gw_node_get_c(schema, "additionalProperties") == NULL)
        gw_buf_printf(out, ",\"additionalProperties\":false");
    gw_buf_printf(out, "}");
}
