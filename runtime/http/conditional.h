/* Conditional requests and ranges: RFC 9110 sections 13 and 14, for anybody who has a
 * representation with validators (static files, the cache).
 * Pure functions: no memory, no globals; safe on any thread as long as the fields rest. */
#ifndef GW_HTTP_CONDITIONAL_H
#define GW_HTTP_CONDITIONAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "http/message.h"

/* Of the representation that a 200 would carry now. */
struct gw_validators {
    struct gw_str etag; /* with its quotes, maybe W/; empty: there is none */
    bool has_modified;
    int64_t modified_s; /* whole seconds, as in Last-Modified */
};

/* In the order of 13.2.2. 0: the method goes on; 304; 412.
 * A representation exists (else nobody asks): "*" matches. */
unsigned gw_conditional_check(enum gw_method method, const struct gw_fields *fields,
                              const struct gw_validators *now);

/* Does `list` ("*", or entity tags with commas) have `etag`? `strong`: no weak tag is equal to
 * any. A list that is not well-formed matches up to the fault and no further. */
bool gw_etag_in_list(struct gw_str list, struct gw_str etag, bool strong);

/* Many ranges cost more than they bring: from here on Range is ignored. */
#define GW_RANGES_MAX 16

enum gw_range_kind {
    GW_RANGE_WHOLE, /* no range, one that we ignore, or a failed If-Range: answer 200 */
    GW_RANGE_PART,  /* 206 */
    GW_RANGE_NONE,  /* nothing of it is in the representation: 416 */
};

/* What Range asks of `size` bytes. Only GET has ranges. One range is answered; several are if
 * they overlap or touch, so that they are one; else the whole is sent, as 14.2 allows: we
 * make no multipart/byteranges. Other units, bad syntax: ignored. */
enum gw_range_kind gw_range_of(enum gw_method method, const struct gw_fields *fields,
                               const struct gw_validators *now, uint64_t size, uint64_t *first,
                               uint64_t *length);

/* The parse alone: "bytes=0-499". */
enum gw_range_kind gw_range_parse(struct gw_str value, uint64_t size, uint64_t *first,
                                  uint64_t *length);

#endif
