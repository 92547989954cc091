/* A process is killed at every single store to shared memory of every kind of change, and its
 * heir must find a shard in which each key has its old or its new value, nothing else has
 * changed, and all accounts are exact. The shared memory code is compiled in here with a hook
 * before each store. */
#define GW_SHM_CRASHPOINT

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* clang-format off */
#include "test/shm/crash_names.h"
#include "shm/txn.c"
#include "shm/heap.c"
#include "shm/lock.c"
#include "shm/zone.c"
#include "shm/dict.c"
#include "shm/dict_expiry.c"
#include "shm/dict_limit.c"
#include "shm/dict_list.c"
#include "shm/dict_shard.c"
#include "shm/dict_verify.c"
#include "shm/dict_zone.c"
/* clang-format on */

#define T0 1700000000000ull
#define ZONE_BYTES (64u << 10)
/* A fork costs much under the address sanitizer: there a sample has to do. */
#if defined(GW_ASAN) || defined(__SANITIZE_ADDRESS__)
#define STRIDE 17
#else
#define STRIDE 1
#endif
#define GROWN_BYTES (256u << 10)

static uint64_t points;  /* passed since armed */
static uint64_t die_at;  /* 0: never */
static uint64_t died_at; /* for messages */

void gw_shm_crashpoint(void)
{
    if (die_at != 0 && ++points == die_at)
        raise(SIGKILL);
}

/* ---- what is in a dictionary, as text, key by key ---- */

struct dump {
    char *key;
    char *text;
};

static void dump_bytes(FILE *out, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        fprintf(out, "%02x", (unsigned char)data[i]);
}

static void dump_list(FILE *out, struct gw_op *op, struct gw_entry *entry)
{
    struct gw_list_value *list = gw_entry_payload(entry);

    for (uint32_t ref = list->head; ref != 0;) {
        struct gw_list_node *node = node_at(op, ref);

        fprintf(out, " %u:", node->type);
        dump_bytes(out, node->data, node->len);
        ref = node->next;
    }
}

static char *dump_entry(struct gw_op *op, struct gw_entry *entry)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    fprintf(out, "type %u expires %llu", gw_entry_type(entry), (unsigned long long)entry->expires);
    switch (gw_entry_type(entry)) {
    case GW_DICT_STRING:
        fprintf(out, " ");
        dump_bytes(out, gw_entry_payload(entry), (size_t)entry->value.word);
        break;
    case GW_DICT_LIST:
        dump_list(out, op, entry);
        break;
    case GW_DICT_WINDOW: {
        struct window window;

        window_load(&window, entry, T0, GW_DICT_HIT_WINDOW_MAX);
        for (uint32_t i = 0; i < window.count; i++)
            fprintf(out, " %u", moment(&window, i));
        break;
    }
    case GW_DICT_BUCKET:
        fprintf(out, " %a at %llu", entry->value.number,
                (unsigned long long)((struct gw_bucket_value *)gw_entry_payload(entry))->last_ms);
        break;
    default:
        fprintf(out, " %a", entry->value.number);
    }
    fclose(out);
    return text;
}

static int dump_compare(const void *a, const void *b)
{
    return strcmp(((const struct dump *)a)->key, ((const struct dump *)b)->key);
}

/* Those that live at `now_ms`, sorted, ended by a NULL key. Takes the lock: whatever a dead process
 * left is undone first. */
static struct dump *dump_dict(struct gw_dict *dict, uint64_t now_ms)
{
    struct dump *dump;
    uint32_t count = 0;
    struct gw_op op;

    assert_int_equal(dict->head->shards, 1);
    gw_op_begin_shard(&op, dict, 0, T0);
    dump = calloc(op.shard->entries + 1, sizeof *dump);
    for (uint32_t ref = op.shard->lru_head; ref != 0;) {
        struct gw_entry *entry = gw_entry_at(&op.txn, ref);

        ref = entry->lru_next;
        if (gw_entry_expired(entry, now_ms))
            continue;
        dump[count].key = strndup(entry->key, entry->key_len);
        dump[count++].text = dump_entry(&op, entry);
    }
    gw_op_end(&op);
    qsort(dump, count, sizeof *dump, dump_compare);
    return dump;
}

static void dump_free(struct dump *dump)
{
    for (struct dump *one = dump; one->key != NULL; one++) {
        free(one->key);
        free(one->text);
    }
    free(dump);
}

static const char *dump_get(const struct dump *dump, const char *key)
{
    for (; dump->key != NULL; dump++) {
        if (strcmp(dump->key, key) == 0)
            return dump->text;
    }
    return "(not there)";
}

/* Does each key of `keys` have in `now` what it has in one of the others? */
static void assert_old_or_new(const struct dump *keys, const struct dump *now,
                              const struct dump *before, const struct dump *after)
{
    for (; keys->key != NULL; keys++) {
        const char *is = dump_get(now, keys->key);

        if (strcmp(is, dump_get(before, keys->key)) != 0 &&
            strcmp(is, dump_get(after, keys->key)) != 0)
            fail_msg("key %s at store %llu: %s; before: %s; after: %s", keys->key,
                     (unsigned long long)died_at, is, dump_get(before, keys->key),
                     dump_get(after, keys->key));
    }
}

static bool dump_equal(const struct dump *a, const struct dump *b)
{
    for (; a->key != NULL && b->key != NULL; a++, b++) {
        if (strcmp(a->key, b->key) != 0 || strcmp(a->text, b->text) != 0)
            return false;
    }
    return a->key == NULL && b->key == NULL;
}

/* ---- the changes ---- */

static void set_text_how(struct gw_dict *dict, const char *key, size_t len, char fill,
                         uint64_t ttl_ms, uint64_t now_ms, int how)
{
    char *data = malloc(len + 1);
    struct gw_dict_value value = {
        .type = GW_DICT_STRING, .data = data, .len = len, .ttl_ms = ttl_ms};

    memset(data, fill, len);
    assert_int_equal(gw_dict_set(dict, key, strlen(key), now_ms, how, &value), GW_OK);
    free(data);
}

static void set_text(struct gw_dict *dict, const char *key, size_t len, char fill, uint64_t ttl_ms)
{
    set_text_how(dict, key, len, fill, ttl_ms, T0, GW_DICT_SET);
}

static void set_number(struct gw_dict *dict, const char *key, double number)
{
    struct gw_dict_value value = {.type = GW_DICT_NUMBER, .number = number};

    assert_int_equal(gw_dict_set(dict, key, strlen(key), T0, GW_DICT_SET, &value), GW_OK);
}

static void push_text(struct gw_dict *dict, const char *key, const char *text, bool left)
{
    struct gw_dict_value value = {
        .type = GW_DICT_STRING, .data = (char *)text, .len = strlen(text)};
    uint32_t count;
    enum gw_rc rc = left ? gw_dict_lpush(dict, key, strlen(key), T0, &value, &count)
                         : gw_dict_rpush(dict, key, strlen(key), T0, &value, &count);

    assert_int_equal(rc, GW_OK);
}

static void take_at(struct gw_dict *dict, const char *key, uint64_t now_ms)
{
    struct gw_dict_take take = {.rate = 10, .burst = 5, .cost = 1};

    assert_int_equal(gw_dict_take(dict, key, strlen(key), now_ms, &take), GW_OK);
    assert_true(take.allowed);
}

static void hit_at(struct gw_dict *dict, const char *key, uint64_t now_ms)
{
    struct gw_dict_hit hit = {.limit = 100, .window_ms = 1000};

    assert_int_equal(gw_dict_hit(dict, key, strlen(key), now_ms, &hit), GW_OK);
    assert_true(hit.allowed);
}

/* A little of everything, some of it with a time to live. */
static void fill_some(struct gw_dict *dict)
{
    set_text(dict, "small", 10, 'a', 0);
    set_text(dict, "timed", 40, 'b', 5000);
    set_text(dict, "large", 900, 'c', 0);
    set_number(dict, "number", 41);
    push_text(dict, "list", "first", false);
    push_text(dict, "list", "second, which is a little longer", false);
    push_text(dict, "one", "only", false);
    take_at(dict, "bucket", T0);
    for (int i = 0; i < 8; i++) /* the ring of 8 is full: the next one grows it */
        hit_at(dict, "window", T0 + (uint64_t)i);
    set_text(dict, "gap", 200, 'd', 0);
    set_text(dict, "last", 20, 'e', 100000);
    assert_int_equal(gw_dict_delete(dict, "gap", 3, T0), GW_OK);
}

/* So full that the next entry needs a place. */
static void fill_up(struct gw_dict *dict)
{
    struct gw_dict_stats stats;

    fill_some(dict);
    do {
        char key[32];

        gw_dict_stats(dict, &stats);
        snprintf(key, sizeof key, "filler%llu", (unsigned long long)stats.entries);
        set_text(dict, key, 2000, 'f', 0);
    } while (stats.bytes_free > 8192);
    for (int i = 0; i < 200; i++) {
        char key[32];

        gw_dict_stats(dict, &stats);
        if (stats.bytes_free < 512)
            break;
        snprintf(key, sizeof key, "crumb%d", i);
        set_text(dict, key, 100, 'g', 0);
    }
}

static void fill_with_expired(struct gw_dict *dict)
{
    fill_up(dict);
    assert_int_equal(gw_dict_expire(dict, "filler20", 8, T0, 300), GW_OK);
    assert_int_equal(gw_dict_expire(dict, "filler21", 8, T0, 9000000), GW_OK);
}

static void fill_prolonged(struct gw_dict *dict)
{
    fill_some(dict);
    assert_int_equal(gw_dict_expire(dict, "timed", 5, T0, 700000), GW_OK);
    assert_int_equal(gw_dict_expire(dict, "small", 5, T0, 40), GW_OK);
}

static void do_add_new(struct gw_dict *dict)
{
    set_text_how(dict, "new", 50, 'x', 0, T0, GW_DICT_ADD);
}
static void do_set_new_timed(struct gw_dict *dict)
{
    set_text(dict, "new", 50, 'x', 70000);
}
static void do_overwrite(struct gw_dict *dict)
{
    set_text(dict, "small", 9, 'x', 0);
}
static void do_overwrite_timed(struct gw_dict *dict)
{
    set_text(dict, "small", 9, 'x', 800);
}
static void do_overwrite_shorter_life(struct gw_dict *dict)
{
    set_text(dict, "last", 21, 'x', 70);
}
static void do_overwrite_larger(struct gw_dict *dict)
{
    set_text(dict, "small", 700, 'x', 0);
}
static void do_overwrite_smaller(struct gw_dict *dict)
{
    set_text(dict, "large", 1, 'x', 30);
}
static void do_replace_type(struct gw_dict *dict)
{
    set_number(dict, "timed", 3);
}
static void do_replace_list(struct gw_dict *dict)
{
    set_text_how(dict, "list", 3, 'x', 0, T0, GW_DICT_REPLACE);
}
static void do_set_over_expired(struct gw_dict *dict)
{
    set_text_how(dict, "timed", 40, 'x', 0, T0 + 5000, GW_DICT_ADD);
}
static void do_incr(struct gw_dict *dict)
{
    struct gw_dict_incr incr = {.by = 1, .init = NAN};

    assert_int_equal(gw_dict_incr(dict, "number", 6, T0, &incr), GW_OK);
}
static void do_incr_new(struct gw_dict *dict)
{
    struct gw_dict_incr incr = {.by = 1, .init = 10, .init_ttl_ms = 1000};

    assert_int_equal(gw_dict_incr(dict, "counter", 7, T0, &incr), GW_OK);
}
static void do_delete(struct gw_dict *dict)
{
    assert_int_equal(gw_dict_delete(dict, "timed", 5, T0), GW_OK);
}
static void do_delete_list(struct gw_dict *dict)
{
    assert_int_equal(gw_dict_delete(dict, "list", 4, T0), GW_OK);
}
static void do_expire(struct gw_dict *dict)
{
    assert_int_equal(gw_dict_expire(dict, "small", 5, T0, 1234), GW_OK);
}
static void do_persist(struct gw_dict *dict)
{
    assert_int_equal(gw_dict_expire(dict, "timed", 5, T0, 0), GW_OK);
}
static void do_touch(struct gw_dict *dict)
{
    assert_int_equal(gw_dict_touch(dict, "small", 5, T0), GW_OK);
}
static void do_get(struct gw_dict *dict)
{
    char data[64];
    struct gw_dict_value value = {.data = data, .size = sizeof data};

    assert_int_equal(gw_dict_get(dict, "timed", 5, T0, &value), GW_OK);
}
static void do_evict(struct gw_dict *dict)
{
    set_text(dict, "new", 3000, 'x', 0);
}
static void do_evict_for_list(struct gw_dict *dict)
{
    char text[1501];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    push_text(dict, "list", text, true);
}
static void do_room_by_expiry(struct gw_dict *dict)
{
    set_text_how(dict, "new", 1000, 'x', 0, T0 + 400000, GW_DICT_SET);
}
static void do_lpush(struct gw_dict *dict)
{
    push_text(dict, "list", "pushed", true);
}
static void do_rpush(struct gw_dict *dict)
{
    push_text(dict, "list", "pushed", false);
}
static void do_push_new(struct gw_dict *dict)
{
    push_text(dict, "new", "pushed", false);
}
static void pop_text(struct gw_dict *dict, const char *key, bool left)
{
    char data[64];
    struct gw_dict_value value = {.data = data, .size = sizeof data};
    enum gw_rc rc = left ? gw_dict_lpop(dict, key, strlen(key), T0, &value)
                         : gw_dict_rpop(dict, key, strlen(key), T0, &value);

    assert_int_equal(rc, GW_OK);
}
static void do_lpop(struct gw_dict *dict)
{
    pop_text(dict, "list", true);
}
static void do_rpop(struct gw_dict *dict)
{
    pop_text(dict, "list", false);
}
static void do_pop_last(struct gw_dict *dict)
{
    pop_text(dict, "one", true);
}
static void do_take(struct gw_dict *dict)
{
    take_at(dict, "bucket", T0 + 50);
}
static void do_take_new(struct gw_dict *dict)
{
    take_at(dict, "bucket2", T0);
}
static void do_hit_new(struct gw_dict *dict)
{
    hit_at(dict, "window2", T0);
}
static void do_hit_grow(struct gw_dict *dict)
{
    hit_at(dict, "window", T0 + 20);
}
static void do_hit_ring(struct gw_dict *dict)
{
    hit_at(dict, "window", T0 + 1003); /* three have left, this one takes a place of theirs */
}
static void do_flush(struct gw_dict *dict)
{
    assert_int_equal(gw_dict_flush(dict), GW_OK);
}
static void do_flush_expired(struct gw_dict *dict)
{
    uint32_t count;

    assert_int_equal(gw_dict_flush_expired(dict, T0 + 600000, 0, &count), GW_OK);
    assert_true(count > 0);
}
static void do_keys(struct gw_dict *dict)
{
    struct gw_buf buf = GW_BUF_INIT;
    uint32_t count;

    assert_int_equal(gw_dict_keys(dict, T0, 0, &buf, &count), GW_OK);
    assert_true(count > 5);
    gw_buf_fini(&buf);
}
static void do_grow(struct gw_dict *dict)
{
    assert_int_equal(gw_dict_grow(dict, GROWN_BYTES, NULL), GW_OK);
}

enum scope {
    SOME,      /* each key by itself is old or new */
    ONE,       /* the whole content is the old or the new one */
    ONE_LATER, /* the same, looked at when "timed" has expired */
};

static const struct change {
    const char *name;
    void (*setup)(struct gw_dict *dict);
    void (*run)(struct gw_dict *dict);
    enum scope scope;
    bool changes; /* stores something that a dump shows */
} changes[] = {
    {"add", fill_some, do_add_new, ONE, true},
    {"set new with ttl", fill_some, do_set_new_timed, ONE, true},
    {"overwrite", fill_some, do_overwrite, ONE, true},
    {"overwrite, now with ttl", fill_some, do_overwrite_timed, ONE, true},
    {"overwrite, shorter ttl", fill_some, do_overwrite_shorter_life, ONE, true},
    {"overwrite by larger", fill_some, do_overwrite_larger, ONE, true},
    {"overwrite by smaller", fill_some, do_overwrite_smaller, ONE, true},
    {"overwrite by another type", fill_some, do_replace_type, ONE, true},
    {"replace a list", fill_some, do_replace_list, ONE, true},
    {"add over an expired one", fill_some, do_set_over_expired, ONE_LATER, true},
    {"incr", fill_some, do_incr, ONE, true},
    {"incr with init", fill_some, do_incr_new, ONE, true},
    {"delete", fill_some, do_delete, ONE, true},
    {"delete a list", fill_some, do_delete_list, ONE, true},
    {"expire", fill_some, do_expire, ONE, true},
    {"expire never", fill_some, do_persist, ONE, true},
    {"touch", fill_some, do_touch, ONE, false},
    {"get", fill_some, do_get, ONE, false},
    {"evict", fill_up, do_evict, SOME, true},
    {"evict for a list", fill_up, do_evict_for_list, SOME, true},
    {"room by expiry", fill_with_expired, do_room_by_expiry, SOME, true},
    {"lpush", fill_some, do_lpush, ONE, true},
    {"rpush", fill_some, do_rpush, ONE, true},
    {"push new", fill_some, do_push_new, ONE, true},
    {"lpop", fill_some, do_lpop, ONE, true},
    {"rpop", fill_some, do_rpop, ONE, true},
    {"pop the last", fill_some, do_pop_last, ONE, true},
    {"take", fill_some, do_take, ONE, true},
    {"take new", fill_some, do_take_new, ONE, true},
    {"hit new", fill_some, do_hit_new, ONE, true},
    {"hit, ring grows", fill_some, do_hit_grow, ONE, true},
    {"hit, ring turns", fill_some, do_hit_ring, ONE, true},
    {"flush", fill_some, do_flush, ONE, true},
    {"flush expired", fill_prolonged, do_flush_expired, SOME, true},
    {"keys", fill_some, do_keys, ONE, false},
    {"grow", fill_some, do_grow, ONE, false},
};

static uint64_t change_now(const struct change *change)
{
    return change->scope == ONE_LATER ? T0 + 5000 : T0;
}

/* ---- the killing ---- */

/* A child runs `run` and dies at its n-th store; false: it had fewer and is done. */
static bool kill_child_at(struct gw_dict *dict, void (*run)(struct gw_dict *), uint64_t n)
{
    int status;
    pid_t pid = fork();

    died_at = n;
    assert_true(pid >= 0);
    if (pid == 0) {
        if (gw_zone_adopt(&dict->zone, NULL) != GW_OK)
            _exit(3);
        points = 0;
        die_at = n;
        run(dict);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        gw_zone_owner_gone(&dict->zone, pid);
        return true;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    return false;
}

struct scene {
    struct gw_dict *dict;
    char *image; /* the zone as it was set up */
    struct dump *before;
    struct dump *after;
};

static void scene_restore(struct scene *scene)
{
    memcpy(scene->dict->zone.base, scene->image, ZONE_BYTES);
}

static void scene_init(struct scene *scene, const struct change *change)
{
    struct gw_err err = {""};

    assert_int_equal(gw_dict_create(GW_STR("crash"), ZONE_BYTES, false, &scene->dict, &err), GW_OK);
    change->setup(scene->dict);
    scene->before = dump_dict(scene->dict, change_now(change));
    scene->image = malloc(ZONE_BYTES);
    memcpy(scene->image, scene->dict->zone.base, ZONE_BYTES);
    change->run(scene->dict);
    scene->after = dump_dict(scene->dict, change_now(change));
    assert_int_equal(gw_dict_verify(scene->dict, &err), GW_OK);
    assert_int_equal(dump_equal(scene->before, scene->after), !change->changes);
    scene_restore(scene);
}

static void scene_fini(struct scene *scene)
{
    dump_free(scene->before);
    dump_free(scene->after);
    free(scene->image);
    gw_dict_close(scene->dict);
}

/* The parent is the heir. Returns whether it found the old content. */
static bool scene_check(struct scene *scene, const struct change *change)
{
    struct dump *now = dump_dict(scene->dict, change_now(change));
    struct gw_dict_stats stats;
    struct gw_err err = {""};
    bool old = dump_equal(now, scene->before), new = dump_equal(now, scene->after);

    if (gw_dict_verify(scene->dict, &err) != GW_OK)
        fail_msg("%s: %s", change->name, err.text);
    assert_old_or_new(scene->before, now, scene->before, scene->after);
    assert_old_or_new(scene->after, now, scene->before, scene->after);
    assert_old_or_new(now, now, scene->before, scene->after);
    if (change->scope != SOME && !old && !new)
        fail_msg("%s: neither the old nor the new content", change->name);
    /* Each is found by its key too, and nothing is left to be finished. */
    for (struct dump *one = now; one->key != NULL; one++) {
        uint64_t ttl;

        assert_int_equal(
            gw_dict_ttl(scene->dict, one->key, strlen(one->key), change_now(change), &ttl), GW_OK);
    }
    assert_int_equal(scene->dict->shards[0].todo, 0);
    gw_dict_stats(scene->dict, &stats);
    assert_int_equal(stats.reset, 0);
    /* And it still works. */
    set_text(scene->dict, "afterwards", 33, 'y', 500);
    assert_int_equal(gw_dict_delete(scene->dict, "afterwards", 10, T0), GW_OK);
    assert_int_equal(gw_dict_verify(scene->dict, &err), GW_OK);
    dump_free(now);
    return old;
}

static void every_change_survives_death_at_every_store(void **state)
{
    uint64_t all = 0;

    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const struct change *change = &changes[i];
        struct scene scene;
        uint64_t n, olds = 0;

        scene_init(&scene, change);
        for (n = 1; kill_child_at(scene.dict, change->run, n); n += STRIDE) {
            olds += scene_check(&scene, change);
            scene_restore(&scene);
        }
        scene_check(&scene, change); /* nobody died: the new content */
        if (change->changes) {
            /* Death before the first store leaves the old content, behind the last one the new. */
            assert_true(olds > 0);
        }
        print_message("%-28s %5llu stores\n", change->name, (unsigned long long)n - 1);
        all += n - 1;
        scene_fini(&scene);
    }
    print_message("%llu stores in all\n", (unsigned long long)all);
    assert_true(all > 3000);
}

static void inherit(struct gw_dict *dict)
{
    struct gw_op op;

    gw_op_begin_shard(&op, dict, 0, T0);
    gw_op_end(&op);
}

/* The first dies at store n of its change, its heir at store m of the undoing. */
static void an_heir_may_die_too(void **state)
{
    static const char *const names[] = {"overwrite by larger", "flush", "grow", "replace a list"};

    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const struct change *change = &changes[i];
        struct scene scene;
        uint64_t n, m = 0;
        bool wanted = false;

        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++)
            wanted |= strcmp(names[j], change->name) == 0;
        if (!wanted)
            continue;
        scene_init(&scene, change);
        for (n = 40; kill_child_at(scene.dict, change->run, n); n += 53 + 10 * STRIDE) {
            for (m = 1;; m += STRIDE) {
                scene_restore(&scene);
                assert_true(kill_child_at(scene.dict, change->run, n));
                if (!kill_child_at(scene.dict, inherit, m))
                    break;
                scene_check(&scene, change);
                if (m > 12)
                    m += 16;
            }
            scene_check(&scene, change);
            scene_restore(&scene);
        }
        assert_true(n > 40);
        scene_fini(&scene);
    }
}

static void scribble(struct gw_dict *dict)
{
    struct gw_op op;

    gw_op_begin_shard(&op, dict, 0, T0);
    /* A stray write into the order of use, as no code of ours would do it. */
    gw_entry_at(&op.txn, op.shard->lru_head)->lru_next = 0x7ffffff;
    raise(SIGKILL);
}

/* What does not pass the check is emptied; also when that is interrupted. */
static void a_damaged_shard_is_emptied(void **state)
{
    const struct change *change = &changes[0];
    struct gw_dict_stats stats;
    struct scene scene;
    uint64_t n;

    scene_init(&scene, change);
    gw_log_set_level(GW_LOG_ERROR + 1);
    for (n = 1;; n += STRIDE) {
        bool died;

        scene_restore(&scene);
        assert_true(kill_child_at(scene.dict, scribble, 0));
        died = kill_child_at(scene.dict, inherit, n);
        gw_dict_stats(scene.dict, &stats);
        if (!died || stats.reset > 0) {
            assert_int_equal(stats.entries, 0);
            assert_true(stats.reset >= 1);
        }
        assert_int_equal(gw_dict_verify(scene.dict, NULL), GW_OK);
        set_text(scene.dict, "afterwards", 33, 'y', 500);
        if (!died)
            break;
    }
    assert_true(n > 20);
    scene_fini(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_survives_death_at_every_store),
        cmocka_unit_test(an_heir_may_die_too),
        cmocka_unit_test(a_damaged_shard_is_emptied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
