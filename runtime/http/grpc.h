/* What gRPC has beside HTTP: its words in fields. (github.com/grpc/grpc: doc/PROTOCOL-HTTP2.md,
 * doc/http-grpc-status-mapping.md.) Messages are not looked at: to us they are a body. */
#ifndef GW_HTTP_GRPC_H
#define GW_HTTP_GRPC_H

#include "base/buf.h"
#include "base/rc.h"
#include "http/message.h"

/* Those that a gateway has a reason to say. */
enum gw_grpc_status {
    GW_GRPC_OK = 0,
    GW_GRPC_CANCELLED = 1,
    GW_GRPC_UNKNOWN = 2,
    GW_GRPC_DEADLINE_EXCEEDED = 4,
    GW_GRPC_PERMISSION_DENIED = 7,
    GW_GRPC_RESOURCE_EXHAUSTED = 8,
    GW_GRPC_UNIMPLEMENTED = 12,
    GW_GRPC_INTERNAL = 13,
    GW_GRPC_UNAVAILABLE = 14,
    GW_GRPC_UNAUTHENTICATED = 16,
};

/* "application/grpc", alone or with "+proto", "; charset=…": by its Content-Type. gRPC-Web is
 * another protocol. */
bool gw_grpc_message(const struct gw_fields *fields);

/* Digits (8 at most) and one of H M S m u n, nothing else; rounded up. GW_INVALID. */
GW_MUST_CHECK enum gw_rc gw_grpc_timeout_parse(struct gw_str text, uint64_t *out_us);

#define GW_GRPC_TIMEOUT_BYTES 10 /* with NUL */
/* In the finest unit that has room for it, rounded down, 1 at least. The text's length. */
size_t gw_grpc_timeout_format(uint64_t us, char out[GW_GRPC_TIMEOUT_BYTES]);

/* For grpc-message: all but printable ASCII as %XX, and "%" itself. */
void gw_grpc_percent(struct gw_str text, struct gw_buf *out);

/* What an answer of ours with this status of HTTP says to a client of gRPC. */
enum gw_grpc_status gw_grpc_status_of(unsigned status);

#endif
