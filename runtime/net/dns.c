/* How it works: an entry stands for one name and family, in a hash table and in a list by
 * last use. A question is one A and/or one AAAA query of c-ares; when both are in (or the
 * deadline is over) the entry is settled: what came is kept, and everybody who waits is put
 * into `ready`. Callbacks run from there at the end of the turn, never inside c-ares. */
#include "net/dns.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/list.h"
#include "net/dns_ask.h"

#define BUCKETS 512

struct entry {
    struct gw_list used; /* in dns->used, most recent first */
    struct entry *next;  /* in its bucket */
    struct gw_dns *dns;
    uint64_t hash;
    enum gw_dns_family family;

    bool asking;
    struct gw_dns_ask ask;
    struct gw_timer deadline;
    struct gw_timer refresh; /* set while watched */

    enum gw_rc rc;           /* of the last question that ended */
    uint64_t version;        /* goes up when a watch has something to hear; 0: never settled */
    uint64_t fresh_until_ms; /* no question before */
    uint64_t good_until_ms;  /* TTL of the addresses */
    uint32_t failures;       /* in a row */
    uint32_t count;
    union gw_dns_address *addresses; /* last good ones, in the order of the answer */

    struct gw_list lookups; /* that wait for this question */
    struct gw_list watches;
    struct gw_list changed; /* in dns->changed: watches may have to be told */
    uint32_t pins;          /* lookups that are ready, and us while we call back */
    char name[];            /* lower case */
};

struct gw_dns_lookup {
    struct gw_list link; /* of the entry, then of dns->ready */
    struct entry *entry;
    bool ready;
    gw_dns_fn fn;
    void *arg;
};

struct gw_dns_watch {
    struct gw_list link;
    struct entry *entry;
    uint64_t seen; /* version that was told */
    gw_dns_fn fn;
    void *arg;
};

struct gw_dns {
    struct gw_loop *loop;
    struct gw_dns_asker *asker;
    bool freeing;
    bool calling;
    uint32_t timeout_ms;
    struct gw_later notify; /* `ready` or `changed` has something */
    struct gw_list used;
    struct gw_list ready;
    struct gw_list changed;
    struct entry *buckets[BUCKETS];
    uint32_t names, asking, watches;
};

static void *must(void *mem)
{
    if (mem == NULL)
        abort();
    return mem;
}

/* ---- entries ---- */

static struct entry **bucket_of(struct gw_dns *dns, uint64_t hash)
{
    return &dns->buckets[hash % BUCKETS];
}

static struct entry *entry_find(struct gw_dns *dns, struct gw_str name, uint64_t hash,
                                enum gw_dns_family family)
{
    struct entry *entry = *bucket_of(dns, hash);

    for (; entry != NULL; entry = entry->next)
        if (entry->hash == hash && entry->family == family &&
            gw_str_eq(gw_str_c(entry->name), name))
            return entry;
    return NULL;
}

static void entry_free(struct entry *entry)
{
    struct gw_dns *dns = entry->dns;
    struct entry **at = bucket_of(dns, entry->hash);

    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    gw_list_remove(&entry->used);
    gw_list_remove(&entry->changed);
    gw_timer_fini(dns->loop, &entry->deadline);
    gw_timer_fini(dns->loop, &entry->refresh);
    gw_dns_ask_clear(&entry->ask);
    if (entry->asking)
        dns->asking--;
    dns->names--;
    free(entry->addresses);
    free(entry);
}

static bool in_use(const struct entry *entry)
{
    return entry->asking || entry->pins > 0 || !gw_list_empty(&entry->lookups) ||
           !gw_list_empty(&entry->watches);
}

/* The table may outgrow its limit only by names that are in use, which have their own. */
static void evict(struct gw_dns *dns)
{
    struct gw_list *at = dns->used.prev;

    while (dns->names >= GW_DNS_CACHE_NAMES_MAX && at != &dns->used) {
        struct entry *entry = GW_CONTAINER(at, struct entry, used);
        at = at->prev;
        if (!in_use(entry))
            entry_free(entry);
    }
}

static void on_answer(struct gw_dns_ask *ask);
static void on_deadline(struct gw_timer *timer);
static void on_refresh(struct gw_timer *timer);

static struct entry *entry_of(struct gw_dns *dns, struct gw_str name, enum gw_dns_family family)
{
    uint64_t hash = gw_hash(name.data, name.len, (uint64_t)family);
    struct entry *entry = entry_find(dns, name, hash, family);

    if (entry != NULL) {
        gw_list_remove(&entry->used);
        gw_list_push_front(&dns->used, &entry->used);
        return entry;
    }
    evict(dns);
    entry = must(calloc(1, sizeof(*entry) + name.len + 1));
    entry->dns = dns;
    entry->hash = hash;
    entry->family = family;
    entry->rc = GW_DNS;
    memcpy(entry->name, name.data, name.len);
    gw_list_init(&entry->lookups);
    gw_list_init(&entry->watches);
    gw_list_init(&entry->changed);
    gw_timer_init(&entry->deadline, on_deadline);
    gw_timer_init(&entry->refresh, on_refresh);
    gw_dns_ask_init(&entry->ask, on_answer);
    entry->next = *bucket_of(dns, hash);
    *bucket_of(dns, hash) = entry;
    gw_list_push_front(&dns->used, &entry->used);
    dns->names++;
    return entry;
}

/* ---- the end of a question ---- */

static bool address_eq(const union gw_dns_address *a, const union gw_dns_address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET6)
        return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
    return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

static bool has_address(const union gw_dns_address *list, uint32_t count,
                        const union gw_dns_address *address)
{
    for (uint32_t i = 0; i < count; i++)
        if (address_eq(&list[i], address))
            return true;
    return false;
}

/* Both lists are without doubles, so one direction is enough. */
static bool same_set(const struct entry *entry, const union gw_dns_address *list, uint32_t count)
{
    if (entry->count != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!has_address(entry->addresses, entry->count, &list[i]))
            return false;
    return true;
}

/* Whoever waits hears of it at the end of the turn. */
static void tell(struct entry *entry)
{
    struct gw_dns *dns = entry->dns;

    while (!gw_list_empty(&entry->lookups)) {
        struct gw_list *link = entry->lookups.next;
        gw_list_remove(link);
        gw_list_push_back(&dns->ready, link);
        GW_CONTAINER(link, struct gw_dns_lookup, link)->ready = true;
        entry->pins++;
    }
    if (!gw_list_empty(&entry->watches) && gw_list_empty(&entry->changed))
        gw_list_push_back(&dns->changed, &entry->changed);
    if (!dns->freeing)
        gw_later(dns->loop, &dns->notify);
}

static uint64_t clamp_ttl(uint64_t ms)
{
    if (ms < GW_DNS_TTL_MS_MIN)
        return GW_DNS_TTL_MS_MIN;
    return ms > GW_DNS_TTL_MS_MAX ? GW_DNS_TTL_MS_MAX : ms;
}

/* A watched name that fails is asked again after 1, 2, 4 … 30 s. */
static uint64_t retry_ms(const struct entry *entry)
{
    uint32_t shift = entry->failures > 6 ? 6 : entry->failures;
    uint64_t ms = (uint64_t)GW_DNS_FAILURE_MS << (shift > 0 ? shift - 1 : 0);

    if (entry->rc == GW_NOT_FOUND && ms < GW_DNS_NEGATIVE_MS)
        ms = GW_DNS_NEGATIVE_MS;
    return ms > GW_DNS_FAILURE_MS_MAX ? GW_DNS_FAILURE_MS_MAX : ms;
}

static void refresh_later(struct entry *entry, uint64_t due_ms)
{
    if (!gw_list_empty(&entry->watches))
        gw_timer_set(entry->dns->loop, &entry->refresh, due_ms);
}

static void settle_good(struct entry *entry, union gw_dns_address *addresses, uint32_t count,
                        uint64_t ttl_ms)
{
    uint64_t now = gw_loop_now_ms(entry->dns->loop);

    if (entry->version == 0 || entry->rc != GW_OK || !same_set(entry, addresses, count))
        entry->version++;
    free(entry->addresses);
    entry->addresses = addresses;
    entry->count = count;
    entry->rc = GW_OK;
    entry->failures = 0;
    entry->good_until_ms = entry->fresh_until_ms = now + clamp_ttl(ttl_ms);
    refresh_later(entry, entry->fresh_until_ms);
    tell(entry);
}

static void settle_bad(struct entry *entry, enum gw_rc rc)
{
    uint64_t now = gw_loop_now_ms(entry->dns->loop);

    if (entry->version == 0 || entry->rc != rc)
        entry->version++;
    entry->rc = rc;
    if (entry->failures < UINT32_MAX)
        entry->failures++;
    entry->fresh_until_ms = now + (rc == GW_NOT_FOUND ? GW_DNS_NEGATIVE_MS : GW_DNS_FAILURE_MS);
    refresh_later(entry, now + retry_ms(entry));
    tell(entry);
}

static void copy_half(const struct gw_dns_half *half, union gw_dns_address *to, uint32_t *count)
{
    for (uint32_t i = 0; i < half->count && *count < GW_DNS_ADDRESSES_MAX; i++)
        if (!has_address(to, *count, &half->addresses[i]))
            to[(*count)++] = half->addresses[i];
}

/* Joins what the families have said. One that failed spoils nothing if the other has
 * addresses; but "there is none" is believed only when all say so. */
static void settle(struct entry *entry)
{
    const struct gw_dns_half *v4 = &entry->ask.halves[GW_DNS_PART_V4],
                             *v6 = &entry->ask.halves[GW_DNS_PART_V6];
    bool v6_first = entry->family == GW_DNS_IPV6_FIRST;
    const struct gw_dns_half *order[GW_DNS_PARTS] = {v6_first ? v6 : v4, v6_first ? v4 : v6};
    union gw_dns_address *addresses;
    uint32_t count = 0, ttl_s = UINT32_MAX;
    enum gw_rc rc = GW_NOT_FOUND;

    addresses = must(calloc(v4->count + v6->count + 1, sizeof(*addresses)));
    for (unsigned i = 0; i < GW_DNS_PARTS; i++) {
        if (order[i]->count > 0 && order[i]->ttl_s < ttl_s)
            ttl_s = order[i]->ttl_s;
        copy_half(order[i], addresses, &count);
        if (order[i]->rc != GW_OK && order[i]->rc != GW_NOT_FOUND && rc != GW_TIMEOUT)
            rc = order[i]->rc;
    }
    if (count > 0) {
        settle_good(entry, addresses, count, (uint64_t)ttl_s * 1000);
        return;
    }
    free(addresses);
    settle_bad(entry, rc);
}

static void asking_over(struct entry *entry)
{
    entry->asking = false;
    entry->dns->asking--;
    gw_timer_clear(&entry->deadline);
    gw_dns_ask_clear(&entry->ask);
}

static void on_answer(struct gw_dns_ask *ask)
{
    struct entry *entry = GW_CONTAINER(ask, struct entry, ask);

    settle(entry);
    asking_over(entry);
}

/* The silent half counts as timed out; if it still answers, that is dropped. */
static void on_deadline(struct gw_timer *timer)
{
    struct entry *entry = GW_CONTAINER(timer, struct entry, deadline);

    gw_dns_ask_stop(&entry->ask);
    settle(entry);
    asking_over(entry);
}

/* ---- asking ---- */

static void ask(struct entry *entry)
{
    struct gw_dns *dns = entry->dns;

    assert(!entry->asking);
    entry->asking = true;
    dns->asking++;
    gw_timer_set(dns->loop, &entry->deadline, gw_loop_now_ms(dns->loop) + dns->timeout_ms);
    if (gw_dns_ask(dns->asker, &entry->ask, entry->name, entry->family) == GW_OK)
        on_answer(&entry->ask);
}

static void on_refresh(struct gw_timer *timer)
{
    struct entry *entry = GW_CONTAINER(timer, struct entry, refresh);
    struct gw_dns *dns = entry->dns;

    if (gw_list_empty(&entry->watches) || entry->asking)
        return;
    if (dns->asking >= GW_DNS_LOOKUPS_MAX) {
        gw_timer_set(dns->loop, timer, gw_loop_now_ms(dns->loop) + GW_DNS_FAILURE_MS);
        return;
    }
    ask(entry);
}

/* ---- telling ---- */

static void answer_of(const struct entry *entry, bool watch, struct gw_dns_answer *out)
{
    uint64_t now = gw_loop_now_ms(entry->dns->loop);
    bool keep =
        watch || (entry->rc != GW_NOT_FOUND && now < entry->good_until_ms + GW_DNS_STALE_MS_MAX);

    *out = (struct gw_dns_answer){.rc = entry->rc, .refresh = entry->rc};
    if (entry->count == 0 || (entry->rc != GW_OK && !keep))
        return;
    out->rc = GW_OK;
    out->stale = entry->rc != GW_OK;
    out->count = entry->count;
    out->addresses = entry->addresses;
    if (entry->good_until_ms > now)
        out->ttl_ms = (uint32_t)(entry->good_until_ms - now);
}

static void lookup_tell(struct gw_dns_lookup *lookup)
{
    struct entry *entry = lookup->entry;
    struct gw_dns_answer answer;
    gw_dns_fn fn = lookup->fn;
    void *arg = lookup->arg;

    gw_list_remove(&lookup->link);
    free(lookup);
    answer_of(entry, false, &answer);
    fn(arg, &answer); /* the entry is pinned */
    entry->pins--;
}

static struct gw_dns_watch *watch_due(const struct entry *entry)
{
    GW_LIST_EACH(link, &entry->watches)
    {
        struct gw_dns_watch *watch = GW_CONTAINER(link, struct gw_dns_watch, link);
        if (watch->seen != entry->version)
            return watch;
    }
    return NULL;
}

static void watches_tell(struct entry *entry)
{
    struct gw_dns_answer answer;
    struct gw_dns_watch *watch;

    gw_list_remove(&entry->changed);
    entry->pins++;
    while ((watch = watch_due(entry)) != NULL) {
        watch->seen = entry->version;
        answer_of(entry, true, &answer);
        watch->fn(watch->arg, &answer); /* this watch or any other may be gone */
    }
    entry->pins--;
}

static void on_notify(struct gw_later *later)
{
    struct gw_dns *dns = GW_CONTAINER(later, struct gw_dns, notify);

    dns->calling = true;
    while (!gw_list_empty(&dns->ready))
        lookup_tell(GW_CONTAINER(dns->ready.next, struct gw_dns_lookup, link));
    while (!gw_list_empty(&dns->changed))
        watches_tell(GW_CONTAINER(dns->changed.next, struct entry, changed));
    dns->calling = false;
}

/* ---- what users call ---- */

/* Letters, digits, "-", "_", "." and for IPv6 literals ":"; to lower case. */
static enum gw_rc name_of(struct gw_str name, char to[GW_DNS_NAME_BYTES_MAX + 1],
                          struct gw_str *out)
{
    size_t label = 0;

    if (name.len == 0 || name.len > GW_DNS_NAME_BYTES_MAX || name.data[0] == '.')
        return GW_INVALID;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && strchr("-_.:", c) == NULL)
            return GW_INVALID;
        if (c == '\0' || (c == '.' && label == 0 && i > 0))
            return GW_INVALID;
        label = c == '.' ? 0 : label + 1;
        if (label > 63)
            return GW_INVALID;
        to[i] = (char)c;
    }
    to[name.len] = '\0';
    if (name.len == GW_DNS_NAME_BYTES_MAX && to[name.len - 1] != '.')
        return GW_INVALID;
    *out = gw_str(to, name.len);
    return GW_OK;
}

static bool is_fresh(const struct entry *entry)
{
    return entry->version > 0 && gw_loop_now_ms(entry->dns->loop) < entry->fresh_until_ms;
}

enum gw_rc gw_dns_resolve(struct gw_dns *dns, struct gw_str name, enum gw_dns_family family,
                          gw_dns_fn fn, void *arg, struct gw_dns_lookup **out)
{
    char text[GW_DNS_NAME_BYTES_MAX + 1];
    struct gw_dns_lookup *lookup;
    struct entry *entry;

    if (name_of(name, text, &name) != GW_OK)
        return GW_INVALID;
    entry = entry_of(dns, name, family);
    if (!is_fresh(entry) && !entry->asking && dns->asking >= GW_DNS_LOOKUPS_MAX)
        return GW_FULL;
    lookup = must(calloc(1, sizeof(*lookup)));
    lookup->entry = entry;
    lookup->fn = fn;
    lookup->arg = arg;
    gw_list_push_back(&entry->lookups, &lookup->link);
    *out = lookup;
    if (is_fresh(entry))
        tell(entry);
    else if (!entry->asking)
        ask(entry);
    return GW_OK;
}

void gw_dns_cancel(struct gw_dns_lookup *lookup)
{
    if (lookup->ready)
        lookup->entry->pins--;
    gw_list_remove(&lookup->link);
    free(lookup);
}

bool gw_dns_cached(struct gw_dns *dns, struct gw_str name, enum gw_dns_family family,
                   struct gw_dns_answer *out)
{
    char text[GW_DNS_NAME_BYTES_MAX + 1];
    struct entry *entry;

    if (name_of(name, text, &name) != GW_OK)
        return false;
    entry = entry_find(dns, name, gw_hash(name.data, name.len, (uint64_t)family), family);
    if (entry == NULL || !is_fresh(entry) || (entry->rc != GW_OK && entry->rc != GW_NOT_FOUND))
        return false;
    gw_list_remove(&entry->used);
    gw_list_push_front(&dns->used, &entry->used);
    answer_of(entry, false, out);
    return true;
}

enum gw_rc gw_dns_watch(struct gw_dns *dns, struct gw_str name, enum gw_dns_family family,
                        gw_dns_fn fn, void *arg, struct gw_dns_watch **out)
{
    char text[GW_DNS_NAME_BYTES_MAX + 1];
    struct gw_dns_watch *watch;
    struct entry *entry;

    if (name_of(name, text, &name) != GW_OK)
        return GW_INVALID;
    entry = entry_of(dns, name, family);
    if (!entry->asking && !is_fresh(entry) && dns->asking >= GW_DNS_LOOKUPS_MAX)
        return GW_FULL;
    watch = must(calloc(1, sizeof(*watch)));
    watch->entry = entry;
    watch->fn = fn;
    watch->arg = arg;
    gw_list_push_back(&entry->watches, &watch->link);
    dns->watches++;
    *out = watch;
    if (is_fresh(entry)) {
        refresh_later(entry, entry->fresh_until_ms);
        tell(entry);
    } else if (!entry->asking) {
        ask(entry);
    }
    return GW_OK;
}

void gw_dns_unwatch(struct gw_dns_watch *watch)
{
    struct entry *entry = watch->entry;

    gw_list_remove(&watch->link);
    entry->dns->watches--;
    free(watch);
    if (gw_list_empty(&entry->watches))
        gw_timer_clear(&entry->refresh);
}

void gw_dns_stats(const struct gw_dns *dns, struct gw_dns_stats *out)
{
    *out = (struct gw_dns_stats){.names = dns->names,
                                 .asking = dns->asking,
                                 .watches = dns->watches,
                                 .questions = gw_dns_asker_questions(dns->asker)};
}

/* ---- life ---- */

enum gw_rc gw_dns_new(struct gw_loop *loop, const struct gw_str *servers, size_t count,
                      uint32_t timeout_ms, struct gw_dns **out, struct gw_err *err)
{
    struct gw_dns *dns;
    enum gw_rc rc;

    if (timeout_ms == 0 || timeout_ms > INT32_MAX)
        return gw_err_set(err, GW_INVALID, "DNS timeout of %u ms", timeout_ms);
    dns = must(calloc(1, sizeof(*dns)));
    dns->loop = loop;
    dns->timeout_ms = timeout_ms;
    gw_list_init(&dns->used);
    gw_list_init(&dns->ready);
    gw_list_init(&dns->changed);
    gw_later_init(&dns->notify, on_notify);
    rc = gw_dns_asker_new(loop, servers, count, timeout_ms, &dns->asker, err);
    if (rc != GW_OK) {
        free(dns);
        return rc;
    }
    *out = dns;
    return GW_OK;
}

static void lookups_cancel(struct gw_dns *dns)
{
    static const struct gw_dns_answer cancelled = {.rc = GW_CANCELLED, .refresh = GW_CANCELLED};

    GW_LIST_EACH(link, &dns->used)
    tell(GW_CONTAINER(link, struct entry, used));
    while (!gw_list_empty(&dns->ready)) {
        struct gw_dns_lookup *lookup = GW_CONTAINER(dns->ready.next, struct gw_dns_lookup, link);
        gw_dns_fn fn = lookup->fn;
        void *arg = lookup->arg;
        gw_dns_cancel(lookup);
        fn(arg, &cancelled);
    }
}

static void entries_free(struct gw_dns *dns)
{
    while (!gw_list_empty(&dns->used)) {
        struct entry *entry = GW_CONTAINER(dns->used.next, struct entry, used);
        while (!gw_list_empty(&entry->watches))
            gw_dns_unwatch(GW_CONTAINER(entry->watches.next, struct gw_dns_watch, link));
        entry_free(entry);
    }
}

void gw_dns_free(struct gw_dns *dns)
{
    if (dns == NULL)
        return;
    assert(!dns->calling);
    dns->freeing = true;
    lookups_cancel(dns);
    entries_free(dns);
    gw_later_cancel(&dns->notify);
    gw_dns_asker_free(dns->asker);
    free(dns);
}
