#include "script/embed.h"

#include <stddef.h>

/* The build says where the lua/ folder stands (absolute): only the assembler reads it. */
#ifndef GW_LUA_DIR
#error "GW_LUA_DIR must name the lua folder of the sources"
#endif

#define GW_EMBED_FILE(symbol, name)                                                                \
    __asm__(".section .rodata\n"                                                                   \
            ".global gw_embed_" #symbol "\n"                                                       \
            ".global gw_embed_" #symbol "_end\n"                                                   \
            "gw_embed_" #symbol ":\n"                                                              \
            ".incbin \"" GW_LUA_DIR "/gateway/" name ".lua\"\n"                                    \
            "gw_embed_" #symbol "_end:\n"                                                          \
            ".byte 0\n"                                                                            \
            ".previous\n");                                                                        \
    extern const char gw_embed_##symbol[], gw_embed_##symbol##_end[];
GW_EMBED_ROWS(GW_EMBED_FILE)
#undef GW_EMBED_FILE

static const struct {
    const char *name, *begin, *end;
} rows[] = {
#define GW_EMBED_ROW(symbol, name) {name, gw_embed_##symbol, gw_embed_##symbol##_end},
    GW_EMBED_ROWS(GW_EMBED_ROW)
#undef GW_EMBED_ROW
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

struct gw_str gw_embed_find(struct gw_str name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (gw_str_eq(name, gw_str_c(rows[i].name)))
            return gw_str(rows[i].begin, (size_t)(rows[i].end - rows[i].begin));
    return GW_STR_NULL;
}

const char *gw_embed_name(unsigned index)
{
    return index < ROWS ? rows[index].name : NULL;
}
