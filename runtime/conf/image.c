#include "conf/image.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMAGE_BYTES_MAX ((size_t)1 << 30)
#define IMAGE_BYTES_MIN 65536
#define LINE_BYTES 64
#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* The loader is a process of its own that ends here: its master sees it and keeps the old conf. */
static void die(const char *why)
{
    (void)fprintf(stderr, "moongate: %s\n", why);
    abort();
}

static size_t round_up(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

void gw_image_init(struct gw_image *image)
{
    *image = (struct gw_image){NULL, 0, 0, false};
    (void)gw_image_alloc(image, sizeof(struct gw_conf));
    gw_image_conf(image)->magic = GW_IMAGE_MAGIC;
}

enum gw_rc gw_image_copy(struct gw_image *image, int fd, const struct gw_conf *from, size_t bytes,
                         struct gw_err *err)
{
    /* Room for a table like the one of before, and a little more. */
    size_t size = (size_t)from->size + IMAGE_BYTES_MIN;
    char *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert(bytes >= sizeof(*from) && bytes <= from->size && bytes == round_up(bytes));
    if (data == MAP_FAILED ||
        mmap(data, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED) {
        enum gw_rc rc = gw_err_set(err, GW_SYSTEM, "mapping the image: %s", strerror(errno));
        if (data != MAP_FAILED)
            (void)munmap(data, size);
        return rc;
    }
    gw_image_fini(image);
    *image = (struct gw_image){data, bytes, size, true};
    return GW_OK;
}

static void data_free(char *data, size_t size, bool mapped)
{
    if (mapped)
        (void)munmap(data, size);
    else
        free(data);
}

void gw_image_fini(struct gw_image *image)
{
    data_free(image->data, image->size, image->mapped);
    *image = (struct gw_image){NULL, 0, 0, false};
}

uint32_t gw_image_alloc(struct gw_image *image, size_t bytes)
{
    size_t at = image->len;

    if (bytes > IMAGE_BYTES_MAX || at + round_up(bytes) > IMAGE_BYTES_MAX)
        die("the conf is larger than 1 GiB");
    bytes = round_up(bytes);
    if (at + bytes > image->size) {
        size_t size = image->size < IMAGE_BYTES_MIN ? IMAGE_BYTES_MIN : image->size * 2;
        char *data;

        while (size < at + bytes)
            size *= 2;
        data = image->mapped ? malloc(size) : realloc(image->data, size);
        if (data == NULL)
            die("out of memory");
        if (image->mapped) {
            memcpy(data, image->data, image->len);
            data_free(image->data, image->size, true);
            image->mapped = false;
        }
        image->data = data;
        image->size = size;
    }
    memset(image->data + at, 0, bytes);
    image->len = at + bytes;
    return (uint32_t)at;
}

uint32_t gw_image_alloc_lines(struct gw_image *image, size_t bytes)
{
    size_t past = image->len % LINE_BYTES;

    if (past != 0)
        (void)gw_image_alloc(image, LINE_BYTES - past);
    return gw_image_alloc(image, bytes);
}

struct gw_ref gw_image_add(struct gw_image *image, const void *data, size_t len)
{
    uintptr_t from = (uintptr_t)data, base = (uintptr_t)image->data;
    bool inside = from >= base && from < base + image->len;
    uint32_t off;

    assert(len < IMAGE_BYTES_MAX);
    off = gw_image_alloc(image, len + 1);
    if (inside) /* the allocation may have moved what we copy */
        data = image->data + (from - base);
    if (len > 0)
        memcpy(image->data + off, data, len);
    return (struct gw_ref){off, (uint32_t)len};
}

static enum gw_rc write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t wrote = write(fd, data, len);

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return GW_SYSTEM;
        data += wrote;
        len -= (size_t)wrote;
    }
    return GW_OK;
}

enum gw_rc gw_image_seal(struct gw_image *image, int *fd, struct gw_err *err)
{
    int memory = memfd_create("moongate-generation", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    enum gw_rc rc;

    if (memory < 0)
        return gw_err_set(err, GW_SYSTEM, "memfd_create: %s", strerror(errno));
    gw_image_conf(image)->size = image->len;
    if (write_all(memory, image->data, image->len) != GW_OK) {
        rc = gw_err_set(err, GW_SYSTEM, "writing the image: %s", strerror(errno));
        goto fail_after_open;
    }
    if (fcntl(memory, F_ADD_SEALS, SEALS) != 0) {
        rc = gw_err_set(err, GW_SYSTEM, "sealing the image: %s", strerror(errno));
        goto fail_after_open;
    }
    *fd = memory;
    return GW_OK;

fail_after_open:
    (void)close(memory);
    return rc;
}

/* An array of `count` items lies within the image. */
static bool within(const struct gw_conf *conf, struct gw_ref ref, size_t item_bytes)
{
    return ref.len == 0 || (ref.off >= sizeof(*conf) && ref.off <= conf->size &&
                            ref.len <= (conf->size - ref.off) / item_bytes);
}

static bool conf_ok(const struct gw_conf *conf, size_t file_bytes)
{
    return conf->magic == GW_IMAGE_MAGIC && conf->size >= sizeof(*conf) &&
           conf->size <= file_bytes && within(conf, conf->files, sizeof(struct gw_conf_file)) &&
           within(conf, conf->listeners, sizeof(struct gw_conf_listener)) &&
           within(conf, conf->shared, sizeof(struct gw_conf_shared)) &&
           within(conf, conf->upstreams, sizeof(struct gw_conf_upstream)) &&
           within(conf, conf->routes, sizeof(struct gw_conf_route)) &&
           conf->details.len == conf->routes.len &&
           within(conf, conf->details, sizeof(struct gw_conf_details)) &&
           within(conf, conf->includes, sizeof(struct gw_conf_include)) &&
           conf->conf_files <= conf->files.len && conf->body_full <= conf->body &&
           conf->body <= conf->size && within(conf, conf->table, 1) &&
           within(conf, conf->script, 1);
}

enum gw_rc gw_image_map(int fd, const struct gw_conf **out, struct gw_err *err)
{
    struct stat st;
    void *data;
    int seals;

    if (fstat(fd, &st) != 0)
        return gw_err_set(err, GW_SYSTEM, "the image: %s", strerror(errno));
    seals = fcntl(fd, F_GET_SEALS);
    /* Without these another holder of the descriptor could change it under our feet. */
    if (seals < 0 || (seals & SEALS) != SEALS)
        return gw_err_set(err, GW_INVALID, "the image is not sealed");
    if (st.st_size < (off_t)sizeof(struct gw_conf) || (size_t)st.st_size > IMAGE_BYTES_MAX)
        return gw_err_set(err, GW_INVALID, "the image has a wrong size");
    data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return gw_err_set(err, GW_SYSTEM, "mapping the image: %s", strerror(errno));
    if (!conf_ok(data, (size_t)st.st_size) ||
        ((const struct gw_conf *)data)->size != (uint64_t)st.st_size) {
        (void)munmap(data, (size_t)st.st_size);
        return gw_err_set(err, GW_INVALID, "the image is not one of ours, or of another version");
    }
    *out = data;
    return GW_OK;
}

void gw_image_unmap(const struct gw_conf *conf)
{
    if (conf != NULL)
        (void)munmap((void *)(uintptr_t)conf, conf->size);
}
