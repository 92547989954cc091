#include "http/message.h"

#include <assert.h>

static const struct gw_str field_names[GW_FIELD_IDS] = {
#define GW_FIELD_NAME(id, name) [id] = {name, sizeof(name) - 1},
    GW_FIELD_ROWS(GW_FIELD_NAME)
#undef GW_FIELD_NAME
};

static_assert(GW_FIELD_IDS <= 64, "gw_fields.present has 64 bits");

/* tchar of RFC 9110 5.6.2 */
static const bool token_chars[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1,         ['&'] = 1,         ['\''] = 1,
    ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,         ['^'] = 1,         ['_'] = 1,
    ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1, ['a' ... 'z'] = 1, ['A' ... 'Z'] = 1,
};

enum gw_method gw_method_of(struct gw_str token)
{
    static const struct {
        char name[8];
        uint8_t len;
        uint8_t id;
    } rows[] = {
        {"GET", 3, GW_METHOD_GET},         {"POST", 4, GW_METHOD_POST},
        {"HEAD", 4, GW_METHOD_HEAD},       {"PUT", 3, GW_METHOD_PUT},
        {"DELETE", 6, GW_METHOD_DELETE},   {"PATCH", 5, GW_METHOD_PATCH},
        {"OPTIONS", 7, GW_METHOD_OPTIONS}, {"CONNECT", 7, GW_METHOD_CONNECT},
        {"TRACE", 5, GW_METHOD_TRACE},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (token.len == rows[i].len && token.data[0] == rows[i].name[0] &&
            memcmp(token.data, rows[i].name, token.len) == 0)
            return (enum gw_method)rows[i].id;
    return GW_METHOD_OTHER;
}

/* Known names are told apart by their length and three letters; one comparison then makes
 * sure. The factors were searched for: no two names of GW_FIELD_ROWS share a slot, which
 * fill_index() asserts when the table grows. Filled at first use. */
#define INDEX_SLOTS 128
#define NAME_BYTES_MAX 32

static struct {
    uint8_t ids[INDEX_SLOTS];
    char case_bits[GW_FIELD_IDS][NAME_BYTES_MAX]; /* 0x20 where a letter stands */
    bool ready;
} name_index;

static unsigned name_slot(struct gw_str name)
{
    const unsigned char *text = (const unsigned char *)name.data;

    return (unsigned)(name.len + (text[0] | 0x20u) * 9 + (text[name.len - 2] | 0x20u) * 17 +
                      (text[name.len - 1] | 0x20u) * 33) %
           INDEX_SLOTS;
}

static void fill_index(void)
{
    for (unsigned id = 1; id < GW_FIELD_IDS; id++) {
        struct gw_str name = field_names[id];
        uint8_t *slot = &name_index.ids[name_slot(name)];
        assert(name.len >= 2 && name.len <= NAME_BYTES_MAX);
        assert(*slot == GW_FIELD_UNKNOWN);
        *slot = (uint8_t)id;
        for (size_t i = 0; i < name.len; i++)
            if (name.data[i] >= 'a' && name.data[i] <= 'z')
                name_index.case_bits[id][i] = 0x20;
    }
    name_index.ready = true;
}

static inline uint64_t load8(const char *from)
{
    uint64_t word;

    memcpy(&word, from, sizeof(word));
    return word;
}

static inline uint32_t load4(const char *from)
{
    uint32_t word;

    memcpy(&word, from, sizeof(word));
    return word;
}

/* Equal but for the case of letters. The last word overlaps the one before it. */
static bool name_matches(const char *text, const char *known, const char *bits, size_t len)
{
    if (len >= 8) {
        for (size_t i = 0; i + 8 < len; i += 8)
            if (((load8(text + i) ^ load8(known + i)) & ~load8(bits + i)) != 0)
                return false;
        return ((load8(text + len - 8) ^ load8(known + len - 8)) & ~load8(bits + len - 8)) == 0;
    }
    if (len >= 4)
        return (((load4(text) ^ load4(known)) & ~load4(bits)) |
                ((load4(text + len - 4) ^ load4(known + len - 4)) & ~load4(bits + len - 4))) == 0;
    for (size_t i = 0; i < len; i++)
        if (((text[i] ^ known[i]) & ~bits[i]) != 0)
            return false;
    return true;
}

enum gw_field_id gw_field_id_of(struct gw_str name)
{
    unsigned id;

    if (!name_index.ready)
        fill_index();
    if (name.len < 2 || name.len > NAME_BYTES_MAX)
        return GW_FIELD_UNKNOWN;
    id = name_index.ids[name_slot(name)];
    if (field_names[id].len != name.len ||
        !name_matches(name.data, field_names[id].data, name_index.case_bits[id], name.len))
        return GW_FIELD_UNKNOWN;
    return (enum gw_field_id)id;
}

struct gw_str gw_field_name(enum gw_field_id id)
{
    return field_names[id];
}

void gw_fields_init(struct gw_fields *fields, struct gw_arena *arena)
{
    *fields = (struct gw_fields){.arena = arena};
}

struct gw_field *gw_fields_add_as(struct gw_fields *fields, enum gw_field_id id, struct gw_str name,
                                  struct gw_str value)
{
    struct gw_field *field;

    if (fields->count == fields->size) {
        uint32_t size = fields->size > 0 ? fields->size * 2 : 16;
        struct gw_field *items = gw_arena_alloc(fields->arena, size * sizeof(*items));
        if (fields->count > 0)
            memcpy(items, fields->items, fields->count * sizeof(*items));
        fields->items = items;
        fields->size = size;
    }
    field = &fields->items[fields->count++];
    field->name = name;
    field->value = value;
    field->id = (uint8_t)id;
    field->dropped = false;
    field->wire = false;
    fields->present |= 1ULL << field->id;
    if (id == GW_FIELD_UNKNOWN)
        fields->others |= gw_field_name_bit(name);
    return field;
}

struct gw_field *gw_fields_add(struct gw_fields *fields, struct gw_str name, struct gw_str value)
{
    return gw_fields_add_as(fields, gw_field_id_of(name), name, value);
}

struct gw_field *gw_fields_add_known(struct gw_fields *fields, enum gw_field_id id,
                                     struct gw_str value)
{
    return gw_fields_add_as(fields, id, field_names[id], value);
}

static bool same_name(const struct gw_field *field, enum gw_field_id id, struct gw_str name)
{
    if (field->dropped || field->id != id)
        return false;
    return id != GW_FIELD_UNKNOWN || gw_str_eq_nocase(field->name, name);
}

static struct gw_field *find_from(const struct gw_fields *fields, uint32_t from,
                                  enum gw_field_id id, struct gw_str name)
{
    for (uint32_t i = from; i < fields->count; i++)
        if (same_name(&fields->items[i], id, name))
            return &fields->items[i];
    return NULL;
}

struct gw_field *gw_fields_find(const struct gw_fields *fields, struct gw_str name)
{
    enum gw_field_id id = gw_field_id_of(name);

    if ((fields->present & (1ULL << id)) == 0 ||
        (id == GW_FIELD_UNKNOWN && (fields->others & gw_field_name_bit(name)) == 0))
        return NULL;
    return find_from(fields, 0, id, name);
}

struct gw_field *gw_fields_known(const struct gw_fields *fields, enum gw_field_id id)
{
    assert(id != GW_FIELD_UNKNOWN);
    if ((fields->present & (1ULL << id)) == 0)
        return NULL;
    return find_from(fields, 0, id, GW_STR_NULL);
}

struct gw_field *gw_fields_next(const struct gw_fields *fields, const struct gw_field *after)
{
    return find_from(fields, (uint32_t)(after - fields->items) + 1, (enum gw_field_id)after->id,
                     after->name);
}

bool gw_fields_get(const struct gw_fields *fields, struct gw_str name, struct gw_str *out)
{
    struct gw_field *first = gw_fields_find(fields, name), *field;
    size_t len;
    char *to;

    if (first == NULL)
        return false;
    *out = first->value;
    if (gw_fields_next(fields, first) == NULL)
        return true;

    len = 0;
    for (field = first; field != NULL; field = gw_fields_next(fields, field))
        len += field->value.len + 2;
    to = gw_arena_alloc(fields->arena, len);
    out->data = to;
    for (field = first; field != NULL; field = gw_fields_next(fields, field)) {
        memcpy(to, field->value.data, field->value.len);
        memcpy(to + field->value.len, ", ", 2);
        to += field->value.len + 2;
    }
    out->len = len - 2;
    return true;
}

void gw_fields_set(struct gw_fields *fields, struct gw_str name, struct gw_str value)
{
    struct gw_field *field = gw_fields_find(fields, name), *more;

    if (field == NULL) {
        (void)gw_fields_add(fields, name, value);
        return;
    }
    while ((more = gw_fields_next(fields, field)) != NULL)
        more->dropped = true;
    field->value = value;
    field->wire = false;
}

uint32_t gw_fields_remove(struct gw_fields *fields, struct gw_str name)
{
    struct gw_field *field = gw_fields_find(fields, name);
    uint32_t count = 0;

    for (; field != NULL; count++) {
        field->dropped = true;
        field = gw_fields_next(fields, field);
    }
    return count;
}

void gw_fields_remove_known(struct gw_fields *fields, enum gw_field_id id)
{
    if ((fields->present & (1ULL << id)) == 0)
        return;
    for (uint32_t i = 0; i < fields->count; i++)
        if (fields->items[i].id == id)
            fields->items[i].dropped = true;
}

bool gw_field_name_valid(struct gw_str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!token_chars[(unsigned char)name.data[i]])
            return false;
    return name.len > 0;
}

/* Eight bytes at once: a byte below 0x20, or 0x7f, sets its high bit. Tabs do, too: they are
 * rare, and sorted out one by one. */
static inline bool words_are_plain(uint64_t word)
{
    const uint64_t ones = ~0ULL / 255, high = ones * 0x80;
    uint64_t low = (word - ones * 0x20) & ~word; /* < 0x20 */
    uint64_t del = (word ^ ones * 0x7f) - ones;  /* == 0x7f */

    return ((low | (del & ~(word ^ ones * 0x7f))) & high) == 0;
}

/* What is left at the end overlaps with what was looked at: no byte is looked at alone. */
static bool value_is_plain(struct gw_str value)
{
    uint32_t first, last;

    if (value.len >= 8) {
        for (size_t i = 0; i + 8 < value.len; i += 8)
            if (!words_are_plain(load8(value.data + i)))
                return false;
        return words_are_plain(load8(value.data + value.len - 8));
    }
    if (value.len < 4)
        return value.len == 0;
    memcpy(&first, value.data, 4);
    memcpy(&last, value.data + value.len - 4, 4);
    return words_are_plain(first | (uint64_t)last << 32);
}

bool gw_field_value_valid(struct gw_str value)
{
    if (value_is_plain(value))
        return true;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char byte = (unsigned char)value.data[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
            return false;
    }
    return true;
}

const char *gw_status_reason(unsigned status)
{
    static const struct {
        uint16_t status;
        const char *reason;
    } rows[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {103, "Early Hints"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {203, "Non-Authoritative Information"},
        {204, "No Content"},
        {205, "Reset Content"},
        {206, "Partial Content"},
        {300, "Multiple Choices"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {407, "Proxy Authentication Required"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {423, "Locked"},
        {424, "Failed Dependency"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
        {508, "Loop Detected"},
        {511, "Network Authentication Required"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].status == status)
            return rows[i].reason;
    return "";
}
