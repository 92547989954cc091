#include "script/lib_rows.h"

const struct gw_lib gw_libs[] = {
#define ROW(name, open, retire, close) {name, open, retire, close},
    GW_LIB_ROWS(ROW)
#undef ROW
        {NULL, NULL, NULL, NULL},
};
