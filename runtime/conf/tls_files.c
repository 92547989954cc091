/* The files behind tls: — read by the loader alone, while it may read keys; their contents travel
 * in the image, so that workers need no rights to them. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "conf/rows.h"

#define PEM_BYTES_MAX ((off_t)4 << 20) /* a bundle of authorities has about 250 KiB */

static void note_file(struct gw_reader *r, struct gw_str path, const struct stat *st)
{
    struct gw_conf_key_file *file;

    if (r->key_files_count == r->key_files_size) {
        uint32_t size = r->key_files_size == 0 ? 16 : r->key_files_size * 2;
        struct gw_conf_key_file *larger = gw_arena_alloc(r->arena, size * sizeof(*larger));
        if (r->key_files_count > 0)
            memcpy(larger, r->key_files, r->key_files_count * sizeof(*larger));
        r->key_files = larger;
        r->key_files_size = size;
    }
    file = &r->key_files[r->key_files_count++];
    file->path = gw_image_add_str(r->image, path);
    file->stamp = gw_key_file_stamp(st);
}

uint64_t gw_key_file_stamp(const struct stat *st)
{
    const uint64_t facts[] = {(uint64_t)st->st_dev,          (uint64_t)st->st_ino,
                              (uint64_t)st->st_size,         (uint64_t)st->st_mtim.tv_sec,
                              (uint64_t)st->st_mtim.tv_nsec, (uint64_t)st->st_ctim.tv_sec,
                              (uint64_t)st->st_ctim.tv_nsec};

    return gw_hash(facts, sizeof(facts), GW_IMAGE_MAGIC);
}

/* NULL, or why not. */
static const char *slurp(int fd, const struct stat *st, struct gw_buf *out)
{
    if (!S_ISREG(st->st_mode))
        return S_ISDIR(st->st_mode) ? "is a folder" : "is no regular file";
    if (st->st_size > PEM_BYTES_MAX)
        return "is larger than 4 MiB";
    while (gw_buf_len(out) <= (size_t)PEM_BYTES_MAX) {
        char *to = gw_buf_reserve(out, (size_t)st->st_size + 1);
        ssize_t got = read(fd, to, (size_t)st->st_size + 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return strerror(errno);
        if (got == 0)
            return NULL;
        gw_buf_added(out, (size_t)got);
    }
    return "grows while it is read";
}

static bool read_file(struct gw_reader *r, const struct gw_node *node, struct gw_str path,
                      struct gw_buf *out)
{
    const char *name = gw_arena_printf(r->arena, "%.*s", GW_STR_ARG(path)).data;
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    const char *why = fd < 0 ? strerror(errno) : NULL;
    struct stat st;

    if (why == NULL && fstat(fd, &st) != 0)
        why = strerror(errno);
    if (why == NULL)
        why = slurp(fd, &st, out);
    if (fd >= 0)
        (void)close(fd);
    if (why == NULL) {
        note_file(r, path, &st);
        return true;
    }
    return gw_fault(r, node, "%s: %s", name, why);
}

/* What was read, kept in the image, or a fault in words of the file. */
static bool keep(struct gw_reader *r, const struct gw_node *node, struct gw_str path, enum gw_rc rc,
                 const struct gw_err *err, struct gw_buf *found, struct gw_ref *der)
{
    bool good = rc == GW_OK;

    if (good)
        *der = gw_image_add(r->image, found->data + found->from, gw_buf_len(found));
    else
        (void)gw_fault(r, node, "%.*s: %s", GW_STR_ARG(path), err->text);
    gw_buf_fini(found);
    return good;
}

bool gw_pem_certificates(struct gw_reader *r, const struct gw_node *node, struct gw_str path,
                         struct gw_ref *der, struct gw_tls_certificate_facts *facts)
{
    struct gw_buf pem = GW_BUF_INIT, found = GW_BUF_INIT;
    struct gw_err err;
    enum gw_rc rc;

    if (!read_file(r, node, path, &pem)) {
        gw_buf_fini(&pem);
        return false;
    }
    rc = gw_tls_read_certificates(gw_buf_str(&pem), &found, facts, &err);
    gw_buf_fini(&pem);
    return keep(r, node, path, rc, &err, &found, der);
}

bool gw_pem_crls(struct gw_reader *r, const struct gw_node *node, struct gw_str path,
                 struct gw_ref *der)
{
    struct gw_buf pem = GW_BUF_INIT, found = GW_BUF_INIT;
    struct gw_err err;
    enum gw_rc rc;

    if (!read_file(r, node, path, &pem)) {
        gw_buf_fini(&pem);
        return false;
    }
    rc = gw_tls_read_crls(gw_buf_str(&pem), &found, &err);
    gw_buf_fini(&pem);
    return keep(r, node, path, rc, &err, &found, der);
}

bool gw_pem_key(struct gw_reader *r, const struct gw_node *node, struct gw_str path,
                struct gw_ref chain, struct gw_ref *der)
{
    struct gw_buf pem = GW_BUF_INIT, found = GW_BUF_INIT;
    struct gw_err err;
    enum gw_rc rc;

    if (!read_file(r, node, path, &pem)) {
        gw_buf_fini(&pem);
        return false;
    }
    rc = gw_tls_read_key(gw_buf_str(&pem), gw_str(gw_image_at(r->image, chain.off), chain.len),
                         &found, &err);
    gw_buf_fini(&pem);
    return keep(r, node, path, rc, &err, &found, der);
}

void gw_key_files_finish(struct gw_reader *r)
{
    uint32_t off = gw_image_alloc(r->image, r->key_files_count * sizeof(*r->key_files));

    if (r->key_files_count > 0)
        memcpy(gw_image_at(r->image, off), r->key_files,
               r->key_files_count * sizeof(*r->key_files));
    r->conf.key_files = (struct gw_ref){off, r->key_files_count};
}
