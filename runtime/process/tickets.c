/* The keys of TLS tickets. The master makes them and changes them; all workers use the same, so
 * that a client may come back to any of them. What an old key has sealed is read for two changes
 * more, which is why session_timeout ends at 16 hours. */
#include "process/master_private.h"

#include <string.h>

#include "base/crypto.h"

#define ROTATE_MS ((uint64_t)8 * 3600 * 1000)

static void rotate(struct gw_tls_tickets *tickets)
{
    memmove(tickets->keys[1], tickets->keys[0], sizeof(tickets->keys) - GW_TLS_TICKET_KEY_BYTES);
    gw_random(tickets->keys[0], GW_TLS_TICKET_KEY_BYTES);
    if (tickets->count < GW_TLS_TICKET_KEYS_MAX)
        tickets->count++;
}

static void tell(struct gw_master *master)
{
    struct gw_message *message = &master->message;

    message->type = GW_MESSAGE_TICKETS;
    message->number = 0;
    message->value = 0;
    message->fd_count = 0;
    gw_message_text(message, gw_str((const char *)&master->tickets, sizeof(master->tickets)));
    GW_LIST_EACH_SAFE(pos, after, &master->children)
    {
        gw_child_send(GW_CONTAINER(pos, struct gw_child, link), message);
    }
}

static void on_rotate(struct gw_timer *timer)
{
    struct gw_master *master = GW_CONTAINER(timer, struct gw_master, tickets_timer);

    rotate(&master->tickets);
    gw_timer_set(master->loop, timer, gw_loop_now_ms(master->loop) + ROTATE_MS);
    tell(master);
}

void gw_tickets_init(struct gw_master *master)
{
    gw_random(master->tickets.keys[0], GW_TLS_TICKET_KEY_BYTES);
    master->tickets.count = 1;
    gw_timer_init(&master->tickets_timer, on_rotate);
    gw_timer_set(master->loop, &master->tickets_timer, gw_loop_now_ms(master->loop) + ROTATE_MS);
}

void gw_tickets_fini(struct gw_master *master)
{
    if (master->tickets_timer.fn != NULL)
        gw_timer_fini(master->loop, &master->tickets_timer);
}

void gw_tickets_advance(struct gw_master *master, uint64_t ms)
{
    uint64_t now = gw_loop_now_ms(master->loop), due = master->tickets_timer.due_ms;
    uint64_t times = now + ms < due ? 0 : (now + ms - due) / ROTATE_MS + 1;

    gw_timer_set(master->loop, &master->tickets_timer, due + times * ROTATE_MS - ms);
    for (uint64_t i = 0; i < times && i < GW_TLS_TICKET_KEYS_MAX; i++)
        rotate(&master->tickets);
    if (times > 0)
        tell(master);
}
