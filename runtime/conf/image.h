/* Writes an image (see generation.h): a buffer that only grows, addressed by offsets.
 * Lives in: the loader. Owner: the caller. Limit: IMAGE_BYTES_MAX (1 GiB).
 * A pointer from gw_image_at() is good until the next allocation: keep offsets. */
#ifndef GW_CONF_IMAGE_H
#define GW_CONF_IMAGE_H

#include "base/err.h"
#include "conf/generation.h"

struct gw_image {
    char *data; /* begins with struct gw_conf */
    size_t len;
    size_t size;
    bool mapped; /* data is not of malloc() */
};

void gw_image_init(struct gw_image *image); /* with a zeroed struct gw_conf at offset 0 */
/* One that begins with the first `bytes` of another, whose descriptor `fd` is lent. Pages that are
 * not written are not copied. */
GW_MUST_CHECK enum gw_rc gw_image_copy(struct gw_image *image, int fd, const struct gw_conf *from,
                                       size_t bytes, struct gw_err *err);
void gw_image_fini(struct gw_image *image);

/* Zeroed, aligned to 8. */
uint32_t gw_image_alloc(struct gw_image *image, size_t bytes);

/* The same, but from the start of a cache line of the mapped image. */
uint32_t gw_image_alloc_lines(struct gw_image *image, size_t bytes);

struct gw_ref gw_image_add(struct gw_image *image, const void *data, size_t len); /* bytes, +NUL */

static inline struct gw_ref gw_image_add_str(struct gw_image *image, struct gw_str s)
{
    return gw_image_add(image, s.data, s.len);
}

static inline void *gw_image_at(struct gw_image *image, uint32_t off)
{
    return image->data + off;
}

static inline struct gw_conf *gw_image_conf(struct gw_image *image)
{
    return (struct gw_conf *)image->data;
}

/* A sealed memfd with the image; `fd` is the caller's. */
GW_MUST_CHECK enum gw_rc gw_image_seal(struct gw_image *image, int *fd, struct gw_err *err);

/* Maps and checks one: magic, size, seals. */
GW_MUST_CHECK enum gw_rc gw_image_map(int fd, const struct gw_conf **out, struct gw_err *err);
void gw_image_unmap(const struct gw_conf *conf);

#endif
