/* How a call ended. One table of names and texts; the names are also the stable error
 * codes that plugins see (`timeout`, `closed`, …). */
#ifndef GW_BASE_RC_H
#define GW_BASE_RC_H

#define GW_MUST_CHECK __attribute__((warn_unused_result))
#define GW_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define GW_UNUSED __attribute__((unused))

/*         enum          code for users   text */
#define GW_RC_ROWS(X)                                                                              \
    X(GW_OK, "ok", "ok")                                                                           \
    X(GW_AGAIN, "again", "not yet: more bytes or another turn are needed")                         \
    X(GW_EOF, "eof", "the other side has ended its part")                                          \
    X(GW_TIMEOUT, "timeout", "the time allowed is over")                                           \
    X(GW_CLOSED, "closed", "the connection was closed")                                            \
    X(GW_REFUSED, "refused", "the connection was refused")                                         \
    X(GW_DNS, "dns", "the name could not be resolved")                                             \
    X(GW_TLS, "tls", "the TLS handshake failed")                                                   \
    X(GW_PROTOCOL, "protocol", "the other side broke the protocol")                                \
    X(GW_LIMIT, "limit", "a limit was reached")                                                    \
    X(GW_CANCELLED, "cancelled", "the work was cancelled")                                         \
    X(GW_NOMEM, "nomem", "out of memory")                                                          \
    X(GW_FULL, "full", "no room is left")                                                          \
    X(GW_NOT_FOUND, "not_found", "there is no such thing")                                         \
    X(GW_EXISTS, "exists", "it exists already")                                                    \
    X(GW_INVALID, "invalid", "the value is not valid")                                             \
    X(GW_WRONG_TYPE, "wrong_type", "the value has another type")                                   \
    X(GW_SYSTEM, "system", "the operating system refused")                                         \
    X(GW_UNSUPPORTED, "unsupported", "this is not supported")                                      \
    X(GW_BUSY, "busy", "somebody else is at it")

enum gw_rc {
#define GW_RC_ENUM(name, code, text) name,
    GW_RC_ROWS(GW_RC_ENUM)
#undef GW_RC_ENUM
        GW_RC_COUNT
};

/* The stable lower-case code: "timeout". */
const char *gw_rc_code(enum gw_rc rc);

/* A sentence for people. */
const char *gw_rc_text(enum gw_rc rc);

#endif
