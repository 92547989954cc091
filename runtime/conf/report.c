#include "conf/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

/* A message holds at most this; what a user wrote in it is cut with it. */
#define TEXT_BYTES_MAX 1024

void gw_report_init(struct gw_report *report)
{
    memset(report, 0, sizeof(*report));
    gw_arena_init(&report->arena);
}

void gw_report_fini(struct gw_report *report)
{
    gw_arena_fini(&report->arena);
    memset(report, 0, sizeof(*report));
}

/* The old array stays in the arena: a few doublings cost less than a list of their own. */
static void *grown(struct gw_arena *arena, const void *items, uint32_t *size, size_t item_bytes)
{
    uint32_t larger = *size == 0 ? 16 : *size * 2;
    void *memory = gw_arena_alloc(arena, larger * item_bytes);

    if (*size > 0)
        memcpy(memory, items, *size * item_bytes);
    *size = larger;
    return memory;
}

uint32_t gw_report_file_lent(struct gw_report *report, struct gw_str name)
{
    if (report->files_count == report->files_size)
        report->files =
            grown(&report->arena, report->files, &report->files_size, sizeof(*report->files));
    report->files[report->files_count] = name;
    return report->files_count++;
}

uint32_t gw_report_file(struct gw_report *report, struct gw_str name)
{
    return gw_report_file_lent(report, gw_arena_dup(&report->arena, name));
}

static struct gw_str format(struct gw_arena *arena, const char *fmt, va_list args)
{
    char text[TEXT_BYTES_MAX];
    int len = vsnprintf(text, sizeof(text), fmt, args);

    if (len < 0)
        len = 0;
    if ((size_t)len >= sizeof(text))
        len = (int)sizeof(text) - 1;
    return gw_arena_dup(arena, gw_str(text, (size_t)len));
}

static void add(struct gw_report *report, struct gw_fault *fault, const char *fmt, va_list args)
{
    report->last_kept = report->kept < GW_REPORT_FAULTS_MAX;
    if (!report->last_kept)
        return;
    if (report->kept == report->kept_size)
        report->faults =
            grown(&report->arena, report->faults, &report->kept_size, sizeof(*report->faults));
    fault->path = gw_arena_dup(&report->arena, fault->path.data == NULL ? GW_STR("") : fault->path);
    fault->text = format(&report->arena, fmt, args);
    fault->hint = GW_STR("");
    fault->order = report->kept;
    report->faults[report->kept++] = *fault;
}

void gw_report_fault(struct gw_report *report, struct gw_where where, struct gw_str path,
                     const char *fmt, ...)
{
    struct gw_fault fault = {.where = where, .path = path};
    va_list args;

    report->faults_count++;
    va_start(args, fmt);
    add(report, &fault, fmt, args);
    va_end(args);
}

void gw_report_warn(struct gw_report *report, struct gw_where where, struct gw_str path,
                    const char *fmt, ...)
{
    struct gw_fault fault = {.where = where, .path = path, .warning = true};
    va_list args;

    report->warnings_count++;
    va_start(args, fmt);
    add(report, &fault, fmt, args);
    va_end(args);
}

void gw_report_hint(struct gw_report *report, const char *fmt, ...)
{
    va_list args;

    if (!report->last_kept)
        return;
    va_start(args, fmt);
    report->faults[report->kept - 1].hint = format(&report->arena, fmt, args);
    va_end(args);
}

static int by_number(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int by_place(const void *left, const void *right)
{
    const struct gw_fault *a = left, *b = right;
    int order = by_number(a->where.file, b->where.file);

    if (order == 0)
        order = by_number(a->where.line, b->where.line);
    if (order == 0)
        order = by_number(a->where.column, b->where.column);
    return order == 0 ? by_number(a->order, b->order) : order;
}

void gw_report_sort(struct gw_report *report)
{
    if (report->kept > 1)
        qsort(report->faults, report->kept, sizeof(*report->faults), by_place);
    report->last_kept = false;
}

static struct gw_str file_of(const struct gw_report *report, struct gw_where where)
{
    return where.file < report->files_count ? report->files[where.file] : GW_STR("");
}

/* What a user wrote may hold anything; a terminal gets no control bytes. */
static void add_visible(struct gw_buf *out, struct gw_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if (c == '\n')
            gw_buf_add(out, "\\n", 2);
        else if (c < 0x20 || c == 0x7f)
            gw_buf_printf(out, "\\x%02x", c);
        else
            gw_buf_add(out, &text.data[i], 1);
    }
}

static void fault_text(const struct gw_report *report, const struct gw_fault *fault,
                       struct gw_buf *out)
{
    struct gw_str file = file_of(report, fault->where);

    add_visible(out, file);
    if (fault->where.line > 0)
        gw_buf_printf(out, ":%u:%u", fault->where.line, fault->where.column);
    if (file.len > 0)
        gw_buf_add(out, ": ", 2);
    if (fault->warning)
        gw_buf_add_str(out, GW_STR("warning: "));
    if (fault->path.len > 0) {
        add_visible(out, fault->path);
        gw_buf_add(out, ": ", 2);
    }
    add_visible(out, fault->text);
    if (fault->hint.len > 0) {
        gw_buf_add(out, "; ", 2);
        add_visible(out, fault->hint);
    }
    gw_buf_add(out, "\n", 1);
}

static uint32_t left_off(const struct gw_report *report)
{
    return report->faults_count + report->warnings_count - report->kept;
}

void gw_report_text(struct gw_report *report, struct gw_buf *out)
{
    gw_report_sort(report);
    for (uint32_t i = 0; i < report->kept; i++)
        fault_text(report, &report->faults[i], out);
    if (left_off(report) > 0)
        gw_buf_printf(out, "… and %u more\n", left_off(report));
}

static void json_list(const struct gw_report *report, bool warnings, struct gw_json_writer *json)
{
    gw_json_array(json);
    for (uint32_t i = 0; i < report->kept; i++) {
        const struct gw_fault *fault = &report->faults[i];

        if (fault->warning != warnings)
            continue;
        gw_json_object(json);
        gw_json_key(json, "file");
        gw_json_str(json, file_of(report, fault->where));
        gw_json_key(json, "line");
        gw_json_uint(json, fault->where.line);
        gw_json_key(json, "column");
        gw_json_uint(json, fault->where.column);
        gw_json_key(json, "path");
        gw_json_str(json, fault->path);
        gw_json_key(json, "message");
        gw_json_str(json, fault->text);
        if (fault->hint.len > 0) {
            gw_json_key(json, "hint");
            gw_json_str(json, fault->hint);
        }
        gw_json_object_end(json);
    }
    gw_json_array_end(json);
}

void gw_report_json(struct gw_report *report, struct gw_buf *out)
{
    struct gw_json_writer json;

    gw_report_sort(report);
    gw_json_begin(&json, out);
    gw_json_object(&json);
    gw_json_key(&json, "ok");
    gw_json_bool(&json, gw_report_ok(report));
    gw_json_key(&json, "faults");
    json_list(report, false, &json);
    gw_json_key(&json, "warnings");
    json_list(report, true, &json);
    gw_json_key(&json, "left_off");
    gw_json_uint(&json, left_off(report));
    gw_json_object_end(&json);
}
