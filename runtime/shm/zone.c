#include "shm/zone.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZONE_MAGIC 0x4d6f6f6e5a6f6e65ULL
#define ZONE_VERSION 1
#define ROW_BITS 7
#define SERIAL_MAX ((1u << 24) - 1)
#define ROW_CLAIMED 0x80000000u /* with the pid of who is about to fill the row */
#define GROWTH_FACTOR 16
#define GROWTH_MIN ((uint64_t)4 << 30)

_Static_assert(GW_ZONE_OWNERS_MAX == 1 << ROW_BITS, "a token's low bits are a row");
_Static_assert(sizeof(struct gw_zone_header) <= GW_ZONE_HEADER_BYTES, "the header fits");

/* The fields of /proc/PID/stat behind the name: the state, and the 20th, the start time. The
 * name may hold anything, so they are counted from the last parenthesis. */
static bool process_stat(pid_t pid, char *state, uint64_t *started)
{
    char path[64], text[1024];
    ssize_t len;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0)
        return false;
    text[len] = '\0';

    char *at = strrchr(text, ')');

    if (at == NULL || at[1] != ' ')
        return false;
    at += 2;
    *state = *at;
    for (int field = 3; field < 22; field++) {
        at = strchr(at, ' ');
        if (at == NULL)
            return false;
        at++;
    }
    *started = strtoull(at, NULL, 10);
    return true;
}

/* `started` 0: not known, then a living pid is taken for the owner. */
static bool process_dead(pid_t pid, uint64_t started)
{
    char state;
    uint64_t now_started;

    if (pid <= 0)
        return true;
    if (pid == getpid())
        return false;
    if (kill(pid, 0) != 0 && errno == ESRCH)
        return true;
    if (!process_stat(pid, &state, &now_started))
        return kill(pid, 0) != 0 && errno == ESRCH;
    if (state == 'Z' || state == 'X')
        return true;
    return started != 0 && started != now_started;
}

static bool row_dead(struct gw_zone_owner *owner, uint32_t token)
{
    if (token & ROW_CLAIMED)
        return process_dead((pid_t)(token & ~ROW_CLAIMED), 0);
    return atomic_load(&owner->gone) == token ||
           process_dead(atomic_load(&owner->pid), atomic_load(&owner->started));
}

bool gw_zone_owner_dead(const struct gw_zone *zone, uint32_t token)
{
    struct gw_zone_owner *owner = &gw_zone_header(zone)->owners[token & (GW_ZONE_OWNERS_MAX - 1)];

    if (token == zone->token)
        return false;
    if (atomic_load(&owner->token) != token)
        return true; /* the row was given away, which happens only after a death */
    return row_dead(owner, token);
}

bool gw_zone_owner_known_dead(const struct gw_zone *zone, uint32_t token)
{
    struct gw_zone_owner *owner = &gw_zone_header(zone)->owners[token & (GW_ZONE_OWNERS_MAX - 1)];

    return atomic_load(&owner->token) != token || atomic_load(&owner->gone) == token;
}

pid_t gw_zone_owner_pid(const struct gw_zone *zone, uint32_t token)
{
    struct gw_zone_owner *owner = &gw_zone_header(zone)->owners[token & (GW_ZONE_OWNERS_MAX - 1)];
    pid_t pid = atomic_load(&owner->pid);

    return atomic_load(&owner->token) == token ? pid : 0;
}

void gw_zone_owner_gone(struct gw_zone *zone, pid_t pid)
{
    struct gw_zone_header *header = gw_zone_header(zone);
    uint32_t rows = atomic_load(&header->rows);

    for (uint32_t row = 0; row < rows && row < GW_ZONE_OWNERS_MAX; row++) {
        struct gw_zone_owner *owner = &header->owners[row];
        uint32_t token = atomic_load(&owner->token);

        if (token != 0 && !(token & ROW_CLAIMED) && token != zone->token &&
            atomic_load(&owner->pid) == (int32_t)pid)
            atomic_store(&owner->gone, token);
    }
}

static uint32_t next_serial(struct gw_zone_header *header)
{
    uint32_t serial;

    do
        serial = (atomic_fetch_add(&header->serial, 1) + 1) & SERIAL_MAX;
    while (serial == 0);
    return serial;
}

static void raise_rows(struct gw_zone_header *header, uint32_t rows)
{
    uint32_t seen = atomic_load(&header->rows);

    while (seen < rows && !atomic_compare_exchange_weak(&header->rows, &seen, rows))
        ;
}

/* Enters this process in the first row that is free or whose process is dead. */
static enum gw_rc claim_row(struct gw_zone *zone, struct gw_err *err)
{
    struct gw_zone_header *header = gw_zone_header(zone);
    uint32_t claim = ROW_CLAIMED | (uint32_t)getpid();
    uint64_t started = 0;
    char state;

    if (!process_stat(getpid(), &state, &started))
        started = 0;
    for (uint32_t row = 0; row < GW_ZONE_OWNERS_MAX; row++) {
        struct gw_zone_owner *owner = &header->owners[row];
        uint32_t token = atomic_load(&owner->token);

        if (token != 0 && !row_dead(owner, token))
            continue;
        if (!atomic_compare_exchange_strong(&owner->token, &token, claim))
            continue;
        raise_rows(header, row + 1);
        atomic_store(&owner->pid, (int32_t)getpid());
        atomic_store(&owner->started, started);
        atomic_store(&owner->gone, 0);
        zone->token = next_serial(header) << ROW_BITS | row;
        atomic_store(&owner->token, zone->token);
        return GW_OK;
    }
    return gw_err_set(err, GW_FULL, "zone %s: more than %d processes", header->name,
                      GW_ZONE_OWNERS_MAX);
}

enum gw_rc gw_zone_adopt(struct gw_zone *zone, struct gw_err *err)
{
    return claim_row(zone, err);
}

static uint64_t page_up(uint64_t size)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    return (size + page - 1) / page * page;
}

/* As much address space as there is, up to what growth may need. Other processes take as
 * much, so a limit on address space (RLIMIT_AS) shows here, not later. */
static enum gw_rc map_reserve(struct gw_zone *zone, uint64_t size, uint64_t reserve)
{
    for (;; reserve = page_up(reserve / 2)) {
        if (reserve < size)
            reserve = size;
        void *base =
            mmap(NULL, reserve, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, zone->fd, 0);

        if (base != MAP_FAILED) {
            zone->base = base;
            zone->reserve = reserve;
            return GW_OK;
        }
        if (reserve == size)
            return GW_SYSTEM;
    }
}

static uint64_t growth_reserve(enum gw_zone_kind kind, uint64_t size)
{
    uint64_t reserve = size;

    if (kind != GW_ZONE_DICT && kind != GW_ZONE_PLAIN)
        return size;
    reserve = size > GW_ZONE_BYTES_MAX / GROWTH_FACTOR ? GW_ZONE_BYTES_MAX : size * GROWTH_FACTOR;
    return reserve < GROWTH_MIN ? GROWTH_MIN : reserve;
}

static enum gw_rc header_init(struct gw_zone *zone, enum gw_zone_kind kind, struct gw_str name,
                              uint64_t size)
{
    struct gw_zone_header *header = gw_zone_header(zone);
    uint64_t chance[2];

    if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        return GW_SYSTEM;
    header->version = ZONE_VERSION;
    header->kind = kind;
    atomic_store(&header->size, size);
    header->reserve = zone->reserve;
    header->id = chance[0];
    header->seed = chance[1];
    memcpy(header->name, name.data, name.len);
    header->magic = ZONE_MAGIC;
    return GW_OK;
}

enum gw_rc gw_zone_create(struct gw_zone *zone, enum gw_zone_kind kind, struct gw_str name,
                          uint64_t size, struct gw_err *err)
{
    char label[GW_ZONE_NAME_MAX + 16];
    enum gw_rc rc = GW_SYSTEM;

    memset(zone, 0, sizeof *zone);
    zone->fd = -1;
    if (name.len == 0 || name.len > GW_ZONE_NAME_MAX || memchr(name.data, 0, name.len) != NULL)
        return gw_err_set(err, GW_INVALID, "a name has 1 to %d bytes", GW_ZONE_NAME_MAX);
    if (size <= GW_ZONE_HEADER_BYTES || size > GW_ZONE_BYTES_MAX)
        return gw_err_set(err, GW_INVALID, "%.*s: a zone has up to %llu bytes", GW_STR_ARG(name),
                          (unsigned long long)GW_ZONE_BYTES_MAX);
    size = page_up(size);
    snprintf(label, sizeof label, "moongate:%.*s", GW_STR_ARG(name));
    zone->fd = memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (zone->fd < 0)
        return gw_err_set(err, GW_SYSTEM, "%s: memfd_create: %s", label, strerror(errno));
    if (ftruncate(zone->fd, (off_t)size) != 0 || fcntl(zone->fd, F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
        gw_err_set(err, GW_SYSTEM, "%s: %llu bytes: %s", label, (unsigned long long)size,
                   strerror(errno));
        goto fail_after_fd;
    }
    if (map_reserve(zone, size, growth_reserve(kind, size)) != GW_OK) {
        gw_err_set(err, GW_SYSTEM, "%s: cannot map %llu bytes: %s", label, (unsigned long long)size,
                   strerror(errno));
        goto fail_after_fd;
    }
    rc = header_init(zone, kind, name, size);
    if (rc != GW_OK) {
        gw_err_set(err, rc, "%s: getrandom: %s", label, strerror(errno));
        goto fail_after_map;
    }
    rc = claim_row(zone, err);
    assert(rc == GW_OK); /* all rows of a new zone are free */
    return GW_OK;

fail_after_map:
    munmap(zone->base, zone->reserve);
fail_after_fd:
    close(zone->fd);
    zone->fd = -1;
    zone->base = NULL;
    return rc;
}

static enum gw_rc header_check(int fd, struct gw_zone_header *header, struct gw_err *err)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return gw_err_set(err, GW_INVALID, "not a sealed zone");
    if (fstat(fd, &st) != 0 || pread(fd, header, sizeof *header, 0) != (ssize_t)sizeof *header)
        return gw_err_set(err, GW_INVALID, "not a zone: too short");
    if (header->magic != ZONE_MAGIC)
        return gw_err_set(err, GW_INVALID, "not a zone");
    if (header->version != ZONE_VERSION)
        return gw_err_set(err, GW_INVALID, "a zone of version %u, not %d", header->version,
                          ZONE_VERSION);
    if (header->size <= GW_ZONE_HEADER_BYTES || header->size > (uint64_t)st.st_size ||
        header->size > header->reserve || header->reserve > GW_ZONE_BYTES_MAX ||
        memchr(header->name, 0, sizeof header->name) == NULL)
        return gw_err_set(err, GW_INVALID, "a zone with a damaged header");
    return GW_OK;
}

enum gw_rc gw_zone_peek(int fd, struct gw_zone_label *out, struct gw_err *err)
{
    struct gw_zone_header header;
    enum gw_rc rc = header_check(fd, &header, err);

    if (rc != GW_OK)
        return rc;
    out->id = header.id;
    out->kind = header.kind;
    memcpy(out->name, header.name, sizeof out->name);
    return GW_OK;
}

enum gw_rc gw_zone_map(struct gw_zone *zone, int fd, struct gw_err *err)
{
    struct gw_zone_header header;
    enum gw_rc rc = header_check(fd, &header, err);

    memset(zone, 0, sizeof *zone);
    zone->fd = fd;
    if (rc != GW_OK)
        goto fail_after_fd;

    void *base =
        mmap(NULL, header.reserve, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

    if (base == MAP_FAILED) {
        rc = gw_err_set(err, GW_SYSTEM, "zone %s: cannot map: %s", header.name, strerror(errno));
        goto fail_after_fd;
    }
    zone->base = base;
    zone->reserve = header.reserve;
    rc = claim_row(zone, err);
    if (rc != GW_OK)
        goto fail_after_map;
    return GW_OK;

fail_after_map:
    munmap(zone->base, zone->reserve);
fail_after_fd:
    close(fd);
    zone->fd = -1;
    zone->base = NULL;
    return rc;
}

void gw_zone_unmap(struct gw_zone *zone)
{
    if (zone->base == NULL)
        return;

    struct gw_zone_owner *owner = &gw_zone_header(zone)->owners[gw_zone_row(zone)];
    uint32_t token = zone->token;

    /* A forked child that did not adopt the zone must not give its parent's row away. */
    if (atomic_load(&owner->pid) == (int32_t)getpid())
        atomic_compare_exchange_strong(&owner->token, &token, 0);
    munmap(zone->base, zone->reserve);
    close(zone->fd);
    zone->base = NULL;
    zone->fd = -1;
}

enum gw_rc gw_zone_grow(struct gw_zone *zone, uint64_t size, struct gw_err *err)
{
    struct gw_zone_header *header = gw_zone_header(zone);

    size = page_up(size);
    if (size <= atomic_load(&header->size))
        return GW_OK;
    if (size > header->reserve)
        return gw_err_set(err, GW_LIMIT,
                          "%s: can grow to %llu bytes while running, not to %llu; restart for more",
                          header->name, (unsigned long long)header->reserve,
                          (unsigned long long)size);
    if (ftruncate(zone->fd, (off_t)size) != 0)
        return gw_err_set(err, GW_SYSTEM, "%s: %llu bytes: %s", header->name,
                          (unsigned long long)size, strerror(errno));
    atomic_store(&header->size, size);
    return GW_OK;
}
