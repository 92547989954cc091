/* Tables and quantities for people. */
#ifndef GW_CLI_TEXT_H
#define GW_CLI_TEXT_H

#include <stdint.h>

#include "base/buf.h"

#define GW_TABLE_COLUMNS_MAX 12

/* Columns as wide as their widest cell; the last one is not padded. Cells are copied.
 * Begin with a zeroed struct. */
struct gw_table {
    struct gw_buf cells; /* each ends with NUL */
    size_t widths[GW_TABLE_COLUMNS_MAX];
    unsigned columns;
    unsigned at;
};

void gw_table_begin(struct gw_table *table, unsigned columns);
void gw_table_cell(struct gw_table *table, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void gw_table_print(struct gw_table *table); /* on stdout, and frees it */

/* "3d 4h", "12m 5s", "850ms"; "1.4 MiB". `to` has 32 bytes; returns it. */
const char *gw_text_duration(uint64_t ms, char *to);
const char *gw_text_bytes(uint64_t bytes, char *to);

#endif
