/* A second reader of heads: http-parser, asked about the lines that frame. docs/adr/0001 tells why.
 * The only door to that library. Lives in: one thread, which reads one head at a time: first
 * gw_opinion_request() or _response(), then each line that may frame, then _agrees(). */
#ifndef GW_HTTP_OPINION_H
#define GW_HTTP_OPINION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* What our own walk has found. */
struct gw_claim {
    unsigned minor;
    uint16_t status; /* 0: a request */
    bool skip_body;  /* what we know and the library cannot: an answer to HEAD and the like */
    bool has_coding; /* Transfer-Encoding */
    bool has_length;
    bool has_body; /* behind the head */
    int64_t length;
    struct gw_str head, method; /* all of it, and where the method stands: for the crosscheck */
};

void gw_opinion_request(unsigned minor);
void gw_opinion_response(const char *line);           /* "HTTP/1.1 200", seen to be that */
void gw_opinion_hear(const char *line, size_t len);   /* with its CRLF; "token: text" */
bool gw_opinion_agrees(const struct gw_claim *claim); /* false: refuse the message */

#endif
