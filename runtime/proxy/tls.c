/* TLS of listeners: which certificate for which name, what the conf asks of clients, and what a
 * request is told of the connection that it came by. The image has the bytes; net/ reads them when
 * a name is first asked for, and a handshake keeps the generation that it began with. */
#include <stdlib.h>

#include "proxy/exchange_private.h"

struct generation_tls {
    struct gw_generation *generation;
    const struct gw_conf_tls *row;
    struct gw_tls_server *server; /* NULL: a plain listener */
};

/* ---- names ---- */

static const struct gw_conf_tls_name *name_find(const struct gw_conf *conf,
                                                const struct gw_conf_tls *row, struct gw_str name,
                                                uint32_t *count)
{
    const struct gw_conf_tls_name *names = GW_ITEMS(conf, row->names, struct gw_conf_tls_name);
    uint32_t from = 0, to = row->names.len;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        struct gw_str at = gw_ref_str(conf, names[middle].name);
        size_t len = at.len < name.len ? at.len : name.len;
        int order = len > 0 ? memcmp(at.data, name.data, len) : 0;
        if (order < 0 || (order == 0 && at.len < name.len))
            from = middle + 1;
        else
            to = middle;
    }
    for (to = from; to < row->names.len && gw_str_eq(gw_ref_str(conf, names[to].name), name);)
        to++;
    *count = to - from;
    return &names[from];
}

/* Exact, then with a star for the first label, then whoever is first in the conf. */
static const struct gw_conf_tls_name *name_fit(const struct gw_conf *conf,
                                               const struct gw_conf_tls *row, struct gw_str name,
                                               uint32_t *count)
{
    const struct gw_conf_tls_name *found = name_find(conf, row, name, count);
    const char *dot = name.len > 0 ? memchr(name.data, '.', name.len) : NULL;
    char text[GW_TLS_SERVER_NAME_BYTES_MAX + 2];
    size_t rest;

    if (*count > 0)
        return found;
    rest = dot != NULL ? (size_t)(name.data + name.len - dot) : 0;
    if (rest > 1 && rest < sizeof(text)) {
        text[0] = '*';
        memcpy(text + 1, dot, rest);
        found = name_find(conf, row, gw_str(text, rest + 1), count);
        if (*count > 0)
            return found;
    }
    return name_find(conf, row, GW_STR(""), count);
}

static const struct gw_conf_tls_policy *policy_of(const struct gw_conf *conf,
                                                  const struct gw_conf_tls *row, struct gw_str name)
{
    uint32_t count;
    const struct gw_conf_tls_name *found = name_fit(conf, row, name, &count);

    return &GW_ITEMS(
        conf, row->policies,
        struct gw_conf_tls_policy)[GW_ITEMS(conf, row->certificates,
                                            struct gw_conf_tls_certificate)[found->certificate]
                                       .policy];
}

/* ---- what net/ asks ---- */

static void choose(void *arg, struct gw_str name, struct gw_tls_choice *out)
{
    const struct generation_tls *tls = arg;
    const struct gw_conf *conf = tls->generation->conf;
    const struct gw_conf_tls_certificate *certificates =
        GW_ITEMS(conf, tls->row->certificates, struct gw_conf_tls_certificate);
    uint32_t count;
    const struct gw_conf_tls_name *found = name_fit(conf, tls->row, name, &count);

    *out = (struct gw_tls_choice){.policy = certificates[found->certificate].policy,
                                  .known = found->name.len > 0};
    for (uint32_t i = 0; i < count && out->count < GW_TLS_KINDS_MAX; i++)
        out->identities[out->count++] = found[i].certificate;
}

static void identity(void *arg, uint32_t index, struct gw_tls_identity *out)
{
    const struct generation_tls *tls = arg;
    const struct gw_conf *conf = tls->generation->conf;
    const struct gw_conf_tls_certificate *row =
        &GW_ITEMS(conf, tls->row->certificates, struct gw_conf_tls_certificate)[index];

    *out = (struct gw_tls_identity){gw_ref_str(conf, row->chain), gw_ref_str(conf, row->key)};
}

static void policy(void *arg, uint32_t index, struct gw_tls_policy *out)
{
    static const enum gw_tls_verify modes[] = {GW_TLS_VERIFY_OFF, GW_TLS_VERIFY_OPTIONAL,
                                               GW_TLS_VERIFY_REQUIRED};
    const struct generation_tls *tls = arg;
    const struct gw_conf *conf = tls->generation->conf;
    const struct gw_conf_tls_policy *row =
        &GW_ITEMS(conf, tls->row->policies, struct gw_conf_tls_policy)[index];

    *out = (struct gw_tls_policy){.verify = modes[row->mode],
                                  .depth = row->depth,
                                  .ca = gw_ref_str(conf, row->ca),
                                  .crl = gw_ref_str(conf, row->crl),
                                  .hash = row->hash};
}

static struct gw_str staple(void *arg, uint32_t index)
{
    const struct generation_tls *tls = arg;
    const struct gw_conf *conf = tls->generation->conf;
    const struct gw_proxy *proxy = tls->generation->proxy;
    const struct gw_conf_tls_certificate *row =
        &GW_ITEMS(conf, tls->row->certificates, struct gw_conf_tls_certificate)[index];
    const struct gw_staple_question question = {gw_ref_str(conf, row->ocsp),
                                                gw_ref_str(conf, row->ocsp_request),
                                                gw_ref_str(conf, row->chain)};

    if (row->ocsp.len == 0 || proxy->staple_fn == NULL)
        return GW_STR("");
    return proxy->staple_fn(proxy->staple_arg, &question);
}

static void hold(void *arg)
{
    generation_ref(((struct generation_tls *)arg)->generation);
}

static void release(void *arg)
{
    generation_unref(((struct generation_tls *)arg)->generation);
}

static const struct gw_tls_source source = {choose, identity, policy, staple, hold, release};

void gw_proxy_set_staple(struct gw_proxy *proxy, gw_proxy_staple_fn fn, void *arg)
{
    proxy->staple_fn = fn;
    proxy->staple_arg = arg;
}

/* ---- of a generation ---- */

static const char *text_or_null(const struct gw_conf *conf, struct gw_ref ref)
{
    return ref.len > 0 ? gw_ref_str(conf, ref).data : NULL;
}

enum gw_rc tls_prepare_step(struct gw_generation *generation, struct gw_err *err)
{
    static const uint16_t least[] = {0, GW_TLS_1_2, GW_TLS_1_3}, most[] = {0, GW_TLS_1_2, 0};
    const struct gw_conf *conf = generation->conf;
    uint32_t index = generation->tls_made++;
    const struct gw_conf_listener *listener =
        &GW_ITEMS(conf, conf->listeners, struct gw_conf_listener)[index];
    struct generation_tls *tls = &generation->tls[index];
    struct gw_tls_settings settings;
    enum gw_rc rc;

    if (listener->tls.len == 0)
        return GW_OK;
    tls->generation = generation;
    tls->row = gw_at(conf, listener->tls.off);
    settings = (struct gw_tls_settings){.version_min = least[tls->row->version],
                                        .version_max = most[tls->row->version],
                                        .ciphers = text_or_null(conf, tls->row->ciphers),
                                        .ciphersuites = text_or_null(conf, tls->row->ciphersuites),
                                        .groups = text_or_null(conf, tls->row->groups),
                                        .client_order = tls->row->client_order,
                                        .tickets = tls->row->tickets,
                                        .http2 = listener->http2,
                                        .session_timeout_s = tls->row->session_timeout_ms / 1000};
    rc = gw_tls_server_new(&settings, &source, tls, tls->row->certificates.len,
                           tls->row->policies.len, &generation->proxy->tickets, &tls->server, err);
    if (rc != GW_OK)
        gw_err_prefix(err, "listener %.*s: ", GW_STR_ARG(gw_ref_str(conf, listener->name)));
    return rc;
}

void tls_generation_free(struct gw_generation *generation)
{
    for (uint32_t i = 0; generation->tls != NULL && i < generation->conf->listeners.len; i++)
        gw_tls_server_free(generation->tls[i].server);
    free(generation->tls);
    generation->tls = NULL;
}

bool tls_generation_init(struct gw_generation *generation)
{
    generation->tls = calloc(generation->conf->listeners.len + 1, sizeof(*generation->tls));
    return generation->tls != NULL;
}

struct gw_tls_server *tls_of_client(struct gw_client_conn *conn)
{
    struct listener *listener = conn->user_data;
    struct gw_generation *generation =
        listener->last != NULL ? listener->last : listener->proxy->current;

    return generation->tls[listener->index].server;
}

/* ---- of a request ---- */

static const struct gw_conf_tls *row_of(const struct exchange *ex)
{
    const struct gw_conf_listener *listener = ex->pub.listener;

    return listener->tls.len > 0 ? gw_at(ex->pub.generation->conf, listener->tls.off) : NULL;
}

/* The connection may end before the request does: what is told of it is copied. */
void tls_facts(struct exchange *ex)
{
    struct gw_arena *arena = &ex->pub.arena;
    struct gw_exchange_tls *tls;
    struct gw_tls_facts facts;
    const struct gw_str *peer;
    struct gw_str *copies;

    if (!gw_tls_facts(ex->conn->net, &facts))
        return;
    tls = gw_arena_zalloc(arena, sizeof(*tls));
    tls->version = gw_arena_dup(arena, facts.version);
    tls->cipher = gw_arena_dup(arena, facts.cipher);
    tls->name = gw_arena_dup(arena, facts.name);
    tls->resumed = facts.resumed;
    tls->verified = facts.verified;
    tls->policy = facts.policy;
    ex->pub.tls = tls;
    if (!facts.verified || (peer = gw_tls_peer(ex->conn->net)) == NULL)
        return;
    tls->client = copies = gw_arena_alloc(arena, GW_TLS_FIELDS * sizeof(*copies));
    for (unsigned i = 0; i < GW_TLS_FIELDS; i++)
        copies[i] = gw_arena_dup(arena, peer[i]);
}

bool tls_misdirected(const struct exchange *ex)
{
    const struct gw_conf_tls *row = row_of(ex);
    const struct gw_conf *conf = ex->pub.generation->conf;
    uint64_t policy;

    if (ex->pub.tls == NULL)
        return false;
    if (row == NULL) /* no policy is known any more, so none can be said to be met */
        return ex->pub.tls->policy != 0;
    if (row->several_policies)
        policy = policy_of(conf, row, ex->pub.request.host)->hash;
    else
        policy = GW_ITEMS(conf, row->policies, struct gw_conf_tls_policy)[0].hash;
    return policy != ex->pub.tls->policy;
}

static struct gw_str fact_of(const struct gw_exchange_tls *tls, uint8_t fact)
{
    static const enum gw_tls_field fields[] = {
        [GW_TLS_FACT_SUBJECT] = GW_TLS_SUBJECT, [GW_TLS_FACT_ISSUER] = GW_TLS_ISSUER,
        [GW_TLS_FACT_SERIAL] = GW_TLS_SERIAL,   [GW_TLS_FACT_FINGERPRINT] = GW_TLS_FINGERPRINT,
        [GW_TLS_FACT_NAMES] = GW_TLS_NAMES,     [GW_TLS_FACT_NOT_AFTER] = GW_TLS_NOT_AFTER,
    };

    if (fact == GW_TLS_FACT_VERIFIED)
        return tls->verified ? GW_STR("true") : GW_STR("false");
    return tls->client != NULL ? tls->client[fields[fact]] : GW_STR("");
}

/* A certificate may hold any bytes: only what can stand in a field gets there. */
static bool fit_for_field(struct gw_str value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.data[i] < 0x20 || value.data[i] == 0x7f)
            return false;
    return value.len > 0;
}

void tls_forward(struct exchange *ex)
{
    const struct gw_conf *conf = ex->pub.generation->conf;
    const struct gw_conf_tls *row = row_of(ex);
    const struct gw_conf_tls_policy *met;
    const struct gw_conf_tls_header *headers;

    if (ex->pub.tls == NULL || row == NULL)
        return;
    met = policy_of(conf, row, ex->pub.request.host);
    headers = GW_ITEMS(conf, met->headers, struct gw_conf_tls_header);
    for (uint32_t i = 0; i < met->headers.len; i++) {
        struct gw_str value = fact_of(ex->pub.tls, headers[i].fact);
        if (fit_for_field(value))
            gw_fields_set(&ex->pub.request.fields, gw_ref_str(conf, headers[i].name), value);
    }
}

void tls_answer_fields(struct exchange *ex)
{
    const struct gw_conf_tls *row = row_of(ex);
    struct gw_fields *fields = &ex->pub.response.fields;
    struct gw_str value;

    if (ex->pub.tls == NULL || row == NULL || row->hsts_s == 0 ||
        gw_fields_get(fields, GW_STR("strict-transport-security"), &value))
        return;
    gw_fields_add(fields, GW_STR("Strict-Transport-Security"),
                  gw_arena_printf(&ex->pub.arena, "max-age=%u%s", row->hsts_s,
                                  row->hsts_subdomains ? "; includeSubDomains" : ""));
}

void tls_redirect(struct exchange *ex)
{
    const struct gw_request *request = &ex->pub.request;
    uint32_t port = ex->pub.listener->redirect_https;
    bool v6 =
        memchr(request->host.data, ':', request->host.len) != NULL && request->host.data[0] != '[';
    struct gw_buf text = GW_BUF_INIT;
    struct gw_answer *answer;

    gw_buf_printf(&text, v6 ? "https://[%.*s]" : "https://%.*s", GW_STR_ARG(request->host));
    if (port != 443)
        gw_buf_printf(&text, ":%u", port);
    gw_buf_add_str(&text, request->path);
    if (request->query.data != NULL) {
        gw_buf_add_str(&text, GW_STR("?"));
        gw_buf_add_str(&text, request->query);
    }
    answer = gw_exchange_answer(&ex->pub, 308, GW_STR(""));
    gw_fields_add(&answer->fields, GW_STR("Location"),
                  gw_arena_dup(&ex->pub.arena, gw_buf_str(&text)));
    gw_buf_fini(&text);
    answer_send(ex);
}
