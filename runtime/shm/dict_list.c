/* Lists: a chain of nodes, each a block of its own, behind one entry. */
#include "shm/dict_shard.h"

enum list_end { LEFT, RIGHT };

static struct gw_list_node *node_at(const struct gw_op *op, uint32_t ref)
{
    return (struct gw_list_node *)(op->txn.base + (uint64_t)ref * GW_HEAP_UNIT);
}

/* A node with the value in it, linked nowhere; 0: no room at this moment. */
static uint32_t node_new(struct gw_op *op, const struct gw_dict_value *value)
{
    bool text = value->type == GW_DICT_STRING;
    size_t len = text ? value->len : sizeof(double);
    uint32_t ref =
        gw_heap_take(&op->txn, &op->shard->heap, gw_heap_units(sizeof(struct gw_list_node) + len));

    if (ref == 0)
        return 0;

    struct gw_list_node *node = node_at(op, ref);
    double number = value->type == GW_DICT_BOOLEAN ? value->number != 0 : value->number;

    GW_SHM_STORE(node->type, value->type);
    GW_SHM_STORE(node->len, (uint32_t)len);
    gw_shm_fill(node->data, text ? value->data : (const char *)&number, len);
    return ref;
}

static void node_link(struct gw_op *op, struct gw_list_value *list, uint32_t ref, enum list_end end)
{
    struct gw_list_node *node = node_at(op, ref);
    uint32_t neighbour = end == LEFT ? list->head : list->tail;

    GW_SHM_STORE(node->next, end == LEFT ? neighbour : 0);
    GW_SHM_STORE(node->prev, end == LEFT ? 0 : neighbour);
    if (neighbour != 0)
        gw_txn_put32(&op->txn,
                     end == LEFT ? &node_at(op, neighbour)->prev : &node_at(op, neighbour)->next,
                     ref);
    if (end == LEFT || neighbour == 0)
        gw_txn_put32(&op->txn, &list->head, ref);
    if (end == RIGHT || neighbour == 0)
        gw_txn_put32(&op->txn, &list->tail, ref);
    gw_txn_put32(&op->txn, &list->count, list->count + 1);
}

/* Node and, if need be, entry; both or none. */
static enum gw_rc push_new(struct gw_op *op, const struct gw_dict_value *value, enum list_end end)
{
    struct gw_entry *entry = op->entry;
    uint32_t node;

    for (;;) {
        if (op->entry == NULL) {
            entry = gw_op_new(op, GW_DICT_LIST, sizeof(struct gw_list_value), NULL);
            if (entry == NULL)
                return gw_op_full(op);
        }
        node = node_new(op, value);
        if (node != 0)
            break;
        gw_txn_abort(&op->txn);
        if (!gw_op_room(op, op->entry))
            return gw_op_full(op);
    }

    struct gw_list_value *list = gw_entry_payload(entry);

    if (op->entry == NULL) {
        static const struct gw_list_value none;

        gw_shm_fill(list, &none, sizeof none);
        gw_op_link(op, entry, gw_expires_at(op->now_ms, value->ttl_ms));
    } else {
        gw_op_use(op, entry);
    }
    node_link(op, list, node, end);
    gw_txn_commit(&op->txn);
    op->entry = entry;
    return GW_OK;
}

static enum gw_rc push(struct gw_op *op, const struct gw_dict_value *value, enum list_end end,
                       uint32_t *count)
{
    enum gw_rc rc;

    if (op->entry != NULL && gw_entry_type(op->entry) != GW_DICT_LIST)
        return GW_WRONG_TYPE;
    gw_op_drop_stale(op);
    rc = push_new(op, value, end);
    if (rc == GW_OK) {
        *count = ((struct gw_list_value *)gw_entry_payload(op->entry))->count;
        gw_op_expire_some(op);
    }
    return rc;
}

static enum gw_rc dict_push(struct gw_dict *dict, struct gw_str key, uint64_t now_ms,
                            const struct gw_dict_value *value, enum list_end end, uint32_t *count)
{
    struct gw_op op;
    enum gw_rc rc = gw_value_check(dict, value);

    if (rc != GW_OK)
        return rc;
    rc = gw_op_begin(&op, dict, key.data, key.len, now_ms);
    if (rc != GW_OK)
        return rc;
    rc = push(&op, value, end, count);
    gw_op_end(&op);
    return rc;
}

enum gw_rc gw_dict_lpush(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms,
                         const struct gw_dict_value *value, uint32_t *count)
{
    return dict_push(dict, gw_str(key, key_len), now_ms, value, LEFT, count);
}

enum gw_rc gw_dict_rpush(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms,
                         const struct gw_dict_value *value, uint32_t *count)
{
    return dict_push(dict, gw_str(key, key_len), now_ms, value, RIGHT, count);
}

static enum gw_rc node_out(const struct gw_list_node *node, struct gw_dict_value *out)
{
    uint64_t word = node->len;

    if (node->type != GW_DICT_STRING)
        memcpy(&word, node->data, sizeof word);
    return gw_value_out(node->type, word, node->data, out);
}

static enum gw_rc pop(struct gw_op *op, struct gw_dict_value *out, enum list_end end)
{
    struct gw_entry *entry = op->entry;
    enum gw_rc rc;

    if (entry == NULL)
        return GW_NOT_FOUND;
    if (gw_entry_type(entry) != GW_DICT_LIST)
        return GW_WRONG_TYPE;

    struct gw_list_value *list = gw_entry_payload(entry);
    uint32_t ref = end == LEFT ? list->head : list->tail;
    struct gw_list_node *node = node_at(op, ref);
    uint32_t neighbour = end == LEFT ? node->next : node->prev;

    rc = node_out(node, out);
    if (rc != GW_OK)
        return rc;
    out->ttl_ms = entry->expires == 0 ? 0 : entry->expires - op->now_ms;
    if (end == LEFT || neighbour == 0)
        gw_txn_put32(&op->txn, &list->head, end == LEFT ? neighbour : 0);
    if (end == RIGHT || neighbour == 0)
        gw_txn_put32(&op->txn, &list->tail, end == RIGHT ? neighbour : 0);
    if (neighbour != 0) {
        gw_txn_put32(&op->txn,
                     end == LEFT ? &node_at(op, neighbour)->prev : &node_at(op, neighbour)->next,
                     0);
        gw_txn_put32(&op->txn, &list->count, list->count - 1);
        gw_op_use(op, entry);
    } else {
        gw_op_remove(op, entry);
    }
    gw_heap_give(&op->txn, &op->shard->heap, ref);
    gw_txn_commit(&op->txn);
    return GW_OK;
}

static enum gw_rc dict_pop(struct gw_dict *dict, struct gw_str key, uint64_t now_ms,
                           struct gw_dict_value *out, enum list_end end)
{
    struct gw_op op;
    enum gw_rc rc = gw_op_begin(&op, dict, key.data, key.len, now_ms);

    if (rc != GW_OK)
        return rc;
    rc = pop(&op, out, end);
    gw_op_end(&op);
    return rc;
}

enum gw_rc gw_dict_lpop(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms,
                        struct gw_dict_value *out)
{
    return dict_pop(dict, gw_str(key, key_len), now_ms, out, LEFT);
}

enum gw_rc gw_dict_rpop(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms,
                        struct gw_dict_value *out)
{
    return dict_pop(dict, gw_str(key, key_len), now_ms, out, RIGHT);
}

enum gw_rc gw_dict_llen(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms,
                        uint32_t *count)
{
    struct gw_op op;
    enum gw_rc rc = gw_op_begin(&op, dict, key, key_len, now_ms);

    if (rc != GW_OK)
        return rc;
    *count = 0;
    if (op.entry != NULL && gw_entry_type(op.entry) != GW_DICT_LIST)
        rc = GW_WRONG_TYPE;
    else if (op.entry != NULL)
        *count = ((struct gw_list_value *)gw_entry_payload(op.entry))->count;
    gw_op_end(&op);
    return rc;
}
