#include "http/head.h"

/* "METHOD " and " HTTP/1.1\r\n" around a target, and a CRLF in front. */
#define REQUEST_LINE_REST (GW_METHOD_BYTES_MAX + 14)

static enum gw_rc find_refuse(uint16_t *status, uint16_t code)
{
    *status = code;
    return code == 414 || code == 431 ? GW_LIMIT : GW_PROTOCOL;
}

/* Bytes that can be told at once from a head: a TLS hello, HTTP/2, anything binary. 0: fine. */
static uint16_t judge_start(struct gw_str data)
{
    static const struct gw_str http2 = {"PRI * HTTP/2.0\r\n", 16};
    const char *at = data.data, *end = data.data + data.len;

    if (at < end && *at == '\r') {
        at++;
        if (at < end && *at++ != '\n')
            return 400;
    }
    if (at < end && !gw_field_name_valid(gw_str(at, 1)))
        return 400;
    return gw_str_starts(data, http2) ? 505 : 0;
}

enum gw_rc gw_head_find(struct gw_str data, const struct gw_head_limits *limits, size_t *seen,
                        size_t *len, uint16_t *status)
{
    const size_t line_max = (size_t)limits->uri_bytes_max + REQUEST_LINE_REST;
    const size_t head_max = line_max + limits->header_bytes_max; /* parsing knows it exactly */
    const size_t before = *seen;
    size_t skip;
    const char *at, *end, *lf;
    uint16_t bad;

    if (data.len == 0)
        return GW_AGAIN;
    bad = judge_start(data);
    if (bad != 0)
        return find_refuse(status, bad);
    /* Looked at once, when the reads pass that length: a slow peer costs no more. */
    skip = data.data[0] == '\r' ? 2 : 0; /* the CRLF in front of the line */
    if (before <= line_max && data.len > line_max &&
        memchr(data.data + skip, '\n', line_max - skip) == NULL)
        return find_refuse(status, 414);
    /* Nothing behind the limit is looked at, so the verdict does not hang on how bytes come. */
    *seen = data.len < head_max ? data.len : head_max;
    at = data.data + before;
    end = data.data + *seen;
    for (; (lf = memchr(at, '\n', (size_t)(end - at))) != NULL; at = lf + 1) {
        if (lf == data.data || lf[-1] != '\r')
            return find_refuse(status, 400);
        /* An empty line ends the head, but for the CRLF that may stand in front of it. */
        if (lf - data.data >= 3 && lf[-2] == '\n') {
            *len = *seen = (size_t)(lf + 1 - data.data);
            return GW_OK;
        }
    }
    return data.len > head_max ? find_refuse(status, 431) : GW_AGAIN;
}
