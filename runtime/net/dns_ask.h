/* One question to the name servers: the A and the AAAA records of a name, from /etc/hosts,
 * or by c-ares. Internal to net/dns.c, which caches and tells; here is the door to c-ares.
 * Lives in: one worker. Owner: struct gw_dns; each entry embeds a struct gw_dns_ask. */
#ifndef GW_NET_DNS_ASK_H
#define GW_NET_DNS_ASK_H

#include "net/dns.h"

struct gw_dns_asker;
struct gw_dns_question;
struct gw_dns_ask;

/* All halves are in. Inside c-ares: the user must call nobody from here. */
typedef void (*gw_dns_ask_fn)(struct gw_dns_ask *ask);

enum gw_dns_part { GW_DNS_PART_V4, GW_DNS_PART_V6, GW_DNS_PARTS };

/* What one family of a name has said. */
struct gw_dns_half {
    struct gw_dns_question *question; /* not NULL: with the servers */
    enum gw_rc rc;                    /* GW_OK, GW_NOT_FOUND, GW_DNS, GW_TIMEOUT */
    uint32_t ttl_s;
    uint32_t count;
    union gw_dns_address *addresses;
};

struct gw_dns_ask {
    gw_dns_ask_fn fn;
    struct gw_dns_half halves[GW_DNS_PARTS];
};

GW_MUST_CHECK enum gw_rc gw_dns_asker_new(struct gw_loop *loop, const struct gw_str *servers,
                                          size_t count, uint32_t timeout_ms,
                                          struct gw_dns_asker **out, struct gw_err *err);
void gw_dns_asker_free(struct gw_dns_asker *asker); /* every ask was cleared before */

void gw_dns_ask_init(struct gw_dns_ask *ask, gw_dns_ask_fn fn);

/* GW_OK: known at once (literal, localhost, /etc/hosts), `fn` is not called. GW_AGAIN: it was
 * sent; `fn` comes once, but maybe before this returns. */
enum gw_rc gw_dns_ask(struct gw_dns_asker *asker, struct gw_dns_ask *ask, const char *name,
                      enum gw_dns_family family);

/* The halves that are silent become GW_TIMEOUT; `fn` will not be called. */
void gw_dns_ask_stop(struct gw_dns_ask *ask);
void gw_dns_ask_clear(struct gw_dns_ask *ask); /* forgets questions and addresses */

uint64_t gw_dns_asker_questions(const struct gw_dns_asker *asker);

#endif
