#include "http/mime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void knows_types_by_extension(void **state)
{
    static const struct {
        const char *name;
        const char *want;
    } rows[] = {
        {"index.html", "text/html; charset=utf-8"},
        {"a/b/INDEX.HtMl", "text/html; charset=utf-8"},
        {"app.min.js", "text/javascript; charset=utf-8"},
        {"a.7z", "application/x-7z-compressed"}, /* the first row */
        {"a.zst", "application/zstd"},           /* and the last */
        {"a.json", "application/json"},
        {"a.woff2", "font/woff2"},
        {"a.webmanifest", "application/manifest+json"},
        {"a.tar.gz", "application/gzip"},
        {".html", "text/html; charset=utf-8"},
        {"html", "application/octet-stream"},
        {"a.", "application/octet-stream"},
        {"a.html/b", "application/octet-stream"},
        {"a.unknown", "application/octet-stream"},
        {"a.htmlx", "application/octet-stream"},
        {"a.averyveryverylongextension", "application/octet-stream"},
        {"", "application/octet-stream"},
        {".", "application/octet-stream"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct gw_str got = gw_mime_of(gw_str_c(rows[i].name));
        if (!gw_str_eq(got, gw_str_c(rows[i].want)))
            fail_msg("%s: %.*s", rows[i].name, GW_STR_ARG(got));
    }
}

/* bsearch() finds nothing in an unsorted table. */
static void finds_each_of_a_sample_over_the_whole_table(void **state)
{
    static const char *const known[] = {
        "aac",  "avif", "bmp", "br",  "cjs",  "css",  "csv", "doc", "docx", "epub", "flac",
        "gif",  "gz",   "htm", "ico", "ics",  "jar",  "jpg", "js",  "json", "jxl",  "log",
        "m3u8", "map",  "md",  "mid", "mjs",  "mkv",  "mov", "mp3", "mp4",  "mpd",  "odp",
        "oga",  "ogg",  "otf", "pdf", "pem",  "png",  "ppt", "rar", "rss",  "rtf",  "sh",
        "svg",  "tar",  "tif", "ts",  "toml", "ttf",  "txt", "vtt", "wasm", "wav",  "webm",
        "webp", "woff", "xls", "xml", "xz",   "yaml", "yml", "zip", "zst",  "xlsx", "weba",
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        char name[16] = "a.";
        strcat(name, known[i]);
        if (gw_str_eq(gw_mime_of(gw_str_c(name)), GW_STR("application/octet-stream")))
            fail_msg("%s is not found", name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_types_by_extension),
        cmocka_unit_test(finds_each_of_a_sample_over_the_whole_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
