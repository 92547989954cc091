/* listen[].tls: — certificates, the names that they are for, and who may come in. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "conf/rows.h"

#define CERTIFICATES_MAX 10000
#define EXPIRES_SOON_S ((uint64_t)14 * 86400)
#define DAY ((int64_t)86400 * 1000)

static struct gw_str image_str(struct gw_reader *r, struct gw_ref ref)
{
    return gw_str(gw_image_at(r->image, ref.off), ref.len);
}

/* ---- client: ---- */

static const char *const modes[] = {"off", "optional", "required", NULL};
static const char *const facts[] = {"subject", "issuer",    "serial",   "fingerprint",
                                    "names",   "not_after", "verified", NULL};

/* PEM files whose contents, not their names, are what counts. */
static bool read_ca(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                    void *field)
{
    struct gw_str text;

    return gw_scalar_text(r, row, node, &text) &&
           gw_pem_certificates(r, node, gw_path_absolute(r, node, text), field, NULL);
}

static bool read_crl(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                     void *field)
{
    struct gw_str text;

    return gw_scalar_text(r, row, node, &text) &&
           gw_pem_crls(r, node, gw_path_absolute(r, node, text), field);
}

static bool read_fact(struct gw_reader *r, struct gw_node *n, struct gw_conf_tls_header *header)
{
    const struct gw_row row = {.type = &gw_type_enum, .detail = facts};
    struct gw_str name = gw_arena_dup(r->arena, n->key);
    struct gw_path step;
    bool good;

    gw_enter(r, &step, n, 0);
    good = gw_is_token(name) || gw_fault(r, n, "is no name of a header");
    good = gw_type_enum.read(r, &row, n, &header->fact) && good;
    gw_leave(r);
    header->name = gw_image_add_str(r->image, name);
    return good;
}

static bool read_headers(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    uint32_t off, i = 0;
    bool good = true;

    if (node->kind != GW_NODE_MAP)
        return gw_fault_form(r, row, node);
    off = gw_image_alloc(r->image, node->count * sizeof(struct gw_conf_tls_header));
    for (struct gw_node *n = node->members.first; n != NULL; n = n->next) {
        struct gw_conf_tls_header header = {{0, 0}, 0};
        good = read_fact(r, n, &header) && good;
        ((struct gw_conf_tls_header *)gw_image_at(r->image, off))[i++] = header;
    }
    *(struct gw_ref *)field = (struct gw_ref){off, i};
    return good;
}

static void schema_string(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":\"string\"");
}

static void schema_headers(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":\"object\",\"additionalProperties\":{\"enum\":[");
    for (int i = 0; facts[i] != NULL; i++)
        gw_buf_printf(out, "%s\"%s\"", i > 0 ? "," : "", facts[i]);
    gw_buf_printf(out, "]}");
}

static const struct gw_type type_ca = {
    .form = "a path of a PEM file", .read = read_ca, .schema = schema_string};
static const struct gw_type type_crl = {
    .form = "a path of a PEM file", .read = read_crl, .schema = schema_string};
static const struct gw_type type_headers = {
    .form = "a map of header names to facts such as subject, fingerprint",
    .read = read_headers,
    .schema = schema_headers};

#define POLICY(name) .offset = offsetof(struct gw_conf_tls_policy, name)

static const struct gw_row client_rows[] = {
    {.key = "verify",
     .type = &gw_type_enum,
     POLICY(mode),
     .otherwise = "required",
     .detail = modes,
     .doc = "required: without a good certificate there is no connection. optional: a client may "
            "have none. off: nobody is asked."},
    {.key = "ca",
     .type = &type_ca,
     POLICY(ca),
     .doc = "The authorities (PEM) that sign certificates of clients. Needed unless off."},
    {.key = "crl",
     .type = &type_crl,
     POLICY(crl),
     .doc = "Revocation lists (PEM) of all of them. Without: nobody is revoked."},
    {.key = "depth",
     .type = &gw_type_int,
     POLICY(depth),
     .otherwise = "3",
     .min = 0,
     .max = 32,
     .doc = "Authorities that may stand between a client and the one that we know. More: refused."},
    {.key = "headers",
     .type = &type_headers,
     POLICY(headers),
     .doc = "Fields for the upstream: NAME: subject, issuer, serial, fingerprint, names, not_after "
            "or verified. What clients send under these names is dropped, on all listeners."},
};

static const struct gw_section section_client = GW_SECTION("tls client", client_rows);

static uint64_t hash_ref(struct gw_reader *r, struct gw_ref ref, uint64_t seed)
{
    return gw_hash(gw_image_at(r->image, ref.off), ref.len, seed + ref.len);
}

static bool read_client(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                        void *field)
{
    struct gw_conf_tls_policy policy = {0};
    uint32_t before = r->report->faults_count;

    gw_section_defaults(r, &section_client, &policy);
    (void)gw_section_read(r, &section_client, node, &policy, 0);
    if (policy.mode != GW_TLS_CLIENT_OFF) {
        if (policy.ca.len == 0 && r->report->faults_count == before)
            (void)gw_fault(r, node, "ca: is needed to know whom to let in");
        policy.hash = hash_ref(r, policy.ca, policy.mode + 256 * (uint64_t)policy.depth);
        policy.hash = hash_ref(r, policy.crl, policy.hash) | 1;
    }
    *(struct gw_conf_tls_policy *)field = policy;
    return r->report->faults_count == before;
}

static void schema_client(const struct gw_row *row, struct gw_buf *out)
{
    gw_section_schema(&section_client, 0, out);
}

static const struct gw_type type_client = {.form = "a map of what is asked of clients",
                                           .read = read_client,
                                           .schema = schema_client,
                                           .inside = "."};

/* ---- certificates: ---- */

/* As it is read; the image keeps gw_conf_tls_certificate. */
struct draft {
    struct gw_ref certificate, key, names;
    struct gw_conf_tls_policy client;
};

#define DRAFT(name) .offset = offsetof(struct draft, name)

static const struct gw_row certificate_rows[] = {
    {.key = "certificate",
     .type = &gw_type_path,
     DRAFT(certificate),
     .flags = GW_ROW_REQUIRED,
     .doc = "PEM file: the certificate, then its chain. Read at load; a reload reads it again."},
    {.key = "key",
     .type = &gw_type_path,
     DRAFT(key),
     .flags = GW_ROW_REQUIRED,
     .doc = "PEM file with its private key, not encrypted. Only the loader reads it: root may own "
            "it."},
    {.key = "names",
     .type = &gw_type_hosts,
     DRAFT(names),
     .doc = "The names that it is shown for, *.NAME for one label. Default: those that stand in "
            "it."},
    {.key = "client",
     .type = &type_client,
     DRAFT(client),
     .detail = &section_client,
     .doc = "What is asked of clients that want these names, in place of the listener's client:."},
};

static const struct gw_section section_certificate =
    GW_SECTION("tls certificate", certificate_rows);

static void warn_time(struct gw_reader *r, const struct gw_node *node, struct gw_str path,
                      const struct gw_tls_certificate_facts *f)
{
    uint64_t now = (uint64_t)time(NULL);
    struct gw_str at = gw_path_text(r->path, r->arena);

    if (f->not_after_s <= now)
        gw_report_warn(r->report, node->where, at, "%.*s has expired", GW_STR_ARG(path));
    else if (f->not_after_s < now + EXPIRES_SOON_S)
        gw_report_warn(r->report, node->where, at, "%.*s expires in %u days", GW_STR_ARG(path),
                       (unsigned)((f->not_after_s - now) / 86400));
    else if (f->not_before_s > now)
        gw_report_warn(r->report, node->where, at, "%.*s is not valid yet", GW_STR_ARG(path));
}

/* "*.a" takes one label; what stands in a certificate in another form nobody can ask for. */
static bool askable(struct gw_str name)
{
    const char *star = memchr(name.data, '*', name.len);

    return star == NULL || (star == name.data && name.len > 2 && name.data[1] == '.' &&
                            memchr(name.data + 1, '*', name.len - 1) == NULL);
}

static struct gw_ref names_of(struct gw_reader *r, const struct gw_buf *names)
{
    const char *at = names->data + names->from, *end = names->data + names->to;
    uint32_t count = 0, off, i = 0;

    for (const char *p = at; p < end; p += strlen(p) + 1)
        count += askable(gw_str_c(p));
    off = gw_image_alloc(r->image, count * sizeof(struct gw_ref));
    for (const char *p = at; p < end; p += strlen(p) + 1)
        if (askable(gw_str_c(p))) {
            struct gw_ref name = gw_image_add_str(r->image, gw_str_c(p));
            ((struct gw_ref *)gw_image_at(r->image, off))[i++] = name;
        }
    return (struct gw_ref){off, count};
}

static void read_files(struct gw_reader *r, const struct gw_node *item, const struct draft *draft,
                       struct gw_conf_tls_certificate *c)
{
    struct gw_tls_certificate_facts f = {.count = 0};
    const struct gw_node *node = gw_node_get_c(item, "certificate");
    struct gw_str path = gw_arena_dup(r->arena, image_str(r, draft->certificate));
    struct gw_path step;

    gw_enter(r, &step, node, 0);
    if (gw_pem_certificates(r, node, path, &c->chain, &f)) {
        warn_time(r, node, path, &f);
        c->kind = gw_image_add_str(r->image, f.kind);
        c->ocsp = gw_image_add_str(r->image, gw_buf_str(&f.ocsp));
        c->not_after_s = f.not_after_s;
        c->names = draft->names.len > 0 ? draft->names : names_of(r, &f.names);
    }
    gw_leave(r);
    gw_buf_fini(&f.names);
    gw_buf_fini(&f.ocsp);
    if (c->chain.len == 0)
        return;
    node = gw_node_get_c(item, "key");
    gw_enter(r, &step, node, 0);
    path = gw_arena_dup(r->arena, image_str(r, draft->key));
    (void)gw_pem_key(r, node, path, c->chain, &c->key);
    gw_leave(r);
}

/* Certificates of one listener, and the policies beside its own. */
struct reading {
    struct gw_conf_tls conf;
    struct gw_conf_tls_policy client;
    struct gw_conf_tls_certificate *certificates;
    struct gw_conf_tls_policy *policies; /* [0]: the listener's, filled last */
    uint32_t count, policies_count;
};

static void read_certificate(struct gw_reader *r, struct gw_node *item, struct reading *reading)
{
    struct gw_conf_tls_certificate *c = &reading->certificates[reading->count++];
    struct draft draft = {{0, 0}, {0, 0}, {0, 0}, {0}};
    uint64_t given = gw_section_read(r, &section_certificate, item, &draft, 0);

    c->where = item->where;
    c->file = draft.certificate;
    if (gw_section_has(&section_certificate, given, "client")) {
        c->policy = reading->policies_count;
        reading->policies[reading->policies_count++] = draft.client;
    }
    if (draft.certificate.len > 0 && draft.key.len > 0)
        read_files(r, item, &draft, c);
}

static bool read_certificates(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                              void *field)
{
    struct reading *reading = GW_CONTAINER(field, struct reading, conf.certificates);
    struct gw_item_step step = GW_ITEM_STEP_INIT;
    uint32_t count = gw_items_count(node), before = r->report->faults_count;

    if (count == 0)
        return gw_fault(r, node, "at least one certificate is needed");
    if (count > CERTIFICATES_MAX)
        return gw_fault(r, node, "more than %d certificates", CERTIFICATES_MAX);
    reading->certificates = gw_arena_zalloc(r->arena, count * sizeof(*reading->certificates));
    reading->policies = gw_arena_zalloc(r->arena, (count + 1) * sizeof(*reading->policies));
    reading->policies_count = 1;
    GW_ITEMS_EACH(item, node)
    {
        gw_item_enter(r, &step, node, item);
        read_certificate(r, item, reading);
        gw_item_leave(r, &step);
    }
    return r->report->faults_count == before;
}

static void schema_certificates(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[{");
    gw_section_schema(&section_certificate, 0, out);
    gw_buf_printf(out, "},{\"type\":\"array\",\"minItems\":1,\"items\":{");
    gw_section_schema(&section_certificate, 0, out);
    gw_buf_printf(out, "}}]");
}

static const struct gw_type type_certificates = {.form = "a list of certificates",
                                                 .read = read_certificates,
                                                 .schema = schema_certificates,
                                                 .inside = "[].",
                                                 .list = true};

/* ---- tls: ---- */

/* Years are usual here, and would not fit into 32 bits of milliseconds. */
static bool read_seconds(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    struct gw_str text;
    uint64_t ms;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if (!gw_read_duration(text, &ms))
        return gw_fault_form(r, row, node);
    if (ms > (uint64_t)10 * 365 * (uint64_t)DAY)
        return gw_fault(r, node, "must be at most 3650d");
    *(uint32_t *)field = (uint32_t)(ms / 1000);
    return true;
}

static const struct gw_type type_seconds = {
    .form = "a duration such as 365d", .read = read_seconds, .schema = schema_string};

static const char *const versions[] = {"any", "TLSv1.2", "TLSv1.3", NULL};
static const char *const orders[] = {"server", "client", NULL};

#define TLS(name) .offset = offsetof(struct reading, conf.name)

static const struct gw_row rows[] = {
    {.key = "certificates",
     .type = &type_certificates,
     TLS(certificates),
     .flags = GW_ROW_REQUIRED,
     .detail = &section_certificate,
     .doc =
         "Which is shown goes by the name that the client asks for; the first is for all others. "
         "RSA and ECDSA may stand side by side for one name."},
    {.key = "version",
     .type = &gw_type_enum,
     TLS(version),
     .otherwise = "any",
     .detail = versions,
     .doc = "any: TLS 1.2 and 1.3, never less. TLSv1.2 or TLSv1.3: only this one."},
    {.key = "ciphers",
     .type = &gw_type_string,
     TLS(ciphers),
     .doc = "Ciphers of TLS 1.2, as OpenSSL writes them. Default: Mozilla's intermediate list."},
    {.key = "ciphersuites",
     .type = &gw_type_string,
     TLS(ciphersuites),
     .doc = "The same for TLS 1.3. Default: AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305."},
    {.key = "groups",
     .type = &gw_type_string,
     TLS(groups),
     .doc = "Groups of the key exchange, most wanted first. Default: X25519:P-256:P-384."},
    {.key = "prefer",
     .type = &gw_type_enum,
     TLS(client_order),
     .otherwise = "server",
     .detail = orders,
     .doc = "Whose order of ciphers counts: server or client."},
    {.key = "tickets",
     .type = &gw_type_bool,
     TLS(tickets),
     .otherwise = "true",
     .doc = "Sessions are resumed by tickets, whose keys all workers share and the master changes "
            "every 8 hours."},
    {.key = "stapling",
     .type = &gw_type_bool,
     TLS(stapling),
     .otherwise = "false",
     .doc =
         "OCSP responses are fetched from the responder that a certificate names, and stapled. The "
         "file of the certificate must hold its issuer."},
    {.key = "session_timeout",
     .type = &gw_type_duration,
     TLS(session_timeout_ms),
     .otherwise = "8h",
     .min = 1000,
     .max = 16 * 3600 * 1000,
     .doc = "A ticket is good for. After: a full handshake."},
    {.key = "client",
     .type = &type_client,
     .offset = offsetof(struct reading, client),
     .detail = &section_client,
     .doc = "Certificates of clients (mTLS). Without it: nobody is asked."},
    {.key = "hsts",
     .type = &type_seconds,
     TLS(hsts_s),
     .otherwise = "0",
     .doc = "Strict-Transport-Security on each answer, with this max-age. 0: none."},
    {.key = "hsts_subdomains",
     .type = &gw_type_bool,
     TLS(hsts_subdomains),
     .otherwise = "false",
     .doc = "Adds includeSubDomains to it."},
};

const struct gw_section gw_section_tls = GW_SECTION("tls", rows);

struct named {
    struct gw_str name;
    uint32_t certificate;
};

static int compare(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    size_t len = x->name.len < y->name.len ? x->name.len : y->name.len;
    int order = memcmp(x->name.data, y->name.data, len);

    if (order != 0)
        return order;
    if (x->name.len != y->name.len)
        return x->name.len < y->name.len ? -1 : 1;
    return x->certificate < y->certificate ? -1 : 1;
}

static bool same_kind(struct gw_reader *r, const struct reading *reading, uint32_t a, uint32_t b)
{
    return gw_str_eq(image_str(r, reading->certificates[a].kind),
                     image_str(r, reading->certificates[b].kind));
}

/* Of one name and kind the first counts; of one name all have the policy of the first, for the
 * name says whom to let in, not the certificate that happens to be chosen. */
static uint32_t thin_out(struct gw_reader *r, struct reading *reading, struct named *all,
                         uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        bool again = false;
        for (uint32_t k = kept; k-- > 0 && gw_str_eq(all[k].name, all[i].name) && !again;)
            again = same_kind(r, reading, all[k].certificate, all[i].certificate);
        if (!again)
            all[kept++] = all[i];
    }
    return kept;
}

static bool check_policies(struct gw_reader *r, const struct reading *reading,
                           const struct named *all, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        const struct gw_conf_tls_certificate *a = &reading->certificates[all[i - 1].certificate];
        const struct gw_conf_tls_certificate *b = &reading->certificates[all[i].certificate];
        if (!gw_str_eq(all[i - 1].name, all[i].name) ||
            reading->policies[a->policy].hash == reading->policies[b->policy].hash)
            continue;
        gw_report_fault(r->report, b->where, gw_path_text(r->path, r->arena),
                        "client: of \"%.*s\" differs between its certificates (lines %u and %u)",
                        GW_STR_ARG(all[i].name), a->where.line, b->where.line);
        return false;
    }
    return true;
}

static void write_names(struct gw_reader *r, struct reading *reading, const struct named *all,
                        uint32_t count)
{
    uint32_t off = gw_image_alloc(r->image, count * sizeof(struct gw_conf_tls_name));

    for (uint32_t i = 0; i < count; i++) {
        struct gw_ref name = gw_image_add_str(r->image, all[i].name);
        ((struct gw_conf_tls_name *)gw_image_at(r->image, off))[i] =
            (struct gw_conf_tls_name){name, all[i].certificate};
    }
    reading->conf.names = (struct gw_ref){off, count};
}

static bool shares_name(struct gw_reader *r, const struct reading *reading, uint32_t index)
{
    const struct gw_conf_tls_certificate *first = &reading->certificates[0];
    const struct gw_conf_tls_certificate *c = &reading->certificates[index];
    const struct gw_ref *names = gw_image_at(r->image, c->names.off);

    for (uint32_t i = 0; i < c->names.len && first->names.len > 0; i++)
        if (gw_str_eq(image_str(r, names[i]),
                      image_str(r, *(struct gw_ref *)gw_image_at(r->image, first->names.off))))
            return true;
    return index == 0;
}

/* Only where it can be done is it asked for. */
static void make_questions(struct gw_reader *r, struct reading *reading)
{
    for (uint32_t i = 0; i < reading->count; i++) {
        struct gw_conf_tls_certificate *c = &reading->certificates[i];
        struct gw_buf der = GW_BUF_INIT;
        if (c->ocsp.len == 0 || !reading->conf.stapling) {
            c->ocsp.len = 0;
        } else if (gw_tls_ocsp_request(image_str(r, c->chain), &der)) {
            c->ocsp_request = gw_image_add(r->image, der.data + der.from, gw_buf_len(&der));
        } else {
            c->ocsp.len = 0;
            gw_report_warn(r->report, c->where, gw_path_text(r->path, r->arena),
                           "nothing will be stapled: %.*s does not hold the issuer",
                           GW_STR_ARG(image_str(r, c->file)));
        }
        gw_buf_fini(&der);
    }
}

static void make_names(struct gw_reader *r, struct reading *reading)
{
    uint32_t count = 0, at = 0;
    struct named *all;

    for (uint32_t i = 0; i < reading->count; i++)
        count += reading->certificates[i].names.len + 1;
    all = gw_arena_alloc(r->arena, count * sizeof(*all));
    for (uint32_t i = 0; i < reading->count; i++) {
        struct gw_ref refs = reading->certificates[i].names;
        const struct gw_ref *names = gw_image_at(r->image, refs.off);
        for (uint32_t n = 0; n < refs.len; n++)
            all[at++] = (struct named){gw_arena_dup(r->arena, image_str(r, names[n])), i};
        /* Who asks for nothing, or for a stranger, gets the first, of whatever kind it likes. */
        if (shares_name(r, reading, i))
            all[at++] = (struct named){GW_STR(""), i};
    }
    qsort(all, at, sizeof(*all), compare);
    at = thin_out(r, reading, all, at);
    if (check_policies(r, reading, all, at))
        write_names(r, reading, all, at);
}

static void finish(struct gw_reader *r, struct reading *reading)
{
    struct gw_ref *certificates = &reading->conf.certificates, *policies = &reading->conf.policies;

    reading->policies[0] = reading->client;
    for (uint32_t i = 1; i < reading->policies_count; i++)
        reading->conf.several_policies |= reading->policies[i].hash != reading->client.hash;
    make_names(r, reading);
    make_questions(r, reading);
    /* Faults are told by now; a row of an image that is carried on may not number files. */
    for (uint32_t i = 0; i < reading->count; i++)
        reading->certificates[i].where = (struct gw_where){0};
    *certificates = (struct gw_ref){
        gw_image_alloc(r->image, reading->count * sizeof(*reading->certificates)), reading->count};
    memcpy(gw_image_at(r->image, certificates->off), reading->certificates,
           reading->count * sizeof(*reading->certificates));
    *policies = (struct gw_ref){
        gw_image_alloc(r->image, reading->policies_count * sizeof(*reading->policies)),
        reading->policies_count};
    memcpy(gw_image_at(r->image, policies->off), reading->policies,
           reading->policies_count * sizeof(*reading->policies));
}

static const char *text_or_null(struct gw_reader *r, struct gw_ref ref)
{
    return ref.len > 0 ? gw_image_at(r->image, ref.off) : NULL;
}

static void check_settings(struct gw_reader *r, const struct gw_node *node,
                           const struct gw_conf_tls *tls)
{
    const struct gw_tls_settings settings = {.ciphers = text_or_null(r, tls->ciphers),
                                             .ciphersuites = text_or_null(r, tls->ciphersuites),
                                             .groups = text_or_null(r, tls->groups)};
    struct gw_err err;

    /* The default is known to be good, and a check makes OpenSSL read its tables. */
    if (settings.ciphers == NULL && settings.ciphersuites == NULL && settings.groups == NULL)
        return;
    if (gw_tls_settings_check(&settings, &err) != GW_OK)
        (void)gw_fault(r, node, "%s", err.text);
}

static bool read_tls(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                     void *field)
{
    struct reading reading = {.count = 0};
    uint32_t before = r->report->faults_count, off;

    gw_section_defaults(r, &gw_section_tls, &reading);
    (void)gw_section_read(r, &gw_section_tls, node, &reading, 0);
    check_settings(r, node, &reading.conf);
    if (r->report->faults_count == before)
        finish(r, &reading);
    if (r->report->faults_count != before)
        return false;
    off = gw_image_alloc(r->image, sizeof(reading.conf));
    memcpy(gw_image_at(r->image, off), &reading.conf, sizeof(reading.conf));
    *(struct gw_ref *)field = (struct gw_ref){off, 1};
    return true;
}

static void schema_tls(const struct gw_row *row, struct gw_buf *out)
{
    gw_section_schema(&gw_section_tls, 0, out);
}

const struct gw_type gw_type_listener_tls = {
    .form = "a map with certificates:", .read = read_tls, .schema = schema_tls, .inside = "."};

/* ---- when all was read ---- */

/* Walks the headers: of all policies of all listeners; `out` 0: counts only. */
static uint32_t identity_fields(struct gw_reader *r, uint32_t out)
{
    uint32_t count = 0;

#define AT(off_) gw_image_at(r->image, (off_)) /* the image moves when a name is added */
    for (uint32_t l = 0; l < r->conf.listeners.len; l++) {
        struct gw_ref tls = ((struct gw_conf_listener *)AT(r->conf.listeners.off))[l].tls;
        struct gw_ref policies = {0, 0};
        if (tls.len > 0)
            policies = ((struct gw_conf_tls *)AT(tls.off))->policies;
        for (uint32_t p = 0; p < policies.len; p++) {
            struct gw_ref headers = ((struct gw_conf_tls_policy *)AT(policies.off))[p].headers;
            for (uint32_t h = 0; h < headers.len; h++, count++)
                if (out != 0)
                    ((struct gw_ref *)AT(out))[count] =
                        ((struct gw_conf_tls_header *)AT(headers.off))[h].name;
        }
    }
#undef AT
    return count;
}

void gw_tls_finish(struct gw_reader *r)
{
    uint32_t count = identity_fields(r, 0), off;

    if (count == 0)
        return;
    off = gw_image_alloc(r->image, count * sizeof(struct gw_ref));
    (void)identity_fields(r, off);
    r->conf.identity_fields = (struct gw_ref){off, count};
}
