#include "base/rc.h"

static const struct {
    const char *code;
    const char *text;
} rows[GW_RC_COUNT] = {
#define GW_RC_ROW(name, code, text) [name] = {code, text},
    GW_RC_ROWS(GW_RC_ROW)
#undef GW_RC_ROW
};

const char *gw_rc_code(enum gw_rc rc)
{
    return (unsigned)rc < GW_RC_COUNT ? rows[rc].code : "unknown";
}

const char *gw_rc_text(enum gw_rc rc)
{
    return (unsigned)rc < GW_RC_COUNT ? rows[rc].text : "unknown result";
}
