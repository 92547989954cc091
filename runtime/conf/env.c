#include "conf/env.h"

#include <ctype.h>
#include <string.h>

#include "base/json.h"
#include "conf/path.h"
#include "conf/yaml.h"

#define NAME_BYTES_MAX 255

struct expansion {
    const struct gw_env *env;
    struct gw_node *node;
    const struct gw_path *path;
    struct gw_buf out;
    bool changed;
    bool failed;
};

static void fault(struct expansion *x, const char *fmt, struct gw_str name)
{
    x->failed = true;
    gw_report_fault(x->env->report, x->node->where, gw_path_text(x->path, x->env->arena), fmt,
                    GW_STR_ARG(name));
}

static bool name_ok(struct gw_str name)
{
    if (name.len == 0 || name.len > NAME_BYTES_MAX || isdigit((unsigned char)name.data[0]))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.data[i]) && name.data[i] != '_')
            return false;
    return true;
}

/* `inside` is what stands between the braces. */
static void put(struct expansion *x, struct gw_str inside)
{
    const char *mark = memmem(inside.data, inside.len, ":-", 2);
    struct gw_str name = mark == NULL ? inside : gw_str(inside.data, (size_t)(mark - inside.data));
    char text[NAME_BYTES_MAX + 1];
    const char *value;

    if (!name_ok(name)) {
        fault(x, "\"${%.*s}\" is no variable", inside);
        gw_report_hint(x->env->report,
                       "write ${NAME} or ${NAME:-otherwise}; $${ stands for the characters ${");
        return;
    }
    memcpy(text, name.data, name.len);
    text[name.len] = '\0';
    value = x->env->get(text, x->env->arg);
    if (mark != NULL && (value == NULL || *value == '\0')) {
        gw_buf_add(&x->out, mark + 2, inside.len - name.len - 2);
    } else if (value != NULL) {
        if (gw_utf8_valid(gw_str_c(value)) != strlen(value))
            fault(x, "the value of the variable %.*s is not UTF-8", name);
        else
            gw_buf_add(&x->out, value, strlen(value));
    } else {
        fault(x, "the variable %.*s is not set", name);
        gw_report_hint(x->env->report, "set it, or write ${%.*s:-otherwise}", GW_STR_ARG(name));
    }
}

static void expand_text(struct expansion *x)
{
    struct gw_str text = x->node->text;
    size_t at = 0;

    while (at < text.len && !x->failed) {
        const char *found = memmem(text.data + at, text.len - at, "${", 2);
        const char *end;
        size_t from;

        if (found == NULL)
            break;
        from = (size_t)(found - text.data);
        if (from > at && text.data[from - 1] == '$') {
            gw_buf_add(&x->out, text.data + at, from - at); /* with one of the two "$" */
            gw_buf_add(&x->out, "{", 1);
            at = from + 2;
            x->changed = true;
            continue;
        }
        gw_buf_add(&x->out, text.data + at, from - at);
        end = memchr(found + 2, '}', text.len - from - 2);
        if (end == NULL) {
            fault(x, "\"${\" is not closed by \"}\" in \"%.*s\"", text);
            gw_report_hint(x->env->report, "write $${ for the characters ${");
            return;
        }
        put(x, gw_str(found + 2, (size_t)(end - found) - 2));
        x->changed = x->node->expanded = true;
        at = (size_t)(end - text.data) + 1;
        if (gw_buf_len(&x->out) > GW_YAML_SCALAR_BYTES_MAX)
            fault(x, "with its variables the text is too long%.0s", text);
    }
    gw_buf_add(&x->out, text.data + at, text.len - at);
}

static void expand(const struct gw_env *env, struct gw_node *node, const struct gw_path *path)
{
    struct expansion x = {env, node, path, GW_BUF_INIT, false, false};
    uint32_t index = 0;

    if (node->kind != GW_NODE_SCALAR) {
        for (struct gw_node *n = node->members.first; n != NULL; n = n->next) {
            struct gw_path step = {path, n->key, index++};
            expand(env, n, &step);
        }
        return;
    }
    if (memmem(node->text.data, node->text.len, "${", 2) == NULL)
        return;
    expand_text(&x);
    if (x.changed && !x.failed) {
        node->text =
            gw_arena_dup(env->arena, gw_buf_len(&x.out) == 0 ? GW_STR("") : gw_buf_str(&x.out));
        node->scalar = (uint8_t)(node->quoted ? GW_SCALAR_STRING : gw_scalar_of(node->text));
    }
    gw_buf_fini(&x.out);
}

void gw_env_expand(const struct gw_env *env, struct gw_node *root)
{
    expand(env, root, NULL);
}
