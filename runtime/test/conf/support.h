/* What the tests of conf/ share: loading a text, and comparing a whole report. */
#ifndef GW_TEST_CONF_SUPPORT_H
#define GW_TEST_CONF_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/load.h"

struct loaded {
    struct gw_image image;
    struct gw_conf_source source;
    struct gw_report report;
    enum gw_rc rc;
    char *text; /* of the report */
};

/* The environment of the tests: what they need is here, and nothing else. */
static inline const char *test_env(const char *name, void *arg)
{
    static const char *const values[][2] = {
        {"PORT", "8081"}, {"EMPTY", ""},      {"HOSTNAME_X", "a.example"}, {"FLAG", "true"},
        {"TIME", "3s"},   {"LATIN1", "\xe4"}, {"TRICK", "${PORT}"}};

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        if (strcmp(values[i][0], name) == 0)
            return values[i][1];
    return NULL;
}

static inline void load_file(struct loaded *l, const char *path, const char *text)
{
    static const struct gw_conf_options options = {.shipped_dir = "/shipped", .env = test_env};
    struct gw_buf buf = GW_BUF_INIT;

    gw_image_init(&l->image);
    gw_conf_source_init(&l->source);
    gw_report_init(&l->report);
    l->rc = text == NULL ? gw_conf_load(path, &options, &l->image, &l->source, &l->report)
                         : gw_conf_load_text(path, gw_str_c(text), &options, &l->image, &l->source,
                                             &l->report);
    gw_report_text(&l->report, &buf);
    gw_buf_add(&buf, "", 1);
    l->text = strdup(buf.data + buf.from);
    gw_buf_fini(&buf);
}

static inline void load(struct loaded *l, const char *text)
{
    load_file(l, "t.yaml", text);
}

static inline void unload(struct loaded *l)
{
    gw_image_fini(&l->image);
    gw_conf_source_fini(&l->source);
    gw_report_fini(&l->report);
    free(l->text);
}

static inline const struct gw_conf *conf_of(struct loaded *l)
{
    if (l->rc != GW_OK)
        print_error("%s", l->text);
    assert_int_equal(l->rc, GW_OK);
    return gw_image_conf(&l->image);
}

/* The whole report of a text, line by line, is this and nothing else. */
static inline void expect_report(const char *yaml, const char *report)
{
    struct loaded l;

    load(&l, yaml);
    assert_string_equal(l.text, report);
    assert_int_equal(l.rc, l.report.faults_count == 0 ? GW_OK : GW_INVALID);
    unload(&l);
}

static inline void assert_ref(const struct gw_conf *conf, struct gw_ref ref, const char *text)
{
    struct gw_str s = gw_ref_str(conf, ref);

    if (s.len != strlen(text) || memcmp(s.data, text, s.len) != 0)
        print_error("\"%.*s\" is not \"%s\"\n", GW_STR_ARG(s), text);
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.data, text, s.len);
}

#define ROUTE "routes:\n  - upstream: http://127.0.0.1:9001\n"
#define LISTEN "listen: 127.0.0.1:8080\n"

#endif
