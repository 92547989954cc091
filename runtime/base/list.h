/* Doubly linked lists through a member of the element.
 * An empty list, and an element that is in none, point at themselves. */
#ifndef GW_BASE_LIST_H
#define GW_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct gw_list {
    struct gw_list *next;
    struct gw_list *prev;
};

#define GW_CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define GW_LIST_EACH(pos, head)                                                                    \
    for (struct gw_list *pos = (head)->next; pos != (head); pos = pos->next)

/* Safe against removal of `pos` in the body. */
#define GW_LIST_EACH_SAFE(pos, after, head)                                                        \
    for (struct gw_list *pos = (head)->next, *after = pos->next; pos != (head);                    \
         pos = after, after = pos->next)

static inline void gw_list_init(struct gw_list *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool gw_list_empty(const struct gw_list *list)
{
    return list->next == list;
}

static inline void gw_list_insert_after(struct gw_list *at, struct gw_list *item)
{
    item->next = at->next;
    item->prev = at;
    at->next->prev = item;
    at->next = item;
}

static inline void gw_list_push_front(struct gw_list *list, struct gw_list *item)
{
    gw_list_insert_after(list, item);
}

static inline void gw_list_push_back(struct gw_list *list, struct gw_list *item)
{
    gw_list_insert_after(list->prev, item);
}

/* May be called on an item that is in no list, if it was initialised. */
static inline void gw_list_remove(struct gw_list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    gw_list_init(item);
}

#endif
