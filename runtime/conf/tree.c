#include "conf/tree.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"

/* A longer run of digits is text. */
#define NUMBER_BYTES_MAX 127

static struct gw_node *node_new(struct gw_arena *arena, enum gw_node_kind kind)
{
    struct gw_node *node = gw_arena_zalloc(arena, sizeof(*node));

    node->kind = (uint8_t)kind;
    return node;
}

struct gw_node *gw_node_new_map(struct gw_arena *arena)
{
    return node_new(arena, GW_NODE_MAP);
}

struct gw_node *gw_node_new_list(struct gw_arena *arena)
{
    return node_new(arena, GW_NODE_LIST);
}

static struct gw_node *scalar_new(struct gw_arena *arena, enum gw_scalar scalar, struct gw_str text)
{
    struct gw_node *node = node_new(arena, GW_NODE_SCALAR);

    node->scalar = (uint8_t)scalar;
    node->quoted = scalar == GW_SCALAR_STRING;
    node->text = gw_arena_dup(arena, text);
    return node;
}

struct gw_node *gw_node_new_string(struct gw_arena *arena, struct gw_str text)
{
    return scalar_new(arena, GW_SCALAR_STRING, text.data == NULL ? GW_STR("") : text);
}

struct gw_node *gw_node_new_number(struct gw_arena *arena, double value)
{
    char text[GW_JSON_NUMBER_BYTES];
    int len;

    if (isnan(value))
        return scalar_new(arena, GW_SCALAR_FLOAT, GW_STR(".nan"));
    if (isinf(value))
        return scalar_new(arena, GW_SCALAR_FLOAT, value > 0 ? GW_STR(".inf") : GW_STR("-.inf"));
    len = gw_json_number_format(value, text);
    return scalar_new(arena, gw_scalar_of(gw_str(text, (size_t)len)), gw_str(text, (size_t)len));
}

struct gw_node *gw_node_new_bool(struct gw_arena *arena, bool value)
{
    return scalar_new(arena, GW_SCALAR_BOOL, value ? GW_STR("true") : GW_STR("false"));
}

struct gw_node *gw_node_new_null(struct gw_arena *arena)
{
    return scalar_new(arena, GW_SCALAR_NULL, GW_STR("null"));
}

static void append(struct gw_node *parent, struct gw_node *child)
{
    child->next = NULL;
    if (parent->members.last == NULL)
        parent->members.first = child;
    else
        parent->members.last->next = child;
    parent->members.last = child;
    parent->count++;
}

void gw_node_set(struct gw_arena *arena, struct gw_node *map, struct gw_str key,
                 struct gw_node *value)
{
    assert(map->kind == GW_NODE_MAP);
    value->key = gw_arena_dup(arena, key.data == NULL ? GW_STR("") : key);
    append(map, value);
}

void gw_node_push(struct gw_node *list, struct gw_node *value)
{
    assert(list->kind == GW_NODE_LIST);
    value->key = GW_STR_NULL;
    append(list, value);
}

struct gw_node *gw_node_copy(struct gw_arena *arena, const struct gw_node *node)
{
    struct gw_node *copy = gw_arena_alloc(arena, sizeof(*copy));

    *copy = *node;
    copy->next = NULL;
    if (node->kind == GW_NODE_SCALAR) {
        copy->text = gw_arena_dup(arena, node->text);
        return copy;
    }
    copy->members.first = copy->members.last = NULL;
    copy->count = 0;
    for (const struct gw_node *n = node->members.first; n != NULL; n = n->next) {
        struct gw_node *child = gw_node_copy(arena, n);

        if (n->key.data != NULL)
            child->key = gw_arena_dup(arena, n->key);
        append(copy, child);
    }
    return copy;
}

struct gw_node *gw_node_get(const struct gw_node *map, struct gw_str key)
{
    if (map == NULL || map->kind != GW_NODE_MAP)
        return NULL;
    for (struct gw_node *n = map->members.first; n != NULL; n = n->next)
        if (gw_str_eq(n->key, key))
            return n;
    return NULL;
}

struct gw_node *gw_node_get_c(const struct gw_node *map, const char *key)
{
    return gw_node_get(map, gw_str_c(key));
}

struct gw_node *gw_node_at(const struct gw_node *list, uint32_t index)
{
    struct gw_node *n = gw_node_first(list);

    for (; n != NULL && index > 0; index--)
        n = n->next;
    return n;
}

struct gw_where gw_node_key_where(const struct gw_node *node)
{
    if (node->key_line == 0)
        return node->where;
    return (struct gw_where){node->where.file, node->key_line, node->key_column};
}

/* ---- scalars: the core schema of YAML 1.2, chapter 10.3 ---- */

static size_t digits(struct gw_str s, size_t from)
{
    size_t at = from;

    while (at < s.len && s.data[at] >= '0' && s.data[at] <= '9')
        at++;
    return at - from;
}

bool gw_scalar_int(struct gw_str s, int64_t *out)
{
    char text[NUMBER_BYTES_MAX + 1];
    char *end;
    int base = 10;
    size_t sign = s.len > 0 && (s.data[0] == '-' || s.data[0] == '+') ? 1 : 0;
    size_t from = 0;

    if (s.len == 0 || s.len > NUMBER_BYTES_MAX)
        return false;
    if (s.len > 2 && s.data[0] == '0' && (s.data[1] == 'x' || s.data[1] == 'o')) {
        base = s.data[1] == 'x' ? 16 : 8;
        from = 2;
        if (s.data[2] == '-' || s.data[2] == '+' || s.data[2] == ' ')
            return false;
    } else if (s.len == sign || digits(s, sign) != s.len - sign) {
        return false;
    }
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    /* strtoll() would take a second 0x, which is no YAML. */
    if (base == 16 && s.len > 3 && (text[3] == 'x' || text[3] == 'X'))
        return false;
    errno = 0;
    *out = strtoll(text + from, &end, base);
    return errno == 0 && end == text + s.len;
}

static bool special_float(struct gw_str s, double *out)
{
    size_t sign = s.len > 0 && (s.data[0] == '-' || s.data[0] == '+') ? 1 : 0;
    struct gw_str rest = gw_str(s.data + sign, s.len - sign);

    if (gw_str_eq(rest, GW_STR(".inf")) || gw_str_eq(rest, GW_STR(".Inf")) ||
        gw_str_eq(rest, GW_STR(".INF"))) {
        *out = sign == 1 && s.data[0] == '-' ? -INFINITY : INFINITY;
        return true;
    }
    if (sign == 0 && (gw_str_eq(rest, GW_STR(".nan")) || gw_str_eq(rest, GW_STR(".NaN")) ||
                      gw_str_eq(rest, GW_STR(".NAN")))) {
        *out = NAN;
        return true;
    }
    return false;
}

bool gw_scalar_number(struct gw_str s, double *out)
{
    char text[NUMBER_BYTES_MAX + 1];
    size_t at = s.len > 0 && (s.data[0] == '-' || s.data[0] == '+') ? 1 : 0;
    size_t whole, part = 0;
    int64_t i;

    if (s.len == 0 || s.len > NUMBER_BYTES_MAX)
        return false;
    if (gw_scalar_int(s, &i)) {
        *out = (double)i;
        return true;
    }
    if (special_float(s, out))
        return true;
    at += whole = digits(s, at);
    if (at < s.len && s.data[at] == '.')
        at += 1 + (part = digits(s, at + 1));
    if (whole + part == 0)
        return false;
    if (at < s.len && (s.data[at] == 'e' || s.data[at] == 'E')) {
        size_t exponent;

        at++;
        if (at < s.len && (s.data[at] == '-' || s.data[at] == '+'))
            at++;
        exponent = digits(s, at);
        if (exponent == 0)
            return false;
        at += exponent;
    }
    if (at != s.len)
        return false;
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    *out = strtod(text, NULL);
    return true;
}

enum gw_scalar gw_scalar_of(struct gw_str s)
{
    static const struct {
        struct gw_str text;
        enum gw_scalar scalar;
    } words[] = {
        {{"", 0}, GW_SCALAR_NULL},      {{"~", 1}, GW_SCALAR_NULL},
        {{"null", 4}, GW_SCALAR_NULL},  {{"Null", 4}, GW_SCALAR_NULL},
        {{"NULL", 4}, GW_SCALAR_NULL},  {{"true", 4}, GW_SCALAR_BOOL},
        {{"True", 4}, GW_SCALAR_BOOL},  {{"TRUE", 4}, GW_SCALAR_BOOL},
        {{"false", 5}, GW_SCALAR_BOOL}, {{"False", 5}, GW_SCALAR_BOOL},
        {{"FALSE", 5}, GW_SCALAR_BOOL},
    };
    double number;
    int64_t integer;

    if (s.len <= 5 && (s.len == 0 || strchr("~nNtTfF", s.data[0]) != NULL)) {
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
            if (gw_str_eq(s, words[i].text))
                return words[i].scalar;
        return GW_SCALAR_STRING;
    }
    if ((s.data[0] < '0' || s.data[0] > '9') && s.data[0] != '-' && s.data[0] != '+' &&
        s.data[0] != '.')
        return GW_SCALAR_STRING;
    if (gw_scalar_int(s, &integer))
        return GW_SCALAR_INT;
    return gw_scalar_number(s, &number) ? GW_SCALAR_FLOAT : GW_SCALAR_STRING;
}

bool gw_node_bool(const struct gw_node *node, bool *out)
{
    if (node->kind != GW_NODE_SCALAR || node->scalar != GW_SCALAR_BOOL)
        return false;
    *out = node->text.data[0] == 't' || node->text.data[0] == 'T';
    return true;
}

bool gw_node_int(const struct gw_node *node, int64_t *out)
{
    double number;

    if (node->kind != GW_NODE_SCALAR)
        return false;
    if (node->scalar == GW_SCALAR_INT)
        return gw_scalar_int(node->text, out);
    /* 1.0 and 1e3 are integers to JSON Schema. */
    if (node->scalar != GW_SCALAR_FLOAT || !gw_scalar_number(node->text, &number))
        return false;
    if (!(number >= -9007199254740992.0 && number <= 9007199254740992.0) || number != floor(number))
        return false;
    *out = (int64_t)number;
    return true;
}

bool gw_node_number(const struct gw_node *node, double *out)
{
    if (node->kind != GW_NODE_SCALAR ||
        (node->scalar != GW_SCALAR_INT && node->scalar != GW_SCALAR_FLOAT))
        return false;
    return gw_scalar_number(node->text, out);
}

bool gw_node_string(const struct gw_node *node, struct gw_str *out)
{
    if (node->kind != GW_NODE_SCALAR || node->scalar != GW_SCALAR_STRING)
        return false;
    *out = node->text;
    return true;
}

const char *gw_node_what(const struct gw_node *node)
{
    static const char *const scalars[] = {
        [GW_SCALAR_NULL] = "empty",      [GW_SCALAR_BOOL] = "true or false",
        [GW_SCALAR_INT] = "an integer",  [GW_SCALAR_FLOAT] = "a number",
        [GW_SCALAR_STRING] = "a string",
    };

    if (node->kind == GW_NODE_MAP)
        return "a map";
    return node->kind == GW_NODE_LIST ? "a list" : scalars[node->scalar];
}

/* ---- comparing ---- */

#define HASH_SEED 0x6d6f6f6e67617465ULL

static bool scalar_eq(const struct gw_node *a, const struct gw_node *b)
{
    double x, y;
    bool p, q;
    int64_t i, j;

    if (a->scalar == GW_SCALAR_INT && b->scalar == GW_SCALAR_INT)
        return gw_scalar_int(a->text, &i) && gw_scalar_int(b->text, &j) && i == j;
    if (gw_node_number(a, &x) && gw_node_number(b, &y))
        return x == y;
    if (a->scalar != b->scalar)
        return false;
    if (gw_node_bool(a, &p) && gw_node_bool(b, &q))
        return p == q;
    return a->scalar == GW_SCALAR_NULL || gw_str_eq(a->text, b->text);
}

bool gw_node_eq(const struct gw_node *a, const struct gw_node *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == GW_NODE_SCALAR)
        return scalar_eq(a, b);
    if (a->count != b->count)
        return false;
    if (a->kind == GW_NODE_LIST) {
        const struct gw_node *n = a->members.first, *m = b->members.first;

        for (; n != NULL; n = n->next, m = m->next)
            if (!gw_node_eq(n, m))
                return false;
        return true;
    }
    for (const struct gw_node *n = a->members.first; n != NULL; n = n->next) {
        const struct gw_node *m = gw_node_get(b, n->key);

        if (m == NULL || !gw_node_eq(n, m))
            return false;
    }
    return true;
}

static uint64_t scalar_hash(const struct gw_node *node, uint64_t seed)
{
    double number;
    bool flag;

    if (gw_node_number(node, &number)) {
        number = number == 0 ? 0 : number; /* -0 equals 0 */
        return gw_hash(&number, sizeof(number), seed + GW_SCALAR_FLOAT);
    }
    if (gw_node_bool(node, &flag))
        return gw_hash(&flag, sizeof(flag), seed + GW_SCALAR_BOOL);
    if (node->scalar == GW_SCALAR_NULL)
        return gw_hash("", 0, seed + GW_SCALAR_NULL);
    return gw_hash(node->text.data, node->text.len, seed + GW_SCALAR_STRING);
}

uint64_t gw_node_hash(const struct gw_node *node, uint64_t seed)
{
    uint64_t hash = HASH_SEED + node->kind;

    if (node->kind == GW_NODE_SCALAR)
        return scalar_hash(node, seed ^ HASH_SEED);
    for (const struct gw_node *n = node->members.first; n != NULL; n = n->next) {
        uint64_t member = gw_node_hash(n, seed);

        if (node->kind == GW_NODE_MAP)
            hash += gw_hash(n->key.data, n->key.len, member); /* a sum: order does not count */
        else
            hash = gw_hash(&member, sizeof(member), hash);
    }
    return gw_hash(&hash, sizeof(hash), (seed ^ HASH_SEED) + node->count);
}

/* ---- JSON ---- */

static void scalar_json(const struct gw_node *node, struct gw_buf *out)
{
    char text[GW_JSON_NUMBER_BYTES];
    double number;
    int64_t integer;
    bool flag;

    if (node->scalar == GW_SCALAR_INT && gw_scalar_int(node->text, &integer))
        gw_buf_printf(out, "%lld", (long long)integer);
    else if (gw_node_number(node, &number) && isfinite(number))
        gw_buf_add(out, text, (size_t)gw_json_number_format(number, text));
    else if (gw_node_bool(node, &flag))
        gw_buf_printf(out, "%s", flag ? "true" : "false");
    else if (node->scalar == GW_SCALAR_STRING)
        gw_json_quote(out, node->text);
    else
        gw_buf_add(out, "null", 4);
}

void gw_node_json(const struct gw_node *node, struct gw_buf *out)
{
    bool map = node->kind == GW_NODE_MAP;

    if (node->kind == GW_NODE_SCALAR) {
        scalar_json(node, out);
        return;
    }
    gw_buf_add(out, map ? "{" : "[", 1);
    for (const struct gw_node *n = node->members.first; n != NULL; n = n->next) {
        if (map) {
            gw_json_quote(out, n->key);
            gw_buf_add(out, ":", 1);
        }
        gw_node_json(n, out);
        if (n->next != NULL)
            gw_buf_add(out, ",", 1);
    }
    gw_buf_add(out, map ? "}" : "]", 1);
}

struct from_json {
    struct gw_arena *arena;
    struct gw_node *map;
    uint32_t depth;
    bool too_deep;
};

static struct gw_node *from_json(struct from_json *from, const struct gw_json *value);

static bool add_member(void *arg, struct gw_str key, const struct gw_json *value)
{
    struct from_json *from = arg;
    struct gw_node *map = from->map;
    struct gw_node *child = from_json(from, value);

    from->map = map;
    gw_node_set(from->arena, map, key, child);
    return !from->too_deep;
}

static struct gw_node *from_json(struct from_json *from, const struct gw_json *value)
{
    struct gw_arena *arena = from->arena;
    struct gw_node *node;

    switch (gw_json_type_of(value)) {
    case GW_JSON_BOOL:
        return gw_node_new_bool(arena, gw_json_get_bool(value, false));
    case GW_JSON_INT:
        node = scalar_new(arena, GW_SCALAR_INT, GW_STR(""));
        node->text = gw_arena_printf(arena, "%lld", (long long)gw_json_get_int(value, 0));
        return node;
    case GW_JSON_DOUBLE:
        node = gw_node_new_number(arena, gw_json_get_double(value, 0));
        node->scalar = GW_SCALAR_FLOAT;
        return node;
    case GW_JSON_STR:
        return gw_node_new_string(arena, gw_json_get_str(value, GW_STR("")));
    case GW_JSON_ARRAY:
    case GW_JSON_OBJECT:
        break;
    case GW_JSON_NULL:
    default:
        return gw_node_new_null(arena);
    }
    node = node_new(arena, gw_json_is(value, GW_JSON_ARRAY) ? GW_NODE_LIST : GW_NODE_MAP);
    if (++from->depth > GW_NODE_DEPTH_MAX) {
        from->too_deep = true;
    } else if (node->kind == GW_NODE_MAP) {
        from->map = node;
        gw_json_each(value, add_member, from);
    } else {
        for (size_t i = 0; i < gw_json_len(value) && !from->too_deep; i++)
            gw_node_push(node, from_json(from, gw_json_at(value, i)));
    }
    from->depth--;
    return node;
}

enum gw_rc gw_node_from_json(struct gw_arena *arena, struct gw_str json, struct gw_node **out,
                             struct gw_err *err)
{
    struct from_json from = {arena, NULL, 0, false};
    struct gw_json *document;
    enum gw_rc rc = gw_json_parse(json, &document, err);

    if (rc != GW_OK)
        return rc;
    *out = from_json(&from, document);
    gw_json_free(document);
    if (from.too_deep)
        return gw_err_set(err, GW_LIMIT, "nested deeper than %d levels", GW_NODE_DEPTH_MAX);
    return GW_OK;
}
