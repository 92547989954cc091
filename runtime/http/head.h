/* Heads of HTTP/1 messages: strict where RFC 9112 calls a thing ambiguous.
 * Two readers must agree: our own walk (which makes the slices) and http-parser, whose
 * verdict on framing has to be the same. The only door to http-parser.
 * The head is complete in memory when it is parsed; slices point into it. */
#ifndef GW_HTTP_HEAD_H
#define GW_HTTP_HEAD_H

#include "http/message.h"

#define GW_METHOD_BYTES_MAX 32 /* 501 */

struct gw_head_limits {
    uint32_t header_bytes_max; /* all behind the first line; 431 */
    uint32_t header_count_max; /* 431 */
    uint32_t uri_bytes_max;    /* 414 */
};

/* Looks for the end of a head in `data`. GW_OK: *len is the length of the head with its
 * empty line; GW_AGAIN: more bytes are needed (*seen may be handed in again to go on where it
 * stopped); GW_LIMIT / GW_PROTOCOL with *status: it can never become a good head (too long,
 * bare LF, garbage at the start such as TLS hello bytes). At most one CRLF before a request
 * line is part of the head. */
enum gw_rc gw_head_find(struct gw_str data, const struct gw_head_limits *limits, size_t *seen,
                        size_t *len, uint16_t *status);

enum gw_framing { GW_FRAMING_NONE, GW_FRAMING_LENGTH, GW_FRAMING_CHUNKED, GW_FRAMING_CLOSE };

struct gw_head {
    enum gw_framing framing;
    bool keep_alive; /* from version and Connection */
    bool upgrade;    /* Connection has "upgrade" and there is an Upgrade field; never for h2c */
    bool te_trailers;
};

/* Parses a request head. out->fields is initialised with `arena`. On failure returns
 * GW_PROTOCOL or GW_LIMIT with *status: 400 414 417 431 501 505; *why: a short reason for the
 * log. Fills method, target, minor, length, has_body (there are bytes to come), fields,
 * expect_continue (only with a body), authority (of an absolute target, else Host), host and
 * port (0: Host has none); not scheme, path, query. HTTP2-Settings and an Upgrade to h2c are
 * dropped. CONNECT and TRACE are 501. */
GW_MUST_CHECK enum gw_rc gw_head_parse_request(struct gw_str data,
                                               const struct gw_head_limits *limits,
                                               struct gw_arena *arena, struct gw_request *out,
                                               struct gw_head *head, uint16_t *status,
                                               const char **why);

/* Parses an answer's head, for a request of `method`. Any failure is the upstream's: 502.
 * head->framing is what follows on the wire (none for HEAD, 1xx, 204, 304); out->length is
 * what Content-Length said, also where no body follows. A 1xx or 204 may say 0, not more. */
GW_MUST_CHECK enum gw_rc gw_head_parse_response(struct gw_str data,
                                                const struct gw_head_limits *limits,
                                                enum gw_method method, struct gw_arena *arena,
                                                struct gw_response *out, struct gw_head *head,
                                                const char **why);

/* Trailer lines up to their empty line: the same strictness; framing, routing and
 * hop-by-hop names are GW_PROTOCOL. */
GW_MUST_CHECK enum gw_rc gw_head_parse_trailers(struct gw_str data,
                                                const struct gw_head_limits *limits,
                                                struct gw_fields *out, const char **why);

/* Marks as dropped: hop-by-hop fields and those that Connection names, but for fields that
 * route, frame or trace the message (Host, Content-Length, Via, Forwarded, X-Forwarded-*,
 * X-Real-IP). Whoever wants `TE: trailers` passed on adds it again. */
void gw_head_drop_hop_by_hop(struct gw_fields *fields);

#endif
