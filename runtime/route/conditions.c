#include "route/conditions.h"

#include <stdlib.h>

#include "base/log.h"
#include "http/uri.h"

enum gw_rc gw_route_regex_run(struct gw_route_regexes *regexes, uint32_t index,
                              struct gw_str subject, struct gw_str *groups, uint32_t max)
{
    struct gw_regex **regex = &regexes->items[index];
    enum gw_rc rc;

    if (*regex == NULL) {
        struct gw_err err;
        /* The loader has compiled it once: what fails here is memory, and may come back. */
        if (gw_regex_new(gw_ref_str(regexes->conf, regexes->texts[index]), 0, regex, &err) !=
            GW_OK) {
            gw_error("route: regex: %s", err.text);
            return GW_LIMIT;
        }
    }
    rc = gw_regex_match(*regex, subject, 0, groups, max);
    return rc == GW_OK || rc == GW_NOT_FOUND ? rc : GW_LIMIT;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of a part of a query; a "%" that encodes nothing stands for itself. */
static char next_decoded(struct gw_str text, size_t *i)
{
    char c = text.data[(*i)++];

    if (c == '+')
        return ' ';
    if (c == '%' && *i + 2 <= text.len && hex(text.data[*i]) >= 0 && hex(text.data[*i + 1]) >= 0) {
        c = (char)(hex(text.data[*i]) << 4 | hex(text.data[*i + 1]));
        *i += 2;
    }
    return c;
}

static bool decoded_eq(struct gw_str encoded, struct gw_str plain)
{
    size_t i = 0, k = 0;

    while (i < encoded.len && k < plain.len)
        if (next_decoded(encoded, &i) != plain.data[k++])
            return false;
    return i == encoded.len && k == plain.len;
}

static struct gw_str decode(struct gw_arena *arena, struct gw_str encoded)
{
    char *text;
    size_t i = 0, len = 0;

    if (encoded.len == 0)
        return GW_STR("");
    text = gw_arena_alloc(arena, encoded.len);
    while (i < encoded.len)
        text[len++] = next_decoded(encoded, &i);
    return gw_str(text, len);
}

static const struct gw_field *first_field(const struct gw_conf *conf,
                                          const struct gw_fields *fields,
                                          const struct gw_route_test *test)
{
    if (test->field != GW_FIELD_UNKNOWN)
        return gw_fields_known(fields, (enum gw_field_id)test->field);
    return gw_fields_find(fields, gw_ref_str(conf, test->name));
}

static enum gw_rc header_test(const struct gw_conf *conf, struct gw_route_regexes *regexes,
                              const struct gw_route_test *test, const struct gw_fields *fields)
{
    const struct gw_field *field = first_field(conf, fields, test);
    enum gw_rc worst = GW_NOT_FOUND;

    if (test->kind == GW_ROUTE_TEST_PRESENT)
        return field != NULL ? GW_OK : GW_NOT_FOUND;
    for (; field != NULL; field = gw_fields_next(fields, field)) {
        enum gw_rc rc;
        if (test->kind == GW_ROUTE_TEST_REGEX)
            rc = gw_route_regex_run(regexes, test->regex, field->value, NULL, 0);
        else
            rc = gw_str_eq(field->value, gw_ref_str(conf, test->value)) ? GW_OK : GW_NOT_FOUND;
        if (rc == GW_OK)
            return GW_OK;
        if (rc == GW_LIMIT)
            worst = GW_LIMIT;
    }
    return worst;
}

static enum gw_rc query_test(const struct gw_conf *conf, struct gw_route_regexes *regexes,
                             const struct gw_route_test *test, const struct gw_request *request)
{
    struct gw_str rest = request->query, name, value;
    enum gw_rc worst = GW_NOT_FOUND;

    while (gw_uri_query_next(&rest, &name, &value)) {
        enum gw_rc rc = GW_OK;
        if (!decoded_eq(name, gw_ref_str(conf, test->name)))
            continue;
        if (test->kind == GW_ROUTE_TEST_REGEX)
            rc = gw_route_regex_run(regexes, test->regex, decode(request->fields.arena, value),
                                    NULL, 0);
        else if (test->kind == GW_ROUTE_TEST_EQUAL)
            rc = decoded_eq(value, gw_ref_str(conf, test->value)) ? GW_OK : GW_NOT_FOUND;
        if (rc == GW_OK)
            return GW_OK;
        if (rc == GW_LIMIT)
            worst = GW_LIMIT;
    }
    return worst;
}

static bool listener_fits(const struct gw_conf *conf, struct gw_ref listeners, uint32_t listener)
{
    const uint32_t *items = GW_ITEMS(conf, listeners, uint32_t);

    for (uint32_t i = 0; i < listeners.len; i++)
        if (items[i] == listener)
            return true;
    return listeners.len == 0;
}

/* The last range that begins at or before the client: the ranges are apart. */
static bool client_fits(const struct gw_conf *conf, struct gw_ref clients, const uint8_t *client)
{
    const struct gw_route_range *ranges = GW_ITEMS(conf, clients, struct gw_route_range);
    uint32_t low = 0, high = clients.len;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (memcmp(ranges[middle].low, client, 16) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return clients.len == 0 || (low > 0 && memcmp(client, ranges[low - 1].high, 16) <= 0);
}

static enum gw_route_fit tests(const struct gw_conf *conf, struct gw_route_regexes *regexes,
                               const struct gw_route_conditions *c,
                               const struct gw_route_query *query, uint32_t *which)
{
    const struct gw_route_test *test = GW_ITEMS(conf, c->headers, struct gw_route_test);
    uint32_t i;
    enum gw_rc rc;

    for (i = 0; i < c->headers.len; i++) {
        if ((test[i].kind == GW_ROUTE_TEST_REGEX) != (regexes != NULL))
            continue;
        rc = header_test(conf, regexes, &test[i], &query->request->fields);
        if (rc != GW_OK) {
            if (which != NULL)
                *which = i;
            return rc == GW_LIMIT ? GW_ROUTE_UNDECIDED : GW_ROUTE_NO_HEADER;
        }
    }
    test = GW_ITEMS(conf, c->query, struct gw_route_test);
    for (i = 0; i < c->query.len; i++) {
        if ((test[i].kind == GW_ROUTE_TEST_REGEX) != (regexes != NULL))
            continue;
        rc = query_test(conf, regexes, &test[i], query->request);
        if (rc != GW_OK) {
            if (which != NULL)
                *which = i;
            return rc == GW_LIMIT ? GW_ROUTE_UNDECIDED : GW_ROUTE_NO_QUERY;
        }
    }
    return GW_ROUTE_FITS;
}

enum gw_route_fit gw_route_conditions_plain(const struct gw_conf *conf,
                                            const struct gw_route_conditions *c,
                                            const struct gw_route_query *query, uint32_t *which)
{
    if (!listener_fits(conf, c->listeners, query->listener))
        return GW_ROUTE_NO_LISTENER;
    if (c->scheme.len != 0 && !gw_str_eq(gw_ref_str(conf, c->scheme), query->request->scheme))
        return GW_ROUTE_NO_SCHEME;
    if (!client_fits(conf, c->clients, query->client))
        return GW_ROUTE_NO_CLIENT;
    return tests(conf, NULL, c, query, which);
}

enum gw_route_fit gw_route_conditions_regex(struct gw_route_regexes *regexes,
                                            const struct gw_route_conditions *c,
                                            const struct gw_route_query *query, uint32_t *which)
{
    if (!c->has_regex)
        return GW_ROUTE_FITS;
    return tests(regexes->conf, regexes, c, query, which);
}

static bool lists_method(const struct gw_conf *conf, struct gw_ref methods, struct gw_str method)
{
    const struct gw_ref *items = GW_ITEMS(conf, methods, struct gw_ref);

    for (uint32_t i = 0; i < methods.len; i++)
        if (gw_str_eq(gw_ref_str(conf, items[i]), method))
            return true;
    return false;
}

bool gw_route_conditions_method(const struct gw_conf *conf, const struct gw_route_conditions *c,
                                const struct gw_request *request)
{
    if (c->methods.len == 0)
        return true;
    if (request->method_id != GW_METHOD_OTHER)
        return (c->methods_known & 1u << request->method_id) != 0;
    return lists_method(conf, c->methods, request->method);
}

static bool methods_cover(const struct gw_conf *conf, const struct gw_route_conditions *outer,
                          const struct gw_route_conditions *inner)
{
    const struct gw_ref *items = GW_ITEMS(conf, inner->methods, struct gw_ref);

    if (outer->methods.len == 0)
        return true;
    if (inner->methods.len == 0 || (inner->methods_known & ~outer->methods_known) != 0)
        return false;
    for (uint32_t i = 0; i < inner->methods.len; i++) {
        struct gw_str method = gw_ref_str(conf, items[i]);
        if (gw_method_of(method) == GW_METHOD_OTHER && !lists_method(conf, outer->methods, method))
            return false;
    }
    return true;
}

static bool listeners_cover(const struct gw_conf *conf, struct gw_ref outer, struct gw_ref inner)
{
    const uint32_t *items = GW_ITEMS(conf, inner, uint32_t);

    if (outer.len == 0)
        return true;
    for (uint32_t i = 0; i < inner.len; i++)
        if (!listener_fits(conf, outer, items[i]))
            return false;
    return inner.len > 0;
}

static bool clients_cover(const struct gw_conf *conf, struct gw_ref outer, struct gw_ref inner)
{
    const struct gw_route_range *o = GW_ITEMS(conf, outer, struct gw_route_range);
    const struct gw_route_range *n = GW_ITEMS(conf, inner, struct gw_route_range);

    if (outer.len == 0)
        return true;
    for (uint32_t i = 0, k = 0; i < inner.len; i++) {
        while (k < outer.len && memcmp(o[k].high, n[i].high, 16) < 0)
            k++;
        if (k == outer.len || memcmp(o[k].low, n[i].low, 16) > 0)
            return false;
    }
    return inner.len > 0;
}

/* Each test of `outer` stands in `inner` too, or asks only for what a test there needs. */
static bool tests_cover(const struct gw_conf *conf, struct gw_ref outer, struct gw_ref inner)
{
    const struct gw_route_test *o = GW_ITEMS(conf, outer, struct gw_route_test);
    const struct gw_route_test *n = GW_ITEMS(conf, inner, struct gw_route_test);

    for (uint32_t i = 0; i < outer.len; i++) {
        bool found = false;
        for (uint32_t k = 0; k < inner.len && !found; k++)
            found = gw_str_eq(gw_ref_str(conf, o[i].name), gw_ref_str(conf, n[k].name)) &&
                    (o[i].kind == GW_ROUTE_TEST_PRESENT ||
                     (o[i].kind == n[k].kind &&
                      gw_str_eq(gw_ref_str(conf, o[i].value), gw_ref_str(conf, n[k].value))));
        if (!found)
            return false;
    }
    return true;
}

bool gw_route_conditions_cover(const struct gw_conf *conf, const struct gw_route_conditions *outer,
                               const struct gw_route_conditions *inner)
{
    static const struct gw_route_conditions none;

    if (outer == NULL)
        return true;
    if (inner == NULL)
        inner = &none;
    return listeners_cover(conf, outer->listeners, inner->listeners) &&
           (outer->scheme.len == 0 ||
            gw_str_eq(gw_ref_str(conf, outer->scheme), gw_ref_str(conf, inner->scheme))) &&
           methods_cover(conf, outer, inner) && tests_cover(conf, outer->headers, inner->headers) &&
           tests_cover(conf, outer->query, inner->query) &&
           clients_cover(conf, outer->clients, inner->clients);
}

uint32_t gw_route_conditions_count(const struct gw_conf_match *match)
{
    return (match->listeners.len > 0) + (match->methods.len > 0) + (match->clients.len > 0) +
           (match->scheme.len > 0) + match->headers.len + match->query.len;
}

static int compare_ranges(const void *a, const void *b)
{
    return memcmp(((const struct gw_route_range *)a)->low, ((const struct gw_route_range *)b)->low,
                  16);
}

static struct gw_route_range range_of(const struct gw_cidr *cidr)
{
    struct gw_route_range range;

    for (unsigned i = 0; i < 16; i++) {
        unsigned fixed = cidr->bits > 8 * i ? cidr->bits - 8 * i : 0;
        uint8_t mask = fixed >= 8 ? 0xff : (uint8_t)(0xff00u >> fixed);
        range.low[i] = cidr->address[i] & mask;
        range.high[i] = cidr->address[i] | (uint8_t)~mask;
    }
    return range;
}

/* Networks are either apart or one is in the other: sorted by their first address, a
 * network that is in an earlier one is dropped. */
static struct gw_ref compile_clients(struct gw_image *image, struct gw_ref clients)
{
    uint32_t count = clients.len, kept = 0;
    struct gw_ref out = {0, 0};
    struct gw_route_range *ranges;

    if (count == 0)
        return out;
    out.off = gw_image_alloc(image, count * sizeof(*ranges));
    ranges = gw_image_at(image, out.off);
    for (uint32_t i = 0; i < count; i++)
        ranges[i] = range_of(GW_ITEMS(gw_image_conf(image), clients, struct gw_cidr) + i);
    qsort(ranges, count, sizeof(*ranges), compare_ranges);
    for (uint32_t i = 0; i < count; i++) {
        if (kept == 0 || memcmp(ranges[i].low, ranges[kept - 1].high, 16) > 0)
            ranges[kept++] = ranges[i];
        else if (memcmp(ranges[i].high, ranges[kept - 1].high, 16) > 0)
            memcpy(ranges[kept - 1].high, ranges[i].high, 16);
    }
    out.len = kept;
    return out;
}

static struct gw_ref compile_tests(struct gw_image *image, struct gw_ref from, bool headers,
                                   gw_route_regex_fn regex, void *arg, uint32_t *has_regex)
{
    struct gw_ref out = {0, from.len};

    if (from.len == 0)
        return out;
    out.off = gw_image_alloc(image, from.len * sizeof(struct gw_route_test));
    for (uint32_t i = 0; i < from.len; i++) {
        const struct gw_conf *conf = gw_image_conf(image);
        struct gw_conf_condition c = GW_ITEMS(conf, from, struct gw_conf_condition)[i];
        struct gw_str name = gw_ref_str(conf, c.name), value = gw_ref_str(conf, c.value);
        struct gw_route_test test = {c.name, c.value, GW_NONE, GW_ROUTE_TEST_EQUAL, 0};

        if (headers)
            test.field = (uint8_t)gw_field_id_of(name);
        if (gw_str_eq(value, GW_STR("*"))) {
            test.kind = GW_ROUTE_TEST_PRESENT;
        } else if (value.len > 1 && value.data[0] == '~') {
            test.kind = GW_ROUTE_TEST_REGEX;
            test.value = (struct gw_ref){c.value.off + 1, c.value.len - 1};
            test.regex = regex(arg, test.value, headers ? GW_STR("headers") : GW_STR("query"));
            *has_regex = 1;
        }
        ((struct gw_route_test *)gw_image_at(image, out.off))[i] = test;
    }
    return out;
}

static uint32_t known_methods(const struct gw_conf *conf, struct gw_ref methods)
{
    const struct gw_ref *items = GW_ITEMS(conf, methods, struct gw_ref);
    uint32_t mask = 0;

    for (uint32_t i = 0; i < methods.len; i++) {
        enum gw_method method = gw_method_of(gw_ref_str(conf, items[i]));
        if (method != GW_METHOD_OTHER)
            mask |= 1u << method;
        if (method == GW_METHOD_GET)
            mask |= 1u << GW_METHOD_HEAD;
    }
    return mask;
}

uint32_t gw_route_conditions_compile(struct gw_image *image, uint32_t route,
                                     gw_route_regex_fn regex, void *arg)
{
    const struct gw_conf *conf = gw_image_conf(image);
    struct gw_conf_match match = GW_ITEMS(conf, conf->details, struct gw_conf_details)[route].match;
    struct gw_route_conditions c = {0};
    uint32_t off;

    if (gw_route_conditions_count(&match) == 0)
        return 0;
    c.listeners = match.listeners;
    c.methods = match.methods;
    c.methods_known = known_methods(conf, match.methods);
    c.scheme = match.scheme;
    c.clients = compile_clients(image, match.clients);
    c.headers = compile_tests(image, match.headers, true, regex, arg, &c.has_regex);
    c.query = compile_tests(image, match.query, false, regex, arg, &c.has_regex);
    off = gw_image_alloc(image, sizeof(c));
    memcpy(gw_image_at(image, off), &c, sizeof(c));
    return off;
}
