#include "http/grpc.h"

#include <stdio.h>

#define TYPE "application/grpc"

bool gw_grpc_message(const struct gw_fields *fields)
{
    struct gw_field *field = gw_fields_known(fields, GW_FIELD_CONTENT_TYPE);
    size_t len = sizeof(TYPE) - 1;
    struct gw_str value;

    if (field == NULL || field->value.len < len ||
        !gw_str_eq_nocase(gw_str(field->value.data, len), GW_STR(TYPE)))
        return false;
    value = field->value;
    return value.len == len || value.data[len] == '+' || value.data[len] == ';' ||
           value.data[len] == ' ' || value.data[len] == '\t';
}

/* ---- grpc-timeout ---- */

#define DIGITS_MAX 8
#define DIGITS_VALUE_MAX 99999999

static const struct {
    char name;
    uint64_t ns;
} units[] = {
    {'n', 1},
    {'u', 1000},
    {'m', 1000000},
    {'S', 1000000000},
    {'M', UINT64_C(60) * 1000000000},
    {'H', UINT64_C(3600) * 1000000000},
};
#define UNITS (sizeof(units) / sizeof(units[0]))

enum gw_rc gw_grpc_timeout_parse(struct gw_str text, uint64_t *out_us)
{
    uint64_t value = 0;

    if (text.len < 2 || text.len > DIGITS_MAX + 1)
        return GW_INVALID;
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return GW_INVALID;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    for (size_t i = 0; i < UNITS; i++)
        if (text.data[text.len - 1] == units[i].name) {
            /* Hours would not fit as nanoseconds. */
            *out_us = units[i].ns < 1000 ? (value * units[i].ns + 999) / 1000
                                         : value * (units[i].ns / 1000);
            return GW_OK;
        }
    return GW_INVALID;
}

size_t gw_grpc_timeout_format(uint64_t us, char out[GW_GRPC_TIMEOUT_BYTES])
{
    size_t i = 1; /* we do not count nanoseconds */
    uint64_t value;

    while (i + 1 < UNITS && us / (units[i].ns / 1000) > DIGITS_VALUE_MAX)
        i++;
    value = us / (units[i].ns / 1000);
    if (value > DIGITS_VALUE_MAX)
        value = DIGITS_VALUE_MAX;
    /* The compiler does not see that it fits without the "%". */
    return (size_t)snprintf(out, GW_GRPC_TIMEOUT_BYTES, "%u%c",
                            (unsigned)(value > 0 ? value : 1) % (DIGITS_VALUE_MAX + 1),
                            units[i].name);
}

/* ---- status and message ---- */

void gw_grpc_percent(struct gw_str text, struct gw_buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte >= 0x20 && byte <= 0x7e && byte != '%')
            gw_buf_add(out, &text.data[i], 1);
        else
            gw_buf_printf(out, "%%%02X", byte);
    }
}

/* As a client maps an answer without grpc-status; but for what is too much (413, 429), which
 * would be "unknown" and "try again at once" there. */
static const struct {
    uint16_t http;
    uint8_t grpc;
} rows[] = {
    {400, GW_GRPC_INTERNAL},           {401, GW_GRPC_UNAUTHENTICATED},
    {403, GW_GRPC_PERMISSION_DENIED},  {404, GW_GRPC_UNIMPLEMENTED},
    {405, GW_GRPC_UNIMPLEMENTED},      {413, GW_GRPC_RESOURCE_EXHAUSTED},
    {429, GW_GRPC_RESOURCE_EXHAUSTED}, {502, GW_GRPC_UNAVAILABLE},
    {503, GW_GRPC_UNAVAILABLE},        {504, GW_GRPC_UNAVAILABLE},
};

enum gw_grpc_status gw_grpc_status_of(unsigned status)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].http == status)
            return (enum gw_grpc_status)rows[i].grpc;
    return GW_GRPC_UNKNOWN;
}
