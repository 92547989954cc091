#include "cli/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_BYTES 32

/* Letters, not bytes: what continues a UTF-8 sequence takes no room. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void gw_table_begin(struct gw_table *table, unsigned columns)
{
    assert(columns > 0 && columns <= GW_TABLE_COLUMNS_MAX);
    *table = (struct gw_table){.columns = columns};
}

void gw_table_cell(struct gw_table *table, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    size_t width;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    width = width_of(text);
    if (width > table->widths[table->at])
        table->widths[table->at] = width;
    gw_buf_add(&table->cells, text, strlen(text) + 1);
    table->at = (table->at + 1) % table->columns;
}

void gw_table_print(struct gw_table *table)
{
    const char *at = table->cells.data, *end = table->cells.data + table->cells.to;

    for (unsigned column = 0; at < end; column = (column + 1) % table->columns) {
        bool last = column + 1 == table->columns;
        int pad = last ? 0 : (int)(table->widths[column] - width_of(at)) + 2;
        (void)printf("%s%*s%s", at, pad, "", last ? "\n" : "");
        at += strlen(at) + 1;
    }
    gw_buf_fini(&table->cells);
}

const char *gw_text_duration(uint64_t ms, char *to)
{
    static const struct {
        uint64_t ms, part_ms;
        const char *name, *part;
    } rows[] = {{86400000, 3600000, "d", "h"}, {3600000, 60000, "h", "m"}, {60000, 1000, "m", "s"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (ms < rows[i].ms)
            continue;
        (void)snprintf(to, TEXT_BYTES, "%llu%s %llu%s", (unsigned long long)(ms / rows[i].ms),
                       rows[i].name, (unsigned long long)(ms % rows[i].ms / rows[i].part_ms),
                       rows[i].part);
        return to;
    }
    if (ms >= 1000)
        (void)snprintf(to, TEXT_BYTES, "%llu.%llus", (unsigned long long)(ms / 1000),
                       (unsigned long long)(ms % 1000 / 100));
    else
        (void)snprintf(to, TEXT_BYTES, "%llums", (unsigned long long)ms);
    return to;
}

const char *gw_text_bytes(uint64_t bytes, char *to)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;

    if (bytes < 1024) {
        (void)snprintf(to, TEXT_BYTES, "%llu B", (unsigned long long)bytes);
        return to;
    }
    for (value /= 1024; value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1024;
    (void)snprintf(to, TEXT_BYTES, "%.1f %s", value, units[unit]);
    return to;
}
