/* upstreams.NAME.tls: — whom we trust, and who we are. */
#include <string.h>

#include "base/hash.h"
#include "conf/rows.h"

struct draft {
    struct gw_conf_upstream_tls tls;
    struct gw_ref ca, certificate, key; /* paths */
};

#define DRAFT(name) .offset = offsetof(struct draft, name)

static const struct gw_row rows[] = {
    {.key = "verify",
     .type = &gw_type_bool,
     DRAFT(tls.verify),
     .otherwise = "true",
     .doc = "The server's certificate must be good and have its name. Not so: 502, the log says "
            "why. false: anybody may answer."},
    {.key = "ca",
     .type = &gw_type_path,
     DRAFT(ca),
     .doc = "PEM file of the authorities that are trusted. Default: those of the system."},
    {.key = "name",
     .type = &gw_type_string,
     DRAFT(tls.name),
     .doc =
         "The name that is asked for (SNI) and that the certificate must have. Default: the host "
         "of the target."},
    {.key = "certificate",
     .type = &gw_type_path,
     DRAFT(certificate),
     .doc = "PEM file of our own certificate and its chain, for servers that ask for one."},
    {.key = "key", .type = &gw_type_path, DRAFT(key), .doc = "PEM file with its private key."},
};

const struct gw_section gw_section_upstream_tls = GW_SECTION("upstream tls", rows);

static struct gw_str path_of(struct gw_reader *r, struct gw_ref ref)
{
    return gw_arena_dup(r->arena, gw_str(gw_image_at(r->image, ref.off), ref.len));
}

static void read_files(struct gw_reader *r, struct gw_node *node, struct draft *draft)
{
    struct gw_node *at;
    struct gw_path step;

    if (draft->ca.len > 0) {
        at = gw_node_get_c(node, "ca");
        gw_enter(r, &step, at, 0);
        (void)gw_pem_certificates(r, at, path_of(r, draft->ca), &draft->tls.ca, NULL);
        gw_leave(r);
    }
    if ((draft->certificate.len > 0) != (draft->key.len > 0)) {
        (void)gw_fault(r, node, "certificate: and key: are needed both");
        return;
    }
    if (draft->certificate.len == 0)
        return;
    at = gw_node_get_c(node, "certificate");
    gw_enter(r, &step, at, 0);
    (void)gw_pem_certificates(r, at, path_of(r, draft->certificate), &draft->tls.chain, NULL);
    gw_leave(r);
    if (draft->tls.chain.len == 0)
        return;
    at = gw_node_get_c(node, "key");
    gw_enter(r, &step, at, 0);
    (void)gw_pem_key(r, at, path_of(r, draft->key), draft->tls.chain, &draft->tls.key);
    gw_leave(r);
}

static uint64_t mix(struct gw_reader *r, struct gw_ref ref, uint64_t seed)
{
    return gw_hash(gw_image_at(r->image, ref.off), ref.len, seed + ref.len);
}

struct gw_ref gw_upstream_tls_add(struct gw_reader *r, struct gw_conf_upstream_tls tls)
{
    uint32_t off;

    tls.hash = mix(r, tls.key, mix(r, tls.chain, mix(r, tls.name, mix(r, tls.ca, tls.verify))));
    tls.hash |= 1;
    off = gw_image_alloc(r->image, sizeof(tls));
    memcpy(gw_image_at(r->image, off), &tls, sizeof(tls));
    return (struct gw_ref){off, 1};
}

static bool read_tls(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                     void *field)
{
    struct draft draft = {{0}, {0, 0}, {0, 0}, {0, 0}};
    uint32_t before = r->report->faults_count;

    gw_section_defaults(r, &gw_section_upstream_tls, &draft);
    (void)gw_section_read(r, &gw_section_upstream_tls, node, &draft, 0);
    if (node->kind == GW_NODE_MAP)
        read_files(r, node, &draft);
    if (r->report->faults_count != before)
        return false;
    *(struct gw_ref *)field = gw_upstream_tls_add(r, draft.tls);
    return true;
}

static void schema_tls(const struct gw_row *row, struct gw_buf *out)
{
    gw_section_schema(&gw_section_upstream_tls, 0, out);
}

const struct gw_type gw_type_upstream_tls = {
    .form = "a map, which may be empty", .read = read_tls, .schema = schema_tls, .inside = "."};
