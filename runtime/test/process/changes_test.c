#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "conf/image.h"
#include "process/changes.h"

struct row {
    const char *name;
    uint64_t hash;
};

/* An image with these routes (ends with name NULL) and one listener on `port`. */
static void make(struct gw_image *image, const struct row *rows, uint16_t port)
{
    uint32_t count = 0, off, details, listener;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = port};

    while (rows[count].name != NULL)
        count++;
    gw_image_init(image);
    off = gw_image_alloc(image, count * sizeof(struct gw_conf_route));
    details = gw_image_alloc(image, count * sizeof(struct gw_conf_details));
    for (uint32_t i = 0; i < count; i++) {
        struct gw_ref name = gw_image_add_str(image, gw_str_c(rows[i].name));
        struct gw_conf_route *route = gw_image_at(image, off);
        route[i].name = name;
        ((struct gw_conf_details *)gw_image_at(image, details))[i].hash = rows[i].hash;
    }
    gw_image_conf(image)->details = (struct gw_ref){details, count};
    gw_image_conf(image)->routes = (struct gw_ref){off, count};
    listener = gw_image_alloc(image, sizeof(struct gw_conf_listener));
    struct gw_ref name = gw_image_add_str(image, GW_STR("public"));
    struct gw_conf_listener *row = gw_image_at(image, listener);
    row->name = name;
    memcpy(&row->address, &address, sizeof(address));
    row->address_len = sizeof(address);
    gw_image_conf(image)->listeners = (struct gw_ref){listener, 1};
}

static void check(const struct row *from, const struct row *to, const char *routes,
                  const char *text)
{
    struct gw_image a, b;
    struct gw_buf json = GW_BUF_INIT, summary = GW_BUF_INIT;
    struct gw_json_writer writer;
    struct gw_changes *changes;
    char head[512];

    make(&a, from, 1);
    make(&b, to, 1);
    gw_json_begin(&writer, &json);
    changes = gw_changes_new(gw_image_conf(&a), gw_image_conf(&b));
    gw_changes_json(&writer, changes);
    gw_buf_add(&json, "", 1);
    snprintf(head, sizeof(head), "{\"routes\":%s,", routes);
    assert_memory_equal(json.data, head, strlen(head));
    gw_changes_text(&summary, changes);
    gw_changes_free(changes);
    gw_buf_add(&summary, "", 1);
    assert_string_equal(summary.data, text);
    gw_buf_fini(&json);
    gw_buf_fini(&summary);
    gw_image_fini(&a);
    gw_image_fini(&b);
}

static const struct row none[] = {{NULL, 0}};
static const struct row abc[] = {{"a", 1}, {"b", 2}, {"c", 3}, {NULL, 0}};
static const struct row cba[] = {{"c", 3}, {"b", 2}, {"a", 1}, {NULL, 0}};
static const struct row bcd[] = {{"b", 9}, {"d", 4}, {"c", 3}, {NULL, 0}};

static void the_order_of_routes_is_no_change(void **state)
{
    check(abc, cba, "{\"added\":[],\"changed\":[],\"removed\":[]}", "nothing has changed");
}

static void names_what_came_went_and_changed(void **state)
{
    check(abc, bcd, "{\"added\":[\"d\"],\"changed\":[\"b\"],\"removed\":[\"a\"]}",
          "routes +1 ~1 -1");
    check(none, abc, "{\"added\":[\"a\",\"b\",\"c\"],\"changed\":[],\"removed\":[]}", "routes +3");
    check(abc, none, "{\"added\":[],\"changed\":[],\"removed\":[\"a\",\"b\",\"c\"]}", "routes -3");
    check(none, none, "{\"added\":[],\"changed\":[],\"removed\":[]}", "nothing has changed");
}

static void a_name_that_begins_another_is_not_it(void **state)
{
    static const struct row from[] = {{"ab", 1}, {NULL, 0}},
                            to[] = {{"abc", 1}, {"a", 1}, {NULL, 0}};

    check(from, to, "{\"added\":[\"a\",\"abc\"],\"changed\":[],\"removed\":[\"ab\"]}",
          "routes +2 -1");
}

static void sees_a_listener_that_moves(void **state)
{
    struct gw_image a, b;
    struct gw_buf summary = GW_BUF_INIT;
    struct gw_changes *changes;

    make(&a, none, 1);
    make(&b, none, 2);
    changes = gw_changes_new(gw_image_conf(&a), gw_image_conf(&b));
    gw_changes_text(&summary, changes);
    gw_changes_free(changes);
    gw_buf_add(&summary, "", 1);
    assert_string_equal(summary.data, "listeners ~1");
    gw_buf_fini(&summary);
    gw_image_fini(&a);
    gw_image_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_of_routes_is_no_change),
        cmocka_unit_test(names_what_came_went_and_changed),
        cmocka_unit_test(a_name_that_begins_another_is_not_it),
        cmocka_unit_test(sees_a_listener_that_moves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
