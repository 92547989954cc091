/* What the fuzz targets share. A finding is an abort(): a claim of a header does not hold. */
#ifndef GW_FUZZ_FUZZ_H
#define GW_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(claim)                                                                                \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            (void)fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #claim);       \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Memory of just that size, so that ASan sees a step beyond; the caller frees. */
static inline char *fuzz_copy(struct gw_str text)
{
    char *copy = malloc(text.len);

    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    return copy;
}

static inline void fuzz_within(struct gw_str slice, struct gw_str whole)
{
    MUST(slice.len == 0 ||
         (slice.data >= whole.data && slice.data + slice.len <= whole.data + whole.len));
}

#endif
