#include "http/conditional.h"

#include "base/time.h"

/* ---- entity tags ---- */

struct tag {
    bool weak;
    struct gw_str opaque; /* with its quotes */
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* etagc of RFC 9110 8.8.3: anything visible but the quote, and bytes above ASCII. */
static bool is_etag_char(char c)
{
    unsigned char u = (unsigned char)c;

    return u == 0x21 || (u >= 0x23 && u != 0x7f);
}

/* Takes one tag from the front of *rest. */
static bool take_tag(struct gw_str *rest, struct tag *out)
{
    const char *at = rest->data, *end = rest->data + rest->len, *begin;

    out->weak = end - at >= 2 && at[0] == 'W' && at[1] == '/';
    if (out->weak)
        at += 2;
    begin = at;
    if (at == end || *at++ != '"')
        return false;
    while (at < end && is_etag_char(*at))
        at++;
    if (at == end || *at++ != '"')
        return false;
    out->opaque = gw_str(begin, (size_t)(at - begin));
    *rest = gw_str(at, (size_t)(end - at));
    return true;
}

static bool tag_eq(const struct tag *a, const struct tag *b, bool strong)
{
    if (strong && (a->weak || b->weak))
        return false;
    return gw_str_eq(a->opaque, b->opaque);
}

/* List elements may be empty (RFC 9110 5.6.1.2). */
static void skip_separators(struct gw_str *rest)
{
    while (rest->len > 0 && (is_space(rest->data[0]) || rest->data[0] == ',')) {
        rest->data++;
        rest->len--;
    }
}

static struct gw_str trim(struct gw_str text)
{
    while (text.len > 0 && is_space(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && is_space(text.data[text.len - 1]))
        text.len--;
    return text;
}

bool gw_etag_in_list(struct gw_str list, struct gw_str etag, bool strong)
{
    struct tag ours, theirs;

    if (gw_str_eq(trim(list), GW_STR("*")))
        return true;
    if (!take_tag(&etag, &ours))
        return false;
    for (;;) {
        skip_separators(&list);
        if (list.len == 0 || !take_tag(&list, &theirs))
            return false;
        if (tag_eq(&ours, &theirs, strong))
            return true;
        /* What follows a tag is a comma or the end. */
        list = trim(list);
        if (list.len > 0 && list.data[0] != ',')
            return false;
    }
}

/* ---- preconditions ---- */

/* Of all lines of that field. */
static bool any_tag(const struct gw_fields *fields, const struct gw_field *field,
                    const struct gw_validators *now, bool strong)
{
    for (; field != NULL; field = gw_fields_next(fields, field))
        if (gw_etag_in_list(field->value, now->etag, strong))
            return true;
    return false;
}

/* A date that we can not read, or that came twice, is as if it was not there (13.1.3). */
static bool date_of(const struct gw_fields *fields, enum gw_field_id id, int64_t *date_s)
{
    const struct gw_field *field = gw_fields_known(fields, id);

    return field != NULL && gw_fields_next(fields, field) == NULL &&
           gw_http_date_parse(field->value, date_s) == GW_OK;
}

static bool is_reading(enum gw_method method)
{
    return method == GW_METHOD_GET || method == GW_METHOD_HEAD;
}

unsigned gw_conditional_check(enum gw_method method, const struct gw_fields *fields,
                              const struct gw_validators *now)
{
    const struct gw_field *field;
    int64_t date_s;

    field = gw_fields_known(fields, GW_FIELD_IF_MATCH);
    if (field != NULL) {
        if (!any_tag(fields, field, now, true))
            return 412;
    } else if (now->has_modified && date_of(fields, GW_FIELD_IF_UNMODIFIED_SINCE, &date_s) &&
               now->modified_s > date_s) {
        return 412;
    }

    field = gw_fields_known(fields, GW_FIELD_IF_NONE_MATCH);
    if (field != NULL) {
        if (any_tag(fields, field, now, false))
            return is_reading(method) ? 304 : 412;
    } else if (is_reading(method) && now->has_modified &&
               date_of(fields, GW_FIELD_IF_MODIFIED_SINCE, &date_s) && now->modified_s <= date_s) {
        return 304;
    }
    return 0;
}

/* 13.1.5: a tag is compared strongly; a date has to be the very same. */
static bool if_range_holds(const struct gw_fields *fields, const struct gw_validators *now)
{
    const struct gw_field *field = gw_fields_known(fields, GW_FIELD_IF_RANGE);
    struct gw_str value, etag = now->etag;
    struct tag ours, theirs;
    int64_t date_s;

    if (field == NULL)
        return true;
    if (gw_fields_next(fields, field) != NULL)
        return false;
    value = field->value;
    if (gw_http_date_parse(value, &date_s) == GW_OK)
        return now->has_modified && date_s == now->modified_s;
    return take_tag(&value, &theirs) && value.len == 0 && take_tag(&etag, &ours) &&
           tag_eq(&ours, &theirs, true);
}

/* ---- ranges ---- */

struct span {
    uint64_t first;
    uint64_t last;
};

/* Digits; what is too large for 64 bits stays at the largest, which is behind any file. */
static bool take_number(struct gw_str *rest, uint64_t *out)
{
    size_t digits = 0;

    *out = 0;
    while (rest->len > 0 && rest->data[0] >= '0' && rest->data[0] <= '9') {
        unsigned digit = (unsigned)(rest->data[0] - '0');
        *out = *out > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *out * 10 + digit;
        rest->data++;
        rest->len--;
        digits++;
    }
    return digits > 0;
}

enum spec { SPEC_BAD, SPEC_UNSATISFIABLE, SPEC_GOOD };

/* "0-499", "500-", "-500" */
static enum spec take_spec(struct gw_str *rest, uint64_t size, struct span *out)
{
    uint64_t first, last;
    bool has_first = take_number(rest, &first), has_last;

    if (rest->len == 0 || rest->data[0] != '-')
        return SPEC_BAD;
    rest->data++;
    rest->len--;
    has_last = take_number(rest, &last);
    if (!has_first && !has_last)
        return SPEC_BAD;
    if (!has_first) {
        /* The last bytes of nothing can be had (14.1.2), but no Content-Range says so: 200. */
        if (last > 0 && size == 0)
            return SPEC_BAD;
        if (last == 0)
            return SPEC_UNSATISFIABLE;
        *out = (struct span){last >= size ? 0 : size - last, size - 1};
        return SPEC_GOOD;
    }
    if (has_last && last < first)
        return SPEC_BAD;
    if (first >= size)
        return SPEC_UNSATISFIABLE;
    *out = (struct span){first, has_last && last < size ? last : size - 1};
    return SPEC_GOOD;
}

static bool touch(const struct span *a, const struct span *b)
{
    /* No overflow: both ends are below the size of a file. */
    return a->first <= b->last + 1 && b->first <= a->last + 1;
}

static void join(struct span *a, const struct span *b)
{
    if (b->first < a->first)
        a->first = b->first;
    if (b->last > a->last)
        a->last = b->last;
}

/* Joins spans until nothing touches any more; true: one is left, spans[0]. */
static bool join_all(struct span *spans, size_t count)
{
    bool joined = true;

    while (joined && count > 1) {
        joined = false;
        for (size_t i = 1; i < count; i++) {
            if (!touch(&spans[0], &spans[i]))
                continue;
            join(&spans[0], &spans[i]);
            spans[i] = spans[--count];
            joined = true;
            break;
        }
    }
    return count == 1;
}

enum gw_range_kind gw_range_parse(struct gw_str value, uint64_t size, uint64_t *first,
                                  uint64_t *length)
{
    struct span spans[GW_RANGES_MAX];
    size_t count = 0, seen = 0;

    if (value.len < 6 || !gw_str_eq_nocase(gw_str(value.data, 6), GW_STR("bytes=")))
        return GW_RANGE_WHOLE;
    value = gw_str(value.data + 6, value.len - 6);
    for (skip_separators(&value); value.len > 0; skip_separators(&value)) {
        enum spec spec = seen < GW_RANGES_MAX ? take_spec(&value, size, &spans[count]) : SPEC_BAD;
        value = trim(value);
        if (spec == SPEC_BAD || (value.len > 0 && value.data[0] != ','))
            return GW_RANGE_WHOLE;
        seen++;
        count += spec == SPEC_GOOD;
    }
    if (seen == 0)
        return GW_RANGE_WHOLE;
    if (count == 0)
        return GW_RANGE_NONE;
    if (!join_all(spans, count))
        return GW_RANGE_WHOLE;
    *first = spans[0].first;
    *length = spans[0].last - spans[0].first + 1;
    return GW_RANGE_PART;
}

enum gw_range_kind gw_range_of(enum gw_method method, const struct gw_fields *fields,
                               const struct gw_validators *now, uint64_t size, uint64_t *first,
                               uint64_t *length)
{
    const struct gw_field *field = gw_fields_known(fields, GW_FIELD_RANGE);

    if (method != GW_METHOD_GET || field == NULL || gw_fields_next(fields, field) != NULL ||
        !if_range_holds(fields, now))
        return GW_RANGE_WHOLE;
    return gw_range_parse(field->value, size, first, length);
}
