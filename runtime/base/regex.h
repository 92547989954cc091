/* Regular expressions: the only door to PCRE2.
 * Lives in: one process. Owner: who made it; used by one thread at a time (it keeps the
 * memory of its matches). Works on bytes; with GW_REGEX_UTF on UTF-8, where invalid bytes in
 * the subject match nothing and do no harm.
 * Limits: a match that backtracks without end is stopped (well under a millisecond for the
 * first place in the subject that does) and is GW_LIMIT. PCRE2 counts the steps anew at each
 * place where a match may begin, so a pattern that is not anchored gets fewer for each in a
 * longer subject: its worst case is linear in the length, about 4 ns * GW_REGEX_STEPS_MIN a byte.
 * A pattern is at most GW_REGEX_PATTERN_BYTES_MAX long. */
#ifndef GW_BASE_REGEX_H
#define GW_BASE_REGEX_H

#include <stdint.h>

#include "base/err.h"
#include "base/rc.h"
#include "base/str.h"

#define GW_REGEX_PATTERN_BYTES_MAX 16384
#define GW_REGEX_STEPS_MAX 40000      /* from one place, and anchored patterns */
#define GW_REGEX_STEPS_ALL_MAX 400000 /* from all places, as long as each has STEPS_MIN */
#define GW_REGEX_STEPS_MIN 1000
#define GW_REGEX_DEPTH_MAX 20000   /* nested backtracking points of the interpreter */
#define GW_REGEX_HEAP_KIB_MAX 2048 /* of one match */

struct gw_regex;

enum gw_regex_flag {
    GW_REGEX_NOCASE = 1 << 0,    /* (?i) */
    GW_REGEX_MULTILINE = 1 << 1, /* (?m): ^ and $ at every line */
    GW_REGEX_DOTALL = 1 << 2,    /* (?s): . takes a newline too */
    GW_REGEX_EXTENDED = 1 << 3,  /* (?x) */
    GW_REGEX_ANCHORED = 1 << 4,  /* matches only where it is asked to begin */
    GW_REGEX_UTF = 1 << 5,       /* characters instead of bytes */
    GW_REGEX_NO_JIT = 1 << 6,    /* made only to be checked, or used once */
    GW_REGEX_ECMA = 1 << 7,      /* as JavaScript has it: $ only at the very end, \uXXXX, [] */
};

/* GW_INVALID with "at byte 3: missing closing parenthesis", or GW_LIMIT for a pattern that is
 * too long. `flags` are of enum gw_regex_flag. The pattern is copied. */
GW_MUST_CHECK enum gw_rc gw_regex_new(struct gw_str pattern, unsigned flags, struct gw_regex **out,
                                      struct gw_err *err);
void gw_regex_free(struct gw_regex *regex); /* NULL is fine */

/* Looks for the first match at or behind `from`.
 *   GW_OK         groups[0] is the whole match, groups[i] group i, for i < max; a group that took
 *                 no part has data NULL, and so has each one behind gw_regex_groups()
 *   GW_NOT_FOUND  no match
 *   GW_LIMIT      stopped: whether it matches is not known
 *   GW_INVALID    `from` is behind the end, or inside a character (UTF)
 * The slices point into `subject`. `groups` may be NULL when max is 0. */
enum gw_rc gw_regex_match(struct gw_regex *regex, struct gw_str subject, size_t from,
                          struct gw_str *groups, uint32_t max);

/* Where to search on behind an empty match at `at`: the next byte, or character (UTF).
 * Returns subject.len + 1 at the end: gw_regex_match() then says GW_INVALID. */
size_t gw_regex_step(const struct gw_regex *regex, struct gw_str subject, size_t at);

/* Groups of the pattern, with the whole match: at least 1. */
uint32_t gw_regex_groups(const struct gw_regex *regex);

/* Named groups, in the order of their names. */
uint32_t gw_regex_names(const struct gw_regex *regex);
struct gw_str gw_regex_name(const struct gw_regex *regex, uint32_t i, uint32_t *group);

/* The number of the group of that name; 0: there is none. */
uint32_t gw_regex_group_of(const struct gw_regex *regex, struct gw_str name);

#endif
