#include "conf/path.h"

#include <ctype.h>

#include "base/json.h"
#include "conf/tree.h"

/* Deeper than any tree, with room for what a schema adds. */
#define STEPS_MAX (GW_NODE_DEPTH_MAX * 2)

static bool plain_word(struct gw_str key)
{
    for (size_t i = 0; i < key.len; i++)
        if (!isalnum((unsigned char)key.data[i]) && key.data[i] != '_' && key.data[i] != '-')
            return false;
    return key.len > 0;
}

void gw_path_add(const struct gw_path *path, struct gw_str prefix, struct gw_buf *out)
{
    const struct gw_path *steps[STEPS_MAX];
    size_t count = 0;
    size_t begin = gw_buf_len(out);

    gw_buf_add_str(out, prefix);
    for (; path != NULL && count < STEPS_MAX; path = path->up)
        steps[count++] = path;
    while (count > 0) {
        const struct gw_path *step = steps[--count];

        if (step->key.data == NULL) {
            gw_buf_printf(out, "[%u]", step->index);
        } else if (plain_word(step->key)) {
            if (gw_buf_len(out) > begin)
                gw_buf_add(out, ".", 1);
            gw_buf_add_str(out, step->key);
        } else {
            gw_buf_add(out, "[", 1);
            gw_json_quote(out, step->key);
            gw_buf_add(out, "]", 1);
        }
    }
}

struct gw_str gw_path_text(const struct gw_path *path, struct gw_arena *arena)
{
    struct gw_buf buf = GW_BUF_INIT;
    struct gw_str text;

    gw_path_add(path, GW_STR_NULL, &buf);
    text = gw_arena_dup(arena, gw_buf_len(&buf) == 0 ? GW_STR("") : gw_buf_str(&buf));
    gw_buf_fini(&buf);
    return text;
}
