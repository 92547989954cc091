/* Names to addresses, without ever blocking the loop. Behind it net/dns_ask.c, the only door to
 * c-ares. Lives in: one worker. Owner: who made it; lookups and watches belong to who asked.
 * Answers are cached by name and family for their TTL (held to 1 s .. 1 h), refusals for a
 * few seconds; lookups of one name at one time share one question on the wire. /etc/hosts,
 * "localhost" and literal addresses are answered without a question.
 * No callback runs inside gw_dns_resolve(), gw_dns_watch() or a cancel: all come from the
 * loop, at the end of a turn. A callback may cancel and ask again, but not free the dns. */
#ifndef GW_NET_DNS_H
#define GW_NET_DNS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rc.h"
#include "base/str.h"
#include "net/loop.h"

#define GW_DNS_ADDRESSES_MAX 64     /* of one name; more are left out */
#define GW_DNS_NAME_BYTES_MAX 254   /* with a last dot */
#define GW_DNS_CACHE_NAMES_MAX 1024 /* the longest unused goes first */
#define GW_DNS_LOOKUPS_MAX 1024     /* names that are being asked for: then GW_FULL */
#define GW_DNS_TTL_MS_MIN 1000
#define GW_DNS_TTL_MS_MAX 3600000
#define GW_DNS_NEGATIVE_MS 5000     /* "there is no such name" is believed for so long */
#define GW_DNS_FAILURE_MS 1000      /* no server answered: asked again after, at first … */
#define GW_DNS_FAILURE_MS_MAX 30000 /* … and at last, for a watched name */
#define GW_DNS_STALE_MS_MAX 3600000 /* last good addresses of an unwatched name, past their TTL */

/* Order among families, or only one of them. */
enum gw_dns_family { GW_DNS_IPV4_FIRST, GW_DNS_IPV6_FIRST, GW_DNS_IPV4, GW_DNS_IPV6 };

union gw_dns_address {
    struct sockaddr any; /* sa_family says which; the port is 0 */
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static inline socklen_t gw_dns_address_len(const union gw_dns_address *address)
{
    return address->any.sa_family == AF_INET6 ? sizeof(address->v6) : sizeof(address->v4);
}

/* rc: GW_OK          addresses, at least one
 *     GW_NOT_FOUND   the name, or an address of that family, does not exist
 *     GW_DNS         the servers failed or answered nonsense
 *     GW_TIMEOUT     no server answered in time
 *     GW_CANCELLED   the dns was freed
 * `stale`: the addresses are past their TTL because the last refresh failed, with `refresh`.
 * A lookup gets stale addresses only where no server could say anything (GW_DNS,
 * GW_TIMEOUT); a watch keeps them also when the servers deny the name, for a target that
 * vanishes by mistake should not take its upstream with it. */
struct gw_dns_answer {
    enum gw_rc rc;
    bool stale;
    enum gw_rc refresh; /* of the last question: GW_OK unless stale */
    uint32_t ttl_ms;    /* what is left of it, at the time of the callback */
    uint32_t count;
    const union gw_dns_address *addresses; /* lent until return */
};

struct gw_dns;
struct gw_dns_lookup;
struct gw_dns_watch;

typedef void (*gw_dns_fn)(void *arg, const struct gw_dns_answer *answer);

/* `servers`: "127.0.0.1:5353", "10.0.0.2", "[::1]:53"; count 0: those of resolv.conf with its
 * search domains. `timeout_ms`: of one lookup, all tries together. */
GW_MUST_CHECK enum gw_rc gw_dns_new(struct gw_loop *loop, const struct gw_str *servers,
                                    size_t count, uint32_t timeout_ms, struct gw_dns **out,
                                    struct gw_err *err);
/* Lookups that wait are told GW_CANCELLED before it returns; watches are just over. */
void gw_dns_free(struct gw_dns *dns);

/* `fn` is called once, unless cancelled; the handle is gone with that call.
 * GW_INVALID: not a name. GW_FULL: too many lookups. */
GW_MUST_CHECK enum gw_rc gw_dns_resolve(struct gw_dns *dns, struct gw_str name,
                                        enum gw_dns_family family, gw_dns_fn fn, void *arg,
                                        struct gw_dns_lookup **out);
void gw_dns_cancel(struct gw_dns_lookup *lookup);

/* The fast way: an answer that is in the cache and fresh (rc GW_OK or GW_NOT_FOUND).
 * False: it has to be asked for. The addresses are lent until
 * the next call to this dns, or the next turn. */
bool gw_dns_cached(struct gw_dns *dns, struct gw_str name, enum gw_dns_family family,
                   struct gw_dns_answer *out);

/* Keeps a name fresh as long as it is watched. `fn` is called with the first answer (also a
 * bad one) and then whenever the set of addresses, `rc` or `stale` has changed; another order
 * of the same addresses is no change. */
GW_MUST_CHECK enum gw_rc gw_dns_watch(struct gw_dns *dns, struct gw_str name,
                                      enum gw_dns_family family, gw_dns_fn fn, void *arg,
                                      struct gw_dns_watch **out);
void gw_dns_unwatch(struct gw_dns_watch *watch);

/* For status: names in the cache, questions that were sent since the start. */
struct gw_dns_stats {
    uint32_t names;
    uint32_t asking;
    uint32_t watches;
    uint64_t questions;
};
void gw_dns_stats(const struct gw_dns *dns, struct gw_dns_stats *out);

#endif
