/* What a match costs with 10, 1,000 and 10,000 routes. Not a test: prints.
 *   routes  build ms  table bytes a route  ns a match */
#include "test/route/routes.h"

#include "base/time.h"

#define MATCHES 200000u
#define ROUNDS 20 /* the best counts: others use the machine too */
#define PATHS 4096u

/* Random requests, made before the clock starts. */
static void make_paths(char (*paths)[64], uint32_t routes)
{
    uint64_t x = 88172645463325252ull;

    for (uint32_t i = 0; i < PATHS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (void)snprintf(paths[i], sizeof(paths[i]), "/svc%u/items/%u", (unsigned)(x % routes),
                       (unsigned)(x >> 40));
    }
}

static double match_ns(struct routes *r, char (*paths)[64])
{
    struct gw_request request = routes_request(&r->arena, "GET", "example.com", "/");
    struct gw_route_result result;
    uint64_t began = gw_time_mono_us();

    for (uint32_t i = 0; i < MATCHES; i++) {
        const char *path = paths[i % PATHS];
        request.path = gw_str(path, strlen(path));
        if (routes_match(r, &request, &result) != GW_OK)
            abort();
    }
    return (double)(gw_time_mono_us() - began) * 1000 / MATCHES;
}

static void measure(uint32_t count, const char *pattern)
{
    struct row *rows = calloc(count, sizeof(*rows));
    char(*texts)[64] = malloc(count * sizeof(*texts));
    char(*paths)[64] = malloc(PATHS * sizeof(*paths));
    struct routes r;
    size_t before;
    uint64_t began;
    double best;

    if (rows == NULL || texts == NULL || paths == NULL)
        abort();
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), pattern, (unsigned)i);
        rows[i].name = texts[i];
        rows[i].paths[0] = texts[i];
    }
    make_paths(paths, count);
    routes_init(&r, rows, count);
    before = r.image.len;
    began = gw_time_mono_us();
    if (gw_route_table_build(&r.image, &r.report) != GW_OK)
        abort();
    began = gw_time_mono_us() - began;
    if (gw_route_matcher_new(gw_image_conf(&r.image), &r.matcher, NULL) != GW_OK)
        abort();
    best = match_ns(&r, paths);
    for (unsigned i = 1; i < ROUNDS; i++) {
        double ns = match_ns(&r, paths);
        best = ns < best ? ns : best;
    }
    (void)printf("%-22s %6u %8.2f ms %6zu B %6.1f ns\n", pattern, (unsigned)count,
                 (double)began / 1000, (r.image.len - before) / count, best);
    routes_fini(&r);
    free(rows);
    free(texts);
    free(paths);
}

int main(void)
{
    static const uint32_t counts[] = {10, 1000, 10000};
    static const char *const patterns[] = {"/svc%u/items/*", "/svc%u/items/:id",
                                           "~^/svc%u/items/\\d+$"};

    for (size_t p = 0; p < sizeof(patterns) / sizeof(patterns[0]); p++)
        for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
            measure(counts[i], patterns[p]);
    return 0;
}
