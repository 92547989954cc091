/* Any bytes as a conf file: it is loaded or refused with a report, and nothing else happens.
 * The first byte chooses: S a schema and a conf for it, J JSON, all others a conf.
 * Sources: conf/yaml.c conf/yaml_plain.c conf/yaml_error.c conf/tree.c conf/report.c conf/path.c
 * Sources: conf/names.c conf/tls.c conf/tls_upstream.c conf/tls_files.c
 * Sources: net/tls.c net/tls_server.c net/tls_client.c net/tls_peer.c net/tls_files.c
 * Sources: net/tls_ocsp.c net/conn.c
 * Sources: net/loop.c base/crypto.c base/keccak.c base/log.c base/rc.c base/time.c
 * Sources: conf/env.c conf/include.c conf/load.c conf/image.c conf/rows.c conf/types.c
 * Sources: conf/types_http.c conf/address.c conf/limits.c conf/listeners.c conf/upstreams.c
 * Sources: conf/routes.c conf/answers.c conf/bindings.c conf/sections.c conf/conf_schema.c
 * Sources: conf/schema.c
 * Sources: http/uri.c http/message.c base/json.c base/cidr.c base/regex.c base/hash.c
 * Sources: base/arena.c base/buf.c base/err.c
 * Libraries: yaml pcre2-8 jansson m ssl crypto event_core */
#include <string.h>

#include "conf/load.h"
#include "conf/schema.h"
#include "conf/yaml.h"
#include "fuzz/fuzz.h"

static const char *fuzz_env(const char *name, void *arg)
{
    return strcmp(name, "PORT") == 0 ? "8080" : NULL;
}

static void fuzz_conf(struct gw_str text)
{
    static const struct gw_conf_options options = {.env = fuzz_env};
    struct gw_buf out = GW_BUF_INIT;
    struct gw_conf_source source;
    struct gw_report report;
    struct gw_image image;
    enum gw_rc rc;

    gw_image_init(&image);
    gw_conf_source_init(&source);
    gw_report_init(&report);
    /* A folder that does not exist: what the text includes is not there. */
    rc = gw_conf_load_text("/nowhere/fuzz.yaml", text, &options, &image, &source, &report);
    MUST((rc == GW_OK) == gw_report_ok(&report));
    gw_report_text(&report, &out);
    gw_report_json(&report, &out);
    if (source.root != NULL) {
        gw_node_json(source.root, &out);
        (void)gw_node_hash(source.root, 1);
    }
    gw_buf_fini(&out);
    gw_report_fini(&report);
    gw_conf_source_fini(&source);
    gw_image_fini(&image);
}

/* The schema, a line "---", the conf. */
static void fuzz_schema(struct gw_str text)
{
    const char *cut = memmem(text.data, text.len, "\n---\n", 5);
    size_t head = cut == NULL ? text.len : (size_t)(cut - text.data) + 1;
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_node *schema = NULL, *conf = NULL;
    struct gw_buf out = GW_BUF_INIT;
    struct gw_report report;
    struct gw_schema_at at = {&arena, &report, {0, 1, 1}, GW_STR("p")};

    gw_report_init(&report);
    (void)gw_report_file(&report, GW_STR("fuzz"));
    if (gw_yaml_parse(&arena, 0, gw_str(text.data, head), &report, &schema) == GW_OK &&
        (cut == NULL ||
         gw_yaml_parse(&arena, 0, gw_str(cut + 5, text.len - head - 4), &report, &conf) == GW_OK) &&
        gw_schema_compile_check(schema, &at) == GW_OK) {
        if (gw_schema_check(schema, &conf, &at) == GW_OK) {
            MUST(conf->kind == GW_NODE_MAP);
            gw_node_json(conf, &out);
        }
        gw_schema_json(schema, &out);
    }
    gw_report_text(&report, &out);
    gw_buf_fini(&out);
    gw_report_fini(&report);
    gw_arena_fini(&arena);
}

/* What was read comes out the same after one more turn. */
static void fuzz_json(struct gw_str text)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_buf once = GW_BUF_INIT, twice = GW_BUF_INIT;
    struct gw_node *node, *again;
    struct gw_err err;

    if (gw_node_from_json(&arena, text, &node, &err) == GW_OK) {
        gw_node_json(node, &once);
        MUST(gw_node_from_json(&arena, gw_buf_str(&once), &again, &err) == GW_OK);
        gw_node_json(again, &twice);
        MUST(gw_str_eq(gw_buf_str(&once), gw_buf_str(&twice)));
        MUST(gw_node_eq(node, again));
        MUST(gw_node_hash(node, 1) == gw_node_hash(again, 1));
    }
    gw_buf_fini(&once);
    gw_buf_fini(&twice);
    gw_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gw_str text = gw_str((const char *)data + 1, size - 1);

    if (size == 0)
        return 0;
    if (data[0] == 'S')
        fuzz_schema(text);
    else if (data[0] == 'J')
        fuzz_json(text);
    else
        fuzz_conf(text);
    return 0;
}
