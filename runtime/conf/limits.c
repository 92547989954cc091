#include "conf/limits.h"

#include <string.h>

#include "conf/rows.h"

#define SECOND 1000
#define DAY ((int64_t)86400 * SECOND)
#define MIB ((int64_t)1 << 20)
#define GIB ((int64_t)1 << 30)
#define FIELD(name) .offset = offsetof(struct gw_conf_limits, name)
#define ANYWHERE .flags = GW_ROW_LISTENER | GW_ROW_ROUTE
#define LISTENER .flags = GW_ROW_LISTENER

static const struct gw_row rows[] = {
    {.key = "header_size_max",
     .type = &gw_type_size32,
     FIELD(header_bytes_max),
     LISTENER,
     .otherwise = "32k",
     .min = 1024,
     .max = MIB,
     .doc = "All header lines of a request, without its first line. Above: 431."},
    {.key = "header_count_max",
     .type = &gw_type_int,
     FIELD(header_count_max),
     LISTENER,
     .otherwise = "100",
     .min = 1,
     .max = 10000,
     .doc = "Header lines of a request. Above: 431."},
    {.key = "uri_size_max",
     .type = &gw_type_size32,
     FIELD(uri_bytes_max),
     LISTENER,
     .otherwise = "8k",
     .min = 64,
     .max = MIB,
     .doc = "Target of a request: path and query. Above: 414."},
    {.key = "body_size_max",
     .type = &gw_type_size,
     FIELD(body_bytes_max),
     ANYWHERE,
     .otherwise = "1g",
     .min = 0,
     .max = (int64_t)1 << 50,
     .doc = "Body of a request. Above: 413. 0: no body is taken."},
    {.key = "header_timeout",
     .type = &gw_type_duration,
     FIELD(header_timeout_ms),
     LISTENER,
     .otherwise = "10s",
     .min = 1,
     .max = DAY,
     .doc = "The whole head, from its first byte. After: 408."},
    {.key = "body_timeout",
     .type = &gw_type_duration,
     FIELD(body_timeout_ms),
     ANYWHERE,
     .otherwise = "30s",
     .min = 1,
     .max = DAY,
     .doc = "Between two pieces of the body. After: 408."},
    {.key = "send_timeout",
     .type = &gw_type_duration,
     FIELD(send_timeout_ms),
     ANYWHERE,
     .otherwise = "30s",
     .min = 1,
     .max = DAY,
     .doc = "The client takes nothing of the answer. After: the connection is closed."},
    {.key = "idle_timeout",
     .type = &gw_type_duration,
     FIELD(idle_timeout_ms),
     LISTENER,
     .otherwise = "75s",
     .min = 1,
     .max = DAY,
     .doc = "Between two requests of a connection. After: it is closed."},
    {.key = "request_timeout",
     .type = &gw_type_duration,
     FIELD(request_timeout_ms),
     ANYWHERE,
     .otherwise = "0",
     .min = 0,
     .max = DAY,
     .doc = "A request and its answer, all together. After: 408 while reading, 504 while waiting. "
            "0: no limit."},
    {.key = "data_rate_min",
     .type = &gw_type_rate,
     FIELD(data_rate_min),
     ANYWHERE,
     .otherwise = "100/s",
     .min = 0,
     .max = UINT32_MAX,
     .doc = "Slowest body that is taken, after data_rate_grace. Below: 408. 0: no limit."},
    {.key = "data_rate_grace",
     .type = &gw_type_duration,
     FIELD(data_rate_grace_ms),
     ANYWHERE,
     .otherwise = "10s",
     .min = 0,
     .max = DAY,
     .doc = "How long a body may be slower than data_rate_min."},
    {.key = "requests_max",
     .type = &gw_type_int,
     FIELD(requests_max),
     LISTENER,
     .otherwise = "0",
     .min = 0,
     .max = UINT32_MAX,
     .doc = "Requests of one connection. Then: Connection: close. 0: no limit."},
    {.key = "age_max",
     .type = &gw_type_duration,
     FIELD(age_max_ms),
     LISTENER,
     .otherwise = "0",
     .min = 0,
     .max = 30 * DAY,
     .doc = "Age of a connection, give or take 10 %. Then: Connection: close. 0: no limit."},
    {.key = "connections_max",
     .type = &gw_type_int,
     FIELD(connections_max),
     .otherwise = "20000",
     .min = 0,
     .max = 10000000,
     .doc = "Connections of all clients to all workers. Above: 503 and close. 0: no limit."},
    {.key = "connections_per_client_max",
     .type = &gw_type_int,
     FIELD(connections_per_client_max),
     .otherwise = "1000",
     .min = 0,
     .max = 10000000,
     .doc =
         "Connections from one address (IPv6: from one /64). Above: 503 and close. 0: no limit."},
    {.key = "buffer_size_max",
     .type = &gw_type_size32,
     FIELD(buffer_bytes_max),
     ANYWHERE,
     .otherwise = "64k",
     .min = 4096,
     .max = GIB,
     .doc = "Unsent bytes of one direction. Above: the other side is not read until they left."},
    {.key = "body_buffer_size_max",
     .type = &gw_type_size32,
     FIELD(body_buffer_bytes_max),
     ANYWHERE,
     .otherwise = "1m",
     .min = 0,
     .max = GIB,
     .doc = "A body held whole, for a plugin or a retry. Above: 413 if a plugin or buffering: "
            "needs the request's, 502 if a plugin needs the answer's; else there is no retry."},
    {.key = "half_close_timeout",
     .type = &gw_type_duration,
     FIELD(half_close_timeout_ms),
     LISTENER,
     .otherwise = "5s",
     .min = 1,
     .max = DAY,
     .doc = "A client that has asked and then ended its side of the connection waits so long for "
            "the head of its answer, and from one piece to the next. After: it has gone, and the "
            "upstream is let go."},
    {.key = "websocket_idle_timeout",
     .type = &gw_type_duration,
     FIELD(websocket_idle_ms),
     ANYWHERE,
     .otherwise = "10m",
     .min = 0,
     .max = DAY,
     .doc = "Neither side of a WebSocket sends anything, not even a Ping or Pong. After: Close "
            "1001 to both. 0: no limit."},
    {.key = "websocket_age_max",
     .type = &gw_type_duration,
     FIELD(websocket_age_max_ms),
     ANYWHERE,
     .otherwise = "0",
     .min = 0,
     .max = 30 * DAY,
     .doc = "Age of a WebSocket, give or take 10 %. Then: Close 1001 to both, between two "
            "messages. age_max counts, too. 0: no limit."},
    {.key = "websocket_ping_interval",
     .type = &gw_type_duration,
     FIELD(websocket_ping_ms),
     ANYWHERE,
     .otherwise = "0",
     .min = 0,
     .max = DAY,
     .doc = "A side of a WebSocket that is silent so long gets a Ping; silent as long again, it "
            "is taken for lost. 0: no Ping of our own."},
    {.key = "websocket_close_timeout",
     .type = &gw_type_duration,
     FIELD(websocket_close_ms),
     ANYWHERE,
     .otherwise = "5s",
     .min = 1,
     .max = DAY,
     .doc = "From the first Close of a WebSocket to the end of its connections. After: they are "
            "reset."},
    {.key = "websocket_frame_size_max",
     .type = &gw_type_size32,
     FIELD(websocket_frame_bytes_max),
     ANYWHERE,
     .otherwise = "16m",
     .min = 125,
     .max = GIB,
     .doc = "Payload of one frame of a WebSocket. Above: Close 1009."},
    {.key = "websocket_message_size_max",
     .type = &gw_type_size32,
     FIELD(websocket_message_bytes_max),
     ANYWHERE,
     .otherwise = "16m",
     .min = 125,
     .max = GIB,
     .doc = "A message of a WebSocket, its fragments together, as it is on the wire. Above: Close "
            "1009. Where plugins have message(), body_buffer_size_max holds, too."},
    {.key = "grpc_idle_timeout",
     .type = &gw_type_duration,
     FIELD(grpc_idle_ms),
     ANYWHERE,
     .otherwise = "10m",
     .min = 0,
     .max = DAY,
     .doc = "Neither side of a gRPC call sends anything. After: UNAVAILABLE. For calls, it stands "
            "in place of body_timeout and data_rate_min; read_timeout holds, too. 0: no limit."},
};

const struct gw_section gw_section_limits = GW_SECTION("limits", rows);

void gw_conf_limits_nearest(const struct gw_conf_limits *listener,
                            const struct gw_conf_limits *route, struct gw_conf_limits *out)
{
    uint64_t given = route->given;

    *out = *listener;
    out->given |= given;
    while (given != 0) {
        const struct gw_row *row = &rows[__builtin_ctzll(given)];
        size_t bytes = row->type == &gw_type_size ? sizeof(uint64_t) : sizeof(uint32_t);

        memcpy((char *)out + row->offset, (const char *)route + row->offset, bytes);
        given &= given - 1;
    }
}

/* The wider limits stand in `field` already. */
static bool read_limits(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                        void *field)
{
    uint32_t before = r->report->faults_count;
    struct gw_conf_limits *limits = field;

    limits->given = gw_section_read(r, &gw_section_limits, node, limits,
                                    row->flags & (GW_ROW_LISTENER | GW_ROW_ROUTE));
    return r->report->faults_count == before;
}

static void schema_limits(const struct gw_row *row, struct gw_buf *out)
{
    gw_section_schema(&gw_section_limits, row->flags & (GW_ROW_LISTENER | GW_ROW_ROUTE), out);
}

const struct gw_type gw_type_limits = {
    .form = "a map of limits", .read = read_limits, .schema = schema_limits, .inside = "."};
