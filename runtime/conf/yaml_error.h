/* What libyaml says when it gives up, made into what the user should write.
 * Knows the texts of libyaml 0.2.5 but not its types. */
#ifndef GW_CONF_YAML_ERROR_H
#define GW_CONF_YAML_ERROR_H

#include "conf/report.h"

struct gw_yaml_error {
    const char *problem; /* may be NULL, as may be context */
    const char *context;
    struct gw_where problem_where;
    struct gw_where context_where;
    bool bytes; /* the text is not UTF-8, or holds a control: at byte `offset`, of `value` */
    size_t offset;
    unsigned value;
};

/* Adds one fault to the report. */
void gw_yaml_explain(const struct gw_yaml_error *error, struct gw_str text,
                     struct gw_report *report);

/* The word that stands at a place, up to white space or a bracket. */
struct gw_str gw_yaml_word(struct gw_str text, struct gw_where where);

#endif
