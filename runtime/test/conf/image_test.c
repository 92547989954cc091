/* The image: growth, sealing, mapping, and images that are not ours. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support.h"

static void grows_and_keeps(void **state)
{
    struct gw_image image;
    struct gw_ref refs[2000], self;

    gw_image_init(&image);
    assert_true(gw_image_conf(&image)->magic == GW_IMAGE_MAGIC);
    for (int i = 0; i < 2000; i++) {
        char text[200];
        int len = snprintf(text, sizeof(text), "%0*d", i % 150 + 1, i);

        refs[i] = gw_image_add(&image, text, (size_t)len);
        assert_int_equal(refs[i].off % 8, 0);
    }
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(atoi(gw_image_at(&image, refs[i].off)), i);
        assert_int_equal(strlen(gw_image_at(&image, refs[i].off)), refs[i].len);
    }
    /* A copy of what the image itself holds, over a move of it. */
    while (image.len + 160 <= image.size)
        (void)gw_image_alloc(&image, 8);
    self = gw_image_add(&image, gw_image_at(&image, refs[149].off), refs[149].len);
    assert_memory_equal(gw_image_at(&image, self.off), gw_image_at(&image, refs[149].off),
                        refs[149].len);
    self = gw_image_add(&image, NULL, 0);
    assert_int_equal(self.len, 0);
    assert_int_not_equal(self.off, 0); /* empty, but given */
    gw_image_fini(&image);
}

static void sealed_for_good(void **state)
{
    const struct gw_conf *conf;
    struct gw_image image;
    struct gw_err err;
    uint64_t zero = 0;
    struct gw_ref name;
    int fd;

    gw_image_init(&image);
    name = gw_image_add_str(&image, GW_STR("moongate"));
    gw_image_conf(&image)->user = name;
    assert_int_equal(gw_image_seal(&image, &fd, &err), GW_OK);
    assert_int_equal(pwrite(fd, &zero, sizeof(zero), 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(gw_image_map(fd, &conf, &err), GW_OK);
    assert_ref(conf, conf->user, "moongate");
    assert_int_equal(conf->size, image.len);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    gw_image_unmap(conf);
    gw_image_unmap(NULL);
    gw_image_fini(&image);
    assert_int_equal(close(fd), 0);
}

static int memory(const void *data, size_t len, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_int_equal(write(fd, data, len), len);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void strangers_are_refused(void **state)
{
    const int all = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    struct gw_conf good = {.magic = GW_IMAGE_MAGIC, .size = sizeof(good)}, conf;
    const struct gw_conf *out;
    struct gw_err err;
    int fd;

    struct {
        uint64_t magic, size;
        struct gw_ref routes;
        size_t len;
        int seals;
        enum gw_rc rc;
    } rows[] = {
        {GW_IMAGE_MAGIC, sizeof(good), {0, 0}, sizeof(good), all, GW_OK},
        {GW_IMAGE_MAGIC, sizeof(good), {0, 0}, sizeof(good), all & ~F_SEAL_WRITE, GW_INVALID},
        {GW_IMAGE_MAGIC, sizeof(good), {0, 0}, sizeof(good), all & ~F_SEAL_SHRINK, GW_INVALID},
        {1, sizeof(good), {0, 0}, sizeof(good), all, GW_INVALID},
        {GW_IMAGE_MAGIC, sizeof(good) + 8, {0, 0}, sizeof(good), all, GW_INVALID},
        {GW_IMAGE_MAGIC, 8, {0, 0}, sizeof(good), all, GW_INVALID},
        {GW_IMAGE_MAGIC, sizeof(good), {0, 0}, 16, all, GW_INVALID},
        {GW_IMAGE_MAGIC, sizeof(good), {sizeof(good), 1}, sizeof(good), all, GW_INVALID},
        {GW_IMAGE_MAGIC, sizeof(good), {8, 1}, sizeof(good), all, GW_INVALID},
        {GW_IMAGE_MAGIC, sizeof(good), {UINT32_MAX, UINT32_MAX}, sizeof(good), all, GW_INVALID},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conf = good;
        conf.magic = rows[i].magic;
        conf.size = rows[i].size;
        conf.routes = rows[i].routes;
        fd = memory(&conf, rows[i].len, rows[i].seals);
        assert_int_equal(gw_image_map(fd, &out, &err), rows[i].rc);
        if (rows[i].rc == GW_OK)
            gw_image_unmap(out);
        assert_int_equal(close(fd), 0);
    }
    fd = open("/dev/null", O_RDONLY);
    assert_int_equal(gw_image_map(fd, &out, &err), GW_INVALID);
    assert_int_equal(close(fd), 0);
    assert_int_equal(gw_image_map(-1, &out, &err), GW_SYSTEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_keeps),
        cmocka_unit_test(sealed_for_good),
        cmocka_unit_test(strangers_are_refused),
    };

    return cmocka_run_group_tests_name("conf image", tests, NULL, NULL);
}
