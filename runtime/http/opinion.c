/* The library costs several times our walk, so it reads what can change its mind and no more.
 * Our walk has proved that each line is "token: text CRLF"; of such lines the library acts on
 * Connection, Content-Length, Proxy-Connection, Transfer-Encoding and Upgrade and passes over
 * the rest. Lines are chosen by the length and the first letters of their names, not by
 * our table of names, so that a mistake there is noticed. When no line is chosen its verdict is a
 * constant: no body by fields. And it is a function of its bytes: what it has said of the same
 * lines before is remembered. With GW_HEAD_CROSSCHECK (tests, fuzzing) it reads whole heads, too,
 * and must come to the same verdict. */
#include "http/opinion.h"

#include <http_parser.h>
#include <stdlib.h>
#include <string.h>

struct view {
    http_parser parser;
    uint8_t heads, ends; /* how many it has seen */
    bool failed;
};

struct opinion {
    struct view view;
    const http_parser *start; /* behind the first line */
    bool skip_body;
    bool chosen; /* some line may frame the message */
    bool asked;  /* more than the first line */
    uint16_t len;
    char text[512]; /* lines on their way to the library: one call for most heads */
};

static int on_head(http_parser *parser)
{
    struct opinion *opinion = parser->data;

    opinion->view.heads++;
    return opinion->skip_body ? 1 : 0;
}

static int on_end(http_parser *parser)
{
    struct opinion *opinion = parser->data;

    opinion->view.ends++;
    return 0;
}

static void ask(struct opinion *opinion, const char *data, size_t len)
{
    static const http_parser_settings settings = {.on_headers_complete = on_head,
                                                  .on_message_complete = on_end};
    struct view *view = &opinion->view;

    if (len == 0) /* which would tell the library that the connection has ended */
        return;
    opinion->asked = true;
    view->parser.data = opinion;
    if (http_parser_execute(&view->parser, &settings, data, len) != len ||
        HTTP_PARSER_ERRNO(&view->parser) != HPE_OK)
        view->failed = true;
}

static void hear(struct opinion *opinion, const char *data, size_t len)
{
    if (len > sizeof(opinion->text) - opinion->len) {
        ask(opinion, opinion->text, opinion->len);
        opinion->len = 0;
        if (len > sizeof(opinion->text)) {
            ask(opinion, data, len);
            return;
        }
    }
    memcpy(opinion->text + opinion->len, data, len);
    opinion->len = (uint16_t)(opinion->len + len);
}

/* The first lines say no more than framing hangs on: the version, and the status. There are
 * few, so each is read once (`line` in two parts), and what the library thinks behind it is kept
 * in *start. */
static void begin(struct opinion *opinion, enum http_parser_type type, http_parser *start,
                  const char *line, size_t len)
{
    static bool ready;

    if (!ready) {
        /* Our limits hold; the library's own would be a second, unannounced one. */
        http_parser_set_max_header_size(UINT32_MAX);
        ready = true;
    }
    opinion->view.heads = opinion->view.ends = 0;
    opinion->view.failed = false;
    if (start->http_major == 0) {
        http_parser_init(&opinion->view.parser, type);
        ask(opinion, line, len);
        ask(opinion, "\r\n", 2);
        *start = opinion->view.parser;
    }
    opinion->view.parser = *start;
    opinion->start = start;
    opinion->chosen = opinion->asked = opinion->skip_body = false;
    opinion->len = 0;
}

/* ---- what it has said before ---- */

#define HEARD_BYTES 64
#define HEARD_SLOTS_LOG2 6

struct heard {
    const http_parser *start; /* NULL: the slot is free */
    struct view view;
    bool skip_body;
    uint8_t len;
    char text[HEARD_BYTES];
};

/* By the last bytes of the last value, where lengths differ. NULL: too long to be kept. */
static struct heard *heard_slot(const struct opinion *opinion)
{
    static struct heard heard[1 << HEARD_SLOTS_LOG2];
    uint64_t word;

    if (opinion->asked || opinion->len > HEARD_BYTES || opinion->len < 4 + sizeof(word))
        return NULL;
    memcpy(&word, opinion->text + opinion->len - 4 - sizeof(word), sizeof(word));
    return &heard[word * 0x9e3779b97f4a7c15u >> (64 - HEARD_SLOTS_LOG2)];
}

/* The empty line that ends the head, and with it the verdict. */
static void conclude(struct opinion *opinion)
{
    struct heard *heard;

    hear(opinion, "\r\n", 2);
    heard = heard_slot(opinion);
    if (heard != NULL && heard->start == opinion->start && heard->skip_body == opinion->skip_body &&
        heard->len == opinion->len && memcmp(heard->text, opinion->text, opinion->len) == 0) {
        opinion->view = heard->view;
        return;
    }
    ask(opinion, opinion->text, opinion->len);
    if (heard == NULL)
        return;
    heard->start = opinion->start;
    heard->view = opinion->view;
    heard->skip_body = opinion->skip_body;
    heard->len = (uint8_t)opinion->len;
    memcpy(heard->text, opinion->text, opinion->len);
}

/* One head, seen to end at the same byte, with the same body behind it. */
static bool view_agrees(const struct view *view, const struct gw_claim *claim)
{
    const http_parser *parser = &view->parser;

    if (view->failed || view->heads != 1 || view->ends != (claim->has_body ? 0 : 1))
        return false;
    if (parser->http_major != 1 || parser->http_minor != claim->minor ||
        (claim->status != 0 && parser->status_code != claim->status))
        return false;
    if (((parser->flags & F_CHUNKED) != 0) != claim->has_coding ||
        ((parser->flags & F_CONTENTLENGTH) != 0) != claim->has_length)
        return false;
    return !claim->has_length || parser->content_length == (uint64_t)claim->length;
}

#ifdef GW_HEAD_CROSSCHECK
/* The same question with nothing left out but a method that the library does not know. */
static void crosscheck(const struct gw_claim *claim, bool agreed)
{
    struct opinion whole = {.skip_body = claim->skip_body};
    struct gw_str data = claim->head;

    http_parser_init(&whole.view.parser, claim->status == 0 ? HTTP_REQUEST : HTTP_RESPONSE);
    if (claim->status == 0) {
        const char *rest = claim->method.data + claim->method.len;
        data = gw_str(rest, (size_t)(data.data + data.len - rest));
        ask(&whole, "GET", 3);
    }
    ask(&whole, data.data, data.len);
    if (view_agrees(&whole.view, claim) != agreed)
        abort();
}
#else
#define crosscheck(claim, agreed) ((void)0)
#endif

/* ---- the head that is being read ---- */

static struct opinion now;

void gw_opinion_request(unsigned minor)
{
    static const char *const lines[] = {"GET / HTTP/1.0", "GET / HTTP/1.1"};
    static http_parser behind_line[2];

    begin(&now, HTTP_REQUEST, &behind_line[minor], lines[minor], strlen(lines[minor]));
}

void gw_opinion_response(const char *line)
{
    static http_parser behind_line[2][500];
    unsigned minor = (unsigned)(line[7] - '0');
    unsigned status = (unsigned)((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));

    begin(&now, HTTP_RESPONSE, &behind_line[minor][status - 100], line, strlen("HTTP/1.1 200"));
}

void gw_opinion_hear(const char *line, size_t len)
{
    now.chosen = true;
    hear(&now, line, len);
}

bool gw_opinion_agrees(const struct gw_claim *claim)
{
    bool agreed = !claim->has_coding && !claim->has_length;

    if (now.chosen) {
        now.skip_body = claim->skip_body;
        conclude(&now);
        agreed = view_agrees(&now.view, claim);
    }
    crosscheck(claim, agreed);
    return agreed;
}
